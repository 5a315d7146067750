//! What this runtime implements: features.md of runtime-spec 1.3.
//!
//! It says what the runtime does, whatever the host offers; `orlop check` tells that.

use crate::plan::{self, HookKind, Namespace};
use crate::status::OCI_VERSION;
use serde::Serialize;
use std::collections::BTreeMap;

/// The oldest specification whose configurations are accepted.
const OCI_VERSION_MIN: &str = "1.0.0";
/// Cgroups by way of systemd.
const SYSTEMD: bool = true;

/// The document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// The oldest accepted `ociVersion`.
    pub oci_version_min: &'static str,
    /// The newest.
    pub oci_version_max: &'static str,
    /// Moments of the lifecycle that have hooks.
    pub hooks: Vec<&'static str>,
    /// Mount options that are not the file system's.
    pub mount_options: Vec<&'static str>,
    /// What is particular to Linux.
    pub linux: LinuxFeatures,
    /// What the specification has no place for.
    pub annotations: BTreeMap<&'static str, String>,
    /// Annotations (or, with a dot at the end, their prefixes) of a config.json that change what the runtime does on the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// features-linux.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the names are the specification's
pub struct LinuxFeatures {
    pub namespaces: Vec<&'static str>,
    pub capabilities: Vec<String>,
    pub cgroup: CgroupFeatures,
    pub seccomp: SeccompFeatures,
    pub apparmor: Enabled,
    pub selinux: Enabled,
    pub intel_rdt: IntelRdtFeatures,
    pub memory_policy: MemoryPolicyFeatures,
    pub mount_extensions: MountExtensions,
    pub net_devices: Enabled,
}

/// `{"enabled": …}`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)] // as above
pub struct Enabled {
    pub enabled: bool,
}

/// `linux.cgroup`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, clippy::struct_excessive_bools)] // as above, the booleans too
pub struct CgroupFeatures {
    pub v1: bool,
    pub v2: bool,
    pub systemd: bool,
    pub systemd_user: bool,
    pub rdma: bool,
}

/// `linux.seccomp`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // as above
pub struct SeccompFeatures {
    pub enabled: bool,
    pub actions: Vec<&'static str>,
    pub operators: Vec<&'static str>,
    pub archs: Vec<&'static str>,
    pub known_flags: Vec<&'static str>,
    pub supported_flags: Vec<&'static str>,
}

/// `linux.intelRdt`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)] // as above
pub struct IntelRdtFeatures {
    pub enabled: bool,
    pub schemata: bool,
    pub monitoring: bool,
}

/// `linux.memoryPolicy`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)] // as above
pub struct MemoryPolicyFeatures {
    pub modes: Vec<&'static str>,
    pub flags: Vec<&'static str>,
}

/// `linux.mountExtensions`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)] // as above
pub struct MountExtensions {
    pub idmap: Enabled,
}

