//! Changing the limits of a container that runs.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use serde_json::Value;

use super::{Container, status_of};
use crate::cgroup::compile_limits;
use crate::error::{Error, ErrorKind};
use crate::launch::rdt::{self, RdtStats, Schemata};
use crate::spec::{SpecError, check_resources};
use crate::state::{ContainerDir, State};
use crate::status::Status;

/// What [`Container::update_with`] changes.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Resources; what is not given stays as it is.  As in every runtime a 0 is "not given" where it would mean nothing, and an
    /// empty list of processors too.
    pub resources: LinuxResources,
    /// Limits of huge pages above `i64::MAX`, by index ([`crate::spec::LoadedResources`]).
    pub hugepage_limits: BTreeMap<usize, u64>,
    /// Which parts of the L3 cache may be filled, as a line of resctrl's `schemata`.
    pub l3_cache_schema: Option<String>,
    /// The share of the memory bandwidth, as a line of resctrl's `schemata`.
    pub mem_bw_schema: Option<String>,
}

impl Container {
    /// Changes limits while it runs.
    ///
    /// # Errors
    /// As for [`Container::update_with`].
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        self.update_with(&Update { resources: resources.clone(), ..Update::default() })
    }

    /// Changes limits while it runs: all of them, or none.
    ///
    /// # Errors
    /// When it does not run, a value cannot be right, or the kernel refuses one.  What was changed before that is set back.
    pub fn update_with(&self, update: &Update) -> Result<(), Error> {
        check_resources(&update.resources)?;
        let (dir, mut state) = self.lock()?;
        if matches!(status_of(&dir, &state)?, Status::Stopped | Status::Creating) {
            return Err(self.not_running());
        }
        let given = given(&update.resources)?;
        let merged = merged(&state.resources, &given)?;
        let resources = completed(&given, &merged);
        check_resources(&merged)?;
        same_devices(&update.resources, &state.resources)?;
        let undo = update_rdt(&dir, &mut state, update)?;
        if let Err(error) = apply(&state, &resources, &update.hugepage_limits) {
            if let Some((group, before)) = undo
                && let Err(error) = rdt::write(&group, &before)
            {
                log::warn!("cannot set back what the update has changed: {error}");
            }
            return Err(error);
        }
        state.resources = Some(merged);
        Ok(dir.save(&state)?)
    }

    /// What it uses of caches and memory bandwidth; `None` for a container without `linux.intelRdt`.
    ///
    /// # Errors
    /// When resctrl cannot be read.
    pub fn rdt_stats(&self) -> Result<Option<RdtStats>, Error> {
        let (_, state) = self.read()?;
        let stats = state.intel_rdt.as_ref().map(rdt::stats).transpose();
        stats.map_err(|error| Error::because(ErrorKind::Host, "", error))
    }
}

/// Puts limits into effect.
fn apply(state: &State, resources: &LinuxResources, large: &BTreeMap<usize, u64>) -> Result<(), Error> {
    let placement = state.cgroup.clone().unwrap_or_default();
    let limits = compile_limits(resources, large, &placement).map_err(|faults| {
        if placement.groups().is_empty() {
            let message = "cannot update: the container has no cgroup of its own that could have limits";
            return Error::new(ErrorKind::InvalidState, message);
        }
        SpecError::new(faults).of_resources().into()
    })?;
    for warning in &limits.warnings {
        log::warn!("{warning}");
    }
    Ok(placement.update(&limits)?)
}

fn json(resources: &LinuxResources) -> Result<Value, Error> {
    serde_json::to_value(resources)
        .map_err(|error| Error::because(ErrorKind::Host, "resources as JSON", error))
}

fn typed(value: Value) -> Result<LinuxResources, Error> {
    serde_json::from_value(value)
        .map_err(|error| Error::because(ErrorKind::Host, "resources from JSON", error))
}

/// Zeros that mean "not given", by their places.
const NOT_GIVEN: [(&str, &str); 9] = [
    ("memory", "limit"),
    ("memory", "swap"),
    ("memory", "reservation"),
    ("cpu", "shares"),
    ("cpu", "quota"),
    ("cpu", "period"),
    ("cpu", "realtimePeriod"),
    ("cpu", "realtimeRuntime"),
    ("blockIO", "weight"),
];

