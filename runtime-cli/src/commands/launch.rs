//! What `create` and `run` have in common: options in, and what is told about the new process out.

use std::env;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;

use orlop_core::sys;
use orlop_core::{Bundle, CreateOptions, Half, Observe, Runtime};

use super::{Context, write_atomically};
use crate::args::Matches;
use crate::console::{Arrival, Offer};
use crate::failure::Failure;
use crate::notify::Relay;
use crate::socket;
use crate::trace::{Observer, Trace};

/// A container that is about to be launched.
pub struct Launch {
    /// For the engine.
    pub options: CreateOptions,
    /// The way of `sd_notify(3)` messages, and where they go, if somebody waits for them.
    pub relay: Option<(Relay, OsString)>,
    /// Whom the process is made known to.
    pub told: Told,
}

impl Launch {
    /// Reads the flags and connects the sockets: what cannot be reached is better known before there is a container.
    ///
    /// # Errors
    /// A flag is wrong, or a socket cannot be reached.
    pub fn new(context: &Context, runtime: &Runtime, matches: &Matches) -> Result<Self, Failure> {
        let id = matches.id()?.to_owned();
        let told = Told::new(matches)?;
        let (listen_fds, listen_fdnames) = activation();
        let relay = Relay::wanted(runtime.root(), &id);
        let options = CreateOptions {
            bundle: matches.path("bundle")?.unwrap_or_default(),
            console_socket: console_socket(matches)?,
            no_pivot: matches.has("no-pivot"),
            no_new_keyring: matches.has("no-new-keyring"),
            preserve_fds: preserve_fds(matches, listen_fds)?,
            listen_fds,
            listen_fdnames,
            notify_socket: relay.as_ref().map(|(relay, _)| relay.socket()),
            systemd_cgroup: context.systemd_cgroup,
            rootless_cgroups: context.rootless_cgroups,
            observe: told.observe(),
            observer: told.observer(),
            id,
            ..CreateOptions::default()
        };
        Ok(Self { options, relay, told })
    }

    /// Whether the process has a terminal, which then must have somewhere to go.
    ///
    /// # Errors
    /// Terminal and console socket do not fit together.
    pub fn has_terminal(&mut self, context: &Context, detach: bool) -> Result<bool, Failure> {
        let bundle = Bundle::load(&self.options.bundle)?;
        let terminal = bundle.has_terminal();
        self.options.loaded = Some(bundle);
        check_console(context, terminal, self.options.console_socket.is_some(), detach)?;
        Ok(terminal)
    }
}

/// Makes the directory of the container's notify socket, if it has one; who launches it owns it then.
///
/// # Errors
/// It cannot be made.
pub fn prepare_relay(wanted: &mut Option<(Relay, OsString)>) -> Result<(), Failure> {
    if let Some((relay, _)) = wanted
        && !relay.prepare()?
    {
        *wanted = None;
    }
    Ok(())
}

/// Takes down what was prepared for a launch that failed.
pub fn withdraw(relay: Option<&(Relay, OsString)>) {
    if let Some((relay, _)) = relay {
        relay.remove();
    }
}

/// Whom a new process is made known to, and how.
pub struct Told {
    pid_file: Option<PathBuf>,
    pidfd_socket: Option<OwnedFd>,
    trace: Option<Trace>,
}

impl Told {
    /// Reads the flags, and connects.
    ///
    /// # Errors
    /// A flag is wrong, or the pidfd's socket cannot be reached.
    pub fn new(matches: &Matches) -> Result<Self, Failure> {
        Ok(Self {
            pid_file: matches.path("pid-file")?,
            pidfd_socket: matches.path("pidfd-socket")?.map(|path| socket::connect(&path)).transpose()?,
            trace: matches.path("trace")?.map(Trace::to_file),
        })
    }

    /// As [`Told::new`], for a command that has a pid file only.
    ///
    /// # Errors
    /// The flag is wrong.
    pub fn by_file(matches: &Matches) -> Result<Self, Failure> {
        Ok(Self { pid_file: matches.path("pid-file")?, pidfd_socket: None, trace: None })
    }

    /// How much of the launch is of interest.
    pub fn observe(&self) -> Observe {
        if self.trace.is_some() { Observe::Report } else { Observe::No }
    }

