//! A command line of anybody's choosing, one argument a line: it is parsed, or refused in one line that a log can take.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

#[allow(dead_code, unused_imports)] // what only the command uses
#[path = "../../runtime-cli/src/args/mod.rs"]
mod args;
#[allow(dead_code)] // named by `args`
#[path = "../../runtime-cli/src/failure.rs"]
mod failure;

fuzz_target!(|bytes: &[u8]| {
    let line: Vec<OsString> =
        bytes.split(|byte| *byte == b'\n').map(|arg| OsString::from_vec(arg.to_vec())).collect();
    let global = match args::GLOBAL.parse("orlop", line) {
        Ok(matches) => matches,
        Err(failure) => return refused(&failure),
    };
    let mut operands = global.operands.into_iter();
    let Some(command) = operands.next().and_then(|name| args::find_command(name.to_str()?)) else { return };
    match command.parse("orlop", operands.collect()) {
        Ok(matches) if matches.has("help") => {}
        Ok(matches) => {
            assert!((command.at_least..=command.at_most).contains(&matches.operands.len()));
            look_at_all(command, &matches);
        }
        Err(failure) => refused(&failure),
    }
});

/// Every flag, read in every way: only what is asked for the wrong way is refused.
fn look_at_all(command: &'static args::Command, matches: &args::Matches) {
    for flag in command.flags {
        matches.has(flag.long);
        let _ = matches.path(flag.long).map_err(|failure| refused(&failure));
        let _ = matches.texts(flag.long).map_err(|failure| refused(&failure));
        let _ = matches.number::<i32>(flag.long, "a number").map_err(|failure| refused(&failure));
        let _ = matches.choice(flag.long, &["table", "json"]).map_err(|failure| refused(&failure));
    }
    let _ = matches.id().map_err(|failure| refused(&failure));
}

fn refused(failure: &failure::Failure) {
    assert_ne!(failure.status, 0);
    assert!(failure.message.as_ref().is_some_and(|message| !message.is_empty()));
}
