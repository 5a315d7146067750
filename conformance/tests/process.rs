//! config.md, "process", and what config-linux.md says of it.

use std::fs;

use conformance::harness::{Container, beyond_runc, is_root, require_root};
use serde_json::{Value, json};

fn object(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    value.as_object_mut().expect("an object")
}

fn capabilities(container: &mut Container, sets: &[(&str, &[&str])]) {
    container.config["process"]["capabilities"] =
        Value::Object(sets.iter().map(|(set, names)| ((*set).to_owned(), json!(names))).collect());
}

/// "uid", "gid", "additionalGids".
#[test]
fn user_group_and_additional_groups_are_set() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1002, "additionalGids": [5, 6, 1002] });
    let report = container.report();
    assert_eq!(report["identity"]["uid"], json!([1001, 1001, 1001, 1001]));
    assert_eq!(report["identity"]["gid"], json!([1002, 1002, 1002, 1002]));
    assert_eq!(report["identity"]["groups"], json!([5, 6, 1002]));
}

#[test]
fn without_additional_groups_there_are_none() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    assert_eq!(container.report()["identity"]["groups"], json!([]));
    container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1002 });
    assert_eq!(container.report()["identity"]["groups"], json!([]));
}

/// "umask (int, OPTIONAL) … If unspecified, the umask should not be changed from the calling process' umask": runc
/// makes it 022, which engines rely on.
#[test]
fn umask_is_set_and_defaults_to_022() {
    let mut container = Container::new();
    assert_eq!(container.report()["identity"]["umask"], 0o022);
    container.config["process"]["user"]["umask"] = json!(0o077);
    assert_eq!(container.report()["identity"]["umask"], 0o077);
    container.config["process"]["user"]["umask"] = json!(0);
    assert_eq!(container.report()["identity"]["umask"], 0);
}

/// "cwd (string, REQUIRED) is the working directory that will be set for the executable."
#[test]
fn the_working_directory_is_set() {
    let mut container = Container::new();
    container.config["process"]["cwd"] = json!("/bin");
    assert_eq!(container.report()["cwd"], "/bin");
}

/// runc makes a working directory that is missing, and images rely on it.
#[test]
fn a_missing_working_directory_is_made() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    container.config["process"]["cwd"] = json!("/made/for/it");
    assert_eq!(container.report()["cwd"], "/made/for/it");
    assert!(container.rootfs("made/for/it").is_dir());
}

/// "This value MUST be an absolute path."
#[test]
fn a_relative_working_directory_is_an_error() {
    let mut container = Container::new();
    container.config["process"]["cwd"] = json!("bin");
    container.run().fails_with("cwd");
}

#[test]
fn a_working_directory_that_is_a_file_is_an_error() {
    let mut container = Container::new();
    container.config["process"]["cwd"] = json!("/bin/probe");
    container.run().fails();
}

/// A link in the image that leads out by `..` stays inside.
#[test]
fn a_working_directory_behind_a_link_stays_inside() {
    let mut container = Container::new();
    std::os::unix::fs::symlink("../../../../../../bin", container.rootfs("out")).expect("our own directory");
    container.config["process"]["cwd"] = json!("/out");
    assert_eq!(container.report()["cwd"], "/bin");
}

/// "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ."
#[test]
fn the_environment_is_the_configs() {
    let mut container = Container::new();
    container.config["process"]["env"] =
        json!(["PATH=/bin", "A=1", "EMPTY=", "WITH=an = in it", "HOME=/somewhere"]);
    let report = container.report();
    assert_eq!(
        report["env"],
        json!({ "PATH": "/bin", "A": "1", "EMPTY": "", "WITH": "an = in it", "HOME": "/somewhere" })
    );
}

#[test]
fn nothing_of_the_runtimes_environment_is_seen() {
    let mut container = Container::new();
    container.environment.push(("ORLOP_TEST_SECRET".to_owned(), "1".to_owned()));
    let report = container.report();
    assert!(report["env"]["ORLOP_TEST_SECRET"].is_null());
    assert!(report["env"]["XDG_RUNTIME_DIR"].is_null());
}

