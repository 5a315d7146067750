//! Launches, as threads beside the loop do them: they touch nothing of the shim's state, and return what the loop puts there.

use crate::api::CreateTaskRequest;
use crate::checkpoint::Restoration;
use crate::forgotten::is_there;
use crate::options::Options;
use crate::service::{ROOT_FILE, launch_status};
use crate::stdio::{Owner, READER_START, Stdio, Streams};
use crate::ttrpc::{Code, Status};
use crate::{address, mounts};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime as oci;
use orlop_core::sys::{self, Reason};
use orlop_core::{Bundle, Container, CreateOptions, ExecOptions, Process, Runtime};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A container that is to be made.
#[derive(Debug)]
pub struct Creation {
    /// The call.
    pub request: CreateTaskRequest,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Where its state is to lie.
    pub root: PathBuf,
    /// The runtime's options.
    pub options: Options,
    /// containerd's namespace.
    pub namespace: String,
}

/// What was made.
#[derive(Debug)]
pub struct Created {
    /// The end of its first process does not end the others.
    pub shares_pids: bool,
    /// The container: there, or to be restored.
    pub made: Made,
}

/// See [`Created`].
#[derive(Debug)]
pub enum Made {
    /// Its first process waits for Start.
    Container(Container, Launched),
    /// There is nothing of it yet: Start restores it.
    Restoration(Box<Restoration>),
}

/// A process that was made.
#[derive(Debug)]
pub struct Launched {
    /// The child.
    pub process: Process,
    /// What its streams need of the shim.
    pub streams: Streams,
    /// The terminal's master, if it has one.
    pub console: Option<OwnedFd>,
}

fn failed(e: &str) -> Status {
    Status::new(Code::Unknown, format!("OCI runtime create failed: {e}"))
}

impl Creation {
    /// Mounts the root file system and makes the container; its process waits for Start.
    ///
    /// # Errors
    /// As the engine has them; nothing is left then.
    pub fn create(&self) -> Result<Created, Status> {
        let recorded = address::write_file(&self.bundle.join(ROOT_FILE), &self.root.to_string_lossy());
        recorded.map_err(|e| failed(&format!("write {ROOT_FILE} in the bundle: {}", Reason::of(&e))))?;
        let rootfs = self.bundle.join("rootfs");
        let mounted = !self.request.rootfs.is_empty();
        if mounted {
            let made = fs::create_dir_all(&rootfs);
            let made = made.map_err(|e| format!("make {}: {}", rootfs.display(), Reason::of(&e)));
            made.and_then(|()| mounts::mount_all(&self.request.rootfs, &rootfs)).map_err(|e| failed(&e))?;
        }
        self.create_container().and_then(|created| self.unless_forgotten(created)).inspect_err(|_| {
            if mounted {
                mounts::unmount_all(&rootfs);
            }
        })
    }

    /// Whoever has called may be dead, and who came after him may have removed the bundle: nobody would remove the container.
    fn unless_forgotten(&self, created: Created) -> Result<Created, Status> {
        if is_there(&self.bundle) {
            return Ok(created);
        }
        if let Made::Container(container, _) = created.made
            && let Err(e) = container.delete(true)
        {
            log::error!("remove {}: {e}", self.request.id);
        }
        Err(failed(&format!("{}: the bundle is no longer there", self.bundle.display())))
    }

    fn create_container(&self) -> Result<Created, Status> {
        let loaded =
            Bundle::load(&self.bundle).map_err(|e| launch_status("OCI runtime create failed", &e))?;
        let request = &self.request;
        if loaded.has_terminal() != request.terminal {
            return Err(failed("process.terminal and the terminal of the request differ"));
        }
        let shares_pids = shares_pids(loaded.spec());
        let owner = Owner {
            id: &request.id,
            namespace: &self.namespace,
            ids: self.options.io_owner,
            confined: loaded.spec().process().as_ref().is_some_and(is_confined),
            late: true,
            patience: READER_START,
        };
        let streams = Streams::open(&request.stdio(), owner).map_err(|e| failed(&e))?;
        let made = if request.checkpoint.is_empty() {
            self.launch(loaded, streams)?
        } else {
            Made::Restoration(Box::new(Restoration::new(self, loaded, streams)))
        };
        Ok(Created { shares_pids, made })
    }

