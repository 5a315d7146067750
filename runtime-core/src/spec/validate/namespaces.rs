//! `linux.namespaces` and what belongs to a namespace: id mappings, time offsets, kernel parameters, network devices.

use super::strings;
use crate::spec::fault::{Report, member};
use crate::spec::sysctl::{SysctlOwner, sysctl_owner, sysctl_path};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec};
use std::collections::{BTreeMap, HashMap};

/// The kernel's `UID_GID_MAP_MAX_EXTENTS`, since Linux 4.15.
const MAX_MAPPINGS: usize = 340;

/// What linux.namespaces says of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Joined,
}

/// The namespaces the container has apart from the host's.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    kinds: HashMap<LinuxNamespaceType, Kind>,
}

impl Namespaces {
    pub(super) fn of(spec: &Spec) -> Self {
        let mut kinds = HashMap::new();
        let listed = spec.linux().iter().filter_map(|linux| linux.namespaces().as_ref()).flatten();
        for namespace in listed {
            let kind = if namespace.path().is_some() { Kind::Joined } else { Kind::New };
            kinds.entry(namespace.typ()).or_insert(kind);
        }
        Self { kinds }
    }

    fn has(&self, typ: LinuxNamespaceType) -> bool {
        self.kinds.contains_key(&typ)
    }

    fn makes(&self, typ: LinuxNamespaceType) -> bool {
        self.kinds.get(&typ) == Some(&Kind::New)
    }

    pub(super) fn has_uts(&self) -> bool {
        self.has(LinuxNamespaceType::Uts)
    }

    pub(super) fn has_user(&self) -> bool {
        self.has(LinuxNamespaceType::User)
    }

    pub(super) fn has_mount(&self) -> bool {
        self.has(LinuxNamespaceType::Mount)
    }
}

/// The spec's name of a namespace type.
fn name(typ: LinuxNamespaceType) -> &'static str {
    match typ {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}

pub(super) fn check(linux: &Linux, spec: &Spec, namespaces: &Namespaces, report: &mut Report) {
    let mut first = HashMap::new();
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        if let Some(path) = namespace.path() {
            strings::absolute(|| format!("linux.namespaces[{index}].path"), path, report);
        }
        if let Some(earlier) = first.get(&namespace.typ()) {
            let typ = name(namespace.typ());
            let message = format!("{typ:?} is listed already, at linux.namespaces[{earlier}]");
            report.fault(format!("linux.namespaces[{index}].type"), message);
        }
        first.entry(namespace.typ()).or_insert(index);
    }
    let sound = user(linux, namespaces, report);
    if sound && namespaces.makes(LinuxNamespaceType::User) {
        process_ids(linux, spec, report);
    }
    time_offsets(linux, namespaces, report);
    sysctl(linux, namespaces, report);
    net_devices(linux, namespaces, report);
}

/// Whether the mappings are sound.
fn user(linux: &Linux, namespaces: &Namespaces, report: &mut Report) -> bool {
    let before = report.faults.len();
    for (key, mappings) in [("uidMappings", linux.uid_mappings()), ("gidMappings", linux.gid_mappings())] {
        let at = member("linux", key);
        let mappings = mappings.as_deref().unwrap_or_default();
        if namespaces.makes(LinuxNamespaceType::User) {
            if mappings.is_empty() {
                report.fault(at.as_str(), "required for a new user namespace");
            }
        } else if !mappings.is_empty() && namespaces.has_user() {
            report.warn(&at, "not written: the user namespace that is joined has its own");
        } else if !mappings.is_empty() {
            report.fault(at.as_str(), "needs a user namespace in linux.namespaces");
        }
        check_mappings(&at, mappings, report);
    }
    report.faults.len() == before
}

/// The kernel's rules for `uid_map` and `gid_map`, user_namespaces(7).
pub(super) fn check_mappings(at: &str, mappings: &[LinuxIdMapping], report: &mut Report) {
    if mappings.len() > MAX_MAPPINGS {
        let message = format!("has {} entries, more than the kernel's {MAX_MAPPINGS}", mappings.len());
        return report.fault(at, message);
    }
    let before = report.faults.len();
    for (index, mapping) in mappings.iter().enumerate() {
        if mapping.size() == 0 {
            report.fault(format!("{at}[{index}].size"), "must not be 0");
        }
        for (key, start) in [("containerID", mapping.container_id()), ("hostID", mapping.host_id())] {
            // 4294967295 is (uid_t)-1, "no id"; so the end, exclusive, may be it but not pass it.
            if start.checked_add(mapping.size()).is_none() {
                let message =
                    format!("{start} and size {} together exceed the highest id, 4294967294", mapping.size());
                report.fault(format!("{at}[{index}].{key}"), message);
            }
        }
    }
    if report.faults.len() == before {
        overlaps(at, "containerID", mappings, LinuxIdMapping::container_id, report);
        overlaps(at, "hostID", mappings, LinuxIdMapping::host_id, report);
    }
}

fn overlaps(
    at: &str,
    key: &str,
    maps: &[LinuxIdMapping],
    start: fn(&LinuxIdMapping) -> u32,
    report: &mut Report,
) {
    let mut ranges: Vec<(u32, u32, usize)> =
        maps.iter().enumerate().map(|(index, map)| (start(map), start(map) + map.size(), index)).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((_, end, one), (begin, _, other)) = (pair[0], pair[1]);
        if begin < end {
            let (early, late) = (one.min(other), one.max(other));
            report.fault(format!("{at}[{late}].{key}"), format!("the range overlaps that of {at}[{early}]"));
        }
    }
}

