//! The child half: walks the steps of a plan between clone and execve.
//!
//! **Everything in this folder is bare** (invariant I2): it runs in a copy of a program that may have other threads, so it allocates
//! nothing, frees nothing, takes no lock, cannot panic (no indexing, no unwrap, no overflowing arithmetic on foreign
//! numbers), and reaches the kernel through [`crate::sys`] only.  What went wrong leaves as a fixed-size record.
//!
//! Who we are, phase by phase: from the clone to `SetIds` the process has the launcher's ids and capabilities, those
//! of root in a new user namespace after `BecomeRoot`; from `Capabilities` on it has what the container gets.

mod console;
mod copyup;
mod mounts;
pub(crate) mod path;
mod process;
mod rootfs;
mod seccomp;
mod users;

use super::protocol::{self, FromChild, FromParent, SIZE, STAGE};
use crate::plan::{ChildStep, CloneSpec, Gate, Namespace, Planned, Program};
use crate::sys::{self, Call, CloneArgs, Fd, Result, SysError, ThreadStack};
use core::convert::Infallible;
use core::ffi::CStr;

/// How much the child tells of its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Observe {
    /// Nothing.
    #[default]
    No,
    /// A record after each step.
    Report,
    /// A record after each step, and no step before it was answered.
    Lockstep,
}

/// What the child half works on: all made before the clone.
#[derive(Debug)]
pub struct Context<'p> {
    /// The steps.
    pub steps: &'p [Planned<ChildStep>],
    /// What is executed; the child fills `HOME` into its own copy.
    pub program: &'p mut Program,
    /// The child's end of the pair.
    pub sync: Fd,
    /// `start.sock`, where `start` will say go; with none, the parent says it over the pair.
    pub listener: Option<Fd>,
    /// A checked procfs (invariant I4).
    pub proc: Fd,
    /// The process whose namespaces the stage joins, all at once (exec), in place of those in the slots.
    pub target: Option<Fd>,
    /// The slots of the plan.
    pub namespaces: &'p [Fd],
    /// Likewise.
    pub trees: &'p [Fd],
    /// Where the pseudoterminal's master goes.
    pub console_socket: Option<Fd>,
    /// What becomes stdin, stdout and stderr.
    pub stdio: Option<[Fd; 3]>,
    /// Every descriptor that must stay open, ascending.
    pub keep: &'p [Fd],
    /// The files of its cgroups by which it enters them: `tasks` of version 1; `cgroup.procs` of version 2, if it was not cloned
    /// into that.
    pub task_files: &'p [Fd],
    /// A stage makes the process, and the process enters, not the stage: there would be no room for the process then.
    pub enters_last: bool,
    /// The namespaces of the target can be joined by the process itself: no stage is needed.
    pub joins_itself: bool,
    /// The parent sets the limit of open files, at a moment of its own.
    pub open_files_are_set: bool,
    /// For a second thread, where the filter has a listener.
    pub stack: Option<ThreadStack>,
    /// What is told of the steps.
    pub observe: Observe,
    /// Work in progress.
    pub state: State,
}

/// What one step leaves to a later one.
#[derive(Debug, Default)]
pub struct State {
    /// The root file system's mount.
    root: Option<Fd>,
    /// What was mounted at `/proc`, and at `/sys`.
    proc: Option<Fd>,
    /// See `proc`.
    sys: Option<Fd>,
    /// The mount namespace shares its mounts with the host.
    shared: bool,
    /// The slave of the console.
    console: Option<Fd>,
    /// The empty read-only directory that masks directories.
    empty: Option<Fd>,
    /// The device that masks files.
    null: Option<Fd>,
    /// Mounts to become read-only, in the order of their `LateReadOnly` steps.
    late: [Option<Fd>; 16],
    /// Index of the program among the candidates.
    executable: usize,
    /// The last step that made an entry of a directory, and that directory: the next one often goes on there.
    directory: Option<(usize, Fd)>,
    /// Where a failure is reported: the pair, or `start`'s connection.
    report: Option<Fd>,
    /// Index of the step at work.
    at: usize,
    /// Gates that were opened before we stood at them, a bit for each.
    opened: u32,
    /// Descriptors that came with the parent's words: the `tasks` files of the groups to be entered.
    passed: [Option<Fd>; sys::MAX_PASSED],
}

