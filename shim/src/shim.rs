//! The shim's state, and what happens to it without a call: processes end, terminals speak, memory runs out.

use crate::api::{Any, TaskExit, Timestamp, WaitResponse};
use crate::jobs::Jobs;
use crate::poller::Poller;
use crate::publisher::Publisher;
use crate::relay::{How, Relays};
use crate::resources::Watches;
use crate::stdio::Streams;
use crate::task::{Call, Exit, Proc, Task, Ticket};
use crate::ttrpc::Status;
use crate::wire::Message;
use orlop_core::sys::{self, Reason};
use orlop_core::{ExitStatus, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The answer to a call.
pub type Answer = Result<Vec<u8>, Status>;

/// A shim.
#[derive(Debug)]
pub struct Shim {
    /// containerd's namespace.
    pub namespace: String,
    /// What it waits for.
    pub poller: Rc<Poller>,
    /// Its containers.
    pub tasks: BTreeMap<String, Box<Task>>,
    /// The ids of those that are being made.
    pub creating: BTreeSet<String>,
    /// What threads are at.
    pub jobs: Jobs,
    /// Which process a pid is: task and exec id.
    pub pids: BTreeMap<i32, (String, String)>,
    /// Events.
    pub publisher: Publisher,
    /// Streams that it copies.
    pub relays: Relays,
    /// Answers to calls that had to wait.
    pub answers: Vec<(Ticket, Answer)>,
    /// Memory that may run out.
    pub watches: Watches,
    /// Distinguishes tasks.
    pub next_task: u64,
    /// containerd wants it to end.
    pub closing: bool,
    /// The sandbox service's state.
    pub sandbox: crate::sandbox::Sandbox,
}

impl Shim {
    /// A shim without containers.
    ///
    /// # Errors
    /// Descriptors or memory are short.
    pub fn new(poller: Rc<Poller>, namespace: &str, containerd: &str) -> nix::Result<Self> {
        Ok(Self {
            jobs: Jobs::new(&poller)?,
            creating: BTreeSet::new(),
            namespace: namespace.to_owned(),
            publisher: Publisher::new(Rc::clone(&poller), containerd, namespace),
            relays: Relays::new(Rc::clone(&poller)),
            poller,
            tasks: BTreeMap::new(),
            pids: BTreeMap::new(),
            answers: Vec::new(),
            watches: Watches::new(),
            next_task: 0,
            closing: false,
            sandbox: crate::sandbox::Sandbox::default(),
        })
    }

    /// Whether it serves nobody: there is no container, none is being made, and it is nobody's sandbox.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.tasks.is_empty() && self.creating.is_empty() && !self.sandbox.is_ready()
    }

    /// Queues an event.
    pub fn publish(&mut self, topic: &str, kind: &str, event: &impl Message) {
        self.publisher.publish(topic, Any::new(&format!("containerd.events.{kind}"), event.encode()));
    }

    /// Takes the exit statuses of all children that have ended: of containers' processes, and of whom they left behind.
    pub fn reap(&mut self) {
        if !self.jobs.is_empty() {
            return self.reap_known();
        }
        loop {
            match sys::ended_child() {
                Ok(None) => return,
                Ok(Some(pid)) => match self.pids.remove(&pid) {
                    Some((task, exec_id)) => self.ended(&task, &exec_id, None),
                    None => {
                        let _ = sys::reap_child(pid);
                    }
                },
                Err(e) => return log::error!("wait for children: {e}"),
            }
        }
    }

    /// As [`Shim::reap`] while threads have children that the loop does not know yet: those that it knows, one by one.
    fn reap_known(&mut self) {
        let mut ended = Vec::new();
        for (pid, (id, exec_id)) in &self.pids {
            let Some(proc) = self.tasks.get(id).and_then(|task| task.proc(exec_id)) else { continue };
            if proc.held {
                continue;
            }
            if let Some(Ok(Some(status))) = proc.process.as_ref().map(Process::try_wait) {
                ended.push((*pid, status));
            }
        }
        for (pid, status) in ended {
            if let Some((id, exec_id)) = self.pids.remove(&pid) {
                self.ended(&id, &exec_id, Some(status));
            }
        }
    }

    /// The process has ended, with `status` if it was asked already.
    fn ended(&mut self, id: &str, exec_id: &str, status: Option<ExitStatus>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        // A thread that is at it, deleting it, ends them all by itself, and holds the container's lock meanwhile.
        if exec_id.is_empty()
            && task.shares_pids
            && !task.occupied
            && let Some(container) = &task.container
        {
            // The kernel ends only those in a pid namespace of which this was the first.
            if let Err(e) = container.kill(sigkill(), true) {
                log::warn!("end the other processes of {id}: {e}");
            }
        }
        let Some(proc) = task.proc_mut(exec_id) else { return };
        let status = status.or_else(|| proc.process.as_ref().and_then(|p| p.try_wait().ok().flatten()));
        let code = status.map_or(255, |status| status.code().unsigned_abs());
        self.exited(id, exec_id, Exit { status: code, at: Timestamp::now() });
    }

    /// Leaves a task to a thread: calls that would be in its way wait until [`Shim::release`], which wants the number that this
    /// returns.
    pub fn occupy(&mut self, id: &str) -> u64 {
        self.tasks.get_mut(id).map_or(0, |task| {
            task.occupied = true;
            task.number
        })
    }

    /// The thread is done: the calls that have waited are called.
    pub fn release(&mut self, id: &str, number: u64) {
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.number == number) {
            task.occupied = false;
        }
        loop {
            let next = self.tasks.get_mut(id).filter(|task| !task.occupied).and_then(|t| t.calls.pop_front());
            let Some(call) = next else { return };
            self.call_late(&call);
        }
    }

    /// Calls a method and leaves the answer to the loop.
    pub(crate) fn call_late(&mut self, call: &Call) {
        let answer = crate::service::answer(self.call_task(call.ticket, &call.method, &call.payload));
        self.answers.extend(answer.map(|answer| (call.ticket, answer)));
    }

    /// Records the end of a process and tells everybody.
    pub fn exited(&mut self, id: &str, exec_id: &str, exit: Exit) {
        if exec_id.is_empty() {
            self.late_oom(id);
            let Some(task) = self.tasks.get_mut(id) else { return };
            if task.execs.values().any(|proc| proc.is_running() || proc.held) {
                task.late_exit = Some(exit);
                return;
            }
            let number = task.number;
            self.forget_oom(number);
        }
        let Some(proc) = self.tasks.get_mut(id).and_then(|task| task.proc_mut(exec_id)) else { return };
        proc.exit = Some(exit.clone());
        proc.process = None;
        // A client that still writes learns that nobody reads.
        proc.ends.stdin = None;
        let (pid, waiters, input) = (proc.pid, std::mem::take(&mut proc.waiters), proc.input_relay.take());
        if let Some(number) = input {
            self.relays.remove(number);
        }
        let answer = WaitResponse { exit_status: exit.status, exited_at: Some(exit.at.clone()) }.encode();
        self.answers.extend(waiters.into_iter().map(|ticket| (ticket, Ok(answer.clone()))));
        if pid == 0 {
            // There never was one.
            return;
        }
        let event = TaskExit {
            container_id: id.to_owned(),
            id: if exec_id.is_empty() { id } else { exec_id }.to_owned(),
            pid: pid.unsigned_abs(),
            exit_status: exit.status,
            exited_at: Some(exit.at),
        };
        self.publish("/tasks/exit", "TaskExit", &event);
        if !exec_id.is_empty() {
            self.exit_at_last(id);
        }
    }

    /// Tells the end of the first process, if it has come and was only to be the last one.
    pub fn exit_at_last(&mut self, id: &str) {
        if let Some(exit) = self.tasks.get_mut(id).and_then(|task| task.late_exit.take()) {
            self.exited(id, "", exit);
        }
    }

    /// A connection is gone, and with it those who waited.
    pub fn forget_waiters(&mut self, connection: u64) {
        for task in self.tasks.values_mut() {
            for proc in std::iter::once(&mut task.init).chain(task.execs.values_mut().map(Box::as_mut)) {
                proc.waiters.retain(|ticket| ticket.connection != connection);
            }
        }
        self.sandbox.forget_waiters(connection);
    }

    /// Begins to copy the streams of a process, where the shim has to.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn attach(&mut self, proc: &mut Proc, streams: Streams, console: Option<OwnedFd>) -> nix::Result<()> {
        let Streams { ends, relays, input, output, logger, late, late_sink, .. } = streams;
        (proc.late_stdin, proc.late_sink) = (late, late_sink);
        // Reaped like any child; that it ends with its input is up to it.
        drop(logger);
        proc.ends = ends;
        for (from, to) in relays {
            let to_process =
                proc.ends.stdin.is_some() && proc.input_relay.is_none() && proc.relays.is_empty();
            let number = self.relays.add(from, to, How::Splice)?;
            if to_process {
                proc.input_relay = Some(number);
            } else {
                proc.relays.push(number);
            }
        }
        // CloseIO may have come before what it closes.
        if proc.stdin_closed {
            proc.ends.stdin = None;
        }
        let Some(master) = console else { return Ok(()) };
        nonblocking(&master)?;
        let copy = || master.as_fd().try_clone_to_owned().map_err(|_| nix::Error::EMFILE);
        if let Some(output) = output {
            proc.relays.push(self.relays.add(copy()?, output, How::Copy)?);
        }
        if let Some(input) = input {
            proc.input_relay = Some(self.relays.add(input, copy()?, How::Copy)?);
        }
        proc.console = Some(master);
        Ok(())
    }

    /// Opens stdin, which was left for Start.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn attach_late(&mut self, id: &str) -> Result<(), String> {
        let Some(proc) = self.tasks.get_mut(id).map(|task| &mut task.init) else { return Ok(()) };
        let Some(path) = proc.late_stdin.take() else { return Ok(()) };
        let (reader, writer) = crate::stdio::input(&path).map_err(|e| format!("stdin: {e}"))?;
        let (sink, how) = match (proc.late_sink.take(), &proc.console) {
            (Some(sink), _) => (sink, How::Splice),
            (None, Some(master)) => {
                let copy = master.as_fd().try_clone_to_owned();
                (copy.map_err(|e| format!("stdin: {}", Reason::of(&e)))?, How::Copy)
            }
            (None, None) => return Ok(()),
        };
        let number = self.relays.add(reader, sink, how).map_err(|e| format!("stdin: {}", Reason::from(e)))?;
        proc.input_relay = Some(number);
        proc.ends.stdin = writer.filter(|_| !proc.stdin_closed);
        Ok(())
    }

    /// Lets go of the streams of a process that is deleted; what is on its way still arrives.
    pub fn detach(&mut self, mut proc: Proc) {
        if let Some(number) = proc.input_relay.take() {
            self.relays.remove(number);
        }
        proc.console = None;
        for number in std::mem::take(&mut proc.relays) {
            self.relays.finish(number);
        }
    }
}

fn nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

/// The number of SIGKILL, as the engine takes signals.
pub const fn sigkill() -> i32 {
    nix::sys::signal::Signal::SIGKILL as i32
}
