//! One module per command.

mod check;
mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod launch;
mod list;
mod pause;
mod plan;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::path::{Path, PathBuf};

use orlop_core::sys::Reason;
use orlop_core::{ExitStatus, Runtime};

use crate::args::Matches;
use crate::failure::Failure;
use crate::root;

/// What the global flags say to every command.
#[derive(Debug)]
pub struct Context {
    /// The name the program was called by.
    pub program: String,
    /// `--root`, if given.
    pub root: Option<PathBuf>,
    /// `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// `--rootless`, where it is not `auto`.
    pub rootless_cgroups: Option<bool>,
}

impl Context {
    /// The engine on the state root: where `--root` says, or where this caller's containers are by default.
    ///
    /// # Errors
    /// There is no such place.
    pub fn runtime(&self) -> Result<Runtime, Failure> {
        let root = match &self.root {
            Some(path) => std::path::absolute(path).map_err(|error| {
                Failure::new(format!(
                    "cannot make --root {} absolute: {}",
                    path.display(),
                    Reason::of(&error)
                ))
            })?,
            None => root::default_root()?,
        };
        Ok(Runtime::new(root))
    }

    /// A failure of a command whose failures begin with its name, as runc's do.
    pub fn failed(&self, command: &str, failure: Failure) -> Failure {
        failure.within(&format!("{} {command} failed", self.program))
    }
}

/// Runs one command and returns the exit status.
///
/// # Errors
/// Whatever the command could not do.
pub fn run(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let name = matches.command().name;
    if matches!(name, "create" | "run" | "exec" | "start") {
        // What runs in a container can reach the file that we run from, through /proc/PID/exe (CVE-2019-5736).
        orlop_core::protect::reexec_if_needed()
            .map_err(|error| Failure::new(format!("cannot protect the runtime's own binary: {error}")))?;
    }
    match name {
        "run" => return run::run(context, matches),
        "exec" => return exec::run(context, matches),
        "check" => return check::run(matches),
        "restore" => return restore::run(context, matches),
        "checkpoint" => checkpoint::run(context, matches),
        "create" => create::run(context, matches),
        "start" => start::run(context, matches),
        "kill" => kill::run(context, matches),
        "pause" => pause::run(context, matches),
        "resume" => resume::run(context, matches),
        "update" => update::run(context, matches),
        "ps" => ps::run(context, matches),
        "events" => events::run(context, matches),
        "delete" => delete::run(context, matches),
        "state" => state::run(context, matches),
        "list" => list::run(context, matches),
        "spec" => spec::run(matches),
        "plan" => plan::run(context, matches),
        "features" => features::run(),
        name => Err(Failure::new(format!("{} {name} is not available yet", context.program))),
    }
    .map(|()| 0)
}

/// The exit status of the process as ours: 128 and the signal's number for one that a signal ended.
fn exit_status(status: ExitStatus) -> u8 {
    u8::try_from(status.code()).unwrap_or(u8::MAX)
}

/// Writes a file beside the one it replaces, so that a reader finds all of it or none.
pub fn write_atomically(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let fault = |error: std::io::Error| {
        Failure::new(format!("cannot write {}: {}", path.display(), Reason::of(&error)))
    };
    let Some(name) = path.file_name() else {
        return Err(Failure::new(format!("cannot write {}: it names no file", path.display())));
    };
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        // Nothing was there before us under this name, and nothing is to stay.
        let _ = std::fs::remove_file(&temporary);
        fault(error)
    })
}
