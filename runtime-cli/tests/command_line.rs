//! The built command, from outside: what engines and people see of it without a container.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("orlop-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn orlop(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.orlop().args(line.split_ascii_whitespace()).output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_version_is_what_engines_parse() {
    let scratch = Scratch::new("version");
    for flag in ["--version", "-v", "-version", "--debug -v run"] {
        let output = scratch.run(flag);
        assert!(output.status.success());
        let text = stdout(&output);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("orlop version {}", env!("CARGO_PKG_VERSION")), "{flag}");
        assert!(lines.contains(&"spec: 1.3.0"), "{text}");
    }
    let output = scratch.orlop().arg0("/usr/bin/runc").arg("-v").output().unwrap();
    assert!(stdout(&output).starts_with("runc version "), "called as runc, it answers as runc");
}

#[test]
fn every_command_has_help_that_is_aligned_and_not_too_wide() {
    let scratch = Scratch::new("help");
    let overview = stdout(&scratch.run("--help"));
    assert_eq!(stdout(&scratch.run("")), overview, "no command at all prints the help");
    let commands: Vec<_> = overview
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_ascii_whitespace().next())
        .collect();
    assert!(commands.len() >= 10, "{overview}");
    for command in commands {
        let output = scratch.run(&format!("{command} --help"));
        assert_eq!(output.status.code(), Some(0), "{command}");
        let text = stdout(&output);
        assert_eq!(text, stdout(&scratch.run(&format!("help {command}"))), "{command}");
        assert!(text.starts_with(&format!("orlop {command}: ")), "{text}");
        assert!(text.contains(&format!("\nUsage: orlop {command} [FLAGS]")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}

#[test]
fn a_fault_is_reported_once_with_a_hint_and_its_status() {
    let scratch = Scratch::new("faults");
    for (line, status, message) in [
        ("lisst", 3, "orlop: unknown command \\\"lisst\\\", did you mean list? (see orlop --help)"),
        ("nosuchthing", 3, "orlop: unknown command \\\"nosuchthing\\\" (see orlop --help)"),
        ("help nosuchthing", 3, "orlop: unknown command \\\"nosuchthing\\\" (see orlop --help)"),
        ("--nosuch", 1, "orlop: unknown flag --nosuch (see orlop --help)"),
        (
            "--log-format xml list",
            1,
            "orlop: --log-format \\\"xml\\\" is none of text, json (see orlop --help)",
        ),
        (
            "--rootless perhaps list",
            1,
            "orlop: --rootless \\\"perhaps\\\" is none of auto, true, false, 1, 0 (see orlop --help)",
        ),
        (
            "--log /nonexistent/log list",
            1,
            "cannot open the log file /nonexistent/log: no such file or directory",
        ),
        ("run", 1, "orlop run: missing ID (see orlop run --help)"),
        ("state --nosuch c1", 1, "orlop state: unknown flag --nosuch (see orlop state --help)"),
    ] {
        let output = scratch.run(line);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{line}: {text}");
        assert_eq!(stdout(&output), "", "{line}");
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        assert!(text.starts_with("time=\"20"), "{text}");
        assert!(text.ends_with(&format!(" level=error msg=\"{message}\"\n")), "{line}: {text}");
    }
}

#[test]
fn the_log_file_gets_lines_and_standard_error_plain_text() {
    let scratch = Scratch::new("log");
    let output = scratch.run("--log log.json --log-format json state c1");
    assert_eq!(stderr(&output), "container does not exist: \"c1\"\n");
    let again = scratch.run("--log log.json --log-format=json state c1");
    assert_eq!(again.status.code(), Some(1));
    let log = fs::read_to_string(scratch.0.join("log.json")).unwrap();
    assert_eq!(log.lines().count(), 2, "the file is appended to: {log}");
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["level"], "error");
        assert_eq!(value["msg"], "container does not exist: \"c1\"");
        assert!(value["time"].as_str().unwrap().ends_with('Z'));
    }
    scratch.run("--log log.text state c1");
    let log = fs::read_to_string(scratch.0.join("log.text")).unwrap();
    assert!(
        log.starts_with("time=\"20") && log.contains(" level=error msg=\"container does not exist"),
        "{log}"
    );
}

