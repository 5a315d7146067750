//! `process`: what is set before execve, in the order in which rights are given up.

use super::compiler::{Input, Report, Steps};
use super::path::{c_path, clean};
use super::program::{self, Environment};
use super::{
    ChildStep, HostFacts, Namespace, Program, c_string, capabilities, rlimits, rootfs, scheduling, seccomp,
};
use crate::seccomp::Filter;
use oci_spec::runtime::{LinuxCapabilities, Process};
use seccomp::Load;

/// umask(2) of a container that states none; the launcher's own must not matter.
const UMASK: u32 = 0o022;

/// What the steps of a process depend on besides the process itself: the same for a container's first one and for one that
/// is executed in it.
pub(super) struct Setting<'a> {
    pub(super) facts: &'a HostFacts,
    /// JSON path of the process.
    pub(super) at: &'a str,
    /// The process is in a user namespace, not the caller's.
    pub(super) user_namespace: bool,
    /// It became root in it, without supplementary groups.
    pub(super) groups_cleared: bool,
    /// setgroups(2) is denied there.
    pub(super) setgroups_denied: bool,
    /// Whether a missing working directory is made.
    pub(super) create_cwd: bool,
    /// Capabilities of a process that states none.
    pub(super) default_capabilities: Option<&'a LinuxCapabilities>,
    /// The container's filter.
    pub(super) seccomp: Option<&'a Filter>,
}

/// What a process needs of the mounts before the root changes.
pub(super) fn before_pivot(input: &Input<'_>, steps: &mut Steps) {
    let Some(process) = input.spec.process() else { return };
    console(process, input.namespaces.has(Namespace::Mount), "process", steps);
    let cwd = clean(process.cwd());
    // The root directory is always there.
    if rootfs::is_read_only(input) && cwd.parent().is_some() {
        steps.push(ChildStep::MakeDirectory { path: c_path(&cwd) }, "process.cwd");
    }
}

pub(super) fn console(process: &Process, mount: bool, at: &str, steps: &mut Steps) {
    if process.terminal() != Some(true) {
        return;
    }
    let cells = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    let size = process.console_size().map(|size| (cells(size.height()), cells(size.width())));
    steps.push(ChildStep::Console { size, mount }, format!("{at}.terminal"));
}

/// The last steps of a container's first process.
pub(super) fn compile(
    input: &Input<'_>,
    filter: Option<&Filter>,
    steps: &mut Steps,
    report: &mut Report,
) -> Program {
    let Some(process) = input.spec.process() else {
        report.fault("process", "required");
        return Program::default();
    };
    let setting = Setting {
        facts: input.facts,
        at: "process",
        user_namespace: input.namespaces.has(Namespace::User),
        groups_cleared: input.namespaces.becomes_root(),
        setgroups_denied: input.namespaces.setgroups_denied(),
        create_cwd: true,
        default_capabilities: None,
        seccomp: filter,
    };
    label(process, &setting, steps, report);
    scheduler(process, &setting, steps);
    if let Some(policy) = input.linux().and_then(|linux| linux.memory_policy().as_ref()) {
        let step = scheduling::memory_policy(policy, input.facts, report);
        steps.push(step, "linux.memoryPolicy");
    }
    if let Some(personality) = input.linux().and_then(|linux| linux.personality().as_ref()) {
        steps.push(ChildStep::Personality(scheduling::personality(personality)), "linux.personality");
    }
    let environment = program::environment(process, input, report);
    finish(process, &setting, environment, input.options, steps, report)
}

/// Everything from the limits to execve.
pub(super) fn finish(
    process: &Process,
    setting: &Setting<'_>,
    environment: Environment,
    options: &super::Options,
    steps: &mut Steps,
    report: &mut Report,
) -> Program {
    let at = setting.at;
    let user = process.user();
    if !rlimits::from_outside(setting.user_namespace, setting.facts) {
        for (limit, origin) in rlimits::limits(Some(process), at) {
            let rlimits::Limit { resource, soft, hard } = limit;
            steps.push(ChildStep::SetRlimit { resource, soft, hard }, origin);
        }
    }
    if user.uid() != 0 || setting.user_namespace {
        steps.push(ChildStep::ChownStdio { uid: user.uid() }, format!("{at}.user"));
    }
    let load = identity(process, setting, steps, report);
    steps.push(ChildStep::Umask(user.umask().unwrap_or(UMASK)), format!("{at}.user.umask"));
    if let Some(slot) = environment.home {
        steps.push(ChildStep::Home { slot, uid: user.uid() }, format!("{at}.env: HOME"));
    }
    if process.no_new_privileges() == Some(true) {
        steps.push(ChildStep::NoNewPrivs, format!("{at}.noNewPrivileges"));
    }
    let program = program::compile(process, environment);
    steps.push(ChildStep::FindExecutable, format!("{at}.args[0]"));
    if !options.no_ready {
        steps.push(ChildStep::Ready, "create ends here, start goes on");
    }
    let count = options.listen_fds.saturating_add(options.preserve_fds);
    if count > 0 {
        let origin = if options.listen_fds > 0 { "LISTEN_FDS" } else { "--preserve-fds" };
        steps.push(ChildStep::PreserveFds { count }, origin);
    }
    if let Some(load) = load {
        load.steps(steps);
    }
    steps.push(ChildStep::Execute, format!("{at}.args"));
    program
}

