//! A container: its state, and what can be done to it.

mod control;
mod update;

pub use update::Update;

use crate::error::{Error, ErrorKind};
use crate::launch::explain::{explain_started, silence};
use crate::launch::hooks::{self, HookPlace};
use crate::launch::listener::Agent;
use crate::launch::protocol::{self, FromChild, FromParent, SIZE};
use crate::launch::receive_fd;
use crate::launch::{netdev, procfs::TrustedProc, rdt};
use crate::plan::{self, Gate, HookKind, Namespace};
use crate::state::{ContainerDir, Known, Phase, ProcState, START_SOCKET, State, StateRoot, has_executed};
use crate::status::{ContainerState, Status, oci_state};
use crate::sys::{self, Call, Child, Fd, SysError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A container of a [`crate::Runtime`].
///
/// It is a name and what was read last: every operation opens the state directory again, under its lock.
#[derive(Debug)]
pub struct Container {
    root: PathBuf,
    id: String,
    pid: i32,
    /// Of the caller's own child, after create.
    child: Option<Child>,
    /// Its record, after run: as a rule there is no other to its end.
    known: Option<Box<Known>>,
}

impl Container {
    pub(crate) fn new(root: &Path, dir: &ContainerDir, state: &State, child: Option<Child>) -> Self {
        let pid = state.pid.unwrap_or(0);
        Self { root: root.to_owned(), id: dir.id().to_owned(), pid, child, known: None }
    }

    /// With the record that was written last.
    pub(crate) fn knowing(self, known: Known) -> Self {
        Self { known: Some(Box::new(known)), ..self }
    }

    pub(crate) fn open(root: &Path, id: &str) -> Result<Self, Error> {
        crate::state::validate_id(id)?;
        let dir = open_root(root, id)?.open_shared(id)?;
        let state = dir.load()?.unwrap_or_default();
        let pid = state.pid.unwrap_or(0);
        Ok(Self { root: root.to_owned(), id: id.to_owned(), pid, child: None, known: None })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Process id of its first process, whether or not that still runs.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The first process as a child of the caller, to be waited for: only after [`crate::Runtime::create`] in this process.
    pub fn take_process(&mut self) -> Option<crate::Process> {
        self.child.take().map(crate::Process::new)
    }

    /// A descriptor for its first process.
    ///
    /// # Errors
    /// When that does not run.
    pub fn pidfd(&self) -> Result<OwnedFd, Error> {
        let (_, state) = self.read()?;
        open_init(&state)?.ok_or_else(|| self.not_running())
    }

    /// What it is doing.
    ///
    /// # Errors
    /// When it is gone, or its state cannot be read.
    pub fn state(&self) -> Result<ContainerState, Error> {
        let (dir, state) = self.read()?;
        let status = status_of(&dir, &state)?;
        Ok(ContainerState {
            oci_version: state.oci_version,
            id: self.id.clone(),
            status,
            pid: if status == Status::Stopped { 0 } else { state.pid.unwrap_or(0) },
            bundle: state.bundle,
            rootfs: state.rootfs,
            created: state.created,
            owner: state.owner,
            annotations: state.annotations,
        })
    }

    /// Runs its program.
    ///
    /// # Errors
    /// When it is not in state *created*, or the program cannot be executed; when a hook fails, and there is no container any
    /// more then, for the lifecycle goes on with the deletion (runtime.md, "Lifecycle").
    pub fn start(&self) -> Result<(), Error> {
        let (dir, mut state) = self.lock()?;
        match status_of(&dir, &state)? {
            Status::Created => {}
            Status::Stopped => {
                return Err(Error::new(ErrorKind::InvalidState, "cannot start a container that has stopped"));
            }
            Status::Running => {
                return Err(Error::new(ErrorKind::InvalidState, "cannot start an already running container"));
            }
            other => {
                return Err(Error::new(
                    ErrorKind::InvalidState,
                    format!("cannot start a container in the {other} state"),
                ));
            }
        }
        let pidfd = open_init(&state)?.ok_or_else(|| self.not_running())?;
        let child = Child { pid: state.pid.unwrap_or(0), pidfd };
        if let Err(e) = run_start_hooks(&state, &child) {
            teardown(dir, &state);
            return Err(e);
        }
        send_start(&dir, &state, &child)?;
        state.phase = Phase::Running;
        dir.save(&state)?;
        let _ = sys::unlinkat(Fd::from(dir.dir_fd()), start_socket_name(), 0);
        if let Err(e) = run_poststart(&state, &child) {
            teardown(dir, &state);
            return Err(e);
        }
        Ok(())
    }

    /// Sends `signal` to its first process, or with `all` to every process in its cgroup.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, signal: i32, all: bool) -> Result<(), Error> {
        let (_, state) = self.lock()?;
        let whole = all || (signal == libc::SIGKILL && state.host_pid_namespace);
        let init = open_init(&state)?;
        if whole && let Some(cgroup) = &state.cgroup {
            let any = !cgroup.procs(true).unwrap_or_default().is_empty();
            if any {
                cgroup.kill_all(signal)?;
                return Ok(());
            }
        }
        let Some(init) = init else {
            return if all { Ok(()) } else { Err(self.not_running()) };
        };
        match sys::pidfd_send_signal(Fd::from(&init), signal) {
            Ok(()) if signal == libc::SIGKILL => thaw_to_die(&state),
            Ok(()) => Ok(()),
            Err(e) if e.errno == libc::ESRCH => Err(self.not_running()),
            Err(e) => Err(Error::because(ErrorKind::Host, format!("signal {signal} to {}", self.id), e)),
        }
    }

    /// Removes it: its cgroups, what else was made for it, its state.  A container that has not stopped is refused, or with
    /// `force` killed first.
    ///
    /// # Errors
    /// When it has not stopped, or something of it cannot be removed; its state stays then, so that delete can be repeated.
    pub fn delete(mut self, force: bool) -> Result<(), Error> {
        let known = self.known.take().map(|known| *known);
        let (dir, state) = self.lock_knowing(known)?;
        let status = status_of(&dir, &state)?;
        let unfinished = status == Status::Creating && state.pid.is_none();
        if !force && status != Status::Stopped && !unfinished {
            let message = format!("cannot delete container {} that is not stopped: {status}", self.id);
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        remove(dir, &state)
    }

    fn not_running(&self) -> Error {
        Error::new(ErrorKind::NotRunning, "container not running")
    }

    pub(crate) fn read(&self) -> Result<(ContainerDir, State), Error> {
        read(&self.root, &self.id)
    }

    pub(crate) fn lock(&self) -> Result<(ContainerDir, State), Error> {
        self.lock_knowing(None)
    }

    fn lock_knowing(&self, known: Option<Known>) -> Result<(ContainerDir, State), Error> {
        let dir = open_root(&self.root, &self.id)?.open_container(&self.id)?;
        let state = dir.load_known(known)?.unwrap_or_else(|| State::new(&self.id, Path::new("")));
        Ok((dir, state))
    }
}

/// Opens the directory of a container without its lock, and reads its record.
pub(crate) fn read(root: &Path, id: &str) -> Result<(ContainerDir, State), Error> {
    crate::state::validate_id(id)?;
    let dir = open_root(root, id)?.open_shared(id)?;
    let state = dir.load()?.unwrap_or_else(|| State::new(id, Path::new("")));
    Ok((dir, state))
}

fn open_root(root: &Path, id: &str) -> Result<StateRoot, Error> {
    match StateRoot::open_existing(root)? {
        Some(root) => Ok(root),
        None => Err(crate::state::StateError::NotFound { id: id.to_owned() }.into()),
    }
}

fn start_socket_name() -> &'static std::ffi::CStr {
    const { assert!(START_SOCKET.len() == c"start.sock".count_bytes()) };
    c"start.sock"
}

/// A descriptor for the container's first process; `None` when that has ended.  Never one of a recycled pid (invariant I8):
/// the start time is compared after the descriptor holds the process.
pub(crate) fn open_init(state: &State) -> Result<Option<OwnedFd>, Error> {
    let Some(pid) = state.pid else { return Ok(None) };
    open_if(pid, || state.init())
}

/// A descriptor for a process, if it is the one meant, and alive.
fn open_if(pid: i32, state: impl FnOnce() -> ProcState) -> Result<Option<OwnedFd>, Error> {
    let pidfd = match sys::pidfd_open(pid) {
        Err(e) if e.errno == libc::ESRCH || e.errno == libc::EINVAL => return Ok(None),
        r => r.map_err(|e| Error::because(ErrorKind::Host, format!("open process {pid}"), e))?,
    };
    Ok(matches!(state(), ProcState::Alive(_)).then_some(pidfd))
}

/// Derives the status from the kernel, not from what was recorded.
pub(crate) fn status_of(dir: &ContainerDir, state: &State) -> Result<Status, Error> {
    if !matches!(state.init(), ProcState::Alive(_)) {
        let never = state.pid.is_none() && state.phase == Phase::Creating;
        return Ok(if never { Status::Creating } else { Status::Stopped });
    }
    status_of_live(dir, state)
}

/// The status of a container whose first process is alive.
pub(crate) fn status_of_live(dir: &ContainerDir, state: &State) -> Result<Status, Error> {
    // A runtime that was killed between its word to start and its record of that leaves a container that runs.
    if state.phase == Phase::Creating && state.pid.and_then(has_executed) != Some(true) {
        return Ok(Status::Creating);
    }
    if state.cgroup.as_ref().is_some_and(|c| c.is_frozen().unwrap_or(false)) {
        return Ok(Status::Paused);
    }
    // The socket file may outlive a `start` that was killed; the process that listens on it may not.
    if dir.start_socket_exists() && try_connect_start(dir)?.is_some() {
        return Ok(Status::Created);
    }
    Ok(Status::Running)
}

/// The address of `start.sock`, through the directory's descriptor: a path could be longer than a socket address.
pub(crate) fn start_address(dir: &ContainerDir) -> Result<UnixAddr, Error> {
    let path = format!("/proc/self/fd/{}/{START_SOCKET}", dir.dir_fd().as_raw_fd());
    UnixAddr::new(path.as_str()).map_err(|e| Error::because(ErrorKind::Host, "name start.sock", e))
}

fn connect_start(dir: &ContainerDir) -> Result<OwnedFd, Error> {
    let nobody = || Error::because(ErrorKind::Host, "connect to start.sock", nix::Error::ECONNREFUSED);
    try_connect_start(dir)?.ok_or_else(nobody)
}

/// A connection to the process that waits for `start`; `None` when nobody listens (any more).
fn try_connect_start(dir: &ContainerDir) -> Result<Option<OwnedFd>, Error> {
    let fail = |e: nix::Error| Error::because(ErrorKind::Host, "connect to start.sock", e);
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(fail)?;
    let address = start_address(dir)?;
    loop {
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(Some(fd)),
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::ECONNREFUSED | nix::Error::ENOENT) => return Ok(None),
            Err(e) => return Err(fail(e)),
        }
    }
}

