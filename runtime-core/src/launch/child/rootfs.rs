//! The root file system: opened, filled with devices, entered, closed off.

use super::Context;
use super::mounts;
use super::path::{self, Kind};
use crate::plan::{ChildStep, Device};
use crate::sys::{self, Call, Fd, MountAttr, Result, SysError, attr};
use core::ffi::CStr;
use libc::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_DIRECTORY, O_PATH};

const READ_ONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns_fd: 0 };

/// Sets the propagation of every mount of the namespace, before anything is mounted.
pub fn set_propagation(cx: &mut Context<'_>, flags: u64) -> Result<()> {
    let recursive = flags & libc::MS_REC != 0;
    let kind = flags & !libc::MS_REC;
    cx.state.shared = kind == libc::MS_SHARED;
    let attributes = MountAttr { propagation: kind, ..MountAttr::default() };
    match sys::mount_setattr_at(Fd::CWD, c"/", recursive, &attributes) {
        Err(e) if e.errno == libc::ENOSYS => sys::mount(None, c"/", flags),
        r => r,
    }
}

/// Binds the root file system to itself, so that it is a mount that can become the root.
pub fn open_root(cx: &mut Context<'_>, root: &CStr) -> Result<()> {
    let target = sys::openat(Fd::CWD, root, O_PATH | O_DIRECTORY, 0)?;
    if cx.state.shared {
        make_parent_private(cx, target)?;
    }
    let tree = sys::open_tree_clone(target, c"", true, AT_EMPTY_PATH)?;
    sys::move_mount(tree, target)?;
    sys::close(target);
    cx.state.root = Some(tree);
    Ok(())
}

/// Opens the root file system where it lies: there is no mount namespace to bind it in.
pub fn locate_root(cx: &mut Context<'_>, root: &CStr) -> Result<()> {
    cx.state.root = Some(sys::openat(Fd::CWD, root, O_PATH | O_DIRECTORY, 0)?);
    Ok(())
}

/// Makes the mount that holds `directory` private: pivot_root(2) refuses a shared parent, and the bind mount of the root
/// would show on the host.
fn make_parent_private(cx: &Context<'_>, directory: Fd) -> Result<()> {
    let mut here = directory;
    // A path has at most PATH_MAX / 2 components.
    for _ in 0..sys::PATH_MAX / 2 {
        if sys::fstat(here)?.mount_root {
            return mounts::set_propagation(cx, here, false, libc::MS_PRIVATE);
        }
        here = sys::openat(here, c"..", O_PATH | O_DIRECTORY, 0)?;
    }
    Err(SysError { call: Call::Statx, errno: libc::ELOOP })
}

/// Makes a directory that is missing.
pub fn make_directory(cx: &Context<'_>, directory: &CStr) -> Result<()> {
    let made = path::locate_or_create(cx.root(), directory, Kind::Directory)?;
    sys::close(made);
    Ok(())
}

/// The directory that `path` lies in, made if it is missing, and the last component.
///
/// Of several steps in a row for the same directory the first one resolves it; it stays open for the others.
fn entry<'d>(cx: &mut Context<'_>, path: &'d CStr) -> Result<(Fd, &'d CStr)> {
    let (fd, name) = match same_directory(cx, path) {
        Some(same) => same,
        None => {
            let (directory, name) = path::split(path);
            (path::parent(cx.root(), directory)?, name)
        }
    };
    remember_directory(cx, fd);
    Ok((fd, name))
}

/// The directory that `path` lies in, if the step before has made an entry of it, and the last component.
pub fn same_directory<'d>(cx: &Context<'_>, path: &'d CStr) -> Option<(Fd, &'d CStr)> {
    let (step, fd) = cx.state.directory.filter(|(step, _)| step + 1 == cx.state.at)?;
    let before: &CStr = match &cx.steps.get(step)?.step {
        ChildStep::Device(device) => &device.path,
        ChildStep::Symlink { path, .. } => path,
        ChildStep::Mount(mount) => &mount.destination,
        _ => return None,
    };
    let (directory, name) = path::split(path);
    (path::split(before).0 == directory).then_some((fd, name))
}

/// Keeps the directory in which this step has made an entry, for the next.
pub fn remember_directory(cx: &mut Context<'_>, directory: Fd) {
    match cx.state.directory.replace((cx.state.at, directory)) {
        Some((_, old)) if old != directory => sys::close(old),
        _ => {}
    }
}

