//! What a container uses, as containerd's clients read it: one message for hosts on cgroup v2 alone, another for all others.

use crate::api::Any;
use crate::wire::Message;
use orlop_core::cgroup::{self as core, Stats};

mod v1 {
    orlop_core::message! {
        Metrics {
            hugetlb: Vec<HugetlbStat> = 1, pids: Option<PidsStat> = 2, cpu: Option<CpuStat> = 3, memory: Option<MemoryStat> = 4,
            blkio: Option<BlkIoStat> = 5, rdma: Option<super::v2::RdmaStat> = 6, memory_oom_control: Option<MemoryOomControl> = 9
        }
        HugetlbStat { usage: u64 = 1, max: u64 = 2, failcnt: u64 = 3, pagesize: String = 4 }
        PidsStat { current: u64 = 1, limit: u64 = 2 }
        CpuStat { usage: Option<CpuUsage> = 1, throttling: Option<Throttle> = 2 }
        CpuUsage { total: u64 = 1, kernel: u64 = 2, user: u64 = 3, per_cpu: Vec<u64> = 4 }
        Throttle { periods: u64 = 1, throttled_periods: u64 = 2, throttled_time: u64 = 3 }
        MemoryStat {
            cache: u64 = 1, rss: u64 = 2, rss_huge: u64 = 3, mapped_file: u64 = 4, dirty: u64 = 5, writeback: u64 = 6,
            pg_pg_in: u64 = 7, pg_pg_out: u64 = 8, pg_fault: u64 = 9, pg_maj_fault: u64 = 10, inactive_anon: u64 = 11,
            active_anon: u64 = 12, inactive_file: u64 = 13, active_file: u64 = 14, unevictable: u64 = 15,
            hierarchical_memory_limit: u64 = 16, hierarchical_swap_limit: u64 = 17, total_cache: u64 = 18, total_rss: u64 = 19,
            total_rss_huge: u64 = 20, total_mapped_file: u64 = 21, total_dirty: u64 = 22, total_writeback: u64 = 23,
            total_pg_pg_in: u64 = 24, total_pg_pg_out: u64 = 25, total_pg_fault: u64 = 26, total_pg_maj_fault: u64 = 27,
            total_inactive_anon: u64 = 28, total_active_anon: u64 = 29, total_inactive_file: u64 = 30,
            total_active_file: u64 = 31, total_unevictable: u64 = 32, usage: Option<MemoryEntry> = 33,
            swap: Option<MemoryEntry> = 34, kernel: Option<MemoryEntry> = 35, kernel_tcp: Option<MemoryEntry> = 36
        }
        MemoryEntry { limit: u64 = 1, usage: u64 = 2, max: u64 = 3, failcnt: u64 = 4 }
        MemoryOomControl { oom_kill_disable: u64 = 1, under_oom: u64 = 2, oom_kill: u64 = 3 }
        BlkIoStat {
            io_service_bytes_recursive: Vec<BlkIoEntry> = 1, io_serviced_recursive: Vec<BlkIoEntry> = 2,
            io_queued_recursive: Vec<BlkIoEntry> = 3, io_service_time_recursive: Vec<BlkIoEntry> = 4,
            io_wait_time_recursive: Vec<BlkIoEntry> = 5, io_merged_recursive: Vec<BlkIoEntry> = 6,
            io_time_recursive: Vec<BlkIoEntry> = 7, sectors_recursive: Vec<BlkIoEntry> = 8
        }
        BlkIoEntry { op: String = 1, device: String = 2, major: u64 = 3, minor: u64 = 4, value: u64 = 5 }
    }
}

