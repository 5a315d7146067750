//! Writes of the runtime to procfs, led elsewhere; files of the image that the runtime reads.

use std::fs;
use std::os::unix::fs::symlink;

use conformance::harness::{Container, Kind, kind, require_root};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use serde_json::json;

use crate::{Victim, breach, link_in_image};

/// An image that has in `/proc` what the runtime would write to: links to files of the host, and files.
fn with_false_proc(container: &mut Container, victim: &Victim) {
    container.unmount("/proc");
    container.config["linux"].as_object_mut().expect("an object").remove("maskedPaths");
    container.config["linux"].as_object_mut().expect("an object").remove("readonlyPaths");
    container.config["root"]["readonly"] = json!(false);
    let proc = container.rootfs("proc");
    for place in ["sys/net/ipv4", "sys/kernel", "self/attr/apparmor", "1/attr/apparmor", "thread-self/attr"] {
        fs::create_dir_all(proc.join(place)).expect("our own directory");
    }
    for place in [
        "sys/net/ipv4/ip_forward",
        "sys/kernel/shm_rmid_forced",
        "self/oom_score_adj",
        "1/oom_score_adj",
        "self/attr/exec",
        "self/attr/apparmor/exec",
        "thread-self/attr/exec",
        "self/attr/keycreate",
        "self/setgroups",
    ] {
        symlink(victim.file("file"), proc.join(place)).expect("our own directory");
    }
    let_links_lead_somewhere(container, victim);
}

/// The link's target is there for who follows it inside the container, too: nothing but the runtime's care keeps it from being written.
fn let_links_lead_somewhere(container: &Container, victim: &Victim) {
    let path = victim.file("file");
    let inside = container.rootfs(path.to_string_lossy().trim_start_matches('/'));
    fs::create_dir_all(inside.parent().expect("in a directory")).expect("our own directory");
    fs::write(inside, "").expect("our own file");
}

/// Starts a container that sleeps; false where another runtime than ours refuses it, which is a defence too.
fn launched(container: &mut Container, victim: &Victim) -> bool {
    container.args(&["probe", "sleep", "100"]);
    let created = container.create();
    victim.assert_untouched();
    if kind() != Kind::Other && !created.status.success() {
        return false;
    }
    created.ok();
    container.runtime(&["start", &container.id]).ok();
    victim.assert_untouched();
    true
}

/// CVE-2025-52881 (runc), CVE-2025-62596 (youki): a write to procfs goes where a mount or a link in its place leads it: kernel parameters,
/// the OOM score, labels.
#[test]
fn writes_to_procfs_go_to_procfs() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    with_false_proc(&mut container, &victim);
    container.config["linux"]["sysctl"] =
        json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" });
    container.config["process"]["oomScoreAdj"] = json!(777);
    if !launched(&mut container, &victim) {
        return;
    }
    let pid = container.state()["pid"].to_string();
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("procfs");
    if score.trim() != "777" {
        breach!("the OOM score was written elsewhere: it is {score}");
    }
    let inside = |file: &str| {
        let output = std::process::Command::new("nsenter")
            .args(["--target", &pid, "--net", "--ipc", "cat", file])
            .output()
            .expect("nsenter");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for file in ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced"] {
        if inside(file) != "1" {
            breach!("{file} was written elsewhere");
        }
    }
    // And of what is executed in it.
    let process = json!({
        "args": ["probe", "true"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "oomScoreAdj": 778,
    });
    let path = container.directory().join("process.json");
    fs::write(&path, process.to_string()).expect("our own file");
    container.runtime(&["exec", "--process", &path.to_string_lossy(), &container.id]).ok();
    victim.assert_untouched();
}

