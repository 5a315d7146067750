//! The processes of a container: finding, freezing and killing them through its groups.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::error::CgroupError;
use super::files::{pids_in, read, tree, write, write_error};
use super::place::{Group, Placement};
use crate::sys;

/// For how long freezing is tried: a process in an uninterruptible sleep freezes only after it.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);
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
            self.thaw()?;
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

    /// Stops every process of the container until [`Placement::thaw`].
    ///
    /// # Errors
    /// [`CgroupError::NotFrozen`], after which they are thawed again; [`CgroupError::Io`].
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let Some(group) = self.freezing() else { return Ok(()) };
        freeze(group).inspect_err(|_| {
            // The failure to freeze is what is reported.
            let _ = thaw(group);
        })
    }

    /// Lets the container's processes run again.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.freezers().try_for_each(thaw)
    }

    /// Whether the container's processes are frozen, by whomever.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        for group in self.freezers() {
            if is_frozen(group)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The groups that can freeze processes.
    fn freezers(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.is_v2() || group.has("freezer"))
    }

    /// The group by which we freeze: version 2's before version 1's, whose processes cannot be killed while frozen.
    fn freezing(&self) -> Option<&Group> {
        self.v2().or_else(|| self.v1("freezer"))
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
            return if signal == libc::SIGKILL { self.thaw() } else { Ok(()) };
        }
        let guard = ThawOnDrop(self);
        // Not to be able to freeze (no freezer, no permission, a process that does not stop) is no reason not to
        // signal: a process made meanwhile may be missed then, as by kill(1).
        let _ = self.freeze();
        signal_tree(&group.path, signal)?;
        drop(guard);
        Ok(())
    }
}

/// Thaws at every way out of its scope.
struct ThawOnDrop<'a>(&'a Placement);

impl Drop for ThawOnDrop<'_> {
    fn drop(&mut self) {
        // Only a group that is gone, or was not ours to freeze, cannot be thawed.
        let _ = self.0.thaw();
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

/// Whether a group is to be frozen.  What is asked for is what counts: that all its processes are, comes and goes on
/// version 2 when they are signalled.
fn is_frozen(group: &Group) -> Result<bool, CgroupError> {
    let file = if group.is_v2() { "cgroup.freeze" } else { "freezer.state" };
    match read(&group.path, file) {
        Ok(text) => Ok(matches!(text.trim_end(), "1" | "FROZEN" | "FREEZING")),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(false),
        Err(errno) => Err(CgroupError::io("read", &group.path.join(file), errno)),
    }
}

fn freeze(group: &Group) -> Result<(), CgroupError> {
    let (file, value) = if group.is_v2() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    let started = Instant::now();
    let mut pause = Duration::from_micros(20);
    loop {
        // Version 1 leaves a group at FREEZING when a process is made at the wrong moment; asking again helps.
        write(&group.path, file, value.as_bytes()).map_err(|e| write_error(&group.path, file, value, e))?;
        if frozen_completely(group)? {
            return Ok(());
        }
        if started.elapsed() > FREEZE_PATIENCE {
            let waited_ms = started.elapsed().as_millis();
            return Err(CgroupError::NotFrozen { path: group.path.clone(), waited_ms });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn frozen_completely(group: &Group) -> Result<bool, CgroupError> {
    let (file, line) =
        if group.is_v2() { ("cgroup.events", "frozen 1") } else { ("freezer.state", "FROZEN") };
    let text = read(&group.path, file);
    let text = text.map_err(|e| CgroupError::io("read", &group.path.join(file), e))?;
    Ok(text.lines().any(|l| l == line))
}

fn thaw(group: &Group) -> Result<(), CgroupError> {
    let (file, value) = if group.is_v2() { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
    match write(&group.path, file, value.as_bytes()) {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Err(errno) => Err(write_error(&group.path, file, value, errno)),
    }
}