/// Tells the waiting process to run the program, and waits until it does.
fn send_start(dir: &ContainerDir, state: &State, child: &Child) -> Result<(), Error> {
    let mut agent = None;
    if let Some(listener) = state.exec.seccomp.as_ref().and_then(|seccomp| seccomp.listener.as_ref()) {
        // Before it begins: without an agent the program would hang in the first call that is notified.
        let connected = Agent::connect(listener, state, Status::Created, child.pid);
        agent = Some(connected.inspect_err(|_| end_init(&child.pidfd))?);
    }
    let connection = connect_start(dir)?;
    let what = |e| Error::because(ErrorKind::Launch, "start the container's process", e);
    protocol::send(Fd::from(&connection), &FromParent::Start.encode()).map_err(what)?;
    loop {
        let (record, listener) = hear_started(&connection, agent.is_some()).map_err(what)?;
        match (record, listener, agent.take()) {
            (Some(FromChild::Failed { error, .. }), ..) => {
                let args = state.exec.process.as_ref().and_then(|p| p.args().clone()).unwrap_or_default();
                return Err(explain_started(args.first().map_or("", String::as_str), error));
            }
            (Some(FromChild::Listener), Some(listener), Some(agent)) => {
                agent.tell(&listener).inspect_err(|_| end_init(&child.pidfd))?;
                // One that is gone is told by its silence.
                let _ = protocol::send(Fd::from(&connection), &FromParent::Go(Gate::Listener).encode());
            }
            _ => {
                let filtered = state.exec.seccomp.is_some();
                return silence(child, filtered, state.cgroup.as_ref(), None).map_or(Ok(()), Err);
            }
        }
    }
}

