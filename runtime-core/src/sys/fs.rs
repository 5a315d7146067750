//! Files, directories and descriptors: `openat2(2)`, `mkdirat(2)`, `mknodat(2)`, `read(2)`, `close_range(2)`, …

#![allow(unsafe_code)]

use super::{Call, Fd, Result, SysError, call, fd};
use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of};
use libc::{O_CLOEXEC, c_int};

/// Longest path the kernel takes, its NUL included (`limits.h`).
pub const PATH_MAX: usize = 4096;

/// How `openat2` walks a path: `RESOLVE_*` of `openat2(2)`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens `path` below `dir` under the resolution rules `resolve`; close-on-exec is added.  Linux 5.6.
///
/// # Errors
/// Those of `openat2(2)`; a race that the kernel reports with `EAGAIN` is retried a bounded number of times.
pub fn openat2(dir: Fd, path: &CStr, flags: c_int, mode: u32, resolve: u64) -> Result<Fd> {
    let how = OpenHow { flags: u64::from((flags | O_CLOEXEC).cast_unsigned()), mode: mode.into(), resolve };
    let mut tries = 0;
    loop {
        // SAFETY: `path` is NUL-terminated, `how` is a live struct of the size passed, and the kernel only reads them.
        let r = unsafe { call!(Call::Openat2, SYS_openat2, dir, path, &raw const how, size_of::<OpenHow>()) };
        match r {
            // A rename somewhere in the tree made ".." unsafe to follow; a hostile renamer must not hold us for ever.
            Err(e) if e.errno == libc::EAGAIN && tries < 128 => tries += 1,
            Err(e) if e.errno == libc::EINTR => {}
            r => return r.map(fd),
        }
    }
}

/// Opens `path` relative to `dir`; close-on-exec is added.
///
/// # Errors
/// Those of `openat(2)`.
pub fn openat(dir: Fd, path: &CStr, flags: c_int, mode: u32) -> Result<Fd> {
    loop {
        // SAFETY: `path` is NUL-terminated and only read.
        match unsafe { call!(Call::Openat, SYS_openat, dir, path, flags | O_CLOEXEC, mode) } {
            Err(e) if e.errno == libc::EINTR => {}
            r => return r.map(fd),
        }
    }
}

/// Sets the extended attribute `name` of an open file.
///
/// # Errors
/// Those of `fsetxattr(2)`.
pub fn fsetxattr(file: Fd, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: `name` is NUL-terminated, `value` is valid for reads of the length passed, and both are only read.
    unsafe { call!(Call::Setxattr, SYS_fsetxattr, file, name, value.as_ptr(), value.len(), 0) }.map(drop)
}

/// What the extended attribute `name` of an open file holds, for tests.
#[cfg(test)]
pub fn fgetxattr(file: Fd, name: &CStr) -> Result<Vec<u8>> {
    let mut value = vec![0u8; 255];
    // SAFETY: `name` is NUL-terminated, and `value` is valid for writes of the length passed.
    let n = unsafe { call!(Call::Getxattr, SYS_fgetxattr, file, name, value.as_mut_ptr(), value.len()) }?;
    value.truncate(n);
    Ok(value)
}

/// Closes a descriptor.  An error of close says nothing that could be acted on here.
pub fn close(fd: Fd) {
    // SAFETY: the child half holds descriptors as numbers, so no owner is left with a dangling one.
    let _ = unsafe { call!(Call::Close, SYS_close, fd) };
}

/// Closes the descriptors `first..=last`, or marks them close-on-exec with `CLOSE_RANGE_CLOEXEC` (Linux 5.11).
///
/// # Errors
/// Those of `close_range(2)`.
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: only the child half calls this, whose descriptors are plain numbers.
    unsafe { call!(Call::CloseRange, SYS_close_range, first, last, flags) }.map(drop)
}

