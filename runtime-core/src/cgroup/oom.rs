//! Hearing of it when the kernel kills for want of memory in a container.
//!
//! Version 1 counts into an eventfd that was registered for `memory.oom_control`.  Version 2 has the counts in
//! `memory.events`, which can be polled for `POLLPRI` itself: no inotify instance is needed, of which a user has 128 by
//! default, and a pod may have more containers.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;

use super::error::CgroupError;
use super::files::{keyed, write, write_error};
use super::place::Placement;

const CONTROL: &str = "memory.oom_control";
const EVENTS: &str = "memory.events";
const KILLS: &str = "oom_kill";

/// A descriptor that becomes ready when the kernel ran out of memory for a container: when a limit of its own is hit.
///
/// It is for a loop of poll or epoll: register [`OomWatch::as_fd`] for [`OomWatch::poll_flags`], and call
/// [`OomWatch::take`] when it is ready.  While nothing happens it wakes nobody.  Drop it when the container has stopped: once the
/// group is removed, version 2's stays ready for ever.
#[derive(Debug)]
pub struct OomWatch(Source);

#[derive(Debug)]
enum Source {
    V1 { event: EventFd, group: PathBuf },
    V2 { events: File, path: PathBuf, seen: u64 },
}

impl OomWatch {
    /// What to poll for: `POLLIN` on version 1, `POLLPRI` on version 2.  Epoll's flags have the same values.
    #[must_use]
    pub fn poll_flags(&self) -> PollFlags {
        match &self.0 {
            Source::V1 { .. } => PollFlags::POLLIN,
            Source::V2 { .. } => PollFlags::POLLPRI,
        }
    }

    /// How often the kernel ran out since the last call, or since the watch was made: on version 1 the occasions, on
    /// version 2 the processes killed.  Zero is no news, as after a spurious wake-up.
    ///
    /// It never blocks.  The end of the container's first process may be heard of before an OOM that caused it; asked
    /// then, and before the container is deleted, this tells it all the same.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn take(&mut self) -> Result<u64, CgroupError> {
        match &mut self.0 {
            Source::V1 { event, group } => match event.read() {
                // The removal of the group counts as one.
                Ok(count) if !group.exists() => Ok(count - 1),
                Ok(count) => Ok(count),
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
                Err(errno) => Err(CgroupError::io("read the eventfd of", &group.join(CONTROL), errno)),
            },
            Source::V2 { events, path, seen } => {
                let now = kills(events, path)?.unwrap_or(*seen);
                let new = now.saturating_sub(*seen);
                *seen = now;
                Ok(new)
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::V1 { event, .. } => event.as_fd(),
            Source::V2 { events, .. } => events.as_fd(),
        }
    }
}

impl Placement {
    /// Watches for the kernel running out of memory in the container; `None` where no memory controller looks after
    /// it, so that there is no limit of its own to hit.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn oom_watch(&self) -> Result<Option<OomWatch>, CgroupError> {
        match (self.v1("memory"), self.v2()) {
            (Some(group), _) => watch_v1(&group.path).map(Some),
            (None, Some(group)) => watch_v2(&group.path),
            (None, None) => Ok(None),
        }
    }
}

fn watch_v1(group: &Path) -> Result<OomWatch, CgroupError> {
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| CgroupError::io("make an eventfd for", &group.join(CONTROL), errno))?;
    let control = open_file(group, CONTROL)?;
    let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    write(group, "cgroup.event_control", line.as_bytes())
        .map_err(|errno| write_error(group, "cgroup.event_control", &line, errno))?;
    Ok(OomWatch(Source::V1 { event, group: group.to_owned() }))
}

fn watch_v2(group: &Path) -> Result<Option<OomWatch>, CgroupError> {
    let events = match open_file(group, EVENTS) {
        // The controller is not handed down to it.
        Err(CgroupError::Io { errno: Errno::ENOENT, .. }) if group.exists() => return Ok(None),
        other => other?,
    };
    let path = group.join(EVENTS);
    let seen = kills(&events, &path)?.unwrap_or(0);
    Ok(Some(OomWatch(Source::V2 { events, path, seen })))
}

fn open_file(group: &Path, name: &str) -> Result<File, CgroupError> {
    let path = group.join(name);
    match open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(fd.into()),
        Err(errno) => Err(CgroupError::io("open", &path, errno)),
    }
}

/// The processes killed so far; `None` once the group is gone.  To have read it makes poll wait for the next change.
fn kills(events: &File, path: &Path) -> Result<Option<u64>, CgroupError> {
    let mut text = [0; 512];
    match events.read_at(&mut text, 0) {
        Ok(length) => {
            let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
            Ok(keyed(&text).find_map(|(key, value)| (key == KILLS).then_some(value)))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => {
            Err(CgroupError::io("read", path, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_of_version_2_are_told_once() {
        let dir = std::env::temp_dir().join(format!("orlop-oom-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let write = |text: &str| std::fs::write(dir.join(EVENTS), text).unwrap();
        write("low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n");
        let mut watch = watch_v2(&dir).unwrap().unwrap();
        assert_eq!(watch.take().unwrap(), 0, "what was before is no news");
        write("low 0\nhigh 0\nmax 90\noom 9\noom_kill 2\noom_group_kill 0\n");
        assert_eq!(watch.take().unwrap(), 0, "a limit that is hit without a kill");
        write("low 0\nhigh 0\nmax 90\noom 9\noom_kill 5\noom_group_kill 1\n");
        assert_eq!(watch.take().unwrap(), 3);
        assert_eq!(watch.take().unwrap(), 0);
        assert_eq!(watch.poll_flags(), PollFlags::POLLPRI);
        std::fs::remove_file(dir.join(EVENTS)).unwrap();
        assert!(watch_v2(&dir).unwrap().is_none(), "no memory controller");
        std::fs::remove_dir(&dir).unwrap();
        assert!(watch_v2(&dir).is_err(), "no group");
    }
}