/// As many CPUs as a kernel can be built for (`NR_CPUS`).
const ALL_CPUS: [u64; 128] = [u64::MAX; 128];

/// Makes the namespaces' first process where `clone.stage` asks for it, then walks the steps.  Never returns.
pub fn run(mut cx: Context<'_>, clone: &CloneSpec) -> Infallible {
    sys::have_stack_below();
    let started = cx.prepare(clone);
    let Some(joins) = &clone.stage else {
        cx.finish_or_fail(STAGE, started);
        return cx.walk();
    };
    let joined = started.and_then(|()| cx.join(joins));
    if cx.joins_itself {
        cx.finish_or_fail(STAGE, joined);
        return cx.walk();
    }
    let result = joined.and_then(|()| {
        // For clone3, CLONE_PARENT goes with no exit signal: the kernel takes that of this process.
        let flags = u64::from((clone.flags | libc::CLONE_PARENT).cast_unsigned());
        let args = CloneArgs { flags, no_signal: true, ..CloneArgs::default() };
        sys::fork(&args, || {
            if cx.enters_last {
                let entered = cx.enter_groups();
                cx.finish_or_fail(STAGE, entered);
            }
            cx.walk()
        })
    });
    match result {
        Ok(pid) => {
            let _ = protocol::send(cx.sync, &FromChild::Forked { pid }.encode());
            sys::exit(0)
        }
        Err(error) => cx.fail(STAGE, error),
    }
}

