//! Verbs of a hostile container: they try, in a loop with an end, what must not work.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::verbs::{Outcome, number, say};

/// Time left of the seconds in `args[at]`.
fn deadline(args: &[String], at: usize, what: &str) -> std::io::Result<Instant> {
    Ok(Instant::now() + Duration::from_secs_f64(number(args, at, what)?))
}

/// Whether an attack goes on: until its time is over, or `/enough` tells that nothing comes any more.
fn goes_on(end: Instant) -> bool {
    Instant::now() < end && !Path::new("/enough").exists()
}

/// Looks, until `/enough` is there, or for the given seconds, into the descriptors, the program and the directories of every other process of this pid
/// namespace, and says what it can reach of those that are not the probe: a runtime on its way into the container.
///
/// `snoop SECONDS`: prints `ready`, `sees` at the first process of the probe, then each find once, then how many processes of the probe it has seen meanwhile,
/// and how often it has looked at one.
pub fn snoop(args: &[String]) -> Outcome {
    let end = deadline(args, 0, "snoop SECONDS")?;
    let own = std::process::id();
    let mut found = std::collections::BTreeSet::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut looks = 0u64;
    say("ready")?;
    // Once at least.
    let mut on = true;
    while std::mem::replace(&mut on, goes_on(end)) {
        for pid in pids() {
            if pid == own {
                continue;
            }
            looks += 1;
            let at = format!("/proc/{pid}");
            let Ok(program) = fs::read_link(format!("{at}/exe")) else { continue };
            if program == Path::new("/bin/probe") {
                if seen.insert(pid) && seen.len() == 1 {
                    say("sees")?;
                }
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
    say(&format!("seen {}, {looks} looks", seen.len()))
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| std::str::from_utf8(entry.file_name().as_bytes()).ok()?.parse().ok()).collect()
}

/// Overwrites, until `/enough` is there, or for the given seconds, the program of every other process of this pid namespace that is not the probe: opens it while it
/// runs, and for writing as soon as it has ended.
///
/// `overwrite SECONDS`: prints `ready`, then how many programs it has opened and how many it has written to.
pub fn overwrite(args: &[String]) -> Outcome {
    let end = deadline(args, 0, "overwrite SECONDS")?;
    let own = std::process::id();
    let (mut opened, mut written) = (0u32, 0u32);
    say("ready")?;
    while goes_on(end) {
        for pid in pids() {
            let exe = format!("/proc/{pid}/exe");
            if pid == own || fs::read_link(&exe).is_ok_and(|program| program == Path::new("/bin/probe")) {
                continue;
            }
            // Its interpreter and libraries, where the kernel shows them.
            let maps = fs::read_dir(format!("/proc/{pid}/map_files")).into_iter().flatten().flatten();
            let maps: Vec<_> = maps.map(|entry| entry.path()).collect();
            for file in std::iter::once(Path::new(&exe).to_owned()).chain(maps) {
                let Ok(held) = fs::File::open(&file) else { continue };
                opened += 1;
                written += u32::from(write_when_it_has_ended(&held, end));
            }
        }
    }
    say(&format!("opened {opened}, written {written}"))
}

/// A file that is executed cannot be opened for writing (`ETXTBSY`): tries until it is not, for a while.
fn write_when_it_has_ended(held: &fs::File, end: Instant) -> bool {
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    let patience = end.min(Instant::now() + Duration::from_millis(200));
    while Instant::now() < patience {
        let mut open = fs::OpenOptions::new();
        match open.write(true).open(&path).and_then(|mut file| file.write_all(b"#!/the/attackers\n")) {
            Ok(()) => return true,
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => {}
            Err(_) => return false,
        }
    }
    false
}
