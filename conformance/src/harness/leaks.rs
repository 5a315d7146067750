//! Looks for what a container may have left behind.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether `text` speaks of the container `id`, and not of one whose number only begins the same.
fn names(text: &str, id: &str) -> bool {
    text.match_indices(id)
        .any(|(at, _)| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// Cgroups, in any hierarchy that is mounted, whose name has `id` in it.
fn cgroups(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut to_do: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, right)| right.starts_with("cgroup"))
        .filter_map(|(left, _)| left.split(' ').nth(4).map(PathBuf::from))
        .collect();
    while let Some(directory) = to_do.pop() {
        // Another test's cgroup may vanish between being listed and being read.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if names(&entry.file_name().to_string_lossy(), id) {
                found.push(format!("cgroup {}", entry.path().display()));
            }
            to_do.push(entry.path());
        }
    }
    found
}

/// Mounts in this mount namespace below `directory`.
fn mounts(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let shown = directory.to_string_lossy();
    text.lines().filter(|line| names(line, &shown)).map(|line| format!("mount {line}")).collect()
}

/// Processes with a mount from `directory` or with `id` in their arguments.
fn processes(id: &str, directory: &Path) -> Vec<String> {
    let shown = directory.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if pid == std::process::id() {
            continue;
        }
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(entry.path().join(name)).unwrap_or_default()).replace('\0', " ")
        };
        let arguments = read("cmdline");
        // A process in the host's mount namespace that bound our directory would be a mount leak, found above.
        if names(&arguments, id) || names(&read("mountinfo"), &shown) {
            found.push(format!("process {pid} ({})", arguments.trim()));
        }
    }
    found
}

/// Everything of the container `id`, whose files are below `directory` and state below `state`.
pub fn find(id: &str, directory: &Path, state: &Path) -> Vec<String> {
    let mut found = cgroups(id);
    found.extend(mounts(directory));
    found.extend(processes(id, directory));
    if state.join(id).exists() {
        found.push(format!("state {}", state.join(id).display()));
    }
    found
}
