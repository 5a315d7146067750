//! Mounts: configured and attributed while detached, attached by descriptor.

use super::Context;
use super::copyup;
use super::path::{self, Kind, PathBuffer};
use super::rootfs;
use crate::plan::{ChildStep, FsParam, Mount, MountSource};
use crate::sys::{self, Call, Fd, MountAttr, Result, SysError, attr};
use core::ffi::CStr;
use libc::{AT_EMPTY_PATH, O_DIRECTORY, O_RDONLY};

/// File system magic of procfs (`statfs(2)`).
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Makes the mount `m`.
pub fn mount(cx: &mut Context<'_>, m: &Mount) -> Result<()> {
    let (tree, applied) = open_source(cx, m)?;
    let bind = !matches!(m.source, MountSource::New { .. });
    let kind = if !bind || sys::fstat(tree)?.is_dir() { Kind::Directory } else { Kind::File };
    let target = locate_target(cx, m, kind)?;
    if m.copy_up {
        let from = path::open(cx.root(), &m.destination, O_RDONLY | O_DIRECTORY)?;
        copyup::copy(from, tree)?;
        sys::close(from);
    }
    if let Some(value) = &m.label {
        label(tree, value)?;
    }
    attach(tree, target, kind)?;
    sys::close(target);
    if applied == Applied::WhenAttached {
        remount(cx, tree, &m.attributes)?;
    }
    if is_written_first(m) && m.attributes.set & attr::RDONLY != 0 {
        set_attached(cx, tree, &MountAttr { set: attr::RDONLY, ..MountAttr::default() })?;
    }
    if !is_nothing(&m.recursive_attributes) {
        sys::mount_setattr(tree, true, &m.recursive_attributes)?;
    }
    for (flags, recursive) in &m.propagation {
        set_propagation(cx, tree, *recursive, *flags)?;
    }
    if m.late_read_only {
        return remember(cx, tree);
    }
    if !keep(cx, m, tree) {
        close_tree(m, tree);
    }
    Ok(())
}

/// Attaches a tree.  move_mount(2) says EINVAL of a directory that is to lie on a file, or of the reverse; mount(2) said ENOTDIR, which
/// Docker explains to its user.
fn attach(tree: Fd, target: Fd, kind: Kind) -> Result<()> {
    match sys::move_mount(tree, target) {
        Err(e) if e.errno == libc::EINVAL && sys::fstat(target)?.is_dir() != (kind == Kind::Directory) => {
            Err(SysError { errno: libc::ENOTDIR, ..e })
        }
        r => r,
    }
}

/// Keeps the file systems that show the kernel, for what is hidden in them.
fn keep(cx: &mut Context<'_>, m: &Mount, tree: Fd) -> bool {
    let place = match m.destination.to_bytes() {
        b"/proc" => &mut cx.state.proc,
        b"/sys" => &mut cx.state.sys,
        _ => return false,
    };
    *place = Some(tree);
    true
}

/// Whether the file system is written to before it is attached, and so cannot be read-only until then.
fn is_written_first(m: &Mount) -> bool {
    m.copy_up || m.label.is_some()
}

/// Labels the root of a file system that takes no context when it is mounted: the instance is as old as its namespace.
fn label(tree: Fd, value: &CStr) -> Result<()> {
    // The descriptor of a mount is only a place (O_PATH), which has no attributes to be set through it.
    let root = sys::openat(tree, c".", O_RDONLY | O_DIRECTORY, 0)?;
    sys::fsetxattr(root, c"security.selinux", value.to_bytes())?;
    sys::close(root);
    Ok(())
}

/// Changes the mount at `destination` (`remount`), and its file system where there are parameters; the kernel refuses a place where
/// no mount is.
pub fn change(
    cx: &Context<'_>,
    destination: &CStr,
    params: &[FsParam],
    (attributes, recursive): (&MountAttr, &MountAttr),
    propagation: &[(u64, bool)],
) -> Result<()> {
    let target = path::locate(cx.root(), destination)?;
    if !params.is_empty() {
        let fs = sys::fspick(target)?;
        configure(fs, params)?;
        sys::fsconfig_reconfigure(fs)?;
        sys::close(fs);
    }
    if !is_nothing(attributes) {
        set_attached(cx, target, attributes)?;
    }
    if !is_nothing(recursive) {
        sys::mount_setattr(target, true, recursive)?;
    }
    for (flags, tree) in propagation {
        set_propagation(cx, target, *tree, *flags)?;
    }
    sys::close(target);
    Ok(())
}

/// Closes a tree that was opened here; the slots stay, as a later mount may name them.
fn close_tree(m: &Mount, tree: Fd) {
    if !matches!(m.source, MountSource::Tree { .. }) {
        sys::close(tree);
    }
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
    set_attached(cx, tree, attributes)?;
    sys::close(tree);
    Ok(())
}

fn is_nothing(a: &MountAttr) -> bool {
    a.set == 0 && a.clear == 0
}

