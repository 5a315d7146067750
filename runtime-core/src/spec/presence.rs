//! Properties the spec requires and `oci-spec` fills with a default when they are missing.
//!
//! Once parsed, a missing property cannot be told from its default, so the default raises a suspicion, and only
//! a suspicion that the bytes confirm (fewer such keys than objects that have one) makes the JSON be read again.
//! A quote inside a JSON string is always escaped: `"hostID"` in the bytes is a key or a whole string value.

use super::fault::{Report, member};
use oci_spec::runtime::{LinuxBlockIo, LinuxDeviceType, LinuxIdMapping, LinuxResources, Spec};
use serde_json::{Map, Value};

/// Whether the JSON must be looked at again, because `spec` may hold defaults for properties that are missing,
/// or a `pids` without a limit (which is no limit, where the type holds 0).
pub(super) fn suspicious(spec: &Spec, bytes: &[u8]) -> bool {
    let mut tally = Tally::default();
    tally.process(spec);
    tally.mounts(spec);
    tally.linux(spec);
    let missing = |t: &Tallied| t.doubtful && occurrences(bytes, t.key, t.objects) < t.objects;
    tally.no_pids_limit || tally.keys.iter().any(missing)
}

/// The keys that may be missing somewhere.
#[derive(Default)]
struct Tally {
    keys: Vec<Tallied>,
    no_pids_limit: bool,
}

struct Tallied {
    /// The key as it stands in the JSON, quotes and all.
    key: &'static str,
    /// In how many objects it should be, optional ones that are there included.
    objects: usize,
    /// Whether one of them has the default.
    doubtful: bool,
}

impl Tally {
    /// Notes objects that have `key`; `defaults` tells of each whether its value is what a missing one would be.
    fn note(&mut self, key: &'static str, defaults: impl Iterator<Item = bool>) {
        let (mut objects, mut doubtful) = (0, false);
        defaults.for_each(|is_default| {
            objects += 1;
            doubtful |= is_default;
        });
        if objects == 0 {
            return;
        }
        let known = match self.keys.iter().position(|tallied| tallied.key == key) {
            Some(index) => index,
            None => {
                self.keys.push(Tallied { key, objects: 0, doubtful: false });
                self.keys.len() - 1
            }
        };
        self.keys[known].objects += objects;
        self.keys[known].doubtful |= doubtful;
    }

    fn process(&mut self, spec: &Spec) {
        let Some(process) = spec.process() else { return };
        self.note("\"uid\"", std::iter::once(process.user().uid() == 0));
        self.note("\"gid\"", std::iter::once(process.user().gid() == 0));
        let rlimits = process.rlimits().as_deref().unwrap_or_default();
        self.note("\"hard\"", rlimits.iter().map(|r| r.hard() == 0));
        self.note("\"soft\"", rlimits.iter().map(|r| r.soft() == 0));
        if let Some(size) = process.console_size() {
            self.note("\"height\"", std::iter::once(size.height() == 0));
            self.note("\"width\"", std::iter::once(size.width() == 0));
        }
        if let Some(io) = process.io_priority() {
            // The default class is a usual value, so the key is always counted.
            self.note("\"class\"", std::iter::once(true));
            self.note("\"priority\"", std::iter::once(io.priority() == 0));
        }
        let scheduler = process.scheduler().iter().filter_map(|scheduler| *scheduler.priority());
        self.note("\"priority\"", scheduler.map(|_| false));
    }

    fn mounts(&mut self, spec: &Spec) {
        for mount in spec.mounts().iter().flatten() {
            self.mappings(mount.uid_mappings().as_deref());
            self.mappings(mount.gid_mappings().as_deref());
        }
    }

    fn mappings(&mut self, mappings: Option<&[LinuxIdMapping]>) {
        let mappings = mappings.unwrap_or_default();
        self.note("\"containerID\"", mappings.iter().map(|m| m.container_id() == 0));
        self.note("\"hostID\"", mappings.iter().map(|m| m.host_id() == 0));
        self.note("\"size\"", mappings.iter().map(|m| m.size() == 0));
    }

    fn linux(&mut self, spec: &Spec) {
        let Some(linux) = spec.linux() else { return };
        self.mappings(linux.uid_mappings().as_deref());
        self.mappings(linux.gid_mappings().as_deref());
        let devices = linux.devices().iter().flatten();
        self.note("\"uid\"", devices.clone().filter_map(|d| d.uid().map(|_| false)));
        self.note("\"gid\"", devices.clone().filter_map(|d| d.gid().map(|_| false)));
        let nodes = devices.filter(|d| d.typ() != LinuxDeviceType::P);
        self.note("\"major\"", nodes.clone().map(|d| d.major() == 0));
        self.note("\"minor\"", nodes.map(|d| d.minor() == 0));
        if let Some(resources) = linux.resources() {
            self.resources(resources);
        }
    }

