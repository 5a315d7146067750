//! Runs a second process in a running container.  Arguments: a state directory, a bundle whose program does not end, and the
//! command to run in it.

use orlop_core::{CreateOptions, ExecOptions, Runtime};
use std::error::Error;
use std::path::{Path, PathBuf};

/// The exit code of `command` in a container of the bundle.
pub fn run(state: &Path, bundle: &Path, command: &[&str]) -> Result<i32, Box<dyn Error>> {
    let options = CreateOptions { id: "exec".into(), bundle: bundle.into(), ..CreateOptions::default() };
    let (container, first) = Runtime::new(state).run(options)?;
    let options =
        ExecOptions { args: command.iter().map(ToString::to_string).collect(), ..ExecOptions::default() };
    let result = container.exec(options).and_then(|process| process.wait());
    // Whatever became of the command, the container goes.
    container.kill(libc::SIGKILL, false)?;
    first.wait()?;
    container.delete(false)?;
    Ok(result?.code())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [state, bundle, command @ ..] = args.as_slice() else {
        return Err("usage: exec STATE BUNDLE COMMAND [ARGUMENT...]".into());
    };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    println!("{}", run(&PathBuf::from(state), &PathBuf::from(bundle), &command)?);
    Ok(())
}