    fn launch(&self, loaded: Bundle, mut streams: Streams) -> Result<Made, Status> {
        let (console_socket, console) =
            Console::offer(self.request.terminal).map_err(|e| failed(&e))?.unzip();
        let created = Runtime::new(&self.root).create(CreateOptions {
            id: self.request.id.clone(),
            loaded: Some(loaded),
            stdio: Some(for_process(&mut streams).map_err(|e| failed(&e))?),
            console_socket,
            no_pivot: self.options.no_pivot_root,
            no_new_keyring: self.options.no_new_keyring,
            systemd_cgroup: self.options.systemd_cgroup,
            ..CreateOptions::default()
        });
        let mut container = created.map_err(|e| launch_status("OCI runtime create failed", &e))?;
        let master = console.map(Console::take).transpose();
        let process =
            container.take_process().ok_or_else(|| "its process is no child of the shim".to_owned());
        match (process, master) {
            (Ok(process), Ok(console)) => {
                Ok(Made::Container(container, Launched { process, streams, console }))
            }
            (Err(e), _) | (_, Err(e)) => {
                if let Err(e) = container.delete(true) {
                    log::error!("remove {}: {e}", self.request.id);
                }
                Err(failed(&e))
            }
        }
    }
}

/// As containerd's own shim has it from runc.
const EXEC_FAILED: &str = "OCI runtime exec failed: exec failed";

/// A process that exec is to add.
#[derive(Debug)]
pub struct Execution {
    /// Its exec id.
    pub exec_id: String,
    /// What to run.
    pub spec: oci::Process,
    /// Its streams, as the client names them.
    pub stdio: Stdio,
    /// Who owns its pipes.
    pub io_owner: (u32, u32),
    /// containerd's namespace.
    pub namespace: String,
}

impl Execution {
    /// Runs the process in `container`.
    ///
    /// # Errors
    /// As the engine has them.
    pub fn launch(self, container: &Container) -> Result<Launched, Status> {
        let failed = |e: String| Status::new(Code::Unknown, format!("{EXEC_FAILED}: {e}"));
        let owner = Owner {
            id: &self.exec_id,
            namespace: &self.namespace,
            ids: self.io_owner,
            confined: is_confined(&self.spec),
            late: false,
            patience: READER_START,
        };
        let mut streams = Streams::open(&self.stdio, owner).map_err(failed)?;
        let (console_socket, console) = Console::offer(self.stdio.terminal).map_err(failed)?.unzip();
        let process = container.exec(ExecOptions {
            process: Some(self.spec),
            stdio: Some(for_process(&mut streams).map_err(failed)?),
            console_socket,
            ..ExecOptions::default()
        });
        let process = process.map_err(|e| launch_status(EXEC_FAILED, &e))?;
        let console = console.map(Console::take).transpose().unwrap_or_else(|e| {
            // It runs; without its terminal it is of no use.
            log::error!("attach the streams of {}: {e}", self.exec_id);
            let _ = sys::pidfd_send_signal(sys::Fd::from(std::os::fd::AsFd::as_fd(&process)), SIGKILL);
            None
        });
        Ok(Launched { process, streams, console })
    }
}

const SIGKILL: i32 = crate::shim::sigkill();

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

/// What the process gets as its streams; with a terminal: what the child half has until it has that.
pub(crate) fn for_process(streams: &mut Streams) -> Result<[OwnedFd; 3], String> {
    if let Some(three) = streams.process.take() {
        return Ok(three);
    }
    let null = || open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let three = || Ok::<_, nix::Error>([null()?, null()?, null()?]);
    three().map_err(|e| format!("open /dev/null: {}", Reason::from(e)))
}

/// The way of a terminal's master from the container to the shim.
pub(crate) struct Console(OwnedFd);

impl Console {
    /// The engine's end, and ours.
    pub(crate) fn offer(wanted: bool) -> Result<Option<(OwnedFd, Self)>, String> {
        if !wanted {
            return Ok(None);
        }
        let (ours, theirs) = sys::socketpair().map_err(|e| format!("make a console socket: {e}"))?;
        Ok(Some((theirs, Self(ours))))
    }

    /// The master: it was sent before the engine returned.
    pub(crate) fn take(self) -> Result<OwnedFd, String> {
        orlop_core::receive_descriptor(&self.0)
            .map_err(|e| Reason::from(e).to_string())?
            .ok_or_else(|| "the container has sent no terminal".to_owned())
    }
}
