//! config.md, "Process": the program, its terminal, limits, privileges, scheduling.

use conformance::harness::ConsoleSocket;
use serde_json::{Value, json};

use super::super::case::{Case, Need, must};
use super::super::trial::{Trial, skip};

/// A container on a terminal; what the probe sees inside and what came out of the terminal beside it.
fn on_terminal(t: &mut Trial) -> Value {
    t.set("/process/terminal", json!(true));
    t.args(&["probe", "report", "--json"]);
    let socket = ConsoleSocket::new(t.directory());
    let path = socket.path.to_string_lossy().into_owned();
    let bundle = t.directory().to_string_lossy().into_owned();
    t.runtime(&["create", "--bundle", &bundle, "--console-socket", &path, &t.id]).ok();
    let mut console = socket.console();
    t.start().ok();
    // Read to the end first: a terminal that is full holds its writer up.
    let text = console.finish().to_owned();
    t.end();
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("no report ({error}): {text:?}"))
}

fn terminal(t: &mut Trial) {
    let report = on_terminal(t);
    for stream in ["stdin", "stdout", "stderr"] {
        assert_eq!(report["terminal"][stream]["isatty"], true, "{stream}");
        let name = report["terminal"][stream]["name"].as_str().unwrap_or_default();
        assert!(name.starts_with("/dev/pts/") || name == "/dev/console", "{stream}: {name}");
    }
}

fn console_size(t: &mut Trial) {
    t.set("/process/consoleSize", json!({ "height": 33, "width": 77 }));
    let report = on_terminal(t);
    let terminal = &report["terminal"]["stdout"];
    assert_eq!((&terminal["rows"], &terminal["columns"]), (&json!(33), &json!(77)), "{terminal}");
}

fn console_device(t: &mut Trial) {
    let report = on_terminal(t);
    let devices = report["devices"].as_array().cloned().unwrap_or_default();
    let console = devices.iter().find(|device| device["path"] == "/dev/console").cloned();
    let console = console.unwrap_or_else(|| panic!("there is no /dev/console: {devices:?}"));
    assert_eq!(console["type"], "c", "{console}");
}

fn no_terminal(t: &mut Trial) {
    t.set("/process/terminal", json!(false));
    let report = t.inside();
    assert_eq!(report["terminal"]["stdout"]["isatty"], false);
}

fn console_size_ignored(t: &mut Trial) {
    t.set("/process/consoleSize", json!({ "height": 33, "width": 77 }));
    assert_eq!(t.says(&["echo", "well"]), "well");
}

fn cwd(t: &mut Trial) {
    t.set("/process/cwd", json!("/etc"));
    assert_eq!(t.inside()["cwd"], "/etc");
}

fn cwd_relative(t: &mut Trial) {
    t.set("/process/cwd", json!("etc"));
    t.refused_until_started();
}

fn cwd_required(t: &mut Trial) {
    t.unset("/process/cwd");
    t.refused_until_started();
}

fn env(t: &mut Trial) {
    t.set("/process/env", json!(["PATH=/bin", "A=1", "B=two words", "C="]));
    let report = t.inside();
    for (name, value) in [("PATH", "/bin"), ("A", "1"), ("B", "two words"), ("C", "")] {
        assert_eq!(report["env"][name], value, "{}", report["env"]);
    }
}

fn env_not_inherited(t: &mut Trial) {
    t.environment.push(("LEAKED".to_owned(), "1".to_owned()));
    let report = t.inside();
    assert!(report["env"]["LEAKED"].is_null(), "{}", report["env"]);
}

fn args(t: &mut Trial) {
    t.args(&["/bin/probe", "report", "--json", "", "two words"]);
    t.set("/process/args/3", json!("kernel.ostype"));
    let ended = t.life_as_is();
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert_eq!(report["argv"], json!(["/bin/probe", "report", "--json", "kernel.ostype", "two words"]));
}

fn args_by_path(t: &mut Trial) {
    t.set("/process/env", json!(["PATH=/nowhere:/etc"]));
    std::os::unix::fs::symlink("/bin/probe", t.rootfs("etc/hostname")).expect("our own directory");
    let ended = t.life(&["hostname"]);
    assert_eq!(ended.stdout, "container\n");
}

