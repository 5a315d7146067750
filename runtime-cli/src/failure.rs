//! How a command fails: one message for the user, one status for the caller.

use std::fmt;

/// Why the command ends without success.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line for the log and standard error; `None` where nobody is left to read it.
    pub message: Option<String>,
    /// The exit status.
    pub status: u8,
}

/// The status of a command that failed.
const GENERAL: u8 = 1;
/// The status of an unknown command, as runc's is.
const UNKNOWN_COMMAND: u8 = 3;
/// What a shell reports for a process that SIGPIPE ended (128 + 13).
const BROKEN_PIPE: u8 = 141;

impl Failure {
    /// A failure with the general exit status.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), status: GENERAL }
    }

    /// A failure of the command line: there is no such command.
    pub fn unknown_command(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), status: UNKNOWN_COMMAND }
    }

    /// Nobody reads our output any more: the reason needs no words.
    pub fn broken_pipe() -> Self {
        Self { message: None, status: BROKEN_PIPE }
    }

    /// The same failure, said to have happened in `what`.
    #[must_use]
    pub fn within(mut self, what: &str) -> Self {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }

    /// The same failure with another exit status.
    #[must_use]
    pub fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or("broken pipe"))
    }
}

impl From<orlop_core::Error> for Failure {
    /// The engine's errors are one complete line each.
    fn from(error: orlop_core::Error) -> Self {
        Self::new(error.to_string())
    }
}
