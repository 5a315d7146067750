//! `linux.seccomp`: the profile's own consistency.

use crate::spec::fault::Report;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

/// The largest errno seccomp(2) returns, `MAX_ERRNO`.
const MAX_ERRNO: u32 = 4095;

pub(super) fn check(seccomp: &LinuxSeccomp, report: &mut Report) {
    errno("linux.seccomp.defaultErrnoRet", seccomp.default_action(), seccomp.default_errno_ret(), report);
    if seccomp.listener_metadata().as_deref().is_some_and(|metadata| !metadata.is_empty())
        && seccomp.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
    {
        report.fault("linux.seccomp.listenerMetadata", "must not be set without listenerPath");
    }
    let notify = |action: Action| action == Action::ScmpActNotify;
    let notifies = notify(seccomp.default_action())
        || seccomp.syscalls().iter().flatten().any(|rule| notify(rule.action()));
    if notifies && seccomp.listener_path().as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
        report.fault("linux.seccomp.listenerPath", "required, as SCMP_ACT_NOTIFY is used");
    }
    for (index, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        check_rule(&format!("linux.seccomp.syscalls[{index}]"), rule, report);
    }
}

fn check_rule(at: &str, rule: &LinuxSyscall, report: &mut Report) {
    if rule.names().is_empty() {
        report.fault(format!("{at}.names"), "must have at least one entry");
    }
    errno(&format!("{at}.errnoRet"), rule.action(), rule.errno_ret(), report);
    for (index, arg) in rule.args().iter().flatten().enumerate() {
        if arg.index() > 5 {
            let message = format!("{} is not between 0 and 5: a system call has six arguments", arg.index());
            report.fault(format!("{at}.args[{index}].index"), message);
        }
    }
}

fn errno(at: &str, action: Action, errno: Option<u32>, report: &mut Report) {
    let Some(errno) = errno else { return };
    match action {
        Action::ScmpActErrno if errno > MAX_ERRNO => {
            report.fault(at, format!("{errno} is more than the highest error number, {MAX_ERRNO}"));
        }
        // The tracer's message: SECCOMP_RET_DATA has 16 bits.
        Action::ScmpActTrace if errno > u32::from(u16::MAX) => {
            report.fault(at, format!("{errno} is more than 65535"));
        }
        Action::ScmpActErrno | Action::ScmpActTrace => {}
        _ => report.fault(
            at,
            format!("{action} returns no error number, only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do"),
        ),
    }
}
