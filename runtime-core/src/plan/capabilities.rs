//! `process.capabilities`.

use super::compiler::Report;
use super::{ChildStep, HostFacts};
use oci_spec::runtime::{Capabilities, Capability as C, LinuxCapabilities};

/// The number of a capability (`linux/capability.h`).
const fn number(capability: C) -> u32 {
    match capability {
        C::Chown => 0,
        C::DacOverride => 1,
        C::DacReadSearch => 2,
        C::Fowner => 3,
        C::Fsetid => 4,
        C::Kill => 5,
        C::Setgid => 6,
        C::Setuid => 7,
        C::Setpcap => 8,
        C::LinuxImmutable => 9,
        C::NetBindService => 10,
        C::NetBroadcast => 11,
        C::NetAdmin => 12,
        C::NetRaw => 13,
        C::IpcLock => 14,
        C::IpcOwner => 15,
        C::SysModule => 16,
        C::SysRawio => 17,
        C::SysChroot => 18,
        C::SysPtrace => 19,
        C::SysPacct => 20,
        C::SysAdmin => 21,
        C::SysBoot => 22,
        C::SysNice => 23,
        C::SysResource => 24,
        C::SysTime => 25,
        C::SysTtyConfig => 26,
        C::Mknod => 27,
        C::Lease => 28,
        C::AuditWrite => 29,
        C::AuditControl => 30,
        C::Setfcap => 31,
        C::MacOverride => 32,
        C::MacAdmin => 33,
        C::Syslog => 34,
        C::WakeAlarm => 35,
        C::BlockSuspend => 36,
        C::AuditRead => 37,
        C::Perfmon => 38,
        C::Bpf => 39,
        C::CheckpointRestore => 40,
    }
}

/// The capabilities by number, for people.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The names of all, in the order of their numbers, without `CAP_`.
pub fn known() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}

/// Names of a set: `KILL SETUID`, or `none`.
pub(super) fn names(set: u64) -> String {
    let names: Vec<String> = (0..64u32)
        .filter(|n| set & (1 << n) != 0)
        .map(|n| NAMES.get(n as usize).map_or_else(|| n.to_string(), |name| (*name).to_owned()))
        .collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

fn bits(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().fold(0, |bits, c| bits | 1 << number(*c))
}

/// The five sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sets {
    pub(super) bounding: u64,
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
    pub(super) ambient: u64,
}

/// What the container gets of what it asks for.  config.md: a capability that cannot be granted is warned about, and the
/// container runs without it.
pub(super) fn compile(
    given: Option<&LinuxCapabilities>,
    user_namespace: bool,
    facts: &HostFacts,
    at: &str,
    report: &mut Report,
) -> Sets {
    let Some(given) = given else { return Sets::default() };
    // The owner of a user namespace has all capabilities in it.
    let (granted, bounded) = if user_namespace { (!0, !0) } else { (facts.permitted, facts.bounding) };
    let mut keep = |name: &str, set: &Option<Capabilities>, within: u64, why: &str| {
        let asked = bits(set.as_ref());
        let lost = asked & !within;
        if lost != 0 {
            let lost = names(lost).replace(' ', ", CAP_");
            report.warn(
                format_args!("{at}.capabilities.{name}"),
                format_args!("CAP_{lost} not granted: not in {why}"),
            );
        }
        asked & within
    };
    let bounding = keep("bounding", given.bounding(), bounded, "the runtime's own bounding set");
    let permitted = keep("permitted", given.permitted(), granted, "the runtime's own permitted set");
    let effective = keep("effective", given.effective(), granted, "the runtime's own permitted set");
    // capset(2): new inheritable capabilities must be in the bounding set.
    let inheritable = keep("inheritable", given.inheritable(), bounded, "the runtime's own bounding set");
    let ambient = bits(given.ambient().as_ref()) & permitted & inheritable;
    Sets { bounding, effective: effective & permitted, permitted, inheritable, ambient }
}

impl Sets {
    pub(super) fn step(self) -> ChildStep {
        let Self { effective, permitted, inheritable, ambient, .. } = self;
        ChildStep::Capabilities { effective, permitted, inheritable, ambient }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name() {
        let all = r#"["CAP_CHOWN","CAP_SYS_ADMIN","CAP_MKNOD","CAP_SETFCAP","CAP_AUDIT_READ","CAP_BPF",
            "CAP_CHECKPOINT_RESTORE","CAP_PERFMON","CAP_NET_RAW","CAP_SYSLOG"]"#;
        let set: Capabilities = serde_json::from_str(all).unwrap();
        for capability in &set {
            assert_eq!(NAMES[number(*capability) as usize], capability.to_string());
        }
        assert_eq!(names(0), "none");
        assert_eq!(names(1 << 5 | 1 << 50), "KILL 50");
    }
}
