//! The moments in which a process of the runtime is in the container already, and not yet the container's program.

use conformance::harness::{Container, eventually, require_root};
use serde_json::json;
use std::fs;

use crate::{add_capabilities, breach};

/// How many processes are executed while the container looks at them.
const ROUNDS: usize = 40;

/// The container's first process looks at every process that comes; the runtime executes some.  What it could reach.
fn snoop_on_exec(mut container: Container) -> Vec<String> {
    let output = container.launch(&["probe", "snoop", "600"]);
    let lines = || -> Vec<String> {
        fs::read_to_string(&output).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    eventually("the attacker is ready", || !lines().is_empty());
    for _ in 0..ROUNDS {
        container.runtime(&["exec", &container.id, "probe", "true"]).ok();
    }
    // One that stays until it was seen: the attacker did look.
    container.runtime(&["exec", "--detach", &container.id, "probe", "sleep", "600"]).ok();
    eventually("the attacker sees a process", || lines().len() > 1);
    fs::write(container.rootfs("enough"), "").expect("our own directory");
    eventually("the attacker has ended", || lines().last().is_some_and(|line| line.starts_with("seen ")));
    lines().into_iter().filter(|line| line.starts_with("reached: ")).collect()
}

/// CVE-2016-9962: between joining the container's namespaces and execve, a process of the runtime has the host's descriptors; the
/// container must not reach them through `/proc/PID/fd`.
#[test]
fn a_process_that_enters_cannot_be_looked_into() {
    if !require_root() {
        return;
    }
    let reached = snoop_on_exec(Container::new());
    if !reached.is_empty() {
        breach!("{reached:#?}");
    }
}

/// The same in a user namespace, whose root has all capabilities over what has entered it.
#[test]
fn a_process_that_enters_a_user_namespace_cannot_be_looked_into() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    add_capabilities(&mut container, &["CAP_SYS_PTRACE"]);
    container.namespace("user", None);
    container.config["linux"]["uidMappings"] =
        json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    container.config["linux"]["gidMappings"] =
        json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let reached = snoop_on_exec(container);
    if !reached.is_empty() {
        breach!("{reached:#?}");
    }
}

/// A process that becomes another container's in the same pid namespace (of a pod, say): it is seen from its clone on.
#[test]
fn a_process_that_joins_the_pid_namespace_cannot_be_looked_into() {
    if !require_root() {
        return;
    }
    let mut attacker = Container::new();
    let output = attacker.launch(&["probe", "snoop", "600"]);
    let read = || fs::read_to_string(&output).unwrap_or_default();
    eventually("the attacker is ready", || !read().is_empty());
    let mut container = Container::new();
    container.namespace("pid", Some(&format!("/proc/{}/ns/pid", attacker.state()["pid"])));
    container.args(&["probe", "true"]);
    for _ in 0..ROUNDS / 2 {
        container.run().ok();
    }
    container.launch(&["probe", "sleep", "600"]);
    eventually("the attacker sees a process", || read().lines().count() > 1);
    fs::write(attacker.rootfs("enough"), "").expect("our own directory");
    eventually("the attacker has ended", || read().contains("seen "));
    let reached: Vec<String> =
        read().lines().filter(|line| line.starts_with("reached: ")).map(str::to_owned).collect();
    if !reached.is_empty() {
        breach!("{reached:#?}");
    }
}

/// A process that waits for `start`: what is executed in the container meanwhile is of the same user.
#[test]
fn a_process_that_waits_for_start_cannot_be_looked_into() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.args(&["probe", "true"]);
    container.create().ok();
    let output = container.runtime(&["exec", &container.id, "probe", "snoop", "0.2"]).ok();
    assert!(!output.stdout.contains(", 0 looks"), "it has not looked: {}", output.stdout);
    let reached: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("reached: ")).collect();
    if !reached.is_empty() {
        breach!("{reached:#?}");
    }
}
