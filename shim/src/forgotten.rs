//! The end of a shim that containerd has forgotten.
//!
//! containerd may be killed between `start` and Create, or in the middle of Create.  The next one removes the bundle, and with it all
//! that is known of the shim: nobody is left who would call Shutdown.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a shim without containers looks for its bundle; with one it does not, and sleeps.
const LOOK: Duration = Duration::from_secs(5);

/// Whether containerd still has the bundle.  What cannot be looked at is there.
#[must_use]
pub fn is_there(bundle: &Path) -> bool {
    !matches!(fs::symlink_metadata(bundle.join("config.json")), Err(e) if e.kind() == ErrorKind::NotFound)
}

/// A shim's own bundle, while it has no containers.
#[derive(Debug)]
pub struct Vacancy {
    bundle: PathBuf,
    next: Option<Instant>,
}

impl Vacancy {
    /// Of the shim whose bundle this is.
    #[must_use]
    pub const fn new(bundle: PathBuf) -> Self {
        Self { bundle, next: None }
    }

    /// When to look again.
    #[must_use]
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether nobody will call any more a shim that is `vacant`, which means that it has no containers and no calls under way.
    pub fn is_forgotten(&mut self, vacant: bool) -> bool {
        if !vacant {
            self.next = None;
            return false;
        }
        let now = Instant::now();
        if now < *self.next.get_or_insert(now + LOOK) {
            return false;
        }
        self.next = Some(now + LOOK);
        !is_there(&self.bundle)
    }
}
