//! The Task service, versions 2 and 3: each method is a call into the engine.

use crate::api::*;
use crate::checkpoint::Restoration;
use crate::launch::{Created, Creation, Execution, Launched, Made};
use crate::mounts;
use crate::options::Options;
use crate::shim::{Answer, Shim, sigkill};
use crate::stdio::Stdio;
use crate::task::{Call, Condition, Exit, Proc, Task, Ticket};
use crate::ttrpc::{Code, Status};
use crate::wire::Message;
use oci_spec::runtime as oci;
use orlop_core::sys::Reason;
use orlop_core::{Container, Error, ErrorKind, Process, Runtime, sys};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// The file in a bundle that tells `delete` where the container's state is.
pub const ROOT_FILE: &str = "orlop-root";

/// Methods that need the container's lock, or would do what a thread that has it is doing.
const CHANGES: [&str; 6] = ["Start", "Delete", "Pause", "Resume", "Update", "Checkpoint"];

/// An answer now, or none yet.
pub type Outcome = Result<Option<Vec<u8>>, Status>;

pub(crate) fn now(message: &impl Message) -> Outcome {
    Ok(Some(message.encode()))
}

pub(crate) fn not_found(message: impl Into<String>) -> Status {
    let mut message = message.into();
    // containerd's clients look for the words as well as for the code.
    message.push_str(": not found");
    Status::new(Code::NotFound, message)
}

pub(crate) fn precondition(message: impl Into<String>) -> Status {
    Status::new(Code::FailedPrecondition, message)
}

/// The engine's failure as containerd's clients know it.
pub(crate) fn status(doing: &str, error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotRunning => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidState => Code::FailedPrecondition,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        _ => Code::Unknown,
    };
    Status::new(code, format!("{doing}: {error}"))
}

/// A launch that failed is of no particular kind, as with runc: clients read the words.
pub(crate) fn launch_status(doing: &str, error: &Error) -> Status {
    let code = if error.kind() == ErrorKind::AlreadyExists { Code::AlreadyExists } else { Code::Unknown };
    Status::new(code, format!("{doing}: {error}"))
}

impl Shim {
    /// Calls a method of the Task service.
    ///
    /// # Errors
    /// It fails, or there is no such method.
    pub fn call_task(&mut self, ticket: Ticket, method: &str, payload: &[u8]) -> Outcome {
        let late = || Call { ticket, method: method.to_owned(), payload: payload.to_vec() };
        if CHANGES.contains(&method)
            && let Some(task) = self.tasks.get_mut(&TaskId::decode(payload)?.id)
            && task.occupied
        {
            task.calls.push_back(late());
            return Ok(None);
        }
        if matches!(method, "Kill" | "ResizePty")
            && let ProcessRequest { id, exec_id } = ProcessRequest::decode(payload)?
            && let Some(proc) = self.tasks.get_mut(&id).and_then(|task| task.execs.get_mut(&exec_id))
            && proc.held
        {
            // It is being launched: whatever is asked of it, it is asked as soon as it is there.
            proc.calls.push(late());
            return Ok(None);
        }
        match method {
            "Create" => self.create(ticket, CreateTaskRequest::decode(payload)?),
            "Start" => self.start(ticket, ProcessRequest::decode(payload)?),
            "Delete" => self.delete(ticket, ProcessRequest::decode(payload)?),
            "Exec" => self.exec(ExecProcessRequest::decode(payload)?),
            "State" => self.state(&ProcessRequest::decode(payload)?),
            "Wait" => self.wait(ticket, &ProcessRequest::decode(payload)?),
            "Kill" => self.kill(&KillRequest::decode(payload)?),
            "ResizePty" => self.resize(&ResizePtyRequest::decode(payload)?),
            "CloseIO" => self.close_io(&CloseIoRequest::decode(payload)?),
            "Connect" => self.connect(&ProcessRequest::decode(payload)?),
            "Shutdown" => self.shutdown(&ShutdownRequest::decode(payload)?),
            _ => self.call_resources(ticket, method, payload),
        }
    }

    /// The task of this id.
    pub(crate) fn task(&mut self, id: &str) -> Result<&mut Task, Status> {
        self.tasks.get_mut(id).map(Box::as_mut).ok_or_else(|| not_found("container not created"))
    }

