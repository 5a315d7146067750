//! config-linux.md, "Seccomp", and "The Container Process State".

use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::thread;

use conformance::sys::{self, Answer};
use serde_json::{Value, json};

use super::super::case::{Case, Need, must};
use super::super::trial::{Trial, skip};

/// Everything is allowed but what one rule says.
fn rule(t: &mut Trial, rule: &Value) {
    t.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
}

/// What the process says of a call: the value or the error.
fn call(t: &mut Trial, number: libc::c_long, argument: u64) -> String {
    t.says(&["call", &number.to_string(), &argument.to_string()])
}

fn errno_default(t: &mut Trial) {
    rule(t, &json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" }));
    assert_eq!(call(t, libc::SYS_getppid, 0), "EPERM");
    assert_eq!(t.inside()["security"]["seccomp_mode"], 2);
}

fn errno_given(t: &mut Trial) {
    rule(t, &json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV }));
    assert_eq!(call(t, libc::SYS_getppid, 0), "EXDEV");
}

/// What the probe makes of calls to make one more.
const NEEDED: &str = "arch_prctl brk capset clock_gettime close execve exit exit_group fcntl fstat futex getrandom ioctl lseek \
    madvise mmap mprotect mremap munmap newfstatat open openat poll ppoll prctl prlimit64 read readlink readlinkat rseq \
    rt_sigaction rt_sigprocmask sched_getaffinity set_robust_list set_tid_address sigaltstack statx write writev getpid gettid \
    access capget dup2 dup3 epoll_ctl epoll_pwait faccessat faccessat2 fchdir fchown fstatfs getdents64 getuid getgid geteuid \
    getegid nanosleep setgid setgroups setuid setsid stat lstat statfs socket connect sendmsg recvmsg sendto recvfrom \
    close_range pipe2 clone clone3 wait4 tgkill getcwd chdir umask keyctl uname sysinfo rt_sigreturn restart_syscall";

fn default_errno(t: &mut Trial) {
    let names: Vec<&str> = NEEDED.split_whitespace().collect();
    t.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::ENODATA,
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
        }),
    );
    assert_eq!(call(t, libc::SYS_getppid, 0), "ENODATA");
    assert_ne!(call(t, libc::SYS_getuid, 0), "ENODATA");
}

fn kills(t: &mut Trial) {
    let action = format!("SCMP_ACT_{}", t.word());
    rule(t, &json!({ "names": ["getppid"], "action": action }));
    let number = libc::SYS_getppid.to_string();
    let ended = t.life(&["probe", "call", &number]);
    assert_eq!(ended.stdout, "", "the process outlived the call");
    if let Some(status) = ended.status {
        let killed =
            matches!(status, nix::sys::wait::WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGSYS, _));
        assert!(killed, "{status:?}");
    }
}

fn passes(t: &mut Trial) {
    let action = format!("SCMP_ACT_{}", t.word());
    rule(t, &json!({ "names": ["getppid"], "action": action }));
    assert_eq!(call(t, libc::SYS_getppid, 0), "0");
}

/// personality(2) takes a number and here returns an error for it, or does not.
fn operator(t: &mut Trial) {
    let (op, value, two) = match t.word() {
        "MASKEDEQ" => ("MASKED_EQ", 0xf0, Some(0x10)),
        word => (word, 5, None),
    };
    let mut argument = json!({ "index": 0, "op": format!("SCMP_CMP_{op}"), "value": value });
    if let Some(two) = two {
        argument["valueTwo"] = json!(two);
    }
    rule(
        t,
        &json!({ "names": ["alarm"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV, "args": [argument] }),
    );
    let matches = |number: u64| match op {
        "NE" => number != 5,
        "LT" => number < 5,
        "LE" => number <= 5,
        "EQ" => number == 5,
        "GE" => number >= 5,
        "GT" => number > 5,
        _ => number & 0xf0 == 0x10,
    };
    let numbers = if op == "MASKED_EQ" { [0x1f, 0x2f, 0xf] } else { [4, 5, 6] };
    for number in numbers {
        let said = call(t, libc::SYS_alarm, number);
        assert_eq!(said == "EXDEV", matches(number), "{op} of {number}: {said}");
    }
}

/// All of the arguments of a rule must fit.
fn arguments(t: &mut Trial) {
    let argument = |index: u32, value: u64| json!({ "index": index, "op": "SCMP_CMP_EQ", "value": value });
    let args = [argument(0, 1), argument(1, 2)];
    rule(
        t,
        &json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV, "args": args }),
    );
    let number = libc::SYS_getppid.to_string();
    assert_eq!(t.says(&["call", &number, "1", "2"]), "EXDEV");
    assert_eq!(t.says(&["call", &number, "1", "3"]), "0");
}

