//! config-linux.md, "Control groups": where the container's groups are, and what stands in them.

use conformance::harness::Groups;
use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::{Trial, skip};

/// Sets `linux.resources` and says what a file of the group has then.
fn value(t: &mut Trial, resources: &Value, controller: &str, v1: &str, v2: &str) -> String {
    for (name, value) in resources.as_object().cloned().unwrap_or_default() {
        t.set(&format!("/linux/resources/{name}"), value);
    }
    t.group_says(controller, v1, v2)
}

fn memory_limit(t: &mut Trial) {
    let found = value(
        t,
        &json!({ "memory": { "limit": 64 << 20 } }),
        "memory",
        "memory.limit_in_bytes",
        "memory.max",
    );
    assert_eq!(found, (64 << 20).to_string());
}

fn memory_unlimited(t: &mut Trial) {
    let found =
        value(t, &json!({ "memory": { "limit": -1 } }), "memory", "memory.limit_in_bytes", "memory.max");
    let without = found == "max" || found.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60);
    assert!(without, "{found}");
}

fn memory_reservation(t: &mut Trial) {
    let found = value(
        t,
        &json!({ "memory": { "reservation": 32 << 20 } }),
        "memory",
        "memory.soft_limit_in_bytes",
        "memory.low",
    );
    assert_eq!(found, (32 << 20).to_string());
}

