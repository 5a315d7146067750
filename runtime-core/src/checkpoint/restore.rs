//! Restoring a container.

use super::descriptors;
use super::options::RestoreOptions;
use super::request::{self, RestoreFacts};
use super::rootfs::Root;
use super::rpc::Notify;
use super::swrk::{self, Criu};
use super::{Directories, number};
use crate::container::{Container, teardown};
use crate::error::{Error, ErrorKind};
use crate::launch::hooks::{self, HookPlace};
use crate::launch::inputs::Record;
use crate::launch::netdev;
use crate::launch::parent::surround;
use crate::launch::procfs::TrustedProc;
use crate::plan::{ChildStep, HookKind, HostStep, Namespace, Plan};
use crate::process::Process;
use crate::runtime::{Compiled, CreateOptions, Runtime, check_console, compile_silently, new_state};
use crate::state::{ContainerDir, Phase, State, StateRoot};
use crate::status::{Status, oci_state};
use crate::sys::{self, Child, Fd};
use nix::sys::stat::{Mode, mkdirat};
use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// The file that CRIU writes its log to.
pub(super) const LOG: &str = "restore.log";

/// Where the root file system is mounted for CRIU, in the container's state directory.
const ROOT: &str = "criu-root";

/// A restore on its way.
struct Restore<'a> {
    options: &'a RestoreOptions,
    compiled: &'a Compiled,
    dir: &'a ContainerDir,
    directories: Directories,
    descriptors: Vec<String>,
    /// Namespaces given by path that CRIU gets opened, with their names.
    namespaces: Vec<(&'static str, OwnedFd)>,
}

impl Runtime {
    /// Makes a container of what [`Container::checkpoint`] has written, running from where it was.
    ///
    /// Its id, and its bundle's directory, may be others than before.  Its process is a child of the caller.  Of its hooks,
    /// prestart and createRuntime are run, when its namespaces are there; startContainer and poststart are not, as it
    /// does not start.
    ///
    /// # Errors
    /// When the configuration is wrong, the id is taken, there is no CRIU, or one that is too old; when CRIU refuses: the
    /// error has what its log says about it.  Nothing is left then.
    pub fn restore(&self, mut options: RestoreOptions) -> Result<(Container, Process), Error> {
        let mut create = CreateOptions {
            id: options.id.clone(),
            bundle: options.bundle.clone(),
            loaded: options.loaded.take(),
            systemd_cgroup: options.systemd_cgroup,
            rootless_cgroups: options.rootless_cgroups,
            notify_socket: options.notify_socket.clone(),
            ..CreateOptions::default()
        };
        let compiled = compile_silently(&mut create, true)?;
        check_console(compiled.bundle.has_terminal(), options.console_socket.is_some())?;
        let directories = Directories::open(&options.criu, false)?;
        let descriptors = descriptors::read(directories.images.as_fd())?;
        let namespaces = open_namespaces(&compiled.plan)?;
        let dir = StateRoot::open(self.root())?.reserve(&options.id)?;
        let mut state = new_state(&compiled, &create);
        let restore = Restore {
            options: &options,
            compiled: &compiled,
            dir: &dir,
            directories,
            descriptors,
            namespaces,
        };
        let restored = restore.run(&mut state);
        drop(restore);
        match restored {
            Ok(process) => Ok((Container::new(self.root(), &dir, &state, None), process)),
            Err(e) => {
                teardown(dir, &state);
                Err(e)
            }
        }
    }
}

/// Opens the namespaces that CRIU cannot join by their paths.
fn open_namespaces(plan: &Plan) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let mut opened = Vec::new();
    for (kind, path) in request::given(plan) {
        let Some(name) = request::external_namespace(kind) else { continue };
        let fd = sys::openat(Fd::CWD, path, libc::O_RDONLY, 0).map(sys::own).map_err(|e| {
            let what = format!("open the {} namespace {}", kind.name(), path.to_string_lossy());
            Error::because(ErrorKind::InvalidConfig, what, e)
        })?;
        opened.push((name, fd));
    }
    Ok(opened)
}

