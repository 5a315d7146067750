//! The methods of the Task service that are about a container's resources: Pids, Pause, Resume, Update, Stats, Checkpoint; and
//! memory that runs out.

use crate::api::{
    Any, CheckpointTaskRequest, Empty, PidsResponse, ProcessDetails, ProcessInfo, ProcessRequest,
    StatsResponse, TaskEvent, UpdateTaskRequest,
};
use crate::metrics;
use crate::poller::Token;
use crate::service::{Outcome, now, precondition, status};
use crate::shim::Shim;
use crate::task::{Condition, Ticket};
use crate::ttrpc::{Code, Status};
use crate::wire::Message;
use nix::sys::epoll::EpollFlags;
use oci_spec::runtime::LinuxResources;
use orlop_core::cgroup::OomWatch;
use orlop_core::sys::Reason;
use std::collections::BTreeMap;

/// How a task's memory is looked after.
#[derive(Debug)]
pub struct Watch {
    task: String,
    watch: OomWatch,
}

/// Watches by the numbers of their tasks.
pub type Watches = BTreeMap<u64, Watch>;

impl Shim {
    /// Calls one of these methods.
    ///
    /// # Errors
    /// It fails, or there is no such method.
    pub fn call_resources(&mut self, ticket: Ticket, method: &str, payload: &[u8]) -> Outcome {
        match method {
            "Pids" => self.pids(&ProcessRequest::decode(payload)?.id),
            "Pause" => self.pause(&ProcessRequest::decode(payload)?.id),
            "Resume" => self.resume(&ProcessRequest::decode(payload)?.id),
            "Stats" => self.stats(&ProcessRequest::decode(payload)?.id),
            "Update" => self.update(&UpdateTaskRequest::decode(payload)?),
            "Checkpoint" => self.checkpoint(ticket, CheckpointTaskRequest::decode(payload)?),
            _ => Err(Status::new(Code::Unimplemented, format!("method {method}: not implemented"))),
        }
    }

    fn pids(&mut self, id: &str) -> Outcome {
        let task = self.task(id)?;
        let pids = task.container()?.processes().map_err(|e| status("list the processes", &e))?;
        let info = |pid: i32| {
            // Those that exec has added are told by their ids.
            let exec = task.execs.values().find(|proc| proc.pid == pid && proc.exit.is_none());
            exec.map(|proc| {
                let details = ProcessDetails { exec_id: proc.exec_id.clone() };
                Any::new("containerd.runc.v1.ProcessDetails", details.encode())
            })
        };
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid: pid.unsigned_abs(), info: info(pid) });
        now(&PidsResponse { processes: processes.collect() })
    }

    fn pause(&mut self, id: &str) -> Outcome {
        let task = self.task(id)?;
        match task.init.condition(task.paused) {
            Condition::Running => {}
            Condition::Created => return Err(precondition("cannot pause a container that was not started")),
            Condition::Paused => return Err(precondition("cannot pause a paused container")),
            Condition::Stopped => return Err(precondition("cannot pause a stopped container")),
        }
        task.container()?.pause().map_err(|e| status("OCI runtime pause failed", &e))?;
        task.paused = true;
        self.publish("/tasks/paused", "TaskPaused", &TaskEvent { container_id: id.to_owned() });
        now(&Empty {})
    }

    fn resume(&mut self, id: &str) -> Outcome {
        let task = self.task(id)?;
        if !task.paused {
            return Err(precondition("cannot resume a container that is not paused"));
        }
        task.container()?.resume().map_err(|e| status("OCI runtime resume failed", &e))?;
        task.paused = false;
        self.publish("/tasks/resumed", "TaskResumed", &TaskEvent { container_id: id.to_owned() });
        now(&Empty {})
    }

    fn stats(&mut self, id: &str) -> Outcome {
        let stats = self.task(id)?.container()?.stats().map_err(|e| status("read the figures", &e))?;
        now(&StatsResponse { stats: Some(metrics::any(&stats)) })
    }

    fn update(&mut self, request: &UpdateTaskRequest) -> Outcome {
        let task = self.task(&request.id)?;
        if task.init.exit.is_some() {
            return Err(precondition("cannot update a stopped container"));
        }
        let json = request.resources.as_ref().map_or(&[][..], |any| &any.value);
        let resources: LinuxResources = serde_json::from_slice(json)
            .map_err(|e| Status::new(Code::InvalidArgument, format!("unmarshal the resources: {e}")))?;
        task.container()?.update(&resources).map_err(|e| status("OCI runtime update failed", &e))?;
        now(&Empty {})
    }

    /// Begins to listen for the memory of a task running out: when it is created, so that nothing is missed.
    pub fn watch_oom(&mut self, id: &str) {
        let Some((number, Some(container))) = self.tasks.get(id).map(|t| (t.number, &t.container)) else {
            return;
        };
        let watch = match container.oom_watch() {
            Ok(Some(watch)) => watch,
            Ok(None) => return,
            Err(e) => return log::debug!("{id}: nobody will hear of memory running out: {e}"),
        };
        let flags = EpollFlags::from_bits_truncate(i32::from(watch.poll_flags().bits()));
        match self.poller.add(&watch, Token::Oom(number), flags) {
            Ok(()) => drop(self.watches.insert(number, Watch { task: id.to_owned(), watch })),
            Err(errno) => log::warn!("{id}: wait for memory running out: {}", Reason::from(errno)),
        }
    }

    /// Something has happened to the memory of a task.
    pub fn oom(&mut self, number: u64) {
        let Some(Watch { task, watch }) = self.watches.get_mut(&number) else { return };
        let task = task.clone();
        match watch.take() {
            Ok(0) => {}
            Ok(_) => self.publish_oom(&task),
            // The group is gone.
            Err(_) => self.forget_oom(number),
        }
    }

    /// Asks once more when the first process has ended, before that is told: the kernel's word may not have been heard yet.
    pub fn late_oom(&mut self, id: &str) {
        if let Some(number) = self.tasks.get(id).map(|task| task.number) {
            self.oom(number);
        }
    }

    /// Listens no more.
    pub fn forget_oom(&mut self, number: u64) {
        if let Some(Watch { watch, .. }) = self.watches.remove(&number) {
            self.poller.remove(&watch);
        }
    }

    fn publish_oom(&mut self, id: &str) {
        self.publish("/tasks/oom", "TaskOOM", &TaskEvent { container_id: id.to_owned() });
    }
}
