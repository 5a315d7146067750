//! Gathers what a process can see of itself and its container.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use conformance::sys;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::stat::{Mode, major, minor, umask};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::sys::termios::{OutputFlags, tcgetattr};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{self, Pid};
use serde_json::{Map, Value, json};

use crate::parse;

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The text of a file, trimmed at its end; empty when it cannot be read.
fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0', ' ']).to_owned(),
    )
}

/// The target of a link, or null.
fn link(path: impl AsRef<Path>) -> Value {
    fs::read_link(path).map_or(Value::Null, |target| json!(target.to_string_lossy()))
}

/// A value, or the errno as `{"error": …}`.
fn or_error<T: Into<Value>>(result: io::Result<T>) -> Value {
    result.map_or_else(|error| json!({ "error": crate::verbs::errno_name(&error) }), Into::into)
}

fn identity(status: &str) -> Value {
    let numbers = |key| -> Vec<u64> {
        parse::status_field(status, key).split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let mask = umask(Mode::empty());
    umask(mask);
    json!({
        // Real, effective, saved, file system.
        "uid": numbers("Uid"),
        "gid": numbers("Gid"),
        "groups": numbers("Groups"),
        "umask": mask.bits(),
        "pid": unistd::getpid().as_raw(),
        "ppid": unistd::getppid().as_raw(),
        "pgid": unistd::getpgrp().as_raw(),
        "sid": unistd::getsid(None).map_or(-1, Pid::as_raw),
        "uid_map": parse::id_map(&text("/proc/self/uid_map")),
        "gid_map": parse::id_map(&text("/proc/self/gid_map")),
        "setgroups": text("/proc/self/setgroups"),
    })
}

fn capabilities(status: &str) -> Value {
    let set = |key| parse::capability_set(parse::status_field(status, key));
    json!({
        "inheritable": set("CapInh"),
        "permitted": set("CapPrm"),
        "effective": set("CapEff"),
        "bounding": set("CapBnd"),
        "ambient": set("CapAmb"),
    })
}

fn security(status: &str) -> Value {
    let number = |key| parse::status_field(status, key).parse::<u64>().unwrap_or(0);
    let keyring = sys::session_keyring().map(
        |keyring| json!({ "id": keyring.id, "description": keyring.description, "label": keyring.label }),
    );
    json!({
        "no_new_privs": number("NoNewPrivs") == 1,
        "seccomp_mode": number("Seccomp"),
        "seccomp_filters": number("Seccomp_filters"),
        "securebits": or_error(sys::securebits()),
        "label": text("/proc/self/attr/current"),
        "session_keyring": or_error(keyring),
        "dumpable": nix::sys::prctl::get_dumpable().unwrap_or(false),
    })
}

fn schedule() -> Value {
    let attr = sys::sched_getattr().map(|attr| {
        let policy = match attr.policy {
            0 => "SCHED_OTHER",
            1 => "SCHED_FIFO",
            2 => "SCHED_RR",
            3 => "SCHED_BATCH",
            5 => "SCHED_IDLE",
            6 => "SCHED_DEADLINE",
            _ => "unknown",
        };
        json!({
            "policy": policy, "nice": attr.nice, "priority": attr.priority, "flags": attr.flags,
            "runtime": attr.runtime, "deadline": attr.deadline, "period": attr.period,
        })
    });
    let ioprio = sys::ioprio_get().map(|(class, level)| json!({ "class": class, "level": level }));
    let mempolicy = sys::get_mempolicy().map(|(mode, nodes)| json!({ "mode": mode, "nodes": nodes }));
    let affinity: Vec<usize> = sched_getaffinity(Pid::from_raw(0)).map_or_else(
        |_| Vec::new(),
        |set| (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect(),
    );
    json!({
        "scheduler": or_error(attr),
        "ioprio": or_error(ioprio),
        "mempolicy": or_error(mempolicy),
        "affinity": affinity,
        "oom_score_adj": text("/proc/self/oom_score_adj").parse::<i64>().ok(),
        "personality": i64::from_str_radix(&text("/proc/self/personality"), 16).ok(),
        "timerslack": nix::sys::prctl::get_timerslack().ok(),
    })
}

fn clocks() -> Value {
    let seconds = |id| clock_gettime(id).map_or(Value::Null, |now| json!(now.tv_sec()));
    json!({
        "monotonic": seconds(ClockId::CLOCK_MONOTONIC),
        "boottime": seconds(ClockId::CLOCK_BOOTTIME),
        "offsets": text("/proc/self/timens_offsets"),
    })
}

fn terminal(fd: BorrowedFd<'_>) -> Value {
    if !fd.is_terminal() {
        return json!({ "isatty": false });
    }
    let flags = tcgetattr(fd).map_or(OutputFlags::empty(), |termios| termios.output_flags);
    let (rows, columns) = sys::winsize(fd).unwrap_or_default();
    json!({
        "isatty": true,
        "name": link(format!("/proc/self/fd/{}", fd.as_raw_fd())),
        "rows": rows,
        "columns": columns,
        "opost": flags.contains(OutputFlags::OPOST),
        "onlcr": flags.contains(OutputFlags::ONLCR),
    })
}

/// Every open descriptor but the one that lists them.
fn descriptors() -> Vec<Value> {
    let Ok(directory) = nix::dir::Dir::open("/proc/self/fd", nix::fcntl::OFlag::O_RDONLY, Mode::empty())
    else {
        return Vec::new();
    };
    let own = directory.as_fd().as_raw_fd();
    let mut numbers: Vec<i32> = directory
        .into_iter()
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
        .filter(|number| *number != own)
        .collect();
    numbers.sort_unstable();
    numbers
        .into_iter()
        .map(|number| json!({ "fd": number, "target": link(format!("/proc/self/fd/{number}")) }))
        .collect()
}

fn file_kind(meta: &fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_char_device() => "c",
        () if kind.is_block_device() => "b",
        () if kind.is_fifo() => "p",
        () if kind.is_socket() => "s",
        () if kind.is_symlink() => "l",
        () if kind.is_dir() => "d",
        () => "f",
    }
}

/// What `lstat` says of a file.
pub fn file(path: &Path) -> io::Result<Value> {
    let meta = fs::symlink_metadata(path)?;
    let mut out = json!({
        "path": path.to_string_lossy(),
        "type": file_kind(&meta),
        "mode": meta.mode() & 0o7777,
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "inode": meta.ino(),
        "device": format!("{}:{}", major(meta.dev()), minor(meta.dev())),
    });
    if matches!(file_kind(&meta), "c" | "b") {
        out["major"] = json!(major(meta.rdev()));
        out["minor"] = json!(minor(meta.rdev()));
    }
    if meta.is_symlink() {
        out["target"] = link(path);
    }
    Ok(out)
}

/// Everything in `/dev` (not below it), sorted.
fn devices() -> Vec<Value> {
    let Ok(entries) = fs::read_dir("/dev") else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().filter_map(|path| file(path).ok()).collect()
}

fn network_devices() -> Vec<String> {
    let mut names: Vec<String> = text("/proc/self/net/dev")
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect();
    names.sort();
    names
}

fn sysctls(names: &[String]) -> Value {
    let read = |name: &String| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        (name.clone(), or_error(fs::read_to_string(path).map(|value| value.trim_end().to_owned())))
    };
    Value::Object(names.iter().map(read).collect::<Map<_, _>>())
}

