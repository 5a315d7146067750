//! What engines ask of a runtime beyond the spec: readiness, pidfds; and what Orlop alone has: plan and trace.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use conformance::harness::{ConsoleSocket, Container, Kind, beyond_runc, kind, patience};
use serde_json::Value;

/// sd_notify(3): the container's word reaches the socket that the runtime was started with.
#[test]
fn readiness_is_handed_on() {
    let mut container = Container::new();
    let path = container.directory().join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    socket.set_read_timeout(Some(patience(Duration::from_secs(60)))).expect("a socket takes a timeout");
    container.environment.push(("NOTIFY_SOCKET".to_owned(), path.to_string_lossy().into_owned()));
    container.args(&["probe", "seq", "--", "notify", "READY=1", "--", "sleep", "600"]);
    let bundle = container.directory().to_string_lossy().into_owned();
    let running = container.spawn(&["run", "--bundle", &bundle, &container.id]);
    let mut text = String::new();
    while !text.contains("READY=1") {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}; so far {text:?}"));
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    container.kill("KILL").ok();
    assert_eq!(running.wait().code(), 128 + libc::SIGKILL);
}

/// runc 1.2: `--pidfd-socket` sends a descriptor of the container's process.
#[test]
fn a_pidfd_is_sent() {
    if beyond_runc("1.1 has no --pidfd-socket") {
        return;
    }
    let container = Container::new();
    let socket = ConsoleSocket::new(container.directory());
    container.create_with(&["--pidfd-socket", &socket.path.to_string_lossy()]).ok();
    let descriptor = socket.descriptor();
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&descriptor)));
    let info = info.expect("procfs");
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd");
    assert_eq!(line.trim(), container.state()["pid"].to_string());
}

fn only_orlop(what: &str) -> bool {
    let other = kind() != Kind::Other;
    if other {
        conformance::harness::skip(&format!("only orlop has {what}"));
    }
    !other
}

/// `plan` shows what would be done, with the config path of each step, and does nothing.
#[test]
fn plan_shows_steps_and_does_nothing() {
    if !only_orlop("plan") {
        return;
    }
    let container = Container::new();
    let bundle = container.directory().to_string_lossy().into_owned();
    let text = container.runtime(&["plan", "--bundle", &bundle]).ok().stdout;
    for word in ["process.args", "mounts[0]", "linux.namespaces"] {
        assert!(text.contains(word), "{word} in:\n{text}");
    }
    let plan = container.runtime(&["plan", "--bundle", &bundle, "--format", "json"]).json();
    assert!(plan.is_object() || plan.is_array(), "{plan}");
    container.assert_clean();
}

/// A config with faults is told the same by `plan` and by `run`.
#[test]
fn plan_tells_faults() {
    if !only_orlop("plan") {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["cwd"] = "relative".into();
    container.config["linux"]["namespaces"][0]["type"] = "universe".into();
    let bundle = container.directory().to_string_lossy().into_owned();
    let output = container.runtime(&["plan", "--bundle", &bundle]).fails();
    for word in ["process.cwd", "linux.namespaces[0]"] {
        assert!(output.stderr.contains(word), "all faults at once: {output}");
    }
}

/// `--trace` writes events that a viewer of Chrome traces reads, of both halves.
#[test]
fn trace_has_the_time_of_every_step() {
    if !only_orlop("--trace") {
        return;
    }
    let container = Container::new();
    let path = container.directory().join("trace.json");
    container.run_with(&["--trace", &path.to_string_lossy()]).ok();
    let trace: Value = serde_json::from_slice(&fs::read(path).expect("a trace")).expect("JSON");
    let events = trace.get("traceEvents").unwrap_or(&trace).as_array().expect("a list of events").clone();
    assert!(events.len() > 10, "{events:?}");
    let timed = events.iter().filter(|event| event["ph"] == "X" || event["ph"] == "B");
    let mut count = 0;
    for event in timed {
        assert!(event["name"].is_string() && event["ts"].is_number(), "{event}");
        count += 1;
    }
    assert!(count > 10, "{events:?}");
}