/// runc: HOME comes from the container's passwd when the config does not set it.
#[test]
fn home_comes_from_the_containers_passwd() {
    let mut container = Container::new();
    fs::write(
        container.rootfs("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1001:1001::/home/user:/bin/sh\n",
    )
    .expect("our own file");
    assert_eq!(container.report()["env"]["HOME"], "/root");
    if is_root() {
        container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1001 });
        assert_eq!(container.report()["env"]["HOME"], "/home/user");
        container.config["process"]["user"] = json!({ "uid": 4711, "gid": 1001 });
        assert_eq!(container.report()["env"]["HOME"], "/");
    }
}

#[test]
fn home_is_the_root_without_a_passwd() {
    assert_eq!(Container::new().report()["env"]["HOME"], "/");
}

/// A passwd that is a link to a file of the host shows the container's.
#[test]
fn a_passwd_that_leads_out_is_looked_up_inside() {
    let mut container = Container::new();
    let outside = container.directory().join("passwd");
    fs::write(&outside, "root:x:0:0:root:/from-the-host:/bin/sh\n").expect("our own file");
    std::os::unix::fs::symlink(&outside, container.rootfs("etc/passwd")).expect("our own directory");
    assert_ne!(container.report()["env"]["HOME"], "/from-the-host");
}

#[test]
fn args_are_handed_on_as_they_are() {
    let mut container = Container::new();
    container.args(&["probe", "report", "--json", "", "a b", "\"q\"", "ünï"]);
    let report = container.run().json();
    assert_eq!(report["argv"], json!(["probe", "report", "--json", "", "a b", "\"q\"", "ünï"]));
}

/// "args (array of strings, REQUIRED on POSIX) … MUST contain at least one entry."
#[test]
fn empty_args_are_an_error() {
    let mut container = Container::new();
    container.args(&[]);
    container.run().fails_with("args");
}

/// The program is looked for in the PATH of the config.
#[test]
fn the_program_is_found_in_the_containers_path() {
    let mut container = Container::new();
    fs::create_dir(container.rootfs("own")).expect("our own directory");
    std::os::unix::fs::symlink("/bin/probe", container.rootfs("own/special")).expect("our own directory");
    container.args(&["special", "echo", "found"]);
    container.run().fails();
    container.config["process"]["env"] = json!(["PATH=/nonexistent:/own:/bin"]);
    assert_eq!(container.run().lines(), ["found"]);
}

/// A name with a slash in it is relative to the working directory.
#[test]
fn a_program_with_a_slash_is_relative_to_the_working_directory() {
    let mut container = Container::new();
    container.config["process"]["cwd"] = json!("/bin");
    assert_eq!(container.run_args(&["./probe", "echo", "found"]), ["found"]);
    container.config["process"]["cwd"] = json!("/");
    assert_eq!(container.run_args(&["bin/probe", "echo", "found"]), ["found"]);
}

/// "capabilities": the five sets, each as given.
#[test]
fn the_five_capability_sets_are_as_given() {
    let mut container = Container::new();
    let wide = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_CHROOT"];
    capabilities(
        &mut container,
        &[
            ("bounding", &wide),
            ("permitted", &wide[..3]),
            ("effective", &wide[..2]),
            ("inheritable", &wide[..2]),
            ("ambient", &wide[..1]),
        ],
    );
    container.config["process"]["noNewPrivileges"] = json!(false);
    // exec gives root what is permitted by the bounding set; another user shows the sets as they were set.
    if !require_root() {
        return;
    }
    container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1001 });
    let sets = &container.report()["capabilities"];
    assert_eq!(sets["bounding"]["names"], json!(wide));
    assert_eq!(sets["inheritable"]["names"], json!(wide[..2]));
    // After exec an ordinary user keeps what is ambient.
    assert_eq!(sets["ambient"]["names"], json!(wide[..1]));
    assert_eq!(sets["permitted"]["names"], json!(wide[..1]));
    assert_eq!(sets["effective"]["names"], json!(wide[..1]));
}

