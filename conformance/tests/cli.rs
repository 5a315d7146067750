//! The command line that engines know from runc, and bad input: one clear error each, and nothing left.

use std::fs;
use std::path::Path;
use std::process::Command;

use conformance::harness::{
    Container, Kind, beyond_runc, is_root, kind, require_program, require_root, runtime_path,
};
use serde_json::{Value, json};

/// Runs the bundle with `config.json` replaced by the given bytes.
#[track_caller]
fn with_config(bytes: &[u8]) -> conformance::harness::Output {
    let container = Container::new();
    let bundle = container.host_directory("other");
    fs::rename(container.rootfs(""), format!("{bundle}/rootfs")).expect("our own directory");
    fs::write(format!("{bundle}/config.json"), bytes).expect("our own file");
    let output = container.runtime(&["run", "--bundle", &bundle, &container.id]);
    container.assert_clean();
    output
}

#[test]
fn the_version_names_the_program_and_the_spec() {
    let lines = Container::new().runtime(&["--version"]).lines();
    let name = runtime_path();
    let name = name.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(lines[0].starts_with(&format!("{name} version ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{lines:?}");
}

#[test]
fn help_goes_to_standard_output() {
    let container = Container::new();
    for words in [&["--help"][..], &["run", "--help"], &["create", "-h"]] {
        let output = container.runtime(words).ok();
        assert!(output.stdout.to_lowercase().contains("usage"), "{output}");
    }
}

#[test]
fn an_unknown_command_is_an_error() {
    let output = Container::new().runtime(&["frobnicate"]);
    assert!(!output.status.success(), "{output}");
    assert!(format!("{}{}", output.stdout, output.stderr).contains("frobnicate"), "{output}");
}

#[test]
fn an_unknown_flag_is_an_error() {
    let container = Container::new();
    for words in [&["--frobnicate", "list"][..], &["list", "--frobnicate"], &["run", "--frobnicate", "x"]] {
        let output = container.runtime(words);
        assert!(!output.status.success(), "{output}");
        assert!(format!("{}{}", output.stdout, output.stderr).contains("frobnicate"), "{output}");
    }
}

#[test]
fn a_missing_id_is_an_error() {
    let container = Container::new();
    for command in ["run", "create", "start", "state", "kill", "delete"] {
        let output = container.runtime(&[command]);
        assert!(!output.status.success(), "{output}");
    }
}

#[test]
fn too_many_words_are_an_error() {
    let container = Container::new();
    for words in [&["run", "a", "b"][..], &["create", "a", "b"], &["state", "a", "b"], &["start", "a", "b"]] {
        let output = container.runtime(words);
        assert!(!output.status.success(), "{output}");
    }
}

/// Ids are names of directories and cgroups: what could lead elsewhere is refused.
#[test]
fn ids_that_are_no_names_are_errors() {
    let container = Container::new();
    for id in ["", ".", "..", "a/b", "../a", "/a", "a b", "a\nb", "ünï", "a;b", "a$b", "a*", "a\\b", "a\"b"]
    {
        for command in ["run", "create"] {
            let output = container.runtime(&[command, id]);
            assert!(!output.status.success(), "{id:?}: {output}");
        }
        let output = container.runtime(&["delete", "--force", id]);
        assert!(container.state_root().exists(), "{id:?}: {output}");
    }
    assert!(container.rootfs("bin/probe").exists());
}

#[test]
fn ids_may_have_dots_dashes_and_the_like() {
    let mut container = Container::new();
    let base = container.id.clone();
    for id in [format!("{base}.a-b_c+d"), format!("{base}."), format!("{base}-")] {
        container.id = id;
        container.run().ok();
        container.assert_clean();
    }
}

#[test]
fn a_bundle_that_is_not_there_is_an_error() {
    let container = Container::new();
    container.runtime(&["run", "--bundle", "/no/such/bundle", &container.id]).fails_with("/no/such/bundle");
}

#[test]
fn a_bundle_without_a_config_is_an_error() {
    let container = Container::new();
    let empty = container.host_directory("empty");
    container.runtime(&["run", "--bundle", &empty, &container.id]).fails_with("config.json");
    container.assert_clean();
}

#[test]
fn what_is_no_json_is_an_error() {
    for bytes in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"42",
        b"\"text\"",
        b"{]",
        b"\xff\xfe",
        b"{\"ociVersion\": \"1.0.2\"",
    ] {
        with_config(bytes).fails();
    }
}

#[test]
fn an_empty_config_is_an_error() {
    with_config(b"{}").fails();
}

#[test]
fn properties_of_the_wrong_type_are_errors() {
    let base = Container::new().config.clone();
    let wrong: [(&str, Value); 14] = [
        ("/ociVersion", json!(1)),
        ("/process", json!([])),
        ("/process/args", json!("true")),
        ("/process/args", json!([1])),
        ("/process/env", json!({})),
        ("/process/cwd", json!(7)),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(-1)),
        ("/root", json!("rootfs")),
        ("/mounts", json!({})),
        ("/mounts/1/options", json!("ro")),
        ("/linux/namespaces", json!("all")),
        ("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": -1, "hard": 1 }])),
        ("/hostname", json!(["a"])),
    ];
    for (pointer, value) in wrong {
        let mut config = base.clone();
        *config.pointer_mut(pointer).expect("a property of the base config") = value.clone();
        let output = with_config(config.to_string().as_bytes());
        assert!(!output.status.success(), "{pointer} = {value}: {output}");
        assert!(!output.stderr.is_empty(), "{pointer} = {value}: {output}");
    }
}

