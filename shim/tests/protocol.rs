//! The shim from containerd's side of its sockets: what no client of containerd's reaches, or not at will.
//!
//! Its own main, because the containers' program is this file too.  Needs root.
#![allow(missing_docs)]

use orlop_core::{Runtime, Status, spec, sys};
use orlop_shim::api::{
    Any, ConnectResponse, CreateTaskRequest, Empty, ExecProcessRequest, ForwardRequest, KillRequest,
    PidResponse, PidsResponse, ProcessDetails, ProcessRequest, Request, Response, RuncOptions,
    SandboxRequest, SandboxStatusResponse, ShutdownRequest, StartSandboxResponse, StateResponse,
    UpdateTaskRequest, WaitResponse,
};
use orlop_shim::ttrpc::{Decoder, Frame, put_request, put_response};
use orlop_shim::wire::Message;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;
const TASK: &str = "containerd.task.v3.Task";
const SANDBOX: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// One of containerd's connections to a shim.
struct Client {
    stream: UnixStream,
    decoder: Decoder,
    next: u32,
    answers: BTreeMap<u32, Response>,
}

impl Client {
    fn new(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self { stream, decoder: Decoder::default(), next: 1, answers: BTreeMap::new() }
    }

    /// Calls, and does not wait.
    fn send(&mut self, service: &str, method: &str, message: &impl Message) -> u32 {
        let stream = self.next;
        self.next += 2;
        let (service, method) = (service.to_owned(), method.to_owned());
        let request = Request { service, method, payload: message.encode(), ..Request::default() };
        let mut bytes = Vec::new();
        put_request(&mut bytes, stream, &request);
        self.stream.write_all(&bytes).unwrap();
        stream
    }

    fn receive(&mut self) {
        let mut chunk = [0; 4096];
        let length = self.stream.read(&mut chunk).expect("an answer within two minutes");
        assert_ne!(length, 0, "the shim has closed the connection");
        self.decoder.feed(&chunk[..length]);
        while let Some(frame) = self.decoder.frame().unwrap() {
            let Frame::Response { stream, response } = frame else { panic!("{frame:?}") };
            self.answers.insert(stream, response);
        }
    }

    /// The answer, or the code of the error and its text.
    fn answer<T: Message>(&mut self, stream: u32) -> Result<T, (i32, String)> {
        while !self.answers.contains_key(&stream) {
            self.receive();
        }
        let response = self.answers.remove(&stream).unwrap();
        match response.status.filter(|status| status.code != 0) {
            Some(status) => Err((status.code, status.message)),
            None => Ok(T::decode(&response.payload).unwrap()),
        }
    }

    fn call<T: Message>(
        &mut self,
        service: &str,
        method: &str,
        message: &impl Message,
    ) -> Result<T, (i32, String)> {
        let stream = self.send(service, method, message);
        self.answer(stream)
    }

    fn task<T: Message>(&mut self, method: &str, message: &impl Message) -> T {
        self.call(TASK, method, message).unwrap_or_else(|e| panic!("{method}: {e:?}"))
    }

    fn status(&mut self, id: &str) -> u32 {
        self.task::<StateResponse>("State", &of(id)).status
    }
}

fn of(id: &str) -> ProcessRequest {
    ProcessRequest { id: id.to_owned(), exec_id: String::new() }
}

fn kill(id: &str) -> KillRequest {
    KillRequest { id: id.to_owned(), signal: 9, ..KillRequest::default() }
}

/// A process that runs this program, called as `program`, which is its exec id too.
fn exec(id: &str, program: &str) -> ExecProcessRequest {
    let process =
        serde_json::json!({"args": [format!("/bin/{program}")], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    ExecProcessRequest {
        id: id.to_owned(),
        exec_id: program.to_owned(),
        spec: Some(Any::new("process", process.to_string().into_bytes())),
        ..ExecProcessRequest::default()
    }
}

/// Waits until something is so, which is soon or never.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not within a minute: {what}");
}

/// containerd's end of the events: what it was told, in order.
fn containerd(socket: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let topics = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            take_events(stream.unwrap(), &topics);
        }
    });
    told
}

