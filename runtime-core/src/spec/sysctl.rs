//! Which kernel parameters belong to a namespace, and how their names are written.

/// The namespace a kernel parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlOwner {
    /// An IPC namespace: System V IPC limits and POSIX message queues.
    Ipc,
    /// A network namespace: everything below `net`.
    Network,
    /// A UTS namespace: the NIS domain name.
    Uts,
    /// A user namespace: the limits below `user`.
    User,
}

/// The path of a kernel parameter below `/proc/sys`.
///
/// As with sysctl.d(5), the first separator decides: `net/ipv4/conf/eth0.100/forwarding` is a path already, and
/// in `net.ipv4.conf.eth0/100.forwarding` dots and slashes change places.
#[must_use]
pub fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// The namespace that owns the parameter at `path` (as [`sysctl_path`] gives it); `None` when it is the host's.
#[must_use]
pub fn sysctl_owner(path: &str) -> Option<SysctlOwner> {
    let (top, rest) = path.split_once('/')?;
    match (top, rest) {
        ("net", _) => Some(SysctlOwner::Network),
        ("user", _) => Some(SysctlOwner::User),
        ("fs", _) if rest.starts_with("mqueue/") => Some(SysctlOwner::Ipc),
        ("kernel", "domainname" | "hostname") => Some(SysctlOwner::Uts),
        // ipc/ipc_sysctl.c of the kernel: the table registered per IPC namespace.
        (
            "kernel",
            "auto_msgmni" | "msg_next_id" | "msgmax" | "msgmnb" | "msgmni" | "sem" | "sem_next_id"
            | "shm_next_id" | "shm_rmid_forced" | "shmall" | "shmmax" | "shmmni",
        ) => Some(SysctlOwner::Ipc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.100/forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/100.forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(sysctl_path("plain"), "plain");
    }

    #[test]
    fn owners() {
        assert_eq!(sysctl_owner("net/core/somaxconn"), Some(SysctlOwner::Network));
        assert_eq!(sysctl_owner("fs/mqueue/msg_max"), Some(SysctlOwner::Ipc));
        assert_eq!(sysctl_owner("kernel/shmmax"), Some(SysctlOwner::Ipc));
        assert_eq!(sysctl_owner("kernel/domainname"), Some(SysctlOwner::Uts));
        assert_eq!(sysctl_owner("user/max_net_namespaces"), Some(SysctlOwner::User));
        for host in ["kernel/core_pattern", "vm/swappiness", "fs/file-max", "fs/mqueue", "net", ""] {
            assert_eq!(sysctl_owner(host), None, "{host}");
        }
    }
}
