//! config-linux.md, "Control groups": limits hold, by their effect as well as by their files, on whatever versions are
//! mounted; those that cannot be are refused by name; and nothing is left, however many come and go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use conformance::harness::{
    Container, Groups, beyond_runc, eventually, is_root, on_v2_alone, require_cgroups, require_program,
    require_root, skip,
};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// Whether a controller is to be had; skips the test if not.
fn require_controller(name: &str) -> bool {
    let own = Groups::of("self");
    let io = if name == "blkio" { "io" } else { name };
    let on_v2 = own.0.get("").map(|own| {
        // An ordinary user has what the manager of that user's units was given.
        let of_user =
            |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("user@"));
        let manager = own.ancestors().find(of_user).filter(|_| !is_root());
        let top = manager.or_else(|| own.ancestors().filter(|dir| dir.join("cgroup.procs").exists()).last());
        fs::read_to_string(top.unwrap_or(own).join("cgroup.controllers")).unwrap_or_default()
    });
    let there = own.is_v1(name) || on_v2.is_some_and(|all| all.split_whitespace().any(|c| c == io));
    if !there {
        skip(&format!("this host has no {name} controller"));
    }
    there
}

/// A container with these resources, that waits for SIGTERM.
fn waiting(resources: Value) -> Container {
    let mut container = Container::new();
    container.config["linux"]["resources"] = resources;
    container.launch_trap(&["TERM"]);
    container
}

/// Each file of a running container has its value: controller, file of version 1, of version 2, and the values.
#[track_caller]
fn expect(container: &Container, files: &[(&str, &str, &str, &str, &str)]) {
    let groups = Groups::of_container(container);
    for (controller, v1, v2, in_v1, in_v2) in files {
        let (file, expected) = if groups.is_v1(controller) { (v1, in_v1) } else { (v2, in_v2) };
        let value = groups.read(controller, v1, v2);
        assert_eq!(value.as_deref(), Some(*expected), "{controller}: {file}");
    }
}

