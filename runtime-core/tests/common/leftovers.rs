//! What a container may have left behind, and whether systemd keeps its cgroups (`ORLOP_RUNTIME_ARGS`, as for the conformance
//! tests).

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Containers are to be units of systemd's.
pub fn systemd_cgroup() -> bool {
    std::env::var("ORLOP_RUNTIME_ARGS").is_ok_and(|args| args.contains("--systemd-cgroup"))
}

fn patience() -> Duration {
    let factor = std::env::var("ORLOP_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(20) * factor.unwrap_or(1)
}

/// Asserts that no cgroup, no unit and no state of a container is there.
pub fn assert_none(state: &Path, id: &str, when: &str) {
    assert!(!state.join(id).exists(), "{when}: state is left");
    let groups = cgroups_named(id);
    assert!(groups.is_empty(), "{when}: {groups:?} is left");
    if !systemd_cgroup() {
        return;
    }
    // The description of a unit that was asked for by a program lasts as long as the unit, which systemd drops a moment after its end.
    let run = std::env::var("XDG_RUNTIME_DIR").ok().filter(|_| !nix::unistd::geteuid().is_root());
    let unit =
        Path::new(run.as_deref().unwrap_or("/run")).join(format!("systemd/transient/orlop-{id}.scope"));
    let deadline = Instant::now() + patience();
    while unit.exists() {
        assert!(Instant::now() < deadline, "{when}: {} is left", unit.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn cgroups_named(id: &str) -> Vec<PathBuf> {
    let unit = format!("orlop-{id}.scope");
    let mut found = Vec::new();
    let mut left = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                if name == id || name.to_string_lossy() == unit {
                    found.push(entry.path());
                }
                left.push(entry.path());
            }
        }
    }
    found
}

/// Reaps what a killed runtime has left to us, its subreaper; all of it must be dead by now, or about to be.
pub fn no_orphans(when: &str) {
    let deadline = Instant::now() + patience();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(nix::Error::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {
                assert!(Instant::now() < deadline, "{when}: a process is left");
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => {}
        }
    }
}
