//! runtime.md: create, start, kill, delete, and what must hold after an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use conformance::harness::{Groups, eventually};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use serde_json::json;

use super::super::case::{Case, Need, must};
use super::super::trial::{Trial, own_namespace};

/// A container that says what signals it gets, and ends with the last of them.
fn trap(t: &mut Trial, signals: &[&str]) -> PathBuf {
    t.args(&[&["probe", "trap"], signals].concat());
    t.create().ok();
    let output = t.output_file(0);
    t.start().ok();
    eventually("the program is ready", || fs::read_to_string(&output).is_ok_and(|text| text == "ready\n"));
    output
}

fn idle(t: &mut Trial) -> i32 {
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    t.pid()
}

fn stopped(t: &mut Trial) {
    t.args(&["probe", "true"]);
    t.create().ok();
    let pid = t.pid();
    t.start().ok();
    t.await_status("stopped");
    let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
}

fn fails(t: &Trial, words: &[&str]) {
    let output = t.runtime(words);
    assert!(!output.status.success(), "expected a failure: {output}");
}

fn create_without_id(t: &mut Trial) {
    let bundle = t.directory().to_string_lossy().into_owned();
    fails(t, &["create", "--bundle", &bundle]);
}

fn create_without_bundle(t: &mut Trial) {
    let nowhere = t.directory().join("nowhere").to_string_lossy().into_owned();
    fails(t, &["create", "--bundle", &nowhere, &t.id]);
    assert!(!t.exists());
}

fn create_without_config(t: &mut Trial) {
    let empty = t.host_directory("empty");
    fails(t, &["create", "--bundle", &empty, &t.id]);
    assert!(!t.exists());
}

fn create_twice(t: &mut Trial) {
    let pid = idle(t);
    fails(t, &["create", "--bundle", &t.directory().to_string_lossy(), &t.id]);
    assert_eq!((t.status().as_str(), t.pid()), ("created", pid), "the first container has changed");
    t.start().ok();
    assert_eq!(t.status(), "running");
}

fn create_twice_running(t: &mut Trial) {
    let pid = idle(t);
    t.start().ok();
    fails(t, &["create", "--bundle", &t.directory().to_string_lossy(), &t.id]);
    assert_eq!((t.status().as_str(), t.pid()), ("running", pid), "the first container has changed");
}

fn create_empty_id(t: &mut Trial) {
    fails(t, &["create", "--bundle", &t.directory().to_string_lossy(), ""]);
}

fn create_runs_nothing(t: &mut Trial) {
    t.writable().args(&["probe", "write", "/tmp/ran", "x"]);
    t.create().ok();
    // Not a wait for something to happen: it must not have happened in the time that the other commands take.
    assert_eq!(t.status(), "created");
    assert!(!t.rootfs("tmp/ran").exists(), "the program ran before start");
    let pid = t.pid();
    t.start().ok();
    t.await_status("stopped");
    let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
    assert!(t.rootfs("tmp/ran").exists(), "the program has not run after start");
}

/// In a thread, which may enter a UTS namespace for itself.
fn hostname_of(pid: i32) -> String {
    let namespace = fs::File::open(format!("/proc/{pid}/ns/uts")).expect("a namespace");
    let inside = thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWUTS).expect("root may enter");
        nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned()
    });
    inside.join().expect("the thread ends")
}

fn create_applies_hostname(t: &mut Trial) {
    t.set("/hostname", json!("at-create"));
    let pid = idle(t);
    assert_eq!(hostname_of(pid), "at-create");
}

fn create_applies_mounts(t: &mut Trial) {
    t.mount("/early", "tmpfs", "tmpfs", &["nosuid"]);
    let pid = idle(t);
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("a process");
    assert!(text.lines().any(|line| line.contains("/early ")), "{text}");
}

fn create_applies_cgroup(t: &mut Trial) {
    t.set("/linux/resources/pids", json!({ "limit": 77 }));
    let pid = idle(t);
    let found = Groups::of(&pid.to_string()).read("pids", "pids.max", "pids.max");
    assert_eq!(found.as_deref(), Some("77"));
}

