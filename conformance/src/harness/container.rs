//! One container of one test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Output, asks_systemd, eventually, is_root, leaks, patience, probe_path, runtime_path};
use crate::config;

/// The ordinary user that tests become: without a home, a group of its own or subordinate ids.
pub const NOBODY: u32 = 65534;

/// Tells the runtime to have systemd keep the cgroups.
pub const SYSTEMD: &str = "--systemd-cgroup";

/// No command of a runtime takes longer; one that does is killed and fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bundle with the probe in its root file system, an id, and a state directory of its own.
///
/// Dropping it deletes the container by force and then asserts that nothing is left: no process, mount, cgroup
/// or state.
#[derive(Debug)]
pub struct Container {
    /// Unique among all running tests.
    pub id: String,
    /// Written to `config.json` before every command.
    pub config: Value,
    /// Global arguments besides `--root`.
    pub global: Vec<String>,
    /// A program that every command is executed by (`deny RULE`), after that of `ORLOP_RUNTIME_BY`.
    pub by: Vec<String>,
    /// The runtime's binary, where it is not that of `ORLOP_RUNTIME` (a copy of it, say).
    pub binary: Option<PathBuf>,
    /// Environment of the runtime, besides PATH, HOME and XDG_RUNTIME_DIR.
    pub environment: Vec<(String, String)>,
    /// Standard input of the next command; nothing is `/dev/null`.
    pub stdin: Option<String>,
    directory: PathBuf,
    /// The runtime is started as this user; nothing: as ourselves.
    user: Option<u32>,
    commands: AtomicUsize,
}

