//! config.md, "POSIX-platform Hooks", and runtime.md on when they run and what their failure means.

use std::fs;
use std::path::PathBuf;

use conformance::harness::{
    Container, beyond_runc, eventually, probe_path, require_root, without_cgroup_warning,
};
use serde_json::{Value, json};

const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A container with a directory that both sides see at the same path, for what hooks write.
struct Hooked {
    container: Container,
    records: PathBuf,
}

impl Hooked {
    fn new() -> Self {
        let mut container = Container::new();
        let records = PathBuf::from(container.host_directory("records"));
        let shown = records.to_string_lossy().into_owned();
        container.mount(&shown, "bind", &shown, &["bind", "rw"]);
        container.config["hooks"] = json!({});
        Self { container, records }
    }

    fn file(&self, name: &str) -> String {
        self.records.join(name).to_string_lossy().into_owned()
    }

    /// Adds a hook that writes what it was given to the file of its kind, and does what `more` says.
    fn add(&mut self, kind: &str, more: &[&str]) -> &mut Value {
        // startContainer alone resolves its path in the container.
        let path = match kind {
            "startContainer" => PathBuf::from("/bin/probe"),
            _ => probe_path(),
        };
        let file = self.file(kind);
        let args: Vec<&str> = ["probe", "hook", &file].into_iter().chain(more.iter().copied()).collect();
        let list = &mut self.container.config["hooks"][kind];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().expect("a list");
        list.push(json!({ "path": path.canonicalize().unwrap_or(path), "args": args }));
        list.last_mut().expect("just pushed")
    }

    /// What the hooks of a kind wrote, in order.
    fn records(&self, kind: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file(kind)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    fn counts(&self) -> [usize; 6] {
        KINDS.map(|kind| self.records(kind).len())
    }
}

fn own_namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace").to_string_lossy().into_owned()
}

#[test]
fn all_six_run_once() {
    let mut hooked = Hooked::new();
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.run().ok();
    assert_eq!(hooked.counts(), [1; 6]);
}

/// runtime.md, "Lifecycle": create runs the first three, start the next two, delete the last.
#[test]
fn each_runs_in_its_step() {
    if beyond_runc("1.1 runs poststart in create") {
        return;
    }
    let mut hooked = Hooked::new();
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.args(&["probe", "trap", "TERM"]);
    hooked.container.create().ok();
    assert_eq!(hooked.counts(), [1, 1, 1, 0, 0, 0]);
    hooked.container.runtime(&["start", &hooked.container.id]).ok();
    eventually("the start hooks have run", || hooked.counts() == [1, 1, 1, 1, 1, 0]);
    hooked.container.kill("KILL").ok();
    hooked.container.await_status("stopped");
    assert_eq!(hooked.counts(), [1, 1, 1, 1, 1, 0]);
    hooked.container.delete(&[]).ok();
    assert_eq!(hooked.counts(), [1; 6]);
}

#[test]
fn delete_by_force_runs_poststop() {
    let mut hooked = Hooked::new();
    hooked.add("poststop", &[]);
    hooked.container.launch_trap(&["TERM"]);
    hooked.container.delete(&["--force"]).ok();
    assert_eq!(hooked.records("poststop").len(), 1);
}

/// "Hooks MUST be called in the listed order."
#[test]
fn hooks_of_a_kind_run_in_order() {
    let mut hooked = Hooked::new();
    for number in ["1", "2", "3"] {
        hooked.add("createRuntime", &[number]);
    }
    hooked.container.run().ok();
    let order: Vec<_> =
        hooked.records("createRuntime").iter().map(|record| record["argv"][3].clone()).collect();
    assert_eq!(order, ["1", "2", "3"]);
}

