//! Limits: what `linux.resources` asks for, as values for the files of a container's groups.
//!
//! [`compile_limits`] is pure and says which file gets which value, and which place in the configuration wants it;
//! [`Placement::apply`] writes them.  Device rules are a matter of their own ([`super::DeviceRule`]).
//!
//! Which files there are depends on where the controller is: a group of version 1 serves it, else that of version 2, on a
//! hybrid host too.  The properties of the specification have the names and units of version 1, and are converted.
//! As in every runtime, 0 stands for "not given" where the kernel has no use for a 0: `memory.limit`, `memory.swap`,
//! `memory.reservation`, `cpu.shares`, `cpu.quota`, `cpu.period`, `cpu.realtimePeriod`, and weights.

mod apply;
mod convert;
mod cpu;
mod io;
mod memory;
mod other;

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;

use super::create::Need;
use super::place::Placement;
use crate::spec::{Fault, Report};

pub use convert::{shares_to_weight, swap_beside};

/// What to do when the file to be written is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Error,
    /// It is an error: the kernel has the file since this version, or with an option that its builders chose.
    Since(u32, u32),
    /// The value says what is so without the file.
    Skip,
    /// Another file takes this value; if that is missing too, it is an error.
    Instead {
        /// Its name.
        file: String,
        /// Its value.
        value: String,
    },
}

/// A value for a file of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitWrite {
    /// The controller, as `/proc/cgroups` names it; `cgroup` for what every group of version 2 has.
    pub controller: String,
    /// In the group of version 2; otherwise in that of version 1 which has the controller.
    pub unified: bool,
    /// The file's name.
    pub file: String,
    /// The value, written in one call.
    pub value: String,
    /// The place in the configuration that asks for it.
    pub origin: String,
    /// What to do when the file is not there.
    pub missing: Missing,
    /// A file of the same group whose number the value must not be below (`memory.checkBeforeUpdate`).
    pub not_below: Option<&'static str>,
}

/// Values that go together.
///
/// The kernel checks each against the others as they are at that moment, so the order in which it takes them depends on
/// what was set before: a value that it finds invalid (`EINVAL`) is tried again after the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In the order that fits a group just made; never empty.
    pub writes: Vec<LimitWrite>,
    /// It must be in effect before there is a process in the group: processors and memory nodes, and budgets without
    /// which a process cannot be scheduled.
    pub before_process: bool,
}

impl Limit {
    /// The place in the configuration that asks for it.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.writes.first().map_or("linux.resources", |write| &write.origin)
    }
}

/// Everything to be written, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The limits.
    pub limits: Vec<Limit>,
    /// What is accepted and has no effect beside other values.
    pub warnings: Vec<Fault>,
}

impl Limits {
    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Every value, in order.
    pub fn writes(&self) -> impl Iterator<Item = &LimitWrite> {
        self.limits.iter().flat_map(|limit| &limit.writes)
    }

    /// The controllers that are needed, each once, with the first place that asks for it.
    #[must_use]
    pub fn needs(&self) -> Vec<Need<'_>> {
        needs(&self.limits)
    }
}

/// The controllers that limits need, each once, with the first place that asks for it.
pub fn needs<'a>(limits: impl IntoIterator<Item = &'a Limit>) -> Vec<Need<'a>> {
    let mut needs: Vec<Need<'a>> = Vec::new();
    for write in limits.into_iter().flat_map(|limit| &limit.writes) {
        let known = needs.iter().any(|need| need.controller == write.controller);
        if !known && write.controller != "cgroup" && write.missing != Missing::Skip {
            needs.push(Need { controller: &write.controller, config_path: &write.origin });
        }
    }
    needs
}

