//! The cold path: what `oci-spec` cannot parse although the spec allows it is repaired in the JSON; what the spec
//! does not allow is reported with its path, all of it.

use super::fault::{Fault, Report, SpecError, member};
use super::{Extras, MAX_CPU, parse_list, presence, tree, words};
use oci_spec::runtime::{Capability, Spec};
use serde_json::{Map, Value, json};
use serde_path_to_error::{Path, Segment};
use std::collections::HashSet;

/// Further type errors are not looked for after this many: each costs a pass over the whole config.
const MAX_TYPE_FAULTS: usize = 64;

/// In a config larger than this, only the first type error is looked for.
const LARGE: usize = 1 << 20;

/// Parses what the fast path could not, or what it may have parsed too leniently.
///
/// The report's faults are about the JSON itself; the config returned beside them has harmless values in the
/// places they name, so that the rest can be checked.
pub(super) fn load_cold(bytes: &[u8]) -> Result<(Spec, Report, Extras), SpecError> {
    let (mut root, duplicates) = tree::parse(bytes)
        .map_err(|error| SpecError::whole(format!("config.json is not valid JSON: {error}")))?;
    if !root.is_object() {
        return Err(SpecError::whole(format!("config.json must be a JSON object, not {}", kind(&root))));
    }
    let mut report = Report::default();
    for path in duplicates {
        report.fault(path, "occurs more than once");
    }
    let mut extras = Extras::default();
    repair(&mut root, &mut report, &mut extras);
    presence::missing(&root, &mut report);
    let most = if bytes.len() > LARGE { 1 } else { MAX_TYPE_FAULTS };
    match convert(&mut root, most, &mut report) {
        Some(spec) => Ok((spec, report, extras)),
        None => Err(SpecError::new(report.faults)),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Repairs: the spec allows it, the types do not.

fn repair(root: &mut Value, report: &mut Report, extras: &mut Extras) {
    drop_foreign(root, report);
    drop_nulls(root, &mut Vec::new());
    if let Some(process) = root.get_mut("process").and_then(Value::as_object_mut) {
        repair_process(process, report);
    }
    let Some(linux) = root.get_mut("linux").and_then(Value::as_object_mut) else { return };
    if let Some(seccomp) = linux.get("seccomp").and_then(Value::as_object)
        && !seccomp.contains_key("defaultAction")
        && seccomp.get("syscalls").is_none_or(|calls| calls.as_array().is_some_and(Vec::is_empty))
    {
        report.warn("linux.seccomp", "has neither defaultAction nor syscalls: no filter is installed");
        linux.remove("seccomp");
    }
    if let Some(resources) = linux.get_mut("resources").and_then(Value::as_object_mut) {
        repair_resources(resources, extras);
    }
}

/// Other platforms' sections say nothing to us, not even when they are malformed.
fn drop_foreign(root: &mut Value, report: &mut Report) {
    let Some(root) = root.as_object_mut() else { return };
    for key in ["solaris", "windows", "vm", "zos"] {
        if root.remove(key).is_some_and(|section| !section.is_null()) {
            report.warn(key, super::validate::FOREIGN);
        }
    }
    // oci-spec knows these two at the top, the spec never did.
    root.remove("uidMappings");
    root.remove("gidMappings");
}

/// A null member is an absent one, as in Go, where most configs come from.  Not so in maps whose keys are data.
fn drop_nulls(value: &mut Value, path: &mut Vec<&'static str>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(item, path)),
        Value::Object(object) => {
            let data = matches!(
                path.as_slice(),
                ["annotations"]
                    | ["linux", "sysctl" | "netDevices" | "timeOffsets"]
                    | ["linux", "resources", "rdma" | "unified"]
            );
            if !data {
                object.retain(|_, member| !member.is_null());
            }
            for (key, member) in object.iter_mut() {
                path.push(interned(key));
                drop_nulls(member, path);
                path.pop();
            }
        }
        _ => {}
    }
}

fn interned(key: &str) -> &'static str {
    ["annotations", "linux", "sysctl", "netDevices", "timeOffsets", "resources", "rdma", "unified"]
        .into_iter()
        .find(|known| *known == key)
        .unwrap_or("")
}

