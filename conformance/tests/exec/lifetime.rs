//! What lives how long: the container in its states, those that are executed in it, and who ends first.

use std::fs;
use std::path::Path;
use std::time::Duration;

use conformance::harness::{Container, beyond_runc, eventually, require_root};

use crate::{exec, groups, running, stay};

#[test]
fn a_paused_container_is_refused_unless_asked_for() {
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    let freezer = groups(&container, "").into_iter().find_map(|group| {
        let files = [("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED")];
        files.into_iter().map(|(file, on, off)| (group.join(file), on, off)).find(|(file, ..)| file.exists())
    });
    let (file, on, off) = freezer.expect("a group that can freeze");
    fs::write(&file, on).expect("root may freeze");
    let output = exec(&container, &[], &["probe", "true"]);
    assert_eq!(output.status.code(), Some(255), "{output}");
    assert!(output.stderr.contains("cannot exec in a paused container"), "{output}");
    let waiting = container.spawn(&["exec", "--ignore-paused", &container.id, "probe", "echo", "thawed"]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(waiting.stdout(), "");
    fs::write(&file, off).expect("root may thaw");
    assert_eq!(waiting.wait().lines(), ["thawed"]);
}

#[test]
fn a_created_container_can_be_entered() {
    let mut container = Container::new();
    container.args(&["probe", "sleep", "100"]);
    container.create().ok();
    assert_eq!(exec(&container, &[], &["probe", "echo", "early"]).lines(), ["early"]);
    assert_eq!(container.status(), "created");
}

#[test]
fn a_stopped_container_cannot() {
    let container = running(Container::new());
    container.kill("KILL").ok();
    container.await_status("stopped");
    let output = exec(&container, &[], &["probe", "true"]);
    assert_eq!(output.status.code(), Some(255), "{output}");
    assert!(output.stderr.contains("cannot exec in a stopped container"), "{output}");
    let output = container.runtime(&["exec", "nobody-of-this-name", "true"]);
    assert_eq!(output.status.code(), Some(255), "{output}");
    assert!(output.stderr.contains("container does not exist"), "{output}");
}

/// A container that ends at the worst moment: the answer is a status, or that it has stopped; never a hang, never another text.
#[test]
fn a_container_that_ends_meanwhile() {
    if beyond_runc("its helper has words of its own for it") {
        return;
    }
    for n in 0..12 {
        let container = running(Container::new());
        let execs: Vec<_> =
            (0..3).map(|_| container.spawn(&["exec", &container.id, "probe", "true"])).collect();
        std::thread::sleep(Duration::from_micros(700 * n));
        container.kill("KILL").ok();
        for exec in execs {
            let output = exec.wait();
            let stopped =
                ["cannot exec in a stopped container", "killed by signal 9 before it ran its program"]
                    .iter()
                    .any(|words| output.stderr.contains(words));
            match output.status.code() {
                Some(0 | 137) => {}
                Some(255) if stopped => {}
                _ => panic!("{output}"),
            }
        }
        container.await_status("stopped");
        container.delete(&[]).ok();
    }
}

/// A hundred at once, and none is lost.
#[test]
fn many_at_once() {
    if beyond_runc("some of a hundred at once fail") {
        return;
    }
    let container = running(Container::new());
    for _ in 0..4 {
        let words = ["exec", &container.id, "probe", "exit", "3"];
        let all: Vec<_> = (0..25).map(|_| container.spawn(&words)).collect();
        for exec in all {
            let output = exec.wait();
            assert_eq!(output.status.code(), Some(3), "{output}");
        }
    }
}

#[test]
fn detached_it_outlives_the_runtime() {
    let container = running(Container::new());
    let pid = stay(&container, &[]);
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    container.kill("KILL").ok();
    // The end of the pid namespace's first process ends all.
    eventually("the process ended with its container", || !Path::new(&format!("/proc/{pid}/fd/0")).exists());
}

/// A detached one that comes too late: it is told as stopped, or it ran; a pid file tells of a process that was.  Nothing hangs, and no
/// process of ours or of the container's is left.
#[test]
fn a_container_that_ends_under_a_detached_one() {
    if beyond_runc("its helper has words of its own for it") {
        return;
    }
    for n in 0..10 {
        let container = running(Container::new());
        let file = container.directory().join("late.pid");
        let path = file.to_string_lossy().into_owned();
        let words = ["exec", "--detach", "--pid-file", &path, &container.id, "probe", "sleep", "100"];
        let exec = container.spawn(&words);
        std::thread::sleep(Duration::from_micros(900 * n));
        container.kill("KILL").ok();
        let output = exec.wait();
        match output.status.code() {
            Some(0) => {
                let pid = fs::read_to_string(&file).expect("a pid file");
                eventually("it ended with its container", || {
                    !Path::new(&format!("/proc/{pid}/exe")).exists()
                });
            }
            Some(255) => output.fails_with("cannot exec in a stopped container"),
            _ => panic!("{output}"),
        }
        container.await_status("stopped");
        container.delete(&[]).ok();
    }
}
