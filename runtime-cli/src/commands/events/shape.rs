//! The JSON of runc's events: these keys, in this order, left out where runc leaves them out.
//!
//! Figures that version 2 counts otherwise are converted as runc converts them: `swap` is memory and swap together, and
//! devices' figures have the names of version 1.

use std::collections::BTreeMap;

use orlop_core::cgroup::{self, MemoryEntry, Stats};
use orlop_core::{RdtStats, cgroup::Pressure};
use serde::Serialize;

#[derive(Serialize)]
struct Event<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Data<'a> {
    cpu: Cpu<'a>,
    cpuset: Cpuset<'a>,
    memory: Memory<'a>,
    pids: Pids,
    blkio: Blkio<'a>,
    hugetlb: BTreeMap<&'a str, Hugetlb>,
    intel_rdt: Rdt<'a>,
    /// Of interfaces that runc itself made, which neither it nor Orlop does.
    network_interfaces: Option<()>,
}

#[derive(Serialize)]
struct Cpu<'a> {
    usage: Usage<'a>,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct Usage<'a> {
    #[serde(skip_serializing_if = "zero")]
    total: u64,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    percpu: &'a [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    percpu_kernel: &'a [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    percpu_user: &'a [u64],
    kernel: u64,
    user: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "zero")]
    periods: u64,
    #[serde(skip_serializing_if = "zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "zero")]
    throttled_time: u64,
}

#[derive(Serialize)]
struct Psi {
    some: PsiLine,
    full: PsiLine,
}

#[derive(Serialize)]
struct PsiLine {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    total: u64,
}

impl Psi {
    fn of(pressure: Option<&Pressure>) -> Option<Self> {
        let line = |line: cgroup::PressureLine| PsiLine {
            avg10: line.avg10,
            avg60: line.avg60,
            avg300: line.avg300,
            total: line.total,
        };
        pressure.map(|pressure| Self { some: line(pressure.some), full: line(pressure.full) })
    }
}

#[derive(Serialize)]
struct Cpuset<'a> {
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    cpus: &'a [u16],
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    mems: &'a [u16],
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

#[derive(Serialize)]
struct Memory<'a> {
    #[serde(skip_serializing_if = "zero")]
    cache: u64,
    usage: Entry,
    swap: Entry,
    kernel: Entry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Entry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct Entry {
    limit: u64,
    #[serde(skip_serializing_if = "zero")]
    usage: u64,
    #[serde(skip_serializing_if = "zero")]
    max: u64,
    failcnt: u64,
}

impl From<MemoryEntry> for Entry {
    fn from(entry: MemoryEntry) -> Self {
        Self { limit: entry.limit, usage: entry.usage, max: entry.max_usage, failcnt: entry.failures }
    }
}

#[derive(Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "zero")]
    current: u64,
    #[serde(skip_serializing_if = "zero")]
    limit: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "zero")]
    major: u64,
    #[serde(skip_serializing_if = "zero")]
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: &'a str,
    #[serde(skip_serializing_if = "zero")]
    value: u64,
}

#[derive(Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "zero")]
    usage: u64,
    #[serde(skip_serializing_if = "zero")]
    max: u64,
    failcnt: u64,
}

#[derive(Serialize)]
struct Rdt<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<L3Info<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    l3_cache_schema_root: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    l3_cache_schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "str::is_empty")]
    mem_bw_schema_root: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mem_bw_schema: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mbm_stats: Vec<BandwidthUse>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmt_stats: Vec<CacheUse>,
}

#[derive(Serialize)]
struct L3Info<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    cbm_mask: &'a str,
    #[serde(skip_serializing_if = "zero")]
    min_cbm_bits: u64,
    #[serde(skip_serializing_if = "zero")]
    num_closids: u64,
}

#[derive(Serialize)]
struct BandwidthInfo {
    #[serde(skip_serializing_if = "zero")]
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "zero")]
    delay_linear: u64,
    #[serde(skip_serializing_if = "zero")]
    min_bandwidth: u64,
    #[serde(skip_serializing_if = "zero")]
    num_closids: u64,
}

#[derive(Serialize)]
struct BandwidthUse {
    #[serde(skip_serializing_if = "zero")]
    mbm_total_bytes: u64,
    #[serde(skip_serializing_if = "zero")]
    mbm_local_bytes: u64,
}

