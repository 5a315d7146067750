//! `exec`: another program in a running container, checked from inside and from the kernel.

mod lifetime;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use conformance::harness::{
    ConsoleSocket, Container, Foreground, Output, beyond_runc, is_root, require_cgroups, require_root, skip,
};
use serde_json::{Value, json};

/// A running container whose first process waits for a signal.
fn running(mut container: Container) -> Container {
    container.launch_trap(&["TERM"]);
    container
}

fn exec(container: &Container, flags: &[&str], args: &[&str]) -> Output {
    container.runtime(&[&["exec"], flags, &[&container.id], args].concat())
}

#[track_caller]
fn report(container: &Container, flags: &[&str]) -> Value {
    exec(container, flags, &["probe", "report", "--json"]).json()
}

/// `exec --process` of the given process.json.
fn exec_process(container: &Container, process: &Value) -> Output {
    let path = container.directory().join("process.json");
    fs::write(&path, process.to_string()).expect("a file of our own");
    container.runtime(&["exec", "--process", &path.to_string_lossy(), &container.id])
}

/// The namespaces of a process, by its directory in /proc.
fn namespaces(pid: &Value, kinds: &[&str]) -> Vec<PathBuf> {
    let of = |kind: &&str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    kinds.iter().map(of).collect()
}

const KINDS: &[&str] = &["pid", "mnt", "net", "uts", "ipc", "cgroup", "user", "time"];

/// A detached exec of something that stays; its pid.
#[track_caller]
fn stay(container: &Container, flags: &[&str]) -> Value {
    let file = container.directory().join("stay.pid");
    let path = file.to_string_lossy().into_owned();
    let flags = [&["--detach", "--pid-file", &path], flags].concat();
    exec(container, &flags, &["probe", "sleep", "100"]).ok();
    fs::read_to_string(file).expect("the pid file").trim().parse::<u32>().expect("a pid").into()
}

#[test]
fn it_is_in_all_namespaces_of_the_container() {
    let container = running(Container::new());
    let pid = stay(&container, &[]);
    let init = &container.state()["pid"];
    assert_eq!(namespaces(&pid, KINDS), namespaces(init, KINDS));
}

#[test]
fn into_a_user_namespace_as_its_root() {
    if beyond_runc("1.1 knows no time namespace") {
        return;
    }
    let mut container = Container::new();
    if is_root() {
        container = Container::as_user(1234);
        container.become_root();
        container.namespace("time", None);
        container.config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 7000, "nanosecs": 0 } });
    }
    let container = running(container);
    let pid = stay(&container, &[]);
    let init = &container.state()["pid"];
    assert_eq!(namespaces(&pid, KINDS), namespaces(init, KINDS));
    let report = report(&container, &[]);
    assert_eq!(report["identity"]["uid"][0], 0, "{report}");
}

#[test]
fn into_namespaces_that_were_joined_by_path() {
    if !require_root() {
        return;
    }
    let first = running(Container::new());
    let mut second = Container::new();
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("pid", "pid"), ("uts", "uts")] {
        second.namespace(kind, Some(&format!("/proc/{}/ns/{file}", first.state()["pid"])));
    }
    let second = running(second);
    let pid = stay(&second, &[]);
    assert_eq!(namespaces(&pid, KINDS), namespaces(&second.state()["pid"], KINDS));
    assert_eq!(namespaces(&pid, &["net"]), namespaces(&first.state()["pid"], &["net"]));
}

#[test]
fn without_a_pid_namespace_of_its_own() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.no_namespace("pid");
    let container = running(container);
    let pid = stay(&container, &[]);
    assert_eq!(namespaces(&pid, KINDS), namespaces(&container.state()["pid"], KINDS));
}

#[test]
fn it_is_in_the_cgroups_of_the_container() {
    let container = running(Container::new());
    let pid = stay(&container, &[]);
    let cgroups = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
    assert_eq!(cgroups(&pid), cgroups(&container.state()["pid"]));
}

#[test]
fn the_exit_status_is_the_programs() {
    let container = running(Container::new());
    let code = |args: &[&str]| exec(&container, &[], args).status.code();
    assert_eq!(code(&["probe", "true"]), Some(0));
    assert_eq!(code(&["probe", "exit", "37"]), Some(37));
    assert_eq!(code(&["probe", "exit", "255"]), Some(255));
    assert_eq!(code(&["probe", "kill-self", "KILL"]), Some(128 + 9));
    assert_eq!(code(&["probe", "kill-self", "USR1"]), Some(128 + 10));
}

