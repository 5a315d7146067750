//! The flags of checkpoint and restore, with a real CRIU: what each changes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use conformance::harness::{eventually, patience, skip};

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
    subject.run("exec 9>/tmp/lock; flock 9; echo 1 >/tmp/n; exec probe sleep 1000");
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
    subject.run("echo kept >/tmp/one; ln /tmp/one /tmp/two; exec 3</tmp/one; rm /tmp/one; echo 1 >/tmp/n; while [ ! -e /tmp/go ]; do sleep 0.02; done; cat <&3 >/tmp/read; exec probe sleep 1000");
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
    let ends = "probe sleep 1000 | nc -l -p 9000 >/tmp/heard & until grep -q ':2328 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done; i=0; while [ ! -e /tmp/go ]; do i=$((i+1)); echo $i; echo $i >/tmp/n; sleep 0.05; done | nc 127.0.0.1 9000; wait; exec probe sleep 1000";
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

/// Whoever waits in the queue of a socket when it is dumped has to try again.
#[test]
fn connections_in_flight_are_left_out() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("httpd -f -p 127.0.0.1:8080 -h /www & echo $! >/tmp/n; exec probe sleep 1000");
    let get = "wget -q -O - http://127.0.0.1:8080/index.html";
    eventually("the server answers", || {
        subject.container.runtime(&["exec", &subject.container.id, "/bin/sh", "-c", get]).stdout == "served\n"
    });
    // The server stands still while somebody connects, and goes.
    subject.exec("kill -STOP $(cat /tmp/n); timeout 1 nc 127.0.0.1 8080 </dev/null || true");
    let images = subject.path("images");
    let words = ["checkpoint", "--image-path", &images, &subject.container.id];
    let refused = subject.container.runtime(&words).fails();
    assert!(refused.stderr.contains("In-flight"), "{}", refused.stderr);
    subject.checkpoint(&["--tcp-skip-in-flight"]);
    subject.restore(&[]);
    assert_eq!(subject.exec(&format!("kill -CONT $(cat /tmp/n); {get}")), "served\n");
}

/// A socket of the host's that the container is connected to, which CRIU can see only in the host's own network namespace.
#[test]
fn a_socket_to_outside_is_connected_anew() {
    let Some(mut subject) = Subject::new() else { return };
    let directory = subject.container.host_directory("socket");
    let server = UnixDatagram::bind(format!("{directory}/s")).expect("a socket can be made");
    server.set_read_timeout(Some(patience(Duration::from_secs(60)))).expect("a socket takes a timeout");
    let hear = || -> u64 {
        let mut bytes = [0; 32];
        let length = server.recv(&mut bytes).expect("it sends");
        String::from_utf8_lossy(&bytes[..length]).parse().expect("a number")
    };
    subject.container.no_namespace("network");
    // CRIU takes the name that the server gave it for the one that it has inside.
    subject.container.mount(&directory, "bind", &directory, &["bind"]);
    subject.run(&format!("exec probe tell {directory}/s"));
    hear();
    let images = subject.path("images");
    let words = ["checkpoint", "--image-path", &images, &subject.container.id];
    let refused = subject.container.runtime(&words).fails();
    assert!(refused.stderr.contains("ext-unix-sk"), "{}", refused.stderr);
    subject.checkpoint(&["--ext-unix-sk"]);
    server.set_nonblocking(true).expect("a socket");
    while server.recv(&mut [0; 32]).is_ok() {}
    server.set_nonblocking(false).expect("a socket");
    subject.restore(&["--ext-unix-sk"]);
    assert!(hear() > 1, "it goes on where it was");
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

/// `criu lazy-pages`, which has memory from the images or, with a port, from a dump that serves it.
fn lazy_pages(subject: &Subject, from: Option<&str>) -> Child {
    let (images, socket) = (subject.path("images"), subject.path("images") + "/lazy-pages.socket");
    let mut words = vec!["lazy-pages", "-D", &images];
    if let Some(port) = from {
        words.extend(["--page-server", "--address", "127.0.0.1", "--port", port]);
    }
    let daemon = criu(&words);
    eventually("it listens", || fs::exists(&socket).unwrap_or(false));
    daemon
}

#[test]
fn memory_comes_when_it_is_looked_at() {
    let Some(mut subject) = Subject::new() else { return };
    if !has_feature("uffd") {
        return skip("this kernel has no userfaultfd");
    }
    begin_heavy(&mut subject);
    subject.checkpoint(&[]);
    let mut daemon = lazy_pages(&subject, None);
    subject.restore(&["--lazy-pages"]);
    // It comes of its own after some seconds: all of it has, and it is right, when nobody serves it any more.
    memory_is_whole(&subject);
    assert!(daemon.wait().expect("it is ours").success());
    memory_is_whole(&subject);
}

/// The memory that only the first container has is served from there to the second, after which the first is gone.
#[test]
fn memory_stays_where_it_is_until_it_is_looked_at() {
    let Some(mut subject) = Subject::new() else { return };
    if !has_feature("uffd") {
        return skip("this kernel has no userfaultfd");
    }
    if !can_have_large_pipes() {
        return skip(
            "criu serves memory by a pipe of 3.2 MiB: no CAP_SYS_RESOURCE, and pipe-max-size is less",
        );
    }
    begin_heavy(&mut subject);
    let (port, id) = (free_port(), subject.container.id.clone());
    let address = format!("127.0.0.1:{port}");
    let mut dump = dump_lazily(&subject, &address);
    let images = fs::read_dir(subject.path("images")).expect("the images").flatten();
    let pages = images.filter(|entry| entry.file_name().to_string_lossy().starts_with("pages-"));
    let written: u64 = pages.map(|entry| entry.metadata().expect("it is there").len()).sum();
    assert!(written < 8 << 20, "the memory is in no file: {written}");
    let mut daemon = lazy_pages(&subject, Some(&port));
    subject.container.id = format!("{id}-again");
    subject.restore(&["--lazy-pages"]);
    memory_is_whole(&subject);
    assert!(daemon.wait().expect("it is ours").success());
    assert!(dump.wait().expect("it is ours").success());
    memory_is_whole(&subject);
    subject.container.delete(&["--force"]).ok();
    subject.container.id = id;
    subject.container.assert_clean();
}

/// Whether a pipe of 819 pages can be made.
fn can_have_large_pipes() -> bool {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(819 << 12)).is_ok()
}

/// Begins a dump whose memory is served at `address`, and returns when it is.
fn dump_lazily(subject: &Subject, address: &str) -> Child {
    let (images, status) = (subject.path("images"), subject.path("status"));
    let words = [
        "checkpoint",
        "--image-path",
        &images,
        "--lazy-pages",
        "--page-server",
        address,
        "--status-fd",
        "9",
        &subject.container.id,
    ];
    let command = subject.container.command(&words);
    let mut by_shell = Command::new("sh");
    // By the number that an engine would give it.
    by_shell.args(["-c", &format!("exec \"$@\" 9>{status}"), "sh"]);
    by_shell.arg(command.get_program()).args(command.get_args()).current_dir(subject.container.directory());
    by_shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let dump = by_shell.spawn().expect("the runtime runs");
    eventually("it is told that pages are served", || fs::read(&status).is_ok_and(|text| text == [0]));
    dump
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
    let port = free_port();
    let mut dump = dump_lazily(&subject, &format!("127.0.0.1:{port}"));
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
