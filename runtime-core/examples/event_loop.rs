//! Waits for several containers at once in one poll(2) loop, without a thread or a signal handler.  Arguments: a state
//! directory and a bundle.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orlop_core::{Container, CreateOptions, Process, Runtime};
use std::error::Error;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Runs three containers; id and exit code of each, in the order in which they ended.
pub fn run(state: &Path, bundle: &Path) -> Result<Vec<(String, i32)>, Box<dyn Error>> {
    let runtime = Runtime::new(state);
    let mut running: Vec<(Container, Process)> = Vec::new();
    for n in 0..3 {
        let options =
            CreateOptions { id: format!("loop-{n}"), bundle: bundle.into(), ..CreateOptions::default() };
        running.push(runtime.run(options)?);
    }
    let mut ended = Vec::new();
    while !running.is_empty() {
        let mut fds: Vec<_> =
            running.iter().map(|(_, process)| PollFd::new(process.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut fds, PollTimeout::NONE)?;
        let ready = fds.iter().position(|fd| fd.any().unwrap_or(false));
        if let Some(index) = ready
            && let Some(status) = running[index].1.try_wait()?
        {
            let (container, _) = running.swap_remove(index);
            ended.push((container.id().to_owned(), status.code()));
            container.delete(false)?;
        }
    }
    Ok(ended)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [state, bundle] = args.as_slice() else { return Err("usage: event_loop STATE BUNDLE".into()) };
    println!("{:?}", run(state, bundle)?);
    Ok(())
}