#[test]
fn a_deeply_nested_config_is_an_error() {
    let depth = 100_000;
    let text = format!("{{\"annotations\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    with_config(text.as_bytes()).fails();
}

/// 64 MB of config are refused at once, not parsed for minutes or run out of memory on.
#[test]
fn an_enormous_config_is_an_error() {
    if beyond_runc("it reads whatever is there") {
        return;
    }
    let mut config = Container::new().config.clone();
    config["annotations"] = json!({ "large": "x".repeat(64 << 20) });
    with_config(config.to_string().as_bytes()).fails();
}

/// config.md, "Specification version": semver; a later minor version is compatible.
#[test]
fn later_minor_versions_are_accepted() {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.0", "1.3.0", "1.9.7"] {
        let mut container = Container::new();
        container.config["ociVersion"] = json!(version);
        container.run().ok();
    }
}

#[test]
fn another_major_version_is_an_error() {
    if beyond_runc("1.1 does not look") {
        return;
    }
    for version in ["2.0.0", "0.9.0", "one", ""] {
        let mut container = Container::new();
        container.config["ociVersion"] = json!(version);
        container.run().fails_with("ociVersion");
    }
}

/// Engines write flags after the id.
#[test]
fn flags_may_follow_the_id() {
    let mut container = Container::new();
    let bundle = container.directory().to_string_lossy().into_owned();
    container.args(&["probe", "trap", "TERM"]);
    let id = container.id.clone();
    let file = container.directory().join("pid");
    container.runtime(&["create", &id, "--bundle", &bundle, "--pid-file", &file.to_string_lossy()]).ok();
    assert!(file.exists());
    container.runtime(&["start", &id]).ok();
    container.runtime(&["delete", &id, "--force"]).ok();
    container.assert_clean();
}

#[test]
fn flags_may_be_short_or_joined_to_their_value() {
    let container = Container::new();
    let bundle = container.directory().to_string_lossy().into_owned();
    container.runtime(&["run", "-b", &bundle, &container.id]).ok();
    container.runtime(&["run", &format!("--bundle={bundle}"), &container.id]).ok();
    container.runtime(&["run", &format!("-bundle={bundle}"), &container.id]).ok();
    container.runtime(&["list", "-q"]).ok();
    container.runtime(&["list", "-f", "json"]).ok();
}

#[test]
fn the_log_is_written_where_asked() {
    let mut container = Container::new();
    let path = container.directory().join("log.json");
    container.global = ["--log", &path.to_string_lossy(), "--log-format", "json"].map(str::to_owned).to_vec();
    container.args(&["no-such-program"]);
    let output = container.run().fails();
    let text = fs::read_to_string(path).expect("the log");
    let last: Value = serde_json::from_str(text.lines().next_back().expect("a line")).expect("JSON");
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().is_some_and(|words| words.contains("no-such-program")), "{last}");
    assert!(last["time"].as_str().is_some_and(|time| time.contains('T')), "{last}");
    // runc tells the error on standard error as well, where a person looks.
    assert!(output.stderr.contains("no-such-program"), "{output}");
}

#[test]
fn the_log_has_a_text_form() {
    let mut container = Container::new();
    let path = container.directory().join("log.txt");
    container.global = ["--log", &path.to_string_lossy()].map(str::to_owned).to_vec();
    container.args(&["no-such-program"]);
    container.run().fails();
    let text = fs::read_to_string(path).expect("the log");
    let last = text.lines().next_back().expect("a line");
    assert!(last.starts_with("time=\"") && last.contains("level=error msg=\""), "{last}");
}

#[test]
fn an_unknown_log_format_is_an_error() {
    let mut container = Container::new();
    container.global = ["--log-format", "xml"].map(str::to_owned).to_vec();
    let output = container.runtime(&["list"]);
    assert!(!output.status.success(), "{output}");
}

#[test]
fn an_unknown_list_format_is_an_error() {
    let output = Container::new().runtime(&["list", "--format", "xml"]);
    assert!(!output.status.success(), "{output}");
}

