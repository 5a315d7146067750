//! Readers of the kernel's formats: pure functions from text to figures.

use std::collections::BTreeMap;

use super::super::files::keyed;
use super::types::{BlkioEntry, IoDevice, Pressure, PressureLine, RdmaDevice};

/// A number; `max` is the greatest there is.  Version 1 writes no limit as `-1` in some files.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(u64::MAX),
        other => other.parse().ok(),
    }
}

/// Numbers with blanks between.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Lines of `key number`.
pub(super) fn map(text: &str) -> BTreeMap<String, u64> {
    keyed(text).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A list of ranges, as `0-3,7`.
pub(super) fn ranges(text: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            all.extend(first..=last);
        }
    }
    all
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Files of the blkio controller: `8:0 Read 4096`, or `8:0 4096`.  The sum of all devices, `Total 4096`, is left out.
pub(super) fn blkio(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (major, minor) = device(words.first()?)?;
        let (op, value) = match words.get(1..)? {
            [value] => ("", value),
            [op, value] => (*op, value),
            _ => return None,
        };
        Some(BlkioEntry { major, minor, op: op.to_owned(), value: value.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// `io.stat`: `8:0 rbytes=4096 wbytes=0 …`; figures that are no whole numbers are left out.
pub(super) fn io_stat(text: &str) -> Vec<IoDevice> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let values = words.filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        });
        Some(IoDevice { major, minor, values: values.collect() })
    };
    text.lines().filter_map(line).collect()
}

/// `mlx4_0 hca_handle=2 hca_object=max`.
pub(super) fn rdma(text: &str) -> Vec<RdmaDevice> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let mut found = RdmaDevice { device: words.next()?.to_owned(), ..RdmaDevice::default() };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = if value == "max" { u32::MAX } else { value.parse().ok()? };
            match key {
                "hca_handle" => found.hca_handles = value,
                "hca_object" => found.hca_objects = value,
                _ => {}
            }
        }
        Some(found)
    };
    text.lines().filter_map(line).collect()
}

/// A pressure file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`.
pub(super) fn pressure(text: &str) -> Pressure {
    let mut found = Pressure::default();
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "some" => found.some = pressure_line(rest),
            "full" => found.full = pressure_line(rest),
            _ => {}
        }
    }
    found
}

fn pressure_line(text: &str) -> PressureLine {
    let mut found = PressureLine::default();
    for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => found.avg10 = value.parse().unwrap_or_default(),
            "avg60" => found.avg60 = value.parse().unwrap_or_default(),
            "avg300" => found.avg300 = value.parse().unwrap_or_default(),
            "total" => found.total = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    found
}