/// Makes `new` refer to what `old` refers to; `new` stays open across execve when `inherit`.
///
/// # Errors
/// Those of `dup3(2)`.
pub fn dup3(old: Fd, new: Fd, inherit: bool) -> Result<()> {
    let flags = if inherit { 0 } else { O_CLOEXEC };
    // SAFETY: no memory is passed; `new` is a number the caller manages.
    unsafe { call!(Call::Dup3, SYS_dup3, old, new, flags) }.map(drop)
}

/// Sets whether `fd` is closed by execve.
///
/// # Errors
/// Those of `fcntl(2)`.
pub fn set_cloexec(fd: Fd, on: bool) -> Result<()> {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD passes no memory.
    unsafe { call!(Call::Fcntl, SYS_fcntl, fd, libc::F_SETFD, flag) }.map(drop)
}

/// Reads into `buf`; 0 is the end of the file.
///
/// # Errors
/// Those of `read(2)` but `EINTR`.
pub fn read(fd: Fd, buf: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: `buf` is valid for writes of its length.
        match unsafe { call!(Call::Read, SYS_read, fd, buf.as_mut_ptr(), buf.len()) } {
            Err(e) if e.errno == libc::EINTR => {}
            r => return r,
        }
    }
}

/// Writes `buf` in one call: what procfs and cgroupfs files want.
///
/// # Errors
/// Those of `write(2)` but `EINTR`; `EIO` when the file took only a part.
pub fn write(fd: Fd, buf: &[u8]) -> Result<()> {
    loop {
        // SAFETY: `buf` is valid for reads of its length.
        match unsafe { call!(Call::Write, SYS_write, fd, buf.as_ptr(), buf.len()) } {
            Err(e) if e.errno == libc::EINTR => {}
            Ok(n) if n != buf.len() => return Err(SysError { call: Call::Write, errno: libc::EIO }),
            r => return r.map(drop),
        }
    }
}

/// Makes the directory `name` in `dir`.
///
/// # Errors
/// Those of `mkdirat(2)`.
pub fn mkdirat(dir: Fd, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and only read.
    unsafe { call!(Call::Mkdirat, SYS_mkdirat, dir, name, mode) }.map(drop)
}

/// Makes the node `name` in `dir`: `mode` holds the type, `dev` the device number.
///
/// # Errors
/// Those of `mknodat(2)`.
pub fn mknodat(dir: Fd, name: &CStr, mode: u32, dev: u64) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and only read.
    unsafe { call!(Call::Mknodat, SYS_mknodat, dir, name, mode, dev) }.map(drop)
}

/// Makes the symbolic link `name` in `dir`, pointing to `target`.
///
/// # Errors
/// Those of `symlinkat(2)`.
pub fn symlinkat(target: &CStr, dir: Fd, name: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated and only read.
    unsafe { call!(Call::Symlinkat, SYS_symlinkat, target, dir, name) }.map(drop)
}

/// Removes the entry `name` of `dir`.
///
/// # Errors
/// Those of `unlinkat(2)`.
pub fn unlinkat(dir: Fd, name: &CStr, flags: c_int) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and only read.
    unsafe { call!(Call::Unlinkat, SYS_unlinkat, dir, name, flags) }.map(drop)
}

/// Reads the symbolic link `name` of `dir` into `buf`, and returns its length; no NUL is added.
///
/// # Errors
/// Those of `readlinkat(2)`.
pub fn readlinkat(dir: Fd, name: &CStr, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `name` is NUL-terminated; `buf` is valid for writes of its length.
    unsafe { call!(Call::Readlinkat, SYS_readlinkat, dir, name, buf.as_mut_ptr(), buf.len()) }
}

/// Reads directory records (`struct linux_dirent64`) into `buf`; 0 is the end.
///
/// # Errors
/// Those of `getdents64(2)`.
pub fn getdents64(dir: Fd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `buf` is valid for writes of its length.
    unsafe { call!(Call::Getdents64, SYS_getdents64, dir, buf.as_mut_ptr(), buf.len()) }
}

/// An entry of a directory, as [`getdents64`] reads it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'b> {
    /// Its name.
    pub name: &'b CStr,
    /// `DT_*`.
    pub kind: u8,
}

