//! What this host offers, and lacks, for which feature: `orlop check`.
//!
//! Where it can be tried without leaving a trace it is tried: a kernel's version says little of what a distribution, a container
//! around us, or a filter lets through.

use crate::cgroup::{self, Layout};
use crate::host;
use crate::plan::Namespace;
use crate::sys::{self, CloneArgs, Fd, MountAttr};
use serde::Serialize;
use std::path::Path;

/// How a feature stands on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is there.
    Ok,
    /// It is not, or in part; containers that do not ask for it run all the same.
    Lacking,
    /// It is not, and no container runs without.
    Missing,
}

/// One feature.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub feature: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What is lost, and what to do about it; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

fn finding(feature: &'static str, good: bool, found: impl Into<String>, advice: &'static str) -> Finding {
    let verdict = if good { Verdict::Ok } else { Verdict::Lacking };
    Finding { feature, verdict, found: found.into(), advice: (!good).then_some(advice) }
}

fn needed(mut finding: Finding) -> Finding {
    if finding.verdict == Verdict::Lacking {
        finding.verdict = Verdict::Missing;
    }
    finding
}

/// Looks at everything.
#[must_use]
pub fn check() -> Vec<Finding> {
    let mut findings = vec![kernel()];
    findings.extend(calls());
    findings.push(namespaces());
    findings.push(containers());
    findings.extend(rootless());
    findings.extend(cgroups());
    findings.push(seccomp());
    findings.extend(security());
    findings.extend(surroundings());
    findings
}

/// Whether a container can run, by what [`check`] has found.
#[must_use]
pub fn can_run(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.verdict != Verdict::Missing)
}

fn kernel() -> Finding {
    let (major, minor) = host::kernel();
    let found = format!("Linux {major}.{minor}");
    needed(finding("kernel", (major, minor) >= (5, 10), found, "Linux 5.10 or later is needed"))
}

/// Calls, each made in a way that does nothing: what matters is whether the kernel knows it.
fn calls() -> Vec<Finding> {
    let known = |result: sys::Result<()>| !matches!(result, Err(e) if e.errno == libc::ENOSYS);
    let nowhere = Fd(-1);
    let openat2 = sys::openat2(Fd::CWD, c".", libc::O_PATH, 0, 0).map(sys::own).map(drop);
    let pidfd = sys::pidfd_open(sys::getpid()).map(drop);
    let mounts = sys::fsconfig_create(nowhere);
    let close_range = sys::close_range(u32::MAX, u32::MAX, 0);
    let attributes = sys::mount_setattr(nowhere, false, &MountAttr::default());
    let found = |good: bool| if good { "there" } else { "not there, or denied by a filter around us" };
    let call = |feature, result, advice| {
        let good = known(result);
        finding(feature, good, found(good), advice)
    };
    vec![
        needed(call("openat2", openat2, "Linux 5.6 or later is needed")),
        needed(call("pidfd_open", pidfd, "Linux 5.3 or later is needed")),
        needed(call("fsconfig and the new mount calls", mounts, "Linux 5.2 or later is needed")),
        needed(call("close_range", close_range, "Linux 5.9 or later is needed")),
        call(
            "mount_setattr",
            attributes,
            "no id-mapped mounts, no rro and the like, and a slower protection of the runtime's binary: Linux 5.12",
        ),
    ]
}

fn namespaces() -> Finding {
    let there = |kind: &Namespace| Path::new(&format!("/proc/self/ns/{}", kind.file())).exists();
    let lacking: Vec<&str> = Namespace::ALL.iter().filter(|k| !there(k)).map(|k| k.name()).collect();
    let found =
        if lacking.is_empty() { "all eight kinds".to_owned() } else { format!("not {}", lacking.join(", ")) };
    let advice = "containers that ask for these are refused: the kernel was built without them";
    let finding = finding("namespaces", lacking.is_empty(), found, advice);
    if lacking.iter().any(|kind| matches!(*kind, "mount" | "pid")) { needed(finding) } else { finding }
}

