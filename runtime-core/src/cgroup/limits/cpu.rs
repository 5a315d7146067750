//! `linux.resources.cpu`.

use oci_spec::runtime::LinuxCpu;

use super::convert::shares_to_weight;
use super::{LimitWrite, Missing, Side, Target};

const AT: &str = "linux.resources.cpu";
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// The period of version 2's groups, as the kernel makes them.
const PERIOD: u64 = 100_000;

pub(super) fn compile(cpu: &LinuxCpu, target: &mut Target<'_>) {
    sets(cpu, target);
    realtime(cpu, target);
    weight(cpu, target);
    bandwidth(cpu, target);
}

/// The same files in both versions.
fn sets(cpu: &LinuxCpu, target: &mut Target<'_>) {
    for (key, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        let origin = format!("{AT}.{key}");
        let Some(side) = target.side("cpuset", &origin) else { continue };
        target.before_process(vec![LimitWrite::new("cpuset", side, format!("cpuset.{key}"), list, &origin)]);
    }
}

/// Without a budget of real time, no process of a real-time policy can enter the group.
fn realtime(cpu: &LinuxCpu, target: &mut Target<'_>) {
    let period = cpu.realtime_period().filter(|period| *period != 0).map(|n| n.to_string());
    let runtime = cpu.realtime_runtime().filter(|runtime| *runtime != 0).map(|n| n.to_string());
    let mut writes = Vec::new();
    for (key, file, value) in
        [("realtimePeriod", "cpu.rt_period_us", period), ("realtimeRuntime", "cpu.rt_runtime_us", runtime)]
    {
        let Some(value) = value else { continue };
        let origin = format!("{AT}.{key}");
        match target.side("cpu", &origin) {
            Some(Side::V1) => writes.push(LimitWrite::new("cpu", Side::V1, file, &value, &origin)),
            Some(Side::V2) => target.fault(&origin, "cgroup version 2 has no budget of real time"),
            None => {}
        }
    }
    target.before_process(writes);
}

fn weight(cpu: &LinuxCpu, target: &mut Target<'_>) {
    if let Some(idle) = cpu.idle() {
        let origin = format!("{AT}.idle");
        // Without the file no group is idle.
        let side = if idle == 0 { target.find("cpu") } else { target.side("cpu", &origin) };
        if let Some(side) = side {
            let missing = if idle == 0 { Missing::Skip } else { Missing::Since(5, 15) };
            target.one(LimitWrite::new("cpu", side, "cpu.idle", &idle, &origin).or(missing));
        }
    }
    let Some(shares) = cpu.shares().filter(|shares| *shares != 0) else { return };
    let origin = format!("{AT}.shares");
    if cpu.idle() == Some(1) {
        return target.warn(&origin, "no effect: an idle group has the least weight there is");
    }
    match target.side("cpu", &origin) {
        // The kernel would take the nearest value and not say so.
        Some(Side::V1) if !SHARES.contains(&shares) => {
            target.fault(&origin, format!("{shares} is not between {} and {}", SHARES.start(), SHARES.end()));
        }
        Some(Side::V1) => target.one(LimitWrite::new("cpu", Side::V1, "cpu.shares", &shares, &origin)),
        Some(Side::V2) => {
            target.one(LimitWrite::new("cpu", Side::V2, "cpu.weight", &shares_to_weight(shares), &origin));
        }
        None => {}
    }
}

fn bandwidth(cpu: &LinuxCpu, target: &mut Target<'_>) {
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let (at_period, at_quota, at_burst) =
        (format!("{AT}.period"), format!("{AT}.quota"), format!("{AT}.burst"));
    let first =
        [(period.is_some(), &at_period), (quota.is_some(), &at_quota), (cpu.burst().is_some(), &at_burst)];
    let Some((_, first)) = first.into_iter().find(|(given, _)| *given) else { return };
    let Some(side) = target.side("cpu", first) else { return };
    let mut writes = Vec::new();
    let mut write = |file: &str, value: String, origin: &str| {
        writes.push(LimitWrite::new("cpu", side, file, &value, origin));
    };
    match (side, quota, period) {
        (Side::V1, ..) => {
            if let Some(period) = period {
                write("cpu.cfs_period_us", period.to_string(), &at_period);
            }
            if let Some(quota) = quota {
                write("cpu.cfs_quota_us", quota.max(-1).to_string(), &at_quota);
            }
        }
        (Side::V2, None, None) => {}
        (Side::V2, quota, period) => {
            let origin = if quota.is_some() { &at_quota } else { &at_period };
            let quota = super::or_max(quota.unwrap_or(-1));
            write("cpu.max", format!("{quota} {}", period.unwrap_or(PERIOD)), origin);
        }
    }
    if let Some(burst) = cpu.burst() {
        let file = if side == Side::V1 { "cpu.cfs_burst_us" } else { "cpu.max.burst" };
        let missing = if burst == 0 { Missing::Skip } else { Missing::Since(5, 14) };
        writes.push(LimitWrite::new("cpu", side, file, &burst, &at_burst).or(missing));
    }
    target.together(writes);
}
