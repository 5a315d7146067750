//! The order of the parent half.

use super::compiler::{Input, Report, Steps, planned};
use super::{ChildStep, Gate, HostStep, IntelRdt, Namespace, Planned, cgroups, hooks, namespaces, rlimits};
use oci_spec::runtime::{Linux, LinuxIntelRdt};

/// The steps of the parent half.
pub(super) fn compile(
    input: &Input<'_>,
    groups: &cgroups::Groups,
    trees: Vec<Planned<HostStep>>,
    child: &Steps,
    report: &mut Report,
) -> Vec<Planned<HostStep>> {
    let mut steps = vec![planned(HostStep::RecordIntent, "nothing is made that is not recorded before")];
    steps.extend(input.namespaces.open_steps());
    steps.extend(trees);
    if input.options.detach_start {
        steps.push(planned(HostStep::Listen, "start comes later"));
    }
    // Before the clone: the child starts in its group of version 2, and enters those of version 1 by itself.
    if groups.beside() {
        steps.extend(groups.create_unified());
    } else if groups.start_unit().is_none() {
        steps.extend(groups.create_steps());
    }
    steps.push(planned(HostStep::Clone, "linux.namespaces"));
    steps.push(planned(HostStep::RecordProcess, "nothing is made that is not recorded"));
    steps.extend(input.namespaces.write_step());
    steps.extend(outside(input));
    release(child, Gate::Maps, &mut steps);
    // A scope is of processes that are there; the child prepares its root meanwhile.
    if let Some(start) = groups.start_unit() {
        steps.push(planned(start, groups.origin()));
    }
    if groups.beside() || groups.start_unit().is_some() {
        steps.extend(groups.create_steps());
    }
    if groups.joins() {
        steps.push(planned(HostStep::JoinCgroup, groups.origin()));
    }
    if let Some(rdt) = input.linux().and_then(|linux| linux.intel_rdt().as_ref()) {
        steps.extend(intel_rdt(input, rdt, report));
    }
    let devices = net_devices(input.linux());
    if !devices.is_empty() && input.rootless() {
        report.fault("linux.netDevices", "network devices of the host can be moved by its root only");
    }
    for (host, container) in devices {
        let origin = format!("linux.netDevices.{host}");
        steps.push(planned(HostStep::MoveNetDevice { host, container }, origin));
    }
    release(child, Gate::Cgroup, &mut steps);
    steps.extend(groups.late_limit_steps());
    if hooks::before_pivot(input.spec).next().is_some() {
        steps.push(planned(HostStep::AwaitHooks, "hooks"));
        for (kind, hooks) in hooks::before_pivot(input.spec) {
            let origin = format!("hooks.{}", hooks::name(kind));
            steps.push(planned(HostStep::Hooks { kind, hooks }, origin));
        }
        release(child, Gate::Hooks, &mut steps);
    }
    steps.push(planned(HostStep::AwaitReady, "create ends when all is done but execve"));
    // With `run` the program is executed at once, and that is what is recorded.
    if input.options.detach_start {
        steps.push(planned(HostStep::RecordCreated, "create ends when all is done but execve"));
    }
    steps
}

/// What only the parent may set: it keeps its rights when the child enters a user namespace.
fn outside(input: &Input<'_>) -> Vec<Planned<HostStep>> {
    let mut steps = Vec::new();
    let process = input.spec.process().as_ref();
    if rlimits::from_outside(input.namespaces.has(Namespace::User), input.facts) {
        for (limit, origin) in rlimits::limits(process, "process") {
            let rlimits::Limit { resource, soft, hard } = limit;
            steps.push(planned(HostStep::SetRlimit { resource, soft, hard }, origin));
        }
    }
    let itself = namespaces::oom_score_of_itself(input).is_some();
    if let Some(value) = process.and_then(oci_spec::runtime::Process::oom_score_adj).filter(|_| !itself) {
        steps.push(planned(HostStep::SetOomScore { value }, "process.oomScoreAdj"));
    }
    steps
}

/// Lets the child past a gate, if it stops there.
pub(super) fn release(child: &Steps, gate: Gate, steps: &mut Vec<Planned<HostStep>>) {
    let waits = |s: &&Planned<ChildStep>| matches!(s.step, ChildStep::Await(g) if g == gate);
    if let Some(await_step) = child.0.iter().find(waits) {
        steps.push(planned(HostStep::Release(gate), await_step.origin.clone()));
    }
}

/// The network devices that are moved: name on the host, name in the container.
pub(super) fn net_devices(linux: Option<&Linux>) -> Vec<(String, String)> {
    let devices = linux.and_then(|linux| linux.net_devices().as_ref()).into_iter().flatten();
    let mut devices: Vec<(String, String)> = devices
        .map(|(host, device)| (host.clone(), device.name().clone().unwrap_or_else(|| host.clone())))
        .collect();
    devices.sort();
    devices
}

fn intel_rdt(input: &Input<'_>, rdt: &LinuxIntelRdt, report: &mut Report) -> Option<Planned<HostStep>> {
    if input.rootless() {
        report.fault("linux.intelRdt", "resctrl belongs to the host's root");
        return None;
    }
    let schemata = schemata(rdt);
    let monitoring = rdt.enable_monitoring().unwrap_or(false);
    let clos_given = rdt.clos_id().is_some();
    let clos_id = rdt.clos_id().clone().unwrap_or_else(|| input.options.id.clone());
    let step = HostStep::IntelRdt(IntelRdt {
        clos_id,
        container: input.options.id.clone(),
        clos_given,
        schemata,
        monitoring,
    });
    Some(planned(step, "linux.intelRdt"))
}

/// The lines for `schemata`: the kernel takes each resource once, and the list overrides the older properties.
fn schemata(rdt: &LinuxIntelRdt) -> Vec<String> {
    let list = rdt.schemata().as_deref().unwrap_or_default();
    let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let older = [rdt.l3_cache_schema(), rdt.mem_bw_schema()].into_iter().flatten();
    let overridden = |line: &&String| list.iter().any(|l| resource(l) == resource(line));
    older.filter(|line| !overridden(line)).chain(list).cloned().collect()
}
