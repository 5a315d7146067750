//! What a checkpoint and a restore are asked for.

use crate::runtime::Bundle;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What CRIU does about the cgroups below the container's own (`--manage-cgroups-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ManageCgroups {
    /// CRIU's default, which is [`ManageCgroups::Soft`].
    #[default]
    Default,
    /// Makes groups that are not there, with their properties; leaves those that are.
    Soft,
    /// Sets the properties of all of them.
    Full,
    /// Fails when one is there already.
    Strict,
    /// Looks at none; the processes stay in the container's group.
    Ignore,
}

/// What a checkpoint and the restore of it are told alike.
#[derive(Clone, Debug, Default)]
pub struct CriuSettings {
    /// The directory with the images; a checkpoint makes it when it is missing, with mode 0700.
    pub image_path: PathBuf,
    /// Where CRIU's log and other files go; with the images when `None`.
    pub work_path: Option<PathBuf>,
    /// Take established TCP connections along, and restore them.
    pub tcp_established: bool,
    /// Make links for open files that have no name any more, and take these away again.
    pub link_remap: bool,
    /// Leave out Unix sockets connected to outside, and connect them anew.
    pub ext_unix_sk: bool,
    /// Take along, and restore, what shares its session with the outside.
    pub shell_job: bool,
    /// Take locks on files along, and restore them.
    pub file_locks: bool,
    /// Of a checkpoint: drop memory from the parent's images that is written anew.  Of a restore: give memory that was
    /// restored back to the file system.
    pub auto_dedup: bool,
    /// Of a checkpoint: leave memory in the container, and serve it from there to `criu lazy-pages` at the page server's
    /// address.  Of a restore: get memory when it is needed, from a running `criu lazy-pages`, whose socket is in the work
    /// directory.
    pub lazy_pages: bool,
    /// What is done about cgroups.
    pub manage_cgroups: ManageCgroups,
}

/// How a container is checkpointed.
#[derive(Debug, Default)]
pub struct CheckpointOptions {
    /// What the restore is told too.
    pub criu: CriuSettings,
    /// Images of an earlier pre-dump, relative to the images: memory that has not changed since is not written again.
    pub parent_path: Option<PathBuf>,
    /// Let the container go on afterwards.
    pub leave_running: bool,
    /// Only write memory, and let the container go on: what changes until the dump is written then.
    pub pre_dump: bool,
    /// Leave out connections that nobody has accepted yet.
    pub tcp_skip_in_flight: bool,
    /// Gets a NUL byte as soon as pages are served.
    pub status_fd: Option<OwnedFd>,
    /// Address and port of a `criu page-server` that takes the memory; with `lazy_pages`, where we listen.
    pub page_server: Option<(String, u16)>,
}

/// How a container is restored.
#[derive(Debug, Default)]
pub struct RestoreOptions {
    /// The id of the new container.
    pub id: String,
    /// The directory that holds config.json; the current directory when empty.
    pub bundle: PathBuf,
    /// The bundle, when the caller has loaded it already; `bundle` is not looked at then.
    pub loaded: Option<Bundle>,
    /// A connected Unix socket that gets the master of the pseudoterminal (`SCM_RIGHTS`), when the container has one.
    pub console_socket: Option<OwnedFd>,
    /// What takes the place of the pipes that were its stdin, stdout and stderr; the caller's own when `None`.
    pub stdio: Option<[OwnedFd; 3]>,
    /// As [`crate::CreateOptions::notify_socket`]: what takes the place of the socket that it had.
    pub notify_socket: Option<PathBuf>,
    /// The container is a unit of systemd's.
    pub systemd_cgroup: bool,
    /// As [`crate::CreateOptions::rootless_cgroups`].
    pub rootless_cgroups: Option<bool>,
    /// What the checkpoint was told too.
    pub criu: CriuSettings,
    /// The profile of AppArmor, or the label of SELinux (`selinux:LABEL`), to run under instead of that in the images.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts, instead of that in the images.
    pub lsm_mount_context: Option<String>,
}
