//! config-linux.md, "Seccomp": what the kernel does to the container's processes under the profile.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use conformance::harness::{
    Container, Output, beyond_runc, eventually, is_denied, require_program, require_root,
};
use conformance::sys::{self, Answer};
use serde_json::{Value, json};

/// What a process that SIGSYS has killed leaves as the exit code of the container.
const KILLED: i32 = 128 + libc::SIGSYS;

/// A container under `profile`, without and with "noNewPrivileges".
fn under(profile: &Value) -> [Container; 2] {
    [false, true].map(|no_new_privileges| {
        let mut container = Container::new();
        container.config["linux"]["seccomp"] = profile.clone();
        container.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        container
    })
}

/// Everything is allowed but `names`.
fn but(names: &[&str], action: &str) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": names, "action": action }] })
}

fn call(container: &mut Container, number: libc::c_long, arguments: &[&str]) -> Output {
    let number = number.to_string();
    container.args(&[&["probe", "call", &number], arguments].concat());
    container.run()
}

/// "A valid list of constants": ALLOW; the filter is there, and no_new_privs only as asked.
#[test]
fn a_filter_is_loaded_and_no_new_privs_is_as_asked() {
    for (container, asked) in under(&but(&["mkdir"], "SCMP_ACT_ERRNO")).iter_mut().zip([false, true]) {
        let report = container.report();
        assert_eq!(report["security"]["seccomp_mode"], 2);
        assert_eq!(report["security"]["no_new_privs"], json!(asked));
        assert_eq!(report["security"]["seccomp_filters"], u64::from(is_denied()) + 1);
    }
}

/// Filters of who starts the runtime stay, as that of `deny`.
fn assert_no_filter(report: &Value) {
    assert_eq!(report["security"]["seccomp_mode"], if is_denied() { 2 } else { 0 });
    assert_eq!(report["security"]["seccomp_filters"], u64::from(is_denied()));
}

#[test]
fn without_a_profile_there_is_no_filter() {
    assert_no_filter(&Container::new().report());
}

/// Loading takes a capability that the container did not ask for: it is gone when the program runs.
#[test]
fn the_capabilities_are_those_asked_for() {
    let mut plain = Container::new();
    plain.config["process"]["noNewPrivileges"] = json!(false);
    let expected = plain.report()["capabilities"].clone();
    assert!(expected.is_object(), "{expected}");
    for mut container in under(&but(&["mkdir"], "SCMP_ACT_ERRNO")) {
        assert_eq!(container.report()["capabilities"], expected);
    }
}

/// The same for another user than root, whose capabilities go with its id.
#[test]
fn another_user_gets_the_filter_too() {
    if !require_root() {
        return;
    }
    for mut container in under(&but(&["getcwd"], "SCMP_ACT_ERRNO")) {
        container.config["process"]["user"] = json!({ "uid": 1001, "gid": 1002 });
        let report = container.report();
        assert_eq!(report["security"]["seccomp_mode"], 2);
        assert_eq!(call(&mut container, libc::SYS_getcwd, &["0", "0"]).stdout, "EPERM\n");
    }
}

/// "errnoRet … If not specified its default value is EPERM."
#[test]
fn a_refused_call_fails_with_the_errno_asked_for() {
    for (errno, name) in [(None, "EPERM"), (Some(libc::EXDEV), "EXDEV"), (Some(libc::ENOSYS), "ENOSYS")] {
        let mut profile = but(&["getppid"], "SCMP_ACT_ERRNO");
        if let Some(errno) = errno {
            profile["syscalls"][0]["errnoRet"] = json!(errno);
        }
        for mut container in under(&profile) {
            assert_eq!(call(&mut container, libc::SYS_getppid, &[]).stdout, format!("{name}\n"));
            call(&mut container, libc::SYS_getuid, &[]).ok();
        }
    }
}

/// "defaultErrnoRet": for what no rule names.  The list is what the probe needs, a shell-less static program.
#[test]
fn the_default_action_is_for_the_rest() {
    let mut probe: Vec<&str> = PROBE.to_vec();
    probe.push("getuid");
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::ENODATA,
        "syscalls": [{ "names": probe, "action": "SCMP_ACT_ALLOW" }],
    });
    for mut container in under(&profile) {
        assert_eq!(call(&mut container, libc::SYS_getppid, &[]).stdout, "ENODATA\n");
        call(&mut container, libc::SYS_getuid, &[]).ok();
    }
}

