//! The shim is killed before every system call of a container's life, and its calls fail; what containerd calls then, its `delete`, must
//! leave nothing.
//!
//! containerd is played by the test: it serves the socket that `start` would have made, calls, and takes the events.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use conformance::harness::{Container, patience};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use orlop_shim::api::{
    Any, CheckpointTaskRequest, CreateTaskRequest, ExecProcessRequest, ForwardRequest, KillRequest, Mount,
    ProcessRequest, Request, RuncOptions, ShutdownRequest, TaskExit,
};
use orlop_shim::ttrpc::{Decoder, Frame, put_request, put_response};
use orlop_shim::wire::Message;
use serde_json::json;

use super::criu::Subject;
use super::faults::{errors_of_a_shim, is_memory};
use super::{Point, can_sweep, choose, inject, inject_at, read_points, rich};

/// Longer than the injector lets a shim live.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the points every so manieth, beginning at another one each time.
const STEP: usize = 37;

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The shim has refused it.
    Refused(String),
    /// The shim is gone.
    Gone,
}

pub(super) type Answer = Result<Vec<u8>, Failure>;

/// What containerd asks a shim for before the end.
type Life = fn(&Bundle, &mut Served) -> Answer;

/// Who takes the shim's events.
struct Events {
    path: PathBuf,
    over: Arc<AtomicBool>,
    /// Their topics; behind that of an exit, whose it is.
    told: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    fn at(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).expect("a socket of our own");
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::<Mutex<Vec<String>>>::default();
        let (flag, tell) = (Arc::clone(&over), Arc::clone(&told));
        let thread = std::thread::spawn(move || {
            while let Ok((peer, _)) = listener.accept()
                && !flag.load(Ordering::SeqCst)
            {
                take_events(peer, &tell);
            }
        });
        Self { path, over, told, thread: Some(thread) }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.path));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What an event says, as far as a test asks.
fn words_of(request: &Request) -> String {
    let envelope = ForwardRequest::decode(&request.payload).expect("an event").envelope.unwrap_or_default();
    match (envelope.topic.as_str(), &envelope.event) {
        ("/tasks/exit", Some(event)) => {
            let exit = TaskExit::decode(&event.value).expect("an exit");
            format!("/tasks/exit {}", if exit.id == exit.container_id { "" } else { &exit.id })
        }
        (topic, _) => topic.to_owned(),
    }
}

/// Answers every event until the shim goes.
fn take_events(mut peer: UnixStream, told: &Mutex<Vec<String>>) {
    let (mut decoder, mut chunk) = (Decoder::default(), [0; 4096]);
    while let Ok(length @ 1..) = peer.read(&mut chunk) {
        decoder.feed(&chunk[..length]);
        let mut answers = Vec::new();
        while let Ok(Some(frame)) = decoder.frame() {
            if let Frame::Request { stream, request } = frame {
                told.lock().expect("nobody panics with it").push(words_of(&request));
                put_response(&mut answers, stream, Ok(Vec::new()));
            }
        }
        if peer.write_all(&answers).is_err() {
            return;
        }
    }
}

/// A bundle as containerd makes it, and where the shim of it is called.
pub(super) struct Bundle {
    /// Before the container in the order of dropping: its socket lies in the container's directory.
    events: Events,
    pub(super) container: Container,
    program: PathBuf,
    pub(super) stdout: PathBuf,
}

impl Bundle {
    /// Its root file system is mounted on the host: in a mount namespace of the thread's own, or whatever makes one meanwhile
    /// would have a copy of the mount.
    pub(super) fn new() -> Self {
        Self::of(rich())
    }

    pub(super) fn of(mut container: Container) -> Self {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("root may have its own mounts");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts can be made private");
        container.args(&["probe", "sleep", "300"]);
        let directory = container.directory().to_owned();
        // containerd hands over the mounts that the root file system is made of.
        fs::rename(directory.join("rootfs"), directory.join("image")).expect("our own directory");
        fs::create_dir(directory.join("rootfs")).expect("our own directory");
        fs::write(directory.join("config.json"), container.config.to_string()).expect("our own file");
        let stdout = directory.join("stdout");
        nix::unistd::mkfifo(&stdout, Mode::S_IRWXU).expect("our own fifo");
        let own = std::env::current_exe().expect("the running test has a path");
        let named = |d: &Path| d.join("containerd-shim-orlop-v2");
        let program = own.ancestors().skip(1).take(2).map(named).find(|path| path.is_file());
        let program = program.expect("the shim is not built (cargo build -p containerd-shim-orlop-v2)");
        let events = Events::at(directory.join("c.sock.ttrpc"));
        Self { events, container, program, stdout }
    }

