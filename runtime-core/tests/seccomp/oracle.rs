//! libseccomp, fed with a profile as runc does it.

use super::{X32_BIT, alternatives, decode};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};
use orlop_core::seccomp::{BpfProgram, Machine};

pub fn action(action: Action, data: Option<u32>) -> ScmpAction {
    let data = data.unwrap_or(1);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(data.cast_signed()),
        Action::ScmpActTrace => ScmpAction::Trace(data as u16),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActAllow => ScmpAction::Allow,
    }
}

/// `SECCOMP_RET_*`
pub fn code(of: ScmpAction) -> u32 {
    match of {
        ScmpAction::KillProcess => 0x8000_0000,
        ScmpAction::KillThread => 0,
        ScmpAction::Trap => 0x0003_0000,
        ScmpAction::Errno(data) => 0x0005_0000 | data.cast_unsigned(),
        ScmpAction::Notify => 0x7fc0_0000,
        ScmpAction::Trace(data) => 0x7ff0_0000 | u32::from(data),
        ScmpAction::Log => 0x7ffc_0000,
        ScmpAction::Allow => 0x7fff_0000,
        other => panic!("{other:?}"),
    }
}

pub fn arch(of: Arch) -> Option<ScmpArch> {
    Some(match of {
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchArm => ScmpArch::Arm,
        _ => return None,
    })
}

/// The number of `name`, with the bit of x32; none where there is no such call.
pub fn number(name: &str, arch: ScmpArch) -> Option<u32> {
    let number = ScmpSyscall::from_name_by_arch(name, arch).ok()?;
    u32::try_from(number.as_raw_syscall()).ok()
}

fn compare(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let op = match arg.op() {
        Operator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        Operator::ScmpCmpLt => ScmpCompareOp::Less,
        Operator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        Operator::ScmpCmpEq => ScmpCompareOp::Equal,
        Operator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        Operator::ScmpCmpGt => ScmpCompareOp::Greater,
        Operator::ScmpCmpMaskedEq => {
            let (mask, value) = (arg.value(), arg.value_two().unwrap_or(0));
            return ScmpArgCompare::new(arg.index() as u32, ScmpCompareOp::MaskedEqual(mask), value);
        }
    };
    ScmpArgCompare::new(arg.index() as u32, op, arg.value())
}

/// libseccomp's program; none if it refuses the profile, as runc would then.
pub fn compile(profile: &LinuxSeccomp, machine: Machine, optimise: bool) -> Option<BpfProgram> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default).ok()?;
    if machine == Machine::Aarch64 {
        filter.add_arch(ScmpArch::Aarch64).ok()?;
        filter.remove_arch(ScmpArch::X8664).ok()?;
    }
    for listed in profile.architectures().iter().flatten() {
        if let Some(arch) = arch(*listed)
            && !filter.is_arch_present(arch).ok()?
        {
            filter.add_arch(arch).ok()?;
        }
    }
    if optimise {
        filter.set_ctl_optimize(2).ok()?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let then = action(rule.action(), rule.errno_ret());
        if then == default {
            continue;
        }
        for name in rule.names() {
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            for args in alternatives(rule.args().as_deref().unwrap_or_default()) {
                let args: Vec<_> = args.iter().map(compare).collect();
                filter.add_rule_conditional(then, call, &args).ok()?;
            }
        }
    }
    let mut file = tempfile();
    filter.export_bpf(&file).ok()?;
    use std::io::{Read, Seek};
    file.rewind().ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    Some(decode(&bytes))
}

fn tempfile() -> std::fs::File {
    let name = c"seccomp-oracle";
    nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC).expect("memfd_create").into()
}

/// Whether runc's stub, which stands before libseccomp's program, answers that there is no such call.
///
/// The rule: the default action is neither allow, log nor trace; the ABI of the call is listed in the profile; and
/// its number is above every one that the profile names for that ABI.
pub fn is_newer(profile: &LinuxSeccomp, machine: Machine, call_arch: u32, number_of_call: u32) -> bool {
    let permissive = [Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace];
    if permissive.contains(&profile.default_action()) {
        return false;
    }
    let of = match (machine, call_arch) {
        (Machine::X86_64, super::X86_64) if number_of_call & X32_BIT != 0 => Arch::ScmpArchX32,
        (Machine::X86_64, super::X86_64) => Arch::ScmpArchX86_64,
        (Machine::X86_64, super::X86) => Arch::ScmpArchX86,
        (Machine::Aarch64, super::AARCH64) => Arch::ScmpArchAarch64,
        (Machine::Aarch64, super::ARM) => Arch::ScmpArchArm,
        _ => return false,
    };
    if !profile.architectures().iter().flatten().any(|listed| *listed == of) {
        return false;
    }
    let names = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
    let newest = names.filter_map(|name| number(name, arch(of)?)).max();
    newest.is_some_and(|newest| newest != 0 && number_of_call > newest)
}
