//! Processes that the library has made for its caller.

use crate::error::{Error, ErrorKind};
use crate::sys::{self, Child, Ended, Fd};
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
            if let Some(status) = self.wait_with(0)? {
                return Ok(status);
            }
        }
    }

    /// Reaps it if it has ended; `None` when it still runs.
    ///
    /// # Errors
    /// When it was reaped already.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, Error> {
        self.wait_with(libc::WNOHANG)
    }

    fn wait_with(&self, flags: i32) -> Result<Option<ExitStatus>, Error> {
        let ended = sys::wait_child(Fd::from(self.as_fd()), flags)
            .map_err(|e| Error::because(ErrorKind::Host, format!("wait for process {}", self.pid()), e))?;
        Ok(ended.map(|ended| match ended {
            Ended::Exited(status) => ExitStatus::Exited(status),
            Ended::Killed(signal) => ExitStatus::Signaled(signal),
        }))
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }
}