    pub(super) fn directory(&self) -> &Path {
        self.container.directory()
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory().join("s")
    }

    /// The shim's words, by way of `by`; the namespace is such that its state lies where the harness looks for it.
    pub(super) fn command(&self, by: &[String], words: &[&str]) -> Command {
        let mut line = by.iter().map(String::as_str).chain([self.program.to_str().expect("UTF-8")]);
        let mut command = Command::new(line.next().expect("a program"));
        let containerd = self.events.path.with_extension("");
        command.args(line).args(["-namespace", "state", "-id", &self.container.id, "-address"]);
        command.arg(containerd).args(words).current_dir(self.directory());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let stderr = File::options().append(true).create(true).open(self.directory().join("stderr"));
        command.stderr(stderr.expect("our own file"));
        command
    }

    /// A shim that serves, as `start` makes it.
    pub(super) fn serve(&self, by: &[String]) -> Served {
        let listener = UnixListener::bind(self.socket()).expect("a socket of our own");
        listener.set_nonblocking(true).expect("a socket can be told not to wait");
        // Before it is started: a shim that is killed at once accepts nobody.
        let socket = UnixStream::connect(self.socket()).expect("it listens");
        let address = format!("unix://{}", self.socket().display());
        fs::write(self.directory().join("address"), address).expect("our own file");
        let mut command = self.command(by, &[]);
        let shim = command.stdin(OwnedFd::from(listener)).spawn().expect("the shim can be started");
        // Only the shim holds what it listens on: its end is the end of the connection.
        drop(command);
        socket.set_read_timeout(Some(patience(PATIENCE))).expect("a timeout");
        Served { shim, caller: Caller::on(socket) }
    }

    /// Asks the shim at the socket to end; it has nothing to keep it.
    pub(super) fn shut_down(&self) -> Result<(), String> {
        let socket = UnixStream::connect(self.socket()).map_err(|e| e.to_string())?;
        socket.set_read_timeout(Some(patience(PATIENCE))).expect("a timeout");
        let mut caller = Caller::on(socket);
        let request = ShutdownRequest { id: self.container.id.clone(), now: true };
        caller.call("Shutdown", &request).map(drop).map_err(|e| format!("{e:?}"))
    }

    /// What containerd calls when a shim is gone.  What is left after it, or why it fails.
    pub(super) fn delete_and_look(&self) -> Option<String> {
        let status = self.command(&[], &["delete"]).status().expect("the shim can be started");
        if !status.success() {
            return Some(format!("delete fails, {status}: {}", self.said()));
        }
        let mut left = self.container.left_behind();
        if self.socket().exists() {
            left.push(format!("socket {}", self.socket().display()));
        }
        (!left.is_empty()).then(|| format!("left behind: {}", left.join("; ")))
    }

