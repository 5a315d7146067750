//! What the runtime does when a system call fails, when it is killed, and when something runs out: a clean error or nothing at all; never
//! a container with less protection than it was to have; and after `delete --force`, nothing left.
//!
//! Each test prints how many points it has tried.  By default they are a choice that keeps within a minute; `ORLOP_SWEEP=full` tries all.
//! The points are system calls of the runtime (`parent`) and of the processes it makes (`child`), counted by the `inject` program.
#![allow(missing_docs)]

mod calls;
#[path = "../criu/mod.rs"]
#[allow(dead_code)] // Of it, only the container is needed here.
mod criu;
mod faults;
mod kills;
mod shim;
mod shortage;
mod starter;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use conformance::harness::{Container, Output, eventually, patience};
use serde_json::{Value, json};

/// Every point, not a choice of them.
fn full() -> bool {
    std::env::var("ORLOP_SWEEP").is_ok_and(|word| word == "full")
}

/// How long the injector lets a program live: a whole life of a container is two thousand calls, each of which is stopped at.
const LIFE: Duration = Duration::from_secs(60);

/// Every `step`th of the points, beginning at another one each time, or at that of `ORLOP_SWEEP_FIRST`; all of a full sweep.
fn choose(points: &[Point], step: usize) -> Vec<&Point> {
    if full() {
        println!("every point");
        return points.iter().collect();
    }
    let wanted = std::env::var("ORLOP_SWEEP_FIRST").ok().and_then(|word| word.parse().ok());
    let first = wanted.unwrap_or(std::process::id() as usize) % step;
    println!("every {step}th point, from point {first} on (ORLOP_SWEEP_FIRST={first} tries the same ones)");
    points.iter().enumerate().filter(|(n, _)| n % step == first).map(|(_, point)| point).collect()
}

/// A system call that the runtime makes.
#[derive(Clone, Debug)]
struct Point {
    half: String,
    call: i64,
    /// How many of its kind come before it in its half.
    at: usize,
}

/// The program that injects, and its options, to be put before the runtime.
fn inject(options: &[&str]) -> Vec<String> {
    let own = std::env::current_exe().expect("the running test has a path");
    let program = own.ancestors().skip(1).take(2).map(|d| d.join("inject")).find(|path| path.is_file());
    let program = program.expect("inject is not built (cargo build -p conformance)");
    let life = patience(LIFE).as_secs().to_string();
    let mut words = vec![program.to_string_lossy().into_owned(), "--patience".to_owned(), life];
    words.extend(options.iter().map(|option| (*option).to_owned()));
    words.push("--".to_owned());
    words
}

/// The program that injects at this point, to be put before the runtime; `fate` is what happens there.
fn inject_at(point: &Point, fate: &[&str]) -> Vec<String> {
    let (call, at) = (point.call.to_string(), point.at.to_string());
    inject(&[&["--half", &point.half, "--call", &call, "--at", &at], fate].concat())
}

/// Whether this machine can be swept: as root, and where the tracer can write registers.
fn can_sweep() -> bool {
    if !cfg!(target_arch = "x86_64") {
        conformance::harness::skip("inject writes the registers of x86_64 only");
        return false;
    }
    conformance::harness::require_root()
}

/// A container that asks for a bit of everything that protects.
fn rich() -> Container {
    let mut container = Container::new();
    let file = container.host_directory("source") + "/file";
    fs::write(&file, "text").expect("our own file");
    container.namespace("cgroup", None);
    container.mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    container.mount("/etc/file", "bind", &file, &["bind", "ro", "nosuid"]);
    container.config["linux"]["resources"]["pids"] = json!({ "limit": 64 });
    container.config["linux"]["resources"]["memory"] = json!({ "limit": 256 << 20 });
    container.config["linux"]["sysctl"] =
        json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" });
    container.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
    });
    container.config["process"]["oomScoreAdj"] = json!(100);
    container.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 512, "soft": 512 }]);
    container.config["process"]["user"]["additionalGids"] = json!([5]);
    let hook = json!([{ "path": "/bin/true" }]);
    container.config["hooks"] = json!({ "createRuntime": hook, "createContainer": hook, "poststop": hook });
    container
}

/// [`rich`], in a user namespace.
fn rich_in_user_namespace() -> Container {
    let mut container = rich();
    container.namespace("user", None);
    // What lies in a directory of root's, the namespace's root may not bind.
    container.unmount("/etc/file");
    for ids in ["uidMappings", "gidMappings"] {
        container.config["linux"][ids] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    }
    container
}

