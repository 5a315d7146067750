//! The steps of a plan: everything a launch does, as data.
//!
//! The compiler writes these, the two halves of the launch walk them, `orlop plan` prints them.  Every string is a
//! C string and every flag an integer already, because the child half may not convert anything (invariant I2).

use crate::cgroup;
use crate::seccomp::Filter;
use crate::state::SeccompListener;
use crate::sys::{MountAttr, SchedAttr, StringVector};
use std::ffi::CString;
use std::path::PathBuf;

/// A step with the place of the configuration that asks for it.
#[derive(Clone, Debug)]
pub struct Planned<S> {
    /// What is done.
    pub step: S,
    /// JSON path in config.json (`mounts[2]`), or the name of the rule of the specification for what is always done
    /// (`default devices`).
    pub origin: String,
}

/// A container, compiled: what the parent half and the child half do, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The parent half.
    pub host: Vec<Planned<HostStep>>,
    /// The child half, from clone to execve.
    pub child: Vec<Planned<ChildStep>>,
    /// How the process is made.
    pub clone: CloneSpec,
    /// The program.
    pub program: Program,
    /// Hooks that run after the container is created: at start, and when it is deleted.
    pub hooks_later: Vec<(HookKind, Vec<Hook>)>,
    /// Who gets the listener of the seccomp filter; only with a filter that notifies.
    pub listener: Option<SeccompListener>,
    /// What a person should know before it runs: capabilities that cannot be granted, and the like.
    pub warnings: Vec<String>,
}

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Namespace {
    User,
    Pid,
    Mount,
    Network,
    Uts,
    Ipc,
    Cgroup,
    Time,
}

impl Namespace {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Pid, Self::Mount, Self::Network, Self::Uts, Self::Ipc, Self::Cgroup, Self::Time];

    /// The `CLONE_NEW*` flag.
    #[must_use]
    pub const fn flag(self) -> i32 {
        match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Network => libc::CLONE_NEWNET,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => 0x80,
        }
    }

    /// The name in config.json (`linux.namespaces[].type`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Mount => "mount",
            Self::Network => "network",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The name of the file in `/proc/PID/ns`.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Network => "net",
            _ => self.name(),
        }
    }
}

/// How the container's process is made.
#[derive(Clone, Debug, Default)]
pub struct CloneSpec {
    /// `CLONE_NEW*` for clone3: the new namespaces but cgroup and time, which the child unshares when its
    /// cgroup and its offsets are right, and network where that is made by [`ChildStep::NewNetworkNamespace`].
    pub flags: i32,
    /// A first process joins namespaces and makes the container's process as its sibling (`CLONE_PARENT`).
    /// Needed when a pid or user namespace is joined, or any is joined before a new user namespace is made:
    /// see `docs/architecture.md`.  For exec, which joins all by one pidfd, the process joins by itself where it can, and no
    /// first one is made.  The namespaces it joins, in order, by slot of [`HostStep::OpenNamespace`].
    pub stage: Option<Vec<(usize, Namespace)>>,
    /// Whether the child starts inside its cgroup (`CLONE_INTO_CGROUP`, pure v2 only).
    pub into_cgroup: bool,
    /// The process enters its groups of version 1 by a step ([`ChildStep::EnterCgroups`]), since they are made while it is at work.
    /// Until then it ends with its parent, as it could not be found by its groups.
    pub enters_later: bool,
    /// The CPUs that the process runs on before it enters its cgroups (`process.execCPUAffinity.initial`).
    pub initial_affinity: Option<Vec<u64>>,
    /// The process hides itself from processes of the container before it joins or does anything: it has descriptors of the host, and
    /// its user is theirs (CVE-2016-9962).
    pub hidden: bool,
    /// `/proc/self/oom_score_adj`, set by the process before it hides, where the parent has no right to after that.
    pub oom_score: Option<i32>,
    /// Signals that the caller ignores, a bit for each: they would stay ignored over execve.
    pub ignored_signals: u64,
    /// How many slots for namespace descriptors and for mount trees the host steps fill.
    pub namespace_slots: usize,
    /// See `namespace_slots`.
    pub tree_slots: usize,
}