#[test]
fn memory_values() {
    if !require_cgroups() || !require_controller("memory") {
        return;
    }
    let container =
        waiting(json!({"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB}}));
    expect(
        &container,
        &[
            ("memory", "memory.limit_in_bytes", "memory.max", "67108864", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432"),
            ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max", "100663296", "33554432"),
        ],
    );
    let container =
        waiting(json!({"memory": {"limit": -1, "disableOOMKiller": false, "useHierarchy": true}}));
    expect(&container, &[("memory", "memory.limit_in_bytes", "memory.max", "9223372036854771712", "max")]);
}

/// What version 1 alone knows; version 2 refuses each by name.
#[test]
fn memory_of_version_1() {
    if !require_cgroups() || !require_controller("memory") || beyond_runc("it ignores these") {
        return;
    }
    let all = json!({"memory": {"swappiness": 17, "disableOOMKiller": true, "kernelTCP": 16 * MIB}});
    if !Groups::of("self").is_v1("memory") {
        let mut container = Container::new();
        container.config["linux"]["resources"] = all;
        let output = container.run().fails();
        for key in ["swappiness", "disableOOMKiller", "kernelTCP"] {
            assert!(output.stderr.contains(&format!("linux.resources.memory.{key}: ")), "{output:?}");
        }
        return;
    }
    let container = waiting(json!({"memory": {"swappiness": 17, "kernelTCP": 16 * MIB, "kernel": -1}}));
    expect(
        &container,
        &[
            ("memory", "memory.swappiness", "", "17", ""),
            ("memory", "memory.kmem.tcp.limit_in_bytes", "", "16777216", ""),
        ],
    );
    let container = waiting(json!({"memory": {"disableOOMKiller": true}}));
    let control =
        Groups::of_container(&container).read("memory", "memory.oom_control", "").unwrap_or_default();
    assert!(control.contains("oom_kill_disable 1"), "{control}");
}

#[test]
fn cpu_values() {
    if !require_cgroups() || !require_controller("cpu") {
        return;
    }
    let container = waiting(
        json!({"cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "burst": 10_000, "idle": 0}}),
    );
    expect(
        &container,
        &[
            // runc before 1.3.2 has another weight for the shares.
            ("cpu", "cpu.shares", "cpu.weight", "512", "59"),
            ("cpu", "cpu.cfs_quota_us", "cpu.max", "50000", "50000 200000"),
            ("cpu", "cpu.cfs_period_us", "cpu.max", "200000", "50000 200000"),
            ("cpu", "cpu.cfs_burst_us", "cpu.max.burst", "10000", "10000"),
        ],
    );
    let container = waiting(json!({"cpu": {"quota": -1}}));
    expect(&container, &[("cpu", "cpu.cfs_quota_us", "cpu.max", "-1", "max 100000")]);
}

/// The budget of real time is what lets a process of a real-time policy run at all, where the kernel hands it out by groups.
#[test]
fn a_budget_of_real_time() {
    if !require_root() || !require_controller("cpu") || beyond_runc("the budget of the group above") {
        return;
    }
    let own = Groups::of("self");
    if own.read("cpu", "cpu.rt_runtime_us", "none").is_none_or(|budget| budget == "0") {
        return skip("no budget of real time for groups here");
    }
    let mut container = Container::new();
    container.config["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 1});
    container.config["linux"]["resources"]["cpu"] =
        json!({"realtimeRuntime": 20_000, "realtimePeriod": 500_000});
    container.launch_trap(&["TERM"]);
    expect(
        &container,
        &[("cpu", "cpu.rt_runtime_us", "", "20000", ""), ("cpu", "cpu.rt_period_us", "", "500000", "")],
    );
}

/// "idle: 1: SCHED_IDLE".
#[test]
fn an_idle_group() {
    if !require_cgroups() || !require_controller("cpu") || beyond_runc("runc 1.1 does not know it") {
        return;
    }
    let container = waiting(json!({"cpu": {"idle": 1, "shares": 512}}));
    expect(&container, &[("cpu", "cpu.idle", "cpu.idle", "1", "1")]);
}

/// A quota of a tenth of a processor is about what is had, by the kernel's own count of periods: however fast the machine is.
#[test]
fn a_quota_throttles() {
    if !require_cgroups() || !require_controller("cpu") {
        return;
    }
    const PERIOD_US: u64 = 50_000;
    let mut container = Container::new();
    container.config["linux"]["resources"]["cpu"] = json!({"quota": PERIOD_US / 10, "period": PERIOD_US});
    container.launch(&["probe", "burn", "1000"]);
    let groups = Groups::of_container(&container);
    let stat = |name: &str| {
        let text = groups.read("cpu", "cpu.stat", "cpu.stat").unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    eventually("it is throttled", || stat("nr_throttled ").is_some_and(|times| times >= 40));
    let in_ns = groups.read("cpuacct", "cpuacct.usage", "none").and_then(|text| text.parse::<u64>().ok());
    let used_us = in_ns.map(|ns| ns / 1000).or_else(|| stat("usage_usec ")).expect("what it had");
    // Read last, as periods only grow.  A processor that stands still itself, under an emulator, is charged for as long: what is
    // had too much then comes off the periods that follow.
    let all_us = stat("nr_periods ").expect("periods") * PERIOD_US;
    assert!(used_us * 2 < all_us, "{used_us} us of {all_us} us");
}

/// A cpuset is what the container's processes may run on.
#[test]
fn a_cpuset_is_seen_inside() {
    if !require_cgroups() || !require_controller("cpuset") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["cpu"] = json!({"cpus": "0", "mems": "0"});
    // Below a group that is made for it: of version 1, it is empty at first.
    container.group_by(&format!("above-{}", container.id));
    let report = container.report();
    assert_eq!(report["schedule"]["affinity"], json!([0]), "{}", report["schedule"]);
}

/// A fork bomb ends at the limit.
#[test]
fn a_fork_bomb_is_stopped() {
    if !require_cgroups() || !require_controller("pids") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["pids"] = json!({"limit": 12});
    assert_eq!(container.run_args(&["probe", "bomb", "100"]), ["11 EAGAIN"]);
}

#[test]
fn pids_values() {
    if !require_cgroups() || !require_controller("pids") {
        return;
    }
    for (limit, value) in [(77, "77"), (-1, "max")] {
        let container = waiting(json!({"pids": {"limit": limit}}));
        expect(&container, &[("pids", "pids.max", "pids.max", value, value)]);
    }
}

/// Zero processes more than there is: the container's own.
#[test]
fn a_pids_limit_of_zero() {
    if !require_cgroups() || !require_controller("pids") || beyond_runc("0 is \"not given\" before 1.4") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["pids"] = json!({"limit": 0});
    assert_eq!(container.run_args(&["probe", "bomb", "3"]), ["0 EAGAIN"]);
}

/// Memory beyond the limit gets the process killed; up to it, not.
#[test]
fn too_much_memory_kills() {
    if !require_cgroups() || !require_controller("memory") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["memory"] = json!({"limit": 32 * MIB});
    assert_eq!(container.run_args(&["probe", "eat", &(8 * MIB).to_string()]), ["2048 pages"]);
    container.args(&["probe", "eat", &(64 * MIB).to_string()]);
    assert_eq!(container.run().code(), 128 + 9, "killed for want of memory");
}

#[test]
fn block_io_values() {
    if !require_cgroups() || !require_controller("blkio") {
        return;
    }
    let Some((major, minor)) = disk() else { return };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let container = waiting(json!({"blockIO": {
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400),
    }}));
    let all = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=300 wiops=400");
    let one = |rate: u64| format!("{major}:{minor} {rate}");
    let file = |what: &str| format!("blkio.throttle.{what}_device");
    for (what, rate) in
        [("read_bps", 1_048_576), ("write_bps", 2_097_152), ("read_iops", 300), ("write_iops", 400)]
    {
        expect(&container, &[("blkio", &file(what), "io.max", &one(rate), &all)]);
    }
}

#[test]
fn the_weight_of_block_io() {
    if !require_cgroups() || !require_controller("blkio") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["blockIO"] = json!({"weight": 200});
    let created = container.create();
    if created.stderr.contains("no I/O scheduler of it knows weights") {
        return skip("this kernel has no weights");
    }
    created.ok();
    let groups = Groups::of_container(&container);
    let bfq = groups.read("blkio", "blkio.bfq.weight", "io.bfq.weight");
    let other = groups.read("blkio", "blkio.weight", "io.weight");
    let set = bfq.as_deref().is_some_and(|value| value.ends_with("200"))
        || other.as_deref().is_some_and(|value| value.ends_with("1920") || value == "200");
    assert!(set, "{bfq:?} {other:?}");
}

/// The disk below the bundles, as numbers, if it is a whole one.
fn disk() -> Option<(u64, u64)> {
    let device = nix::sys::stat::stat(&std::env::temp_dir()).ok()?.st_dev;
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let known = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let whole = known.exists() && !known.join("partition").exists();
    if !whole {
        skip("the temporary directory is not on a disk of its own");
    }
    whole.then_some((major, minor))
}

/// Reading is no faster than its limit.
#[test]
fn a_throttle_slows_reading() {
    if !require_cgroups() || !require_controller("blkio") {
        return;
    }
    let Some((major, minor)) = disk() else { return };
    let mut container = Container::new();
    fs::write(container.rootfs("tmp/data"), vec![7_u8; 1 << 20]).expect("a file of our own");
    let synced = Command::new("sync").arg(container.rootfs("tmp/data")).status();
    assert!(synced.expect("sync can be executed").success());
    let rate = json!([{"major": major, "minor": minor, "rate": 1_048_576}]);
    container.config["linux"]["resources"]["blockIO"] = json!({"throttleReadBpsDevice": rate});
    let lines = container.run_args(&["probe", "read-direct", "/tmp/data", "1048576"]);
    let slow: u64 = lines[0].parse().expect("milliseconds");
    // The kernel's count of bytes makes it a second, however busy the disk is.
    assert!(slow > 500, "a MiB at a MiB a second took {slow} ms");
}

/// Huge pages beyond the limit are refused when they are asked for, and not by a signal when they are used.
#[test]
fn huge_pages_beyond_the_limit_are_refused() {
    const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages";
    if !require_root() || !require_controller("hugetlb") || beyond_runc("version 2 beside version 1") {
        return;
    }
    let container = waiting(json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}));
    for (v1, v2) in [
        ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"),
    ] {
        expect(&container, &[("hugetlb", v1, v2, "4194304", "4194304")]);
    }
    let before = fs::read_to_string(POOL).unwrap_or_default();
    if before.is_empty() || fs::write(POOL, "8").is_err() {
        return skip("no huge pages to be had");
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 4 * MIB}]);
    container.args(&["probe", "seq", "--", "huge", "4194304", "--", "huge", "8388608"]);
    let output = container.run();
    fs::write(POOL, before.trim()).expect("as before");
    assert_eq!(output.stdout, "ok\nENOMEM\n", "{output:?}");
}

/// net_cls and net_prio are seldom mounted: here in a mount namespace of the test's own.
#[test]
fn network_class_and_priorities() {
    if !require_root() || beyond_runc("it finds hierarchies by their usual place") {
        return;
    }
    let mut container = Container::new();
    let network = json!({"classID": 1_048_577, "priorities": [{"name": "lo", "priority": 5}]});
    container.config["linux"]["resources"]["network"] = network;
    if !Groups::of("self").is_v1("net_cls") {
        container
            .run()
            .fails_with("linux.resources.network.classID: the net_cls cgroup controller is needed");
        container.assert_clean();
    }
    if Groups::of("self").is_v1("net_cls") {
        let container = waiting(json!({"network": {"classID": 1_048_577}}));
        return expect(&container, &[("net_cls", "net_cls.classid", "", "1048577", "")]);
    }
    if on_v2_alone() {
        return;
    }
    let place = container.host_directory("net");
    container.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
    container.args(&[
        "probe",
        "cat",
        "/sys/fs/cgroup/net/net_cls.classid",
        "/sys/fs/cgroup/net/net_prio.ifpriomap",
    ]);
    let mount = format!("mount -t cgroup -o net_cls,net_prio none {place}");
    let script = format!("{mount} && exec \"$@\"");
    let bundle = container.directory().to_string_lossy().into_owned();
    let by = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    let lines = container.runtime_by(&by, &["run", "--bundle", &bundle, &container.id]).lines();
    // A hierarchy that still had a dying group when its last mount went outlives that; another one's end takes it along.
    let known = || fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains("net_cls"));
    // On a busy machine that takes a while, and to mount it often does not make it shorter.
    let gone = (0..600).any(|_| {
        let script = format!("{mount} && umount {place}");
        let mut again = Command::new("unshare");
        again.args(["--mount", "sh", "-c", &script]);
        !known() || (again.status().is_ok_and(|status| status.success()) && !known()) || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
    });
    assert!(gone, "the hierarchy of net_cls and net_prio stays mounted");
    assert_eq!(lines[0], "1048577", "{lines:?}");
    assert!(lines.contains(&"lo 5".to_owned()), "{lines:?}");
}

/// "Configuration unknown to the runtime MUST still be written to the relevant file."
#[test]
fn unified_files_are_written() {
    if !require_cgroups() || beyond_runc("version 2 beside version 1") {
        return;
    }
    let own = Groups::of("self");
    if !own.0.contains_key("") {
        let mut container = Container::new();
        container.config["linux"]["resources"]["unified"] = json!({"cgroup.max.depth": "3"});
        return container.run().fails_with("linux.resources.unified[\"cgroup.max.depth\"]: ");
    }
    let mut unified = json!({"cgroup.max.descendants": "5", "cgroup.max.depth": "3"});
    if on_v2_alone() {
        unified["memory.high"] = json!("104857600");
        unified["pids.max"] = json!("33");
    }
    let container = waiting(json!({"unified": unified}));
    let groups = Groups::of_container(&container);
    for (file, value) in unified.as_object().into_iter().flatten() {
        assert_eq!(groups.read("none", "", file).as_deref(), value.as_str(), "{file}");
    }
}

/// "The runtime MUST generate an error when the configuration refers to a cgroup controller that is not present"
#[test]
fn a_unified_file_of_an_unknown_controller_is_refused() {
    if !require_cgroups() || !Groups::of("self").0.contains_key("") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["unified"] = json!({"nonsense.max": "1"});
    container.run().fails_with("nonsense");
    container.assert_clean();
}

/// Every bad value gives one error that names it, and leaves nothing.
#[test]
fn bad_values_are_refused_by_name() {
    if !require_cgroups() || beyond_runc("its own words") {
        return;
    }
    for (resources, words) in [
        (json!({"memory": {"limit": -2}}), "linux.resources.memory.limit: -2 is less"),
        (json!({"memory": {"limit": 4096, "swap": 1024}}), "linux.resources.memory.swap: 1024 is memory"),
        (json!({"cpu": {"quota": 10}}), "linux.resources.cpu.quota: 10 is less"),
        (json!({"cpu": {"period": 2_000_000}}), "linux.resources.cpu.period: 2000000 is not"),
        (json!({"cpu": {"cpus": "900"}}), "linux.resources.cpu.cpus: write \"900\" to /"),
        (json!({"cpu": {"cpus": "x"}}), "linux.resources.cpu.cpus: \"x\" is not"),
        (json!({"pids": {"limit": -7}}), "linux.resources.pids.limit: -7 is less"),
        (json!({"blockIO": {"weight": 5}}), "linux.resources.blockIO.weight: 5 is not"),
        (json!({"blockIO": {"leafWeight": 50}}), "linux.resources.blockIO.leafWeight: leaf weights"),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 9, "rate": 1}]}}),
            "linux.resources.blockIO.throttleReadBpsDevice[0]: write \"4000:9 ",
        ),
        (json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}), "linux.resources.hugepageLimits[0]: "),
        (json!({"unified": {"../memory.max": "1"}}), "linux.resources.unified[\"../memory.max\"]: "),
        (json!({"unified": {"cgroup.kill": "1"}}), "linux.resources.unified[\"cgroup.kill\"]: "),
        (json!({"rdma": {"no0": {"hcaObjects": 1}}}), "linux.resources.rdma.no0: "),
    ] {
        let mut container = Container::new();
        container.config["linux"]["resources"] = resources.clone();
        let output = container.run().fails();
        let said = output.stderr.replace("\\\"", "\"");
        assert!(said.contains(words), "{resources}: {said}");
        assert_eq!(said.lines().filter(|line| line.contains("level=error")).count(), 1, "{said}");
        container.assert_clean();
    }
}