    fn proc(&mut self, id: &str, exec_id: &str) -> Result<&mut Proc, Status> {
        let missing = || not_found(format!("process does not exist {exec_id}"));
        self.task(id)?.proc_mut(exec_id).ok_or_else(missing)
    }

    fn create(&mut self, ticket: Ticket, request: CreateTaskRequest) -> Outcome {
        let id = request.id.clone();
        if self.tasks.contains_key(&id) || self.creating.contains(&id) {
            return Err(Status::new(Code::AlreadyExists, format!("task {id}: already exists")));
        }
        let invalid = |message: String| Status::new(Code::InvalidArgument, message);
        let options = Options::from_any(request.options.as_ref()).map_err(invalid)?;
        for unused in &options.without_effect {
            log::warn!("{id}: runtime option without effect: {unused}");
        }
        let creation = Creation {
            bundle: PathBuf::from(&request.bundle),
            root: options.state_root(&self.namespace),
            request,
            options,
            namespace: self.namespace.clone(),
        };
        self.creating.insert(id);
        self.jobs.start(move || {
            let created = creation.create();
            Box::new(move |shim| {
                shim.creating.remove(&creation.request.id);
                let answer = created.and_then(|created| shim.created(creation, created));
                shim.answers.push((ticket, answer));
            })
        });
        Ok(None)
    }

    /// A container was made: from now on it is a task.
    fn created(&mut self, creation: Creation, created: Created) -> Answer {
        let Creation { request, bundle, root, options, .. } = creation;
        let mut init = Proc { stdio: request.stdio(), ..Proc::default() };
        let (container, restoration) = match created.made {
            Made::Container(container, launched) => {
                if let Err(e) = self.adopt(&mut init, launched) {
                    if let Err(e) = container.delete(true) {
                        log::error!("remove {}: {e}", request.id);
                    }
                    mounts::unmount_all(&bundle.join("rootfs"));
                    let message = format!("OCI runtime create failed: attach the streams: {e}");
                    return Err(Status::new(Code::Unknown, message));
                }
                (Some(Arc::new(container)), None)
            }
            Made::Restoration(mut restoration) => {
                let streams = restoration.streams();
                (init.late_stdin, init.late_sink) = (streams.late.take(), streams.late_sink.take());
                (None, Some(restoration))
            }
        };
        let pid = init.pid;
        let number = self.next_task;
        self.next_task += 1;
        let task = Task {
            number,
            bundle,
            root,
            container,
            restoration,
            occupied: false,
            calls: VecDeque::new(),
            init,
            late_exit: None,
            execs: BTreeMap::new(),
            paused: false,
            shares_pids: created.shares_pids,
            io_owner: options.io_owner,
        };
        self.tasks.insert(request.id.clone(), Box::new(task));
        self.know(pid, &request.id, "");
        self.watch_oom(&request.id);
        self.publish_create(request, pid);
        Ok(PidResponse { pid: pid.unsigned_abs() }.encode())
    }

    /// Takes a process that a thread has made into `proc`, and begins to copy its streams where the shim has to.
    fn adopt(&mut self, proc: &mut Proc, launched: Launched) -> Result<(), Reason> {
        let Launched { process, streams, console } = launched;
        proc.pid = process.pid();
        proc.process = Some(process);
        self.attach(proc, streams, console).map_err(Reason::from)
    }

    /// Whose end it is when `pid` ends; there is none yet when it is 0.
    fn know(&mut self, pid: i32, id: &str, exec_id: &str) {
        if pid != 0 {
            self.pids.insert(pid, (id.to_owned(), exec_id.to_owned()));
        }
    }