/// What the process says after `Start`, and the descriptor that comes with it; nothing at the end of the connection.
fn hear_started(
    connection: &OwnedFd,
    descriptor: bool,
) -> Result<(Option<FromChild>, Option<OwnedFd>), SysError> {
    let mut record = [0; SIZE];
    let mut read = || match descriptor {
        true => {
            receive_fd(connection, &mut record).map_err(|e| SysError { call: Call::Recvmsg, errno: e as i32 })
        }
        false => sys::read(Fd::from(connection), &mut record).map(|n| (n, None)),
    };
    let (n, fd) = match read() {
        // It ended without having heard us; what it said itself comes after.
        Err(e) if e.errno == libc::ECONNRESET => read().and_then(|r| if r.0 > 0 { Ok(r) } else { Err(e) })?,
        r => r?,
    };
    Ok((record.get(..n).and_then(FromChild::decode), fd))
}

/// Runs the startContainer hooks; a failure stops the container (runtime.md, "Lifecycle").
pub(crate) fn run_start_hooks(state: &State, child: &Child) -> Result<(), Error> {
    if state.start_container.is_empty() {
        return Ok(());
    }
    let pid = hooks::pid_seen_by(HookKind::StartContainer, child.pid)
        .map_err(|e| Error::because(ErrorKind::Hook, "", e))?;
    let json = oci_state(state, Status::Created, pid);
    let hooks = plan::hooks_of(HookKind::StartContainer, &state.start_container);
    let place = HookPlace::Container { pidfd: child.pidfd.as_fd() };
    hooks::run_hooks(HookKind::StartContainer, &hooks, &json, place)
        .map(drop)
        .map_err(|e| Error::because(ErrorKind::Hook, "", e))
}