/// The resources that an update gives, without those that stand there for nothing, and without device rules.
fn given(resources: &LinuxResources) -> Result<LinuxResources, Error> {
    let mut value = json(resources)?;
    for (section, key) in NOT_GIVEN {
        if let Some(section) = value.get_mut(section).and_then(Value::as_object_mut)
            && section.get(key).and_then(Value::as_i64) == Some(0)
        {
            section.remove(key);
        }
    }
    for key in ["cpus", "mems"] {
        if let Some(cpu) = value.get_mut("cpu").and_then(Value::as_object_mut)
            && cpu.get(key).and_then(Value::as_str) == Some("")
        {
            cpu.remove(key);
        }
    }
    if let Some(all) = value.as_object_mut() {
        all.remove("devices");
    }
    typed(value)
}

/// What is in effect after the update.
fn merged(before: &Option<LinuxResources>, given: &LinuxResources) -> Result<LinuxResources, Error> {
    let mut all = json(&before.clone().unwrap_or_default())?;
    merge(&mut all, json(given)?);
    let mut all = typed(all)?;
    // Without a limit to memory there is none to memory and swap together, unless that is asked for.
    let asked = given.memory().map(|memory| (memory.limit(), memory.swap()));
    if let (Some((Some(..=-1), None)), Some(memory)) = (asked, all.memory_mut()) {
        memory.set_swap(Some(-1));
    }
    Ok(all)
}

