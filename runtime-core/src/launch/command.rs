//! Programs that a launch runs beside the container: hooks, and the helpers that write id maps.
//!
//! They are made like the container's own process, by clone3 and bare calls, so that any thread of any program may
//! start one (invariants I2 and I9); and they are watched through a pidfd, without a signal handler.

use crate::sys::{self, Call, CloneArgs, Fd, Reason, StringVector, SysError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much of the end of standard error an error holds.
const STDERR_TAIL: usize = 4096;
/// The lowest descriptor that is not in the way of standard streams and of the report.
const FIRST_FREE: i32 = 4;
/// Where the child keeps the socket that reports a failure; the next execve closes it.
const REPORT: Fd = Fd(3);

/// A program, and what it gets.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// Absolute path.
    pub path: &'a CStr,
    /// Arguments, argv\[0\] included.
    pub args: Vec<CString>,
    /// The whole environment.
    pub env: Vec<CString>,
    /// What it reads from standard input.
    pub stdin: &'a [u8],
    /// Its working directory, if that can be entered; else the caller's.
    pub directory: Option<&'a CStr>,
    /// Namespaces to enter first, in this order: descriptor and `CLONE_NEW*` flags.
    pub join: &'a [(BorrowedFd<'a>, i32)],
    /// When it is killed.
    pub timeout: Option<Duration>,
}

/// Why a program did not run, or did not succeed.
#[derive(Debug)]
pub enum CommandError {
    /// A call of the caller's side failed.
    Prepare {
        /// Which.
        call: &'static str,
        /// Why.
        errno: Errno,
    },
    /// The new process could not become the program.
    Start(SysError),
    /// It ended by itself, and not with status 0.
    Status {
        /// The exit status.
        status: i32,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A signal ended it.
    Signal {
        /// Which.
        signal: Signal,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// It ran for too long and was killed.
    Timeout {
        /// How long it was given.
        limit: Duration,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// It ended, but its exit status went to somebody else: the calling program ignores `SIGCHLD`, or waits for any child.
    StatusTaken,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stderr = match self {
            Self::Prepare { call, errno } => return write!(f, "{call}: {}", Reason::from(*errno)),
            Self::Start(error) => return error.fmt(f),
            Self::StatusTaken => {
                return f.write_str(
                    "its exit status was taken by another part of this program (SIGCHLD ignored?)",
                );
            }
            Self::Status { status, stderr } => write!(f, "exit status {status}").map(|()| stderr)?,
            Self::Signal { signal, stderr } => write!(f, "killed by {signal}").map(|()| stderr)?,
            Self::Timeout { limit, stderr } => {
                write!(f, "killed after its timeout of {} s", limit.as_secs()).map(|()| stderr)?
            }
        };
        // One line, whatever the program wrote.
        let mut lines = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if let Some(first) = lines.next() {
            write!(f, ": {first}")?;
        }
        lines.try_for_each(|line| write!(f, "; {line}"))
    }
}

impl std::error::Error for CommandError {}

fn prepare(call: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |error| CommandError::Prepare {
        call,
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// As [`prepare`], for a failed call of [`sys`].
fn refused(error: SysError) -> CommandError {
    CommandError::Prepare { call: error.call.name(), errno: Errno::from_raw(error.errno) }
}

/// As [`prepare`], for a failed call of nix.
fn nix_refused(call: &'static str) -> impl Fn(Errno) -> CommandError {
    move |errno| CommandError::Prepare { call, errno }
}

/// Everything the child needs, made before the clone.
struct Prepared<'a> {
    path: &'a CStr,
    args: StringVector,
    env: StringVector,
    directory: Option<&'a CStr>,
    join: &'a [(BorrowedFd<'a>, i32)],
    streams: [OwnedFd; 3],
    report: OwnedFd,
}

impl Command<'_> {
    /// Runs the program and waits until it ends; success is exit status 0.
    pub(super) fn run(self) -> Result<(), CommandError> {
        let deadline = self.timeout.map(|limit| (Instant::now() + limit, limit));
        let (report, child_report) = sys::socketpair().map_err(refused)?;
        let (stderr, child_stderr) = stderr_pipe().map_err(nix_refused("pipe2"))?;
        let null = sys::openat(Fd::CWD, c"/dev/null", libc::O_RDWR, 0).map(sys::own).map_err(refused)?;
        let prepared = Prepared {
            path: self.path,
            args: StringVector::new(self.args),
            env: StringVector::new(self.env),
            directory: self.directory,
            join: self.join,
            streams: [above(input(self.stdin)?)?, above(null)?, above(child_stderr)?],
            report: above(child_report)?,
        };
        let joins_pid = self.join.iter().any(|(_, kinds)| kinds & libc::CLONE_NEWPID != 0);
        // No exit signal until execve restores it: the calling program's SIGCHLD handling does not see a child
        // that fails before.
        let args = CloneArgs { no_signal: true, ..CloneArgs::default() };
        let first =
            sys::clone3(&args, || if joins_pid { stage(&prepared) } else { become_program(&prepared) })
                .map_err(refused)?;
        drop(prepared);
        let (pidfd, failure) = if joins_pid { second(&report, &first.pidfd)? } else { (first.pidfd, None) };
        Watch { pidfd, stderr: Some(stderr), report: Some(report), tail: Vec::new(), failure, deadline }
            .wait()
    }
}

