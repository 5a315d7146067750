//! What a test works with: one container, driven by nothing but the operations of the specification.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::panic::{self, Location};
use std::path::{Path, PathBuf};

use conformance::harness::{self, Container, Groups, Output};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::case::Case;

/// The payload of the panic that skips a test.
#[derive(Debug)]
pub struct Skip(pub String);

/// Ends the test as skipped, for a reason found out on the way.
pub fn skip(reason: impl Into<String>) -> ! {
    panic::panic_any(Skip(reason.into()))
}

/// A container's process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How; nothing where the runtime keeps it to itself.
    pub status: Option<WaitStatus>,
    /// What it said.
    pub stdout: String,
}

/// One container of one test.  Standing for its [`Container`].
#[derive(Debug)]
pub struct Trial {
    container: Container,
    case: &'static Case,
}

impl Deref for Trial {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

impl DerefMut for Trial {
    fn deref_mut(&mut self) -> &mut Container {
        &mut self.container
    }
}

/// A namespace of this process.
pub fn own_namespace(kind: &str) -> String {
    namespace_of("self", kind)
}

/// A namespace of any process.
pub fn namespace_of(pid: &str, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    link.unwrap_or_else(|error| panic!("/proc/{pid}/ns/{kind}: {error}")).to_string_lossy().into_owned()
}

impl Trial {
    /// A container for a test.
    pub fn new(case: &'static Case) -> Self {
        Self { container: Container::new(), case }
    }

    /// Another container beside it.
    pub fn another(&self) -> Self {
        Self::new(self.case)
    }

    /// The last word of the test's name.
    pub fn word(&self) -> &'static str {
        self.case.word()
    }

    /// `start`.
    pub fn start(&self) -> Output {
        self.runtime(&["start", &self.id])
    }

    /// Whether the runtime knows the container.
    pub fn exists(&self) -> bool {
        self.runtime(&["state", &self.id]).status.success()
    }

