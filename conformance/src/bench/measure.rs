//! Starts a program and waits for it, by the clock.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::sys::pidfd_open;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};

use super::Failure;
use super::world::{Command, Round, World};

/// A container that runs `true` has failed when it takes longer, in milliseconds.
pub const PATIENCE: u16 = 30_000;

/// Starts programs; Ctrl-C and SIGTERM are held back while one runs, and end the bench after it, cleanly.
pub struct Stopwatch {
    interrupts: SignalFd,
    interrupted: Cell<bool>,
    attributes: PosixSpawnAttr,
}

/// How a program ended, and when.
struct Run {
    status: WaitStatus,
    time: Duration,
}

impl Stopwatch {
    /// Holds the signals back from here on.
    pub fn new() -> Result<Self, Failure> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block()?;
        let interrupts = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
        attributes.set_sigmask(&SigSet::empty())?;
        Ok(Self { interrupts, interrupted: Cell::new(false), attributes })
    }

    fn run(&self, words: &[CString], stderr: &Path) -> Result<Run, Failure> {
        let mut files = PosixSpawnFileActions::init()?;
        files.add_open(0, "/dev/null", OFlag::O_RDONLY, Mode::empty())?;
        files.add_open(1, "/dev/null", OFlag::O_WRONLY, Mode::empty())?;
        let create = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
        files.add_open(2, stderr, create, Mode::from_bits_truncate(0o600))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let environment = [CString::new([b"PATH=", path.as_bytes()].concat())?];
        let arguments: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();

        let begun = Instant::now();
        let pid = posix_spawn(words[0].as_c_str(), &files, &self.attributes, &arguments, &environment)?;
        let pidfd = pidfd_open(pid)?;
        let mut watched = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let ready = loop {
            match poll(&mut watched, PollTimeout::from(PATIENCE)) {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        if ready == 0 {
            kill(pid, Signal::SIGKILL)?;
        }
        let status = waitpid(pid, None)?;
        let time = begun.elapsed();
        Ok(Run { status, time })
    }

    /// Runs `delete --force` after a failure.
    fn clean(&self, world: &World, command: &Command) -> Result<(), Failure> {
        if let Some(words) = &command.delete {
            self.run(words, &world.stderr().with_extension("delete"))?;
        }
        Ok(())
    }

    fn attempt(&self, world: &World, command: &Command) -> Result<Result<Duration, String>, Failure> {
        let run = self.run(&command.words, &world.stderr())?;
        let good = matches!(run.status, WaitStatus::Exited(_, 0));
        if !good {
            self.clean(world, command)?;
        }
        self.check()?;
        if good {
            return Ok(Ok(run.time));
        }
        let words = fs::read_to_string(world.stderr()).unwrap_or_default();
        let last = words.lines().next_back().unwrap_or("it said nothing");
        Ok(Err(match run.status {
            WaitStatus::Exited(_, status) => format!("status {status}: {last}"),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => format!("hung for {} s: {last}", PATIENCE / 1000),
            other => format!("{other:?}: {last}"),
        }))
    }

    /// Does a round: the time of the command that is timed, or what the one said that failed.
    pub fn time(&self, world: &World, round: &Round) -> Result<Result<Duration, String>, Failure> {
        for command in &round.before {
            if let Err(words) = self.attempt(world, command)? {
                return Ok(Err(words));
            }
        }
        let time = self.attempt(world, &round.timed)?;
        for command in &round.after {
            if let Err(words) = self.attempt(world, command)? {
                return Ok(Err(words));
            }
        }
        Ok(time)
    }

    /// Fails when somebody has asked meanwhile that the bench ends.
    pub fn check(&self) -> Result<(), Failure> {
        if self.interrupts.read_signal()?.is_some() {
            self.interrupted.set(true);
        }
        if self.interrupted.get() {
            return Err(Failure("interrupted; everything is cleaned up".to_owned()));
        }
        Ok(())
    }

    /// Does what comes before the timed command of a round, and after it, around `work`.
    pub fn around<T>(
        &self,
        world: &World,
        round: &Round,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        for command in &round.before {
            self.attempt(world, command)?.map_err(Failure)?;
        }
        let outcome = work();
        for command in &round.after {
            self.attempt(world, command)?.map_err(Failure)?;
        }
        outcome
    }
}
