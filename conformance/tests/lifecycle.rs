//! runtime.md: create, start, state, kill, delete, and what may be asked in which state.

use std::fs;
use std::path::Path;
use std::thread;

use conformance::harness::{
    Container, beyond_runc, eventually, is_root, require_root, without_cgroup_warning,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn alive(pid: &Value) -> bool {
    Path::new(&format!("/proc/{pid}/ns")).exists()
}

#[test]
fn run_returns_the_exit_status() {
    let mut container = Container::new();
    for status in [0, 1, 7, 126, 127, 255] {
        container.args(&["probe", "exit", &status.to_string()]);
        assert_eq!(container.run().code(), status);
        container.assert_clean();
    }
}

/// A death by signal is 128 and the number, as a shell has it.
#[test]
fn run_returns_128_and_the_signal() {
    let mut container = Container::new();
    // As pid 1, the probe is only killed by a signal from outside; in a shared namespace from inside too.
    container.launch_trap(&["USR1"]);
    container.kill("KILL").ok();
    container.await_status("stopped");
    drop(container);
    let mut container = Container::new();
    container.args(&["probe", "trap", "USR1"]);
    let running =
        container.spawn(&["run", "--bundle", &container.directory().to_string_lossy(), &container.id]);
    eventually("the probe is ready", || running.stdout() == "ready\n");
    container.kill("KILL").ok();
    assert_eq!(running.wait().code(), 137);
}

#[test]
fn standard_streams_are_the_callers() {
    let mut container = Container::new();
    container.stdin = Some("from the caller\n".to_owned());
    container.args(&["probe", "cat"]);
    let output = container.run().ok();
    assert_eq!(output.stdout, "from the caller\n");
    assert_eq!(without_cgroup_warning(&output.stderr), "");
}

/// "create: … The runtime MUST NOT run the user-specified program."
#[test]
fn create_does_not_run_the_program() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    container.args(&["probe", "write", "/tmp/ran", "yes"]);
    container.create().ok();
    assert_eq!(container.status(), "created");
    assert!(!container.rootfs("tmp/ran").exists());
    container.runtime(&["start", &container.id]).ok();
    container.await_status("stopped");
    assert!(container.rootfs("tmp/ran").exists());
    container.delete(&[]).ok();
    container.assert_clean();
}

/// runtime.md, "State": the properties and their values.
#[test]
fn state_tells_what_the_spec_asks() {
    let mut container = Container::new();
    container.config["annotations"] = json!({ "org.example.key": "value", "empty": "" });
    container.args(&["probe", "trap", "TERM"]);
    container.create().ok();
    let state = container.state();
    assert_eq!(state["id"], container.id);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], container.directory().to_string_lossy().as_ref());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert_eq!(state["annotations"]["empty"], "");
    assert!(state["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{state}");
    assert!(alive(&state["pid"]), "{state}");
    container.runtime(&["start", &container.id]).ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn state_names_the_process_of_the_container() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let pid = &container.state()["pid"];
    let words = fs::read(format!("/proc/{pid}/cmdline")).expect("the process lives");
    assert_eq!(words, b"probe\0trap\0TERM\0");
}

#[test]
fn a_container_whose_process_ended_is_stopped() {
    let mut container = Container::new();
    container.launch(&["probe", "true"]);
    container.await_status("stopped");
    let state = container.state();
    assert!(state["pid"] == 0 || state["pid"].is_null(), "no process is named: {state}");
    container.delete(&[]).ok();
}

#[test]
fn state_of_what_does_not_exist_is_an_error() {
    let container = Container::new();
    container.runtime(&["state", &container.id]).fails_with("does not exist");
}

/// "start: … Attempting to start a container that is not created MUST have no effect on the container and MUST
/// generate an error."
#[test]
fn a_running_container_is_not_started_again() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    container.runtime(&["start", &container.id]).fails();
    assert_eq!(container.status(), "running");
}

#[test]
fn a_stopped_container_is_not_started_again() {
    let mut container = Container::new();
    container.launch(&["probe", "true"]);
    container.await_status("stopped");
    container.runtime(&["start", &container.id]).fails();
}

#[test]
fn what_does_not_exist_is_not_started() {
    let container = Container::new();
    container.runtime(&["start", &container.id]).fails_with("does not exist");
}

