//! The parent half: walks the host steps of a plan.
//!
//! It runs in the caller's thread with the caller's rights, and may allocate.  Nothing of the caller's process changes
//! (invariant I9): signals are blocked in this one thread around the clone, and that is all.

use super::child::{Context, Observe, State as ChildState};
use super::enter::{self, Visit};
use super::explain::{explain_clone, explain_death, explain_failure, failed};
use super::hooks::{self, HookPlace};
use super::idmap;
use super::inputs::{Half, Inputs, Record, StepEvent};
use super::launched::{Launched, reap};
use super::listener;
use super::netdev;
use super::procfs::TrustedProc;
use super::protocol::{FromChild, FromParent, Stage};
use crate::cgroup::systemd::Value;
use crate::cgroup::{self, Created, Need, Placement};
use crate::error::{Error, ErrorKind};
use crate::plan::{ChildStep, Gate, Hook, HookKind, HostStep, IdMaps, Namespace, Plan};
use crate::spec::{SysctlOwner, sysctl_owner};
use crate::state::{NetDevice, Phase, Seccomp, State};
use crate::sys::{self, Child, Fd, MountAttr, SysError, ThreadStack};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

mod around;

pub use around::surround;

/// The parent half at work.
pub struct Parent<'a> {
    plan: &'a Plan,
    inputs: Inputs<'a>,
    record: Option<Record<'a>>,
    proc: TrustedProc,
    namespaces: Vec<Option<OwnedFd>>,
    /// The network namespace to be joined, where devices are to be moved there: the child may not be in it yet by then.
    joined_network: Option<OwnedFd>,
    trees: Vec<Option<OwnedFd>>,
    listener: Option<OwnedFd>,
    devices: Vec<netdev::DeviceInfo>,
    holders: Vec<(IdMaps, OwnedFd)>,
    cgroup: Option<Placement>,
    launched: Option<Launched>,
    /// A process that came about otherwise: see [`surround`].
    guest: Option<Child>,
    last_child_step: u64,
    /// The child enters its cgroups by itself.
    joined_itself: bool,
    /// Network devices that were moved: the container's namespace, the name on the host, the name inside.
    moved: Vec<(OwnedFd, String, String)>,
}

/// Does everything up to execve.  When it fails, no process is left; what else was made is in the record.
pub fn launch<'a>(plan: &'a Plan, record: Option<Record<'a>>, inputs: Inputs<'a>) -> Result<Launched, Error> {
    let mut parent = Parent::new(plan, record, inputs)?;
    match parent.walk() {
        Ok(()) => parent.launched.ok_or_else(|| Error::new(ErrorKind::Launch, "the plan makes no process")),
        Err(e) => {
            // Before the process, and with it their namespace, is gone.
            parent.return_devices();
            if let Some(launched) = &parent.launched {
                launched.end();
            }
            Err(e)
        }
    }
}

impl<'a> Parent<'a> {
    fn new(plan: &'a Plan, record: Option<Record<'a>>, inputs: Inputs<'a>) -> Result<Self, Error> {
        let proc = TrustedProc::open().map_err(|e| failed("open /proc", e))?;
        let slots = |n| std::iter::repeat_with(|| None).take(n).collect();
        Ok(Self {
            plan,
            cgroup: inputs.cgroup.clone(),
            inputs,
            record,
            proc,
            namespaces: slots(plan.clone.namespace_slots),
            joined_network: None,
            trees: slots(plan.clone.tree_slots),
            listener: None,
            devices: Vec::new(),
            holders: Vec::new(),
            launched: None,
            guest: None,
            last_child_step: 0,
            joined_itself: false,
            moved: Vec::new(),
        })
    }
}

