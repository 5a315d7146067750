//! `/dev` of a hostile image: devices, the terminal, masks.

use std::fs;
use std::path::Path;

use conformance::harness::{ConsoleSocket, Container, require_root};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;

use crate::{Victim, breach, link_in_image, races, while_swapping};

/// A container without any mount in `/dev`: what the image has there shows.
fn bare_dev(args: &[&str]) -> Container {
    let mut container = Container::new();
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        container.unmount(destination);
    }
    container.config["root"]["readonly"] = json!(false);
    container.args(args);
    container
}

fn null_node(path: &Path) {
    let _ = fs::remove_file(path);
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).expect("root can make nodes");
}

/// CVE-2026-41579 (runc), CVE-2026-47766 (crun): `/dev` of the image is a link to a directory of the host, in which `ptmx` is
/// replaced and links are made.
#[test]
fn a_link_for_dev_does_not_lead_out() {
    if !require_root() {
        return;
    }
    for relative in [false, true] {
        for mounted in [false, true] {
            let container = if mounted { Container::new() } else { bare_dev(&["probe", "true"]) };
            let victim = Victim::new(&container);
            let up = format!("../../../../../../../../..{}", victim.path.display());
            let target = if relative { Path::new(&up) } else { victim.path.as_path() };
            link_in_image(&container, "dev", target);
            // Whether such an image runs is not the question.
            let _ = container.run();
            victim.assert_untouched();
            let _ = container.create();
            let _ = container.runtime(&["start", &container.id]);
            victim.assert_untouched();
        }
    }
}

/// The same for what lies below: `/dev/pts`, `/dev/shm`, `/dev/mqueue`, `/dev/ptmx`, `/dev/fd`.
#[test]
fn links_below_dev_do_not_lead_out() {
    if !require_root() {
        return;
    }
    for name in ["pts", "shm", "mqueue", "ptmx", "fd", "core", "stdin", "full", "console"] {
        let container = bare_dev(&["probe", "true"]);
        let victim = Victim::new(&container);
        link_in_image(&container, &format!("dev/{name}"), victim.file("made"));
        let _ = container.run();
        victim.assert_untouched();
    }
}

/// CVE-2026-88264 (crun): `/dev/console` of the image is a dangling link; the file it would point to is made on the host.
#[test]
fn a_link_for_the_console_does_not_lead_out() {
    if !require_root() {
        return;
    }
    for target in ["made", "console"] {
        for pts in [false, true] {
            let mut container = bare_dev(&["probe", "true"]);
            if pts {
                fs::create_dir(container.rootfs("dev/pts")).expect("our own directory");
                container.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
            }
            container.config["process"]["terminal"] = json!(true);
            let victim = Victim::new(&container);
            link_in_image(&container, "dev/console", victim.file(target));
            let socket = ConsoleSocket::new(container.directory());
            let _ = container.create_with(&["--console-socket", &socket.path.to_string_lossy()]);
            let _ = container.runtime(&["start", &container.id]);
            victim.assert_untouched();
        }
    }
}

/// CVE-2026-88265 (crun): `/dev/null` of the image is a link to a file of the host, which takes the place of the standard streams that
/// are the null device.
#[test]
fn a_link_for_null_does_not_take_the_streams() {
    if !require_root() {
        return;
    }
    let container = bare_dev(&["probe", "echo", "to the streams"]);
    let victim = Victim::new(&container);
    link_in_image(&container, "dev/null", victim.file("null"));
    let script = "exec \"$@\" >/dev/null 2>&1";
    let bundle = container.directory().to_string_lossy().into_owned();
    let _ = container.runtime_by(&["sh", "-c", script, "sh"], &["run", "--bundle", &bundle, &container.id]);
    victim.assert_untouched();
    // A device of the image's own that has the number of null, and is none.
    let container = bare_dev(&["probe", "readlink", "/proc/self/fd/0"]);
    let path = container.rootfs("dev/null");
    mknod(&path, SFlag::S_IFBLK, Mode::from_bits_truncate(0o666), makedev(1, 3))
        .expect("root can make nodes");
    let output = container.run();
    if output.status.success() && output.stdout != "/dev/null\n" {
        breach!("standard input is {}", output.stdout);
    }
}

/// CVE-2025-31133 (runc), CVE-2025-62161 (youki): masks are made of `/dev/null`; where that is a link, its target shows in place of what
/// is masked, and can be written.
#[test]
fn a_link_for_null_is_no_mask() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "cat", "/etc/secret"]);
    fs::write(container.rootfs("etc/secret"), "secret").expect("our own file");
    fs::write(container.rootfs("etc/other"), "the attacker's").expect("our own file");
    container.config["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    for target in ["/etc/other", "../etc/other", "/proc/self/status", "/proc/1/root/etc/other"] {
        link_in_image(&container, "dev/null", target);
        let output = container.run();
        if output.status.success() && !output.stdout.is_empty() {
            breach!("{target} is the mask: {:?}", output.stdout);
        }
    }
    // A file, and another device.
    fs::remove_file(container.rootfs("dev/null")).expect("our own file");
    fs::write(container.rootfs("dev/null"), "the attacker's").expect("our own file");
    let output = container.run();
    if output.status.success() && !output.stdout.is_empty() {
        breach!("a file is the mask: {:?}", output.stdout);
    }
}

