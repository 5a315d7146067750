//! Words that engines match: texts of errors, exit statuses and forms of output that containerd, Docker, Podman, CRI-O, `BuildKit` and
//! Buildah look for.  Who looks for which, and where, is told in docs/compat.md.  Where runc says the same, the same test holds
//! for it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use conformance::harness::{Container, Output, beyond_runc, require_cgroups, require_root};
use serde_json::{Value, json};

/// A running container whose first process waits for a signal.
fn running() -> Container {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    container
}

/// One that has ended, and is not deleted.
fn stopped() -> Container {
    let container = running();
    container.kill("KILL").ok();
    container.await_status("stopped");
    container
}

/// A failure with these words, letter by letter, on standard error.
#[track_caller]
fn says(output: Output, words: &str) {
    let output = output.fails();
    assert!(output.stderr.replace('\\', "").contains(words), "expected \"{words}\": {output}");
}

#[test]
fn a_container_that_is_not_there_does_not_exist() {
    let container = Container::new();
    for command in ["state", "start", "kill", "delete", "pause", "resume", "ps", "update"] {
        says(container.runtime(&[command, "nobody"]), "container does not exist");
    }
    says(container.runtime(&["events", "--stats", "nobody"]), "container does not exist");
    let output = container.runtime(&["exec", "nobody", "true"]);
    assert_eq!(output.status.code(), Some(255), "{output}");
    says(output, "container does not exist");
}

#[test]
fn one_that_is_not_there_is_deleted_by_force_without_a_word() {
    let output = Container::new().runtime(&["delete", "--force", "nobody"]).ok();
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn an_id_that_is_taken_exists_already() {
    let container = running();
    says(container.create(), "container with given ID already exists");
}

#[test]
fn a_stopped_container_is_not_running() {
    let container = stopped();
    says(container.kill("TERM"), "container not running");
    says(container.kill("KILL"), "container not running");
    says(container.runtime(&["pause", &container.id]), "container not running");
    says(container.runtime(&["exec", &container.id, "true"]), "cannot exec in a stopped container");
    says(container.runtime(&["start", &container.id]), "cannot start a container that has stopped");
}

#[test]
fn a_running_container_is_not_deleted_and_says_so() {
    let container = running();
    says(
        container.delete(&[]),
        &format!("cannot delete container {} that is not stopped: running", container.id),
    );
}

/// Docker's client compares letter by letter, its daemon and Podman in small letters.
#[test]
fn a_program_that_cannot_be_run_is_named_with_the_reason() {
    let mut container = Container::new();
    fs::write(container.rootfs("etc/text"), "x").expect("our own file");
    for (program, reason) in [
        ("nowhere", "executable file not found in $PATH"),
        ("/nowhere", "no such file or directory"),
        ("/etc/text", "permission denied"),
        ("/etc", "permission denied"),
    ] {
        let words = format!("exec: \"{program}\": ");
        container.args(&[program]);
        let output = container.create().fails();
        let text = output.stderr.replace('\\', "");
        assert!(text.contains(&words) && text.contains(reason), "{words}...{reason}: {output}");
        container.delete(&["--force"]).ok();
    }
    let container = running();
    for (program, reason) in [
        ("nowhere", "executable file not found in $PATH"),
        ("/nowhere", "no such file or directory"),
        ("/etc", "permission denied"),
    ] {
        let output = container.runtime(&["exec", &container.id, program]);
        assert_eq!(output.status.code(), Some(255), "{output}");
        says(output, reason);
    }
}

#[test]
fn a_program_that_is_a_directory_says_that_too() {
    if beyond_runc("1.1 says \"permission denied\" only; 1.2 and later both") {
        return;
    }
    let mut container = Container::new();
    container.args(&["/etc"]);
    says(container.create(), "is a directory");
}

#[test]
fn a_mount_that_cannot_be_made_has_the_kernels_reason_in_small_letters() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let directory = container.host_directory("directory");
    fs::write(container.rootfs("etc/file"), "").expect("our own file");
    container.mount("/etc/file", "bind", &directory, &["rbind"]);
    says(container.create(), "not a directory");
    container.delete(&["--force"]).ok();
    container.unmount("/etc/file").mount("/srv", "bind", "/no/such/source", &["rbind"]);
    let output = container.create();
    assert!(output.stderr.contains("/no/such/source"), "{output}");
    says(output, "no such file or directory");
    container.delete(&["--force"]).ok();
    fs::write(container.rootfs("etc/file"), "").expect("our own file");
    container.unmount("/srv");
    container.config["process"]["cwd"] = json!("/etc/file");
    says(container.create(), "not a directory");
}

#[test]
fn a_paused_container_takes_no_exec() {
    if !require_cgroups() {
        return;
    }
    let container = running();
    container.runtime(&["pause", &container.id]).ok();
    says(container.runtime(&["exec", &container.id, "true"]), "cannot exec in a paused container");
    container.runtime(&["resume", &container.id]).ok();
    says(container.runtime(&["resume", &container.id]), "container not paused");
}

