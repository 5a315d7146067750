//! What each property becomes, on version 1, on version 2, and where both are mounted.

use super::*;
use crate::cgroup::{HierarchyMount, Layout, OwnCgroups, V1Hierarchy, place};

fn mount(point: &str) -> HierarchyMount {
    HierarchyMount { mount_point: point.into(), root: "/".into() }
}

fn v1(labels: &[&str]) -> Vec<V1Hierarchy> {
    let hierarchy =
        |label: &&str| V1Hierarchy { label: (*label).to_owned(), mount: mount(&format!("/c/{label}")) };
    labels.iter().map(hierarchy).collect()
}

const ALL: [&str; 8] =
    ["cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "net_cls,net_prio", "rdma"];

fn compiled(layout: &Layout, resources: &str) -> Result<Limits, Vec<Fault>> {
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    let placement = place(layout, &OwnCgroups::default(), Some("/x"), "id", false).unwrap();
    compile_limits(&resources, &BTreeMap::new(), &placement)
}

/// `2` before the name of a file of version 2, `;` between values that go together.
fn words(limits: &Limits) -> Vec<String> {
    let word = |w: &LimitWrite| format!("{}{}={}", if w.unified { "2" } else { "" }, w.file, w.value);
    let words = |limit: &Limit| limit.writes.iter().map(word).collect::<Vec<_>>().join(";");
    limits.limits.iter().map(words).collect()
}

#[track_caller]
fn writes(layout: &Layout, resources: &str, expected: &[&str]) {
    assert_eq!(words(&compiled(layout, resources).unwrap()), expected, "{resources}");
}

#[track_caller]
fn refused(layout: &Layout, resources: &str, expected: &[&str]) {
    let faults: Vec<String> =
        compiled(layout, resources).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(faults, expected, "{resources}");
}

fn on_v1() -> Layout {
    Layout::V1(v1(&ALL))
}

fn on_v2() -> Layout {
    Layout::V2(mount("/c"))
}

#[test]
fn memory_on_version_1() {
    let on = |memory: &str, expected: &[&str]| {
        writes(&on_v1(), &format!(r#"{{"memory":{{{memory}}}}}"#), expected);
    };
    on(r#""limit":5"#, &["memory.limit_in_bytes=5"]);
    on(r#""limit":5,"swap":9"#, &["memory.limit_in_bytes=5;memory.memsw.limit_in_bytes=9"]);
    on(r#""limit":-1"#, &["memory.limit_in_bytes=-1;memory.memsw.limit_in_bytes=-1"]);
    on(r#""limit":5,"swap":-1"#, &["memory.limit_in_bytes=5;memory.memsw.limit_in_bytes=-1"]);
    on(r#""limit":0,"swap":0,"reservation":0"#, &[]);
    on(r#""kernel":-1,"kernelTCP":-1"#, &[]);
    on(r#""kernel":7,"kernelTCP":8"#, &["memory.kmem.limit_in_bytes=7", "memory.kmem.tcp.limit_in_bytes=8"]);
    on(
        r#""reservation":3,"swappiness":0,"disableOOMKiller":true,"useHierarchy":true"#,
        &[
            "memory.soft_limit_in_bytes=3",
            "memory.swappiness=0",
            "memory.oom_control=1",
            "memory.use_hierarchy=1",
        ],
    );
    on(r#""disableOOMKiller":false,"checkBeforeUpdate":true"#, &["memory.oom_control=0"]);
}

#[test]
fn memory_on_version_2() {
    let on = |memory: &str, expected: &[&str]| {
        writes(&on_v2(), &format!(r#"{{"memory":{{{memory}}}}}"#), expected);
    };
    on(r#""limit":5"#, &["2memory.max=5"]);
    on(r#""limit":5,"swap":9"#, &["2memory.swap.max=4;2memory.max=5"]);
    on(r#""limit":5,"swap":5"#, &["2memory.swap.max=0;2memory.max=5"]);
    on(r#""limit":5,"swap":-1"#, &["2memory.swap.max=max;2memory.max=5"]);
    on(r#""limit":-1"#, &["2memory.swap.max=max;2memory.max=max"]);
    on(r#""reservation":3,"disableOOMKiller":false,"useHierarchy":true,"kernel":-1"#, &["2memory.low=3"]);
    refused(
        &on_v2(),
        r#"{"memory":{"swap":9,"kernel":1,"kernelTCP":0,"swappiness":0,"disableOOMKiller":true,"useHierarchy":false}}"#,
        &[
            "linux.resources.memory.swap: 9 is memory and swap together, and without a memory limit version 2 cannot be told how much of it is swap",
            "linux.resources.memory.kernel: cgroup version 2 counts the kernel's memory with the rest, and has no limit for it",
            "linux.resources.memory.kernelTCP: cgroup version 2 counts the buffers of TCP with the rest, and has no limit for them",
            "linux.resources.memory.swappiness: cgroup version 2 has no swappiness of a group",
            "linux.resources.memory.disableOOMKiller: cgroup version 2 cannot do without the OOM killer",
            "linux.resources.memory.useHierarchy: cgroup version 2 is always hierarchical",
        ],
    );
}

#[test]
fn a_memory_limit_that_is_checked_names_what_it_is_compared_with() {
    let memory = r#"{"memory":{"limit":5,"swap":9,"checkBeforeUpdate":true}}"#;
    let limits = compiled(&on_v2(), memory).unwrap();
    let files: Vec<_> = limits.writes().map(|write| write.not_below).collect();
    assert_eq!(files, [Some("memory.swap.current"), Some("memory.current")]);
    assert!(compiled(&on_v1(), memory).unwrap().writes().all(|write| write.not_below.is_none()));
}

#[test]
fn cpu_on_version_1() {
    let on = |cpu: &str, expected: &[&str]| writes(&on_v1(), &format!(r#"{{"cpu":{{{cpu}}}}}"#), expected);
    on(
        r#""shares":512,"quota":50000,"period":100000,"burst":7"#,
        &["cpu.shares=512", "cpu.cfs_period_us=100000;cpu.cfs_quota_us=50000;cpu.cfs_burst_us=7"],
    );
    on(r#""quota":-1"#, &["cpu.cfs_quota_us=-1"]);
    on(r#""quota":0,"period":0,"shares":0,"cpus":"""#, &[]);
    on(r#""burst":0"#, &["cpu.cfs_burst_us=0"]);
    on(
        r#""realtimeRuntime":1,"realtimePeriod":2,"cpus":"0-1","mems":"0""#,
        &["cpuset.cpus=0-1", "cpuset.mems=0", "cpu.rt_period_us=2;cpu.rt_runtime_us=1"],
    );
    on(r#""idle":0,"shares":2"#, &["cpu.idle=0", "cpu.shares=2"]);
    for shares in ["1", "262145"] {
        let message = format!("linux.resources.cpu.shares: {shares} is not between 2 and 262144");
        refused(&on_v1(), &format!(r#"{{"cpu":{{"shares":{shares}}}}}"#), &[&message]);
    }
}

#[test]
fn cpu_on_version_2() {
    let on = |cpu: &str, expected: &[&str]| writes(&on_v2(), &format!(r#"{{"cpu":{{{cpu}}}}}"#), expected);
    on(
        r#""shares":1024,"quota":50000,"burst":7"#,
        &["2cpu.weight=100", "2cpu.max=50000 100000;2cpu.max.burst=7"],
    );
    on(r#""quota":-1,"period":5000"#, &["2cpu.max=max 5000"]);
    on(r#""period":5000"#, &["2cpu.max=max 5000"]);
    on(r#""cpus":"1","mems":"0","idle":1"#, &["2cpuset.cpus=1", "2cpuset.mems=0", "2cpu.idle=1"]);
    refused(
        &on_v2(),
        r#"{"cpu":{"realtimeRuntime":1,"realtimePeriod":2}}"#,
        &[
            "linux.resources.cpu.realtimePeriod: cgroup version 2 has no budget of real time",
            "linux.resources.cpu.realtimeRuntime: cgroup version 2 has no budget of real time",
        ],
    );
}

#[test]
fn an_idle_group_has_no_other_weight() {
    for layout in [on_v1(), on_v2()] {
        let limits = compiled(&layout, r#"{"cpu":{"idle":1,"shares":9}}"#).unwrap();
        assert_eq!(limits.writes().map(|w| w.file.as_str()).collect::<Vec<_>>(), ["cpu.idle"]);
        assert_eq!(limits.warnings[0].path, "linux.resources.cpu.shares");
    }
}

#[test]
fn what_must_be_set_before_the_process_comes() {
    let all = r#"{"cpu":{"shares":9,"cpus":"0","realtimeRuntime":1},"pids":{"limit":5},"unified":{}}"#;
    let limits = compiled(&on_v1(), all).unwrap();
    let before = |limit: &&Limit| limit.before_process;
    let files: Vec<_> = limits.limits.iter().filter(before).map(|l| l.writes[0].file.as_str()).collect();
    assert_eq!(files, ["cpuset.cpus", "cpu.rt_runtime_us"]);
}

#[test]
fn pids() {
    for (limit, value) in [("-1", "max"), ("0", "1"), ("1", "1"), ("77", "77")] {
        let resources = format!(r#"{{"pids":{{"limit":{limit}}}}}"#);
        writes(&on_v1(), &resources, &[&format!("pids.max={value}")]);
        writes(&on_v2(), &resources, &[&format!("2pids.max={value}")]);
    }
}

#[test]
fn block_io() {
    let weights = r#"{"blockIO":{"weight":100,"weightDevice":[{"major":8,"minor":0,"weight":1000}]}}"#;
    writes(&on_v1(), weights, &["blkio.bfq.weight=100", "blkio.bfq.weight_device=8:0 1000"]);
    writes(&on_v2(), weights, &["2io.bfq.weight=100", "2io.bfq.weight=8:0 1000"]);
    let instead = |layout: &Layout| -> Vec<Missing> {
        compiled(layout, weights).unwrap().writes().map(|w| w.missing.clone()).collect()
    };
    let file = |file: &str, value: &str| Missing::Instead { file: file.into(), value: value.into() };
    assert_eq!(instead(&on_v1()), [file("blkio.weight", "100"), file("blkio.weight_device", "8:0 1000")]);
    assert_eq!(instead(&on_v2()), [file("io.weight", "910"), file("io.weight", "8:0 10000")]);
    let throttles = r#"{"blockIO":{"weight":0,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
        "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
        "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3},{"major":8,"minor":16,"rate":4}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":18446744073709551615}]}}"#;
    writes(
        &on_v1(),
        throttles,
        &[
            "blkio.throttle.read_bps_device=8:0 1",
            "blkio.throttle.write_bps_device=8:0 0",
            "blkio.throttle.read_iops_device=8:0 3",
            "blkio.throttle.read_iops_device=8:16 4",
            "blkio.throttle.write_iops_device=8:0 18446744073709551615",
        ],
    );
    writes(
        &on_v2(),
        throttles,
        &[
            "2io.max=8:0 rbps=1",
            "2io.max=8:0 wbps=max",
            "2io.max=8:0 riops=3",
            "2io.max=8:16 riops=4",
            "2io.max=8:0 wiops=18446744073709551615",
        ],
    );
    refused(
        &on_v1(),
        r#"{"blockIO":{"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"leafWeight":20}]}}"#,
        &[
            "linux.resources.blockIO.leafWeight: leaf weights went with the CFQ scheduler: Linux 5.0 and later have none",
            "linux.resources.blockIO.weightDevice[0].leafWeight: leaf weights went with the CFQ scheduler: Linux 5.0 and later have none",
        ],
    );
}

#[test]
fn huge_pages_network_and_rdma() {
    let pages = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4}]}"#;
    writes(&on_v1(), pages, &["hugetlb.2MB.limit_in_bytes=4", "hugetlb.2MB.rsvd.limit_in_bytes=4"]);
    writes(&on_v2(), pages, &["2hugetlb.2MB.max=4", "2hugetlb.2MB.rsvd.max=4"]);
    let network = r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#;
    writes(&on_v1(), network, &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"]);
    refused(
        &on_v2(),
        network,
        &[
            "linux.resources.network.classID: the net_cls cgroup controller is needed, but it exists in version 1 only, and no hierarchy with it is mounted",
            "linux.resources.network.priorities[0]: the net_prio cgroup controller is needed, but it exists in version 1 only, and no hierarchy with it is mounted",
        ],
    );
    writes(&on_v2(), r#"{"network":{"classID":0}}"#, &[]);
    let rdma = r#"{"rdma":{"b":{"hcaObjects":2},"a.1":{"hcaHandles":3,"hcaObjects":4}}}"#;
    writes(&on_v1(), rdma, &["rdma.max=a.1 hca_handle=3 hca_object=4", "rdma.max=b hca_object=2"]);
    writes(&on_v2(), rdma, &["2rdma.max=a.1 hca_handle=3 hca_object=4", "2rdma.max=b hca_object=2"]);
}

#[test]
fn a_limit_that_only_an_unsigned_number_holds() {
    let resources: LinuxResources =
        serde_json::from_str(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9223372036854775807}]}"#)
            .unwrap();
    let placement = place(&on_v2(), &OwnCgroups::default(), Some("/x"), "id", false).unwrap();
    let limits = compile_limits(&resources, &BTreeMap::from([(0, u64::MAX)]), &placement).unwrap();
    assert_eq!(limits.limits[0].writes[0].value, u64::MAX.to_string());
}

#[test]
fn unified_is_written_as_it_is() {
    let unified = r#"{"pids":{"limit":5},"unified":{"memory.high":"7","io.max":"8:0 rbps=1\n8:16 wbps=2\n",
        "cgroup.max.depth":"3","new.file":"x","cpuset.cpus.partition":"root","memory.swap.high":""}}"#;
    writes(
        &on_v2(),
        unified,
        &[
            "2pids.max=5",
            "2cgroup.max.depth=3",
            "2cpuset.cpus.partition=root",
            "2io.max=8:0 rbps=1",
            "2io.max=8:16 wbps=2",
            "2memory.high=7",
            "2memory.swap.high=\n",
            "2new.file=x",
        ],
    );
    refused(
        &on_v1(),
        r#"{"unified":{"memory.high":"7"}}"#,
        &[
            "linux.resources.unified[\"memory.high\"]: a file of cgroup version 2, which this host has not mounted",
        ],
    );
    let dangerous = r#"{"unified":{"cgroup.procs":"1","cgroup.freeze":"1"}}"#;
    assert_eq!(compiled(&on_v2(), dangerous).unwrap_err().len(), 2);
}

#[test]
fn on_a_hybrid_host_each_controller_where_it_is() {
    let layout = Layout::Hybrid { controllers: v1(&["cpu,cpuacct", "memory"]), unified: mount("/c/unified") };
    let all = r#"{"memory":{"limit":5},"cpu":{"shares":9,"cpus":"0"},"pids":{"limit":3},
        "hugepageLimits":[{"pageSize":"1GB","limit":4}],"unified":{"memory.high":"1"}}"#;
    writes(
        &layout,
        all,
        &[
            "2cpuset.cpus=0",
            "cpu.shares=9",
            "memory.limit_in_bytes=5",
            "2pids.max=3",
            "2hugetlb.1GB.max=4",
            "2hugetlb.1GB.rsvd.max=4",
            "2memory.high=1",
        ],
    );
}

#[test]
fn a_controller_that_is_nowhere_is_named() {
    let layout = Layout::V1(v1(&["memory"]));
    refused(
        &layout,
        r#"{"memory":{"limit":5},"cpu":{"quota":5000},"pids":{"limit":3}}"#,
        &[
            "linux.resources.cpu.quota: the cpu cgroup controller is needed, but no hierarchy with it is mounted",
            "linux.resources.pids.limit: the pids cgroup controller is needed, but no hierarchy with it is mounted",
        ],
    );
    writes(&Layout::None, r#"{"memory":{},"cpu":{},"blockIO":{},"network":{},"rdma":{},"unified":{}}"#, &[]);
}

#[test]
fn needs_are_named_once_and_not_for_what_is_so_anyway() {
    let all = r#"{"memory":{"limit":5,"swap":5},"cpu":{"idle":0},"pids":{"limit":3},"unified":{"cgroup.max.depth":"3"}}"#;
    let limits = compiled(&on_v2(), all).unwrap();
    let needs: Vec<_> = limits.needs().iter().map(|n| (n.controller, n.config_path)).collect();
    assert_eq!(
        needs,
        [("memory", "linux.resources.memory.limit"), ("pids", "linux.resources.pids.limit")],
        "idle 0 and swap 0 are so without a file"
    );
}
