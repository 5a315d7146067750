//! Readers of procfs text: pure functions from text to JSON.

use serde_json::{Map, Value, json};

/// Capabilities by number; a newer kernel's are shown as `CAP_<number>`.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The value of `key:` in `/proc/self/status`, or an empty string.
pub fn status_field<'a>(status: &'a str, key: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map_or("", str::trim)
}

/// One capability set as `{hex, names}`.
pub fn capability_set(hex: &str) -> Value {
    let bits = u64::from_str_radix(hex, 16).unwrap_or(0);
    let names: Vec<String> = (0..64)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| CAPABILITIES.get(bit).map_or_else(|| format!("CAP_{bit}"), |name| (*name).to_owned()))
        .collect();
    json!({ "hex": hex, "names": names })
}

/// Undoes the kernel's octal escapes (`\040`) in a field of mountinfo.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(octal.unwrap_or(bytes[at]));
        at += if octal.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits a comma-separated list.
fn list(field: &str) -> Vec<&str> {
    field.split(',').filter(|item| !item.is_empty()).collect()
}

/// One line of mountinfo, or nothing when it is not one.
fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left.first()?.parse::<u64>().ok()?,
        "parent": left.get(1)?.parse::<u64>().ok()?,
        "device": left.get(2)?,
        "root": unescape(left.get(3)?),
        "destination": unescape(left.get(4)?),
        "options": list(left.get(5)?),
        "propagation": left.get(6..)?,
        "type": right.first()?,
        "source": unescape(right.get(1)?),
        "super_options": list(right.get(2)?),
    }))
}

/// The mounts in `/proc/self/mountinfo`, in its order.
pub fn mountinfo(text: &str) -> Vec<Value> {
    text.lines().filter_map(mount).collect()
}

/// `/proc/self/uid_map` or `gid_map` as rows of inside, outside, length.
pub fn id_map(text: &str) -> Vec<Vec<u64>> {
    text.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect()).collect()
}

/// One limit: a number or "unlimited".
fn limit(word: Option<&str>) -> Value {
    match word {
        Some(word) => word.parse::<u64>().map_or_else(|_| json!(word), |number| json!(number)),
        None => Value::Null,
    }
}

/// The limits in `/proc/self/limits` under their `RLIMIT_` names.
pub fn limits(text: &str) -> Value {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "RLIMIT_CPU"),
        ("Max file size", "RLIMIT_FSIZE"),
        ("Max data size", "RLIMIT_DATA"),
        ("Max stack size", "RLIMIT_STACK"),
        ("Max core file size", "RLIMIT_CORE"),
        ("Max resident set", "RLIMIT_RSS"),
        ("Max processes", "RLIMIT_NPROC"),
        ("Max open files", "RLIMIT_NOFILE"),
        ("Max locked memory", "RLIMIT_MEMLOCK"),
        ("Max address space", "RLIMIT_AS"),
        ("Max file locks", "RLIMIT_LOCKS"),
        ("Max pending signals", "RLIMIT_SIGPENDING"),
        ("Max msgqueue size", "RLIMIT_MSGQUEUE"),
        ("Max nice priority", "RLIMIT_NICE"),
        ("Max realtime priority", "RLIMIT_RTPRIO"),
        ("Max realtime timeout", "RLIMIT_RTTIME"),
    ];
    let mut out = Map::new();
    for (label, name) in NAMES {
        let Some(rest) = text.lines().find_map(|line| line.strip_prefix(label)) else { continue };
        let mut words = rest.split_whitespace();
        out.insert(name.to_owned(), json!({ "soft": limit(words.next()), "hard": limit(words.next()) }));
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_keeps_every_field() {
        let line = "36 35 98:0 /sub\\040dir /mnt\\011x rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue";
        let mounts = mountinfo(line);
        assert_eq!(mounts[0]["destination"], "/mnt\tx");
        assert_eq!(mounts[0]["root"], "/sub dir");
        assert_eq!(mounts[0]["propagation"], json!(["shared:7", "master:1"]));
        assert_eq!(mounts[0]["options"], json!(["rw", "noatime"]));
        assert_eq!(mounts[0]["super_options"], json!(["rw", "errors=continue"]));
        assert_eq!(mounts[0]["type"], "ext3");
    }

    #[test]
    fn a_backslash_that_is_no_escape_stays() {
        assert_eq!(unescape("a\\b\\"), "a\\b\\");
    }

    #[test]
    fn capability_bits_become_names() {
        let set = capability_set("0000020000000021");
        assert_eq!(set["names"], json!(["CAP_CHOWN", "CAP_KILL", "CAP_41"]));
    }

    #[test]
    fn limits_are_numbers_or_unlimited() {
        let text = "Limit  Soft Limit Hard Limit Units\nMax open files            1024  unlimited  files \n";
        assert_eq!(limits(text), json!({"RLIMIT_NOFILE": {"soft": 1024, "hard": "unlimited"}}));
    }

    #[test]
    fn status_field_does_not_match_a_prefix() {
        assert_eq!(status_field("CapInhX:\t1\nCapInh:\t0f\n", "CapInh"), "0f");
    }
}