/// On version 2 the file counts swap alone, on version 1 both.
fn memory_swap(t: &mut Trial) {
    let resources = json!({ "memory": { "limit": 64 << 20, "swap": 96 << 20 } });
    let found = value(t, &resources, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    assert!([(96 << 20).to_string(), (32 << 20).to_string()].contains(&found), "{found}");
}

fn memory_swappiness(t: &mut Trial) {
    let found = value(
        t,
        &json!({ "memory": { "swappiness": 17 } }),
        "memory",
        "memory.swappiness",
        "memory.swappiness",
    );
    assert_eq!(found, "17");
}

fn memory_swappiness_beyond(t: &mut Trial) {
    t.set("/linux/resources/memory", json!({ "swappiness": 101 }));
    t.refused();
}

fn memory_oom_killer(t: &mut Trial) {
    let found =
        value(t, &json!({ "memory": { "disableOOMKiller": true } }), "memory", "memory.oom_control", "none");
    assert!(found.contains("oom_kill_disable 1"), "{found}");
}

fn cpu_shares(t: &mut Trial) {
    let found = value(t, &json!({ "cpu": { "shares": 2048 } }), "cpu", "cpu.shares", "cpu.weight");
    // The conversion to version 2 is not the specification's: more than the default is all that is sure.
    assert!(
        found == "2048" || found.parse::<u64>().is_ok_and(|weight| weight > 0 && weight != 2048),
        "{found}"
    );
}

fn cpu_quota(t: &mut Trial) {
    let resources = json!({ "cpu": { "quota": 40_000, "period": 80_000 } });
    let found = value(t, &resources, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(found == "40000" || found == "40000 80000", "{found}");
}

fn cpu_period(t: &mut Trial) {
    let resources = json!({ "cpu": { "quota": 40_000, "period": 80_000 } });
    let found = value(t, &resources, "cpu", "cpu.cfs_period_us", "cpu.max");
    assert!(found == "80000" || found == "40000 80000", "{found}");
}

fn cpu_burst(t: &mut Trial) {
    let resources = json!({ "cpu": { "quota": 40_000, "period": 80_000, "burst": 20_000 } });
    assert_eq!(value(t, &resources, "cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "20000");
}

fn cpu_idle(t: &mut Trial) {
    assert_eq!(value(t, &json!({ "cpu": { "idle": 1 } }), "cpu", "cpu.idle", "cpu.idle"), "1");
}

fn cpu_cpus(t: &mut Trial) {
    assert_eq!(value(t, &json!({ "cpu": { "cpus": "0" } }), "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
}

fn cpu_mems(t: &mut Trial) {
    assert_eq!(value(t, &json!({ "cpu": { "mems": "0" } }), "cpuset", "cpuset.mems", "cpuset.mems"), "0");
}

fn cpu_cpus_missing(t: &mut Trial) {
    t.set("/linux/resources/cpu", json!({ "cpus": "4000" }));
    t.refused();
}

fn pids_limit(t: &mut Trial) {
    assert_eq!(value(t, &json!({ "pids": { "limit": 42 } }), "pids", "pids.max", "pids.max"), "42");
}

fn pids_unlimited(t: &mut Trial) {
    assert_eq!(value(t, &json!({ "pids": { "limit": -1 } }), "pids", "pids.max", "pids.max"), "max");
}

fn pids_zero(t: &mut Trial) {
    t.set("/linux/resources/pids", json!({ "limit": 0 }));
    let said = t.says(&["bomb", "3"]);
    assert_eq!(said, "0 EAGAIN", "children that the program could make");
}

fn blkio_weight(t: &mut Trial) {
    let found =
        value(t, &json!({ "blockIO": { "weight": 300 } }), "blkio", "blkio.bfq.weight", "io.bfq.weight");
    assert!(found.contains("300"), "{found}");
}

/// The device below the root file system's.
fn disk() -> (u64, u64) {
    let found = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    found.unwrap_or_else(|| skip("needs a disk"))
}

fn blkio_throttle(t: &mut Trial) {
    let (major, minor) = disk();
    let (property, v1, field) = match t.word() {
        "rbps" => ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
        "wbps" => ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
        "riops" => ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
        _ => ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
    };
    let resources =
        json!({ "blockIO": { property: [{ "major": major, "minor": minor, "rate": 1_048_576 }] } });
    let controller = if Groups::of("self").is_v1("blkio") { "blkio" } else { "io" };
    let found = value(t, &resources, controller, v1, "io.max");
    let place = format!("{major}:{minor}");
    assert!(found == format!("{place} 1048576") || found.contains(&format!("{field}=1048576")), "{found}");
}

fn huge_pages(t: &mut Trial) {
    let resources = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] });
    let found = value(t, &resources, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max");
    let reserved = value(t, &json!({}), "hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max");
    assert!([found, reserved].contains(&(4 << 20).to_string()), "neither usage nor reservations are limited");
}

fn huge_pages_unknown(t: &mut Trial) {
    t.set("/linux/resources/hugepageLimits", json!([{ "pageSize": "3MB", "limit": 4 << 20 }]));
    t.refused();
}

fn network_class(t: &mut Trial) {
    let found =
        value(t, &json!({ "network": { "classID": 1_048_577 } }), "net_cls", "net_cls.classid", "none");
    assert_eq!(found, "1048577");
}

fn network_priorities(t: &mut Trial) {
    let resources = json!({ "network": { "priorities": [{ "name": "lo", "priority": 5 }] } });
    let found = value(t, &resources, "net_prio", "net_prio.ifpriomap", "none");
    assert!(found.lines().any(|line| line == "lo 5"), "{found}");
}

fn unified(t: &mut Trial) {
    t.set("/linux/resources/unified", json!({ "pids.max": "77" }));
    assert_eq!(t.group_says("", "none", "pids.max"), "77");
}

fn unified_unknown_file(t: &mut Trial) {
    t.set("/linux/resources/unified", json!({ "cgroup.max.depth": "7" }));
    assert_eq!(t.group_says("", "none", "cgroup.max.depth"), "7");
}

fn unified_missing_controller(t: &mut Trial) {
    t.set("/linux/resources/unified", json!({ "nonsense.max": "1" }));
    t.refused();
}

/// Nodes of devices that the kernel does not have: who may open one is told so (ENXIO), who may not gets EPERM.
fn rules(t: &mut Trial, rules: &Value) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    t.set("/linux/resources/devices", rules.clone());
    for (name, kind, major, minor) in [
        ("c60:1", SFlag::S_IFCHR, 60, 1),
        ("c60:2", SFlag::S_IFCHR, 60, 2),
        ("c61:1", SFlag::S_IFCHR, 61, 1),
        ("b60:1", SFlag::S_IFBLK, 60, 1),
    ] {
        let node = t.rootfs("etc").join(name);
        if !node.exists() {
            mknod(&node, kind, Mode::from_bits_truncate(0o666), makedev(major, minor)).expect("root may");
        }
    }
}

fn opens(t: &mut Trial, name: &str) -> bool {
    t.says(&["open-rw", &format!("/etc/{name}")]) != "EPERM"
}

fn deny() -> Value {
    json!({ "allow": false, "access": "rwm" })
}

fn allow() -> Value {
    json!({ "allow": true, "type": "c", "major": 60, "minor": 1, "access": "rw" })
}

fn device_rules_order(t: &mut Trial) {
    rules(t, &json!([deny(), allow()]));
    assert!(opens(t, "c60:1"), "denied, then allowed");
    rules(t, &json!([allow(), deny()]));
    assert!(!opens(t, "c60:1"), "allowed, then denied");
}

fn device_rules_deny(t: &mut Trial) {
    rules(t, &json!([deny()]));
    assert!(!opens(t, "c60:1") && !opens(t, "b60:1"));
    rules(t, &json!([{ "allow": true, "access": "rwm" }]));
    assert!(opens(t, "c60:1") && opens(t, "b60:1"));
}

fn device_rules_numbers(t: &mut Trial) {
    rules(t, &json!([deny(), { "allow": true, "type": "c", "major": 60, "access": "rw" }]));
    assert!(opens(t, "c60:1") && opens(t, "c60:2"), "a minor that is not set means all");
    assert!(!opens(t, "c61:1"), "another major");
    assert!(!opens(t, "b60:1"), "another type");
}

fn device_rules_access(t: &mut Trial) {
    let mut reads = allow();
    reads["access"] = json!("r");
    rules(t, &json!([deny(), reads]));
    assert!(!opens(t, "c60:1"), "for writing, where reading alone is allowed");
    assert_ne!(t.says(&["cat", "/etc/c60:1"]), "EPERM", "for reading");
}

fn absolute_path(t: &mut Trial) {
    let path = format!("/suite-{}", t.id);
    t.set("/linux/cgroupsPath", json!(path));
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).expect("a process");
    let found = text.lines().any(|line| line.ends_with(&path) && !line.contains("name="));
    assert!(found, "in none of: {text}");
    let created = Groups::of(&t.pid().to_string());
    assert!(created.0.values().any(|group| group.ends_with(&path[1..]) && group.exists()), "{created:?}");
}

fn same_path(t: &mut Trial) {
    let path = format!("/suite-{}", t.id);
    let lines = |t: &mut Trial| {
        t.set("/linux/cgroupsPath", json!(path));
        let report = t.inside();
        report["cgroup"].clone()
    };
    let first = lines(t);
    assert_eq!(lines(t), first);
}

fn relative_path(t: &mut Trial) {
    let name = format!("suite-{}", t.id);
    t.set("/linux/cgroupsPath", json!(name));
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", t.pid())).expect("a process");
    assert!(text.contains(&name), "{text}");
}

fn ownership(t: &mut Trial) {
    t.set("/linux/resources/pids", json!({ "limit": 42 }));
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    t.args(&["probe", "sleep", "60"]);
    t.create().ok();
    for group in Groups::of(&t.pid().to_string()).0.values() {
        let meta = std::fs::metadata(group).expect("a group");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 0, "{}", group.display());
    }
}

const MEMORY: &str = "config-linux.md#memory";
const CPU: &str = "config-linux.md#cpu";
const PIDS: &str = "config-linux.md#pids";
const BLOCK: &str = "config-linux.md#block-io";
const HUGE: &str = "config-linux.md#huge-page-limits";
const NETWORK: &str = "config-linux.md#network";
const UNIFIED: &str = "config-linux.md#unified";
const DEVICES: &str = "config-linux.md#allowed-device-list";
const PATH: &str = "config-linux.md#cgroups-path";
const OWNERSHIP: &str = "config-linux.md#cgroup-ownership";
const VALID: &str = "config.md#valid-values";

const MEM: &[Need] = &[Need::Root, Need::Controller("memory")];
const CPUS: &[Need] = &[Need::Root, Need::Controller("cpu")];
const SETS: &[Need] = &[Need::Root, Need::Controller("cpuset")];
const TASKS: &[Need] = &[Need::Root, Need::Controller("pids")];
const DISKS: &[Need] = &[Need::Root, Need::File("/sys/block")];
const V2: &[Need] = &[Need::Root, Need::Unified];
const ROOT: &[Need] = &[Need::Root];

pub const CASES: &[Case] = &[
    must(MEMORY, "memory-limit", "limit is the limit of the group's memory", memory_limit).needs(MEM),
    must(MEMORY, "memory-unlimited", "-1 means no limit", memory_unlimited).needs(MEM),
    must(MEMORY, "memory-reservation", "reservation is the soft limit", memory_reservation).needs(MEM),
    must(MEMORY, "memory-swap", "swap is the limit of memory and swap", memory_swap).needs(MEM),
    must(MEMORY, "memory-swappiness", "swappiness is the group's", memory_swappiness)
        .needs(&[Need::Root, Need::ControllerV1("memory")]),
    must(VALID, "memory-swappiness-beyond", "swappiness above 100 is an error", memory_swappiness_beyond)
        .needs(MEM),
    must(MEMORY, "memory-oom-killer", "disableOOMKiller disables it", memory_oom_killer)
        .needs(&[Need::Root, Need::ControllerV1("memory")]),
    must(CPU, "cpu-shares", "shares is the relative share of CPU time", cpu_shares).needs(CPUS),
    must(CPU, "cpu-quota", "quota is the time in one period", cpu_quota).needs(CPUS),
    must(CPU, "cpu-period", "period is its length", cpu_period).needs(CPUS),
    must(CPU, "cpu-burst", "burst is the time that can be accumulated", cpu_burst).needs(CPUS),
    must(CPU, "cpu-idle", "idle makes the group SCHED_IDLE", cpu_idle).needs(CPUS),
    must(CPU, "cpu-cpus", "cpus is the list of CPUs", cpu_cpus).needs(SETS),
    must(CPU, "cpu-mems", "mems is the list of memory nodes", cpu_mems).needs(SETS),
    must(VALID, "cpu-cpus-missing", "a CPU that is not there is an error", cpu_cpus_missing).needs(SETS),
    must(PIDS, "pids-limit", "limit is the number of tasks", pids_limit).needs(TASKS),
    must(PIDS, "pids-unlimited", "-1 means no limit", pids_unlimited).needs(TASKS),
    should(PIDS, "pids-zero", "0 is a limit like any other", pids_zero).needs(TASKS),
    must(BLOCK, "block-weight", "weight is the group's", blkio_weight)
        .needs(&[Need::Root, Need::ControllerV1("blkio")]),
    must(BLOCK, "block-throttle-rbps", "bytes read in a second are limited", blkio_throttle).needs(DISKS),
    must(BLOCK, "block-throttle-wbps", "bytes written in a second are limited", blkio_throttle).needs(DISKS),
    must(BLOCK, "block-throttle-riops", "reads in a second are limited", blkio_throttle).needs(DISKS),
    must(BLOCK, "block-throttle-wiops", "writes in a second are limited", blkio_throttle).needs(DISKS),
    must(HUGE, "huge-pages", "reservations, or else usage, are limited", huge_pages)
        .needs(&[Need::Root, Need::Controller("hugetlb")]),
    must(
        VALID,
        "huge-pages-unknown",
        "a page size that the kernel does not have is an error",
        huge_pages_unknown,
    )
    .needs(&[Need::Root, Need::Controller("hugetlb")]),
    must(NETWORK, "network-class", "classID is the group's", network_class)
        .needs(&[Need::Root, Need::ControllerV1("net_cls")]),
    must(NETWORK, "network-priorities", "priorities are the group's", network_priorities)
        .needs(&[Need::Root, Need::ControllerV1("net_prio")]),
    must(UNIFIED, "unified", "a key is a file of the group, its value what is written there", unified)
        .needs(V2),
    must(
        UNIFIED,
        "unified-unknown-file",
        "a file that the runtime does not know is written, too",
        unified_unknown_file,
    )
    .needs(V2),
    must(
        UNIFIED,
        "unified-missing-controller",
        "a controller that is not there is an error",
        unified_missing_controller,
    )
    .needs(V2),
    must(DEVICES, "device-rules-order", "rules are applied in the listed order", device_rules_order)
        .needs(ROOT),
    must(DEVICES, "device-rules-deny", "a rule without type and numbers is for all", device_rules_deny)
        .needs(ROOT),
    must(
        DEVICES,
        "device-rules-numbers",
        "type and major are matched; a minor that is not set means all",
        device_rules_numbers,
    )
    .needs(ROOT),
    must(DEVICES, "device-rules-access", "access is what is allowed", device_rules_access).needs(ROOT),
    must(
        PATH,
        "cgroups-path-absolute",
        "an absolute path is below the hierarchy's mount point, and made",
        absolute_path,
    )
    .needs(TASKS),
    must(PATH, "cgroups-path-same", "the same path is the same place", same_path).needs(TASKS),
    must(
        PATH,
        "cgroups-path-relative",
        "a relative path names a place that the runtime determines",
        relative_path,
    )
    .needs(TASKS),
    should(
        OWNERSHIP,
        "cgroup-ownership",
        "without a cgroup namespace and a writable cgroup mount the owner is not changed",
        ownership,
    )
    .needs(TASKS),
];
