//! Checkpoint and restore, with a real CRIU: what runs goes on where it was, and a checkpoint that fails has changed nothing.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use conformance::harness::{ConsoleSocket, Container, eventually, patience, require_program, skip};
use serde_json::json;

mod criu;
use criu::{COUNTER, Subject, script};

#[test]
fn a_counter_goes_on_where_it_was() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 3);
    subject.checkpoint(&[]);
    // It has stopped, and is deleted.
    subject.container.runtime(&["state", &subject.container.id]).fails_with("does not exist");
    subject.container.assert_clean();
    let at = subject.number("n");
    let mode = fs::metadata(subject.path("images")).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "memory is for nobody else");

    subject.restore(&["--pid-file", &subject.path("pid")]);
    assert_eq!(subject.container.status(), "running");
    let pid = fs::read_to_string(subject.path("pid")).expect("a pid file");
    assert_eq!(subject.container.state()["pid"].to_string(), pid);
    subject.grows("n", at);
    assert!(subject.number("n") < at + 10_000);
    // It is a container like any other: a program runs in it, it is stopped, and goes.
    assert_eq!(subject.exec("echo $PPID; cat /proc/1/comm"), "0\nsh\n");
    subject.container.runtime(&["pause", &subject.container.id]).ok();
    assert_eq!(subject.container.status(), "paused");
    subject.container.runtime(&["resume", &subject.container.id]).ok();
    subject.container.kill("KILL").ok();
    subject.container.await_status("stopped");
    subject.container.delete(&[]).ok();
    subject.container.assert_clean();
}

#[test]
fn under_a_new_id_it_has_new_cgroups() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 3);
    let groups = |container: &Container| {
        let pid = container.state()["pid"].to_string();
        fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs")
    };
    let before = groups(&subject.container);
    subject.checkpoint(&["--leave-running"]);
    let at = subject.number("n");
    // The first goes on, beside the second.
    subject.grows("n", at);
    let old = subject.container.id.clone();
    subject.container.delete(&["--force"]).ok();
    let at = subject.number("n");
    subject.container.id = format!("{old}-again");
    subject.restore(&[]);
    assert!(before.contains(&old), "{before}");
    assert_eq!(groups(&subject.container), before.replace(&old, &subject.container.id));
    eventually("the counter is written", || subject.number("n") != at);
    subject.container.delete(&["--force"]).ok();
    subject.container.assert_clean();
    subject.container.id = old;
}

/// What is executed in it after a restore has its filter, as before: the record of that must be made anew.
#[test]
fn a_restored_containers_filter_is_for_exec_too() {
    let Some(mut subject) = Subject::new() else { return };
    subject.container.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}],
    });
    subject.run(COUNTER);
    subject.grows("n", 3);
    let filtered = |subject: &Subject| subject.exec("cat /proc/self/status").contains("\nSeccomp:\t2\n");
    assert!(filtered(&subject));
    subject.checkpoint(&[]);
    subject.restore(&[]);
    assert!(filtered(&subject), "after the restore");
    subject.container.delete(&["--force"]).ok();
    subject.container.assert_clean();
}

/// The group of version 2 that a process is in, on v2 alone and on hybrid hosts; `None` on v1 alone.
fn v2_group(pid: &str) -> Option<PathBuf> {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let mount = mounts.into_iter().find(|mount| mount.join("cgroup.procs").exists())?;
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("every process has one");
    Some(mount.join(path))
}

#[test]
fn groups_below_its_own_are_kept() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(&format!("probe sleep 1000 & {COUNTER}"));
    subject.grows("n", 3);
    // The child of the first process that stays: the counter's own sleeps come and go, and a restore may change the order.
    let sleeper = |container: &Container| {
        let pid = container.state()["pid"].to_string();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
        let stays = |child: &&str| {
            fs::read_to_string(format!("/proc/{child}/cmdline")).is_ok_and(|words| words.contains("1000"))
        };
        let child = children.split_whitespace().find(stays).expect("it has one").to_owned();
        (pid, child)
    };
    let (pid, child) = sleeper(&subject.container);
    let Some(group) = v2_group(&pid) else { return skip("there is no cgroup v2") };
    let inner = group.join("inner");
    fs::create_dir(&inner).expect("a group can be made");
    fs::write(inner.join("cgroup.procs"), &child).expect("the process can be moved");
    subject.checkpoint(&[]);
    assert!(!group.exists());
    subject.restore(&[]);
    let (pid, child) = sleeper(&subject.container);
    assert_eq!((v2_group(&pid), v2_group(&child)), (Some(group), Some(inner)));
    subject.container.delete(&["--force"]).ok();
    subject.container.assert_clean();
}

