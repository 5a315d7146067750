//! What a container is doing, and how that is told to others.

use crate::state::State;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The state of a container (runtime.md, "State"), with runc's `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the program was not executed yet.
    Created,
    /// The program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// The program has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a container.
#[derive(Clone, Debug)]
pub struct ContainerState {
    /// The version of the specification its configuration was written for.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// What it is doing.
    pub status: Status,
    /// Process id of its first process in the caller's pid namespace; 0 when it has stopped.
    pub pid: i32,
    /// Absolute path of its bundle.
    pub bundle: PathBuf,
    /// Absolute path of its root file system.
    pub rootfs: PathBuf,
    /// When it was created, as RFC 3339 in UTC with nanoseconds.
    pub created: String,
    /// User id that created it.
    pub owner: u32,
    /// Annotations of its configuration.
    pub annotations: BTreeMap<String, String>,
}

/// The state that hooks and listeners are given (runtime.md, "State").
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OciState<'a> {
    oci_version: &'a str,
    id: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "is_zero")]
    pid: i32,
    bundle: &'a std::path::Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

/// The version of the specification that this runtime implements, as it states it in states.
pub const OCI_VERSION: &str = "1.3.0";

/// The state as JSON.
pub(crate) fn oci_state(state: &State, status: Status, pid: i32) -> Vec<u8> {
    let oci = OciState {
        oci_version: OCI_VERSION,
        id: &state.id,
        status,
        pid,
        bundle: &state.bundle,
        annotations: &state.annotations,
    };
    // Strings and numbers only: this cannot fail.
    serde_json::to_vec(&oci).unwrap_or_default()
}