fn args_missing(t: &mut Trial) {
    t.args(&["/nowhere/at/all"]);
    t.refused_until_started_as_is();
}

fn args_empty(t: &mut Trial) {
    t.set("/process/args", json!([]));
    t.refused_until_started_as_is();
}

fn args_unset(t: &mut Trial) {
    t.unset("/process/args");
    t.refused_until_started_as_is();
}

fn rlimit(t: &mut Trial) {
    let kind = t.word();
    let name = format!("RLIMIT_{kind}");
    t.set("/process/rlimits", json!([{ "type": name, "soft": 40, "hard": 60 }]));
    let report = t.inside();
    // A count of processes is not a property of a process; all are shown alike.
    assert_eq!(report["limits"][&name], json!({ "soft": 40, "hard": 60 }), "{}", report["limits"]);
}

fn rlimits(t: &mut Trial) {
    t.set(
        "/process/rlimits",
        json!([
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 4096 },
            { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
        ]),
    );
    let report = t.inside();
    assert_eq!(report["limits"]["RLIMIT_CORE"], json!({ "soft": 0, "hard": 4096 }));
    assert_eq!(report["limits"]["RLIMIT_NOFILE"], json!({ "soft": 100, "hard": 200 }));
}

fn rlimit_unknown(t: &mut Trial) {
    t.set("/process/rlimits", json!([{ "type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1 }]));
    t.refused_until_started();
}

fn rlimit_twice(t: &mut Trial) {
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 });
    t.set("/process/rlimits", json!([limit, limit]));
    t.refused_until_started();
}

fn rlimit_soft_above_hard(t: &mut Trial) {
    t.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 65, "hard": 64 }]));
    t.refused_until_started();
}

fn no_new_privileges(t: &mut Trial) {
    let asked = t.word() == "true";
    t.set("/process/noNewPrivileges", json!(asked));
    assert_eq!(t.inside()["security"]["no_new_privs"], json!(asked));
}

fn own_score() -> Value {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").expect("procfs");
    json!(text.trim().parse::<i64>().expect("a number"))
}

fn oom_score(t: &mut Trial) {
    t.set("/process/oomScoreAdj", json!(543));
    assert_eq!(t.inside()["schedule"]["oom_score_adj"], 543);
}

fn oom_score_unset(t: &mut Trial) {
    t.unset("/process/oomScoreAdj");
    assert_eq!(t.inside()["schedule"]["oom_score_adj"], own_score());
}

fn oom_score_beyond(t: &mut Trial) {
    t.set("/process/oomScoreAdj", json!(1001));
    t.refused_until_started();
}

/// Who has been given less than others cannot take it back without privilege.
fn needs_own_priority() {
    let own = conformance::sys::sched_getattr().expect("one's own scheduling can be read");
    if !nix::unistd::geteuid().is_root() && (own.policy != 0 || own.nice > 0) {
        skip("the suite itself runs at a lowered priority, which an ordinary user cannot raise");
    }
}

fn scheduler(t: &mut Trial) {
    needs_own_priority();
    let policy = format!("SCHED_{}", t.word());
    t.set("/process/scheduler", json!({ "policy": policy }));
    // The kernel has a nice value for OTHER and BATCH alone, a priority for FIFO and RR.
    let (property, value) = match t.word() {
        "FIFO" | "RR" => ("priority", 3),
        "IDLE" => ("policy", 0),
        _ => ("nice", 5),
    };
    if property != "policy" {
        t.set(&format!("/process/scheduler/{property}"), json!(value));
    }
    let found = t.inside()["schedule"]["scheduler"].clone();
    assert_eq!(found["policy"], policy, "{found}");
    assert!(property == "policy" || found[property] == value, "{property} {value}: {found}");
}

fn scheduler_defaults(t: &mut Trial) {
    needs_own_priority();
    t.set("/process/scheduler", json!({ "policy": "SCHED_BATCH" }));
    let found = t.inside()["schedule"]["scheduler"].clone();
    assert_eq!((&found["policy"], &found["nice"]), (&json!("SCHED_BATCH"), &json!(0)), "{found}");
}