/// As an init has it that manages groups of its own (systemd, a container engine).
#[test]
fn groups_of_a_namespace_are_kept_by_the_first_process_too() {
    let Some(mut subject) = Subject::new() else { return };
    subject.container.namespace("cgroup", None);
    subject.run(COUNTER);
    subject.grows("n", 1);
    let Some(group) = v2_group(&subject.container.state()["pid"].to_string()) else {
        return skip("there is no cgroup v2");
    };
    let inner = group.join("inner");
    fs::create_dir(&inner).expect("a group can be made");
    fs::write(inner.join("cgroup.procs"), subject.container.state()["pid"].to_string())
        .expect("it can be moved");
    subject.checkpoint(&[]);
    let at = subject.number("n");
    assert!(!group.exists());
    subject.restore(&[]);
    subject.grows("n", at);
    assert_eq!(v2_group(&subject.container.state()["pid"].to_string()), Some(inner));
    subject.container.delete(&["--force"]).ok();
    subject.container.assert_clean();
}

#[test]
fn outside_of_its_cgroups_it_is_not_restored() {
    let Some(mut subject) = Subject::new() else { return };
    let Some(ours) = v2_group("self") else { return skip("there is no cgroup v2") };
    subject.run(COUNTER);
    subject.grows("n", 3);
    subject.checkpoint(&[]);
    // CRIU leaves it where it is, and a hook takes it away.
    let hook = subject.container.directory().join("hook");
    let procs = ours.join("cgroup.procs");
    script(&hook, &format!("sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' >{}", procs.display()));
    subject.container.config["hooks"] = json!({ "createRuntime": [{ "path": hook }] });
    let (id, images) = (subject.container.id.clone(), subject.path("images"));
    let words = ["restore", "--detach", "--manage-cgroups-mode", "ignore", "--image-path", &images, &id];
    subject.container.runtime(&words).fails_with("outside of the container's cgroup");
    subject.container.assert_clean();
}

#[test]
fn ten_times_in_a_row() {
    let Some(mut subject) = Subject::new() else { return };
    // Both ends of a pipe, a file that is appended to: nothing of it is lost, or there twice.
    subject.run(
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done | while read n; do echo $n >>/tmp/n; done",
    );
    for _ in 0..10 {
        let at = subject.number("n");
        subject.grows("n", at + 2);
        subject.checkpoint(&[]);
        subject.restore(&[]);
    }
    let at = subject.number("n");
    subject.grows("n", at);
    subject.container.delete(&["--force"]).ok();
    let text = subject.read("n");
    for (line, n) in text.lines().zip(1..) {
        assert_eq!(line.parse(), Ok(n), "{text}");
    }
}

#[test]
fn a_server_still_listens() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("exec httpd -f -p 127.0.0.1:8080 -h /www");
    let get = "wget -q -O - http://127.0.0.1:8080/index.html";
    eventually("the server answers", || {
        subject.container.runtime(&["exec", &subject.container.id, "/bin/sh", "-c", get]).stdout == "served\n"
    });
    subject.checkpoint(&[]);
    subject.restore(&[]);
    assert_eq!(subject.exec(get), "served\n");
}

#[test]
fn a_shell_keeps_its_children() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("probe sleep 1000 & probe sleep 2000 & (probe sleep 3000 & wait) & last=$!; trap 'kill %1; wait %1; echo $? >/tmp/ended' USR1; echo $last >/tmp/last; while :; do wait; done");
    eventually("all are there", || {
        subject.exec("ps -o args | grep -c '^probe sleep' || true").trim() == "3"
            && !subject.read("last").is_empty()
    });
    let list = "ps -o pid,ppid,args | grep 'sleep [123]000' | grep -v grep";
    let before = subject.exec(list);
    subject.checkpoint(&[]);
    subject.restore(&[]);
    assert_eq!(subject.exec(list), before, "the same processes, by the same numbers");
    // It gets signals, and waits for its child as its own.
    subject.container.kill("USR1").ok();
    eventually("the trap has run", || subject.read("ended") == "143\n");
}

