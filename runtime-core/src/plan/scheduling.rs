//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.personality`, `linux.memoryPolicy`.

use super::compiler::Report;
use super::{ChildStep, HostFacts};
use crate::spec::{MAX_CPU, MAX_NODE, parse_list};
use crate::sys::SchedAttr;
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType as PolicyFlag,
    MemoryPolicyModeType as Mode, Scheduler,
};

/// `struct sched_attr` up to the utilization clamps (sched_setattr(2)).
const SCHED_ATTR_SIZE: u32 = 56;

pub(super) fn scheduler(given: &Scheduler) -> SchedAttr {
    let policy = match given.policy() {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    };
    let flag = |f: &Flag| match f {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    };
    SchedAttr {
        size: SCHED_ATTR_SIZE,
        policy,
        flags: given.flags().iter().flatten().fold(0u64, |flags, f| flags | flag(f)),
        nice: given.nice().unwrap_or(0),
        priority: given.priority().and_then(|p| u32::try_from(p).ok()).unwrap_or(0),
        runtime: given.runtime().unwrap_or(0),
        deadline: given.deadline().unwrap_or(0),
        period: given.period().unwrap_or(0),
        util_min: 0,
        util_max: 0,
    }
}

/// Packed as `ioprio_set(2)` takes it.
pub(super) fn io_priority(given: &LinuxIOPriority) -> u32 {
    const CLASS_SHIFT: u32 = 13;
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    class << CLASS_SHIFT | u32::try_from(given.priority()).unwrap_or(0)
}

/// The mask of a list such as `0-3,7`, which the loader has checked.
pub(super) fn mask(list: &str, max: u32) -> Vec<u64> {
    let mut mask: Vec<u64> = Vec::new();
    for n in parse_list(list, max).unwrap_or_default().into_iter().flatten() {
        let word = (n / u64::BITS) as usize;
        if mask.len() <= word {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << (n % u64::BITS);
    }
    mask
}

/// The CPUs of a list.
pub(super) fn cpus(list: &str) -> Vec<u64> {
    mask(list, MAX_CPU)
}

pub(super) fn affinity(list: &str) -> ChildStep {
    ChildStep::Affinity(cpus(list))
}

pub(super) fn personality(given: &LinuxPersonality) -> u32 {
    match given.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

pub(super) fn memory_policy(given: &LinuxMemoryPolicy, facts: &HostFacts, report: &mut Report) -> ChildStep {
    const AT: &str = "linux.memoryPolicy";
    let mode = match given.mode() {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => {
            report.need_kernel(facts, (5, 15), &format!("{AT}.mode"), "MPOL_PREFERRED_MANY");
            5
        }
        Mode::MpolWeightedInterleave => {
            report.need_kernel(facts, (6, 9), &format!("{AT}.mode"), "MPOL_WEIGHTED_INTERLEAVE");
            6
        }
    };
    let flag = |f: &PolicyFlag| match f {
        PolicyFlag::MpolFNumaBalancing => 1 << 13,
        PolicyFlag::MpolFRelativeNodes => 1 << 14,
        PolicyFlag::MpolFStaticNodes => 1 << 15,
    };
    let flags = given.flags().as_deref().unwrap_or_default();
    if flags.contains(&PolicyFlag::MpolFNumaBalancing) {
        report.need_kernel(facts, (5, 12), &format!("{AT}.flags"), "MPOL_F_NUMA_BALANCING");
    }
    let mode = flags.iter().fold(mode, |mode, f| mode | flag(f));
    let nodes = given.nodes().as_deref().map(|nodes| mask(nodes, MAX_NODE)).unwrap_or_default();
    ChildStep::MemoryPolicy { mode, nodes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(mask("0-3,7", MAX_CPU), [0b1000_1111]);
        assert_eq!(mask("64", MAX_CPU), [0, 1]);
        assert_eq!(mask("63-65", MAX_CPU), [1 << 63, 3]);
    }

    #[test]
    fn io_priorities() {
        let given = serde_json::from_str(r#"{"class":"IOPRIO_CLASS_BE","priority":4}"#).unwrap();
        assert_eq!(io_priority(&given), 2 << 13 | 4);
    }

    #[test]
    fn deadlines() {
        let text = r#"{"policy":"SCHED_DEADLINE","flags":["SCHED_FLAG_RESET_ON_FORK","SCHED_FLAG_RECLAIM"],
            "runtime":1000,"deadline":2000,"period":3000}"#;
        let attr = scheduler(
            &serde_json::from_str(&text.replace("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK")).unwrap(),
        );
        assert_eq!((attr.size, attr.policy, attr.flags), (56, 6, 3));
        assert_eq!((attr.runtime, attr.deadline, attr.period), (1000, 2000, 3000));
    }
}
