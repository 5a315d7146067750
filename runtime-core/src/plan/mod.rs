//! The compiler: a pure function from a validated configuration to a [`Plan`] (invariant I1).
//!
//! Nothing here makes a system call or reads a file.  What the compiler must know of the host comes in as [`HostFacts`].

mod capabilities;
mod cgroup_mounts;
mod cgroups;
mod compiler;
mod describe;
mod devices;
mod exec;
mod hooks;
mod host;
#[cfg(test)]
mod kernel_tests;
mod mount_options;
mod mounts;
mod namespaces;
mod path;
mod process;
mod program;
mod render;
mod render_child;
mod render_host;
mod rlimits;
mod rootfs;
mod scheduling;
mod seccomp;
mod step;
mod sysctl;
mod words;

pub use capabilities::known as capability_names;
pub use compiler::{PlanError, compile};
pub use exec::{ExecTarget, compile_exec};
pub use hooks::hooks_of;
pub use hooks::name as hook_name;
pub use mount_options::known as mount_options;
pub use step::*;

use crate::cgroup;
use std::ffi::CString;
use std::path::PathBuf;

/// What the compiler is told about the host; gathered by [`crate::host::gather`].
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Kernel release, as major and minor.
    pub kernel: (u32, u32),
    /// Effective user id of the caller.
    pub euid: u32,
    /// Effective group id of the caller.
    pub egid: u32,
    /// Permitted capabilities of the caller, a bit for each.
    pub permitted: u64,
    /// Bounding set of the caller.
    pub bounding: u64,
    /// The caller may create mount namespaces and mount in its own user namespace (`CAP_SYS_ADMIN`).
    pub privileged: bool,
    /// Whether the caller is in a user namespace other than the first one (nested).
    pub in_user_namespace: bool,
    /// newuidmap and newgidmap are there.
    pub map_helpers: bool,
    /// How cgroups are mounted.
    pub cgroups: cgroup::Layout,
    /// The caller's own cgroups.
    pub own_cgroups: cgroup::OwnCgroups,
    /// The systemd that keeps the hierarchies, if it is to be asked.
    pub systemd: cgroup::systemd::Systemd,
    /// AppArmor is enabled, and the configuration asks for a profile.
    pub apparmor: bool,
    /// SELinux is enabled, and the configuration asks for a label.
    pub selinux: bool,
    /// There is a `/proc/kcore`, to which `/dev/core` links.
    pub kcore: bool,
    /// The signals that the caller ignores, a bit for each from the first on (`SigIgn` of `proc_pid_status(5)`).
    pub ignored_signals: u64,
}

/// What the command line, or the embedding program, adds to the configuration.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: descriptors 3 to 3+n-1 are passed on (after those of `LISTEN_FDS`).
    pub preserve_fds: u32,
    /// `LISTEN_FDS` of the caller: socket activation.
    pub listen_fds: u32,
    /// `LISTEN_FDNAMES` of the caller.
    pub listen_fdnames: Option<String>,
    /// `NOTIFY_SOCKET` of the caller: the socket's directory is mounted at `/run/notify`, and the variable is set.
    pub notify_socket: Option<PathBuf>,
    /// Whether `start` comes later, by another process (create), or at once (run).
    pub detach_start: bool,
    /// The process goes on to execve without waiting for a word of the parent: exec, where the parent has nothing to set.
    pub no_ready: bool,
    /// `--systemd-cgroup`: the container is a unit of systemd's.
    pub systemd_cgroup: bool,
    /// `--rootless`: whether cgroups that we have no permission for are done without; by who we are when `None`.
    pub rootless_cgroups: Option<bool>,
}

/// Nothing below this line is reached by the child half.
pub(crate) fn c_string(s: &str) -> CString {
    // The loader refuses NUL bytes in every string.
    CString::new(s.replace('\0', "")).unwrap_or_default()
}