/// "The state of the container MUST be passed to hooks over stdin."
#[test]
fn state_comes_on_standard_input() {
    let mut hooked = Hooked::new();
    hooked.container.config["annotations"] = json!({ "org.example.key": "value" });
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.run().ok();
    for kind in KINDS {
        let state = hooked.records(kind)[0]["stdin"].clone();
        assert_eq!(state["id"], hooked.container.id, "{kind}");
        assert_eq!(state["bundle"], hooked.container.directory().to_string_lossy().as_ref(), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        assert_eq!(state["annotations"]["org.example.key"], "value", "{kind}");
    }
}

/// The status that each kind is told.
#[test]
fn state_has_the_status_of_the_moment() {
    if beyond_runc("1.1 runs poststart in create") {
        return;
    }
    let mut hooked = Hooked::new();
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.run().ok();
    let status =
        |kind: &str| hooked.records(kind)[0]["stdin"]["status"].as_str().unwrap_or_default().to_owned();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        assert_eq!(status(kind), "creating", "{kind}");
    }
    assert_eq!(status("startContainer"), "created");
    assert_eq!(status("poststart"), "running");
    assert_eq!(status("poststop"), "stopped");
}

/// "pid": of the container's process, in the hook's view.
#[test]
fn state_has_the_pid_of_the_container() {
    let mut hooked = Hooked::new();
    for kind in ["prestart", "createRuntime"] {
        hooked.add(kind, &[]);
    }
    hooked.container.create().ok();
    for kind in ["prestart", "createRuntime"] {
        assert_eq!(hooked.records(kind)[0]["stdin"]["pid"], hooked.container.state()["pid"], "{kind}");
    }
}

/// "args", "env": as for execv; an environment that is not given is empty.
#[test]
fn args_and_env_are_the_configs() {
    if beyond_runc("1.1 hands its own environment on") {
        return;
    }
    let mut hooked = Hooked::new();
    hooked.container.environment.push(("LEAKED".to_owned(), "1".to_owned()));
    hooked.add("createRuntime", &["a b", ""]);
    hooked.add("createRuntime", &[])["env"] = json!(["A=1", "B=two words"]);
    hooked.container.run().ok();
    let records = hooked.records("createRuntime");
    assert_eq!(records[0]["argv"][3], "a b");
    assert_eq!(records[0]["argv"][4], "");
    assert!(records[0]["env"]["LEAKED"].is_null(), "{}", records[0]["env"]);
    assert_eq!(records[1]["env"], json!({ "A": "1", "B": "two words" }));
}

/// The table of namespaces in config.md: prestart, createRuntime, poststart, poststop in the runtime's, createContainer
/// and startContainer in the container's.
#[test]
fn each_runs_in_its_namespaces() {
    let mut hooked = Hooked::new();
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.args(&["probe", "report", "--json"]);
    let inside = hooked.container.run().json()["namespaces"].clone();
    for kind in KINDS {
        let record = &hooked.records(kind)[0]["namespaces"];
        for namespace in ["mnt", "uts", "ipc", "net"] {
            match kind {
                "createContainer" | "startContainer" => {
                    assert_eq!(record[namespace], inside[namespace], "{kind} {namespace}");
                }
                _ => assert_eq!(record[namespace], own_namespace(namespace), "{kind} {namespace}"),
            }
        }
    }
}

/// "createContainer … before the pivot_root": the bundle is still in sight; "startContainer": it no longer is.
#[test]
fn create_container_sees_the_host_and_start_container_does_not() {
    let mut hooked = Hooked::new();
    let path = hooked.container.directory().join("config.json");
    let path = path.to_string_lossy();
    hooked.add("createContainer", &["read", &path]);
    hooked.add("startContainer", &["read", &path]);
    hooked.container.run().ok();
    assert!(hooked.records("createContainer")[0]["read"].as_str().is_some_and(|text| text.starts_with('{')));
    assert_eq!(hooked.records("startContainer")[0]["read"], "ENOENT");
}

/// Hooks of the runtime may make devices and mounts for the container: what they do to its files is seen.
#[test]
fn what_create_runtime_prepares_is_seen_inside() {
    let mut hooked = Hooked::new();
    let file = hooked.container.rootfs("etc/prepared").to_string_lossy().into_owned();
    let probe = probe_path();
    hooked.container.config["hooks"]["createRuntime"] = json!([{ "path": probe.canonicalize().unwrap_or(probe), "args": ["probe", "write", file, "by the hook"] }]);
    assert_eq!(hooked.container.run_args(&["probe", "cat", "/etc/prepared"]), ["by the hook"]);
}

