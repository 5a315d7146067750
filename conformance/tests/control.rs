//! runc's commands on a container that runs: pause, resume, update, ps, events, kill --all; and that delete always finishes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use conformance::harness::{
    Container, Kind, NOBODY, asks_systemd, eventually, kind, require_cgroups, require_program, require_root,
};
use serde_json::{Value, json};

/// A container with a shell, which busybox lends; none where that is not installed.
fn with_shell(script: &str) -> Option<Container> {
    if !require_cgroups() || !require_program("busybox") {
        return None;
    }
    let mut container = Container::new();
    container.lend_busybox("bin", &["sh", "sleep", "dd"]);
    container.args(&["sh", "-c", script]);
    Some(container)
}

const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
const SLEEP: &str = "while :; do sleep 100; done";

/// `create` and `start`; returns the file of its standard output.
fn up(container: &mut Container) -> PathBuf {
    let args = container.config["process"]["args"].clone();
    let args: Vec<&str> = args.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    container.launch(&args)
}

fn pid(container: &Container) -> i32 {
    container.state()["pid"].as_i64().and_then(|pid| pid.try_into().ok()).expect("a pid")
}

/// The directory of a process's group that has a controller: version 1's, else that of version 2.
fn group(pid: i32, controller: &str) -> PathBuf {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
    let fields = |line: &str| line.splitn(3, ':').map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = own.lines().map(fields).collect();
    let v1 = lines.iter().find(|line| line[1].split(',').any(|name| name == controller));
    let line = v1.or_else(|| lines.iter().find(|line| line[0] == "0")).expect("a group");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let point = mounts.lines().find_map(|mount| {
        let (left, right) = mount.split_once(" - ")?;
        let right: Vec<&str> = right.split(' ').collect();
        let serves = if v1.is_some() {
            right[0] == "cgroup" && right[2].split(',').any(|option| option == controller)
        } else {
            right[0] == "cgroup2"
        };
        serves.then(|| left.split(' ').nth(4).map(str::to_owned)).flatten()
    });
    PathBuf::from(point.expect("the hierarchy is mounted")).join(line[2].trim_start_matches('/'))
}

/// The text of the first of these files that is there: the name differs between the versions.
fn either(dir: &Path, names: [&str; 2]) -> String {
    let found = names.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok());
    found.unwrap_or_else(|| panic!("none of {names:?} in {}", dir.display())).trim().to_owned()
}

