//! Flags in words, for people.

use super::FsParam;
use crate::sys::{MountAttr, attr};
use std::ffi::CStr;

/// The names of the set bits; what has no name is shown as a number.
fn decode(mut bits: u64, names: &[(u64, &str)]) -> Vec<String> {
    let mut words = Vec::new();
    for (bit, name) in names {
        if bits & bit != 0 {
            words.push((*name).to_owned());
            bits &= !bit;
        }
    }
    if bits != 0 {
        words.push(format!("{bits:#x}"));
    }
    words
}

const ATTRIBUTES: [(u64, &str); 8] = [
    (attr::RDONLY, "ro"),
    (attr::NOSUID, "nosuid"),
    (attr::NODEV, "nodev"),
    (attr::NOEXEC, "noexec"),
    (attr::NOATIME, "noatime"),
    (attr::STRICTATIME, "strictatime"),
    (attr::NODIRATIME, "nodiratime"),
    (attr::NOSYMFOLLOW, "nosymfollow"),
];

const OPPOSITES: [(u64, &str); 6] = [
    (attr::RDONLY, "rw"),
    (attr::NOSUID, "suid"),
    (attr::NODEV, "dev"),
    (attr::NOEXEC, "exec"),
    (attr::NODIRATIME, "diratime"),
    (attr::NOSYMFOLLOW, "symfollow"),
];

/// Attributes as mount options, each with `prefix`: `ro,nosuid`, `rro`.
pub(super) fn attributes(attributes: &MountAttr, prefix: &str) -> Vec<String> {
    let mut words = decode(attributes.set, &ATTRIBUTES);
    words.extend(decode(attributes.clear & !attr::ATIME, &OPPOSITES));
    if attributes.clear & attr::ATIME != 0 && attributes.set & attr::ATIME == attr::RELATIME {
        words.push("relatime".into());
    }
    words.into_iter().map(|word| format!("{prefix}{word}")).collect()
}

/// A change of propagation as a mount option: `rslave`.
pub(super) fn propagation(flags: u64) -> String {
    let names = [
        (libc::MS_SHARED, "shared"),
        (libc::MS_SLAVE, "slave"),
        (libc::MS_PRIVATE, "private"),
        (libc::MS_UNBINDABLE, "unbindable"),
    ];
    let recursive = if flags & libc::MS_REC != 0 { "r" } else { "" };
    format!("{recursive}{}", decode(flags & !libc::MS_REC, &names).join("|"))
}

/// Namespaces by their flags: `pid mount`.
pub(super) fn namespaces(flags: i32) -> String {
    let names = super::Namespace::ALL.map(|kind| (u64::from(kind.flag().cast_unsigned()), kind.name()));
    let words = decode(u64::from(flags.cast_unsigned()), &names);
    if words.is_empty() { "none".into() } else { words.join(" ") }
}

/// Parameters of a file system: `mode=755,newinstance`.
pub(super) fn params(params: &[FsParam]) -> Vec<String> {
    let word = |param: &FsParam| match param {
        FsParam::Flag(key) => text(key),
        FsParam::String(key, value) => format!("{}={}", text(key), text(value)),
    };
    params.iter().map(word).collect()
}

/// A path or name, on one line.
pub(super) fn text(string: &CStr) -> String {
    string.to_string_lossy().escape_debug().to_string()
}

/// The name of a resource limit.
pub(super) fn resource(number: u32) -> String {
    let names = [
        (libc::RLIMIT_CPU, "CPU"),
        (libc::RLIMIT_FSIZE, "FSIZE"),
        (libc::RLIMIT_DATA, "DATA"),
        (libc::RLIMIT_STACK, "STACK"),
        (libc::RLIMIT_CORE, "CORE"),
        (libc::RLIMIT_RSS, "RSS"),
        (libc::RLIMIT_NPROC, "NPROC"),
        (libc::RLIMIT_NOFILE, "NOFILE"),
        (libc::RLIMIT_MEMLOCK, "MEMLOCK"),
        (libc::RLIMIT_AS, "AS"),
        (libc::RLIMIT_LOCKS, "LOCKS"),
        (libc::RLIMIT_SIGPENDING, "SIGPENDING"),
        (libc::RLIMIT_MSGQUEUE, "MSGQUEUE"),
        (libc::RLIMIT_NICE, "NICE"),
        (libc::RLIMIT_RTPRIO, "RTPRIO"),
        (libc::RLIMIT_RTTIME, "RTTIME"),
    ];
    let name = names.iter().find(|(n, _)| *n == number).map(|(_, name)| (*name).to_owned());
    format!("RLIMIT_{}", name.unwrap_or_else(|| number.to_string()))
}

/// A limit: `unlimited`, or the number.
pub(super) fn limit(value: u64) -> String {
    if value == u64::MAX { "unlimited".into() } else { value.to_string() }
}

/// A mask as a list: `0-3,7`.
pub(super) fn list(mask: &[u64]) -> String {
    let set = |n: usize| mask.get(n / 64).is_some_and(|word| word & (1 << (n % 64)) != 0);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for n in (0..mask.len() * 64).filter(|n| set(*n)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => ranges.push((n, n)),
        }
    }
    let words = ranges.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_mount_options() {
        let a = MountAttr {
            set: attr::RDONLY | attr::NOATIME,
            clear: attr::NOSUID | attr::ATIME,
            ..MountAttr::default()
        };
        assert_eq!(attributes(&a, "r"), ["rro", "rnoatime", "rsuid"]);
        let relatime = MountAttr { clear: attr::ATIME, ..MountAttr::default() };
        assert_eq!(attributes(&relatime, ""), ["relatime"]);
        let odd = MountAttr { set: 1 << 40, ..MountAttr::default() };
        assert_eq!(attributes(&odd, ""), ["0x10000000000"]);
    }

    #[test]
    fn lists() {
        assert_eq!(list(&[0b1000_1111, 1]), "0-3,7,64");
        assert_eq!(list(&[]), "");
        assert_eq!(namespaces(libc::CLONE_NEWPID | libc::CLONE_NEWNS), "pid mount");
        assert_eq!(propagation(libc::MS_SLAVE | libc::MS_REC), "rslave");
        assert_eq!(
            (resource(7), limit(u64::MAX), resource(99)),
            ("RLIMIT_NOFILE".into(), "unlimited".into(), "RLIMIT_99".into())
        );
    }
}
