//! The one error of the public interface.

use crate::sys::{Reason, SysError};
use std::error::Error as StdError;
use std::fmt;

/// What kind of failure an [`Error`] is, for programs to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no container of that id.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The container's process does not run (any more).
    NotRunning,
    /// The container is in a state that does not allow the operation.
    InvalidState,
    /// An argument is wrong: an id, an option.
    InvalidArgument,
    /// config.json is wrong, or asks for what this host cannot give.
    InvalidConfig,
    /// The program was not found in the container.
    ExecutableNotFound,
    /// The program may not be executed.
    ExecutableNotAllowed,
    /// A hook failed.
    Hook,
    /// The kernel refused a step of the launch.
    Launch,
    /// Anything else: the host's file systems, processes, memory.
    Host,
}

/// Why an operation failed, in one line: what was done, to which object, and the reason, most general first.
///
/// The line is complete (the causes are in it), so print it once and nothing else.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a cause.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// An error with a cause; `message` says what was being done.
    #[cold]
    pub(crate) fn because(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The system call that failed, where the cause is one.
    pub(crate) fn call(&self) -> Option<SysError> {
        self.0.source.as_ref()?.downcast_ref().copied()
    }

    /// The same error, as something that happened during `doing`.
    #[cold]
    pub(crate) fn during(mut self, doing: &str) -> Self {
        let colon = if self.0.message.is_empty() { "" } else { ": " };
        self.0.message = format!("{doing}{colon}{}", self.0.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(source) = &self.0.source {
            if !self.0.message.is_empty() {
                f.write_str(": ")?;
            }
            match (source.downcast_ref::<std::io::Error>(), source.downcast_ref::<nix::errno::Errno>()) {
                (Some(error), _) => f.write_str(&Reason::of(error))?,
                (_, Some(errno)) => Reason::from(*errno).fmt(f)?,
                _ => write!(f, "{source}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The cause's text is part of ours: a reader that walks the chain must not see it twice.
        None
    }
}

impl From<crate::state::StateError> for Error {
    fn from(e: crate::state::StateError) -> Self {
        use crate::state::StateError;
        let kind = match &e {
            StateError::InvalidId { .. } => ErrorKind::InvalidArgument,
            StateError::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            StateError::NotFound { .. } => ErrorKind::NotFound,
            _ => ErrorKind::Host,
        };
        Self::because(kind, "", e)
    }
}

impl From<crate::cgroup::CgroupError> for Error {
    fn from(e: crate::cgroup::CgroupError) -> Self {
        Self::because(ErrorKind::Host, "", e)
    }
}

impl From<crate::spec::SpecError> for Error {
    fn from(e: crate::spec::SpecError) -> Self {
        Self::because(ErrorKind::InvalidConfig, "", e)
    }
}

impl From<crate::plan::PlanError> for Error {
    fn from(e: crate::plan::PlanError) -> Self {
        Self::because(ErrorKind::InvalidConfig, "", e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_one_line() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let e = Error::because(ErrorKind::Host, "read x", std::io::Error::from_raw_os_error(2))
            .during("start c1");
        assert_eq!(e.to_string(), "start c1: read x: no such file or directory");
        let e = Error::because(ErrorKind::Host, "read x", nix::errno::Errno::EACCES);
        assert_eq!(e.to_string(), "read x: permission denied");
    }
}
