//! I6 between the steps: a runtime that is killed before any system call of create, start, pause, resume, update, kill or delete
//! leaves what `delete --force` removes whole; so too one of checkpoint and restore, before every few of their calls.
//!
//! The victims are this program, traced: the tracer sees every system call, and kills before the one whose turn it is.  With
//! `ORLOP_RUNTIME_ARGS=--systemd-cgroup` the containers are units.  `ORLOP_SWEEP_EVERY=N` kills before
//! every Nth call only.
// The calls of ptrace have no safe form in the crates at hand.
#![allow(missing_docs, unsafe_code)]

#[path = "common/leftovers.rs"]
mod leftovers;

use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use orlop_core::{
    CheckpointOptions, Container, CreateOptions, CriuSettings, ErrorKind, RestoreOptions, Runtime, spec,
};
use std::fs::File;
use std::path::Path;
use std::process::{Command, exit};
use std::time::Duration;

/// Every one is to have at least so many system calls, or the tracer has seen nothing.
const LEAST: usize = 10;

const OPERATIONS: [&str; 8] =
    ["create", "start", "pause", "resume", "update", "kill", "delete", "delete-paused"];

/// With a CRIU that works.  A dump takes a while, so not before each call but before every so many, or every second of what
/// `ORLOP_SWEEP_EVERY` says.
const OF_CRIU: [(&str, usize); 2] = [("checkpoint", 5), ("restore", 7)];

fn operate(container: Container, directory: &Path, operation: &str) {
    match operation {
        "checkpoint" => container.checkpoint(dump_to(&directory.join("swept"))).unwrap(),
        "start" => container.start().unwrap(),
        "pause" => container.pause().unwrap(),
        "resume" => container.resume().unwrap(),
        "update" => container.update(&resources()).unwrap(),
        // Signal 0 to all freezes, and thaws again.
        "kill" => container.kill(0, true).unwrap(),
        _ => container.delete(true).unwrap(),
    }
}

fn dump_to(images: &Path) -> CheckpointOptions {
    CheckpointOptions { criu: settings(images), ..CheckpointOptions::default() }
}

fn settings(images: &Path) -> CriuSettings {
    CriuSettings { image_path: images.to_owned(), ..CriuSettings::default() }
}

fn images(directory: &Path) -> std::path::PathBuf {
    directory.join("images")
}

/// Makes the images that restores begin with, where there is a CRIU that can.
fn make_images(directory: &Path) -> bool {
    let works = Command::new("criu").arg("check").output().is_ok_and(|checked| checked.status.success());
    if !works || !nix::unistd::geteuid().is_root() {
        println!("SKIP checkpoint and restore: need root, and a criu that works with this kernel");
        return false;
    }
    // `deny`, of whose filter the container has a copy.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if status.lines().any(|line| line == "Seccomp:\t2") {
        println!("SKIP checkpoint and restore: CRIU may not suspend a filter while it is under one itself");
        return false;
    }
    let runtime = Runtime::new(directory.join("state"));
    let (container, process) = runtime.run(options(directory, "images")).unwrap();
    container.checkpoint(dump_to(&images(directory))).unwrap();
    container.delete(false).unwrap();
    drop(process);
    true
}

fn options(directory: &Path, id: &str) -> CreateOptions {
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap().into();
    CreateOptions {
        // What else they could inherit from this program cannot be checkpointed.
        stdio: Some([null(), null(), null()]),
        id: id.into(),
        bundle: directory.to_owned(),
        systemd_cgroup: leftovers::systemd_cgroup(),
        ..CreateOptions::default()
    }
}

