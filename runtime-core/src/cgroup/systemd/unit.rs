//! The unit of a container.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bus::{Address, Bus, BusError};
use super::manager::Manager;
use super::value::Value;
use super::{annotations, names, properties as of_limits};
use crate::cgroup::error::CgroupError;
use crate::cgroup::layout::{HierarchyMount, Layout};
use crate::cgroup::limits::{Limit, Missing};
use crate::cgroup::place::{Group, Placement};
use crate::spec::Fault;

/// The unit of a container, as it is recorded before systemd is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// The slice it is in.
    pub slice: String,
    /// Where its manager is spoken to.
    pub address: Address,
    /// systemd has said that it runs: while its group is there, so is the unit, and not after.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
}

/// Works out the unit of the container `id`, and its groups.
///
/// # Errors
/// [`CgroupError::Path`] for a path of another form than `slice:prefix:name`, or with names that units cannot have.
pub fn place(
    layout: &Layout,
    manager: &Manager,
    cgroups_path: Option<&str>,
    id: &str,
    rootless: bool,
) -> Result<Placement, CgroupError> {
    let refuse = |reason: String| CgroupError::Path { path: cgroups_path.unwrap_or(id).to_owned(), reason };
    let names = names::parse(cgroups_path, id, manager.default_slice()).map_err(refuse)?;
    let inner = names::directories(&names);
    let mut groups = Vec::new();
    for hierarchy in layout.v1() {
        let root = manager.own.v1_path(&hierarchy.label).unwrap_or("/");
        groups.push(group(Some(hierarchy.label.clone()), &hierarchy.mount, root, &inner).map_err(refuse)?);
    }
    if let Some(mount) = layout.v2() {
        groups.push(group(None, mount, manager.own.v2.as_deref().unwrap_or("/"), &inner).map_err(refuse)?);
    }
    let unit =
        Unit { name: names.unit, slice: names.slice, address: manager.address.clone(), started: false };
    Ok(Placement { groups, rootless, explicit: true, unit: Some(unit), v2_made: false })
}

fn group(
    hierarchy: Option<String>,
    mount: &HierarchyMount,
    root: &str,
    inner: &[String],
) -> Result<Group, String> {
    let below = std::path::Path::new(root).strip_prefix(&mount.root).map_err(|_| {
        format!(
            "systemd's group {root} is not below {}, where {} of the hierarchy is mounted",
            mount.mount_point.display(),
            mount.root
        )
    })?;
    let mut path = mount.mount_point.clone();
    if !below.as_os_str().is_empty() {
        path.push(below);
    }
    let mut parents: Vec<PathBuf> = Vec::new();
    for part in inner {
        path.push(part);
        parents.push(path.clone());
    }
    parents.pop();
    // Where systemd keeps the slices, they are its to remove.
    if hierarchy.as_deref().is_none_or(is_kept_by_systemd) {
        parents.clear();
    }
    Ok(Group { hierarchy, mount_point: mount.mount_point.clone(), path, parents })
}

/// Whether systemd makes groups for its units in a hierarchy of version 1.
fn is_kept_by_systemd(label: &str) -> bool {
    const KEPT: [&str; 7] = ["name=systemd", "cpu", "cpuacct", "memory", "blkio", "pids", "devices"];
    label.split(',').any(|part| KEPT.contains(&part))
}

