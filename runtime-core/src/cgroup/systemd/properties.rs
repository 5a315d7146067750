//! Limits as properties of a unit.
//!
//! systemd writes into the files of its units what it believes to be so, whenever it sees fit: on daemon-reload, or when a
//! neighbour changes.  So it is told of every value that it has a property for.  What it has none for is ours to write,
//! and so is what it would round.

use super::value::Value;

/// No limit.
const INFINITY: u64 = u64::MAX;

/// The properties that stand for the values of files: `(in the group of version 2, file, value)`.
pub(super) fn of_values<'a>(
    values: impl Iterator<Item = (bool, &'a str, &'a str)> + Clone,
) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = Vec::new();
    for (unified, file, value) in values.clone() {
        let properties = if unified { of_v2(file, value) } else { of_v1(file, value) };
        for (name, value) in properties.unwrap_or_default() {
            add(&mut found, name, value);
        }
    }
    found.extend(quota_of_v1(values));
    found
}

/// Lists grow, single values are the last.
fn add(found: &mut Vec<(String, Value)>, name: &str, value: Value) {
    match (found.iter_mut().find(|(n, _)| n == name), value) {
        (Some((_, Value::Array(of, there))), Value::Array(_, more)) if of != "y" => there.extend(more),
        (Some((_, there)), value) => *there = value,
        (None, value) => found.push((name.to_owned(), value)),
    }
}

type Properties = Vec<(&'static str, Value)>;

fn of_v2(file: &str, value: &str) -> Option<Properties> {
    let one = |name, value| Some(vec![(name, value)]);
    match file {
        "memory.max" => one("MemoryMax", amount(value)?),
        "memory.high" => one("MemoryHigh", amount(value)?),
        "memory.low" => one("MemoryLow", amount(value)?),
        "memory.min" => one("MemoryMin", amount(value)?),
        // Else systemd sets it back with the next change of a memory limit.
        "memory.oom.group" => match value.trim() {
            "0" => one("OOMPolicy", Value::text("continue")),
            "1" => one("OOMPolicy", Value::text("kill")),
            _ => None,
        },
        "memory.swap.max" => one("MemorySwapMax", amount(value)?),
        "memory.zswap.max" => one("MemoryZSwapMax", amount(value)?),
        "pids.max" => one("TasksMax", amount(value)?),
        "cpu.weight" => one("CPUWeight", amount(value)?),
        // systemd writes cpu.idle for the weight 0.
        "cpu.idle" if value.trim() == "1" => one("CPUWeight", Value::U64(0)),
        "cpu.max" => {
            let mut parts = value.split_whitespace();
            let quota = parts.next()?;
            let quota = if quota == "max" { None } else { Some(quota.parse().ok()?) };
            let period = parts.next().map_or(Some(100_000), |period| period.parse().ok())?;
            Some(cpu_quota(quota, period))
        }
        "cpuset.cpus" => one("AllowedCPUs", set(value)?),
        "cpuset.mems" => one("AllowedMemoryNodes", set(value)?),
        "io.weight" => match device_and_rest(value) {
            Some((device, weight)) => one("IODeviceWeight", of_device(device, weight.parse().ok()?)),
            None => one("IOWeight", amount(value.strip_prefix("default").unwrap_or(value))?),
        },
        "io.max" => {
            let (device, limits) = device_and_rest(value)?;
            limits.split_whitespace().map(|limit| throttle_of_v2(&device, limit)).collect()
        }
        _ => None,
    }
}

fn throttle_of_v2(device: &str, limit: &str) -> Option<(&'static str, Value)> {
    let (key, number) = limit.split_once('=')?;
    let name = match key {
        "rbps" => "IOReadBandwidthMax",
        "wbps" => "IOWriteBandwidthMax",
        "riops" => "IOReadIOPSMax",
        "wiops" => "IOWriteIOPSMax",
        _ => return None,
    };
    let Value::U64(number) = amount(number)? else { return None };
    Some((name, of_device(device.to_owned(), number)))
}

fn of_v1(file: &str, value: &str) -> Option<Properties> {
    let name = match file {
        "memory.limit_in_bytes" => "MemoryLimit",
        "cpu.shares" => "CPUShares",
        "pids.max" => "TasksMax",
        "blkio.weight" => "BlockIOWeight",
        "blkio.weight_device" => "BlockIODeviceWeight",
        "blkio.throttle.read_bps_device" => "BlockIOReadBandwidth",
        "blkio.throttle.write_bps_device" => "BlockIOWriteBandwidth",
        _ => return None,
    };
    Some(vec![match device_and_rest(value) {
        Some((device, number)) => (name, of_device(device, number.parse().ok()?)),
        None => (name, amount(value)?),
    }])
}

/// Version 1 has two files for what is one property.
fn quota_of_v1<'a>(values: impl Iterator<Item = (bool, &'a str, &'a str)>) -> Vec<(String, Value)> {
    let (mut quota, mut period) = (None, None);
    for (_, file, value) in values.filter(|(unified, ..)| !unified) {
        match file {
            "cpu.cfs_quota_us" => quota = value.trim().parse::<i64>().ok(),
            "cpu.cfs_period_us" => period = value.trim().parse::<u64>().ok(),
            _ => {}
        }
    }
    let Some(quota) = quota else { return Vec::new() };
    let properties = cpu_quota(u64::try_from(quota).ok(), period.unwrap_or(100_000));
    properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn cpu_quota(quota: Option<u64>, period: u64) -> Properties {
    // systemd reckons in hundredths of a processor, so it is told of the next one above; the file gets the exact value.
    let per_second = |quota: u64| {
        let exact = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
        u64::try_from(exact.next_multiple_of(10_000)).unwrap_or(INFINITY)
    };
    vec![
        ("CPUQuotaPerSecUSec", Value::U64(quota.map_or(INFINITY, per_second))),
        ("CPUQuotaPeriodUSec", Value::U64(period)),
    ]
}

/// A number; a negative one of version 1, and `max`, are no limit.
fn amount(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "max" => Some(Value::U64(INFINITY)),
        _ if text.starts_with('-') => text.parse::<i64>().ok().map(|_| Value::U64(INFINITY)),
        _ => text.parse().ok().map(Value::U64),
    }
}