/// runtime.md, 4., 6., 8.: "If any … hook fails, the runtime MUST generate an error, stop the container, and continue
/// the lifecycle at step 12" (delete, poststop).
#[test]
fn a_failing_create_hook_fails_create() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut hooked = Hooked::new();
        hooked.add(kind, &["echo", "words-of-the-hook", "status", "7"]);
        hooked.container.create().fails();
        hooked.container.assert_clean();
    }
}

#[test]
fn the_error_of_a_hook_has_its_words() {
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &["echo", "words-of-the-hook", "status", "7"]);
    hooked.container.create().fails_with("words-of-the-hook");
}

/// After a failure no later hook of the kind runs, nor the program.
#[test]
fn nothing_follows_a_failing_hook() {
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &["status", "1"]);
    hooked.add("createRuntime", &[]);
    hooked.add("startContainer", &[]);
    hooked.container.run().fails();
    assert_eq!(hooked.records("createRuntime").len(), 1);
    assert_eq!(hooked.records("startContainer").len(), 0);
}

/// "…continue the lifecycle at step 12": the poststop hooks of a container that failed to be created run.
#[test]
fn poststop_runs_after_a_failed_create() {
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &["status", "1"]);
    hooked.add("poststop", &[]);
    hooked.container.create().fails();
    let _ = hooked.container.delete(&["--force"]);
    assert_eq!(hooked.records("poststop").len(), 1);
}

#[test]
fn a_failing_start_container_hook_ends_the_container() {
    if beyond_runc("1.1 fails after start has returned") {
        return;
    }
    let mut hooked = Hooked::new();
    hooked.add("startContainer", &["status", "1"]);
    hooked.container.config["root"]["readonly"] = json!(false);
    hooked.container.args(&["probe", "write", "/tmp/ran", "x"]);
    hooked.container.create().ok();
    hooked.container.runtime(&["start", &hooked.container.id]).fails();
    assert!(!hooked.container.rootfs("tmp/ran").exists());
    hooked.container.delete(&["--force"]).ok();
}

/// runtime.md, 10.: "If any poststart hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle
/// continue as if the hook had succeeded." (1.3 says error and stop; either way start may not be silent.)
#[test]
fn a_failing_poststart_hook_is_not_silent() {
    if beyond_runc("1.1 runs poststart in create") {
        return;
    }
    let mut hooked = Hooked::new();
    hooked.add("poststart", &["status", "1"]);
    hooked.container.args(&["probe", "trap", "TERM"]);
    hooked.container.create().ok();
    let output = hooked.container.runtime(&["start", &hooked.container.id]);
    assert!(!output.stderr.is_empty(), "{output}");
    hooked.container.delete(&["--force"]).ok();
}

/// "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue."
#[test]
fn a_failing_poststop_hook_is_a_warning() {
    let mut hooked = Hooked::new();
    hooked.add("poststop", &["status", "1"]);
    hooked.add("poststop", &[]);
    hooked.container.launch(&["probe", "true"]);
    hooked.container.await_status("stopped");
    let output = hooked.container.delete(&[]).ok();
    assert!(!without_cgroup_warning(&output.stderr).is_empty(), "no warning: {output}");
    if beyond_runc("1.1 stops at the first poststop hook that fails") {
        return;
    }
    assert_eq!(hooked.records("poststop").len(), 2);
    hooked.container.assert_clean();
}

/// "timeout (int, OPTIONAL) is the number of seconds before aborting the hook."
#[test]
fn a_hook_past_its_timeout_is_killed() {
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &["sleep", "600"])["timeout"] = json!(1);
    let begun = std::time::Instant::now();
    hooked.container.create().fails();
    // Not when it was through: half its time is far from either.
    assert!(begun.elapsed() < std::time::Duration::from_secs(300));
    // Its words on the command line have the path of this test's directory.
    hooked.container.assert_clean();
}