#[test]
fn spec_writes_a_config_and_never_over_one() {
    let scratch = Scratch::new("spec");
    let output = scratch.run("spec");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = fs::read_to_string(scratch.0.join("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\": \"1.3.0\",\n"), "{text}");
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["sh"]));
    let again = scratch.run("spec");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("msg=\"File config.json exists. Remove it first\""));
    assert_eq!(fs::read_to_string(scratch.0.join("config.json")).unwrap(), text);

    let directory = scratch.0.join("bundle");
    fs::create_dir(&directory).unwrap();
    assert!(scratch.run("spec --rootless --bundle bundle").status.success());
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], nix::unistd::geteuid().as_raw());
    let missing = scratch.run("spec --bundle nosuch");
    assert!(stderr(&missing).contains("cannot create nosuch/config.json: no such file or directory"));
}

#[test]
fn output_that_nobody_reads_is_no_error_message() {
    let scratch = Scratch::new("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = scratch.orlop().arg("--help").stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn a_container_that_is_not_there_is_an_error_and_for_a_forced_delete_none() {
    let scratch = Scratch::new("absent");
    for line in ["state c1", "kill c1", "kill c1 9", "start c1", "delete c1"] {
        let output = scratch.run(&format!("--root state {line}"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(stderr(&output).contains("container does not exist"), "{line}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{line}");
    }
    assert_eq!(scratch.run("--root state exec c1 true").status.code(), Some(255));
    let output = scratch.run("--root state delete --force c1 c2");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let several = scratch.run("--root state delete c1 c2");
    assert_eq!(stderr(&several).lines().count(), 2, "each one is reported: {}", stderr(&several));
    assert!(!scratch.0.join("state").exists(), "nothing is made for a question");
}

#[test]
fn an_empty_list_has_runcs_forms() {
    let scratch = Scratch::new("list");
    assert_eq!(stdout(&scratch.run("--root state list --format json")), "null\n");
    assert_eq!(stdout(&scratch.run("--root state list -q")), "");
    let table = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    assert_eq!(stdout(&scratch.run("--root state list")), table);
}

#[test]
fn a_terminal_and_a_console_socket_need_each_other() {
    let scratch = Scratch::new("console");
    // With a terminal, as `spec` writes it.
    assert_eq!(scratch.run("spec").status.code(), Some(0));
    let expected = "cannot allocate tty if orlop will detach without setting console socket";
    for line in ["run -d c1", "create c1"] {
        let output = scratch.run(&format!("--root state {line}"));
        assert!(stderr(&output).contains(expected), "{line}: {}", stderr(&output));
    }
    let with = fs::read_to_string(scratch.0.join("config.json")).unwrap();
    let without = with.replace("\"terminal\": true", "\"terminal\": false");
    assert_ne!(with, without);
    fs::write(scratch.0.join("config.json"), without).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(scratch.0.join("s")).unwrap();
    let expected = "cannot use console socket if orlop will not detach or allocate tty";
    for line in ["run -d --console-socket s c1", "create --console-socket s c1", "run --console-socket s c1"]
    {
        let output = scratch.run(&format!("--root state {line}"));
        assert!(stderr(&output).contains(expected), "{line}: {}", stderr(&output));
    }
    let output = scratch.run("--root state create --console-socket none c1");
    assert!(stderr(&output).contains("cannot connect to none: no such file"), "{}", stderr(&output));
}

/// A descriptor that the caller has closed is filled, or the next file that is opened would get the messages.
#[test]
fn a_closed_standard_error_is_no_other_file() {
    let scratch = Scratch::new("closed");
    let said = |redirection: &str, log: &str| {
        let script = format!("exec \"$0\" --log {log} bogus 2>{redirection}");
        let orlop = scratch.orlop();
        let status = Command::new("sh")
            .args(["-c", &script])
            .arg(orlop.get_program())
            .current_dir(&scratch.0)
            .status();
        assert_eq!(status.unwrap().code(), Some(3), "{redirection}");
        fs::read_to_string(scratch.0.join(log)).unwrap().lines().count()
    };
    assert_eq!(said("/dev/null", "open"), 1);
    assert_eq!(said("&-", "closed"), 1);
}