impl Parent<'_> {
    fn walk(&mut self) -> Result<(), Error> {
        let plan = self.plan;
        for (index, planned) in plan.host.iter().enumerate() {
            let start_ns = if self.inputs.observer.is_some() { sys::clock_ns() } else { 0 };
            self.step(&planned.step).map_err(|e| self.blame(with_origin(e, &planned.origin)))?;
            if let Some(observer) = &mut self.inputs.observer {
                let name = plan.host_words(index);
                observer(&StepEvent { half: Half::Parent, index, name, start_ns, end_ns: sys::clock_ns() });
            }
        }
        Ok(())
    }

    /// Why a step of ours failed: where the child has failed meanwhile, it is that (its files in /proc go away with it).
    fn blame(&mut self, ours: Error) -> Error {
        let Some(launched) = &mut self.launched else { return ours };
        match launched.last_words() {
            Some((step, error)) => self.child_failed(step, error),
            None => ours,
        }
    }

    fn step(&mut self, step: &HostStep) -> Result<(), Error> {
        match step {
            HostStep::CheckListener { path } => listener::check(path),
            HostStep::RecordIntent => self.record_intent(),
            HostStep::OpenNamespace { slot, kind, path } => self.open_namespace(*slot, *kind, path),
            HostStep::OpenTree { slot, source, recursive, idmap } => {
                self.open_tree(*slot, source, *recursive, idmap.as_ref())
            }
            HostStep::Listen => self.listen(),
            HostStep::Clone => self.clone_child(),
            HostStep::RecordProcess => self.record_process(),
            HostStep::WriteIdMaps { maps, helpers, deny_setgroups } => {
                idmap::write_id_maps(&self.proc, self.pid()?, maps, *helpers, *deny_setgroups)
                    .map_err(|e| failed("", e))
            }
            HostStep::SetOomScore { value } => self.set_oom_score(*value),
            HostStep::SetRlimit { resource, soft, hard } => {
                sys::prlimit(self.pid()?, *resource, *soft, *hard).map_err(|e| failed("set the limit", e))
            }
            HostStep::Release(gate) => self.release(*gate),
            HostStep::AwaitHooks => self.pump(|m| *m == FromChild::AtHooks),
            HostStep::AwaitReady => self.await_ready(),
            HostStep::Hooks { kind, hooks } => self.run_hooks(*kind, hooks),
            HostStep::RecordCreated => self.record_phase(Phase::Created),
            _ => self.step_of_resources(step),
        }
    }

    fn step_of_resources(&mut self, step: &HostStep) -> Result<(), Error> {
        match step {
            HostStep::CreateUnified => match &mut self.cgroup {
                Some(placement) => Ok(placement.create_v2()?),
                None => Ok(()),
            },
            HostStep::CreateCgroup { .. } => self.create_cgroup(),
            HostStep::StartUnit { properties } => self.start_unit(properties),
            HostStep::JoinCgroup => self.join_cgroup(),
            HostStep::CgroupDevices { rules } => match &self.cgroup {
                Some(placement) => Ok(placement.apply_devices(rules)?),
                None => Ok(()),
            },
            HostStep::GiveCgroup { uid } => match &self.cgroup {
                Some(placement) => Ok(placement.give_to(*uid)?),
                None => Ok(()),
            },
            HostStep::CgroupLimit(limit) => match &self.cgroup {
                Some(placement) => Ok(placement.apply_limit(limit)?),
                None => Ok(()),
            },
            HostStep::IntelRdt(rdt) => {
                let pid = self.pid()?;
                let group = super::rdt::apply(rdt, pid).map_err(|e| failed("", e))?;
                self.save(|state| state.intel_rdt = Some(group))
            }
            HostStep::JoinIntelRdt => match &self.inputs.intel_rdt {
                Some(group) => super::rdt::join(group, self.pid()?).map_err(|e| failed("", e)),
                None => Ok(()),
            },
            HostStep::MoveNetDevice { host, container } => self.move_device(host, container),
            // Every other variant has its arm in the function above.
            _ => Ok(()),
        }
    }

    fn pid(&self) -> Result<i32, Error> {
        let child = self.launched.as_ref().map(|l| &l.child).or(self.guest.as_ref());
        child.map(|child| child.pid).ok_or_else(|| {
            Error::new(ErrorKind::Launch, "a step of the plan needs the process before it is made")
        })
    }

    fn save(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let Some(record) = &mut self.record else { return Ok(()) };
        change(record.state);
        Ok(record.dir.save(record.state)?)
    }

    fn record_intent(&mut self) -> Result<(), Error> {
        let mut devices = Vec::new();
        let mut rdt = None;
        for planned in &self.plan.host {
            match &planned.step {
                HostStep::CreateCgroup { placement } => {
                    // The rest is made, and so surveyed and recorded, while the child is at work.
                    let later = self.plan.clone.enters_later;
                    let mut placement = if later { placement.unified_part() } else { placement.clone() };
                    placement.survey().map_err(|e| with_origin(e.into(), &planned.origin))?;
                    self.cgroup = Some(placement);
                }
                HostStep::MoveNetDevice { host, container } => {
                    devices.push(NetDevice { host_name: host.clone(), container_name: container.clone() });
                }
                HostStep::IntelRdt(wanted) => rdt = super::rdt::intent(wanted).map_err(|e| failed("", e))?,
                _ => {}
            }
        }
        let cgroup = self.cgroup.clone();
        self.save(|state| {
            state.cgroup = cgroup;
            state.net_devices = devices;
            state.intel_rdt = rdt;
        })
    }

    /// Keeps the filter for processes that are executed in the container later.
    fn record_filter(&self) -> Result<Option<Seccomp>, Error> {
        let (Some(filter), Some(record)) = (self.plan.filter(), &self.record) else { return Ok(None) };
        record.dir.save_filter(&filter.program)?;
        Ok(Some(Seccomp { flags: filter.flags, listener: self.plan.listener.clone() }))
    }

    fn record_phase(&mut self, phase: Phase) -> Result<(), Error> {
        self.save(|state| state.phase = phase)
    }

    fn record_process(&mut self) -> Result<(), Error> {
        let pid = self.pid()?;
        self.record_rest(|state| {
            state.set_init(pid);
        })
    }

    /// Records what is made beside the process, and what is only read when it runs: its filter, and the groups of version 1.
    fn record_rest(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let seccomp = self.record_filter()?;
        self.survey_beside()?;
        let cgroup = self.cgroup.clone();
        self.save(|state| {
            change(state);
            state.exec.seccomp = seccomp;
            state.cgroup = cgroup;
        })
    }

    /// Surveys the groups that are made beside the child.  Until that is recorded, none of them is the container's.
    fn survey_beside(&mut self) -> Result<(), Error> {
        if !self.plan.clone.enters_later {
            return Ok(());
        }
        let created = self.plan.host.iter().find_map(|planned| match &planned.step {
            HostStep::CreateCgroup { placement } => Some((placement, &planned.origin)),
            _ => None,
        });
        let (Some((placement, origin)), Some(unified)) = (created, &self.cgroup) else { return Ok(()) };
        let mut placement = placement.clone();
        placement.survey_beside(unified).map_err(|e| with_origin(e.into(), origin))?;
        self.cgroup = Some(placement);
        Ok(())
    }

    fn open_namespace(&mut self, slot: usize, kind: Namespace, path: &std::ffi::CStr) -> Result<(), Error> {
        let what = || format!("open the {} namespace {path:?}", kind.name());
        let fd = sys::openat(Fd::CWD, path, libc::O_RDONLY, 0).map_err(|e| failed(&what(), e))?;
        let fd = sys::own(fd);
        let there = sys::namespace_kind(Fd::from(&fd))
            .map_err(|_| Error::new(ErrorKind::InvalidConfig, format!("{}: not a namespace", what())))?;
        if there != kind.flag() {
            let message = format!("{}: a namespace of another kind", what());
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        self.refuse_sysctls_of_host(kind, &fd)?;
        let mut steps = self.plan.host.iter();
        if kind == Namespace::Network && steps.any(|p| matches!(p.step, HostStep::MoveNetDevice { .. })) {
            self.joined_network =
                Some(fd.try_clone().map_err(|e| Error::because(ErrorKind::Host, what(), e))?);
        }
        fill(&mut self.namespaces, slot, fd)
    }

    /// A namespace given by its path can be the host's own, whose parameters are not the container's to write.
    fn refuse_sysctls_of_host(&self, kind: Namespace, given: &OwnedFd) -> Result<(), Error> {
        let owner = match kind {
            Namespace::Network => SysctlOwner::Network,
            Namespace::Ipc => SysctlOwner::Ipc,
            Namespace::Uts => SysctlOwner::Uts,
            Namespace::User => SysctlOwner::User,
            _ => return Ok(()),
        };
        let written = self.plan.child.iter().find(|planned| match &planned.step {
            ChildStep::Sysctl { path, .. } => sysctl_owner(&path.to_string_lossy()) == Some(owner),
            _ => false,
        });
        let Some(planned) = written else { return Ok(()) };
        let ours = self.proc.namespace(sys::getpid(), kind).map_err(|e| failed("", e))?;
        let identity = |fd: &OwnedFd| sys::fstat(Fd::from(fd)).map(|s| (s.dev, s.ino));
        if identity(&ours).map_err(|e| failed("", e))? != identity(given).map_err(|e| failed("", e))? {
            return Ok(());
        }
        let message = format!("{}: not allowed in the host's {} namespace", planned.origin, kind.name());
        Err(Error::new(ErrorKind::InvalidConfig, message))
    }

    fn open_tree(
        &mut self,
        slot: usize,
        source: &std::ffi::CStr,
        recursive: bool,
        idmap: Option<&(IdMaps, bool)>,
    ) -> Result<(), Error> {
        let what = |e: SysError| failed(&format!("open the mount source {source:?}"), e);
        let tree = sys::own(sys::open_tree_clone(Fd::CWD, source, recursive, 0).map_err(what)?);
        if let Some((maps, whole_tree)) = idmap {
            let userns_fd = self.holder(maps)?;
            let attributes =
                MountAttr { set: sys::attr::IDMAP, userns_fd: userns_fd.into(), ..MountAttr::default() };
            sys::mount_setattr(Fd::from(&tree), *whole_tree, &attributes).map_err(|e| {
                let hint = idmap::explain_refusal(Fd::from(&tree), e);
                failed(&format!("map the ids of the mount source {source:?}{hint}"), e)
            })?;
        }
        fill(&mut self.trees, slot, tree)
    }

    /// The descriptor number of a user namespace with these maps, made once.
    fn holder(&mut self, maps: &IdMaps) -> Result<u32, Error> {
        if let Some((_, fd)) = self.holders.iter().find(|(m, _)| m == maps) {
            return Ok(fd.as_raw_fd().cast_unsigned());
        }
        let fd = idmap::user_namespace_with(&self.proc, maps).map_err(|e| failed("", e))?;
        let number = fd.as_raw_fd().cast_unsigned();
        self.holders.push((maps.clone(), fd));
        Ok(number)
    }

    fn listen(&mut self) -> Result<(), Error> {
        let Some(record) = &self.record else { return Ok(()) };
        let what = |e: nix::Error| failed("listen on start.sock", e);
        let fd =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(what)?;
        bind(fd.as_raw_fd(), &crate::container::start_address(record.dir)?).map_err(what)?;
        listen(&fd, Backlog::new(8).map_err(what)?).map_err(what)?;
        self.listener = Some(fd);
        Ok(())
    }

    fn create_cgroup(&mut self) -> Result<(), Error> {
        // An ordinary user's processes can open no device that the user could not: the kernel's rules do.
        let rootless = self.record.as_ref().is_some_and(|r| r.state.rootless);
        let devices = self.plan.host.iter().find(|p| matches!(p.step, HostStep::CgroupDevices { .. }));
        let devices = devices.filter(|_| !rootless);
        let mut needs: Vec<Need<'_>> = cgroup::needs(self.plan.host.iter().filter_map(|p| match &p.step {
            HostStep::CgroupLimit(limit) => Some(limit),
            _ => None,
        }));
        needs.extend(devices.map(|p| Need { controller: "devices", config_path: &p.origin }));
        let Some(placement) = &mut self.cgroup else { return Ok(()) };
        let wanted = placement.groups().len();
        let created = placement.create(&needs)?;
        let kept = placement.groups().len();
        if created == Created::None {
            log::warn!(
                "no permission to make a cgroup: the container runs in the caller's, without limits of its own"
            );
            self.cgroup = None;
        }
        if kept == wanted {
            return Ok(());
        }
        let cgroup = self.cgroup.clone();
        self.save(|state| state.cgroup = cgroup)
    }

    fn start_unit(&mut self, properties: &[(String, Value)]) -> Result<(), Error> {
        let pid = self.pid()?;
        let Some(placement) = &mut self.cgroup else { return Ok(()) };
        let started = placement.start_unit(pid, properties);
        // That it runs is recorded with what is recorded next: until then, delete asks for it.
        let cgroup = self.cgroup.clone();
        if let Some(record) = &mut self.record {
            record.state.cgroup = cgroup;
        }
        Ok(started?)
    }

    fn join_cgroup(&self) -> Result<(), Error> {
        if self.joined_itself {
            return Ok(());
        }
        let pid = self.pid()?;
        let Some(placement) = &self.cgroup else { return Ok(()) };
        if self.plan.has_unit() { Ok(placement.join_beside_unit(pid)?) } else { Ok(placement.join(pid)?) }
    }

    fn clone_child(&mut self) -> Result<(), Error> {
        self.prepare_devices()?;
        let what = |e: SysError| failed("make the container's process", explain_clone(e));
        let (sync, childs_end) = sys::socketpair().map_err(|e| failed("make the container's process", e))?;
        let namespaces =
            if self.inputs.target.is_some() { Vec::new() } else { borrow_all(&self.namespaces)? };
        let trees = borrow_all(&self.trees)?;
        let mut program = self.plan.program.clone();
        let console_socket = self.inputs.console_socket.map(Fd::from);
        let mut keep = self.descriptors_to_keep(Fd::from(&childs_end), &namespaces, &trees);
        let (cgroup, task_files) = self.ways_into_cgroup()?;
        keep.extend(task_files.iter().map(Fd::from));
        keep.sort_unstable_by_key(|fd| fd.0);
        keep.dedup();
        let task_fds: Vec<Fd> = task_files.iter().map(Fd::from).collect();
        let mut context = Context {
            steps: &self.plan.child,
            program: &mut program,
            sync: Fd::from(&childs_end),
            listener: self.listener.as_ref().map(Fd::from),
            proc: Fd::from(self.proc.as_fd()),
            target: self.inputs.target.map(Fd::from),
            namespaces: &namespaces,
            trees: &trees,
            console_socket,
            stdio: self.inputs.stdio.map(|fds| fds.map(Fd::from)),
            keep: &keep,
            task_files: &task_fds,
            enters_last: false,
            joins_itself: false,
            open_files_are_set: self.sets_open_files(),
            stack: self.plan.listener.as_ref().map(|_| ThreadStack::new()),
            observe: self.inputs.observe,
            state: ChildState::default(),
        };
        let spec = &self.plan.clone;
        self.last_child_step = sys::clock_ns();
        // A handler of the caller's must not run in the copy; the child's dispositions are the default ones anyway.
        let mask = sys::set_signal_mask(u64::MAX).map_err(what)?;
        let visit = Visit::begin(&self.inputs, spec, &self.proc);
        context.joins_itself = enter::joins_itself(&self.inputs, spec, visit.as_ref());
        let staged = spec.stage.is_some() && !context.joins_itself;
        let place = cgroup.as_ref().zip(self.cgroup.as_ref());
        let result = enter::clone_into(place, spec, context, &self.inputs, &self.proc);
        let returned = visit.map_or(Ok(()), Visit::end);
        let restored = sys::set_signal_mask(mask);
        let child = result.map_err(what)?;
        drop(childs_end);
        let stage = if staged { Stage::Joining } else { Stage::Walking { hooks: true } };
        self.launched = Some(Launched::new(child, sync, stage));
        // Now that whoever cleans up knows of the child.
        restored.map_err(what)?;
        returned.map_err(what)?;
        if staged {
            self.adopt()?;
        }
        self.listener = None;
        self.trees.clear();
        self.namespaces.clear();
        Ok(())
    }

    /// How the child gets into its cgroups by itself: that of version 2 by its clone, those of version 1 by their `tasks`
    /// files.  To be moved by us costs a grace period of RCU ([`Placement::task_files`]).
    fn ways_into_cgroup(&mut self) -> Result<(Option<OwnedFd>, Vec<OwnedFd>), Error> {
        let Some(placement) = &self.cgroup else { return Ok((None, Vec::new())) };
        // There is no group yet: systemd makes it around the process.
        if self.plan.has_unit() {
            return Ok((None, Vec::new()));
        }
        if self.plan.clone.enters_later {
            self.joined_itself = true;
            return Ok((placement.v2_fd()?, Vec::new()));
        }
        // Before 5.16 the kernel asks who writes to `tasks` and not who has opened it, and in a user namespace we are nobody:
        // then the parent moves the child.  A clone into the group of version 2 is the parent's doing in any case.
        let enters_userns =
            self.plan.clone.stage.is_none() && self.plan.clone.flags & libc::CLONE_NEWUSER != 0;
        if enters_userns && crate::host::kernel() < (5, 16) {
            return Ok((placement.v2_fd()?, Vec::new()));
        }
        self.joined_itself = true;
        let mut files = match placement.task_files() {
            // As in `enter::clone_into`.
            Err(e) if self.inputs.target.is_some() && placement.is_rootless() && e.is_permission() => {
                log::warn!("{e}: the process stays in the caller's cgroups");
                return Ok((None, Vec::new()));
            }
            files => files?,
        };
        if self.plan.clone.initial_affinity.is_none() {
            return Ok((placement.v2_fd()?, files));
        }
        // It is bound to its first CPUs before it is in any of them.
        let inner = self.inputs.init.and_then(|init| enter::cgroups_of(&self.proc, init));
        files.extend(placement.v2_entry(inner.as_deref())?);
        Ok((None, files))
    }

    fn sets_open_files(&self) -> bool {
        let sets =
            |step: &HostStep| matches!(step, HostStep::SetRlimit { resource: libc::RLIMIT_NOFILE, .. });
        self.plan.host.iter().any(|planned| sets(&planned.step))
    }

    fn descriptors_to_keep(&self, sync: Fd, namespaces: &[Fd], trees: &[Fd]) -> Vec<Fd> {
        let mut keep: Vec<Fd> = (3..3 + self.inputs.preserve_fds.cast_signed()).map(Fd).collect();
        keep.extend([sync, Fd::from(self.proc.as_fd())]);
        keep.extend(self.listener.as_ref().map(Fd::from));
        keep.extend(self.inputs.console_socket.map(Fd::from));
        keep.extend(self.inputs.target.map(Fd::from));
        keep.extend(namespaces.iter().chain(trees));
        keep
    }

    /// Takes the process that the stage has made, and reaps the stage.
    fn adopt(&mut self) -> Result<(), Error> {
        let mut pid = 0;
        self.pump(|m| {
            if let FromChild::Forked { pid: made } = m {
                pid = *made;
            }
            pid != 0
        })?;
        let Some(launched) = &mut self.launched else { return Ok(()) };
        reap(launched.child.pidfd.as_fd());
        // Our child by CLONE_PARENT, and not waited for yet: the pid cannot be another's.
        let pidfd = sys::pidfd_open(pid).map_err(|e| failed("open the container's process", e))?;
        launched.child = Child { pid, pidfd };
        Ok(())
    }

    fn set_oom_score(&self, value: i32) -> Result<(), Error> {
        let path = std::ffi::CString::new(format!("{}/oom_score_adj", self.pid()?)).unwrap_or_default();
        self.proc.write(&path, value.to_string().as_bytes()).map_err(|e| failed("", e))
    }

    fn release(&self, gate: Gate) -> Result<(), Error> {
        let Some(launched) = &self.launched else { return Ok(()) };
        let told = match &self.cgroup {
            // We have the time to look the files up, and it has not.
            Some(placement) if gate == Gate::Cgroup && self.plan.clone.enters_later => {
                let files = placement.task_files()?;
                let files: Vec<Fd> = files.iter().map(Fd::from).collect();
                launched.say_with(FromParent::Go(gate), &files)
            }
            _ => launched.say(FromParent::Go(gate)),
        };
        told.map_err(|e| failed("tell the container's process to go on", e))
    }

    fn await_ready(&mut self) -> Result<(), Error> {
        if let Some(launched) = self.launched.as_mut().filter(|_| self.inputs.start_at_once) {
            launched.say_start()?;
        }
        // The child is at work, and there is nothing to do for us but wait.
        crate::protect::release_own_mount();
        self.pump(|m| *m == FromChild::Ready)
    }

    fn run_hooks(&mut self, kind: HookKind, hooks: &[Hook]) -> Result<(), Error> {
        let Some(record) = &self.record else { return Ok(()) };
        let Some(launched) = &self.launched else { return Ok(()) };
        let pid = hooks::pid_seen_by(kind, launched.child.pid).map_err(|e| failed("", e))?;
        let json = crate::status::oci_state(record.state, crate::Status::Creating, pid);
        let place = match kind {
            HookKind::CreateContainer | HookKind::StartContainer => {
                HookPlace::Container { pidfd: launched.child.pidfd.as_fd() }
            }
            _ => HookPlace::Runtime,
        };
        hooks::run_hooks(kind, hooks, &json, place)
            .map(drop)
            .map_err(|e| Error::because(ErrorKind::Hook, "", e))
    }

    fn prepare_devices(&mut self) -> Result<(), Error> {
        for planned in &self.plan.host {
            let HostStep::MoveNetDevice { host, .. } = &planned.step else { continue };
            let info = netdev::prepare(host).map_err(|e| with_origin(failed("", e), &planned.origin))?;
            self.devices.push(info);
        }
        Ok(())
    }

    fn move_device(&mut self, host: &str, container: &str) -> Result<(), Error> {
        let pid = self.pid()?;
        let Some(info) = self.devices.iter().find(|d| d.name == host) else { return Ok(()) };
        let netns = match &self.joined_network {
            Some(joined) => joined.try_clone().map_err(|e| Error::because(ErrorKind::Host, "", e))?,
            None => self.proc.namespace(pid, Namespace::Network).map_err(|e| failed("", e))?,
        };
        let name = netdev::move_to(info, netns.as_fd(), container).map_err(|e| failed("", e))?;
        self.moved.push((netns, host.to_owned(), name.clone()));
        // A template has become a name, by which delete finds the device.
        self.save(|state| {
            let moved = state.net_devices.iter_mut().filter(|device| device.host_name == host);
            moved.for_each(|device| device.container_name.clone_from(&name));
        })
    }

    fn return_devices(&self) {
        for (netns, host, container) in &self.moved {
            if let Err(e) = netdev::move_back(netns.as_fd(), container, host) {
                log::warn!("{e}");
            }
        }
    }

    /// Listens to the child until `wanted`.
    fn pump(&mut self, mut wanted: impl FnMut(&FromChild) -> bool) -> Result<(), Error> {
        loop {
            let Some(launched) = &mut self.launched else { return Ok(()) };
            let Some(message) = launched.hear()? else {
                let died = launched.died();
                return Err(explain_death(died, self.cgroup.as_ref(), Some(self.plan)));
            };
            match message {
                FromChild::Failed { step, error } => return Err(self.child_failed(step, error)),
                FromChild::StepDone { step, time } => self.observed(step, time)?,
                m if wanted(&m) => return Ok(()),
                m => {
                    return Err(Error::new(ErrorKind::Launch, format!("the child said {m:?} out of order")));
                }
            }
        }
    }

    fn observed(&mut self, step: u16, time: u64) -> Result<(), Error> {
        if let Some(observer) = &mut self.inputs.observer {
            let start_ns = std::mem::replace(&mut self.last_child_step, time);
            let name = self.plan.child_words(step.into());
            observer(&StepEvent { half: Half::Child, index: step.into(), name, start_ns, end_ns: time });
        }
        match &self.launched {
            Some(launched) if self.inputs.observe == Observe::Lockstep => {
                launched.say(FromParent::Continue).map_err(|e| failed("answer the container's process", e))
            }
            _ => Ok(()),
        }
    }

    fn child_failed(&self, step: u16, error: SysError) -> Error {
        explain_failure(self.plan, step, error)
    }
}

fn fill(slots: &mut [Option<OwnedFd>], slot: usize, fd: OwnedFd) -> Result<(), Error> {
    let place =
        slots.get_mut(slot).ok_or_else(|| Error::new(ErrorKind::Launch, "the plan names no such slot"))?;
    *place = Some(fd);
    Ok(())
}

fn borrow_all(slots: &[Option<OwnedFd>]) -> Result<Vec<Fd>, Error> {
    slots
        .iter()
        .map(|fd| {
            fd.as_ref()
                .map(Fd::from)
                .ok_or_else(|| Error::new(ErrorKind::Launch, "the plan leaves a slot empty"))
        })
        .collect()
}

fn with_origin(e: Error, origin: &str) -> Error {
    // An origin of several words is a rule and no place in the configuration; a hook, and a limit, name their own place.
    let known = origin.is_empty() || origin.contains(' ') || e.kind() == ErrorKind::Hook;
    let known = known || e.to_string().starts_with("linux.");
    if known { e } else { e.during(origin) }
}
