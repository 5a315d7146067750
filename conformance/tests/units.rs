//! `--systemd-cgroup`: the container is a scope of systemd's.  Runs where systemd does (`conformance/vm/run systemd rootless`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use conformance::harness::{Container, Groups, eventually, is_root, on_v2_alone, require_root, skip};
use serde_json::json;

fn with_systemd() -> Option<Container> {
    if !PathBuf::from("/run/systemd/system").is_dir() {
        skip("needs systemd");
        return None;
    }
    let mut container = Container::new();
    container.global.push("--systemd-cgroup".to_owned());
    Some(container)
}

fn systemctl(words: &[&str]) -> String {
    let user: &[&str] = if is_root() { &[] } else { &["--user"] };
    let output = Command::new("systemctl").args(user).args(words).output().expect("systemctl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit])
}

/// Its group; on version 1, that of systemd's own hierarchy.
fn group(unit: &str) -> PathBuf {
    let named = PathBuf::from("/sys/fs/cgroup/systemd");
    let mount = if named.is_dir() { named } else { PathBuf::from("/sys/fs/cgroup") };
    mount.join(property(unit, "ControlGroup").trim_start_matches('/'))
}

fn is_there(unit: &str) -> bool {
    systemctl(&["list-units", "--all", "--no-legend", "--plain", unit]).contains(unit)
}

#[test]
fn limits_are_the_units_and_the_groups() {
    let Some(mut container) = with_systemd() else { return };
    if !on_v2_alone() {
        return skip("the properties of version 1 have tests of the mapping");
    }
    let unit = format!("orlop-{}.scope", container.id);
    container.config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    container.config["linux"]["resources"]["pids"] = json!({"limit": 50});
    container.config["linux"]["resources"]["cpu"] = json!({"quota": 12345, "period": 100_000});
    container.launch_trap(&["TERM"]);
    let pid = container.state()["pid"].to_string();
    for (name, value) in [
        ("MemoryMax", "67108864"),
        ("TasksMax", "50"),
        ("CPUQuotaPerSecUSec", "130ms"),
        ("Delegate", "yes"),
        ("Slice", if is_root() { "system.slice" } else { "user.slice" }),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    let group = group(&unit);
    // What systemd rounds, the file has exactly.
    for (file, value) in [
        ("memory.max", "67108864"),
        ("pids.max", "50"),
        ("cpu.max", "12345 100000"),
        ("cgroup.procs", pid.as_str()),
    ] {
        assert_eq!(
            fs::read_to_string(group.join(file)).expect("a file of the group").trim(),
            value,
            "{file}"
        );
    }
    container.delete(&["--force"]).ok();
    assert!(!group.exists() && !is_there(&unit));
}

/// Later commands need not be told of systemd, and exec enters the unit's group.
#[test]
fn exec_enters_the_unit() {
    let Some(mut container) = with_systemd() else { return };
    container.launch_trap(&["TERM"]);
    container.global.clear();
    let unit = format!("orlop-{}.scope", container.id);
    let count = || fs::read_to_string(group(&unit).join("cgroup.procs")).unwrap_or_default().lines().count();
    assert_eq!(count(), 1);
    container.runtime(&["exec", "--detach", &container.id, "probe", "trap", "TERM"]).ok();
    eventually("the second process is in the unit's group", || count() == 2);
    container.delete(&["--force"]).ok();
    assert!(!is_there(&unit));
}

#[test]
fn update_is_told_to_systemd() {
    let Some(mut container) = with_systemd() else { return };
    container.config["linux"]["resources"]["pids"] = json!({"limit": 50});
    container.launch_trap(&["TERM"]);
    container.global.clear();
    let unit = format!("orlop-{}.scope", container.id);
    container.runtime(&["update", "--pids-limit", "60", &container.id]).ok();
    assert_eq!(property(&unit, "TasksMax"), "60");
    assert_eq!(Groups::of_container(&container).read("pids", "pids.max", "pids.max").as_deref(), Some("60"));
    container.delete(&["--force"]).ok();
}

/// systemd writes what it believes of its units anew when it is reloaded: on version 1 over our device rules.
#[test]
fn a_reload_undoes_nothing() {
    let Some(mut container) = with_systemd() else { return };
    if !require_root() {
        return;
    }
    let unit = format!("orlop-{}.scope", container.id);
    let node = |path: &str, major: u32| json!({"path": path, "type": "b", "major": major, "minor": 99});
    container.config["linux"]["devices"] = json!([node("/dev/permitted", 43), node("/dev/refused", 8)]);
    container.config["linux"]["resources"] = json!({
        "devices": [
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "b", "major": 43, "access": "rw"},
        ],
        "pids": {"limit": 33}, "cpu": {"quota": 12_000, "period": 100_000},
    });
    if on_v2_alone() {
        container.config["linux"]["resources"]["unified"] = json!({"memory.oom.group": "1"});
    }
    container.launch_trap(&["TERM"]);
    let groups = Groups::of_container(&container);
    let now = || {
        let open = |path| container.runtime(&["exec", &container.id, "probe", "open-rw", path]).stdout;
        let file = |controller, v1, v2| groups.read(controller, v1, v2).unwrap_or_default();
        [
            // Whether there is such a device, only who may open it is told.
            (open("/dev/permitted") != "EPERM\n").to_string(),
            open("/dev/refused"),
            open("/dev/null"),
            file("pids", "pids.max", "pids.max"),
            file("cpu", "cpu.cfs_quota_us", "cpu.max"),
            file("memory", "none", "memory.oom.group"),
        ]
    };
    let before = now();
    let [quota, oom_group] = if on_v2_alone() { ["12000 100000", "1"] } else { ["12000", ""] };
    assert_eq!(before, ["true", "EPERM\n", "ok\n", "33", quota, oom_group]);
    assert_eq!(property(&unit, "DevicePolicy"), "strict");
    assert!(property(&unit, "DeviceAllow").contains("block-43 rw"), "{}", property(&unit, "DeviceAllow"));
    systemctl(&["daemon-reload"]);
    assert_eq!(now(), before);
    systemctl(&["set-property", "--runtime", &unit, "CPUWeight=77", "MemoryHigh=100M"]);
    assert_eq!(now(), before);
    if on_v2_alone() {
        container.runtime(&["update", "--memory", "64m", "--memory-swap", "64m", &container.id]).ok();
        assert_eq!(now(), before);
    }
    container.delete(&["--force"]).ok();
}

#[test]
fn slice_prefix_and_name() {
    let Some(mut container) = with_systemd() else { return };
    let unit = format!("pre-{}.scope", container.id);
    container.config["linux"]["cgroupsPath"] = json!("orlop-test.slice:pre:");
    container.config["annotations"] = json!({"org.systemd.property.TimeoutStopSec": "uint32 3"});
    container.launch_trap(&["TERM"]);
    assert!(
        group(&unit).ends_with(format!("orlop.slice/orlop-test.slice/{unit}")),
        "{}",
        group(&unit).display()
    );
    assert_eq!(property(&unit, "TimeoutStopUSec"), "3s");
    container.delete(&["--force"]).ok();
    assert!(!is_there(&unit));
}

/// A container that ended by itself, and one that systemd was told to stop.
#[test]
fn units_end_with_their_containers() {
    let Some(mut container) = with_systemd() else { return };
    let unit = format!("orlop-{}.scope", container.id);
    container.args(&["probe", "true"]);
    container.run().ok();
    assert!(!is_there(&unit));
    container.launch_trap(&["TERM"]);
    systemctl(&["stop", &unit]);
    container.await_status("stopped");
    container.delete(&[]).ok();
    assert!(!is_there(&unit));
}

#[test]
fn a_name_that_is_taken_is_left_to_its_unit() {
    let Some(mut container) = with_systemd() else { return };
    let unit = format!("pre-{}.scope", container.id);
    let mut other = Command::new("systemd-run");
    other.args(if is_root() { &[][..] } else { &["--user"] }).args(["--quiet", "--scope", "--unit", &unit]);
    let mut other = other.args(["sleep", "600"]).spawn().expect("systemd-run");
    eventually("the other unit runs", || property(&unit, "ActiveState") == "active");
    container.config["linux"]["cgroupsPath"] = json!("other.slice:pre:");
    let output = container.create();
    assert_eq!(property(&unit, "ActiveState"), "active");
    systemctl(&["stop", &unit]);
    other.wait().expect("it ends with its unit");
    output.fails_with("already");
}

#[test]
fn tricks_are_one_error_each_and_leave_nothing() {
    let Some(mut container) = with_systemd() else { return };
    let long = format!("a.slice:a:{}", "x".repeat(300));
    for path in [
        "/a/b",
        "a.slice:x",
        "a.slice:a:b:c",
        "../x.slice:a:b",
        "a.slice:../a:b",
        "a.slice:a:../b",
        "a.slice:a/b:c",
        "a:b:c",
        ".slice:a:b",
        "a--b.slice:a:b",
        "a.slice:a:b c",
        "a.slice:a:b@c",
        "a.slice:a:b\nc",
        "a.slice:a:b.service",
        // systemd puts no process into a slice: runc, which asks it to, fails as well.
        "a.slice:a:b.slice",
        &long,
    ] {
        container.config["linux"]["cgroupsPath"] = json!(path);
        one_error(&container, "linux.cgroupsPath");
    }
    container.config["linux"]["cgroupsPath"] = json!("");
    for (name, value) in [
        ("PIDs", "[uint32 1]"),
        ("Slice", "'other.slice'"),
        ("Delegate", "false"),
        ("a b", "1"),
        ("../Memory", "1"),
        ("x", "1"),
        ("MemoryMax", "'a"),
        ("MemoryMax", "uint64 -1"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "'soon'"),
        ("NoSuchProperty", "true"),
    ] {
        container.config["annotations"] = json!({format!("org.systemd.property.{name}"): value});
        one_error(&container, name);
    }
    // Of this, systemd tells less.
    container.config["annotations"] = json!({"org.systemd.property.MemoryMax": "'x'"});
    one_error(&container, "org.systemd.property");
    assert!(!is_there(&format!("orlop-{}.scope", container.id)));
}

#[track_caller]
fn one_error(container: &Container, words: &str) {
    let output = container.create().fails();
    assert!(output.stderr.contains(words), "{words}: {output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
    container.assert_clean();
}
