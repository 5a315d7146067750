//! `linux.resources.blockIO`.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::convert::io_weight;
use super::{LimitWrite, Missing, Side, Target};

const AT: &str = "linux.resources.blockIO";

/// The name of the controller, which is another in version 2.
const fn controller(side: Side) -> &'static str {
    match side {
        Side::V1 => "blkio",
        Side::V2 => "io",
    }
}

fn side(origin: &str, target: &mut Target<'_>) -> Option<Side> {
    if target.placement.v1("blkio").is_some() {
        return Some(Side::V1);
    }
    target.side("io", origin)
}

pub(super) fn compile(io: &LinuxBlockIo, target: &mut Target<'_>) {
    weights(io, target);
    leaf_weights(io, target);
    let throttles = [
        ("throttleReadBpsDevice", "read_bps", "rbps", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "write_bps", "wbps", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "read_iops", "riops", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "write_iops", "wiops", io.throttle_write_iops_device()),
    ];
    for (key, v1, v2, devices) in throttles {
        throttle(key, v1, v2, devices.as_deref().unwrap_or_default(), target);
    }
}

/// BFQ's files, in its range; without BFQ those of other schedulers: of version 1 before they lost their names, and of version
/// 2, where the range is another.
fn weights(io: &LinuxBlockIo, target: &mut Target<'_>) {
    let own = io.weight().map(|weight| (weight, String::new(), format!("{AT}.weight")));
    let devices = io.weight_device().iter().flatten().enumerate().filter_map(|(index, device)| {
        let number = format!("{}:{} ", device.major(), device.minor());
        Some((device.weight()?, number, format!("{AT}.weightDevice[{index}].weight")))
    });
    let all: Vec<_> = own.into_iter().chain(devices).filter(|(weight, ..)| *weight != 0).collect();
    for (weight, device, origin) in all {
        let Some(side) = side(&origin, target) else { continue };
        let value = format!("{device}{weight}");
        let of_device = if device.is_empty() { "" } else { "_device" };
        let (file, other, other_value) = match side {
            Side::V1 => {
                (format!("blkio.bfq.weight{of_device}"), format!("blkio.weight{of_device}"), value.clone())
            }
            Side::V2 => {
                ("io.bfq.weight".to_owned(), "io.weight".to_owned(), format!("{device}{}", io_weight(weight)))
            }
        };
        let missing = Missing::Instead { file: other, value: other_value };
        target.one(LimitWrite::new(controller(side), side, file, &value, &origin).or(missing));
    }
}

/// Linux 5.0 took the scheduler that knew them away.
fn leaf_weights(io: &LinuxBlockIo, target: &mut Target<'_>) {
    let own = io.leaf_weight().map(|weight| (weight, format!("{AT}.leafWeight")));
    let devices = io.weight_device().iter().flatten().enumerate().filter_map(|(index, device)| {
        Some((device.leaf_weight()?, format!("{AT}.weightDevice[{index}].leafWeight")))
    });
    let all: Vec<_> = own.into_iter().chain(devices).filter(|(weight, _)| *weight != 0).collect();
    for (_, origin) in all {
        target.fault(&origin, "leaf weights went with the CFQ scheduler: Linux 5.0 and later have none");
    }
}

fn throttle(key: &str, v1: &str, v2: &str, devices: &[LinuxThrottleDevice], target: &mut Target<'_>) {
    for (index, device) in devices.iter().enumerate() {
        let origin = format!("{AT}.{key}[{index}]");
        let Some(side) = side(&origin, target) else { continue };
        let (major, minor, rate) = (device.major(), device.minor(), device.rate());
        let (file, value) = match (side, rate) {
            (Side::V1, _) => (format!("blkio.throttle.{v1}_device"), format!("{major}:{minor} {rate}")),
            // Version 1 takes 0 for "no limit"; version 2 has a word for that.
            (Side::V2, 0) => ("io.max".to_owned(), format!("{major}:{minor} {v2}=max")),
            (Side::V2, _) => ("io.max".to_owned(), format!("{major}:{minor} {v2}={rate}")),
        };
        target.one(LimitWrite::new(controller(side), side, file, &value, &origin));
    }
}
