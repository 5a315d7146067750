//! A failed step in words: what was done, for which place of the configuration, and why it failed.

use super::protocol::STAGE;
use crate::error::{Error, ErrorKind};
use crate::plan::{ChildStep, Plan};
use crate::sys::{Call, SysError};

/// Errors of clone that mean something else than their text.
pub fn explain_clone(e: SysError) -> String {
    let hint = match e.errno {
        libc::EPERM => {
            " (no right to make these namespaces: is a user namespace missing, or are they disabled?)"
        }
        libc::ENOSPC => " (a limit of /proc/sys/user/max_*_namespaces is reached)",
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
        let what =
            if step == STAGE { "leave the caller's environment or join a namespace" } else { "unknown step" };
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
        (ChildStep::Mount(_), Call::Fsopen, libc::ENODEV) => " (the kernel does not know this file system)",
        (ChildStep::Chdir { .. }, Call::Getcwd, libc::EXDEV) => {
            " (current working directory is outside of container mount namespace root -- possible container breakout detected)"
        }
        // Everything else that this call does has a way round it.
        (_, Call::MountSetattr, libc::ENOSYS) => {
            " (an option for a whole tree (rro and the like) needs Linux 5.12)"
        }
        (ChildStep::NewKeyring { .. }, _, libc::EDQUOT) => " (the key quota of this user is used up)",
        (ChildStep::Console { .. }, Call::Check, _) => " (/dev/pts/ptmx is not the multiplexer of a devpts)",
        (_, Call::Check, libc::ENXIO) => " (a different device lies there)",
        _ => "",
    };
    format!("{e}{hint}")
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
        (_, libc::EACCES | libc::EISDIR) => Error::new(
            ErrorKind::ExecutableNotAllowed,
            format!(
                "{start}: {}",
                if e.errno == libc::EISDIR { "is a directory" } else { "permission denied" }
            ),
        ),
        (_, libc::ENOEXEC) => {
            Error::new(ErrorKind::ExecutableNotAllowed, format!("{start}: exec format error"))
        }
        _ => Error::because(ErrorKind::Launch, start, e),
    }
}

pub fn broken() -> Error {
    Error::new(ErrorKind::Launch, "the container's process broke the protocol")
}
