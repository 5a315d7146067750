//! features.md and features-linux.md: what the features document says must be so.

use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::{Trial, skip};
use super::options;

/// The document; a runtime need not have one.
fn document(t: &Trial) -> Value {
    let output = t.runtime(&["features"]);
    if !output.status.success() {
        skip("the runtime has no features document");
    }
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {output}"))
}

fn names(document: &Value, pointer: &str) -> Vec<String> {
    let list = document.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    if list.is_empty() {
        skip(format!("the document has no {pointer}"));
    }
    list.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// `major.minor.patch` of a version, and whether it is a release.
fn parsed(document: &Value, name: &str) -> (Vec<u32>, bool) {
    let text = document[name].as_str().unwrap_or_else(|| panic!("{name} in {document}"));
    let (numbers, rest) = text.find(['-', '+']).map_or((text, ""), |at| text.split_at(at));
    let numbers: Vec<u32> = numbers.split('.').map(|word| word.parse().expect("SemVer")).collect();
    assert_eq!(numbers.len(), 3, "{name}: {text}");
    (numbers, !rest.starts_with('-'))
}

fn versions(t: &mut Trial) {
    let document = document(t);
    assert!(parsed(&document, "ociVersionMin") <= parsed(&document, "ociVersionMax"), "{document}");
}

fn version_accepted(t: &mut Trial) {
    let document = document(t);
    let name = format!("ociVersion{}", t.word());
    t.set("/ociVersion", document[&name].clone());
    assert_eq!(t.says(&["echo", "well"]), "well");
}

fn hooks(t: &mut Trial) {
    let all = names(&document(t), "/hooks");
    for kind in &all {
        t.hook(kind, &[]);
    }
    t.life(&["probe", "true"]);
    for kind in &all {
        t.record(kind);
    }
}

/// All at once: an option that were not recognised would go to tmpfs, which knows none of them.
fn mount_options(t: &mut Trial) {
    let all = names(&document(t), "/mountOptions");
    // Those that make another thing of the mount, or need a mapping.
    let other = [
        "bind",
        "rbind",
        "remount",
        "idmap",
        "ridmap",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
        "ensure-symlink",
    ];
    // Recognised by older kernels' runtimes too, but without effect.
    let whole_trees = Need::MountSetattr.missing().is_none();
    let able = |option: &str| whole_trees || !options::is_recursive(option);
    for option in all.iter().filter(|option| !other.contains(&option.as_str()) && able(option)) {
        t.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    t.create().ok();
}

fn no_data_options(t: &mut Trial) {
    let all = names(&document(t), "/mountOptions");
    let data: Vec<_> = ["size", "mode", "uid", "gid", "newinstance", "ptmxmode"]
        .into_iter()
        .filter(|option| all.iter().any(|one| one.split('=').next() == Some(option)))
        .collect();
    assert!(data.is_empty(), "{data:?}");
}

fn namespaces(t: &mut Trial) {
    for kind in names(&document(t), "/linux/namespaces") {
        if kind != "user" && (kind != "time" || std::path::Path::new("/proc/self/ns/time").exists()) {
            t.namespace(&kind, None);
        }
    }
    assert_eq!(t.says(&["echo", "well"]), "well");
}

fn capabilities(t: &mut Trial) {
    let all = names(&document(t), "/linux/capabilities");
    t.set("/process/capabilities", json!({ "bounding": all, "permitted": all, "effective": all }));
    let output = t.create();
    if !output.status.success() {
        skip("the runtime refuses what cannot be granted, of which there is a test of its own");
    }
    let bits = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("procfs");
    let known: usize = bits.trim().parse().expect("a number");
    t.kill("KILL").ok();
    t.end();
    t.delete(&[]).ok();
    if nix::unistd::geteuid().is_root() {
        let inside = t.inside()["capabilities"]["bounding"]["names"].as_array().map_or(0, Vec::len);
        let own = own_bounding();
        assert_eq!(inside, own.min(known + 1), "capabilities of the bounding set that were recognised");
    }
}

/// How many capabilities this process could give.
fn own_bounding() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let set = text.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).map_or(0, u64::count_ones) as usize
}

fn created(t: &mut Trial, profile: &Value, what: &str) {
    t.set("/linux/seccomp", profile.clone());
    let output = t.create();
    assert!(output.status.success(), "{what}: {output}");
    t.kill("KILL").ok();
    t.end();
    t.delete(&[]).ok();
}

fn rule(action: &str) -> Value {
    json!({ "names": ["getppid"], "action": action })
}

fn seccomp_actions(t: &mut Trial) {
    for action in names(&document(t), "/linux/seccomp/actions") {
        // Needs an agent: a test of its own.
        if action != "SCMP_ACT_NOTIFY" {
            created(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(&action)] }), &action);
        }
    }
}