    /// The events so far.
    pub(super) fn told(&self) -> Vec<String> {
        self.events.told.lock().expect("nobody panics with it").clone()
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.directory().join("stderr")).unwrap_or_default().trim().to_owned()
    }

    pub(super) fn create(&self, shim: &mut Served) -> Answer {
        let directory = self.directory().to_string_lossy().into_owned();
        let rootfs = Mount {
            kind: "bind".into(),
            source: format!("{directory}/image"),
            options: vec!["rbind".into()],
            ..Mount::default()
        };
        let options = RuncOptions { root: directory.clone(), ..RuncOptions::default() };
        let request = CreateTaskRequest {
            id: self.container.id.clone(),
            bundle: directory,
            rootfs: vec![rootfs],
            stdout: self.stdout.to_string_lossy().into_owned(),
            options: Some(Any::new("containerd.runc.v1.Options", options.encode())),
            ..CreateTaskRequest::default()
        };
        shim.call("Create", &request)
    }

    pub(super) fn exec(&self, shim: &mut Served) -> Answer {
        self.exec_of(shim, &["probe", "true"], "")
    }

    /// A process `e`, which reads `stdin`, that is to be started.
    pub(super) fn exec_of(&self, shim: &mut Served, args: &[&str], stdin: &str) -> Answer {
        let process = json!({
            "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
        });
        let request = ExecProcessRequest {
            id: self.container.id.clone(),
            exec_id: "e".into(),
            stdin: stdin.to_owned(),
            stdout: self.stdout.to_string_lossy().into_owned(),
            spec: Some(Any::new("runtime-spec/1/Process", process.to_string().into_bytes())),
            ..ExecProcessRequest::default()
        };
        shim.call("Exec", &request)
    }

    /// All that containerd asks of a shim for a container, until something is refused.
    fn live(&self, shim: &mut Served) -> Answer {
        let of = |exec_id: &str| ProcessRequest { id: self.container.id.clone(), exec_id: exec_id.into() };
        self.create(shim)?;
        shim.call("Start", &of(""))?;
        self.exec(shim)?;
        shim.call("Start", &of("e"))?;
        shim.call("Wait", &of("e"))?;
        shim.call("Delete", &of("e"))?;
        shim.call("Pause", &of(""))?;
        shim.call("Resume", &of(""))
    }

    /// One that is checkpointed, and goes on.
    fn live_to_be_checkpointed(&self, shim: &mut Served) -> Answer {
        self.create(shim)?;
        shim.call("Start", &ProcessRequest { id: self.container.id.clone(), ..ProcessRequest::default() })?;
        let images = self.directory().join("images");
        let _ = fs::remove_dir_all(&images);
        let request = CheckpointTaskRequest {
            id: self.container.id.clone(),
            path: images.to_string_lossy().into_owned(),
            options: None,
        };
        shim.call("Checkpoint", &request)
    }

    /// The end of a container, whatever its state.
    pub(super) fn die(&self, shim: &mut Served) -> Answer {
        let id = self.container.id.clone();
        let kill = KillRequest { id: id.clone(), signal: 9, all: true, ..KillRequest::default() };
        if shim.call("Kill", &kill).is_ok() {
            shim.call("Wait", &ProcessRequest { id: id.clone(), ..ProcessRequest::default() })?;
        }
        match shim.call("Delete", &ProcessRequest { id: id.clone(), ..ProcessRequest::default() }) {
            Err(Failure::Gone) => return Err(Failure::Gone),
            // With `now`, the shim goes, and its container stays for `delete`.
            Ok(_) | Err(Failure::Refused(_)) => {}
        }
        shim.call("Shutdown", &ShutdownRequest { id, now: true })
    }

    /// A life and its end, the shim being executed by way of `by`.
    fn pass(&self, live: Life, by: &[String]) -> Passed {
        fs::write(self.directory().join("stderr"), "").expect("our own file");
        // As containerd's clients do, and for them the shim waits.
        let reader = File::options().read(true).write(true).open(&self.stdout).expect("our own fifo");
        let mut shim = self.serve(by);
        let lived = live(self, &mut shim);
        let mut died = self.die(&mut shim);
        if matches!(died, Err(Failure::Gone)) && shim.connect_again(&self.socket()) {
            died = self.die(&mut shim);
        }
        drop(reader);
        let status = shim.end();
        let refused = match (lived, died) {
            (Ok(_), Ok(_)) => None,
            (Err(Failure::Refused(why)), _) | (_, Err(Failure::Refused(why))) => Some(why),
            _ => Some("the shim was gone".to_owned()),
        };
        Passed { status, refused }
    }

    /// What is wrong after a pass: with how the shim has ended, or with what is left.
    fn judge(&self, passed: &Passed, may_be_killed: bool) -> Option<String> {
        let said = self.said();
        let mut wrong = Vec::new();
        if said.contains("inject: hung") {
            wrong.push("it hung".to_owned());
        }
        if said.contains("panicked") {
            wrong.push(format!("it panicked: {said}"));
        }
        if !may_be_killed && passed.status.code().is_none_or(|code| code >= 128) {
            wrong.push(format!("it was ended by a signal, {}: {said}", passed.status));
        }
        wrong.extend(self.delete_and_look());
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

struct Passed {
    /// The injector's, which is the shim's.
    status: ExitStatus,
    /// What containerd was told.
    refused: Option<String>,
}

/// A connection to a shim.
struct Caller {
    socket: UnixStream,
    decoder: Decoder,
    stream: u32,
    /// Answers that came while another one was waited for.
    early: BTreeMap<u32, Answer>,
}

/// A shim and the connection to it.
pub(super) struct Served {
    shim: Child,
    caller: Caller,
}

impl Caller {
    fn on(socket: UnixStream) -> Self {
        Self { socket, decoder: Decoder::default(), stream: 1, early: BTreeMap::new() }
    }

    fn call(&mut self, method: &str, message: &impl Message) -> Answer {
        let stream = self.send(method, message)?;
        self.answer(method, stream)
    }

    /// Calls, and waits for nothing.
    fn send(&mut self, method: &str, message: &impl Message) -> Result<u32, Failure> {
        let mut bytes = Vec::new();
        let request = Request {
            service: "containerd.task.v3.Task".into(),
            method: method.into(),
            payload: message.encode(),
            ..Request::default()
        };
        put_request(&mut bytes, self.stream, &request);
        let stream = self.stream;
        self.stream += 2;
        self.socket.write_all(&bytes).map_err(|_| Failure::Gone)?;
        Ok(stream)
    }

    /// The answer to a call on this stream.
    fn answer(&mut self, method: &str, waited_for: u32) -> Answer {
        let mut chunk = [0; 4096];
        loop {
            if let Some(answer) = self.early.remove(&waited_for) {
                return answer;
            }
            match self.decoder.frame().expect("the shim speaks ttrpc") {
                Some(Frame::Response { stream, response }) => {
                    let answer = match response.status.filter(|status| status.code != 0) {
                        Some(status) => Err(Failure::Refused(format!("{method}: {}", status.message))),
                        None => Ok(response.payload),
                    };
                    self.early.insert(stream, answer);
                }
                Some(_) => {}
                None => match self.socket.read(&mut chunk) {
                    Ok(length @ 1..) => self.decoder.feed(&chunk[..length]),
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                        panic!("{method}: no answer, and the injector has not ended it")
                    }
                    _ => return Err(Failure::Gone),
                },
            }
        }
    }
}