#[test]
fn roots_capabilities_are_those_of_the_bounding_set() {
    let mut container = Container::new();
    let wide = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"];
    capabilities(&mut container, &[("bounding", &wide), ("permitted", &wide), ("effective", &wide)]);
    let sets = &container.report()["capabilities"];
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(sets[set]["names"], json!(wide), "{set}");
    }
    for set in ["inheritable", "ambient"] {
        assert_eq!(sets[set]["names"], json!([]), "{set}");
    }
}

#[test]
fn no_capabilities_are_none() {
    let mut container = Container::new();
    capabilities(&mut container, &[("bounding", &[]), ("permitted", &[]), ("effective", &[])]);
    let sets = &container.report()["capabilities"];
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        assert_eq!(sets[set]["names"], json!([]), "{set}");
    }
}

#[test]
fn an_ordinary_user_has_no_effective_capability() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let wide = ["CAP_CHOWN", "CAP_KILL"];
    capabilities(&mut container, &[("bounding", &wide), ("permitted", &wide), ("effective", &wide)]);
    container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1001 });
    let sets = &container.report()["capabilities"];
    assert_eq!(sets["effective"]["names"], json!([]));
    assert_eq!(sets["bounding"]["names"], json!(wide));
}

/// "Any value which cannot be mapped to a relevant kernel interface … MUST be logged as a warning by the runtime;
/// runtimes SHOULD NOT fail."
#[test]
fn an_unknown_capability_is_a_warning() {
    let mut container = Container::new();
    let names = ["CAP_KILL", "CAP_FUTURE"];
    capabilities(&mut container, &[("bounding", &names), ("permitted", &names), ("effective", &names)]);
    container.args(&["probe", "true"]);
    let output = container.run().ok();
    assert!(output.stderr.contains("CAP_FUTURE"), "{output}");
}

/// "noNewPrivileges (bool, OPTIONAL) setting noNewPrivileges to true prevents the process from gaining additional
/// privileges."
#[test]
fn no_new_privileges_is_as_given() {
    let mut container = Container::new();
    assert_eq!(container.report()["security"]["no_new_privs"], true);
    container.config["process"]["noNewPrivileges"] = json!(false);
    assert_eq!(container.report()["security"]["no_new_privs"], false);
    object(&mut container.config["process"]).remove("noNewPrivileges");
    assert_eq!(container.report()["security"]["no_new_privs"], false);
}

/// "rlimits (array of objects, OPTIONAL) allows setting resource limits for the process."
#[test]
fn limits_are_set() {
    let mut container = Container::new();
    container.config["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        { "type": "RLIMIT_NPROC", "soft": 500, "hard": 600 },
        { "type": "RLIMIT_STACK", "soft": 8_388_608, "hard": 16_777_216 },
        { "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000 },
        { "type": "RLIMIT_RTTIME", "soft": 1_000, "hard": 2_000 },
    ]);
    let report = container.report();
    let limits = &report["limits"];
    assert_eq!(limits["RLIMIT_NOFILE"], json!({ "soft": 100, "hard": 200 }));
    assert_eq!(limits["RLIMIT_CORE"], json!({ "soft": 0, "hard": 0 }));
    assert_eq!(limits["RLIMIT_NPROC"], json!({ "soft": 500, "hard": 600 }));
    assert_eq!(limits["RLIMIT_STACK"], json!({ "soft": 8_388_608, "hard": 16_777_216 }));
    assert_eq!(limits["RLIMIT_FSIZE"], json!({ "soft": 1_000_000, "hard": 2_000_000 }));
    assert_eq!(limits["RLIMIT_RTTIME"], json!({ "soft": 1_000, "hard": 2_000 }));
}