#[derive(Serialize)]
struct CacheUse {
    #[serde(skip_serializing_if = "zero")]
    llc_occupancy: u64,
}

/// The line for an OOM.
pub fn oom(id: &str) -> String {
    // Strings only: this cannot fail.
    let mut line = serde_json::to_string(&Event::<()> { kind: "oom", id, data: None }).unwrap_or_default();
    line.push('\n');
    line
}

/// The line for the figures.
pub fn stats(id: &str, stats: &Stats, rdt: &RdtStats) -> serde_json::Result<String> {
    let hugetlb = stats.hugetlb.iter().map(|(size, huge)| {
        (size.as_str(), Hugetlb { usage: huge.usage, max: huge.max_usage, failcnt: huge.failures })
    });
    let data = Data {
        cpu: cpu(&stats.cpu),
        cpuset: cpuset(&stats.cpuset),
        memory: memory(stats),
        pids: Pids { current: stats.pids.current, limit: stats.pids.limit.unwrap_or(0) },
        blkio: blkio(&stats.io),
        hugetlb: hugetlb.collect(),
        intel_rdt: intel_rdt(rdt),
        network_interfaces: None,
    };
    let mut line = serde_json::to_string(&Event { kind: "stats", id, data: Some(data) })?;
    line.push('\n');
    Ok(line)
}

fn cpu(stats: &cgroup::CpuStats) -> Cpu<'_> {
    Cpu {
        usage: Usage {
            total: stats.total_ns,
            percpu: &stats.percpu_ns,
            percpu_kernel: &stats.percpu_kernel_ns,
            percpu_user: &stats.percpu_user_ns,
            kernel: stats.kernel_ns,
            user: stats.user_ns,
        },
        throttling: Throttling {
            periods: stats.periods,
            throttled_periods: stats.throttled_periods,
            throttled_time: stats.throttled_ns,
        },
        psi: Psi::of(stats.pressure.as_ref()),
    }
}

fn cpuset(stats: &cgroup::CpusetStats) -> Cpuset<'_> {
    Cpuset {
        cpus: &stats.cpus,
        cpu_exclusive: stats.cpu_exclusive,
        mems: &stats.mems,
        mem_hardwall: stats.mem_hardwall,
        mem_exclusive: stats.mem_exclusive,
        memory_migrate: stats.memory_migrate,
        memory_spread_page: stats.memory_spread_page,
        memory_spread_slab: stats.memory_spread_slab,
        memory_pressure: stats.memory_pressure,
        sched_load_balance: stats.sched_load_balance,
        sched_relax_domain_level: stats.sched_relax_domain_level,
    }
}

fn memory(stats: &Stats) -> Memory<'_> {
    let memory = &stats.memory;
    let cache = if stats.unified { "file" } else { "cache" };
    let mut swap = memory.swap;
    if stats.unified {
        swap.usage = swap.usage.saturating_add(memory.usage.usage);
        swap.limit = swap.limit.saturating_add(memory.usage.limit);
        // The most of both together is not the sum of the most of each.
        swap.max_usage = 0;
    }
    Memory {
        cache: memory.stat.get(cache).copied().unwrap_or(0),
        usage: memory.usage.into(),
        swap: swap.into(),
        kernel: memory.kernel.into(),
        kernel_tcp: memory.kernel_tcp.into(),
        raw: &memory.stat,
        psi: Psi::of(memory.pressure.as_ref()),
    }
}

fn blkio(stats: &cgroup::IoStats) -> Blkio<'_> {
    fn entries(all: &[cgroup::BlkioEntry]) -> Vec<BlkioEntry<'_>> {
        let shown = |e: &'_ cgroup::BlkioEntry| (e.major, e.minor, e.value);
        all.iter()
            .map(|entry| {
                let (major, minor, value) = shown(entry);
                BlkioEntry { major, minor, op: &entry.op, value }
            })
            .collect()
    }
    Blkio {
        io_service_bytes_recursive: entries(&stats.service_bytes),
        io_serviced_recursive: entries(&stats.serviced),
        io_queue_recursive: entries(&stats.queued),
        io_service_time_recursive: entries(&stats.service_time),
        io_wait_time_recursive: entries(&stats.wait_time),
        io_merged_recursive: entries(&stats.merged),
        io_time_recursive: entries(&stats.time),
        sectors_recursive: entries(&stats.sectors),
        psi: Psi::of(stats.pressure.as_ref()),
    }
}

