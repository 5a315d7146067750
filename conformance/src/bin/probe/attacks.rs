//! Verbs of a hostile container: they try, in a loop with an end, what must not work.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::verbs::{Outcome, number, say};

/// Time left of the seconds in `args[at]`.
fn deadline(args: &[String], at: usize, what: &str) -> std::io::Result<Instant> {
    Ok(Instant::now() + Duration::from_secs_f64(number(args, at, what)?))
}

/// Looks, for the given seconds, into the descriptors, the program and the directories of every other process of this pid
/// namespace, and says what it can reach of those that are not the probe: a runtime on its way into the container.
///
/// `snoop SECONDS`: prints `ready`, then each find once, then how many processes of the probe it has seen meanwhile.
pub fn snoop(args: &[String]) -> Outcome {
    let end = deadline(args, 0, "snoop SECONDS")?;
    let own = std::process::id();
    let mut found = std::collections::BTreeSet::new();
    let mut seen = std::collections::BTreeSet::new();
    say("ready")?;
    while Instant::now() < end {
        for pid in pids() {
            if pid == own {
                continue;
            }
            let at = format!("/proc/{pid}");
            let Ok(program) = fs::read_link(format!("{at}/exe")) else { continue };
            if program == Path::new("/bin/probe") {
                seen.insert(pid);
                continue;
            }
            let mut finds = vec![format!("program {}", program.display())];
            for name in ["cwd", "root"] {
                if let Ok(target) = fs::read_link(format!("{at}/{name}")) {
                    finds.push(format!("{name} {}", target.display()));
                }
            }
            for fd in fs::read_dir(format!("{at}/fd")).into_iter().flatten().flatten() {
                if let Ok(target) = fs::read_link(fd.path()) {
                    finds.push(format!("fd {}", target.display()));
                }
            }
            // It may have executed the probe between two looks.
            if fs::read_link(format!("{at}/exe")).is_ok_and(|now| now == program) {
                found.extend(finds);
            }
        }
    }
    for find in &found {
        say(&format!("reached: {find}"))?;
    }
    say(&format!("seen {}", seen.len()))
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok()).collect()
}

/// Exchanges two names for the given seconds, as fast as it can: `swap A B SECONDS`.
pub fn swap(args: &[String]) -> Outcome {
    let what = "swap A B SECONDS";
    let end = deadline(args, 2, what)?;
    let mut count = 0u64;
    say("ready")?;
    while Instant::now() < end {
        for _ in 0..64 {
            // What is gone at this moment may come back.
            let _ = renameat2(
                AT_FDCWD,
                args[0].as_str(),
                AT_FDCWD,
                args[1].as_str(),
                RenameFlags::RENAME_EXCHANGE,
            );
        }
        count += 64;
    }
    say(&format!("swapped {count}"))
}