fn last_line(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim_end().lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[test]
fn a_paused_container_stands_still_and_a_resumed_one_goes_on() {
    let Some(mut container) = with_shell(COUNTER) else { return };
    let output = up(&mut container);
    eventually("it counts", || last_line(&output) > 3);
    container.runtime(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    let at = last_line(&output);
    thread::sleep(Duration::from_millis(150));
    assert_eq!(last_line(&output), at, "it counts on");
    container.runtime(&["pause", &container.id]).fails_with("container not running");
    container.runtime(&["exec", &container.id, "true"]).fails_with("cannot exec in a paused container");
    assert_eq!(container.runtime(&["exec", &container.id, "true"]).code(), 255);
    let waiting = container.spawn(&["exec", "--ignore-paused", &container.id, "probe", "echo", "late"]);
    container.delete(&[]).fails_with("paused");
    assert_eq!(waiting.stdout(), "", "it runs in a paused container");
    container.runtime(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(waiting.wait().lines(), ["late"]);
    eventually("it counts again", || last_line(&output) > at + 3);
    container.runtime(&["resume", &container.id]).fails_with("container not paused");
}

#[test]
fn a_container_that_was_created_can_be_paused() {
    let Some(container) = with_shell(COUNTER) else { return };
    container.create().ok();
    container.runtime(&["pause", &container.id]).ok();
    assert_eq!(container.status(), "paused");
    container.runtime(&["resume", &container.id]).ok();
    assert_eq!(container.status(), "created");
    container.runtime(&["start", &container.id]).ok();
    assert_eq!(container.status(), "running");
}

/// crun, and runc on version 1, once left such containers behind.
#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    for all in [&["kill"][..], &["kill", "--all"][..]] {
        let Some(mut container) = with_shell(SLEEP) else { return };
        up(&mut container);
        container.runtime(&["pause", &container.id]).ok();
        container.runtime(&[all, &[&container.id, "KILL"]].concat()).ok();
        container.await_status("stopped");
        container.delete(&[]).ok();
    }
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    container.runtime(&["pause", &container.id]).ok();
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

#[test]
fn a_stopped_container_takes_no_command() {
    let Some(mut container) = with_shell("true") else { return };
    up(&mut container);
    container.await_status("stopped");
    for (words, text) in [
        (&["pause"][..], "container not running"),
        (&["resume"][..], "container not paused"),
        (&["update", "--memory", "64m"][..], "container not running"),
        (&["events", "--stats"][..], "is not running"),
        (&["events"][..], "is not running"),
    ] {
        container.runtime(&[words, &[&container.id]].concat()).fails_with(text);
    }
    assert_eq!(container.runtime(&["ps", "--format", "json", &container.id]).ok().stdout.trim(), "[]");
    container.runtime(&["kill", "--all", &container.id, "KILL"]).ok();
}

/// What is changed is seen in the kernel's files, and in the container.
#[test]
fn an_update_takes_effect() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let pid = pid(&container);
    let cpus = fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
    assert!(cpus.contains("Cpus_allowed_list:"));
    container
        .runtime(&["update", "--memory", "32m", "--memory-swap", "32m", "--pids-limit", "7", &container.id])
        .ok();
    let memory = either(&group(pid, "memory"), ["memory.limit_in_bytes", "memory.max"]);
    assert_eq!(memory, (32 << 20).to_string());
    assert_eq!(either(&group(pid, "pids"), ["pids.max", "pids.max"]), "7");
    container.runtime(&["update", "--cpu-quota", "20000", "--cpu-period", "50000", &container.id]).ok();
    container.runtime(&["update", "--cpu-quota", "25000", "--cpuset-cpus", "0", &container.id]).ok();
    let quota = either(&group(pid, "cpu"), ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota == "25000" || quota == "25000 50000", "{quota}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");

    // From inside: what needs more memory is killed, and what needs more processes fails.
    let killed = container.runtime(&[
        "exec",
        &container.id,
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=64M",
        "count=1",
    ]);
    assert_eq!(killed.code(), 128 + 9, "{killed}");
    let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; wait";
    let refused = container.runtime(&["exec", &container.id, "sh", "-c", forks]);
    assert!(refused.stderr.contains("fork"), "{refused}");
    container.runtime(&["update", "--pids-limit", "100", &container.id]).ok();
    let work = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
    eventually("a period of its quota is counted", || {
        container.runtime(&["exec", &container.id, "sh", "-c", work]).ok();
        !either(&group(pid, "cpu"), ["cpu.stat", "cpu.stat"]).contains("nr_periods 0")
    });
    container.runtime(&["update", "--memory", "-1", &container.id]).ok();
    let memory = either(&group(pid, "memory"), ["memory.limit_in_bytes", "memory.max"]);
    assert!(memory == "max" || memory.len() > 15, "{memory}");
}

#[test]
fn an_update_from_json() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let pid = pid(&container);
    let limit = || either(&group(pid, "pids"), ["pids.max", "pids.max"]);
    container.stdin = Some(json!({ "pids": { "limit": 21 }, "memory": { "limit": 0 } }).to_string());
    container.runtime(&["update", "-r", "-", &container.id]).ok();
    assert_eq!(limit(), "21");
    container.stdin = None;
    let file = container.directory().join("resources.json");
    let file_name = file.to_string_lossy().into_owned();
    fs::write(&file, json!({ "pids": { "limit": 22 } }).to_string()).expect("a file of our own");
    container.runtime(&["update", "--resources", &file_name, &container.id]).ok();
    assert_eq!(limit(), "22");
    for (text, why) in
        [("{", "JSON"), ("[]", "object"), ("{\"pids\":{\"limit\":\"x\"}}", "linux.resources.pids.limit")]
    {
        fs::write(&file, text).expect("a file of our own");
        let output = container.runtime(&["update", "-r", &file_name, &container.id]).fails();
        assert!(kind() != Kind::Other || output.stderr.contains(why), "{text}: {output}");
    }
    container.runtime(&["update", "-r", "/nonexistent", &container.id]).fails_with("/nonexistent");
    assert_eq!(limit(), "22");
}