    fn publish_create(&mut self, request: CreateTaskRequest, pid: i32) {
        let io = TaskIo {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let event = TaskCreate {
            container_id: request.id,
            bundle: request.bundle,
            rootfs: request.rootfs,
            io: Some(io),
            checkpoint: request.checkpoint,
            pid: pid.unsigned_abs(),
        };
        self.publish("/tasks/create", "TaskCreate", &event);
    }

    fn start(&mut self, ticket: Ticket, request: ProcessRequest) -> Outcome {
        if request.exec_id.is_empty() {
            self.start_init(ticket, request.id)
        } else {
            self.start_exec(ticket, request)
        }
    }

    fn start_init(&mut self, ticket: Ticket, id: String) -> Outcome {
        let task = self.task(&id)?;
        match task.init.condition(task.paused) {
            Condition::Created => {}
            Condition::Stopped => return Err(precondition("cannot start a stopped process")),
            _ => return Err(precondition("cannot start a running process")),
        }
        if let Some(restoration) = task.restoration.take() {
            return self.restore(ticket, id, *restoration);
        }
        self.attach_late(&id).map_err(|e| Status::new(Code::Unknown, e))?;
        let task = self.task(&id)?;
        let container = task.container()?;
        task.init.held = true;
        let number = self.occupy(&id);
        self.jobs.start(move || {
            let started = container.start().map_err(|e| launch_status("OCI runtime start failed", &e));
            Box::new(move |shim| {
                let failed = started.is_err();
                let answer = started.and_then(|()| shim.started(&id));
                shim.answers.push((ticket, answer));
                if let Ok(task) = shim.task(&id) {
                    task.init.held = false;
                }
                if failed {
                    shim.ask_for_the_end(&id);
                }
                shim.release(&id, number);
            })
        });
        Ok(None)
    }

    /// A start or a deletion has failed, perhaps when the engine had ended and reaped the first process: then nobody else hears of its end.
    fn ask_for_the_end(&mut self, id: &str) {
        let Some(init) = self.tasks.get(id).map(|task| &task.init).filter(|init| init.exit.is_none()) else {
            return;
        };
        let (pid, killed) = (init.pid, 128 + sigkill().unsigned_abs());
        let status = match init.process.as_ref().map(Process::try_wait) {
            None | Some(Ok(None)) => return,
            Some(Ok(Some(status))) => status.code().unsigned_abs(),
            Some(Err(_)) => killed,
        };
        self.pids.remove(&pid);
        self.exited(id, "", Exit { status, at: Timestamp::now() });
    }

    /// The first process runs what it is to run.
    fn started(&mut self, id: &str) -> Answer {
        let init = &mut self.task(id)?.init;
        init.started = true;
        let pid = init.pid.unsigned_abs();
        self.publish("/tasks/start", "TaskStart", &TaskStart { container_id: id.to_owned(), pid });
        Ok(PidResponse { pid }.encode())
    }

    fn restore(&mut self, ticket: Ticket, id: String, restoration: Restoration) -> Outcome {
        let number = self.occupy(&id);
        self.jobs.start(move || {
            let restored = restoration.restore();
            Box::new(move |shim| {
                let answer =
                    restored.and_then(|(container, launched)| shim.restored(&id, container, launched));
                shim.answers.push((ticket, answer));
                shim.release(&id, number);
            })
        });
        Ok(None)
    }

    /// A container was restored: it runs.
    fn restored(&mut self, id: &str, container: Container, launched: Launched) -> Answer {
        // While it is occupied nobody takes it away.
        let mut init = std::mem::take(&mut self.task(id)?.init);
        let (late, sink) = (init.late_stdin.take(), init.late_sink.take());
        let adopted = self.adopt(&mut init, launched);
        (init.late_stdin, init.late_sink) = (late, sink);
        let pid = init.pid;
        let task = self.task(id)?;
        task.init = init;
        task.container = Some(Arc::new(container));
        self.know(pid, id, "");
        self.watch_oom(id);
        let attached = adopted.map_err(|e| e.to_string()).and_then(|()| self.attach_late(id));
        let answer = self.started(id);
        if let Err(e) = attached {
            log::error!("attach the streams of {id}: {e}");
            end_useless(&self.task(id)?.init);
        }
        answer
    }

    fn exec(&mut self, request: ExecProcessRequest) -> Outcome {
        let id = request.id.clone();
        let task = self.task(&id)?;
        if task.execs.contains_key(&request.exec_id) || request.exec_id.is_empty() {
            return Err(Status::new(Code::AlreadyExists, format!("id {}: already exists", request.exec_id)));
        }
        may_exec(task)?;
        let spec = request.spec.unwrap_or_default();
        let mut process: oci::Process = serde_json::from_slice(&spec.value).map_err(|e| {
            Status::new(Code::InvalidArgument, format!("unmarshal the process specification: {e}"))
        })?;
        process.set_terminal(Some(request.terminal));
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let exec_id = request.exec_id;
        let proc = Proc { exec_id: exec_id.clone(), stdio, spec: Some(process), ..Proc::default() };
        task.execs.insert(exec_id.clone(), Box::new(proc));
        self.publish("/tasks/exec-added", "TaskExecAdded", &TaskExecAdded { container_id: id, exec_id });
        now(&Empty {})
    }

    fn start_exec(&mut self, ticket: Ticket, request: ProcessRequest) -> Outcome {
        let ProcessRequest { id, exec_id } = request;
        let namespace = self.namespace.clone();
        let task = self.task(&id)?;
        may_exec(task)?;
        let (number, container, io_owner) = (task.number, task.container()?, task.io_owner);
        let proc = self.proc(&id, &exec_id)?;
        let spec = proc.spec.take().ok_or_else(|| precondition("cannot start a running process"))?;
        proc.held = true;
        let execution =
            Execution { exec_id: exec_id.clone(), spec, stdio: proc.stdio.clone(), io_owner, namespace };
        self.jobs.start(move || {
            let launched = execution.launch(&container);
            Box::new(move |shim| {
                let answer = shim.exec_started(number, &id, &exec_id, launched);
                shim.answers.push((ticket, answer));
            })
        });
        Ok(None)
    }

    /// A process that exec has added was launched, or was not.
    fn exec_started(
        &mut self,
        number: u64,
        id: &str,
        exec_id: &str,
        launched: Result<Launched, Status>,
    ) -> Answer {
        let same = self.tasks.get_mut(id).filter(|task| task.number == number);
        let Some(proc) = same.and_then(|task| task.proc_mut(exec_id)) else {
            // Its container was deleted meanwhile, and with it all that was in it; whoever is left of it is reaped as any child.
            return launched.and(Err(not_found(format!("process does not exist {exec_id}"))));
        };
        proc.held = false;
        let calls = std::mem::take(&mut proc.calls);
        let answer = launched.and_then(|launched| self.exec_launched(id, exec_id, launched));
        if answer.is_err() {
            // It stays, to be deleted.
            let waiters = self.proc(id, exec_id).map(|proc| std::mem::take(&mut proc.waiters));
            self.refuse_waiters(exec_id, waiters.unwrap_or_default());
            self.exit_at_last(id);
        }
        for call in calls {
            self.call_late(&call);
        }
        answer
    }

    fn exec_launched(&mut self, id: &str, exec_id: &str, launched: Launched) -> Answer {
        let mut proc = std::mem::take(self.proc(id, exec_id)?);
        proc.started = true;
        let adopted = self.adopt(&mut proc, launched);
        let pid = proc.pid;
        if let Err(e) = adopted {
            // It runs; without its streams it is of no use.
            log::error!("attach the streams of {exec_id}: {e}");
            end_useless(&proc);
        }
        *self.proc(id, exec_id)? = proc;
        self.know(pid, id, exec_id);
        let (container_id, exec_id) = (id.to_owned(), exec_id.to_owned());
        let event = TaskExecStarted { container_id, exec_id, pid: pid.unsigned_abs() };
        self.publish("/tasks/exec-started", "TaskExecStarted", &event);
        Ok(PidResponse { pid: pid.unsigned_abs() }.encode())
    }

    fn delete(&mut self, ticket: Ticket, request: ProcessRequest) -> Outcome {
        let proc = self.proc(&request.id, &request.exec_id)?;
        if (proc.started || proc.held) && proc.exit.is_none() {
            return Err(precondition("cannot delete a running process"));
        }
        if !request.exec_id.is_empty() {
            let mut proc = self.task(&request.id)?.execs.remove(&request.exec_id).unwrap_or_default();
            let response = deleted(&proc);
            self.refuse_waiters(&request.exec_id, std::mem::take(&mut proc.waiters));
            self.detach(*proc);
            return now(&response);
        }
        self.delete_task(ticket, request.id)
    }

    fn delete_task(&mut self, ticket: Ticket, id: String) -> Outcome {
        let task = self.task(&id)?;
        let (root, rootfs) = (task.root.clone(), task.rootfs());
        let number = self.occupy(&id);
        self.jobs.start(move || {
            // Stopped, or created and never started: whichever, nothing of it is to stay.
            let container = Runtime::new(&root).open(&id);
            let removed = match container.and_then(|container| container.delete(true)) {
                // Somebody has deleted it by the command.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                r => r.map_err(|e| status("OCI runtime delete failed", &e)),
            };
            if removed.is_ok() {
                mounts::unmount_all(&rootfs);
            }
            Box::new(move |shim| {
                if removed.is_err() {
                    shim.ask_for_the_end(&id);
                }
                let answer = removed.and_then(|()| shim.removed(&id));
                shim.answers.push((ticket, answer));
                shim.release(&id, number);
            })
        });
        Ok(None)
    }

    /// A container is gone: it is no task any more.
    fn removed(&mut self, id: &str) -> Answer {
        self.pids.retain(|_, (task, _)| task != id);
        let killed = || Exit { status: 128 + sigkill().unsigned_abs(), at: Timestamp::now() };
        // The engine has killed them all; the first process was the last to end.
        let task = self.task(id)?;
        task.late_exit = None;
        let running: Vec<String> =
            task.execs.values().filter(|proc| proc.is_running()).map(|proc| proc.exec_id.clone()).collect();
        for exec_id in running {
            self.exited(id, &exec_id, killed());
        }
        let task = self.task(id)?;
        let never_launched = task.execs.extract_if(.., |_, proc| proc.exit.is_none()).map(|(_, proc)| proc);
        let never_launched: Vec<Box<Proc>> = never_launched.collect();
        if task.init.exit.is_none() {
            self.exited(id, "", killed());
        }
        let Some(task) = self.tasks.remove(id) else { return Err(not_found("container not created")) };
        for call in task.calls {
            self.call_late(&call);
        }
        let response = deleted(&task.init);
        for mut proc in never_launched.into_iter().chain(task.execs.into_values()) {
            self.refuse_waiters(&proc.exec_id, std::mem::take(&mut proc.waiters));
            for call in std::mem::take(&mut proc.calls) {
                self.call_late(&call);
            }
            self.detach(*proc);
        }
        self.detach(task.init);
        let event = TaskDelete {
            container_id: id.to_owned(),
            pid: response.pid,
            exit_status: response.exit_status,
            exited_at: response.exited_at.clone(),
            id: String::new(),
        };
        self.publish("/tasks/delete", "TaskDelete", &event);
        Ok(response.encode())
    }

    /// Whoever waits for a process that was never launched hears that there is none.
    fn refuse_waiters(&mut self, exec_id: &str, waiters: Vec<Ticket>) {
        for ticket in waiters {
            self.answers.push((ticket, Err(not_found(format!("process does not exist {exec_id}")))));
        }
    }

    fn state(&mut self, request: &ProcessRequest) -> Outcome {
        let task = self.task(&request.id)?;
        let (paused, bundle) = (task.paused, task.bundle.to_string_lossy().into_owned());
        let proc = self.proc(&request.id, &request.exec_id)?;
        let exit = proc.exit.clone();
        now(&StateResponse {
            id: if request.exec_id.is_empty() { &request.id } else { &request.exec_id }.clone(),
            bundle,
            pid: proc.pid.unsigned_abs(),
            status: proc.condition(paused) as u32,
            stdin: proc.stdio.stdin.clone(),
            stdout: proc.stdio.stdout.clone(),
            stderr: proc.stdio.stderr.clone(),
            terminal: proc.stdio.terminal,
            exit_status: exit.as_ref().map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| exit.at),
            exec_id: request.exec_id.clone(),
        })
    }

