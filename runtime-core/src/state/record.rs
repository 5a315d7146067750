//! What is recorded of a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hook, LinuxNamespace, LinuxResources, Process};
use serde::{Deserialize, Serialize};

use super::process::{ProcState, identify};
use crate::cgroup::Placement;

/// The version of the record that this build writes, and the latest it reads.
pub const STATE_VERSION: u32 = 1;

/// How far a container has come.
///
/// Whether its process lives is not recorded but asked of the kernel: see [`State::init`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Resources are being made; a record that stays so is of a runtime that died on the way.
    #[default]
    Creating,
    /// The process waits for `start`.
    Created,
    /// The program was executed.
    Running,
    /// Resources are being taken down: no way leads back.
    Stopping,
}

/// A resctrl group (`linux.intelRdt`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IntelRdt {
    /// The class of service's directory in the resctrl file system.
    pub clos_path: PathBuf,
    /// Whether it is ours to remove.
    pub created_by_us: bool,
    /// The monitoring group's directory, which is always ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring_path: Option<PathBuf>,
}

/// A network device that was moved into the container (`linux.netDevices`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetDevice {
    /// Its name on the host.
    pub host_name: String,
    /// Its name in the container.
    pub container_name: String,
}

/// A tree of the host's that is mounted in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HostMount {
    /// Where the configuration puts it.
    pub destination: String,
    /// Its ids are mapped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mapped: bool,
}

/// The seccomp filter of a container; its instructions are beside the record, in [`super::FILTER_FILE`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Seccomp {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Who is told of the calls that it notifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<SeccompListener>,
}

/// A seccomp agent (`linux.seccomp.listenerPath`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SeccompListener {
    /// Absolute path of its socket.
    pub path: PathBuf,
    /// What it is told besides (`listenerMetadata`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// What a later `exec` needs of the container's configuration.
///
/// Recorded, because the bundle may have changed or gone by then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExecDefaults {
    /// The container's own process, from which a new one takes what its caller does not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The container's seccomp filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Seccomp>,
    /// The namespaces of the configuration: a new process enters those that are not the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<LinuxNamespace>,
    /// The execution domain, as `personality(2)` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<u32>,
    /// No session keyring of its own (`--no-new-keyring`).
    pub no_new_keyring: bool,
}

/// A process beside the container's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Helper {
    /// Its pid.
    pub pid: i32,
    /// When it started: without it the pid could be anybody's.
    pub start_time: u64,
}

impl Helper {
    /// The process that has this pid now; `None` if there is none.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        super::process_start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// What has become of it.
    #[must_use]
    pub fn state(&self) -> ProcState {
        identify(self.pid, self.start_time)
    }
}

/// The record of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct State {
    /// The form of this record; see [`STATE_VERSION`].
    pub version: u32,
    /// The version of the runtime specification that the bundle follows.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The root file system's directory, absolute.
    pub rootfs: PathBuf,
    /// When it was created, in UTC: [`super::now`].
    pub created: String,
    /// The user who created it.
    pub owner: u32,
    /// How far it has come.
    pub phase: Phase,
    /// Its first process, as the creator's pid namespace numbers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When that process started: without it the pid could be anybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_start_time: Option<u64>,
    /// The annotations of the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Its control groups, recorded before they are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Placement>,
    /// `linux.resources` of the configuration, with what updates have changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<LinuxResources>,
    /// Its resctrl group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<IntelRdt>,
    /// Network devices to give back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net_devices: Vec<NetDevice>,
    /// The hooks that `start` runs in the container, before the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// The hooks that `start` runs after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// The hooks that `delete` runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// Made by an ordinary user, without the host's root.
    pub rootless: bool,
    /// Shares the pid namespace of its creator: the end of its first process does not end the others.
    pub host_pid_namespace: bool,
    /// What of its mounts is the host's: a checkpoint leaves that out.  Recorded, because the bundle may have changed or gone by
    /// then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_mounts: Vec<HostMount>,
    /// The CRIU that is at work on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criu: Option<Helper>,
    /// What `exec` needs.
    pub exec: ExecDefaults,
}

impl State {
    /// A record of the present version, created now, in its first phase.
    #[must_use]
    pub fn new(id: &str, bundle: &Path) -> Self {
        Self {
            version: STATE_VERSION,
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            created: super::now(),
            owner: nix::unistd::geteuid().as_raw(),
            ..Self::default()
        }
    }

    /// Sets the first process, with its start time; `None` when it is gone already.
    pub fn set_init(&mut self, pid: i32) -> Option<u64> {
        self.pid = Some(pid);
        self.pid_start_time = super::process_start_time(pid);
        self.pid_start_time
    }

    /// What has become of the container's first process.
    #[must_use]
    pub fn init(&self) -> ProcState {
        match (self.pid, self.pid_start_time) {
            (Some(pid), Some(start_time)) => identify(pid, start_time),
            _ => ProcState::Gone,
        }
    }

    /// Reads a record, as [`super::ContainerDir::save`] wrote it.
    ///
    /// # Errors
    /// What is wrong with the bytes, in words; never a panic, whatever they are.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        Record::from_bytes(bytes).map(|record| record.state)
    }

    /// Forgets what ended with the boot in which it was recorded.
    ///
    /// After a restart of the machine the pid, and even the pid with its start time, may be another process's, and
    /// the same cgroup path another container's.
    fn outlive_boot(&mut self) {
        self.pid = None;
        self.pid_start_time = None;
        self.cgroup = None;
        self.intel_rdt = None;
        self.criu = None;
        self.net_devices.clear();
        self.phase = Phase::Stopping;
    }
}

/// The file: the record and the boot it belongs to.
#[derive(Serialize)]
pub(super) struct RecordRef<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<&'a str>,
    pub state: &'a State,
}

#[derive(Debug, Deserialize)]
pub(super) struct Record {
    #[serde(default)]
    boot_id: Option<String>,
    state: State,
}

/// Only the version: read first, as a later version's record may not parse as ours.
#[derive(Deserialize)]
struct Versioned {
    state: VersionOnly,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Record {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = match serde_json::from_slice(bytes) {
            Ok(record) => record,
            Err(error) => return Err(newer(bytes).unwrap_or_else(|| error.to_string())),
        };
        match record.state.version {
            0 => Err("it has no version".to_owned()),
            1..=STATE_VERSION if record.state.id.is_empty() => Err("it has no id".to_owned()),
            1..=STATE_VERSION => Ok(record),
            version => Err(newer_text(version)),
        }
    }

    /// The record as it holds in the boot `now`.
    pub(super) fn in_boot(mut self, now: Option<&str>) -> State {
        if self.boot_id.is_some() && now.is_some() && self.boot_id.as_deref() != now {
            self.state.outlive_boot();
        }
        self.state
    }
}

fn newer(bytes: &[u8]) -> Option<String> {
    let versioned: Versioned = serde_json::from_slice(bytes).ok()?;
    (versioned.state.version > STATE_VERSION).then(|| newer_text(versioned.state.version))
}

fn newer_text(version: u32) -> String {
    format!(
        "it was written by a newer orlop (version {version} of the record, this one reads up to {STATE_VERSION})"
    )
}
