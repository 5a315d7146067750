//! The flags of checkpoint and restore, with a real CRIU: what each changes.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use conformance::harness::{eventually, skip};

mod criu;
use criu::{COUNTER, Subject, has_feature};

/// 16 MiB that are looked at again whenever `/tmp/ask` is there.
const HEAVY: &str = "x=$(dd if=/dev/urandom bs=1M count=12 2>/dev/null | base64); echo \"$x\" | md5sum >/tmp/sum; i=0; \
    while :; do i=$((i+1)); echo $i >/tmp/n; if [ -e /tmp/ask ]; then rm /tmp/ask; echo \"$x\" | md5sum >/tmp/answer; fi; \
    sleep 0.02; done";

fn begin_heavy(subject: &mut Subject) {
    let _ = std::os::unix::fs::symlink("busybox", subject.container.rootfs("bin/base64"));
    subject.run(HEAVY);
    eventually("the memory is filled", || subject.number("n") > 0);
}

fn memory_is_whole(subject: &Subject) {
    let _ = fs::remove_file(subject.file("answer"));
    fs::write(subject.file("ask"), "").expect("a file can be written");
    eventually("it answers", || subject.read("answer").ends_with("-\n"));
    assert_eq!(subject.read("answer"), subject.read("sum"));
    assert!(subject.read("sum").len() > 30);
}

/// A port that nobody has at the moment.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket can be made");
    listener.local_addr().expect("it has an address").port().to_string()
}

fn criu(args: &[&str]) -> Child {
    let mut command = Command::new("criu");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("criu can be run")
}

#[test]
fn logs_go_to_the_work_path() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 0);
    let work = subject.path("work");
    subject.checkpoint(&["--work-path", &work]);
    subject.restore(&["--work-path", &work]);
    for log in ["dump.log", "restore.log"] {
        assert!(fs::metadata(format!("{work}/{log}")).is_ok_and(|meta| meta.len() > 0), "{log}");
        assert!(!fs::exists(subject.path("images") + "/" + log).expect("it can be looked"), "{log}");
    }
}

#[test]
fn a_lock_is_kept() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("exec 9>/tmp/lock; flock 9; echo 1 >/tmp/n; exec sleep 1000");
    subject.grows("n", 0);
    let lock = "flock -n /tmp/lock true && echo free || echo held";
    assert_eq!(subject.exec(lock), "held\n");
    subject.checkpoint(&["--file-locks"]);
    subject.restore(&["--file-locks"]);
    assert_eq!(subject.exec(lock), "held\n");
}

#[test]
fn a_file_with_another_name() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("echo kept >/tmp/one; ln /tmp/one /tmp/two; exec 3</tmp/one; rm /tmp/one; echo 1 >/tmp/n; while [ ! -e /tmp/go ]; do sleep 0.02; done; cat <&3 >/tmp/read; exec sleep 1000");
    subject.grows("n", 0);
    let images = subject.path("images");
    let words = ["checkpoint", "--image-path", &images, &subject.container.id];
    let refused = subject.container.runtime(&words).fails();
    assert!(refused.stderr.contains("link-remap"), "{}", refused.stderr);
    subject.checkpoint(&["--link-remap"]);
    subject.restore(&["--link-remap"]);
    fs::write(subject.file("go"), "").expect("a file can be written");
    eventually("it reads", || subject.read("read") == "kept\n");
}

#[test]
fn a_connection_is_kept() {
    let Some(mut subject) = Subject::new() else { return };
    if !has_feature("network_lock_nftables") {
        return skip("connections are lost where criu cannot lock the network");
    }
    let ends = "sleep 1000 | nc -l -p 9000 >/tmp/heard & sleep 0.3; i=0; while [ ! -e /tmp/go ]; do i=$((i+1)); echo $i; echo $i >/tmp/n; sleep 0.05; done | nc 127.0.0.1 9000; wait; exec sleep 1000";
    subject.run(ends);
    eventually("they are connected", || subject.number("heard") > 3);
    let images = subject.path("images");
    let words = ["checkpoint", "--image-path", &images, &subject.container.id];
    let refused = subject.container.runtime(&words).fails();
    assert!(refused.stderr.contains("onnected"), "{}", refused.stderr);
    subject.checkpoint(&["--tcp-established"]);
    subject.restore(&["--tcp-established"]);
    let at = subject.number("heard");
    subject.grows("heard", at);
    for (line, n) in subject.read("heard").lines().zip(1..) {
        assert_eq!(line.parse(), Ok(n), "nothing is lost on the way, or comes twice");
    }
}

#[test]
fn every_mode_of_cgroups() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    for mode in ["soft", "full", "strict", "ignore"] {
        let at = subject.number("n");
        subject.grows("n", at);
        subject.checkpoint(&["--manage-cgroups-mode", mode]);
        // CRIU's strict mode refuses groups that are there, as the container's own are.
        subject.restore(&["--manage-cgroups-mode", if mode == "strict" { "soft" } else { mode }]);
        let pid = subject.container.state()["pid"].to_string();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
        assert!(groups.contains(&subject.container.id), "{mode}: {groups}");
    }
}

