//! The engine with real containers, from a program with threads: invariants I2, I5, I6, I8 and I9.
//!
//! Its own main, because the container's program is this file too (called as `true`), and because the victims of the kill
//! sweep are.  Runs as root and as an ordinary user.
// A global allocator is an unsafe trait.
#![allow(missing_docs, unsafe_code)]

#[path = "common/leftovers.rs"]
mod leftovers;

use orlop_core::{CreateOptions, ErrorKind, ExecOptions, Observe, Runtime, StepEvent, spec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Ends a process that allocates after the clone: a child half has another pid than the program had at its start.
struct ParentOnly;

static OWNER: AtomicI32 = AtomicI32::new(0);

fn check_owner() {
    let owner = OWNER.load(Ordering::Relaxed);
    if owner != 0 && owner != nix::unistd::getpid().as_raw() {
        let message = b"the child half allocated or freed memory\n";
        let _ = nix::unistd::write(std::io::stderr(), message);
        // SAFETY: _exit ends the process.
        unsafe { libc::_exit(99) }
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for ParentOnly {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check_owner();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        check_owner();
        // SAFETY: as above.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: ParentOnly = ParentOnly;

struct Fixture {
    directory: PathBuf,
    runtime: Runtime,
}

impl Fixture {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("orlop-engine-{}", std::process::id()));
        let rootfs = directory.join("bundle/rootfs");
        for name in ["bin", "proc", "dev", "sys"] {
            std::fs::create_dir_all(rootfs.join(name)).unwrap();
        }
        std::fs::copy(std::env::current_exe().unwrap(), rootfs.join("bin/true")).unwrap();
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let rootless = (!uid.is_root()).then(|| (uid.as_raw(), gid.as_raw()));
        let mut config = serde_json::to_value(spec::example(rootless)).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        if uid.is_root() {
            // Of those that come before the process and those that come after it.
            config["linux"]["resources"]["memory"] = serde_json::json!({"limit": 256 << 20, "swap": -1});
            config["linux"]["resources"]["cpu"] =
                serde_json::json!({"shares": 512, "quota": 100_000, "period": 100_000, "cpus": "0"});
            config["linux"]["resources"]["pids"] = serde_json::json!({"limit": 100});
        }
        std::fs::write(directory.join("bundle/config.json"), config.to_string()).unwrap();
        let runtime = Runtime::new(directory.join("state"));
        Self { directory, runtime }
    }

    fn options(&self, id: &str) -> CreateOptions {
        CreateOptions {
            id: id.into(),
            bundle: self.directory.join("bundle"),
            systemd_cgroup: leftovers::systemd_cgroup(),
            ..CreateOptions::default()
        }
    }

    fn run_once(&self, id: &str) {
        let (container, process) =
            self.runtime.run(self.options(id)).unwrap_or_else(|e| panic!("run {id}: {e}"));
        let status = process.wait().unwrap();
        assert_eq!(status.code(), 0, "{id}");
        container.delete(false).unwrap_or_else(|e| panic!("delete {id}: {e}"));
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn launches() -> usize {
    std::env::var("ORLOP_LAUNCHES").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

/// I2: launches from a process in which eight threads allocate and lock all the time.
fn launch_from_a_busy_process(fixture: &Fixture) {
    let stop = Arc::new(AtomicBool::new(false));
    let map = Arc::new(Mutex::new(HashMap::new()));
    let threads: Vec<_> = (0..8)
        .map(|t| {
            let (stop, map) = (stop.clone(), map.clone());
            std::thread::spawn(move || {
                let mut n = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    map.lock().unwrap().insert((t, n % 64), vec![0u8; usize::try_from(n % 8192).unwrap()]);
                    if n.is_multiple_of(64) {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                }
            })
        })
        .collect();
    for n in 0..launches() {
        fixture.run_once(&format!("busy-{n}"));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// What the library must not change in its caller.
fn snapshot() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let wanted =
        ["Umask:", "SigBlk:", "SigIgn:", "SigCgt:", "Groups:", "Uid:", "Gid:", "CapEff:", "NoNewPrivs:"];
    let mut all: Vec<String> =
        status.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w))).map(str::to_owned).collect();
    all.push(std::fs::read_to_string("/proc/self/limits").unwrap());
    all.push(std::fs::read_to_string("/proc/self/oom_score_adj").unwrap());
    all.push(std::env::current_dir().unwrap().display().to_string());
    all.push(format!("{:?}", std::env::vars().collect::<Vec<_>>()));
    all.push(std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    let mut fds: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|e| std::fs::read_link(e.unwrap().path()).ok())
        .map(|p| p.display().to_string())
        .collect();
    fds.sort();
    all.push(format!("{fds:?}"));
    for kind in ["mnt", "net", "pid", "user", "uts", "ipc", "cgroup", "time", "pid_for_children"] {
        all.push(std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string());
    }
    all
}

/// I9 and I5: nothing of the caller's process changes, and nothing stays open.
fn a_guest_in_its_host(fixture: &Fixture) {
    fixture.run_once("warm-up");
    let before = snapshot();
    for n in 0..20 {
        fixture.run_once(&format!("guest-{n}"));
    }
    let created = fixture.runtime.create(fixture.options("guest-created")).unwrap();
    created.delete(true).unwrap();
    assert_eq!(before, snapshot());
}

/// Eight threads launch at once.
fn launch_from_many_threads(fixture: &Fixture) {
    std::thread::scope(|scope| {
        for t in 0..8 {
            scope.spawn(move || (0..10).for_each(|n| fixture.run_once(&format!("thread-{t}-{n}"))));
        }
    });
}

/// Waits for a container by its pidfd, as an event loop would.
fn wait_by_pidfd(fixture: &Fixture) {
    use std::os::fd::AsFd;
    let (container, process) = fixture.runtime.run(fixture.options("by-pidfd")).unwrap();
    let mut fds = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).unwrap();
    assert_eq!(process.try_wait().unwrap().map(orlop_core::ExitStatus::code), Some(0));
    container.delete(false).unwrap();
}

/// I6: killed after any step, `delete --force` leaves nothing.
fn kill_sweep(fixture: &Fixture) {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut points = 0;
    loop {
        let id = format!("sweep-{}-{points}", std::process::id());
        let status = Command::new(std::env::current_exe().unwrap())
            .arg("victim")
            .args([fixture.directory.as_os_str(), id.as_ref(), points.to_string().as_ref()])
            .status()
            .unwrap();
        match fixture.runtime.open(&id) {
            Ok(container) => container.delete(true).unwrap_or_else(|e| panic!("point {points}: {e}")),
            // Killed before anything was recorded: then nothing was made either.
            Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "point {points}: {e}"),
        }
        let when = format!("point {points}");
        leftovers::no_orphans(&when);
        leftovers::assert_none(&fixture.directory.join("state"), &id, &when);
        assert_eq!(mounts, std::fs::read_to_string("/proc/self/mountinfo").unwrap(), "point {points}");
        if status.code() == Some(0) {
            break;
        }
        assert_eq!(status.signal(), Some(libc::SIGKILL), "point {points}: {status:?}");
        points += 1;
    }
    println!("    kill sweep: {points} points, nothing left");
    assert!(points > 40, "the sweep saw only {points} steps");
    nix::sys::prctl::set_child_subreaper(false).unwrap();
}

/// Killed after all of its set-up and before its program, it is not taken for a container that ran.
fn killed_before_its_program(fixture: &Fixture) {
    let (root, id) = (fixture.runtime.root().to_owned(), "killed-before");
    let kill = move |event: &StepEvent| {
        if event.name.starts_with("AwaitReady") {
            let state = Runtime::new(&root).open(id).unwrap().state().unwrap();
            let init = nix::unistd::Pid::from_raw(state.pid);
            nix::sys::signal::kill(init, nix::sys::signal::SIGKILL).unwrap();
        }
    };
    let options = CreateOptions { observer: Some(Box::new(kill)), ..fixture.options(id) };
    let error = fixture.runtime.run(options).unwrap_err().to_string();
    assert!(error.contains("it was killed by signal 9 before it ran its program"), "{error}");
    assert_eq!(fixture.runtime.open(id).unwrap_err().kind(), ErrorKind::NotFound);
}

/// A terminal without a socket, or a socket without a terminal, is an error that says so, before anything is made.
fn a_terminal_goes_to_a_console_socket(fixture: &Fixture) {
    let bundle = fixture.directory.join("terminal");
    std::fs::create_dir_all(&bundle).unwrap();
    let config = std::fs::read(fixture.directory.join("bundle/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["process"]["terminal"] = true.into();
    config["root"]["path"] = fixture.directory.join("bundle/rootfs").to_str().into();
    std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let with = |bundle: &Path, socket: bool| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let console_socket = socket.then(|| theirs.into());
        (ours, CreateOptions { bundle: bundle.to_owned(), console_socket, ..fixture.options("terminal") })
    };
    for (bundle, socket, words) in [
        (&bundle, false, "the process has a terminal, and no console socket to send it to is given"),
        (
            &fixture.directory.join("bundle"),
            true,
            "a console socket is given, and the process has no terminal to send to it",
        ),
    ] {
        let created = fixture.runtime.create(with(bundle, socket).1).unwrap_err();
        assert_eq!((created.kind(), created.to_string().as_str()), (ErrorKind::InvalidArgument, words));
        let run = fixture.runtime.run(with(bundle, socket).1).unwrap_err();
        assert_eq!((run.kind(), run.to_string().as_str()), (ErrorKind::InvalidArgument, words));
        assert_eq!(fixture.runtime.open("terminal").unwrap_err().kind(), ErrorKind::NotFound);
    }

    let (_master, options) = with(&bundle, true);
    let container = fixture.runtime.create(options).unwrap();
    for (terminal, socket) in [(true, false), (false, true)] {
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let args = vec!["/bin/true".to_owned()];
        let console_socket = socket.then(|| theirs.into());
        let options = ExecOptions { args, terminal, console_socket, ..ExecOptions::default() };
        let error = container.exec(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains("console socket"), "{error}");
    }
    container.delete(true).unwrap();
}

/// Creates and starts a container, and kills itself after step `point`.
fn victim(directory: &Path, id: &str, point: usize) -> ! {
    let mut seen = 0;
    let mut step = move |_: &StepEvent| {
        if seen == point {
            nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL).unwrap();
        }
        seen += 1;
        seen
    };
    let steps = Arc::new(Mutex::new(0));
    let counted = steps.clone();
    let options = CreateOptions {
        id: id.into(),
        bundle: directory.join("bundle"),
        systemd_cgroup: leftovers::systemd_cgroup(),
        observe: Observe::Lockstep,
        observer: Some(Box::new(move |event| *counted.lock().unwrap() = step(event))),
        ..CreateOptions::default()
    };
    let runtime = Runtime::new(directory.join("state"));
    let mut container = runtime.create(options).unwrap();
    if point == *steps.lock().unwrap() {
        nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL).unwrap();
    }
    container.start().unwrap();
    if point == *steps.lock().unwrap() + 1 {
        nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL).unwrap();
    }
    container.take_process().unwrap().wait().unwrap();
    exit(0)
}