impl Context<'_> {
    /// Steps 0 to execve.
    fn walk(&mut self) -> Infallible {
        let steps = self.steps;
        for (n, planned) in steps.iter().enumerate() {
            let n = u16::try_from(n).unwrap_or(STAGE);
            self.state.at = usize::from(n);
            let result = self.step(&planned.step);
            self.finish_or_fail(n, result);
        }
        sys::exit(1)
    }

    fn finish_or_fail(&mut self, step: u16, result: Result<()>) {
        if let Err(error) = result {
            self.fail(step, error);
        }
        if self.observe == Observe::No || step == STAGE {
            return;
        }
        let report = self.state.report.unwrap_or(self.sync);
        if protocol::send(report, &FromChild::StepDone { step, time: sys::clock_ns() }.encode()).is_err() {
            sys::exit(1);
        }
        while self.observe == Observe::Lockstep {
            match self.hear_with_passed(report) {
                Ok(FromParent::Continue) => return,
                // The parent does not wait for us before it says so.
                Ok(FromParent::Go(gate)) => self.state.opened |= 1 << gate as u16,
                _ => sys::exit(1),
            }
        }
    }

    fn fail(&self, step: u16, error: SysError) -> ! {
        let report = self.state.report.unwrap_or(self.sync);
        let record = FromChild::Failed { step, error }.encode();
        if protocol::send(report, &record).is_ok() || sys::write(report, &record).is_ok() {
            sys::exit(1);
        }
        // The parent is gone; or a filter refuses to let us speak, and the parent learns the reason from the status.
        sys::exit(error.errno)
    }

    /// Leaves what belongs to the caller behind: its descriptors, its ignored signals, its signal mask, its umask, its cgroups,
    /// its CPUs; and before all that, hides.
    fn prepare(&mut self, clone: &CloneSpec) -> Result<()> {
        if let Some(score) = clone.oom_score {
            process::set_oom_score(self, score)?;
        }
        if clone.hidden {
            sys::set_undumpable()?;
        }
        if clone.enters_later {
            sys::set_parent_death_signal(libc::SIGKILL)?;
        }
        let cpus = clone.initial_affinity.as_deref();
        if let Some(stdio) = self.stdio {
            for (fd, n) in stdio.into_iter().zip(0..) {
                sys::dup3(fd, Fd(n), true)?;
            }
        }
        let mut first = 3u32;
        for fd in self.keep {
            let fd = fd.0.cast_unsigned();
            if fd > first {
                sys::close_range(first, fd - 1, 0)?;
            }
            first = first.max(fd + 1);
        }
        sys::close_range(first, u32::MAX, 0)?;
        for signal in (1..=64).filter(|s| clone.ignored_signals & (1 << (s - 1)) != 0) {
            sys::reset_signal(signal)?;
        }
        sys::set_signal_mask(0)?;
        sys::umask(0);
        if let Some(cpus) = cpus {
            sys::sched_setaffinity(cpus)?;
        }
        if !self.enters_last {
            self.enter_groups()?;
        }
        if cpus.is_none() {
            // A caller that is bound to some CPUs (systemd's CPUAffinity=) does not bind the container: since Linux 6.2 a mask that
            // was set once outlives the entry into a cpuset.  The kernel cuts this one down to what there is, and to the cpuset.
            let _ = sys::sched_setaffinity(&ALL_CPUS);
        }
        Ok(())
    }

    fn enter_groups(&self) -> Result<()> {
        self.task_files.iter().try_for_each(|entry| enter_cgroup(*entry))
    }

    /// Joins namespaces with the rights at hand, and those that refuse once more after the user namespace was joined.
    fn join(&self, joins: &[(usize, Namespace)]) -> Result<()> {
        if let Some(target) = self.target {
            return join_target(target, joins.iter().fold(0, |flags, (_, kind)| flags | kind.flag()));
        }
        let mut refused = 0u32;
        for (n, (slot, kind)) in joins.iter().enumerate() {
            match self.join_one(*slot, *kind) {
                Err(e) if e.errno == libc::EPERM && *kind != Namespace::User => refused |= 1 << n,
                r => r?,
            }
        }
        for (n, (slot, kind)) in joins.iter().enumerate() {
            if refused & (1 << n) != 0 {
                self.join_one(*slot, *kind)?;
            }
        }
        Ok(())
    }

    fn join_one(&self, slot: usize, kind: Namespace) -> Result<()> {
        if let Some(target) = self.target {
            return sys::setns(target, kind.flag());
        }
        let missing = SysError { call: Call::Setns, errno: libc::EBADF };
        sys::setns(*self.namespaces.get(slot).ok_or(missing)?, kind.flag())
    }

    fn root(&self) -> Fd {
        // Without a root file system of its own (exec), the process's own root.
        self.state.root.unwrap_or(Fd::CWD)
    }

    /// Does one step.
    fn step(&mut self, step: &ChildStep) -> Result<()> {
        match step {
            ChildStep::JoinNamespace { slot, kind } => self.join_one(*slot, *kind),
            ChildStep::Await(gate) => self.wait(*gate),
            ChildStep::NewSession => sys::setsid(),
            ChildStep::EnterCgroups { files } => {
                for (n, file) in files.iter().enumerate() {
                    let passed = self.state.passed.get_mut(n).and_then(Option::take);
                    enter_cgroup(if let Some(tasks) = passed { tasks } else { open_tasks(file)? })?;
                }
                // From here on whoever cleans up finds us by them.
                sys::set_parent_death_signal(0)
            }
            ChildStep::NewCgroupNamespace => sys::unshare(libc::CLONE_NEWCGROUP),
            ChildStep::NewNetworkNamespace => sys::unshare(libc::CLONE_NEWNET),
            ChildStep::NewTimeNamespace { offsets } => process::new_time_namespace(self, offsets.as_deref()),
            ChildStep::Hide => sys::set_undumpable(),
            ChildStep::BecomeRoot { clear_groups } => process::become_root(*clear_groups),
            ChildStep::NewKeyring { name } => process::new_keyring(name),
            ChildStep::Hostname(name) => sys::sethostname(name),
            ChildStep::Domainname(name) => sys::setdomainname(name),
            ChildStep::LoopbackUp => sys::loopback_up(),
            ChildStep::Ready => self.ready(),
            ChildStep::Seccomp(filter) => seccomp::load(self, filter),
            ChildStep::Execute => process::execute(self),
            ChildStep::FindExecutable => {
                self.close_what_is_the_hosts();
                process::find_executable(self)
            }
            _ => self.step_of_rootfs(step),
        }
    }

    fn step_of_rootfs(&mut self, step: &ChildStep) -> Result<()> {
        match step {
            ChildStep::RootPropagation { flags } => rootfs::set_propagation(self, *flags),
            ChildStep::OpenRoot { path } => rootfs::open_root(self, path),
            ChildStep::LocateRoot { path } => rootfs::locate_root(self, path),
            ChildStep::MakeDirectory { path } => rootfs::make_directory(self, path),
            ChildStep::ChangeMount { destination, params, attributes, recursive_attributes, propagation } => {
                mounts::change(self, destination, params, (attributes, recursive_attributes), propagation)
            }
            ChildStep::Mount(mount) => mounts::mount(self, mount),
            ChildStep::LateReadOnly { attributes, .. } => mounts::late_read_only(self, attributes),
            ChildStep::Device(device) => rootfs::device(self, device),
            ChildStep::OwnNull => rootfs::own_null(self),
            ChildStep::Symlink { target, path } => rootfs::symlink(self, target, path),
            ChildStep::Console { size, mount } => console::make(self, *size, *mount),
            ChildStep::Mask { path } => rootfs::mask(self, path),
            ChildStep::ReadOnlyPath { path } => rootfs::read_only_path(self, path),
            ChildStep::Sysctl { path, value } => process::sysctl(self, path, value),
            ChildStep::PivotRoot => rootfs::pivot(self),
            ChildStep::MoveRoot => rootfs::move_root(self),
            ChildStep::Chroot => rootfs::chroot(self),
            ChildStep::RootReadOnly => rootfs::make_read_only(self),
            ChildStep::ContainerPropagation { flags } => rootfs::container_propagation(self, *flags),
            _ => self.step_of_process(step),
        }
    }

    fn step_of_process(&mut self, step: &ChildStep) -> Result<()> {
        match step {
            ChildStep::SetRlimit { resource, soft, hard } => sys::setrlimit(*resource, *soft, *hard),
            ChildStep::Scheduler(attr) => sys::sched_setattr(attr),
            ChildStep::IoPriority(packed) => sys::ioprio_set(*packed),
            ChildStep::Affinity(mask) => sys::sched_setaffinity(mask),
            ChildStep::MemoryPolicy { mode, nodes } => sys::set_mempolicy(*mode, nodes),
            ChildStep::Personality(persona) => sys::personality(*persona),
            ChildStep::ExecLabel { file, label } => process::exec_label(self, file, label),
            ChildStep::ChownStdio { uid } => process::chown_stdio(self, *uid),
            ChildStep::Chdir { path, create } => process::chdir(self, path, *create),
            ChildStep::Bounding { keep } => sys::drop_bounding(*keep),
            ChildStep::SetIds { uid, gid, groups } => process::set_ids(*uid, *gid, groups.as_deref()),
            ChildStep::Capabilities { effective, permitted, inheritable, ambient } => {
                let sets =
                    sys::CapSets { effective: *effective, permitted: *permitted, inheritable: *inheritable };
                sys::capset(sets)?;
                sys::set_ambient(*ambient)
            }
            ChildStep::GiveUpSysAdmin { effective, permitted, inheritable } => sys::capset(sys::CapSets {
                effective: *effective,
                permitted: *permitted,
                inheritable: *inheritable,
            }),
            ChildStep::Umask(mask) => {
                sys::umask(*mask);
                Ok(())
            }
            ChildStep::NoNewPrivs => sys::set_no_new_privs(),
            ChildStep::Home { slot, uid } => process::home(self, *slot, *uid),
            ChildStep::PreserveFds { count } => process::preserve_fds(*count),
            // Every other variant has its arm in one of the two functions above.
            _ => Err(SysError { call: Call::Check, errno: libc::ENOSYS }),
        }
    }

    /// Closes the descriptors that lead to the host, as the last step before the program's path is looked up has used them: execve
    /// closes them, but not before it has followed the path, and that of the interpreter, which may go through `/proc/self/fd/N`
    /// (CVE-2024-21626).
    fn close_what_is_the_hosts(&self) {
        let steps = self.steps.iter().map(|planned| &planned.step);
        let preserved =
            steps.map(|s| if let ChildStep::PreserveFds { count } = s { *count } else { 0 }).max();
        let first = 3i32.saturating_add_unsigned(preserved.unwrap_or(0));
        for fd in self.keep {
            // Those by which it has entered its cgroups are closed, and their numbers may be others' by now.
            let kept = *fd == self.sync || Some(*fd) == self.listener || self.task_files.contains(fd);
            if fd.0 >= first && !kept {
                sys::close(*fd);
            }
        }
    }

    /// As [`hear`], and keeps the descriptors that come with the record.
    fn hear_with_passed(&mut self, socket: Fd) -> Result<FromParent> {
        let mut record = [0; SIZE];
        let n = sys::receive_fds(socket, &mut record, &mut self.state.passed)?;
        decode(record.get(..n))
    }

    /// Waits until the parent lets us past `gate`.
    fn wait(&mut self, gate: Gate) -> Result<()> {
        if gate == Gate::Hooks {
            protocol::send(self.sync, &FromChild::AtHooks.encode())?;
        }
        if self.state.opened & (1 << gate as u16) != 0 {
            return Ok(());
        }
        match self.hear_with_passed(self.sync) {
            Ok(FromParent::Go(g)) if g == gate => Ok(()),
            // The parent is gone or says what it must not: nobody is left to report to.
            _ => sys::exit(1),
        }
    }

    /// Tells that all is done, and waits to be started: over the pair, or over a connection to `start.sock`.
    fn ready(&mut self) -> Result<()> {
        protocol::send(self.sync, &FromChild::Ready.encode())?;
        let Some(listener) = self.listener else {
            return match hear(self.sync) {
                Ok(FromParent::Start) => Ok(()),
                _ => sys::exit(1),
            };
        };
        sys::close(self.sync);
        // From here on a step is observed by nobody.
        self.observe = Observe::No;
        loop {
            let connection = sys::accept(listener)?;
            if hear(connection) == Ok(FromParent::Start) {
                self.state.report = Some(connection);
                return Ok(());
            }
            // Somebody asked whether we still wait.
            sys::close(connection);
        }
    }
}

