//! The container's cgroups: where they go, when the process enters, and which devices it may use.

use super::compiler::{Input, Report, Steps, planned};
use super::path::c_path;
use super::{ChildStep, Gate, HostStep, Namespace, Planned, host, namespaces};
use crate::cgroup::systemd::{self, Systemd, Value};
use crate::cgroup::{self, Access, DEFAULT_DEVICES, DeviceKind, DeviceRule, Layout, Limit, Placement};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Mount};
use std::ffi::CString;
use std::path::Path;

/// What the compiler knows of the container's cgroups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Where they go; `None` where there is no hierarchy.
    pub(super) placement: Option<Placement>,
    /// The child starts inside.
    pub(super) into_cgroup: bool,
    /// The `tasks` files of the groups of version 1, where these are made while the child prepares its root.
    tasks: Vec<CString>,
    /// Device rules, ready.
    rules: Vec<DeviceRule>,
    limits: Vec<Limit>,
    /// To whom the group is given, and what asks for it.
    owner: Option<(u32, String)>,
    /// Of the unit, where systemd keeps the groups.
    properties: Vec<(String, Value)>,
    origin: &'static str,
}

/// Works out where the groups go.
pub(super) fn compile(input: &Input<'_>, report: &mut Report) -> Groups {
    let facts = input.facts;
    let given = input.linux().and_then(|linux| linux.cgroups_path().as_ref());
    let text = given.map(|path| path.to_string_lossy());
    let id = &input.options.id;
    let rootless = input.options.rootless_cgroups.unwrap_or_else(|| input.rootless());
    let placed = match &facts.systemd {
        _ if !input.options.systemd_cgroup => {
            cgroup::place(&facts.cgroups, &facts.own_cgroups, text.as_deref(), id, rootless)
        }
        Systemd::Found(manager) => systemd::place(&facts.cgroups, manager, text.as_deref(), id, rootless),
        Systemd::Absent(reason) => {
            report.fault("--systemd-cgroup", reason);
            return Groups::default();
        }
        Systemd::NotAsked => {
            report.fault("--systemd-cgroup", "where systemd is, was not looked for");
            return Groups::default();
        }
    };
    let placement = match placed {
        Ok(placement) => placement,
        Err(error) => {
            let text = error.to_string();
            let message = text.strip_prefix("linux.cgroupsPath: ").unwrap_or(&text);
            report.fault("linux.cgroupsPath", message);
            return Groups::default();
        }
    };
    let found = !placement.groups().is_empty();
    if !found && given.is_some() {
        report.warn("linux.cgroupsPath", "no cgroup hierarchy is mounted on this host: not followed");
    }
    let limits = limits(input, &placement, report);
    let rules = device_rules(input, found, report);
    Groups {
        // Without rights of root the group may not come to be, and the process then stays where it is: only joining can
        // tell.  systemd makes it around a process that is there.
        into_cgroup: found
            && matches!(facts.cgroups, Layout::V2(_))
            && !rootless
            && placement.unit().is_none(),
        tasks: if beside(input, &placement, rootless) { tasks(&placement) } else { Vec::new() },
        properties: unit_properties(input, &placement, &limits, &rules, report),
        limits,
        owner: owner(input),
        placement: found.then_some(placement),
        rules,
        origin: if given.is_some() { "linux.cgroupsPath" } else { "every container has cgroups of its own" },
    }
}

impl Groups {
    /// Makes the groups, says which devices may be used in them, and sets what must be set while they are empty.
    pub(super) fn create_steps(&self) -> Vec<Planned<HostStep>> {
        let Some(placement) = &self.placement else { return Vec::new() };
        let mut steps = vec![planned(HostStep::CreateCgroup { placement: placement.clone() }, self.origin)];
        if !self.rules.is_empty() {
            let rules = self.rules.clone();
            steps.push(planned(HostStep::CgroupDevices { rules }, "linux.resources.devices"));
        }
        if let Some((uid, origin)) = &self.owner {
            steps.push(planned(HostStep::GiveCgroup { uid: *uid }, origin.clone()));
        }
        steps.extend(self.limit_steps(true));
        steps
    }

