//! Control groups: one interface over version 1, version 2, and hybrid hosts, kept by ourselves or by [`systemd`].
//!
//! 1. [`detect`] reads which hierarchies there are, and where we are in them.
//! 2. [`place`] works out, purely, which groups a container gets: a [`Placement`].
//! 3. [`Placement::survey`] looks which of these are there already.
//! 4. The caller records the placement (invariant I6), and only then
//!    [`Placement::start_unit`] has systemd make what it keeps, where it does, and
//! 5. [`Placement::create`] makes the groups, [`Placement::join`] puts the process in, and at the end
//!    [`Placement::kill_all`] and [`Placement::remove`] take all down, from whatever point a runtime died at.
//!
//! A container gets a group of its own in every hierarchy, those without a limit and the named ones among them: what
//! it uses is counted there, and its processes are found there.  Groups are used by absolute path: a hierarchy's
//! directories cannot be links, so a descriptor for each would cost two calls and protect from nothing.

mod bpf;
mod create;
mod devices;
mod error;
mod files;
mod freeze;
mod layout;
mod limits;
mod members;
mod mounts;
mod oom;
mod owner;
mod place;
mod remove;
mod stats;
mod sub;
pub mod systemd;
mod update;

pub use bpf::device_program;
pub use create::{Created, Need};
pub use devices::{Access, DEFAULT_DEVICES, DeviceKind, DeviceLists, DeviceRule};
pub use error::CgroupError;
pub use layout::{HierarchyMount, Layout, OwnCgroups, V1Hierarchy, detect};
pub use limits::{Limit, LimitWrite, Limits, Missing, compile_limits, needs, shares_to_weight, swap_beside};
pub use mounts::{CgroupMount, cgroup_mounts};
pub use oom::OomWatch;
pub use place::{Group, Placement, place};
pub use stats::{
    BlkioEntry, CpuStats, CpusetStats, HugetlbStats, IoDevice, IoStats, MemoryEntry, MemoryEvents,
    MemoryStats, MiscStats, OomControl, PidsStats, Pressure, PressureLine, RdmaDevice, RdmaStats, Stats,
};
pub use sub::SubGroup;

#[cfg(test)]
mod host_tests;