    fn wait(&mut self, ticket: Ticket, request: &ProcessRequest) -> Outcome {
        let proc = self.proc(&request.id, &request.exec_id)?;
        match &proc.exit {
            Some(exit) => now(&WaitResponse { exit_status: exit.status, exited_at: Some(exit.at.clone()) }),
            None => {
                proc.waiters.push(ticket);
                Ok(None)
            }
        }
    }

    fn kill(&mut self, request: &KillRequest) -> Outcome {
        let signal = i32::try_from(request.signal).unwrap_or(i32::MAX);
        if !(0..=64).contains(&signal) {
            return Err(Status::new(
                Code::InvalidArgument,
                format!("signal {}: there is none", request.signal),
            ));
        }
        let proc = self.proc(&request.id, &request.exec_id)?;
        if proc.exit.is_some() {
            return Err(not_found("process already finished"));
        }
        let task = self.task(&request.id)?;
        if request.exec_id.is_empty() && task.occupied {
            // The thread holds the container's lock, perhaps for as long as a hook takes.
            signal_proc(&task.init, signal)?;
        } else if request.exec_id.is_empty() {
            let killed = task.container()?.kill(signal, request.all);
            killed.map_err(|e| match e.kind() {
                ErrorKind::NotRunning => not_found("process already finished"),
                _ => status("kill", &e),
            })?;
        } else {
            signal_proc(self.proc(&request.id, &request.exec_id)?, signal)?;
        }
        now(&Empty {})
    }