/// All of them at once.
#[test]
fn bad_values_are_refused_together() {
    if !require_cgroups() || beyond_runc("one at a time") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"] = json!({"memory": {"limit": -2}, "pids": {"limit": -2}});
    let output = container.run().fails();
    assert!(output.stderr.contains("2 faults"), "{output:?}");
}

/// A memory limit too low for the set-up is told as what it is.
#[test]
fn a_memory_limit_that_nothing_fits_in() {
    if !require_cgroups() || !require_controller("memory") || beyond_runc("its own words") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["memory"] = json!({"limit": 4096});
    let said = container.run().fails().stderr;
    let refused = said.contains("linux.resources.memory.limit: write") && said.contains("bytes are in use");
    assert!(refused || said.contains("memory limit too low?"), "{said}");
    container.assert_clean();
}

/// An ordinary user without a cgroup of his own runs containers; limits he is refused, by name.
#[test]
fn without_delegation_limits_are_refused() {
    if !require_root() || beyond_runc("it ignores them") {
        return;
    }
    let mut container = Container::as_user(conformance::harness::NOBODY);
    let output = container.run();
    assert!(output.stderr.contains("no permission to make a cgroup"), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "once: {output:?}");
    output.ok();
    container.config["linux"]["resources"] = json!({"pids": {"limit": 5}, "memory": {"limit": 64 * MIB}});
    let said = container.run().fails().stderr;
    assert!(said.contains("linux.resources.memory.limit: the memory cgroup controller is needed"), "{said}");
    container.assert_clean();
}

