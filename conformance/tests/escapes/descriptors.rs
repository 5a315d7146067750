//! Descriptors of the host, the runtime's own or its caller's, as ways out of the container.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use conformance::harness::{Container, Output, require_root};
use nix::sys::stat::{major, minor};
use serde_json::{Value, json};

use crate::{Victim, breach};

/// The runtime is started with descriptor 9 open to a directory of the host's, as an engine might.
const LEAK: &str = "exec 9<\"$0\"; exec \"$@\"";

/// The lines of the probe's `stat`, of a run that succeeded: none may be of the host's root, or of the victim.
fn assert_inside(output: &Output, victim: &Victim, what: &str) {
    if !output.status.success() {
        return;
    }
    let host = fs::metadata("/").expect("the root");
    let directory = fs::metadata(&victim.path).expect("our own directory");
    for line in output.stdout.lines() {
        let Ok(shown) = serde_json::from_str::<Value>(line) else { continue };
        for outside in [&host, &directory] {
            let device = format!("{}:{}", major(outside.dev()), minor(outside.dev()));
            if shown["inode"] == outside.ino() && shown["device"] == device.as_str() {
                breach!("{what}: {} of the container is the host's", shown["path"]);
            }
        }
    }
}

/// CVE-2024-21626 (runc): the working directory is `/proc/self/fd/N`, a directory of the host's that the runtime has open.
#[test]
fn no_descriptor_is_a_working_directory() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let up = "../../../../../../../..";
    container.args(&["probe", "stat", ".", up]);
    let bundle = container.directory().to_string_lossy().into_owned();
    let place = victim.path.to_string_lossy().into_owned();
    let by = ["sh", "-c", LEAK, &place];
    for n in 3..24 {
        for cwd in
            [format!("/proc/self/fd/{n}"), format!("/proc/1/fd/{n}"), format!("/proc/thread-self/fd/{n}")]
        {
            container.config["process"]["cwd"] = json!(cwd);
            let output = container.runtime_by(&by, &["run", "--bundle", &bundle, &container.id]);
            assert_inside(&output, &victim, &cwd);
        }
    }
    container.config["process"]["cwd"] = json!("/");
    container.launch_trap(&["TERM"]);
    for n in 3..24 {
        let cwd = format!("/proc/self/fd/{n}");
        let words = ["exec", "--cwd", &cwd, &container.id, "probe", "stat", ".", up];
        assert_inside(&container.runtime_by(&by, &words), &victim, &cwd);
    }
}

/// The same with a link of the image: `/work` is a link to `/proc/self/fd/N`.
#[test]
fn no_descriptor_is_a_working_directory_by_a_link() {
    if !require_root() {
        return;
    }
    for n in 3..16 {
        let mut container = Container::new();
        let victim = Victim::new(&container);
        std::os::unix::fs::symlink(format!("/proc/self/fd/{n}"), container.rootfs("work"))
            .expect("our own directory");
        container.args(&["probe", "stat", ".", "../../../../../../.."]);
        container.config["process"]["cwd"] = json!("/work");
        assert_inside(&container.run(), &victim, "/work");
        container.config["process"]["cwd"] = json!("/work/made/by/the/runtime");
        assert_inside(&container.run(), &victim, "/work/made");
        victim.assert_untouched();
    }
}