/// What the probe makes of system calls to make one more and say what came of it.
const PROBE: [&str; 38] = [
    "arch_prctl",
    "brk",
    "capset",
    "clock_gettime",
    "close",
    "execve",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "futex",
    "getrandom",
    "ioctl",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "rt_sigreturn",
    "statx",
    "tgkill",
    "write",
];

/// "SCMP_ACT_KILL, KILL_PROCESS, KILL_THREAD, TRAP": the process dies of SIGSYS.
#[test]
fn a_killing_action_ends_the_container_with_sigsys() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        for mut container in under(&but(&["getppid"], action)) {
            let output = call(&mut container, libc::SYS_getppid, &[]);
            assert_eq!(output.code(), KILLED, "{action}: {output}");
            assert_eq!(output.stdout, "", "{action}");
        }
    }
}

/// "SCMP_ACT_LOG": the call is made.
#[test]
fn a_logged_call_is_made() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_LOG")) {
        call(&mut container, libc::SYS_getppid, &[]).ok();
    }
}

/// "SCMP_ACT_TRACE": without a tracer the call is not there.
#[test]
fn a_traced_call_without_a_tracer_is_not_there() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_TRACE")) {
        assert_eq!(call(&mut container, libc::SYS_getppid, &[]).stdout, "ENOSYS\n");
    }
}

/// "args": conditions on the arguments.
#[test]
fn arguments_decide() {
    let mut profile = but(&["getpriority"], "SCMP_ACT_ERRNO");
    profile["syscalls"][0]["args"] = json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_LT" }, { "index": 1, "value": 7, "op": "SCMP_CMP_EQ" }]);
    for mut container in under(&profile) {
        assert_eq!(call(&mut container, libc::SYS_getpriority, &["0", "7"]).stdout, "EPERM\n");
        assert_ne!(call(&mut container, libc::SYS_getpriority, &["2", "7"]).stdout, "EPERM\n");
        assert_ne!(call(&mut container, libc::SYS_getpriority, &["0", "0"]).stdout, "EPERM\n");
    }
}

/// A call by the gate of another architecture than those listed is not let through.
#[test]
fn a_foreign_architecture_is_refused() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let getppid_of_x86 = "64";
    let mut profile = but(&["mkdir"], "SCMP_ACT_ERRNO");
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    for mut container in under(&profile) {
        container.args(&["probe", "call-32", getppid_of_x86]);
        assert_eq!(container.run().code(), KILLED);
        // Without a filter the gate is open.
        container.config["linux"]["seccomp"] = Value::Null;
        container.run().ok();
    }
}

/// The program must be allowed to begin: known before anything is made.
#[test]
fn a_profile_that_refuses_the_program_is_refused() {
    if beyond_runc("it fails at start") {
        return;
    }
    for (action, word) in [("SCMP_ACT_ERRNO", "EPERM"), ("SCMP_ACT_KILL_PROCESS", "kill the process")] {
        for container in under(&but(&["execve"], action)) {
            let output = container.run().fails();
            for part in ["linux.seccomp: execve", word] {
                assert!(output.stderr.contains(part), "{output}");
            }
            container.assert_clean();
        }
    }
    let [privileged, not] = under(&but(&["capset"], "SCMP_ACT_ERRNO"));
    privileged.run().fails_with("linux.seccomp: capset");
    not.run().ok();
}

/// A filter that looks at the arguments of execve is not foreseen; its refusal is told, also where it refuses to let us tell.
#[test]
fn a_refusal_of_execve_is_told() {
    if beyond_runc("it tells less") {
        return;
    }
    let mut execve = but(&["execve"], "SCMP_ACT_ERRNO")["syscalls"][0].clone();
    execve["args"] = json!([{ "index": 0, "value": 0, "op": "SCMP_CMP_NE" }]);
    execve["errnoRet"] = json!(libc::EDOM);
    let mute = json!({ "names": ["sendto", "sendmsg", "write"], "action": "SCMP_ACT_ERRNO" });
    let mut dumb = mute.clone();
    dumb["names"] = json!(["sendto", "sendmsg", "write", "exit_group", "exit"]);
    let mut deadly = execve.clone();
    deadly["action"] = json!("SCMP_ACT_KILL_PROCESS");
    deadly.as_object_mut().expect("a rule").remove("errnoRet");
    for (rules, words) in [
        (json!([execve]), "argument out of domain"),
        (json!([execve, mute]), "argument out of domain"),
        (json!([execve, dumb]), "killed by signal"),
        (json!([deadly]), "killed by its filter (SIGSYS)"),
    ] {
        for container in under(&json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })) {
            let output = container.run().fails();
            assert!(output.stderr.to_lowercase().contains(&words.to_lowercase()), "{words}: {output}");
            container.assert_clean();
        }
    }
}