    fn resize(&mut self, request: &ResizePtyRequest) -> Outcome {
        let proc = self.proc(&request.id, &request.exec_id)?;
        let size = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        if let Some(console) = &proc.console {
            sys::set_window_size(sys::Fd::from(console), size(request.height), size(request.width))
                .map_err(|e| Status::new(Code::Unknown, format!("resize the terminal: {e}")))?;
        }
        now(&Empty {})
    }

    fn close_io(&mut self, request: &CloseIoRequest) -> Outcome {
        let proc = self.proc(&request.id, &request.exec_id)?;
        if request.stdin {
            proc.stdin_closed = true;
            proc.ends.stdin = None;
        }
        now(&Empty {})
    }

    fn connect(&mut self, request: &ProcessRequest) -> Outcome {
        let task_pid = self.tasks.get(&request.id).map_or(0, |task| task.init.pid.unsigned_abs());
        now(&ConnectResponse { shim_pid: std::process::id(), task_pid, version: String::new() })
    }

    fn shutdown(&mut self, request: &ShutdownRequest) -> Outcome {
        // A pod's other containers need it still.
        if (self.tasks.is_empty() && self.creating.is_empty()) || request.now {
            self.closing = true;
        }
        now(&Empty {})
    }
}

fn deleted(proc: &Proc) -> DeleteResponse {
    DeleteResponse {
        pid: proc.pid.unsigned_abs(),
        exit_status: proc.exit.as_ref().map_or(0, |exit| exit.status),
        exited_at: proc.exit.as_ref().map(|exit| exit.at.clone()),
    }
}

