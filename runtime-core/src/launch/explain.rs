//! A failed step in words: what was done, for which place of the configuration, and why it failed.

use super::launched::ends_within;
use super::protocol::STAGE;
use crate::cgroup::Placement;
use crate::error::{Error, ErrorKind};
use crate::plan::{ChildStep, Plan};
use crate::state::has_executed;
use crate::sys::{self, Call, Child, Ended, Fd, Reason, SysError};
use std::os::fd::AsFd;

/// What we did ourselves, and why it failed.
pub fn failed(doing: &str, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::because(ErrorKind::Launch, doing, e)
}

const NO_MORE_NAMESPACES: &str = " (a limit of /proc/sys/user/max_*_namespaces is reached)";

/// Errors of clone that mean something else than their text.
pub fn explain_clone(e: SysError) -> String {
    let hint = match e.errno {
        libc::EPERM => {
            " (no right to make these namespaces: is a user namespace missing, or are they disabled?)"
        }
        libc::ENOSPC => NO_MORE_NAMESPACES,
        libc::EUSERS => " (user namespaces are nested too deep)",
        libc::EAGAIN => " (a limit on the number of processes is reached)",
        libc::EINVAL => " (the kernel lacks one of these kinds of namespace)",
        _ => "",
    };
    format!("{e}{hint}")
}

/// The words for a step of the child that failed.
pub fn explain_failure(plan: &Plan, step: u16, error: SysError) -> Error {
    let start = "unable to start container process";
    let name = &plan.program.name;
    let Some(planned) = plan.child.get(usize::from(step)) else {
        let what = match (step, error.call) {
            (STAGE, Call::Openat2) => "process.oomScoreAdj: write /proc/self/oom_score_adj",
            (STAGE, _) => "leave the caller's environment or join a namespace",
            _ => "unknown step",
        };
        return Error::because(ErrorKind::Launch, format!("{start}: {what}"), error);
    };
    match planned.step {
        ChildStep::FindExecutable | ChildStep::Execute => explain_execute(name, plan.program.searched, error),
        _ => {
            let what = format!("{start}: {}: {}", planned.origin, plan.child_words(step.into()));
            Error::because(ErrorKind::Launch, what, explain_errno(&planned.step, error))
        }
    }
}

/// Error numbers that mislead, in words (`style.md`, habit 4).
fn explain_errno(step: &ChildStep, e: SysError) -> String {
    let hint = match (step, e.call, e.errno) {
        (ChildStep::NewNetworkNamespace, _, libc::ENOSPC) => NO_MORE_NAMESPACES,
        (ChildStep::Mount(_), Call::Check, libc::ELOOP) => " (links of the image lead it into /proc)",
        (ChildStep::Mount(_), Call::Fsopen, libc::ENODEV) => " (the kernel does not know this file system)",
        (ChildStep::Mount(_), Call::MoveMount, libc::ENOTDIR) => {
            " (a directory can be mounted on a directory only, and a file on a file)"
        }
        (ChildStep::Chdir { .. }, Call::Getcwd, libc::EXDEV) => {
            " (current working directory is outside of container mount namespace root -- possible container breakout detected)"
        }
        // Everything else that this call does has a way round it.
        (_, Call::MountSetattr, libc::ENOSYS) => {
            " (an option for a whole tree (rro and the like) needs Linux 5.12)"
        }
        (ChildStep::NewKeyring { .. }, _, libc::EDQUOT) => " (the key quota of this user is used up)",
        (ChildStep::Console { .. }, Call::Check, _) => " (/dev/pts/ptmx is not the multiplexer of a devpts)",
        (ChildStep::Seccomp(_), ..) => explain_filter(e.errno),
        (_, Call::Check, libc::ENXIO) => " (a different device lies there)",
        _ => "",
    };
    format!("{e}{hint}")
}

/// Error numbers of seccomp(2).
fn explain_filter(errno: i32) -> &'static str {
    match errno {
        libc::EACCES => " (without no_new_privs it takes CAP_SYS_ADMIN)",
        libc::EBUSY => " (a filter with a listener is in force already: of an outer container?)",
        libc::EINVAL => " (this kernel lacks a flag or an action of the profile, or seccomp filters)",
        libc::EAGAIN => {
            " (a limit on the number of processes is reached, or the scheduling policy allows no thread)"
        }
        _ => "",
    }
}

