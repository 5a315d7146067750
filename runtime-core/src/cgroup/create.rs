//! Making the groups of a container, and putting a process in.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, mkdir};

use super::error::CgroupError;
use super::files::{pids_in, read, tree, write, write_error};
use super::place::{Group, Placement};
use crate::sys::Reason;

const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// A controller that the configuration cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The controller, as `cgroup.controllers` names it.
    pub controller: &'a str,
    /// Where the configuration asks for it, as `linux.resources.memory`.
    pub config_path: &'a str,
}

/// Whether the container has groups now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It has; those that an ordinary user lacks the permission for are dropped from the placement.
    Yes,
    /// None, for lack of permission: the container stays in the groups of its creator.
    None,
}

impl Placement {
    /// Looks which of the groups are there, before the placement is recorded.
    ///
    /// Afterwards a group's `parents` are those that are to be made, and those that were made for other containers
    /// (`MADE_FOR_CONTAINERS`), so that [`Placement::remove`] leaves alone what was there before.  A group with processes
    /// in it is somebody else's: killing the container would kill them.
    ///
    /// # Errors
    /// [`CgroupError::NotEmpty`], [`CgroupError::Io`].
    pub fn survey(&mut self) -> Result<(), CgroupError> {
        Self::survey_of(self.groups.iter_mut())
    }

    /// What there is of it on version 2 alone, which is made before the rest.
    #[must_use]
    pub fn unified_part(&self) -> Self {
        let mut part = self.clone();
        part.groups.retain(Group::is_v2);
        part
    }

    /// As [`Placement::survey`], where its part on version 2 has been surveyed, and made, by now.
    ///
    /// # Errors
    /// As those of [`Placement::survey`].
    pub fn survey_beside(&mut self, unified: &Self) -> Result<(), CgroupError> {
        self.v2_made = unified.v2_made;
        if let Some((to, from)) = self.groups.iter_mut().find(|group| group.is_v2()).zip(unified.v2()) {
            to.clone_from(from);
        }
        Self::survey_of(self.groups.iter_mut().filter(|group| !group.is_v2()))
    }