/// Makes the namespaces of a usual container in a process that ends at once.
fn containers() -> Finding {
    let usual = [Namespace::Mount, Namespace::Pid, Namespace::Uts, Namespace::Ipc];
    let usual = usual.iter().fold(0, |flags, kind| flags | kind.flag());
    let privileged = makes(usual);
    let by_user = privileged.is_err().then(|| makes(usual | libc::CLONE_NEWUSER));
    let (good, found) = match (&privileged, &by_user) {
        (Ok(()), _) => (true, "can be made with the rights at hand".to_owned()),
        (_, Some(Ok(()))) => (true, "can be made in a new user namespace".to_owned()),
        (_, Some(Err(e))) | (Err(e), None) => (false, e.reason().to_string()),
    };
    needed(finding(
        "a container's namespaces",
        good,
        found,
        "no right to make them: run as root, or allow user namespaces (see \"user namespaces\")",
    ))
}

/// Whether a process in these new namespaces can be made.
fn makes(flags: i32) -> sys::Result<()> {
    let args = CloneArgs { flags: u64::from(flags.cast_unsigned()), ..CloneArgs::default() };
    let child = sys::clone3(&args, || sys::exit(0))?;
    sys::wait_child(Fd::from(&child.pidfd), 0).map(drop)
}

fn rootless() -> Vec<Finding> {
    let limit = read("/proc/sys/user/max_user_namespaces");
    let tried = makes(libc::CLONE_NEWUSER);
    let found = match &tried {
        Ok(()) => "can be made".to_owned(),
        Err(e) => format!("{} (user.max_user_namespaces = {})", e.reason(), limit.trim()),
    };
    let uid = nix::unistd::getuid().to_string();
    let passwd = read("/etc/passwd");
    let is_ours = |line: &&str| line.split(':').nth(2) == Some(uid.as_str());
    let user = passwd.lines().find(is_ours).and_then(|line| line.split(':').next());
    let has = |file: &str| {
        read(file).lines().any(|line| {
            let name = line.split(':').next().unwrap_or_default();
            name == uid || user == Some(name)
        })
    };
    let (ranges, helpers) =
        (has("/etc/subuid") && has("/etc/subgid"), crate::launch::idmap::helpers_installed());
    let root = nix::unistd::geteuid().is_root();
    let found_ids = match (ranges, helpers) {
        _ if root => "not needed by root",
        (true, true) => "in /etc/subuid and /etc/subgid, with newuidmap and newgidmap",
        (true, false) => "in /etc/subuid and /etc/subgid, but newuidmap or newgidmap is not installed",
        (false, _) => "none in /etc/subuid and /etc/subgid",
    };
    vec![
        finding(
            "user namespaces",
            tried.is_ok(),
            found,
            "no rootless containers, and none with a user namespace: sysctl user.max_user_namespaces, or a rule of AppArmor's",
        ),
        finding(
            "subordinate ids",
            root || (ranges && helpers),
            found_ids,
            "rootless containers have one id only: install uidmap and add a range with usermod --add-subuids, --add-subgids",
        ),
    ]
}

fn cgroups() -> Vec<Finding> {
    let detected = cgroup::detect();
    let Ok((layout, _)) = detected else {
        return vec![finding("cgroups", false, "cannot be looked at", "containers run without limits")];
    };
    let name = match &layout {
        Layout::V2(_) => "version 2",
        Layout::Hybrid { .. } => "version 1, with version 2 beside it",
        Layout::V1(_) => "version 1",
        Layout::None => "none mounted",
    };
    let v2 = layout.v2().map(|mount| read(&mount.mount_point.join("cgroup.controllers").to_string_lossy()));
    let labels = layout.v1().iter().map(|hierarchy| hierarchy.label.clone());
    let controllers: Vec<String> =
        labels.chain(v2.iter().flat_map(|text| text.split_whitespace().map(str::to_owned))).collect();
    let lacking: Vec<&str> = ["cpu", "memory", "pids", "cpuset"]
        .into_iter()
        .filter(|wanted| !controllers.iter().any(|c| c.split(',').any(|c| c == *wanted)))
        .collect();
    let words = if lacking.is_empty() {
        controllers.join(" ")
    } else {
        format!("{} (not {})", controllers.join(" "), lacking.join(", "))
    };
    vec![
        finding(
            "cgroups",
            layout != Layout::None,
            name,
            "containers run without limits, and are harder to find and kill",
        ),
        finding("cgroup controllers", lacking.is_empty(), words, "limits of the lacking ones are refused"),
    ]
}