const HOOKS: [HookKind; 6] = [
    HookKind::Prestart,
    HookKind::CreateRuntime,
    HookKind::CreateContainer,
    HookKind::StartContainer,
    HookKind::Poststart,
    HookKind::Poststop,
];
const SECCOMP_ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const SECCOMP_OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
const SECCOMP_ARCHS: [&str; 5] =
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];
/// Flags, and the Linux that brought each.
const SECCOMP_FLAGS: [(&str, (u32, u32)); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", (3, 17)),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", (4, 17)),
    ("SECCOMP_FILTER_FLAG_LOG", (4, 14)),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", (5, 19)),
];
const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];
const MEMORY_FLAGS: [&str; 3] = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// What this runtime implements.
#[must_use]
pub fn features() -> Features {
    let mut namespaces: Vec<&str> = Namespace::ALL.iter().map(|kind| kind.name()).collect();
    namespaces.sort_unstable();
    Features {
        oci_version_min: OCI_VERSION_MIN,
        oci_version_max: OCI_VERSION,
        hooks: HOOKS.iter().map(|kind| plan::hook_name(*kind)).collect(),
        mount_options: plan::mount_options().collect(),
        linux: LinuxFeatures {
            namespaces,
            capabilities: plan::capability_names().map(|name| format!("CAP_{name}")).collect(),
            cgroup: CgroupFeatures {
                v1: true,
                v2: true,
                systemd: SYSTEMD,
                systemd_user: SYSTEMD,
                rdma: true,
            },
            seccomp: seccomp(),
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicyFeatures {
                modes: MEMORY_MODES.to_vec(),
                flags: MEMORY_FLAGS.to_vec(),
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
        },
        annotations: BTreeMap::from([
            ("org.opencontainers.runc.checkpoint.enabled", "true".to_owned()),
            ("dev.orlop.version", env!("CARGO_PKG_VERSION").to_owned()),
        ]),
        potentially_unsafe_config_annotations: if SYSTEMD {
            vec!["org.systemd.property."]
        } else {
            Vec::new()
        },
    }
}

fn seccomp() -> SeccompFeatures {
    let kernel = crate::host::kernel();
    SeccompFeatures {
        enabled: true,
        actions: SECCOMP_ACTIONS.to_vec(),
        operators: SECCOMP_OPERATORS.to_vec(),
        archs: SECCOMP_ARCHS.to_vec(),
        known_flags: SECCOMP_FLAGS.map(|(flag, _)| flag).to_vec(),
        supported_flags: SECCOMP_FLAGS
            .iter()
            .filter(|(_, since)| kernel >= *since)
            .map(|(flag, _)| *flag)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A config.json that uses what is listed is accepted: by the loader, whose words these are.
    #[test]
    fn what_is_listed_is_accepted() {
        let features = features();
        let options: Vec<&str> =
            features.mount_options.iter().copied().filter(|o| !o.contains("idmap")).collect();
        let config = serde_json::json!({
            "ociVersion": features.oci_version_max,
            "root": { "path": "rootfs" },
            "process": {
                "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 },
                "capabilities": { "bounding": features.linux.capabilities, "permitted": features.linux.capabilities },
            },
            "hooks": features.hooks.iter().map(|hook| (hook.to_string(), serde_json::json!([{ "path": "/bin/true" }])))
                .collect::<serde_json::Map<_, _>>(),
            "mounts": options.iter().map(|option| serde_json::json!({
                "destination": "/m", "type": "tmpfs", "source": "x", "options": [option],
            })).collect::<Vec<_>>(),
            "linux": { "namespaces": features.linux.namespaces.iter().map(|kind| serde_json::json!({ "type": kind }))
                .collect::<Vec<_>>() },
        });
        let mut config = config;
        // Of its own user namespace every container needs maps, and not all that is listed goes with one.
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "user");
        let loaded = crate::spec::load(config.to_string().as_bytes()).unwrap();
        assert!(!loaded.warnings.iter().any(|warning| warning.contains("unknown")), "{:?}", loaded.warnings);
        assert_eq!(
            loaded
                .spec
                .process()
                .as_ref()
                .unwrap()
                .capabilities()
                .as_ref()
                .unwrap()
                .bounding()
                .as_ref()
                .unwrap()
                .len(),
            41
        );
        for (index, mode) in features.linux.memory_policy.modes.iter().enumerate() {
            let nodes = if matches!(index, 0 | 6) { "" } else { "0" };
            let mut config = config.clone();
            config["linux"]["memoryPolicy"] = serde_json::json!({ "mode": mode, "nodes": nodes });
            crate::spec::load(config.to_string().as_bytes()).unwrap_or_else(|e| panic!("{mode}: {e}"));
        }
    }

    #[test]
    fn it_is_json_in_the_names_of_the_specification() {
        let json = serde_json::to_value(features()).unwrap();
        assert_eq!(json["ociVersionMax"], "1.3.0");
        assert_eq!(json["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(json["linux"]["intelRdt"]["schemata"], true);
        assert_eq!(json["linux"]["netDevices"]["enabled"], true);
        assert!(json["linux"]["seccomp"]["knownFlags"].is_array());
        assert!(json["mountOptions"].as_array().unwrap().iter().any(|option| option == "rro"));
    }
}
