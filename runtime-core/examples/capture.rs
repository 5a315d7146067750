//! Owns a container's stdin and stdout, and reads what it writes.  Arguments: a state directory and a bundle.

use orlop_core::{CreateOptions, Runtime};
use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Runs the bundle with nothing to read; what it wrote to stdout and stderr, and its exit code.
pub fn run(state: &Path, bundle: &Path) -> Result<(String, i32), Box<dyn Error>> {
    let (mut output, end) = std::io::pipe()?;
    let options = CreateOptions {
        id: "capture".into(),
        bundle: bundle.into(),
        stdio: Some([File::open("/dev/null")?.into(), end.try_clone()?.into(), end.into()]),
        ..CreateOptions::default()
    };
    let (container, process) = Runtime::new(state).run(options)?;
    // The library has closed our copies of the writing end, so this ends when the container's last one is closed.
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    let status = process.wait()?;
    container.delete(false)?;
    Ok((text, status.code()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [state, bundle] = args.as_slice() else { return Err("usage: capture STATE BUNDLE".into()) };
    println!("{:?}", run(state, bundle)?);
    Ok(())
}
