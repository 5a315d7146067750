//! config.md, "Linux mount options": each option of the table.

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::Trial;

fn has(mount: &Value, option: &str) -> bool {
    ["options", "super_options"]
        .iter()
        .any(|key| mount[key].as_array().is_some_and(|options| options.iter().any(|one| one == option)))
}

/// The flag is seen in mountinfo under its own name.
fn sets(t: &mut Trial) {
    let option = t.word();
    t.mount("/mnt", "tmpfs", "tmpfs", &[option]);
    let mount = t.mount_at("/mnt");
    assert!(has(&mount, option), "{mount}");
}

/// After its opposite the flag is not there.
fn clears(t: &mut Trial) {
    let option = t.word();
    let opposite = match option {
        "rw" => "ro".to_owned(),
        "async" => "sync".to_owned(),
        "norelatime" | "nostrictatime" | "nolazytime" => option.trim_start_matches("no").to_owned(),
        _ => format!("no{option}"),
    };
    t.mount("/mnt", "tmpfs", "tmpfs", &[&opposite, option]);
    let mount = t.mount_at("/mnt");
    let gone = match option {
        // The kernel always has one way to keep access times; what is left is its default.
        "norelatime" | "nostrictatime" => "noatime".to_owned(),
        _ => opposite,
    };
    assert!(!has(&mount, &gone), "{mount}");
}

fn strictatime(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &["strictatime"]);
    let mount = t.mount_at("/mnt");
    assert!(!has(&mount, "relatime") && !has(&mount, "noatime"), "{mount}");
}

/// It is no error and the rest of the options has its effect.
fn accepted(t: &mut Trial) {
    let option = t.word();
    t.mount("/mnt", "tmpfs", "tmpfs", &["nosuid", option]);
    let mount = t.mount_at("/mnt");
    assert!(mount["type"] == "tmpfs" && has(&mount, "nosuid"), "{mount}");
}

fn remount(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &["nosuid", "rw"]);
    t.mount("/mnt", "tmpfs", "tmpfs", &["remount", "nosuid", "ro"]);
    let report = t.inside();
    let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
    let there: Vec<_> = mounts.iter().filter(|mount| mount["destination"] == "/mnt").collect();
    assert!(there.len() == 1 && has(there[0], "ro"), "{there:?}");
}

fn bind_option(t: &mut Trial) {
    let source = t.host_directory("data");
    let option = t.word().trim_start_matches("bind");
    t.mount("/mnt", "bind", &source, &["bind", option]);
    let mount = t.mount_at("/mnt");
    assert!(has(&mount, option), "{mount}");
}

/// A directory with a file system mounted below it, in a mount namespace of this process.
fn tree(t: &Trial, flags: MsFlags, propagation: MsFlags) -> String {
    let source = t.host_directory("tree");
    let below = t.host_directory("tree/below");
    unshare(CloneFlags::CLONE_NEWNS).expect("root may");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("root may");
    mount(Some(source.as_str()), source.as_str(), none, MsFlags::MS_BIND, none).expect("root may");
    mount(none, source.as_str(), none, propagation, none).expect("root may");
    mount(Some("tmpfs"), below.as_str(), Some("tmpfs"), flags, none).expect("root may");
    source
}

fn bind_is_flat(t: &mut Trial) {
    let source = tree(t, MsFlags::empty(), MsFlags::MS_PRIVATE);
    fs::write(format!("{source}/below/file"), "x").expect("our own file system");
    t.mount("/mnt", "bind", &source, &["bind"]);
    assert_eq!(t.says(&["cat", "/mnt/below/file"]), "ENOENT");
}

fn rbind_is_deep(t: &mut Trial) {
    let source = tree(t, MsFlags::empty(), MsFlags::MS_PRIVATE);
    fs::write(format!("{source}/below/file"), "x").expect("our own file system");
    t.mount("/mnt", "bind", &source, &["rbind"]);
    assert_eq!(t.says(&["cat", "/mnt/below/file"]), "x");
}