fn several(t: &mut Trial) {
    rule(t, &json!({ "names": ["getppid", "getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV }));
    assert_eq!(call(t, libc::SYS_getppid, 0), "EXDEV");
    assert_eq!(call(t, libc::SYS_getpgid, 0), "EXDEV");
}

fn refused(t: &mut Trial, profile: &Value) {
    t.set("/linux/seccomp", profile.clone());
    t.refused_until_started();
}

fn unknown_action(t: &mut Trial) {
    refused(t, &json!({ "defaultAction": "SCMP_ACT_NONSENSE" }));
}

fn unknown_operator(t: &mut Trial) {
    let argument = json!({ "index": 0, "op": "SCMP_CMP_NONSENSE", "value": 1 });
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "args": [argument] });
    refused(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
}

fn unknown_architecture(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    refused(
        t,
        &json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONSENSE"], "syscalls": [rule] }),
    );
}

fn unknown_flag(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    refused(
        t,
        &json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NONSENSE"], "syscalls": [rule] }),
    );
}

fn no_names(t: &mut Trial) {
    refused(
        t,
        &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": [], "action": "SCMP_ACT_ERRNO" }] }),
    );
}

fn errno_for_allow(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS", "errnoRet": 5 });
    refused(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }));
}

fn default_errno_for_allow(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    refused(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5, "syscalls": [rule] }));
}

fn metadata_alone(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    refused(t, &json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x", "syscalls": [rule] }));
}

fn flags(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    let flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
    t.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": [rule] }));
    assert_eq!(call(t, libc::SYS_getppid, 0), "EPERM");
}

fn notify_rule() -> Value {
    json!({ "names": ["getppid"], "action": "SCMP_ACT_NOTIFY" })
}

/// A container with an agent that answers 4711 to what it is asked; what it was told at first, and what the program said.
fn notified(t: &mut Trial) -> (Value, String) {
    let path = t.directory().join("agent.sock");
    let listener = UnixListener::bind(&path).expect("our own directory");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [notify_rule()],
        "listenerPath": path, "listenerMetadata": "what we are told",
    });
    t.set("/linux/seccomp", profile);
    let agent = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("the runtime connects");
        let (fd, mut bytes) =
            sys::receive_descriptor(&connection).expect("a descriptor comes with the first bytes");
        // To the end: the runtime closes the connection when it has sent one state.
        connection.read_to_end(&mut bytes).expect("the connection ends");
        let state: Value = serde_json::from_slice(&bytes).expect("one state, in JSON");
        while let Ok(notified) = sys::next_notified(std::os::fd::AsFd::as_fd(&fd)) {
            let _ = sys::answer_notified(std::os::fd::AsFd::as_fd(&fd), notified, Answer::Return(4711));
        }
        state
    });
    t.args(&["probe", "call", &libc::SYS_getppid.to_string()]);
    let create = t.create();
    if create.stderr.to_lowercase().contains("not supported") {
        skip("the runtime's libseccomp has no notifications");
    }
    create.ok();
    let output = t.output_file(0);
    let pid = t.pid();
    t.start().ok();
    t.end();
    let said = std::fs::read_to_string(output).unwrap_or_default();
    let mut state = agent.join().expect("the agent ends with the container");
    state["expected"] = json!(pid);
    (state, said.trim_end().to_owned())
}

fn notify(t: &mut Trial) {
    let (_, said) = notified(t);
    assert_eq!(said, "4711", "the agent's answer");
}