/// The tests compare all mounts before and after: those that others make meanwhile are not to be among them.  An ordinary user has to
/// live with them.
fn mounts_of_our_own() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    if nix::unistd::geteuid().is_root() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[0] == "/bin/true" {
        exit(0);
    }
    if args.get(1).is_some_and(|a| a == "victim") {
        victim(Path::new(&args[2]), &args[3], args[4].parse().unwrap());
    }
    OWNER.store(nix::unistd::getpid().as_raw(), Ordering::Relaxed);
    mounts_of_our_own();
    type Test = (&'static str, fn(&Fixture));
    let tests: [Test; 7] = [
        ("a_guest_in_its_host", a_guest_in_its_host),
        ("wait_by_pidfd", wait_by_pidfd),
        ("a_terminal_goes_to_a_console_socket", a_terminal_goes_to_a_console_socket),
        ("killed_before_its_program", killed_before_its_program),
        ("kill_sweep", kill_sweep),
        ("launch_from_many_threads", launch_from_many_threads),
        ("launch_from_a_busy_process", launch_from_a_busy_process),
    ];
    if args.iter().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    // A name on the command line selects, as with the standard harness.
    let filter = args.iter().skip(1).find(|a| !a.starts_with('-'));
    let fixture = Fixture::new();
    let mut passed = 0;
    for (name, test) in tests {
        if filter.is_none_or(|f| name.contains(f.as_str())) {
            let start = Instant::now();
            test(&fixture);
            println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f32());
            passed += 1;
        }
    }
    println!("{passed} passed, 0 failed");
}
