//! `orlop`: runc's command line over [`orlop_core`].
//!
//! Nothing here knows how a container is made: every command translates its flags into calls of the engine, and the
//! engine's answers into runc's output, log lines and exit statuses.

#![cfg_attr(not(test), no_main)]

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

#[cfg(not(test))]
orlop_core::program!(start);

#[cfg_attr(test, allow(dead_code))] // the tests are a program of their own
fn start() -> u8 {
    let mut args = std::env::args_os();
    let program = program::name(args.next());
    program::run(&program, args.collect())
}
