//! From `linux.seccomp` to a program for seccomp(2).
//!
//! A pure function: what it knows of the machine is its architecture.

mod abi;
mod action;
mod syscalls;

pub use abi::Machine;
pub use action::Action;
pub use seccompiler::{BpfProgram, sock_filter};

use crate::spec::{Fault, Report};
use abi::Abi;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag, LinuxSyscall};
use std::collections::BTreeMap;
use syscalls::Call;

/// `BPF_MAXINSNS`: the kernel takes no longer program.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program for `SECCOMP_SET_MODE_FILTER`; never empty, never longer than [`MAX_INSTRUCTIONS`].
    pub program: BpfProgram,
    /// `SECCOMP_FILTER_FLAG_*`, with `NEW_LISTENER` when some call is notified.
    pub flags: u32,
    /// What is accepted but will not do what its author may think: config path and text.
    pub warnings: Vec<(String, String)>,
    /// Names of system calls that no architecture of ours has: their rules have no effect.
    pub unknown: Vec<String>,
}

impl Filter {
    /// Whether loading it returns a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// What the filter does, in lines for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.program
            .iter()
            .enumerate()
            .map(|(index, op)| format!("{index:4}  {:#04x} {:3} {:3} {:#010x}", op.code, op.jt, op.jf, op.k))
            .collect()
    }
}

const TSYNC: u32 = 1 << 0;
const LOG: u32 = 1 << 1;
const SPEC_ALLOW: u32 = 1 << 2;
const NEW_LISTENER: u32 = 1 << 3;
const TSYNC_ESRCH: u32 = 1 << 4;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Compiles `profile` for `machine`.
///
/// # Errors
/// Every fault, each with its place in the config.
pub fn compile(profile: &LinuxSeccomp, machine: Machine) -> Result<Filter, Vec<Fault>> {
    let mut report = Report::default();
    let mut filter = Filter { program: Vec::new(), flags: 0, warnings: Vec::new(), unknown: Vec::new() };
    let default = Action::new(profile.default_action(), profile.default_errno_ret());
    let mut calls: BTreeMap<u32, Action> = BTreeMap::new();
    if profile.architectures().iter().flatten().any(|arch| machine.abi_of(*arch) != Some(machine.abi())) {
        report.fault("linux.seccomp.architectures", "only the native one, for now");
    }
    let known = profile
        .syscalls()
        .iter()
        .flatten()
        .flat_map(LinuxSyscall::names)
        .filter_map(|name| Call::find(name)?.number(machine.abi()))
        .max();
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        add(rule, index, machine.abi(), default, &mut calls, &mut filter, &mut report);
    }
    filter.flags = flags(profile, default.notifies() || calls.values().any(|action| action.notifies()));
    let listed = profile.architectures().as_ref().is_some_and(|archs| !archs.is_empty());
    let newest = known.filter(|_| listed && !default.permissive());
    filter.program = linear(&calls, default, machine.abi(), newest);
    if filter.program.len() > MAX_INSTRUCTIONS {
        report
            .fault("linux.seccomp.syscalls", format!("the filter has {} instructions", filter.program.len()));
    }
    if report.faults.is_empty() { Ok(filter) } else { Err(report.faults) }
}

fn add(
    rule: &LinuxSyscall,
    index: usize,
    abi: Abi,
    default: Action,
    calls: &mut BTreeMap<u32, Action>,
    filter: &mut Filter,
    report: &mut Report,
) {
    let at = format!("linux.seccomp.syscalls[{index}]");
    let action = Action::new(rule.action(), rule.errno_ret());
    if rule.args().as_ref().is_some_and(|args| !args.is_empty()) {
        report.fault(format!("{at}.args"), "not yet");
    }
    for (position, name) in rule.names().iter().enumerate() {
        let Some(call) = Call::find(name) else {
            filter.unknown.push(name.clone());
            continue;
        };
        let Some(number) = call.number(abi).filter(|_| action != default) else { continue };
        if calls.insert(number, action).is_some_and(|before| before != action) {
            report.fault(format!("{at}.names[{position}]"), "has another action already");
        }
    }
}

fn flags(profile: &LinuxSeccomp, notifies: bool) -> u32 {
    let listed = profile.flags().as_deref();
    let mut flags = listed.unwrap_or(&[Flag::SeccompFilterFlagSpecAllow]).iter().fold(0, |flags, flag| {
        flags
            | match flag {
                Flag::SeccompFilterFlagTsync => TSYNC,
                Flag::SeccompFilterFlagLog => LOG,
                Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                Flag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
            }
    });
    if notifies {
        flags |= NEW_LISTENER;
        // Both return a number of their own, unless failure to synchronise is an errno.
        if flags & TSYNC != 0 {
            flags |= TSYNC_ESRCH;
        }
    } else {
        // The kernel takes it only together with a listener.
        flags &= !WAIT_KILLABLE_RECV;
    }
    flags
}

fn linear(calls: &BTreeMap<u32, Action>, default: Action, abi: Abi, newest: Option<u32>) -> BpfProgram {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut program = vec![
        instruction(0x20, 0, 0, 4),
        instruction(0x15, 1, 0, abi.audit()),
        instruction(0x06, 0, 0, Action::KILL.0),
        instruction(0x20, 0, 0, 0),
    ];
    if let Some(newest) = newest {
        program.push(instruction(0x25, 0, 1, newest));
        program.push(instruction(0x06, 0, 0, Action::NO_SUCH_CALL.0));
    }
    for (number, action) in calls {
        program.push(instruction(0x15, 0, 1, *number));
        program.push(instruction(0x06, 0, 0, action.0));
    }
    program.push(instruction(0x06, 0, 0, default.0));
    program
}