/// Opens the `tasks` file of a group, by its path on the host.
fn open_tasks(file: &CStr) -> Result<Fd> {
    sys::openat(Fd::CWD, file, libc::O_WRONLY, 0)
}

/// Enters a group by its `tasks` file.
fn enter_cgroup(tasks: Fd) -> Result<()> {
    sys::write(tasks, b"0")?;
    sys::close(tasks);
    Ok(())
}

/// Joins the namespaces `flags` of the process of a pidfd (Linux 5.8).
fn join_target(target: Fd, flags: i32) -> Result<()> {
    match sys::setns(target, flags) {
        // A namespace that belongs to the host's user namespace takes the rights we lose by entering the container's.
        Err(e) if e.errno == libc::EPERM && flags & libc::CLONE_NEWUSER != 0 => {
            sys::setns(target, flags & !libc::CLONE_NEWUSER)?;
            sys::setns(target, libc::CLONE_NEWUSER)
        }
        r => r,
    }
}

/// Reads the parent's next record; end of file and rubbish are errors.
fn hear(socket: Fd) -> Result<FromParent> {
    let mut record = [0; SIZE];
    let n = sys::read(socket, &mut record)?;
    decode(record.get(..n))
}

fn decode(record: Option<&[u8]>) -> Result<FromParent> {
    record.and_then(FromParent::decode).ok_or(SysError { call: Call::Read, errno: libc::EPROTO })
}