#[test]
fn a_hook_within_its_timeout_is_no_error() {
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &[])["timeout"] = json!(20);
    hooked.container.run().ok();
}

/// "timeout … If set, timeout MUST be greater than zero."
#[test]
fn a_timeout_of_zero_is_an_error() {
    if beyond_runc("it takes it for none") {
        return;
    }
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &[])["timeout"] = json!(0);
    hooked.container.run().fails_with("timeout");
}

/// "path (string, REQUIRED) … This specification extends the IEEE standard in that path MUST be absolute."
#[test]
fn a_relative_path_is_an_error() {
    let mut hooked = Hooked::new();
    hooked.container.config["hooks"]["createRuntime"] = json!([{ "path": "bin/probe" }]);
    hooked.container.run().fails();
    hooked.container.assert_clean();
}

#[test]
fn a_hook_that_is_not_there_is_an_error() {
    let mut hooked = Hooked::new();
    hooked.container.config["hooks"]["createRuntime"] = json!([{ "path": "/no/such/hook" }]);
    hooked.container.run().fails_with("/no/such/hook");
    hooked.container.assert_clean();
}

/// A hook killed by a signal has failed.
#[test]
fn a_hook_that_dies_by_a_signal_fails_create() {
    let mut hooked = Hooked::new();
    let probe = probe_path();
    hooked.container.config["hooks"]["createRuntime"] =
        json!([{ "path": probe.canonicalize().unwrap_or(probe), "args": ["probe", "kill-self", "KILL"] }]);
    hooked.container.create().fails();
    hooked.container.assert_clean();
}

/// A hook that does not read its standard input hinders nobody.
#[test]
fn a_hook_need_not_read_its_input() {
    let mut hooked = Hooked::new();
    let probe = probe_path();
    hooked.container.config["hooks"]["createRuntime"] =
        json!([{ "path": probe.canonicalize().unwrap_or(probe), "args": ["probe", "true"] }]);
    hooked.container.config["annotations"] = json!({ "large": "x".repeat(200_000) });
    hooked.container.run().ok();
}

/// Hooks hold no descriptor of the runtime's.
#[test]
fn hooks_have_three_descriptors() {
    if beyond_runc("1.1 hands descriptors on to createContainer") {
        return;
    }
    let mut hooked = Hooked::new();
    for kind in KINDS {
        hooked.add(kind, &[]);
    }
    hooked.container.run().ok();
    for kind in KINDS {
        let record = &hooked.records(kind)[0];
        let numbers: Vec<_> =
            record["descriptors"].as_array().expect("a list").iter().map(|fd| &fd["fd"]).collect();
        assert_eq!(numbers, [0, 1, 2], "{kind}: {}", record["descriptors"]);
    }
}

/// startContainer runs as part of the container: with its host name and its root.
#[test]
fn start_container_runs_inside() {
    let mut hooked = Hooked::new();
    hooked.container.config["hostname"] = json!("inside");
    hooked.add("startContainer", &["read", "/etc/only-inside"]);
    fs::write(hooked.container.rootfs("etc/only-inside"), "here").expect("our own file");
    hooked.container.run().ok();
    let record = &hooked.records("startContainer")[0];
    assert_eq!(record["hostname"], "inside");
    assert_eq!(record["read"], "here");
}

/// The limits of the container are not those of hooks on the host.
#[test]
fn root_keeps_its_rights_in_host_hooks() {
    if !require_root() {
        return;
    }
    let mut hooked = Hooked::new();
    hooked.add("createRuntime", &[]);
    hooked.container.run().ok();
    let record = &hooked.records("createRuntime")[0];
    assert_eq!(record["identity"]["uid"], json!([0, 0, 0, 0]));
    assert!(record["capabilities"]["effective"]["names"].as_array().is_some_and(|names| names.len() > 30));
}