/// `spec` writes a config that runs after what must be the user's: the arguments and no terminal.
#[test]
fn spec_writes_a_config_that_runs() {
    let mut container = Container::new();
    let bundle = container.host_directory("made");
    let mut words = vec!["spec", "--bundle", &bundle];
    if !is_root() {
        words.push("--rootless");
    }
    container.runtime(&words).ok();
    let text = fs::read_to_string(format!("{bundle}/config.json")).expect("a config");
    container.config = serde_json::from_str(&text).expect("JSON");
    assert_eq!(container.config["process"]["terminal"], true);
    container.config["process"]["terminal"] = json!(false);
    let report = container.report();
    assert_eq!(report["identity"]["pid"], 1);
    assert_eq!(report["security"]["no_new_privs"], true);
    assert_eq!(report["root_readonly"], true);
}

#[test]
fn spec_does_not_overwrite() {
    let container = Container::new();
    let bundle = container.host_directory("made");
    container.runtime(&["spec", "--bundle", &bundle]).ok();
    container.runtime(&["spec", "--bundle", &bundle]).fails_with("config.json");
}

#[test]
fn a_rootless_spec_runs_for_an_ordinary_user() {
    let mut container =
        if is_root() { Container::as_user(conformance::harness::NOBODY) } else { Container::new() };
    let bundle = container.host_directory("made");
    container.runtime(&["spec", "--rootless", "--bundle", &bundle]).ok();
    let text = fs::read_to_string(format!("{bundle}/config.json")).expect("a config");
    container.config = serde_json::from_str(&text).expect("JSON");
    container.config["process"]["terminal"] = json!(false);
    assert_eq!(container.report()["identity"]["uid"], json!([0, 0, 0, 0]));
}

/// What differs between a container of ours and one of runc's over the same config.
#[test]
fn runcs_container_looks_the_same() {
    if kind() != Kind::Other || !require_root() || !require_program("runc") {
        return;
    }
    let mut ours = Container::new();
    let ours_report = ours.report();
    let theirs = Command::new("runc")
        .arg("--root")
        .arg(ours.host_directory("runc"))
        .args(["run", "--bundle"])
        .arg(ours.directory())
        .arg(&ours.id)
        .output()
        .expect("runc starts");
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let theirs: Value = serde_json::from_slice(&theirs.stdout).expect("JSON");
    for part in [
        "argv",
        "cwd",
        "env",
        "capabilities",
        "limits",
        "hostname",
        "cgroup",
        "root_readonly",
        "network_devices",
        "identity",
    ] {
        assert_eq!(ours_report[part], theirs[part], "{part}");
    }
    let names = |report: &Value| -> Vec<(Value, Value, Value)> {
        let devices = report["devices"].as_array().expect("a list");
        devices.iter().map(|one| (one["path"].clone(), one["mode"].clone(), one["target"].clone())).collect()
    };
    assert_eq!(names(&ours_report), names(&theirs));
    assert_eq!(mounts(&ours_report), mounts(&theirs));
}

/// Destination, type and own options of every mount, sorted.  Masks are left out: a runtime may mask by other means;
/// and the tmpfs that holds the cgroup mounts, which runc leaves writable although the config says "ro".
fn mounts(report: &Value) -> Vec<String> {
    let mounts = report["mounts"].as_array().expect("a list").iter();
    let masks = [
        "/proc/acpi",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kcore",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/fs/cgroup",
    ];
    let mut lines: Vec<String> = mounts
        .filter(|mount| !masks.iter().any(|mask| mount["destination"] == *mask))
        .map(|mount| format!("{} {} {}", mount["destination"], mount["type"], mount["options"]))
        .collect();
    lines.sort();
    lines
}

/// What a person looks at first, in a container.
const LOOK: &str = "PATH=/applets; id; hostname; mount; cat /proc/self/status; ls -l /dev";

/// The bundle that `orlop spec` makes and the one that `runc spec` makes, each under both: the same to the eye.
#[test]
fn either_spec_gives_the_same_container_under_either_runtime() {
    if kind() != Kind::Other || !require_program("runc") || !require_program("busybox") {
        return;
    }
    let container = Container::new();
    // Beside the probe, which goes by some of these names.
    container.lend_busybox("applets", &["sh", "id", "hostname", "mount", "cat", "ls"]);
    let (ours, runc) = (runtime_path(), Path::new("runc"));
    let mut seen = Vec::new();
    for author in [&ours, runc] {
        let bundle = container.host_directory(author.file_name().expect("a name").to_str().expect("text"));
        write_spec(author, &bundle, &container);
        for runtime in [&ours, runc] {
            let output = Command::new(runtime)
                .args(["--root", &container.host_directory("states"), "run", "--bundle", &bundle])
                .arg(&container.id)
                .output()
                .expect("it can be executed");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{} of {}: {said}", runtime.display(), author.display());
            let text = String::from_utf8(output.stdout).expect("text");
            let name = author.file_name().expect("a name").to_str().expect("text");
            assert_eq!(text.lines().nth(1), Some(name), "spec names the host after its program");
            // runc binds an ordinary user's devices in no order.
            let mut lines: Vec<_> =
                text.lines().enumerate().filter_map(|(at, line)| alike(at, line)).collect();
            lines.sort();
            seen.push(lines);
        }
    }
    assert!(seen[0].len() > 60, "{:#?}", seen[0]);
    for other in &seen[1..] {
        assert_eq!(&seen[0], other);
    }
}