/// The mountpoint, made if it is missing.
///
/// The compiler lets only what belongs there be mounted at and below `/proc`; a link of the image must not lead another mount there
/// (CVE-2019-16884).
fn locate_target(cx: &mut Context<'_>, m: &Mount, kind: Kind) -> Result<Fd> {
    // Often beside the one before, whose mountpoint was missing too: of nine hierarchies of version 1 in a new tmpfs, say.
    if follows_mount(cx)
        && let Some((directory, name)) = rootfs::same_directory(cx, &m.destination)
        && let Some(made) = path::create_in(directory, name, kind)?
    {
        rootfs::remember_directory(cx, directory);
        return Ok(made);
    }
    let root = cx.root();
    match path::locate_plain(root, &m.destination) {
        Err(e) if e.errno == libc::ENOENT => {
            if let Some((directory, made)) = path::create_last(root, &m.destination, kind)? {
                rootfs::remember_directory(cx, directory);
                return Ok(made);
            }
        }
        Err(e) if e.errno == libc::ELOOP && !m.plain_destination => {}
        r => return r,
    }
    let target = path::locate_or_create(root, &m.destination, kind)?;
    match sys::fstatfs(target)? {
        (PROC_SUPER_MAGIC, _) => Err(SysError { call: Call::Check, errno: libc::ELOOP }),
        _ => Ok(target),
    }
}

/// The directory of a mount has no symbolic link in its path, if something was made there; that of a device may have.
fn follows_mount(cx: &Context<'_>) -> bool {
    let before = cx.state.at.checked_sub(1).and_then(|n| cx.steps.get(n));
    before.is_some_and(|planned| matches!(planned.step, ChildStep::Mount(_)))
}

/// The detached tree to be attached, with the attributes that can be set by now.
fn open_source(cx: &Context<'_>, m: &Mount) -> Result<(Fd, Applied)> {
    match &m.source {
        MountSource::Tree { slot } => {
            let missing = SysError { call: Call::OpenTree, errno: libc::EBADF };
            with_attributes(*cx.trees.get(*slot).ok_or(missing)?, &m.attributes)
        }
        MountSource::Bind { path, recursive } => {
            with_attributes(sys::open_tree_clone(Fd::CWD, path, *recursive, 0)?, &m.attributes)
        }
        MountSource::New { fstype, params, or_bind } => {
            let later = if is_written_first(m) { attr::RDONLY } else { 0 };
            match (new_file_system(fstype, params, m.attributes.set & !later), or_bind) {
                (Err(e), Some(path)) if e.errno == libc::EPERM || e.errno == libc::EBUSY => {
                    with_attributes(sys::open_tree_clone(Fd::CWD, path, true, 0)?, &m.attributes)
                }
                (r, _) => r,
            }
        }
    }
}

fn with_attributes(tree: Fd, attributes: &MountAttr) -> Result<(Fd, Applied)> {
    if is_nothing(attributes) {
        return Ok((tree, Applied::Done));
    }
    set_attributes(tree, attributes).map(|applied| (tree, applied))
}

fn configure(fs: Fd, params: &[FsParam]) -> Result<()> {
    params.iter().try_for_each(|param| match param {
        FsParam::Flag(key) => sys::fsconfig_set_flag(fs, key),
        FsParam::String(key, value) => sys::fsconfig_set_string(fs, key, value),
    })
}

/// A detached mount of a new file system instance.
fn new_file_system(fstype: &CStr, params: &[FsParam], attributes: u64) -> Result<(Fd, Applied)> {
    let fs = sys::fsopen(fstype)?;
    configure(fs, params)?;
    sys::fsconfig_create(fs)?;
    let made = match sys::fsmount(fs, attributes) {
        Err(e) if e.errno == libc::EINVAL && attributes & attr::NOSYMFOLLOW != 0 => {
            (sys::fsmount(fs, attributes & !attr::NOSYMFOLLOW)?, Applied::WhenAttached)
        }
        r => (r?, Applied::Done),
    };
    sys::close(fs);
    Ok(made)
}

/// Whether attributes are set already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    Done,
    /// The kernel can only change a mount that is attached, by mount(2): Linux before 5.12, and before 5.14 for
    /// `NOSYMFOLLOW`.
    WhenAttached,
}

fn set_attributes(tree: Fd, attributes: &MountAttr) -> Result<Applied> {
    let nosymfollow = (attributes.set | attributes.clear) & attr::NOSYMFOLLOW != 0;
    match sys::mount_setattr(tree, false, attributes) {
        Ok(()) => Ok(Applied::Done),
        Err(e) if e.errno == libc::ENOSYS || e.errno == libc::EINVAL && nosymfollow => {
            Ok(Applied::WhenAttached)
        }
        Err(e) => Err(e),
    }
}

/// Sets attributes of an attached mount, whatever the kernel's age.
pub fn set_attached(cx: &Context<'_>, tree: Fd, attributes: &MountAttr) -> Result<()> {
    match set_attributes(tree, attributes)? {
        Applied::Done => Ok(()),
        Applied::WhenAttached => remount(cx, tree, attributes),
    }
}

