//! The system call instruction itself, and nothing around it.
//!
//! No libc: no `errno`, no cancellation point, no lock.  That is what makes a call legal between
//! clone and execve in a program with other threads (invariant I2).  `-errno` comes back as the kernel left it.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::arch::asm;

/// Enters the kernel with call number `n` and six arguments; returns what the kernel returned.
///
/// # Safety
/// The arguments must be valid for call `n`: every pointer must be valid for the reads and writes that
/// the kernel makes through it, and the call must not invalidate memory or descriptors that Rust owns.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) unsafe fn syscall6(n: i64, a: [usize; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the x86_64 calling convention of the kernel: number in rax, arguments in the six registers named,
    // rcx and r11 clobbered, result in rax; the caller answers for what the call does.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") n => ret,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    ret
}

/// Enters the kernel with call number `n` and six arguments; returns what the kernel returned.
///
/// # Safety
/// As for the x86_64 form: the arguments must be valid for call `n`.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(super) unsafe fn syscall6(n: i64, a: [usize; 6]) -> i64 {
    let ret: i64;
    // SAFETY: the aarch64 calling convention of the kernel: number in x8, arguments in x0..x5, result in x0;
    // the caller answers for what the call does.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") n,
            inlateout("x0") a[0] => ret,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack)
        );
    }
    ret
}

/// Where the stack of the calling thread ends at this moment, in the function that it is inlined into.
#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: a register is read, and nothing else happens.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("Orlop supports x86_64 and aarch64");

/// A value that fits one argument register, bit for bit as the kernel wants it (signed values sign-extended).
pub(super) trait Arg {
    /// The register's content.
    fn arg(self) -> usize;
}

macro_rules! int_arg {
    ($($t:ty),*) => {$(
        impl Arg for $t {
            #[inline]
            // Registers are 64 bits wide on both architectures, and a register takes the value bit for bit.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                clippy::cast_sign_loss,
                clippy::cast_lossless
            )]
            fn arg(self) -> usize { self as isize as usize }
        }
    )*};
}
int_arg!(i32, u32, i64, u64, usize, isize);

impl<T: ?Sized> Arg for *const T {
    #[inline]
    fn arg(self) -> usize {
        self.cast::<u8>() as usize
    }
}

impl<T: ?Sized> Arg for *mut T {
    #[inline]
    fn arg(self) -> usize {
        self.cast::<u8>() as usize
    }
}

impl Arg for super::Fd {
    #[inline]
    fn arg(self) -> usize {
        self.0.arg()
    }
}

impl Arg for &core::ffi::CStr {
    #[inline]
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}