/// `spec` by a program, with what must be the user's: the root, the arguments, and no terminal.
fn write_spec(author: &Path, bundle: &str, container: &Container) {
    let rootless = if is_root() { &[][..] } else { &["--rootless"] };
    let made = Command::new(author).args(["spec", "--bundle", bundle]).args(rootless).status();
    assert!(made.expect("it can be executed").success());
    let path = format!("{bundle}/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("a config")).expect("JSON");
    config["root"]["path"] = json!(container.rootfs(""));
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/applets/sh", "-c", LOOK]);
    fs::write(path, config.to_string()).expect("our own file");
}

/// A line without what must differ, or nothing where all of it must: numbers of processes (runc's threads take some), sizes and
/// counts of the moment, times, the name of the host (see there), signals that the runtime was started with as ignored (runc passes
/// them on), how a directory is masked, and the tmpfs that holds the cgroup mounts, which runc leaves writable although the config
/// says "ro".
fn alike(at: usize, line: &str) -> Option<String> {
    const DIFFER: [&str; 7] = ["Tgid:", "Pid:", "NStgid:", "NSpid:", "PPid:", "SigQ:", "SigIgn:"];
    let words: Vec<&str> = line.split_whitespace().collect();
    let first = *words.first()?;
    let of_the_moment =
        first.starts_with("Vm") || first.starts_with("Rss") || first.ends_with("ctxt_switches:");
    if at == 1 || DIFFER.contains(&first) || of_the_moment {
        return None;
    }
    if words.get(1) == Some(&"on") {
        let masked = ["/proc/acpi", "/proc/scsi", "/sys/firmware"].contains(&words[2]);
        let line = if masked { words[..5].join(" ") } else { line.to_owned() };
        let holder = words[2] == "/sys/fs/cgroup" && first == "tmpfs";
        return Some(if holder { line.replace("(rw,", "(ro,") } else { line });
    }
    // Of `ls -l`: month, day and time, before the name.
    match words.iter().position(|word| word.len() == 5 && word.as_bytes()[2] == b':') {
        Some(time) if first.len() == 10 && time > 2 => {
            Some([&words[..time - 2], &words[time + 1..]].concat().join(" "))
        }
        _ => Some(words.join(" ")),
    }
}

/// State is where `--root` says, and nobody else may read it.
#[test]
fn state_is_below_root() {
    use std::os::unix::fs::PermissionsExt;
    let container = Container::new();
    container.create().ok();
    let path = container.state_root().join(&container.id);
    assert!(path.is_dir());
    let mode = fs::metadata(&path).expect("the state").permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}");
    container.delete(&["--force"]).ok();
    assert!(!Path::new(&path).exists());
}

/// A damaged state file is an error for its container, and does not keep `list` from showing the others.
#[test]
fn a_damaged_state_hides_no_other_container() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let broken = container.state_root().join("broken");
    fs::create_dir(&broken).expect("our own directory");
    fs::write(broken.join("state.json"), "{").expect("our own file");
    let output = container.runtime(&["list", "--quiet"]);
    assert!(output.stdout.lines().any(|line| line == container.id), "{output}");
    container.runtime(&["state", "broken"]).fails();
}

#[test]
fn bad_flag_values_are_errors() {
    let container = Container::new();
    for words in [
        &["run", "--preserve-fds", "many"][..],
        &["run", "--pid-file", "/no/such/directory/pid"],
        &["create", "--pid-file", "/no/such/directory/pid"],
        &["run", "--console-socket", "/no/such/socket"],
        &["run", "--no-such-flag"],
    ] {
        let output = container.runtime(&[words, &[&container.id]].concat());
        assert!(!output.status.success(), "{output}");
        container.assert_clean();
    }
}

#[test]
fn a_negative_count_of_descriptors_is_an_error() {
    if beyond_runc("it takes it for none") {
        return;
    }
    let container = Container::new();
    let output = container.runtime(&["run", "--preserve-fds", "-1", &container.id]);
    assert!(!output.status.success(), "{output}");
}
