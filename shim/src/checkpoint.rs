//! Checkpoints: the method Checkpoint, and Create from images, which restores on Start.  CRIU is the engine's affair.

use crate::api::{
    Any, CheckpointOptions, CheckpointTaskRequest, Empty, LinuxCheckpointOptions, TaskCheckpointed,
};
use crate::launch::{Console, Creation, Launched, for_process};
use crate::service::{Outcome, launch_status, precondition};
use crate::shim::Shim;
use crate::stdio::Streams;
use crate::task::{Condition, Ticket};
use crate::ttrpc::{Code, Status};
use crate::wire::{Message, WireError};
use orlop_core::{Bundle, Container, CriuSettings, ManageCgroups, RestoreOptions, Runtime};
use std::fs;
use std::path::{Path, PathBuf};

/// CRIU's directory in the bundle, where the client names none; it goes with the call.
const WORK: &str = "criu-work";
/// Where CRIU's log of a checkpoint that failed is kept, in the bundle.
const KEPT_LOG: &str = "criu-dump.log";

/// The options of a checkpoint, in a message of either type that clients send.
fn options(any: Option<&Any>) -> Result<CheckpointOptions, String> {
    let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
        return Ok(CheckpointOptions::default());
    };
    let broken = |e: WireError| format!("options of type {}: {e}", any.type_url);
    match any.type_name() {
        "containerd.runc.v1.CheckpointOptions" => CheckpointOptions::decode(&any.value).map_err(broken),
        "containerd.linux.runc.CheckpointOptions" => {
            let sent = LinuxCheckpointOptions::decode(&any.value).map_err(broken)?;
            Ok(CheckpointOptions {
                exit: sent.exit,
                open_tcp: sent.open_tcp,
                external_unix_sockets: sent.external_unix_sockets,
                terminal: sent.terminal,
                file_locks: sent.file_locks,
                empty_namespaces: sent.empty_namespaces,
                cgroups_mode: sent.cgroups_mode,
                image_path: sent.image_path,
                work_path: sent.work_path,
            })
        }
        other => Err(format!("unsupported option type {other:?}")),
    }
}

fn manage_cgroups(mode: &str) -> Result<ManageCgroups, String> {
    Ok(match mode {
        "" => ManageCgroups::Default,
        "soft" => ManageCgroups::Soft,
        "full" => ManageCgroups::Full,
        "strict" => ManageCgroups::Strict,
        "ignore" => ManageCgroups::Ignore,
        other => return Err(format!("invalid cgroups mode {other:?}")),
    })
}

/// A checkpoint on its way.
#[derive(Debug)]
struct Dump {
    options: orlop_core::CheckpointOptions,
    bundle: PathBuf,
    /// The client has named a place for CRIU's files, where they stay.
    keeps_work: bool,
}

impl Dump {
    fn new(request: &CheckpointTaskRequest, bundle: &Path) -> Result<Self, String> {
        let sent = options(request.options.as_ref())?;
        // An empty network namespace is what a checkpoint has anyway.
        if let Some(kind) = sent.empty_namespaces.iter().find(|kind| *kind != "network") {
            return Err(format!("namespace {kind:?} is not supported"));
        }
        let keeps_work = !sent.work_path.is_empty();
        let work = if keeps_work { PathBuf::from(sent.work_path) } else { bundle.join(WORK) };
        let criu = CriuSettings {
            image_path: PathBuf::from(&request.path),
            work_path: Some(work),
            tcp_established: sent.open_tcp,
            ext_unix_sk: sent.external_unix_sockets,
            shell_job: sent.terminal,
            file_locks: sent.file_locks,
            manage_cgroups: manage_cgroups(&sent.cgroups_mode)?,
            ..CriuSettings::default()
        };
        let leave_running = !sent.exit;
        let options =
            orlop_core::CheckpointOptions { criu, leave_running, ..orlop_core::CheckpointOptions::default() };
        Ok(Self { options, bundle: bundle.to_owned(), keeps_work })
    }

    fn write(self, container: &Container) -> Result<(), Status> {
        let work = self.options.criu.work_path.clone().unwrap_or_default();
        let written = container.checkpoint(self.options).map_err(|e| {
            let kept = self.bundle.join(KEPT_LOG);
            let log = fs::copy(work.join("dump.log"), &kept);
            let place = log.map_or_else(|_| String::new(), |_| format!(" path= {}", kept.display()));
            let status = launch_status("OCI runtime checkpoint failed", &e);
            Status::new(status.code, format!("{}{place}", status.message))
        });
        if !self.keeps_work {
            let _ = fs::remove_dir_all(&work);
        }
        written
    }
}

impl Shim {
    /// Writes the processes of a task to files.
    pub(crate) fn checkpoint(&mut self, ticket: Ticket, request: CheckpointTaskRequest) -> Outcome {
        let task = self.task(&request.id)?;
        match task.init.condition(task.paused) {
            Condition::Running | Condition::Paused => {}
            Condition::Created => return Err(precondition("cannot checkpoint a task in created state")),
            Condition::Stopped => return Err(precondition("cannot checkpoint a stopped container")),
        }
        let dump = Dump::new(&request, &task.bundle).map_err(|e| Status::new(Code::InvalidArgument, e))?;
        let container = task.container()?;
        // One that is to end with it is told to have ended after it.
        task.init.held = true;
        let number = self.occupy(&request.id);
        self.jobs.start(move || {
            let written = dump.write(&container);
            Box::new(move |shim| {
                if written.is_ok() {
                    let event =
                        TaskCheckpointed { container_id: request.id.clone(), checkpoint: request.path };
                    shim.publish("/tasks/checkpointed", "TaskCheckpointed", &event);
                }
                if let Ok(task) = shim.task(&request.id) {
                    task.init.held = false;
                }
                shim.answers.push((ticket, written.map(|()| Empty {}.encode())));
                shim.release(&request.id, number);
            })
        });
        Ok(None)
    }
}

