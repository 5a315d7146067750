//! config.md, "Mounts": order, places, sources, types, id mappings.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::Trial;

fn order(t: &mut Trial) {
    let [first, second] = ["first", "second"].map(|name| {
        let directory = t.host_directory(name);
        fs::write(Path::new(&directory).join("name"), name).expect("our own directory");
        directory
    });
    t.mount("/mnt", "bind", &first, &["bind"]);
    t.mount("/mnt", "bind", &second, &["bind"]);
    assert_eq!(t.says(&["cat", "/mnt/name"]), "second", "the last one is on top");
}

fn order_nested(t: &mut Trial) {
    let inner = t.host_directory("inner");
    fs::write(Path::new(&inner).join("name"), "inner").expect("our own directory");
    t.mount("/outer", "tmpfs", "tmpfs", &[]);
    t.mount("/outer/inner", "bind", &inner, &["bind"]);
    assert_eq!(t.says(&["cat", "/outer/inner/name"]), "inner");
}

fn order_covers(t: &mut Trial) {
    let inner = t.host_directory("inner");
    fs::write(Path::new(&inner).join("name"), "inner").expect("our own directory");
    t.writable();
    t.mount("/outer/inner", "bind", &inner, &["bind"]);
    t.mount("/outer", "tmpfs", "tmpfs", &[]);
    assert_eq!(t.says(&["cat", "/outer/inner/name"]), "ENOENT", "the later mount hides the earlier");
}

fn relative_destination(t: &mut Trial) {
    t.mount("mnt/below", "tmpfs", "tmpfs", &[]);
    assert_eq!(t.mount_at("/mnt/below")["type"], "tmpfs");
}

fn no_destination(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &[]);
    let last = t.config["mounts"].as_array().map_or(0, |mounts| mounts.len() - 1);
    t.unset(&format!("/mounts/{last}/destination"));
    t.refused();
}

fn bind(t: &mut Trial, kind: Value) {
    let source = t.host_directory("data");
    fs::write(Path::new(&source).join("name"), "ours").expect("our own directory");
    t.mount("/mnt", "", &source, &["bind"]);
    let last = t.config["mounts"].as_array().map_or(0, |mounts| mounts.len() - 1);
    match kind {
        Value::Null => t.unset(&format!("/mounts/{last}/type")),
        kind => t.set(&format!("/mounts/{last}/type"), kind),
    };
    assert_eq!(t.says(&["cat", "/mnt/name"]), "ours");
}

fn bind_relative(t: &mut Trial) {
    let source = t.host_directory("data");
    fs::write(Path::new(&source).join("name"), "ours").expect("our own directory");
    t.mount("/mnt", "bind", "data", &["bind"]);
    assert_eq!(t.says(&["cat", "/mnt/name"]), "ours");
}

fn bind_file(t: &mut Trial) {
    let source = t.host_directory("data");
    let file = format!("{source}/file");
    fs::write(&file, "ours").expect("our own directory");
    t.mount("/etc/file", "bind", &file, &["bind", "ro"]);
    assert_eq!(t.says(&["cat", "/etc/file"]), "ours");
    assert_eq!(t.says(&["write", "/etc/file", "x"]), "EROFS");
}

fn bind_missing(t: &mut Trial) {
    t.mount("/mnt", "bind", "/nowhere/at/all", &["bind"]);
    t.refused();
}

fn unknown_type(t: &mut Trial) {
    t.mount("/mnt", "no-such-file-system", "none", &[]);
    t.refused();
}

fn of_type(t: &mut Trial) {
    let kind = t.word();
    t.mount("/mnt", kind, kind, &["nosuid", "noexec", "nodev"]);
    assert_eq!(t.mount_at("/mnt")["type"], kind);
}

fn cgroup(t: &mut Trial) {
    let report = t.inside();
    let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
    let found = mounts.iter().any(|mount| {
        mount["destination"].as_str().is_some_and(|place| place.starts_with("/sys/fs/cgroup"))
            && mount["type"].as_str().is_some_and(|kind| kind.starts_with("cgroup"))
    });
    assert!(found, "no cgroup file system below /sys/fs/cgroup: {}", report["mounts"]);
}

fn data(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &["nosuid", "mode=700", "size=64k"]);
    let mount = t.mount_at("/mnt");
    let options = mount["super_options"].as_array().cloned().unwrap_or_default();
    assert!(options.contains(&json!("size=64k")) && options.contains(&json!("mode=700")), "{mount}");
}

fn unknown_data(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &["no-such-option=1"]);
    t.refused();
}