    /// Who listens to the launch.
    pub fn observer(&self) -> Option<Observer> {
        self.trace.as_ref().map(Trace::observer)
    }

    /// Writes the trace, whether the launch succeeded or not: the steps before a failure are the ones of interest.
    pub fn write_trace(&mut self) {
        if let Some(Err(failure)) = self.trace.take().map(Trace::write) {
            log::warn!("{failure}");
        }
    }

    /// Tells who wants to know of the new process.
    ///
    /// # Errors
    /// The pid file cannot be written, or the pidfd not be sent.
    pub fn tell(&self, pid: i32, pidfd: impl AsFd) -> Result<(), Failure> {
        if let Some(socket) = &self.pidfd_socket {
            let sent = sys::send_fd(sys::Fd::from(socket), b"pidfd", sys::Fd::from(pidfd.as_fd()));
            sent.map_err(|error| Failure::new(format!("cannot send the pidfd: {error}")))?;
        }
        // The file comes last: who waits for it finds everything else done.
        match &self.pid_file {
            Some(path) => write_atomically(path, pid.to_string().as_bytes()),
            None => Ok(()),
        }
    }
}

/// Offers the engine a place for the process's terminal, and looks for it after every step of the launch: before the
/// program runs.
///
/// # Errors
/// No descriptors are left.
pub fn offer_console(
    console_socket: &mut Option<OwnedFd>,
    observer: &mut Option<Observer>,
) -> Result<Arrival, Failure> {
    let (offer, theirs) = Offer::new()?;
    let (watcher, arrival) = offer.split();
    *console_socket = Some(theirs);
    let mut traced = observer.take();
    *observer = Some(Box::new(move |step| {
        if step.half == Half::Parent {
            watcher.look();
        }
        if let Some(traced) = &mut traced {
            traced(step);
        }
    }));
    Ok(arrival)
}

/// A terminal has one place to go to: the socket, or, in the foreground, ours.
///
/// # Errors
/// It has none, or there is no terminal; in runc's words, which engines know.
pub fn check_console(context: &Context, terminal: bool, socket: bool, detach: bool) -> Result<(), Failure> {
    let program = &context.program;
    match (terminal, socket) {
        (true, false) if detach => Err(Failure::new(format!(
            "cannot allocate tty if {program} will detach without setting console socket"
        ))),
        (false, true) => Err(Failure::new(format!(
            "cannot use console socket if {program} will not detach or allocate tty"
        ))),
        _ => Ok(()),
    }
}

/// `--console-socket`, connected.
///
/// # Errors
/// Nobody listens there.
pub fn console_socket(matches: &Matches) -> Result<Option<OwnedFd>, Failure> {
    matches.path("console-socket")?.map(|path| socket::connect(&path)).transpose()
}

/// `--preserve-fds`, after so many of `LISTEN_FDS`: descriptors that our caller has left open for us.  One that we have opened
/// ourselves under such a number (a log, a directory of the host's) must not get into the container in its place.
///
/// # Errors
/// One of them is not there.
pub fn preserve_fds(matches: &Matches, listen_fds: u32) -> Result<u32, Failure> {
    let count = matches.number("preserve-fds", "a number of descriptors")?.unwrap_or(0);
    let all = i32::try_from(listen_fds.saturating_add(count)).unwrap_or(i32::MAX);
    match (3..all.saturating_add(3)).find(|fd| !sys::is_inherited(sys::Fd(*fd))) {
        Some(fd) => Err(Failure::new(format!("preserve-fds: descriptor {fd} is not open"))),
        None => Ok(count),
    }
}

/// Socket activation, if it is meant for us and not for a process between the manager and us (`sd_listen_fds(3)`).
fn activation() -> (u32, Option<String>) {
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    match (number("LISTEN_FDS"), number("LISTEN_PID")) {
        (Some(count), Some(pid)) if pid == process::id() => (count, env::var("LISTEN_FDNAMES").ok()),
        _ => (0, None),
    }
}

/// Removes what the CLI itself keeps for a container.
pub fn forget(root: &Path, id: &str) {
    crate::notify::remove(root, id);
}
