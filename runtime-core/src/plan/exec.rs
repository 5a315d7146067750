//! `exec`: a further process in a container that runs.

use super::compiler::{PlanError, Report, Steps, planned};
use super::namespaces::join_order;
use super::process::{self, Setting};
use super::program::Environment;
use super::{
    ChildStep, CloneSpec, Gate, HostFacts, HostStep, Namespace, Options, Plan, Planned, host, rlimits,
    scheduling, seccomp,
};
use crate::seccomp::Filter;
use crate::state::SeccompListener;
use oci_spec::runtime::{LinuxCapabilities, Process};
use std::path::PathBuf;

/// The container that a process is executed in.
#[derive(Clone, Debug, Default)]
pub struct ExecTarget {
    /// The namespaces to join: those that the container does not share with us.  The plan's slot *n* is the *n*th of
    /// [`ExecTarget::slots`].
    pub namespaces: Vec<Namespace>,
    /// setgroups(2) is denied in its user namespace (`/proc/PID/setgroups`).
    pub setgroups_denied: bool,
    /// Capabilities of a process that states none: those of the container's own (`process.capabilities`).
    pub capabilities: Option<LinuxCapabilities>,
    /// The root file system on the host, where the container has no mount namespace of its own.
    pub root: Option<PathBuf>,
    /// Whether the process goes into the container's cgroups.
    pub cgroup: bool,
    /// Whether it goes into the container's groups of resctrl.
    pub intel_rdt: bool,
    /// No session keyring is made for the container (`--no-new-keyring`).
    pub no_new_keyring: bool,
    /// Its seccomp filter.
    pub seccomp: Option<Filter>,
    /// Who gets the listener of that.
    pub listener: Option<SeccompListener>,
}

impl ExecTarget {
    /// The namespaces in the order in which they are joined, which is that of the plan's slots.
    #[must_use]
    pub fn slots(&self) -> Vec<Namespace> {
        let mut kinds = self.namespaces.clone();
        kinds.sort_by_key(|kind| join_order(*kind));
        kinds.dedup();
        kinds
    }

    fn has(&self, kind: Namespace) -> bool {
        self.namespaces.contains(&kind)
    }
}

/// Compiles a process to the plan that executes it in a running container.
///
/// There are no [`HostStep::OpenNamespace`] steps: the caller fills the slots, of one pidfd.
///
/// # Errors
/// Everything that cannot be done on this host, at once.
pub fn compile_exec(
    process: &Process,
    container: &ExecTarget,
    facts: &HostFacts,
    options: &Options,
) -> Result<Plan, PlanError> {
    let mut report = Report::default();
    let mut steps = Steps::default();
    let slots = container.slots();
    let joins: Vec<(usize, Namespace)> = slots.iter().copied().enumerate().collect();
    enter(process, container, facts, options, &mut steps);
    let setting = Setting {
        facts,
        at: "process",
        user_namespace: container.has(Namespace::User),
        groups_cleared: container.has(Namespace::User),
        setgroups_denied: container.setgroups_denied,
        create_cwd: false,
        default_capabilities: container.capabilities.as_ref(),
        seccomp: container.seccomp.as_ref(),
    };
    process::label(process, &setting, &mut steps, &mut report);
    process::scheduler(process, &setting, &mut steps);
    let mut environment = Environment::of(process);
    environment.reserve_home();
    let outside = outside(process, container, facts);
    // The listener of its filter may come only when we can take it; and the caller sets a terminal that it was sent before the program
    // looks at it.
    let waits = !outside.is_empty() || container.listener.is_some() || process.terminal().unwrap_or(false);
    let options = Options { no_ready: !waits, ..options.clone() };
    let program = process::finish(process, &setting, environment, &options, &mut steps, &mut report);
    let affinity = process.exec_cpu_affinity().as_ref().and_then(|a| a.initial().as_deref());
    let plan = Plan {
        host: seccomp::check_step(container.listener.as_ref())
            .into_iter()
            .chain(host_steps(container, outside, waits, &steps))
            .collect(),
        clone: CloneSpec {
            stage: (!joins.is_empty()).then_some(joins),
            namespace_slots: slots.len(),
            into_cgroup: container.cgroup && affinity.is_none(),
            enters_later: false,
            initial_affinity: affinity.map(scheduling::cpus),
            hidden: true,
            ignored_signals: facts.ignored_signals,
            oom_score: process.oom_score_adj(),
            ..CloneSpec::default()
        },
        child: steps.0,
        program,
        hooks_later: Vec::new(),
        listener: container.listener.clone(),
        warnings: report.warnings,
    };
    if report.faults.is_empty() { Ok(plan) } else { Err(PlanError { faults: report.faults }) }
}

/// From the namespaces to the root directory of the container.
fn enter(process: &Process, container: &ExecTarget, facts: &HostFacts, options: &Options, steps: &mut Steps) {
    if container.intel_rdt {
        steps.push(ChildStep::Await(Gate::Cgroup), "the container's groups of resctrl");
    }
    let affinity = process.exec_cpu_affinity().as_ref();
    if let Some(list) = affinity.and_then(|a| a.cpu_affinity_final().as_deref()) {
        steps.push(scheduling::affinity(list), "process.execCPUAffinity.final");
    }
    if container.has(Namespace::User) {
        let clear_groups = !container.setgroups_denied;
        steps.push(ChildStep::BecomeRoot { clear_groups }, "the container's user namespace");
    }
    steps.push(ChildStep::NewSession, "every process that is executed has a session of its own");
    if !container.no_new_keyring {
        let origin = "the container's session keyring";
        process::keyring(&options.id, Some(process), facts, steps, origin);
    }
    if let Some(root) = &container.root {
        let path = super::path::c_path(root);
        steps.push(ChildStep::LocateRoot { path }, "root.path");
        steps.push(ChildStep::Chroot, "root.path");
    }
    process::console(process, false, "process", steps);
}

/// What only the parent may set, before the program runs.
fn outside(process: &Process, container: &ExecTarget, facts: &HostFacts) -> Vec<Planned<HostStep>> {
    let mut steps = Vec::new();
    if rlimits::from_outside(container.has(Namespace::User), facts) {
        for (limit, origin) in rlimits::limits(Some(process), "process") {
            let rlimits::Limit { resource, soft, hard } = limit;
            steps.push(planned(HostStep::SetRlimit { resource, soft, hard }, origin));
        }
    }
    steps
}

fn host_steps(
    container: &ExecTarget,
    outside: Vec<Planned<HostStep>>,
    waits: bool,
    child: &Steps,
) -> Vec<Planned<HostStep>> {
    let mut steps = vec![planned(HostStep::Clone, "the container's namespaces")];
    if container.intel_rdt {
        steps.push(planned(HostStep::JoinIntelRdt, "linux.intelRdt"));
    }
    host::release(child, Gate::Cgroup, &mut steps);
    steps.extend(outside);
    if waits {
        steps.push(planned(HostStep::AwaitReady, "all is done but execve"));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_in_the_order_of_joining() {
        let kinds =
            vec![Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Network, Namespace::Pid];
        let target = ExecTarget { namespaces: kinds, ..ExecTarget::default() };
        assert_eq!(target.slots(), [Namespace::Network, Namespace::Pid, Namespace::Mount, Namespace::User]);
    }
}
