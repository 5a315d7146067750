//! Reading and writing the files of a control group.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::error::CgroupError;

/// Writes `value` to the file `name` of the group `dir`, in one call, as the kernel takes it.
pub(super) fn write(dir: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    let file = open(&dir.join(name), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write_to(&file.into(), value)
}

/// Writes one value to a file that is open; a second write is a second value.
pub(super) fn write_to(mut file: &File, value: &[u8]) -> Result<(), Errno> {
    loop {
        match file.write(value) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
}

/// Reads the file `name` of the group `dir`.
pub(super) fn read(dir: &Path, name: &str) -> Result<String, Errno> {
    let file: File = open(&dir.join(name), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into();
    let mut text = Vec::with_capacity(512);
    // Through `take`, std does not ask for the size first, which the kernel does not know.
    file.take(u64::MAX)
        .read_to_end(&mut text)
        .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The error of a write, with what was to be written.
pub(super) fn write_error(dir: &Path, name: &str, value: &str, errno: Errno) -> CgroupError {
    CgroupError::io(format!("write {value:?} to"), &dir.join(name), errno)
}

/// The pids in a group, without those of other pid namespaces, which show as 0.
///
/// A group that is gone has none.  `EOPNOTSUPP` is the answer of a threaded group of version 2; its processes are
/// listed in the group above it.
pub(super) fn pids_in(dir: &Path) -> Result<Vec<i32>, CgroupError> {
    match read(dir, "cgroup.procs") {
        Ok(text) => {
            Ok(text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 0).collect())
        }
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(CgroupError::io("read", &dir.join("cgroup.procs"), errno)),
    }
}

/// The groups directly below a group; none, if it is gone.
pub(super) fn children(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |e: &std::io::Error| {
        CgroupError::io("read the directory", dir, Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(failed(&error)),
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A group and all below it, every one before those below it.
///
/// Kept on a list of its own and not on the stack: how deep a container nests its groups is up to the container.
pub(super) fn tree(dir: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut all = vec![dir.to_owned()];
    let mut next = 0;
    while next < all.len() {
        let below = children(&all[next])?;
        all.extend(below);
        next += 1;
    }
    Ok(all)
}

/// The lines `key number` of a file; those of another form are passed over.
pub(super) fn keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}