/// The mounts at `/mnt` and below it, of a tree that is shared on the host.
fn propagated(t: &mut Trial, option: &str) -> [Value; 2] {
    let source = tree(t, MsFlags::empty(), MsFlags::MS_SHARED);
    t.mount("/mnt", "bind", &source, &["rbind", option]);
    let report = t.inside();
    ["/mnt", "/mnt/below"].map(|place| {
        let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
        let found = mounts.into_iter().find(|mount| mount["destination"] == place);
        found.unwrap_or_else(|| panic!("nothing at {place}: {}", report["mounts"]))
    })
}

fn propagation(t: &mut Trial) {
    let option = t.word();
    let [top, below] = propagated(t, option);
    let kind = |mount: &Value| -> Vec<String> {
        let fields = mount["propagation"].as_array().cloned().unwrap_or_default();
        fields
            .iter()
            .filter_map(|field| field.as_str())
            .map(|field| field.split(':').next().unwrap_or_default().to_owned())
            .collect()
    };
    // A shared mount may also receive what is mounted in the group that it comes from.
    let as_asked = |mount: &Value| {
        let kind = kind(mount);
        match option.trim_start_matches('r') {
            "shared" => kind.contains(&"shared".to_owned()),
            "slave" => kind == ["master"],
            "unbindable" => kind == ["unbindable"],
            _ => kind.is_empty(),
        }
    };
    assert!(as_asked(&top), "{top}");
    assert!(!option.starts_with('r') || as_asked(&below), "{below}");
}

/// For each recursive option: how the file system below is mounted on the host, what must be seen on it, what not.
const RECURSIVE: [(&str, MsFlags, &str, &str); 18] = [
    ("rro", MsFlags::empty(), "ro", "rw"),
    ("rrw", MsFlags::MS_RDONLY, "rw", "ro"),
    ("rnoexec", MsFlags::empty(), "noexec", ""),
    ("rexec", MsFlags::MS_NOEXEC, "", "noexec"),
    ("rnosuid", MsFlags::empty(), "nosuid", ""),
    ("rsuid", MsFlags::MS_NOSUID, "", "nosuid"),
    ("rnodev", MsFlags::empty(), "nodev", ""),
    ("rdev", MsFlags::MS_NODEV, "", "nodev"),
    ("rnodiratime", MsFlags::empty(), "nodiratime", ""),
    ("rdiratime", MsFlags::MS_NODIRATIME, "", "nodiratime"),
    ("rnoatime", MsFlags::empty(), "noatime", "relatime"),
    ("ratime", MsFlags::MS_NOATIME, "", "noatime"),
    ("rrelatime", MsFlags::MS_NOATIME, "relatime", "noatime"),
    ("rstrictatime", MsFlags::empty(), "", "relatime"),
    ("rnosymfollow", MsFlags::empty(), "nosymfollow", ""),
    // Linux 5.10, MS_NOSYMFOLLOW: libc has no name for it.
    ("rsymfollow", MsFlags::from_bits_retain(256), "", "nosymfollow"),
    ("rnorelatime", MsFlags::empty(), "", ""),
    ("rnostrictatime", MsFlags::empty(), "", ""),
];

/// Whether an option is one for a whole tree.
pub fn is_recursive(option: &str) -> bool {
    RECURSIVE.iter().any(|row| row.0 == option)
}

fn recursive(t: &mut Trial) {
    let option = t.word();
    let row = RECURSIVE.into_iter().find(|row| row.0 == option).expect("a row of the table");
    let (_, flags, there, gone) = row;
    let source = tree(t, flags, MsFlags::MS_PRIVATE);
    t.mount("/mnt", "bind", &source, &["rbind", option]);
    let below = t.mount_at("/mnt/below");
    let flags = &below["options"].as_array().cloned().unwrap_or_default();
    assert!(there.is_empty() || flags.contains(&json!(there)), "{there} is wanted on {below}");
    assert!(gone.is_empty() || !flags.contains(&json!(gone)), "{gone} is not wanted on {below}");
}