    fn resources(&mut self, resources: &LinuxResources) {
        let rules = resources.devices().iter().flatten();
        self.note("\"allow\"", rules.clone().map(|rule| !rule.allow()));
        self.note("\"major\"", rules.clone().filter_map(|rule| rule.major().map(|_| false)));
        self.note("\"minor\"", rules.filter_map(|rule| rule.minor().map(|_| false)));
        self.no_pids_limit = resources.pids().is_some_and(|pids| pids.limit() == 0);
        let limits = resources.hugepage_limits().iter().flatten();
        self.note("\"pageSize\"", limits.clone().map(|h| h.page_size().is_empty()));
        self.note("\"limit\"", limits.map(|h| h.limit() == 0));
        self.note("\"limit\"", resources.pids().iter().map(|_| false));
        self.note("\"limit\"", resources.memory().iter().filter_map(|memory| memory.limit().map(|_| false)));
        let priorities =
            resources.network().iter().filter_map(|network| network.priorities().as_ref()).flatten();
        self.note("\"name\"", priorities.clone().map(|p| p.name().is_empty()));
        self.note("\"priority\"", priorities.map(|p| p.priority() == 0));
        if let Some(io) = resources.block_io() {
            self.block_io(io);
        }
    }

    fn block_io(&mut self, io: &LinuxBlockIo) {
        let weights = io.weight_device().iter().flatten();
        self.note("\"major\"", weights.clone().map(|d| d.major() == 0));
        self.note("\"minor\"", weights.map(|d| d.minor() == 0));
        let throttles = [
            io.throttle_read_bps_device(),
            io.throttle_write_bps_device(),
            io.throttle_read_iops_device(),
            io.throttle_write_iops_device(),
        ];
        let throttles = throttles.into_iter().flatten().flatten();
        self.note("\"major\"", throttles.clone().map(|d| d.major() == 0));
        self.note("\"minor\"", throttles.clone().map(|d| d.minor() == 0));
        self.note("\"rate\"", throttles.map(|d| d.rate() == 0));
    }
}

/// How often `needle` occurs in `bytes`, counted up to `enough`.
pub(super) fn occurrences(bytes: &[u8], needle: &str, enough: usize) -> usize {
    let needle = needle.as_bytes();
    // The second byte is rarer than the quote every key begins with.
    let (second, mut at, mut found) = (needle[1], 1, 0);
    while found < enough {
        let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == second))
        else {
            break;
        };
        at += offset;
        if bytes[at - 1..].starts_with(needle) {
            found += 1;
        }
        at += 1;
    }
    found
}

/// Faults for what the spec requires in `root` and the types do not.
pub(super) fn missing(root: &Value, report: &mut Report) {
    each(root, "process.user", &mut |user, path| need(user, path, &["uid", "gid"], report));
    each(root, "process.consoleSize", &mut |size, path| need(size, path, &["height", "width"], report));
    each(root, "process.rlimits[]", &mut |limit, path| need(limit, path, &["soft", "hard"], report));
    each(root, "process.ioPriority", &mut |io, path| need(io, path, &["class", "priority"], report));
    for mappings in
        ["mounts[].uidMappings[]", "mounts[].gidMappings[]", "linux.uidMappings[]", "linux.gidMappings[]"]
    {
        each(root, mappings, &mut |m, path| need(m, path, &["containerID", "hostID", "size"], report));
    }
    each(root, "linux.devices[]", &mut |device, path| {
        if device.get("type").and_then(Value::as_str) != Some("p") {
            need(device, path, &["major", "minor"], report);
        }
    });
    each(root, "linux.resources.devices[]", &mut |rule, path| need(rule, path, &["allow"], report));
    each(root, "linux.resources.hugepageLimits[]", &mut |l, path| {
        need(l, path, &["pageSize", "limit"], report);
    });
    each(root, "linux.resources.blockIO.weightDevice[]", &mut |d, path| {
        need(d, path, &["major", "minor"], report);
    });
    for list in ["ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"] {
        let list = format!("linux.resources.blockIO.throttle{list}Device[]");
        each(root, &list, &mut |d, path| need(d, path, &["major", "minor", "rate"], report));
    }
    each(root, "linux.resources.network.priorities[]", &mut |p, path| {
        need(p, path, &["name", "priority"], report);
    });
}

fn need(object: &Map<String, Value>, path: &str, keys: &[&str], report: &mut Report) {
    for key in keys.iter().filter(|key| !object.contains_key(**key)) {
        report.fault(member(path, key), "required");
    }
}

/// Calls `found` for each object at `pattern`, in which `[]` stands for every item of an array.
fn each(root: &Value, pattern: &str, found: &mut dyn FnMut(&Map<String, Value>, &str)) {
    let steps: Vec<&str> = pattern.split('.').collect();
    walk(root, "", &steps, found);
}

fn walk(value: &Value, path: &str, steps: &[&str], found: &mut dyn FnMut(&Map<String, Value>, &str)) {
    let Some((step, rest)) = steps.split_first() else {
        if let Value::Object(object) = value {
            found(object, path);
        }
        return;
    };
    let key = step.trim_end_matches("[]");
    let Some(next) = value.get(key) else { return };
    let path = member(path, key);
    if key.len() == step.len() {
        return walk(next, &path, rest, found);
    }
    for (index, item) in next.as_array().into_iter().flatten().enumerate() {
        walk(item, &format!("{path}[{index}]"), rest, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_and_words_in_strings_are_not() {
        let bytes = br#"{"uid": 1, "x": "say \"uid\"", "y": {"uid":2}, "uidx": 3}"#;
        assert_eq!(occurrences(bytes, "\"uid\"", 9), 2);
        assert_eq!(occurrences(bytes, "\"uid\"", 1), 1);
        assert_eq!(occurrences(b"", "\"uid\"", 1), 0);
        assert_eq!(occurrences(b"\"uid\"", "\"uid\"", 1), 1);
        assert_eq!(occurrences(b"u\"uid", "\"uid\"", 1), 0);
    }
}
