//! Directories that look like groups, with the kernel's formats as its documentation has them.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::cgroup::{HierarchyMount, Layout, OwnCgroups, V1Hierarchy, place};

/// A mount point with the groups of a container in it.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("orlop-stats-{name}-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        Self(base)
    }

    fn write(&self, hierarchy: &str, files: &[(&str, &str)]) {
        let dir = self.0.join(hierarchy).join("c");
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    fn mount(&self, name: &str) -> HierarchyMount {
        HierarchyMount { mount_point: self.0.join(name), root: "/".into() }
    }

    fn stats(&self, layout: &Layout) -> Stats {
        place(layout, &OwnCgroups::default(), Some("/c"), "c", false).unwrap().stats().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const PRESSURE: &str =
    "some avg10=1.50 avg60=0.25 avg300=0.05 total=3427\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=12\n";

fn pressure() -> Pressure {
    Pressure {
        some: PressureLine { avg10: 1.5, avg60: 0.25, avg300: 0.05, total: 3427 },
        full: PressureLine { avg10: 0.5, avg60: 0.0, avg300: 0.0, total: 12 },
    }
}

fn entry(op: &str, value: u64) -> BlkioEntry {
    BlkioEntry { major: 8, minor: 16, op: op.to_owned(), value }
}

#[test]
fn version_2() {
    let tree = Tree::new("v2");
    let cpu = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 10\nnr_throttled 3\nthrottled_usec 40\nnr_bursts 2\nburst_usec 7\n";
    tree.write(
        "u",
        &[
            ("cpu.stat", cpu),
            ("cpu.pressure", PRESSURE),
            ("cpuset.cpus.effective", "0-2,5\n"),
            ("cpuset.mems.effective", "0\n"),
            ("memory.stat", "anon 4096\nfile 8192\n"),
            ("memory.current", "16384\n"),
            ("memory.peak", "32768\n"),
            ("memory.max", "max\n"),
            ("memory.swap.current", "1\n"),
            ("memory.swap.max", "2\n"),
            ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"),
            ("pids.current", "7\n"),
            ("pids.max", "max\n"),
            ("io.stat", "8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0 cost.vrate=100.00\n"),
            ("io.pressure", PRESSURE),
            ("hugetlb.2MB.current", "2097152\n"),
            ("hugetlb.2MB.max", "max\n"),
            ("hugetlb.2MB.events", "max 9\n"),
            ("hugetlb.2MB.rsvd.current", "0\n"),
            ("rdma.current", "mlx4_0 hca_handle=2 hca_object=3\n"),
            ("rdma.max", "mlx4_0 hca_handle=20 hca_object=max\n"),
            ("misc.current", "sev 3\n"),
            ("misc.events", "sev.max 1\n"),
        ],
    );
    let stats = tree.stats(&Layout::V2(tree.mount("u")));
    assert!(stats.unified);
    let cpu = &stats.cpu;
    assert_eq!((cpu.total_ns, cpu.user_ns, cpu.kernel_ns), (1_500_000, 1_000_000, 500_000));
    assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled_ns), (10, 3, 40_000));
    assert_eq!((cpu.bursts, cpu.burst_ns, cpu.pressure), (2, 7000, Some(pressure())));
    assert_eq!((&stats.cpuset.cpus[..], &stats.cpuset.mems[..]), (&[0, 1, 2, 5][..], &[0][..]));
    let memory = &stats.memory;
    assert_eq!(
        memory.stat.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(),
        [("anon", 4096), ("file", 8192)]
    );
    let usage = MemoryEntry { usage: 16384, max_usage: 32768, failures: 3, limit: u64::MAX };
    assert_eq!((memory.usage, memory.swap.usage, memory.swap.limit), (usage, 1, 2));
    let events = MemoryEvents { low: 1, high: 2, max: 3, oom: 4, oom_kill: 5, oom_group_kill: 6 };
    assert_eq!((memory.events, memory.pressure, memory.oom_control), (Some(events), None, None));
    assert_eq!(stats.pids, PidsStats { current: 7, limit: None });
    assert_eq!(stats.io.service_bytes, [entry("Read", 10), entry("Write", 20), entry("Discard", 0)]);
    assert_eq!(stats.io.serviced, [entry("Read", 1), entry("Write", 2), entry("Discard", 0)]);
    assert_eq!(stats.io.devices.len(), 1);
    assert!(!stats.io.devices[0].values.contains_key("cost.vrate"));
    let huge = HugetlbStats { usage: 2_097_152, max_usage: 0, failures: 9, limit: u64::MAX };
    assert_eq!(stats.hugetlb.into_iter().collect::<Vec<_>>(), [("2MB".to_owned(), huge)]);
    let device = |hca_handles, hca_objects| RdmaDevice { device: "mlx4_0".into(), hca_handles, hca_objects };
    assert_eq!(
        (&stats.rdma.current[..], &stats.rdma.limit[..]),
        (&[device(2, 3)][..], &[device(20, u32::MAX)][..])
    );
    assert_eq!(stats.misc["sev"], MiscStats { usage: 3, events: 1 });
}

