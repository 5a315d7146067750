//! Checkpoint and restore through CRIU (`criu(8)`, <https://criu.org>).
//!
//! 1. What of the container is the host's (bind mounts, namespaces given by path, pipes) is told to CRIU as *external*: a dump
//!    has it from the container's record, where the launch has put it; a restore reads it off the plan of the bundle, compiled
//!    as for a launch ([`crate::plan`]).  [`request`] is of pure functions.
//! 2. `criu swrk` is started with a socket, over which it gets the request and sends notifications: [`swrk`].
//! 3. A dump ([`dump`]) ends with the images in a directory and, unless it is left running, the container dead.
//! 4. A restore ([`restore`]) makes the container's record and cgroups as a launch does, puts CRIU into them, and the
//!    processes that CRIU makes are in them from birth.

mod descriptors;
mod dump;
mod excerpt;
mod options;
pub(crate) mod request;
mod restore;
mod rootfs;
mod rpc;
mod swrk;

pub use options::{CheckpointOptions, CriuSettings, ManageCgroups, RestoreOptions};
pub use swrk::{CriuInfo, criu};

use crate::error::{Error, ErrorKind};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where images and logs are.
struct Directories {
    images: File,
    /// There were no images before.
    made: bool,
    work: Option<File>,
    /// Where CRIU writes its log.
    log: PathBuf,
}

impl Directories {
    /// Opens them, and makes what is missing: of the images only when they are to be written.
    fn open(settings: &CriuSettings, writing: bool) -> Result<Self, Error> {
        let (images, work) = (settings.image_path.as_path(), settings.work_path.as_deref());
        // First: the work path may lie below the images, and then makes them.
        let made = writing && !images.exists();
        let work_dir = work.map(|path| open(path, true)).transpose()?;
        let log = std::path::absolute(work.unwrap_or(images)).unwrap_or_else(|_| images.to_owned());
        Ok(Self { images: open(images, writing)?, made, work: work_dir, log })
    }

    /// The same, as the process `pid` sees them: of its mount namespace, in which it mounts below them.
    fn seen_by(&self, pid: i32) -> Result<Self, Error> {
        let of = |file: &File| {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let path = path.map_err(|e| Error::because(ErrorKind::Host, "find the images", e))?;
            let mut seen = OsString::from(format!("/proc/{pid}/root"));
            seen.push(path);
            open(Path::new(&seen), false)
        };
        let work = self.work.as_ref().map(of).transpose()?;
        Ok(Self { images: of(&self.images)?, made: self.made, work, log: self.log.clone() })
    }
}

/// The number by which CRIU opens a directory, in `/proc/PID/fd` of ours.
fn number(directory: &File) -> i32 {
    directory.as_raw_fd()
}

fn open(path: &Path, make: bool) -> Result<File, Error> {
    let failed = |doing: &str, e| Error::because(ErrorKind::Host, format!("{doing} {}", path.display()), e);
    if make {
        // Memory of processes: for nobody else's eyes.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| failed("make the directory", e))?;
    }
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    opened.map_err(|e| failed("open the directory", e))
}