/// A pipe of which only our end does not block.
fn stderr_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((ours, theirs))
}

/// What the program reads: a file in memory, because it may be larger than a pipe and need not be read at all.
fn input(content: &[u8]) -> Result<OwnedFd, CommandError> {
    let fd = nix::sys::memfd::memfd_create(c"stdin", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)
        .map_err(nix_refused("memfd_create"))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content).and_then(|()| file.rewind()).map_err(prepare("write"))?;
    Ok(file.into())
}

/// Moves a descriptor out of the way of those that the child arranges: the caller may have closed its streams.
fn above(fd: OwnedFd) -> Result<OwnedFd, CommandError> {
    use nix::fcntl::{FcntlArg, fcntl};
    if fd.as_raw_fd() >= FIRST_FREE {
        return Ok(fd);
    }
    fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE))
        .map(|raw| sys::own(Fd(raw)))
        .map_err(nix_refused("fcntl"))
}

/// The child, from clone to execve.  Bare (invariant I2).
fn become_program(p: &Prepared<'_>) -> Infallible {
    match hide(p).and_then(|()| join(p.join)).and_then(|()| arrange(p)) {
        Ok(()) => give_up(REPORT, sys::execve(p.path, &p.args, &p.env)),
        Err(error) => give_up(Fd::from(&p.report), error),
    }
}

/// Who is in the namespaces already must not look into us (CVE-2016-9962): we have what the calling program has open.  Bare.
fn hide(p: &Prepared<'_>) -> sys::Result<()> {
    if p.join.is_empty() { Ok(()) } else { sys::set_undumpable() }
}

/// The child when it joins a pid namespace: only children of who joins are in it, so one is made, as a sibling, and its pidfd
/// is handed back.  Bare.
fn stage(p: &Prepared<'_>) -> Infallible {
    let args = CloneArgs {
        flags: libc::CLONE_PARENT.unsigned_abs().into(),
        no_signal: true,
        ..CloneArgs::default()
    };
    let made = hide(p).and_then(|()| join(p.join)).and_then(|()| {
        sys::clone3(&args, || match arrange(p) {
            Ok(()) => give_up(REPORT, sys::execve(p.path, &p.args, &p.env)),
            Err(error) => give_up(Fd::from(&p.report), error),
        })
    });
    let child = match made {
        Ok(child) => child,
        Err(error) => give_up(Fd::from(&p.report), error),
    };
    let pid = child.pid.to_ne_bytes();
    if sys::send_fd(Fd::from(&p.report), &pid, Fd::from(&child.pidfd)).is_err() {
        // Nobody would watch it.  It is the caller's to bury, who learns its pid at least.
        let _ = sys::pidfd_send_signal(Fd::from(&child.pidfd), libc::SIGKILL);
        let _ = sys::send(Fd::from(&p.report), &pid);
    }
    sys::exit(0)
}

/// Streams, signals, directory, and nothing else open but the report.  Bare.
fn arrange(p: &Prepared<'_>) -> sys::Result<()> {
    for (stream, number) in p.streams.iter().zip(0..) {
        sys::dup3(Fd::from(stream), Fd(number), true)?;
    }
    sys::set_signal_mask(0)?;
    // A Rust program ignores it, and ignored signals are inherited.
    sys::reset_signal(libc::SIGPIPE)?;
    if let Some(directory) = p.directory {
        // A bundle may be gone when poststop hooks run, which is no reason not to run them.
        let _ = sys::chdir(directory);
    }
    sys::dup3(Fd::from(&p.report), REPORT, false)?;
    // What the calling program has open and has not marked must not reach the program (invariant I5).
    sys::close_range(FIRST_FREE.unsigned_abs(), u32::MAX, 0)
}