fn write_v1(tree: &Tree) -> Vec<V1Hierarchy> {
    tree.write(
        "cpu,cpuacct",
        &[
            ("cpuacct.usage", "300\n"),
            ("cpuacct.usage_user", "200\n"),
            ("cpuacct.usage_sys", "100\n"),
            ("cpuacct.usage_percpu", "100 200 \n"),
            ("cpuacct.usage_percpu_user", "50 150\n"),
            ("cpuacct.usage_percpu_sys", "50 50\n"),
            ("cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 3\nnr_bursts 4\nburst_time 5\n"),
        ],
    );
    tree.write("cpuset", &[("cpuset.cpus", "1,3\n"), ("cpuset.sched_relax_domain_level", "-1\n")]);
    tree.write(
        "memory",
        &[
            ("memory.stat", "cache 1\nrss 2\n"),
            ("memory.usage_in_bytes", "10\n"),
            ("memory.max_usage_in_bytes", "11\n"),
            ("memory.failcnt", "12\n"),
            ("memory.limit_in_bytes", "13\n"),
            ("memory.memsw.usage_in_bytes", "20\n"),
            ("memory.kmem.tcp.usage_in_bytes", "30\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 4\n"),
        ],
    );
    tree.write("pids", &[("pids.current", "3\n"), ("pids.max", "8\n")]);
    let throttle = "8:16 Read 4\n8:16 Total 4\nTotal 4\n";
    tree.write(
        "blkio",
        &[
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.throttle.io_service_bytes_recursive", throttle),
            ("blkio.sectors_recursive", "8:16 9\n"),
        ],
    );
    tree.write("hugetlb", &[("hugetlb.1GB.usage_in_bytes", "0\n"), ("hugetlb.1GB.failcnt", "2\n")]);
    ["cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb"]
        .map(|label| V1Hierarchy { label: label.into(), mount: tree.mount(label) })
        .into()
}

#[test]
fn version_1_and_hybrid() {
    let tree = Tree::new("v1");
    let controllers = write_v1(&tree);
    let stats = tree.stats(&Layout::V1(controllers.clone()));
    assert!(!stats.unified);
    let cpu = &stats.cpu;
    assert_eq!((cpu.total_ns, cpu.user_ns, cpu.kernel_ns), (300, 200, 100));
    assert_eq!((&cpu.percpu_ns[..], &cpu.percpu_user_ns[..]), (&[100, 200][..], &[50, 150][..]));
    assert_eq!((cpu.periods, cpu.throttled_periods, cpu.throttled_ns), (1, 2, 3));
    assert_eq!((cpu.bursts, cpu.burst_ns, cpu.pressure), (4, 5, None));
    assert_eq!((&stats.cpuset.cpus[..], stats.cpuset.sched_relax_domain_level), (&[1, 3][..], -1));
    let usage = MemoryEntry { usage: 10, max_usage: 11, failures: 12, limit: 13 };
    assert_eq!((stats.memory.usage, stats.memory.swap.usage, stats.memory.kernel_tcp.usage), (usage, 20, 30));
    let control = OomControl { oom_kill_disable: 0, under_oom: 1, oom_kill: 4 };
    assert_eq!((stats.memory.oom_control, stats.memory.stat["rss"]), (Some(control), 2));
    assert_eq!(stats.pids, PidsStats { current: 3, limit: Some(8) });
    assert_eq!(stats.io.service_bytes, [entry("Read", 4), entry("Total", 4)]);
    assert_eq!((stats.io.sectors, stats.io.merged), (vec![entry("", 9)], vec![]));
    assert_eq!(stats.hugetlb["1GB"].failures, 2);

    // Beside version 1, the second has the pressure; its own accounting is of the same processes and not taken.
    tree.write(
        "u",
        &[("cpu.stat", "usage_usec 9\nuser_usec 9\nsystem_usec 9\n"), ("cpu.pressure", PRESSURE)],
    );
    let hybrid = tree.stats(&Layout::Hybrid { controllers, unified: tree.mount("u") });
    assert_eq!((hybrid.cpu.total_ns, hybrid.cpu.pressure), (300, Some(pressure())));
    assert_eq!((hybrid.memory.usage, hybrid.cpu.periods), (usage, 1));
}

#[test]
fn a_group_that_is_gone_uses_nothing() {
    let layout =
        Layout::V2(HierarchyMount { mount_point: Path::new("/nonexistent").into(), root: "/".into() });
    let placement = place(&layout, &OwnCgroups::default(), Some("/c"), "c", false).unwrap();
    assert_eq!(placement.stats().unwrap(), Stats { unified: true, ..Stats::default() });
}

#[test]
fn whatever_the_files_hold_is_no_panic() {
    for text in [
        "",
        "\n",
        " ",
        "x",
        "8:",
        ":",
        "8:16",
        "8:16 Read",
        "a b c d",
        "-1",
        "0-",
        "9-1",
        "some",
        "some x=1",
        "99999999999999999999",
    ] {
        let _ = (parse::blkio(text), parse::io_stat(text), parse::rdma(text), parse::pressure(text));
        let _ = (parse::ranges(text), parse::map(text), parse::numbers(text), parse::number(text));
    }
    assert_eq!(parse::ranges("9-1,65535-65535\n"), [65535]);
}