/// Whether a process may be added to a task.
fn may_exec(task: &Task) -> Result<(), Status> {
    match task.init.condition(task.paused) {
        Condition::Created | Condition::Running => Ok(()),
        Condition::Paused => Err(precondition("cannot exec in a paused state")),
        Condition::Stopped => Err(precondition("cannot exec in a stopped state")),
    }
}

/// Ends a process that is of no use without its streams.
fn end_useless(proc: &Proc) {
    if let Err(e) = signal_proc(proc, sigkill()) {
        log::error!("end process {}: {}", proc.pid, e.message);
    }
}

/// Signals a process that exec has added.
fn signal_proc(proc: &Proc, signal: i32) -> Result<(), Status> {
    let Some(process) = &proc.process else { return Err(precondition("process not created")) };
    match sys::pidfd_send_signal(sys::Fd::from(std::os::fd::AsFd::as_fd(process)), signal) {
        Ok(()) => Ok(()),
        Err(e) if e.errno == nix::Error::ESRCH as i32 => Err(not_found("process already finished")),
        Err(e) => Err(Status::new(Code::Unknown, format!("signal process {}: {e}", proc.pid))),
    }
}

/// What an answer is on the wire.
#[must_use]
pub fn answer(outcome: Outcome) -> Option<Answer> {
    outcome.transpose()
}