/// Enters the namespaces, and becomes root of a user namespace among them.  Bare.
fn join(namespaces: &[(BorrowedFd<'_>, i32)]) -> sys::Result<()> {
    for (fd, kinds) in namespaces {
        let others = kinds & !libc::CLONE_NEWUSER;
        match sys::setns(Fd::from(*fd), *kinds) {
            // One of them belongs to our user namespace, where we have no rights any more after entering the other.
            Err(e) if e.errno == libc::EPERM && others != *kinds => {
                sys::setns(Fd::from(*fd), others)?;
                sys::setns(Fd::from(*fd), libc::CLONE_NEWUSER)?;
            }
            r => r?,
        }
        if kinds & libc::CLONE_NEWUSER != 0 {
            // A namespace without a root user is left as it is: its ids say EINVAL.
            for become_root in [sys::setresgid, sys::setresuid] {
                match become_root(0) {
                    Err(e) if e.errno != libc::EINVAL => return Err(e),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Reports the failure and ends.  Bare.
pub(super) fn give_up(report: Fd, error: SysError) -> ! {
    let [a, b] = (error.call as u16).to_ne_bytes();
    let [c, d, e, f] = error.errno.to_ne_bytes();
    // A parent that is gone wants no report.
    let _ = sys::send(report, &[a, b, c, d, e, f]);
    sys::exit(127)
}

/// What comes over the report socket.
pub(super) enum Report {
    /// The socket was closed: execve succeeded.
    Closed,
    /// A descriptor: of the program's process, which the stage has made, or of what else the child was to open.
    Made(OwnedFd),
    /// A process, by its pid: the descriptor has not come along (too many are open).
    Unwatched(i32),
    /// A call failed.
    Failed(SysError),
}

/// Takes one record.
pub(super) fn receive(report: &OwnedFd) -> Result<Report, CommandError> {
    let mut record = [0u8; 6];
    let (len, fd) = receive_fd(report, &mut record).map_err(nix_refused("recvmsg"))?;
    let [a, b, c, d, e, f] = record;
    Ok(match (fd, len) {
        (Some(fd), _) => Report::Made(fd),
        (None, 0) => Report::Closed,
        (None, 4) => Report::Unwatched(i32::from_ne_bytes([a, b, c, d])),
        (None, _) => Report::Failed(SysError {
            call: Call::from_number(u16::from_ne_bytes([a, b])).unwrap_or(Call::Check),
            errno: i32::from_ne_bytes([c, d, e, f]),
        }),
    })
}

/// Receives bytes, and a descriptor when one comes with them (`unix(7)`); close-on-exec from birth.
pub fn receive_fd(socket: &OwnedFd, bytes: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut control = nix::cmsg_space!([i32; 1]);
    let mut iov = [io::IoSliceMut::new(bytes)];
    loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut control), flags) {
            Err(Errno::EINTR) => continue,
            r => r?,
        };
        let fd = message.cmsgs()?.find_map(|c| match c {
            ControlMessageOwned::ScmRights(fds) => fds.first().map(|raw| sys::own(Fd(*raw))),
            _ => None,
        });
        return Ok((message.bytes, fd));
    }
}

/// Buries the stage, and takes the pidfd of the program's process from it, and what that process has reported meanwhile.
///
/// A process that cannot be watched is killed and buried here: as a zombie in the container's pid namespace it would keep the first
/// process of that from ending, for which we wait (`pid_namespaces(7)`).
fn second(report: &OwnedFd, stage: &OwnedFd) -> Result<(OwnedFd, Option<SysError>), CommandError> {
    // Its records are queued when it ends.  The program's process may have put one before the pidfd.
    let ended = reap(stage.as_fd());
    let mut failure = None;
    // The stage's own failure, or ours; a record may be there all the same.
    let mut fault = match ended {
        Ok(WaitStatus::Exited(..)) => None,
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            Some(CommandError::Signal { signal, stderr: String::new() })
        }
        _ => Some(CommandError::StatusTaken),
    };
    let made = matches!(ended, Ok(WaitStatus::Exited(_, 0))) || fault.is_some();
    let mut tries = 0;
    loop {
        match receive(report) {
            Ok(Report::Made(pidfd)) => match fault {
                None => return Ok((pidfd, failure)),
                Some(fault) => {
                    // One that has ended is buried alike.
                    let _ = sys::pidfd_send_signal(Fd::from(&pidfd), libc::SIGKILL);
                    let _ = reap(pidfd.as_fd());
                    return Err(fault);
                }
            },
            Ok(Report::Unwatched(pid)) => {
                bury(pid);
                return Err(fault.unwrap_or(CommandError::Prepare { call: "recvmsg", errno: Errno::EMFILE }));
            }
            Ok(Report::Failed(error)) if made => failure = Some(error),
            Ok(Report::Failed(error)) => return Err(fault.unwrap_or(CommandError::Start(error))),
            Ok(Report::Closed) => return Err(fault.unwrap_or(CommandError::StatusTaken)),
            Err(error) => {
                tries += 1;
                if tries > 2 {
                    return Err(error);
                }
                fault = fault.or(Some(error));
            }
        }
    }
}

/// Kills a child of ours that nobody watches, and reaps it: until then its pid is its own.
fn bury(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::__WALL) == Err(Errno::EINTR) {}
}

/// Waits for the end of the child behind `pidfd`, whatever its exit signal is, and for no other.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> nix::Result<WaitStatus> {
    loop {
        match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED | WaitPidFlag::__WALL) {
            Err(Errno::EINTR) => {}
            r => return r,
        }
    }
}