mod v2 {
    orlop_core::message! {
        Metrics {
            pids: Option<super::v1::PidsStat> = 1, cpu: Option<CpuStat> = 2, memory: Option<MemoryStat> = 4,
            rdma: Option<RdmaStat> = 5, io: Option<IoStat> = 6, hugetlb: Vec<HugeTlbStat> = 7,
            memory_events: Option<MemoryEvents> = 8
        }
        CpuStat {
            usage_usec: u64 = 1, user_usec: u64 = 2, system_usec: u64 = 3, nr_periods: u64 = 4, nr_throttled: u64 = 5,
            throttled_usec: u64 = 6, psi: Option<PsiStats> = 7
        }
        MemoryStat {
            anon: u64 = 1, file: u64 = 2, kernel_stack: u64 = 3, slab: u64 = 4, sock: u64 = 5, shmem: u64 = 6,
            file_mapped: u64 = 7, file_dirty: u64 = 8, file_writeback: u64 = 9, anon_thp: u64 = 10, inactive_anon: u64 = 11,
            active_anon: u64 = 12, inactive_file: u64 = 13, active_file: u64 = 14, unevictable: u64 = 15,
            slab_reclaimable: u64 = 16, slab_unreclaimable: u64 = 17, pgfault: u64 = 18, pgmajfault: u64 = 19,
            workingset_refault: u64 = 20, workingset_activate: u64 = 21, workingset_nodereclaim: u64 = 22, pgrefill: u64 = 23,
            pgscan: u64 = 24, pgsteal: u64 = 25, pgactivate: u64 = 26, pgdeactivate: u64 = 27, pglazyfree: u64 = 28,
            pglazyfreed: u64 = 29, thp_fault_alloc: u64 = 30, thp_collapse_alloc: u64 = 31, usage: u64 = 32,
            usage_limit: u64 = 33, swap_usage: u64 = 34, swap_limit: u64 = 35, max_usage: u64 = 36, swap_max_usage: u64 = 37,
            psi: Option<PsiStats> = 38
        }
        MemoryEvents { low: u64 = 1, high: u64 = 2, max: u64 = 3, oom: u64 = 4, oom_kill: u64 = 5 }
        PsiStats { some: Option<PsiData> = 1, full: Option<PsiData> = 2 }
        PsiData { avg10: f64 = 1, avg60: f64 = 2, avg300: f64 = 3, total: u64 = 4 }
        RdmaStat { current: Vec<RdmaEntry> = 1, limit: Vec<RdmaEntry> = 2 }
        RdmaEntry { device: String = 1, hca_handles: u32 = 2, hca_objects: u32 = 3 }
        IoStat { usage: Vec<IoEntry> = 1, psi: Option<PsiStats> = 2 }
        IoEntry { major: u64 = 1, minor: u64 = 2, rbytes: u64 = 3, wbytes: u64 = 4, rios: u64 = 5, wios: u64 = 6 }
        HugeTlbStat { current: u64 = 1, max: u64 = 2, pagesize: String = 3 }
    }
}

/// The figures as the message that fits the host.
#[must_use]
pub fn any(stats: &Stats) -> Any {
    if stats.unified {
        Any::new("io.containerd.cgroups.v2.Metrics", unified(stats).encode())
    } else {
        Any::new("io.containerd.cgroups.v1.Metrics", split(stats).encode())
    }
}

fn pids(stats: &Stats) -> v1::PidsStat {
    // How "max" is told differs between the versions.
    let none = if stats.unified { u64::MAX } else { 0 };
    v1::PidsStat { current: stats.pids.current, limit: stats.pids.limit.unwrap_or(none) }
}

fn rdma(stats: &Stats) -> v2::RdmaStat {
    let entries = |devices: &[core::RdmaDevice]| {
        let entry = |d: &core::RdmaDevice| v2::RdmaEntry {
            device: d.device.clone(),
            hca_handles: d.hca_handles,
            hca_objects: d.hca_objects,
        };
        devices.iter().map(entry).collect()
    };
    v2::RdmaStat { current: entries(&stats.rdma.current), limit: entries(&stats.rdma.limit) }
}

fn split(stats: &Stats) -> v1::Metrics {
    let cpu = &stats.cpu;
    let hugetlb = stats.hugetlb.iter().map(|(pagesize, huge)| v1::HugetlbStat {
        usage: huge.usage,
        max: huge.max_usage,
        failcnt: huge.failures,
        pagesize: pagesize.clone(),
    });
    v1::Metrics {
        hugetlb: hugetlb.collect(),
        pids: Some(pids(stats)),
        cpu: Some(v1::CpuStat {
            usage: Some(v1::CpuUsage {
                total: cpu.total_ns,
                kernel: cpu.kernel_ns,
                user: cpu.user_ns,
                per_cpu: cpu.percpu_ns.clone(),
            }),
            throttling: Some(v1::Throttle {
                periods: cpu.periods,
                throttled_periods: cpu.throttled_periods,
                throttled_time: cpu.throttled_ns,
            }),
        }),
        memory: Some(split_memory(&stats.memory)),
        blkio: Some(split_io(&stats.io)),
        rdma: Some(rdma(stats)),
        memory_oom_control: stats.memory.oom_control.as_ref().map(|oom| v1::MemoryOomControl {
            oom_kill_disable: oom.oom_kill_disable,
            under_oom: oom.under_oom,
            oom_kill: oom.oom_kill,
        }),
    }
}

