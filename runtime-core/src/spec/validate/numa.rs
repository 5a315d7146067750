//! `linux.memoryPolicy`: what set_mempolicy(2) refuses.

use crate::spec::fault::Report;
use crate::spec::lists::{MAX_NODE, parse_list};
use oci_spec::runtime::{LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};

pub(super) fn check(policy: &LinuxMemoryPolicy, report: &mut Report) {
    let mode = policy.mode();
    let nodes = policy.nodes().as_deref();
    if let Some(Err(message)) = nodes.map(|nodes| parse_list(nodes, MAX_NODE)) {
        report.fault("linux.memoryPolicy.nodes", message);
    }
    match mode {
        Mode::MpolDefault | Mode::MpolLocal if nodes.is_some() => {
            report.fault("linux.memoryPolicy.nodes", format!("{mode} takes no nodes"));
        }
        Mode::MpolBind | Mode::MpolInterleave | Mode::MpolWeightedInterleave | Mode::MpolPreferredMany
            if nodes.is_none() =>
        {
            report.fault("linux.memoryPolicy.nodes", format!("required for {mode}"));
        }
        _ => {}
    }
    flags(policy, report);
}

fn flags(policy: &LinuxMemoryPolicy, report: &mut Report) {
    let flags = policy.flags().as_deref().unwrap_or_default();
    let mode = policy.mode();
    let find = |flag| flags.iter().position(|other| *other == flag);
    let relative = find(Flag::MpolFRelativeNodes);
    let fixed = find(Flag::MpolFStaticNodes);
    let mut fault =
        |index, message: String| report.fault(format!("linux.memoryPolicy.flags[{index}]"), message);
    if let (Some(relative), Some(fixed)) = (relative, fixed) {
        fault(
            relative.max(fixed),
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".to_owned(),
        );
    } else if let Some(index) = relative.or(fixed)
        && policy.nodes().is_none()
        && matches!(mode, Mode::MpolLocal | Mode::MpolPreferred)
    {
        fault(index, format!("{} needs nodes, and {mode} has none", flags[index]));
    }
    if let Some(index) = find(Flag::MpolFNumaBalancing)
        && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany)
    {
        fault(
            index,
            format!("MPOL_F_NUMA_BALANCING goes with MPOL_BIND and MPOL_PREFERRED_MANY, not with {mode}"),
        );
    }
}