impl Restore<'_> {
    fn run(&self, state: &mut State) -> Result<Process, Error> {
        let socket = Cell::new(None);
        let record = Record { dir: self.dir, state: &mut *state };
        let child = surround(&self.compiled.plan, record, || {
            let (child, ours) = self.spawn()?;
            socket.set(Some(ours));
            Ok(child)
        })?;
        let Some(socket) = socket.take() else {
            return Err(Error::new(ErrorKind::Host, "criu has no socket"));
        };
        let mut criu = Criu { child, socket };
        let mut first = None;
        let mut made = Made::default();
        let worked = criu.require_version().and_then(|()| {
            // Open until the end, as CRIU opens them from here.
            let seen = self.directories.seen_by(criu.child.pid)?;
            let request = self.request(&seen, criu.child.pid, state)?;
            criu.work(&request, &self.directories.log.join(LOG), |notify, descriptor| {
                first = first.take().or_else(|| child_of_ours(notify.pid));
                self.notified(notify, descriptor, state, &mut made)
            })
        });
        // Told here already, so that a failure leads to the removal of the processes that are there by then.
        let ended = criu.finish();
        let worked = worked.and(ended);
        if worked.is_err() {
            made.return_devices();
        }
        if let (Err(_), Some(first)) = (&worked, &first) {
            // CRIU has killed it, or did not come to it; nobody else reaps it.  What is no child of ours is left alone.
            if let Ok(None) = sys::wait_child(Fd::from(first), libc::WNOHANG) {
                let _ = sys::pidfd_send_signal(Fd::from(first), libc::SIGKILL);
                let _ = sys::wait_child(Fd::from(first), 0);
            }
        }
        worked?;
        made.process
            .map(Process::new)
            .ok_or_else(|| Error::new(ErrorKind::Host, "criu has restored no process"))
    }

    /// Starts CRIU where it sees the root file system mounted.
    fn spawn(&self) -> Result<(Child, OwnedFd), Error> {
        let path = swrk::find()?;
        let made = mkdirat(self.dir.dir_fd(), ROOT, Mode::S_IRWXU);
        let target = self.dir.path().join(ROOT);
        let target = made.map_err(io::Error::from).and_then(|()| target.canonicalize());
        let target = target.map_err(|e| Error::because(ErrorKind::Host, format!("make {ROOT}"), e))?;
        let rootfs = self.compiled.rootfs();
        let root = Root::new(&self.compiled.plan, &rootfs, &target)?;
        let given = self.options.stdio.as_ref().map(|fds| fds.each_ref().map(|fd| fd.as_fd()));
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let stdio = given.unwrap_or([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        let extra: Vec<BorrowedFd<'_>> = self.namespaces.iter().map(|(_, fd)| fd.as_fd()).collect();
        let flags = libc::CLONE_NEWNS.unsigned_abs().into();
        swrk::start(&path, stdio, &extra, flags, || root.enter()).map_err(|e| match root.words(e.place) {
            Some(words) => Error::because(ErrorKind::Launch, words, e.why),
            None => e.of(&path),
        })
    }

    fn request(&self, seen: &Directories, criu: i32, state: &State) -> Result<super::rpc::Request, Error> {
        // As the process that is to see it wrote it: below criu's own mounts.
        let root = self.dir.path().join(ROOT).canonicalize();
        let root = root.map_err(|e| Error::because(ErrorKind::Host, format!("find {ROOT}"), e))?;
        let facts = RestoreFacts {
            images: number(&seen.images),
            work: seen.work.as_ref().map(number),
            root: &root,
            descriptors: self.descriptors.clone(),
            inherited: self.namespaces.iter().map(|(name, _)| *name).zip(swrk::SOCKET + 1..).collect(),
            cgroups: cgroups_of(criu)?,
        };
        request::restore(self.options, &self.compiled.plan, &state.annotations, &facts)
    }

    fn notified(
        &self,
        notify: &Notify,
        descriptor: Option<OwnedFd>,
        state: &mut State,
        made: &mut Made,
    ) -> Result<(), Error> {
        match notify.script.as_str() {
            "setup-namespaces" => self.set_up_namespaces(notify.pid, state, made),
            "post-restore" => {
                made.process = Some(self.record(notify.pid, state)?);
                Ok(())
            }
            "orphan-pts-master" => self.pass_terminal(descriptor),
            _ => Ok(()),
        }
    }

    /// The namespaces are there, and nothing in them yet: sockets come after.
    fn set_up_namespaces(&self, pid: i32, state: &mut State, made: &mut Made) -> Result<(), Error> {
        let proc = TrustedProc::open().map_err(|e| Error::because(ErrorKind::Host, "", e))?;
        let netns = proc.namespace(pid, Namespace::Network);
        let netns = netns.map_err(|e| Error::because(ErrorKind::Host, "", e))?;
        let steps = &self.compiled.plan.child;
        if steps.iter().any(|planned| matches!(planned.step, ChildStep::LoopbackUp)) {
            netdev::loopback_up(netns.as_fd()).map_err(|e| Error::because(ErrorKind::Host, "", e))?;
        }
        self.move_devices(netns, state, made)?;
        let json = oci_state(state, Status::Creating, pid);
        for planned in &self.compiled.plan.host {
            if let HostStep::Hooks { kind: kind @ (HookKind::Prestart | HookKind::CreateRuntime), hooks } =
                &planned.step
            {
                hooks::run_hooks(*kind, hooks, &json, HookPlace::Runtime)
                    .map_err(|e| Error::because(ErrorKind::Hook, "", e))?;
            }
        }
        Ok(())
    }

    /// The devices of `linux.netDevices`, which are in no image: the host has them.
    fn move_devices(&self, netns: OwnedFd, state: &mut State, made: &mut Made) -> Result<(), Error> {
        let netns = made.network.insert(netns);
        for planned in &self.compiled.plan.host {
            let HostStep::MoveNetDevice { host, container } = &planned.step else { continue };
            let moved =
                netdev::prepare(host).and_then(|info| netdev::move_to(&info, netns.as_fd(), container));
            let name = moved.map_err(|e| Error::because(ErrorKind::Host, planned.origin.clone(), e))?;
            // Saved with the process: until then a template is enough to find it by.
            let recorded = state.net_devices.iter_mut().filter(|device| device.host_name == *host);
            recorded.for_each(|device| device.container_name.clone_from(&name));
            made.devices.push((name, host.clone()));
        }
        Ok(())
    }

    /// The processes are there, and stopped until this is answered.
    fn record(&self, pid: i32, state: &mut State) -> Result<Child, Error> {
        // Our child, which nobody has waited for: the pid is no other's.
        let pidfd = sys::pidfd_open(pid);
        let pidfd = pidfd.map_err(|e| Error::because(ErrorKind::Host, format!("open process {pid}"), e))?;
        require_membership(pid, state)?;
        state.set_init(pid);
        state.phase = Phase::Running;
        let has_time = state.exec.namespaces.iter().any(|n| n.typ() == LinuxNamespaceType::Time);
        // CRIU puts the clocks back by a time namespace, which the configuration need not have.
        if !has_time && is_elsewhere(pid, Namespace::Time) {
            let time = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Time).build();
            state.exec.namespaces.extend(time);
        }
        self.dir.save(state)?;
        Ok(Child { pid, pidfd })
    }

    fn pass_terminal(&self, master: Option<OwnedFd>) -> Result<(), Error> {
        let Some(master) = master else {
            return Err(Error::new(ErrorKind::Host, "criu tells of a terminal, and does not send it"));
        };
        let Some(socket) = &self.options.console_socket else {
            let message = "the container has a terminal, and there is no console socket for it";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        };
        let sent = sys::send_fd(Fd::from(socket), b"/dev/ptmx", Fd::from(&master));
        sent.map_err(|e| Error::because(ErrorKind::Host, "send the terminal to the console socket", e))
    }
}

