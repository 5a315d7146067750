//! config-linux.md and runtime-linux.md: devices, default file systems, links, paths, parameters, what else is set once.

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::Trial;

fn file_system(t: &mut Trial) {
    let (place, kind) = match t.word() {
        "proc" => ("/proc", "proc"),
        "sys" => ("/sys", "sysfs"),
        "pts" => ("/dev/pts", "devpts"),
        _ => ("/dev/shm", "tmpfs"),
    };
    assert_eq!(t.mount_at(place)["type"], kind);
}

fn default_device(t: &mut Trial) {
    let name = t.word();
    let (major, minor) = match name {
        "null" => (1, 3),
        "zero" => (1, 5),
        "full" => (1, 7),
        "random" => (1, 8),
        "urandom" => (1, 9),
        _ => (5, 0),
    };
    let stat = t.stat(&format!("/dev/{name}"));
    assert_eq!(
        (&stat["type"], &stat["major"], &stat["minor"]),
        (&json!("c"), &json!(major), &json!(minor)),
        "{stat}"
    );
    // Who has no terminal is told so by /dev/tty itself.
    let opened = t.says(&["open-rw", &format!("/dev/{name}")]);
    assert_eq!(opened, if name == "tty" { "ENXIO" } else { "ok" });
}

fn default_devices_for_all(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    assert_eq!(t.says(&["open-rw", "/dev/null"]), "ok");
}

fn ptmx(t: &mut Trial) {
    let stat = t.stat("/dev/ptmx");
    let link = stat["type"] == "l" && stat["target"].as_str().is_some_and(|to| to.ends_with("pts/ptmx"));
    let bound = stat["type"] == "c" && stat["major"] == 5 && stat["minor"] == 2;
    assert!(link || bound, "{stat}");
    assert_eq!(t.says(&["open-rw", "/dev/ptmx"]), "ok");
}

fn link(t: &mut Trial) {
    let name = t.word();
    let target = match name {
        "fd" => "/proc/self/fd",
        "stdin" => "/proc/self/fd/0",
        "stdout" => "/proc/self/fd/1",
        _ => "/proc/self/fd/2",
    };
    assert_eq!(t.says(&["readlink", &format!("/dev/{name}")]), target);
}

/// A device that the kernel does not have: nothing can be done with it.
fn device(kind: &str, path: &str) -> Value {
    json!({ "type": kind, "path": path, "major": 60, "minor": 7, "fileMode": 0o640, "uid": 0, "gid": 0 })
}

fn device_made(t: &mut Trial) {
    let kind = t.word();
    let mut asked = device(kind, "/dev/suite");
    if kind == "p" {
        asked = json!({ "type": "p", "path": "/dev/suite" });
    }
    t.set("/linux/devices", json!([asked]));
    let stat = t.stat("/dev/suite");
    // u is an unbuffered character device.
    assert_eq!(stat["type"], if kind == "u" { "c" } else { kind }, "{stat}");
    assert!(kind == "p" || (stat["major"] == 60 && stat["minor"] == 7), "{stat}");
}

fn device_mode(t: &mut Trial) {
    t.set("/linux/devices", json!([device("c", "/dev/suite")]));
    assert_eq!(t.stat("/dev/suite")["mode"], 0o640);
}

fn device_owner(t: &mut Trial) {
    let mut device = device("c", "/dev/suite");
    (device["uid"], device["gid"]) = (json!(11), json!(12));
    t.set("/linux/devices", json!([device]));
    let stat = t.stat("/dev/suite");
    assert_eq!((&stat["uid"], &stat["gid"]), (&json!(11), &json!(12)), "{stat}");
}

fn device_elsewhere(t: &mut Trial) {
    t.mount("/opt", "tmpfs", "tmpfs", &[]);
    t.set("/linux/devices", json!([device("c", "/opt/below/suite")]));
    let stat = t.stat("/opt/below/suite");
    assert_eq!((&stat["type"], &stat["major"]), (&json!("c"), &json!(60)), "{stat}");
}

fn device_is_there(t: &mut Trial) {
    let node = t.rootfs("etc/suite");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o640), makedev(60, 7)).expect("root may");
    t.writable();
    t.set("/linux/devices", json!([device("c", "/etc/suite")]));
    assert_eq!(t.stat("/etc/suite")["minor"], 7);
}