fn every() -> usize {
    std::env::var("ORLOP_SWEEP_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn resources() -> LinuxResources {
    let json =
        br#"{"pids":{"limit":50},"memory":{"limit":67108864},"cpu":{"quota":50000,"shares":512,"cpus":"0"}}"#;
    spec::load_resources(json).unwrap().resources
}

fn bundle(directory: &Path) {
    let rootfs = directory.join("rootfs");
    for name in ["bin", "proc", "dev", "sys"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    std::fs::copy(std::env::current_exe().unwrap(), rootfs.join("bin/sleeper")).unwrap();
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let rootless = (!uid.is_root()).then(|| (uid.as_raw(), gid.as_raw()));
    let mut config = serde_json::to_value(spec::example(rootless)).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!(["/bin/sleeper"]);
    let criu = directory.join("criu.conf");
    std::fs::write(&criu, "network-lock skip\n").unwrap();
    config["annotations"] = serde_json::json!({ "org.criu.config": criu });
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

/// Asks to be traced, waits for the tracer, and does it.
fn victim(directory: &Path, id: &str, operation: &str) -> ! {
    let runtime = Runtime::new(directory.join("state"));
    let container = (!matches!(operation, "create" | "restore")).then(|| runtime.open(id).unwrap());
    // SAFETY: PTRACE_TRACEME looks at none of its further arguments.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert_eq!(traced, 0, "{}", std::io::Error::last_os_error());
    raise(Signal::SIGSTOP).unwrap();
    match container {
        Some(container) => operate(container, directory, operation),
        None if operation == "restore" => {
            let options = RestoreOptions {
                id: id.into(),
                bundle: directory.to_owned(),
                systemd_cgroup: leftovers::systemd_cgroup(),
                criu: settings(&images(directory)),
                ..RestoreOptions::default()
            };
            drop(runtime.restore(options).unwrap());
        }
        None => drop(runtime.create(options(directory, id)).unwrap()),
    }
    exit(0)
}

/// Lets a stopped process run to the next beginning or end of a system call.
fn to_next_call(pid: Pid) -> WaitStatus {
    // SAFETY: PTRACE_SYSCALL has no address, and as its data no signal.
    let going = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid.as_raw(), 0, 0) };
    assert_eq!(going, 0, "{}", std::io::Error::last_os_error());
    waitpid(pid, None).unwrap()
}

/// Runs an operation, and kills it before its system call number `point`; false if it ended before.
// waitpid(2) waits for the child, as it hears of the stops too.
#[allow(clippy::zombie_processes)]
fn run_and_kill(directory: &Path, id: &str, operation: &str, point: usize) -> bool {
    let own = std::env::current_exe().unwrap();
    let child = Command::new(own).arg("victim").arg(directory).args([id, operation]).spawn().unwrap();
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(_, Signal::SIGSTOP)));
    for _ in 0..=point {
        // Its beginning, then its end.
        let begun = to_next_call(pid);
        if let WaitStatus::Exited(_, status) = begun {
            assert_eq!(status, 0, "{operation} at {point}");
            return false;
        }
        if let WaitStatus::Exited(_, status) = to_next_call(pid) {
            assert_eq!(status, 0, "{operation} at {point}");
            return false;
        }
    }
    kill(pid, Signal::SIGKILL).unwrap();
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(..)));
    true
}

/// Sweeps over the system calls of an operation; returns the first of those tried that did not come, as the operation had ended.
fn kill_sweep_of_control(directory: &Path, operation: &str, every: usize) -> usize {
    let root = directory.join("state");
    let runtime = Runtime::new(&root);
    for point in (0..).step_by(every) {
        let id = format!("sweep-{operation}-{}-{point}", std::process::id());
        let when = format!("{operation} before its call {point}");
        let options = options(directory, &id);
        match operation {
            "create" | "restore" => {}
            "start" => drop(runtime.create(options).unwrap_or_else(|e| panic!("{when}: {e}"))),
            _ => {
                let (container, _) = runtime.run(options).unwrap_or_else(|e| panic!("{when}: {e}"));
                if matches!(operation, "resume" | "delete-paused") {
                    container.pause().unwrap();
                }
            }
        }
        let killed = run_and_kill(directory, &id, operation, point);
        match runtime.open(&id) {
            Ok(container) => container.delete(true).unwrap_or_else(|e| panic!("{when}: {e}")),
            // Killed before anything was recorded: then nothing was made either.
            Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{when}: {e}"),
        }
        leftovers::no_orphans(&when);
        leftovers::assert_none(&root, &id, &when);
        if !killed {
            return point;
        }
    }
    unreachable!("an operation ends")
}

fn sweep(directory: &Path, operation: &str, every: usize) {
    let end = kill_sweep_of_control(directory, operation, every);
    println!("    {operation}: killed before {} of its {end} calls at most, nothing left", end / every);
    assert!(end >= LEAST, "{operation}: the tracer saw only {end} calls");
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[0] == "/bin/sleeper" {
        std::thread::sleep(Duration::from_secs(300));
        exit(0);
    }
    if args.get(1).is_some_and(|a| a == "victim") {
        victim(Path::new(&args[2]), &args[3], &args[4]);
    }
    if args.iter().any(|a| a == "--list") {
        println!("kill_sweep_of_control: test");
        return;
    }
    if !nix::unistd::geteuid().is_root() && !leftovers::systemd_cgroup() {
        println!("SKIP kill_sweep_of_control: needs root, and cgroups of the containers' own");
        return;
    }
    let directory = std::env::temp_dir().join(format!("orlop-control-sweep-{}", std::process::id()));
    bundle(&directory);
    // The processes of a runtime that is killed come to us, so that none goes unnoticed.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    for operation in OPERATIONS {
        sweep(&directory, operation, every());
    }
    if make_images(&directory) {
        OF_CRIU.iter().for_each(|(operation, steps)| sweep(&directory, operation, (*steps).max(2 * every())));
    }
    std::fs::remove_dir_all(&directory).unwrap();
    println!("test kill_sweep_of_control ... ok");
}
