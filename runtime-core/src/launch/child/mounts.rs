//! Mounts: configured and attributed while detached, attached by descriptor.

use super::Context;
use super::copyup;
use super::path::{self, Kind, PathBuffer};
use crate::plan::{FsParam, Mount, MountSource};
use crate::sys::{self, Call, Fd, MountAttr, Result, SysError, attr};
use core::ffi::CStr;
use libc::{AT_EMPTY_PATH, O_DIRECTORY, O_RDONLY};

/// Makes the mount `m`.
pub fn mount(cx: &mut Context<'_>, m: &Mount) -> Result<()> {
    let tree = open_source(cx, m)?;
    let bind = !matches!(m.source, MountSource::New { .. });
    let kind = if !bind || sys::fstat(tree)?.is_dir() { Kind::Directory } else { Kind::File };
    let before = if bind && !is_nothing(&m.attributes) {
        set_attributes(tree, false, &m.attributes)?
    } else {
        Applied::Done
    };
    let target = locate_target(cx.root(), m, kind)?;
    if m.copy_up {
        let from = path::open(cx.root(), &m.destination, O_RDONLY | O_DIRECTORY)?;
        copyup::copy(from, tree)?;
        sys::close(from);
    }
    sys::move_mount(tree, target)?;
    sys::close(target);
    if before == Applied::WhenAttached {
        remount(tree, &m.attributes)?;
    }
    if m.copy_up && m.attributes.set & attr::RDONLY != 0 {
        set_attached(tree, false, &MountAttr { set: attr::RDONLY, ..MountAttr::default() })?;
    }
    if !is_nothing(&m.recursive_attributes) {
        sys::mount_setattr(tree, true, &m.recursive_attributes)?;
    }
    for (flags, recursive) in &m.propagation {
        set_propagation(tree, *recursive, *flags)?;
    }
    if m.late_read_only { remember(cx, tree) } else { close_tree(cx, m, tree) }
}

/// Changes the mount at `destination` (`remount`); the kernel refuses a place where none is.
pub fn change(
    cx: &Context<'_>,
    destination: &CStr,
    attributes: &MountAttr,
    recursive: &MountAttr,
    propagation: &[(u64, bool)],
) -> Result<()> {
    let target = path::locate(cx.root(), destination)?;
    if !is_nothing(attributes) {
        set_attached(target, false, attributes)?;
    }
    if !is_nothing(recursive) {
        sys::mount_setattr(target, true, recursive)?;
    }
    for (flags, tree) in propagation {
        set_propagation(target, *tree, *flags)?;
    }
    sys::close(target);
    Ok(())
}

/// Closes a tree that was opened here; the slots stay, as a later mount may name them.
fn close_tree(_: &Context<'_>, m: &Mount, tree: Fd) -> Result<()> {
    if !matches!(m.source, MountSource::Tree { .. }) {
        sys::close(tree);
    }
    Ok(())
}

fn remember(cx: &mut Context<'_>, tree: Fd) -> Result<()> {
    let free = cx.state.late.iter_mut().find(|slot| slot.is_none());
    *free.ok_or(SysError { call: Call::Mount, errno: libc::E2BIG })? = Some(tree);
    Ok(())
}

/// Makes the next of the mounts that wait for it read-only.
pub fn late_read_only(cx: &mut Context<'_>, attributes: &MountAttr) -> Result<()> {
    let tree = cx.state.late.iter_mut().find_map(Option::take);
    let tree = tree.ok_or(SysError { call: Call::Mount, errno: libc::EBADF })?;
    set_attached(tree, false, attributes)?;
    sys::close(tree);
    Ok(())
}

fn is_nothing(a: &MountAttr) -> bool {
    a.set == 0 && a.clear == 0
}

fn locate_target(root: Fd, m: &Mount, kind: Kind) -> Result<Fd> {
    if m.plain_destination {
        match path::locate_plain(root, &m.destination) {
            Err(e) if e.errno == libc::ENOENT => {}
            r => return r,
        }
    }
    path::locate_or_create(root, &m.destination, kind)
}

/// The detached tree to be attached.
fn open_source(cx: &Context<'_>, m: &Mount) -> Result<Fd> {
    match &m.source {
        MountSource::Tree { slot } => {
            cx.trees.get(*slot).copied().ok_or(SysError { call: Call::OpenTree, errno: libc::EBADF })
        }
        MountSource::Bind { path, recursive } => sys::open_tree_clone(Fd::CWD, path, *recursive, 0),
        MountSource::New { fstype, params, or_bind } => {
            // What is copied up must be written first.
            let later = if m.copy_up { attr::RDONLY } else { 0 };
            match (new_file_system(fstype, params, m.attributes.set & !later), or_bind) {
                (Err(e), Some(path)) if e.errno == libc::EPERM || e.errno == libc::EBUSY => {
                    let tree = sys::open_tree_clone(Fd::CWD, path, true, 0)?;
                    set_attributes(tree, false, &m.attributes)?;
                    Ok(tree)
                }
                (r, _) => r,
            }
        }
    }
}