/// setresuid(2) and setgroups(2) refuse an id that the new user namespace does not map.
fn process_ids(linux: &Linux, spec: &Spec, report: &mut Report) {
    let Some(process) = spec.process() else { return };
    let mut check = |at: String, id: u32, key: &str, mappings: &Option<Vec<LinuxIdMapping>>| {
        let Some(mappings) = mappings else { return };
        let inside =
            |m: &LinuxIdMapping| id.checked_sub(m.container_id()).is_some_and(|offset| offset < m.size());
        if !mappings.is_empty() && !mappings.iter().any(inside) {
            report.fault(at, format!("{id} is not mapped by linux.{key}"));
        }
    };
    let user = process.user();
    check("process.user.uid".into(), user.uid(), "uidMappings", linux.uid_mappings());
    check("process.user.gid".into(), user.gid(), "gidMappings", linux.gid_mappings());
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        check(format!("process.user.additionalGids[{index}]"), *gid, "gidMappings", linux.gid_mappings());
    }
}

fn time_offsets(linux: &Linux, namespaces: &Namespaces, report: &mut Report) {
    let offsets: BTreeMap<_, _> = linux.time_offsets().iter().flatten().collect();
    if !offsets.is_empty() && !namespaces.makes(LinuxNamespaceType::Time) {
        report.fault("linux.timeOffsets", "needs a new time namespace in linux.namespaces");
    }
    for (clock, offset) in offsets {
        let at = member("linux.timeOffsets", clock);
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            report.fault(at.as_str(), "no clock with an offset: only monotonic and boottime have one");
        }
        if let Some(nanosecs) = offset.nanosecs().filter(|nanosecs| *nanosecs > 999_999_999) {
            report.fault(format!("{at}.nanosecs"), format!("{nanosecs} is more than 999999999"));
        }
    }
}

fn sysctl(linux: &Linux, namespaces: &Namespaces, report: &mut Report) {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    let keys: BTreeMap<_, _> = linux.sysctl().iter().flatten().collect();
    for key in keys.into_keys() {
        let at = || member("linux.sysctl", key);
        let path = sysctl_path(key);
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            report.fault(at(), "is not the name of a kernel parameter");
            continue;
        }
        if let Some(message) = sysctl_fault(&path, namespaces) {
            report.fault(at(), message);
        }
        if let Some(other) = seen.insert(path, key) {
            report.fault(at(), format!("is the same kernel parameter as {other:?}"));
        }
    }
}

fn sysctl_fault(path: &str, namespaces: &Namespaces) -> Option<String> {
    if path == "kernel/hostname" {
        return Some("the property hostname sets it".into());
    }
    let typ = match sysctl_owner(path) {
        Some(SysctlOwner::Ipc) => LinuxNamespaceType::Ipc,
        Some(SysctlOwner::Network) => LinuxNamespaceType::Network,
        Some(SysctlOwner::Uts) => LinuxNamespaceType::Uts,
        Some(SysctlOwner::User) => LinuxNamespaceType::User,
        None => return Some("belongs to no namespace: it would change the host".into()),
    };
    let article = if typ == LinuxNamespaceType::Ipc { "an" } else { "a" };
    let needs =
        || format!("needs {article} {} namespace in linux.namespaces: it would change the host", name(typ));
    (!namespaces.has(typ)).then(needs)
}

fn net_devices(linux: &Linux, namespaces: &Namespaces, report: &mut Report) {
    let devices: BTreeMap<_, _> = linux.net_devices().iter().flatten().collect();
    if !devices.is_empty() && !namespaces.has(LinuxNamespaceType::Network) {
        report.fault("linux.netDevices", "needs a network namespace in linux.namespaces");
    }
    let mut targets: BTreeMap<&str, &str> = BTreeMap::new();
    for (host, device) in devices {
        let at = member("linux.netDevices", host);
        if let Some(message) = interface_name_fault(host, false) {
            report.fault(at.as_str(), message);
        } else if host == "lo" {
            report.fault(at.as_str(), "the loopback device cannot be moved");
        }
        let target = device.name().as_deref().unwrap_or(host);
        if let Some(message) = device.name().as_deref().and_then(|name| interface_name_fault(name, true)) {
            report.fault(format!("{at}.name"), message);
        } else if target == "lo" && host != "lo" {
            report.fault(format!("{at}.name"), "the container's loopback device has this name already");
        } else if !target.contains('%')
            && let Some(other) = targets.insert(target, host)
        {
            report.fault(at, format!("gets the name {target:?} in the container, as {other:?} does"));
        }
    }
}

/// The kernel's `dev_valid_name`, and for a template `__dev_alloc_name`.
fn interface_name_fault(name: &str, template: bool) -> Option<String> {
    if name.is_empty() || name == "." || name == ".." || name.len() > 15 {
        return Some(format!("{name:?} is not an interface name of 1 to 15 bytes"));
    }
    if name.bytes().any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte == 0x0b) {
        return Some(format!("{name:?} is not an interface name: it holds a slash, a colon or a space"));
    }
    let percents = name.matches('%').count();
    let fits = percents == 0 || (template && percents == 1 && name.contains("%d"));
    (!fits).then(|| {
        format!("{name:?} is not an interface name: \"%\" may only stand in one \"%d\" of a new name")
    })
}
