//! runtime.md, "State" and "Query State".

use std::path::Path;

use serde_json::json;

use super::super::case::{Case, must};
use super::super::trial::{Trial, namespace_of, own_namespace};

fn idle(t: &mut Trial) {
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
}

fn created(t: &mut Trial) {
    idle(t);
    assert_eq!(t.status(), "created");
    let pid = t.pid();
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "there is no process {pid}");
}

fn running(t: &mut Trial) {
    idle(t);
    let before = t.pid();
    t.start().ok();
    assert_eq!(t.status(), "running");
    assert_eq!(t.pid(), before, "the pid has changed with start");
}

fn stopped(t: &mut Trial) {
    t.args(&["probe", "true"]);
    t.create().ok();
    let pid = t.pid();
    t.start().ok();
    t.await_status("stopped");
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
    assert_eq!(t.status(), "stopped");
}

fn required(t: &mut Trial) {
    idle(t);
    let state = t.state();
    for name in ["ociVersion", "id", "status", "bundle"] {
        assert!(state[name].is_string(), "{name} in {state}");
    }
    assert!(state["pid"].is_u64(), "pid in {state}");
    assert_eq!(state["id"], json!(t.id));
}

fn version(t: &mut Trial) {
    idle(t);
    let state = t.state();
    let version = state["ociVersion"].as_str().unwrap_or_default();
    let numbers: Vec<_> = version.split(['.', '-', '+']).take(3).map(str::parse::<u32>).collect();
    assert!(numbers.len() == 3 && numbers.iter().all(Result::is_ok), "not SemVer: {version}");
}

fn pid_is_the_process(t: &mut Trial) {
    idle(t);
    let pid = t.pid().to_string();
    assert_ne!(namespace_of(&pid, "pid"), own_namespace("pid"));
    assert_ne!(namespace_of(&pid, "mnt"), own_namespace("mnt"));
    t.start().ok();
    let line = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let inner = line.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    assert_eq!(inner.split_whitespace().last(), Some("1"), "not the first process of its namespace: {inner}");
}

fn absolute_bundle(t: &mut Trial) {
    t.args(&["probe", "sleep", "60"]);
    // Commands are started in the bundle.
    t.runtime(&["create", "--bundle", ".", &t.id]).ok();
    assert_eq!(t.state()["bundle"], json!(t.directory().canonicalize().expect("our own directory")));
}

fn annotations(t: &mut Trial) {
    t.set("/annotations", json!({ "com.example.key": "value", "com.example.empty": "" }));
    idle(t);
    let state = t.state();
    assert_eq!(state["annotations"]["com.example.key"], "value", "{state}");
    assert_eq!(state["annotations"]["com.example.empty"], "", "{state}");
}

fn no_annotations(t: &mut Trial) {
    idle(t);
    let state = t.state();
    let given = &state["annotations"];
    assert!(given.is_null() || *given == json!({}), "{state}");
}

fn without_id(t: &mut Trial) {
    let output = t.runtime(&["state"]);
    assert!(!output.status.success(), "{output}");
}

fn unknown(t: &mut Trial) {
    let output = t.runtime(&["state", &t.id]);
    assert!(!output.status.success(), "{output}");
}

const STATE: &str = "runtime.md#state";
const QUERY: &str = "runtime.md#query-state";

pub const CASES: &[Case] = &[
    must(STATE, "state-created", "after create the status is created, and there is a process", created),
    must(STATE, "state-running", "after start the status is running, of the same process", running),
    must(STATE, "state-stopped", "when its process has ended the status is stopped", stopped),
    must(
        STATE,
        "state-properties",
        "ociVersion, id, status, pid and bundle are there, with their types",
        required,
    ),
    must(STATE, "state-version", "ociVersion is a version of the specification, in SemVer", version),
    must(STATE, "state-pid", "pid is the container's process as the runtime sees it", pid_is_the_process),
    must(
        STATE,
        "state-bundle",
        "bundle is an absolute path, also when create was given a relative one",
        absolute_bundle,
    ),
    must(STATE, "state-annotations", "annotations are those of the config", annotations),
    must(
        STATE,
        "state-no-annotations",
        "without annotations the property is absent or an empty map",
        no_annotations,
    ),
    must(QUERY, "query-without-id", "state without an id is an error", without_id),
    must(QUERY, "query-unknown", "state of a container that does not exist is an error", unknown),
];
