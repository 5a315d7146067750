//! `linux.resources`: values no cgroup takes.

use crate::spec::fault::{Report, member};
use crate::spec::lists::{MAX_CPU, MAX_NODE, parse_list};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};
use std::collections::BTreeMap;

pub(in crate::spec) fn check(resources: &LinuxResources, report: &mut Report) {
    for (index, rule) in resources.devices().iter().flatten().enumerate() {
        device_rule(&format!("linux.resources.devices[{index}]"), rule, report);
    }
    if let Some(memory) = resources.memory() {
        check_memory(memory, report);
    }
    if let Some(cpu) = resources.cpu() {
        check_cpu(cpu, report);
    }
    if let Some(limit) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit < -1) {
        report.fault("linux.resources.pids.limit", format!("{limit} is less than -1 (no limit)"));
    }
    if let Some(io) = resources.block_io() {
        check_block_io(io, report);
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let at = format!("linux.resources.hugepageLimits[{index}]");
        if !is_page_size(limit.page_size()) {
            let message = format!("{:?} is not a page size such as \"2MB\" or \"1GB\"", limit.page_size());
            report.fault(format!("{at}.pageSize"), message);
        }
        if limit.limit() < 0 {
            report.fault(format!("{at}.limit"), format!("{} is negative", limit.limit()));
        }
    }
    check_named(resources, report);
}

fn device_rule(at: &str, rule: &LinuxDeviceCgroup, report: &mut Report) {
    if let Some(typ @ (LinuxDeviceType::U | LinuxDeviceType::P)) = rule.typ() {
        report.fault(format!("{at}.type"), format!("{:?} is not one of a, c, b", typ.as_str()));
    }
    for (key, number) in [("major", rule.major()), ("minor", rule.minor())] {
        // -1 is not in the spec, but is how runc and older engines write "all".
        if let Some(number) = number.filter(|number| *number < -1 || *number > i64::from(u32::MAX)) {
            report.fault(format!("{at}.{key}"), format!("{number} is not a device number"));
        }
    }
    if let Some(access) = rule.access().as_deref().filter(|access| !access.chars().all(|c| "rwm".contains(c)))
    {
        report.fault(format!("{at}.access"), format!("{access:?} is not composed of r, w and m"));
    }
}

fn check_memory(memory: &LinuxMemory, report: &mut Report) {
    // Deprecated by kernels, yet part of the spec.
    #[allow(deprecated)]
    let kernel = memory.kernel();
    let limits = [
        ("limit", memory.limit()),
        ("reservation", memory.reservation()),
        ("swap", memory.swap()),
        ("kernel", kernel),
        ("kernelTCP", memory.kernel_tcp()),
    ];
    for (key, limit) in limits {
        if let Some(limit) = limit.filter(|limit| *limit < -1) {
            report.fault(
                format!("linux.resources.memory.{key}"),
                format!("{limit} is less than -1 (unlimited)"),
            );
        }
    }
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit(), memory.swap())
        && swap < limit
    {
        let message =
            format!("{swap} is memory and swap together, so not less than the memory limit, {limit}");
        report.fault("linux.resources.memory.swap", message);
    }
    if let Some(swappiness) = memory.swappiness().filter(|swappiness| *swappiness > 100) {
        report.fault("linux.resources.memory.swappiness", format!("{swappiness} is not between 0 and 100"));
    }
}

fn check_cpu(cpu: &LinuxCpu, report: &mut Report) {
    if let (Some(quota @ 1..), Some(burst)) = (cpu.quota(), cpu.burst())
        && burst > quota.unsigned_abs()
    {
        report.fault("linux.resources.cpu.burst", format!("{burst} is more than the quota, {quota}"));
    }
    bandwidth(cpu, report);
    if let Some(idle) = cpu.idle().filter(|idle| !matches!(idle, 0 | 1)) {
        report.fault("linux.resources.cpu.idle", format!("{idle} is neither 0 nor 1"));
    }
    for (key, list, max) in [("cpus", cpu.cpus(), MAX_CPU), ("mems", cpu.mems(), MAX_NODE)] {
        let list = list.as_deref().filter(|list| !list.is_empty());
        if let Some(Err(message)) = list.map(|list| parse_list(list, max)) {
            report.fault(format!("linux.resources.cpu.{key}"), message);
        }
    }
}