    /// The host's id of the container's process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let state = self.state();
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no pid in {state}"))
    }

    /// Waits for the end of the container's process, whom the kernel has made our child when its runtime ended.
    fn wait_for(&self, pid: i32) -> Option<WaitStatus> {
        let status = waitpid(Pid::from_raw(pid), None).ok();
        if status.is_none() {
            self.await_status("stopped");
        }
        status
    }

    /// Waits until the container has stopped; how its process ended.
    #[track_caller]
    pub fn end(&self) -> Option<WaitStatus> {
        let pid = self.pid();
        self.wait_for(pid)
    }

    /// The life of one program, from create to delete.
    #[track_caller]
    pub fn life(&mut self, args: &[&str]) -> Ended {
        self.args(args);
        self.life_as_is()
    }

    /// The life of the program that the config has.
    #[track_caller]
    pub fn life_as_is(&mut self) -> Ended {
        self.create().ok();
        let output = self.output_file(0);
        let pid = self.pid();
        self.start().ok();
        let status = self.wait_for(pid);
        self.delete(&[]).ok();
        let stdout = String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned();
        Ended { status, stdout }
    }

    /// What a program of the probe says, without the last line's end.
    #[track_caller]
    pub fn says(&mut self, args: &[&str]) -> String {
        let ended = self.life(&[&["probe"], args].concat());
        ended.stdout.trim_end().to_owned()
    }

    /// What the probe sees inside.
    #[track_caller]
    pub fn inside(&mut self) -> Value {
        self.inside_with(&[])
    }

    /// What the probe sees inside, kernel parameters too.
    #[track_caller]
    pub fn inside_with(&mut self, sysctls: &[&str]) -> Value {
        let text = self.says(&[&["report", "--json"], sysctls].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no report ({error}): {text:?}"))
    }

    /// What `lstat` says inside of a file, or the error.
    #[track_caller]
    pub fn stat(&mut self, path: &str) -> Value {
        let text = self.says(&["stat", path]);
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    /// The last mount at a place inside.
    #[track_caller]
    pub fn mount_at(&mut self, place: &str) -> Value {
        let report = self.inside();
        let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
        let found = mounts.into_iter().rev().find(|mount| mount["destination"] == place);
        found.unwrap_or_else(|| panic!("nothing is mounted at {place}: {}", report["mounts"]))
    }

    /// Sets a property of the config, by the JSON pointer to it.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut at = &mut self.container.config;
        for word in pointer.trim_start_matches('/').split('/') {
            at = match word.parse::<usize>() {
                Ok(index) if at.is_array() => &mut at[index],
                _ => &mut at[word],
            };
        }
        *at = value;
        self
    }

    /// Takes a property out of an object of the config.
    pub fn unset(&mut self, pointer: &str) -> &mut Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(object) = self.container.config.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(name);
        }
        self
    }

    /// Lets the root file system be written to.
    pub fn writable(&mut self) -> &mut Self {
        self.set("/root/readonly", json!(false))
    }

    /// `create` must fail and make no container.
    #[track_caller]
    pub fn refused(&self) {
        let output = self.create();
        assert!(!output.status.success(), "expected create to fail: {output}");
        assert!(!self.exists(), "create failed, but there is a container");
    }

    /// `create` or `start` must fail, which of the two is the runtime's choice, and the program must not have run.
    #[track_caller]
    pub fn refused_until_started(&mut self) {
        self.writable().args(&["probe", "write", "/tmp/ran", "x"]);
        self.refused_until_started_as_is();
        assert!(!self.rootfs("tmp/ran").exists(), "the program was run");
    }

    /// The same for the program that the config has.
    #[track_caller]
    pub fn refused_until_started_as_is(&self) {
        if self.create().status.success() {
            let output = self.start();
            assert!(!output.status.success(), "expected create or start to fail: {output}");
        }
    }

    /// Creates from a bundle of which config.json is this text.
    pub fn create_from_text(&self, text: &str) -> Output {
        let bundle = self.host_directory("text");
        fs::write(Path::new(&bundle).join("config.json"), text).expect("our own directory");
        self.runtime(&["create", "--bundle", &bundle, &self.id])
    }

    /// What stands in a file of the container's cgroup, of version 1 or 2.
    #[track_caller]
    pub fn group_says(&mut self, controller: &str, v1: &str, v2: &str) -> String {
        self.args(&["probe", "sleep", "60"]);
        self.create().ok();
        let groups = Groups::of(&self.pid().to_string());
        let found = groups.read(controller, v1, v2);
        self.kill("KILL").ok();
        self.end();
        self.delete(&[]).ok();
        found.unwrap_or_else(|| skip(format!("the kernel has neither {v1} nor {v2}")))
    }

    /// A directory that both sides see at the same path, for what hooks write.
    fn records_directory(&mut self) -> PathBuf {
        let shown = self.host_directory("records");
        if self.config["hooks"].is_null() {
            self.mount(&shown, "bind", &shown, &["bind", "rw"]);
            self.config["hooks"] = json!({});
        }
        PathBuf::from(shown)
    }

    /// Adds a hook that records what it was given and does what `more` says (`status N`, `sleep SECONDS`, `read PATH`).
    pub fn hook(&mut self, kind: &str, more: &[&str]) -> &mut Value {
        let file = self.records_directory().join(kind).to_string_lossy().into_owned();
        // startContainer alone has its path resolved in the container.
        let path = match kind {
            "startContainer" => PathBuf::from("/bin/probe"),
            _ => harness::probe_path(),
        };
        let args: Vec<&str> = ["probe", "hook", &file].into_iter().chain(more.iter().copied()).collect();
        let hook = json!({ "path": path.canonicalize().unwrap_or(path), "args": args });
        let list = &mut self.config["hooks"][kind];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().expect("a list of hooks");
        list.push(hook);
        list.last_mut().expect("just pushed")
    }

    /// What the hooks of a kind recorded, in order.
    #[track_caller]
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let file = self.directory().join("records").join(kind);
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// The only record of a kind.
    #[track_caller]
    pub fn record(&self, kind: &str) -> Value {
        let records = self.records(kind);
        assert_eq!(records.len(), 1, "{kind} hooks that ran, at {}", Location::caller());
        records.into_iter().next().unwrap_or_default()
    }
}