/// config-linux.md, "Cgroup ownership".
#[test]
fn the_group_is_given_to_the_containers_user() {
    if !require_root() || beyond_runc("not held to it here") {
        return;
    }
    let mut container = Container::new();
    container.namespace("user", None).namespace("cgroup", None);
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    container.config["linux"]["uidMappings"] = map.clone();
    container.config["linux"]["gidMappings"] = map;
    container.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid"]);
    container.launch_trap(&["TERM"]);
    let groups = Groups::of_container(&container);
    let given = fs::read_to_string("/sys/kernel/cgroup/delegate").expect("Linux 4.15");
    for group in groups.0.values() {
        for entry in fs::read_dir(group).expect("a cgroup").flatten() {
            let owner = std::os::unix::fs::MetadataExt::uid(&entry.metadata().expect("a file"));
            let name = entry.file_name().to_string_lossy().into_owned();
            let theirs = on_v2_alone() && given.lines().any(|line| line == name);
            assert_eq!(owner, if theirs { 200_000 } else { 0 }, "{}", entry.path().display());
        }
    }
}

/// The values of files that settings end in, of every group of a container.
fn settings(groups: &Groups) -> BTreeMap<String, String> {
    const COUNTS: [&str; 22] = [
        "procs",
        "tasks",
        "stat",
        "usage",
        "current",
        "events",
        "failcnt",
        "peak",
        "pressure",
        "effective",
        "recursive",
        "threads",
        "slabinfo",
        "io_serviced",
        "io_service_bytes",
        "kill",
        "reset_stats",
        "force_empty",
        "event_control",
        "pressure_level",
        "process_api",
        "local",
    ];
    let mut found = BTreeMap::new();
    for (controller, group) in &groups.0 {
        for entry in fs::read_dir(group).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if COUNTS.iter().any(|count| name.contains(count)) {
                continue;
            }
            // A kernel may refuse to have a file read, as it may in the other container.
            let value = fs::read_to_string(entry.path()).unwrap_or_else(|error| error.to_string());
            found.insert(format!("{controller}/{name}"), value);
        }
    }
    found
}