fn intel_rdt(rdt: &RdtStats) -> Rdt<'_> {
    Rdt {
        l3_cache_info: rdt.l3_cache.as_ref().map(|info| L3Info {
            cbm_mask: &info.cbm_mask,
            min_cbm_bits: info.min_cbm_bits,
            num_closids: info.num_closids,
        }),
        l3_cache_schema_root: &rdt.l3_schema_root,
        l3_cache_schema: &rdt.l3_schema,
        mem_bw_info: rdt.mem_bw.as_ref().map(|info| BandwidthInfo {
            bandwidth_gran: info.bandwidth_gran,
            delay_linear: info.delay_linear,
            min_bandwidth: info.min_bandwidth,
            num_closids: info.num_closids,
        }),
        mem_bw_schema_root: &rdt.mem_bw_schema_root,
        mem_bw_schema: &rdt.mem_bw_schema,
        mbm_stats: rdt
            .bandwidth
            .iter()
            .map(|node| BandwidthUse { mbm_total_bytes: node.total_bytes, mbm_local_bytes: node.local_bytes })
            .collect(),
        cmt_stats: rdt.llc_occupancy.iter().map(|bytes| CacheUse { llc_occupancy: *bytes }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(figures: &Stats) -> Value {
        let line = stats("c1", figures, &RdtStats::default()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn an_oom_is_a_line_without_data() {
        assert_eq!(oom("c1"), "{\"type\":\"oom\",\"id\":\"c1\"}\n");
    }

    #[test]
    fn of_nothing_the_keys_are_runcs() {
        let entry = json!({ "limit": 0, "failcnt": 0 });
        let expected = json!({
            "type": "stats",
            "id": "c1",
            "data": {
                "cpu": { "usage": { "kernel": 0, "user": 0 }, "throttling": {} },
                "cpuset": {
                    "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
                    "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
                    "sched_load_balance": 0, "sched_relax_domain_level": 0
                },
                "memory": { "usage": entry, "swap": entry, "kernel": entry, "kernelTCP": entry },
                "pids": {},
                "blkio": {},
                "hugetlb": {},
                "intel_rdt": {},
                "network_interfaces": null
            }
        });
        assert_eq!(shown(&Stats::default()), expected);
    }

    #[test]
    fn version_2_is_told_in_the_terms_of_version_1() {
        let mut figures = Stats { unified: true, ..Stats::default() };
        figures.memory.usage = MemoryEntry { usage: 10, max_usage: 12, failures: 1, limit: 100 };
        figures.memory.swap = MemoryEntry { usage: 5, max_usage: 6, failures: 0, limit: 50 };
        figures.memory.stat.insert("file".into(), 7);
        figures.memory.pressure = Some(Pressure::default());
        let memory = &shown(&figures)["data"]["memory"];
        assert_eq!(memory["swap"], json!({ "limit": 150, "usage": 15, "failcnt": 0 }));
        assert_eq!(memory["usage"], json!({ "limit": 100, "usage": 10, "max": 12, "failcnt": 1 }));
        assert_eq!((&memory["cache"], &memory["raw"]["file"]), (&json!(7), &json!(7)));
        assert_eq!(memory["psi"]["full"]["total"], 0);
        figures.memory.swap.limit = u64::MAX;
        assert_eq!(shown(&figures)["data"]["memory"]["swap"]["limit"], u64::MAX);
    }

    #[test]
    fn devices_and_pages() {
        let mut figures = Stats::default();
        let entry = cgroup::BlkioEntry { major: 8, minor: 0, op: "Read".into(), value: 4096 };
        figures.io.service_bytes.push(entry);
        let huge = cgroup::HugetlbStats { usage: 1, max_usage: 0, failures: 2, limit: 3 };
        figures.hugetlb.insert("2MB".into(), huge);
        figures.pids = cgroup::PidsStats { current: 2, limit: Some(9) };
        let data = &shown(&figures)["data"];
        assert_eq!(
            data["blkio"],
            json!({ "ioServiceBytesRecursive": [{ "major": 8, "op": "Read", "value": 4096 }] })
        );
        assert_eq!(data["hugetlb"], json!({ "2MB": { "usage": 1, "failcnt": 2 } }));
        assert_eq!(data["pids"], json!({ "current": 2, "limit": 9 }));
    }
}
