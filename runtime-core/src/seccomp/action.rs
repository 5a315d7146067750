//! The spec's actions as what a filter returns.

use oci_spec::runtime::LinuxSeccompAction as Spec;
use std::fmt;

/// What a filter returns: `SECCOMP_RET_*` with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(pub u32);

const ACTION: u32 = 0xffff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

impl Action {
    /// What a process of a foreign architecture gets.
    pub(super) const KILL: Self = Self(KILL_THREAD);

    /// What a call that is newer than the profile gets.
    pub(super) const NO_SUCH_CALL: Self = Self(ERRNO | libc::ENOSYS.unsigned_abs());

    /// `action` with its `errnoRet`; without one, EPERM where there is one.
    pub(super) fn new(action: Spec, data: Option<u32>) -> Self {
        // Wider values were refused.
        let data = data.unwrap_or(libc::EPERM.unsigned_abs()) & !ACTION;
        Self(match action {
            Spec::ScmpActKill | Spec::ScmpActKillThread => KILL_THREAD,
            Spec::ScmpActKillProcess => KILL_PROCESS,
            Spec::ScmpActTrap => TRAP,
            Spec::ScmpActErrno => ERRNO | data,
            Spec::ScmpActTrace => TRACE | data,
            Spec::ScmpActLog => LOG,
            Spec::ScmpActNotify => NOTIFY,
            Spec::ScmpActAllow => ALLOW,
        })
    }

    pub(super) fn notifies(self) -> bool {
        self.0 & ACTION == NOTIFY
    }

    /// Whether a program may make calls that nobody thought of.  A tracer answers for itself.
    pub(super) fn permissive(self) -> bool {
        matches!(self.0 & ACTION, ALLOW | LOG | TRACE)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = self.0 & !ACTION;
        match self.0 & ACTION {
            KILL_PROCESS => f.write_str("kill the process"),
            KILL_THREAD => f.write_str("kill the thread"),
            TRAP => f.write_str("trap"),
            ERRNO => match i32::try_from(data) {
                Ok(errno) if errno != 0 => {
                    write!(f, "errno {data} ({:?})", nix::errno::Errno::from_raw(errno))
                }
                _ => write!(f, "errno {data}"),
            },
            TRACE => write!(f, "trace {data}"),
            LOG => f.write_str("log"),
            NOTIFY => f.write_str("notify"),
            ALLOW => f.write_str("allow"),
            _ => write!(f, "{:#010x}", self.0),
        }
    }
}
