//! The compiler's frame: what every concern works with, and the order in which they come.

use super::namespaces::Namespaces;
use super::{
    ChildStep, Gate, HostFacts, HostStep, Options, Plan, Planned, cgroups, devices, hooks, host, mounts,
    namespaces, process, rootfs, seccomp, sysctl,
};
pub(super) use crate::spec::Report;
use crate::spec::{Extras, Fault, Loaded};
use oci_spec::runtime::{Linux, Spec};
use std::fmt;

/// Why a configuration cannot become a plan on this host: all reasons at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// Never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} faults:", many.len())?;
                many.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
            }
        }
    }
}

impl std::error::Error for PlanError {}

impl Report {
    /// A fault that names the kernel version a feature needs, unless the kernel has it.
    pub(super) fn need_kernel(&mut self, facts: &HostFacts, version: (u32, u32), path: &str, what: &str) {
        if facts.kernel < version {
            let ((major, minor), (ours, our_minor)) = (version, facts.kernel);
            self.fault(path, format!("{what} needs Linux {major}.{minor}, and this is {ours}.{our_minor}"));
        }
    }
}

/// The steps of the child half, in the making.
#[derive(Debug, Default)]
pub(super) struct Steps(pub(super) Vec<Planned<ChildStep>>);

/// As many steps as a container of Docker's takes, with a few to spare.
const USUAL_STEPS: usize = 128;

impl Steps {
    pub(super) fn push(&mut self, step: ChildStep, origin: impl Into<String>) {
        self.0.push(Planned { step, origin: origin.into() });
    }
}

/// What is compiled, and what it is compiled for.
pub(super) struct Input<'a> {
    pub(super) spec: &'a Spec,
    pub(super) extras: &'a Extras,
    pub(super) facts: &'a HostFacts,
    pub(super) options: &'a Options,
    pub(super) namespaces: Namespaces,
}

impl Input<'_> {
    pub(super) fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }

    /// We have no right over the host: what needs one is left out, or done as an ordinary user can.
    pub(super) fn rootless(&self) -> bool {
        rootless(self.facts)
    }
}

pub(super) fn rootless(facts: &HostFacts) -> bool {
    facts.euid != 0 || !facts.privileged || facts.in_user_namespace
}

/// Compiles a configuration to the plan that makes its container on this host.
///
/// Pure: no system call is made, no file read (invariant I1).
///
/// # Errors
/// Everything that cannot be done on this host, or by this caller, at once.
pub fn compile(loaded: &Loaded, facts: &HostFacts, options: &Options) -> Result<Plan, PlanError> {
    let mut report = Report { warnings: loaded.warnings.clone(), ..Report::default() };
    let namespaces = namespaces::resolve(&loaded.spec, facts, &mut report);
    let input = Input { spec: &loaded.spec, extras: &loaded.extras, facts, options, namespaces };

    let profile = seccomp::compile(&input, &mut report);
    let groups = cgroups::compile(&input, &mut report);
    let mut steps = Steps(Vec::with_capacity(USUAL_STEPS));
    namespaces::child_steps(&input, &groups, &mut steps);
    rootfs::open(&input, &mut steps, &mut report);
    let mut mounted = mounts::compile(&input, &groups, &mut steps, &mut report);
    devices::compile(&input, &mut steps, &mut report);
    process::before_pivot(&input, &mut steps);
    mounts::late_read_only(&mut mounted, &mut steps, &mut report);
    finish_before_pivot(&input, &groups, &mut steps);
    rootfs::enter(&input, &mut steps);
    rootfs::settle(&input, &mut steps, &mut report);
    sysctl::compile(&input, &mut steps);
    rootfs::restrict(&input, &mut steps);
    rootfs::propagate(&input, &mut steps);
    let mut plan =
        Plan { clone: namespaces::clone_spec(&input, &groups, mounted.trees.len()), ..Plan::default() };
    plan.program = process::compile(&input, profile.filter.as_ref(), &mut steps, &mut report);
    plan.host = seccomp::check_step(profile.listener.as_ref()).into_iter().collect();
    plan.host.extend(host::compile(&input, &groups, mounted.trees, &steps, &mut report));
    plan.listener = profile.listener;
    plan.hooks_later = hooks::later(input.spec);
    plan.child = steps.0;
    plan.warnings = report.warnings;
    if report.faults.is_empty() { Ok(plan) } else { Err(PlanError { faults: report.faults }) }
}

/// What must be done before the root changes: the last waits, and what they let through.
fn finish_before_pivot(input: &Input<'_>, groups: &cgroups::Groups, steps: &mut Steps) {
    cgroups::await_group(input, groups, steps);
    if hooks::before_pivot(input.spec).next().is_some() {
        steps.push(ChildStep::Await(Gate::Hooks), "hooks");
    }
}

/// A step with its origin.
pub(super) fn planned(step: HostStep, origin: impl Into<String>) -> Planned<HostStep> {
    Planned { step, origin: origin.into() }
}