/// Why a process that was told to start has fallen silent, when that is not because it runs the program: something has killed it,
/// or a seccomp filter that refuses execve refuses the calls of a report too, or kills.
pub fn silence(
    child: &Child,
    filtered: bool,
    cgroup: Option<&Placement>,
    plan: Option<&Plan>,
) -> Option<Error> {
    if !never_executes(child) {
        return None;
    }
    let start = "unable to start container process";
    let refused = format!("{start}: linux.seccomp: execve, or capset before it, is not allowed");
    let message = match sys::wait_child(Fd::from(&child.pidfd), libc::WNOWAIT | libc::WNOHANG) {
        Ok(Some(Ended::Exited(errno))) if filtered && errno > 0 => {
            format!("{refused}: refused with: {}", Reason(errno))
        }
        Ok(Some(Ended::Killed(libc::SIGSYS))) if filtered => {
            format!("{refused}: and the process was killed by its filter (SIGSYS)")
        }
        Ok(Some(Ended::Killed(signal))) => {
            format!("{start}: it was killed by signal {signal} before it ran its program")
        }
        // Its status is for somebody else (orlop create has ended).
        _ if filtered => {
            format!("{refused}, or it was killed: the process has ended before it ran its program")
        }
        _ => format!("{start}: it has ended before it ran its program"),
    };
    Some(explain_death(Error::new(ErrorKind::Launch, message), cgroup, plan))
}

/// Whether a process whose connection is closed ends without having executed anything.
///
/// That it has not done so yet says nothing: on Linux 6.12 with many processes at work, the end of the file has been seen before the
/// kernel called the process executed.  So it is looked at until it has executed something or has ended.
fn never_executes(child: &Child) -> bool {
    // Of one that has been reaped nothing is known, and its pid may have been another's by then.
    let gone = |e: SysError| e.errno == libc::ESRCH;
    let waiting = || {
        has_executed(child.pid) == Some(false)
            && !sys::pidfd_send_signal(Fd::from(&child.pidfd), 0).is_err_and(gone)
    };
    for _ in 0..LOOKS {
        if !waiting() {
            return false;
        }
        if ends_within(child.pidfd.as_fd(), 1) {
            return waiting();
        }
    }
    // It lives, and may yet execute something; or it cannot end, as the first process of a pid namespace in which another is not reaped.
    false
}

/// How often [`never_executes`] looks at a process that does not end: for two seconds, with a millisecond between.
const LOOKS: u32 = 2000;

/// The death of a process before its program: a memory limit can be too low for the set-up itself.
pub fn explain_death(died: Error, cgroup: Option<&Placement>, plan: Option<&Plan>) -> Error {
    if cgroup.is_some_and(Placement::oom_killed) {
        return died.during("container init was OOM-killed (memory limit too low?)");
    }
    // systemd removes the group of a unit with its last process, and the count of those killed with it.
    let gone = cgroup.is_some_and(|placement| !placement.exists());
    if gone && plan.is_some_and(|plan| plan.has_unit() && plan.limits_memory()) {
        return died.during("container init was killed (memory limit too low?)");
    }
    died
}

/// A failure after `start`, of which the step is not known, but the call.
pub fn explain_started(name: &str, e: SysError) -> Error {
    let hint = match e.call {
        Call::Seccomp | Call::Clone3 => explain_filter(e.errno),
        Call::Capset => "",
        _ => return explain_execute(name, !name.contains('/'), e),
    };
    let message = format!("unable to start container process: linux.seccomp: {e}{hint}");
    Error::new(ErrorKind::Launch, message)
}

/// The words that engines know for a program that cannot be executed.
pub fn explain_execute(name: &str, searched: bool, e: SysError) -> Error {
    let start = format!("unable to start container process: exec: {name:?}");
    match (e.call, e.errno) {
        (Call::Faccessat2, libc::ENOENT) if searched => {
            Error::new(ErrorKind::ExecutableNotFound, format!("{start}: executable file not found in $PATH"))
        }
        (Call::Faccessat2, libc::ENOENT) => Error::new(
            ErrorKind::ExecutableNotFound,
            format!("{start}: stat {name}: no such file or directory"),
        ),
        (_, libc::ENOENT) => {
            Error::new(ErrorKind::ExecutableNotFound, format!("{start}: no such file or directory"))
        }
        // Docker up to 20.10 makes 126 of the last two words only, later ones of the first three as well.
        (_, libc::EISDIR) => {
            Error::new(ErrorKind::ExecutableNotAllowed, format!("{start}: is a directory: permission denied"))
        }
        (_, libc::EACCES) => {
            Error::new(ErrorKind::ExecutableNotAllowed, format!("{start}: permission denied"))
        }
        (_, libc::ENOEXEC) => {
            Error::new(ErrorKind::ExecutableNotAllowed, format!("{start}: exec format error"))
        }
        _ => Error::because(ErrorKind::Launch, start, e),
    }
}

pub fn broken() -> Error {
    Error::new(ErrorKind::Launch, "the container's process broke the protocol")
}