fn take_events(mut stream: UnixStream, topics: &Mutex<Vec<String>>) {
    let mut decoder = Decoder::default();
    let mut chunk = [0; 4096];
    while let Ok(length) = stream.read(&mut chunk) {
        if length == 0 {
            return;
        }
        decoder.feed(&chunk[..length]);
        while let Some(Frame::Request { stream: number, request }) = decoder.frame().unwrap() {
            let envelope = ForwardRequest::decode(&request.payload).unwrap().envelope.unwrap();
            topics.lock().unwrap().push(envelope.topic);
            let mut bytes = Vec::new();
            put_response(&mut bytes, number, Ok(Vec::new()));
            stream.write_all(&bytes).unwrap();
        }
    }
}

struct World {
    directory: PathBuf,
    told: Arc<Mutex<Vec<String>>>,
    shim: i32,
    /// That of a bundle which goes.
    forgotten: Option<i32>,
    log: File,
}

/// Whatever a failure has left.
impl Drop for World {
    fn drop(&mut self) {
        for shim in [Some(self.shim), self.forgotten].into_iter().flatten() {
            let environ = fs::read_to_string(format!("/proc/{shim}/environ")).unwrap_or_default();
            if environ.contains(self.directory.to_str().unwrap_or("?")) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::SIGKILL);
            }
        }
        for id in ["first", "slow"] {
            let _ = self.runtime().open(id).and_then(|container| container.delete(true));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl World {
    /// A bundle whose program is this one, called as `program`.
    fn bundle(&self, id: &str, program: &str, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
        let bundle = self.directory.join(id);
        write_bundle(&bundle, &self.directory.join("rootfs"), program, change);
        bundle
    }

    fn create_request(&self, id: &str, bundle: &Path) -> CreateTaskRequest {
        let root = self.directory.join("state").to_str().unwrap().to_owned();
        let options = RuncOptions { root, binary_name: "/no/such/runtime".into(), ..RuncOptions::default() };
        CreateTaskRequest {
            id: id.to_owned(),
            bundle: bundle.to_str().unwrap().to_owned(),
            options: Some(Any::new("containerd.runc.v1.Options", options.encode())),
            ..CreateTaskRequest::default()
        }
    }

    fn create(&self, client: &mut Client, id: &str, bundle: &Path) -> u32 {
        client.task::<PidResponse>("Create", &self.create_request(id, bundle)).pid
    }

    fn runtime(&self) -> Runtime {
        Runtime::new(self.directory.join("state/test"))
    }

    fn of_shim(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.shim)).unwrap_or_default()
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.shim)).map_or(0, Iterator::count)
    }
}

fn write_bundle(bundle: &Path, rootfs: &Path, program: &str, change: impl FnOnce(&mut serde_json::Value)) {
    fs::create_dir_all(bundle).unwrap();
    let mut config = serde_json::to_value(spec::example(None)).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = serde_json::json!([format!("/bin/{program}")]);
    config["root"]["path"] = rootfs.to_str().unwrap().into();
    change(&mut config);
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
}

/// A control group of our own, in the first hierarchy that lets one be made.
fn control_group() -> Option<(String, PathBuf)> {
    let (layout, _) = orlop_core::cgroup::detect().unwrap();
    let v1 = layout.v1().iter().map(|hierarchy| &hierarchy.mount);
    let name = format!("orlop-shim-{}", std::process::id());
    let mut mounts = v1.chain(layout.v2()).map(|mount| mount.mount_point.join(&name));
    // A cpuset takes no process before it is set up.
    let group =
        mounts.find(|group| !group.to_string_lossy().contains("cpuset") && fs::create_dir(group).is_ok())?;
    Some((name, group))
}

