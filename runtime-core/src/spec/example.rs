//! The config that `orlop spec` writes: a shell in fresh namespaces, for its author to go on from.

use serde::Serialize;

/// A config.json to start from.  Serialized, its properties come in the order of the spec.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Debug, Clone, Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

/// No ambient capabilities: without inheritable ones, the kernel grants none.
#[derive(Debug, Clone, Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Debug, Clone, Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    typ: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    typ: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[IdMapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Debug, Clone, Serialize)]
struct IdMapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

#[derive(Debug, Clone, Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Debug, Clone, Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    typ: &'static str,
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// What shows the host's hardware, keys or timers.
const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

/// What steers the host.
const READONLY_PATHS: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The config for a container of root, or, with the caller's user and group id, of an ordinary user.
///
/// An ordinary user's has a user namespace in which the caller is root and nobody else exists; it keeps the host's
/// network and cgroup, which an ordinary user cannot set up.
#[must_use]
pub fn example(rootless: Option<(u32, u32)>) -> Example {
    Example {
        oci_version: "1.3.0",
        process: process(),
        root: Root { path: "rootfs", readonly: true },
        hostname: "orlop",
        mounts: mounts(rootless.is_some()),
        linux: linux(rootless),
    }
}

impl Example {
    /// Adds a cgroup namespace: what a host with cgroup v2 alone wants, where `/sys/fs/cgroup` would otherwise
    /// show the container its place in the host's tree.
    #[must_use]
    pub fn with_cgroup_namespace(mut self) -> Self {
        self.linux.namespaces.push(Namespace { typ: "cgroup" });
        self
    }
}

fn process() -> Process {
    Process {
        terminal: true,
        user: User { uid: 0, gid: 0 },
        args: ["sh"],
        env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        cwd: "/",
        capabilities: Capabilities {
            bounding: CAPABILITIES,
            effective: CAPABILITIES,
            permitted: CAPABILITIES,
        },
        rlimits: [Rlimit { typ: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
        no_new_privileges: true,
    }
}

fn mounts(rootless: bool) -> Vec<Mount> {
    let mount = |destination, typ, source, options: &[&'static str]| Mount {
        destination,
        typ,
        source,
        options: options.to_vec(),
    };
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // sysfs shows the network namespace of who mounts it; an ordinary user keeps the host's, so must bind the host's.
    let sys = if rootless {
        mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        // Group 5 is tty; a user namespace of one id has no such group.
        pts.push("gid=5");
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}

fn linux(rootless: Option<(u32, u32)>) -> Linux {
    let to_root = |host_id| [IdMapping { container_id: 0, host_id, size: 1 }];
    let types: &[&'static str] = match rootless {
        Some(_) => &["pid", "ipc", "uts", "mount", "user"],
        None => &["pid", "network", "ipc", "uts", "mount"],
    };
    Linux {
        uid_mappings: rootless.map(|(uid, _)| to_root(uid)),
        gid_mappings: rootless.map(|(_, gid)| to_root(gid)),
        resources: match rootless {
            Some(_) => None,
            None => Some(Resources { devices: [DeviceRule { allow: false, access: "rwm" }] }),
        },
        namespaces: types.iter().map(|typ| Namespace { typ }).collect(),
        masked_paths: MASKED_PATHS,
        readonly_paths: READONLY_PATHS,
    }
}
