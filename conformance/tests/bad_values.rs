//! Values for cgroups that cannot be right: each is one clear error that names the property, and leaves nothing; in an update, nothing
//! is changed.  Where a value comes from makes no difference: config.json, flags of `update`, or its JSON.

use std::fs;

use conformance::harness::{Container, Groups, Output, asks_systemd, beyond_runc, require_cgroups};
use serde_json::{Value, json};

type Case = (Value, &'static str);

/// Resources, and what the error says of them: of config.json, and of the JSON of an update.
fn resources() -> Vec<Case> {
    [of_memory_and_cpu(), of_the_others(), of_files_and_devices()].concat()
}

fn of_memory_and_cpu() -> Vec<Case> {
    vec![
        (json!({"memory": {"limit": -2}}), "memory.limit: -2 is less than -1"),
        (json!({"memory": {"limit": 9_223_372_036_854_775_808_u64}}), "memory.limit: must be an integer"),
        (json!({"memory": {"limit": "1g"}}), "memory.limit: must be an integer"),
        (json!({"memory": {"reservation": -5}}), "memory.reservation: -5 is less"),
        (json!({"memory": {"limit": 4_194_304, "swap": -2}}), "memory.swap: -2 is less"),
        (
            json!({"memory": {"limit": 4_194_304, "swap": 1024}}),
            "memory.swap: 1024 is memory and swap together",
        ),
        (json!({"memory": {"swappiness": 101}}), "memory.swappiness: 101 is not between 0 and 100"),
        (json!({"memory": {"kernelTCP": -2}}), "memory.kernelTCP: -2 is less"),
        (json!({"cpu": {"shares": 1}}), "cpu.shares: 1 is not between 2 and 262144"),
        (json!({"cpu": {"shares": 300_000}}), "cpu.shares: 300000 is not between"),
        (json!({"cpu": {"shares": -1}}), "cpu.shares: must be an integer from 0"),
        (json!({"cpu": {"quota": -5}}), "cpu.quota: -5 is less"),
        (json!({"cpu": {"quota": 999}}), "cpu.quota: 999 is less than 1000"),
        (json!({"cpu": {"period": 999}}), "cpu.period: 999 is not between"),
        (json!({"cpu": {"period": 1_000_001}}), "cpu.period: 1000001 is not between"),
        (json!({"cpu": {"period": -1}}), "cpu.period: must be an integer from 0"),
        (json!({"cpu": {"quota": 5000, "period": 50_000, "burst": 60_000}}), "cpu.burst: 60000 is more than"),
        (json!({"cpu": {"idle": 2}}), "cpu.idle: 2 is neither 0 nor 1"),
        (json!({"cpu": {"realtimeRuntime": -2}}), "cpu.realtimeRuntime: -2 is less"),
        (json!({"cpu": {"cpus": "0-"}}), "cpu.cpus: \"0-\" is not a list"),
        (json!({"cpu": {"cpus": "1-0"}}), "cpu.cpus: the range \"1-0\" is descending"),
        (json!({"cpu": {"cpus": "../0"}}), "cpu.cpus: \"../0\" is not a list"),
        (json!({"cpu": {"cpus": "0\n1"}}), "cpu.cpus: \"0\\n1\" is not a list"),
        (json!({"cpu": {"cpus": "99999999999"}}), "cpu.cpus: 99999999999 is above 8191"),
        (json!({"cpu": {"mems": "all"}}), "cpu.mems: \"all\" is not a list"),
        (json!({"cpu": {"mems": "63"}}), "cpu.mems: write \"63\""),
    ]
}

fn of_the_others() -> Vec<Case> {
    let huge = |size: &str, limit: i64| json!({"hugepageLimits": [{"pageSize": size, "limit": limit}]});
    let disk = |key: &str, device: Value| json!({ "blockIO": { key: [device] } });
    vec![
        (json!({"pids": {"limit": -7}}), "pids.limit: -7 is less"),
        (json!({"pids": {"limit": "many"}}), "pids.limit: must be an integer"),
        (json!({"pids": {"limit": 1_099_511_627_776_u64}}), "pids.limit: write \"1099511627776\""),
        (json!({"blockIO": {"weight": 9}}), "blockIO.weight: 9 is not between 10 and 1000"),
        (json!({"blockIO": {"weight": 70_000}}), "blockIO.weight: must be an integer from 0 to 65535"),
        (json!({"blockIO": {"leafWeight": 50}}), "blockIO.leafWeight: leaf weights went"),
        (
            disk("weightDevice", json!({"major": 8, "minor": 0, "weight": 5})),
            "blockIO.weightDevice[0].weight: 5",
        ),
        (
            disk("throttleReadBpsDevice", json!({"major": 4000, "minor": 9, "rate": 1})),
            "throttleReadBpsDevice[0]: ",
        ),
        (
            disk("throttleReadBpsDevice", json!({"major": -1, "minor": 9, "rate": 1})),
            "[0].major: -1 is not a device",
        ),
        (
            disk("throttleWriteIOPSDevice", json!({"major": 8, "minor": 0, "rate": -1})),
            "[0].rate: must be an integer",
        ),
        (huge("3MB", 1), "hugepageLimits[0]: "),
        (huge("../2MB", 1), "hugepageLimits[0].pageSize: \"../2MB\" is not a page size"),
        (huge("2MB", -1), "hugepageLimits[0].limit: -1 is negative"),
        (json!({"network": {"classID": 4_294_967_296_u64}}), "network.classID: must be an integer from 0"),
        (json!({"rdma": {"no0": {"hcaObjects": 1}}}), "rdma.no0: "),
        (json!({"rdma": {"a b": {"hcaObjects": 1}}}), "rdma[\"a b\"]: is not the name of a device"),
    ]
}

fn of_files_and_devices() -> Vec<Case> {
    let unified = |file: &str, value: &str| json!({ "unified": { file: value } });
    vec![
        (unified("../memory.max", "1"), "unified[\"../memory.max\"]: is not the name of a file"),
        (unified("/etc/passwd", "1"), "unified[\"/etc/passwd\"]: is not the name of a file"),
        (unified("..", "1"), "unified[\"..\"]: is not the name of a file"),
        (unified("", "1"), "unified[\"\"]: is not the name of a file"),
        (unified("cgroup.procs", "1"), "unified[\"cgroup.procs\"]: "),
        (unified("cgroup.kill", "1"), "unified[\"cgroup.kill\"]: "),
        (unified("cgroup.freeze", "1"), "unified[\"cgroup.freeze\"]: "),
        (unified("nonsense.max", "1"), "unified[\"nonsense.max\"]: "),
        (unified("memory.nonsense", "1"), "unified[\"memory.nonsense\"]: "),
        (unified("memory.max\0", "1"), "must not contain a NUL"),
        (unified("cgroup.max.depth", "-3"), "unified[\"cgroup.max.depth\"]: "),
        (unified("cgroup.max.depth", ""), "unified[\"cgroup.max.depth\"]: "),
        (json!({"unified": {"cgroup.max.depth": 5}}), "unified[\"cgroup.max.depth\"]: must be a string"),
        (json!({"devices": [{"allow": true, "access": "x"}]}), "devices[0].access: \"x\" is not composed"),
        (
            json!({"devices": [{"allow": true, "type": "q", "access": "r"}]}),
            "devices[0].type: \"q\" is not one",
        ),
        (
            json!({"devices": [{"allow": true, "type": "c", "major": -2, "access": "r"}]}),
            "devices[0].major: -2",
        ),
    ]
}

/// One error, on one line, which says this.
#[track_caller]
fn refused(output: &Output, what: &str, words: &str) {
    assert!(!output.status.success(), "{what} is accepted: {output:?}");
    let said = output.stderr.replace("\\\\", "\\").replace("\\\"", "\"");
    assert_eq!(said.lines().filter(|line| line.contains("level=error")).count(), 1, "{what}: {said}");
    assert_eq!(said.lines().count(), 1, "{what}: {said}");
    assert!(said.contains(words), "{what}: {words:?} is not in {said}");
}

/// Whether nobody refuses it here, or systemd does, in its own words.
fn is_for_others(words: &str) -> bool {
    let own = Groups::of("self");
    let no_files = !own.0.contains_key("") && words.contains("unified");
    // Shares become a weight, and those that are too many or too few the greatest or the least, as with runc.
    let clamped = !own.is_v1("cpu") && words.contains("cpu.shares: ") && words.contains("between");
    no_files || clamped || asks_systemd() && words.contains("write ")
}

#[test]
fn in_a_config() {
    if !require_cgroups() || beyond_runc("its own words") {
        return;
    }
    for (resources, words) in resources() {
        if is_for_others(words) {
            continue;
        }
        let mut container = Container::new();
        container.config["linux"]["resources"] = resources.clone();
        let output = container.create();
        refused(&output, &resources.to_string(), words);
        assert!(output.stderr.contains("linux.resources"), "{output:?}");
        container.assert_clean();
    }
}

/// What an update must leave as it is.
fn settings(container: &Container) -> Vec<Option<String>> {
    let groups = Groups::of_container(container);
    [
        ("memory", "memory.limit_in_bytes", "memory.max"),
        ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
        ("cpu", "cpu.shares", "cpu.weight"),
        ("cpu", "cpu.cfs_quota_us", "cpu.max"),
        ("cpuset", "cpuset.cpus", "cpuset.cpus"),
        ("cpuset", "cpuset.mems", "cpuset.mems"),
        ("pids", "pids.max", "pids.max"),
        ("none", "none", "cgroup.max.depth"),
    ]
    .map(|(controller, v1, v2)| groups.read(controller, v1, v2))
    .into()
}

fn running() -> Container {
    let mut container = Container::new();
    container.config["linux"]["resources"] = json!({"memory": {"limit": 67_108_864}, "cpu": {"shares": 512, "quota": 50_000}, "pids": {"limit": 44}});
    container.launch_trap(&["TERM"]);
    container
}

#[test]
fn in_the_json_of_an_update() {
    if !require_cgroups() || beyond_runc("its own words") {
        return;
    }
    let mut container = running();
    let before = settings(&container);
    for (resources, words) in resources() {
        if is_for_others(words) {
            continue;
        }
        container.stdin = Some(resources.to_string());
        let output = container.runtime(&["update", "-r", "-", &container.id]);
        refused(&output, &resources.to_string(), words);
        assert!(!output.stderr.contains("config.json"), "{output:?}");
        assert_eq!(settings(&container), before, "{resources}");
    }
    for text in ["[]", "null", "\"x\"", "{", "{\"pids\":"] {
        container.stdin = Some(text.to_owned());
        refused(&container.runtime(&["update", "-r", "-", &container.id]), text, "resources: ");
    }
}

#[test]
fn in_the_flags_of_an_update() {
    if !require_cgroups() || beyond_runc("its own words") {
        return;
    }
    let container = running();
    let before = settings(&container);
    for (flag, value, words) in [
        ("--memory", "-5", "invalid value for memory: "),
        ("--memory", "12x", "invalid value for memory: "),
        ("--memory", "99999999999999999999", "invalid value for memory: "),
        ("--memory-reservation", "-3", "invalid value for memory-reservation: "),
        ("--memory-swap", "-9", "invalid value for memory-swap: "),
        ("--memory-swap", "5m", "linux.resources.memory.swap: 5242880 is memory and swap together"),
        ("--kernel-memory-tcp", "-7", "invalid value for kernel-memory-tcp: "),
        ("--cpu-quota", "5", "invalid resources: linux.resources.cpu.quota: 5 is less"),
        ("--cpu-quota", "-7", "linux.resources.cpu.quota: -7 is less"),
        ("--cpu-quota", "x", "invalid value for cpu-quota: "),
        ("--cpu-period", "5", "linux.resources.cpu.period: 5 is not between"),
        ("--cpu-period", "-1", "invalid value for cpu-period: "),
        ("--cpu-share", "1", "linux.resources.cpu.shares: 1 is not between"),
        ("--cpu-share", "-1", "invalid value for cpu-share: "),
        ("--cpu-burst", "60000", "linux.resources.cpu.burst: 60000 is more than"),
        ("--cpu-rt-runtime", "-5", "linux.resources.cpu.realtimeRuntime: -5 is less"),
        ("--cpu-idle", "7", "linux.resources.cpu.idle: 7 is neither"),
        ("--cpuset-cpus", "../0", "linux.resources.cpu.cpus: \"../0\" is not a list"),
        ("--cpuset-mems", "63", "63"),
        ("--pids-limit", "-5", "linux.resources.pids.limit: -5 is less"),
        ("--pids-limit", "1e3", "invalid value for pids-limit: "),
        ("--blkio-weight", "5", "linux.resources.blockIO.weight: 5 is not between"),
        ("--blkio-weight", "70000", "invalid value for blkio-weight: "),
        ("--l3-cache-schema", "L3:0=zz", "l3 cache schema is not enabled"),
    ] {
        if is_for_others(words) {
            continue;
        }
        let output = container.runtime(&["update", flag, value, &container.id]);
        refused(&output, &format!("{flag} {value}"), words);
        assert!(!output.stderr.contains("config.json"), "{output:?}");
        assert_eq!(settings(&container), before, "{flag} {value}");
    }
}

#[test]
fn in_the_path() {
    if !require_cgroups() || asks_systemd() || beyond_runc("its own words") {
        return;
    }
    let deep = "/y".repeat(3000);
    let inside = format!("/cgroup.procs/bad-{}", std::process::id());
    for (path, words) in [
        ("/", "it names no group of the container's own"),
        (".", "it names no group of the container's own"),
        ("//./", "it names no group of the container's own"),
        ("..", "must not hold \"..\""),
        ("/../x", "must not hold \"..\""),
        ("a/../b", "must not hold \"..\""),
        ("/sys/fs/cgroup/../../../etc", "must not hold \"..\""),
        ("/a\nb", "cannot hold NUL or a line break"),
        ("/a\0b", "must not contain a NUL"),
        (deep.as_str(), "file name too long"),
        (inside.as_str(), "not a directory"),
    ] {
        let mut container = Container::new();
        container.config["linux"]["cgroupsPath"] = json!(path);
        let output = container.create();
        refused(&output, path.get(..60.min(path.len())).unwrap_or_default(), words);
        container.assert_clean();
    }
    assert!(fs::metadata("/sys/fs/x").is_err() && fs::metadata("/sys/fs/cgroup/x").is_err());
}
