//! What the tests stand on: a bundle of its own for every test, the runtime under test, and the proof that
//! nothing was left behind.
//!
//! - `ORLOP_RUNTIME`: the runtime (default: the `orlop` built beside the test).
//! - `ORLOP_RUNTIME_ARGS`: further global arguments for it, separated by blanks.
//! - `ORLOP_RUNTIME_BY`: a program, with arguments, that the runtime is executed by: `deny 5.10` runs every test with the system calls of
//!   Linux 5.10.
//! - `ORLOP_PROBE`: the probe (default: the one built beside the test).
//! - `ORLOP_PATIENCE`: by how much waiting for something is stretched, on a slow machine.
//! - `ORLOP_LEAKS_ARE_FINE`: what a container leaves behind fails no test at its end, where other runtimes are looked at for something else.
//! - `ORLOP_NO_SKIP`: a skip becomes a failure, for machines that are meant to run everything.

mod container;
mod groups;
pub mod leaks;
mod output;
mod terminal;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use container::{Container, NOBODY};
pub use groups::{Groups, on_v2_alone};
pub use output::{Output, without_cgroup_warning};
pub use terminal::{Console, ConsoleSocket, Foreground};

/// The program under test, by the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// runc, the reference the tests were first held to.
    Runc,
    /// crun.
    Crun,
    /// Ours, and any other.
    Other,
}

/// A file beside the running test, or one directory up (tests live in `deps`).
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the running test has a path");
    let candidates = own.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    candidates.clone().find(|path| path.is_file()).unwrap_or_else(|| {
        let tried: Vec<_> = candidates.map(|path| path.display().to_string()).collect();
        panic!(
            "{name} is not built: none of {} exists (cargo build -p orlop -p conformance)",
            tried.join(", ")
        )
    })
}

/// The runtime under test.
pub fn runtime_path() -> PathBuf {
    std::env::var_os("ORLOP_RUNTIME").map_or_else(|| beside("orlop"), PathBuf::from)
}

/// The probe that fills root file systems.
pub fn probe_path() -> PathBuf {
    std::env::var_os("ORLOP_PROBE").map_or_else(|| beside("probe"), PathBuf::from)
}

/// The words that execute a program with some system calls denied, as the `deny` program understands them.
pub fn deny(rules: &str) -> Vec<String> {
    vec![beside("deny").to_string_lossy().into_owned(), rules.to_owned()]
}

/// Whether the runtime is executed with system calls denied (`ORLOP_RUNTIME_BY`).
#[must_use]
pub fn is_denied() -> bool {
    std::env::var("ORLOP_RUNTIME_BY").is_ok_and(|by| by.contains("deny"))
}

/// Whether the runtime under test has `mount_setattr(2)` (Linux 5.12).
#[must_use]
pub fn has_mount_setattr() -> bool {
    !is_denied() && crate::sys::has_mount_setattr()
}

/// [`has_mount_setattr`]; skips the test when not.
#[must_use]
pub fn require_mount_setattr() -> bool {
    let there = has_mount_setattr();
    if !there {
        skip("needs mount_setattr(2)");
    }
    there
}

/// Which runtime is under test.
pub fn kind() -> Kind {
    match runtime_path().file_name().and_then(|name| name.to_str()) {
        Some("runc") => Kind::Runc,
        Some("crun") => Kind::Crun,
        _ => Kind::Other,
    }
}

/// Says, past the capture of test output, that a test did not run and why.
///
/// # Panics
/// When `ORLOP_NO_SKIP` is set.
pub fn skip(reason: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let current = thread::current();
    let name = current.name().unwrap_or("?");
    assert!(std::env::var_os("ORLOP_NO_SKIP").is_none(), "{name} may not be skipped here: {reason}");
    // Not eprintln!, which the test harness would swallow; in one piece, because tests run side by side; and a closed
    // standard error is nobody's concern.
    let _ = std::io::stderr().write_all(format!("SKIP {count}: {name}: {reason}\n").as_bytes());
}

/// Whether this process is root; skips the test when not.
#[must_use]
pub fn require_root() -> bool {
    let root = is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Whether containers of ours get cgroups whose limits can be set: root's do, and those of an ordinary user who has a manager of
/// units, which the runtime is told to ask; skips the test when not.
#[must_use]
pub fn require_cgroups() -> bool {
    let there = is_root() || asks_systemd();
    if !there {
        skip("needs cgroups: root, or a user's own systemd");
    }
    there
}

/// Whether the runtime is told, for every test, to ask systemd for its cgroups (`ORLOP_RUNTIME_ARGS`).
#[must_use]
pub fn asks_systemd() -> bool {
    std::env::var("ORLOP_RUNTIME_ARGS").is_ok_and(|args| args.contains(container::SYSTEMD))
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Skips a test that asks more than the reference runtime gives; `true` when it was skipped.
#[must_use]
pub fn beyond_runc(what: &str) -> bool {
    let runc = kind() == Kind::Runc;
    if runc {
        skip(&format!("runc differs: {what}"));
    }
    runc
}

/// Whether a program can be found in PATH; skips the test when not.
#[must_use]
pub fn require_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    if !found {
        skip(&format!("needs {name}"));
    }
    found
}

/// A time that is long enough on an ordinary machine, stretched for this one.
#[must_use]
pub fn patience(ordinary: Duration) -> Duration {
    let factor = std::env::var("ORLOP_PATIENCE").ok().and_then(|factor| factor.parse().ok());
    ordinary * factor.unwrap_or(1)
}

/// Whether the hierarchy of a line of `/proc/PID/cgroup` is mounted: one that is not has no group for a container.
#[must_use]
pub fn is_mounted_hierarchy(line: &str) -> bool {
    let label = line.split(':').nth(1).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut options =
        mounts.lines().filter_map(|line| line.split_once(" - cgroup")).map(|(_, options)| options);
    label.is_empty()
        || options
            .any(|options| label.split(',').all(|c| options.split([' ', ',']).any(|option| option == c)))
}

/// Waits until something holds.
///
/// # Panics
/// When it does not within half a minute, stretched by `ORLOP_PATIENCE`.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = patience(Duration::from_secs(30));
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}
