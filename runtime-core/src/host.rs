//! What the compiler must know of the host, gathered with few system calls.

use crate::cgroup;
use crate::cgroup::systemd::{self, Systemd};
use crate::error::{Error, ErrorKind};
use crate::launch::idmap::helpers_installed;
use crate::plan::HostFacts;
use nix::unistd::{getegid, geteuid};
use oci_spec::runtime::{Process, Spec};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const CAP_SYS_ADMIN: u32 = 21;

/// What `/proc/self/uid_map` says in the first user namespace: every id is itself.
const ALL_IDS: [&str; 3] = ["0", "0", "4294967295"];

/// Gathers the facts that `spec` makes the plan depend on; with `systemd_cgroup` also where systemd is.
///
/// # Errors
/// When the hierarchies of cgroups, or what we may do ourselves, cannot be found out.
pub fn gather(spec: &Spec, systemd_cgroup: bool) -> Result<HostFacts, Error> {
    let (cgroups, own_cgroups) = cgroup::detect()?;
    let own = OwnStatus::read()?;
    let euid = geteuid().as_raw();
    let in_user_namespace = in_user_namespace(&own_uid_map()?);
    let process = spec.process().as_ref();
    let mount_label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_ref());
    Ok(HostFacts {
        kernel: kernel(),
        euid,
        egid: getegid().as_raw(),
        permitted: own.permitted,
        bounding: own.bounding,
        privileged: own.privileged,
        in_user_namespace,
        // Root writes the maps itself.
        map_helpers: euid != 0 && helpers_installed(),
        cgroups,
        own_cgroups,
        systemd: if systemd_cgroup {
            systemd::find(euid != 0 || in_user_namespace)
        } else {
            Systemd::NotAsked
        },
        // Most bundles do not ask.
        apparmor: process.is_some_and(|p| p.apparmor_profile().is_some()) && apparmor(),
        selinux: (process.is_some_and(|p| p.selinux_label().is_some()) || mount_label.is_some()) && selinux(),
        kcore: Path::new("/proc/kcore").exists(),
        ignored_signals: own.ignored_signals,
    })
}

/// Gathers what the plan of a process in a running container depends on, which is less.
///
/// # Errors
/// When it cannot be found out what we may do ourselves.
pub(crate) fn gather_for(process: &Process) -> Result<HostFacts, Error> {
    let own = OwnStatus::read()?;
    Ok(HostFacts {
        kernel: kernel(),
        euid: geteuid().as_raw(),
        egid: getegid().as_raw(),
        permitted: own.permitted,
        bounding: own.bounding,
        privileged: own.privileged,
        in_user_namespace: false,
        map_helpers: false,
        cgroups: cgroup::Layout::None,
        own_cgroups: cgroup::OwnCgroups::default(),
        systemd: Systemd::NotAsked,
        apparmor: process.apparmor_profile().is_some() && apparmor(),
        selinux: process.selinux_label().is_some() && selinux(),
        kcore: false,
        ignored_signals: own.ignored_signals,
    })
}

/// What this process may do, and what it ignores.  Not to know it is an error: taken for none, a container would silently have no
/// capabilities.
struct OwnStatus {
    permitted: u64,
    bounding: u64,
    privileged: bool,
    ignored_signals: u64,
}

impl OwnStatus {
    fn read() -> Result<Self, Error> {
        const PATH: &str = "/proc/self/status";
        let status = slurp(PATH).map_err(|e| Error::because(ErrorKind::Host, format!("read {PATH}"), e))?;
        let status = String::from_utf8_lossy(&status);
        let set = |name| {
            let missing = || Error::new(ErrorKind::Host, format!("read {PATH}: it has no line {name}"));
            bits(&status, name).ok_or_else(missing)
        };
        Ok(Self {
            permitted: set("CapPrm:")?,
            bounding: set("CapBnd:")?,
            privileged: set("CapEff:")? & (1 << CAP_SYS_ADMIN) != 0,
            ignored_signals: set("SigIgn:")?,
        })
    }
}

/// The map of our user namespace; empty where user namespaces are not built in, and there is no file.
fn own_uid_map() -> Result<String, Error> {
    const PATH: &str = "/proc/self/uid_map";
    match slurp(PATH) {
        Ok(map) => Ok(String::from_utf8_lossy(&map).into_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::because(ErrorKind::Host, format!("read {PATH}"), e)),
    }
}

pub(crate) fn apparmor() -> bool {
    read("/sys/module/apparmor/parameters/enabled").starts_with('Y')
}

pub(crate) fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Major and minor; a release that is not to be understood is taken for the oldest that is supported, so that the kernel, not
/// we, refuses what it lacks.
pub(crate) fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname();
    let release = release.as_ref().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default();
    parse_release(&release).unwrap_or((5, 10))
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A set that proc_pid_status(5) shows in hexadecimal digits.
fn bits(status: &str, name: &str) -> Option<u64> {
    let field = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(field.trim(), 16).ok()
}

fn in_user_namespace(map: &str) -> bool {
    // Where user namespaces are not built in, there is no file, and no namespace to be in.
    !map.is_empty() && !map.split_whitespace().eq(ALL_IDS)
}

/// What a small file of the kernel says; nothing when it is not there.
fn read(path: &str) -> String {
    slurp(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// Reads a file of the kernel's, whose size is never known beforehand: in few calls, where std asks for the size and then reads by
/// the dozen of bytes.
pub(crate) fn slurp(path: &str) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut text = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(text),
            n => text.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse_release("6.18.0-rc1-custom"), Some((6, 18)));
        assert_eq!(parse_release("5.10"), Some((5, 10)));
        assert_eq!(parse_release("6"), None);
        assert_eq!(parse_release("linux"), None);
    }

    #[test]
    fn sets_and_maps() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000200000\n";
        assert_eq!(bits(status, "CapPrm:"), Some(0x1ff_ffff_ffff));
        assert_eq!(bits(status, "CapEff:"), Some(1 << CAP_SYS_ADMIN));
        assert_eq!(bits(status, "CapBnd:"), None);
        assert!(!in_user_namespace("         0          0 4294967295\n"));
        assert!(in_user_namespace("         0       1000          1\n"));
        assert!(!in_user_namespace(""));
    }

    #[test]
    fn the_facts_of_this_host() {
        let facts = gather(&Spec::default(), false).unwrap();
        assert!(facts.kernel >= (5, 10), "{:?}", facts.kernel);
        assert_eq!(facts.euid, geteuid().as_raw());
        assert_eq!(facts.permitted & !facts.bounding & !facts.permitted, 0);
        assert!(facts.privileged || facts.euid != 0 || facts.permitted == 0 || facts.in_user_namespace);
    }
}