/// A program of the host's is not executed through a descriptor (the third attack of CVE-2024-21626), nor an interpreter.
#[test]
fn no_program_is_executed_through_a_descriptor() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let directory = container.host_directory("programs");
    let program = format!("{directory}/program");
    let copied = std::process::Command::new("cp").arg(container.rootfs("bin/probe")).arg(&program).status();
    assert!(copied.expect("cp").success());
    let by = ["sh", "-c", LEAK, &directory];
    let bundle = container.directory().to_string_lossy().into_owned();
    let script = container.rootfs("bin/script");
    let said = "executed a program of the host";
    for n in 3..24 {
        let path = format!("/proc/self/fd/{n}/program");
        // Where a directory of the host's is open, its parents are at hand, and so is everything.
        let far = format!("/proc/self/fd/{n}/../../../../../../..{program}");
        // Procfs of the host shows other processes; 1 is its init.
        let procfs = format!("/proc/self/fd/{n}/1/root{program}");
        fs::write(&script, format!("#!{path} echo {said}\n")).expect("our own file");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
        for words in [
            vec![path.as_str(), "echo", said],
            vec![&far, "echo", said],
            vec![&procfs, "echo", said],
            vec!["/bin/script"],
        ] {
            container.args(&words);
            let output = container.runtime_by(&by, &["run", "--bundle", &bundle, &container.id]);
            if output.stdout.contains(said) {
                breach!("{words:?}");
            }
        }
    }
    container.launch_trap(&["TERM"]);
    for n in 3..24 {
        let path = format!("/proc/self/fd/{n}/program");
        let words = ["exec", &container.id, &path, "echo", said];
        if container.runtime_by(&by, &words).stdout.contains(said) {
            breach!("exec of {path}");
        }
    }
}

/// A process that waits for `start` is the container's first, and what is executed meanwhile may look into it: it must have nothing of
/// the host's open.
#[test]
fn who_waits_for_start_holds_no_directory_of_the_host() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.args(&["probe", "true"]);
    container.create().ok();
    let pid = container.state()["pid"].to_string();
    let root = format!("/proc/{pid}/root");
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("root may look").flatten() {
        let Ok(meta) = fs::metadata(entry.path()) else { continue };
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // What the container sees under this name is the same: then it is the container's.
        let inside = fs::metadata(format!("{root}{}", target.display()))
            .is_ok_and(|other| other.dev() == meta.dev() && other.ino() == meta.ino());
        // The empty directory that masks others lies nowhere.
        let empty = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
        if meta.is_dir() && !inside && !empty() {
            breach!("it has {} open", target.display());
        }
    }
}

/// Nothing but the three streams comes along, in `run`, `exec`, and a hook.
#[test]
fn only_the_streams_come_along() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let place = victim.path.to_string_lossy().into_owned();
    let by = ["sh", "-c", LEAK, &place];
    let bundle = container.directory().to_string_lossy().into_owned();
    let hook = |name: &str| json!({ "path": "/bin/sh", "args": ["sh", "-c", format!("ls -l /proc/self/fd > {bundle}/{name}.fds")] });
    container.config["hooks"] =
        json!({ "createRuntime": [hook("createRuntime")], "poststop": [hook("poststop")] });
    container.args(&["probe", "report", "--json"]);
    let output = container.runtime_by(&by, &["run", "--bundle", &bundle, &container.id]);
    let open = |report: &Value| -> Vec<Value> {
        report["descriptors"].as_array().expect("a list").iter().map(|fd| fd["fd"].clone()).collect()
    };
    let report = output.json();
    if open(&report) != [0, 1, 2] {
        breach!("run: {}", report["descriptors"]);
    }
    for name in ["createRuntime", "poststop"] {
        let text =
            fs::read_to_string(container.directory().join(format!("{name}.fds"))).expect("the hook ran");
        if text.contains(&place) {
            breach!("{name}: {text}");
        }
    }
    container.config.as_object_mut().expect("an object").remove("hooks");
    container.launch_trap(&["TERM"]);
    let report = container.runtime_by(&by, &["exec", &container.id, "probe", "report", "--json"]).json();
    if open(&report) != [0, 1, 2] {
        breach!("exec: {}", report["descriptors"]);
    }
}

/// The caller's terminal is not the container's controlling terminal: it cannot type into it (TIOCSTI), nor open it as `/dev/tty`.
#[test]
fn the_callers_terminal_is_not_the_containers() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.args(&["probe", "open-rw", "/dev/tty"]);
    container.runtime(&["--version"]).ok(); // writes config.json
    let mut foreground =
        conformance::harness::Foreground::start(container.command(&["run", &container.id]), 24, 80, None);
    foreground.console.expect("\n");
    let text = foreground.console.text.clone();
    if text.starts_with("ok") {
        breach!("the container has the caller's terminal: {text}");
    }
    assert!(text.starts_with("ENXIO"), "{text}");
    let _ = foreground.wait();
}