fn config_changes_later(t: &mut Trial) {
    t.args(&["probe", "echo", "before"]);
    t.set("/hostname", json!("before"));
    t.create().ok();
    let output = t.output_file(0);
    // Written to config.json before the next command.
    t.args(&["probe", "echo", "after"]);
    t.set("/hostname", json!("after"));
    let pid = t.pid();
    t.start().ok();
    let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
    t.await_status("stopped");
    assert_eq!(fs::read_to_string(output).expect("our own file"), "before\n");
}

fn failed_create_leaves_nothing(t: &mut Trial) {
    t.mount("/mnt", "no-such-file-system", "none", &[]);
    t.refused();
    assert_eq!(t.left_behind(), [""; 0], "left behind");
}

fn failed_create_then_good(t: &mut Trial) {
    t.mount("/mnt", "no-such-file-system", "none", &[]);
    t.refused();
    t.unmount("/mnt");
    assert_eq!(t.says(&["echo", "well"]), "well");
}

fn start_runs(t: &mut Trial) {
    let ended = t.life(&["probe", "seq", "--", "echo", "it", "runs", "--", "exit", "7"]);
    assert_eq!(ended.stdout, "it runs\n");
    if let Some(status) = ended.status {
        assert!(matches!(status, WaitStatus::Exited(_, 7)), "{status:?}");
    }
}

fn start_unknown(t: &mut Trial) {
    fails(t, &["start", &t.id]);
}

fn start_without_id(t: &mut Trial) {
    fails(t, &["start"]);
}

fn start_twice(t: &mut Trial) {
    let output = trap(t, &["USR1", "TERM"]);
    let pid = t.pid();
    fails(t, &["start", &t.id]);
    assert_eq!((t.status().as_str(), t.pid()), ("running", pid));
    t.kill("USR1").ok();
    eventually("the program got its signal", || {
        fs::read_to_string(&output).is_ok_and(|text| text == "ready\nSIGUSR1\n")
    });
}

fn start_stopped(t: &mut Trial) {
    stopped(t);
    fails(t, &["start", &t.id]);
    assert_eq!(t.status(), "stopped");
}

fn start_without_process(t: &mut Trial) {
    t.unset("/process");
    t.refused_until_started_as_is();
}

fn kill_without_id(t: &mut Trial) {
    fails(t, &["kill"]);
}

fn kill_unknown(t: &mut Trial) {
    fails(t, &["kill", &t.id, "TERM"]);
}

fn kill_stopped(t: &mut Trial) {
    stopped(t);
    fails(t, &["kill", &t.id, "TERM"]);
    assert_eq!(t.status(), "stopped");
}

fn kill_created(t: &mut Trial) {
    t.writable().args(&["probe", "write", "/tmp/ran", "x"]);
    t.create().ok();
    t.kill("KILL").ok();
    t.end();
    t.await_status("stopped");
    assert!(!t.rootfs("tmp/ran").exists(), "the program was run");
}

fn kill_running(t: &mut Trial) {
    let output = trap(t, &["USR1", "USR2", "HUP", "INT", "TERM"]);
    let mut said = "ready\n".to_owned();
    for signal in ["USR1", "USR2", "HUP", "INT"] {
        t.kill(signal).ok();
        said += &format!("SIG{signal}\n");
        eventually(&format!("SIG{signal} has come"), || {
            fs::read_to_string(&output).is_ok_and(|text| text == said)
        });
    }
    t.kill("TERM").ok();
    assert!(matches!(t.end(), None | Some(WaitStatus::Exited(_, 0))));
    t.await_status("stopped");
}

fn kill_with_kill(t: &mut Trial) {
    trap(t, &["TERM"]);
    t.kill("KILL").ok();
    assert!(matches!(t.end(), None | Some(WaitStatus::Signaled(_, Signal::SIGKILL, _))));
    t.await_status("stopped");
}

fn delete_without_id(t: &mut Trial) {
    fails(t, &["delete"]);
}