/// What says how the container is protected, out of the probe's report; nothing that differs between two runs.
fn protection(report: &Value) -> Value {
    let mut kept = json!({});
    for part in [
        "capabilities",
        "limits",
        "root_readonly",
        "hostname",
        "domainname",
        "cwd",
        "environ",
        "sysctls",
        "signals",
    ] {
        kept[part] = report[part].clone();
    }
    for field in ["no_new_privs", "seccomp_mode", "seccomp_filters", "securebits", "label"] {
        kept["security"][field] = report["security"][field].clone();
    }
    for field in ["uid", "gid", "groups", "umask", "uid_map", "gid_map", "setgroups"] {
        kept["identity"][field] = report["identity"][field].clone();
    }
    kept["oom"] = report["schedule"]["oom_score_adj"].clone();
    let mounts = report["mounts"].as_array().expect("mounts").iter();
    let fields = ["destination", "type", "options", "root"];
    kept["mounts"] = mounts.map(|m| fields.map(|f| m[f].clone())).map(|m| json!(m)).collect();
    let devices = report["devices"].as_array().expect("devices").iter();
    kept["devices"] =
        devices.map(|d| json!([d["path"], d["type"], d["mode"], d["major"], d["minor"]])).collect();
    let descriptors = report["descriptors"].as_array().expect("descriptors").iter();
    kept["descriptors"] = descriptors.map(|d| d["fd"].clone()).collect();
    // New where the host's is another.
    let host = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
    for (kind, own) in report["namespaces"].as_object().expect("namespaces") {
        kept["namespaces"][kind] = json!(own.as_str().is_some_and(|own| host(kind).as_os_str() != own));
    }
    kept
}

/// The parts in which two reports of protection differ.
fn differences(was: &Value, is: &Value) -> Vec<String> {
    let parts = was.as_object().expect("an object").iter();
    parts
        .filter(|(part, value)| is[part] != **value)
        .map(|(part, value)| match (value.as_array(), is[part].as_array()) {
            (Some(was), Some(is)) => {
                let of_one = |one: &[Value], other: &[Value]| {
                    let only: Vec<_> = one.iter().filter(|item| !other.contains(item)).collect();
                    json!(only).to_string()
                };
                format!("{part}: without {}, with {}", of_one(was, is), of_one(is, was))
            }
            _ => format!("{part}: {value} -> {}", is[part]),
        })
        .collect()
}

/// The report that a run has printed.
fn parse(stdout: &str) -> Option<Value> {
    serde_json::from_str(stdout.lines().find(|line| line.starts_with('{'))?).ok()
}

/// The report of a container that was started and sleeps on, read from where its output goes.
fn await_report(output: &PathBuf) -> Value {
    eventually("the report has come", || fs::read_to_string(output).is_ok_and(|text| text.ends_with('\n')));
    parse(&fs::read_to_string(output).expect("our own file")).expect("JSON")
}

/// What is wrong with how a command of the runtime failed: it must end by itself, and say why in one line.
fn unclean(output: &Output) -> Option<String> {
    let code = output.status.code().unwrap_or(255);
    let lines: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("level=warning"))
        .collect();
    if output.stderr.contains("panicked") {
        Some(format!("it panicked: {}", output.stderr.trim()))
    } else if output.stderr.contains("inject: hung") {
        Some("it hung".to_owned())
    } else if (128..255).contains(&code) {
        Some(format!("it was ended by signal {}: {}", code - 128, output.stderr.trim()))
    } else if code != 0 && lines.len() != 1 {
        Some(format!("it failed with {} lines: {lines:?}", lines.len()))
    } else {
        None
    }
}

/// Whatever state the container is in: `delete --force` works, and leaves nothing.
fn delete_and_look(container: &Container) -> Option<String> {
    let output = container.delete(&["--force"]);
    if !output.status.success() {
        return Some(format!("delete --force fails: {}", output.stderr.trim()));
    }
    let left = container.left_behind();
    (!left.is_empty()).then(|| format!("left behind: {}", left.join("; ")))
}

/// The calls of a command, in order.
fn calls(container: &Container, words: &[&str]) -> Vec<Point> {
    let list = container.directory().join("calls");
    let by = inject(&["--calls", &list.to_string_lossy()]);
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    container.runtime_by(&by, words).ok();
    read_points(&list)
}

/// The calls that the injector has written down.
fn read_points(list: &Path) -> Vec<Point> {
    let text = fs::read_to_string(list).expect("inject has written it");
    let mut counts = std::collections::BTreeMap::new();
    let mut points = Vec::new();
    for line in text.lines() {
        let (half, call) = line.split_once(' ').expect("half and number");
        let call: i64 = call.parse().expect("a number");
        let at = counts.entry((half.to_owned(), call)).or_insert(0usize);
        points.push(Point { half: half.to_owned(), call, at: *at });
        *at += 1;
    }
    points
}
