//! The figures, typed.

use std::collections::BTreeMap;

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// The figures are those of version 2 alone.  On a hybrid host they are version 1's, and those of pressure version 2's.
    pub unified: bool,
    /// Processors.
    pub cpu: CpuStats,
    /// Which processors and memory nodes may be used.
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// The number of processes and threads.
    pub pids: PidsStats,
    /// Block devices.
    pub io: IoStats,
    /// Huge pages, by page size as the kernel writes it: `2MB`, `1GB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// RDMA devices.
    pub rdma: RdmaStats,
    /// The resources of the misc controller, by name.
    pub misc: BTreeMap<String, MiscStats>,
}

/// Use of the processors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuStats {
    /// Time on all processors, in ns.
    pub total_ns: u64,
    /// Of that, in user mode.
    pub user_ns: u64,
    /// Of that, in the kernel.
    pub kernel_ns: u64,
    /// Time on each processor (version 1).
    pub percpu_ns: Vec<u64>,
    /// Of that, in user mode.
    pub percpu_user_ns: Vec<u64>,
    /// Of that, in the kernel.
    pub percpu_kernel_ns: Vec<u64>,
    /// Periods of the quota that have passed.
    pub periods: u64,
    /// Those in which the quota was used up.
    pub throttled_periods: u64,
    /// For how long processes were held back, in ns.
    pub throttled_ns: u64,
    /// Periods in which more than the quota was used, by a burst.
    pub bursts: u64,
    /// The time beyond the quota, in ns.
    pub burst_ns: u64,
    /// Want of processors.
    pub pressure: Option<Pressure>,
}

/// The processors and memory nodes of a container; the flags are version 1's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpusetStats {
    /// Processors.
    pub cpus: Vec<u16>,
    /// Memory nodes.
    pub mems: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// `cpuset.mem_hardwall`.
    pub mem_hardwall: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.memory_pressure`.
    pub memory_pressure: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`.
    pub sched_relax_domain_level: i64,
}

/// Use of memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryStats {
    /// Everything that counts against the limit.
    pub usage: MemoryEntry,
    /// Version 1: memory and swap together.  Version 2: swap alone.
    pub swap: MemoryEntry,
    /// The kernel's memory for it (version 1; version 2 has `kernel` in `stat`).
    pub kernel: MemoryEntry,
    /// The kernel's memory for TCP (version 1).
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`, by the kernel's names.
    pub stat: BTreeMap<String, u64>,
    /// `memory.oom_control` (version 1).
    pub oom_control: Option<OomControl>,
    /// `memory.events` (version 2).
    pub events: Option<MemoryEvents>,
    /// Want of memory.
    pub pressure: Option<Pressure>,
}

/// A counter with a limit, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEntry {
    /// Now.
    pub usage: u64,
    /// The most it has been, as far as the kernel keeps that.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// The limit; no limit is a very great number: `u64::MAX` on version 2.
    pub limit: u64,
}

/// `memory.oom_control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomControl {
    /// Processes that run out wait, and are not killed.
    pub oom_kill_disable: u64,
    /// They wait now.
    pub under_oom: u64,
    /// Processes killed.
    pub oom_kill: u64,
}

/// `memory.events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Reclaimed though below `memory.low`.
    pub low: u64,
    /// Held back at `memory.high`.
    pub high: u64,
    /// Stopped by `memory.max`.
    pub max: u64,
    /// Found no memory to reclaim.
    pub oom: u64,
    /// Processes killed.
    pub oom_kill: u64,
    /// Times the whole group was killed.
    pub oom_group_kill: u64,
}

/// The number of processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At most; `None` for no limit.
    pub limit: Option<u64>,
}

/// Use of block devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoStats {
    /// Bytes, by device and sort of access.
    pub service_bytes: Vec<BlkioEntry>,
    /// Requests.
    pub serviced: Vec<BlkioEntry>,
    /// Requests that wait (version 1, of old schedulers, as all from here on).
    pub queued: Vec<BlkioEntry>,
    /// Time from dispatch to completion, in ns.
    pub service_time: Vec<BlkioEntry>,
    /// Time in the queue, in ns.
    pub wait_time: Vec<BlkioEntry>,
    /// Requests merged with others.
    pub merged: Vec<BlkioEntry>,
    /// Time of the device, in ms.
    pub time: Vec<BlkioEntry>,
    /// Sectors.
    pub sectors: Vec<BlkioEntry>,
    /// `io.stat` (version 2).
    pub devices: Vec<IoDevice>,
    /// Want of block devices.
    pub pressure: Option<Pressure>,
}

/// A figure of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// The sort of access: `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total`; empty where they are not told apart.
    pub op: String,
    /// How much.
    pub value: u64,
}

/// A line of `io.stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoDevice {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// The figures, by the kernel's names: `rbytes`, `wbytes`, `rios`, `wios`, `dbytes`, `dios`, ….
    pub values: BTreeMap<String, u64>,
}

/// Use of huge pages of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// Bytes now.
    pub usage: u64,
    /// The most it has been (version 1).
    pub max_usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// The limit, in bytes; no limit is a very great number.
    pub limit: u64,
}

/// Use of RDMA devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdmaStats {
    /// Now.
    pub current: Vec<RdmaDevice>,
    /// At most.
    pub limit: Vec<RdmaDevice>,
}

/// Handles and objects of an RDMA device; no limit is `u32::MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RdmaDevice {
    /// The device's name.
    pub device: String,
    /// `hca_handle`.
    pub hca_handles: u32,
    /// `hca_object`.
    pub hca_objects: u32,
}

/// A resource of the misc controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MiscStats {
    /// Now.
    pub usage: u64,
    /// How often the limit was hit.
    pub events: u64,
}

/// Pressure stall information: for how much of the time processes waited for a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one waited.
    pub some: PressureLine,
    /// All waited.
    pub full: PressureLine,
}

/// A line of a pressure file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PressureLine {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last five minutes.
    pub avg300: f64,
    /// Time in all, in µs.
    pub total: u64,
}