/// exec: "the container's seccomp", whatever the process is.
#[test]
fn a_process_that_is_executed_later_is_confined_too() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_ERRNO")) {
        container.launch_trap(&["TERM"]);
        let number = libc::SYS_getppid.to_string();
        let output = container.runtime(&["exec", &container.id, "probe", "call", &number]);
        assert_eq!(output.stdout, "EPERM\n", "{output}");
        let report = container.runtime(&["exec", &container.id, "probe", "report", "--json"]).json();
        assert_eq!(report["security"]["seccomp_mode"], 2);
        // The bundle is not asked again.
        container.config["linux"]["seccomp"] = Value::Null;
        let output = container.runtime(&["exec", &container.id, "probe", "call", &number]);
        assert_eq!(output.stdout, "EPERM\n", "{output}");
        container.kill("TERM").ok();
        container.await_status("stopped");
    }
}

#[test]
fn exec_in_a_container_without_a_filter_has_none() {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let report = container.runtime(&["exec", &container.id, "probe", "report", "--json"]).json();
    assert_no_filter(&report);
}

/// How the filter of a container is loaded, by strace's record of seccomp(2).
fn load_of(container: &mut Container) -> String {
    let trace = container.directory().join("trace");
    container.by =
        ["strace", "-f", "-e", "trace=seccomp", "-o", &trace.to_string_lossy()].map(str::to_owned).into();
    container.run().ok();
    let trace = fs::read_to_string(trace).expect("strace writes a file");
    let loads: Vec<_> = trace.lines().filter(|line| line.contains("SET_MODE_FILTER")).collect();
    assert_eq!(loads.len(), 1, "{trace}");
    loads[0].to_owned()
}

/// "flags": handed to seccomp(2) as given.
#[test]
fn flags_are_handed_on() {
    if !require_program("strace") || !require_root() {
        return;
    }
    for (given, wanted) in [
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), "SECCOMP_FILTER_FLAG_LOG, "),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC"]), "SECCOMP_FILTER_FLAG_TSYNC, "),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), "SECCOMP_FILTER_FLAG_SPEC_ALLOW, "),
        (json!([]), "SECCOMP_SET_MODE_FILTER, 0, "),
    ] {
        for mut container in under(&but(&["mkdir"], "SCMP_ACT_ERRNO")) {
            container.config["linux"]["seccomp"]["flags"] = given.clone();
            let load = load_of(&mut container);
            assert!(load.contains(wanted), "{wanted}: {load}");
        }
    }
}

/// With a listener, beside the flag that asks for it.
#[test]
fn flags_are_handed_on_with_a_listener() {
    if !require_program("strace") || !require_root() || beyond_runc("1.1 knows not all of them") {
        return;
    }
    // Older strace has no name for the last one, and shows its bit.
    for (given, wanted) in [
        ("SECCOMP_FILTER_FLAG_LOG", &["SECCOMP_FILTER_FLAG_LOG|SECCOMP_FILTER_FLAG_NEW_LISTENER, "][..]),
        (
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            &[
                "SECCOMP_FILTER_FLAG_NEW_LISTENER|SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, ",
                "SECCOMP_FILTER_FLAG_NEW_LISTENER|0x20, ",
            ],
        ),
    ] {
        for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
            let agent = Agent::new(&container, Answer::Continue);
            agent.watch(&mut container);
            container.config["linux"]["seccomp"]["flags"] = json!([given]);
            let load = load_of(&mut container);
            assert!(wanted.iter().any(|wanted| load.contains(wanted)), "{given}: {load}");
            // It is told of the filter beside all that happens.
            eventually("the agent was told once", || agent.states().len() == 1);
        }
    }
}

/// A seccomp agent: answers every call that is notified, and notes which it was.
struct Agent {
    path: PathBuf,
    seen: Arc<Mutex<BTreeSet<i64>>>,
    states: Arc<Mutex<Vec<Value>>>,
}

impl Agent {
    /// Answers getppid with `answer`, and lets all others happen.
    fn new(container: &Container, answer: Answer) -> Self {
        let path = container.directory().join("agent.sock");
        let socket = UnixListener::bind(&path).expect("our own directory");
        let (seen, states) = (Arc::default(), Arc::default());
        let agent = Self { path, seen, states };
        let (seen, states) = (agent.seen.clone(), agent.states.clone());
        thread::spawn(move || {
            for connection in socket.incoming().flatten() {
                let (listener, state) = receive(&connection);
                states.lock().expect("nobody panics").push(state);
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(&listener, answer, &seen));
            }
        });
        agent
    }

    fn watch(&self, container: &mut Container) {
        container.config["linux"]["seccomp"]["listenerPath"] = json!(self.path);
        container.config["linux"]["seccomp"]["listenerMetadata"] = json!("what we are told");
    }

    fn states(&self) -> Vec<Value> {
        self.states.lock().expect("nobody panics").clone()
    }

    fn saw(&self, number: libc::c_long) -> bool {
        self.seen.lock().expect("nobody panics").contains(&number)
    }
}

