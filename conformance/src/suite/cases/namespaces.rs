//! config-linux.md: namespaces, id mappings, time offsets.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::{Trial, own_namespace};

/// The name of a namespace's file in /proc/PID/ns, by its type in the config.
fn file_of(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        kind => kind,
    }
}

/// Gives the container a user namespace that maps some ids.
fn with_user(t: &mut Trial) {
    t.namespace("user", None);
    for name in ["uidMappings", "gidMappings"] {
        let mappings = json!([
            { "containerID": 0, "hostID": 100_000, "size": 1000 },
            { "containerID": 2000, "hostID": 200_000, "size": 5 },
        ]);
        t.set(&format!("/linux/{name}"), mappings);
    }
    // The state, the bundle and the program must be reachable by who is root inside.
    let open = |path: &std::path::Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).expect("our own directory");
    };
    open(t.directory());
}

fn new(t: &mut Trial) {
    let kind = t.word();
    match kind {
        "user" => with_user(t),
        _ => {
            t.namespace(kind, None);
        }
    }
    let inside = t.inside()["namespaces"].clone();
    let file = file_of(kind);
    assert!(inside[file].is_string(), "{inside}");
    assert_ne!(inside[file], own_namespace(file));
}

fn inherited(t: &mut Trial) {
    let kind = t.word();
    t.no_namespace(kind);
    if kind == "uts" {
        t.unset("/hostname");
    }
    if kind == "network" {
        // Only who owns the network namespace may mount its sysfs.
        t.unmount("/sys").unmount("/sys/fs/cgroup");
    }
    let file = file_of(kind);
    assert_eq!(t.inside()["namespaces"][file], own_namespace(file));
}

fn joined(t: &mut Trial) {
    let kind = t.word();
    let mut owner = t.another();
    owner.namespace(kind, None).args(&["probe", "sleep", "60"]);
    owner.create().ok();
    // The first process of a pid namespace must run, or nothing can be done in there.
    owner.start().ok();
    let pid = owner.pid().to_string();
    let file = file_of(kind);
    t.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    t.unset("/hostname");
    assert_eq!(t.inside()["namespaces"][file], super::super::trial::namespace_of(&pid, file));
}

fn wrong_kind(t: &mut Trial) {
    t.namespace("ipc", Some("/proc/self/ns/uts"));
    t.refused();
}

fn no_namespace_file(t: &mut Trial) {
    let file = t.directory().join("file").to_string_lossy().into_owned();
    fs::write(&file, "").expect("our own directory");
    t.namespace("ipc", Some(&file));
    t.refused();
}

fn missing_path(t: &mut Trial) {
    t.namespace("ipc", Some("/nowhere/at/all"));
    t.refused();
}

fn relative_path(t: &mut Trial) {
    t.namespace("ipc", Some("proc/self/ns/ipc"));
    t.refused();
}

fn twice(t: &mut Trial) {
    let list = t.config["linux"]["namespaces"].as_array_mut().expect("the config has namespaces");
    list.push(json!({ "type": "ipc" }));
    t.refused();
}

fn unknown_type(t: &mut Trial) {
    t.namespace("nonsense", None);
    t.refused();
}

fn no_type(t: &mut Trial) {
    t.config["linux"]["namespaces"].as_array_mut().expect("the config has namespaces").push(json!({}));
    t.refused();
}

fn pid_sees_its_own(t: &mut Trial) {
    assert_eq!(t.inside()["identity"]["pid"], 1);
}

fn network_is_empty(t: &mut Trial) {
    assert_eq!(t.inside()["network_devices"], json!(["lo"]));
}

fn mappings(t: &mut Trial) {
    with_user(t);
    let report = t.inside();
    let expected = json!([[0, 100_000, 1000], [2000, 200_000, 5]]);
    assert_eq!(report["identity"]["uid_map"], expected);
    assert_eq!(report["identity"]["gid_map"], expected);
}

fn ownership(t: &mut Trial) {
    with_user(t);
    let file = t.rootfs("etc/owned");
    fs::write(&file, "").expect("our own directory");
    let owner = |t: &Trial| {
        let meta = fs::metadata(t.rootfs("etc/owned")).expect("our own file");
        (meta.uid(), meta.gid())
    };
    let before = owner(t);
    t.inside();
    assert_eq!(owner(t), before);
}

fn user_in_namespace(t: &mut Trial) {
    with_user(t);
    t.set("/process/user", json!({ "uid": 2001, "gid": 2002 }));
    let identity = t.inside()["identity"].clone();
    assert_eq!((&identity["uid"][0], &identity["gid"][0]), (&json!(2001), &json!(2002)));
}

fn user_not_mapped(t: &mut Trial) {
    with_user(t);
    t.set("/process/user", json!({ "uid": 5000, "gid": 5000 }));
    t.refused_until_started_as_is();
}

fn offsets(t: &mut Trial) {
    let clock = t.word();
    t.namespace("time", None);
    t.set("/linux/timeOffsets", json!({ clock: { "secs": 86_400, "nanosecs": 5 } }));
    let report = t.inside();
    let text = report["clocks"]["offsets"].as_str().unwrap_or_default().to_owned();
    let line = text.lines().find(|line| line.starts_with(clock)).unwrap_or_default().to_owned();
    let fields: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(fields, ["86400", "5"], "{text}");
}

fn unknown_clock(t: &mut Trial) {
    t.namespace("time", None);
    t.set("/linux/timeOffsets", json!({ "nonsense": { "secs": 1 } }));
    t.refused();
}