fn scheduler_flags(t: &mut Trial) {
    needs_own_priority();
    t.set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"] }));
    assert_eq!(t.inside()["schedule"]["scheduler"]["flags"], 1);
}

fn scheduler_unknown(t: &mut Trial) {
    t.set("/process/scheduler", json!({ "policy": "SCHED_NONSENSE" }));
    t.refused_until_started();
}

fn scheduler_unknown_flag(t: &mut Trial) {
    t.set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONSENSE"] }));
    t.refused_until_started();
}

fn io_priority(t: &mut Trial) {
    let (class, number, level) =
        if t.word() == "IDLE" { ("IOPRIO_CLASS_IDLE", 3, 0) } else { ("IOPRIO_CLASS_BE", 2, 6) };
    t.set("/process/ioPriority", json!({ "class": class, "priority": level }));
    let found = t.inside()["schedule"]["ioprio"].clone();
    assert_eq!((&found["class"], &found["level"]), (&json!(number), &json!(level)), "{found}");
}

fn io_priority_class(t: &mut Trial) {
    t.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_NONSENSE", "priority": 4 }));
    t.refused_until_started();
}

fn io_priority_level(t: &mut Trial) {
    t.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }));
    t.refused_until_started();
}

fn exec_affinity(t: &mut Trial) {
    let affinity = t.inside()["schedule"]["affinity"].clone();
    t.set("/process/execCPUAffinity", json!({ "initial": "0", "final": "0" }));
    assert_eq!(t.inside()["schedule"]["affinity"], affinity, "it is not for the container's first process");
}

fn apparmor(t: &mut Trial) {
    t.set("/process/apparmorProfile", json!("no-such-profile"));
    t.refused_until_started();
}

fn selinux(t: &mut Trial) {
    t.set("/process/selinuxLabel", json!("system_u:system_r:svirt_lxc_net_t:s0:c124,c675"));
    t.refused_until_started();
}

fn descriptors(t: &mut Trial) {
    let report = t.inside();
    let open: Vec<i64> = report["descriptors"]
        .as_array()
        .map(|all| all.iter().filter_map(|one| one["fd"].as_i64()).collect())
        .unwrap_or_default();
    assert_eq!(open, [0, 1, 2], "{}", report["descriptors"]);
}

const PROCESS: &str = "config.md#process";
const POSIX: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const VALID: &str = "config.md#valid-values";

