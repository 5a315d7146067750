//! Processes that the library has made for its caller.

use crate::error::{Error, ErrorKind};
use crate::sys::Child;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::{AsFd, BorrowedFd};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// A signal killed it.
    Signaled(i32),
}

impl ExitStatus {
    /// The status a shell would give: 128 and the signal's number for a signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// A process of a container that is a child of the calling process, held by a pidfd.
///
/// Its descriptor becomes readable when the process ends: hand [`AsFd::as_fd`] to any event loop, then call
/// [`Process::try_wait`].  Dropping it neither ends nor reaps the process.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn new(child: Child) -> Self {
        Self { child }
    }

    /// Its process id, in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Errors
    /// When it was reaped already.
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        loop {
            if let Some(status) = self.wait_with(WaitPidFlag::WEXITED)? {
                return Ok(status);
            }
        }
    }

    /// Reaps it if it has ended; `None` when it still runs.
    ///
    /// # Errors
    /// When it was reaped already.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, Error> {
        self.wait_with(WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)
    }

    fn wait_with(&self, flags: WaitPidFlag) -> Result<Option<ExitStatus>, Error> {
        match waitid(Id::PIDFd(self.as_fd()), flags) {
            Ok(WaitStatus::Exited(_, status)) => Ok(Some(ExitStatus::Exited(status))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(ExitStatus::Signaled(signal as i32))),
            Ok(_) | Err(nix::Error::EINTR) => Ok(None),
            Err(e) => Err(Error::because(ErrorKind::Host, format!("wait for process {}", self.pid()), e)),
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}