fn joined_time(t: &mut Trial) {
    let mut owner = t.another();
    owner.namespace("time", None).args(&["probe", "sleep", "60"]);
    owner.set("/linux/timeOffsets", json!({ "monotonic": { "secs": 1000, "nanosecs": 0 } }));
    owner.create().ok();
    owner.start().ok();
    let pid = owner.pid().to_string();
    t.namespace("time", Some(&format!("/proc/{pid}/ns/time")));
    let inside: Value = t.inside()["namespaces"]["time"].clone();
    assert_eq!(inside, super::super::trial::namespace_of(&pid, "time"));
}

const NAMESPACES: &str = "config-linux.md#namespaces";
const MAPPINGS: &str = "config-linux.md#user-namespace-mappings";
const OFFSETS: &str = "config-linux.md#offset-for-time-namespace";
const NEW: &str = "without a path a new namespace of the type is created";
const INHERITED: &str = "a type that is not in the list: the container has the runtime's namespace";
const JOINED: &str = "with a path the container's process is in the namespace that is there";

const ROOT: &[Need] = &[Need::Root];

pub const CASES: &[Case] = &[
    must(NAMESPACES, "namespace-new-pid", NEW, new),
    must(NAMESPACES, "namespace-new-network", NEW, new),
    must(NAMESPACES, "namespace-new-mount", NEW, new),
    must(NAMESPACES, "namespace-new-ipc", NEW, new),
    must(NAMESPACES, "namespace-new-uts", NEW, new),
    must(NAMESPACES, "namespace-new-user", NEW, new).needs(ROOT),
    must(NAMESPACES, "namespace-new-cgroup", NEW, new),
    must(NAMESPACES, "namespace-new-time", NEW, new).needs(&[Need::Namespace("time")]),
    must(NAMESPACES, "namespace-inherited-pid", INHERITED, inherited).needs(ROOT),
    must(NAMESPACES, "namespace-inherited-network", INHERITED, inherited),
    must(NAMESPACES, "namespace-inherited-ipc", INHERITED, inherited).needs(ROOT),
    must(NAMESPACES, "namespace-inherited-uts", INHERITED, inherited),
    must(NAMESPACES, "namespace-inherited-user", INHERITED, inherited).needs(ROOT),
    must(NAMESPACES, "namespace-inherited-cgroup", INHERITED, inherited),
    must(NAMESPACES, "namespace-inherited-time", INHERITED, inherited).needs(&[Need::Namespace("time")]),
    must(NAMESPACES, "namespace-joined-pid", JOINED, joined).needs(ROOT),
    must(NAMESPACES, "namespace-joined-network", JOINED, joined).needs(ROOT),
    must(NAMESPACES, "namespace-joined-ipc", JOINED, joined).needs(ROOT),
    must(NAMESPACES, "namespace-joined-uts", JOINED, joined).needs(ROOT),
    must(NAMESPACES, "namespace-joined-cgroup", JOINED, joined).needs(ROOT),
    must(NAMESPACES, "namespace-joined-time", JOINED, joined_time)
        .needs(&[Need::Root, Need::Namespace("time")]),
    must(
        NAMESPACES,
        "namespace-path-of-another-type",
        "a path to a namespace of another type is an error",
        wrong_kind,
    ),
    must(
        NAMESPACES,
        "namespace-path-no-namespace",
        "a path to something else is an error",
        no_namespace_file,
    ),
    must(NAMESPACES, "namespace-path-missing", "a path at which there is nothing is an error", missing_path),
    must(NAMESPACES, "namespace-path-relative", "a path that is not absolute is an error", relative_path),
    must(NAMESPACES, "namespace-twice", "a type that is in the list twice is an error", twice),
    must("config.md#valid-values", "namespace-unknown-type", "an unknown type is an error", unknown_type),
    must(NAMESPACES, "namespace-type-required", "an entry without a type is an error", no_type),
    must(
        NAMESPACES,
        "namespace-pid-isolates",
        "in a pid namespace of its own the process is the first",
        pid_sees_its_own,
    ),
    must(
        NAMESPACES,
        "namespace-network-isolates",
        "in a network namespace of its own the container has its own stack",
        network_is_empty,
    ),
    must(MAPPINGS, "mappings", "uidMappings and gidMappings are the maps of the user namespace", mappings)
        .needs(ROOT),
    should(
        MAPPINGS,
        "mappings-ownership",
        "the ownership of files is not changed to realise the mapping",
        ownership,
    )
    .needs(ROOT),
    must(
        "config.md#posix-platform-user",
        "mappings-user",
        "uid and gid are those in the container's namespace",
        user_in_namespace,
    )
    .needs(ROOT),
    must(
        "config.md#valid-values",
        "mappings-user-not-mapped",
        "a user that is not mapped is an error",
        user_not_mapped,
    )
    .needs(ROOT),
    must(OFFSETS, "time-offset-monotonic", "the clock is set off by secs and nanosecs", offsets)
        .needs(&[Need::Root, Need::Namespace("time")]),
    must(OFFSETS, "time-offset-boottime", "the clock is set off by secs and nanosecs", offsets)
        .needs(&[Need::Root, Need::Namespace("time")]),
    must("config.md#valid-values", "time-offset-unknown", "an unknown clock is an error", unknown_clock)
        .needs(&[Need::Namespace("time")]),
];
