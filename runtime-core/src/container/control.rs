//! A container that runs: stopping it for a while, looking at its processes, and at what it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Container, status_of};
use crate::cgroup::{OomWatch, Placement, Stats};
use crate::error::{Error, ErrorKind};
use crate::state::{ProcState, State};
use crate::status::Status;

impl Container {
    /// Stops all its processes where they are, until [`Container::resume`].
    ///
    /// # Errors
    /// When it does not run, has no cgroup to be frozen by, or a process does not freeze within two seconds: then none
    /// stays frozen.
    pub fn pause(&self) -> Result<(), Error> {
        let (dir, state) = self.lock()?;
        match status_of(&dir, &state)? {
            Status::Running | Status::Created => {}
            Status::Paused => {
                return Err(Error::new(
                    ErrorKind::InvalidState,
                    "container not running: it is paused already",
                ));
            }
            Status::Stopped | Status::Creating => return Err(self.not_running()),
        }
        let cgroup = state.cgroup.as_ref().filter(|cgroup| cgroup.can_freeze());
        let Some(cgroup) = cgroup else {
            let message = "cannot pause: the container has no cgroup of its own that can be frozen";
            return Err(Error::new(ErrorKind::InvalidState, message));
        };
        Ok(cgroup.freeze()?)
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// When it is not paused.
    pub fn resume(&self) -> Result<(), Error> {
        let (dir, state) = self.lock()?;
        match (status_of(&dir, &state)?, &state.cgroup) {
            (Status::Paused, Some(cgroup)) => Ok(cgroup.thaw()?),
            _ => Err(Error::new(ErrorKind::InvalidState, "container not paused")),
        }
    }

    /// The ids of its processes, as the caller's pid namespace numbers them, sorted; none when it has stopped.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let (_, state) = self.read()?;
        match &state.cgroup {
            Some(cgroup) => Ok(cgroup.procs(true)?),
            None => Ok(found_by_namespace(&state)),
        }
    }

    /// What it uses, as its cgroups count it.
    ///
    /// # Errors
    /// When it has stopped, or has no cgroup.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.counted()?.stats()?)
    }

    /// A descriptor to wait on for the kernel running out of memory in it, from now on; `None` where no memory controller
    /// looks after it.
    ///
    /// To miss nothing make it of a container that is created and not yet started.
    ///
    /// # Errors
    /// When it has stopped, or has no cgroup.
    pub fn oom_watch(&self) -> Result<Option<OomWatch>, Error> {
        Ok(self.counted()?.oom_watch()?)
    }

    /// The cgroups of a container that runs.
    fn counted(&self) -> Result<Placement, Error> {
        let (dir, state) = self.read()?;
        if matches!(status_of(&dir, &state)?, Status::Stopped | Status::Creating) {
            let message = format!("container with id {} is not running", self.id);
            return Err(Error::new(ErrorKind::NotRunning, message));
        }
        state.cgroup.filter(|cgroup| !cgroup.groups().is_empty()).ok_or_else(|| {
            let message =
                format!("container {} has no cgroup of its own, so nothing counts what it uses", self.id);
            Error::new(ErrorKind::InvalidState, message)
        })
    }
}

/// The processes of a container without cgroups: those in the pid namespace of its first one, and all that descends from
/// them.
fn found_by_namespace(state: &State) -> Vec<i32> {
    let (Some(init), ProcState::Alive(_)) = (state.pid, state.init()) else { return Vec::new() };
    let namespace = |pid: i32| {
        // Of another user's process this cannot be read; but then it is no process of a container of ours.
        std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|meta| meta.ino())
    };
    let own = namespace(init).filter(|_| !state.host_pid_namespace);
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut left = vec![init];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if own.is_some() && namespace(pid) == own {
            left.push(pid);
        }
        if let Some(parent) = parent_of(&entry.path()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    while let Some(pid) = left.pop() {
        if found.insert(pid) {
            left.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found.into_iter().collect()
}

/// The fourth field of `proc_pid_stat(5)`; the second, a name, may hold blanks and parentheses.
fn parent_of(process: &Path) -> Option<i32> {
    let stat = std::fs::read(process.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