/// The same as a race: `/dev` is a volume, in which another container exchanges `null` for a link.
#[test]
fn a_link_that_takes_the_place_of_null_is_no_mask() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "cat", "/etc/secret", "/etc/secrets"]);
    let volume = container.host_directory("volume");
    let (node, link) = (Path::new(&volume).join("null"), Path::new(&volume).join("link"));
    null_node(&node);
    std::os::unix::fs::symlink("/etc/other", &link).expect("our own directory");
    for name in ["secret", "secrets"] {
        fs::write(container.rootfs("etc").join(name), "secret").expect("our own file");
    }
    fs::write(container.rootfs("etc/other"), "the attacker's").expect("our own file");
    container.mount("/dev", "bind", &volume, &["bind", "rw"]);
    container.config["linux"]["maskedPaths"] = json!(["/etc/secret", "/etc/secrets"]);
    let mut ran = 0;
    while_swapping(&node, &link, || {
        for _ in 0..races() {
            let output = container.run();
            if output.status.success() {
                ran += 1;
                if !output.stdout.is_empty() {
                    breach!("the link's target is the mask: {:?}", output.stdout);
                }
            }
        }
    });
    eprintln!("{ran} of {} ran", races());
}

/// Starts the container with a terminal, if it lets itself be: what it says of its `/dev/console` is that it is a device.
#[track_caller]
fn assert_console_is_a_device(container: &Container) {
    let socket = ConsoleSocket::new(container.directory());
    let created = container.create_with(&["--console-socket", &socket.path.to_string_lossy()]);
    if created.status.success() {
        let mut console = socket.console();
        container.runtime(&["start", &container.id]).ok();
        let shown = console.finish().to_owned();
        if !shown.contains("\"type\":\"c\"") {
            breach!("/dev/console is {shown}");
        }
    }
    let _ = container.delete(&["--force"]);
    let _ = fs::remove_file(&socket.path);
}

/// CVE-2025-52565 (runc): the slave of the terminal, `/dev/pts/N`, is bound on `/dev/console`; where it is a link to something else, that
/// shows there instead, and can be written.
#[test]
fn what_the_image_has_in_pts_is_no_console() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "stat", "/dev/console"]);
    container.config["process"]["terminal"] = json!(true);
    fs::create_dir(container.rootfs("dev/pts")).expect("our own directory");
    fs::write(container.rootfs("etc/other"), "the attacker's").expect("our own file");
    for n in 0..4 {
        link_in_image(&container, &format!("dev/pts/{n}"), "/etc/other");
    }
    for ptmx in ["/etc/other", "/dev/ptmx", "/proc/self/status"] {
        link_in_image(&container, "dev/pts/ptmx", ptmx);
        assert_console_is_a_device(&container);
    }
}

/// The same race with a volume for `/dev/pts`: another container exchanges `ptmx` and the slaves for links to a file of the host's.
#[test]
fn a_volume_for_pts_yields_no_console() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "stat", "/dev/console"]);
    container.config["process"]["terminal"] = json!(true);
    let victim = Victim::new(&container);
    let volume = container.host_directory("volume");
    let at = |name: &str| Path::new(&volume).join(name);
    mknod(&at("ptmx"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(5, 2))
        .expect("root can make nodes");
    std::os::unix::fs::symlink(victim.file("file"), at("link")).expect("our own directory");
    for n in 0..4 {
        std::os::unix::fs::symlink(victim.file("file"), at(&n.to_string())).expect("our own directory");
    }
    container.mount("/dev/pts", "bind", &volume, &["bind", "rw"]);
    while_swapping(&at("ptmx"), &at("link"), || {
        for _ in 0..races().min(10) {
            assert_console_is_a_device(&container);
        }
    });
    victim.assert_untouched();
}

/// And with the directory of a devpts that is the container's: by a link of the image it is mounted in a volume, where another container
/// exchanges its mountpoint for a directory in which the slaves are links.
#[test]
fn a_devpts_in_a_volume_yields_no_console_but_its_own() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "stat", "/dev/console"]);
    container.config["process"]["terminal"] = json!(true);
    fs::write(container.rootfs("etc/other"), "the attacker's").expect("our own file");
    let volume = container.host_directory("volume");
    let at = |name: &str| Path::new(&volume).join(name);
    for directory in ["pts", "false"] {
        fs::create_dir(at(directory)).expect("our own directory");
        for n in 0..4 {
            let name = format!("{directory}/{n}");
            std::os::unix::fs::symlink("/etc/other", at(&name)).expect("our own directory");
        }
    }
    container.mount("/vol", "bind", &volume, &["bind", "rw"]);
    link_in_image(&container, "dev/pts", "/vol/pts");
    container.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
    while_swapping(&at("pts"), &at("false"), || {
        for _ in 0..races() {
            assert_console_is_a_device(&container);
        }
    });
}

/// A device of `linux.devices` whose directory is a link, also one that is exchanged meanwhile: the node is not made outside.
#[test]
fn devices_are_made_inside() {
    if !require_root() {
        return;
    }
    let mut container = bare_dev(&["probe", "true"]);
    let victim = Victim::new(&container);
    let volume = container.host_directory("volume");
    fs::create_dir(format!("{volume}/directory")).expect("our own directory");
    std::os::unix::fs::symlink(&victim.path, format!("{volume}/link")).expect("our own directory");
    container.mount("/vol", "bind", &volume, &["bind", "rw"]);
    container.config["linux"]["devices"] = json!([
        { "path": "/vol/directory/node", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0 },
    ]);
    let (a, b) = (format!("{volume}/directory"), format!("{volume}/link"));
    while_swapping(Path::new(&a), Path::new(&b), || {
        for _ in 0..races() {
            let _ = container.run();
            victim.assert_untouched();
            // Made inside, it is in the way of the next; one of the two names is the link, behind which there is none.
            let _ = fs::remove_file(format!("{volume}/directory/node"));
            let _ = fs::remove_file(format!("{volume}/link/node"));
        }
    });
}