/// What the unit of a container is asked to be: what every scope of ours is, what stands for the limits and the `devices`, and at
/// last what annotations ask for.
///
/// # Errors
/// Everything that is wrong with the annotations.
pub fn properties(
    id: &str,
    slice: &str,
    limits: &[Limit],
    devices: Vec<(String, Value)>,
    annotated: Option<&HashMap<String, String>>,
) -> Result<Vec<(String, Value)>, Vec<Fault>> {
    let mut all: Vec<(String, Value)> = [
        ("Description", Value::text(format!("orlop container {id}"))),
        ("Slice", Value::text(slice)),
        // The container may have groups of its own below, and we write what systemd has no property for.
        ("Delegate", Value::Bool(true)),
        // Else it would be stopped before the engine that looks after it, when the machine goes down.
        ("DefaultDependencies", Value::Bool(false)),
        // A failed one, after the OOM killer say, goes as well: nobody would come to reset it.
        ("CollectMode", Value::text("inactive-or-failed")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    all.extend(of_limit_values(limits));
    all.extend(devices);
    for (name, value) in annotations::properties(annotated.into_iter().flatten())? {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    Ok(all)
}

fn of_limit_values(limits: &[Limit]) -> Vec<(String, Value)> {
    let writes = limits.iter().flat_map(|limit| &limit.writes);
    let values = writes.flat_map(|write| {
        // Of two files one is there; systemd has a property for one of the two at most.
        let other = match &write.missing {
            Missing::Instead { file, value } => Some((write.unified, file.as_str(), value.as_str())),
            _ => None,
        };
        [Some((write.unified, write.file.as_str(), write.value.as_str())), other].into_iter().flatten()
    });
    of_limits::of_values(values)
}

impl Placement {
    /// The unit, where systemd keeps the groups.
    #[must_use]
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Starts the unit with a process in it.  Nothing happens where systemd does not keep the groups.
    ///
    /// A unit of that name that has failed is forgotten and the name taken; one that is active is somebody's, and afterwards
    /// no longer recorded as ours.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`].
    pub fn start_unit(&mut self, pid: i32, properties: &[(String, Value)]) -> Result<(), CgroupError> {
        let Some(unit) = &mut self.unit else { return Ok(()) };
        let fail = |why| failure("start", &unit.name, why);
        let mut bus = Bus::open(&unit.address).map_err(|e| fail(e.to_string()))?;
        match start(&mut bus, unit, pid, properties.to_vec()) {
            Ok(()) => {
                unit.started = true;
                Ok(())
            }
            Err(StartError::Taken(why)) => {
                let error = fail(why);
                // To take down what is ours must not take down that.
                *self = Self::default();
                Err(error)
            }
            Err(StartError::Failed(why)) => Err(fail(why)),
        }
    }

    /// Changes the limits of the unit that systemd has properties for; the others, and the exact values, are for
    /// [`Placement::apply`].  Nothing happens where systemd does not keep the groups.
    ///
    /// # Errors
    /// [`CgroupError::Systemd`].
    pub fn set_unit(&self, limits: &[Limit]) -> Result<(), CgroupError> {
        let properties = of_limit_values(limits);
        let Some(unit) = self.unit.as_ref().filter(|_| !properties.is_empty()) else { return Ok(()) };
        let fail = |e: BusError| failure("change", &unit.name, e.to_string());
        let mut bus = Bus::open(&unit.address).map_err(fail)?;
        // Until the unit goes, which is for ever: scopes do not outlive the machine.
        let arguments = |properties: &[(String, Value)]| {
            [Value::text(unit.name.as_str()), Value::Bool(true), list(properties)]
        };
        with_known(properties, |properties| bus.call("SetUnitProperties", &arguments(properties)).map(drop))
            .map_err(fail)
    }

    /// Moves a process into the unit by way of its manager, which can what an ordinary user cannot: move processes between
    /// a login session and the user's units.
    pub(in crate::cgroup) fn attach_by_manager(&self, pid: i32) -> Result<(), CgroupError> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let fail = |e: BusError| failure("put a process into", &unit.name, e.to_string());
        let arguments = [Value::text(unit.name.as_str()), Value::text("/"), pids(pid)];
        let mut bus = Bus::open(&unit.address).map_err(fail)?;
        bus.call("AttachProcessesToUnit", &arguments).map(drop).map_err(fail)
    }

    /// Stops the unit, whose processes are gone; without a word to systemd if that has noticed by itself.
    pub(in crate::cgroup) fn stop_unit(&self) -> Result<(), CgroupError> {
        let Some(unit) = &self.unit else { return Ok(()) };
        if unit.started && !self.kept_group().is_some_and(|group| group.path.exists()) {
            return Ok(());
        }
        let fail = |why: String| failure("stop", &unit.name, why);
        let mut bus = Bus::open(&unit.address).map_err(|e| fail(e.to_string()))?;
        match bus.run("StopUnit", &[Value::text(unit.name.as_str()), Value::text("replace")]) {
            Ok(result) if result == "done" => Ok(()),
            Err(e) if e.is("NoSuchUnit") => Ok(()),
            Ok(result) => Err(fail(format!("its job ended with the result {result:?}"))),
            Err(e) => Err(fail(e.to_string())),
        }
    }

    /// The group that systemd removes when the unit ends.
    fn kept_group(&self) -> Option<&Group> {
        let named = |group: &&Group| group.hierarchy.as_deref() == Some("name=systemd");
        self.groups.iter().find(named).or_else(|| self.v2())
    }
}

enum StartError {
    /// The name belongs to a unit that is not ours.
    Taken(String),
    Failed(String),
}

fn start(
    bus: &mut Bus,
    unit: &Unit,
    pid: i32,
    mut properties: Vec<(String, Value)>,
) -> Result<(), StartError> {
    properties.push(("PIDs".to_owned(), pids(pid)));
    let arguments = |properties: &[(String, Value)]| {
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        [Value::text(unit.name.as_str()), Value::text("fail"), list(properties), none]
    };
    let ask = |bus: &mut Bus| {
        with_known(properties.clone(), |some| bus.run("StartTransientUnit", &arguments(some)))
    };
    let mut answer = ask(bus);
    if answer.as_ref().is_err_and(|e| e.is("UnitExists")) {
        // One that has failed keeps its name until somebody says that it may go.
        let _ = bus.call("ResetFailedUnit", &[Value::text(unit.name.as_str())]);
        answer = ask(bus);
    }
    match answer {
        Ok(result) if result == "done" => Ok(()),
        Ok(result) => Err(StartError::Failed(format!("its job ended with the result {result:?}"))),
        Err(e) if e.is("UnitExists") => Err(StartError::Taken(e.to_string())),
        // systemd does not say which; those of ours have the right ones.
        Err(e @ BusError::Answer { .. }) if e.to_string().ends_with("(System.Error.ENXIO)") => {
            Err(StartError::Failed(format!("{e}: an annotation org.systemd.property.* is of another type")))
        }
        Err(e) => Err(StartError::Failed(e.to_string())),
    }
}

/// Asks with all properties, and again without those of the limits that this systemd does not know: their files are written
/// by us anyway.
fn with_known<T>(
    mut properties: Vec<(String, Value)>,
    mut ask: impl FnMut(&[(String, Value)]) -> Result<T, BusError>,
) -> Result<T, BusError> {
    loop {
        let error = match ask(&properties) {
            Err(error @ BusError::Answer { .. }) => error,
            other => return other,
        };
        let BusError::Answer { name, text } = &error else { return Err(error) };
        let unknown = name == "org.freedesktop.DBus.Error.PropertyReadOnly";
        let named =
            |property: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == property);
        let newer =
            properties.iter().position(|(property, _)| NEWER.contains(&property.as_str()) && named(property));
        let Some(at) = newer.filter(|_| unknown) else { return Err(error) };
        let (property, _) = properties.remove(at);
        log::debug!("this systemd has no property {property}");
    }
}

/// The properties that a systemd of Linux 5.10's time (246) does not have, or that the last one no longer has, or that it takes
/// only when the unit starts (`OOMPolicy`; of scopes since 253).
const NEWER: [&str; 8] = [
    "OOMPolicy",
    "MemoryZSwapMax",
    "MemoryLimit",
    "CPUShares",
    "BlockIOWeight",
    "BlockIODeviceWeight",
    "BlockIOReadBandwidth",
    "BlockIOWriteBandwidth",
];

fn pids(pid: i32) -> Value {
    Value::Array("u".to_owned(), vec![Value::U32(pid.cast_unsigned())])
}

fn list(properties: &[(String, Value)]) -> Value {
    let pair = |(name, value): &(String, Value)| {
        Value::Struct(vec![Value::text(name.as_str()), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)".to_owned(), properties.iter().map(pair).collect())
}

fn failure(doing: &'static str, unit: &str, reason: String) -> CgroupError {
    CgroupError::Systemd { doing, unit: unit.to_owned(), reason }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