/// The lines of a log in JSON.
fn log_lines(path: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the log is there");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// containerd takes the last line of level `error`, and conmon what came on standard error.
#[test]
fn the_reason_is_in_the_log_and_on_standard_error() {
    let mut container = Container::new();
    container.args(&["nowhere"]);
    let log = container.directory().join("log.json");
    container.global = ["--log", &log.to_string_lossy(), "--log-format=json"].map(str::to_owned).into();
    let output = container.create().fails();
    let lines = log_lines(&log);
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
    let last = errors.last().unwrap_or_else(|| panic!("no error in {lines:?}"));
    let message = last["msg"].as_str().expect("a text").trim().to_owned();
    assert!(message.contains("executable file not found in $PATH"), "{lines:?}");
    assert!(output.stderr.contains(&message), "{output}");
    let time = last["time"].as_str().expect("a text");
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
    container.delete(&["--force"]).ok();
    // Appended to: an engine keeps one file for all commands of a container.
    let before = lines.len();
    container.runtime(&["start", &container.id.clone()]).fails();
    let lines = log_lines(&log);
    assert!(lines.len() > before, "{lines:?}");
    let message = lines.last().expect("lines")["msg"].as_str().expect("a text").to_owned();
    assert!(message.contains("container does not exist"), "{lines:?}");
}

/// A missing log would hide the reason: it is there though nothing was wrong.
#[test]
fn a_log_that_was_asked_for_is_made() {
    let mut container = Container::new();
    let log = container.directory().join("log.json");
    container.global = ["--log", &log.to_string_lossy(), "--log-format=json"].map(str::to_owned).into();
    container.run().ok();
    assert!(log_lines(&log).iter().all(|line| line["level"] != "error"));
}

/// Podman knows four statuses, and Buildah two while it waits.
#[test]
fn state_has_runcs_fields_and_statuses() {
    let mut container = Container::new();
    container.config["annotations"] = json!({ "org.example.one": "1" });
    container.args(&["probe", "sleep", "100"]);
    container.create().ok();
    let state = container.state();
    assert_eq!(state["status"], "created", "{state}");
    assert_eq!(state["id"], container.id.as_str());
    assert_eq!(state["bundle"], container.directory().to_string_lossy().as_ref());
    assert_eq!(state["rootfs"], container.rootfs("").to_string_lossy().trim_end_matches('/'));
    assert!(state["pid"].as_i64().is_some_and(|pid| pid > 0), "{state}");
    assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
    assert!(state["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{state}");
    assert_eq!(state["annotations"]["org.example.one"], "1", "{state}");
    container.runtime(&["start", &container.id]).ok();
    container.await_status("running");
    container.kill("KILL").ok();
    container.await_status("stopped");
    assert_eq!(container.state()["pid"], 0);
}

#[test]
fn a_frozen_container_is_paused() {
    if !require_cgroups() {
        return;
    }
    let container = running();
    container.runtime(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.runtime(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn a_list_is_an_array_of_states_or_null() {
    let container = running();
    let empty = container.host_directory("empty");
    let none = Container::new().runtime(&["--root", &empty, "list", "--format=json"]).ok();
    assert_eq!(none.stdout.trim(), "null");
    let list = container.runtime(&["list", "--format=json"]).json();
    assert_eq!(list[0]["id"], container.id.as_str(), "{list}");
    assert_eq!(list[0]["status"], "running", "{list}");
    assert_eq!(list[0]["pid"], container.state()["pid"], "{list}");
    let quiet = container.runtime(&["list", "-q"]).lines();
    assert_eq!(quiet, std::slice::from_ref(&container.id));
}

#[test]
fn ps_is_an_array_of_pids_or_a_table_with_a_column_for_them() {
    if !require_cgroups() {
        return;
    }
    let container = running();
    let pid = container.state()["pid"].clone();
    assert_eq!(container.runtime(&["ps", "--format", "json", &container.id]).json(), json!([pid]));
    let table = container.runtime(&["ps", "--format", "table", &container.id, "-o", "pid,comm"]).lines();
    assert!(table[0].split_whitespace().any(|word| word == "PID"), "{table:?}");
    assert_eq!(table[1].split_whitespace().next().map(str::to_owned), Some(pid.to_string()), "{table:?}");
}

#[test]
fn events_are_objects_with_type_id_and_data() {
    if !require_cgroups() {
        return;
    }
    let container = running();
    let event = container.runtime(&["events", "--stats", &container.id]).json();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], container.id.as_str());
    for path in ["/data/cpu/usage/total", "/data/memory/usage/usage", "/data/pids/current"] {
        assert!(event.pointer(path).is_some_and(Value::is_u64), "{path}: {event}");
    }
}

/// Whole numbers and nothing else: go-runc and `BuildKit` take the whole file for one.
#[test]
fn a_pid_file_is_a_number_without_a_line_end() {
    let mut container = Container::new();
    let file = container.directory().join("pid");
    let path = file.to_string_lossy().into_owned();
    container.args(&["probe", "sleep", "100"]);
    container.create_with(&["--pid-file", &path]).ok();
    assert_eq!(fs::read_to_string(&file).expect("a file"), container.state()["pid"].to_string());
    container.runtime(&["exec", "-d", "--pid-file", &path, &container.id, "probe", "sleep", "100"]).ok();
    let text = fs::read_to_string(&file).expect("a file");
    assert_ne!(text, container.state()["pid"].to_string());
    assert!(text.parse::<u32>().is_ok(), "{text:?}");
}

/// One that nobody could be told of does not stay.
#[test]
fn a_pid_file_that_cannot_be_written_ends_the_process() {
    let container = running();
    let words =
        ["exec", "-d", "--pid-file", "/no/such/pid", &container.id, "probe", "write", "/tmp/ran", "x"];
    let output = container.runtime(&words);
    assert_eq!(output.status.code(), Some(255), "{output}");
    says(output, "no such file or directory");
    // No zombie of it keeps the container's end waiting.
    container.kill("KILL").ok();
    container.await_status("stopped");
}

#[test]
fn exit_statuses_are_the_programs_1_or_255() {
    let mut container = Container::new();
    for (args, status) in [
        (&["probe", "exit", "0"][..], 0),
        (&["probe", "exit", "42"], 42),
        (&["probe", "exit", "255"], 255),
        (&["nowhere"], 1),
    ] {
        container.args(args);
        let output = container.run();
        assert_eq!(output.code(), status, "{output}");
    }
    let container = running();
    for (args, status) in
        [(&["probe", "exit", "42"][..], 42), (&["probe", "kill-self", "KILL"], 137), (&["nowhere"], 255)]
    {
        let output = container.runtime(&[&["exec", &container.id], args].concat());
        assert_eq!(output.code(), status, "{output}");
    }
}

/// Docker reads two of these lines, go-runc three.
#[test]
fn the_version_has_a_line_for_the_program_and_one_for_the_specification() {
    let container = Container::new();
    let name = conformance::harness::runtime_path().file_name().expect("a name").to_owned();
    let lines = container.runtime(&["--version"]).lines();
    assert!(lines[0].starts_with(&format!("{} version ", name.to_string_lossy())), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{lines:?}");
}

/// Engines that look for `runc version` find it where they call it so.
#[test]
fn called_as_runc_it_answers_as_runc() {
    let mut container = Container::new();
    let copy = container.directory().join("runc");
    // By a process of its own: who has it open to be written keeps it from being executed, and so does a child of another test's that
    // was made meanwhile.
    let copied = Command::new("cp").arg(conformance::harness::runtime_path()).arg(&copy).status();
    assert!(copied.expect("cp").success());
    container.binary = Some(copy);
    assert!(container.runtime(&["--version"]).lines()[0].starts_with("runc version "));
    container.args(&["nowhere"]);
    says(container.run(), "runc run failed: ");
}

#[test]
fn features_are_an_object_that_says_what_it_was_made_for() {
    let features = Container::new().runtime(&["features"]).json();
    assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string(), "{features}");
    for list in ["/hooks", "/mountOptions", "/linux/namespaces", "/linux/capabilities"] {
        assert!(features.pointer(list).is_some_and(Value::is_array), "{list}: {features}");
    }
    assert!(features["linux"]["cgroup"]["v1"].is_boolean(), "{features}");
}

/// The ways in which engines write signals and flags.
#[test]
fn signals_are_names_or_numbers_and_flags_go_before_the_id() {
    for signal in ["SIGTERM", "TERM", "15"] {
        let container = running();
        container.kill(signal).ok();
        container.await_status("stopped");
    }
    let container = running();
    says(container.kill("NONSENSE"), "unknown signal");
    container.runtime(&["kill", "--all", &container.id, "9"]).ok();
    container.await_status("stopped");
    container.runtime(&["delete", "--force", &container.id]).ok();
}

/// As containerd and CRI-O update: the resources on standard input.
#[test]
fn an_update_is_read_from_standard_input() {
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    container.stdin = Some(json!({ "pids": { "limit": 77 } }).to_string());
    container.runtime(&["update", "--resources", "-", &container.id.clone()]).ok();
    container.stdin = None;
    let event = container.runtime(&["events", "--stats", &container.id]).json();
    assert_eq!(event["data"]["pids"]["limit"], 77, "{event}");
}

/// As conmon calls: `-d`, `--process`, `--tty` behind each other, the id last.
#[test]
fn conmons_exec() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    container.launch_trap(&["TERM"]);
    let process = container.directory().join("process.json");
    let pid = container.directory().join("pid");
    let spec = json!({ "cwd": "/", "args": ["probe", "write", "/tmp/conmon", "x"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, spec.to_string()).expect("our own file");
    let (process, pid) = (process.to_string_lossy().into_owned(), pid.to_string_lossy().into_owned());
    container.runtime(&["exec", "--pid-file", &pid, "--process", &process, "-d", &container.id]).ok();
    conformance::harness::eventually("it has run", || container.rootfs("tmp/conmon").exists());
}
