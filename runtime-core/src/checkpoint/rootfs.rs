//! The root file system as CRIU needs it: mounted, in a mount namespace of CRIU's own, with every mount point in place.
//!
//! What is mounted there nobody else sees, and it goes with CRIU, however that ends.

use super::request::{Bound, bound};
use crate::error::{Error, ErrorKind};
use crate::launch::child::path::{Kind, locate_or_create};
use crate::plan::{ChildStep, MountSource, Plan};
use crate::sys::{self, Fd, SysError};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A mount point that has to be there.
struct Point {
    destination: CString,
    kind: Kind,
    /// What is mounted there while those inside of it are made.
    tree: Option<OwnedFd>,
}

/// What the process that becomes CRIU does before.
pub(super) struct Root {
    /// An empty directory, where the root file system is mounted.
    target: CString,
    /// For making the mount points, and taken away again with all that is mounted on it.
    first: OwnedFd,
    /// For CRIU.
    second: OwnedFd,
    points: Vec<Point>,
}

/// A failure that is of no mount point.
const MOUNTING: i32 = -2;

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

fn tree(path: &CStr) -> Result<OwnedFd, Error> {
    let opened = sys::open_tree_clone(Fd::CWD, path, true, 0).map(sys::own);
    opened.map_err(|e| Error::because(ErrorKind::Launch, format!("open {}", path.to_string_lossy()), e))
}

impl Root {
    pub fn new(plan: &Plan, rootfs: &Path, target: &Path) -> Result<Self, Error> {
        let rootfs = c_path(rootfs);
        let (first, second) = (tree(&rootfs)?, tree(&rootfs)?);
        Ok(Self { target: c_path(target), first, second, points: points(plan)? })
    }

    /// Makes the mount points, and mounts the root file system.  Bare (invariant I2), in a new mount namespace.
    pub fn enter(&self) -> Result<(), (i32, SysError)> {
        let mounting = |e| (MOUNTING, e);
        sys::mount(None, c"/", libc::MS_REC | libc::MS_SLAVE).map_err(mounting)?;
        self.attach(&self.first).map_err(mounting)?;
        let root = self.open().map_err(mounting)?;
        for (place, point) in (0..).zip(&self.points) {
            let made = locate_or_create(root, &point.destination, point.kind);
            let done = made.and_then(|there| {
                let mounted =
                    point.tree.as_ref().map_or(Ok(()), |tree| sys::move_mount(Fd::from(tree), there));
                sys::close(there);
                mounted
            });
            done.map_err(|e| (place, e))?;
        }
        sys::close(root);
        sys::umount2(&self.target, libc::MNT_DETACH).map_err(mounting)?;
        self.attach(&self.second).map_err(mounting)
    }

    fn open(&self) -> sys::Result<Fd> {
        sys::openat(Fd::CWD, &self.target, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
    }

    fn attach(&self, tree: &OwnedFd) -> sys::Result<()> {
        let target = self.open()?;
        let attached = sys::move_mount(Fd::from(tree), target);
        sys::close(target);
        attached
    }

    /// What a failure of [`Root::enter`] is about; `None` when it is none of these.
    pub fn words(&self, place: i32) -> Option<String> {
        if place == MOUNTING {
            return Some("mount the root file system for criu".into());
        }
        let point = self.points.get(usize::try_from(place).ok()?)?;
        Some(format!("make the mount point {} for criu", point.destination.to_string_lossy()))
    }
}

/// The mount points that CRIU cannot make: those in the root file system, and in trees of the host.  In what is new in the
/// container (a tmpfs, proc) they come with the images, or by themselves.
fn points(plan: &Plan) -> Result<Vec<Point>, Error> {
    let sources = bound(plan);
    let mounts: Vec<_> = plan
        .child
        .iter()
        .filter_map(|planned| match &planned.step {
            ChildStep::Mount(mount) => Some(mount),
            _ => None,
        })
        .collect();
    let mut points = Vec::new();
    for (n, mount) in mounts.iter().enumerate() {
        let (before, after) = (mounts.iter().take(n), mounts.iter().skip(n + 1));
        let in_new = |other: &&&crate::plan::Mount| {
            matches!(other.source, MountSource::New { .. })
                && is_below(&mount.destination, &other.destination)
        };
        if before.clone().any(|other| in_new(&other)) {
            continue;
        }
        let source = sources.iter().rfind(|bound| bound.destination == mount.destination);
        let source = source.filter(|_| !matches!(mount.source, MountSource::New { .. }));
        let holds = after.clone().any(|other| is_below(&other.destination, &mount.destination));
        points.push(point(&mount.destination, source, holds)?);
    }
    // Where CRIU puts the old root for a moment; it would make a directory elsewhere, but not in a root that is read-only.
    if plan.child.iter().any(|planned| matches!(planned.step, ChildStep::RootReadOnly)) {
        points.push(Point { destination: c"/tmp".to_owned(), kind: Kind::Directory, tree: None });
    }
    Ok(points)
}

fn point(destination: &CStr, source: Option<&Bound>, holds: bool) -> Result<Point, Error> {
    let Some(Bound { source, .. }) = source else {
        return Ok(Point { destination: destination.to_owned(), kind: Kind::Directory, tree: None });
    };
    let stat = sys::statx(Fd::CWD, source, 0);
    let stat = stat.map_err(|e| {
        Error::because(ErrorKind::Launch, format!("look at the mount source {}", source.to_string_lossy()), e)
    })?;
    let kind = if stat.is_dir() { Kind::Directory } else { Kind::File };
    let tree = if holds { Some(tree(source)?) } else { None };
    Ok(Point { destination: destination.to_owned(), kind, tree })
}

fn is_below(path: &CStr, above: &CStr) -> bool {
    let rest = path.to_bytes().strip_prefix(above.to_bytes());
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_not_beside() {
        assert!(is_below(c"/a/b", c"/a"));
        assert!(!is_below(c"/ab", c"/a") && !is_below(c"/a", c"/a"));
    }
}
