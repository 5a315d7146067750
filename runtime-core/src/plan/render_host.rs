//! The steps of the parent half in words.

use super::render::{Words, hook_words, plain, with};
use super::{Gate, HostStep, IdMaps, IntelRdt, Plan, words};
use crate::cgroup::systemd::Value;
use crate::cgroup::{Access, DeviceKind, DeviceRule, Limit, Missing, Placement};

pub(super) fn describe(step: &HostStep, plan: &Plan) -> Words {
    match step {
        HostStep::RecordIntent => plain("RecordIntent"),
        HostStep::OpenNamespace { slot, kind, path } => {
            with("OpenNamespace", format!("{slot}: {} {}", kind.name(), words::text(path)))
        }
        HostStep::OpenTree { slot, source, recursive, idmap } => {
            let kind = if *recursive { "rbind" } else { "bind" };
            let map = idmap
                .as_ref()
                .map(|(maps, tree)| format!(" {} {}", if *tree { "ridmap" } else { "idmap" }, id_maps(maps)));
            let map = map.unwrap_or_default();
            with("OpenTree", format!("{slot}: {kind} {}{map}", words::text(source)))
        }
        HostStep::CreateCgroup { placement } => with("CreateCgroup", groups(placement)),
        HostStep::CreateUnified => plain("CreateUnified"),
        HostStep::CheckListener { path } => with("CheckListener", path.display().to_string()),
        HostStep::Listen => plain("Listen"),
        HostStep::Clone => with("Clone", clone(plan)),
        HostStep::RecordProcess => plain("RecordProcess"),
        HostStep::StartUnit { properties } => with("StartUnit", unit_words(properties)),
        HostStep::JoinCgroup => plain("JoinCgroup"),
        HostStep::JoinIntelRdt => plain("JoinIntelRdt"),
        HostStep::CgroupDevices { rules } => with("CgroupDevices", device_rules(rules)),
        HostStep::GiveCgroup { uid } => with("GiveCgroup", format!("to uid {uid}")),
        HostStep::CgroupLimit(limit) => with("CgroupLimit", limit_words(limit)),
        HostStep::AwaitHooks => plain("AwaitHooks"),
        HostStep::AwaitReady => plain("AwaitReady"),
        HostStep::RecordCreated => plain("RecordCreated"),
        HostStep::Release(gate) => with("Release", gate_name(*gate)),
        HostStep::Hooks { kind, hooks } => with("Hooks", hook_words(*kind, hooks)),
        HostStep::WriteIdMaps { .. }
        | HostStep::SetOomScore { .. }
        | HostStep::SetRlimit { .. }
        | HostStep::IntelRdt(_)
        | HostStep::MoveNetDevice { .. } => describe_setting(step),
    }
}

fn describe_setting(step: &HostStep) -> Words {
    match step {
        HostStep::WriteIdMaps { maps, helpers, deny_setgroups } => {
            let how = if *helpers { " by newuidmap and newgidmap" } else { "" };
            let deny = if *deny_setgroups { ", setgroups denied" } else { "" };
            with("WriteIdMaps", format!("{}{how}{deny}", id_maps(maps)))
        }
        HostStep::SetOomScore { value } => with("SetOomScore", value.to_string()),
        HostStep::SetRlimit { resource, soft, hard } => rlimit(*resource, *soft, *hard),
        HostStep::IntelRdt(rdt) => with("IntelRdt", resctrl(rdt)),
        HostStep::MoveNetDevice { host, container } => {
            with("MoveNetDevice", format!("{} to {}", host.escape_debug(), container.escape_debug()))
        }
        // Every other variant has its arm above.
        _ => plain("unknown"),
    }
}

pub(super) fn rlimit(resource: u32, soft: u64, hard: u64) -> Words {
    with("SetRlimit", format!("{} {}:{}", words::resource(resource), words::limit(soft), words::limit(hard)))
}

pub(super) const fn gate_name(gate: Gate) -> &'static str {
    match gate {
        Gate::Maps => "maps",
        Gate::Cgroup => "cgroup",
        Gate::Hooks => "hooks",
        Gate::Listener => "listener",
    }
}

/// `uid 0->1000*1 gid 0->1000*1`, inside to outside.
fn id_maps(maps: &IdMaps) -> String {
    let lines = |lines: &[(u32, u32, u32)]| {
        let words = lines.iter().map(|(inside, outside, count)| format!("{inside}->{outside}*{count}"));
        words.collect::<Vec<_>>().join(",")
    };
    format!("uid {} gid {}", lines(&maps.uid), lines(&maps.gid))
}

fn groups(placement: &Placement) -> String {
    let paths = placement.groups().iter().map(|group| group.path.display().to_string());
    paths.collect::<Vec<_>>().join(" ")
}

fn clone(plan: &Plan) -> String {
    let mut what = format!("new: {}", words::namespaces(plan.clone.flags));
    if let Some(joins) = &plan.clone.stage {
        let joins = joins.iter().map(|(slot, kind)| format!("{slot}:{}", kind.name()));
        what = format!("stage joins: {}; {what}", joins.collect::<Vec<_>>().join(" "));
    }
    if plan.clone.into_cgroup {
        what.push_str("; into the cgroup");
    }
    if let Some(mask) = &plan.clone.initial_affinity {
        what.push_str(&format!("; first on CPUs {}", words::list(mask)));
    }
    if let Some(value) = plan.clone.oom_score {
        what.push_str(&format!("; oom score {value}"));
    }
    if plan.clone.hidden {
        what.push_str("; hidden");
    }
    what
}

fn device_rules(rules: &[DeviceRule]) -> String {
    rules.iter().map(device_rule).collect::<Vec<_>>().join("; ")
}

/// `Delegate=true; TasksMax=100`
fn unit_words(properties: &[(String, Value)]) -> String {
    properties.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// `pids.max=100`; what is written instead of a file that is not there comes after a bar.
fn limit_words(limit: &Limit) -> String {
    let words = limit.writes.iter().map(|write| {
        let value = write.value.escape_debug();
        match &write.missing {
            Missing::Instead { file, value: other } => {
                format!("{}={value} | {file}={}", write.file.escape_debug(), other.escape_debug())
            }
            _ => format!("{}={value}", write.file.escape_debug()),
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

/// `+c 1:3 rwm`, as the kernel's files have it.
fn device_rule(rule: &DeviceRule) -> String {
    let sign = if rule.allow { '+' } else { '-' };
    let kind = match rule.kind {
        DeviceKind::All => 'a',
        DeviceKind::Char => 'c',
        DeviceKind::Block => 'b',
    };
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let letters = [('r', Access::READ), ('w', Access::WRITE), ('m', Access::MKNOD)];
    let has = |access: &Access| rule.access.bits() & access.bits() != 0;
    let access: String = letters.iter().filter(|(_, access)| has(access)).map(|(letter, _)| letter).collect();
    format!("{sign}{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

fn resctrl(rdt: &IntelRdt) -> String {
    let mut what = rdt.clos_id.clone();
    if rdt.clos_given {
        what.push_str(" (shared)");
    }
    for line in &rdt.schemata {
        what.push_str("; ");
        what.push_str(line);
    }
    if rdt.monitoring {
        what.push_str("; monitoring");
    }
    what
}