/// The first `struct linux_dirent64` (inode, offset, record length, type, name) of `records`, and the records after it.
#[must_use]
pub fn next_entry(records: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    const LENGTH: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    let length = u16::from_ne_bytes([*records.get(LENGTH)?, *records.get(LENGTH + 1)?]);
    let name = CStr::from_bytes_until_nul(records.get(NAME..length.into())?).ok()?;
    Some((Entry { name, kind: *records.get(KIND)? }, records.get(length.into()..)?))
}

/// Sets owner and group of `name` in `dir`, or of `dir` itself with an empty name and `AT_EMPTY_PATH`.
///
/// # Errors
/// Those of `fchownat(2)`.
pub fn fchownat(dir: Fd, name: &CStr, uid: u32, gid: u32, flags: c_int) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and only read.
    unsafe { call!(Call::Fchownat, SYS_fchownat, dir, name, uid, gid, flags) }.map(drop)
}

/// Sets the mode of `name` in `dir`, following a symbolic link: for names the caller has just made.
///
/// # Errors
/// Those of `fchmodat(2)`.
pub fn fchmodat(dir: Fd, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and only read.
    unsafe { call!(Call::Fchmodat, SYS_fchmodat, dir, name, mode) }.map(drop)
}

/// What the launch asks of a file.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Type and permissions (`inode(7)`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as `makedev(3)` encodes it.
    pub rdev: u64,
    /// Inode number.
    pub ino: u64,
    /// Device number of the file system.
    pub dev: u64,
    /// Whether this is the root of a mount (Linux 5.8).
    pub mount_root: bool,
}

impl Stat {
    /// The type bits of the mode.
    #[must_use]
    pub fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether this is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == libc::S_IFDIR
    }
}

/// Asks about the open file `fd` (an `O_PATH` descriptor will do).
///
/// # Errors
/// Those of `statx(2)`.
pub fn fstat(fd: Fd) -> Result<Stat> {
    statx(fd, c"", libc::AT_EMPTY_PATH)
}

/// Asks about `path` relative to `dir`, with the `AT_*` flags of `statx(2)`.
///
/// # Errors
/// Those of `statx(2)`.
pub fn statx(dir: Fd, path: &CStr, flags: c_int) -> Result<Stat> {
    let mut st = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `path` is NUL-terminated; `st` is valid for the write of one struct statx.
    unsafe {
        call!(Call::Statx, SYS_statx, dir, path, flags, libc::STATX_BASIC_STATS, st.as_mut_ptr())?;
    }
    // SAFETY: all-zero is a valid statx, and the kernel has filled it in.
    let st = unsafe { st.assume_init() };
    Ok(Stat {
        mode: st.stx_mode.into(),
        uid: st.stx_uid,
        gid: st.stx_gid,
        rdev: libc::makedev(st.stx_rdev_major, st.stx_rdev_minor),
        ino: st.stx_ino,
        dev: libc::makedev(st.stx_dev_major, st.stx_dev_minor),
        mount_root: st.stx_attributes & u64::from(libc::STATX_ATTR_MOUNT_ROOT.cast_unsigned()) != 0,
    })
}

/// File system magic and mount flags (`ST_*`) of where `fd` lies.
///
/// # Errors
/// Those of `fstatfs(2)`.
pub fn fstatfs(fd: Fd) -> Result<(i64, i64)> {
    // The kernel's struct statfs on 64-bit machines: f_type is its first word, f_flags its eleventh.
    let mut st = [0i64; 15];
    // SAFETY: `st` is valid for the write of one struct statfs (120 bytes).
    unsafe { call!(Call::Fstatfs, SYS_fstatfs, fd, st.as_mut_ptr())? };
    Ok((st[0], st[10]))
}

/// Whether the effective ids may access `path` in `mode` (`R_OK`, `X_OK`, …).  Linux 5.8.
///
/// # Errors
/// Those of `faccessat2(2)`.
pub fn faccessat2(dir: Fd, path: &CStr, mode: c_int, flags: c_int) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and only read.
    unsafe { call!(Call::Faccessat2, SYS_faccessat2, dir, path, mode, flags) }.map(drop)
}