/// A bind mount under a mapping, as the last mount.
fn idmapped(t: &mut Trial, option: &str, mapped: bool) {
    let source = t.host_directory("data");
    let file = Path::new(&source).join("file");
    fs::write(&file, "").expect("our own directory");
    chown(&file, Some(1), Some(2)).expect("root may");
    t.mount("/mnt", "bind", &source, &["rbind", option]);
    if mapped {
        let mappings = |id: u32| json!([{ "containerID": id, "hostID": 1000 + id, "size": 1 }]);
        let last = t.config["mounts"].as_array().map_or(0, |mounts| mounts.len() - 1);
        t.set(&format!("/mounts/{last}/uidMappings"), mappings(1));
        t.set(&format!("/mounts/{last}/gidMappings"), mappings(2));
    }
}

fn idmap(t: &mut Trial) {
    let option = t.word();
    idmapped(t, option, true);
    let stat = t.stat("/mnt/file");
    assert_eq!((&stat["uid"], &stat["gid"]), (&json!(1001), &json!(1002)), "{stat}");
}

fn idmap_without_mappings(t: &mut Trial) {
    let option = t.word();
    idmapped(t, option, false);
    t.refused();
}

fn idmap_without_gids(t: &mut Trial) {
    idmapped(t, "idmap", true);
    let last = t.config["mounts"].as_array().map_or(0, |mounts| mounts.len() - 1);
    t.unset(&format!("/mounts/{last}/gidMappings"));
    t.refused();
}

const MOUNTS: &str = "config.md#mounts";
const POSIX: &str = "config.md#posix-platform-mounts";
const OPTIONS: &str = "config.md#linux-mount-options";

pub const CASES: &[Case] = &[
    must(MOUNTS, "mounts-order", "entries are mounted in the listed order: the last is on top", order),
    must(
        MOUNTS,
        "mounts-order-nested",
        "entries are mounted in the listed order: one may be in the one before",
        order_nested,
    ),
    must(
        MOUNTS,
        "mounts-order-covers",
        "entries are mounted in the listed order: one may hide the one before",
        order_covers,
    ),
    must(
        MOUNTS,
        "mounts-relative-destination",
        "a relative destination is relative to /",
        relative_destination,
    ),
    must(MOUNTS, "mounts-destination-required", "a mount without a destination is an error", no_destination),
    must(
        MOUNTS,
        "mounts-bind-none",
        "a mount with the option bind is a bind mount, whatever its type: none",
        |t| bind(t, json!("none")),
    ),
    must(
        MOUNTS,
        "mounts-bind-no-type",
        "a mount with the option bind is a bind mount, whatever its type: not set",
        |t| bind(t, Value::Null),
    ),
    must(
        MOUNTS,
        "mounts-bind-relative",
        "a relative source of a bind mount is relative to the bundle",
        bind_relative,
    ),
    must(MOUNTS, "mounts-bind-file", "a file can be bound, read-only too", bind_file),
    must(
        "runtime.md#create",
        "mounts-bind-missing",
        "a mount that cannot be made is an error, and there is no container: no source",
        bind_missing,
    ),
    must(
        "runtime.md#create",
        "mounts-unknown-type",
        "a mount that cannot be made is an error, and there is no container: no such type",
        unknown_type,
    ),
    must(POSIX, "mounts-type-tmpfs", "type is the file system's: tmpfs", of_type),
    must(POSIX, "mounts-type-proc", "type is the file system's: proc", of_type),
    must(POSIX, "mounts-type-sysfs", "type is the file system's: sysfs", of_type),
    must(POSIX, "mounts-type-mqueue", "type is the file system's: mqueue", of_type),
    must(POSIX, "mounts-type-devpts", "type is the file system's: devpts", of_type),
    must(
        "config-linux.md#control-groups",
        "mounts-cgroup",
        "a mount of type cgroup shows the cgroup file systems",
        cgroup,
    )
    .needs(&[Need::Root]),
    should(OPTIONS, "mounts-data", "options that are not known go to the file system", data),
    should(
        OPTIONS,
        "mounts-data-unknown",
        "options that are not known go to the file system, whose refusal is an error",
        unknown_data,
    ),
    should(OPTIONS, "mount-option-idmap", "idmap applies the mappings of the mount", idmap)
        .needs(&[Need::Root, Need::MountSetattr]),
    should(OPTIONS, "mount-option-ridmap", "ridmap applies the mappings of the mount", idmap)
        .needs(&[Need::Root, Need::MountSetattr]),
    must(
        OPTIONS,
        "mount-no-mappings-idmap",
        "idmap without mappings and without a user namespace is an error",
        idmap_without_mappings,
    )
    .needs(&[Need::Root]),
    must(
        OPTIONS,
        "mount-no-mappings-ridmap",
        "ridmap without mappings and without a user namespace is an error",
        idmap_without_mappings,
    )
    .needs(&[Need::Root]),
    must(
        POSIX,
        "mounts-mappings-together",
        "uidMappings without gidMappings are an error",
        idmap_without_gids,
    )
    .needs(&[Need::Root]),
];