/// Runs the poststart hooks; a failure stops the container (runtime.md, "Lifecycle").
pub(crate) fn run_poststart(state: &State, child: &Child) -> Result<(), Error> {
    if state.poststart.is_empty() {
        return Ok(());
    }
    let json = oci_state(state, Status::Running, child.pid);
    let hooks = plan::hooks_of(HookKind::Poststart, &state.poststart);
    let ran = hooks::run_hooks(HookKind::Poststart, &hooks, &json, HookPlace::Runtime);
    ran.map(drop).map_err(|e| Error::because(ErrorKind::Hook, "", e)).inspect_err(|_| end_init(&child.pidfd))
}

/// Runs the poststop hooks, whose failures are warnings.
fn run_poststop(state: &State) {
    if state.poststop.is_empty() {
        return;
    }
    let (kind, json) = (HookKind::Poststop, oci_state(state, Status::Stopped, 0));
    match hooks::run_hooks(kind, &plan::hooks_of(kind, &state.poststop), &json, HookPlace::Runtime) {
        Ok(warnings) => warnings.iter().for_each(|w| log::warn!("{w}")),
        Err(e) => log::warn!("{e}"),
    }
}

/// Takes down what a failed launch has made.  What cannot be removed is told, and stays on record for `delete`.
pub(crate) fn teardown(dir: ContainerDir, state: &State) {
    let id = dir.id().to_owned();
    if let Err(e) = remove(dir, state) {
        log::warn!("remove what is left of container {id}: {e}");
    }
}