/// A container that Start restores from images.
#[derive(Debug)]
pub struct Restoration {
    id: String,
    root: PathBuf,
    loaded: Bundle,
    images: PathBuf,
    work: Option<PathBuf>,
    systemd_cgroup: bool,
    terminal: bool,
    streams: Streams,
}

impl Restoration {
    /// What `creation` asks for, with the bundle and the streams that were opened for it.
    #[must_use]
    pub fn new(creation: &Creation, loaded: Bundle, streams: Streams) -> Self {
        let (request, options) = (&creation.request, &creation.options);
        Self {
            id: request.id.clone(),
            root: creation.root.clone(),
            loaded,
            images: PathBuf::from(&request.checkpoint),
            work: Some(PathBuf::from(&options.criu_work_path)).filter(|path| !path.as_os_str().is_empty()),
            systemd_cgroup: options.systemd_cgroup,
            terminal: request.terminal,
            streams,
        }
    }

    /// The streams, for what is opened on Start.
    pub(crate) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Restores it: it runs.
    ///
    /// # Errors
    /// As the engine has them; nothing is left of it then.
    pub fn restore(mut self) -> Result<(Container, Launched), Status> {
        let failed = |e: String| Status::new(Code::Unknown, format!("OCI runtime restore failed: {e}"));
        let (console_socket, console) = Console::offer(self.terminal).map_err(failed)?.unzip();
        let restored = Runtime::new(&self.root).restore(RestoreOptions {
            id: self.id,
            loaded: Some(self.loaded),
            console_socket,
            stdio: Some(for_process(&mut self.streams).map_err(failed)?),
            systemd_cgroup: self.systemd_cgroup,
            criu: CriuSettings { image_path: self.images, work_path: self.work, ..CriuSettings::default() },
            ..RestoreOptions::default()
        });
        let (container, process) = restored.map_err(|e| launch_status("OCI runtime restore failed", &e))?;
        match console.map(Console::take).transpose() {
            Ok(console) => Ok((container, Launched { process, streams: self.streams, console })),
            Err(e) => {
                // It runs; without its terminal it is of no use.
                if let Err(e) = container.delete(true) {
                    log::error!("remove what was restored: {e}");
                }
                Err(failed(e))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: Option<Any>) -> CheckpointTaskRequest {
        CheckpointTaskRequest { id: "c".into(), path: "/images".into(), options }
    }

    #[test]
    fn options_of_either_type_are_read() {
        let sent = CheckpointOptions {
            exit: true,
            open_tcp: true,
            file_locks: true,
            cgroups_mode: "strict".into(),
            empty_namespaces: vec!["network".into()],
            image_path: "/images".into(),
            work_path: "/work".into(),
            ..CheckpointOptions::default()
        };
        let any = Any::new("containerd.runc.v1.CheckpointOptions", sent.encode());
        let dump = Dump::new(&request(Some(any)), Path::new("/bundle")).unwrap();
        let options = &dump.options.criu;
        assert!(!dump.options.leave_running && dump.keeps_work);
        assert!(options.tcp_established && options.file_locks);
        assert!(!options.ext_unix_sk && !options.shell_job);
        assert_eq!(options.manage_cgroups, ManageCgroups::Strict);
        assert_eq!(options.work_path.as_deref(), Some(Path::new("/work")));
        let sent =
            LinuxCheckpointOptions { terminal: true, external_unix_sockets: true, ..Default::default() };
        let any = Any::new("containerd.linux.runc.CheckpointOptions", sent.encode());
        let dump = Dump::new(&request(Some(any)), Path::new("/bundle")).unwrap();
        assert!(dump.options.leave_running && dump.options.criu.shell_job && dump.options.criu.ext_unix_sk);
        let dump = Dump::new(&request(None), Path::new("/bundle")).unwrap();
        assert_eq!(dump.options.criu.image_path, Path::new("/images"));
        assert_eq!(dump.options.criu.work_path.as_deref(), Some(Path::new("/bundle/criu-work")));
        assert!(dump.options.leave_running && !dump.keeps_work);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        let of = |sent: CheckpointOptions| {
            let any = Any::new("containerd.runc.v1.CheckpointOptions", sent.encode());
            Dump::new(&request(Some(any)), Path::new("/b")).unwrap_err()
        };
        let odd = CheckpointOptions { empty_namespaces: vec!["pid".into()], ..Default::default() };
        assert_eq!(of(odd), "namespace \"pid\" is not supported");
        let odd = CheckpointOptions { cgroups_mode: "loose".into(), ..Default::default() };
        assert_eq!(of(odd), "invalid cgroups mode \"loose\"");
        let unknown = Any::new("a.B", Vec::new());
        let error = Dump::new(&request(Some(unknown)), Path::new("/b")).unwrap_err();
        assert_eq!(error, "unsupported option type \"a.B\"");
    }
}
