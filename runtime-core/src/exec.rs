//! Another process in a container that runs: `exec`.
//!
//! One clone of the caller joins the container's namespaces by its pidfd and makes the process as its sibling; nothing is
//! re-executed, and nothing is sent between processes but records.

use crate::cgroup::SubGroup;
use crate::container::{Container, open_init, status_of_live};
use crate::error::{Error, ErrorKind};
use crate::host;
use crate::launch::Observe;
use crate::launch::inputs::{Inputs, Observer};
use crate::launch::listener::Agent;
use crate::launch::parent::launch;
use crate::plan::{self, ExecTarget, Namespace, Options};
use crate::process::Process;
use crate::runtime::{Runtime, StepObserver, check_console, check_preserved};
use crate::seccomp::Filter;
use crate::spec;
use crate::state::{ContainerDir, State};
use crate::status::Status;
use crate::sys::{Call, SysError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use oci_spec::runtime::{self as oci, Capability, LinuxCapabilities, LinuxNamespaceType};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What [`Container::exec`] runs, and how.
///
/// What is left out is taken from the container's own process (`process` of its configuration).
#[derive(Default)]
pub struct ExecOptions {
    /// The whole process, in the form of config.json's `process` ([`crate::spec::load_process`]); everything down to
    /// `capabilities` then is ignored.  What it does not state of capabilities, limits, labels, `noNewPrivileges`, scheduling and
    /// the OOM score is the container's.
    pub process: Option<oci::Process>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// Added to the environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// With a terminal.
    pub terminal: bool,
    /// User, and group when given.
    pub user: Option<(u32, Option<u32>)>,
    /// Added supplementary groups.
    pub additional_gids: Vec<u32>,
    /// SELinux label.
    pub selinux_label: Option<String>,
    /// AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// no_new_privs; cannot be taken away from a container that has it.
    pub no_new_privileges: bool,
    /// Capabilities added to the bounding, effective and permitted sets.
    pub capabilities: Vec<Capability>,
    /// Gets the master of the pseudoterminal: with a terminal, and then always.
    pub console_socket: Option<OwnedFd>,
    /// Stdin, stdout and stderr; the caller's when `None`.
    pub stdio: Option<[OwnedFd; 3]>,
    /// Pass descriptors 3 to 3+n-1 on.
    pub preserve_fds: u32,
    /// Groups below the container's to run in, instead of its own.
    pub cgroups: Vec<SubGroup>,
    /// Also in a paused container (where the process will wait for resume).
    pub ignore_paused: bool,
    /// How much the observer hears.
    pub observe: Observe,
    /// Hears of each step.
    pub observer: Option<StepObserver>,
}

impl std::fmt::Debug for ExecOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecOptions")
            .field("args", &self.args)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Runs a process in the container.  It is a child of the caller.
    ///
    /// # Errors
    /// When the container does not run, the program cannot be executed, or the kernel refuses a step.
    pub fn exec(&self, options: ExecOptions) -> Result<Process, Error> {
        let (dir, state) = self.read()?;
        exec(&dir, &state, options)
    }
}

impl Runtime {
    /// Runs a process in the container `id`; what [`Runtime::open`] and [`Container::exec`] do, with one look at the record.
    ///
    /// # Errors
    /// As for these.
    pub fn exec(&self, id: &str, options: ExecOptions) -> Result<Process, Error> {
        let (dir, state) = crate::container::read(self.root(), id)?;
        exec(&dir, &state, options)
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::NotRunning, "cannot exec in a stopped container")
}

fn exec(dir: &ContainerDir, state: &State, mut options: ExecOptions) -> Result<Process, Error> {
    let init = open_init(state)?.ok_or_else(stopped)?;
    match status_of_live(dir, state)? {
        Status::Paused if !options.ignore_paused => {
            let message = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        Status::Creating => {
            return Err(Error::new(
                ErrorKind::InvalidState,
                "cannot exec in a container that is being created",
            ));
        }
        _ => {}
    }
    let result = launch_in(dir, state, &init, &mut options);
    // It ended meanwhile: that is the reason, and what was seen of it (a namespace without processes, a cgroup that is gone) is not.
    result.map_err(|error| match error.kind() {
        ErrorKind::Launch | ErrorKind::Host if has_left(&error) || has_ended(&init) => stopped(),
        _ => error,
    })
}

/// Whether there was nobody to join: a process that ends gives its namespaces up first.  Until those in its pid namespace are
/// reaped, whoever has to do that, it may stay so for long.
fn has_left(error: &Error) -> bool {
    error.call() == Some(SysError { call: Call::Setns, errno: libc::ESRCH })
}

/// Whether a process has ended, or is about to: it leaves its namespaces (and setns finds none) some moments before its pidfd tells of
/// the end.
fn has_ended(init: &OwnedFd) -> bool {
    const MOMENTS_MS: u8 = 20;
    let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(MOMENTS_MS)) == Ok(1)
}