const OPTIONS: &str = "config.md#linux-mount-options";
const AS_MOUNT: &str = "the option of the table has the meaning that mount(8) gives it";
const PROPAGATION: &str = "the option of the table sets the propagation";
const DEEP: &str = "the option of the table sets or clears the attribute of all mounts of the tree";

const fn flag(name: &'static str, run: fn(&mut Trial)) -> Case {
    must(OPTIONS, name, AS_MOUNT, run)
}

const fn propagates(name: &'static str) -> Case {
    must(OPTIONS, name, PROPAGATION, propagation).needs(&[Need::Root])
}

const fn deep(name: &'static str) -> Case {
    should(OPTIONS, name, DEEP, recursive).needs(&[Need::Root, Need::MountSetattr])
}

pub const CASES: &[Case] = &[
    flag("mount-option-async", clears),
    flag("mount-option-atime", clears),
    flag("mount-option-bind", bind_is_flat).needs(&[Need::Root]),
    flag("mount-option-defaults", accepted),
    flag("mount-option-dev", clears),
    flag("mount-option-diratime", clears),
    flag("mount-option-dirsync", sets),
    flag("mount-option-exec", clears),
    flag("mount-option-iversion", accepted),
    flag("mount-option-lazytime", sets),
    flag("mount-option-loud", accepted),
    flag("mount-option-noatime", sets),
    flag("mount-option-nodev", sets),
    flag("mount-option-nodiratime", sets),
    flag("mount-option-noexec", sets),
    flag("mount-option-noiversion", accepted),
    flag("mount-option-nolazytime", clears),
    flag("mount-option-norelatime", clears),
    flag("mount-option-nostrictatime", clears),
    flag("mount-option-nosuid", sets),
    should(OPTIONS, "mount-option-nosymfollow", AS_MOUNT, sets),
    propagates("mount-option-private"),
    flag("mount-option-rbind", rbind_is_deep).needs(&[Need::Root]),
    flag("mount-option-relatime", sets),
    flag("mount-option-remount", remount),
    flag("mount-option-ro", sets),
    propagates("mount-option-rprivate"),
    propagates("mount-option-rshared"),
    propagates("mount-option-rslave"),
    propagates("mount-option-runbindable"),
    flag("mount-option-rw", clears),
    propagates("mount-option-shared"),
    flag("mount-option-silent", accepted),
    propagates("mount-option-slave"),
    flag("mount-option-strictatime", strictatime),
    flag("mount-option-suid", clears),
    should(OPTIONS, "mount-option-symfollow", AS_MOUNT, clears),
    flag("mount-option-sync", sets),
    propagates("mount-option-unbindable"),
    flag("mount-option-bindro", bind_option),
    flag("mount-option-bindnosuid", bind_option),
    flag("mount-option-bindnodev", bind_option),
    flag("mount-option-bindnoexec", bind_option),
    // In a user namespace the way of access times is the mounter's choice alone.
    flag("mount-option-bindnoatime", bind_option).needs(&[Need::Root]),
    deep("mount-option-ratime"),
    deep("mount-option-rdev"),
    deep("mount-option-rdiratime"),
    deep("mount-option-rexec"),
    deep("mount-option-rnoatime"),
    deep("mount-option-rnodev"),
    deep("mount-option-rnodiratime"),
    deep("mount-option-rnoexec"),
    deep("mount-option-rnorelatime"),
    deep("mount-option-rnostrictatime"),
    deep("mount-option-rnosuid"),
    deep("mount-option-rnosymfollow"),
    deep("mount-option-rrelatime"),
    deep("mount-option-rro"),
    deep("mount-option-rrw"),
    deep("mount-option-rstrictatime"),
    deep("mount-option-rsuid"),
    deep("mount-option-rsymfollow"),
];