/// A detached mount of a new file system instance.
pub fn new_file_system(fstype: &CStr, params: &[FsParam], attributes: u64) -> Result<Fd> {
    let fs = sys::fsopen(fstype)?;
    for param in params {
        match param {
            FsParam::Flag(key) => sys::fsconfig_set_flag(fs, key)?,
            FsParam::String(key, value) => sys::fsconfig_set_string(fs, key, value)?,
        }
    }
    sys::fsconfig_create(fs)?;
    let tree = sys::fsmount(fs, attributes)?;
    sys::close(fs);
    Ok(tree)
}

/// Whether attributes are set already.
#[derive(PartialEq, Eq)]
enum Applied {
    Done,
    /// Linux before 5.12 can only change a mount that is attached.
    WhenAttached,
}

fn set_attributes(tree: Fd, recursive: bool, attributes: &MountAttr) -> Result<Applied> {
    match sys::mount_setattr(tree, recursive, attributes) {
        Ok(()) => Ok(Applied::Done),
        Err(e) if e.errno == libc::ENOSYS && !recursive => Ok(Applied::WhenAttached),
        Err(e) => Err(e),
    }
}

/// Sets attributes of an attached mount, whatever the kernel's age.
pub fn set_attached(tree: Fd, recursive: bool, attributes: &MountAttr) -> Result<()> {
    match set_attributes(tree, recursive, attributes)? {
        Applied::Done => Ok(()),
        Applied::WhenAttached => remount(tree, attributes),
    }
}

/// The old way to change an attached mount: a bind remount, which states all its flags anew.
fn remount(tree: Fd, attributes: &MountAttr) -> Result<()> {
    let (_, now) = sys::fstatfs(tree)?;
    let now = from_statfs(now.cast_unsigned());
    let flags = (now & !to_mount_flags(attributes.clear)) | to_mount_flags(attributes.set);
    sys::mount(None, descriptor_path(tree)?.as_c_str(), libc::MS_REMOUNT | libc::MS_BIND | flags)
}

/// Sets the propagation of an attached mount.
pub fn set_propagation(tree: Fd, recursive: bool, flags: u64) -> Result<()> {
    let attributes = MountAttr { propagation: flags, ..MountAttr::default() };
    match sys::mount_setattr(tree, recursive, &attributes) {
        Err(e) if e.errno == libc::ENOSYS => {
            let recursive = if recursive { libc::MS_REC } else { 0 };
            sys::mount(None, descriptor_path(tree)?.as_c_str(), flags | recursive)
        }
        r => r,
    }
}

/// `/proc/self/fd/N` in the host's procfs: for kernels that cannot name a mount by descriptor, before pivot_root only.
fn descriptor_path(fd: Fd) -> Result<PathBuffer> {
    let mut path = PathBuffer::from(b"/proc/self/fd/")?;
    path.push_number(fd.0.cast_unsigned())?;
    Ok(path)
}

/// `MS_*` for mount attributes.
fn to_mount_flags(attributes: u64) -> u64 {
    let pairs = [
        (attr::RDONLY, libc::MS_RDONLY),
        (attr::NOSUID, libc::MS_NOSUID),
        (attr::NODEV, libc::MS_NODEV),
        (attr::NOEXEC, libc::MS_NOEXEC),
        (attr::NOATIME, libc::MS_NOATIME),
        (attr::STRICTATIME, libc::MS_STRICTATIME),
        (attr::NODIRATIME, libc::MS_NODIRATIME),
    ];
    pairs.iter().filter(|(a, _)| attributes & a != 0).fold(0, |flags, (_, ms)| flags | ms)
}

/// `MS_*` for the `ST_*` flags of `statfs(2)`.
fn from_statfs(flags: u64) -> u64 {
    const SAME: u64 = libc::MS_RDONLY
        | libc::MS_NOSUID
        | libc::MS_NODEV
        | libc::MS_NOEXEC
        | libc::MS_NOATIME
        | libc::MS_NODIRATIME;
    const ST_RELATIME: u64 = 0x1000;
    (flags & SAME) | if flags & ST_RELATIME != 0 { libc::MS_RELATIME } else { 0 }
}

/// Attaches a copy of the mount or directory at `from`, which lies in this mount namespace, on `target`.
pub fn bind_onto(from: Fd, recursive: bool, target: Fd) -> Result<Fd> {
    let tree = sys::open_tree_clone(from, c"", recursive, AT_EMPTY_PATH)?;
    sys::move_mount(tree, target)?;
    Ok(tree)
}
