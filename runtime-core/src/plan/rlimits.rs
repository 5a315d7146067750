//! `process.rlimits`.

use super::HostFacts;
use oci_spec::runtime::{PosixRlimitType as Type, Process};

/// A resource limit in the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) resource: u32,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

fn resource(typ: Type) -> u32 {
    match typ {
        Type::RlimitCpu => libc::RLIMIT_CPU,
        Type::RlimitFsize => libc::RLIMIT_FSIZE,
        Type::RlimitData => libc::RLIMIT_DATA,
        Type::RlimitStack => libc::RLIMIT_STACK,
        Type::RlimitCore => libc::RLIMIT_CORE,
        Type::RlimitRss => libc::RLIMIT_RSS,
        Type::RlimitNproc => libc::RLIMIT_NPROC,
        Type::RlimitNofile => libc::RLIMIT_NOFILE,
        Type::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        Type::RlimitAs => libc::RLIMIT_AS,
        Type::RlimitLocks => libc::RLIMIT_LOCKS,
        Type::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        Type::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        Type::RlimitNice => libc::RLIMIT_NICE,
        Type::RlimitRtprio => libc::RLIMIT_RTPRIO,
        Type::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

/// The limits, each with its place in the configuration.
pub(super) fn limits(process: Option<&Process>, at: &str) -> Vec<(Limit, String)> {
    let given = process.into_iter().filter_map(|p| p.rlimits().as_ref()).flatten();
    let limit = |(index, l): (usize, &oci_spec::runtime::PosixRlimit)| {
        let limit = Limit { resource: resource(l.typ()), soft: l.soft(), hard: l.hard() };
        (limit, format!("{at}.rlimits[{index}]"))
    };
    given.enumerate().map(limit).collect()
}

const CAP_SYS_RESOURCE: u32 = 24;

/// Whether the parent sets the limits: in a user namespace the child has no right to raise one, and the parent may have it.
/// Without that right the child can do all that the parent could.
pub(super) fn from_outside(user_namespace: bool, facts: &HostFacts) -> bool {
    user_namespace && facts.permitted & (1 << CAP_SYS_RESOURCE) != 0
}