#[test]
fn an_open_file_without_a_name_is_kept() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run("echo kept >/tmp/gone; exec 3</tmp/gone; rm /tmp/gone; echo 1 >/tmp/n; while [ ! -e /tmp/go ]; do sleep 0.02; done; cat <&3 >/tmp/read; exec probe sleep 1000");
    subject.grows("n", 0);
    subject.checkpoint(&[]);
    subject.restore(&[]);
    fs::write(subject.file("go"), "").expect("a file can be written");
    eventually("it reads", || subject.read("read") == "kept\n");
}

#[test]
fn the_streams_are_those_of_the_restore() {
    let Some(mut subject) = Subject::new() else { return };
    let script = "i=0; while [ ! -e /tmp/go ]; do i=$((i+1)); echo $i; echo $i >/tmp/n; sleep 0.02; done; echo end; exit 7";
    subject.container.args(&["/bin/sh", "-c", script]);
    subject.container.runtime(&["--version"]).ok();
    let (mut first, stdout) = std::io::pipe().expect("a pipe");
    let mut run = subject.container.command(&["run", "--detach", &subject.container.id]);
    run.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
    assert!(run.status().expect("the runtime runs").success());
    drop(run);
    subject.grows("n", 2);
    subject.checkpoint(&[]);
    let mut text = String::new();
    first.read_to_string(&mut text).expect("the pipe of the first");
    let last: u64 = text.lines().last().expect("it counts").parse().expect("a number");

    // In the foreground: the status is the container's, and it is deleted.
    let (mut second, stdout) = std::io::pipe().expect("a pipe");
    let images = subject.path("images");
    let mut restore = subject.container.command(&["restore", "--image-path", &images, &subject.container.id]);
    restore.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
    let mut restore_running = restore.spawn().expect("the runtime runs");
    drop(restore);
    subject.grows("n", last + 1);
    fs::write(subject.file("go"), "").expect("a file can be written");
    text.clear();
    second.read_to_string(&mut text).expect("the pipe of the second");
    let status = restore_running.wait().expect("it is ours");
    assert_eq!(status.code(), Some(7), "{text}");
    let numbers: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.first().is_some_and(|n| (last..=last + 1).contains(n)), "{last}: {text}");
    assert!(text.ends_with("end\n"), "{text}");
    subject.container.assert_clean();
}

#[test]
fn a_terminal_is_sent_anew() {
    let Some(mut subject) = Subject::new() else { return };
    subject.container.config["process"]["terminal"] = json!(true);
    subject.container.args(&["/bin/sh", "-c", "echo begun; while read line; do echo \"read: $line\"; done"]);
    let socket = ConsoleSocket::new(subject.container.directory());
    let socket_path = socket.path.to_string_lossy().into_owned();
    let id = subject.container.id.clone();
    subject.quietly(&["run", "--detach", "--console-socket", &socket_path, &id]);
    let mut console = socket.console();
    console.expect("begun");
    console.send("one\n");
    console.expect("read: one");
    subject.checkpoint(&[]);
    drop(console);
    subject.restore(&["--console-socket", &socket_path]);
    let mut console = socket.console();
    console.send("two\n");
    console.expect("read: two");
    subject.container.delete(&["--force"]).ok();
    // Without a place for it there is no restore.
    let images = subject.path("images");
    let words = ["restore", "--detach", "--image-path", &images, &id];
    subject.container.runtime(&words).fails_with("cannot allocate tty");
}

