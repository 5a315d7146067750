//! `linux.devices`, the devices that every container has, and the links in `/dev`.

use super::compiler::{Input, Report, Steps};
use super::path::{c_path, clean};
use super::{ChildStep, Device, Namespace, c_string};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use std::path::{Path, PathBuf};

/// config-linux.md, "Default Devices": path, major, minor.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// config-linux.md, "Default Devices" and runtime-linux.md, "Dev symbolic links"; `/dev/core` by custom.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

const CAP_MKNOD: u32 = 27;

/// Whether the container's `/dev` is ours to fill: one that is bound from outside has what it has.
fn fills_dev(input: &Input<'_>) -> bool {
    let mut mounts = input.spec.mounts().iter().flatten();
    let bound = mounts.any(|m| {
        let option = |o: &String| o == "bind" || o == "rbind";
        let bind = m.typ().as_deref() == Some("bind") || m.options().iter().flatten().any(option);
        bind && clean(m.destination()) == Path::new("/dev")
    });
    !bound && (input.namespaces.has(Namespace::Mount) || may_make_nodes(input))
}

/// Whether mknod(2) is allowed: it never is in a user namespace.
fn may_make_nodes(input: &Input<'_>) -> bool {
    let facts = input.facts;
    !facts.in_user_namespace
        && !input.namespaces.has(Namespace::User)
        && facts.permitted & (1 << CAP_MKNOD) != 0
}

fn given<'a>(input: &Input<'a>) -> impl Iterator<Item = (usize, &'a LinuxDevice)> + use<'a> {
    let linux = input.spec.linux().as_ref();
    linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten().enumerate()
}

/// Paths of everything that is made, for the mounts below which it is made.
pub(super) fn paths(input: &Input<'_>) -> Vec<PathBuf> {
    if !fills_dev(input) {
        return Vec::new();
    }
    let own = given(input).map(|(_, device)| clean(device.path()));
    own.chain(DEFAULT.iter().map(|(path, ..)| path.into())).collect()
}

/// Makes the nodes, then the links.
pub(super) fn compile(input: &Input<'_>, steps: &mut Steps, report: &mut Report) {
    if !fills_dev(input) {
        if given(input).next().is_some() {
            let why = if input.namespaces.has(Namespace::Mount) {
                "/dev is a bind mount, which brings its own devices"
            } else {
                "there is neither a mount namespace to bind them in nor the right to make them"
            };
            report.warn("linux.devices", format_args!("not made: {why}"));
        }
        return;
    }
    let bind = !may_make_nodes(input);
    let overridden = |path: &str| given(input).any(|(_, d)| clean(d.path()) == Path::new(path));
    for (path, major, minor) in DEFAULT {
        if !overridden(path) {
            let device = Device {
                path: c_string(path),
                mode: libc::S_IFCHR | 0o666,
                dev: libc::makedev(major, minor),
                uid: 0,
                gid: 0,
                bind,
            };
            steps.push(ChildStep::Device(device), "default devices");
        }
    }
    for (index, device) in given(input) {
        let at = format!("linux.devices[{index}]");
        steps.push(ChildStep::Device(compile_one(device, bind, &at, report)), at);
    }
    let terminal = input.spec.process().as_ref().and_then(oci_spec::runtime::Process::terminal);
    if !overridden("/dev/null") && terminal != Some(true) {
        steps.push(ChildStep::OwnNull, "standard streams");
    }
    for (path, target) in LINKS {
        let known = path != "/dev/core" || input.facts.kcore;
        if known && !overridden(path) {
            let step = ChildStep::Symlink { target: c_string(target), path: c_string(path) };
            steps.push(step, "default symbolic links");
        }
    }
}

fn compile_one(device: &LinuxDevice, bind: bool, at: &str, report: &mut Report) -> Device {
    let (kind, fifo) = match device.typ() {
        LinuxDeviceType::B => (libc::S_IFBLK, false),
        LinuxDeviceType::P => (libc::S_IFIFO, true),
        LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => (libc::S_IFCHR, false),
    };
    // The loader has checked the ranges.
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    let dev = if fifo { 0 } else { libc::makedev(number(device.major()), number(device.minor())) };
    let owned = device.uid().is_some_and(|id| id != 0) || device.gid().is_some_and(|id| id != 0);
    // A FIFO is no device to the kernel: anybody may make one.
    let bind = bind && !fifo;
    if bind && (owned || device.file_mode().is_some_and(|mode| mode & 0o777 != 0o666)) {
        report.warn(
            at,
            "mode and owner stay those of the host's node, which is bound: no node can be made here",
        );
    }
    Device {
        path: c_path(&clean(device.path())),
        mode: kind | (device.file_mode().unwrap_or(0o666) & 0o7777),
        dev,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        bind,
    }
}