/// Changes the working directory to `path`.
///
/// # Errors
/// Those of `chdir(2)`.
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and only read.
    unsafe { call!(Call::Chdir, SYS_chdir, path) }.map(drop)
}

/// Changes the working directory to `dir`.
///
/// # Errors
/// Those of `fchdir(2)`.
pub fn fchdir(dir: Fd) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Fchdir, SYS_fchdir, dir) }.map(drop)
}

/// Changes the root directory to `path`.
///
/// # Errors
/// Those of `chroot(2)`.
pub fn chroot(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and only read.
    unsafe { call!(Call::Chroot, SYS_chroot, path) }.map(drop)
}

/// Writes the working directory to `buf`, NUL included, and returns the length.
/// It begins with `(unreachable)` when the directory lies outside the root.
///
/// # Errors
/// Those of `getcwd(2)`.
pub fn getcwd(buf: &mut [u8]) -> Result<usize> {
    // SAFETY: `buf` is valid for writes of its length.
    unsafe { call!(Call::Getcwd, SYS_getcwd, buf.as_mut_ptr(), buf.len()) }
}

/// Sets the file mode creation mask.
pub fn umask(mask: u32) {
    // SAFETY: umask cannot fail and passes no memory.
    let _ = unsafe { call!(Call::Check, SYS_umask, mask) };
}

/// Unlocks the slave of `master` (`TIOCSPTLCK`).
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn pty_unlock(master: Fd) -> Result<()> {
    let lock: c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    unsafe { call!(Call::Ioctl, SYS_ioctl, master, libc::TIOCSPTLCK, &raw const lock) }.map(drop)
}

/// Opens the slave of `master` without any path (`TIOCGPTPEER`, Linux 4.13); close-on-exec.
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn pty_peer(master: Fd) -> Result<Fd> {
    const TIOCGPTPEER: u64 = 0x5441;
    let flags = libc::O_RDWR | libc::O_NOCTTY | O_CLOEXEC;
    // SAFETY: TIOCGPTPEER passes its flags by value.
    unsafe { call!(Call::Ioctl, SYS_ioctl, master, TIOCGPTPEER, flags) }.map(fd)
}

/// Rows and columns of a terminal (`TIOCGWINSZ`).
///
/// # Errors
/// Those of `ioctl(2)`; `ENOTTY` for what is no terminal.
pub fn window_size(tty: Fd) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one struct winsize.
    unsafe { call!(Call::Ioctl, SYS_ioctl, tty, libc::TIOCGWINSZ, &raw mut size)? };
    Ok((size.ws_row, size.ws_col))
}

/// Sets the size of a terminal, in characters (`TIOCSWINSZ`).
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn set_window_size(tty: Fd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize.
    unsafe { call!(Call::Ioctl, SYS_ioctl, tty, libc::TIOCSWINSZ, &raw const size) }.map(drop)
}

/// Makes `tty` the controlling terminal of the calling session leader (`TIOCSCTTY`).
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn set_controlling_terminal(tty: Fd) -> Result<()> {
    // SAFETY: TIOCSCTTY passes its argument by value.
    unsafe { call!(Call::Ioctl, SYS_ioctl, tty, libc::TIOCSCTTY, 0) }.map(drop)
}

/// Whether `fd` is an open descriptor.
#[must_use]
pub fn is_open(fd: Fd) -> bool {
    // SAFETY: F_GETFD passes no memory.
    unsafe { call!(Call::Fcntl, SYS_fcntl, fd, libc::F_GETFD, 0) }.is_ok()
}

/// Whether `fd` is open and would outlive an execve: what a program has from its caller does, and what it opens itself, done right,
/// does not.
#[must_use]
pub fn is_inherited(fd: Fd) -> bool {
    // SAFETY: F_GETFD passes no memory.
    let flags = unsafe { call!(Call::Fcntl, SYS_fcntl, fd, libc::F_GETFD, 0) };
    flags.is_ok_and(|flags| flags & libc::FD_CLOEXEC.unsigned_abs() as usize == 0)
}