fn seccomp() -> Finding {
    let actions = read("/proc/sys/kernel/seccomp/actions_avail");
    let found = if actions.is_empty() { "not in this kernel" } else { actions.trim() };
    finding("seccomp", actions.contains("errno"), found, "a config.json with linux.seccomp is refused")
}

fn security() -> Vec<Finding> {
    let word = |on: bool| if on { "enabled" } else { "not enabled" };
    let (apparmor, selinux) = (host::apparmor(), host::selinux());
    vec![
        finding("AppArmor", apparmor, word(apparmor), "process.apparmorProfile is refused"),
        finding("SELinux", selinux, word(selinux), "process.selinuxLabel and linux.mountLabel are refused"),
    ]
}

fn surroundings() -> Vec<Finding> {
    let resctrl = read("/proc/self/mountinfo").lines().any(|line| line.contains(" - resctrl "));
    let runtime_dir = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let buses = ["/run/systemd/private".to_owned(), format!("{runtime_dir}/systemd/private")];
    let bus = buses.iter().find(|bus| Path::new(bus.as_str()).exists());
    let ptmx = sys::openat(Fd::CWD, c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY, 0).map(sys::own);
    let terminal = match &ptmx {
        Ok(_) => "/dev/ptmx".to_owned(),
        Err(e) => format!("/dev/ptmx: {}", e.reason()),
    };
    vec![
        finding(
            "resctrl (Intel RDT)",
            resctrl,
            if resctrl { "mounted" } else { "not mounted" },
            "linux.intelRdt is refused: a CPU with RDT, and mount -t resctrl resctrl /sys/fs/resctrl",
        ),
        criu(),
        finding(
            "systemd",
            bus.is_some(),
            bus.map_or("no socket of systemd's", String::as_str),
            "cgroups through systemd (--systemd-cgroup) cannot be had",
        ),
        finding(
            "terminals",
            ptmx.is_ok(),
            terminal,
            "a terminal of the host's own is not there; containers have theirs",
        ),
    ]
}

fn criu() -> Finding {
    let (good, found) = match crate::criu() {
        Ok(info) => {
            (info.too_old_for.is_none(), format!("{}, version {}", info.path.display(), info.version))
        }
        Err(e) => (false, e.to_string()),
    };
    finding("CRIU", good, found, "no checkpoint and restore: CRIU 3.16 or later, in PATH")
}

/// What a small file says; nothing when it is not there.
fn read(path: &str) -> String {
    host::slurp(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_runs_the_tests_can_run_a_container() {
        let findings = check();
        assert!(can_run(&findings), "{findings:#?}");
        let names: std::collections::BTreeSet<_> = findings.iter().map(|finding| finding.feature).collect();
        assert_eq!(names.len(), findings.len());
        for finding in &findings {
            assert_eq!(finding.advice.is_none(), finding.verdict == Verdict::Ok, "{finding:?}");
            assert!(!finding.found.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn what_is_needed_and_not_there_stops_everything() {
        let lacking = finding("x", false, "y", "z");
        assert!(can_run(std::slice::from_ref(&lacking)));
        assert!(!can_run(&[needed(lacking)]));
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        // A new pid namespace that shares its threads' signals is refused by every kernel.
        let error = makes(libc::CLONE_NEWPID | libc::CLONE_SIGHAND).unwrap_err();
        assert_eq!(error.errno, libc::EINVAL);
    }
}