fn delete_unknown(t: &mut Trial) {
    fails(t, &["delete", &t.id]);
}

fn delete_created(t: &mut Trial) {
    let pid = idle(t);
    let output = t.delete(&[]);
    assert!(!output.status.success(), "a created container was deleted: {output}");
    assert_eq!((t.status().as_str(), t.pid()), ("created", pid));
    t.start().ok();
}

fn delete_running(t: &mut Trial) {
    trap(t, &["TERM"]);
    let pid = t.pid();
    fails(t, &["delete", &t.id]);
    assert_eq!((t.status().as_str(), t.pid()), ("running", pid));
    kill(Pid::from_raw(pid), None).expect("the process lives");
}

fn delete_stopped(t: &mut Trial) {
    stopped(t);
    t.delete(&[]).ok();
    assert!(!t.exists(), "the container is there after delete");
}

fn delete_removes_all(t: &mut Trial) {
    t.mount("/mnt", "tmpfs", "tmpfs", &[]);
    stopped(t);
    t.delete(&[]).ok();
    assert_eq!(t.left_behind(), [""; 0], "left behind");
}

fn delete_removes_cgroups(t: &mut Trial) {
    t.set("/linux/resources/pids", json!({ "limit": 77 }));
    t.args(&["probe", "true"]);
    t.create().ok();
    let pid = t.pid();
    let own = Groups::of("self");
    let groups: Vec<PathBuf> = Groups::of(&pid.to_string())
        .0
        .into_iter()
        .filter(|(name, path)| own.0.get(name) != Some(path))
        .map(|(_, path)| path)
        .collect();
    assert!(!groups.is_empty(), "the container has no cgroup of its own");
    t.start().ok();
    t.end();
    t.await_status("stopped");
    t.delete(&[]).ok();
    let left: Vec<_> = groups.iter().filter(|path| path.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn delete_leaves_the_bundle(t: &mut Trial) {
    let source = t.host_directory("data");
    fs::write(Path::new(&source).join("file"), "kept").expect("our own directory");
    t.mount("/mnt", "bind", &source, &["bind"]);
    stopped(t);
    t.delete(&[]).ok();
    assert_eq!(fs::read_to_string(Path::new(&source).join("file")).expect("the source stays"), "kept");
    assert!(t.rootfs("bin/probe").exists() && t.directory().join("config.json").exists());
}

fn delete_leaves_namespaces(t: &mut Trial) {
    let mut owner = t.another();
    let pid = idle(&mut owner);
    let path = format!("/proc/{pid}/ns/uts");
    t.namespace("uts", Some(&path)).config["hostname"] = serde_json::Value::Null;
    t.unset("/hostname");
    stopped(t);
    t.delete(&[]).ok();
    assert_ne!(super::super::trial::namespace_of(&pid.to_string(), "uts"), own_namespace("uts"));
    assert_eq!(hostname_of(pid), "container");
    assert_eq!(owner.status(), "created");
}

fn id_again(t: &mut Trial) {
    assert_eq!(t.says(&["echo", "first"]), "first");
    assert_eq!(t.says(&["echo", "second"]), "second");
}

fn operations_by_the_creator(t: &mut Trial) {
    trap(t, &["TERM"]);
    assert_eq!(t.status(), "running");
    t.kill("TERM").ok();
    t.end();
    t.await_status("stopped");
    t.delete(&[]).ok();
}

const CREATE: &str = "runtime.md#create";
const START: &str = "runtime.md#start";
const KILL: &str = "runtime.md#kill";
const DELETE: &str = "runtime.md#delete";
const ERRORS: &str = "runtime.md#errors";
const LIFECYCLE: &str = "runtime.md#lifecycle";

pub const CASES: &[Case] = &[
    must(
        "runtime.md#scope-of-a-container",
        "scope-creator",
        "who creates a container can use all operations on it",
        operations_by_the_creator,
    ),
    must(CREATE, "create-without-id", "create without an id is an error", create_without_id),
    must(
        CREATE,
        "create-without-bundle",
        "create with a bundle that is not there is an error",
        create_without_bundle,
    ),
    must(
        CREATE,
        "create-without-config",
        "create with a bundle without config.json is an error",
        create_without_config,
    ),
    must(
        CREATE,
        "create-id-in-use",
        "an id that a created container has is an error, and nothing changes for that",
        create_twice,
    ),
    must(
        CREATE,
        "create-id-running",
        "an id that a running container has is an error, and nothing changes for that",
        create_twice_running,
    ),
    must(CREATE, "create-empty-id", "an empty id is an error", create_empty_id),
    must(CREATE, "create-runs-nothing", "args are not run before start", create_runs_nothing),
    must(
        CREATE,
        "create-applies-hostname",
        "create applies all properties but process: the hostname",
        create_applies_hostname,
    )
    .needs(&[Need::Root]),
    must(
        CREATE,
        "create-applies-mounts",
        "create applies all properties but process: mounts",
        create_applies_mounts,
    ),
    must(
        CREATE,
        "create-applies-resources",
        "create applies all properties but process: resources",
        create_applies_cgroup,
    )
    .needs(&[Need::Root, Need::Controller("pids")]),
    must(
        LIFECYCLE,
        "lifecycle-config-changes",
        "changes of config.json after create have no effect",
        config_changes_later,
    ),
    must(
        ERRORS,
        "errors-create-leaves-nothing",
        "a create that fails leaves things as if it had not been tried",
        failed_create_leaves_nothing,
    ),
    must(
        ERRORS,
        "errors-create-id-is-free",
        "after a create that failed its id can be used",
        failed_create_then_good,
    ),
    must(START, "start-without-id", "start without an id is an error", start_without_id),
    must(START, "start-unknown", "start of a container that does not exist is an error", start_unknown),
    must(START, "start-running", "start of a running container is an error without effect", start_twice),
    must(START, "start-stopped", "start of a stopped container is an error without effect", start_stopped),
    must(START, "start-runs-args", "start runs the program of process", start_runs),
    must(START, "start-without-process", "start is an error when process was not set", start_without_process),
    must(KILL, "kill-without-id", "kill without an id is an error", kill_without_id),
    must(KILL, "kill-unknown", "kill of a container that does not exist is an error", kill_unknown),
    must(KILL, "kill-stopped", "a signal to a stopped container is an error without effect", kill_stopped),
    must(KILL, "kill-created", "a created container gets the signal", kill_created),
    must(
        KILL,
        "kill-running",
        "a running container's process gets the signal that was asked for",
        kill_running,
    ),
    must(KILL, "kill-kill", "SIGKILL ends a running container", kill_with_kill),
    must(DELETE, "delete-without-id", "delete without an id is an error", delete_without_id),
    must(DELETE, "delete-unknown", "delete of a container that does not exist is an error", delete_unknown),
    must(
        DELETE,
        "delete-created",
        "delete of a created container is an error without effect",
        delete_created,
    ),
    must(
        DELETE,
        "delete-running",
        "delete of a running container is an error without effect",
        delete_running,
    ),
    must(DELETE, "delete-stopped", "after delete of a stopped container it does not exist", delete_stopped),
    must(
        DELETE,
        "delete-removes-all",
        "delete removes what create made: mounts, processes, state",
        delete_removes_all,
    ),
    must(
        DELETE,
        "delete-removes-cgroups",
        "delete removes what create made: cgroups",
        delete_removes_cgroups,
    )
    .needs(&[Need::Root, Need::Controller("pids")]),
    must(
        DELETE,
        "delete-leaves-files",
        "delete leaves what create did not make: the bundle, sources of mounts",
        delete_leaves_the_bundle,
    ),
    must(
        DELETE,
        "delete-leaves-namespaces",
        "delete leaves what create did not make: a namespace that was joined",
        delete_leaves_namespaces,
    )
    .needs(&[Need::Root]),
    must(DELETE, "delete-frees-the-id", "the id of a deleted container can be used again", id_again),
];
