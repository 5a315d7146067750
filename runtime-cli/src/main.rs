//! `orlop`: runc's command line over [`orlop_core`].
//!
//! Nothing here knows how a container is made: every command translates its flags into calls of the engine, and the
//! engine's answers into runc's output, log lines and exit statuses.

mod args;
mod commands;
mod console;
mod failure;
mod foreground;
mod log;
mod notify;
mod output;
mod owners;
mod program;
mod root;
mod signals;
mod socket;
mod time;
mod trace;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = env::args_os();
    let program = program::name(args.next());
    ExitCode::from(program::run(&program, args.collect()))
}
