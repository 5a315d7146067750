//! `run` and `exec` in the foreground: one loop over signals, terminal and the end of the process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use orlop_core::sys::Reason;

use crate::console::Console;
use crate::failure::Failure;
use crate::notify::Proxy;
use crate::signals::{self, Signals};

/// What surrounds a process that runs in the foreground.
#[derive(Debug)]
pub struct Foreground {
    /// The signals to hand on.
    pub signals: Signals,
    /// The terminal, if it has one.
    pub console: Option<Console>,
    /// Where it reports readiness, if somebody wants to know.
    pub notify: Option<Proxy>,
    /// Orphans of the container become our children, and must be reaped.
    pub adopts: bool,
}

impl Foreground {
    /// Serves the process until it has ended.  It is left to be reaped by its owner.
    ///
    /// # Errors
    /// poll(2) fails, for want of memory.
    pub fn serve(&mut self, pidfd: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
        orlop_core::protect::release_own_mount();
        loop {
            let ready = self.wait(pidfd)?;
            if !ready.signals.is_empty() {
                self.handle_signals(pidfd, pid);
            }
            if let Some(notify) = self.notify.as_mut().filter(|_| !ready.notify.is_empty()) {
                notify.relay();
            }
            if !ready.end.is_empty() {
                break;
            }
            if let Some(console) = &mut self.console {
                console.turn(ready.console);
            }
        }
        if let Some(console) = &mut self.console {
            console.finish();
        }
        Ok(())
    }

    /// Waits until anything happens.
    fn wait(&self, pidfd: BorrowedFd<'_>) -> Result<Ready, Failure> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let interests = self.console.as_ref().map_or([None; 3], |console| console.interests(&stdin, &stdout));
        let mut fds =
            vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
        fds.extend(self.notify.iter().map(|notify| PollFd::new(notify.as_fd(), PollFlags::POLLIN)));
        fds.extend(interests.iter().flatten().map(|(fd, flags)| PollFd::new(*fd, *flags)));
        while let Err(errno) = poll(&mut fds, PollTimeout::NONE) {
            if errno != Errno::EINTR {
                return Err(Failure::new(format!("cannot wait for the container: {}", Reason::from(errno))));
            }
        }
        let mut answers = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut next = || answers.next().unwrap_or(PollFlags::empty());
        let (signals, end) = (next(), next());
        let notify = if self.notify.is_some() { next() } else { PollFlags::empty() };
        let console = interests.map(|interest| if interest.is_some() { next() } else { PollFlags::empty() });
        Ok(Ready { signals, end, notify, console })
    }

    fn handle_signals(&self, pidfd: BorrowedFd<'_>, pid: i32) {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD if self.adopts => reap_orphans(Pid::from_raw(pid)),
                libc::SIGCHLD => {}
                libc::SIGWINCH if self.console.is_some() => self.console.iter().for_each(Console::resize),
                signal => signals::forward(pidfd, signal),
            }
        }
    }
}

/// What poll(2) said.
struct Ready {
    signals: PollFlags,
    end: PollFlags,
    notify: PollFlags,
    console: [PollFlags; 3],
}

/// Reaps every child that has ended, but for the one whose status is still to be read.
fn reap_orphans(main: Pid) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        let orphan = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) if pid != main => pid,
            Err(Errno::EINTR) => continue,
            // None has ended, or the main one has, and then so does the loop.
            _ => return,
        };
        if waitpid(orphan, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
