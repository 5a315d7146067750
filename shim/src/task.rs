//! Tasks, which are containers, and their processes, as containerd knows them.

use crate::api::Timestamp;
use crate::checkpoint::Restoration;
use crate::service::not_found;
use crate::stdio::{Ends, Stdio};
use crate::ttrpc::Status;
use orlop_core::{Container, Process};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A call that waits for its answer: the connection and the stream on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The connection's number.
    pub connection: u64,
    /// The stream.
    pub stream: u32,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// As a shell gives it.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

/// What a process is doing, in containerd's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Condition {
    Created = 1,
    Running = 2,
    Stopped = 3,
    Paused = 4,
}

/// A process of a task: its first one, or one that exec has added.
#[derive(Debug, Default)]
pub struct Proc {
    /// Empty for the first process.
    pub exec_id: String,
    /// The streams as the client names them.
    pub stdio: Stdio,
    /// 0 before it was made.
    pub pid: i32,
    /// The child; of the first process from Create on, of others from Start on.
    pub process: Option<Process>,
    /// A thread is at it (starts it, writes it to images), before which its end is not told.
    pub held: bool,
    /// It was started.
    pub started: bool,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The terminal's master.
    pub console: Option<OwnedFd>,
    /// What the shim holds of the streams.
    pub ends: Ends,
    /// The fifo of stdin, until Start.
    pub late_stdin: Option<String>,
    /// Where it is to be copied to, if not to the terminal.
    pub late_sink: Option<OwnedFd>,
    /// CloseIO was called.
    pub stdin_closed: bool,
    /// The relays from the process, which end with it.
    pub relays: Vec<u64>,
    /// The relay to it.
    pub input_relay: Option<u64>,
    /// Who waits for its end.
    pub waiters: Vec<Ticket>,
    /// The calls that wait for its launch to end.
    pub calls: Vec<Call>,
    /// What exec is to run, until it is started.
    pub spec: Option<oci_spec::runtime::Process>,
}

impl Proc {
    /// What it is doing, in a task that is or is not paused.
    #[must_use]
    pub const fn condition(&self, paused: bool) -> Condition {
        match (&self.exit, self.started) {
            (Some(_), _) => Condition::Stopped,
            (None, _) if paused => Condition::Paused,
            (None, true) => Condition::Running,
            (None, false) => Condition::Created,
        }
    }

    /// Whether its end is yet to come.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.process.is_some() && self.exit.is_none()
    }
}

/// A call that waits for its turn.
#[derive(Debug)]
pub struct Call {
    /// Whose answer it is.
    pub ticket: Ticket,
    /// Of the Task service.
    pub method: String,
    /// The request.
    pub payload: Vec<u8>,
}

/// A container.
#[derive(Debug)]
pub struct Task {
    /// Distinguishes it from one of the same name before it.
    pub number: u64,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Where the container's state lies.
    pub root: PathBuf,
    /// The engine's; of one that is to be restored there is none before Start.
    pub container: Option<Arc<Container>>,
    /// How it is restored.
    pub restoration: Option<Box<Restoration>>,
    /// A thread is at work on it.
    pub occupied: bool,
    /// The calls that wait for that to end.
    pub calls: VecDeque<Call>,
    /// Its first process.
    pub init: Proc,
    /// How that has ended, while others still run: its end is the last that is told.
    pub late_exit: Option<Exit>,
    /// The others.
    pub execs: BTreeMap<String, Box<Proc>>,
    /// Its processes are frozen.
    pub paused: bool,
    /// The end of its first process does not end the others.
    pub shares_pids: bool,
    /// Who owns its pipes.
    pub io_owner: (u32, u32),
}

impl Task {
    /// The engine's container.
    ///
    /// # Errors
    /// It was not restored yet.
    pub fn container(&self) -> Result<Arc<Container>, Status> {
        self.container.clone().ok_or_else(|| not_found("no such container"))
    }

    /// A process by its exec id; the first one's is empty.
    #[must_use]
    pub fn proc(&self, exec_id: &str) -> Option<&Proc> {
        if exec_id.is_empty() { Some(&self.init) } else { self.execs.get(exec_id).map(Box::as_ref) }
    }

    /// As [`Task::proc`].
    pub fn proc_mut(&mut self, exec_id: &str) -> Option<&mut Proc> {
        if exec_id.is_empty() { Some(&mut self.init) } else { self.execs.get_mut(exec_id).map(Box::as_mut) }
    }

    /// Where its root file system is mounted.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }
}