/// "create: … MUST generate an error if the ID provided is not unique across all containers within the scope of the
/// runtime."
#[test]
fn a_second_container_of_one_id_is_refused() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    container.create().fails_with("exist");
    container.run().fails_with("exist");
    assert_eq!(container.status(), "running");
}

#[test]
fn of_two_creates_at_once_one_succeeds() {
    if beyond_runc("1.1 takes no lock: both may fail, or the loser removes the winner's state") {
        return;
    }
    let mut container = Container::new();
    container.args(&["probe", "trap", "TERM"]);
    let container = &container;
    let good: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| container.create().status.success())).collect();
        all.into_iter().map(|one| usize::from(one.join().expect("no panic"))).sum()
    });
    assert_eq!(good, 1);
    assert_eq!(container.status(), "created");
}

/// "Any changes made to config.json after this step will have no effect on the container."
#[test]
fn config_is_read_at_create_only() {
    let mut container = Container::new();
    container.args(&["probe", "echo", "first"]);
    let at = container.directory().join("output/0.out");
    container.create().ok();
    container.args(&["probe", "echo", "second"]);
    container.runtime(&["start", &container.id]).ok();
    container.await_status("stopped");
    assert_eq!(fs::read_to_string(at).expect("the output file"), "first\n");
}

#[test]
fn signals_arrive_by_name_and_number() {
    let mut container = Container::new();
    let output = container.launch_trap(&["HUP", "INT", "USR1", "USR2", "TERM"]);
    let mut expected = "ready\n".to_owned();
    for (word, name) in [("HUP", "SIGHUP"), ("SIGINT", "SIGINT"), ("10", "SIGUSR1"), ("usr2", "SIGUSR2")] {
        container.kill(word).ok();
        expected += &format!("{name}\n");
        eventually(&format!("{name} has arrived"), || {
            fs::read_to_string(&output).is_ok_and(|text| text == expected)
        });
    }
    container.kill("TERM").ok();
    container.await_status("stopped");
}

#[test]
fn kill_without_a_signal_means_term() {
    let mut container = Container::new();
    let output = container.launch_trap(&["TERM"]);
    container.runtime(&["kill", &container.id]).ok();
    container.await_status("stopped");
    assert_eq!(fs::read_to_string(output).expect("the output file"), "ready\nSIGTERM\n");
}

/// A real-time signal by number.
#[test]
fn real_time_signals_may_be_sent() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    // Nobody waits for it: pid 1 ignores what it has no handler for.
    container.kill("34").ok();
    assert_eq!(container.status(), "running");
}

#[test]
fn an_unknown_signal_is_an_error() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    for word in ["NOSUCH", "SIG", "-1", "1000"] {
        container.kill(word).fails();
    }
    assert_eq!(container.status(), "running");
}

/// "kill: … Attempting to send a signal to a container that is neither created nor running MUST have no effect on
/// the container and MUST generate an error."
#[test]
fn a_stopped_container_is_not_signalled() {
    let mut container = Container::new();
    container.launch(&["probe", "true"]);
    container.await_status("stopped");
    container.kill("TERM").fails();
}

#[test]
fn what_does_not_exist_is_not_signalled() {
    let container = Container::new();
    container.kill("TERM").fails_with("does not exist");
}

#[test]
fn a_created_container_is_killed() {
    let container = Container::new();
    container.create().ok();
    container.kill("KILL").ok();
    container.await_status("stopped");
    container.delete(&[]).ok();
    container.assert_clean();
}

/// "delete: … Attempting to delete a container that is not stopped MUST have no effect on the container and MUST
/// generate an error."
#[test]
fn a_running_container_is_not_deleted() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    container.delete(&[]).fails();
    assert_eq!(container.status(), "running");
}

#[test]
fn a_running_container_is_deleted_by_force() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let pid = container.state()["pid"].clone();
    container.delete(&["--force"]).ok();
    eventually("the process is gone", || !alive(&pid));
    container.assert_clean();
    container.runtime(&["state", &container.id]).fails();
}