    /// The groups of version 1 are made while the child is at work, which then enters them.
    pub(super) fn beside(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Makes the group into which the child is cloned, where the others are made beside it.
    pub(super) fn create_unified(&self) -> Option<Planned<HostStep>> {
        let unified = self.placement.as_ref().and_then(Placement::v2);
        unified.map(|_| planned(HostStep::CreateUnified, self.origin))
    }

    /// Sets the other limits, while the child prepares itself: a limit that is too low is then refused by the kernel, with the
    /// reason, where the process would be killed for it otherwise.
    pub(super) fn late_limit_steps(&self) -> impl Iterator<Item = Planned<HostStep>> {
        self.limit_steps(false)
    }

    fn limit_steps(&self, before_process: bool) -> impl Iterator<Item = Planned<HostStep>> {
        let limits = self.limits.iter().filter(move |limit| limit.before_process == before_process);
        limits.map(|limit| planned(HostStep::CgroupLimit(limit.clone()), limit.origin()))
    }

    /// Has systemd make what it keeps, where it does.
    pub(super) fn start_unit(&self) -> Option<HostStep> {
        let unit = self.placement.as_ref().and_then(Placement::unit);
        unit.map(|_| HostStep::StartUnit { properties: self.properties.clone() })
    }

    /// Whether the process must be moved.
    pub(super) fn joins(&self) -> bool {
        self.placement.is_some() && !self.into_cgroup
    }

    pub(super) fn origin(&self) -> &'static str {
        self.origin
    }
}

/// Waits for the parent's work on cgroups and network devices, once, and enters the new cgroup namespace: its root is the
/// group that the process is in at that moment.
pub(super) fn await_group(input: &Input<'_>, groups: &Groups, steps: &mut Steps) {
    let done = |s: &Planned<ChildStep>| {
        matches!(s.step, ChildStep::Await(Gate::Cgroup) | ChildStep::NewCgroupNamespace)
    };
    if steps.0.iter().any(done) {
        return;
    }
    if groups.joins() {
        steps.push(ChildStep::Await(Gate::Cgroup), groups.origin);
        if groups.beside() {
            steps.push(ChildStep::EnterCgroups { files: groups.tasks.clone() }, groups.origin);
        }
    } else if !host::net_devices(input.linux()).is_empty() {
        steps.push(ChildStep::Await(Gate::Cgroup), "linux.netDevices");
    }
    namespaces::new_cgroup_namespace(input, steps);
}

/// Whether the groups of version 1 can be made while the child prepares its root: to make nine or ten of them takes as long as that.
///
/// The child must find them by their paths on the host, with the rights that it takes to enter them: so not in a user namespace, and
/// not in the mount namespace of somebody else.
fn beside(input: &Input<'_>, placement: &Placement, rootless: bool) -> bool {
    let namespaces = &input.namespaces;
    placement.unit().is_none()
        && !rootless
        && !input.rootless()
        && !namespaces.has(Namespace::User)
        && !namespaces.needs_stage()
        && !namespaces.is_joined(Namespace::Mount)
}

fn tasks(placement: &Placement) -> Vec<CString> {
    let groups = placement.groups().iter().filter(|group| !group.is_v2());
    groups.map(|group| c_path(&group.path.join("tasks"))).collect()
}

