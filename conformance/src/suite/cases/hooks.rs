//! config.md, "POSIX-platform Hooks", and runtime.md, "Lifecycle": when hooks run, where, with what, and what their failure means.

use std::fs;
use std::time::{Duration, Instant};

use conformance::harness::eventually;
use serde_json::{Value, json};

use super::super::case::{Case, must};
use super::super::trial::{Trial, own_namespace};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn all(t: &mut Trial) {
    for kind in KINDS {
        t.hook(kind, &[]);
    }
}

fn counts(t: &Trial) -> [usize; 6] {
    KINDS.map(|kind| t.records(kind).len())
}

/// Create, start, the end of the program, delete; what ran after each.
fn steps(t: &mut Trial) -> [[usize; 6]; 4] {
    t.args(&["probe", "trap", "TERM"]);
    t.create().ok();
    let output = t.output_file(0);
    let created = counts(t);
    t.start().ok();
    let started = counts(t);
    eventually("the program is ready", || fs::read_to_string(&output).is_ok_and(|text| text == "ready\n"));
    t.kill("TERM").ok();
    t.end();
    t.await_status("stopped");
    let ended = counts(t);
    t.delete(&[]).ok();
    [created, started, ended, counts(t)]
}

fn in_create(t: &mut Trial) {
    all(t);
    let [created, ..] = steps(t);
    let at = KINDS.iter().position(|kind| *kind == t.word()).expect("a kind");
    assert_eq!(created[at], 1, "{} hooks that ran by the end of create", t.word());
}

fn in_start(t: &mut Trial) {
    all(t);
    let [created, started, ..] = steps(t);
    let at = KINDS.iter().position(|kind| *kind == t.word()).expect("a kind");
    assert_eq!((created[at], started[at]), (0, 1), "{} hooks after create, after start", t.word());
}

fn in_delete(t: &mut Trial) {
    all(t);
    let [.., ended, deleted] = steps(t);
    assert_eq!((ended[5], deleted[5]), (0, 1), "poststop hooks before delete, after delete");
}

/// The times at which hooks began are the order of lines in a file that all write to.
fn order_of_create(t: &mut Trial) {
    let shared = t.host_directory("shared");
    t.mount(&shared, "bind", &shared, &["bind", "rw"]);
    let file = format!("{shared}/order");
    for kind in ["createContainer", "createRuntime", "prestart"] {
        let hook = t.hook(kind, &[]);
        hook["args"] = json!(["probe", "hook", file, kind]);
    }
    t.create().ok();
    let text = fs::read_to_string(&file).expect("hooks wrote it");
    let order: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a record")["argv"][3].clone())
        .collect();
    assert_eq!(order, ["prestart", "createRuntime", "createContainer"]);
}

fn order_of_a_list(t: &mut Trial) {
    for number in ["1", "2", "3"] {
        t.hook("createRuntime", &[number]);
        t.hook("poststop", &[number]);
    }
    t.life(&["probe", "true"]);
    for kind in ["createRuntime", "poststop"] {
        let order: Vec<Value> = t.records(kind).iter().map(|record| record["argv"][3].clone()).collect();
        assert_eq!(order, ["1", "2", "3"], "{kind}");
    }
}

fn state_on_stdin(t: &mut Trial) {
    t.set("/annotations", json!({ "org.example.key": "value" }));
    let kind = t.word();
    t.hook(kind, &[]);
    t.life(&["probe", "true"]);
    let state = t.record(kind)["stdin"].clone();
    assert_eq!(state["id"], json!(t.id), "{state}");
    assert_eq!(state["bundle"], json!(t.directory()), "{state}");
    assert_eq!(state["annotations"]["org.example.key"], "value", "{state}");
    assert!(state["ociVersion"].is_string(), "{state}");
    let expected = match kind {
        "prestart" | "createRuntime" | "createContainer" => "creating",
        "startContainer" => "created",
        "poststart" => "running",
        _ => "stopped",
    };
    assert_eq!(state["status"], expected, "the status that a {kind} hook is told");
}

fn pid_outside(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &[]);
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    t.start().ok();
    assert_eq!(t.record(kind)["stdin"]["pid"], json!(t.pid()));
}

fn pid_inside(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &[]);
    t.life(&["probe", "true"]);
    assert_eq!(t.record(kind)["stdin"]["pid"], 1);
}

