//! Stopping the processes of a container where they are, and letting them go on.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::error::CgroupError;
use super::files::{read, tree, write, write_error};
use super::place::{Group, Placement};

/// For how long freezing is tried: a process in an uninterruptible sleep freezes only after it.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);

impl Placement {
    /// Whether there is a group by which processes can be stopped.
    #[must_use]
    pub fn can_freeze(&self) -> bool {
        self.freezing().is_some()
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

    /// Lets the container's processes run again, but for those that the container itself has frozen, in groups below
    /// its own.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.freezers().try_for_each(thaw)
    }

    /// Lets every process run, so that it can die: those of version 1 that the container froze itself too.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub(crate) fn thaw_for_good(&self) -> Result<(), CgroupError> {
        self.thaw()?;
        let Some(group) = self.v1("freezer") else { return Ok(()) };
        for path in tree(&group.path)?.into_iter().skip(1) {
            thaw(&Group { path, ..group.clone() })?;
        }
        Ok(())
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

    /// The directory of the group by which somebody else may freeze the processes: with `frozen`, of that by which they are
    /// now.  Version 1's is preferred where there are both, as it was there first.
    #[must_use]
    pub fn freezer(&self, frozen: bool) -> Option<&Path> {
        let group = if frozen {
            self.freezers().find(|group| is_frozen(group).unwrap_or(false))
        } else {
            self.v1("freezer").or_else(|| self.v2())
        };
        group.map(|group| group.path.as_path())
    }

    /// The groups that can freeze processes.
    fn freezers(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.is_v2() || group.has("freezer"))
    }

    /// The group by which we freeze: version 2's before version 1's, whose processes cannot be killed while frozen.
    fn freezing(&self) -> Option<&Group> {
        self.v2().or_else(|| self.v1("freezer"))
    }
}

/// Thaws at every way out of its scope.
pub(super) struct ThawOnDrop<'a>(pub(super) &'a Placement);

impl Drop for ThawOnDrop<'_> {
    fn drop(&mut self) {
        // Only a group that is gone, or was not ours to freeze, cannot be thawed.
        let _ = self.0.thaw();
    }
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
