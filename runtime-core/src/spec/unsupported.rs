//! What the engine does not do yet.

use super::Fault;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, Spec};

/// The properties of `spec` that the engine cannot give effect to yet: seccomp filters, and cgroup resources
/// other than device rules.  Empty objects ask for nothing and are not listed.
#[must_use]
pub fn unsupported(spec: &Spec) -> Vec<Fault> {
    let Some(linux) = spec.linux() else { return Vec::new() };
    let mut faults = Vec::new();
    if linux.seccomp().is_some() {
        faults.push(fault("linux.seccomp", "seccomp filters"));
    }
    if let Some(resources) = linux.resources() {
        faults.extend(limits(resources));
    }
    faults
}

fn fault(path: impl Into<String>, what: &str) -> Fault {
    Fault { path: path.into(), message: format!("{what} are not supported yet") }
}

fn limits(resources: &LinuxResources) -> impl Iterator<Item = Fault> {
    let set = [
        ("memory", "memory limits", resources.memory().is_some_and(|it| it != LinuxMemory::default())),
        ("cpu", "cpu limits", resources.cpu().as_ref().is_some_and(|it| *it != LinuxCpu::default())),
        ("pids", "pids limits", resources.pids().is_some()),
        ("blockIO", "block I/O limits", resources.block_io().as_ref().is_some_and(block_io_set)),
        ("hugepageLimits", "huge page limits", resources.hugepage_limits().iter().flatten().next().is_some()),
        ("network", "network classes and priorities", resources.network().as_ref().is_some_and(network_set)),
        ("rdma", "rdma limits", resources.rdma().iter().flatten().next().is_some()),
        ("unified", "cgroup v2 parameters", resources.unified().iter().flatten().next().is_some()),
    ];
    set.into_iter()
        .filter(|(_, _, asked)| *asked)
        .map(|(key, what, _)| fault(format!("linux.resources.{key}"), what))
}

fn block_io_set(io: &LinuxBlockIo) -> bool {
    let throttles = [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ];
    io.weight().is_some()
        || io.leaf_weight().is_some()
        || io.weight_device().iter().flatten().next().is_some()
        || throttles.into_iter().flatten().any(|devices| !devices.is_empty())
}

fn network_set(network: &LinuxNetwork) -> bool {
    network.class_id().is_some() || network.priorities().iter().flatten().next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(linux: &str) -> Vec<String> {
        let text = format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#);
        unsupported(&serde_json::from_str(&text).unwrap()).into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn what_asks_for_nothing_is_not_listed() {
        let empty = r#"{"resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{},"cpu":{},
            "blockIO":{"throttleReadBpsDevice":[]},"network":{"priorities":[]},"hugepageLimits":[],"rdma":{},
            "unified":{}}}"#;
        assert_eq!(paths(empty), [""; 0]);
        assert_eq!(unsupported(&serde_json::from_str("{}").unwrap()), []);
    }

    #[test]
    fn each_is_listed_with_its_path() {
        let all = r#"{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"},"resources":{"memory":{"limit":1},
            "cpu":{"shares":2},"pids":{"limit":3},"blockIO":{"weight":10},"network":{"classID":1},
            "hugepageLimits":[{"pageSize":"2MB","limit":4}],"rdma":{"a":{"hcaObjects":1}},"unified":{"a":"b"}}}"#;
        assert_eq!(
            paths(all),
            [
                "linux.seccomp",
                "linux.resources.memory",
                "linux.resources.cpu",
                "linux.resources.pids",
                "linux.resources.blockIO",
                "linux.resources.hugepageLimits",
                "linux.resources.network",
                "linux.resources.rdma",
                "linux.resources.unified",
            ]
        );
        let seccomp = fault("linux.seccomp", "seccomp filters");
        assert_eq!(seccomp.to_string(), "linux.seccomp: seccomp filters are not supported yet");
    }
}
