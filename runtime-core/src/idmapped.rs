//! Mounts with mapped ids (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`), for a caller that mounts root file systems itself.

use crate::error::{Error, ErrorKind};
use crate::launch::idmap::{explain_refusal, user_namespace_with};
use crate::launch::procfs::TrustedProc;
use crate::plan::IdMaps;
use crate::sys::{self, Fd, MountAttr, attr};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A user namespace with these maps that no process is in.
///
/// # Errors
/// When it cannot be made, or its maps are refused.
pub fn user_namespace(maps: &IdMaps) -> Result<OwnedFd, Error> {
    let proc = TrustedProc::open().map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    user_namespace_with(&proc, maps).map_err(|e| Error::because(ErrorKind::Host, "", e))
}

/// A detached copy of the mounts at `path` and below, in which the ids of files are mapped as in `user_namespace`.
///
/// # Errors
/// Those of `open_tree(2)` and `mount_setattr(2)`: of a file system whose ids cannot be mapped, and before Linux 5.12.
pub fn tree(path: &Path, user_namespace: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::because(ErrorKind::Host, format!("map the ids of {}", path.display()), e.to_string())
    };
    let tree = detached(path, true)?;
    let userns_fd = u64::from(user_namespace.as_raw_fd().unsigned_abs());
    let mapped = MountAttr { set: attr::IDMAP, userns_fd, ..MountAttr::default() };
    let mapped = sys::mount_setattr(Fd::from(&tree), true, &mapped);
    mapped.map_err(|e| failed(&format!("{e}{}", explain_refusal(Fd::from(&tree), e))))?;
    Ok(tree)
}

/// A detached copy of the mount at `path`, with `recursive` also of those below, which belongs to no mount namespace.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn detached(path: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    let failed = |e: &dyn std::fmt::Display| {
        Error::because(ErrorKind::Host, format!("copy the mount {}", path.display()), e.to_string())
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|e| failed(&e))?;
    sys::open_tree_clone(Fd::CWD, &name, recursive, 0).map(sys::own).map_err(|e| failed(&e))
}
