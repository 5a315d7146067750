//! `orlop events`: what a container uses, at intervals, and when the kernel ran out of memory for it.

mod shape;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use orlop_core::cgroup::OomWatch;
use orlop_core::sys::Reason;
use orlop_core::{Container, ErrorKind};

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;
use crate::{output, time};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let interval = match matches.text("interval")? {
        Some(text) => time::duration(text).ok_or_else(|| {
            matches.fault(&format!("--interval \"{text}\" is not a duration such as 5s or 1m30s"))
        })?,
        None => DEFAULT_INTERVAL,
    };
    if interval.is_zero() {
        return Err(Failure::new("duration interval must be greater than 0"));
    }
    let container = context.runtime()?.open(matches.id()?)?;
    if matches.has("stats") {
        return print_stats(&container).map_err(Into::into);
    }
    stream(&container, interval)
}

/// Prints until the container's first process has ended.
fn stream(container: &Container, interval: Duration) -> Result<(), Failure> {
    let mut watch = container.oom_watch()?;
    let init = match container.pidfd() {
        Ok(init) => init,
        Err(error) if has_gone(&error) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut due = Instant::now() + interval;
    loop {
        let mut fds = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.as_ref().map(|watch| PollFd::new(watch.as_fd(), watch.poll_flags())));
        let left = due.saturating_duration_since(Instant::now());
        // Rounded up, so that it is due when the time is over; a longer wait than poll can take is cut, and goes on.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(Failure::new(format!("cannot wait for events: {}", Reason::from(errno))));
            }
        }
        let ended = fds[0].any().unwrap_or(false);
        // Asked also at the end: that an OOM killed the first process may be heard of after its end.
        if let Some(watch) = &mut watch {
            print_oom(container.id(), watch)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= due {
            due += interval;
            match print_stats(container) {
                Err(Problem::Engine(error)) if has_gone(&error) => return Ok(()),
                result => result?,
            }
        }
    }
}

/// Ended, or deleted, since it was looked at last.
fn has_gone(error: &orlop_core::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotRunning | ErrorKind::NotFound)
}

fn print_oom(id: &str, watch: &mut OomWatch) -> Result<(), Failure> {
    let count = watch.take().map_err(|error| Failure::new(error.to_string()))?;
    if count > 0 { output::print(&shape::oom(id)) } else { Ok(()) }
}

/// Why there are no figures: the engine has none, or nobody reads them.
enum Problem {
    Engine(orlop_core::Error),
    Output(Failure),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Engine(error) => error.into(),
            Problem::Output(failure) => failure,
        }
    }
}

fn print_stats(container: &Container) -> Result<(), Problem> {
    let stats = container.stats().map_err(Problem::Engine)?;
    let rdt = container.rdt_stats().map_err(Problem::Engine)?;
    let line = shape::stats(container.id(), &stats, &rdt.unwrap_or_default());
    let line =
        line.map_err(|error| Problem::Output(Failure::new(format!("cannot print the figures: {error}"))))?;
    output::print(&line).map_err(Problem::Output)
}