fn device_is_a_file(t: &mut Trial) {
    std::fs::write(t.rootfs("etc/suite"), "").expect("our own directory");
    t.writable();
    t.set("/linux/devices", json!([device("c", "/etc/suite")]));
    t.refused();
}

fn device_is_another(t: &mut Trial) {
    let node = t.rootfs("etc/suite");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o640), makedev(60, 8)).expect("root may");
    t.writable();
    t.set("/linux/devices", json!([device("c", "/etc/suite")]));
    t.refused();
}

fn device_unknown_type(t: &mut Trial) {
    t.set("/linux/devices", json!([device("x", "/dev/suite")]));
    t.refused();
}

fn device_without_numbers(t: &mut Trial) {
    t.set("/linux/devices", json!([{ "type": "c", "path": "/dev/suite" }]));
    t.refused();
}

fn sysctl(t: &mut Trial) {
    t.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.shmmni": "77" }));
    let report = t.inside_with(&["net.ipv4.ip_forward", "kernel.shmmni"]);
    let expected = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmni": "77" });
    assert_eq!(report["sysctls"], expected);
}

fn sysctl_unknown(t: &mut Trial) {
    t.set("/linux/sysctl", json!({ "net.ipv4.no_such_thing": "1" }));
    t.refused();
}

fn sysctl_refused(t: &mut Trial) {
    t.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "nonsense" }));
    t.refused();
}

fn masked_file(t: &mut Trial) {
    std::fs::write(t.rootfs("etc/secret"), "secret").expect("our own directory");
    t.set("/linux/maskedPaths", json!(["/etc/secret"]));
    assert_eq!(t.says(&["cat", "/etc/secret"]), "");
}

fn masked_directory(t: &mut Trial) {
    std::fs::write(t.rootfs("root/secret"), "secret").expect("our own directory");
    t.set("/linux/maskedPaths", json!(["/root"]));
    assert_eq!(t.says(&["ls", "/root"]), "");
    assert_eq!(t.says(&["cat", "/root/secret"]), "ENOENT");
}

fn masked_in_proc(t: &mut Trial) {
    t.set("/linux/maskedPaths", json!(["/proc/version", "/proc/sys"]));
    assert_eq!(t.says(&["cat", "/proc/version"]), "");
    assert_eq!(t.says(&["ls", "/proc/sys"]), "");
}

fn readonly_paths(t: &mut Trial) {
    t.writable();
    std::fs::write(t.rootfs("etc/file"), "old").expect("our own directory");
    t.set("/linux/readonlyPaths", json!(["/etc/file", "/root"]));
    assert_eq!(t.says(&["write", "/etc/file", "new"]), "EROFS");
    assert_eq!(t.says(&["write", "/root/file", "new"]), "EROFS");
    assert_eq!(t.says(&["write", "/tmp/file", "new"]), "ok", "the rest can be written");
}

fn readonly_in_proc(t: &mut Trial) {
    t.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    assert_eq!(t.says(&["write", "/proc/sys/kernel/domainname", "x"]), "EROFS");
}

fn relative_masked(t: &mut Trial) {
    t.set("/linux/maskedPaths", json!(["etc/secret"]));
    t.refused();
}

fn relative_readonly(t: &mut Trial) {
    t.set("/linux/readonlyPaths", json!(["etc/file"]));
    t.refused();
}

fn personality(t: &mut Trial) {
    t.set("/linux/personality", json!({ "domain": t.word() }));
    let expected = if t.word() == "LINUX32" { 8 } else { 0 };
    assert_eq!(t.inside()["schedule"]["personality"], expected);
}

fn personality_unknown(t: &mut Trial) {
    t.set("/linux/personality", json!({ "domain": "SOLARIS" }));
    t.refused_until_started();
}