/// `start`, as containerd 2.0 calls it; the pid of the shim.
fn start(directory: &Path, id: &str, group: &str) -> Result<i32, String> {
    let bundle = directory.join(id);
    let options = RuncOptions { shim_cgroup: group.to_owned(), ..RuncOptions::default() };
    let mut child = Command::new(env!("CARGO_BIN_EXE_containerd-shim-orlop-v2"))
        .args(["-namespace", "test", "-id", id, "-address", "/no/containerd", "-socket"])
        .arg(directory.join(format!("s-{id}")))
        .arg("start")
        .current_dir(&bundle)
        .env("MAX_SHIM_VERSION", "3")
        .env("TTRPC_ADDRESS", directory.join("events"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let options = Any::new("containerd.runc.v1.Options", options.encode()).encode();
    child.stdin.take().unwrap().write_all(&options).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["version"], &said["protocol"]), (&3.into(), &"ttrpc".into()));
    Ok(fs::read_to_string(bundle.join("shim.pid")).unwrap().parse().unwrap())
}

/// How many files the shim may open as it is started: enough, and what nobody else would have set.
const OPEN_FILES: u64 = 777;

/// Soft and hard limit of open files.
fn open_files(pid: &str) -> [u64; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap()
}

/// The shim has as many as it may have; what it starts has what the shim was given.
fn open_files_are_as_they_were(world: &World, pids: [u32; 2]) {
    let [soft, hard] = open_files(&world.shim.to_string());
    assert_eq!(soft, hard);
    for pid in pids {
        assert_eq!(open_files(&pid.to_string()), [OPEN_FILES, hard]);
    }
    let of_hook = fs::read_to_string(world.directory.join("limit-of-hook")).unwrap();
    assert_eq!(of_hook.trim(), OPEN_FILES.to_string());
}

