//! The configs that bundles start from.

use serde_json::{Value, json};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `runc spec` writes for a host with cgroup v1, without a terminal.
pub fn plain(args: &[&str]) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": [PATH, "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities,
                "permitted": capabilities, "ambient": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "container",
        "mounts": plain_mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": namespaces(&["pid", "network", "ipc", "uts", "mount"]),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Namespaces to be made new.
pub fn namespaces(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({ "type": kind })).collect()
}

/// One entry of `mounts`.
pub fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn plain_mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}

/// What Docker hands to its runtime for `docker run` without options, less its hook, seccomp and limits.
///
/// `files` is a directory of the host with `resolv.conf`, `hostname` and `hosts`, to be bound into `/etc`.
pub fn docker_like(args: &[&str], files: &str) -> Value {
    let mut config = plain(args);
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    config["process"]["user"]["additionalGids"] = json!([0]);
    config["process"]["env"] = json!([PATH, "HOSTNAME=0123456789ab", "HOME=/root"]);
    config["process"]["capabilities"] =
        json!({ "bounding": capabilities, "effective": capabilities, "permitted": capabilities });
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["oomScoreAdj"] = json!(0);
    config["process"].as_object_mut().map(|process| process.remove("rlimits"));
    config["root"]["readonly"] = json!(false);
    config["hostname"] = json!("0123456789ab");
    config["mounts"] = docker_mounts(files);
    let allow = |kind: &str, major: i64, minor: i64, access: &str| {
        let mut rule = json!({ "allow": true, "type": kind, "major": major, "access": access });
        if minor >= 0 {
            rule["minor"] = json!(minor);
        }
        rule
    };
    config["linux"]["resources"]["devices"] = json!([
        { "allow": false, "access": "rwm" },
        allow("c", 1, 5, "rwm"), allow("c", 1, 3, "rwm"), allow("c", 1, 9, "rwm"), allow("c", 1, 8, "rwm"),
        allow("c", 5, 0, "rwm"), allow("c", 5, 1, "rwm"),
        { "allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm" },
    ]);
    config["linux"]["sysctl"] =
        json!({ "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" });
    config["linux"]["maskedPaths"] = json!([
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ]);
    config
}

fn docker_mounts(files: &str) -> Value {
    let quiet = ["nosuid", "noexec", "nodev"];
    let bind = |name: &str| {
        mount(&format!("/etc/{name}"), "bind", &format!("{files}/{name}"), &["rbind", "rprivate"])
    };
    json!([
        mount("/proc", "proc", "proc", &quiet),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
        bind("resolv.conf"),
        bind("hostname"),
        bind("hosts"),
    ])
}

/// [`plain`] for an ordinary user: a user namespace that maps root to `user` and `group` alone, and nothing that
/// needs more than that (no cgroup, no gid for terminals).
pub fn rootless(args: &[&str], user: u32, group: u32) -> Value {
    let mut config = plain(args);
    config["linux"]["namespaces"] = namespaces(&["pid", "network", "ipc", "uts", "mount", "user"]);
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": user, "size": 1 }]);
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": group, "size": 1 }]);
    config["linux"].as_object_mut().map(|linux| linux.remove("resources"));
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
        for mount in mounts {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    }
    config
}
