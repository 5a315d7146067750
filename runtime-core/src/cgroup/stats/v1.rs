//! The files of version 1.

use std::path::Path;

use super::super::error::CgroupError;
use super::super::place::Group;
use super::types::{BlkioEntry, HugetlbStats, MemoryEntry, OomControl, PidsStats, Stats};
use super::{number, page_sizes, parse, text};

type Result<T> = std::result::Result<T, CgroupError>;

/// Adds what a group counts.
pub(super) fn collect(group: &Group, stats: &mut Stats) -> Result<()> {
    let dir = &group.path;
    for controller in group.controllers() {
        match controller {
            "cpuacct" => cpuacct(dir, stats)?,
            "cpu" => cpu(dir, stats)?,
            "cpuset" => cpuset(dir, stats)?,
            "memory" => memory(dir, stats)?,
            "pids" => {
                let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
                stats.pids = PidsStats { current: number(dir, "pids.current")?.unwrap_or(0), limit };
            }
            "blkio" => blkio(dir, stats)?,
            "hugetlb" => hugetlb(dir, stats)?,
            "rdma" => rdma(dir, stats)?,
            _ => {}
        }
    }
    Ok(())
}

/// Times in ns, all of one clock: `cpuacct.usage_all` has them for each processor.  (`cpuacct.stat` has only hundredths of
/// a second.)
fn cpuacct(dir: &Path, stats: &mut Stats) -> Result<()> {
    let cpu = &mut stats.cpu;
    cpu.total_ns = number(dir, "cpuacct.usage")?.unwrap_or(0);
    cpu.user_ns = number(dir, "cpuacct.usage_user")?.unwrap_or(0);
    cpu.kernel_ns = number(dir, "cpuacct.usage_sys")?.unwrap_or(0);
    cpu.percpu_ns = parse::numbers(&text(dir, "cpuacct.usage_percpu")?.unwrap_or_default());
    cpu.percpu_user_ns = parse::numbers(&text(dir, "cpuacct.usage_percpu_user")?.unwrap_or_default());
    cpu.percpu_kernel_ns = parse::numbers(&text(dir, "cpuacct.usage_percpu_sys")?.unwrap_or_default());
    Ok(())
}

fn cpu(dir: &Path, stats: &mut Stats) -> Result<()> {
    let figures = parse::map(&text(dir, "cpu.stat")?.unwrap_or_default());
    let count = |key: &str| figures.get(key).copied().unwrap_or(0);
    let cpu = &mut stats.cpu;
    (cpu.periods, cpu.throttled_periods) = (count("nr_periods"), count("nr_throttled"));
    (cpu.throttled_ns, cpu.bursts) = (count("throttled_time"), count("nr_bursts"));
    cpu.burst_ns = count("burst_time");
    Ok(())
}

fn cpuset(dir: &Path, stats: &mut Stats) -> Result<()> {
    let flag = |name: &str| Ok(number(dir, &format!("cpuset.{name}"))?.unwrap_or(0));
    let set = &mut stats.cpuset;
    set.cpus = parse::ranges(&text(dir, "cpuset.cpus")?.unwrap_or_default());
    set.mems = parse::ranges(&text(dir, "cpuset.mems")?.unwrap_or_default());
    set.cpu_exclusive = flag("cpu_exclusive")?;
    set.mem_hardwall = flag("mem_hardwall")?;
    set.mem_exclusive = flag("mem_exclusive")?;
    set.memory_migrate = flag("memory_migrate")?;
    set.memory_spread_page = flag("memory_spread_page")?;
    set.memory_spread_slab = flag("memory_spread_slab")?;
    set.memory_pressure = flag("memory_pressure")?;
    set.sched_load_balance = flag("sched_load_balance")?;
    let level = text(dir, "cpuset.sched_relax_domain_level")?;
    set.sched_relax_domain_level = level.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Ok(())
}

fn memory(dir: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.stat = parse::map(&text(dir, "memory.stat")?.unwrap_or_default());
    memory.usage = entry(dir, "memory")?;
    memory.swap = entry(dir, "memory.memsw")?;
    memory.kernel = entry(dir, "memory.kmem")?;
    memory.kernel_tcp = entry(dir, "memory.kmem.tcp")?;
    if let Some(control) = text(dir, "memory.oom_control")? {
        let figures = parse::map(&control);
        let count = |key: &str| figures.get(key).copied().unwrap_or(0);
        memory.oom_control = Some(OomControl {
            oom_kill_disable: count("oom_kill_disable"),
            under_oom: count("under_oom"),
            oom_kill: count("oom_kill"),
        });
    }
    Ok(())
}

fn entry(dir: &Path, prefix: &str) -> Result<MemoryEntry> {
    let read = |name: &str| Ok(number(dir, &format!("{prefix}.{name}"))?.unwrap_or(0));
    Ok(MemoryEntry {
        usage: read("usage_in_bytes")?,
        max_usage: read("max_usage_in_bytes")?,
        failures: read("failcnt")?,
        limit: read("limit_in_bytes")?,
    })
}

fn blkio(dir: &Path, stats: &mut Stats) -> Result<()> {
    let io = &mut stats.io;
    io.service_bytes = first(
        dir,
        [
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ],
    )?;
    io.serviced = first(
        dir,
        [
            "blkio.bfq.io_serviced_recursive",
            "blkio.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
        ],
    )?;
    let scheduler = |name: &str| {
        first(dir, [&format!("blkio.bfq.{name}_recursive") as &str, &format!("blkio.{name}_recursive")])
    };
    io.queued = scheduler("io_queued")?;
    io.service_time = scheduler("io_service_time")?;
    io.wait_time = scheduler("io_wait_time")?;
    io.merged = scheduler("io_merged")?;
    io.time = scheduler("time")?;
    io.sectors = scheduler("sectors")?;
    Ok(())
}

/// The first file that counts something: each scheduler has its own, and the throttling has those of all.
fn first<const N: usize>(dir: &Path, names: [&str; N]) -> Result<Vec<BlkioEntry>> {
    for name in names {
        let entries = parse::blkio(&text(dir, name)?.unwrap_or_default());
        if !entries.is_empty() {
            return Ok(entries);
        }
    }
    Ok(Vec::new())
}

fn hugetlb(dir: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes(dir, ".usage_in_bytes") {
        let read = |name: &str| Ok(number(dir, &format!("hugetlb.{size}.{name}"))?.unwrap_or(0));
        let found = HugetlbStats {
            usage: read("usage_in_bytes")?,
            max_usage: read("max_usage_in_bytes")?,
            failures: read("failcnt")?,
            limit: read("limit_in_bytes")?,
        };
        stats.hugetlb.insert(size, found);
    }
    Ok(())
}

/// The same in both versions.
pub(super) fn rdma(dir: &Path, stats: &mut Stats) -> Result<()> {
    if let Some(current) = text(dir, "rdma.current")? {
        stats.rdma.current = parse::rdma(&current);
        stats.rdma.limit = parse::rdma(&text(dir, "rdma.max")?.unwrap_or_default());
    }
    Ok(())
}
