//! `linux.seccomp`: the filter, and where in the order of the steps it is loaded.

use super::compiler::{Input, Report, Steps};
use super::{ChildStep, HostFacts, HostStep, Planned, capabilities};
use crate::seccomp::{self, Action, Filter, Machine};
use crate::state::SeccompListener;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};

pub(super) const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The filter of the configuration, and who gets its listener.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) filter: Option<Filter>,
    pub(super) listener: Option<SeccompListener>,
}

/// Compiles the profile.
pub(super) fn compile(input: &Input<'_>, report: &mut Report) -> Profile {
    let Some(given) = input.linux().and_then(|linux| linux.seccomp().as_ref()) else {
        return Profile::default();
    };
    let filter = match seccomp::compile(given, Machine::native()) {
        Ok(filter) => filter,
        Err(faults) => {
            report.faults.extend(faults);
            return Profile::default();
        }
    };
    for (path, text) in &filter.warnings {
        report.warn(path, text);
    }
    let notifies = filter.notifies();
    let waits = given.flags().iter().flatten().any(|f| *f == Flag::SeccompFilterFlagWaitKillableRecv);
    // Without a listener the kernel is not asked for it.
    if waits && notifies {
        let what = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
        report.need_kernel(input.facts, (5, 19), "linux.seccomp.flags", what);
    }
    let listener = notifies.then(|| listener(given, input)).flatten();
    Profile { filter: Some(filter), listener }
}

/// A relative path means the bundle, as with runc; that there is a path is validated.
fn listener(given: &LinuxSeccomp, input: &Input<'_>) -> Option<SeccompListener> {
    let path = input.options.bundle.join(given.listener_path().as_ref()?);
    Some(SeccompListener { path, metadata: given.listener_metadata().clone() })
}

/// The first of the parent's steps: nothing is made before the agent is known to be there.
pub(super) fn check_step(listener: Option<&SeccompListener>) -> Option<Planned<HostStep>> {
    let path = listener?.path.clone();
    Some(super::compiler::planned(HostStep::CheckListener { path }, "linux.seccomp.listenerPath"))
}

/// Where the filter is loaded, and what that takes.
pub(super) struct Load<'a> {
    filter: &'a Filter,
    /// The capabilities of the program, when `CAP_SYS_ADMIN` is kept beyond them until the filter is loaded.
    give_up: Option<capabilities::Sets>,
}

/// Decides what loading `filter` takes: nothing, with no_new_privs; else `CAP_SYS_ADMIN`, which the process keeps beside its
/// capabilities `sets` until then.
pub(super) fn load<'a>(
    filter: Option<&'a Filter>,
    no_new_privileges: bool,
    user_namespace: bool,
    sets: capabilities::Sets,
    facts: &HostFacts,
    report: &mut Report,
) -> Option<Load<'a>> {
    let filter = filter?;
    if !no_new_privileges && !user_namespace && facts.permitted & CAP_SYS_ADMIN == 0 {
        report.fault(
            "linux.seccomp",
            "without process.noNewPrivileges the kernel lets only who has CAP_SYS_ADMIN load a filter, and the caller has \
             it not: set process.noNewPrivileges",
        );
    }
    let has = sets.effective & sets.permitted & CAP_SYS_ADMIN != 0;
    let load = Load { filter, give_up: (!no_new_privileges && !has).then_some(sets) };
    load.check(report);
    Some(load)
}

impl Load<'_> {
    /// The capabilities to have while waiting for the filter.
    pub(super) fn sets_before(&self, sets: capabilities::Sets) -> capabilities::Sets {
        let kept = if self.give_up.is_some() { CAP_SYS_ADMIN } else { 0 };
        capabilities::Sets { effective: sets.effective | kept, permitted: sets.permitted | kept, ..sets }
    }

    /// Loads, as the last thing before execve or before the one call that must come after.
    pub(super) fn steps(&self, steps: &mut Steps) {
        steps.push(ChildStep::Seccomp(self.filter.clone()), "linux.seccomp");
        if let Some(capabilities::Sets { effective, permitted, inheritable, .. }) = self.give_up {
            let step = ChildStep::GiveUpSysAdmin { effective, permitted, inheritable };
            steps.push(step, "linux.seccomp, without process.noNewPrivileges");
        }
    }

    /// A filter under which the program could never be started is refused before anything is made.
    fn check(&self, report: &mut Report) {
        let capset = self.give_up.map(|_| {
            let why = "with which the process gives up CAP_SYS_ADMIN when the filter is loaded (not needed with \
                       process.noNewPrivileges)";
            (libc::SYS_capset, "capset", why)
        });
        let calls = [capset, Some((libc::SYS_execve, "execve", "with which the program is started"))];
        for (number, name, why) in calls.into_iter().flatten() {
            if let Some(refusal) = refusal(self.filter, number) {
                report.fault("linux.seccomp", format!("{name}, {why}, would get: {refusal}"));
            }
        }
    }
}

