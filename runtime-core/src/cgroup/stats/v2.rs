//! The files of version 2.

use std::path::Path;

use super::super::error::CgroupError;
use super::types::{
    BlkioEntry, HugetlbStats, IoDevice, MemoryEntry, MemoryEvents, MiscStats, PidsStats, Pressure, Stats,
};
use super::{number, page_sizes, parse, text};

type Result<T> = std::result::Result<T, CgroupError>;

/// Adds what a group counts.  On a hybrid host it has no controllers but those that no version 1 hierarchy has, and the
/// figures of the processor that every group has are left to version 1's own.
pub(super) fn collect(dir: &Path, stats: &mut Stats) -> Result<()> {
    cpu(dir, stats)?;
    cpuset(dir, stats)?;
    memory(dir, stats)?;
    if let Some(current) = number(dir, "pids.current")? {
        let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
        stats.pids = PidsStats { current, limit };
    }
    io(dir, stats)?;
    hugetlb(dir, stats)?;
    super::v1::rdma(dir, stats)?;
    misc(dir, stats)
}

fn pressure(dir: &Path, name: &str) -> Result<Option<Pressure>> {
    Ok(text(dir, name)?.as_deref().map(parse::pressure))
}

fn cpu(dir: &Path, stats: &mut Stats) -> Result<()> {
    stats.cpu.pressure = pressure(dir, "cpu.pressure")?;
    // Version 1's accounting has been read before, if there is one.
    if stats.cpu.total_ns > 0 {
        return Ok(());
    }
    let Some(text) = text(dir, "cpu.stat")? else { return Ok(()) };
    let figures = parse::map(&text);
    let count = |key: &str| figures.get(key).copied().unwrap_or(0);
    let ns = |key: &str| count(key).saturating_mul(1000);
    let cpu = &mut stats.cpu;
    (cpu.total_ns, cpu.user_ns, cpu.kernel_ns) = (ns("usage_usec"), ns("user_usec"), ns("system_usec"));
    if figures.contains_key("nr_periods") {
        (cpu.periods, cpu.throttled_periods) = (count("nr_periods"), count("nr_throttled"));
        (cpu.throttled_ns, cpu.bursts, cpu.burst_ns) =
            (ns("throttled_usec"), count("nr_bursts"), ns("burst_usec"));
    }
    Ok(())
}

fn cpuset(dir: &Path, stats: &mut Stats) -> Result<()> {
    if let Some(cpus) = text(dir, "cpuset.cpus.effective")? {
        stats.cpuset.cpus = parse::ranges(&cpus);
    }
    if let Some(mems) = text(dir, "cpuset.mems.effective")? {
        stats.cpuset.mems = parse::ranges(&mems);
    }
    Ok(())
}

fn memory(dir: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.pressure = pressure(dir, "memory.pressure")?;
    let Some(stat) = text(dir, "memory.stat")? else { return Ok(()) };
    memory.stat = parse::map(&stat);
    memory.usage = entry(dir, "memory")?;
    memory.swap = entry(dir, "memory.swap")?;
    let Some(events) = text(dir, "memory.events")? else { return Ok(()) };
    let events = parse::map(&events);
    let count = |key: &str| events.get(key).copied().unwrap_or(0);
    memory.usage.failures = count("max");
    memory.events = Some(MemoryEvents {
        low: count("low"),
        high: count("high"),
        max: count("max"),
        oom: count("oom"),
        oom_kill: count("oom_kill"),
        oom_group_kill: count("oom_group_kill"),
    });
    Ok(())
}

fn entry(dir: &Path, prefix: &str) -> Result<MemoryEntry> {
    let read = |name: &str| Ok(number(dir, &format!("{prefix}.{name}"))?.unwrap_or(0));
    Ok(MemoryEntry { usage: read("current")?, max_usage: read("peak")?, failures: 0, limit: read("max")? })
}

fn io(dir: &Path, stats: &mut Stats) -> Result<()> {
    stats.io.pressure = pressure(dir, "io.pressure")?;
    let Some(text) = text(dir, "io.stat")? else { return Ok(()) };
    stats.io.devices = parse::io_stat(&text);
    let io = &mut stats.io;
    for device in &io.devices {
        io.service_bytes.extend(entries(device, ["rbytes", "wbytes", "dbytes"]));
        io.serviced.extend(entries(device, ["rios", "wios", "dios"]));
    }
    Ok(())
}

/// The figures of `io.stat` as entries like version 1's.
fn entries(device: &IoDevice, keys: [&str; 3]) -> impl Iterator<Item = BlkioEntry> {
    let ops = ["Read", "Write", "Discard"];
    keys.into_iter().zip(ops).filter_map(|(key, op)| {
        let value = *device.values.get(key)?;
        Some(BlkioEntry { major: device.major, minor: device.minor, op: op.to_owned(), value })
    })
}

fn hugetlb(dir: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes(dir, ".current") {
        let read = |name: &str| Ok(number(dir, &format!("hugetlb.{size}.{name}"))?.unwrap_or(0));
        let events = text(dir, &format!("hugetlb.{size}.events"))?.unwrap_or_default();
        let failures = parse::map(&events).get("max").copied().unwrap_or(0);
        let found = HugetlbStats { usage: read("current")?, max_usage: 0, failures, limit: read("max")? };
        stats.hugetlb.insert(size, found);
    }
    Ok(())
}

fn misc(dir: &Path, stats: &mut Stats) -> Result<()> {
    let Some(current) = text(dir, "misc.current")? else { return Ok(()) };
    let events = parse::map(&text(dir, "misc.events")?.unwrap_or_default());
    for (name, usage) in parse::map(&current) {
        let hit = events.get(&format!("{name}.max")).copied().unwrap_or(0);
        stats.misc.insert(name, MiscStats { usage, events: hit });
    }
    Ok(())
}
