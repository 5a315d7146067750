//! What can go wrong with control groups.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys::Reason;

/// A failure with control groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// `linux.cgroupsPath` cannot be followed.
    #[error("linux.cgroupsPath: {path:?}: {reason}")]
    Path {
        /// The path as configured.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A group below the container's cannot be meant.
    #[error("--cgroup {path:?}: {reason}")]
    SubGroup {
        /// The path as given.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There are processes in the group that should become the container's.
    #[error("container's cgroup is not empty: {count} process(es) found in {}", path.display())]
    NotEmpty {
        /// The group.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The configuration asks for what no control group of ours can do.
    #[error("{config_path}: the {controller} cgroup controller is needed, but {reason}")]
    Controller {
        /// Where the configuration asks for it.
        config_path: String,
        /// The controller.
        controller: String,
        /// Why it cannot be had.
        reason: String,
    },
    /// The kernel refuses a value for a limit.
    #[error("{config_path}: write {value:?} to {}: {}{hint}", path.display(), Reason::from(*errno))]
    Limit {
        /// Where the configuration asks for it.
        config_path: String,
        /// The value.
        value: String,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
        /// What that answer means here, in parentheses; or nothing.
        hint: String,
    },
    /// A limit below what is in use, which the configuration does not want (`memory.checkBeforeUpdate`).
    #[error("{config_path}: {value} is less than what is in use, {used} (in {})", path.display())]
    InUse {
        /// Where the configuration asks for it.
        config_path: String,
        /// The value.
        value: String,
        /// What is in use.
        used: u64,
        /// The file that says so.
        path: PathBuf,
    },
    /// A rule for devices that the kernel's interface cannot express.
    #[error("linux.resources.devices[{index}]: {reason}")]
    DeviceRule {
        /// Its place in the configuration.
        index: usize,
        /// Why not.
        reason: String,
    },
    /// A group cannot be removed, as there are still processes in it.
    #[error("rmdir {}: still in use after {waited_ms} ms{}", path.display(), in_words(pids))]
    Busy {
        /// The group.
        path: PathBuf,
        /// The processes in it.
        pids: Vec<i32>,
        /// For how long it was tried.
        waited_ms: u128,
    },
    /// The processes of a group did not freeze.
    #[error("{}: its processes did not freeze within {waited_ms} ms", path.display())]
    NotFrozen {
        /// The group.
        path: PathBuf,
        /// For how long it was tried.
        waited_ms: u128,
    },
    /// systemd could not be asked, or refused.
    #[error("{doing} the systemd unit {unit}: {reason}")]
    Systemd {
        /// What was asked.
        doing: &'static str,
        /// The unit.
        unit: String,
        /// Why it failed, in systemd's words where it has answered.
        reason: String,
    },
    /// A call failed.
    #[error("{call} {}: {}{hint}", path.display(), Reason::from(*errno))]
    Io {
        /// The system call, or what was to be written.
        call: String,
        /// The file or directory.
        path: PathBuf,
        /// Its error number.
        errno: Errno,
        /// What that number means here, where the text of the number misleads.
        hint: &'static str,
    },
}

impl CgroupError {
    pub(super) fn io(call: impl Into<String>, path: &Path, errno: Errno) -> Self {
        Self::Io { call: call.into(), path: path.to_owned(), errno, hint: "" }
    }

    pub(super) fn hinted(call: impl Into<String>, path: &Path, errno: Errno, hint: &'static str) -> Self {
        Self::Io { call: call.into(), path: path.to_owned(), errno, hint }
    }

    /// Whether the kernel finds a value invalid, which can be for the sake of another.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Limit { errno: Errno::EINVAL, .. })
    }

    /// Whether it says that we lack the permission, or that the file system is read-only to us.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Io { errno: Errno::EACCES | Errno::EPERM | Errno::EROFS, .. })
    }
}

fn in_words(pids: &[i32]) -> String {
    if pids.is_empty() {
        return String::new();
    }
    let list: Vec<String> = pids.iter().take(16).map(ToString::to_string).collect();
    let more = if pids.len() > list.len() { ", ..." } else { "" };
    format!(" by process(es) {}{more}", list.join(", "))
}
