//! The system call interfaces that a kernel of ours can offer.

use super::condition::Width;
use oci_spec::runtime::Arch;

/// The architecture a filter is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// `x86_64`, with x86 and x32.
    X86_64,
    /// `aarch64`, with 32-bit ARM.
    Aarch64,
}

impl Machine {
    /// The one this program is compiled for.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }

    /// The ABI of the machine's own programs.
    pub(super) const fn abi(self) -> Abi {
        match self {
            Self::X86_64 => Abi::X86_64,
            Self::Aarch64 => Abi::Aarch64,
        }
    }

    /// The ABI that `arch` means here, if this machine's kernel knows it.
    pub(super) const fn abi_of(self, arch: Arch) -> Option<Abi> {
        match (self, arch) {
            (_, Arch::ScmpArchNative) => Some(self.abi()),
            (Self::X86_64, Arch::ScmpArchX86_64) => Some(Abi::X86_64),
            (Self::X86_64, Arch::ScmpArchX86) => Some(Abi::X86),
            (Self::X86_64, Arch::ScmpArchX32) => Some(Abi::X32),
            (Self::Aarch64, Arch::ScmpArchAarch64) => Some(Abi::Aarch64),
            (Self::Aarch64, Arch::ScmpArchArm) => Some(Abi::Arm),
            _ => None,
        }
    }
}

/// A set of system call numbers and its calling convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// `__X32_SYSCALL_BIT`
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    pub(super) const COUNT: usize = 5;

    /// The `arch` of seccomp_data, `AUDIT_ARCH_*`; x32 shares that of `x86_64`.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// What every number of the ABI has set.
    pub(super) const fn bit(self) -> u32 {
        match self {
            Self::X32 => X32_BIT,
            _ => 0,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
        }
    }

    pub(super) const fn width(self) -> Width {
        match self {
            Self::X86_64 | Self::Aarch64 => Width::W64,
            // The registers of an x32 program are wider than its arguments; libseccomp looks at the low half too.
            Self::X86 | Self::X32 | Self::Arm => Width::W32,
        }
    }

    /// Whether calls of the ABI can be made through another one too (`Call::multiplexed`).
    pub(super) const fn multiplexes(self) -> bool {
        matches!(self, Self::X86)
    }
}