/// Ends every process of the container and removes all that the record names, the record last.
fn remove(dir: ContainerDir, state: &State) -> Result<(), Error> {
    // A dump whose command was killed may wait for somebody who never asks for its pages.
    if let Some(criu) = &state.criu
        && let Some(criu) = open_if(criu.pid, || criu.state())?
    {
        end_init(&criu);
    }
    if let Some(init) = open_init(state)? {
        // A container that came to be keeps them to its end, and they go the way of their namespace (config-linux.md, "Namespace
        // Lifecycle and Container Termination").
        if state.phase == Phase::Creating {
            return_devices(state);
        }
        let _ = sys::pidfd_send_signal(Fd::from(&init), libc::SIGKILL);
        // Should it fail, the group is thawed again below, where a failure is told.
        let _ = thaw_to_die(state);
        end_init(&init);
    }
    if let Some(cgroup) = &state.cgroup {
        // Most often its last process has gone with the first, and the kernel says so by removing the group.
        let empty = || cgroup.procs(true).is_ok_and(|left| left.is_empty());
        if !cgroup.remove_main_if_empty() && !empty() && cgroup.exists() {
            cgroup.kill_all(libc::SIGKILL)?;
        }
        cgroup.remove()?;
    }
    if let Some(group) = &state.intel_rdt {
        rdt::remove(group).map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    }
    // Also after a create that failed: the lifecycle goes on with the deletion (runtime.md, "Lifecycle").
    if state.pid.is_some() {
        run_poststop(state);
    }
    Ok(dir.remove()?)
}

/// Lets the processes of a frozen container die of the SIGKILL that they have got: on v1 they do not before they are thawed,
/// and the first does not end before the others in its pid namespace.
fn thaw_to_die(state: &State) -> Result<(), Error> {
    state.cgroup.as_ref().map_or(Ok(()), |cgroup| Ok(cgroup.thaw_for_good()?))
}

/// Sends network devices back before their namespace goes.
fn return_devices(state: &State) {
    if state.net_devices.is_empty() {
        return;
    }
    let Some(pid) = state.pid else { return };
    let namespace = TrustedProc::open().and_then(|proc| proc.namespace(pid, Namespace::Network));
    let Ok(namespace) = namespace else { return };
    for device in &state.net_devices {
        if let Err(e) = netdev::move_back(namespace.as_fd(), &device.container_name, &device.host_name) {
            log::warn!("{e}");
        }
    }
}

/// Kills the process and waits until it is gone.
fn end_init(init: &OwnedFd) {
    let _ = sys::pidfd_send_signal(Fd::from(init), libc::SIGKILL);
    wait_gone(init.as_fd());
}

/// Waits some seconds for a process to end, and leaves it to its parent to reap it.
pub(crate) fn wait_end(pidfd: BorrowedFd<'_>) {
    let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
    while poll(&mut fds, PollTimeout::from(10_000u16)) == Err(nix::Error::EINTR) {}
}

/// Waits until a process has ended, for at most ten seconds: one that sleeps in the kernel cannot be hurried.
pub(crate) fn wait_gone(pidfd: BorrowedFd<'_>) {
    wait_end(pidfd);
    // Reaps it where it is our own child.
    let _ = sys::wait_child(Fd::from(pidfd), libc::WNOHANG);
}
