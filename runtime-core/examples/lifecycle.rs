//! Creates, starts, kills and deletes a container.  Arguments: a state directory and a bundle whose program does not end.

use orlop_core::{CreateOptions, ErrorKind, Runtime, Status};
use std::error::Error;
use std::path::{Path, PathBuf};

/// The status after each operation.
pub fn run(state: &Path, bundle: &Path) -> Result<Vec<Status>, Box<dyn Error>> {
    let runtime = Runtime::new(state);
    let options = CreateOptions { id: "lifecycle".into(), bundle: bundle.into(), ..CreateOptions::default() };
    let mut container = runtime.create(options)?;
    let process = container.take_process().ok_or("the creator has the process")?;
    let mut seen = vec![container.state()?.status];

    container.start()?;
    seen.push(container.state()?.status);

    container.kill(libc::SIGKILL, false)?;
    process.wait()?;
    seen.push(container.state()?.status);

    container.delete(false)?;
    match runtime.open("lifecycle") {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(seen),
        Err(e) => Err(e.into()),
        Ok(_) => Err("it is still there".into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [state, bundle] = args.as_slice() else { return Err("usage: lifecycle STATE BUNDLE".into()) };
    println!("{:?}", run(state, bundle)?);
    Ok(())
}