fn split_memory(memory: &core::MemoryStats) -> v1::MemoryStat {
    let of = |name: &str| memory.stat.get(name).copied().unwrap_or(0);
    let entry = |e: &core::MemoryEntry| {
        Some(v1::MemoryEntry { limit: e.limit, usage: e.usage, max: e.max_usage, failcnt: e.failures })
    };
    v1::MemoryStat {
        cache: of("cache"),
        rss: of("rss"),
        rss_huge: of("rss_huge"),
        mapped_file: of("mapped_file"),
        dirty: of("dirty"),
        writeback: of("writeback"),
        pg_pg_in: of("pgpgin"),
        pg_pg_out: of("pgpgout"),
        pg_fault: of("pgfault"),
        pg_maj_fault: of("pgmajfault"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        hierarchical_memory_limit: of("hierarchical_memory_limit"),
        hierarchical_swap_limit: of("hierarchical_memsw_limit"),
        total_cache: of("total_cache"),
        total_rss: of("total_rss"),
        total_rss_huge: of("total_rss_huge"),
        total_mapped_file: of("total_mapped_file"),
        total_dirty: of("total_dirty"),
        total_writeback: of("total_writeback"),
        total_pg_pg_in: of("total_pgpgin"),
        total_pg_pg_out: of("total_pgpgout"),
        total_pg_fault: of("total_pgfault"),
        total_pg_maj_fault: of("total_pgmajfault"),
        total_inactive_anon: of("total_inactive_anon"),
        total_active_anon: of("total_active_anon"),
        total_inactive_file: of("total_inactive_file"),
        total_active_file: of("total_active_file"),
        total_unevictable: of("total_unevictable"),
        usage: entry(&memory.usage),
        swap: entry(&memory.swap),
        kernel: entry(&memory.kernel),
        kernel_tcp: entry(&memory.kernel_tcp),
    }
}

fn split_io(io: &core::IoStats) -> v1::BlkIoStat {
    let entries = |list: &[core::BlkioEntry]| {
        let entry = |e: &core::BlkioEntry| v1::BlkIoEntry {
            op: e.op.clone(),
            device: String::new(),
            major: e.major,
            minor: e.minor,
            value: e.value,
        };
        list.iter().map(entry).collect()
    };
    v1::BlkIoStat {
        io_service_bytes_recursive: entries(&io.service_bytes),
        io_serviced_recursive: entries(&io.serviced),
        io_queued_recursive: entries(&io.queued),
        io_service_time_recursive: entries(&io.service_time),
        io_wait_time_recursive: entries(&io.wait_time),
        io_merged_recursive: entries(&io.merged),
        io_time_recursive: entries(&io.time),
        sectors_recursive: entries(&io.sectors),
    }
}

fn psi(pressure: Option<&core::Pressure>) -> Option<v2::PsiStats> {
    let data = |line: &core::PressureLine| {
        Some(v2::PsiData { avg10: line.avg10, avg60: line.avg60, avg300: line.avg300, total: line.total })
    };
    pressure.map(|p| v2::PsiStats { some: data(&p.some), full: data(&p.full) })
}

fn unified(stats: &Stats) -> v2::Metrics {
    let cpu = &stats.cpu;
    let hugetlb = stats.hugetlb.iter().map(|(pagesize, huge)| v2::HugeTlbStat {
        current: huge.usage,
        max: huge.limit,
        pagesize: pagesize.clone(),
    });
    v2::Metrics {
        pids: Some(pids(stats)),
        cpu: Some(v2::CpuStat {
            usage_usec: cpu.total_ns / 1000,
            user_usec: cpu.user_ns / 1000,
            system_usec: cpu.kernel_ns / 1000,
            nr_periods: cpu.periods,
            nr_throttled: cpu.throttled_periods,
            throttled_usec: cpu.throttled_ns / 1000,
            psi: psi(cpu.pressure.as_ref()),
        }),
        memory: Some(unified_memory(&stats.memory)),
        rdma: Some(rdma(stats)),
        io: Some(unified_io(&stats.io)),
        hugetlb: hugetlb.collect(),
        memory_events: stats.memory.events.as_ref().map(|events| v2::MemoryEvents {
            low: events.low,
            high: events.high,
            max: events.max,
            oom: events.oom,
            oom_kill: events.oom_kill,
        }),
    }
}

fn unified_io(io: &core::IoStats) -> v2::IoStat {
    let entry = |device: &core::IoDevice| {
        let of = |name: &str| device.values.get(name).copied().unwrap_or(0);
        v2::IoEntry {
            major: device.major,
            minor: device.minor,
            rbytes: of("rbytes"),
            wbytes: of("wbytes"),
            rios: of("rios"),
            wios: of("wios"),
        }
    };
    v2::IoStat { usage: io.devices.iter().map(entry).collect(), psi: psi(io.pressure.as_ref()) }
}

fn unified_memory(memory: &core::MemoryStats) -> v2::MemoryStat {
    let of = |name: &str| memory.stat.get(name).copied().unwrap_or(0);
    v2::MemoryStat {
        anon: of("anon"),
        file: of("file"),
        kernel_stack: of("kernel_stack"),
        slab: of("slab"),
        sock: of("sock"),
        shmem: of("shmem"),
        file_mapped: of("file_mapped"),
        file_dirty: of("file_dirty"),
        file_writeback: of("file_writeback"),
        anon_thp: of("anon_thp"),
        inactive_anon: of("inactive_anon"),
        active_anon: of("active_anon"),
        inactive_file: of("inactive_file"),
        active_file: of("active_file"),
        unevictable: of("unevictable"),
        slab_reclaimable: of("slab_reclaimable"),
        slab_unreclaimable: of("slab_unreclaimable"),
        pgfault: of("pgfault"),
        pgmajfault: of("pgmajfault"),
        workingset_refault: of("workingset_refault_file"),
        workingset_activate: of("workingset_activate_file"),
        workingset_nodereclaim: of("workingset_nodereclaim"),
        pgrefill: of("pgrefill"),
        pgscan: of("pgscan"),
        pgsteal: of("pgsteal"),
        pgactivate: of("pgactivate"),
        pgdeactivate: of("pgdeactivate"),
        pglazyfree: of("pglazyfree"),
        pglazyfreed: of("pglazyfreed"),
        thp_fault_alloc: of("thp_fault_alloc"),
        thp_collapse_alloc: of("thp_collapse_alloc"),
        usage: memory.usage.usage,
        usage_limit: memory.usage.limit,
        swap_usage: memory.swap.usage,
        swap_limit: memory.swap.limit,
        max_usage: memory.usage.max_usage,
        swap_max_usage: memory.swap.max_usage,
        psi: psi(memory.pressure.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    orlop_core::message! {
        /// As cgroup2/stats/metrics.proto of containerd/cgroups v3 has it, written down once more and only for pressure.
        Metrics { cpu: Option<Cpu> = 2, memory: Option<Memory> = 4, io: Option<Io> = 6 }
        Cpu { usage_usec: u64 = 1, psi: Option<Psi> = 7 }
        Memory { usage: u64 = 32, psi: Option<Psi> = 38 }
        Io { psi: Option<Psi> = 2 }
        Psi { some: Option<Data> = 1, full: Option<Data> = 2 }
        Data { avg10: f64 = 1, avg60: f64 = 2, avg300: f64 = 3, total: u64 = 4 }
    }

    fn pressure(from: u64) -> core::Pressure {
        let line = |total: u64| core::PressureLine { avg10: 0.5, avg60: 1.25, avg300: 99.0, total };
        core::Pressure { some: line(from), full: line(from + 1) }
    }

    fn data(total: u64) -> Option<Data> {
        Some(Data { avg10: 0.5, avg60: 1.25, avg300: 99.0, total })
    }

    #[test]
    fn pressure_is_where_clients_look_for_it() {
        let mut stats = Stats { unified: true, ..Stats::default() };
        stats.cpu.total_ns = 5_000;
        stats.cpu.pressure = Some(pressure(10));
        stats.memory.usage.usage = 7;
        stats.memory.pressure = Some(pressure(20));
        stats.io.pressure = Some(pressure(30));
        let any = any(&stats);
        assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
        let metrics = Metrics::decode(&any.value).unwrap();
        let psi = |from| Some(Psi { some: data(from), full: data(from + 1) });
        assert_eq!(metrics.cpu, Some(Cpu { usage_usec: 5, psi: psi(10) }));
        assert_eq!(metrics.memory, Some(Memory { usage: 7, psi: psi(20) }));
        assert_eq!(metrics.io, Some(Io { psi: psi(30) }));
        // The bytes of one line, by hand: three doubles, and a number.
        let line = Data { avg10: 0.5, avg60: 0.0, avg300: 0.0, total: 300 };
        assert_eq!(line.encode(), [0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0x20, 0xac, 0x02]);
    }

    #[test]
    fn without_pressure_none_is_told() {
        let stats = Stats { unified: true, ..Stats::default() };
        let metrics = Metrics::decode(&any(&stats).value).unwrap();
        assert_eq!(metrics.cpu.map(|cpu| cpu.psi), Some(None));
    }
}