/// `8:0 …`: the device as systemd wants it, which need not be there by that name, and what follows.
fn device_and_rest(value: &str) -> Option<(String, &str)> {
    let (device, rest) = value.trim().split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let _numbers: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some((format!("/dev/block/{device}"), rest.trim()))
}

fn of_device(device: String, number: u64) -> Value {
    Value::Array("(st)".to_owned(), vec![Value::Struct(vec![Value::Text(device), Value::U64(number)])])
}

/// A list as cpuset(7) has it, as a bit for each member.
fn set(list: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        for member in first..=last {
            let (byte, bit) = (usize::from(member / 8), member % 8);
            bytes.resize(bytes.len().max(byte + 1), 0u8);
            *bytes.get_mut(byte)? |= 1 << bit;
        }
    }
    // An empty set means "all" to systemd as well.
    Some(Value::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unified: bool, values: &[(&str, &str)]) -> Vec<(String, Value)> {
        of_values(values.iter().map(|(file, value)| (unified, *file, *value)))
    }

    fn named(expected: &[(&str, Value)]) -> Vec<(String, Value)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn devices(pairs: &[(&str, u64)]) -> Value {
        let pair = |(device, n): &(&str, u64)| Value::Struct(vec![Value::text(*device), Value::U64(*n)]);
        Value::Array("(st)".into(), pairs.iter().map(pair).collect())
    }

    #[test]
    fn of_version_2() {
        for (file, value, expected) in [
            ("memory.max", "1000", ("MemoryMax", Value::U64(1000))),
            ("memory.max", "max", ("MemoryMax", Value::U64(u64::MAX))),
            ("memory.low", "7", ("MemoryLow", Value::U64(7))),
            ("memory.swap.max", "0", ("MemorySwapMax", Value::U64(0))),
            ("memory.oom.group", "1", ("OOMPolicy", Value::text("kill"))),
            ("pids.max", "max", ("TasksMax", Value::U64(u64::MAX))),
            ("cpu.weight", "39", ("CPUWeight", Value::U64(39))),
            ("cpu.idle", "1", ("CPUWeight", Value::U64(0))),
            ("cpuset.cpus", "0-1,9", ("AllowedCPUs", Value::bytes([3, 2]))),
            ("cpuset.mems", "0", ("AllowedMemoryNodes", Value::bytes([1]))),
            ("io.weight", "default 500", ("IOWeight", Value::U64(500))),
            ("io.weight", "500", ("IOWeight", Value::U64(500))),
            ("io.weight", "8:0 50", ("IODeviceWeight", devices(&[("/dev/block/8:0", 50)]))),
        ] {
            assert_eq!(of(true, &[(file, value)]), named(&[expected]), "{file} {value}");
        }
        for (file, value) in
            [("cpu.idle", "0"), ("memory.max", "lots"), ("io.max", "x rbps=1"), ("hugetlb.2MB.max", "1")]
        {
            assert_eq!(of(true, &[(file, value)]), [], "{file} {value}");
        }
    }

    #[test]
    fn quotas_are_rounded_up_to_what_systemd_knows() {
        for (value, per_second, period) in [
            ("50000 100000", 500_000, 100_000),
            ("12345 100000", 130_000, 100_000),
            ("1 1000000", 10_000, 1_000_000),
            ("max 50000", u64::MAX, 50_000),
            ("20000", 200_000, 100_000),
        ] {
            let expected = named(&[
                ("CPUQuotaPerSecUSec", Value::U64(per_second)),
                ("CPUQuotaPeriodUSec", Value::U64(period)),
            ]);
            assert_eq!(of(true, &[("cpu.max", value)]), expected, "{value}");
        }
        let v1 = [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "25000")];
        let expected =
            named(&[("CPUQuotaPerSecUSec", Value::U64(500_000)), ("CPUQuotaPeriodUSec", Value::U64(50_000))]);
        assert_eq!(of(false, &v1), expected);
        assert_eq!(of(false, &v1[..1]), []);
    }

    #[test]
    fn devices_are_gathered() {
        let values = [("io.max", "8:0 rbps=1 wiops=max"), ("io.max", "8:16 rbps=2")];
        let expected = named(&[
            ("IOReadBandwidthMax", devices(&[("/dev/block/8:0", 1), ("/dev/block/8:16", 2)])),
            ("IOWriteIOPSMax", devices(&[("/dev/block/8:0", u64::MAX)])),
        ]);
        assert_eq!(of(true, &values), expected);
    }

    #[test]
    fn of_version_1() {
        for (file, value, expected) in [
            ("memory.limit_in_bytes", "-1", ("MemoryLimit", Value::U64(u64::MAX))),
            ("cpu.shares", "512", ("CPUShares", Value::U64(512))),
            ("pids.max", "5", ("TasksMax", Value::U64(5))),
            ("blkio.weight", "100", ("BlockIOWeight", Value::U64(100))),
            (
                "blkio.throttle.read_bps_device",
                "8:0 9",
                ("BlockIOReadBandwidth", devices(&[("/dev/block/8:0", 9)])),
            ),
        ] {
            assert_eq!(of(false, &[(file, value)]), named(&[expected]), "{file}");
        }
        // The same names mean files of version 2 only there.
        assert_eq!(of(false, &[("memory.max", "1")]), []);
    }

    /// The last of several values of a file is what is in effect.
    #[test]
    fn the_last_value_counts() {
        let twice = [("memory.max", "1"), ("memory.max", "2")];
        assert_eq!(of(true, &twice), named(&[("MemoryMax", Value::U64(2))]));
        let twice = [("cpuset.cpus", "0"), ("cpuset.cpus", "1")];
        assert_eq!(of(true, &twice), named(&[("AllowedCPUs", Value::bytes([2]))]));
    }
}