/// What the filter does with system call `number` of this machine instead of letting it happen; `None` when it does that, asks
/// somebody, or looks at the arguments.
pub(super) fn refusal(filter: &Filter, number: libc::c_long) -> Option<Action> {
    const ACTION: u32 = 0xffff_0000;
    /// `SECCOMP_RET_USER_NOTIF`, `TRACE`, `LOG`, `ALLOW`
    const LETS_PASS: [u32; 4] = [0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000];
    let action = evaluate(filter, u32::try_from(number).ok()?)?;
    (!LETS_PASS.contains(&(action & ACTION))).then_some(Action(action))
}

/// What the program returns for a call of this machine; `None` when that depends on more than its number.
fn evaluate(filter: &Filter, number: u32) -> Option<u32> {
    /// `AUDIT_ARCH_*`
    const ARCH: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };
    let (mut at, mut accumulator) = (0usize, 0u32);
    // Jumps go forward only.
    while let Some(op) = filter.program.get(at) {
        at += 1;
        let branch = |taken: bool| usize::from(if taken { op.jt } else { op.jf });
        match op.code {
            // BPF_LD | BPF_W | BPF_ABS of struct seccomp_data
            0x20 => {
                accumulator = match op.k {
                    0 => number,
                    4 => ARCH,
                    _ => return None,
                }
            }
            0x06 => return Some(op.k),
            0x05 => at += op.k as usize,
            0x15 => at += branch(accumulator == op.k),
            0x25 => at += branch(accumulator > op.k),
            0x35 => at += branch(accumulator >= op.k),
            0x45 => at += branch(accumulator & op.k != 0),
            0x54 => accumulator &= op.k,
            _ => return None,
        }
    }
    None
}

/// The names of `SECCOMP_FILTER_FLAG_*`.
pub(super) fn flag_names(flags: u32) -> Vec<&'static str> {
    const NAMES: [&str; 6] =
        ["TSYNC", "LOG", "SPEC_ALLOW", "NEW_LISTENER", "TSYNC_ESRCH", "WAIT_KILLABLE_RECV"];
    NAMES.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(profile: &str) -> Filter {
        seccomp::compile(&serde_json::from_str(profile).unwrap(), Machine::native()).unwrap()
    }

    #[test]
    fn what_a_filter_refuses_is_known_beforehand() {
        let one = |action: &str, errno: &str| {
            filter(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["execve"],"action":"{action}"{errno}}}]}}"#
            ))
        };
        for (action, errno, refused) in [
            ("SCMP_ACT_ERRNO", "", Some(0x0005_0001)),
            ("SCMP_ACT_ERRNO", r#","errnoRet":38"#, Some(0x0005_0026)),
            ("SCMP_ACT_KILL_PROCESS", "", Some(0x8000_0000)),
            ("SCMP_ACT_KILL", "", Some(0)),
            ("SCMP_ACT_TRAP", "", Some(0x0003_0000)),
            ("SCMP_ACT_LOG", "", None),
            ("SCMP_ACT_NOTIFY", "", None),
            ("SCMP_ACT_TRACE", "", None),
        ] {
            let filter = one(action, errno);
            assert_eq!(refusal(&filter, libc::SYS_execve), refused.map(Action), "{action}{errno}");
            assert_eq!(refusal(&filter, libc::SYS_capset), None, "{action}{errno}");
        }
    }

    #[test]
    fn a_short_list_is_found_out() {
        let filter = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","capset"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(refusal(&filter, libc::SYS_execve), Some(Action(0x0005_0001)));
        assert_eq!(refusal(&filter, libc::SYS_capset), None);
    }
}