/// Objects key by key; lists of things with a name, thing by thing; all else is replaced.
fn merge(into: &mut Value, new: Value) {
    match (into, new) {
        (Value::Object(into), Value::Object(new)) => {
            for (key, value) in new {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(new)) => {
            for value in new {
                match into
                    .iter_mut()
                    .find(|other| name_of(other).is_some() && name_of(other) == name_of(&value))
                {
                    Some(other) => merge(other, value),
                    None => into.push(value),
                }
            }
        }
        (into, new) => *into = new,
    }
}

/// What tells the entries of a list apart: a page size, an interface, a device.
fn name_of(value: &Value) -> Option<(&Value, Option<&Value>)> {
    let key = ["pageSize", "name", "major"].into_iter().find_map(|key| value.get(key))?;
    Some((key, value.get("minor")))
}

/// What is given, and beside it what is in effect already where two values are one file, or are reckoned from each other.
fn completed(given: &LinuxResources, merged: &LinuxResources) -> LinuxResources {
    let mut all = given.clone();
    if let (Some(cpu), Some(merged)) = (all.cpu_mut(), merged.cpu()) {
        complete_cpu(cpu, merged);
    }
    if let (Some(memory), Some(merged)) = (all.memory_mut(), merged.memory()) {
        complete_memory(memory, merged);
    }
    all
}

fn complete_cpu(cpu: &mut LinuxCpu, merged: &LinuxCpu) {
    if cpu.quota().is_some() || cpu.period().is_some() {
        cpu.set_quota(merged.quota()).set_period(merged.period());
    }
    // A group that stops being idle has the usual weight again, whatever it had before; and an idle one has none.
    if cpu.idle().is_some() || cpu.shares().is_some() {
        cpu.set_idle(merged.idle()).set_shares(merged.shares());
    }
}

fn complete_memory(memory: &mut LinuxMemory, merged: &LinuxMemory) {
    if memory.limit().is_some() || memory.swap().is_some() {
        memory.set_limit(merged.limit()).set_swap(merged.swap());
        memory.set_check_before_update(merged.check_before_update());
    }
}

/// Device rules are set when the container is made.  Engines that send all of its resources send them too, unchanged.
fn same_devices(given: &LinuxResources, recorded: &Option<LinuxResources>) -> Result<(), Error> {
    let recorded = recorded.as_ref().and_then(|resources| resources.devices().clone());
    match given.devices() {
        Some(rules) if !rules.is_empty() && recorded.as_ref() != Some(rules) => {
            let message = "linux.resources.devices: update cannot change which devices may be used";
            Err(Error::new(ErrorKind::InvalidConfig, message))
        }
        _ => Ok(()),
    }
}

type Undo = Option<(crate::state::IntelRdt, Vec<String>)>;

/// Changes the class of service; returns what it was.
fn update_rdt(dir: &ContainerDir, state: &mut State, update: &Update) -> Result<Undo, Error> {
    let wanted =
        Schemata { l3: update.l3_cache_schema.as_deref(), bandwidth: update.mem_bw_schema.as_deref() };
    if wanted.is_empty() {
        return Ok(None);
    }
    let failed = |error| Error::because(ErrorKind::InvalidConfig, "", error);
    rdt::check(&wanted).map_err(failed)?;
    if let Some(group) = &state.intel_rdt {
        let before = rdt::schemata_now(group, &wanted).map_err(failed)?;
        rdt::write(group, &wanted.lines()).map_err(failed)?;
        return Ok(Some((group.clone(), before)));
    }
    // The container gets a class of its own now, recorded before it is made.
    let plan = wanted.class_of(dir.id());
    state.intel_rdt = rdt::intent(&plan).map_err(failed)?;
    dir.save(state)?;
    rdt::apply(&plan, state.pid.unwrap_or(0)).map_err(failed)?;
    if let (Some(group), Some(cgroup)) = (&state.intel_rdt, &state.cgroup) {
        rdt::enter_all(group, || cgroup.procs(true).unwrap_or_default()).map_err(failed)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as j;

    fn after(before: Value, new: Value) -> (Value, Value) {
        let given = given(&typed(new).unwrap()).unwrap();
        let merged = merged(&Some(typed(before).unwrap()), &given).unwrap();
        (json(&merged).unwrap(), json(&completed(&given, &merged)).unwrap())
    }

    #[test]
    fn what_is_not_given_stays() {
        let before = j!({ "memory": { "limit": 10, "reservation": 5 }, "pids": { "limit": 7 }, "cpu": { "cpus": "0" } });
        let (merged, completed) = after(
            before,
            j!({ "memory": { "limit": 0, "reservation": 6 }, "cpu": { "cpus": "", "quota": 0 } }),
        );
        assert_eq!(
            merged,
            j!({ "memory": { "limit": 10, "reservation": 6 }, "pids": { "limit": 7 }, "cpu": { "cpus": "0" } })
        );
        assert_eq!(completed, j!({ "memory": { "reservation": 6 }, "cpu": {} }));
    }

    #[test]
    fn values_that_belong_together_are_completed() {
        let before = j!({ "memory": { "limit": 10, "swap": 20 }, "cpu": { "period": 100, "quota": 50, "shares": 7, "idle": 1 } });
        let (_, completed) = after(before.clone(), j!({ "memory": { "limit": 12 }, "cpu": { "quota": 60 } }));
        assert_eq!(
            completed,
            j!({ "memory": { "limit": 12, "swap": 20 }, "cpu": { "period": 100, "quota": 60 } })
        );
        let (_, completed) = after(before.clone(), j!({ "cpu": { "idle": 0 } }));
        assert_eq!(completed, j!({ "cpu": { "shares": 7, "idle": 0 } }));
        let (merged, completed) = after(before, j!({ "memory": { "limit": -1 } }));
        assert_eq!(completed, j!({ "memory": { "limit": -1, "swap": -1 } }));
        assert_eq!(merged["memory"], completed["memory"]);
    }

    #[test]
    fn lists_are_merged_by_name() {
        let before = j!({
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 1 }, { "pageSize": "1GB", "limit": 2 }],
            "blockIO": { "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 5 }] },
            "unified": { "memory.high": "1" }
        });
        let new = j!({
            "hugepageLimits": [{ "pageSize": "2MB", "limit": 9 }],
            "blockIO": { "throttleReadBpsDevice": [{ "major": 8, "minor": 16, "rate": 6 }] },
            "unified": { "memory.low": "2" }
        });
        let (merged, completed) = after(before, new.clone());
        assert_eq!(completed, new);
        assert_eq!(
            merged["hugepageLimits"],
            j!([{ "pageSize": "2MB", "limit": 9 }, { "pageSize": "1GB", "limit": 2 }])
        );
        assert_eq!(merged["blockIO"]["throttleReadBpsDevice"].as_array().unwrap().len(), 2);
        assert_eq!(merged["unified"], j!({ "memory.high": "1", "memory.low": "2" }));
    }

    #[test]
    fn device_rules_may_be_repeated_and_not_changed() {
        let rules = |access: &str| typed(j!({ "devices": [{ "allow": false, "access": access }] })).unwrap();
        let before = Some(rules("rwm"));
        same_devices(&rules("rwm"), &before).unwrap();
        same_devices(&typed(j!({ "devices": [] })).unwrap(), &None).unwrap();
        assert!(same_devices(&rules("rw"), &before).is_err());
        assert!(same_devices(&rules("rw"), &None).is_err());
        assert_eq!(json(&given(&rules("rw")).unwrap()).unwrap(), j!({}));
    }
}
