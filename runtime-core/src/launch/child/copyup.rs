//! `tmpcopyup`: fills a new tmpfs with what its mountpoint held, without a heap.

use super::path::PathBuffer;
use crate::sys::{self, Call, Fd, Result, Stat, SysError};
use core::ffi::CStr;
use libc::{
    AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY,
    O_WRONLY,
};

/// Directories deeper than this are refused: each takes two descriptors and some stack.
const MAX_DEPTH: u32 = 64;

/// Bytes of a directory read at once, on the stack.
const RECORDS: usize = 2048;

/// Copies what is in directory `from` into directory `to`, with owners and modes.
pub fn copy(from: Fd, to: Fd) -> Result<()> {
    take_owner(from, to)?;
    copy_directory(from, to, 0)
}

fn take_owner(from: Fd, to: Fd) -> Result<()> {
    let there = sys::fstat(from)?;
    sys::fchownat(to, c"", there.uid, there.gid, AT_EMPTY_PATH)?;
    sys::fchmodat(to, c".", there.mode & 0o7777)
}

fn copy_directory(from: Fd, to: Fd, depth: u32) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(SysError { call: Call::Getdents64, errno: libc::ELOOP });
    }
    let mut records = [0; RECORDS];
    loop {
        let n = sys::getdents64(from, &mut records)?;
        if n == 0 {
            return Ok(());
        }
        let mut rest = records.get(..n).unwrap_or_default();
        while let Some((entry, after)) = sys::next_entry(rest) {
            rest = after;
            if entry.name != c"." && entry.name != c".." {
                copy_entry(from, to, entry.name, depth)?;
            }
        }
    }
}

fn copy_entry(from: Fd, to: Fd, name: &CStr, depth: u32) -> Result<()> {
    let there = sys::statx(from, name, AT_SYMLINK_NOFOLLOW)?;
    match there.file_type() {
        libc::S_IFDIR => {
            let source = sys::openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
            sys::mkdirat(to, name, 0o700)?;
            let copy = sys::openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
            copy_directory(source, copy, depth + 1)?;
            sys::close(source);
            sys::close(copy);
        }
        libc::S_IFREG => copy_file(from, to, name)?,
        libc::S_IFLNK => return copy_link(from, to, name, &there),
        _ => sys::mknodat(to, name, there.mode, there.rdev)?,
    }
    sys::fchownat(to, name, there.uid, there.gid, AT_SYMLINK_NOFOLLOW)?;
    // After the owner: chown(2) clears set-user-ID bits.
    sys::fchmodat(to, name, there.mode & 0o7777)
}

fn copy_link(from: Fd, to: Fd, name: &CStr, there: &Stat) -> Result<()> {
    let mut target = PathBuffer::empty();
    target.fill(|space| sys::readlinkat(from, name, space))?;
    sys::symlinkat(target.as_c_str(), to, name)?;
    sys::fchownat(to, name, there.uid, there.gid, AT_SYMLINK_NOFOLLOW)
}

fn copy_file(from: Fd, to: Fd, name: &CStr) -> Result<()> {
    let source = sys::openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)?;
    let copy = sys::openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)?;
    let result = copy_content(source, copy);
    sys::close(source);
    sys::close(copy);
    result
}

fn copy_content(source: Fd, copy: Fd) -> Result<()> {
    let mut chunk = [0; 8192];
    loop {
        let n = sys::read(source, &mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        sys::write(copy, chunk.get(..n).unwrap_or_default())?;
    }
}