#[test]
fn what_cannot_be_executed_is_255_in_runcs_words() {
    if beyond_runc("1.1 says \"permission denied\" of a directory") {
        return;
    }
    let container = running(Container::new());
    fs::write(container.rootfs("etc/text"), "x").expect("our own file");
    for (args, words) in [
        (&["nowhere"][..], "exec: \"nowhere\": executable file not found in $PATH"),
        (&["/nowhere"], "exec: \"/nowhere\": stat /nowhere: no such file or directory"),
        (&["/etc/text"], "exec: \"/etc/text\": permission denied"),
        (&["/etc"], "exec: \"/etc\": is a directory"),
    ] {
        let output = exec(&container, &[], args);
        assert_eq!(output.status.code(), Some(255), "{output}");
        assert!(output.stderr.contains("exec failed: "), "{output}");
        assert!(output.stderr.replace('\\', "").contains(words), "{output}");
    }
}

#[test]
fn flags_change_the_process() {
    if beyond_runc("it takes one form of a flag at a time") {
        return;
    }
    let container = running(Container::new());
    fs::create_dir(container.rootfs("root/here")).expect("our own directory");
    let flags = ["--cwd", "/root/here", "--env", "A=1", "-e", "PATH=/bin", "--no-new-privs"];
    let report = report(&container, &flags);
    assert_eq!(report["cwd"], "/root/here", "{report}");
    assert_eq!(report["security"]["no_new_privs"], true, "{report}");
    let lines = exec(&container, &flags, &["probe", "env"]).lines();
    assert!(lines.contains(&"A=1".to_owned()) && lines.contains(&"PATH=/bin".to_owned()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("PATH=")).count(), 1, "{lines:?}");
}

#[test]
fn users_and_groups_are_numbers() {
    if beyond_runc("it takes one form of a flag at a time") {
        return;
    }
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["user"]["additionalGids"] = json!([7]);
    let container = running(container);
    let id = |flags: &[&str]| exec(&container, flags, &["probe", "id"]).lines().join("");
    assert_eq!(id(&[]), "uid=0 gid=0 groups=7");
    assert_eq!(id(&["--user", "5"]), "uid=5 gid=0 groups=7");
    assert_eq!(id(&["-u", "5:6", "-g", "8", "--additional-gids", "9"]), "uid=5 gid=6 groups=7,8,9");
    let output = exec(&container, &["--user", "root"], &["probe", "id"]);
    assert!(!output.status.success() && output.stderr.contains("root"), "{output}");
}

#[test]
fn capabilities_are_the_containers_and_can_be_added() {
    if beyond_runc("it takes one form of a flag at a time") {
        return;
    }
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    let plain = report(&container, &[]);
    let more = report(&container, &["--cap", "CAP_SYS_PTRACE", "-c", "CAP_CHOWN"]);
    let set = |report: &Value, name: &str| -> Vec<String> {
        let list = report["capabilities"][name]["names"].as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect()
    };
    for name in ["bounding", "effective", "permitted"] {
        let (before, after) = (set(&plain, name), set(&more, name));
        for capability in ["CAP_SYS_PTRACE", "CAP_CHOWN"] {
            let has = |list: &[String]| list.iter().any(|c| c.ends_with(&capability[4..]));
            assert!(!has(&before) && has(&after), "{name}: {before:?} {after:?}");
        }
        assert_eq!(after.len(), before.len() + 2, "{name}");
    }
    assert_eq!(set(&plain, "inheritable"), set(&more, "inheritable"));
}