fn seccomp_operators(t: &mut Trial) {
    for operator in names(&document(t), "/linux/seccomp/operators") {
        let mut rule = rule("SCMP_ACT_ERRNO");
        rule["args"] = json!([{ "index": 0, "op": operator, "value": 1, "valueTwo": 1 }]);
        created(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }), &operator);
    }
}

fn seccomp_architectures(t: &mut Trial) {
    // One of another byte order may be known and yet not go with this machine's.
    let own = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"];
    let all = names(&document(t), "/linux/seccomp/archs");
    for architecture in all.iter().filter(|name| own.contains(&name.as_str())) {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture], "syscalls": [rule("SCMP_ACT_ERRNO")] });
        created(t, &profile, architecture);
    }
}

fn seccomp_flags(t: &mut Trial) {
    for flag in names(&document(t), "/linux/seccomp/supportedFlags") {
        // Only of use with an agent, and else refused by the kernel.
        if flag != "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [rule("SCMP_ACT_ERRNO")] });
            created(t, &profile, &flag);
        }
    }
}

fn policy_modes(t: &mut Trial) {
    let all = names(&document(t), "/linux/memoryPolicy/modes");
    for mode in all {
        let nodes = if ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str()) { "" } else { "0" };
        t.set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes }));
        let output = t.create();
        // The kernel may be too old for one; that is another thing than not to know it.
        assert!(
            output.status.success() || output.stderr.to_lowercase().contains("kernel"),
            "{mode}: {output}"
        );
        if output.status.success() {
            t.kill("KILL").ok();
            t.end();
            t.delete(&[]).ok();
        }
    }
}

fn annotations(t: &mut Trial) {
    let document = document(t);
    let given = &document["annotations"];
    let plain = |map: &serde_json::Map<String, Value>| {
        map.iter().all(|(key, value)| !key.is_empty() && value.is_string())
    };
    assert!(given.is_null() || given.as_object().is_some_and(plain), "{given}");
}

/// The properties of version 1.3.0.
fn known_properties(t: &mut Trial) {
    let document = document(t);
    let known = |pointer: &str, allowed: &[&str]| {
        let object = document.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
        let strange: Vec<_> = object.keys().filter(|key| !allowed.contains(&key.as_str())).collect();
        assert!(strange.is_empty(), "{pointer}: {strange:?}");
    };
    known(
        "",
        &[
            "ociVersionMin",
            "ociVersionMax",
            "hooks",
            "mountOptions",
            "linux",
            "annotations",
            "potentiallyUnsafeConfigAnnotations",
        ],
    );
    let linux = [
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "memoryPolicy",
        "intelRdt",
        "mountExtensions",
        "netDevices",
    ];
    known("/linux", &linux);
    known("/linux/cgroup", &["v1", "v2", "systemd", "systemdUser", "rdma"]);
    known("/linux/seccomp", &["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"]);
    known("/linux/intelRdt", &["enabled", "schemata", "monitoring"]);
}

const VERSION: &str = "features.md#specification-version";
const SECCOMP: &str = "features-linux.md#seccomp";

pub const CASES: &[Case] = &[
    must(
        VERSION,
        "features-versions",
        "ociVersionMin and ociVersionMax are versions, the second not before the first",
        versions,
    ),
    must(VERSION, "features-version-Min", "the version is accepted in a config", version_accepted),
    must(VERSION, "features-version-Max", "the version is accepted in a config", version_accepted),
    must(
        VERSION,
        "features-known-properties",
        "there are no properties that the specification does not have",
        known_properties,
    ),
    must("features.md#hooks", "features-hooks", "the hooks are run", hooks),
    must("features.md#mount-options", "features-mount-options", "the options are recognised", mount_options),
    should(
        "features.md#mount-options",
        "features-no-data-options",
        "options of file systems are not among them",
        no_data_options,
    ),
    must(
        "features.md#annotations",
        "features-annotations",
        "annotations are a map from keys to strings",
        annotations,
    ),
    must("features-linux.md#namespaces", "features-namespaces", "the types are recognised", namespaces),
    must("features-linux.md#capabilities", "features-capabilities", "the names are recognised", capabilities),
    must(SECCOMP, "features-seccomp-actions", "the names are recognised", seccomp_actions),
    must(SECCOMP, "features-seccomp-operators", "the names are recognised", seccomp_operators),
    must(SECCOMP, "features-seccomp-archs", "the names are recognised", seccomp_architectures),
    must(SECCOMP, "features-seccomp-flags", "the supported flags are supported", seccomp_flags),
    must(
        "features-linux.md#memorypolicy",
        "features-memory-policy",
        "the modes are recognised",
        policy_modes,
    ),
];