/// File by file, a container of runc's and one of ours have the same values.
#[test]
fn every_file_as_runc_writes_it() {
    if !require_root() || !require_program("runc") || beyond_runc("it would be compared with itself") {
        return;
    }
    if on_v2_alone() {
        return skip("runc before 1.3.2 converts shares to another weight");
    }
    let mut container = Container::new();
    let device = |rate: u64| json!([{"major": 254, "minor": 0, "rate": rate}]);
    let throttles = disk().map(|_| json!({"throttleReadBpsDevice": device(1 << 20)}));
    container.config["linux"]["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB, "swappiness": 20,
            "disableOOMKiller": false},
        "cpu": {"shares": 300, "quota": 30_000, "period": 90_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 44},
        "blockIO": throttles.unwrap_or_else(|| json!({})),
    });
    container.launch_trap(&["TERM"]);
    let ours = settings(&Groups::of_container(&container));
    let state = container.host_directory("runc");
    let id = format!("{}-runc", container.id);
    let bundle = container.directory().to_string_lossy().into_owned();
    let runc = |words: &[&str]| {
        let mut command = Command::new("runc");
        command.args(["--root", &state]).args(words).stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null()).status().expect("runc can be executed").success()
    };
    assert!(runc(&["create", "--bundle", &bundle, &id]), "runc create");
    let pid = fs::read_to_string(Path::new(&state).join(&id).join("state.json")).expect("runc's state");
    let pid: Value = serde_json::from_str(&pid).expect("JSON");
    let theirs = settings(&Groups::of(&pid["init_process_pid"].to_string()));
    assert!(runc(&["delete", "--force", &id]), "runc delete");
    // runc's lists of devices name more of its own, and the group is in another order: devices have tests of their own.
    let differ: Vec<_> = ours
        .iter()
        .filter(|(file, value)| {
            !file.starts_with("devices/") && theirs.get(*file).is_some_and(|v| v != *value)
        })
        .map(|(file, value)| format!("{file}: {value:?}, runc {:?}", theirs[file]))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(ours.len() > 40, "{}", ours.len());
}