#[test]
fn mounts_come_back() {
    let Some(mut subject) = Subject::new() else { return };
    let host = subject.container.host_directory("volume");
    fs::write(format!("{host}/f"), "from the host").expect("a file can be written");
    fs::write(subject.path("single"), "a file").expect("a file can be written");
    let single = subject.path("single");
    // Behind a link of the image, read-only, a file alone, on a tmpfs, and one in another.
    std::os::unix::fs::symlink("tmp", subject.container.rootfs("link")).expect("a link can be made");
    subject.container.mount("/link/volume", "bind", &host, &["rbind", "ro"]);
    subject.container.mount("/etc/single", "bind", &single, &["bind"]);
    subject.container.mount("/t", "tmpfs", "tmpfs", &["size=1m"]);
    subject.container.mount("/t/volume", "bind", &host, &["bind"]);
    subject.container.mount("/t/volume/inner", "bind", &host, &["bind"]);
    subject.container.config["root"]["readonly"] = json!(true);
    subject.container.mount("/tmp/rw", "bind", &subject.container.host_directory("rw"), &["bind"]);
    subject.run("echo held >/t/f; exec 3</link/volume/f; while [ ! -e /tmp/rw/go ]; do sleep 0.02; done; cat <&3 >/tmp/rw/read; exec probe sleep 1000");
    let look = "cat /link/volume/f /etc/single /t/f /t/volume/inner/f; cut -d' ' -f5,6 /proc/self/mountinfo | sort; touch /x";
    eventually("it has begun", || subject.exec("cat /t/f || true") == "held\n");
    let look = format!("{look} 2>&1 || true");
    let before = subject.exec(&look);
    assert!(before.contains("held") && before.contains("Read-only file system"), "{before}");
    subject.checkpoint(&[]);
    // Others may mount what they like meanwhile.
    let host_mounts = || {
        let text = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
        let own = subject.container.directory().to_string_lossy();
        text.lines().filter(|line| line.contains(&*own) || line.contains("criu")).map(str::to_owned).collect()
    };
    let before_it: Vec<String> = host_mounts();
    subject.restore(&[]);
    assert_eq!(host_mounts(), before_it, "nothing is left of criu's");
    assert_eq!(subject.exec(&look), before);
    fs::write(format!("{}/go", subject.path("rw")), "").expect("a file can be written");
    let read = subject.path("rw") + "/read";
    eventually("the open file is read", || fs::read_to_string(&read).unwrap_or_default() == "from the host");
}

/// What a checkpoint must know is on record, and the restore may be of another bundle.
#[test]
fn the_bundle_may_have_changed() {
    let Some(mut subject) = Subject::new() else { return };
    let host = subject.container.host_directory("volume");
    fs::write(format!("{host}/f"), "from the host").expect("a file can be written");
    let without = subject.container.config["mounts"].clone();
    subject.container.mount("/volume", "bind", &host, &["bind"]);
    subject.run(COUNTER);
    subject.grows("n", 1);
    let with = std::mem::replace(&mut subject.container.config["mounts"], without);
    subject.checkpoint(&[]);
    let elsewhere = subject.container.host_directory("elsewhere");
    let mut config = subject.container.config.clone();
    config["mounts"] = with;
    config["root"]["path"] = json!(subject.container.rootfs(""));
    fs::write(format!("{elsewhere}/config.json"), config.to_string()).expect("a file can be written");
    subject.restore(&["--bundle", &elsewhere]);
    assert_eq!(subject.container.state()["bundle"], json!(elsewhere));
    assert_eq!(subject.exec("cat /volume/f"), "from the host");
}

#[test]
fn a_container_that_is_paused_goes_on_when_it_is_restored() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 1);
    subject.container.runtime(&["pause", &subject.container.id]).ok();
    subject.checkpoint(&["--leave-running"]);
    assert_eq!(subject.container.status(), "paused", "as it was");
    subject.checkpoint(&[]);
    subject.container.assert_clean();
    let at = subject.number("n");
    subject.restore(&[]);
    assert_eq!(subject.container.status(), "running");
    subject.grows("n", at);
}

