//! Containers that are checkpointed: what their tests share.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use conformance::harness::{Container, eventually, is_denied, require_program, require_root, skip};
use serde_json::json;

/// A container with a shell, whose network CRIU can lock on this host.
pub struct Subject {
    pub container: Container,
    network_lock: &'static str,
}

/// What `criu check` says of a feature.
pub fn has_feature(name: &str) -> bool {
    let checked = Command::new("criu").args(["check", "--feature", name]).output().expect("criu can be run");
    checked.status.success()
}

impl Subject {
    /// `None` where no CRIU works; the test is skipped then.
    pub fn new() -> Option<Self> {
        if !require_root() || !require_program("criu") {
            return None;
        }
        if is_denied() {
            skip(
                "the filter that takes calls away keeps CRIU from suspending it (PTRACE_O_SUSPEND_SECCOMP): no checkpoint can be made",
            );
            return None;
        }
        let checked = Command::new("criu").arg("check").output().expect("criu can be run");
        if !checked.status.success() {
            let said = String::from_utf8_lossy(&checked.stderr).trim().replace('\n', "; ");
            skip(&format!("criu does not work with this kernel: {said}"));
            return None;
        }
        let mut container = Container::new();
        let applets = [
            "sh", "sleep", "cat", "httpd", "wget", "nc", "flock", "ln", "rm", "dd", "tr", "md5sum", "ps",
            "kill", "timeout", "grep",
        ];
        let bin = container.rootfs("bin");
        let missing = applets.into_iter().filter(|applet| fs::symlink_metadata(bin.join(applet)).is_err());
        container.lend_busybox("bin", &missing.collect::<Vec<_>>());
        for directory in ["tmp", "www"] {
            fs::create_dir_all(container.rootfs(directory)).expect("a directory can be made");
        }
        fs::write(container.rootfs("www/index.html"), "served\n").expect("a file can be written");
        container.config["root"]["readonly"] = json!(false);
        let network_lock = if has_feature("network_lock_nftables") { "nftables" } else { "skip" };
        let subject = Self { container, network_lock };
        subject.configure("");
        let path = subject.configuration();
        let mut subject = subject;
        subject.container.config["annotations"] = json!({ "org.criu.config": path });
        Some(subject)
    }

    fn configuration(&self) -> PathBuf {
        self.container.directory().join("criu.conf")
    }

    /// Further lines for CRIU's configuration.
    pub fn configure(&self, lines: &str) {
        let text = format!("network-lock {}\n{lines}", self.network_lock);
        fs::write(self.configuration(), text).expect("a file can be written");
    }

    /// A file of the container's `/tmp`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.container.rootfs("tmp").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> String {
        self.container.directory().join(name).to_string_lossy().into_owned()
    }

    /// Makes the container run a script, with nothing of the host's as its streams.
    ///
    /// What is to sleep through a checkpoint is the probe: the sleep of busybox 1.37 ends when it is interrupted.
    pub fn run(&mut self, script: &str) {
        self.container.args(&["/bin/sh", "-c", script]);
        let id = self.container.id.clone();
        self.quietly(&["run", "--detach", &id]);
    }

    /// A command that must succeed, whose streams a container may inherit and be checkpointed with.
    pub fn quietly(&self, words: &[&str]) {
        self.container.runtime(&["--version"]).ok(); // writes config.json
        let log = self.path("log");
        let _ = fs::remove_file(&log);
        let words = [&["--log", &log], words].concat();
        let mut command = self.container.command(&words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("the runtime can be started");
        let log = fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{words:?}: {status}: {log}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.path("images") + "/" + name).unwrap_or_default();
        let text = format!("{}{}", log("dump.log"), log("restore.log"));
        let last: Vec<&str> = text.lines().rev().take(25).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Checkpoints it into `images`, with further flags.
    pub fn checkpoint(&self, flags: &[&str]) {
        let images = self.path("images");
        let words = [&["checkpoint", "--image-path", &images], flags, &[&self.container.id]].concat();
        self.quietly(&words);
    }

    /// Brings it back, with further flags, detached.
    pub fn restore(&self, flags: &[&str]) {
        let images = self.path("images");
        let words =
            [&["restore", "--detach", "--image-path", &images], flags, &[&self.container.id]].concat();
        self.quietly(&words);
    }

    /// What a command prints in the container.
    pub fn exec(&self, script: &str) -> String {
        self.container.runtime(&["exec", &self.container.id, "/bin/sh", "-c", script]).ok().stdout
    }

    pub fn number(&self, name: &str) -> u64 {
        self.read(name).lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until the number in a file of the container's has grown past `than`.
    pub fn grows(&self, name: &str, than: u64) {
        eventually(&format!("{name} grows past {than}"), || self.number(name) > than);
    }
}

/// Counts in `/tmp/n`, which keeps its name and, once it is there, its size: CRIU refuses to open a file again that has
/// another, and a checkpoint may come while this one is open.
pub const COUNTER: &str = "i=0; while :; do i=$((i+1)); printf '%08d\\n' $i 1<>/tmp/n; sleep 0.02; done";

/// A script on the host, written by a process of its own: while this one has it open to be written, another thread may make a child,
/// which then has it open too, and the script cannot be executed (ETXTBSY).
#[allow(dead_code)] // Each test program has its own copy of this module.
pub fn script(path: &Path, text: &str) {
    let written = Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\""])
        .arg(path)
        .arg(text)
        .status();
    assert!(written.expect("a shell").success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