pub const CASES: &[Case] = &[
    must(PROCESS, "process-terminal", "terminal true: the three streams are a pseudo-terminal", terminal)
        .needs(&[Need::Root]),
    must(PROCESS, "process-terminal-false", "terminal false: they are not", no_terminal),
    must(PROCESS, "process-console-size", "consoleSize is the size of the terminal", console_size)
        .needs(&[Need::Root]),
    must(
        PROCESS,
        "process-console-size-ignored",
        "consoleSize is ignored without a terminal",
        console_size_ignored,
    ),
    must(
        "config-linux.md#default-devices",
        "process-console-device",
        "with a terminal there is /dev/console",
        console_device,
    )
    .needs(&[Need::Root]),
    must(PROCESS, "process-cwd", "cwd is the working directory", cwd),
    must(PROCESS, "process-cwd-relative", "a cwd that is not absolute is an error", cwd_relative),
    must(PROCESS, "process-cwd-required", "a process without cwd is an error", cwd_required),
    must(PROCESS, "process-env", "env is the environment", env),
    must(
        PROCESS,
        "process-env-not-inherited",
        "env is all of the environment: nothing comes from the runtime's",
        env_not_inherited,
    ),
    must(PROCESS, "process-args", "args are the arguments, each as it is", args),
    must(PROCESS, "process-args-path", "a program without a slash is looked up in PATH", args_by_path),
    must(PROCESS, "process-args-missing", "a program that is not there is an error", args_missing),
    must(PROCESS, "process-args-empty", "at least one argument is required: none", args_empty),
    must(PROCESS, "process-args-unset", "at least one argument is required: not set", args_unset),
    must(
        "runtime-linux.md#file-descriptors",
        "process-descriptors",
        "only the three standard streams are open",
        descriptors,
    ),
    must(POSIX, "rlimit-CORE", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimit-FSIZE", "getrlimit tells soft and hard limit as configured", rlimit_large),
    must(POSIX, "rlimit-NPROC", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimit-NOFILE", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimit-LOCKS", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimit-MSGQUEUE", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimit-SIGPENDING", "getrlimit tells soft and hard limit as configured", rlimit),
    must(POSIX, "rlimits-several", "all entries have their effect", rlimits),
    must(POSIX, "rlimits-unknown-type", "a type that the kernel does not have is an error", rlimit_unknown),
    must(POSIX, "rlimits-duplicates", "two entries of a type are an error", rlimit_twice),
    must(
        "config.md#valid-values",
        "rlimits-soft-above-hard",
        "a soft limit above the hard one cannot be set and is an error",
        rlimit_soft_above_hard,
    ),
    must(
        LINUX,
        "process-no-new-privileges-true",
        "noNewPrivileges is the process's no_new_privs",
        no_new_privileges,
    ),
    must(
        LINUX,
        "process-no-new-privileges-false",
        "noNewPrivileges is the process's no_new_privs",
        no_new_privileges,
    ),
    must(LINUX, "process-oom-score", "oomScoreAdj is what is set", oom_score),
    must(LINUX, "process-oom-score-unset", "without oomScoreAdj the score is not changed", oom_score_unset),
    must(
        VALID,
        "process-oom-score-beyond",
        "a score that the kernel does not take is an error",
        oom_score_beyond,
    ),
    must(LINUX, "process-scheduler-OTHER", "policy, nice and priority are what is set", scheduler),
    must(LINUX, "process-scheduler-BATCH", "policy, nice and priority are what is set", scheduler),
    must(LINUX, "process-scheduler-IDLE", "policy, nice and priority are what is set", scheduler),
    must(LINUX, "process-scheduler-RR", "policy, nice and priority are what is set", real_time)
        .needs(&[Need::Root]),
    must(LINUX, "process-scheduler-FIFO", "policy, nice and priority are what is set", real_time)
        .needs(&[Need::Root]),
    must(LINUX, "process-scheduler-defaults", "nice and priority that are not set are 0", scheduler_defaults),
    must(LINUX, "process-scheduler-flags", "flags are what is set", scheduler_flags),
    must(VALID, "process-scheduler-unknown", "an unknown policy is an error", scheduler_unknown),
    must(VALID, "process-scheduler-unknown-flag", "an unknown flag is an error", scheduler_unknown_flag),
    must(LINUX, "process-io-priority-BE", "class and priority are what is set", io_priority),
    must(LINUX, "process-io-priority-IDLE", "class and priority are what is set", io_priority),
    must(VALID, "process-io-priority-class", "an unknown class is an error", io_priority_class),
    must(VALID, "process-io-priority-level", "a priority above 7 is an error", io_priority_level),
    must(
        LINUX,
        "process-exec-affinity",
        "execCPUAffinity is not for the container's first process",
        exec_affinity,
    ),
    must(
        VALID,
        "process-apparmor-absent",
        "an AppArmor profile that cannot be applied is an error",
        apparmor,
    )
    .needs(&[Need::NoFile("/sys/kernel/security/apparmor")]),
    must(VALID, "process-selinux-absent", "an SELinux label that cannot be applied is an error", selinux)
        .needs(&[Need::NoFile("/sys/fs/selinux/enforce")]),
];

/// Of bytes: the report itself must still be written.
fn rlimit_large(t: &mut Trial) {
    t.set("/process/rlimits", json!([{ "type": "RLIMIT_FSIZE", "soft": 1_000_000, "hard": 2_000_000 }]));
    let report = t.inside();
    assert_eq!(report["limits"]["RLIMIT_FSIZE"], json!({ "soft": 1_000_000, "hard": 2_000_000 }));
}

/// A kernel with RT_GROUP_SCHED gives new groups of cgroup v1 no time to run in.
fn real_time(t: &mut Trial) {
    let grouped = std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    if grouped {
        skip("the kernel gives groups of cgroup v1 no real time");
    }
    scheduler(t);
}
