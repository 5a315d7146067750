//! Mounts: the descriptor-based calls (`fsopen(2)`, `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`) and the old ones.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, call, fd};
use core::ffi::CStr;
use core::mem::size_of;

/// Mount attributes of `mount_setattr(2)` and `fsmount(2)`: `MOUNT_ATTR_*`.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits and file capabilities have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The bits that hold how access times are kept.
    pub const ATIME: u64 = 0x70;
    /// Access times relative to modification (the kernel's default).
    pub const RELATIME: u64 = 0x0;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Access times always.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times for directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids mapped through a user namespace; Linux 5.12.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed; Linux 5.14 through this interface.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear, before setting.
    pub clear: u64,
    /// `MS_SHARED`, `MS_PRIVATE`, `MS_SLAVE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// User namespace for `IDMAP`.
    pub userns_fd: u64,
}

/// Makes a detached copy of the mount at `path` (`OPEN_TREE_CLONE`), of the whole tree with `recursive`.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn open_tree_clone(dir: Fd, path: &CStr, recursive: bool, flags: i32) -> Result<Fd> {
    #[allow(clippy::cast_possible_wrap)]
    let mut flags = flags | (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as i32;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` is NUL-terminated and only read.
    unsafe { call!(Call::OpenTree, SYS_open_tree, dir, path, flags) }.map(fd)
}

/// Attaches the detached mount `mount` on the location `target`; both are descriptors, no path is walked.
///
/// # Errors
/// Those of `move_mount(2)`.
pub fn move_mount(mount: Fd, target: Fd) -> Result<()> {
    const F_EMPTY_PATH: u32 = 0x4;
    const T_EMPTY_PATH: u32 = 0x40;
    // SAFETY: both paths are empty literals.
    unsafe { call!(Call::MoveMount, SYS_move_mount, mount, c"", target, c"", F_EMPTY_PATH | T_EMPTY_PATH) }
        .map(drop)
}

/// Starts the configuration of a new file system instance.
///
/// # Errors
/// Those of `fsopen(2)`; `ENODEV` for a type the kernel does not know.
pub fn fsopen(fstype: &CStr) -> Result<Fd> {
    const CLOEXEC: u32 = 1;
    // SAFETY: `fstype` is NUL-terminated and only read.
    unsafe { call!(Call::Fsopen, SYS_fsopen, fstype, CLOEXEC) }.map(fd)
}

/// Sets the parameter `key` to `value`.
///
/// # Errors
/// Those of `fsconfig(2)`.
pub fn fsconfig_set_string(fs: Fd, key: &CStr, value: &CStr) -> Result<()> {
    const SET_STRING: u32 = 1;
    // SAFETY: both strings are NUL-terminated and only read.
    unsafe { call!(Call::Fsconfig, SYS_fsconfig, fs, SET_STRING, key, value, 0) }.map(drop)
}

/// Sets the flag `key`.
///
/// # Errors
/// Those of `fsconfig(2)`.
pub fn fsconfig_set_flag(fs: Fd, key: &CStr) -> Result<()> {
    const SET_FLAG: u32 = 0;
    // SAFETY: `key` is NUL-terminated and only read; a flag takes no value.
    unsafe { call!(Call::Fsconfig, SYS_fsconfig, fs, SET_FLAG, key, core::ptr::null::<u8>(), 0) }.map(drop)
}

/// Makes the instance that was configured.
///
/// # Errors
/// Those of `fsconfig(2)`.
pub fn fsconfig_create(fs: Fd) -> Result<()> {
    const CREATE: u32 = 6;
    let none = core::ptr::null::<u8>();
    // SAFETY: the command takes neither key nor value.
    unsafe { call!(Call::Fsconfig, SYS_fsconfig, fs, CREATE, none, none, 0) }.map(drop)
}

/// Starts another configuration of the file system that the mount `mount` shows.
///
/// # Errors
/// Those of `fspick(2)`; `EINVAL` where `mount` is not the root of one.
pub fn fspick(mount: Fd) -> Result<Fd> {
    const CLOEXEC: u32 = 0x1;
    const EMPTY_PATH: u32 = 0x8;
    // SAFETY: the path is an empty literal.
    unsafe { call!(Call::Fspick, SYS_fspick, mount, c"", CLOEXEC | EMPTY_PATH) }.map(fd)
}

/// Gives the file system its other configuration.
///
/// # Errors
/// Those of `fsconfig(2)`.
pub fn fsconfig_reconfigure(fs: Fd) -> Result<()> {
    const RECONFIGURE: u32 = 7;
    let none = core::ptr::null::<u8>();
    // SAFETY: the command takes neither key nor value.
    unsafe { call!(Call::Fsconfig, SYS_fsconfig, fs, RECONFIGURE, none, none, 0) }.map(drop)
}

/// Makes a detached mount of the instance, with the attributes `attrs`.
///
/// # Errors
/// Those of `fsmount(2)`.
pub fn fsmount(fs: Fd, attrs: u64) -> Result<Fd> {
    const CLOEXEC: u32 = 1;
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Fsmount, SYS_fsmount, fs, CLOEXEC, attrs) }.map(fd)
}

/// Changes attributes of the mount at `fd`, and of all below it with `recursive`.  Linux 5.12.
///
/// # Errors
/// Those of `mount_setattr(2)`.
pub fn mount_setattr(fd: Fd, recursive: bool, attrs: &MountAttr) -> Result<()> {
    mount_setattr_at(fd, c"", recursive, attrs)
}

/// The same for the mount at `path` relative to `dir`.
///
/// # Errors
/// Those of `mount_setattr(2)`.
pub fn mount_setattr_at(dir: Fd, path: &CStr, recursive: bool, attrs: &MountAttr) -> Result<()> {
    let mut flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `attrs` is a live struct mount_attr of the size passed; the kernel only reads it.
    unsafe {
        call!(
            Call::MountSetattr,
            SYS_mount_setattr,
            dir,
            path,
            flags,
            &raw const *attrs,
            size_of::<MountAttr>()
        )
    }
    .map(drop)
}

/// The old `mount(2)`, for changes of existing mounts on kernels without `mount_setattr` and for `MS_MOVE`.
///
/// # Errors
/// Those of `mount(2)`.
pub fn mount(source: Option<&CStr>, target: &CStr, flags: u64) -> Result<()> {
    let source = source.map_or(core::ptr::null(), CStr::as_ptr);
    let none = core::ptr::null::<u8>();
    // SAFETY: the strings are NUL-terminated or null, and only read; no type and no data are passed.
    unsafe { call!(Call::Mount, SYS_mount, source, target, none, flags, none) }.map(drop)
}

/// Detaches the mount at `target` (`MNT_DETACH`, …).
///
/// # Errors
/// Those of `umount2(2)`.
pub fn umount2(target: &CStr, flags: i32) -> Result<()> {
    // SAFETY: `target` is NUL-terminated and only read.
    unsafe { call!(Call::Umount, SYS_umount2, target, flags) }.map(drop)
}

/// Makes `new_root` the root of the mount namespace, and moves the old one to `put_old`.
///
/// # Errors
/// Those of `pivot_root(2)`.
pub fn pivot_root(new_root: &CStr, put_old: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated and only read.
    unsafe { call!(Call::PivotRoot, SYS_pivot_root, new_root, put_old) }.map(drop)
}
