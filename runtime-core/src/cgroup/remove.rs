//! Removing the groups of a container.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::error::CgroupError;
use super::files::tree;
use super::members::procs;
use super::place::{Group, Placement};

/// For how long a group with dying processes in it is waited for: one that writes out much memory takes its time.
const PATIENCE: Duration = Duration::from_secs(10);

impl Placement {
    /// Removes the groups, the groups that were made inside them, and the parents that were made for them.
    ///
    /// It does not kill; but it waits, if it must, for processes that are dying, and it thaws what is frozen, as a
    /// frozen process does not die.  What is gone already is no error, so that it can be done again.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] for processes that stay, [`CgroupError::Io`].  The other groups are removed all the same.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.remove_within(PATIENCE)
    }

    /// Removes the group in which the container's processes are looked up, if there are none in it; false if that cannot be, for
    /// whatever reason.  One that systemd keeps is left to it.
    #[must_use]
    pub fn remove_main_if_empty(&self) -> bool {
        let main = self.main().filter(|_| self.unit.is_none());
        main.is_some_and(|group| std::fs::remove_dir(&group.path).is_ok())
    }

    /// As [`Placement::remove`], with its own patience.
    pub(super) fn remove_within(&self, patience: Duration) -> Result<(), CgroupError> {
        // systemd is asked first, as it would not understand where its group has gone; what it does not keep is left to us.
        let stopped = self.stop_unit();
        let started = Instant::now();
        let mut pause = Duration::from_micros(50);
        // The last made goes first, and what can go at once goes before anything is waited for.
        let mut left: Vec<&Group> = self.groups.iter().rev().collect();
        let mut failed = None;
        loop {
            let mut busy = Vec::new();
            for group in left {
                match remove_tree(&group.path) {
                    Ok(true) => remove_parents(group),
                    Ok(false) => busy.push(group),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            let Some(&first) = busy.first() else { break };
            if started.elapsed() > patience {
                failed = failed.or_else(|| Some(still_busy(first, started)));
                break;
            }
            self.thaw_for_good()?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
            left = busy;
        }
        stopped.and(failed.map_or(Ok(()), Err))
    }
}

fn still_busy(group: &Group, started: Instant) -> CgroupError {
    let pids = procs(&group.path, true).unwrap_or_default();
    CgroupError::Busy { path: group.path.clone(), pids, waited_ms: started.elapsed().as_millis() }
}

/// Removes a group and those inside it; false if processes hold it.
fn remove_tree(dir: &Path) -> Result<bool, CgroupError> {
    // Nearly always there is nothing inside, and this is the only call.
    if remove_one(dir)? {
        return Ok(true);
    }
    for group in tree(dir)?.iter().rev() {
        if !remove_one(group)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove_one(dir: &Path) -> Result<bool, CgroupError> {
    match nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, dir, nix::unistd::UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(false),
        Err(errno) => Err(CgroupError::io("rmdir", dir, errno)),
    }
}

/// Removes the parents that were made for a group, as long as nobody else uses them.
fn remove_parents(group: &Group) {
    for parent in group.parents.iter().rev() {
        if !matches!(remove_one(parent), Ok(true)) {
            return;
        }
    }
}