fn notify_state(t: &mut Trial) {
    let (state, _) = notified(t);
    assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
    assert_eq!(state["metadata"], "what we are told", "{state}");
    assert_eq!(state["pid"], state["expected"], "{state}");
    assert!(state["ociVersion"].is_string(), "{state}");
    assert_eq!(state["state"]["id"], json!(t.id), "{state}");
    assert_eq!(state["state"]["bundle"], json!(t.directory()), "{state}");
}

fn notify_nobody(t: &mut Trial) {
    let path = t.directory().join("agent.sock");
    let profile =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [notify_rule()], "listenerPath": path });
    refused(t, &profile);
}

fn listener_ignored(t: &mut Trial) {
    let rule = json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" });
    t.set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": "/nowhere/at/all" }),
    );
    assert_eq!(call(t, libc::SYS_getppid, 0), "EPERM");
}

const SECCOMP: &str = "config-linux.md#seccomp";
const STATE: &str = "config-linux.md#the-container-process-state";
const VALID: &str = "config.md#valid-values";
const OPERATOR: &str = "the operator compares the argument with value and, if it has two, valueTwo";

const ROOT: &[Need] = &[Need::Root];

pub const CASES: &[Case] = &[
    must(SECCOMP, "seccomp-errno", "ERRNO without errnoRet is EPERM", errno_default),
    must(SECCOMP, "seccomp-errno-given", "errnoRet is the error", errno_given),
    must(
        SECCOMP,
        "seccomp-default-errno",
        "defaultAction and defaultErrnoRet are for what no rule names",
        default_errno,
    ),
    must(SECCOMP, "seccomp-action-KILL", "the action is taken", kills),
    must(SECCOMP, "seccomp-action-TRAP", "the action is taken", kills),
    must(SECCOMP, "seccomp-action-ALLOW", "the action is taken", passes),
    must(SECCOMP, "seccomp-action-LOG", "the action is taken", passes),
    must(SECCOMP, "seccomp-names", "a rule is for all of its names", several),
    must(SECCOMP, "seccomp-args", "all arguments of a rule must fit", arguments),
    must(SECCOMP, "seccomp-op-NE", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-LT", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-LE", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-EQ", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-GE", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-GT", OPERATOR, operator),
    must(SECCOMP, "seccomp-op-MASKEDEQ", OPERATOR, operator),
    must(SECCOMP, "seccomp-flags", "flags are those of seccomp(2)", flags).needs(ROOT),
    must(VALID, "seccomp-unknown-action", "an unknown action is an error", unknown_action),
    must(VALID, "seccomp-unknown-operator", "an unknown operator is an error", unknown_operator),
    must(VALID, "seccomp-unknown-architecture", "an unknown architecture is an error", unknown_architecture),
    must(VALID, "seccomp-unknown-flag", "an unknown flag is an error", unknown_flag),
    must(SECCOMP, "seccomp-no-names", "a rule without names is an error", no_names),
    must(
        SECCOMP,
        "seccomp-errno-unsupported",
        "errnoRet of an action that has none is an error",
        errno_for_allow,
    ),
    must(
        SECCOMP,
        "seccomp-default-errno-unsupported",
        "defaultErrnoRet of an action that has none is an error",
        default_errno_for_allow,
    ),
    must(
        SECCOMP,
        "seccomp-metadata-alone",
        "listenerMetadata without listenerPath is an error",
        metadata_alone,
    ),
    must(SECCOMP, "seccomp-notify", "the agent at listenerPath decides on what is notified", notify)
        .needs(ROOT),
    must(
        STATE,
        "seccomp-notify-state",
        "the agent is sent one state with its descriptors named, and the connection closed",
        notify_state,
    )
    .needs(ROOT),
    must(
        SECCOMP,
        "seccomp-notify-nobody",
        "a listenerPath at which nobody listens is an error",
        notify_nobody,
    ),
    must(
        SECCOMP,
        "seccomp-listener-ignored",
        "listenerPath is ignored when nothing is notified",
        listener_ignored,
    ),
];