/// runc leaves what it wrote before the failure.
#[test]
fn an_update_is_whole_or_nothing() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let pid = pid(&container);
    container.runtime(&["update", "--pids-limit", "30", "--cpu-quota", "50000", &container.id]).ok();
    let now = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
        let cpus = status.lines().find(|line| line.starts_with("Cpus_allowed_list")).map(str::to_owned);
        (
            either(&group(pid, "pids"), ["pids.max", "pids.max"]),
            either(&group(pid, "cpu"), ["cpu.cfs_quota_us", "cpu.max"]),
            cpus,
        )
    };
    let before = now();
    let words = [
        "update",
        "--cpuset-cpus",
        "0",
        "--pids-limit",
        "20",
        "--cpu-quota",
        "60000",
        "--blkio-weight",
        "77",
    ];
    // No kernel takes a memory node that there is none of; it is refused last or first, that differs.
    let output = container.runtime(&[&words[..], &["--cpuset-mems", "63", &container.id]].concat()).fails();
    assert!(!output.stderr.contains("cannot set back"), "{output}");
    assert_eq!(now(), before);
    container.runtime(&["update", "--pids-limit", "20", "--cpu-period", "5", &container.id]).fails();
    assert_eq!(now(), before);
    // The record was not changed either: the next update completes itself with what is in effect.
    container.runtime(&["update", "--cpu-period", "200000", &container.id]).ok();
    let quota = either(&group(pid, "cpu"), ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(quota == "50000" || quota == "50000 200000", "{quota}");
}

#[test]
fn ps_lists_every_process() {
    let Some(mut container) = with_shell("sleep 100 & sleep 101 & wait") else { return };
    up(&mut container);
    container.runtime(&["exec", "--detach", &container.id, "sleep", "102"]).ok();
    let listed = || container.runtime(&["ps", "--format", "json", &container.id]).json();
    eventually("all four run", || listed().as_array().is_some_and(|all| all.len() == 4));
    let members: BTreeSet<i64> =
        listed().as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    let file = fs::read_to_string(group(pid(&container), "pids").join("cgroup.procs")).expect("a group");
    assert_eq!(members, file.lines().filter_map(|line| line.parse().ok()).collect::<BTreeSet<i64>>());
    if !require_program("ps") {
        return;
    }
    let table = container.runtime(&["ps", &container.id]).lines();
    assert!(table[0].contains("PID") && table[0].contains("CMD"), "{table:?}");
    assert_eq!(table.len(), 5, "{table:?}");
    let table = container.runtime(&["ps", &container.id, "-o", "pid,args"]).lines();
    for seconds in ["100", "101", "102"] {
        assert!(table.iter().any(|line| line.ends_with(&format!("sleep {seconds}"))), "{table:?}");
    }
    container
        .runtime(&["ps", &container.id, "-o", "comm"])
        .fails_with("couldn't find PID field in ps output");
}

/// Without cgroups of its own, a container's processes are found by their pid namespace.
#[test]
fn ps_of_an_ordinary_users_container() {
    if !require_root() {
        return;
    }
    let mut container = Container::as_user(NOBODY);
    container.launch_trap(&["TERM"]);
    let listed = container.runtime(&["ps", "--format", "json", &container.id]).json();
    assert_eq!(listed, json!([pid(&container)]));
    let paused = container.runtime(&["pause", &container.id]);
    assert!(paused.status.success() || paused.stderr.contains("no cgroup of its own"), "{paused}");
    let updated = container.runtime(&["update", "--pids-limit", "9", &container.id]);
    assert!(updated.status.success() || updated.stderr.contains("no cgroup of its own"), "{updated}");
    let output = container.runtime(&["events", "--stats", &container.id]);
    assert!(output.status.success() || output.stderr.contains("no cgroup of its own"), "{output}");
}

#[test]
fn the_figures_are_those_of_the_kernels_files() {
    let Some(mut container) = with_shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 100")
    else {
        return;
    };
    container.config["linux"]["resources"]["pids"] = json!({ "limit": 40 });
    container.config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    up(&mut container);
    let pid = pid(&container);
    // Once it sleeps, its figures stand still.
    eventually("it sleeps", || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
    });
    thread::sleep(Duration::from_millis(50));
    let event = container.runtime(&["events", "--stats", &container.id]).json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id)));
    let data = &event["data"];
    assert_eq!(data["pids"], json!({ "current": 1, "limit": 40 }));
    assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
    let memory = group(pid, "memory");
    let stat = fs::read_to_string(memory.join("memory.stat")).expect("a group");
    let names: BTreeSet<&str> = stat.lines().filter_map(|line| line.split(' ').next()).collect();
    let raw = data["memory"]["raw"].as_object().expect("raw");
    assert_eq!(raw.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    let cpu = &data["cpu"]["usage"];
    let total = cpu["total"].as_u64().expect("total");
    let counted = match fs::read_to_string(group(pid, "cpuacct").join("cpuacct.usage")) {
        Ok(text) => text.trim().parse::<u64>().expect("a number"),
        Err(_) => {
            let stat = either(&group(pid, "cpu"), ["cpu.stat", "cpu.stat"]);
            let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
            usage.and_then(|text| text.parse::<u64>().ok()).expect("usage") * 1000
        }
    };
    assert!(total > counted / 2 && total <= counted, "{total} {counted}");
    let parts = cpu["user"].as_u64().expect("user") + cpu["kernel"].as_u64().expect("kernel");
    assert!(parts <= total + 100_000_000, "{cpu}");
}

