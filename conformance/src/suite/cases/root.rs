//! config.md, "Root".

use serde_json::json;

use super::super::case::{Case, must};
use super::super::trial::Trial;

fn relative(t: &mut Trial) {
    t.set("/root/path", json!("./rootfs"));
    assert_eq!(t.says(&["echo", "there"]), "there");
}

fn absolute(t: &mut Trial) {
    let path = t.rootfs("").to_string_lossy().trim_end_matches('/').to_owned();
    t.set("/root/path", json!(path));
    assert_eq!(t.says(&["echo", "there"]), "there");
}

fn missing(t: &mut Trial) {
    t.set("/root/path", json!("nowhere"));
    t.refused();
}

fn file(t: &mut Trial) {
    t.set("/root/path", json!("config.json"));
    t.refused();
}

fn no_root(t: &mut Trial) {
    t.unset("/root");
    t.refused();
}

fn no_path(t: &mut Trial) {
    t.unset("/root/path");
    t.refused();
}

fn readonly(t: &mut Trial) {
    t.set("/root/readonly", json!(true));
    assert_eq!(t.says(&["write", "/tmp/file", "x"]), "EROFS");
    assert_eq!(t.inside()["root_readonly"], true);
}

fn readonly_false(t: &mut Trial) {
    t.writable();
    assert_eq!(t.says(&["write", "/tmp/file", "x"]), "ok");
}

fn readonly_unset(t: &mut Trial) {
    t.unset("/root/readonly");
    assert_eq!(t.says(&["write", "/tmp/file", "x"]), "ok");
}

fn is_the_root(t: &mut Trial) {
    std::fs::write(t.rootfs("etc/mark"), "ours").expect("our own directory");
    assert_eq!(t.says(&["cat", "/etc/mark"]), "ours");
    let host = t.directory().to_string_lossy().into_owned();
    assert_eq!(t.says(&["stat", &host]), "ENOENT");
}

const ROOT: &str = "config.md#root";

pub const CASES: &[Case] = &[
    must(
        ROOT,
        "root-is-the-root",
        "the container's root is the directory at root.path, and the host's files are out of sight",
        is_the_root,
    ),
    must(ROOT, "root-relative", "a relative path is relative to the bundle", relative),
    must(ROOT, "root-absolute", "an absolute path is taken as it is", absolute),
    must(ROOT, "root-missing", "a path at which there is nothing is an error", missing),
    must(ROOT, "root-not-a-directory", "a path at which there is no directory is an error", file),
    must(ROOT, "root-required", "a config without root is an error", no_root),
    must(ROOT, "root-path-required", "root without path is an error", no_path),
    must(ROOT, "root-readonly", "readonly true: nothing in the root file system can be written", readonly),
    must(ROOT, "root-writable", "readonly false: it can", readonly_false),
    must(ROOT, "root-readonly-default", "readonly is false when it is not set", readonly_unset),
];