/// What `linux.resources` asks of the groups of a placement, device rules aside.
///
/// For an update, `resources` are the changed ones alone, completed by what is in effect where two values are one file or are
/// reckoned from each other: on version 2 `cpu.quota` with `cpu.period`, and `memory.limit` with `memory.swap`.
/// `hugepage_limits` are the limits above `i64::MAX`, by their index ([`crate::spec::Extras`]).
///
/// # Errors
/// Everything that these groups cannot be asked for, at once.
pub fn compile_limits(
    resources: &LinuxResources,
    hugepage_limits: &BTreeMap<usize, u64>,
    placement: &Placement,
) -> Result<Limits, Vec<Fault>> {
    let mut target = Target {
        placement,
        limits: Vec::new(),
        report: Report::default(),
        warnings: Vec::new(),
        nowhere: Vec::new(),
    };
    if let Some(cpu) = resources.cpu() {
        cpu::compile(cpu, &mut target);
    }
    if let Some(memory) = resources.memory() {
        memory::compile(memory, &mut target);
    }
    if let Some(pids) = resources.pids() {
        other::pids(pids.limit(), &mut target);
    }
    if let Some(block_io) = resources.block_io() {
        io::compile(block_io, &mut target);
    }
    other::huge_pages(
        resources.hugepage_limits().as_deref().unwrap_or_default(),
        hugepage_limits,
        &mut target,
    );
    if let Some(network) = resources.network() {
        other::network(network, &mut target);
    }
    other::rdma(resources.rdma().iter().flatten(), &mut target);
    // Last, as it may say more exactly what another property only comes near to.
    other::unified(resources.unified().iter().flatten(), &mut target);
    if target.report.faults.is_empty() {
        Ok(Limits { limits: target.limits, warnings: target.warnings })
    } else {
        Err(target.report.faults)
    }
}

/// Where a controller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    V1,
    V2,
}

/// The controllers that version 2 has left out.
const V1_ALONE: [&str; 2] = ["net_cls", "net_prio"];

/// What is compiled for, and to.
struct Target<'a> {
    placement: &'a Placement,
    limits: Vec<Limit>,
    report: Report,
    warnings: Vec<Fault>,
    /// The controllers that were looked for in vain.
    nowhere: Vec<&'static str>,
}

impl Target<'_> {
    /// Where the controller is; a fault, once for each, if it can be nowhere.  Whether version 2 has it, is seen when the group
    /// is made.
    fn side(&mut self, controller: &'static str, origin: &str) -> Option<Side> {
        let side = self.find(controller);
        if side.is_some() || self.nowhere.contains(&controller) {
            return side;
        }
        self.nowhere.push(controller);
        let reason = if V1_ALONE.contains(&controller) {
            "it exists in version 1 only, and no hierarchy with it is mounted"
        } else {
            "no hierarchy with it is mounted"
        };
        self.fault(origin, format!("the {controller} cgroup controller is needed, but {reason}"));
        None
    }

    fn find(&self, controller: &str) -> Option<Side> {
        if self.placement.v1(controller).is_some() {
            return Some(Side::V1);
        }
        let on_v2 = self.placement.v2().is_some() && !V1_ALONE.contains(&controller);
        on_v2.then_some(Side::V2)
    }

    fn fault(&mut self, origin: &str, message: impl Into<String>) {
        self.report.fault(origin, message);
    }

    fn warn(&mut self, origin: &str, message: &str) {
        self.warnings.push(Fault { path: origin.to_owned(), message: message.to_owned() });
    }

    /// One value by itself.
    fn one(&mut self, write: LimitWrite) {
        self.together(vec![write]);
    }

    /// Values that go together; none is nothing.
    fn together(&mut self, writes: Vec<LimitWrite>) {
        if !writes.is_empty() {
            self.limits.push(Limit { writes, before_process: false });
        }
    }

    /// Values that go together, and before the process.
    fn before_process(&mut self, writes: Vec<LimitWrite>) {
        if !writes.is_empty() {
            self.limits.push(Limit { writes, before_process: true });
        }
    }
}

impl LimitWrite {
    fn new(
        controller: &str,
        side: Side,
        file: impl Into<String>,
        value: &(impl ToString + ?Sized),
        origin: &str,
    ) -> Self {
        Self {
            controller: controller.to_owned(),
            unified: side == Side::V2,
            file: file.into(),
            value: value.to_string(),
            origin: origin.to_owned(),
            missing: Missing::Error,
            not_below: None,
        }
    }

    fn or(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }
}

/// A number of version 1, where a negative one is "no limit".
fn or_max(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests;
