//! `orlop update`: other limits for a container that runs.

use std::fs::File;
use std::io::Read;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use orlop_core::Update;
use orlop_core::spec::{MAX_CONFIG_BYTES, load_resources};
use orlop_core::sys::Reason;

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;

/// The flags that a file of resources makes pointless.
const RESOURCES: &[&str] = &[
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-burst",
    "cpu-share",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-idle",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "kernel-memory-tcp",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
];

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let mut update = match matches.text("resources")? {
        Some(path) => from_file(matches, path)?,
        None => Update { resources: from_flags(matches)?, ..Update::default() },
    };
    update.l3_cache_schema = text(matches, "l3-cache-schema")?;
    update.mem_bw_schema = text(matches, "mem-bw-schema")?;
    Ok(context.runtime()?.open(matches.id()?)?.update_with(&update)?)
}

fn from_file(matches: &Matches, path: &str) -> Result<Update, Failure> {
    let ignored: Vec<String> =
        RESOURCES.iter().filter(|flag| matches.has(flag)).map(|flag| format!("--{flag}")).collect();
    if !ignored.is_empty() {
        log::warn!("--resources is given, so {} is not looked at", ignored.join(", "));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_CONFIG_BYTES).unwrap_or(u64::MAX);
    let read = match path {
        "-" => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        path => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| Failure::new(format!("cannot read {path}: {}", Reason::of(&error))))?;
    let loaded = load_resources(&bytes).map_err(|error| Failure::new(error.to_string()))?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    Ok(Update { resources: loaded.resources, hugepage_limits: loaded.hugepage_limits, ..Update::default() })
}

fn from_flags(matches: &Matches) -> Result<LinuxResources, Failure> {
    let mut resources = LinuxResources::default();
    // Its default denies every device.
    resources.set_devices(None);
    resources.set_memory(Some(memory(matches)?)).set_cpu(Some(cpu(matches)?));
    if let Some(limit) = number(matches, "pids-limit")? {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = number(matches, "blkio-weight")? {
        let mut io = LinuxBlockIo::default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

fn memory(matches: &Matches) -> Result<LinuxMemory, Failure> {
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(size(matches, "memory")?)
        .set_reservation(size(matches, "memory-reservation")?)
        .set_swap(size(matches, "memory-swap")?)
        .set_kernel_tcp(size(matches, "kernel-memory-tcp")?);
    #[allow(deprecated, reason = "by kernels, and yet a flag of runc's")]
    memory.set_kernel(size(matches, "kernel-memory")?);
    Ok(memory)
}

fn cpu(matches: &Matches) -> Result<LinuxCpu, Failure> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(number(matches, "cpu-share")?)
        .set_quota(number(matches, "cpu-quota")?)
        .set_period(number(matches, "cpu-period")?)
        .set_burst(number(matches, "cpu-burst")?)
        .set_realtime_period(number(matches, "cpu-rt-period")?)
        .set_realtime_runtime(number(matches, "cpu-rt-runtime")?)
        .set_idle(number(matches, "cpu-idle")?)
        .set_cpus(text(matches, "cpuset-cpus")?)
        .set_mems(text(matches, "cpuset-mems")?);
    Ok(cpu)
}

/// The value of a flag; an empty one is none, as for runc.
fn text(matches: &Matches, flag: &str) -> Result<Option<String>, Failure> {
    Ok(matches.text(flag)?.filter(|text| !text.is_empty()).map(str::to_owned))
}

fn number<T: std::str::FromStr>(matches: &Matches, flag: &str) -> Result<Option<T>, Failure> {
    let Some(text) = text(matches, flag)? else { return Ok(None) };
    let invalid =
        || Failure::new(format!("invalid value for {flag}: \"{text}\" is not a number in its range"));
    text.parse().map(Some).map_err(|_| invalid())
}

fn size(matches: &Matches, flag: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = text(matches, flag)? else { return Ok(None) };
    bytes(&text)
        .map(Some)
        .ok_or_else(|| Failure::new(format!("invalid value for {flag}: invalid size: '{text}'")))
}

/// A size in bytes as runc takes it: `64m`, `1.5GB`, `2 KiB`, all powers of 1024; `-1` is no limit.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    if unit == "i" || !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let factor = 1_i64 << (10 * power);
    if let Ok(number) = number.parse::<i64>() {
        return number.checked_mul(factor);
    }
    let number: f64 = number.parse().ok()?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "exact up to 2^53, and a fraction of a byte is none"
    )]
    let bytes = (number * factor as f64) as i64;
    (bytes < i64::MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::find_command;
    use std::ffi::OsString;

    fn read(line: &str) -> Result<LinuxResources, Failure> {
        let args = line.split(' ').map(OsString::from).collect();
        from_flags(&find_command("update").unwrap().parse("orlop", args).unwrap())
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4096),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64MiB", 64 << 20),
            ("2 k", 2048),
            ("1.5g", 3 << 29),
            ("3p", 3 << 50),
            ("7b", 7),
            ("-1", -1),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "abc",
            "-2",
            "m",
            ".5m",
            "1x",
            "1  m",
            "1mm",
            "1.2.3",
            "1i",
            "9999999999999p",
            "99999999999999999999",
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn flags_become_resources() {
        let line = "--memory 64m --memory-swap -1 --memory-reservation 1k --kernel-memory 2k --kernel-memory-tcp 3k --cpu-share 7 \
            --cpu-quota -1 --cpu-period 8 --cpu-burst 9 --cpu-rt-period 10 --cpu-rt-runtime 11 --cpu-idle 1 --cpuset-cpus 0-1 \
            --cpuset-mems 0 --pids-limit 12 --blkio-weight 13 c1";
        let resources = read(line).unwrap();
        let expected = serde_json::json!({
            "memory": { "limit": 64 << 20, "swap": -1, "reservation": 1024, "kernel": 2048, "kernelTCP": 3072 },
            "cpu": {
                "shares": 7, "quota": -1, "period": 8, "burst": 9, "realtimePeriod": 10, "realtimeRuntime": 11,
                "idle": 1, "cpus": "0-1", "mems": "0"
            },
            "pids": { "limit": 12 },
            "blockIO": { "weight": 13 }
        });
        assert_eq!(serde_json::to_value(&resources).unwrap(), expected);
        let none = serde_json::to_value(read("c1").unwrap()).unwrap();
        assert_eq!(none, serde_json::json!({ "memory": {}, "cpu": {} }));
    }

    #[test]
    fn faults_name_the_flag() {
        for (line, expected) in [
            ("--memory abc c1", "invalid value for memory: invalid size: 'abc'"),
            ("--cpu-share x c1", "invalid value for cpu-share: \"x\" is not a number in its range"),
            ("--cpu-share -1 c1", "invalid value for cpu-share: \"-1\" is not a number in its range"),
            (
                "--blkio-weight 70000 c1",
                "invalid value for blkio-weight: \"70000\" is not a number in its range",
            ),
            ("--pids-limit 0x c1", "invalid value for pids-limit: \"0x\" is not a number in its range"),
        ] {
            assert_eq!(read(line).unwrap_err().message.as_deref(), Some(expected), "{line}");
        }
    }
}