/// One message in one connection, which then ends.
fn receive(mut connection: &UnixStream) -> (OwnedFd, Value) {
    let (listener, mut bytes) =
        sys::receive_descriptor(connection).expect("a descriptor comes with the first bytes");
    connection.read_to_end(&mut bytes).expect("the connection ends");
    (listener, serde_json::from_slice(&bytes).expect("JSON"))
}

fn serve(listener: &OwnedFd, answer: Answer, seen: &Mutex<BTreeSet<i64>>) {
    // The next one fails when the last process is gone.
    while let Ok(notified) = sys::next_notified(listener.as_fd()) {
        seen.lock().expect("nobody panics").insert(notified.number);
        let answer = if notified.number == libc::SYS_getppid { answer } else { Answer::Continue };
        let _ = sys::answer_notified(listener.as_fd(), notified, answer);
    }
}

/// "listenerPath … the container process state": run, exec, and create with start.
#[test]
fn a_notified_call_is_answered_by_the_agent() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
        let agent = Agent::new(&container, Answer::Return(4711));
        agent.watch(&mut container);
        assert_eq!(call(&mut container, libc::SYS_getppid, &[]).ok().stdout, "4711\n");
        let states = agent.states();
        let [state] = states.as_slice() else { panic!("{states:?}") };
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "what we are told");
        assert_eq!(state["state"]["id"], json!(container.id));
        assert_eq!(state["state"]["bundle"], json!(container.directory()));
        assert!(state["pid"].as_i64() > Some(1) && state["pid"] == state["state"]["pid"], "{state}");
        assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
        container.delete(&["--force"]).ok();

        container.launch_trap(&["TERM"]);
        let number = libc::SYS_getppid.to_string();
        let output = container.runtime(&["exec", &container.id, "probe", "call", &number]);
        assert_eq!(output.ok().stdout, "4711\n");
        let states = agent.states();
        let [_, started, executed] = states.as_slice() else { panic!("{states:?}") };
        assert_eq!(started["pid"], container.state()["pid"]);
        assert_eq!(executed["state"]["pid"], container.state()["pid"]);
        assert_ne!(executed["pid"], started["pid"]);
        container.kill("TERM").ok();
        container.await_status("stopped");
    }
}

#[test]
fn the_agent_may_refuse() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
        let agent = Agent::new(&container, Answer::Fail(libc::EDOM));
        agent.watch(&mut container);
        assert_eq!(call(&mut container, libc::SYS_getppid, &[]).stdout, "EDOM\n");
    }
}

/// The way of the listener must not lead through the calls that it decides.
#[test]
fn the_listener_arrives_whatever_is_notified() {
    if beyond_runc("it refuses to notify write") {
        return;
    }
    let sending = [
        "sendmsg",
        "sendto",
        "connect",
        "recvmsg",
        "recvfrom",
        "read",
        "write",
        "close",
        "futex",
        "nanosleep",
    ];
    let ours = ["capset", "execve", "exit_group", "prctl"];
    for names in [&sending[..1], &["write"], &sending, &[&sending[..], &ours].concat()] {
        for mut container in under(&but(names, "SCMP_ACT_NOTIFY")) {
            let agent = Agent::new(&container, Answer::Continue);
            agent.watch(&mut container);
            container.args(&["probe", "echo", "said"]);
            assert_eq!(container.run().lines(), ["said"], "{names:?}");
            assert_eq!(agent.saw(libc::SYS_write), names.contains(&"write"), "{names:?}");
            assert_eq!(agent.saw(libc::SYS_execve), names.contains(&"execve"), "{names:?}");
            // It is told of the filter beside all that happens.
            eventually("the agent was told once", || agent.states().len() == 1);
        }
    }
}

