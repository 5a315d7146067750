//! Programs that a caller runs beside its containers, with descriptors at given numbers: a logger of their output, say.

use crate::error::{Error, ErrorKind};
use crate::process::Process;
use crate::sys::{self, Child, CloneArgs, Fd, StringVector, SysError};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A program, and what it gets.
#[derive(Debug, Default)]
pub struct Helper<'a> {
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// The whole environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Its descriptors from 0 on; no other is open in it.
    pub fds: Vec<BorrowedFd<'a>>,
}

struct Prepared {
    path: CString,
    args: StringVector,
    env: StringVector,
    fds: Vec<OwnedFd>,
    report: OwnedFd,
}

impl Helper<'_> {
    /// Runs the program at `path`, a child of the caller, in a session of its own.
    ///
    /// # Errors
    /// It cannot be executed, or a descriptor not be made.
    pub fn spawn(self, path: &Path) -> Result<Process, Error> {
        let own_session = || sys::setsid().map_err(|error| (PROGRAM, error));
        let spawned = self.spawn_after(path, 0, own_session);
        spawned
            .map(Process::new)
            .map_err(|e| Error::because(ErrorKind::Host, format!("run {}", path.display()), e.why))
    }

    /// Runs the program in a process that is cloned with `flags`, and that does `before` first, with all our descriptors
    /// still open.  `before` is bare (invariant I2); its failures carry a number that says what failed.
    pub(crate) fn spawn_after(
        self,
        path: &Path,
        flags: u64,
        before: impl Fn() -> Result<(), (i32, SysError)>,
    ) -> Result<Child, NotSpawned> {
        let (ours, theirs) = sys::socketpair()?;
        let prepared =
            self.prepare(path, &theirs).map_err(|e| NotSpawned { place: PROGRAM, why: e.to_string() })?;
        drop(theirs);
        // A handler of the caller's must not run in the copy.
        let mask = sys::set_signal_mask(u64::MAX)?;
        let args = CloneArgs { flags, ..CloneArgs::default() };
        let made = sys::clone3(&args, || become_program(&prepared, &before));
        let restored = sys::set_signal_mask(mask);
        let child = made?;
        if let Err(e) = restored {
            let _ = sys::pidfd_send_signal(Fd::from(&child.pidfd), libc::SIGKILL);
            let _ = sys::wait_child(Fd::from(&child.pidfd), 0);
            return Err(e.into());
        }
        drop(prepared);
        let mut report = [0; 8];
        // Until execve closes the other end, or a report comes.
        let mut wait = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        while poll(&mut wait, PollTimeout::NONE) == Err(nix::Error::EINTR) {}
        match sys::read(Fd::from(&ours), &mut report) {
            Ok(8) => {
                let _ = sys::wait_child(Fd::from(&child.pidfd), 0);
                let [a, b, c, d, e, f, g, h] = report;
                let (place, errno) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
                Err(NotSpawned { place, why: sys::Reason(errno).to_string() })
            }
            _ => Ok(child),
        }
    }

    fn prepare(
        self,
        path: &Path,
        report: &OwnedFd,
    ) -> Result<Prepared, Box<dyn std::error::Error + Send + Sync>> {
        let c_string = |text: String| CString::new(text);
        let path = path.to_str().ok_or("its path is not UTF-8")?.to_owned();
        let mut args = vec![c_string(path.clone())?];
        for arg in self.args {
            args.push(c_string(arg)?);
        }
        let env = self.env.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
        // Above the numbers that they go to, so that none takes the place of another.
        let lowest = i32::try_from(self.fds.len())? + 1;
        let above =
            |fd: BorrowedFd<'_>| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest)).map(|raw| sys::own(Fd(raw)));
        let fds = self.fds.into_iter().map(above).collect::<Result<Vec<_>, _>>()?;
        Ok(Prepared {
            path: c_string(path)?,
            args: StringVector::new(args),
            env: StringVector::new(env),
            fds,
            report: above(report.as_fd())?,
        })
    }
}

/// Takes the descriptor that has come over `socket` (`SCM_RIGHTS`), close-on-exec: the master of a terminal from the other end of
/// a [console socket](crate::CreateOptions::console_socket), say.  `None` when a message came without one, or the other end is
/// closed.
///
/// # Errors
/// Those of `recvmsg(2)`; `EAGAIN` when the socket does not block and nothing is there.
pub fn receive_descriptor(socket: &OwnedFd) -> nix::Result<Option<OwnedFd>> {
    crate::launch::receive_fd(socket, &mut [0; 64]).map(|(_, fd)| fd)
}

/// The place of a failure that is the program's, and not of what is done before it.
pub(crate) const PROGRAM: i32 = -1;

/// Why a program does not run.
#[derive(Debug)]
pub(crate) struct NotSpawned {
    /// What failed, as `before` numbers it; [`PROGRAM`] for the program itself.
    pub place: i32,
    /// The reason.
    pub why: String,
}

impl From<SysError> for NotSpawned {
    fn from(error: SysError) -> Self {
        Self { place: PROGRAM, why: error.to_string() }
    }
}

/// The child, from clone to execve.  Bare (invariant I2).
fn become_program(p: &Prepared, before: &impl Fn() -> Result<(), (i32, SysError)>) -> Infallible {
    let (place, error) = match before().and_then(|()| arrange(p).map_err(|error| (PROGRAM, error))) {
        Ok(()) => (PROGRAM, sys::execve(&p.path, &p.args, &p.env)),
        Err(failed) => failed,
    };
    // Where the report is before it was moved, or after: one of the two is it.
    let moved = Fd(i32::try_from(p.fds.len()).unwrap_or(i32::MAX));
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(place.to_ne_bytes().into_iter().chain(error.errno.to_ne_bytes())) {
        *to = from;
    }
    if sys::send(moved, &bytes).is_err() {
        let _ = sys::send(Fd(p.report.as_raw_fd()), &bytes);
    }
    sys::exit(127)
}

/// Descriptors and signals.  Bare.
fn arrange(p: &Prepared) -> Result<(), SysError> {
    let mut number = 0;
    for fd in &p.fds {
        sys::dup3(Fd(fd.as_raw_fd()), Fd(number), true)?;
        number += 1;
    }
    sys::dup3(Fd(p.report.as_raw_fd()), Fd(number), false)?;
    sys::close_range(number.unsigned_abs() + 1, u32::MAX, 0)?;
    // A Rust program ignores it, and ignored signals are inherited.
    sys::reset_signal(libc::SIGPIPE)?;
    sys::set_signal_mask(0).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_helper_gets_its_descriptors_and_no_other() {
        let (read, write) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let script =
            "echo $1 $A; cd /proc/self/fd; for fd in *; do [ -e $fd ] && printf '%s ' $fd; done; true";
        let helper = Helper {
            args: ["-c", script, "sh", "x"].map(str::to_owned).into(),
            env: vec!["A=b".into(), "PATH=/bin:/usr/bin".into()],
            fds: vec![null.as_fd(), write.as_fd(), write.as_fd(), null.as_fd()],
        };
        let process = helper.spawn(Path::new("/bin/sh")).unwrap();
        drop(write);
        let mut text = String::new();
        std::io::BufReader::new(read).read_to_string(&mut text).unwrap();
        assert_eq!(process.wait().unwrap().code(), 0, "{text}");
        assert_eq!(text, "x b\n0 1 2 3 ");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = Helper::default().spawn(Path::new("/no/such")).unwrap_err();
        assert!(error.to_string().contains("run /no/such: no such file or directory"), "{error}");
    }
}