/// To whom the group is given: config-linux.md, "Cgroup ownership".  Where it says "should not" it is not done, and not for
/// a user who is root of the host already.
fn owner(input: &Input<'_>) -> Option<(u32, String)> {
    let namespaces = &input.namespaces;
    let v2_alone = matches!(input.facts.cgroups, Layout::V2(_));
    if !v2_alone || !namespaces.is_new(Namespace::User) || !namespaces.is_new(Namespace::Cgroup) {
        return None;
    }
    let writable = |mount: &Mount| {
        let options = mount.options().as_deref().unwrap_or_default();
        mount.source().as_deref() == Some(Path::new("cgroup"))
            && mount.destination() == Path::new("/sys/fs/cgroup")
            && !options.iter().any(|option| option == "ro")
    };
    let index = input.spec.mounts().iter().flatten().position(writable)?;
    let inside = input.spec.process().as_ref()?.user().uid();
    let outside = namespaces.maps()?.uid.iter().find_map(|&(first, outside, count)| {
        inside.checked_sub(first).filter(|n| *n < count).map(|n| outside + n)
    })?;
    // An ordinary user can give nothing away, and has it.
    (outside != input.facts.euid && !input.rootless()).then(|| (outside, format!("mounts[{index}]")))
}

/// What the container's unit is asked to be, if it has one.
fn unit_properties(
    input: &Input<'_>,
    placement: &Placement,
    limits: &[Limit],
    rules: &[DeviceRule],
    report: &mut Report,
) -> Vec<(String, Value)> {
    let Some(unit) = placement.unit() else { return Vec::new() };
    let devices = if rules.is_empty() { Some(Vec::new()) } else { systemd::device_properties(rules) };
    // On version 2 our program stays, whatever systemd does.
    if devices.is_none() && placement.v1("devices").is_some() {
        let message = "systemd has no words for these rules: with the next change of the unit (an update, say) it permits all";
        report.warn("linux.resources.devices", message);
    }
    let annotations = input.spec.annotations().as_ref();
    let (id, devices) = (&input.options.id, devices.unwrap_or_default());
    systemd::properties(id, &unit.slice, limits, devices, annotations).unwrap_or_else(|faults| {
        report.faults.extend(faults);
        Vec::new()
    })
}

/// The limits of `linux.resources`.
fn limits(input: &Input<'_>, placement: &Placement, report: &mut Report) -> Vec<Limit> {
    let Some(resources) = input.linux().and_then(|linux| linux.resources().as_ref()) else {
        return Vec::new();
    };
    match cgroup::compile_limits(resources, &input.extras.hugepage_limits, placement) {
        Ok(limits) => {
            limits.warnings.iter().for_each(|warning| report.warn(&warning.path, &warning.message));
            limits.limits
        }
        Err(faults) => {
            report.faults.extend(faults);
            Vec::new()
        }
    }
}

/// The rules of the configuration, and after them what every container may use.
///
/// Without a rule of the configuration, version 1 leaves everything allowed that is allowed above; version 2, where a group
/// has no program unless one is loaded, gets what runc loads there: the defaults alone.
fn device_rules(input: &Input<'_>, found: bool, report: &mut Report) -> Vec<DeviceRule> {
    let resources = input.linux().and_then(|linux| linux.resources().as_ref());
    let given = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
    if input.rootless() {
        // Nobody without rights over the host can make a device node, or open one that is not open to all.
        return Vec::new();
    }
    if !found {
        if given.iter().any(|rule| !rule.allow()) {
            report
                .warn("linux.resources.devices", "no cgroup hierarchy is mounted on this host: not applied");
        }
        return Vec::new();
    }
    if given.is_empty() && !matches!(input.facts.cgroups, Layout::V2(_)) {
        return Vec::new();
    }
    given.iter().map(rule).chain(DEFAULT_DEVICES.iter().copied()).collect()
}

fn rule(given: &LinuxDeviceCgroup) -> DeviceRule {
    let kind = match given.typ() {
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        _ => DeviceKind::All,
    };
    // -1 is how engines write "all".
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let access = given.access().as_deref().filter(|access| !access.is_empty());
    DeviceRule {
        allow: given.allow(),
        kind,
        major: number(given.major()),
        minor: number(given.minor()),
        // The loader refuses other letters than these three.
        access: access.and_then(Access::parse).unwrap_or(Access::ALL),
    }
}