fn repair_process(process: &mut Map<String, Value>, report: &mut Report) {
    if !process.contains_key("user") {
        report.warn("process.user", "missing: the process runs as uid 0, gid 0");
        process.insert("user".into(), json!({ "uid": 0, "gid": 0 }));
    }
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for (set, names) in sets {
            if let Value::Array(names) = names {
                drop_unknown_capabilities(set, names, report);
            }
        }
    }
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        // "omitted or empty", says config.md; the type refuses an empty one.
        affinity.retain(|_, list| list.as_str() != Some(""));
    }
    if let Some(Value::Array(flags)) = process.get_mut("scheduler").and_then(|s| s.get_mut("flags")) {
        for flag in flags {
            respell_scheduler_flag(flag);
        }
    }
}

fn drop_unknown_capabilities(set: &str, names: &mut Vec<Value>, report: &mut Report) {
    let mut index = 0;
    names.retain(|name| {
        let unknown = name.is_string() && serde_json::from_value::<Capability>(name.clone()).is_err();
        if unknown {
            let path = format!("{}[{index}]", member("process.capabilities", set));
            report.warn(path, format_args!("unknown capability {name}: not granted"));
        }
        index += 1;
        !unknown
    });
}

/// The spec's spellings of two flags, which the type derives differently.
fn respell_scheduler_flag(flag: &mut Value) {
    let spelling = match flag.as_str() {
        Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
        Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
        _ => return,
    };
    *flag = spelling.into();
}