/// Id mappings of a user namespace, in lines of `user_namespaces(7)`: (inside, outside, count).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// For user ids.
    pub uid: Vec<(u32, u32, u32)>,
    /// For group ids.
    pub gid: Vec<(u32, u32, u32)>,
}

/// A hook of config.json.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: CString,
    /// Its arguments, `argv[0]` included; empty means the path alone.
    pub args: Vec<CString>,
    /// Its whole environment.
    pub env: Vec<CString>,
    /// Seconds after which it is killed.
    pub timeout: Option<u32>,
    /// JSON path, for errors: `hooks.prestart[0]`.
    pub origin: String,
}

/// The moments of the lifecycle that have hooks (config.md, "POSIX-platform Hooks").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// One step of the parent half.
#[derive(Clone, Debug)]
pub enum HostStep {
    /// Writes to the state directory what is about to be made (invariant I6); of what is made beside the process
    /// ([`CloneSpec::enters_later`]) [`HostStep::RecordProcess`] does.
    RecordIntent,
    /// Looks whether the seccomp agent's socket is there, before anything is made.
    CheckListener {
        /// Absolute path of the socket.
        path: PathBuf,
    },
    /// Opens a namespace file to be joined, into slot `slot`; checks that it is a namespace of that kind.
    OpenNamespace {
        /// Slot.
        slot: usize,
        /// Kind.
        kind: Namespace,
        /// Absolute path on the host.
        path: CString,
    },
    /// Makes a detached copy of a host tree for a bind mount, into slot `slot`: for trees that the child could not
    /// open itself (new user namespace) or not map (id-mapped mounts).
    OpenTree {
        /// Slot.
        slot: usize,
        /// Absolute path on the host.
        source: CString,
        /// With all mounts below it.
        recursive: bool,
        /// Map its ids like this (`MOUNT_ATTR_IDMAP`), the whole tree when the flag is set.
        idmap: Option<(IdMaps, bool)>,
    },
    /// Makes and enters a cgroup for the container in every hierarchy.
    CreateCgroup {
        /// Where.
        placement: cgroup::Placement,
    },
    /// Makes the group of version 2, which the process is cloned into, where those of version 1 are made beside it.
    CreateUnified,
    /// Listens on `start.sock`, where `start` will say go.
    Listen,
    /// Makes the container's process.
    Clone,
    /// Writes its pid and start time to the state directory, with its filter, and the groups that are made beside it.
    RecordProcess,
    /// Writes the id maps of the new user namespace.
    WriteIdMaps {
        /// The maps.
        maps: IdMaps,
        /// Through newuidmap and newgidmap, because we have not the right to write them.
        helpers: bool,
        /// setgroups(2) must be denied first (a group map written without privilege).
        deny_setgroups: bool,
    },
    /// Sets `/proc/PID/oom_score_adj`.
    SetOomScore {
        /// -1000..=1000.
        value: i32,
    },
    /// Sets a resource limit from outside, where the child has no right to raise it.
    SetRlimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Has systemd start the container's unit, with the process in it.
    StartUnit {
        /// What the unit is asked to be, besides having the process in it.
        properties: Vec<(String, cgroup::systemd::Value)>,
    },
    /// Moves the process into its cgroups.
    JoinCgroup,
    /// Applies `linux.resources.devices`.
    CgroupDevices {
        /// The rules, in the order of the configuration, defaults appended.
        rules: Vec<cgroup::DeviceRule>,
    },
    /// Gives the group of version 2 to the container's user.
    GiveCgroup {
        /// Its id on the host.
        uid: u32,
    },
    /// Applies one of the limits of `linux.resources`.
    CgroupLimit(cgroup::Limit),
    /// Assigns the process to a group of resctrl.
    IntelRdt(IntelRdt),
    /// Puts the process into the container's groups of resctrl.
    JoinIntelRdt,
    /// Moves a network device of the host into the container's network namespace.
    MoveNetDevice {
        /// Name on the host.
        host: String,
        /// Name inside.
        container: String,
    },
    /// Lets the child go past [`ChildStep::Await`] of the same kind.
    Release(Gate),
    /// Waits until the child stands at [`Gate::Hooks`].
    AwaitHooks,
    /// Runs hooks on the host side.
    Hooks {
        /// Moment.
        kind: HookKind,
        /// In order.
        hooks: Vec<Hook>,
    },
    /// Waits until the child has done everything but execve.
    AwaitReady,
    /// Writes to the state directory that the container is created.
    RecordCreated,
}