/// As above, where all but the start of the program is refused or notified.
#[test]
fn everything_may_be_notified() {
    if beyond_runc("it refuses SCMP_ACT_NOTIFY as default") {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_NOTIFY" });
    for mut container in under(&profile) {
        let agent = Agent::new(&container, Answer::Return(4711));
        agent.watch(&mut container);
        assert_eq!(call(&mut container, libc::SYS_getppid, &[]).ok().stdout, "4711\n");
        assert!(agent.saw(libc::SYS_execve) && agent.saw(libc::SYS_exit_group));
        // Detached, where `start` is another process.
        container.delete(&["--force"]).ok();
        let output = container.launch(&["probe", "call", &libc::SYS_getppid.to_string()]);
        container.await_status("stopped");
        assert_eq!(fs::read_to_string(output).expect("our own file"), "4711\n");
    }
}

/// "If sending to this socket fails, the runtime MUST generate an error."
#[test]
fn without_an_agent_there_is_an_error() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
        container.run().fails_with("listenerPath");
        container.assert_clean();
        let path = container.directory().join("agent.sock");
        container.config["linux"]["seccomp"]["listenerPath"] = json!(path);
        container.run().fails_with("agent.sock");
        container.assert_clean();
        fs::write(&path, "").expect("our own directory");
        container.run().fails_with("agent.sock");
        container.assert_clean();
        fs::remove_file(&path).expect("our own directory");
        // A socket that nobody listens on.
        drop(UnixListener::bind(&path).expect("our own directory"));
        container.run().fails_with("agent.sock");
        container.assert_clean();
    }
}

/// As above, found out when the container is started.
#[test]
fn an_agent_that_is_gone_at_start_is_an_error() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
        let path = container.directory().join("agent.sock");
        container.config["linux"]["seccomp"]["listenerPath"] = json!(path);
        let agent = UnixListener::bind(&path).expect("our own directory");
        container.create().ok();
        drop(agent);
        container.runtime(&["start", &container.id]).fails_with("agent.sock");
        container.await_status("stopped");
        container.delete(&[]).ok();
        container.assert_clean();
    }
}

/// A call that waits for the agent does not hold up the end of the container.
#[test]
fn a_waiting_call_can_be_killed() {
    for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
        let path = container.directory().join("agent.sock");
        container.config["linux"]["seccomp"]["listenerPath"] = json!(path);
        container.config["linux"]["seccomp"]["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
        let socket = UnixListener::bind(&path).expect("our own directory");
        let silent = thread::spawn(move || receive(&socket.accept().expect("a connection").0).0);
        container.launch(&["probe", "call", &libc::SYS_getppid.to_string()]);
        let _listener = silent.join().expect("a listener");
        container.kill("KILL").ok();
        container.await_status("stopped");
    }
}

/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a signal interrupts a call that waits for the agent, but for one that the agent has begun
/// with when the flag is given.
#[test]
fn a_signal_interrupts_a_waiting_call_unless_the_flag_says_no() {
    if beyond_runc("1.1 does not know the flag") {
        return;
    }
    for (flags, said) in
        [(json!([]), "EINTR\n"), (json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), "4711\n")]
    {
        for mut container in under(&but(&["getppid"], "SCMP_ACT_NOTIFY")) {
            let path = container.directory().join("agent.sock");
            container.config["linux"]["seccomp"]["listenerPath"] = json!(path);
            container.config["linux"]["seccomp"]["flags"] = flags.clone();
            let socket = UnixListener::bind(&path).expect("our own directory");
            let kept = flags != json!([]);
            let agent = thread::spawn(move || {
                let (listener, _) = receive(&socket.accept().expect("a connection").0);
                let notified = sys::next_notified(listener.as_fd()).expect("a call");
                interrupt(&listener, notified, kept);
                listener
            });
            container.args(&["probe", "call-interrupted", &libc::SYS_getppid.to_string()]);
            assert_eq!(container.run().stdout, said);
            agent.join().expect("the agent does not panic");
        }
    }
}

/// Sends a signal to who waits for an answer; with `kept` it waits on, and is answered.
fn interrupt(listener: &OwnedFd, notified: sys::Notified, kept: bool) {
    let pid = nix::unistd::Pid::from_raw(notified.pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).expect("it waits for us");
    let waits = || sys::is_waiting(listener.as_fd(), notified);
    if !kept {
        return eventually("the call is interrupted", || !waits());
    }
    // Whoever is interrupted is so soon: this can only find too little.
    thread::sleep(Duration::from_millis(100));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it waits for us");
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("pending signals");
    let pending = u64::from_str_radix(pending.trim(), 16).expect("a mask");
    assert_eq!(pending, 1 << (libc::SIGUSR1 - 1), "{status}");
    assert!(waits());
    sys::answer_notified(listener.as_fd(), notified, Answer::Return(4711)).expect("it waits for us");
}