    fn survey_of<'g>(groups: impl Iterator<Item = &'g mut Group>) -> Result<(), CgroupError> {
        for group in groups {
            if mode(&group.path)?.is_some() {
                check_empty(&group.path)?;
            }
            let mut ours = Vec::new();
            let mut missing = false;
            for parent in std::mem::take(&mut group.parents) {
                let mode = if missing { None } else { mode(&parent)? };
                missing = mode.is_none();
                if mode.is_none_or(|mode| mode.contains(MADE_FOR_CONTAINERS)) {
                    ours.push(parent);
                }
            }
            group.parents = ours;
        }
        Ok(())
    }

    /// Makes the group of version 2 alone, if there is to be one, before [`Placement::create`] makes the others.
    ///
    /// # Errors
    /// [`CgroupError::NotEmpty`], [`CgroupError::Io`].
    pub fn create_v2(&mut self) -> Result<(), CgroupError> {
        if let Some(group) = self.v2() {
            make(group, false)?;
            self.v2_made = true;
        }
        Ok(())
    }

    /// Makes the groups.  Where version 2 is alone, all its controllers are handed down to the new group, as far as that can
    /// be; beside version 1 those in `needs` are.
    ///
    /// Groups that an ordinary user has no permission to make, or to move a process into, are left out and dropped
    /// from the placement, unless `linux.cgroupsPath` or a need asks for them.
    ///
    /// # Errors
    /// [`CgroupError::Controller`] for a need that cannot be met, [`CgroupError::NotEmpty`], [`CgroupError::Io`].
    pub fn create(&mut self, needs: &[Need<'_>]) -> Result<Created, CgroupError> {
        let may_drop = self.rootless && !self.explicit;
        let mut dropped = Vec::new();
        let mut kept = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let made = self.unit.is_some() || (self.v2_made && group.is_v2());
            match make_usable(group, may_drop, made) {
                Ok(()) => kept.push(group.clone()),
                Err(error) if may_drop && error.is_permission() => dropped.push(group.clone()),
                Err(error) => return Err(error),
            }
        }
        let wanted = !self.groups.is_empty();
        self.groups = kept;
        self.meet(needs, &dropped)?;
        Ok(if wanted && self.groups.is_empty() { Created::None } else { Created::Yes })
    }

    /// Puts a process into the groups, that of version 2 too, which does no harm if it was cloned into it
    /// ([`Placement::v2_fd`]).  Where only systemd may, it is asked.
    ///
    /// # Errors
    /// [`CgroupError::Io`], [`CgroupError::Systemd`].
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        let text = pid.to_string();
        self.groups.iter().try_for_each(|group| match write(&group.path, "cgroup.procs", text.as_bytes()) {
            Err(Errno::EACCES | Errno::EPERM) if group.is_v2() && self.unit.is_some() => {
                self.attach_by_manager(pid)
            }
            joined => joined.map_err(|errno| join_error(group, &text, errno)),
        })
    }

    /// Puts a process that systemd has put into the unit into the other groups too.
    ///
    /// Of version 1, systemd may take a group away that none of its limits needs, while nobody is in it: then it is made anew.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn join_beside_unit(&self, pid: i32) -> Result<(), CgroupError> {
        let text = pid.to_string();
        let join = |group: &Group| {
            for _ in 0..MAKE_ROUNDS {
                match write(&group.path, "cgroup.procs", text.as_bytes()) {
                    Err(Errno::ENOENT | Errno::ENODEV) => make_usable(group, false, true)?,
                    joined => return joined.map_err(|errno| join_error(group, &text, errno)),
                }
            }
            Err(join_error(group, &text, Errno::ENOENT))
        };
        self.groups.iter().filter(|group| !group.is_v2()).try_for_each(join)
    }

    /// The `tasks` files of the groups of version 1, open for writing: a process with a single thread that writes `0` to
    /// each puts itself into all of them.  With [`Placement::v2_fd`], this takes the place of [`Placement::join`].
    ///
    /// It is the fast way in.  Moving *another* process, or all threads of one, the kernel first waits until no
    /// processor is at making or ending a thread, which is a grace period of RCU: 10 ms on an idle machine.  Linux 5.4
    /// and later spare that for a thread which moves itself; earlier ones take as long as for `join`.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn task_files(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        let open_one = |group: &Group| {
            let path = group.path.join("tasks");
            open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(|errno| CgroupError::io("open", &path, errno))
        };
        self.groups.iter().filter(|group| !group.is_v2()).map(open_one).collect()
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

    /// Sees to it that the controllers serve the container.
    fn meet(&self, needs: &[Need<'_>], dropped: &[Group]) -> Result<(), CgroupError> {
        let mut of_v2 = Vec::new();
        for need in needs.iter().filter(|need| self.v1(need.controller).is_none()) {
            let denied = dropped.iter().any(|group| group.has(need.controller));
            match self.v2() {
                _ if denied => return Err(refused(*need, DENIED)),
                // These are properties of every group of version 2, not controllers.
                Some(_) if matches!(need.controller, "devices" | "freezer") => {}
                Some(_) => of_v2.push(*need),
                None if dropped.iter().any(Group::is_v2) => return Err(refused(*need, DENIED)),
                None => return Err(refused(*need, "no hierarchy with it is mounted")),
            }
        }
        let Some(group) = self.v2() else { return Ok(()) };
        // systemd hands all down to a unit that is delegated.
        if self.groups.len() == 1 && dropped.is_empty() && self.unit.is_none() {
            enable_all(group)?;
        }
        if of_v2.is_empty() { Ok(()) } else { enable(group, &of_v2) }
    }
}

const DENIED: &str = "this user has no permission to make a control group for it";

fn refused(need: Need<'_>, reason: impl Into<String>) -> CgroupError {
    CgroupError::Controller {
        config_path: need.config_path.to_owned(),
        controller: need.controller.to_owned(),
        reason: reason.into(),
    }
}

/// Makes a group so that a process can be put into it.
fn make_usable(group: &Group, may_drop: bool, made: bool) -> Result<(), CgroupError> {
    make(group, made)?;
    if group.has("cpuset") {
        fill_cpuset(group)?;
    }
    if may_drop && group.is_v2() { check_movable(group) } else { Ok(()) }
}

/// Whether an ordinary user may move a process of its own from beside a group of version 2 into it: the kernel wants
/// the right to write the `cgroup.procs` of the group above both.  If not, the group is of no use, and removed.
fn check_movable(group: &Group) -> Result<(), CgroupError> {
    let above = group.path.parent().unwrap_or(&group.mount_point).join("cgroup.procs");
    match faccessat(AT_FDCWD, &above, AccessFlags::W_OK, AtFlags::AT_EACCESS) {
        Ok(()) => Ok(()),
        Err(errno) => {
            // An empty group of the user's own, should it stay, does no harm.
            let _ = std::fs::remove_dir(&group.path);
            Err(CgroupError::io("write to", &above, errno))
        }
    }
}