/// The largest number of the kernel's type is "unlimited".
#[test]
fn a_limit_may_be_infinite() {
    let mut container = Container::new();
    container.config["process"]["rlimits"] =
        json!([{ "type": "RLIMIT_DATA", "soft": u64::MAX, "hard": u64::MAX }]);
    assert_eq!(
        container.report()["limits"]["RLIMIT_DATA"],
        json!({ "soft": "unlimited", "hard": "unlimited" })
    );
}

/// "The runtime MUST generate an error for any values which cannot be mapped to a relevant kernel interface."
#[test]
fn an_unknown_limit_is_an_error() {
    let mut container = Container::new();
    container.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_FUTURE", "soft": 1, "hard": 1 }]);
    container.run().fails_with("RLIMIT_FUTURE");
}

/// "If rlimits contains duplicated entries with same type, the runtime MUST generate an error."
#[test]
fn a_duplicate_limit_is_an_error() {
    if beyond_runc("it takes the last one") {
        return;
    }
    let mut container = Container::new();
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 });
    container.config["process"]["rlimits"] = json!([limit, limit]);
    container.run().fails_with("rlimits");
}

#[test]
fn a_soft_limit_above_the_hard_is_an_error() {
    let mut container = Container::new();
    container.config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 200, "hard": 100 }]);
    container.run().fails();
}

/// "oomScoreAdj (int, OPTIONAL) adjusts the oom-killer score in [pid]/oom_score_adj."
#[test]
fn the_oom_score_is_set() {
    let mut container = Container::new();
    container.config["process"]["oomScoreAdj"] = json!(321);
    assert_eq!(container.report()["schedule"]["oom_score_adj"], 321);
}

/// "If oomScoreAdj is not set, the runtime MUST NOT change the value of oom_score_adj."
#[test]
fn the_oom_score_is_inherited_when_not_given() {
    let own: i64 =
        fs::read_to_string("/proc/self/oom_score_adj").expect("procfs").trim().parse().expect("a number");
    assert_eq!(Container::new().report()["schedule"]["oom_score_adj"], own);
}

#[test]
fn an_oom_score_out_of_range_is_an_error() {
    let mut container = Container::new();
    container.config["process"]["oomScoreAdj"] = json!(1001);
    container.run().fails();
}

