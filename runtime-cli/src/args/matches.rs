//! What was written on a command line, by the names of the flags.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;

use super::Command;
use crate::failure::Failure;

/// The flags and operands of one parsed command line.
#[derive(Debug)]
pub struct Matches {
    command: &'static Command,
    path: String,
    pub(super) values: Vec<(&'static str, OsString)>,
    /// The operands, in order.
    pub operands: Vec<OsString>,
}

impl Matches {
    pub(super) fn new(command: &'static Command, program: &str) -> Self {
        Self { command, path: command.path(program), values: Vec::new(), operands: Vec::new() }
    }

    /// The command these belong to.
    pub fn command(&self) -> &'static Command {
        self.command
    }

    /// A usage error of this command, with the way to its help.
    pub fn fault(&self, what: &str) -> Failure {
        Failure::new(format!("{}: {what} (see {} --help)", self.path, self.path))
    }

    /// Whether a switch is on.
    pub fn has(&self, long: &str) -> bool {
        self.known(long);
        self.values.iter().any(|(name, _)| *name == long)
    }

    /// The last value of a flag.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.known(long);
        self.values.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// The last value of a flag, as a path.
    ///
    /// # Errors
    /// A path that is the empty string.
    pub fn path(&self, long: &str) -> Result<Option<PathBuf>, Failure> {
        match self.value(long) {
            Some(value) if value.is_empty() => Err(self.fault(&format!("--{long} is empty"))),
            value => Ok(value.map(PathBuf::from)),
        }
    }

    /// The last value of a flag, as text.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn text(&self, long: &str) -> Result<Option<&str>, Failure> {
        self.value(long).map(|value| self.utf8(long, value)).transpose()
    }

    /// All values of a flag, as text, in order.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn texts(&self, long: &str) -> Result<Vec<String>, Failure> {
        self.known(long);
        let values = self.values.iter().filter(|(name, _)| *name == long);
        values.map(|(_, value)| self.utf8(long, value).map(str::to_owned)).collect()
    }

    /// The last value of a flag, as a number or anything else that is read from text.
    ///
    /// # Errors
    /// A value that does not read as `T`; `what` says in words what it should be.
    pub fn number<T: FromStr>(&self, long: &str, what: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(long)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.fault(&format!("--{long} \"{text}\" is not {what}")))
    }

    /// The value of a flag that takes one of a few words, the first of which is the default.
    ///
    /// # Errors
    /// Any other word.
    pub fn choice(&self, long: &str, choices: &[&'static str]) -> Result<&'static str, Failure> {
        let Some(text) = self.text(long)? else { return Ok(choices[0]) };
        let found = choices.iter().copied().find(|choice| *choice == text);
        found.ok_or_else(|| self.fault(&format!("--{long} \"{text}\" is none of {}", choices.join(", "))))
    }

    /// The container's id, the first operand.
    ///
    /// # Errors
    /// An id that is not UTF-8, and so no valid id.
    pub fn id(&self) -> Result<&str, Failure> {
        let id = self.operands.first().map_or(OsStr::new(""), OsString::as_os_str);
        id.to_str()
            .ok_or_else(|| Failure::new(format!("invalid container ID format: \"{}\"", id.to_string_lossy())))
    }

    fn utf8<'a>(&self, long: &str, value: &'a OsStr) -> Result<&'a str, Failure> {
        let text = value.to_str();
        text.ok_or_else(|| {
            self.fault(&format!("--{long} \"{}\" is not valid UTF-8", value.to_string_lossy()))
        })
    }

    /// A flag that is asked for but in no table would be silently off for ever.
    fn known(&self, long: &str) {
        debug_assert!(
            long == super::HELP.long || self.command.flags.iter().any(|flag| flag.long == long),
            "{} has no flag --{long}",
            self.path
        );
    }
}