impl Served {
    pub(super) fn send(&mut self, method: &str, message: &impl Message) -> u32 {
        self.caller.send(method, message).expect("the shim is there")
    }

    pub(super) fn answer(&mut self, method: &str, stream: u32) -> Answer {
        self.caller.answer(method, stream)
    }

    pub(super) fn call(&mut self, method: &str, message: &impl Message) -> Answer {
        self.caller.call(method, message)
    }

    /// It may be that only the connection is gone: then containerd takes another one.
    fn connect_again(&mut self, socket: &Path) -> bool {
        let Ok(socket) = UnixStream::connect(socket) else { return false };
        socket.set_read_timeout(Some(patience(PATIENCE))).expect("a timeout");
        (self.caller.socket, self.caller.decoder) = (socket, Decoder::default());
        true
    }

    /// It was asked to end, or is gone; if neither, it is of no use any more and is killed by the injector's watch.
    pub(super) fn end(mut self) -> ExitStatus {
        let _ = self.caller.socket.shutdown(Shutdown::Both);
        self.shim.wait().expect("a child can be waited for")
    }
}

/// A test that fails in the midst leaves no shim.
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.shim.kill();
        let _ = self.shim.wait();
    }
}

/// The calls of a whole life, in order.
fn points(bundle: &Bundle, live: Life) -> Vec<Point> {
    let list = bundle.directory().join("calls");
    let passed = bundle.pass(live, &inject(&["--calls", &list.to_string_lossy()]));
    assert_eq!(passed.refused, None, "without a fault: {}", bundle.said());
    assert!(passed.status.success(), "without a fault: {}", passed.status);
    assert_eq!(bundle.delete_and_look(), None, "without a fault");
    read_points(&list)
}