#[test]
fn words_that_are_refused() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    let id = subject.container.id.clone();
    let images = subject.path("images");
    fs::create_dir(&images).expect("a directory can be made");
    for (flag, value, error) in [
        ("--manage-cgroups-mode", "hard", "Invalid manage-cgroups-mode value"),
        ("--empty-ns", "pid", "namespace \\\"pid\\\" is not supported"),
        ("--parent-path", "/absolute", "--parent-path must be relative"),
        ("--parent-path", "../nowhere", "invalid --parent-path"),
        ("--page-server", "host", "Use --page-server ADDRESS:PORT to specify page server"),
        ("--page-server", "host:x", "Invalid port number"),
        ("--status-fd", "77", "invalid --status-fd argument 77: it is not open"),
    ] {
        subject
            .container
            .runtime(&["checkpoint", "--image-path", &images, flag, value, &id])
            .fails_with(error);
    }
    assert_eq!(subject.container.status(), "running");
    subject.checkpoint(&["--empty-ns", "network"]);
    subject.restore(&["--empty-ns", "network", "--no-pivot", "--no-subreaper"]);
}

#[test]
fn memory_goes_to_a_page_server() {
    let Some(mut subject) = Subject::new() else { return };
    begin_heavy(&mut subject);
    let (port, images) = (free_port(), subject.path("images"));
    fs::create_dir(&images).expect("a directory can be made");
    let mut server = criu(&["page-server", "-D", &images, "--address", "127.0.0.1", "--port", &port]);
    eventually("the server listens", || listens(&port));
    subject.checkpoint(&["--page-server", &format!("127.0.0.1:{port}")]);
    assert!(server.wait().expect("it is ours").success());
    subject.restore(&[]);
    memory_is_whole(&subject);
}

/// Pages are served for as long as nobody has asked for all of them: also when the command is killed meanwhile.
#[test]
fn a_dump_that_waits_can_be_deleted() {
    let Some(mut subject) = Subject::new() else { return };
    if !has_feature("uffd") {
        return skip("this kernel has no userfaultfd");
    }
    subject.run(COUNTER);
    subject.grows("n", 0);
    let (port, images, status) = (free_port(), subject.path("images"), subject.path("status"));
    let address = format!("127.0.0.1:{port}");
    let id = subject.container.id.clone();
    let words = [
        "checkpoint",
        "--image-path",
        &images,
        "--lazy-pages",
        "--page-server",
        &address,
        "--status-fd",
        "9",
        &id,
    ];
    let command = subject.container.command(&words);
    let mut by_shell = Command::new("sh");
    // By the number that an engine would give it.
    by_shell.args(["-c", &format!("exec \"$@\" 9>{status}"), "sh"]);
    by_shell.arg(command.get_program()).args(command.get_args()).current_dir(subject.container.directory());
    by_shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut dump = by_shell.spawn().expect("the runtime runs");
    eventually("it is told that pages are served", || fs::read(&status).is_ok_and(|text| text == [0]));
    assert!(listens(&port));
    dump.kill().expect("it is ours");
    dump.wait().expect("it is ours");
    subject.container.delete(&["--force"]).ok();
    assert!(!listens(&port), "a criu is left");
    subject.container.assert_clean();
}

fn listens(port: &str) -> bool {
    let port: u16 = port.parse().expect("a number");
    let sockets = fs::read_to_string("/proc/net/tcp").expect("procfs");
    sockets.contains(&format!(":{port:04X} 00000000:0000 0A"))
}

#[test]
fn memory_in_several_steps() {
    let Some(mut subject) = Subject::new() else { return };
    begin_heavy(&mut subject);
    let images = |n: u32| subject.path(&format!("step{n}"));
    let pre = |n: u32, more: &[&str]| {
        let images = images(n);
        let words =
            [&["checkpoint", "--pre-dump", "--image-path", &images], more, &[&subject.container.id]].concat();
        subject.container.runtime(&words)
    };
    if !has_feature("mem_dirty_track") {
        pre(1, &[]).fails_with("--pre-dump: criu cannot track changes of memory on this kernel");
        assert_eq!(subject.container.status(), "running");
        return skip("this kernel does not track memory (CONFIG_MEM_SOFT_DIRTY)");
    }
    pre(1, &[]).ok();
    assert_eq!(subject.container.status(), "running");
    let at = subject.number("n");
    subject.grows("n", at);
    pre(2, &["--parent-path", "../step1", "--auto-dedup"]).ok();
    let last = images(3);
    subject.quietly(&[
        "checkpoint",
        "--image-path",
        &last,
        "--parent-path",
        "../step2",
        &subject.container.id,
    ]);
    let size = |n: u32| -> u64 {
        let entries = fs::read_dir(images(n)).expect("the images").flatten();
        let pages = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("pages-"));
        pages.map(|entry| entry.metadata().expect("it is there").len()).sum()
    };
    assert!(size(3) < 8 << 20, "most of the memory was written before: {}", size(3));
    subject.quietly(&["restore", "--detach", "--auto-dedup", "--image-path", &last, &subject.container.id]);
    memory_is_whole(&subject);
}
