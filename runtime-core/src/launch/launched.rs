//! A process that stands before execve, and what is said between it and us until the program runs.

use super::command::receive_fd;
use super::explain::{broken, explain_failure, failed, silence};
use super::inputs::{Half, Observer, StepEvent};
use super::listener::Agent;
use super::protocol::{FromChild, FromParent, SIZE, STAGE, Stage};
use crate::cgroup::Placement;
use crate::error::{Error, ErrorKind};
use crate::plan::{Gate, Plan};
use crate::sys::{self, Call, Child, Ended, Fd, SysError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A process that stands before execve.
pub struct Launched {
    /// The process.
    pub child: Child,
    /// The parent's end of the pair.
    sync: OwnedFd,
    stage: Stage,
    /// Who gets the listener of its filter, when [`Launched::start`] is called.
    pub agent: Option<Agent>,
    /// The listener, when it has come.
    listener: Option<OwnedFd>,
    /// What the process said before the stage that made it came to tell of it: they run side by side.
    early: VecDeque<FromChild>,
    /// It was told to run the program, and will read so when it is ready.
    start_said: bool,
}

impl Launched {
    /// A child that is gone has left a report, or its end of the pair closed: the next wait tells.  One that is there and has not been
    /// told would wait for ever.
    pub(super) fn say(&self, message: FromParent) -> sys::Result<()> {
        unless_gone(super::protocol::send(Fd::from(&self.sync), &message.encode()))
    }

    /// As [`Launched::say`], with descriptors.
    pub(super) fn say_with(&self, message: FromParent, passed: &[Fd]) -> sys::Result<()> {
        unless_gone(sys::send_fds(Fd::from(&self.sync), &message.encode(), passed))
    }

    pub(super) fn say_start(&mut self) -> Result<(), Error> {
        self.start_said = true;
        self.say(FromParent::Start).map_err(|e| failed("tell the container's process to start", e))
    }

    /// The child's next record in the order of the protocol; `None` at the end of the file.
    pub(super) fn hear(&mut self) -> Result<Option<FromChild>, Error> {
        let joining = self.stage == Stage::Joining;
        let said = if joining { None } else { self.early.pop_front() };
        let mut message = said.map_or_else(|| self.read(), |m| Ok(Some(m)))?;
        if joining {
            let of_stage = |m| matches!(m, FromChild::Forked { .. } | FromChild::Failed { step: STAGE, .. });
            while let Some(m) = message.filter(|m| !of_stage(*m)) {
                self.early.push_back(m);
                message = self.read()?;
            }
        }
        let Some(message) = message else { return Ok(None) };
        self.stage = self.stage.after(message).ok_or_else(broken)?;
        Ok(Some(message))
    }

    /// The failure that the child has reported by now.
    pub(super) fn last_words(&mut self) -> Option<(u16, SysError)> {
        // While the stage is at work, what there is to hear may be a part only, and hearing would wait for the rest.
        while self.stage != Stage::Joining {
            let mut pair = [PollFd::new(self.sync.as_fd(), PollFlags::POLLIN)];
            if poll(&mut pair, PollTimeout::ZERO) != Ok(1) {
                break;
            }
            match self.hear() {
                Ok(Some(FromChild::Failed { step, error })) => return Some((step, error)),
                Ok(Some(_)) => {}
                _ => break,
            }
        }
        None
    }

    pub(super) fn new(child: Child, sync: OwnedFd, stage: Stage) -> Self {
        Self { child, sync, stage, agent: None, listener: None, early: VecDeque::new(), start_said: false }
    }

    /// Reads the pair; a descriptor may come, once there is somebody to give it to.
    fn receive(&mut self, record: &mut [u8]) -> sys::Result<usize> {
        if self.agent.is_none() {
            return sys::read(Fd::from(&self.sync), record);
        }
        let (n, fd) =
            receive_fd(&self.sync, record).map_err(|e| SysError { call: Call::Recvmsg, errno: e as i32 })?;
        self.listener = fd.or(self.listener.take());
        Ok(n)
    }

    /// Gives the listener to the agent, and lets the process go on.
    fn deliver(&mut self) -> Result<(), Error> {
        let (Some(agent), Some(listener)) = (self.agent.take(), self.listener.take()) else {
            return Err(broken());
        };
        agent.tell(&listener)?;
        self.say(FromParent::Go(Gate::Listener))
            .map_err(|e| failed("tell the container's process to go on", e))
    }

    /// The next record on the pair.
    fn read(&mut self) -> Result<Option<FromChild>, Error> {
        let mut record = [0; SIZE];
        let n = match self.receive(&mut record) {
            // It ended without having heard our last word.  That is told first, and once; then comes what it said itself.
            Err(e) if e.errno == libc::ECONNRESET => self.receive(&mut record),
            r => r,
        };
        let n = n.map_err(|e| failed("listen to the container's process", e))?;
        if n == 0 {
            return Ok(None);
        }
        FromChild::decode(record.get(..n).unwrap_or_default()).map(Some).ok_or_else(broken)
    }

    /// Runs the program: returns when execve has succeeded or failed.  `cgroup` is the process's own, if it has one of its own.
    pub fn start(
        mut self,
        plan: &Plan,
        cgroup: Option<&Placement>,
        mut observer: Option<&mut Observer<'_>>,
        lockstep: bool,
    ) -> Result<Child, Error> {
        // One that does not wait (exec with nothing left to do for us) needs no word.
        if self.stage == Stage::Ready && !self.start_said {
            self.say_start().inspect_err(|_| self.end())?;
        }
        self.stage = Stage::Started { listener: self.agent.is_some() };
        let mut last = sys::clock_ns();
        loop {
            match self.hear() {
                Ok(None) => match silence(&self.child, plan.filter().is_some(), cgroup, Some(plan)) {
                    None => return Ok(self.child),
                    Some(e) => {
                        self.end();
                        return Err(e);
                    }
                },
                Ok(Some(FromChild::Listener)) => self.deliver().inspect_err(|_| self.end())?,
                Ok(Some(FromChild::StepDone { step, time })) => {
                    if let Some(observer) = &mut observer {
                        let start_ns = std::mem::replace(&mut last, time);
                        let name = plan.child_words(step.into());
                        observer(&StepEvent {
                            half: Half::Child,
                            index: step.into(),
                            name,
                            start_ns,
                            end_ns: time,
                        });
                    }
                    if lockstep && let Err(e) = self.say(FromParent::Continue) {
                        self.end();
                        return Err(failed("answer the container's process", e));
                    }
                }
                Ok(Some(FromChild::Failed { step, error })) => {
                    self.end();
                    return Err(explain_failure(plan, step, error));
                }
                Ok(Some(m)) => {
                    self.end();
                    return Err(Error::new(ErrorKind::Launch, format!("the child said {m:?} out of order")));
                }
                Err(e) => {
                    self.end();
                    return Err(e);
                }
            }
        }
    }

    /// What became of a child that closed the pair without a report.
    pub(super) fn died(&self) -> Error {
        let how = match sys::wait_child(Fd::from(&self.child.pidfd), libc::WNOWAIT) {
            Ok(Some(Ended::Killed(signal))) => format!("was killed by signal {signal}"),
            Ok(Some(Ended::Exited(status))) => format!("ended with status {status}"),
            _ => "ended".into(),
        };
        Error::new(ErrorKind::Launch, format!("the container's process {how} before it was set up"))
    }

    /// Ends the process and reaps it.
    pub fn end(&self) {
        let _ = sys::pidfd_send_signal(Fd::from(&self.child.pidfd), libc::SIGKILL);
        reap(self.child.pidfd.as_fd());
    }
}

fn unless_gone(said: sys::Result<()>) -> sys::Result<()> {
    match said {
        Err(e) if e.errno == libc::EPIPE || e.errno == libc::ECONNRESET => Ok(()),
        r => r,
    }
}

/// Waits so many milliseconds for a process to end, and says whether it has.
pub(super) fn ends_within(pidfd: BorrowedFd<'_>, milliseconds: u16) -> bool {
    let mut ending = [PollFd::new(pidfd, PollFlags::POLLIN)];
    loop {
        match poll(&mut ending, PollTimeout::from(milliseconds)) {
            Err(nix::Error::EINTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

/// Waits for a child of ours that is about to end, but not for ever: the first process of a pid namespace does not end before all others
/// of it are reaped, and one may be a child of ours of which we do not know (a hook, whose stage was killed).  It is reaped when we end.
pub(super) fn reap(pidfd: BorrowedFd<'_>) {
    const LONG_ENOUGH_MS: u16 = 2000;
    ends_within(pidfd, LONG_ENOUGH_MS);
    let _ = sys::wait_child(Fd::from(pidfd), libc::WNOHANG);
}

#[cfg(test)]
#[path = "launched_tests.rs"]
mod tests;