fn personality_flags(t: &mut Trial) {
    t.set("/linux/personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }));
    t.refused_until_started();
}

fn memory_policy(t: &mut Trial) {
    let (mode, nodes, number) = match t.word() {
        "interleave" => ("MPOL_INTERLEAVE", "0", 3),
        "bind" => ("MPOL_BIND", "0", 2),
        "preferred" => ("MPOL_PREFERRED", "0", 1),
        _ => ("MPOL_LOCAL", "", 4),
    };
    t.set("/linux/memoryPolicy", json!({ "mode": mode, "nodes": nodes }));
    let found = t.inside()["schedule"]["mempolicy"].clone();
    assert_eq!(found["mode"], number, "{found}");
    assert!(nodes.is_empty() || found["nodes"] == json!([0]), "{found}");
}

fn memory_policy_unknown(t: &mut Trial) {
    t.set("/linux/memoryPolicy", json!({ "mode": "MPOL_NONSENSE" }));
    t.refused_until_started();
}

fn memory_policy_without_nodes(t: &mut Trial) {
    t.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND" }));
    t.refused_until_started();
}

fn memory_policy_flag(t: &mut Trial) {
    t.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NONSENSE"] }));
    t.refused_until_started();
}

fn rdt(t: &mut Trial) {
    t.set("/linux/intelRdt", json!({ "closID": "suite", "l3CacheSchema": "L3:0=f" }));
    t.refused();
}

fn rootfs_propagation(t: &mut Trial) {
    let kind = t.word();
    t.set("/linux/rootfsPropagation", json!(kind));
    let mount = t.mount_at("/");
    let fields = mount["propagation"].as_array().cloned().unwrap_or_default();
    let has = |name: &str| fields.iter().filter_map(Value::as_str).any(|field| field.starts_with(name));
    let as_asked = match kind {
        "shared" => has("shared"),
        "unbindable" => has("unbindable"),
        // Where the host's mounts are private there is nobody to be a slave of.
        "slave" => !has("shared"),
        _ => !has("shared") && !has("master"),
    };
    assert!(as_asked, "{mount}");
}

fn rootfs_propagation_unknown(t: &mut Trial) {
    t.set("/linux/rootfsPropagation", json!("nonsense"));
    t.refused();
}

const FILE_SYSTEMS: &str = "config-linux.md#default-filesystems";
const DEVICES: &str = "config-linux.md#devices";
const DEFAULT: &str = "config-linux.md#default-devices";
const LINKS: &str = "runtime-linux.md#dev-symbolic-links";
const SYSCTL: &str = "config-linux.md#sysctl";
const MASKED: &str = "config-linux.md#masked-paths";
const READONLY: &str = "config-linux.md#readonly-paths";
const PERSONALITY: &str = "config-linux.md#personality";
const POLICY: &str = "config-linux.md#memory-policy";
const PROPAGATION: &str = "config-linux.md#rootfs-mount-propagation";
const VALID: &str = "config.md#valid-values";

const ROOT: &[Need] = &[Need::Root];
const NODES: &[Need] = &[Need::Root, Need::File("/sys/devices/system/node/node0")];

pub const CASES: &[Case] = &[
    should(
        FILE_SYSTEMS,
        "default-file-system-proc",
        "the file system is there, when the config mounts it",
        file_system,
    ),
    should(
        FILE_SYSTEMS,
        "default-file-system-sys",
        "the file system is there, when the config mounts it",
        file_system,
    ),
    should(
        FILE_SYSTEMS,
        "default-file-system-pts",
        "the file system is there, when the config mounts it",
        file_system,
    ),
    should(
        FILE_SYSTEMS,
        "default-file-system-shm",
        "the file system is there, when the config mounts it",
        file_system,
    ),
    must(DEFAULT, "default-device-null", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-device-zero", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-device-full", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-device-random", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-device-urandom", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-device-tty", "the device is supplied, and can be used", default_device),
    must(DEFAULT, "default-devices-for-all", "any user can use them", default_devices_for_all).needs(ROOT),
    must(
        DEFAULT,
        "default-device-ptmx",
        "/dev/ptmx is the container's /dev/pts/ptmx, by a bind mount or a link",
        ptmx,
    ),
    must(LINKS, "dev-link-fd", "the link is made", link),
    must(LINKS, "dev-link-stdin", "the link is made", link),
    must(LINKS, "dev-link-stdout", "the link is made", link),
    must(LINKS, "dev-link-stderr", "the link is made", link),
    must(DEVICES, "device-c", "the device is there, with its type and numbers", device_made).needs(ROOT),
    must(DEVICES, "device-b", "the device is there, with its type and numbers", device_made).needs(ROOT),
    must(DEVICES, "device-u", "the device is there, with its type and numbers", device_made).needs(ROOT),
    must(DEVICES, "device-p", "the device is there, with its type and numbers", device_made).needs(ROOT),
    must(DEVICES, "device-mode", "fileMode is its mode", device_mode).needs(ROOT),
    must(DEVICES, "device-owner", "uid and gid are its owner", device_owner).needs(ROOT),
    must(DEVICES, "device-elsewhere", "the path may be outside of /dev", device_elsewhere).needs(ROOT),
    must(
        DEVICES,
        "device-is-there",
        "a file that is there already and is this device is no error",
        device_is_there,
    )
    .needs(ROOT),
    must(
        DEVICES,
        "device-is-a-file",
        "a file that is there already and is no device is an error",
        device_is_a_file,
    )
    .needs(ROOT),
    must(
        DEVICES,
        "device-is-another",
        "a file that is there already and is another device is an error",
        device_is_another,
    )
    .needs(ROOT),
    must(VALID, "device-unknown-type", "an unknown type is an error", device_unknown_type).needs(ROOT),
    must(DEVICES, "device-without-numbers", "major and minor are required but for p", device_without_numbers)
        .needs(ROOT),
    must(SYSCTL, "sysctl", "the parameters have the values", sysctl),
    must(VALID, "sysctl-unknown", "a parameter that is not there is an error", sysctl_unknown),
    must(VALID, "sysctl-refused", "a value that the kernel does not take is an error", sysctl_refused),
    must(MASKED, "masked-file", "a masked file cannot be read", masked_file),
    must(MASKED, "masked-directory", "a masked directory cannot be read", masked_directory),
    must(MASKED, "masked-in-proc", "paths of procfs can be masked", masked_in_proc),
    must(MASKED, "masked-relative", "a path that is not absolute is an error", relative_masked),
    must(READONLY, "readonly-paths", "the paths cannot be written, the rest can", readonly_paths),
    must(READONLY, "readonly-in-proc", "paths of procfs can be made read-only", readonly_in_proc),
    must(READONLY, "readonly-relative", "a path that is not absolute is an error", relative_readonly),
    must(PERSONALITY, "personality-LINUX", "domain is the execution domain", personality),
    must(PERSONALITY, "personality-LINUX32", "domain is the execution domain", personality),
    must(VALID, "personality-unknown", "an unknown domain is an error", personality_unknown),
    must(PERSONALITY, "personality-flags", "no flags are supported: one is an error", personality_flags),
    must(POLICY, "memory-policy-interleave", "mode and nodes are the policy of the process", memory_policy)
        .needs(NODES),
    must(POLICY, "memory-policy-bind", "mode and nodes are the policy of the process", memory_policy)
        .needs(NODES),
    must(POLICY, "memory-policy-preferred", "mode and nodes are the policy of the process", memory_policy)
        .needs(NODES),
    must(POLICY, "memory-policy-local", "mode and nodes are the policy of the process", memory_policy)
        .needs(NODES),
    must(VALID, "memory-policy-unknown", "an unknown mode is an error", memory_policy_unknown),
    must(
        VALID,
        "memory-policy-without-nodes",
        "a mode that needs nodes without them is an error",
        memory_policy_without_nodes,
    ),
    must(VALID, "memory-policy-flag", "an unknown flag is an error", memory_policy_flag),
    must(
        "config-linux.md#intelrdt",
        "intel-rdt-absent",
        "without a mounted resctrl file system intelRdt is an error",
        rdt,
    )
    .needs(&[Need::Root, Need::NoFile("/sys/fs/resctrl/schemata")]),
    must(
        PROPAGATION,
        "rootfs-propagation-shared",
        "the root's mount has this propagation",
        rootfs_propagation,
    )
    .needs(ROOT),
    must(
        PROPAGATION,
        "rootfs-propagation-slave",
        "the root's mount has this propagation",
        rootfs_propagation,
    )
    .needs(ROOT),
    must(
        PROPAGATION,
        "rootfs-propagation-private",
        "the root's mount has this propagation",
        rootfs_propagation,
    )
    .needs(ROOT),
    must(
        PROPAGATION,
        "rootfs-propagation-unbindable",
        "the root's mount has this propagation",
        rootfs_propagation,
    )
    .needs(ROOT),
    must(
        VALID,
        "rootfs-propagation-unknown",
        "an unknown propagation is an error",
        rootfs_propagation_unknown,
    ),
];