/// The kernel's own bounds, in microseconds; 0 is how engines write "not set".
fn bandwidth(cpu: &LinuxCpu, report: &mut Report) {
    const AT: &str = "linux.resources.cpu";
    const LEAST: u64 = 1000;
    const LONGEST: u64 = 1_000_000;
    for (key, time) in [("quota", cpu.quota()), ("realtimeRuntime", cpu.realtime_runtime())] {
        if let Some(time) = time.filter(|time| *time < -1) {
            report.fault(format!("{AT}.{key}"), format!("{time} is less than -1 (unlimited)"));
        }
    }
    if let Some(quota) = cpu.quota().filter(|quota| (1..LEAST.cast_signed()).contains(quota)) {
        report.fault(
            format!("{AT}.quota"),
            format!("{quota} is less than {LEAST} microseconds, the least there is"),
        );
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0 && !(LEAST..=LONGEST).contains(period)) {
        let message = format!("{period} is not between {LEAST} and {LONGEST} microseconds");
        report.fault(format!("{AT}.period"), message);
    }
    if let (Some(runtime @ 1..), Some(period @ 1..)) = (cpu.realtime_runtime(), cpu.realtime_period())
        && runtime.unsigned_abs() > period
    {
        report.fault(format!("{AT}.realtimeRuntime"), format!("{runtime} is more than the period, {period}"));
    }
}

fn check_block_io(io: &LinuxBlockIo, report: &mut Report) {
    const AT: &str = "linux.resources.blockIO";
    weight(AT, "weight", io.weight(), report);
    weight(AT, "leafWeight", io.leaf_weight(), report);
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let at = format!("{AT}.weightDevice[{index}]");
        numbers(&at, device.major(), device.minor(), report);
        if device.weight().is_none() && device.leaf_weight().is_none() {
            report.fault(at.as_str(), "needs a weight or a leafWeight");
        }
        weight(&at, "weight", device.weight(), report);
        weight(&at, "leafWeight", device.leaf_weight(), report);
    }
    let throttles: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("throttleReadBpsDevice", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", io.throttle_write_iops_device()),
    ];
    for (key, devices) in throttles {
        for (index, device) in devices.iter().flatten().enumerate() {
            numbers(&format!("{AT}.{key}[{index}]"), device.major(), device.minor(), report);
        }
    }
}

/// The range of cgroup v1, from which v2's is converted; 0 is how engines write "not set".
fn weight(at: &str, key: &str, weight: Option<u16>, report: &mut Report) {
    if let Some(weight) = weight.filter(|weight| *weight != 0 && !(10..=1000).contains(weight)) {
        report.fault(format!("{at}.{key}"), format!("{weight} is not between 10 and 1000"));
    }
}

fn numbers(at: &str, major: i64, minor: i64, report: &mut Report) {
    for (key, number) in [("major", major), ("minor", minor)] {
        if !(0..=i64::from(u32::MAX)).contains(&number) {
            report.fault(format!("{at}.{key}"), format!("{number} is not a device number"));
        }
    }
}

/// `<size><unit-prefix>B`, as in the names of hugetlb's files.
fn is_page_size(size: &str) -> bool {
    let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = &size[digits.len()..];
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
        && matches!(unit, "KB" | "MB" | "GB" | "TB" | "PB")
}

/// The kernel's `IFNAMSIZ`, without the end.
const MAX_INTERFACE_NAME: usize = 15;

/// The entries whose names are data.
fn check_named(resources: &LinuxResources, report: &mut Report) {
    let priorities = resources.network().iter().filter_map(|network| network.priorities().as_ref()).flatten();
    for (index, priority) in priorities.enumerate() {
        let name = priority.name();
        if name.is_empty() || name.len() > MAX_INTERFACE_NAME || name.contains(char::is_whitespace) {
            let message = format!("{:?} is not an interface name", priority.name());
            report.fault(format!("linux.resources.network.priorities[{index}].name"), message);
        }
    }
    let rdma: BTreeMap<_, _> = resources.rdma().iter().flatten().collect();
    for (device, limits) in rdma {
        if device.is_empty() || device.contains(char::is_whitespace) {
            report.fault(member("linux.resources.rdma", device), "is not the name of a device");
        }
        if limits.hca_handles().is_none() && limits.hca_objects().is_none() {
            report.fault(member("linux.resources.rdma", device), "needs hcaHandles or hcaObjects");
        }
    }
    let unified: BTreeMap<_, _> = resources.unified().iter().flatten().collect();
    for file in unified.into_keys() {
        if file.is_empty() || file == "." || file == ".." || file.contains('/') {
            report.fault(member("linux.resources.unified", file), "is not the name of a file in a cgroup");
        }
    }
}