/// What `linux.intelRdt` asks for, ready for the resctrl file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// Name of the group; the container's id when not given.
    pub clos_id: String,
    /// The container's id: name of the monitoring group.
    pub container: String,
    /// Whether `closID` was given (a group that exists already is then joined, and not removed on delete).
    pub clos_given: bool,
    /// Lines for its `schemata` file.
    pub schemata: Vec<String>,
    /// Whether a monitoring group is made (`enableMonitoring`).
    pub monitoring: bool,
}

/// Points where the child waits for the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Gate {
    /// The id maps are written.
    Maps = 1,
    /// The process is in its cgroup and has its network devices.
    Cgroup = 2,
    /// The hooks that run before pivot_root are done.
    Hooks = 3,
    /// The seccomp agent has the listener of the filter.
    Listener = 4,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Maps, Self::Cgroup, Self::Hooks, Self::Listener];
}

/// A parameter of a file system configuration (`fsconfig(2)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsParam {
    /// A flag.
    Flag(CString),
    /// A key and its value.
    String(CString, CString),
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A new instance of a file system.
    New {
        /// Its type.
        fstype: CString,
        /// Its parameters, `source` among them when there is one.
        params: Vec<FsParam>,
        /// Bind this host path instead when the kernel answers `EPERM` or `EBUSY` (sysfs in a user namespace without a network
        /// namespace of its own: `/sys`; likewise proc and mqueue are left without).
        or_bind: Option<CString>,
    },
    /// A tree of the host, by path: the child opens it itself.
    Bind {
        /// Absolute path on the host.
        path: CString,
        /// With all mounts below it.
        recursive: bool,
    },
    /// A tree that the parent half has opened ([`HostStep::OpenTree`]).
    Tree {
        /// Its slot.
        slot: usize,
    },
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where: absolute path in the container, cleaned.  Created when missing, resolved inside the root, once.
    pub destination: CString,
    /// No symbolic link may occur in the destination (proc and sysfs: CVE-2019-19921).
    pub plain_destination: bool,
    /// Attributes of the mount itself.
    pub attributes: MountAttr,
    /// Attributes of the whole tree (`rro`, `rnosuid`, …), applied after.
    pub recursive_attributes: MountAttr,
    /// Propagation changes, in order: (`MS_SHARED` | …, recursive).
    pub propagation: Vec<(u64, bool)>,
    /// Copy what the destination holds into the new mount (`tmpcopyup`).
    pub copy_up: bool,
    /// The SELinux label of its root (`linux.mountLabel`), where the file system takes none as a parameter.
    pub label: Option<CString>,
    /// Set read-only after everything else was mounted below it (a tmpfs that holds mountpoints).
    pub late_read_only: bool,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Absolute path in the container, cleaned.
    pub path: CString,
    /// Type and permissions (`mknod(2)`).
    pub mode: u32,
    /// Device number as `makedev(3)` encodes it.
    pub dev: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bind mount the host's node of the same path: where mknod cannot be (user namespaces).
    pub bind: bool,
}

