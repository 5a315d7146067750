//! Unkind use: what a person in a hurry, a broken disk or a wrong script do to a command.  Every answer is one line that can be acted
//! upon, with the status that runc has for it, and nothing is left.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use conformance::harness::{Container, Kind, NOBODY, Output, beyond_runc, is_root, kind, require_root};
use serde_json::json;

const COMMANDS: &[&str] = &[
    "create", "delete", "events", "exec", "kill", "pause", "ps", "resume", "run", "start", "state", "update",
];

/// One line on standard error, nothing on standard output, and this status.
#[track_caller]
fn one_line(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{output}");
    assert_eq!(output.stdout, "", "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(!output.stderr.contains("os error"), "{output}");
}

#[test]
fn a_command_line_that_is_wrong() {
    if beyond_runc("it prints its help") {
        return;
    }
    let container = Container::new();
    for command in COMMANDS {
        let output = container.runtime(&[command]);
        let expected = if *command == "exec" { 255 } else { 1 };
        let expected = if output.stderr.contains("missing ID") { 1 } else { expected };
        one_line(&output, expected);
        assert!(output.stderr.contains(&format!("(see orlop {command} --help)")), "{output}");
        let output = container.runtime(&[command, "--no-such-flag", "x"]);
        one_line(&output, 1);
        assert!(output.stderr.contains("unknown flag --no-such-flag"), "{output}");
    }
    for (line, words) in [
        (&["lisst"][..], "did you mean list?"),
        (&["list", "--format", "xml"], "is none of table, json"),
        (&["exec", "-u", "root", "x", "true"], "is not UID[:GID] in numbers"),
        (&["exec", "x"], "missing COMMAND, or --process"),
        (&["kill", "x", "NOPE"], "unknown signal"),
        (&["update", "--memory", "1x", "x"], "invalid size: '1x'"),
        (&["events", "--interval", "x", "x"], "is not a duration"),
        (&["run", "--bundle", "", "x"], "--bundle is empty"),
        (&["run", "--preserve-fds", "-1", "x"], "is not a number of descriptors"),
    ] {
        let output = container.runtime(line).fails();
        assert_eq!(output.stderr.lines().count(), 1, "{output}");
        assert!(output.stderr.replace('\\', "").contains(words), "{words}: {output}");
    }
    assert!(!container.state_root().join("x").exists());
}

#[test]
fn ids_of_all_kinds() {
    let container = Container::new();
    let long = "x".repeat(300);
    let huge = "x".repeat(100_000);
    for id in ["", ".", "..", "../x", "/x", "a b", "a\nb", "\u{1b}[31m", "ü", "*", long.as_str(), &huge] {
        for command in ["create", "state", "delete"] {
            let output = container.runtime(&[command, "--", id]).fails();
            if kind() != Kind::Runc {
                one_line(&output, 1);
                assert!(output.stderr.len() < 1000, "{output}");
                assert!(!output.stderr.contains('\u{1b}'), "{output}");
            }
        }
    }
    assert_eq!(fs::read_dir(container.state_root()).expect("our own").count(), 0);
}

/// A user who may not look at the containers is told so: "does not exist" would say that they are gone.
#[test]
fn a_root_that_cannot_be_read() {
    if !require_root() || beyond_runc("it takes what it may not look at for nothing") {
        return;
    }
    let container = Container::as_user(NOBODY);
    let closed = container.host_directory("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("our own");
    std::os::unix::fs::chown(&closed, Some(0), Some(0)).expect("our own");
    for root in [closed.clone(), format!("{closed}/below")] {
        for words in
            [&["state", "x"][..], &["kill", "x"], &["list"], &["delete", "x"], &["exec", "x", "true"]]
        {
            let output = container.runtime(&[&["--root", &root], words].concat());
            one_line(&output, if words[0] == "exec" { 255 } else { 1 });
            assert!(output.stderr.contains(&format!("open {root}: permission denied")), "{output}");
        }
        let output = container.runtime(&["--root", &root, "create", "x"]);
        one_line(&output, 1);
        assert!(output.stderr.contains("permission denied"), "{output}");
    }
    let output = container.runtime(&["--root", "/etc/passwd", "list"]);
    one_line(&output, 1);
    assert!(output.stderr.contains("open /etc/passwd: not a directory"), "{output}");
}

/// A state directory, a pid file, a log and an output on a disk that is full.
#[test]
fn a_full_disk() {
    if !require_root() || beyond_runc("words and remains are its own") {
        return;
    }
    let mut container = Container::new();
    let disk = container.host_directory("disk");
    let mount = |words: &[&str]| {
        let status = Command::new(words[0]).args(&words[1..]).status();
        assert!(status.expect("it runs").success());
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", &disk]);
    fs::create_dir(format!("{disk}/state")).expect("a directory");
    // Until there is no room.
    let _ = fs::write(format!("{disk}/filled"), vec![0; 1 << 20]);
    let root = format!("{disk}/state");
    let full = "no space left on device";
    let check = |output: Output, status: i32| {
        one_line(&output, status);
        assert!(output.stderr.contains(full), "{output}");
    };
    check(container.runtime(&["--root", &root, "run", &container.id.clone()]), 1);
    assert_eq!(fs::read_dir(&root).expect("our own").count(), 0, "nothing of it is left");
    let pid = format!("{disk}/pid");
    check(container.run_with(&["--pid-file", &pid]), 1);
    assert_eq!(fs::read_dir(container.state_root()).expect("our own").count(), 0);
    container.launch_trap(&["TERM"]);
    check(
        container.runtime(&["exec", "-d", "--pid-file", &pid, &container.id, "probe", "sleep", "100"]),
        255,
    );
    check(container.runtime(&["spec", "--bundle", &disk]), 1);
    // The log cannot be written, but the reason is on standard error.
    let log = format!("{disk}/log");
    let output = container.runtime(&["--log", &log, "state", "nobody"]);
    one_line(&output, 1);
    assert_eq!(output.stderr, "container does not exist: \"nobody\"\n");
    let left: Vec<_> =
        fs::read_dir(&disk).expect("our own").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| ["filled", "state", "log"].iter().any(|known| name == known)), "{left:?}");
    mount(&["umount", &disk]);
}

#[test]
fn a_log_that_cannot_be_written() {
    let container = Container::new();
    for path in ["/no/such/directory/log", "/", "/etc/passwd/log"] {
        let output = container.runtime(&["--log", path, "state", "x"]).fails();
        if kind() != Kind::Runc {
            one_line(&output, 1);
            assert!(output.stderr.contains(&format!("cannot open the log file {path}: ")), "{output}");
        }
    }
}

/// What reads only a line of our output ends us without a word.
#[test]
fn output_into_a_pipe_that_is_closed() {
    if beyond_runc("Go's runtime ends it by the signal") {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let id = container.id.clone();
    for words in [
        &["list"][..],
        &["state", &id],
        &["ps", &id],
        &["features"],
        &["check"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["events", "--stats", &id],
        &["events", "--interval", "50ms", &id],
    ] {
        // An ordinary user's container has no cgroup here, of which figures could be told.
        if words[0] == "events" && !is_root() {
            continue;
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = container.command(words).stdout(writer).output().expect("it runs");
        assert_eq!(output.status.code(), Some(141), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    }
}

/// What stands in the state directory and is no container's record does not keep the others from being listed.
#[test]
fn records_that_cannot_be_read() {
    if beyond_runc("the records are ours") {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let root = container.state_root();
    for (name, text) in
        [("broken", &b"{"[..]), ("newer", br#"{"state":{"version":99}}"#), ("noise", b"\xff\x00\xfe{}")]
    {
        fs::create_dir(root.join(name)).expect("our own");
        fs::write(root.join(name).join("state.json"), text).expect("our own");
        for words in [&["state", name][..], &["kill", name], &["delete", name]] {
            let output = container.runtime(words);
            one_line(&output, 1);
            assert!(output.stderr.contains(&format!("{name}/state.json")), "{output}");
        }
    }
    fs::write(root.join("file"), "").expect("our own");
    let output = container.runtime(&["list", "-q"]).ok();
    assert_eq!(output.stdout, format!("{}\n", container.id));
    assert_eq!(output.stderr.lines().count(), 3, "a line for each: {output}");
    for name in ["broken", "newer", "noise"] {
        fs::remove_dir_all(root.join(name)).expect("our own");
    }
    fs::remove_file(root.join("file")).expect("our own");
}

#[test]
fn an_environment_of_ten_thousand_entries() {
    let mut container = Container::new();
    let mut env: Vec<String> = (0..10_000).map(|n| format!("NAME_{n}=value {n}")).collect();
    env.push("PATH=/bin".to_owned());
    container.config["process"]["env"] = json!(env);
    let lines = container.run_args(&["probe", "env"]);
    assert_eq!(lines.iter().filter(|line| line.starts_with("NAME_")).count(), 10_000);
    assert!(lines.contains(&"NAME_9999=value 9999".to_owned()));
    // More than execve(2) takes at once.
    container.config["process"]["env"] = json!(vec![format!("BIG={}", "x".repeat(200_000))]);
    container.config["process"]["args"] = json!(["/bin/probe", "true"]);
    let output = container.run().fails();
    assert!(output.stderr.to_lowercase().contains("argument list too long"), "{output}");
    container.assert_clean();
}

/// Words do not depend on the language of who asks.
#[test]
fn without_and_with_a_language() {
    let mut container = Container::new();
    let plain = container.runtime(&["state", "nobody"]).fails();
    container.environment =
        vec![("LANG".into(), "de_DE.UTF-8".into()), ("LC_ALL".into(), "de_DE.UTF-8".into())];
    let german = container.runtime(&["state", "nobody"]).fails();
    let words = |output: &Output| output.stderr.split_once("level=").map(|(_, rest)| rest.to_owned());
    assert_eq!(words(&plain), words(&german));
}

/// Who cannot learn what he may do himself must not take it for nothing: the process would silently have no capabilities.
#[test]
fn a_procfs_that_does_not_tell_our_capabilities() {
    if !require_root() || kind() != Kind::Other {
        return;
    }
    let mut container = Container::new();
    let script = "mount --bind /dev/null /proc/$$/status && exec \"$@\"";
    let by = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    let bundle = container.directory().to_string_lossy().into_owned();
    let id = container.id.clone();
    let run = ["run", "--bundle", &bundle, &id];
    container.runtime_by(&by, &run).fails_with("read /proc/self/status: it has no line CapPrm:");
    container.launch(&["probe", "sleep", "60"]);
    let exec = ["exec", &id, "probe", "true"];
    container.runtime_by(&by, &exec).fails_with("read /proc/self/status: it has no line CapPrm:");
    container.delete(&["--force"]).ok();
}