/// The mode of a group's directory, if it is there.
fn mode(path: &Path) -> Result<Option<Mode>, CgroupError> {
    match nix::sys::stat::lstat(path) {
        Ok(stat) => Ok(Some(Mode::from_bits_truncate(stat.st_mode))),
        // Without the permission to look there is none to make either: `create` will say so.
        Err(Errno::ENOENT | Errno::EACCES) => Ok(None),
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

/// The mark of a directory above the containers' that was made for them, and goes with the last of them: the sticky bit, which
/// means nothing for a group.  The container that it was made for may be the first to go.
const MADE_FOR_CONTAINERS: Mode = Mode::S_ISVTX;

/// How often the directories above a group are made anew, when another container's end takes them away meanwhile.
const MAKE_ROUNDS: usize = 100;

/// Makes a group's directory, and those above it that lack.  One that was `made`, by systemd or by us, has the container's process in it.
fn make(group: &Group, made: bool) -> Result<(), CgroupError> {
    let usual = Mode::from_bits_truncate(0o755);
    for _ in 0..MAKE_ROUNDS {
        match mkdir(&group.path, usual) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST) if made => return Ok(()),
            // Made by somebody since the survey, or left by a container of the same path that was not deleted whole.
            Err(Errno::EEXIST) => return check_empty(&group.path),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(mkdir_error(&group.path, errno)),
        }
        for path in above(group).into_iter().skip(1) {
            match mkdir(path, usual | MADE_FOR_CONTAINERS) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) if group.mount_point.exists() => break,
                Err(errno) => return Err(mkdir_error(path, errno)),
            }
        }
    }
    Err(mkdir_error(&group.path, Errno::ENOENT))
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

/// Hands controllers of version 2 down to a group, as far as they are not yet.
///
/// # Errors
/// [`CgroupError::Controller`] for the first that cannot be had.
pub(super) fn enable(group: &Group, needs: &[Need<'_>]) -> Result<(), CgroupError> {
    let has = words(&group.path, "cgroup.controllers")?;
    let lacking: Vec<Need<'_>> =
        needs.iter().filter(|need| !has.iter().any(|c| c == need.controller)).copied().collect();
    if lacking.is_empty() {
        return Ok(());
    }
    for dir in above(group) {
        let has = words(dir, "cgroup.controllers")?;
        if let Some(need) = lacking.iter().find(|need| !has.iter().any(|c| c == need.controller)) {
            return Err(refused(*need, format!("{} does not have it", dir.display())));
        }
        let given = words(dir, "cgroup.subtree_control")?;
        for need in lacking.iter().filter(|need| !given.iter().any(|c| c == need.controller)) {
            hand_down(dir, need.controller).map_err(|reason| refused(*need, reason))?;
        }
    }
    Ok(())
}

/// Hands down to a group every controller that there is, as far as that can be: without one, what the container uses is not
/// counted, and cannot be limited later on.
fn enable_all(group: &Group) -> Result<(), CgroupError> {
    let all = words(&group.mount_point, "cgroup.controllers")?;
    let mut lacking = all;
    let has = words(&group.path, "cgroup.controllers")?;
    lacking.retain(|controller| !has.contains(controller));
    for dir in above(group) {
        if lacking.is_empty() {
            break;
        }
        let given = words(dir, "cgroup.subtree_control")?;
        let absent: Vec<String> =
            lacking.iter().filter(|c| !given.contains(c)).map(|c| format!("+{c}")).collect();
        // In one call it is all or nothing: then each by itself, and those that cannot be had are not had.
        if !absent.is_empty() && write(dir, "cgroup.subtree_control", absent.join(" ").as_bytes()).is_err() {
            lacking.retain(|c| given.contains(c) || hand_down(dir, c).is_ok());
        }
    }
    Ok(())
}

/// The groups above one, topmost first, the hierarchy's root among them.
fn above(group: &Group) -> Vec<&Path> {
    let mut above: Vec<&Path> =
        group.path.ancestors().skip(1).take(group.below_mount().components().count()).collect();
    above.reverse();
    above
}

fn words(dir: &Path, file: &str) -> Result<Vec<String>, CgroupError> {
    let text = read(dir, file).map_err(|e| CgroupError::io("read", &dir.join(file), e))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// Lets a group of version 2 hand a controller down to those below it; if not, why.
fn hand_down(dir: &Path, controller: &str) -> Result<(), String> {
    match write(dir, "cgroup.subtree_control", format!("+{controller}").as_bytes()) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => {
            Err(format!("{} cannot hand it down, as it has processes of its own", dir.display()))
        }
        Err(Errno::EOPNOTSUPP) => Err(format!("{} cannot hand it down, as it is threaded", dir.display())),
        Err(errno) => Err(format!("{}/cgroup.subtree_control: {}", dir.display(), Reason::from(errno))),
    }
}
