//! What can go wrong with the state directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::Reason;

/// A failure of the state directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The id given is not one a container can have.
    #[error("invalid container ID format: {reason}: {:?}", beginning(id))]
    InvalidId {
        /// The id as given.
        id: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A container of this id is there already.
    #[error("container with given ID already exists: {id:?}")]
    AlreadyExists {
        /// The id.
        id: String,
    },
    /// No container of this id is there.
    #[error("container does not exist: {id:?}")]
    NotFound {
        /// The id.
        id: String,
    },
    /// The record of a container cannot be understood.
    #[error("the state of the container cannot be read: {}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A call on the file system failed.
    #[error("{call} {}: {}", path.display(), Reason::of(source))]
    Io {
        /// The system call.
        call: &'static str,
        /// The object it was done on.
        path: PathBuf,
        /// The errno.
        source: io::Error,
    },
}

/// As much of an id as tells it: whoever passes a megabyte knows what it was.
fn beginning(id: &str) -> String {
    const ENOUGH: usize = 64;
    match id.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}...", &id[..end]),
        None => id.to_owned(),
    }
}

impl StateError {
    pub(super) fn io(call: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { call, path: path.to_owned(), source: source.into() }
    }

    /// Whether it says that there is no such container.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
