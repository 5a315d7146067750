//! Mounts whose destination leads out, or leads the runtime to believe what is not so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use conformance::harness::{Container, NOBODY, require_root};
use serde_json::{Value, json};

use crate::{Victim, breach, link_in_image, races, while_swapping};

/// The places where a mount with this source shows.
fn shown(report: &Value, source: &str) -> Vec<String> {
    let mounts = report["mounts"].as_array().expect("mounts");
    let found = mounts.iter().filter(|mount| mount["source"] == source);
    found.map(|mount| mount["destination"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A volume at `/vol`, and in it a directory and a link to a directory of the host's, which another container exchanges.
struct Volume {
    directory: String,
    link: String,
}

impl Volume {
    fn new(container: &mut Container, victim: &Victim) -> Self {
        let volume = container.host_directory("volume");
        let directory = format!("{volume}/swap");
        let link = format!("{volume}/link");
        fs::create_dir(&directory).expect("our own directory");
        symlink(&victim.path, &link).expect("our own directory");
        container.mount("/vol", "bind", &volume, &["bind", "rw"]);
        Self { directory, link }
    }

    fn race(&self, work: impl FnOnce()) {
        while_swapping(Path::new(&self.directory), Path::new(&self.link), work);
    }

    /// Takes away what the last round has made, inside.
    fn clear(&self, names: &[&str]) {
        for name in names {
            for place in [&self.directory, &self.link] {
                let path = format!("{place}/{name}");
                let _ = fs::remove_dir(&path);
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// CVE-2021-30465 (runc): the destination of a mount goes through a volume in which another container exchanges a directory for a link;
/// the mount is made outside the root.
#[test]
fn a_mount_through_a_volume_is_made_inside() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let volume = Volume::new(&mut container, &victim);
    container.mount("/vol/swap", "tmpfs", "raced", &[]);
    let mut ran = 0;
    volume.race(|| {
        for _ in 0..races() {
            container.args(&["probe", "report", "--json"]);
            let output = container.run();
            if output.status.success() {
                ran += 1;
                if shown(&output.json(), "raced").is_empty() {
                    breach!("the mount was made outside the root");
                }
            }
        }
    });
    victim.assert_untouched();
    eprintln!("{ran} of {} ran", races());
}

/// CVE-2024-45310 (runc): destinations that are missing are made; a directory on the way is exchanged for a link meanwhile, and they are
/// made on the host.
#[test]
fn missing_destinations_are_made_inside() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let volume = Volume::new(&mut container, &victim);
    let file = container.host_directory("source") + "/file";
    fs::write(&file, "a file").expect("our own file");
    container.mount("/vol/swap/a/b/c", "tmpfs", "raced", &[]);
    container.mount("/vol/swap/bound", "bind", &file, &["bind"]);
    let made = ["a/b/c", "a/b", "a", "bound"];
    container.args(&["probe", "true"]);
    volume.race(|| {
        for _ in 0..races() {
            let _ = container.run();
            let names: Vec<_> = fs::read_dir(&victim.path)
                .expect("our own directory")
                .flatten()
                .map(|e| e.file_name())
                .collect();
            if names.iter().any(|name| name == "a" || name == "bound") {
                breach!("mountpoints were made on the host: {names:?}");
            }
            for place in [&volume.directory, &volume.link] {
                if fs::symlink_metadata(place).is_ok_and(|meta| meta.is_dir()) {
                    volume.clear(&made);
                }
            }
        }
    });
}

/// The links of an image that do not move: absolute, relative, of the parent, chained, dangling.
#[test]
fn links_in_destinations_do_not_lead_out() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let up = format!("../../../../../../../../../..{}", victim.path.display());
    symlink(&victim.path, container.rootfs("absolute")).expect("our own directory");
    symlink(&up, container.rootfs("relative")).expect("our own directory");
    symlink("relative", container.rootfs("chained")).expect("our own directory");
    symlink("/proc/self/root", container.rootfs("magic")).expect("our own directory");
    for destination in ["/absolute/a", "/relative/b", "/chained/c", "/absolute/../d", "/relative/../../e"] {
        container.mount(destination, "tmpfs", "linked", &[]);
    }
    container.args(&["probe", "true"]);
    let _ = container.run();
    victim.assert_untouched();
    let above = container.directory().join("d");
    if above.exists() || container.directory().join("e").exists() {
        breach!("a destination was made beside the victim");
    }
    container.mount(&format!("/magic{}/m", victim.path.display()), "tmpfs", "linked", &[]);
    let _ = container.run();
    victim.assert_untouched();
}

/// CVE-2015-3629 (libcontainer): a volume that is a link in the image.  As a file: what is bound there must not hide the host's.
#[test]
fn a_file_bound_on_a_link_does_not_lead_out() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let source = container.host_directory("source") + "/file";
    fs::write(&source, "from the volume").expect("our own file");
    link_in_image(&container, "etc/resolv.conf", victim.file("made"));
    link_in_image(&container, "etc/hosts", victim.file("file"));
    container.mount("/etc/resolv.conf", "bind", &source, &["bind"]);
    container.mount("/etc/hosts", "bind", &source, &["bind"]);
    let output = container.run_args(&["probe", "cat", "/etc/hosts"]);
    assert_eq!(output, ["from the volume"]);
    victim.assert_untouched();
}

/// What the config hides is hidden in whichever procfs shows: `/proc/keys` and `/proc/kcore` cannot be read, `/proc/sys` not written.
fn assert_proc_is_confined(container: &mut Container, what: &str) {
    let mut words = vec!["probe", "seq"];
    for at in ["/proc", "/link", "/evil/proc"] {
        let (keys, name) = (format!("{at}/keys"), format!("{at}/sys/kernel/hostname"));
        words.extend(["--", "cat", keys.leak(), "--", "append", name.leak(), "x"]);
    }
    container.args(&words);
    let output = container.run();
    if !output.status.success() {
        return;
    }
    // Where the link has come, there is no procfs at /proc; the attacker would know where it is.
    let said: Vec<&str> = output.stdout.lines().take_while(|line| !line.starts_with('{')).collect();
    if said.iter().any(|line| !["", "ENOENT", "EROFS"].contains(line)) {
        breach!("{what}: procfs shows without its masks: {said:?}");
    }
}

/// CVE-2019-19921 and CVE-2023-27561 (runc), CVE-2023-28642 (runc), CVE-2025-54867 (youki): `/proc` or `/sys` of the image is a link, so
/// that procfs is mounted where nothing is masked, or a false one is believed.
#[test]
fn a_link_for_proc_or_sys_is_refused() {
    if !require_root() {
        return;
    }
    for name in ["proc", "sys"] {
        let targets = ["/evil", "../../../../../evil", "tmp", "/proc-of-image/../evil"];
        for target in targets.into_iter().map(str::to_owned).chain(["VICTIM".to_owned()]) {
            let mut container = Container::new();
            let victim = Victim::new(&container);
            fs::create_dir(container.rootfs("evil")).expect("our own directory");
            let target = target.replace("VICTIM", &victim.path.to_string_lossy());
            link_in_image(&container, name, &target);
            container.args(&["probe", "true"]);
            let output = container.run();
            if output.status.success() {
                breach!("/{name} may be a link to {target}");
            }
            victim.assert_untouched();
            container.assert_clean();
        }
    }
}

/// The race of CVE-2019-19921: `/proc` of a shared root file system is exchanged for a link while the container is made.
#[test]
fn a_link_that_takes_the_place_of_proc_confines_no_less() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    fs::create_dir_all(container.rootfs("evil/proc")).expect("our own directory");
    symlink("evil/proc", container.rootfs("link")).expect("our own directory");
    while_swapping(&container.rootfs("proc"), &container.rootfs("link"), || {
        for _ in 0..races() {
            assert_proc_is_confined(&mut container, "raced");
        }
    });
}

/// CVE-2019-16884 and CVE-2015-3631: a volume over `/proc`, or what is below it, by every name that it has.
#[test]
fn a_volume_over_proc_is_refused() {
    if !require_root() {
        return;
    }
    let names = [
        "/proc",
        "/proc/",
        "//proc",
        "/./proc",
        "/dev/../proc",
        "proc",
        "/proc/self",
        "/proc/self/attr",
        "/proc/1",
        "/proc/sys",
        "/proc/thread-self/attr",
        "/proc/sysrq-trigger",
        "/link",
        "/link/self",
        "/link/sys",
        "/up/proc/sys",
        "/up/../link/1",
    ];
    for name in names {
        for kind in ["bind", "tmpfs"] {
            let mut container = Container::new();
            let source = container.host_directory("false");
            fs::create_dir_all(format!("{source}/self/attr")).expect("our own directory");
            symlink("/proc", container.rootfs("link")).expect("our own directory");
            symlink("..", container.rootfs("up")).expect("our own directory");
            container.mount(name, kind, &source, if kind == "bind" { &["bind"] } else { &[] });
            container.args(&["probe", "report", "--json"]);
            let output = container.run();
            if output.status.success() {
                breach!("{kind} at {name} is made");
            }
            container.assert_clean();
        }
    }
}

/// `tmpcopyup` copies what the image has: not what a link in its place leads to, nor one that takes the place of a directory.
#[test]
fn nothing_of_the_host_is_copied_up() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    link_in_image(&container, "data", &victim.path);
    container.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    container.args(&["probe", "cat", "/data/file", &format!("{}/file", victim.path.display())]);
    let output = container.run();
    if output.stdout.contains(Victim::SECRET) {
        breach!("the host's file was copied");
    }
    victim.assert_untouched();

    fs::remove_file(container.rootfs("data")).expect("our own file");
    fs::create_dir_all(container.rootfs("data/sub")).expect("our own directory");
    symlink(&victim.path, container.rootfs("data/link")).expect("our own directory");
    container.args(&["probe", "seq", "--", "cat", "/data/sub/file", "--", "cat", "/data/link/file"]);
    while_swapping(&container.rootfs("data/sub"), &container.rootfs("data/link"), || {
        for _ in 0..races() {
            if container.run().stdout.contains(Victim::SECRET) {
                breach!("the host's file was copied");
            }
        }
    });
    victim.assert_untouched();
}

/// CVE-2023-25809 (runc): rootless, without a cgroup namespace of its own, `/sys` bound from the host: the caller's cgroups can be
/// written.
#[test]
fn cgroups_of_the_caller_cannot_be_written() {
    if !require_root() {
        return;
    }
    let mut container = Container::as_user(NOBODY);
    container.unmount("/sys");
    container.mount("/sys", "bind", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
    container.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
    container.args(&["probe", "report", "--json"]);
    let output = container.run();
    if !output.status.success() {
        return;
    }
    let report = output.json();
    let mounts = report["mounts"].as_array().expect("mounts");
    let writable: Vec<_> = mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| mount["destination"].as_str().is_some_and(|at| at.starts_with("/sys/fs/cgroup")))
        .filter(|(at, mount)| !is_covered(mount, &mounts[at + 1..], mounts))
        .filter(|(_, mount)| !mount["options"].as_array().is_some_and(|words| words.contains(&json!("ro"))))
        .collect();
    if !writable.is_empty() {
        breach!("{writable:#?}");
    }
}

/// Whether one of the mounts that came after `mount` lies over its place, and not below it.
fn is_covered(mount: &Value, later: &[Value], all: &[Value]) -> bool {
    let place = mount["destination"].as_str().unwrap_or_default();
    later.iter().any(|other| {
        let over = other["destination"].as_str().unwrap_or_default();
        let above = place == over || place.starts_with(&format!("{over}/"));
        above && !descends(mount, other, all)
    })
}

fn descends(mount: &Value, from: &Value, all: &[Value]) -> bool {
    let mut here = mount;
    while let Some(parent) =
        all.iter().find(|other| other["id"] == here["parent"] && other["id"] != here["id"])
    {
        if parent["id"] == from["id"] {
            return true;
        }
        here = parent;
    }
    false
}