/// The same with a container that has mounted a false procfs over its own, and waits for an exec.
#[test]
fn an_exec_does_not_believe_the_containers_proc() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    let source = container.host_directory("false");
    for name in ["self", "1", "2", "3", "4", "5", "6", "7", "8"] {
        fs::create_dir_all(format!("{source}/{name}/attr")).expect("our own directory");
        for file in ["oom_score_adj", "attr/exec", "setgroups", "uid_map"] {
            symlink(victim.file("file"), format!("{source}/{name}/{file}")).expect("our own directory");
        }
    }
    let_links_lead_somewhere(&container, &victim);
    container.unmount("/proc");
    container.config["linux"].as_object_mut().expect("an object").remove("maskedPaths");
    container.config["linux"].as_object_mut().expect("an object").remove("readonlyPaths");
    for entry in fs::read_dir(&source).expect("our own directory").flatten() {
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(entry.path())
            .arg(container.rootfs("proc"))
            .status();
        assert!(copied.expect("cp").success());
    }
    if !launched(&mut container, &victim) {
        return;
    }
    let process = json!({ "args": ["probe", "sleep", "100"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "oomScoreAdj": 778 });
    let path = container.directory().join("process.json");
    let pid_file = container.directory().join("pid");
    fs::write(&path, process.to_string()).expect("our own file");
    let (path, pid_file) = (path.to_string_lossy(), pid_file.to_string_lossy());
    container.runtime(&["exec", "-d", "--pid-file", &pid_file, "--process", &path, &container.id]).ok();
    victim.assert_untouched();
    let pid = fs::read_to_string(&*pid_file).expect("the pid file");
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", pid.trim())).expect("procfs");
    if score.trim() != "778" {
        breach!("the OOM score was written elsewhere: it is {score}");
    }
}

/// CVE-2022-0811 (CRI-O) and the like: a sysctl that is not the container's own, however it is spelled.
#[test]
fn a_sysctl_of_the_host_is_refused() {
    if !require_root() {
        return;
    }
    // Its own value: where the write is not refused, nothing changes.
    let value = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("procfs");
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net.ipv4../../kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.././kernel.core_pattern",
        "/kernel/core_pattern",
        "net//../kernel/core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
        "kernel.shm_rmid_forced/../core_pattern",
    ] {
        let mut container = Container::new();
        container.config["linux"]["sysctl"] = json!({ name: value.trim_end() });
        if container.run().status.success() {
            breach!("{name} is taken");
        }
        container.assert_clean();
    }
}

/// `/etc/passwd` of the image, from which the home directory is read: whatever it is, it neither stops the runtime nor lets it read the
/// host.
#[test]
fn a_hostile_passwd_stops_nothing_and_tells_nothing() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["env"] = json!(["PATH=/bin"]);
    let victim = Victim::new(&container);
    let secret = "root:x:0:0::/home-of-the-host:/bin/sh\n";
    let hosts = container.host_directory("hosts") + "/passwd";
    fs::write(&hosts, secret).expect("our own file");
    let passwd = container.rootfs("etc/passwd");
    let kinds = ["fifo", "link", "device", "directory", "huge", "long line", "magic"];
    for kind in kinds {
        let _ = fs::remove_file(&passwd);
        let _ = fs::remove_dir(&passwd);
        match kind {
            "fifo" => mkfifo(&passwd, Mode::from_bits_truncate(0o666)).expect("our own directory"),
            "link" => link_in_image(&container, "etc/passwd", &hosts),
            "magic" => link_in_image(&container, "etc/passwd", format!("/proc/1/root{hosts}")),
            "device" => {
                mknod(&passwd, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 5)).expect("root");
            }
            "directory" => fs::create_dir(&passwd).expect("our own directory"),
            "huge" => fs::File::create(&passwd).and_then(|f| f.set_len(1 << 40)).expect("our own file"),
            _ => fs::write(&passwd, "x".repeat(1 << 20) + ":x:0:0::/long:\n").expect("our own file"),
        }
        container.args(&["probe", "env"]);
        // The harness ends what hangs, and fails.
        let output = container.run();
        if output.stdout.contains("home-of-the-host") {
            breach!("{kind}: the host's file was read");
        }
        container.launch_trap(&["TERM"]);
        let output = container.runtime(&["exec", &container.id, "probe", "env"]);
        if output.stdout.contains("home-of-the-host") {
            breach!("{kind}: exec has read the host's file");
        }
        container.delete(&["--force"]).ok();
    }
    victim.assert_untouched();
}

/// CVE-2025-24965 and CVE-2026-84042 (crun with libkrun): a handler asked for by an annotation writes a file of fixed name into the root
/// file system, through a link; or runs the image's program on the host.  We have no handlers, and write no file there.
#[test]
fn no_handler_is_run_and_no_file_is_written() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let victim = Victim::new(&container);
    container.config["root"]["readonly"] = json!(false);
    for name in [".krun_config.json", ".krun_vm.json", "krun.json"] {
        link_in_image(&container, name, victim.file("file"));
    }
    container.config["annotations"] = json!({ "run.oci.handler": "krun", "krun.use_passt": "1" });
    container.args(&["probe", "true"]);
    let _ = container.run();
    victim.assert_untouched();
}