#[test]
fn a_user_namespace_comes_back() {
    let Some(mut subject) = Subject::new() else { return };
    subject.container.namespace("user", None);
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    subject.container.config["linux"]["uidMappings"] = mapping.clone();
    subject.container.config["linux"]["gidMappings"] = mapping;
    fs::set_permissions(subject.container.rootfs("tmp"), fs::Permissions::from_mode(0o777))
        .expect("it is ours");
    subject.run(COUNTER);
    subject.grows("n", 1);
    let look = "cat /proc/self/uid_map; grep Cap /proc/1/status; echo $(stat -c %u /tmp/n /proc/1)";
    let before = subject.exec(look);
    subject.checkpoint(&[]);
    let at = subject.number("n");
    subject.restore(&[]);
    subject.grows("n", at);
    assert_eq!(subject.exec(look), before);
    assert!(before.contains("100000"), "{before}");
}

/// A process that ends with the test.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn devices_of_the_network_move_in_again() {
    // A network of the test's own, in which there are the ends of a cable.
    let held = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().expect("unshare runs");
    let network = format!("--net=/proc/{}/ns/net", held.id());
    // It is there until the container is deleted.
    let _held = Holder(held);
    let Some(mut subject) = Subject::new() else { return };
    if !require_program("ip") {
        return;
    }
    let ours = fs::read_link("/proc/self/ns/net").expect("procfs");
    let theirs = network.trim_start_matches("--net=").to_owned();
    eventually("it has a network", || fs::read_link(&theirs).is_ok_and(|link| link != ours));
    let ip = |script: &str| {
        let output =
            Command::new("nsenter").args([&network, "sh", "-c", script]).output().expect("nsenter runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let cable = "ip link set lo up && ip link add o0 type veth peer name o1 && ip addr add 192.0.2.7/24 dev o1 && echo made";
    assert_eq!(ip(cable), "made\n");
    subject.container.by = vec!["nsenter".into(), network.clone()];
    subject.container.config["linux"]["netDevices"] = json!({ "o1": { "name": "eth0" } });
    subject.run(COUNTER);
    subject.grows("n", 1);
    let look = "ls /sys/class/net; cat /sys/class/net/eth0/flags; grep -c 192.0.2.7 /proc/net/fib_trie";
    let before = subject.exec(look);
    assert!(before.starts_with("eth0\nlo\n"), "{before}");
    subject.checkpoint(&[]);
    // It has gone with its namespace, and its other end with it.
    eventually("the cable is gone", || !ip("ip -oneline link").contains("o0"));
    assert_eq!(ip(cable), "made\n");
    let hooks = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    subject.container.config["hooks"] = hooks;
    let (id, images) = (subject.container.id.clone(), subject.path("images"));
    let words = ["restore", "--detach", "--image-path", &images, &id];
    subject.container.runtime(&words).fails_with("hooks.createRuntime[0]");
    assert!(ip("ip -oneline link show o1").contains("o1@o0"), "it is sent back");
    assert_eq!(ip("ip addr add 192.0.2.7/24 dev o1 && echo made"), "made\n");
    subject.container.config["hooks"] = json!({});
    subject.restore(&[]);
    assert_eq!(subject.exec(look), before);
}

/// `NOTIFY_SOCKET`: the restored container has a way to the service manager, which is told that it is up.
#[test]
fn readiness_is_told_anew() {
    let Some(mut subject) = Subject::new() else { return };
    let path = subject.container.directory().join("notify.sock");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    socket.set_read_timeout(Some(patience(Duration::from_secs(60)))).expect("a socket takes a timeout");
    let hear = |wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            let mut bytes = [0; 512];
            let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}; so far {text:?}"));
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        text
    };
    let notify_socket = vec![("NOTIFY_SOCKET".to_owned(), path.to_string_lossy().into_owned())];
    subject.container.environment.clone_from(&notify_socket);
    subject.run("probe notify READY=1; while [ ! -e /tmp/go ]; do sleep 0.05; done; probe notify STATUS=again; exec probe sleep 1000");
    hear("MAINPID=");
    subject.checkpoint(&[]);
    // Without a manager there is nothing to take the place of the socket's directory.
    subject.container.environment.clear();
    let (id, images) = (subject.container.id.clone(), subject.path("images"));
    let restore = ["restore", "--image-path", &images, &id];
    subject.container.runtime(&restore).fails_with("or NOTIFY_SOCKET's");
    subject.container.assert_clean();
    subject.container.environment = notify_socket;
    let mut command = subject.container.command(&restore);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut restored = command.spawn().expect("the runtime runs");
    assert!(!hear("READY=1").contains("again"));
    fs::write(subject.file("go"), "").expect("a file can be written");
    hear("STATUS=again");
    subject.container.kill("KILL").ok();
    assert_eq!(restored.wait().expect("it is ours").code(), Some(137));
    subject.container.assert_clean();
}