#[test]
fn kills_of_the_shim() {
    if !can_sweep() {
        return;
    }
    kill_all_along(&Bundle::new(), Bundle::live);
}

/// With a checkpoint in its life.
#[test]
fn kills_of_the_shims_checkpoint() {
    let Some(subject) = can_sweep().then(Subject::new).flatten() else { return };
    kill_all_along(&Bundle::of(subject.container), Bundle::live_to_be_checkpointed);
}

fn kill_all_along(bundle: &Bundle, live: Life) {
    let points = points(bundle, live);
    let chosen = choose(&points, STEP);
    let (mut died, mut wrong) = (0, Vec::new());
    for point in &chosen {
        let passed = bundle.pass(live, &inject_at(point, &["--kill"]));
        died += usize::from(passed.refused.is_some() || !passed.status.success());
        let what = format!("{} killed before call {} number {}", point.half, point.call, point.at);
        wrong.extend(bundle.judge(&passed, true).map(|why| format!("{what}: {why}")));
    }
    // How often the loop waits is not the same each time: the last of a kind of call may not come.
    println!(
        "shim: killed at {} of {} calls, {died} were noticed, {} left something",
        chosen.len(),
        points.len(),
        wrong.len()
    );
    assert!(died > 0, "no kill was noticed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_of_the_shim() {
    if !can_sweep() {
        return;
    }
    fail_all_along(&Bundle::new(), Bundle::live);
}

#[test]
fn faults_of_the_shims_checkpoint() {
    let Some(subject) = can_sweep().then(Subject::new).flatten() else { return };
    fail_all_along(&Bundle::of(subject.container), Bundle::live_to_be_checkpointed);
}

fn fail_all_along(bundle: &Bundle, live: Life) {
    let points = points(bundle, live);
    let (mut tried, mut refused, mut wrong) = (0, 0, Vec::new());
    for point in choose(&points, STEP) {
        for errno in errors_of_a_shim(point.call) {
            let passed = bundle.pass(live, &inject_at(point, &["--errno", &errno.to_string()]));
            tried += 1;
            refused += usize::from(passed.refused.is_some());
            let errno = nix::errno::Errno::from_raw(*errno);
            let what = format!("{} call {} number {} with {errno:?}", point.half, point.call, point.at);
            let why = bundle.judge(&passed, is_memory(point.call));
            wrong.extend(why.map(|why| format!("{what}: {why} (containerd was told: {:?})", passed.refused)));
        }
    }
    println!(
        "shim: {tried} faults at {} calls: {refused} were answered by a failure, the others were borne",
        points.len()
    );
    assert!(tried > 10, "hardly a fault");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `delete` itself is killed, after a shim that has died with a paused container: the next one does the rest.
#[test]
fn kills_of_the_shims_delete() {
    if !can_sweep() {
        return;
    }
    let bundle = Bundle::new();
    let leave = || {
        let mut shim = bundle.serve(&[]);
        bundle.live(&mut shim).expect("without a fault");
        let paused = ProcessRequest { id: bundle.container.id.clone(), ..ProcessRequest::default() };
        shim.call("Pause", &paused).expect("without a fault");
        shim.shim.kill().expect("our own child");
        shim.end();
    };
    let reader = File::options().read(true).write(true).open(&bundle.stdout).expect("our own fifo");
    leave();
    let list = bundle.directory().join("calls");
    let by = inject(&["--calls", &list.to_string_lossy()]);
    assert!(bundle.command(&by, &["delete"]).status().expect("it can be started").success());
    assert_eq!(bundle.delete_and_look(), None, "without a kill");
    let points = read_points(&list);
    let chosen = choose(&points, 9);
    let mut wrong = Vec::new();
    for point in &chosen {
        leave();
        let status = bundle.command(&inject_at(point, &["--kill"]), &["delete"]).status();
        status.expect("it can be started");
        let what = format!("{} killed before call {} number {}", point.half, point.call, point.at);
        wrong.extend(bundle.delete_and_look().map(|why| format!("{what}: {why}")));
    }
    drop(reader);
    println!("the shim's delete: killed at {} of {} calls", chosen.len(), points.len());
    assert!(!chosen.is_empty(), "no points");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