/// "checkBeforeUpdate": what version 2 would enforce by killing is refused, as version 1 does anyway.
#[test]
fn a_limit_below_what_is_in_use_is_refused_when_that_is_asked_for() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let group = group(pid(&container), "memory");
    let limit = || either(&group, ["memory.limit_in_bytes", "memory.max"]);
    let before = limit();
    container.stdin = Some(json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}).to_string());
    container.runtime(&["update", "-r", "-", &container.id]).fails_with("in use");
    assert_eq!((limit(), container.status()), (before, "running".to_owned()));
}

/// Every path of keys, but for names that are data.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = format!("{at}.{key}");
                keys(value, &at, found);
                found.insert(at);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| keys(value, &format!("{at}[]"), found)),
        _ => {}
    }
}

/// What runc prints on this machine is there, under the same keys; beyond it only what later versions of runc print too.
#[test]
fn the_figures_have_runcs_keys() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    if !require_program("runc") {
        return;
    }
    up(&mut container);
    let ours = container.runtime(&["events", "--stats", &container.id]).json();
    container.delete(&["--force"]).ok();
    let (root, id) = (container.directory().join("runc"), format!("{}-runc", container.id));
    let runc = |words: &[&str]| {
        let mut command = Command::new("runc");
        // Which figures there are depends on the limits that systemd sets by itself.
        command.args(asks_systemd().then_some("--systemd-cgroup"));
        command.arg("--root").arg(&root).args(words).current_dir(container.directory());
        command.stdin(std::process::Stdio::null());
        command
    };
    // Its output is the container's, which would hold a pipe open.
    let run = runc(&["run", "--detach", &id]).stdout(std::process::Stdio::null()).status();
    let theirs = runc(&["events", "--stats", &id]).output().expect("runc can be executed");
    let _ = runc(&["delete", "--force", &id]).status();
    assert!(run.is_ok_and(|status| status.success()), "runc run");
    let theirs: Value = serde_json::from_slice(&theirs.stdout).expect("runc prints JSON");
    let (mut our_keys, mut their_keys) = (BTreeSet::new(), BTreeSet::new());
    keys(&ours, "", &mut our_keys);
    keys(&theirs, "", &mut their_keys);
    // A figure of zero is left out by both: which are zero differs from run to run.
    let optional = |key: &&String| {
        let name = key.rsplit('.').next().unwrap_or_default();
        key.contains(".blkio.")
            || key.contains(".hugetlb.")
            || ["cache", "usage", "max", "total"].contains(&name)
    };
    let missing: Vec<_> = their_keys.difference(&our_keys).filter(|key| !optional(key)).collect();
    assert!(missing.is_empty(), "runc has {missing:?}");
    // Of version 2's cpusets it has no figures.
    let more = |key: &&String| {
        !optional(key) && ![".psi", ".cpuset.cpus", ".cpuset.mems"].iter().any(|k| key.contains(k))
    };
    let more: Vec<_> = our_keys.difference(&their_keys).filter(more).collect();
    assert!(more.is_empty(), "runc has no {more:?}");
}

/// Waits until `events` has its watch: a descriptor of an eventfd, or of memory.events.
fn watches(pid: u32) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| {
        let link = link.to_string_lossy().into_owned();
        link.contains("eventfd") || link.ends_with("memory.events")
    })
}

fn limit_memory(container: &mut Container) {
    container.config["linux"]["resources"]["memory"] = json!({ "limit": 24 << 20, "swap": 24 << 20 });
}