fn repair_resources(resources: &mut Map<String, Value>, extras: &mut Extras) {
    if resources.get("pids").and_then(Value::as_object).is_some_and(|pids| !pids.contains_key("limit")) {
        resources.remove("pids");
    }
    let Some(Value::Array(limits)) = resources.get_mut("hugepageLimits") else { return };
    for (index, entry) in limits.iter_mut().enumerate() {
        if let Some(limit) = entry.get_mut("limit")
            && let Some(exact) = limit.as_u64()
            && i64::try_from(exact).is_err()
        {
            extras.hugepage_limits.insert(index, exact);
            *limit = i64::MAX.into();
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Conversion: every type error, not only the first.

/// Converts `root`, recording each type error and putting something harmless in its place.  `None` when that
/// cannot be done.
fn convert(root: &mut Value, most: usize, report: &mut Report) -> Option<Spec> {
    let mut places: Vec<String> = Vec::new();
    for round in 0.. {
        let error = match serde_path_to_error::deserialize::<_, Spec>(&*root) {
            Ok(spec) => return Some(spec),
            Err(error) => error,
        };
        let segments: Vec<Segment> = error.path().iter().cloned().collect();
        let message = error.inner().to_string();
        let (path, message) = match message.strip_prefix("missing field `").and_then(|m| m.split('`').next())
        {
            Some(field) => (member(&render(error.path()), field), "required".to_owned()),
            None => (render(error.path()), reword(&segments, root, &message)),
        };
        if !places.iter().any(|place| covers(place, &path)) {
            report.fault(path.clone(), message);
            places.push(path.clone());
        }
        if round >= most || !neutralise(root, &segments, &path) {
            break;
        }
    }
    None
}

fn render(path: &Path) -> String {
    path.iter().fold(String::new(), |path, segment| match segment {
        Segment::Seq { index } => format!("{path}[{index}]"),
        Segment::Map { key } => member(&path, key),
        Segment::Enum { .. } | Segment::Unknown => path,
    })
}

/// The error in words of JSON and the spec, not of Rust.
fn reword(segments: &[Segment], root: &Value, message: &str) -> String {
    if let [.., Segment::Map { key }, Segment::Map { .. }] = segments
        && key == "execCPUAffinity"
        && let Some(Err(fault)) =
            lookup(root, segments).and_then(Value::as_str).map(|list| parse_list(list, MAX_CPU))
    {
        return fault;
    }
    let message = words::reword(message);
    // oci-spec has one enum for what are two sets in the spec.
    let device_types = match segments {
        [Segment::Map { key: top }, Segment::Map { key }, ..] if top == "linux" => match key.as_str() {
            "devices" => "c, b, u, p",
            _ => "a, c, b",
        },
        _ => return message,
    };
    message.replace(" a, b, c, u, p", &format!(" {device_types}"))
}

fn lookup<'a>(root: &'a Value, segments: &[Segment]) -> Option<&'a Value> {
    segments.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

fn lookup_mut<'a>(root: &'a mut Value, segments: &[Segment]) -> Option<&'a mut Value> {
    segments.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get_mut(index),
        Segment::Map { key } => value.get_mut(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// Makes the value at `segments` convert: a missing required member gets a placeholder, a faulty member goes,
/// and with a faulty item its whole array, because the items behind it would change their index.
fn neutralise(root: &mut Value, segments: &[Segment], fault: &str) -> bool {
    let place = lookup(root, segments);
    let field = fault.rsplit('.').next().unwrap_or_default();
    if place.is_some_and(|value| value.is_object() && value.get(field).is_none())
        && let Some(filler) = placeholder(fault, field)
        && let Some(Value::Object(object)) = lookup_mut(root, segments)
    {
        object.insert(field.to_owned(), filler);
        return true;
    }
    // The last key on the way: the faulty member itself, or the array (or map of arrays) the faulty item is in.
    let Some(last) = segments.iter().rposition(|segment| matches!(segment, Segment::Map { .. })) else {
        return false;
    };
    let Segment::Map { key } = &segments[last] else { return false };
    match lookup_mut(root, &segments[..last]) {
        Some(Value::Object(object)) => object.remove(key).is_some(),
        _ => false,
    }
}

/// A value that raises no fault of its own for a required member that is missing.
fn placeholder(path: &str, field: &str) -> Option<Value> {
    Some(match field {
        "cwd" | "destination" | "path" => "/placeholder".into(),
        "user" => json!({}),
        "type" if path.starts_with("linux.namespaces") => "mount".into(),
        "type" if path.starts_with("process.rlimits") => "RLIMIT_CORE".into(),
        "type" => "p".into(),
        "mode" => "MPOL_DEFAULT".into(),
        "domain" => "LINUX".into(),
        "policy" => "SCHED_OTHER".into(),
        "defaultAction" | "action" => "SCMP_ACT_ALLOW".into(),
        "op" => "SCMP_CMP_EQ".into(),
        "names" => json!(["placeholder"]),
        "index" | "value" => 0.into(),
        _ => return None,
    })
}

/// Whether `path` is `place` or lies within it.
fn covers(place: &str, path: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Puts the faults of the JSON before those of the checks, leaving out of the latter what only follows from the
/// former.
pub(super) fn merge_faults(typed: Vec<Fault>, report: &mut Report) {
    let places: HashSet<&str> = typed.iter().map(|fault| spoilt(&fault.path)).collect();
    let unknown_namespaces =
        places.iter().any(|place| covers("linux.namespaces", place) || *place == "linux");
    // Both lists can be long, so it is asked of each place around a fault whether it is spoilt, not the reverse.
    let spoils = |path: &str| {
        path.match_indices(['.', '['])
            .map(|(end, _)| &path[..end])
            .chain([path])
            .any(|around| places.contains(around))
    };
    let follows =
        |path: &str| spoils(path) || (unknown_namespaces && super::validate::rests_on_namespaces(path));
    let checked: Vec<Fault> =
        std::mem::take(&mut report.faults).into_iter().filter(|fault| !follows(&fault.path)).collect();
    report.faults = typed;
    report.faults.extend(checked);
}

/// What cannot be checked any more because of a fault at `path`: the value, or the whole array it is an item of,
/// or the whole object whose meaning it decides.
fn spoilt(path: &str) -> &str {
    const DECIDING: [&str; 7] = ["type", "mode", "policy", "action", "defaultAction", "class", "domain"];
    if let Some((array, index)) = path.strip_suffix(']').and_then(|p| p.rsplit_once('['))
        && index.bytes().all(|byte| byte.is_ascii_digit())
    {
        return array;
    }
    match path.rsplit_once('.') {
        Some((object, member)) if DECIDING.contains(&member) => object,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_covers_what_lies_within() {
        assert!(covers("linux.namespaces", "linux.namespaces[3].path"));
        assert!(covers("process.cwd", "process.cwd"));
        assert!(!covers("process.cwd", "process"));
        assert!(!covers("process.c", "process.cwd"));
        assert_eq!(spoilt("process.args[2]"), "process.args");
        assert_eq!(spoilt("process.args"), "process.args");
        assert_eq!(spoilt("linux.sysctl[\"net.x\"]"), "linux.sysctl[\"net.x\"]");
        assert_eq!(spoilt("linux.memoryPolicy.mode"), "linux.memoryPolicy");
    }
}