fn namespaces(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &[]);
    let inside = t.inside()["namespaces"].clone();
    let record = t.record(kind)["namespaces"].clone();
    for namespace in ["mnt", "uts", "ipc", "net"] {
        match kind {
            "createContainer" | "startContainer" => {
                assert_eq!(record[namespace], inside[namespace], "{namespace}");
            }
            _ => assert_eq!(record[namespace], own_namespace(namespace), "{namespace}"),
        }
    }
}

/// The path of a hook that is the host's, and of one that is only in the container.
fn path_in_runtime(t: &mut Trial) {
    let kind = t.word();
    let hidden = t.host_directory("hidden");
    let program = format!("{hidden}/program");
    fs::copy(conformance::harness::probe_path(), &program).expect("our own directory");
    t.hook(kind, &[])["path"] = json!(program);
    t.life(&["probe", "true"]);
    t.record(kind);
}

fn path_in_container(t: &mut Trial) {
    std::os::unix::fs::symlink("probe", t.rootfs("bin/only-inside")).expect("our own directory");
    t.hook("startContainer", &[])["path"] = json!("/bin/only-inside");
    t.life(&["probe", "true"]);
    t.record("startContainer");
}

/// Before pivot_root the host's files are still there.
fn before_pivot(t: &mut Trial) {
    let path = t.directory().join("config.json").to_string_lossy().into_owned();
    t.hook("createContainer", &["read", &path]);
    t.create().ok();
    let read = t.record("createContainer")["read"].clone();
    assert!(read.as_str().is_some_and(|text| text.starts_with('{')), "{read}");
}

fn before_program(t: &mut Trial) {
    let records = t.host_directory("records");
    let file = format!("{records}/startContainer");
    t.hook("startContainer", &[]);
    let seen = t.says(&["cat", &file]);
    assert!(seen.starts_with('{'), "the program runs before the startContainer hook: {seen}");
}

fn after_program(t: &mut Trial) {
    t.hook("poststart", &[]);
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    t.start().ok();
    let state = t.record("poststart")["stdin"].clone();
    assert_eq!((&state["status"], &state["pid"]), (&json!("running"), &json!(t.pid())));
}

fn args(t: &mut Trial) {
    t.hook("createRuntime", &["two words", ""]);
    t.create().ok();
    let argv = t.record("createRuntime")["argv"].clone();
    assert_eq!((&argv[0], &argv[3], &argv[4]), (&json!("probe"), &json!("two words"), &json!("")));
}

fn env(t: &mut Trial) {
    t.hook("createRuntime", &[])["env"] = json!(["A=1", "B=two words"]);
    t.create().ok();
    assert_eq!(t.record("createRuntime")["env"], json!({ "A": "1", "B": "two words" }));
}

fn relative_path(t: &mut Trial) {
    t.hook("createRuntime", &[])["path"] = json!("bin/probe");
    t.refused();
}

fn missing_path(t: &mut Trial) {
    t.hook("createRuntime", &[])["path"] = json!("/nowhere/at/all");
    t.refused();
}

fn timeout(t: &mut Trial) {
    t.hook("createRuntime", &["sleep", "50"])["timeout"] = json!(1);
    let begin = Instant::now();
    t.refused();
    assert!(begin.elapsed() < Duration::from_secs(45), "the hook was not aborted");
}

fn timeout_in_time(t: &mut Trial) {
    t.hook("createRuntime", &[])["timeout"] = json!(50);
    t.create().ok();
    t.record("createRuntime");
}

fn timeout_not_positive(t: &mut Trial) {
    t.hook("createRuntime", &[])["timeout"] = json!(t.word().parse::<i64>().unwrap_or(-1));
    t.refused();
}

/// Steps 3 to 5: create fails, and there is no container.
fn failing_create(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &["status", "7"]);
    t.refused();
    assert_eq!(t.left_behind(), [""; 0], "left behind");
}

/// "…and continue the lifecycle at step 12": destroyed; and 13: the poststop hooks.
fn failing_create_poststop(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &["status", "7"]);
    t.hook("poststop", &[]);
    t.refused();
    t.record("poststop");
}

fn nothing_follows(t: &mut Trial) {
    t.hook("createRuntime", &["status", "1"]);
    t.hook("createContainer", &[]);
    t.refused();
    assert_eq!(
        t.records("createContainer").len(),
        0,
        "createContainer hooks after a failed createRuntime hook"
    );
}

fn failing_start_container(t: &mut Trial) {
    t.writable().args(&["probe", "write", "/tmp/ran", "x"]);
    t.hook("startContainer", &["status", "7"]);
    t.create().ok();
    let output = t.start();
    assert!(!output.status.success(), "start did not fail: {output}");
    assert!(!t.rootfs("tmp/ran").exists(), "the program was run");
}

