//! Making the groups of a container, and putting a process in.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use super::error::{CgroupError, is_permission};
use super::files::{pids_in, read, tree, write, write_error};
use super::place::{Group, Placement};

const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// A controller that the configuration cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The controller, as `cgroup.controllers` names it.
    pub controller: &'a str,
    /// Where the configuration asks for it, as `linux.resources.memory`.
    pub config_path: &'a str,
}

/// Which of the groups there are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// All.
    All,
    /// Not those in these hierarchies, for lack of permission: an ordinary user's container goes without.
    Some(Vec<String>),
    /// None, for lack of permission: the container stays in the group of its creator.
    None,
}

impl Placement {
    /// Looks which of the groups are there, before the placement is recorded.
    ///
    /// Afterwards a group's `parents` are those that are to be made, so that [`Placement::remove`] leaves alone what
    /// was there before.  A group with processes in it is somebody else's: killing the container would kill them.
    ///
    /// # Errors
    /// [`CgroupError::NotEmpty`], [`CgroupError::Io`].
    pub fn survey(&mut self) -> Result<(), CgroupError> {
        for group in &mut self.groups {
            if exists(&group.path)? {
                check_empty(&group.path)?;
            }
            let mut missing = Vec::new();
            for parent in std::mem::take(&mut group.parents) {
                if !missing.is_empty() || !exists(&parent)? {
                    missing.push(parent);
                }
            }
            group.parents = missing;
        }
        Ok(())
    }

    /// Makes the groups.  On version 2 the controllers in `needs`, and only those, are handed down to the new group.
    ///
    /// Groups that an ordinary user has no permission to make are left out, and dropped from the placement, unless
    /// `linux.cgroupsPath` or a limit asks for them.
    ///
    /// # Errors
    /// [`CgroupError::Controller`] for a need that cannot be met, [`CgroupError::NotEmpty`], [`CgroupError::Io`].
    pub fn create(&mut self, needs: &[Need<'_>]) -> Result<Created, CgroupError> {
        let may_drop = self.rootless && !self.explicit;
        let created = self.each_or_drop(may_drop, |group| {
            make(group)?;
            if group.has("cpuset") { fill_cpuset(group) } else { Ok(()) }
        })?;
        for need in needs {
            self.meet(*need, &created)?;
        }
        Ok(created)
    }

    /// Puts a process into the groups.  The one of version 2 is left out if the process was cloned into it
    /// ([`Placement::v2_fd`]).
    ///
    /// A group that an ordinary user may make but not move a process into is removed, and dropped as by `create`.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn join(&mut self, pid: i32, cloned_into_v2: bool) -> Result<Created, CgroupError> {
        let text = pid.to_string();
        let may_drop = self.rootless && !self.explicit;
        self.each_or_drop(may_drop, |group| {
            if cloned_into_v2 && group.is_v2() {
                return Ok(());
            }
            let joined = write(&group.path, "cgroup.procs", text.as_bytes());
            joined.map_err(|errno| {
                if may_drop && is_permission(errno) {
                    // Nothing is in it yet; if it stays, it is only an empty group of the user's own.
                    let _ = std::fs::remove_dir(&group.path);
                }
                join_error(group, &text, errno)
            })
        })
    }

    /// A descriptor of the group of version 2, for `CLONE_INTO_CGROUP`; `None` if there is no such group.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn v2_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(group) = self.v2() else { return Ok(None) };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(&group.path, flags, Mode::empty());
        fd.map(Some).map_err(|errno| CgroupError::io("open", &group.path, errno))
    }

    /// Whether any of the groups is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.groups.iter().any(|group| group.path.exists())
    }

    /// Does something with each group, and drops those for which the permission lacks, if that may be.
    fn each_or_drop(
        &mut self,
        may_drop: bool,
        mut action: impl FnMut(&Group) -> Result<(), CgroupError>,
    ) -> Result<Created, CgroupError> {
        let mut dropped = Vec::new();
        let mut kept = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            match action(group) {
                Ok(()) => kept.push(group.clone()),
                Err(error) if may_drop && error.is_permission() => dropped.push(label(group)),
                Err(error) => return Err(error),
            }
        }
        if dropped.is_empty() {
            return Ok(Created::All);
        }
        self.groups = kept;
        Ok(if self.groups.is_empty() { Created::None } else { Created::Some(dropped) })
    }

    /// Sees to it that a controller serves the container.
    fn meet(&self, need: Need<'_>, created: &Created) -> Result<(), CgroupError> {
        if self.v1(need.controller).is_some() {
            return Ok(());
        }
        let refuse = |reason: String| {
            let (config_path, controller) = (need.config_path.to_owned(), need.controller.to_owned());
            Err(CgroupError::Controller { config_path, controller, reason })
        };
        let denied = "this user has no permission to make a control group for it";
        let (lacks, all_lack) = match created {
            Created::All => (false, false),
            Created::Some(dropped) => {
                (dropped.iter().any(|l| l.split(',').any(|c| c == need.controller)), false)
            }
            Created::None => (true, true),
        };
        match self.v2() {
            _ if lacks || all_lack => refuse(denied.to_owned()),
            // These are properties of every group of version 2, not controllers.
            Some(_) if matches!(need.controller, "devices" | "freezer") => Ok(()),
            Some(group) => hand_down(group, need),
            None => refuse("no hierarchy with it is mounted".to_owned()),
        }
    }
}

