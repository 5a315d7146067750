//! The Task service, versions 2 and 3: each method is a call into the engine.

use crate::api::*;
use crate::options::Options;
use crate::shim::{Answer, Shim, sigkill};
use crate::stdio::{Owner, Stdio, Streams};
use crate::task::{Condition, Exit, Proc, Task, Ticket};
use crate::ttrpc::{Code, Status};
use crate::wire::Message;
use crate::{address, mounts};
use oci_spec::runtime as oci;
use orlop_core::sys::Reason;
use orlop_core::{Bundle, Container, CreateOptions, Error, ErrorKind, ExecOptions, Runtime, sys};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The file in a bundle that tells `delete` where the container's state is.
pub const ROOT_FILE: &str = "orlop-root";

/// An answer now, or none yet.
pub type Outcome = Result<Option<Vec<u8>>, Status>;

pub(crate) fn now(message: &impl Message) -> Outcome {
    Ok(Some(message.encode()))
}

fn not_found(message: impl Into<String>) -> Status {
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
fn launch_status(doing: &str, error: &Error) -> Status {
    let code = if error.kind() == ErrorKind::AlreadyExists { Code::AlreadyExists } else { Code::Unknown };
    Status::new(code, format!("{doing}: {error}"))
}

impl Shim {
    /// Calls a method of the Task service.
    ///
    /// # Errors
    /// It fails, or there is no such method.
    pub fn call_task(&mut self, ticket: Ticket, method: &str, payload: &[u8]) -> Outcome {
        match method {
            "Create" => self.create(CreateTaskRequest::decode(payload)?),
            "Start" => self.start(&ProcessRequest::decode(payload)?),
            "Delete" => self.delete(&ProcessRequest::decode(payload)?),
            "Exec" => self.exec(ExecProcessRequest::decode(payload)?),
            "State" => self.state(&ProcessRequest::decode(payload)?),
            "Wait" => self.wait(ticket, &ProcessRequest::decode(payload)?),
            "Kill" => self.kill(&KillRequest::decode(payload)?),
            "ResizePty" => self.resize(&ResizePtyRequest::decode(payload)?),
            "CloseIO" => self.close_io(&CloseIoRequest::decode(payload)?),
            "Connect" => self.connect(&ProcessRequest::decode(payload)?),
            "Shutdown" => self.shutdown(&ShutdownRequest::decode(payload)?),
            _ => self.call_resources(method, payload),
        }
    }

    /// The task of this id.
    pub(crate) fn task(&mut self, id: &str) -> Result<&mut Task, Status> {
        self.tasks.get_mut(id).ok_or_else(|| not_found("container not created"))
    }

    fn proc(&mut self, id: &str, exec_id: &str) -> Result<&mut Proc, Status> {
        let missing = || not_found(format!("process does not exist {exec_id}"));
        self.task(id)?.proc_mut(exec_id).ok_or_else(missing)
    }

    fn create(&mut self, request: CreateTaskRequest) -> Outcome {
        if self.tasks.contains_key(&request.id) {
            return Err(Status::new(Code::AlreadyExists, format!("task {}: already exists", request.id)));
        }
        if !request.checkpoint.is_empty() {
            let message = "restore from a checkpoint: checkpoints are not supported yet";
            return Err(Status::new(Code::Unimplemented, message));
        }
        let invalid = |message: String| Status::new(Code::InvalidArgument, message);
        let options = Options::from_any(request.options.as_ref()).map_err(invalid)?;
        for unused in &options.without_effect {
            log::warn!("{}: runtime option without effect: {unused}", request.id);
        }
        let bundle = PathBuf::from(&request.bundle);
        let root = options.state_root(&self.namespace);
        let failed = |e: String| Status::new(Code::Unknown, format!("OCI runtime create failed: {e}"));
        let recorded = address::write_file(&bundle.join(ROOT_FILE), &root.to_string_lossy());
        recorded.map_err(|e| failed(format!("write {ROOT_FILE} in the bundle: {}", Reason::of(&e))))?;
        let rootfs = bundle.join("rootfs");
        if !request.rootfs.is_empty() {
            let made = std::fs::create_dir_all(&rootfs)
                .map_err(|e| format!("make {}: {}", rootfs.display(), Reason::of(&e)));
            made.and_then(|()| mounts::mount_all(&request.rootfs, &rootfs)).map_err(failed)?;
        }
        let created = self.create_container(&request, &bundle, &root, &options);
        let (container, init, shares_pids) = created.inspect_err(|_| {
            if !request.rootfs.is_empty() {
                mounts::unmount_all(&rootfs);
            }
        })?;
        let pid = init.pid;
        let number = self.next_task;
        self.next_task += 1;
        let task = Task {
            number,
            bundle,
            root,
            container,
            init,
            execs: BTreeMap::new(),
            paused: false,
            shares_pids,
            io_owner: options.io_owner,
        };
        self.pids.insert(pid, (request.id.clone(), String::new()));
        self.tasks.insert(request.id.clone(), task);
        self.watch_oom(&request.id);
        self.publish_create(request, pid);
        now(&PidResponse { pid: pid.unsigned_abs() })
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

    /// Makes the container; its process waits for Start.
    fn create_container(
        &mut self,
        request: &CreateTaskRequest,
        bundle: &Path,
        root: &Path,
        options: &Options,
    ) -> Result<(Container, Proc, bool), Status> {
        let failed = |e: String| Status::new(Code::Unknown, format!("OCI runtime create failed: {e}"));
        let refused = |e: Error| launch_status("OCI runtime create failed", &e);
        let loaded = Bundle::load(bundle).map_err(refused)?;
        let stdio = Stdio {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        if loaded.has_terminal() != stdio.terminal {
            return Err(failed("process.terminal and the terminal of the request differ".to_owned()));
        }
        let shares_pids = shares_pids(loaded.spec());
        let process = loaded.spec().process().as_ref();
        let owner = Owner {
            id: &request.id,
            namespace: &self.namespace,
            ids: options.io_owner,
            confined: process.is_some_and(is_confined),
            late: true,
        };
        let mut streams = Streams::open(&stdio, owner).map_err(failed)?;
        let console = Console::offer(stdio.terminal).map_err(failed)?;
        let (console_socket, console) = console.unzip();
        let mut container = Runtime::new(root)
            .create(CreateOptions {
                id: request.id.clone(),
                loaded: Some(loaded),
                stdio: streams
                    .process
                    .take()
                    .map_or_else(nothing, |three| Ok(Some(three)))
                    .map_err(failed)?,
                console_socket,
                no_pivot: options.no_pivot_root,
                no_new_keyring: options.no_new_keyring,
                systemd_cgroup: options.systemd_cgroup,
                ..CreateOptions::default()
            })
            .map_err(refused)?;
        let process = container.take_process();
        let mut init = Proc { stdio, pid: container.pid(), process, ..Proc::default() };
        let attached = console.map(Console::take).transpose().and_then(|console| {
            self.attach(&mut init, streams, console).map_err(|e| Reason::from(e).to_string())
        });
        if let Err(e) = attached {
            if let Err(e) = container.delete(true) {
                log::error!("remove {}: {e}", request.id);
            }
            return Err(failed(format!("attach the streams: {e}")));
        }
        Ok((container, init, shares_pids))
    }

    fn start(&mut self, request: &ProcessRequest) -> Outcome {
        if request.exec_id.is_empty() { self.start_init(&request.id) } else { self.start_exec(request) }
    }

    fn start_init(&mut self, id: &str) -> Outcome {
        let task = self.task(id)?;
        match task.init.condition(task.paused) {
            Condition::Created => {}
            Condition::Stopped => return Err(precondition("cannot start a stopped process")),
            _ => return Err(precondition("cannot start a running process")),
        }
        self.attach_late(id).map_err(|e| Status::new(Code::Unknown, e))?;
        let task = self.task(id)?;
        task.container.start().map_err(|e| launch_status("OCI runtime start failed", &e))?;
        task.init.started = true;
        let pid = task.init.pid.unsigned_abs();
        self.publish("/tasks/start", "TaskStart", &TaskStart { container_id: id.to_owned(), pid });
        now(&PidResponse { pid })
    }

    fn exec(&mut self, request: ExecProcessRequest) -> Outcome {
        let id = request.id.clone();
        let task = self.task(&id)?;
        if task.execs.contains_key(&request.exec_id) || request.exec_id.is_empty() {
            return Err(Status::new(Code::AlreadyExists, format!("id {}: already exists", request.exec_id)));
        }
        match task.init.condition(task.paused) {
            Condition::Created | Condition::Running => {}
            Condition::Paused => return Err(precondition("cannot exec in a paused state")),
            Condition::Stopped => return Err(precondition("cannot exec in a stopped state")),
        }
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
        task.execs.insert(exec_id.clone(), proc);
        self.publish("/tasks/exec-added", "TaskExecAdded", &TaskExecAdded { container_id: id, exec_id });
        now(&Empty {})
    }

    fn start_exec(&mut self, request: &ProcessRequest) -> Outcome {
        let (id, exec_id) = (&request.id, &request.exec_id);
        let proc = self.proc(id, exec_id)?;
        let spec = proc.spec.take().ok_or_else(|| precondition("cannot start a running process"))?;
        let stdio = proc.stdio.clone();
        let pid = self.launch_exec(request, spec, &stdio)?;
        self.pids.insert(pid, (id.clone(), exec_id.clone()));
        let event =
            TaskExecStarted { container_id: id.clone(), exec_id: exec_id.clone(), pid: pid.unsigned_abs() };
        self.publish("/tasks/exec-started", "TaskExecStarted", &event);
        now(&PidResponse { pid: pid.unsigned_abs() })
    }

    /// Runs a process in the container.
    fn launch_exec(
        &mut self,
        request: &ProcessRequest,
        spec: oci::Process,
        stdio: &Stdio,
    ) -> Result<i32, Status> {
        let failed = |e: String| Status::new(Code::Unknown, format!("OCI runtime exec failed: {e}"));
        let namespace = self.namespace.clone();
        let task = self.task(&request.id)?;
        let owner = Owner {
            id: &request.exec_id,
            namespace: &namespace,
            ids: task.io_owner,
            confined: is_confined(&spec),
            late: false,
        };
        let mut streams = Streams::open(stdio, owner).map_err(failed)?;
        let (console_socket, console) = Console::offer(stdio.terminal).map_err(failed)?.unzip();
        let process = task
            .container
            .exec(ExecOptions {
                process: Some(spec),
                stdio: streams
                    .process
                    .take()
                    .map_or_else(nothing, |three| Ok(Some(three)))
                    .map_err(failed)?,
                console_socket,
                ..ExecOptions::default()
            })
            .map_err(|e| launch_status("OCI runtime exec failed", &e))?;
        let pid = process.pid();
        let mut proc = self.proc(&request.id, &request.exec_id).map(std::mem::take)?;
        (proc.pid, proc.process, proc.started) = (pid, Some(process), true);
        let attached = console.map(Console::take).transpose().and_then(|console| {
            self.attach(&mut proc, streams, console).map_err(|e| Reason::from(e).to_string())
        });
        if let Err(e) = attached {
            // It runs; without its streams it is of no use.
            log::error!("attach the streams of {}: {e}", request.exec_id);
            signal_proc(&proc, sigkill())?;
        }
        *self.proc(&request.id, &request.exec_id)? = proc;
        Ok(pid)
    }

    fn delete(&mut self, request: &ProcessRequest) -> Outcome {
        let proc = self.proc(&request.id, &request.exec_id)?;
        if proc.started && proc.exit.is_none() {
            return Err(precondition("cannot delete a running process"));
        }
        if !request.exec_id.is_empty() {
            let proc = self.task(&request.id)?.execs.remove(&request.exec_id).unwrap_or_default();
            let response = deleted(&proc);
            self.detach(proc);
            return now(&response);
        }
        self.delete_task(&request.id)
    }

    fn delete_task(&mut self, id: &str) -> Outcome {
        let task = self.task(id)?;
        // Stopped, or created and never started: whichever, nothing of it is to stay.
        let container = Runtime::new(&task.root).open(id);
        let removed = container.and_then(|container| container.delete(true));
        match removed {
            // Somebody has deleted it by the command.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            r => r.map_err(|e| status("OCI runtime delete failed", &e))?,
        }
        self.pids.retain(|_, (task, _)| task != id);
        let never_started = self.task(id)?.init.exit.is_none();
        if never_started {
            // The engine has killed and reaped it.
            self.exited(id, "", Exit { status: 128 + sigkill().unsigned_abs(), at: Timestamp::now() });
        }
        let Some(task) = self.tasks.remove(id) else { return Err(not_found("container not created")) };
        mounts::unmount_all(&task.rootfs());
        self.forget_oom(task.number);
        let response = deleted(&task.init);
        for proc in task.execs.into_values() {
            self.answer_waiters(&proc);
            self.detach(proc);
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
        now(&response)
    }

    /// Whoever waits for a process that was never started hears that it is gone.
    fn answer_waiters(&mut self, proc: &Proc) {
        for ticket in &proc.waiters {
            self.answers.push((*ticket, Err(not_found(format!("process does not exist {}", proc.exec_id)))));
        }
    }

    fn state(&mut self, request: &ProcessRequest) -> Outcome {
        let task = self.task(&request.id)?;
        let (paused, bundle) = (task.paused, task.bundle.to_string_lossy().into_owned());
        let proc = self.proc(&request.id, &request.exec_id)?;
        let exit = proc.exit.clone();
        now(&StateResponse {
            id: request.id.clone(),
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
        if request.exec_id.is_empty() {
            let task = self.task(&request.id)?;
            let killed = task.container.kill(signal, request.all);
            killed.map_err(|e| match e.kind() {
                ErrorKind::NotRunning => not_found("process already finished"),
                _ => status("kill", &e),
            })?;
        } else {
            signal_proc(proc, signal)?;
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
        if self.tasks.is_empty() || request.now {
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

/// Signals a process that exec has added.
fn signal_proc(proc: &Proc, signal: i32) -> Result<(), Status> {
    let Some(process) = &proc.process else { return Err(precondition("process not created")) };
    match sys::pidfd_send_signal(sys::Fd::from(std::os::fd::AsFd::as_fd(process)), signal) {
        Ok(()) => Ok(()),
        Err(e) if e.errno == nix::Error::ESRCH as i32 => Err(not_found("process already finished")),
        Err(e) => Err(Status::new(Code::Unknown, format!("signal process {}: {e}", proc.pid))),
    }
}

/// Without a pid namespace of its own, the end of the first process leaves the others alive.
fn shares_pids(spec: &oci::Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let own = |n: &oci::LinuxNamespace| n.typ() == oci::LinuxNamespaceType::Pid && n.path().is_none();
    !namespaces.is_some_and(|list| list.iter().any(own))
}

/// Whether a security module may have a word about descriptors of the host's.
fn is_confined(process: &oci::Process) -> bool {
    let given =
        |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty() && name != "unconfined");
    given(process.apparmor_profile()) || given(process.selinux_label())
}

/// With a terminal: what the child half has as its streams until it has that.
fn nothing() -> Result<Option<[OwnedFd; 3]>, String> {
    let open = || {
        let flags = nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_CLOEXEC;
        nix::fcntl::open("/dev/null", flags, nix::sys::stat::Mode::empty())
    };
    let three = || Ok::<_, nix::Error>([open()?, open()?, open()?]);
    three().map(Some).map_err(|e: nix::Error| format!("open /dev/null: {}", Reason::from(e)))
}

/// The way of a terminal's master from the container to the shim.
struct Console(OwnedFd);

impl Console {
    /// The engine's end, and ours.
    fn offer(wanted: bool) -> Result<Option<(OwnedFd, Self)>, String> {
        if !wanted {
            return Ok(None);
        }
        let (ours, theirs) = sys::socketpair().map_err(|e| format!("make a console socket: {e}"))?;
        Ok(Some((theirs, Self(ours))))
    }

    /// The master: it was sent before the engine returned.
    fn take(self) -> Result<OwnedFd, String> {
        orlop_core::receive_descriptor(&self.0)
            .map_err(|e| Reason::from(e).to_string())?
            .ok_or_else(|| "the container has sent no terminal".to_owned())
    }
}

/// What an answer is on the wire.
#[must_use]
pub fn answer(outcome: Outcome) -> Option<Answer> {
    outcome.transpose()
}