/// Whatever is left to delete, the container's process must have ended and the poststop hooks run by then.
fn failing_start_poststop(t: &mut Trial) {
    let kind = t.word();
    t.hook(kind, &["status", "7"]);
    t.hook("poststop", &[]);
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    let pid = t.pid();
    let output = t.start();
    assert!(!output.status.success(), "start did not fail: {output}");
    // The container is ours to wait for, if the runtime has not.
    let _ =
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(nix::sys::wait::WaitPidFlag::WNOHANG));
    assert!(!t.exists(), "the container was not destroyed: status {}", t.status());
    t.record("poststop");
}

fn failing_poststart(t: &mut Trial) {
    t.hook("poststart", &["status", "7"]);
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    let pid = t.pid();
    let output = t.start();
    assert!(!output.status.success(), "start did not fail: {output}");
    eventually("the program is stopped", || {
        let _ = nix::sys::wait::waitpid(
            nix::unistd::Pid::from_raw(pid),
            Some(nix::sys::wait::WaitPidFlag::WNOHANG),
        );
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

fn failing_poststop(t: &mut Trial) {
    t.hook("poststop", &["status", "7"]);
    t.hook("poststop", &[]);
    t.life(&["probe", "true"]);
    assert_eq!(t.records("poststop").len(), 2, "poststop hooks that ran");
    assert!(!t.exists());
}

fn failing_poststop_warns(t: &mut Trial) {
    t.hook("poststop", &["status", "7"]);
    t.args(&["probe", "true"]);
    t.create().ok();
    t.start().ok();
    t.end();
    t.await_status("stopped");
    let output = t.delete(&[]).ok();
    assert!(!output.stderr.trim().is_empty(), "no warning");
}

const HOOKS: &str = "config.md#posix-platform-hooks";
const LIFECYCLE: &str = "runtime.md#lifecycle";

pub const CASES: &[Case] = &[
    must(LIFECYCLE, "hooks-in-create-prestart", "prestart hooks are run by create", in_create),
    must(LIFECYCLE, "hooks-in-create-createRuntime", "createRuntime hooks are run by create", in_create),
    must(LIFECYCLE, "hooks-in-create-createContainer", "createContainer hooks are run by create", in_create),
    must(LIFECYCLE, "hooks-in-start-startContainer", "startContainer hooks are run by start", in_start),
    must(
        LIFECYCLE,
        "hooks-in-start-poststart",
        "poststart hooks are run by start, before it returns",
        in_start,
    ),
    must(
        LIFECYCLE,
        "hooks-in-delete-poststop",
        "poststop hooks are run by delete, before it returns",
        in_delete,
    ),
    must(
        HOOKS,
        "hooks-order-of-kinds",
        "prestart comes before createRuntime, that before createContainer",
        order_of_create,
    ),
    must(HOOKS, "hooks-order-of-a-list", "hooks are called in the listed order", order_of_a_list),
    must(HOOKS, "hooks-state-prestart", "the state is passed over stdin", state_on_stdin),
    must(HOOKS, "hooks-state-createRuntime", "the state is passed over stdin", state_on_stdin),
    must(HOOKS, "hooks-state-createContainer", "the state is passed over stdin", state_on_stdin),
    must(HOOKS, "hooks-state-startContainer", "the state is passed over stdin", state_on_stdin),
    must(HOOKS, "hooks-state-poststart", "the state is passed over stdin", state_on_stdin),
    must(HOOKS, "hooks-state-poststop", "the state is passed over stdin", state_on_stdin),
    must(
        "runtime.md#state",
        "hooks-pid-prestart",
        "the pid of the state, for a hook in the runtime's namespaces, is the runtime's",
        pid_outside,
    ),
    must(
        "runtime.md#state",
        "hooks-pid-createRuntime",
        "the pid of the state, for a hook in the runtime's namespaces, is the runtime's",
        pid_outside,
    ),
    must(
        "runtime.md#state",
        "hooks-pid-poststart",
        "the pid of the state, for a hook in the runtime's namespaces, is the runtime's",
        pid_outside,
    ),
    must(
        "runtime.md#state",
        "hooks-pid-createContainer",
        "the pid of the state, for a hook in the container's namespaces, is the container's",
        pid_inside,
    ),
    must(
        "runtime.md#state",
        "hooks-pid-startContainer",
        "the pid of the state, for a hook in the container's namespaces, is the container's",
        pid_inside,
    ),
    must(
        HOOKS,
        "hooks-namespaces-prestart",
        "prestart hooks are executed in the runtime's namespaces",
        namespaces,
    ),
    must(
        HOOKS,
        "hooks-namespaces-createRuntime",
        "createRuntime hooks are executed in the runtime's namespaces",
        namespaces,
    ),
    must(
        HOOKS,
        "hooks-namespaces-createContainer",
        "createContainer hooks are executed in the container's namespaces",
        namespaces,
    ),
    must(
        HOOKS,
        "hooks-namespaces-startContainer",
        "startContainer hooks are executed in the container's namespaces",
        namespaces,
    ),
    must(
        HOOKS,
        "hooks-namespaces-poststart",
        "poststart hooks are executed in the runtime's namespaces",
        namespaces,
    ),
    must(
        HOOKS,
        "hooks-namespaces-poststop",
        "poststop hooks are executed in the runtime's namespaces",
        namespaces,
    ),
    must(HOOKS, "hooks-path-prestart", "the path of prestart hooks is the runtime's", path_in_runtime),
    must(
        HOOKS,
        "hooks-path-createRuntime",
        "the path of createRuntime hooks is the runtime's",
        path_in_runtime,
    ),
    must(
        HOOKS,
        "hooks-path-createContainer",
        "the path of createContainer hooks is the runtime's",
        path_in_runtime,
    ),
    must(
        HOOKS,
        "hooks-path-startContainer",
        "the path of startContainer hooks is the container's",
        path_in_container,
    ),
    must(HOOKS, "hooks-path-poststart", "the path of poststart hooks is the runtime's", path_in_runtime),
    must(HOOKS, "hooks-path-poststop", "the path of poststop hooks is the runtime's", path_in_runtime),
    must(HOOKS, "hooks-before-pivot", "createContainer hooks are called before pivot_root", before_pivot),
    must(
        HOOKS,
        "hooks-before-program",
        "startContainer hooks are called before the program is executed",
        before_program,
    ),
    must(
        HOOKS,
        "hooks-after-program",
        "poststart hooks are called after the program is executed",
        after_program,
    ),
    must(HOOKS, "hooks-args", "args are those of execv", args),
    must(HOOKS, "hooks-env", "env is the environment", env),
    must(HOOKS, "hooks-relative-path", "a path that is not absolute is an error", relative_path),
    must(HOOKS, "hooks-missing-path", "a hook that cannot be executed has failed", missing_path),
    must(HOOKS, "hooks-timeout", "a hook is aborted when its timeout is over, and has failed", timeout),
    must(HOOKS, "hooks-timeout-in-time", "a hook that ends in time has not failed", timeout_in_time),
    must(HOOKS, "hooks-timeout-0", "a timeout that is not above zero is an error", timeout_not_positive),
    must(
        HOOKS,
        "hooks-timeout-negative",
        "a timeout that is not above zero is an error",
        timeout_not_positive,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-prestart",
        "when a prestart hook fails create fails, and there is no container",
        failing_create,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-createRuntime",
        "when a createRuntime hook fails create fails, and there is no container",
        failing_create,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-createContainer",
        "when a createContainer hook fails create fails, and there is no container",
        failing_create,
    ),
    must(
        LIFECYCLE,
        "hooks-poststop-after-prestart",
        "when a prestart hook fails the poststop hooks are run",
        failing_create_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-poststop-after-createRuntime",
        "when a createRuntime hook fails the poststop hooks are run",
        failing_create_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-poststop-after-createContainer",
        "when a createContainer hook fails the poststop hooks are run",
        failing_create_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-nothing-follows",
        "when a hook fails, those of the next kind are not run",
        nothing_follows,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-startContainer",
        "when a startContainer hook fails start fails, and the program is not run",
        failing_start_container,
    ),
    must(
        LIFECYCLE,
        "hooks-poststop-after-startContainer",
        "when a startContainer hook fails the container is destroyed and the poststop hooks are run",
        failing_start_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-poststart",
        "when a poststart hook fails start fails, and the program is stopped",
        failing_poststart,
    ),
    must(
        LIFECYCLE,
        "hooks-poststop-after-poststart",
        "when a poststart hook fails the container is destroyed and the poststop hooks are run",
        failing_start_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-poststop",
        "when a poststop hook fails the others are run, and the container is deleted",
        failing_poststop,
    ),
    must(
        LIFECYCLE,
        "hooks-failing-poststop-warns",
        "when a poststop hook fails a warning is logged",
        failing_poststop_warns,
    ),
];