#[test]
fn a_created_container_is_deleted_by_force() {
    let container = Container::new();
    container.create().ok();
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

#[test]
fn what_does_not_exist_is_not_deleted() {
    let container = Container::new();
    container.delete(&[]).fails_with("does not exist");
}

/// runc: deleting by force what does not exist is no error, so that an engine may repeat it.
#[test]
fn delete_by_force_may_be_repeated() {
    let container = Container::new();
    container.delete(&["--force"]).ok();
    container.create().ok();
    container.delete(&["--force"]).ok();
    container.delete(&["--force"]).ok();
}

/// "delete: … Once a container is deleted its ID MAY be used by a subsequent container."
#[test]
fn an_id_may_be_used_again() {
    let mut container = Container::new();
    for _ in 0..3 {
        container.launch(&["probe", "true"]);
        container.await_status("stopped");
        container.delete(&[]).ok();
    }
}

/// When pid 1 ends, everything it left running ends.
#[test]
fn what_pid_1_leaves_behind_ends_with_it() {
    let mut container = Container::new();
    container.args(&["probe", "orphan", "600"]);
    assert_eq!(container.run().code(), 0);
    container.assert_clean();
}

/// With the host's pid namespace that is the runtime's business: `delete` must find them by the cgroup.
#[test]
fn what_is_left_in_the_hosts_pid_namespace_is_killed_by_delete() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.no_namespace("pid");
    container.launch(&["probe", "orphan", "600"]);
    container.await_status("stopped");
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

#[test]
fn pid_file_holds_the_pid_of_state() {
    let container = Container::new();
    let file = container.directory().join("pid");
    container.create_with(&["--pid-file", &file.to_string_lossy()]).ok();
    let text = fs::read_to_string(file).expect("the pid file");
    assert_eq!(text, container.state()["pid"].to_string());
}

#[test]
fn run_writes_a_pid_file_too() {
    let container = Container::new();
    let file = container.directory().join("pid");
    container.run_with(&["--pid-file", &file.to_string_lossy()]).ok();
    assert!(fs::read_to_string(file).expect("the pid file").parse::<u32>().is_ok());
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    let mut container = Container::new();
    container.args(&["probe", "trap", "TERM"]);
    container.run_with(&["--detach"]).ok();
    assert_eq!(container.status(), "running");
    container.delete(&["--force"]).ok();
}

#[test]
fn run_keeps_the_container_when_asked() {
    let container = Container::new();
    container.run_with(&["--keep"]).ok();
    assert_eq!(container.status(), "stopped");
    container.delete(&[]).ok();
    container.assert_clean();
}

#[test]
fn signals_to_a_foreground_run_are_forwarded() {
    let mut container = Container::new();
    container.args(&["probe", "trap", "USR1", "TERM"]);
    let running =
        container.spawn(&["run", "--bundle", &container.directory().to_string_lossy(), &container.id]);
    eventually("the probe is ready", || running.stdout() == "ready\n");
    let pid = Pid::from_raw(i32::try_from(running.pid()).expect("a pid"));
    kill(pid, Signal::SIGUSR1).expect("our own child");
    eventually("the signal has arrived", || running.stdout() == "ready\nSIGUSR1\n");
    kill(pid, Signal::SIGTERM).expect("our own child");
    let output = running.wait().ok();
    assert_eq!(output.stdout, "ready\nSIGUSR1\nSIGTERM\n");
}

#[test]
fn list_shows_containers_in_three_forms() {
    let mut container = Container::new();
    assert_eq!(container.runtime(&["list", "--quiet"]).ok().stdout, "");
    container.launch_trap(&["TERM"]);
    assert_eq!(container.runtime(&["list", "--quiet"]).ok().stdout, format!("{}\n", container.id));
    let lines = container.runtime(&["list"]).lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let heading: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(heading, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row: Vec<_> = lines[1].split_whitespace().collect();
    let state = container.state();
    assert_eq!(row[..3], [container.id.as_str(), &state["pid"].to_string(), "running"]);
    let all = container.runtime(&["list", "--format", "json"]).json();
    assert_eq!(all[0]["id"], container.id);
    assert_eq!(all[0]["status"], "running");
    assert_eq!(all[0]["pid"], state["pid"]);
    assert_eq!(all[0]["bundle"], state["bundle"]);
    if is_root() {
        assert_eq!(all[0]["owner"], "root");
    }
}

/// An empty list is `null` or `[]`, and no error.
#[test]
fn list_of_nothing_is_no_error() {
    let container = Container::new();
    let all = container.runtime(&["list", "--format", "json"]).json();
    assert!(all.is_null() || all.as_array().is_some_and(Vec::is_empty), "{all}");
}

/// "MUST generate an error … and a new container MUST NOT be created": nothing is left by a failed create.
#[test]
fn a_failed_create_leaves_nothing() {
    let mut container = Container::new();
    container.mount("/tmp", "nosuchfs", "none", &[]);
    container.create().fails();
    container.assert_clean();
    container.runtime(&["state", &container.id]).fails_with("does not exist");
}

#[test]
fn a_program_that_is_not_there_is_an_error_in_runcs_words() {
    let mut container = Container::new();
    container.args(&["no-such-program"]);
    container.run().fails_with("executable file not found in $PATH");
    container.assert_clean();
    container.args(&["/bin/no-such-program"]);
    container.run().fails_with("no such file or directory");
    container.assert_clean();
}

#[test]
fn a_program_that_may_not_be_executed_is_an_error_in_runcs_words() {
    let mut container = Container::new();
    let file = container.rootfs("bin/plain-text");
    fs::write(&file, "text").expect("our own file");
    container.args(&["/bin/plain-text"]);
    container.run().fails_with("permission denied");
    container.assert_clean();
}

/// runc passes 128 errors of exec on; what it cannot execute for its format is told by the kernel's words.
#[test]
fn a_program_of_no_known_format_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let mut container = Container::new();
    let file = container.rootfs("bin/plain-text");
    fs::write(&file, "text").expect("our own file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our own file");
    container.args(&["/bin/plain-text"]);
    let output = container.run();
    assert!(!output.status.success(), "{output}");
    assert!(output.stderr.to_lowercase().contains("exec format error"), "{output}");
}

#[test]
fn the_exec_fifo_or_its_like_is_gone_after_start() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    // Whatever holds the process back between create and start, it is no file that a second start could use.
    container.runtime(&["start", &container.id]).fails();
    container.runtime(&["start", &container.id]).fails();
    assert_eq!(container.status(), "running");
}