/// A running program.
struct Watch {
    pidfd: OwnedFd,
    /// Until everybody who could write to it has closed it.
    stderr: Option<OwnedFd>,
    /// Until execve closes it.
    report: Option<OwnedFd>,
    /// The end of standard error.
    tail: Vec<u8>,
    /// What the child reported.
    failure: Option<SysError>,
    /// When it is killed, and how long it was given.
    deadline: Option<(Instant, Duration)>,
}

impl Watch {
    /// Waits until the program has ended, and judges.
    fn wait(mut self) -> Result<(), CommandError> {
        let followed = self.follow();
        if followed.is_err() {
            // It is not watched any more, so it must not go on.
            self.kill();
        }
        let status = reap(self.pidfd.as_fd());
        let timed_out = followed?;
        if let Some(error) = self.failure {
            return Err(CommandError::Start(error));
        }
        let stderr = String::from_utf8_lossy(&self.tail).into_owned();
        match (status, timed_out) {
            (Ok(WaitStatus::Exited(_, 0)), _) => Ok(()),
            (Ok(WaitStatus::Exited(_, status)), _) => Err(CommandError::Status { status, stderr }),
            (_, Some(limit)) => Err(CommandError::Timeout { limit, stderr }),
            (Ok(WaitStatus::Signaled(_, signal, _)), None) => Err(CommandError::Signal { signal, stderr }),
            (_, None) => Err(CommandError::StatusTaken),
        }
    }

    /// Takes what comes until the program has ended; returns the time limit when it was passed.
    fn follow(&mut self) -> Result<Option<Duration>, CommandError> {
        let mut timed_out = None;
        while !self.step(timed_out.is_none())? {
            let Some((at, limit)) = self.deadline else { continue };
            if timed_out.is_none() && Instant::now() >= at {
                timed_out = Some(limit);
                self.kill();
            }
        }
        // A process that it left behind may hold the other end: what is there is taken, and no more is waited for.
        self.drain();
        Ok(timed_out)
    }

    /// An error means that it has ended by itself, which is just as well.
    fn kill(&self) {
        let _ = sys::pidfd_send_signal(Fd::from(&self.pidfd), libc::SIGKILL);
    }

    /// Waits for something to happen, until the deadline when `limited`; true when the program has ended.
    fn step(&mut self, limited: bool) -> Result<bool, CommandError> {
        let left = match self.deadline {
            Some((at, _)) if limited => round_up(at.saturating_duration_since(Instant::now())),
            _ => PollTimeout::NONE,
        };
        // The pidfd stands in for those that are at their end, which poll would report again and again.
        let [report, stderr] = [&self.report, &self.stderr].map(|fd| fd.as_ref().unwrap_or(&self.pidfd));
        let mut fds = [&self.pidfd, report, stderr].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, left) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(CommandError::Prepare { call: "poll", errno }),
        }
        let [ended, reported, wrote] = fds.map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        if reported
            && let Some(report) = self.report.take()
            && let Report::Failed(error) = receive(&report)?
        {
            self.failure = Some(error);
        }
        if wrote {
            self.drain();
        }
        Ok(ended)
    }

    /// Takes what is in the pipe, once: a program that writes without end must not hold us here.
    fn drain(&mut self) {
        let mut chunk = [0u8; 16 * STDERR_TAIL];
        let Some(stderr) = &self.stderr else { return };
        match nix::unistd::read(stderr, &mut chunk) {
            Ok(0) => self.stderr = None,
            Ok(len) => {
                self.tail.extend_from_slice(chunk.get(..len).unwrap_or_default());
                let excess = self.tail.len().saturating_sub(STDERR_TAIL);
                self.tail.drain(..excess);
            }
            // Nothing there yet.
            Err(_) => {}
        }
    }
}

/// For poll, which counts in milliseconds and must not return before the time has come.
fn round_up(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left + Duration::from_nanos(999_999)).unwrap_or(PollTimeout::MAX)
}