/// Makes a device node, or shows the host's.
pub fn device(cx: &mut Context<'_>, d: &Device) -> Result<()> {
    if d.bind {
        return bind_device(cx, d);
    }
    let (parent, name) = entry(cx, &d.path)?;
    match sys::mknodat(parent, name, d.mode, d.dev) {
        Ok(()) => {}
        Err(e) if e.errno == libc::EEXIST => return same_device(parent, name, d, e),
        // No right to make nodes, on this file system at least.
        Err(e) if e.errno == libc::EPERM => return bind_device(cx, d),
        Err(e) => return Err(e),
    }
    if d.uid != 0 || d.gid != 0 {
        sys::fchownat(parent, name, d.uid, d.gid, AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// A node that is there already is right if it is the same device (config-linux.md, "Devices").
fn same_device(parent: Fd, name: &CStr, d: &Device, exists: SysError) -> Result<()> {
    let there = sys::statx(parent, name, AT_SYMLINK_NOFOLLOW)?;
    let fifo = there.file_type() == libc::S_IFIFO;
    if there.file_type() == d.mode & libc::S_IFMT && (fifo || there.rdev == d.dev) {
        return Ok(());
    }
    Err(exists)
}

fn bind_device(cx: &Context<'_>, d: &Device) -> Result<()> {
    let tree = sys::open_tree_clone(Fd::CWD, &d.path, false, 0)?;
    let there = sys::fstat(tree)?;
    if there.file_type() != d.mode & libc::S_IFMT || there.rdev != d.dev {
        return Err(SysError { call: Call::Check, errno: libc::ENXIO });
    }
    let target = path::locate_or_create(cx.root(), &d.path, Kind::File)?;
    sys::move_mount(tree, target)?;
    sys::close(target);
    sys::close(tree);
    Ok(())
}

/// Makes a symbolic link, unless something of that name is there.
pub fn symlink(cx: &mut Context<'_>, target: &CStr, link: &CStr) -> Result<()> {
    let (parent, name) = entry(cx, link)?;
    match sys::symlinkat(target, parent, name) {
        Err(e) if e.errno != libc::EEXIST => Err(e),
        _ => Ok(()),
    }
}

/// Makes the root file system the root, and detaches the old one.
pub fn pivot(cx: &mut Context<'_>) -> Result<()> {
    let old = if cx.state.shared { Some(open_host_root()?) } else { None };
    sys::fchdir(cx.root())?;
    // Both on ".": the old root ends up stacked on the new one, and the working directory in the old one
    // (pivot_root(2), NOTES).
    sys::pivot_root(c".", c".")?;
    if let Some(old) = old {
        // Or the host would lose its mounts with us.  By descriptor: to all calls but umount2(2) "." is the new root, whose mounts
        // are to be shared.
        mounts::set_propagation(cx, old, true, libc::MS_SLAVE)?;
        sys::close(old);
    }
    sys::umount2(c".", libc::MNT_DETACH)?;
    sys::chdir(c"/")
}

fn open_host_root() -> Result<Fd> {
    sys::openat(Fd::CWD, c"/", O_PATH | O_DIRECTORY, 0)
}

/// Makes the root file system the root where pivot_root(2) cannot be (the old root is an initramfs).
pub fn move_root(cx: &mut Context<'_>) -> Result<()> {
    let host_root = open_host_root()?;
    if cx.state.shared {
        // What goes from below it, and what comes upon it, would do so on the host as well.
        mounts::set_propagation(cx, host_root, false, libc::MS_SLAVE)?;
    }
    // A full procfs or sysfs that stays below the new root would let the container mount its own (mount_namespaces(7)).
    for host in [c"/proc", c"/sys"] {
        if cx.state.shared {
            // What is mounted below it goes as well.
            cut_off(cx, host)?;
        }
        match sys::umount2(host, libc::MNT_DETACH) {
            Err(e) if e.errno != libc::EINVAL && e.errno != libc::EPERM && e.errno != libc::ENOENT => {
                return Err(e);
            }
            _ => {}
        }
    }
    let root = cx.root();
    sys::move_mount(root, host_root)?;
    sys::close(host_root);
    sys::fchdir(root)?;
    sys::chroot(c".")?;
    sys::chdir(c"/")
}

/// Makes a tree of the host a slave, if it is one and is there.
fn cut_off(cx: &Context<'_>, tree: &CStr) -> Result<()> {
    let tree = match sys::openat(Fd::CWD, tree, O_PATH | O_DIRECTORY, 0) {
        Err(e) if is_missing(e) => return Ok(()),
        r => r?,
    };
    let done = match mounts::set_propagation(cx, tree, true, libc::MS_SLAVE) {
        // No mount.
        Err(e) if e.errno == libc::EINVAL => Ok(()),
        r => r,
    };
    sys::close(tree);
    done
}

/// Changes the root alone.
pub fn chroot(cx: &mut Context<'_>) -> Result<()> {
    sys::fchdir(cx.root())?;
    sys::chroot(c".")?;
    sys::chdir(c"/")
}

/// `root.readonly`.
pub fn make_read_only(cx: &Context<'_>) -> Result<()> {
    mounts::set_attached(cx, cx.root(), &READ_ONLY)
}

/// Propagation of `/` as the container sees it.
pub fn container_propagation(cx: &Context<'_>, flags: u64) -> Result<()> {
    mounts::set_propagation(cx, cx.root(), flags & libc::MS_REC != 0, flags & !libc::MS_REC)
}

/// Whether a path that need not exist does not.
fn is_missing(e: SysError) -> bool {
    e.errno == libc::ENOENT || e.errno == libc::ENOTDIR
}

/// Opens a path that is to be hidden or made read-only.
///
/// In procfs and sysfs from the very mount that was made: who can rename in the root file system (another container that shares it)
/// could have led `/proc` elsewhere by now, where there is nothing to hide (CVE-2019-19921).
fn locate_hidden(cx: &Context<'_>, path: &CStr) -> Result<Fd> {
    let places = [(cx.state.proc, b"/proc/".as_slice()), (cx.state.sys, b"/sys/")];
    for (mount, prefix) in places {
        let below = path.to_bytes_with_nul().strip_prefix(prefix);
        let below =
            below.and_then(|below| CStr::from_bytes_with_nul(below).ok()).filter(|below| !below.is_empty());
        if let (Some(mount), Some(below)) = (mount, below) {
            return path::locate(mount, below);
        }
    }
    path::locate(cx.root(), path)
}

/// Hides `masked`.
pub fn mask(cx: &mut Context<'_>, masked: &CStr) -> Result<()> {
    let target = match locate_hidden(cx, masked) {
        Err(e) if is_missing(e) => return Ok(()),
        r => r?,
    };
    if sys::fstat(target)?.is_dir() {
        mask_directory(cx, target)?;
    } else {
        let tree = mounts::bind_onto(null_device(cx)?, false, target)?;
        sys::close(tree);
    }
    sys::close(target);
    Ok(())
}

/// The container's `/dev/null`, made sure of, once for all masks: an image could have put anything there (CVE-2025-31133).
fn null_device(cx: &mut Context<'_>) -> Result<Fd> {
    if let Some(null) = cx.state.null {
        return Ok(null);
    }
    let null = path::locate_plain(cx.root(), c"dev/null")?;
    let there = sys::fstat(null)?;
    if there.file_type() != libc::S_IFCHR || there.rdev != libc::makedev(1, 3) {
        return Err(SysError { call: Call::Check, errno: libc::ENXIO });
    }
    cx.state.null = Some(null);
    Ok(null)
}

/// Whether a descriptor is `/dev/null`, wherever that is.
fn is_null(fd: Fd) -> bool {
    sys::fstat(fd).is_ok_and(|s| s.file_type() == libc::S_IFCHR && s.rdev == libc::makedev(1, 3))
}

/// Streams that are the host's `/dev/null` become the container's.  One that may not be opened here stays as it is.
pub fn own_null(cx: &Context<'_>) -> Result<()> {
    let streams = [Fd(0), Fd(1), Fd(2)];
    if !streams.iter().any(|fd| is_null(*fd)) {
        return Ok(());
    }
    let Ok(own) = path::open(cx.root(), c"dev/null", libc::O_RDWR | libc::O_NOFOLLOW) else { return Ok(()) };
    if is_null(own) {
        for stream in streams.into_iter().filter(|fd| is_null(*fd)) {
            sys::dup3(own, stream, true)?;
        }
    }
    sys::close(own);
    Ok(())
}

/// One empty read-only tmpfs serves all masked directories.
fn mask_directory(cx: &mut Context<'_>, target: Fd) -> Result<()> {
    const ATTRIBUTES: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    if let Some(empty) = cx.state.empty {
        let tree = mounts::bind_onto(empty, false, target)?;
        sys::close(tree);
        return Ok(());
    }
    let fs = sys::fsopen(c"tmpfs")?;
    sys::fsconfig_set_string(fs, c"source", c"tmpfs")?;
    sys::fsconfig_set_string(fs, c"nr_inodes", c"1")?;
    sys::fsconfig_set_string(fs, c"mode", c"0755")?;
    sys::fsconfig_create(fs)?;
    let tree = sys::fsmount(fs, ATTRIBUTES)?;
    sys::close(fs);
    sys::move_mount(tree, target)?;
    cx.state.empty = Some(tree);
    Ok(())
}

/// Makes `read_only` read-only, with what is mounted below it.
pub fn read_only_path(cx: &Context<'_>, read_only: &CStr) -> Result<()> {
    let target = match locate_hidden(cx, read_only) {
        Err(e) if is_missing(e) => return Ok(()),
        r => r?,
    };
    let tree = mounts::bind_onto(target, true, target)?;
    mounts::set_attached(cx, tree, &READ_ONLY)?;
    sys::close(tree);
    sys::close(target);
    Ok(())
}
