//! One module per command.

mod spec;

use std::path::PathBuf;

use crate::args::Matches;
use crate::failure::Failure;

/// What the global flags say to every command.
#[derive(Debug)]
pub struct Context {
    /// The name the program was called by.
    pub program: String,
    /// `--root`, if given.
    pub root: Option<PathBuf>,
    /// `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// `--rootless`; `None` is auto.
    pub rootless: Option<bool>,
}

/// Runs one command and returns the exit status.
///
/// # Errors
/// Whatever the command could not do.
pub fn run(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    match matches.command().name {
        "spec" => spec::run(matches).map(|()| 0),
        name => Err(Failure::new(format!("{} {name} is not available yet", context.program))),
    }
}
