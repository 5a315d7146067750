//! Looks for what a container may have left behind.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One thing that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leak {
    /// A cgroup, by its directory.
    Cgroup(PathBuf),
    /// A line of our mountinfo.
    Mount(String),
    /// A process and its arguments.
    Process(i32, String),
    /// The container's state.
    State(PathBuf),
}

impl fmt::Display for Leak {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(out, "cgroup {}", path.display()),
            Self::Mount(line) => write!(out, "mount {line}"),
            Self::Process(pid, arguments) => write!(out, "process {pid} ({arguments})"),
            Self::State(path) => write!(out, "state {}", path.display()),
        }
    }
}

/// Whether `text` speaks of the container `id`, and not of one whose number only begins the same.
fn names(text: &str, id: &str) -> bool {
    text.match_indices(id)
        .any(|(at, _)| !text[at + id.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// Cgroups, in any hierarchy that is mounted, whose name has `id` in it.
fn cgroups(id: &str) -> Vec<Leak> {
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
                found.push(Leak::Cgroup(entry.path()));
            }
            to_do.push(entry.path());
        }
    }
    found
}

/// Mounts in the mount namespace of this thread below `directory`.
fn mounts(directory: &Path) -> Vec<Leak> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let shown = directory.to_string_lossy();
    text.lines().filter(|line| names(line, &shown)).map(|line| Leak::Mount(line.to_owned())).collect()
}

/// Processes with a mount from `directory` or with `id` in their arguments.
fn processes(id: &str, directory: &Path) -> Vec<Leak> {
    let shown = directory.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if pid == Pid::this().as_raw() {
            continue;
        }
        let read = |name: &str| {
            String::from_utf8_lossy(&fs::read(entry.path().join(name)).unwrap_or_default()).replace('\0', " ")
        };
        let arguments = read("cmdline");
        // A process in the host's mount namespace that bound our directory would be a mount leak, found above.
        if names(&arguments, id) || names(&read("mountinfo"), &shown) {
            found.push(Leak::Process(pid, arguments.trim().to_owned()));
        }
    }
    found
}

/// Everything of the container `id`, whose files are below `directory` and state below `state`.
pub fn find(id: &str, directory: &Path, state: &Path) -> Vec<Leak> {
    let mut found = cgroups(id);
    found.extend(mounts(directory));
    found.extend(processes(id, directory));
    if state.join(id).exists() {
        found.push(Leak::State(state.join(id)));
    }
    found
}

/// Whether the root of a process is a directory below `directory`: it is in a container of ours.
fn is_inside(pid: i32, directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        point == "/" && root.contains(&format!("/{name}/"))
    })
}

/// Removes what a container whose runtime does not do so has left, and its directory: processes are killed, mounts undone,
/// cgroups removed.
pub fn remove(id: &str, directory: &Path, state: &Path) {
    for leak in mounts(directory).iter().rev() {
        let Leak::Mount(line) = leak else { continue };
        if let Some(point) = line.split(' ').nth(4) {
            // What cannot be undone is left to who looks for leaks.
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
    for leak in find(id, directory, state) {
        if let Leak::Process(pid, arguments) = leak
            && (is_inside(pid, directory) || names(&arguments, id))
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    // A killed process is gone from its cgroup a moment later; the innermost groups go first.
    for _ in 0..200 {
        let groups = cgroups(id);
        for leak in groups.iter().rev() {
            if let Leak::Cgroup(path) = leak {
                let _ = fs::remove_dir(path);
            }
        }
        if groups.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = fs::remove_dir_all(directory);
}