fn launch_in(
    dir: &ContainerDir,
    state: &State,
    init: &OwnedFd,
    options: &mut ExecOptions,
) -> Result<Process, Error> {
    let process = merge(state, options)?;
    spec::check_process(&process)?;
    check_console(process.terminal().unwrap_or(false), options.console_socket.is_some())?;
    check_preserved(options.preserve_fds)?;
    let facts = host::gather_for(&process)?;
    let plan_options = Options {
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        no_new_keyring: state.exec.no_new_keyring,
        preserve_fds: options.preserve_fds,
        ..Options::default()
    };
    let mut target = target_of(state);
    confine(dir, state, &mut target)?;
    let plan = plan::compile_exec(&process, &target, &facts, &plan_options)?;
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    let cgroup = state.cgroup.as_ref().map(|placement| placement.below(&options.cgroups)).transpose()?;
    let mut observer = options.observer.take();
    let inputs = Inputs {
        console_socket: options.console_socket.as_ref().map(AsFd::as_fd),
        stdio: options.stdio.as_ref().map(|fds| fds.each_ref().map(AsFd::as_fd)),
        preserve_fds: options.preserve_fds,
        observe: options.observe,
        start_at_once: false,
        observer: observer.as_mut().map(|o| &mut **o as &mut Observer<'_>),
        target: Some(init.as_fd()),
        cgroup,
        // A group that was asked for is that group or none.
        init: state.pid.filter(|_| options.cgroups.is_empty()),
        intel_rdt: state.intel_rdt.clone(),
    };
    let mut launched = launch(&plan, None, inputs)?;
    if let Some(listener) = &plan.listener {
        let agent = Agent::connect(listener, state, Status::Running, launched.child.pid);
        launched.agent = Some(agent.inspect_err(|_| launched.end())?);
    }
    let observer = observer.as_mut().map(|o| &mut **o as &mut Observer<'_>);
    launched.start(&plan, None, observer, options.observe == Observe::Lockstep).map(Process::new)
}

/// The process to run: the caller's own, completed from the container's where that has what a process does not go without; or the
/// container's with what the caller changes.
fn merge(state: &State, options: &mut ExecOptions) -> Result<oci::Process, Error> {
    if let Some(process) = options.process.take() {
        return Ok(complete(process, state.exec.process.as_ref()));
    }
    let mut process = state.exec.process.clone().unwrap_or_default();
    if options.args.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "process args cannot be empty"));
    }
    process.set_args(Some(std::mem::take(&mut options.args)));
    process.set_terminal(Some(options.terminal));
    if let Some(cwd) = options.cwd.take() {
        process.set_cwd(cwd);
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.append(&mut options.env);
    process.set_env(Some(env));
    set_user(&mut process, options);
    if let Some(label) = options.selinux_label.take() {
        process.set_selinux_label(Some(label));
    }
    if let Some(profile) = options.apparmor_profile.take() {
        process.set_apparmor_profile(Some(profile));
    }
    if options.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    add_capabilities(&mut process, &options.capabilities);
    Ok(process)
}

fn set_user(process: &mut oci::Process, options: &mut ExecOptions) {
    let mut user = process.user().clone();
    if let Some((uid, gid)) = options.user {
        user.set_uid(uid);
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    groups.append(&mut options.additional_gids);
    user.set_additional_gids((!groups.is_empty()).then_some(groups));
    process.set_user(user);
}

/// What confines the container, where the process says nothing of it: capabilities are the plan's to complete.
fn complete(mut process: oci::Process, container: Option<&oci::Process>) -> oci::Process {
    let Some(container) = container else { return process };
    macro_rules! default_to {
        ($($get:ident $set:ident),*) => {
            $(if process.$get().is_none() {
                process.$set(container.$get().clone());
            })*
        };
    }
    default_to!(
        rlimits set_rlimits,
        apparmor_profile set_apparmor_profile,
        selinux_label set_selinux_label,
        no_new_privileges set_no_new_privileges,
        oom_score_adj set_oom_score_adj,
        scheduler set_scheduler,
        io_priority set_io_priority,
        exec_cpu_affinity set_exec_cpu_affinity
    );
    process
}

fn add_capabilities(process: &mut oci::Process, added: &[Capability]) {
    if added.is_empty() {
        return;
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        for set in [LinuxCapabilities::set_bounding, LinuxCapabilities::set_effective] {
            set(&mut none, None);
        }
        none.set_permitted(None).set_inheritable(None).set_ambient(None);
        none
    });
    let with = |set: &Option<oci::Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added.iter().copied());
        Some(set)
    };
    let (bounding, effective, permitted) =
        (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(sets));
}

fn target_of(state: &State) -> ExecTarget {
    let namespaces: Vec<Namespace> = state.exec.namespaces.iter().filter_map(|n| kind_of(n.typ())).collect();
    let denied = || {
        let path = format!("/proc/{}/setgroups", state.pid.unwrap_or(0));
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "deny")
    };
    ExecTarget {
        setgroups_denied: namespaces.contains(&Namespace::User) && denied(),
        root: (!namespaces.contains(&Namespace::Mount)).then(|| state.rootfs.clone()),
        capabilities: state.exec.process.as_ref().and_then(|p| p.capabilities().clone()),
        cgroup: state.cgroup.is_some(),
        intel_rdt: state.intel_rdt.is_some(),
        no_new_keyring: state.exec.no_new_keyring,
        namespaces,
        ..ExecTarget::default()
    }
}

/// The container's seccomp filter, as it was compiled when the container was made.
fn confine(dir: &ContainerDir, state: &State, target: &mut ExecTarget) -> Result<(), Error> {
    let Some(seccomp) = &state.exec.seccomp else { return Ok(()) };
    let program = dir.load_filter()?;
    let filter = Filter { program, flags: seccomp.flags, warnings: Vec::new(), unknown: Vec::new() };
    target.seccomp = Some(filter);
    target.listener.clone_from(&seccomp.listener);
    Ok(())
}

fn kind_of(given: LinuxNamespaceType) -> Option<Namespace> {
    Some(match given {
        LinuxNamespaceType::User => Namespace::User,
        LinuxNamespaceType::Pid => Namespace::Pid,
        LinuxNamespaceType::Mount => Namespace::Mount,
        LinuxNamespaceType::Network => Namespace::Network,
        LinuxNamespaceType::Uts => Namespace::Uts,
        LinuxNamespaceType::Ipc => Namespace::Ipc,
        LinuxNamespaceType::Cgroup => Namespace::Cgroup,
        LinuxNamespaceType::Time => Namespace::Time,
    })
}