/// The old way to change an attached mount: a bind remount, which states all its attributes anew.
fn remount(cx: &Context<'_>, tree: Fd, attributes: &MountAttr) -> Result<()> {
    let (_, flags) = sys::fstatfs(tree)?;
    let wanted = (from_statfs(flags.cast_unsigned()) & !attributes.clear) | attributes.set;
    mount_at(cx, tree, libc::MS_REMOUNT | libc::MS_BIND | to_mount_flags(wanted))
}

/// Sets the propagation of an attached mount.
pub fn set_propagation(cx: &Context<'_>, tree: Fd, recursive: bool, flags: u64) -> Result<()> {
    let attributes = MountAttr { propagation: flags, ..MountAttr::default() };
    match sys::mount_setattr(tree, recursive, &attributes) {
        Err(e) if e.errno == libc::ENOSYS => {
            let recursive = if recursive { libc::MS_REC } else { 0 };
            mount_at(cx, tree, flags | recursive)
        }
        r => r,
    }
}

/// mount(2) on the very mount that `tree` is the root of, for kernels that cannot be given its descriptor.
///
/// Its name is `self/fd/N` below the procfs that was checked (invariant I4): there is no other for a mount on a file, and
/// after the change of root `/proc` would be the container's.  This leaves the working directory at `/`, whichever that is
/// now; none of the steps up to `Chdir` depends on it.
fn mount_at(cx: &Context<'_>, tree: Fd, flags: u64) -> Result<()> {
    let mut path = PathBuffer::from(b"self/fd/")?;
    path.push_number(tree.0.cast_unsigned())?;
    sys::fchdir(cx.proc)?;
    let result = sys::mount(None, path.as_c_str(), flags);
    sys::chdir(c"/").and(result)
}

/// `MS_*` for mount attributes, as a remount takes them: the way to keep access times is always stated, or the mount
/// would keep its own.
fn to_mount_flags(attributes: u64) -> u64 {
    let pairs = [
        (attr::RDONLY, libc::MS_RDONLY),
        (attr::NOSUID, libc::MS_NOSUID),
        (attr::NODEV, libc::MS_NODEV),
        (attr::NOEXEC, libc::MS_NOEXEC),
        (attr::NODIRATIME, libc::MS_NODIRATIME),
        (attr::NOSYMFOLLOW, libc::MS_NOSYMFOLLOW),
    ];
    let times = match attributes & attr::ATIME {
        attr::NOATIME => libc::MS_NOATIME,
        attr::STRICTATIME => libc::MS_STRICTATIME,
        _ => libc::MS_RELATIME,
    };
    pairs.iter().filter(|(a, _)| attributes & a != 0).fold(times, |flags, (_, ms)| flags | ms)
}

/// The mount attributes that the `ST_*` flags of `statfs(2)` tell of.
fn from_statfs(flags: u64) -> u64 {
    const ST_RDONLY: u64 = 0x1;
    const ST_NOSUID: u64 = 0x2;
    const ST_NODEV: u64 = 0x4;
    const ST_NOEXEC: u64 = 0x8;
    const ST_NOATIME: u64 = 0x400;
    const ST_NODIRATIME: u64 = 0x800;
    const ST_RELATIME: u64 = 0x1000;
    const ST_NOSYMFOLLOW: u64 = 0x2000;
    let pairs = [
        (ST_RDONLY, attr::RDONLY),
        (ST_NOSUID, attr::NOSUID),
        (ST_NODEV, attr::NODEV),
        (ST_NOEXEC, attr::NOEXEC),
        (ST_NODIRATIME, attr::NODIRATIME),
        (ST_NOSYMFOLLOW, attr::NOSYMFOLLOW),
    ];
    let times = match flags & (ST_NOATIME | ST_RELATIME) {
        0 => attr::STRICTATIME,
        ST_RELATIME => attr::RELATIME,
        _ => attr::NOATIME,
    };
    pairs.iter().filter(|(st, _)| flags & st != 0).fold(times, |attributes, (_, a)| attributes | a)
}

/// Attaches a copy of the mount or directory at `from`, which lies in this mount namespace, on `target`.
pub fn bind_onto(from: Fd, recursive: bool, target: Fd) -> Result<Fd> {
    let tree = sys::open_tree_clone(from, c"", recursive, AT_EMPTY_PATH)?;
    sys::move_mount(tree, target)?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without SELinux a tmpfs keeps such a label as it would any other attribute; with it, this one has to be known.
    #[test]
    fn the_root_of_a_mount_that_is_not_attached_is_labelled() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let value = c"system_u:object_r:container_file_t:s0";
        let (tree, _) = new_file_system(c"tmpfs", &[], 0).unwrap();
        label(tree, value).unwrap();
        let root = sys::openat(tree, c".", O_RDONLY | O_DIRECTORY, 0).unwrap();
        let kept = sys::fgetxattr(root, c"security.selinux").unwrap();
        assert_eq!(kept.strip_suffix(b"\0").unwrap_or(&kept), value.to_bytes());
        sys::close(root);
        sys::close(tree);
    }
}