/// What process.json does not state is the container's; what it states counts.
#[test]
fn a_process_file_is_completed_from_the_container() {
    if beyond_runc("1.1 completes less") {
        return;
    }
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 11, "hard": 22 }]);
    container.config["process"]["oomScoreAdj"] = json!(123);
    let container = running(container);
    let process = json!({ "cwd": "/", "args": ["probe", "report", "--json"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let first = exec_process(&container, &process).json();
    let own = report(&container, &[]);
    for path in ["/capabilities", "/limits/RLIMIT_CORE", "/security/no_new_privs", "/schedule/oom_score_adj"]
    {
        assert!(own.pointer(path).is_some(), "{path}: {own}");
        assert_eq!(first.pointer(path), own.pointer(path), "{path}");
    }
    assert_eq!(own["limits"]["RLIMIT_CORE"], json!({ "hard": 22, "soft": 11 }));
    assert_eq!(own["schedule"]["oom_score_adj"], 123);
    let mut other = process;
    other["noNewPrivileges"] = json!(false);
    other["capabilities"] =
        json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"] });
    other["user"] = json!({ "uid": 3, "gid": 4, "additionalGids": [5] });
    other["cwd"] = json!("/etc");
    let second = exec_process(&container, &other).json();
    assert_eq!(second["security"]["no_new_privs"], false, "{second}");
    assert_eq!(second["cwd"], "/etc");
    assert_eq!(second["identity"]["uid"][0], 3, "{second}");
}

#[test]
fn every_fault_of_a_process_file_is_told_at_once() {
    if beyond_runc("it tells the first") {
        return;
    }
    let container = running(Container::new());
    let process = json!({ "cwd": "here", "args": [], "user": { "uid": 0, "gid": 0 }, "oomScoreAdj": 5000 });
    let output = exec_process(&container, &process);
    assert_eq!(output.status.code(), Some(255), "{output}");
    for path in ["process.cwd", "process.args", "process.oomScoreAdj"] {
        assert!(output.stderr.contains(path), "{path}: {output}");
    }
    for text in ["", "[]", "null", "{} {}", "{}}, \"hooks\": {"] {
        let path = container.directory().join("process.json");
        fs::write(&path, text).expect("a file of our own");
        let output = container.runtime(&["exec", "--process", &path.to_string_lossy(), &container.id]);
        assert_eq!(output.status.code(), Some(255), "{text}: {output}");
    }
}

#[test]
fn priorities_are_those_asked_for() {
    if beyond_runc("the scheduler came with 1.2") {
        return;
    }
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    let process = json!({
        "cwd": "/", "args": ["probe", "report", "--json"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
        "scheduler": { "policy": "SCHED_BATCH", "nice": 5 },
        "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 6 },
    });
    let report = exec_process(&container, &process).json();
    assert_eq!(report["schedule"]["scheduler"]["policy"], "SCHED_BATCH", "{report}");
    assert_eq!(report["schedule"]["scheduler"]["nice"], 5, "{report}");
    assert_eq!(report["schedule"]["ioprio"]["level"], 6, "{report}");
}

fn cpus(container: &Container, affinity: &Value) -> String {
    let process = json!({
        "cwd": "/", "args": ["probe", "cat", "/proc/self/status"], "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 }, "execCPUAffinity": affinity,
    });
    let lines = exec_process(container, &process).lines();
    let line = lines.iter().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("a line of proc_pid_status(5)").trim().to_owned()
}

/// config.md, "execCPUAffinity": `initial` before the cgroup is entered, `final` after; without `final`, it stays.
#[test]
fn cpu_affinity() {
    if beyond_runc("execCPUAffinity came with 1.3") {
        return;
    }
    let container = running(Container::new());
    let all = cpus(&container, &json!({}));
    if all == "0" {
        skip("one processor only");
        return;
    }
    assert_eq!(cpus(&container, &json!({ "initial": "0" })), "0");
    assert_eq!(cpus(&container, &json!({ "final": "1" })), "1");
    assert_eq!(cpus(&container, &json!({ "initial": "1", "final": "0" })), "0");
    assert_eq!(cpus(&container, &json!({ "initial": "0-1" })), "0-1");
}

/// A runtime that was itself bound to a processor does not bind what it runs.
#[test]
fn the_callers_affinity_stays_with_the_caller() {
    if beyond_runc("1.1 hands it on") {
        return;
    }
    let container = running(Container::new());
    let args = ["exec", &container.id, "probe", "cat", "/proc/self/status"];
    let line = |output: Output| {
        let lines = output.lines();
        lines.into_iter().find(|line| line.starts_with("Cpus_allowed_list:")).expect("a status")
    };
    let bound = line(container.runtime_by(&["taskset", "-c", "0"], &args));
    assert_eq!(bound, line(container.runtime(&args)));
}

/// Groups of the container's in every hierarchy, which end in `below`.
fn groups(container: &Container, below: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("procfs");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let mut found = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - cgroup") else { continue };
        let point = left.split(' ').nth(4).unwrap_or_default();
        for path in text.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
            let directory = Path::new(point).join(path.trim_start_matches('/'));
            if directory.is_dir()
                && directory.join("cgroup.procs").exists()
                && !path.is_empty()
                && path != "/"
            {
                found.push(directory.join(below));
            }
        }
        let _ = right;
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn in_a_group_below_the_containers() {
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    for group in groups(&container, "sub/deep") {
        fs::create_dir_all(&group).expect("root makes cgroups");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Version 1 makes them empty, and then nobody can enter.
            let above = group.parent().and_then(Path::parent).expect("two levels");
            if let Ok(value) = fs::read_to_string(above.join(file)) {
                for at in [group.parent().expect("a level"), group.as_path()] {
                    let _ = fs::write(at.join(file), value.trim());
                }
            }
        }
    }
    let lines = exec(&container, &["--cgroup", "sub/deep"], &["probe", "cat", "/proc/1/cgroup"]).lines();
    assert!(!lines.is_empty());
    let pid = stay(&container, &["--cgroup", "/sub/./deep"]);
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
    for line in text.lines() {
        assert!(line.ends_with("/sub/deep"), "{text}");
    }
    if Path::new("/sys/fs/cgroup/pids").exists() {
        let pid = stay(&container, &["--cgroup", "pids:sub", "--cgroup", "freezer,cpuset:sub/deep"]);
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
        for line in text.lines() {
            let below = match line.split(':').nth(1) {
                Some("pids") => "/sub",
                Some("freezer" | "cpuset") => "/sub/deep",
                _ => container.id.as_str(),
            };
            assert!(line.ends_with(below), "{text}");
        }
    }
}

#[test]
fn a_group_that_is_none_is_refused() {
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    for (group, words) in [
        ("..", "not a sub cgroup path"),
        ("../other", "not a sub cgroup path"),
        ("nosuch", "no such file"),
        ("nosuch:x", "unknown controller nosuch"),
    ] {
        let output = exec(&container, &["--cgroup", group], &["probe", "true"]);
        assert_eq!(output.status.code(), Some(255), "{output}");
        assert!(output.stderr.contains(words), "{output}");
    }
}

/// systemd in a container moves itself to a group below and hands controllers down: the container's own group then takes no
/// processes any more.
#[test]
fn where_the_init_has_moved_to_a_group_below() {
    if beyond_runc("not on a hybrid host") {
        return;
    }
    if !require_root() {
        return;
    }
    let container = running(Container::new());
    let Some(group) = groups(&container, "").into_iter().find(|g| g.join("cgroup.subtree_control").exists())
    else {
        skip("no cgroup v2");
        return;
    };
    let available = fs::read_to_string(group.join("cgroup.controllers")).expect("a v2 group");
    let above = group.parent().expect("a group above");
    let offered = fs::read_to_string(above.join("cgroup.controllers")).unwrap_or_default();
    let Some(controller) = offered.split_whitespace().next() else {
        skip("no controller on v2");
        return;
    };
    if !available.contains(controller) {
        fs::write(above.join("cgroup.subtree_control"), format!("+{controller}")).expect("root hands down");
    }
    let inner = group.join("init.scope");
    fs::create_dir(&inner).expect("root makes cgroups");
    fs::write(inner.join("cgroup.procs"), container.state()["pid"].to_string()).expect("root moves");
    fs::write(group.join("cgroup.subtree_control"), format!("+{controller}")).expect("root hands down");
    let place = |pid: &Value| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
        text.lines().find(|line| line.starts_with("0::")).expect("v2").to_owned()
    };
    let init = place(&container.state()["pid"]);
    assert!(init.ends_with("/init.scope"), "{init}");
    assert_eq!(place(&stay(&container, &[])), init);
    let process = json!({
        "cwd": "/", "args": ["probe", "cat", "/proc/self/cgroup"], "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 }, "execCPUAffinity": { "initial": "0" },
    });
    let lines = exec_process(&container, &process).lines();
    assert!(lines.iter().any(|line| line.starts_with("0::") && line.ends_with("/init.scope")), "{lines:?}");
    let output = exec(&container, &["--cgroup", "/"], &["probe", "true"]);
    assert_eq!(output.status.code(), Some(255), "a group that is asked for is that or none: {output}");
}

/// A limit on processes is for those who fork inside: one that comes from outside is let in, as under runc, and counts.
#[test]
fn at_the_limit_of_processes() {
    if beyond_runc("its own threads do not fit") {
        return;
    }
    if !require_cgroups() {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["resources"]["pids"] = json!({"limit": 1});
    let container = running(container);
    let init = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("procfs");
    let pid = stay(&container, &[]);
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs"), init);
    assert_eq!(exec(&container, &[], &["probe", "bomb", "5"]).lines(), ["0 EAGAIN"]);
}

#[test]
fn descriptors_are_passed_on_when_asked_for() {
    if beyond_runc("1.1 does not look whether they are open") {
        return;
    }
    let container = running(Container::new());
    let script = "exec 3</etc/hosts 4</etc/hosts; exec \"$@\"";
    let by = ["sh", "-c", script, "sh"];
    let args = ["probe", "report", "--json"];
    let fds = |flags: &[&str]| {
        let words = [&["exec"], flags, &[&container.id], &args].concat();
        let report = container.runtime_by(&by, &words).json();
        report["descriptors"].as_array().map_or(0, Vec::len)
    };
    let none = fds(&[]);
    assert_eq!(fds(&["--preserve-fds", "2"]), none + 2);
    let words = [&["exec", "--preserve-fds", "5", &container.id], &args[..]].concat();
    container.runtime_by(&by, &words).fails_with("descriptor 5 is not open");
}

#[test]
fn its_pidfd_is_sent() {
    if beyond_runc("--pidfd-socket came with 1.2") {
        return;
    }
    let container = running(Container::new());
    let path = container.directory().join("pidfd.sock");
    let listener = UnixListener::bind(&path).expect("a socket of our own");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("our own socket");
    let socket = path.to_string_lossy().into_owned();
    let pid = stay(&container, &["--pidfd-socket", &socket]);
    let (stream, _) = listener.accept().expect("a connection");
    let (pidfd, _) = conformance::sys::receive_descriptor(&stream).expect("a descriptor");
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd)));
    let text = text.expect("procfs");
    assert!(text.lines().any(|line| line == format!("Pid:\t{pid}")), "{text}");
}

