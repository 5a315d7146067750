//! The processes of a container: finding and killing them through its groups.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::error::CgroupError;
use super::files::{pids_in, tree, write, write_error};
use super::freeze::ThawOnDrop;
use super::place::Placement;
use crate::sys;

/// How often a group is looked through for processes that were made while it was killed.
const KILL_ROUNDS: usize = 50;
/// Descriptors held at a time while signalling.
const BATCH: usize = 64;

impl Placement {
    /// The pids in the container's group, and in the groups below it if `recursive`, sorted.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn procs(&self, recursive: bool) -> Result<Vec<i32>, CgroupError> {
        match self.main() {
            Some(group) => procs(&group.path, recursive),
            None => Ok(Vec::new()),
        }
    }

    /// Sends a signal to every process of the container.
    ///
    /// They are frozen meanwhile, where that can be, so that none is missed because it was just being made; afterwards
    /// they are thawed, whatever happened.  For `SIGKILL`, version 2 has a call of its own (Linux 5.14) which does
    /// not miss any, and a group that was frozen before is thawed, so that its processes can die.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn kill_all(&self, signal: i32) -> Result<(), CgroupError> {
        if signal != libc::SIGKILL {
            return self.signal_frozen(signal);
        }
        if self.kill_by_file()? {
            // A process frozen by version 1 dies only once thawed.  One that was not yet moved into the version 2
            // group when the runtime died is seen in the freezer's.
            self.thaw_for_good()?;
            return match self.v1("freezer") {
                Some(group) => kill_rounds(&group.path),
                None => Ok(()),
            };
        }
        self.signal_frozen(signal)?;
        match self.main() {
            Some(group) => kill_rounds(&group.path),
            None => Ok(()),
        }
    }

    /// Kills by `cgroup.kill`; false if that cannot be.
    fn kill_by_file(&self) -> Result<bool, CgroupError> {
        let Some(group) = self.v2() else { return Ok(false) };
        match write(&group.path, "cgroup.kill", b"1") {
            Ok(()) => Ok(true),
            // No such file before Linux 5.14, or no such group; a threaded group does not support it.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(write_error(&group.path, "cgroup.kill", "1", errno)),
        }
    }

    /// Signals everybody while frozen; what was frozen before stays frozen, but for a kill.
    fn signal_frozen(&self, signal: i32) -> Result<(), CgroupError> {
        let Some(group) = self.main() else { return Ok(()) };
        if self.is_frozen()? {
            signal_tree(&group.path, signal)?;
            return if signal == libc::SIGKILL { self.thaw_for_good() } else { Ok(()) };
        }
        let guard = ThawOnDrop(self);
        // Not to be able to freeze (no freezer, no permission, a process that does not stop) is no reason not to
        // signal: a process made meanwhile may be missed then, as by kill(1).
        let _ = self.freeze();
        signal_tree(&group.path, signal)?;
        drop(guard);
        if signal == libc::SIGKILL { self.thaw_for_good() } else { Ok(()) }
    }
}

pub(super) fn procs(dir: &Path, recursive: bool) -> Result<Vec<i32>, CgroupError> {
    let groups = if recursive { tree(dir)? } else { vec![dir.to_owned()] };
    let mut pids = BTreeSet::new();
    for group in groups {
        pids.extend(pids_in(&group)?);
    }
    Ok(pids.into_iter().collect())
}

/// Kills until no process is left to kill, or patience ends; [`Placement::remove`] says then who stayed.
fn kill_rounds(dir: &Path) -> Result<(), CgroupError> {
    let mut pause = Duration::from_micros(50);
    for _ in 0..KILL_ROUNDS {
        if !signal_tree(dir, libc::SIGKILL)? {
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Signals every process in a group and below it; false if there is none.
fn signal_tree(dir: &Path, signal: i32) -> Result<bool, CgroupError> {
    let mut any = false;
    for group in tree(dir)? {
        let pids = pids_in(&group)?;
        any |= !pids.is_empty();
        for batch in pids.chunks(BATCH) {
            signal_members(&group, batch, signal)?;
        }
    }
    Ok(any)
}

/// Signals those of the pids that are members of a group, through pidfds (invariant I8).
///
/// A pid read from the group may be another process's by the time its pidfd is opened.  So membership is read again
/// after that: a pid still listed either is the process of the pidfd, or that process has ended and the signal goes
/// nowhere.
fn signal_members(dir: &Path, pids: &[i32], signal: i32) -> Result<(), CgroupError> {
    let mut opened = Vec::with_capacity(pids.len());
    for &pid in pids {
        match sys::pidfd_open(pid) {
            Ok(pidfd) => opened.push((pid, pidfd)),
            Err(error) if error.errno == libc::ESRCH => {}
            Err(error) => return Err(signal_error(dir, pid, error)),
        }
    }
    let still: BTreeSet<i32> = pids_in(dir)?.into_iter().collect();
    for (pid, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
        match sys::pidfd_send_signal(pidfd.into(), signal) {
            Ok(()) => {}
            Err(error) if error.errno == libc::ESRCH => {}
            Err(error) => return Err(signal_error(dir, *pid, error)),
        }
    }
    Ok(())
}

fn signal_error(dir: &Path, pid: i32, error: sys::SysError) -> CgroupError {
    CgroupError::io(format!("{} of process {pid} in", error.call.name()), dir, Errno::from_raw(error.errno))
}