/// What is there of a container while it is restored.
#[derive(Default)]
struct Made {
    process: Option<Child>,
    network: Option<OwnedFd>,
    /// Network devices that were moved into it: their names inside and on the host.
    devices: Vec<(String, String)>,
}

impl Made {
    /// Sends the devices back, from a namespace whose processes are gone, or will be.
    fn return_devices(&self) {
        let Some(network) = &self.network else { return };
        for (container, host) in &self.devices {
            if let Err(e) = netdev::move_back(network.as_fd(), container, host) {
                log::warn!("{e}");
            }
        }
    }
}

/// The first process, which is a child of ours as soon as CRIU has made it.
fn child_of_ours(pid: i32) -> Option<OwnedFd> {
    (pid > 0).then(|| sys::pidfd_open(pid).ok()).flatten()
}

fn is_elsewhere(pid: i32, kind: Namespace) -> bool {
    let of = |pid| {
        let namespace = TrustedProc::open().ok()?.namespace(pid, kind).ok()?;
        sys::fstat(Fd::from(&namespace)).ok().map(|stat| stat.ino)
    };
    of(pid) != of(sys::getpid())
}

/// Refuses a process that CRIU, as its configuration may ask, has put elsewhere: neither limits nor kill would reach it.
fn require_membership(pid: i32, state: &State) -> Result<(), Error> {
    let Some(group) = state.cgroup.as_ref().filter(|placement| placement.main().is_some()) else {
        return Ok(());
    };
    if group.procs(true)?.contains(&pid) {
        return Ok(());
    }
    let at = cgroups_of(pid)?.into_iter().map(|(name, path)| format!("{name}:{path}"));
    let at = at.collect::<Vec<_>>().join(", ");
    let message = format!("criu has restored process {pid} outside of the container's cgroup: it is in {at}");
    Err(Error::new(ErrorKind::Host, message))
}

/// The groups that a process is in, by controller (`cgroups(7)`, `/proc/PID/cgroup`).
fn cgroups_of(pid: i32) -> Result<Vec<(String, String)>, Error> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path);
    let text = text.map_err(|e| Error::because(ErrorKind::Host, format!("read {path}"), e))?;
    Ok(parse_cgroups(&text))
}

fn parse_cgroups(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        found.extend(controllers.split(',').map(|name| (name.to_owned(), path.to_owned())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_by_controller() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            parse_cgroups("4:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n"),
            [pair("cpu", "/a"), pair("cpuacct", "/a"), pair("name=systemd", "/b:c"), pair("", "/d")]
        );
    }
}