fn set_up() -> World {
    let directory = std::env::temp_dir().join(format!("orlop-shim-{}", std::process::id()));
    let rootfs = directory.join("rootfs");
    for name in ["bin", "proc", "dev", "sys"] {
        fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    fs::copy(std::env::current_exe().unwrap(), rootfs.join("bin/wait")).unwrap();
    std::os::unix::fs::symlink("wait", rootfs.join("bin/true")).unwrap();
    let hook = format!("ulimit -n > {}", directory.join("limit-of-hook").display());
    write_bundle(&directory.join("first"), &rootfs, "wait", |config| {
        config["process"]["rlimits"] = serde_json::json!([]);
        config["hooks"] =
            serde_json::json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", hook]}]});
    });
    // The shim is started with less than it may have.
    let [_, hard] = open_files("self");
    sys::prlimit(0, nix::libc::RLIMIT_NOFILE, OPEN_FILES, hard).unwrap();
    let fifo = directory.join("first/log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let told = containerd(&directory.join("events"));
    let no_group = start(&directory, "first", "no/such/group").unwrap_err();
    assert!(no_group.contains("shim_cgroup no/such/group: there is no such control group"), "{no_group}");
    let group = control_group();
    let shim = start(&directory, "first", group.as_ref().map_or("", |(name, _)| name)).unwrap();
    let world = World { directory, told, shim, forgotten: None, log };
    if let Some((name, group)) = group {
        assert!(world.of_shim("cgroup").contains(&name), "{}", world.of_shim("cgroup"));
        // It goes back, so that the group can go.
        fs::write(group.with_file_name("cgroup.procs"), shim.to_string()).unwrap();
        fs::remove_dir(&group).unwrap();
    }
    // What it runs from cannot be written, and it goes by its name all the same.
    let exe = fs::read_link(format!("/proc/{shim}/exe")).unwrap();
    assert!(exe == Path::new("/") || exe.starts_with("/memfd:orlop (deleted)"), "{}", exe.display());
    eventually("it has its name", || world.of_shim("comm") == "containerd-shim\n");
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    assert_eq!(world.of_shim("oom_score_adj").trim(), (own + 1).min(1000).to_string());
    world
}

/// One container's life, by the methods that ctr does not call.
fn a_life(world: &World, client: &mut Client) {
    let unknown = client.call::<StateResponse>(TASK, "State", &of("first")).unwrap_err();
    assert_eq!(unknown.0, NOT_FOUND, "{unknown:?}");
    let pid = world.create(client, "first", &world.directory.join("first"));
    assert_eq!(client.status("first"), 1, "created");
    let connected: ConnectResponse = client.task("Connect", &of("first"));
    assert_eq!((connected.shim_pid, connected.task_pid), (world.shim.unsigned_abs(), pid));
    let started: PidResponse = client.task("Start", &of("first"));
    assert_eq!((started.pid, client.status("first")), (pid, 2));
    // What the command would see.
    let container = world.runtime().open("first").unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    let resources = Any::new("resources", br#"{"pids":{"limit":77}}"#.to_vec());
    let update =
        UpdateTaskRequest { id: "first".into(), resources: Some(resources), ..UpdateTaskRequest::default() };
    client.task::<Empty>("Update", &update);
    assert_eq!(container.stats().unwrap().pids.limit, Some(77));
    let exec_of = ProcessRequest { id: "first".into(), exec_id: "e1".into() };
    client.task::<Empty>("Exec", &ExecProcessRequest { exec_id: "e1".into(), ..exec("first", "wait") });
    let executed: PidResponse = client.task("Start", &exec_of);
    open_files_are_as_they_were(world, [pid, executed.pid]);
    let pids: PidsResponse = client.task("Pids", &of("first"));
    let told: BTreeMap<u32, String> = pids
        .processes
        .into_iter()
        .map(|p| (p.pid, p.info.map_or(String::new(), |i| ProcessDetails::decode(&i.value).unwrap().exec_id)))
        .collect();
    assert_eq!(told, BTreeMap::from([(pid, String::new()), (executed.pid, "e1".into())]));
    client.task::<Empty>("Kill", &KillRequest { exec_id: "e1".into(), ..kill("first") });
    assert_eq!(client.task::<WaitResponse>("Wait", &exec_of).exit_status, 137);
    client.task::<Empty>("Delete", &exec_of);
}

/// How many processes come and go before memory is looked at, and after that.
const EXECS: [u32; 2] = [20, 200];

/// What processes have needed that are gone is given back, however many they were.
fn memory_does_not_grow(world: &World, client: &mut Client) {
    let after_each = EXECS.map(|count| {
        for _ in 0..count {
            run_true(client);
        }
        let waiting = nix::libc::SYS_ppoll.to_string();
        eventually("it rests", || world.of_shim("syscall").split(' ').next() == Some(&waiting));
        // The heap alone: how many stacks of ended threads are kept, one or two, is chance.
        let sizes = world.of_shim("smaps");
        let mut heap = sizes.lines().skip_while(|line| !line.ends_with("[heap]"));
        let own = heap.find_map(|line| line.strip_prefix("Anonymous:"));
        own.and_then(|own| own.trim().strip_suffix(" kB")?.parse::<u32>().ok()).unwrap()
    });
    println!("KiB of heap after {EXECS:?} more processes: {after_each:?}");
    let [few, many] = after_each;
    assert!(many <= few + MOST_GROWTH, "{after_each:?}");
}

/// Some pages, of KiB: which ones are in use at that moment is not always the same.  On a busy machine 4 to 28 were seen.
const MOST_GROWTH: u32 = 64;

fn run_true(client: &mut Client) {
    let exec_of = ProcessRequest { id: "first".into(), exec_id: "true".into() };
    client.task::<Empty>("Exec", &exec("first", "true"));
    client.task::<PidResponse>("Start", &exec_of);
    assert_eq!(client.task::<WaitResponse>("Wait", &exec_of).exit_status, 0);
    client.task::<Empty>("Delete", &exec_of);
}

/// A hook that waits holds up its own container's calls, and nobody else's; a kill reaches the process all the same.
/// Returns whether its group was paused once more before its end was known.
fn a_hook_that_waits(world: &World, client: &mut Client) -> bool {
    let (here, go) = (world.directory.join("here"), world.directory.join("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", here.display(), go.display());
    let bundle = world.bundle("slow", "wait", |config| {
        config["hooks"] = serde_json::json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]});
    });
    world.create(client, "slow", &bundle);
    let start = client.send(TASK, "Start", &of("slow"));
    let waiting = client.send(TASK, "Wait", &of("slow"));
    eventually("the hook runs", || here.exists());
    let pause = client.send(TASK, "Pause", &of("slow"));
    // Answered while it waits, in whatever order they were asked.
    assert_eq!(client.status("slow"), 1, "not started yet");
    assert_eq!(client.status("first"), 2);
    client.task::<Empty>("Pause", &of("first"));
    client.task::<Empty>("Resume", &of("first"));
    client.task::<Empty>("Kill", &kill("slow"));
    let early = [start, waiting, pause].map(|stream| client.answers.contains_key(&stream));
    assert_eq!(early, [false; 3]);
    File::create(&go).unwrap();
    client.answer::<PidResponse>(start).unwrap();
    assert_eq!(client.answer::<WaitResponse>(waiting).unwrap().exit_status, 137);
    // It came before the process was known to have ended, or after.
    let paused = client.answer::<Empty>(pause).is_ok();
    client.task::<Empty>("Delete", &of("slow"));
    let gone = client.call::<Empty>(TASK, "Pause", &of("slow")).unwrap_err();
    assert_eq!(gone.0, NOT_FOUND, "{gone:?}");
    paused
}

fn a_sandbox(world: &World, client: &mut Client) {
    let request = SandboxRequest { sandbox_id: "pod".into() };
    client.call::<Empty>(SANDBOX, "CreateSandbox", &request).unwrap();
    let started: StartSandboxResponse = client.call(SANDBOX, "StartSandbox", &request).unwrap();
    assert_eq!(started.pid, world.shim.unsigned_abs());
    client.call::<Empty>(SANDBOX, "PingSandbox", &request).unwrap();
    let status = |client: &mut Client| {
        client.call::<SandboxStatusResponse>(SANDBOX, "SandboxStatus", &request).unwrap().state
    };
    assert_eq!(status(client), "SANDBOX_READY");
    let wait = client.send(SANDBOX, "WaitSandbox", &request);
    client.call::<Empty>(SANDBOX, "StopSandbox", &request).unwrap();
    assert_eq!(client.answer::<WaitResponse>(wait).unwrap().exit_status, 0);
    assert_eq!(status(client), "SANDBOX_NOTREADY");
    for (service, method) in [(TASK, "Dance"), (SANDBOX, "Dance"), ("no.such.Service", "State")] {
        let error = client.call::<Empty>(service, method, &request).unwrap_err();
        assert_eq!(error.0, UNIMPLEMENTED, "{service}/{method}: {error:?}");
    }
}

/// One thread, which nothing wakes up.
fn an_idle_shim_sleeps(world: &World) {
    eventually("one thread is left", || world.threads() == 1);
    let switches = || -> u64 {
        let status = world.of_shim("status");
        let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
        counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    };
    // After the events are told and memory was given back, nothing is left to do: ten looks see the same.
    eventually("it sleeps", || {
        let before = switches();
        (0..10).all(|_| {
            std::thread::sleep(Duration::from_millis(50));
            switches() == before
        })
    });
}

/// Who calls while no descriptor is left is not heard, and does not keep the shim busy; once there is one he is.
fn a_shim_without_descriptors(world: &World) {
    let [soft, hard] = open_files(&world.shim.to_string());
    let limit = |soft| sys::prlimit(world.shim, nix::libc::RLIMIT_NOFILE, soft, hard).unwrap();
    limit(3);
    let mut late = Client::new(&world.directory.join("s-first"));
    let stream = late.send(TASK, "State", &of("first"));
    // The time that it has used, in ticks of the kernel's, user's and system's.
    let used = || -> u64 {
        let stat = world.of_shim("stat");
        let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let slept = || voluntary_switches(world);
    let before = slept();
    eventually("it has tried some times", || slept() > before + 3);
    eventually("it is not busy", || {
        let before = used();
        (0..20).all(|_| {
            std::thread::sleep(Duration::from_millis(50));
            used() == before
        })
    });
    limit(soft);
    late.answer::<StateResponse>(stream).unwrap();
}

fn voluntary_switches(world: &World) -> u64 {
    let status = world.of_shim("status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// containerd was killed in the middle of Create, and the next one has removed the bundle: nothing of the container stays.
fn a_bundle_that_goes(world: &World, client: &mut Client) {
    let (here, go) = (world.directory.join("here2"), world.directory.join("go2"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", here.display(), go.display());
    let bundle = world.bundle("slow", "wait", |config| {
        config["hooks"] =
            serde_json::json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]});
    });
    let create = client.send(TASK, "Create", &world.create_request("slow", &bundle));
    eventually("the hook runs", || here.exists());
    client.task::<Empty>("Shutdown", &ShutdownRequest::default());
    fs::remove_dir_all(&bundle).unwrap();
    File::create(&go).unwrap();
    let lost = client.answer::<PidResponse>(create).unwrap_err();
    assert!(lost.1.contains("the bundle is no longer there"), "{lost:?}");
    assert!(world.runtime().open("slow").is_err(), "its state is gone");
}

/// A shim that containerd has forgotten before it had a container.
fn a_shim_without_a_bundle(world: &mut World) {
    let bundle = world.directory.join("forgotten");
    write_bundle(&bundle, &world.directory.join("rootfs"), "wait", |_| {});
    let shim = start(&world.directory, "forgotten", "").unwrap();
    world.forgotten = Some(shim);
    assert!(world.directory.join("s-forgotten").exists());
    fs::remove_dir_all(&bundle).unwrap();
    eventually("it ends", || !world.directory.join("s-forgotten").exists());
    eventually("its process is gone", || !is_running(shim));
}

/// Whether a process runs a program: not of one that has ended.
fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|text| !text.is_empty())
}

fn the_end(mut world: World, mut client: Client, paused_at_its_end: bool) {
    client.task::<Empty>("Kill", &kill("first"));
    assert_eq!(client.task::<WaitResponse>("Wait", &of("first")).exit_status, 137);
    // Others may have tasks here still: it stays.
    client.task::<Empty>("Shutdown", &ShutdownRequest::default());
    client.task::<Empty>("Delete", &of("first"));
    an_idle_shim_sleeps(&world);
    client.task::<Empty>("Shutdown", &ShutdownRequest::default());
    // By its answer already: containerd may start the next one at once.
    assert!(!world.directory.join("s-first").exists(), "its socket goes with it");
    eventually("the shim ends", || !is_running(world.shim));
    let told = world.told.lock().unwrap().clone();
    let mut of_tasks: Vec<&str> = told.iter().filter_map(|topic| topic.strip_prefix("/tasks/")).collect();
    if paused_at_its_end {
        // Told beside the end, before or after it.
        let at = of_tasks.iter().rposition(|topic| *topic == "paused").unwrap();
        of_tasks.remove(at);
    }
    let life = ["create", "start", "exec-added", "exec-started", "exit"];
    let slow = ["create", "paused", "resumed", "start", "exit", "delete"];
    let end = ["exit", "delete"];
    let execs = (0..EXECS.iter().sum()).flat_map(|_| ["exec-added", "exec-started", "exit"]);
    let expected: Vec<&str> = life.into_iter().chain(execs).chain(slow).chain(end).collect();
    assert_eq!(of_tasks, expected);
    let mut line = [0; 4096];
    let length = world.log.read(&mut line).unwrap();
    let text = String::from_utf8_lossy(&line[..length]).into_owned();
    assert!(text.contains("runtime option without effect: binary_name=/no/such/runtime"), "{text}");
    assert_eq!(text.matches("accept a connection: ").count(), 1, "{text}");
}

fn main() {
    let name = std::env::args().next().unwrap_or_default();
    if name == "/bin/wait" {
        loop {
            std::thread::park();
        }
    }
    if name == "/bin/true" {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP 1: protocol: needs root");
        return;
    }
    let mut world = set_up();
    let mut client = Client::new(&world.directory.join("s-first"));
    a_life(&world, &mut client);
    memory_does_not_grow(&world, &mut client);
    let paused_at_its_end = a_hook_that_waits(&world, &mut client);
    a_bundle_that_goes(&world, &mut client);
    a_sandbox(&world, &mut client);
    a_shim_without_a_bundle(&mut world);
    a_shim_without_descriptors(&world);
    an_idle_shim_sleeps(&world);
    the_end(world, client, paused_at_its_end);
    println!("protocol ... ok");
}
