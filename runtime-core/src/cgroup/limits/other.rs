//! The smaller ones: pids, huge pages, network, rdma, and `unified`.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxRdma};

use super::{LimitWrite, Missing, Side, Target};
use crate::spec::member;

/// Files of version 2 that are no settings of a container: writing them moves, stops or ends processes, or takes from the
/// group what it needs to have any.
const NO_SETTINGS: [&str; 7] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.type",
    "cgroup.subtree_control",
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.controllers",
];

/// The same file in both versions.
pub(super) fn pids(limit: i64, target: &mut Target<'_>) {
    const ORIGIN: &str = "linux.resources.pids.limit";
    // No limit is what there is without the controller.
    let side = if limit < 0 { target.find("pids") } else { target.side("pids", ORIGIN) };
    let Some(side) = side else { return };
    // The container's own process is there in any case, so that 0 and 1 are one; systemd can say only the second.
    let limit = if limit == 0 { 1 } else { limit };
    target.one(LimitWrite::new("pids", side, "pids.max", &super::or_max(limit), ORIGIN));
}

/// What is used is limited by the one file, what is reserved (and may be used later) by the other, where the kernel has it.
pub(super) fn huge_pages(
    limits: &[LinuxHugepageLimit],
    large: &BTreeMap<usize, u64>,
    target: &mut Target<'_>,
) {
    for (index, limit) in limits.iter().enumerate() {
        let origin = format!("linux.resources.hugepageLimits[{index}]");
        let Some(side) = target.side("hugetlb", &origin) else { continue };
        let bytes = large.get(&index).copied().unwrap_or_else(|| limit.limit().unsigned_abs());
        let max = if side == Side::V1 { "limit_in_bytes" } else { "max" };
        let size = limit.page_size();
        target.one(LimitWrite::new("hugetlb", side, format!("hugetlb.{size}.{max}"), &bytes, &origin));
        let reserved =
            LimitWrite::new("hugetlb", side, format!("hugetlb.{size}.rsvd.{max}"), &bytes, &origin);
        target.one(reserved.or(Missing::Skip));
    }
}

pub(super) fn network(network: &LinuxNetwork, target: &mut Target<'_>) {
    // 0 is the class of everybody who has none.
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        let origin = "linux.resources.network.classID";
        if let Some(side) = target.side("net_cls", origin) {
            target.one(LimitWrite::new("net_cls", side, "net_cls.classid", &class, origin));
        }
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let origin = format!("linux.resources.network.priorities[{index}]");
        let Some(side) = target.side("net_prio", &origin) else { continue };
        let value = format!("{} {}", priority.name(), priority.priority());
        target.one(LimitWrite::new("net_prio", side, "net_prio.ifpriomap", &value, &origin));
    }
}

/// The same file in both versions.
pub(super) fn rdma<'a>(devices: impl Iterator<Item = (&'a String, &'a LinuxRdma)>, target: &mut Target<'_>) {
    let devices: BTreeMap<_, _> = devices.collect();
    for (device, limits) in devices {
        let origin = member("linux.resources.rdma", device);
        let Some(side) = target.side("rdma", &origin) else { continue };
        let mut value = device.clone();
        if let Some(handles) = limits.hca_handles() {
            value.push_str(&format!(" hca_handle={handles}"));
        }
        if let Some(objects) = limits.hca_objects() {
            value.push_str(&format!(" hca_object={objects}"));
        }
        target.one(LimitWrite::new("rdma", side, "rdma.max", &value, &origin));
    }
}

/// Files of version 2 by their names.
pub(super) fn unified<'a>(files: impl Iterator<Item = (&'a String, &'a String)>, target: &mut Target<'_>) {
    let files: BTreeMap<_, _> = files.collect();
    for (file, value) in files {
        let origin = member("linux.resources.unified", file);
        if target.placement.v2().is_none() {
            target.fault(&origin, "a file of cgroup version 2, which this host has not mounted");
            continue;
        }
        if NO_SETTINGS.contains(&file.as_str()) {
            target
                .fault(&origin, "not a setting: the runtime itself governs the container's processes by it");
            continue;
        }
        let controller = file.split('.').next().unwrap_or(file);
        // The kernel takes one line in one call.
        let lines = value.split('\n').filter(|line| !line.is_empty());
        let mut lines: Vec<&str> = lines.collect();
        if lines.is_empty() {
            // To write nothing is no write at all.
            lines.push("\n");
        }
        let write = |line: &&str| LimitWrite::new(controller, Side::V2, file.as_str(), *line, &origin);
        let writes: Vec<LimitWrite> = lines.iter().map(write).collect();
        if controller == "cpuset" {
            writes.into_iter().for_each(|write| target.before_process(vec![write]));
        } else {
            writes.into_iter().for_each(|write| target.one(write));
        }
    }
}