#[test]
fn its_session_is_its_own_and_the_keyring_the_containers() {
    let container = running(Container::new());
    let pid = stay(&container, &[]);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs");
    let session = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(3)).map(str::to_owned);
    assert_eq!(session, Some(pid.to_string()));
}

#[test]
fn its_terminal_is_sent_to_the_console_socket() {
    let container = running(Container::new());
    let socket = ConsoleSocket::new(container.directory());
    let path = socket.path.to_string_lossy().into_owned();
    let flags = ["--detach", "--tty", "--console-socket", &path];
    exec(&container, &flags, &["probe", "cat"]).ok();
    let mut console = socket.console();
    console.send("hello\n\x04");
    // Once by the echo, once by cat.
    let text = console.finish().replace('\r', "");
    assert_eq!(text.matches("hello\n").count(), 2, "{text:?}");
}

#[test]
fn a_terminal_of_process_json_has_its_size() {
    let container = running(Container::new());
    let socket = ConsoleSocket::new(container.directory());
    let process = json!({
        "terminal": true, "consoleSize": { "height": 17, "width": 71 },
        "cwd": "/", "args": ["probe", "report", "--json"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
    });
    let file = container.directory().join("process.json");
    fs::write(&file, process.to_string()).expect("a file of our own");
    let (file, path) = (file.to_string_lossy(), socket.path.to_string_lossy());
    container.runtime(&["exec", "-d", "--process", &file, "--console-socket", &path, &container.id]).ok();
    let text = socket.console().finish().to_owned();
    let report: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(report["terminal"]["stdin"]["rows"], 17, "{report}");
    assert_eq!(report["terminal"]["stdin"]["columns"], 71, "{report}");
}

#[test]
fn in_the_foreground_its_terminal_is_ours() {
    let container = running(Container::new());
    let command = container.command(&["exec", "--tty", &container.id, "probe", "exit", "9"]);
    let (status, text) = Foreground::start(command, 30, 100, None).wait();
    assert_eq!(status.code(), Some(9), "{text:?}");
    let command = container.command(&["exec", "-t", &container.id, "probe", "tty"]);
    let (status, text) = Foreground::start(command, 30, 100, None).wait();
    assert_eq!((status.code(), text.trim()), (Some(0), "yes"));
}

/// What confines the container confines what is executed in it.
#[test]
fn limits_filters_and_no_new_privileges_are_the_containers() {
    let mut container = Container::new();
    container.config["process"]["noNewPrivileges"] = json!(true);
    container.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
    container.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }],
    });
    let container = running(container);
    let report = report(&container, &[]);
    assert_eq!(report["security"]["no_new_privs"], true, "{report}");
    assert_eq!(report["limits"]["RLIMIT_CORE"], json!({ "hard": 0, "soft": 0 }), "{report}");
    assert_eq!(report["security"]["seccomp_mode"], 2, "{report}");
}

#[test]
fn labels_and_profiles_that_this_host_has_not_are_errors() {
    let container = running(Container::new());
    for (flag, present, words) in [
        ("--process-label", "/sys/fs/selinux/enforce", "selinux"),
        ("--apparmor", "/sys/kernel/security/apparmor", "apparmor"),
    ] {
        if Path::new(present).exists() {
            skip(&format!("this host has {present}"));
            continue;
        }
        let output = exec(&container, &[flag, "some"], &["probe", "true"]);
        assert_eq!(output.status.code(), Some(255), "{output}");
        output.fails_with(words);
    }
}
