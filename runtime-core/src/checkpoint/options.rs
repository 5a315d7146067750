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

/// How a container is checkpointed.
#[derive(Debug, Default)]
pub struct CheckpointOptions {
    /// Where the images go; made when it is missing, with mode 0700.
    pub image_path: PathBuf,
    /// Where CRIU's log and other files go; with the images when `None`.
    pub work_path: Option<PathBuf>,
    /// Images of an earlier pre-dump, relative to `image_path`: memory that has not changed since is not written again.
    pub parent_path: Option<PathBuf>,
    /// Let the container go on afterwards.
    pub leave_running: bool,
    /// Only write memory, and let the container go on: what changes until the dump is written then.
    pub pre_dump: bool,
    /// Take established TCP connections along.
    pub tcp_established: bool,
    /// Leave out connections that nobody has accepted yet.
    pub tcp_skip_in_flight: bool,
    /// Make links for open files that have no name any more.
    pub link_remap: bool,
    /// Leave out Unix sockets connected to outside.
    pub ext_unix_sk: bool,
    /// Take along what shares its session with the outside.
    pub shell_job: bool,
    /// Take locks on files along.
    pub file_locks: bool,
    /// Drop memory from the parent's images that is written anew.
    pub auto_dedup: bool,
    /// Leave memory in the container, and serve it from there to `criu lazy-pages` at the page server's address.
    pub lazy_pages: bool,
    /// Gets a NUL byte as soon as pages are served.
    pub status_fd: Option<OwnedFd>,
    /// Address and port of a `criu page-server` that takes the memory; with `lazy_pages`, where we listen.
    pub page_server: Option<(String, u16)>,
    /// What is done about cgroups.
    pub manage_cgroups: ManageCgroups,
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
    /// The container is a unit of systemd's.
    pub systemd_cgroup: bool,
    /// As [`crate::CreateOptions::rootless_cgroups`].
    pub rootless_cgroups: Option<bool>,
    /// The directory with the images.
    pub image_path: PathBuf,
    /// Where CRIU's log and other files go; with the images when `None`.
    pub work_path: Option<PathBuf>,
    /// Restore established TCP connections.
    pub tcp_established: bool,
    /// Restore links that were made for files without a name.
    pub link_remap: bool,
    /// Connect Unix sockets to outside anew.
    pub ext_unix_sk: bool,
    /// Restore what shared its session with the outside.
    pub shell_job: bool,
    /// Restore locks on files.
    pub file_locks: bool,
    /// Give memory that was restored back to the file system.
    pub auto_dedup: bool,
    /// Get memory when it is needed, from a running `criu lazy-pages`, whose socket is in the work directory.
    pub lazy_pages: bool,
    /// What is done about cgroups.
    pub manage_cgroups: ManageCgroups,
    /// The profile of AppArmor, or the label of SELinux (`selinux:LABEL`), to run under instead of that in the images.
    pub lsm_profile: Option<String>,
    /// The SELinux context of mounts, instead of that in the images.
    pub lsm_mount_context: Option<String>,
}