fn environment() -> Value {
    let lossy = |word: &OsStr| word.to_string_lossy().into_owned();
    Value::Object(std::env::vars_os().map(|(key, value)| (lossy(&key), json!(lossy(&value)))).collect())
}

fn nul_list(path: &str) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The whole report; `sysctl_names` are read in addition.
pub fn gather(sysctl_names: &[String]) -> Value {
    // First, so that nothing this function opens is in it.
    let open = descriptors();
    let status = text("/proc/self/status");
    let namespaces: Map<String, Value> =
        NAMESPACES.iter().map(|name| ((*name).to_owned(), link(format!("/proc/self/ns/{name}")))).collect();
    let read_only = statvfs("/").is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY));
    let hostname =
        unistd::gethostname().map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned());
    let signals = |key| parse::status_field(&status, key).to_owned();
    json!({
        "argv": std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "cwd": link("/proc/self/cwd"),
        "exe": link("/proc/self/exe"),
        "env": environment(),
        "environ": nul_list("/proc/self/environ"),
        "identity": identity(&status),
        "capabilities": capabilities(&status),
        "security": security(&status),
        "limits": parse::limits(&text("/proc/self/limits")),
        "schedule": schedule(),
        "namespaces": namespaces,
        "hostname": hostname,
        "domainname": text("/proc/sys/kernel/domainname"),
        "cgroup": text("/proc/self/cgroup").lines().collect::<Vec<_>>(),
        "mounts": parse::mountinfo(&text("/proc/self/mountinfo")),
        "root_readonly": read_only,
        "devices": devices(),
        "descriptors": open,
        "terminal": {
            "stdin": terminal(io::stdin().as_fd()),
            "stdout": terminal(io::stdout().as_fd()),
            "stderr": terminal(io::stderr().as_fd()),
        },
        "clocks": clocks(),
        "signals": { "blocked": signals("SigBlk"), "ignored": signals("SigIgn"), "caught": signals("SigCgt") },
        "network_devices": network_devices(),
        "pid1": { "argv": nul_list("/proc/1/cmdline"), "name": text("/proc/1/comm") },
        "sysctls": sysctls(sysctl_names),
    })
}