/// One step of the child half.
#[derive(Clone, Debug)]
pub enum ChildStep {
    /// Joins a namespace opened by the parent.
    JoinNamespace {
        /// Slot of [`HostStep::OpenNamespace`].
        slot: usize,
        /// Kind.
        kind: Namespace,
    },
    /// Unshares the time namespace, sets its offsets (lines for `timens_offsets`, or none), and enters it.
    NewTimeNamespace {
        /// Content of `/proc/self/timens_offsets`.
        offsets: Option<CString>,
    },
    /// Waits for the parent.
    Await(Gate),
    /// Hides from processes of the container, where it could not be done at once ([`CloneSpec::hidden`]).
    Hide,
    /// Becomes user and group 0 of the user namespace, without supplementary groups when `clear_groups`.
    BecomeRoot {
        /// setgroups(2) is allowed.
        clear_groups: bool,
    },
    /// Enters the groups of version 1 ([`CloneSpec::enters_later`]).
    EnterCgroups {
        /// Their `tasks` files, absolute paths on the host, in the order of the placement: the parent hands them over in that order, and
        /// what it cannot is opened by its path.
        files: Vec<CString>,
    },
    /// Unshares the cgroup namespace, whose root becomes the cgroup the process is in.
    NewCgroupNamespace,
    /// Unshares the network namespace, where the clone has not made it.
    NewNetworkNamespace,
    /// Starts a session.
    NewSession,
    /// Joins a new session keyring of this name, and lets its owner search it.
    NewKeyring {
        /// Name: `_ses.ID`.
        name: CString,
    },
    /// Sets the host name.
    Hostname(CString),
    /// Sets the domain name.
    Domainname(CString),
    /// Brings `lo` up.
    LoopbackUp,
    /// Sets the propagation of the whole mount namespace, so that nothing done here reaches the host.
    RootPropagation {
        /// `MS_SLAVE` or `MS_PRIVATE`, …
        flags: u64,
    },
    /// Binds the root file system to itself; what follows is resolved below it.
    OpenRoot {
        /// Absolute path on the host.
        path: CString,
    },
    /// Opens the root file system as it is, without a mount of its own: where the mount namespace is not the
    /// container's alone, so that [`ChildStep::OpenRoot`] would show outside.
    LocateRoot {
        /// Absolute path on the host.
        path: CString,
    },
    /// Mounts.
    Mount(Mount),
    /// Changes the mount that is at the destination already (`remount`).
    ChangeMount {
        /// Absolute path in the container, cleaned.
        destination: CString,
        /// Parameters that its file system takes anew, before; without any it is left alone.
        params: Vec<FsParam>,
        /// Attributes of the mount itself.
        attributes: MountAttr,
        /// Attributes of the whole tree, applied after.
        recursive_attributes: MountAttr,
        /// Propagation changes, in order.
        propagation: Vec<(u64, bool)>,
    },
    /// Makes a directory, with what is missing above it: the working directory, before the root becomes read-only.
    MakeDirectory {
        /// Absolute path in the container, cleaned.
        path: CString,
    },
    /// Opens the container's `/dev/null` in place of the host's, where that is stdin, stdout or stderr: a descriptor of the
    /// host's cannot be checkpointed.
    OwnNull,
    /// Makes a device node.
    Device(Device),
    /// Makes a symbolic link, unless something is there.
    Symlink {
        /// Content.
        target: CString,
        /// Absolute path in the container.
        path: CString,
    },
    /// Makes the pseudoterminal, sends its master to the console socket, and shows its slave at `/dev/console`.
    Console {
        /// Rows and columns.
        size: Option<(u16, u16)>,
        /// Mount the slave on `/dev/console`.
        mount: bool,
    },
    /// Makes the mounts with `late_read_only` read-only: the path, its attributes.
    LateReadOnly {
        /// Absolute path in the container.
        destination: CString,
        /// Attributes.
        attributes: MountAttr,
    },
    /// Hides a path: `/dev/null` over a file, an empty read-only tmpfs over a directory; missing is fine.
    Mask {
        /// Absolute path in the container.
        path: CString,
    },
    /// Makes a path read-only by a mount on itself; missing is fine.
    ReadOnlyPath {
        /// Absolute path in the container.
        path: CString,
    },
    /// Writes a kernel parameter through the trusted procfs.
    Sysctl {
        /// Path below `/proc/sys/`.
        path: CString,
        /// Value.
        value: CString,
    },
    /// Changes the root by pivot_root(2) and detaches the old one.
    PivotRoot,
    /// Changes the root by moving the mount over `/` (`--no-pivot`, for an initramfs).
    MoveRoot,
    /// Changes the root by chroot(2) alone: no mount namespace.
    Chroot,
    /// Sets attributes of `/` (`root.readonly`).
    RootReadOnly,
    /// Sets the propagation of `/` inside the container.
    ContainerPropagation {
        /// `MS_SHARED`, `MS_UNBINDABLE`, …, with `MS_REC` where recursive.
        flags: u64,
    },
    /// Sets a resource limit.
    SetRlimit {
        /// `RLIMIT_*`.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Sets the scheduling policy.
    Scheduler(SchedAttr),
    /// Sets the I/O priority, packed.
    IoPriority(u32),
    /// Sets the CPU affinity; a bit for each CPU.
    Affinity(Vec<u64>),
    /// Sets the NUMA memory policy: mode with its flags, a bit for each node.
    MemoryPolicy {
        /// `MPOL_*`.
        mode: u32,
        /// Nodes.
        nodes: Vec<u64>,
    },
    /// Sets the execution domain.
    Personality(u32),
    /// Sets the label or profile that execve switches to, or the label of keys that are made until then: a file below
    /// `/proc/self/attr`, and what is written there.
    ExecLabel {
        /// `apparmor/exec`, `exec` or `keycreate`.
        file: CString,
        /// `exec PROFILE`, or the SELinux label.
        label: CString,
    },
    /// Gives the pipes and the terminal of stdin, stdout and stderr to the user of the container.
    ChownStdio {
        /// User.
        uid: u32,
    },
    /// Enters the working directory, creating it when missing, and checks that it lies inside the root.
    Chdir {
        /// Absolute path in the container.
        path: CString,
        /// Create when missing (not for exec).
        create: bool,
    },
    /// Drops capabilities from the bounding set.
    Bounding {
        /// What stays.
        keep: u64,
    },
    /// Sets groups, group id and user id; capabilities are kept for the next step.
    SetIds {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups; `None` where setgroups(2) is denied.
        groups: Option<Vec<u32>>,
    },
    /// Sets the capability sets of the thread.
    Capabilities {
        /// Effective.
        effective: u64,
        /// Permitted.
        permitted: u64,
        /// Inheritable.
        inheritable: u64,
        /// Ambient.
        ambient: u64,
    },
    /// Sets the umask.
    Umask(u32),
    /// Sets no_new_privs.
    NoNewPrivs,
    /// Fills in `HOME` from the container's `/etc/passwd`: the slot in the environment, the user.
    Home {
        /// Index in [`Program::env`].
        slot: usize,
        /// User.
        uid: u32,
    },
    /// Finds the program among the candidates, without running it, so that `create` can tell.
    FindExecutable,
    /// Tells the parent that all is done, and waits for `start`.
    Ready,
    /// Lets descriptors 3 to 3+n-1 through to the program.
    PreserveFds {
        /// n.
        count: u32,
    },
    /// Puts the seccomp filter on the process, whose every call it decides from here on.
    Seccomp(Filter),
    /// Gives up `CAP_SYS_ADMIN`, which was kept for loading the filter: the sets as the container gets them, by one call.
    GiveUpSysAdmin {
        /// Effective.
        effective: u64,
        /// Permitted.
        permitted: u64,
        /// Inheritable.
        inheritable: u64,
    },
    /// Runs the program.
    Execute,
}

/// What is executed.
#[derive(Clone, Debug)]
pub struct Program {
    /// Paths to try, in order: one when the name has a slash, else one for each directory of PATH.
    pub candidates: Vec<CString>,
    /// `process.args[0]` as it was written.
    pub name: String,
    /// Whether PATH was searched.
    pub searched: bool,
    /// Arguments.
    pub args: StringVector,
    /// Environment.
    pub env: StringVector,
}

impl Default for Program {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            name: String::new(),
            searched: false,
            args: StringVector::new(Vec::new()),
            env: StringVector::new(Vec::new()),
        }
    }
}
