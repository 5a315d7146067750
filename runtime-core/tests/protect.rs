//! The binary of a program that called `reexec_if_needed` cannot be written, by whoever holds on to it.
//!
//! The guinea pig is a copy of this test program that runs one ignored test below.

use orlop_core::protect;
use orlop_core::sys::{self, Fd, MountAttr};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// An ordinary user.
const USER: u32 = 65_534;

#[test]
#[ignore = "runs in the guinea pig only"]
fn guinea_pig() {
    if std::env::var_os("UNPROTECTED").is_none() {
        protect::reexec_if_needed().unwrap();
    }
    let exe = fs::read_link("/proc/self/exe").unwrap();
    let name = fs::read_to_string("/proc/thread-self/comm").unwrap();
    println!("PIG {} {} {}", protect::is_protected().unwrap(), exe.display(), name.trim());
    // Until the experimenter has seen enough.
    let _ = std::io::stdin().read(&mut [0]);
}

struct Pig {
    child: Child,
    said: String,
    program: PathBuf,
    /// Kept open for what the test harness says at its end.
    _stdout: BufReader<ChildStdout>,
}

impl Pig {
    /// Starts a copy of this program, named `name`, that belongs to `owner`, as user `user`.
    fn start(name: &str, owner: u32, user: u32, protected: bool) -> Self {
        let program = std::env::temp_dir().join(format!("orlop-{name}-{}", std::process::id()));
        // By a process of its own: another test's fork would inherit a descriptor that writes, and the copy could not be executed.
        let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
        assert!(copied.unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&program, Some(owner), Some(owner)).unwrap();
        let mut command = Command::new(&program);
        command.arg0("the pig").args([
            "--ignored",
            "--exact",
            "guinea_pig",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        if user != 0 {
            command.uid(user).gid(user);
        }
        if !protected {
            command.env("UNPROTECTED", "1");
        }
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("PIG ") {
            said.clear();
            assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "the guinea pig said nothing");
        }
        let said = said.split("PIG ").last().unwrap_or_default().trim().to_owned();
        Self { child, said, program, _stdout: stdout }
    }

    fn exe(&self) -> PathBuf {
        format!("/proc/{}/exe", self.child.id()).into()
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

impl Drop for Pig {
    fn drop(&mut self) {
        self.end();
        fs::remove_file(&self.program).unwrap();
    }
}

/// The error number of what must not succeed.
fn refusal(open: &OpenOptions, path: &Path) -> i32 {
    match open.open(path).and_then(|mut file| file.write_all(b"#!/bin/evil")) {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap(),
    }
}

/// Tries all ways to write to the file at `path`; returns the error numbers.
fn attack(path: &Path) -> Vec<i32> {
    let ways = [
        OpenOptions::new().read(true).write(true).clone(),
        OpenOptions::new().write(true).truncate(true).clone(),
        OpenOptions::new().append(true).clone(),
    ];
    ways.iter().map(|way| refusal(way, path)).collect()
}

/// Tries all ways to make the mount of an open file writable; returns the error numbers.
fn attack_mount(file: &File) -> Vec<i32> {
    let writable = MountAttr { clear: sys::attr::RDONLY, ..MountAttr::default() };
    let fd = Fd::from(file.as_fd());
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", fd.0)).unwrap();
    let errno = |r: sys::Result<()>| r.map_or_else(|e| e.errno, |()| 0);
    let copied = sys::open_tree_clone(fd, c"", false, libc::AT_EMPTY_PATH)
        .and_then(|tree| sys::mount_setattr(tree, false, &writable));
    vec![
        errno(sys::mount_setattr(fd, false, &writable)),
        errno(sys::mount_setattr_at(Fd::CWD, &path, false, &writable)),
        errno(sys::mount(None, &path, libc::MS_REMOUNT | libc::MS_BIND)),
        errno(copied),
    ]
}

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: the experiment needs root");
    }
    root
}

fn hold(pig: &Pig) -> (File, PathBuf) {
    let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(pig.exe()).unwrap();
    let path = format!("/proc/self/fd/{}", Fd::from(held.as_fd()).0).into();
    (held, path)
}

#[test]
fn as_root_it_runs_from_a_mount_that_nobody_can_make_writable() {
    if !root() {
        return;
    }
    let unchanged = sys::mount_setattr(Fd::CWD, false, &MountAttr::default());
    if unchanged.is_err_and(|e| e.errno == libc::ENOSYS) {
        eprintln!("skipped: without mount_setattr (Linux 5.12) it runs from memory");
        return;
    }
    let mut pig = Pig::start("mount", 0, 0, true);
    assert_eq!(pig.said, "true / the pig");
    let (held, path) = hold(&pig);
    for refused in attack(&pig.exe()) {
        assert!([libc::EROFS, libc::ETXTBSY].contains(&refused), "while it runs: {refused}");
    }
    let mount = attack_mount(&held);
    assert!(mount.iter().all(|e| [libc::EINVAL, libc::EPERM].contains(e)), "{mount:?}");
    pig.end();
    assert_eq!(attack(&path), [libc::EROFS; 3], "after its end");
    let mount = attack_mount(&held);
    assert!(mount.iter().all(|e| [libc::EINVAL, libc::EPERM].contains(e)), "{mount:?}");
    // Nothing of it is mounted anywhere.
    let name = pig.program.file_name().unwrap().to_str().unwrap();
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(name));
}

#[test]
fn without_the_right_to_mount_it_runs_from_sealed_memory() {
    if !root() {
        return;
    }
    let mut pig = Pig::start("memory", USER, USER, true);
    assert_eq!(pig.said, "true /memfd:orlop (deleted) the pig");
    let (held, path) = hold(&pig);
    for refused in attack(&pig.exe()) {
        assert!([libc::EPERM, libc::ETXTBSY].contains(&refused), "while it runs: {refused}");
    }
    pig.end();
    assert_eq!(attack(&path), [libc::EPERM; 3], "after its end");
    drop(held);
}

#[test]
fn roots_binary_needs_no_copy_for_an_ordinary_user() {
    if !root() {
        return;
    }
    let pig = Pig::start("user", 0, USER, true);
    assert_eq!(pig.said, format!("true {} guinea_pig", pig.program.display()));
}

/// The control: what the attack does to a program that is not protected.
#[test]
fn an_unprotected_program_can_be_overwritten() {
    if !root() {
        return;
    }
    let mut pig = Pig::start("bare", 0, 0, false);
    assert!(pig.said.starts_with("false /"), "{}", pig.said);
    let (_held, path) = hold(&pig);
    assert_eq!(attack(&pig.exe()), [libc::ETXTBSY; 3], "while it runs");
    pig.end();
    assert_eq!(attack(&path), [0; 3], "after its end");
}
