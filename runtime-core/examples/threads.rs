//! Runs containers from several threads of one program.  Arguments: a state directory and a bundle.

use orlop_core::{CreateOptions, Runtime};
use std::path::{Path, PathBuf};

/// Four threads each run a container of the same bundle; the exit codes.
pub fn run(state: &Path, bundle: &Path) -> Result<Vec<i32>, orlop_core::Error> {
    let runtime = Runtime::new(state);
    let one = |n: i32| -> Result<i32, orlop_core::Error> {
        let options =
            CreateOptions { id: format!("thread-{n}"), bundle: bundle.into(), ..CreateOptions::default() };
        let (container, process) = runtime.run(options)?;
        let status = process.wait()?;
        container.delete(false)?;
        Ok(status.code())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || one(n))).collect();
        threads.into_iter().map(|t| t.join().expect("the thread does not panic")).collect()
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [state, bundle] = args.as_slice() else { return Err("usage: threads STATE BUNDLE".into()) };
    println!("{:?}", run(state, bundle)?);
    Ok(())
}