/// runtime.md: the working directory and a relative `--bundle` make no difference.
#[test]
fn a_relative_bundle_is_the_same_bundle() {
    let container = Container::new();
    container.runtime(&["create", "--bundle", ".", &container.id]).ok();
    assert_eq!(container.state()["bundle"], container.directory().to_string_lossy().as_ref());
}

#[test]
fn the_working_directory_is_the_default_bundle() {
    let container = Container::new();
    container.runtime(&["run", &container.id]).ok();
}

#[test]
fn many_short_containers_all_report_their_end() {
    // youki loses 2-10 % of these: the child's end comes before anybody waits for it.
    let mut container = Container::new();
    container.args(&["probe", "exit", "3"]);
    for _ in 0..30 {
        assert_eq!(container.run().code(), 3);
    }
}

/// A container whose record stands as a runtime leaves it that was killed before it could write how far it had come.
fn left_creating(container: &Container) {
    let path = container.state_root().join(&container.id).join("state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
    record["state"]["phase"] = json!("creating");
    fs::write(&path, record.to_string()).expect("our own file");
}

/// Killed between its word to start and its record of that, `run` leaves a program that runs: `state` sees it, and all can be done to
/// it that can be done to another.
#[test]
fn a_program_that_runs_is_running_whatever_was_recorded() {
    if beyond_runc("the record is ours") {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    left_creating(&container);
    assert_eq!(container.status(), "running");
    assert_eq!(container.runtime(&["exec", &container.id, "probe", "echo", "in"]).lines(), ["in"]);
    container.delete(&[]).fails_with("that is not stopped: running");
    container.kill("TERM").ok();
    container.await_status("stopped");
    container.delete(&[]).ok();
    container.assert_clean();
}

#[test]
fn one_that_was_never_started_is_creating_and_can_be_killed_and_deleted() {
    if beyond_runc("the record is ours") {
        return;
    }
    for kill in [false, true] {
        let mut container = Container::new();
        container.args(&["probe", "sleep", "100"]);
        container.create().ok();
        left_creating(&container);
        assert_eq!(container.status(), "creating");
        container
            .runtime(&["start", &container.id])
            .fails_with("cannot start a container in the creating state");
        container.delete(&[]).fails_with("that is not stopped: creating");
        if kill {
            container.kill("KILL").ok();
            container.await_status("stopped");
            container.delete(&[]).ok();
        } else {
            container.delete(&["--force"]).ok();
        }
        container.assert_clean();
    }
}
