//! config-linux.md, "Cgroups Path": where a container's cgroups are, and that they go away with it, however many there are.

use std::fs;
use std::path::PathBuf;

use conformance::harness::{
    Container, Groups, asks_systemd, beyond_runc, is_mounted_hierarchy, require_cgroups, require_root, skip,
};
use serde_json::json;

/// The cgroup directories of this host whose path ends in `path`.
fn directories(path: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let text = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if right.starts_with("cgroup") {
            let point = left.split(' ').nth(4).unwrap_or_default();
            let directory = PathBuf::from(format!("{point}{path}"));
            found.extend(directory.is_dir().then_some(directory));
        }
    }
    found
}

/// Whether `linux.cgroupsPath` is a path, and not what systemd is told; skips the test when not.
fn paths_are_paths() -> bool {
    let paths = !asks_systemd();
    if !paths {
        skip("linux.cgroupsPath names a unit");
    }
    paths
}

/// "In the case of an absolute path … the runtime MUST take the path to be relative to the cgroups mount point."
#[test]
fn an_absolute_path_is_below_the_mount_point() {
    if !require_root() || !paths_are_paths() {
        return;
    }
    let mut container = Container::new();
    let path = format!("/own-{}", container.id);
    container.config["linux"]["cgroupsPath"] = json!(path);
    container.launch_trap(&["TERM"]);
    let pid = container.state()["pid"].to_string();
    let all = directories(&path);
    assert!(!all.is_empty());
    for directory in &all {
        let members = fs::read_to_string(directory.join("cgroup.procs")).expect("a cgroup");
        assert_eq!(members.trim(), pid, "{}", directory.display());
    }
    container.delete(&["--force"]).ok();
    assert_eq!(directories(&path), Vec::<PathBuf>::new());
}

/// "the runtime MUST consistently attach to the same place … given the same value of cgroupsPath."
#[test]
fn a_relative_path_means_one_place() {
    if !require_root() || !paths_are_paths() {
        return;
    }
    let mut places = Vec::new();
    let mut container = Container::new();
    let path = format!("own-{}", container.id);
    container.config["linux"]["cgroupsPath"] = json!(path);
    for _ in 0..2 {
        places.push(container.report()["cgroup"].clone());
    }
    assert_eq!(places[0], places[1]);
    assert!(places[0].to_string().contains(&path), "{}", places[0]);
}

/// A path cannot lead out of the hierarchy.
#[test]
fn a_path_with_dots_stays_in_the_hierarchy() {
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    let path = format!("/../../own-{}", container.id);
    container.config["linux"]["cgroupsPath"] = json!(path);
    container.args(&["probe", "true"]);
    // To refuse it and to take it for the path without the dots are both safe.
    let _ = container.run();
    assert!(!PathBuf::from(format!("/sys/fs/cgroup/own-{}", container.id)).exists());
    assert!(!PathBuf::from(format!("/sys/fs/own-{}", container.id)).exists());
}

/// Every hierarchy has the container in a cgroup of its own, named after it.
#[test]
fn the_default_path_has_the_id() {
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    let report = container.report();
    let lines = report["cgroup"].as_array().expect("lines");
    assert!(!lines.is_empty());
    for line in lines.iter().filter_map(|line| line.as_str()).filter(|line| is_mounted_hierarchy(line)) {
        let unit = format!("/orlop-{}.scope", container.id);
        let inside = if asks_systemd() { line.ends_with(&unit) } else { line.ends_with(&container.id) };
        assert!(inside, "{line}");
    }
}

/// A process that sleeps, ended with the value.
struct Sleeper(std::process::Child);

impl Sleeper {
    fn new() -> Self {
        Self(std::process::Command::new("sleep").arg("60").spawn().expect("coreutils"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A group with somebody else's processes is not the container's to have, in whichever hierarchy; and what a failure cleans up does
/// not touch it.
#[test]
fn a_group_of_others_is_left_alone() {
    if !require_root() || !require_cgroups() || !paths_are_paths() || beyond_runc("it looks at one hierarchy")
    {
        return;
    }
    let mut tried = 0;
    for point in directories("") {
        let mut container = Container::new();
        let path = format!("/others-{}", container.id);
        let group = point.join(&path[1..]);
        // Of those below a limit of ours, and of mounts that another hides, there is none to be had.
        if fs::create_dir(&group).is_err() {
            continue;
        }
        let mut theirs = Sleeper::new();
        if fs::write(group.join("cgroup.procs"), theirs.0.id().to_string()).is_ok() {
            tried += 1;
            container.config["linux"]["cgroupsPath"] = json!(path);
            container.run().fails_with("cgroup is not empty");
            assert_eq!(theirs.0.try_wait().expect("our child"), None, "{}", group.display());
            assert_eq!(directories(&path), std::slice::from_ref(&group));
        }
        drop(theirs);
        fs::remove_dir(&group).expect("it is empty now");
    }
    assert!(tried > 0);
}

/// Cgroups that the container made below its own go away with it.
#[test]
fn cgroups_made_inside_are_removed() {
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let own = Groups::of_container(&container).0;
    for directory in own.values() {
        fs::create_dir_all(directory.join("inner/most")).expect("a cgroup below can be made");
    }
    assert!(!own.is_empty());
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

/// A frozen container is killed and deleted all the same (crun leaves it).
#[test]
fn a_frozen_container_is_deleted() {
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    for directory in Groups::of_container(&container).0.values() {
        // v1, then v2; each hierarchy has at most one of the two.
        for (file, value) in [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")] {
            if directory.join(file).exists() {
                fs::write(directory.join(file), value).expect("root may freeze");
            }
        }
    }
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

fn count(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The directories of all hierarchies whose path has `name` in it.
fn tree(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut to_do = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = to_do.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(name) {
                    found.push(entry.path());
                }
                to_do.push(entry.path());
            }
        }
    }
    found
}

/// A container with the limits that Docker's have.
fn limited(path: &str) -> Container {
    let mut container = Container::new();
    container.group_by(path);
    container.config["linux"]["resources"] = json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}, "pids": {"limit": 50},
    });
    container
}

/// One after the other (`ORLOP_CYCLES`), containers leave no cgroup.
#[test]
fn cycles_leave_the_tree_as_it_was() {
    if !require_cgroups() {
        return;
    }
    let path = format!("cycles-{}", std::process::id());
    let mut container = limited(&path);
    container.args(&["probe", "sleep", "60"]);
    for _ in 0..count("ORLOP_CYCLES", 15) {
        container.create().ok();
        container.runtime(&["start", &container.id]).ok();
        container.kill("KILL").ok();
        container.await_status("stopped");
        container.delete(&[]).ok();
    }
    assert_eq!(tree(&path), Vec::<PathBuf>::new());
}

/// Many at once (`ORLOP_AT_ONCE`), in groups below one that is theirs all.
#[test]
fn many_at_once_leave_the_tree_as_it_was() {
    if !require_cgroups() {
        return;
    }
    let path = format!("at-once-{}", std::process::id());
    std::thread::scope(|scope| {
        for _ in 0..count("ORLOP_AT_ONCE", 10) {
            scope.spawn(|| {
                let mut container = limited(&path);
                container.args(&["probe", "sleep", "60"]);
                container.create().ok();
                container.runtime(&["start", &container.id]).ok();
                container.kill("KILL").ok();
                container.await_status("stopped");
                container.delete(&[]).ok();
            });
        }
    });
    assert_eq!(tree(&path), Vec::<PathBuf>::new());
}