fn label(group: &Group) -> String {
    group.hierarchy.clone().unwrap_or_else(|| "unified".to_owned())
}

fn exists(path: &Path) -> Result<bool, CgroupError> {
    match nix::sys::stat::lstat(path) {
        Ok(_) => Ok(true),
        // Without the permission to look there is none to make either: `create` will say so.
        Err(Errno::ENOENT | Errno::EACCES) => Ok(false),
        Err(errno) => Err(CgroupError::io("stat", path, errno)),
    }
}

fn check_empty(path: &Path) -> Result<(), CgroupError> {
    let mut count = 0;
    for group in tree(path)? {
        count += pids_in(&group)?.len();
    }
    if count > 0 {
        return Err(CgroupError::NotEmpty { path: path.to_owned(), count });
    }
    Ok(())
}

/// Makes a group's directory, and those above it that lack.
fn make(group: &Group) -> Result<(), CgroupError> {
    match mkdir(&group.path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => return Ok(()),
        // Made by somebody since the survey, or left by a container of the same path that was not deleted whole.
        Err(Errno::EEXIST) => return check_empty(&group.path),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(mkdir_error(&group.path, errno)),
    }
    let mut path = group.mount_point.clone();
    for part in group.below_mount() {
        path.push(part);
        match mkdir(&path, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(mkdir_error(&path, errno)),
        }
    }
    Ok(())
}

fn mkdir_error(path: &Path, errno: Errno) -> CgroupError {
    let hint = match errno {
        Errno::EAGAIN => {
            " (the limits cgroup.max.descendants or cgroup.max.depth of a group above are reached)"
        }
        Errno::ENOENT => " (the hierarchy is no longer mounted there)",
        _ => "",
    };
    CgroupError::hinted("mkdir", path, errno, hint)
}

fn join_error(group: &Group, pid: &str, errno: Errno) -> CgroupError {
    let hint = match errno {
        Errno::ESRCH => " (the process has ended)",
        Errno::EBUSY if group.is_v2() => {
            " (the group hands controllers down to groups below it, and so can have no processes itself)"
        }
        Errno::EOPNOTSUPP => " (the group, or one above it, is a threaded one)",
        Errno::ENOSPC => " (its cpuset.cpus or cpuset.mems is empty)",
        Errno::EAGAIN => " (a limit on the number of processes is reached)",
        _ => "",
    };
    CgroupError::hinted(format!("write {pid:?} to"), &group.path.join("cgroup.procs"), errno, hint)
}

/// Gives a new cpuset group, and new ones above it, the processors and memory nodes of its parent.
///
/// The kernel makes them empty on version 1, and no process can enter an empty one.
fn fill_cpuset(group: &Group) -> Result<(), CgroupError> {
    let top_down: Vec<&Path> =
        group.path.ancestors().take(group.below_mount().components().count()).collect();
    for file in CPUSET_FILES {
        // Up to the first that is filled: from there the value comes down.
        let mut empty = vec![group.path.as_path()];
        let mut value = String::new();
        for above in top_down.iter().skip(1).copied().chain([group.mount_point.as_path()]) {
            value = read(above, file).map_err(|e| CgroupError::io("read", &above.join(file), e))?;
            if !value.trim().is_empty() {
                break;
            }
            empty.push(above);
        }
        let value = value.trim();
        for dir in empty.iter().rev() {
            write(dir, file, value.as_bytes()).map_err(|e| write_error(dir, file, value, e))?;
        }
    }
    Ok(())
}

/// Hands a controller of version 2 down to a group, as far as it is not yet.
fn hand_down(group: &Group, need: Need<'_>) -> Result<(), CgroupError> {
    let has = |dir: &Path, file: &str| {
        let text = read(dir, file).map_err(|e| CgroupError::io("read", &dir.join(file), e))?;
        Ok(text.split_whitespace().any(|c| c == need.controller))
    };
    let refuse = |reason: String| {
        let (config_path, controller) = (need.config_path.to_owned(), need.controller.to_owned());
        Err(CgroupError::Controller { config_path, controller, reason })
    };
    if has(&group.path, "cgroup.controllers")? {
        return Ok(());
    }
    let above: Vec<&Path> =
        group.path.ancestors().skip(1).take(group.below_mount().components().count()).collect();
    for dir in above.into_iter().rev() {
        if !has(dir, "cgroup.controllers")? {
            return refuse(format!("{} does not have it", dir.display()));
        }
        if has(dir, "cgroup.subtree_control")? {
            continue;
        }
        let shown = dir.join("cgroup.subtree_control");
        match write(dir, "cgroup.subtree_control", format!("+{}", need.controller).as_bytes()) {
            Ok(()) => {}
            Err(Errno::EBUSY) => {
                return refuse(format!(
                    "{} cannot hand it down, as it has processes of its own",
                    dir.display()
                ));
            }
            Err(errno) => return refuse(format!("{} cannot be written: {}", shown.display(), errno.desc())),
        }
    }
    Ok(())
}