/// Working directory, capabilities and ids; returns how the filter is to be loaded after them.
fn identity<'a>(
    process: &Process,
    setting: &Setting<'a>,
    steps: &mut Steps,
    report: &mut Report,
) -> Option<Load<'a>> {
    let at = setting.at;
    let user = process.user();
    let path = c_path(&clean(process.cwd()));
    let chdir = |create| ChildStep::Chdir { path: path.clone(), create };
    steps.push(chdir(setting.create_cwd), format!("{at}.cwd"));
    let given = process.capabilities().as_ref().or(setting.default_capabilities);
    let sets = capabilities::compile(given, setting.user_namespace, setting.facts, at, report);
    steps.push(ChildStep::Bounding { keep: sets.bounding }, format!("{at}.capabilities.bounding"));
    let groups = groups(process, setting, report);
    steps.push(ChildStep::SetIds { uid: user.uid(), gid: user.gid(), groups }, format!("{at}.user"));
    let unprivileged = process.no_new_privileges() == Some(true);
    let (facts, in_user_ns) = (setting.facts, setting.user_namespace);
    let load = seccomp::load(setting.seccomp, unprivileged, in_user_ns, sets, facts, report);
    let before = load.as_ref().map_or(sets, |load| load.sets_before(sets));
    steps.push(before.step(), format!("{at}.capabilities"));
    if user.uid() != 0 {
        // A directory of the user's, on a file system that root may not enter (NFS, FUSE).
        steps.push(chdir(false), format!("{at}.cwd"));
    }
    load
}

/// The supplementary groups to set; `None` to leave them as they are.
fn groups(process: &Process, setting: &Setting<'_>, report: &mut Report) -> Option<Vec<u32>> {
    let given = process.user().additional_gids().clone().unwrap_or_default();
    if setting.setgroups_denied {
        if !given.is_empty() {
            report.fault(
                format!("{}.user.additionalGids", setting.at),
                "setgroups(2) is denied where an ordinary user maps nothing but the own group: map more groups, or give \
                 none",
            );
        }
        return None;
    }
    // In a user namespace that is joined the call may be denied; with nothing to set, it is not needed.
    (!given.is_empty() || !setting.groups_cleared).then_some(given)
}

/// The AppArmor profile, or the SELinux label.
pub(super) fn label(process: &Process, setting: &Setting<'_>, steps: &mut Steps, report: &mut Report) {
    let at = format!("{}.apparmorProfile", setting.at);
    match process.apparmor_profile().as_deref() {
        // What engines write for "none".
        Some("unconfined") if !setting.facts.apparmor => {}
        Some(_) if !setting.facts.apparmor => report.fault(at, "AppArmor is not enabled on this host"),
        Some(profile) => steps.push(rootfs::exec_label("apparmor/exec", &format!("exec {profile}")), at),
        None => {}
    }
    let at = format!("{}.selinuxLabel", setting.at);
    match process.selinux_label() {
        Some(_) if !setting.facts.selinux => report.fault(at, "SELinux is not enabled on this host"),
        Some(label) => steps.push(rootfs::exec_label("exec", label), at),
        None => {}
    }
}

/// Scheduling policy and I/O priority.
pub(super) fn scheduler(process: &Process, setting: &Setting<'_>, steps: &mut Steps) {
    let at = setting.at;
    if let Some(given) = process.scheduler() {
        steps.push(ChildStep::Scheduler(scheduling::scheduler(given)), format!("{at}.scheduler"));
    }
    if let Some(given) = process.io_priority() {
        let step = ChildStep::IoPriority(scheduling::io_priority(given));
        steps.push(step, format!("{at}.ioPriority"));
    }
}

/// A session keyring of the container's name, with the container's SELinux label: programs of that label may use no other's keys.
pub(super) fn keyring(
    id: &str,
    process: Option<&Process>,
    facts: &HostFacts,
    steps: &mut Steps,
    origin: &str,
) {
    if let Some(label) = process.and_then(|p| p.selinux_label().as_ref()).filter(|_| facts.selinux) {
        // In force until the next execve.
        steps.push(rootfs::exec_label("keycreate", label), "process.selinuxLabel");
    }
    steps.push(ChildStep::NewKeyring { name: c_string(&format!("_ses.{id}")) }, origin);
}
