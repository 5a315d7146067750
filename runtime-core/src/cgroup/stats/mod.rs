//! What a container uses, as the kernel counts it in its control groups.
//!
//! [`Stats`] has the same fields for both versions, in one unit each; what only one version counts is `None`, empty or
//! zero with the other.  A file that is not there (its controller is not handed down, the kernel is older) leaves its
//! fields at that, and is no error.

mod parse;
mod types;
mod v1;
mod v2;

pub use types::{
    BlkioEntry, CpuStats, CpusetStats, HugetlbStats, IoDevice, IoStats, MemoryEntry, MemoryEvents,
    MemoryStats, MiscStats, OomControl, PidsStats, Pressure, PressureLine, RdmaDevice, RdmaStats, Stats,
};

use std::path::Path;

use nix::errno::Errno;

use super::error::CgroupError;
use super::files::read;
use super::place::{Group, Placement};

impl Placement {
    /// Reads all figures.
    ///
    /// # Errors
    /// [`CgroupError::Io`] for a file that is there and cannot be read.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        for group in &self.groups {
            if group.is_v2() {
                v2::collect(&group.path, &mut stats)?;
            } else {
                v1::collect(group, &mut stats)?;
            }
        }
        stats.unified = self.groups.iter().all(Group::is_v2);
        Ok(stats)
    }
}

/// The text of a file of a group; `None` if it is not there, or is of no use to this group: `EOPNOTSUPP` is what files
/// of pressure say when the kernel does not track it.
fn text(dir: &Path, name: &str) -> Result<Option<String>, CgroupError> {
    match read(dir, name) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(CgroupError::io("read", &dir.join(name), errno)),
    }
}

/// The number in a file; `max` is the greatest there is.
fn number(dir: &Path, name: &str) -> Result<Option<u64>, CgroupError> {
    Ok(text(dir, name)?.as_deref().and_then(parse::number))
}

/// The page sizes, as `2MB`, of which a group has files with this ending.
fn page_sizes(dir: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let size = |name: String| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(ending)?;
        // Not the files about reservations.
        (!size.contains('.')).then(|| size.to_owned())
    };
    names.filter_map(size).collect()
}

#[cfg(test)]
mod tests;