#[test]
fn an_oom_is_an_event_and_events_end_with_the_container() {
    let script =
        "while [ ! -e /tmp/go ]; do sleep 0.02; done; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 0.2";
    let Some(mut container) = with_shell(script) else { return };
    limit_memory(&mut container);
    up(&mut container);
    let events = container.spawn(&["events", "--interval", "1h", &container.id]);
    eventually("events watches", || watches(events.pid()));
    assert_eq!(events.stdout(), "");
    fs::write(container.rootfs("tmp/go"), "").expect("the root file system is ours");
    let said = events.wait().lines();
    assert!(!said.is_empty(), "no OOM was told");
    for line in said {
        assert_eq!(line, format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", container.id));
    }
}

/// An OOM that ends the first process is told, though its end may be heard of before.
#[test]
fn an_oom_of_the_first_process_is_told() {
    let Some(mut container) = with_shell("exec dd if=/dev/zero of=/dev/null bs=64M count=1") else { return };
    limit_memory(&mut container);
    container.create().ok();
    let events = container.spawn(&["events", "--interval", "1h", &container.id]);
    eventually("events watches", || watches(events.pid()));
    container.runtime(&["start", &container.id]).ok();
    assert!(events.wait().ok().stdout.contains("\"type\":\"oom\""));
}

#[test]
fn events_come_at_intervals_and_hold_up_nobody() {
    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let events = container.spawn(&["events", "--interval", "20ms", &container.id]);
    eventually("three lines", || events.stdout().lines().count() >= 3);
    container.runtime(&["pause", &container.id]).ok();
    let so_far = events.stdout().lines().count();
    eventually("a paused container has figures too", || events.stdout().lines().count() > so_far + 1);
    container.delete(&["--force"]).ok();
    for line in events.wait().lines() {
        let event: Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!(event["type"], "stats");
    }
    container.runtime(&["events", "--interval", "0s", "x"]).fails_with("must be greater than 0");
    container.runtime(&["events", "--interval", "5", "x"]).fails_with("interval");
}

/// Processes in groups that the container made below its own, and one that makes more all the time, are all ended.
#[test]
fn kill_all_ends_every_process() {
    // An ordinary user mounts procfs only in a pid namespace of the container's own.
    if !require_root() {
        return;
    }
    let Some(mut container) = with_shell("while :; do sleep 100 & sleep 0.001; done") else { return };
    // Without a pid namespace of its own nothing else ends them.
    container.no_namespace("pid");
    // So many that it does not come to that meanwhile: the shell would end where it cannot fork.
    container.config["linux"]["resources"]["pids"] = json!({ "limit": 2000 });
    up(&mut container);
    let first = pid(&container);
    let listed = || {
        let all = container.runtime(&["ps", "--format", "json", &container.id]).json();
        all.as_array().into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>()
    };
    eventually("many", || listed().len() > 20);
    for controller in ["freezer", "pids", "memory", "none"] {
        let below = group(first, controller).join("below/deeper");
        fs::create_dir_all(&below).expect("a group below can be made");
        // It may have ended meanwhile.
        let _ = fs::write(below.join("cgroup.procs"), listed()[5].to_string());
    }
    let before = listed();
    container.runtime(&["kill", "--all", &container.id, "KILL"]).ok();
    container.await_status("stopped");
    eventually("none is left", || listed().is_empty());
    eventually("all are gone", || {
        before.iter().all(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ") || !stat.contains("(sleep)") && !stat.contains("(sh)")
        })
    });
    container.delete(&[]).ok();
    container.assert_clean();
}

#[test]
fn kill_all_of_another_signal_reaches_all_and_leaves_none_frozen() {
    let script = "trap 'exit 7' USR1; echo trapped; sleep 100 & while :; do sleep 0.01; done";
    let Some(mut container) = with_shell(script) else { return };
    let output = up(&mut container);
    eventually("it has its trap", || fs::read_to_string(&output).is_ok_and(|text| text == "trapped\n"));
    container.runtime(&["kill", "--all", &container.id, "0"]).ok();
    assert_eq!(container.status(), "running", "thawed after the signal");
    container.runtime(&["kill", "--all", &container.id, "USR1"]).ok();
    container.await_status("stopped");
}

/// Groups that somebody removed, and processes of version 1 that the container froze itself, do not keep delete.
#[test]
fn delete_finishes_whatever_has_become_of_the_groups() {
    let Some(mut container) = with_shell("sleep 100 & wait") else { return };
    up(&mut container);
    let main = pid(&container);
    let freezer = group(main, "freezer");
    if freezer.join("freezer.state").exists() {
        let below = freezer.join("below");
        fs::create_dir(&below).expect("a group below can be made");
        let child = || {
            let members = fs::read_to_string(freezer.join("cgroup.procs")).expect("a group");
            members.lines().find(|line| line.parse() != Ok(main)).map(str::to_owned)
        };
        eventually("it has a child", || child().is_some());
        fs::write(below.join("cgroup.procs"), child().expect("it sleeps")).expect("root may move it");
        fs::write(below.join("freezer.state"), "FROZEN").expect("root may freeze it");
    }
    container.delete(&["--force"]).ok();
    container.assert_clean();

    let Some(mut container) = with_shell(SLEEP) else { return };
    up(&mut container);
    let groups: Vec<PathBuf> = ["freezer", "memory", "none"].map(|name| group(pid(&container), name)).into();
    container.kill("KILL").ok();
    container.await_status("stopped");
    for group in groups {
        // Two of them may be one.
        let _ = fs::remove_dir(group);
    }
    container.delete(&[]).ok();
}