#[test]
fn hooks_of_a_restore() {
    let Some(mut subject) = Subject::new() else { return };
    let hook = subject.container.directory().join("hook.sh");
    script(&hook, &format!("echo \"$1 $(cat | grep -o '\"pid\":[1-9]')\" >>{}", subject.path("hooks")));
    let one = |name: &str| json!([{ "path": hook, "args": ["hook", name], "env": ["PATH=/bin:/usr/bin"] }]);
    subject.container.config["hooks"] = json!({
        "prestart": one("prestart"), "createRuntime": one("createRuntime"), "poststart": one("poststart"),
        "poststop": one("poststop"),
    });
    subject.run(COUNTER);
    subject.grows("n", 0);
    subject.checkpoint(&[]);
    let names = || -> Vec<String> {
        let text = fs::read_to_string(subject.path("hooks")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(), ["prestart", "createRuntime", "poststart", "poststop"]);
    fs::remove_file(subject.path("hooks")).expect("it was written");
    subject.restore(&[]);
    assert_eq!(names(), ["prestart", "createRuntime"]);
    let text = fs::read_to_string(subject.path("hooks")).expect("it was written");
    assert!(text.lines().all(|line| line.contains("\"pid\":")), "{text}");
}

#[test]
fn what_cannot_be_dumped_goes_on() {
    let Some(mut subject) = Subject::new() else { return };
    subject.container.args(&["/bin/sh", "-c", COUNTER]);
    subject.container.runtime(&["--version"]).ok();
    // A file of the host's, which CRIU finds out about in the middle of its work.
    let output = File::create(subject.path("stdout")).expect("a file can be made");
    let mut run = subject.container.command(&["run", "--detach", &subject.container.id]);
    run.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    assert!(run.status().expect("the runtime runs").success());
    subject.grows("n", 1);
    let images = subject.path("images");
    let failed =
        subject.container.runtime(&["checkpoint", "--image-path", &images, &subject.container.id]).fails();
    assert!(
        failed.stderr.contains("criu failed: type DUMP") && failed.stderr.contains("dump.log"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("Can't lookup mount"), "the reason is told: {}", failed.stderr);
    assert!(!failed.stderr.contains("RLIMIT_NOFILE"), "{}", failed.stderr);
    assert_eq!(failed.stderr.lines().count(), 1, "{}", failed.stderr);
    assert_eq!(subject.container.status(), "running");
    let at = subject.number("n");
    subject.grows("n", at);
}

#[test]
fn a_criu_that_is_killed_leaves_it_running() {
    let Some(mut subject) = Subject::new() else { return };
    let action = subject.container.directory().join("action.sh");
    // When it locks the network all processes are frozen, and seized.
    script(&action, "[ \"$CRTOOLS_SCRIPT_ACTION\" != network-lock ] || kill -9 $PPID");
    subject.configure(&format!("action-script {}\n", action.display()));
    subject.run(COUNTER);
    subject.grows("n", 1);
    let images = subject.path("images");
    subject
        .container
        .runtime(&["checkpoint", "--image-path", &images, &subject.container.id])
        .fails_with("criu was killed by signal 9 in the middle of its work");
    assert_eq!(subject.container.status(), "running");
    let at = subject.number("n");
    subject.grows("n", at);
    // And it can be checkpointed yet.
    subject.configure("");
    subject.checkpoint(&[]);
    subject.restore(&[]);
    let at = subject.number("n");
    subject.grows("n", at);
}

/// Neither failure hides the other, and none is left on record.
#[test]
fn who_cannot_be_thawed_is_told() {
    let Some(mut subject) = Subject::new() else { return };
    let action = subject.container.directory().join("action.sh");
    // In a mount namespace of the command's own, the files that thaw cannot be written to.
    let freezers = format!(
        "find /sys/fs/cgroup -path '*{}*' '(' -name freezer.state -o -name cgroup.freeze ')' 2>/dev/null",
        subject.container.id
    );
    let cover = format!(
        "for f in $({freezers}); do case $f in *state) w=FROZEN;; *) w=1;; esac; echo $w >$f; echo $w >{0}; \
         mount --bind {0} $f; mount -o remount,bind,ro $f; done",
        subject.path("cover")
    );
    script(
        &action,
        &format!("[ \"$CRTOOLS_SCRIPT_ACTION\" != network-lock ] || {{ {cover}; kill -9 $PPID; }}"),
    );
    subject.configure(&format!("action-script {}\n", action.display()));
    subject.run(COUNTER);
    subject.grows("n", 1);
    let (id, images) = (subject.container.id.clone(), subject.path("images"));
    let failed =
        subject.container.runtime_by(&["unshare", "--mount"], &["checkpoint", "--image-path", &images, &id]);
    let said = failed.fails().stderr;
    assert!(said.contains("criu was killed by signal 9"), "{said}");
    assert!(said.contains("its processes stay frozen"), "{said}");
    let record = fs::read_to_string(subject.container.state_root().join(&id).join("state.json"));
    assert!(!record.expect("it is there").contains("\"criu\":"));
    assert_eq!(subject.container.status(), "paused");
    let at = subject.number("n");
    subject.container.runtime(&["resume", &id]).ok();
    subject.grows("n", at);
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 1);
    subject.checkpoint(&[]);
    let images = subject.path("images");
    let words = ["restore", "--detach", "--image-path", &images, &subject.container.id];
    // No images at all, no list of descriptors, and a broken image.
    subject
        .container
        .runtime(&["restore", "--image-path", "nowhere", &subject.container.id])
        .fails_with("open the directory nowhere: No such file or directory");
    fs::rename(images.clone() + "/descriptors.json", images.clone() + "/d").expect("it is there");
    subject.container.runtime(&words).fails_with("read descriptors.json of the images");
    fs::rename(images.clone() + "/d", images.clone() + "/descriptors.json").expect("it is there");
    let inventory = images.clone() + "/inventory.img";
    let whole = fs::read(&inventory).expect("it is there");
    fs::write(&inventory, "no image").expect("it is ours");
    subject.container.runtime(&words).fails_with("criu failed: type RESTORE");
    subject.container.assert_clean();
    fs::write(&inventory, whole).expect("it is ours");
    // A hook that fails comes when there are processes already.
    subject.container.config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    subject.container.runtime(&words).fails_with("hooks.createRuntime[0]");
    subject.container.assert_clean();
}

#[test]
fn who_has_no_criu_is_told() {
    let Some(mut subject) = Subject::new() else { return };
    subject.run(COUNTER);
    subject.grows("n", 1);
    let nowhere = subject.container.host_directory("nowhere");
    subject.container.environment = vec![("PATH".into(), nowhere.clone())];
    let images = subject.path("images");
    let checkpoint = ["checkpoint", "--image-path", &images, &subject.container.id.clone()];
    let need = "checkpoint and restore need CRIU 3.16 or later, and there is no criu in PATH";
    subject.container.runtime(&checkpoint).fails_with(need);
    // One of before: it answers VERSION with 3.15.
    script(
        &Path::new(&nowhere).join("criu"),
        r"printf '\010\012\020\001\122\004\010\003\020\017' >&3; read x <&3",
    );
    subject.container.runtime(&checkpoint).fails_with("criu is of version 3.15, and 3.16 or later is needed");
    assert_eq!(subject.container.status(), "running");
    let at = subject.number("n");
    subject.grows("n", at);
}

#[test]
fn what_does_not_run_is_not_checkpointed() {
    let Some(subject) = Subject::new() else { return };
    subject.container.create().ok();
    let images = subject.path("images");
    let words = ["checkpoint", "--image-path", &images, &subject.container.id];
    subject.container.runtime(&words).fails_with("Container cannot be checkpointed in created state");
    subject.container.kill("KILL").ok();
    subject.container.await_status("stopped");
    subject.container.runtime(&words).fails_with("Container cannot be checkpointed in stopped state");
}