/// config.md, "Linux Process": scheduler.
#[test]
fn the_scheduler_is_set() {
    if beyond_runc("1.1 has no scheduler") {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
    let report = container.report();
    assert_eq!(report["schedule"]["scheduler"]["policy"], "SCHED_BATCH");
    assert_eq!(report["schedule"]["scheduler"]["nice"], 7);
    container.config["process"]["scheduler"] = json!({ "policy": "SCHED_IDLE" });
    assert_eq!(container.report()["schedule"]["scheduler"]["policy"], "SCHED_IDLE");
}

#[test]
fn a_real_time_scheduler_is_set() {
    if beyond_runc("1.1 has no scheduler") || !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["scheduler"] =
        json!({ "policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    container.args(&["probe", "report", "--json"]);
    let output = container.run();
    // A kernel that shares real-time budgets among cgroups (CONFIG_RT_GROUP_SCHED) gives a new one none.
    if !output.status.success() && output.stderr.contains("not permitted") {
        conformance::harness::skip("this kernel lets no new cgroup use real-time scheduling");
        return;
    }
    let scheduler = output.json()["schedule"]["scheduler"].clone();
    assert_eq!(scheduler["policy"], "SCHED_FIFO");
    assert_eq!(scheduler["priority"], 5);
    assert_eq!(scheduler["flags"], 1);
}

#[test]
fn an_unknown_scheduler_is_an_error() {
    if beyond_runc("1.1 has no scheduler") {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["scheduler"] = json!({ "policy": "SCHED_FUTURE" });
    container.run().fails_with("scheduler");
}

/// "ioPriority": class and priority.
#[test]
fn the_io_priority_is_set() {
    if beyond_runc("1.1 has no ioPriority") {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    assert_eq!(container.report()["schedule"]["ioprio"], json!({ "class": 2, "level": 6 }));
    container.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    assert_eq!(container.report()["schedule"]["ioprio"]["class"], 3);
}

#[test]
fn an_io_priority_out_of_range_is_an_error() {
    if beyond_runc("1.1 has no ioPriority") {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 });
    container.run().fails_with("priority");
    container.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_FUTURE", "priority": 1 });
    container.run().fails_with("ioPriority");
}

/// "personality": sets the Linux execution domain.
#[test]
fn the_personality_is_set() {
    if beyond_runc("1.1 has no personality") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    assert_eq!(container.report()["schedule"]["personality"], 8);
    container.config["linux"]["personality"] = json!({ "domain": "LINUX" });
    assert_eq!(container.report()["schedule"]["personality"], 0);
}

#[test]
fn an_unknown_personality_is_an_error() {
    if beyond_runc("1.1 has no personality") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["personality"] = json!({ "domain": "SOLARIS" });
    container.run().fails_with("personality");
}

/// "memoryPolicy": mode and nodes of set_mempolicy(2).
#[test]
fn the_memory_policy_is_set() {
    if beyond_runc("1.1 has no memoryPolicy") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
    let report = container.report();
    let policy = &report["schedule"]["mempolicy"];
    if policy["error"] == "ENOSYS" {
        conformance::harness::skip("this kernel has no NUMA");
        return;
    }
    assert_eq!(policy["mode"], 2);
    assert_eq!(policy["nodes"], json!([0]));
}

#[test]
fn an_unknown_memory_policy_is_an_error() {
    if beyond_runc("1.1 has no memoryPolicy") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_FUTURE", "nodes": "0" });
    container.run().fails_with("memoryPolicy");
}

/// "execCPUAffinity" is for exec; the first process is left alone.
#[test]
fn exec_cpu_affinity_does_not_bind_the_first_process() {
    let mut container = Container::new();
    let free = container.report()["schedule"]["affinity"].clone();
    container.config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    assert_eq!(container.report()["schedule"]["affinity"], free);
}

/// I5: nothing but the three streams is open.
#[test]
fn no_other_descriptor_is_open() {
    let mut container = Container::new();
    let report = container.report();
    let open: Vec<_> =
        report["descriptors"].as_array().expect("a list").iter().map(|fd| fd["fd"].clone()).collect();
    assert_eq!(open, [0, 1, 2], "{}", report["descriptors"]);
}

/// Descriptors the caller leaked into the runtime do not reach the container.
#[test]
fn a_descriptor_leaked_into_the_runtime_goes_no_further() {
    let mut container = Container::new();
    container.args(&["probe", "report", "--json"]);
    let report = shell(&container, "exec 7</etc/hosts; exec \"$@\"", &[]).json();
    let open: Vec<_> =
        report["descriptors"].as_array().expect("a list").iter().map(|fd| fd["fd"].clone()).collect();
    assert_eq!(open, [0, 1, 2], "{}", report["descriptors"]);
}

/// `run` through a shell's redirections; `"$@"` in the script is the runtime's command line.
fn shell(container: &Container, script: &str, flags: &[&str]) -> conformance::harness::Output {
    container.runtime_by(&["sh", "-c", script, "sh"], &[&["run"], flags, &[&container.id]].concat())
}

#[test]
fn preserved_descriptors_are_handed_on() {
    let mut container = Container::new();
    container.args(&["probe", "report", "--json"]);
    let script = "exec 3</etc/hosts 4</etc/hosts 5</etc/hosts; exec \"$@\"";
    let report = shell(&container, script, &["--preserve-fds", "2"]).json();
    let open: Vec<_> =
        report["descriptors"].as_array().expect("a list").iter().map(|fd| fd["fd"].clone()).collect();
    assert_eq!(open, [0, 1, 2, 3, 4], "{}", report["descriptors"]);
}

#[test]
fn a_preserved_descriptor_that_is_not_open_is_an_error() {
    if beyond_runc("it asks when descriptors of its own have the numbers") {
        return;
    }
    let container = Container::new();
    shell(&container, "exec 3>&- 4>&-; exec \"$@\"", &["--preserve-fds", "2"]).fails();
}

/// sd_listen_fds(3): the sockets and LISTEN_PID, which is the container's own.
#[test]
fn listen_descriptors_are_handed_on() {
    let mut container = Container::new();
    container.environment.push(("LISTEN_FDS".to_owned(), "1".to_owned()));
    container.args(&["probe", "report", "--json"]);
    let report = shell(&container, "exec 3</etc/hosts; LISTEN_PID=$$ exec \"$@\"", &[]).json();
    assert_eq!(report["env"]["LISTEN_FDS"], "1");
    assert_eq!(report["env"]["LISTEN_PID"], "1");
    assert_eq!(report["descriptors"][3]["fd"], 3);
}

/// The session keyring is the container's own, named after it.
#[test]
fn the_session_keyring_is_new() {
    let mut container = Container::new();
    let report = container.report();
    let description =
        report["security"]["session_keyring"]["description"].as_str().unwrap_or_default().to_owned();
    assert!(description.ends_with(&format!(";_ses.{}", container.id)), "{description}");
}

#[test]
fn no_new_keyring_leaves_the_session_keyring() {
    let mut container = Container::new();
    container.args(&["probe", "report", "--json"]);
    let report = container.run_with(&["--no-new-keyring"]).json();
    let description =
        report["security"]["session_keyring"]["description"].as_str().unwrap_or_default().to_owned();
    assert!(!description.contains(&container.id), "{description}");
}

/// What the runtime blocks or ignores for itself is not handed on; what its caller does (nohup) is, as by exec.
#[test]
fn signals_are_as_the_caller_has_them() {
    let hexadecimal = |text: &str| u64::from_str_radix(text.trim(), 16).expect("a signal mask");
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let own = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a field of status");
    let report = Container::new().report();
    assert_eq!(report["signals"]["blocked"], "0000000000000000");
    let ignored = hexadecimal(report["signals"]["ignored"].as_str().unwrap_or_default());
    // Our own start and the probe's ignore SIGPIPE, as every Rust program's does.
    let pipe = 1 << 12;
    assert_eq!(ignored & !pipe & !hexadecimal(own), 0, "{ignored:x}, the caller's: {own}");
}

#[test]
fn the_first_process_is_pid_1_and_leads_a_session() {
    let report = Container::new().report();
    assert_eq!(report["identity"]["pid"], 1);
    assert_eq!(report["identity"]["ppid"], 0);
    assert_eq!(report["identity"]["sid"], 1);
    assert_eq!(report["identity"]["pgid"], 1);
}

/// A container of root without user namespace is not dumpable to others by accident of ours.
#[test]
fn securebits_are_clear() {
    assert_eq!(Container::new().report()["security"]["securebits"], 0);
}

/// Properties for other platforms are not looked at on Linux.
#[test]
fn command_line_and_username_of_windows_are_no_concern() {
    let mut container = Container::new();
    container.config["process"]["commandLine"] = json!("cmd.exe /c dir");
    container.config["process"]["user"]["username"] = json!("Administrator");
    container.run().ok();
}

/// "Runtimes … MUST NOT generate an error if they encounter an unknown property."
#[test]
fn unknown_properties_are_passed_over() {
    let mut container = Container::new();
    container.config["future"] = json!({ "a": [1, 2] });
    container.config["process"]["future"] = json!(1);
    container.config["linux"]["future"] = json!(null);
    container.run().ok();
}

#[test]
fn apparmor_where_there_is_none_is_an_error() {
    if std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        conformance::harness::skip("this kernel has AppArmor");
        return;
    }
    let mut container = Container::new();
    container.config["process"]["apparmorProfile"] = json!("no-such-profile");
    container.run().fails_with("apparmor");
}

#[test]
fn selinux_where_there_is_none_is_an_error() {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        conformance::harness::skip("this kernel has SELinux");
        return;
    }
    let mut container = Container::new();
    container.config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
    container.run().fails_with("selinux");
}