/// A command that has not been waited for.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Kills it, if it runs still; whether it did.
    ///
    /// # Panics
    /// When it cannot be waited for.
    #[must_use]
    pub fn kill_now(mut self) -> bool {
        let runs = self.child.try_wait().expect("a child can be waited for").is_none();
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
        runs
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes too long; it is killed then.
    #[must_use]
    pub fn wait(mut self) -> Output {
        let deadline = Instant::now() + patience(PATIENCE);
        let mut pause = Duration::from_micros(500);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("a child can be killed");
                self.child.wait().expect("a killed child ends");
                panic!("hung for {PATIENCE:?}: {}\n  stdout: {}", self.shown, self.stdout());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Output { command: self.shown, status, stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }
}

impl Default for Container {
    fn default() -> Self {
        Self::new()
    }
}

impl Container {
    /// A container of whoever runs the tests: root's has the config that `runc spec` writes, an ordinary user's
    /// the like in a user namespace that maps root to that user.
    #[must_use]
    pub fn new() -> Self {
        let args = ["probe", "true"];
        let own = nix::unistd::geteuid().as_raw();
        let config = if is_root() { config::plain(&args) } else { config::rootless(&args, own, own) };
        Self::with(config, None)
    }

    /// A container that root starts as an ordinary user, whose id is mapped to root's within.
    #[must_use]
    pub fn as_user(user: u32) -> Self {
        Self::with(config::rootless(&["probe", "true"], user, user), Some(user))
    }

    fn with(config: Value, user: Option<u32>) -> Self {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        // A test that was killed may have left a directory, and its pid may be ours now.
        let (id, directory) = loop {
            let id = format!("ot-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
            let directory = std::env::temp_dir().join(format!("orlop-{id}"));
            match fs::create_dir(&directory) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => break (id, made.map(|()| directory).expect("the bundle's directory can be made")),
            }
        };
        let container = Self {
            id,
            config,
            global: Vec::new(),
            by: Vec::new(),
            binary: None,
            environment: Vec::new(),
            stdin: None,
            directory,
            user,
            commands: AtomicUsize::new(0),
        };
        container.make_files();
        container
    }

    /// Lets root itself start the runtime of a container made [`Container::as_user`]; its files stay the user's.
    pub fn become_root(&mut self) {
        self.user = None;
    }

    fn make_files(&self) {
        let rootfs = self.rootfs("");
        for below in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(below)).expect("the bundle's directory can be made");
        }
        for below in ["state", "output", "run"] {
            fs::create_dir(self.directory.join(below)).expect("the bundle's directory can be made");
        }
        fs::set_permissions(self.directory.join("run"), fs::Permissions::from_mode(0o700))
            .expect("chmod own file");
        // By a process of its own: another test that forks meanwhile would keep our descriptor of the copy, open for writing,
        // until its execve, and the container's execve would fail with "text file busy".
        let copied = Command::new("cp").arg(probe_path()).arg(rootfs.join("bin/probe")).status();
        assert!(copied.expect("cp can be executed").success(), "the probe can be copied");
        for name in ["true", "false", "echo", "cat"] {
            symlink("probe", rootfs.join("bin").join(name)).expect("a link can be made");
        }
        if let Some(user) = self.user {
            give(&self.directory, user);
        }
    }

    /// The directory with everything of this test; the bundle is there too.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path in the root file system, seen from the host.
    #[must_use]
    pub fn rootfs(&self, below: &str) -> PathBuf {
        self.directory.join("rootfs").join(below)
    }

    /// The state directory.
    #[must_use]
    pub fn state_root(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Makes a directory on the host, beside the root file system; returns its path.
    #[must_use]
    pub fn host_directory(&self, name: &str) -> String {
        let path = self.directory.join(name);
        fs::create_dir_all(&path).expect("a directory of our own can be made");
        if let Some(user) = self.user {
            chown(&path, Some(user), Some(user)).expect("root can give its file away");
        }
        path.to_string_lossy().into_owned()
    }

    /// The arguments of the container's process.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.config["process"]["args"] = json!(args);
        self
    }

    /// Gives it a cgroup of its own below one, or of one beginning, that is called `name`: in the form that the runtime is told to
    /// read `linux.cgroupsPath` in.
    pub fn group_by(&mut self, name: &str) -> &mut Self {
        let id = &self.id;
        let path = if asks_systemd() { format!(":{name}:{id}") } else { format!("/{name}/{id}") };
        self.config["linux"]["cgroupsPath"] = json!(path);
        self
    }

    /// Adds a mount after the others.
    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = config::mount(destination, kind, source, options);
        self.config["mounts"].as_array_mut().expect("the config has mounts").push(mount);
        self
    }

    /// Removes the mounts at a destination.
    pub fn unmount(&mut self, destination: &str) -> &mut Self {
        let mounts = self.config["mounts"].as_array_mut().expect("the config has mounts");
        mounts.retain(|mount| mount["destination"] != destination);
        self
    }

    /// Adds a namespace, or replaces the one of its type.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.no_namespace(kind);
        let namespace =
            path.map_or_else(|| json!({ "type": kind }), |path| json!({ "type": kind, "path": path }));
        self.config["linux"]["namespaces"].as_array_mut().expect("the config has namespaces").push(namespace);
        self
    }

    /// Takes a namespace out: the container then has its runtime's.
    pub fn no_namespace(&mut self, kind: &str) -> &mut Self {
        let namespaces =
            self.config["linux"]["namespaces"].as_array_mut().expect("the config has namespaces");
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Writes `config.json`, then starts the runtime with the given words after the global ones.
    ///
    /// # Panics
    /// When the runtime cannot be started.
    #[must_use]
    pub fn spawn(&self, words: &[&str]) -> Running {
        self.spawn_by(&[], words)
    }

    /// As [`Container::spawn`], by way of another program (`env`, `sh -c …`) that executes what follows it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_by(&self, prefix: &[&str], words: &[&str]) -> Running {
        fs::write(self.directory.join("config.json"), self.config.to_string())
            .expect("config.json can be written");
        let serial = self.commands.fetch_add(1, Ordering::Relaxed);
        let stdout = self.directory.join(format!("output/{serial}.out"));
        let stderr = self.directory.join(format!("output/{serial}.err"));
        let mut command = self.command_by(prefix, words);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        // Files, not pipes: a container that outlives its runtime holds them open and blocks nobody.
        command.stdin(self.stdin_file(serial));
        command.stdout(File::create(&stdout).expect("an output file can be made"));
        command.stderr(File::create(&stderr).expect("an output file can be made"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{shown} cannot be started: {error}"));
        Running { child, shown, stdout, stderr }
    }

    fn stdin_file(&self, serial: usize) -> Stdio {
        let Some(text) = &self.stdin else { return Stdio::null() };
        let path = self.directory.join(format!("output/{serial}.in"));
        fs::write(&path, text).expect("an input file can be made");
        File::open(path).expect("an input file can be opened").into()
    }

    /// The command with the given words, not started.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_by(&[], words)
    }

    fn command_by(&self, prefix: &[&str], words: &[&str]) -> Command {
        let runtime = self.binary.clone().unwrap_or_else(runtime_path);
        let by = std::env::var("ORLOP_RUNTIME_BY").unwrap_or_default();
        let by = by.split_whitespace().chain(self.by.iter().map(String::as_str));
        let mut line = by.chain(prefix.iter().copied()).map(OsStr::new).chain([runtime.as_os_str()]);
        let mut command = Command::new(line.next().unwrap_or(runtime.as_os_str()));
        command.args(line);
        let more = std::env::var("ORLOP_RUNTIME_ARGS").unwrap_or_default();
        // The user that root becomes has no manager of units.
        let more = more.split_whitespace().filter(|arg| self.user.is_none() || *arg != SYSTEMD);
        command.args(more);
        command.args(&self.global).arg("--root").arg(self.state_root()).args(words);
        command.current_dir(&self.directory).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.directory.join("run")).env("XDG_RUNTIME_DIR", self.directory.join("run"));
        // Where the tests' own user has a manager of units.
        command
            .envs(std::env::var_os("DBUS_SESSION_BUS_ADDRESS").map(|bus| ("DBUS_SESSION_BUS_ADDRESS", bus)));
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs the runtime with the given words and waits.
    #[must_use]
    pub fn runtime(&self, words: &[&str]) -> Output {
        self.spawn(words).wait()
    }

    /// As [`Container::runtime`], by way of another program.
    #[must_use]
    pub fn runtime_by(&self, prefix: &[&str], words: &[&str]) -> Output {
        self.spawn_by(prefix, words).wait()
    }

    fn bundle(&self) -> String {
        self.directory.to_string_lossy().into_owned()
    }

    /// `run`, in the foreground.
    #[must_use]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// `run` with further flags.
    #[must_use]
    pub fn run_with(&self, flags: &[&str]) -> Output {
        self.runtime(&[&["run", "--bundle", &self.bundle()], flags, &[&self.id]].concat())
    }

    /// `run` of the given arguments; its lines of output.
    #[track_caller]
    pub fn run_args(&mut self, args: &[&str]) -> Vec<String> {
        self.args(args);
        self.run().lines()
    }

    /// `run` of the probe's report.
    #[track_caller]
    pub fn report(&mut self) -> Value {
        self.report_with(&[])
    }

    /// `run` of the probe's report, with the values of sysctls.
    #[track_caller]
    pub fn report_with(&mut self, sysctls: &[&str]) -> Value {
        self.args(&[&["probe", "report", "--json"], sysctls].concat());
        self.run().json()
    }

    /// `create`.
    #[must_use]
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// `create` with further flags.
    #[must_use]
    pub fn create_with(&self, flags: &[&str]) -> Output {
        self.runtime(&[&["create", "--bundle", &self.bundle()], flags, &[&self.id]].concat())
    }

    /// `create` and `start` of the given arguments, both of which must succeed.
    ///
    /// Returns the file in which the container's standard output appears.
    #[track_caller]
    pub fn launch(&mut self, args: &[&str]) -> PathBuf {
        self.args(args);
        let at = self.commands.load(Ordering::Relaxed);
        self.create().ok();
        self.runtime(&["start", &self.id]).ok();
        self.directory.join(format!("output/{at}.out"))
    }

    /// As [`Container::launch`] of the probe's `trap`, returning when it is ready to be signalled.
    #[track_caller]
    pub fn launch_trap(&mut self, signals: &[&str]) -> PathBuf {
        let output = self.launch(&[&["probe", "trap"], signals].concat());
        eventually("the probe's trap is ready", || {
            fs::read_to_string(&output).is_ok_and(|text| text == "ready\n")
        });
        output
    }

    /// `state`, which must succeed.
    #[track_caller]
    #[must_use]
    pub fn state(&self) -> Value {
        self.runtime(&["state", &self.id]).json()
    }

    /// The status in `state`.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for a status.
    #[track_caller]
    pub fn await_status(&self, status: &str) {
        eventually(&format!("{} is {status}", self.id), || self.status() == status);
    }

    /// `kill` with a signal.
    #[must_use]
    pub fn kill(&self, signal: &str) -> Output {
        self.runtime(&["kill", &self.id, signal])
    }

    /// `delete` with flags.
    #[must_use]
    pub fn delete(&self, flags: &[&str]) -> Output {
        self.runtime(&[&["delete"], flags, &[&self.id]].concat())
    }

    /// Puts the host's busybox into a directory of the root file system, under these names too.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn lend_busybox(&self, directory: &str, names: &[&str]) {
        let place = self.rootfs(directory);
        fs::create_dir_all(&place).expect("our own directory");
        // By a process of its own, as the probe is copied.
        let copied = Command::new("sh")
            .args(["-c", "exec cp \"$(command -v busybox)\" \"$0\""])
            .arg(place.join("busybox"))
            .status();
        assert!(copied.expect("sh can be executed").success());
        for name in names {
            symlink("busybox", place.join(name)).expect("a link can be made");
        }
    }

    /// The file to which standard output went of the command before the last `back` ones.
    #[must_use]
    pub fn output_file(&self, back: usize) -> PathBuf {
        let last = self.commands.load(Ordering::Relaxed) - 1;
        self.directory.join(format!("output/{}.out", last - back))
    }

    /// What is left of this container, when it has had a moment to go: processes, mounts, cgroups, state.
    #[must_use]
    pub fn left_behind(&self) -> Vec<String> {
        // A killed process may be a zombie for the moment until its new parent has seen to it.
        let deadline = Instant::now() + patience(Duration::from_secs(10));
        loop {
            let left = leaks::find(&self.id, &self.directory, &self.state_root());
            if left.is_empty() || Instant::now() > deadline {
                return left.iter().map(ToString::to_string).collect();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that nothing of this container is left: no process, mount, cgroup or state.
    ///
    /// # Panics
    /// When something is.
    #[track_caller]
    pub fn assert_clean(&self) {
        let left = self.left_behind();
        assert!(left.is_empty(), "left behind by {}:\n  {}", self.id, left.join("\n  "));
    }
}

/// Gives a tree of ours to a user; links are not followed.
fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).expect("root can give its file away");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("our own directory can be read").flatten() {
            give(&entry.path(), user);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.state_root().join(&self.id).exists() {
            let mut command = self.command(&["delete", "--force", &self.id]);
            // Best effort: the check below is what counts.
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        if std::env::var_os("ORLOP_LEAKS_ARE_FINE").is_some() {
            // Fine, but not to stay.
            leaks::remove(&self.id, &self.directory, &self.state_root());
        } else if !thread::panicking() {
            self.assert_clean();
        }
        if std::env::var_os("ORLOP_KEEP").is_none() {
            // What cannot be removed here is busy, and was reported above or by the failed test.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
