//! The invariants of docs/architecture.md that `engine.rs` does not hold: with real containers where there is an effect to see,
//! as root and as an ordinary user; and as rules of the repository, held by reading it.
#![allow(missing_docs)]

mod common;

use common::Scratch;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use orlop_core::{CreateOptions, ErrorKind, ExecOptions, Status};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Every path below `directory`.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            all.push(entry.path());
        }
    }
    all.sort();
    all
}

/// A directory of the host that links of the image lead to.
fn outside(scratch: &Scratch) -> PathBuf {
    let outside = scratch.path.join("outside");
    std::fs::create_dir_all(outside.join("etc")).unwrap();
    std::fs::write(outside.join("sentinel"), "host").unwrap();
    std::fs::write(scratch.path.join("bound"), "bound").unwrap();
    outside
}

/// The mounts of the host below a directory; others may mount elsewhere meanwhile.
fn mounts_below(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = directory.to_str().unwrap();
    text.lines().filter(|line| line.contains(below)).map(str::to_owned).collect()
}

fn bind_at(config: &mut Value, source: &Path, destination: &str) {
    let mount =
        json!({"destination": destination, "type": "bind", "source": source, "options": ["bind", "ro"]});
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// I3: wherever the directories of an image lead, mounts and devices stay inside, or are refused.
fn links_of_an_image_stay_inside() {
    let mut inside = 0;
    for directory in ["etc", "proc", "dev", "sys", "mnt"] {
        for (n, way) in ["absolute", "dots", "dangling"].iter().enumerate() {
            let s = Scratch::new(&format!("links-{directory}-{n}"));
            let outside = outside(&s);
            // Below /proc nothing may be mounted; there the procfs itself is what meets the link.
            let below = if directory == "proc" { "mnt" } else { directory };
            let file = format!("/{below}/x/file");
            s.bundle(&["read", &file], |config| bind_at(config, &s.path.join("bound"), &file));
            let dots = PathBuf::from("../".repeat(40)).join(outside.strip_prefix("/").unwrap());
            let target = match *way {
                "absolute" => outside.clone(),
                "dots" => dots,
                _ => outside.join("missing/deeper"),
            };
            symlink(&target, s.rootfs().join(directory)).unwrap();
            let (before, mounts) = (tree(&outside), mounts_below(&s.path));
            match s.output(s.options("links")) {
                Ok((text, code)) => {
                    assert_eq!((text.as_str(), code), ("bound\n", 0), "{directory} {way}");
                    inside += 1;
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Launch, "{directory} {way}: {e}"),
            }
            assert_eq!(tree(&outside), before, "{directory} {way}: made on the host");
            assert_eq!(mounts_below(&s.path), mounts, "{directory} {way}");
        }
    }
    // The links at /etc and /mnt are an image's good right.
    assert!(inside >= 6, "{inside} were launched");
}

/// I3: a directory that becomes a link to the host while a mount is made below it.
fn a_race_for_a_mountpoint_is_lost() {
    let s = Scratch::new("race");
    let outside = outside(&s);
    let destination = "/swap/a/b";
    s.bundle(&["exit", "0"], |config| bind_at(config, &s.path.join("bound"), destination));
    let (here, other) = (s.rootfs().join("swap"), s.rootfs().join("other"));
    let before = tree(&outside);
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut n, mut launched) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let swapped = renameat2(AT_FDCWD, &here, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE);
                swaps.fetch_add(usize::from(swapped.is_ok()), Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        // A hundred, or as many more as it takes until both sides had their turns.
        let had = |launched: usize| launched > 0 && swaps.load(Ordering::Relaxed) > 1000;
        while n < 100 || n < 5000 && !had(launched) {
            n += 1;
            // Afresh, so that the mountpoint is to be made again.
            for path in [&here, &other, &s.rootfs().join(outside.strip_prefix("/").unwrap())] {
                let _ = std::fs::remove_dir_all(path);
                let _ = std::fs::remove_file(path);
            }
            let _ = std::fs::create_dir(&here);
            let way = if n % 2 == 0 { outside.clone() } else { PathBuf::from("../../../outside") };
            let _ = symlink(way, &other);
            if let Ok((container, process)) = s.runtime.run(s.options(&format!("race-{n}"))) {
                process.wait().unwrap();
                container.delete(false).unwrap();
                launched += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(tree(&outside), before, "made on the host");
    let swaps = swaps.into_inner();
    println!("    {swaps} swaps, {launched} of {n} launched");
    assert!(swaps > 1000 && launched > 0, "{swaps} swaps, {launched} launched");
}

const PARAMETER: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// I4: in a mount namespace where something else lies over procfs, a kernel parameter is set for real, or the launch refused.
fn a_false_proc_is_not_believed() {
    if !nix::unistd::geteuid().is_root() {
        println!("    skipped: mounting over /proc needs root");
        return;
    }
    for over in ["/proc", "/proc/sys"] {
        let own = std::env::current_exe().unwrap();
        let status = Command::new(own).args(["--false-proc", over]).status().unwrap();
        assert!(status.success(), "{over}: {status}");
    }
}

/// The program of [`a_false_proc_is_not_believed`], in a process of its own.
fn behind_a_false_proc(over: &str) {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    let s = Scratch::new("false-proc");
    s.bundle(&["read", PARAMETER], |config| {
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "777"});
    });
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
    mount(Some("tmpfs"), over, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
    std::fs::create_dir_all(Path::new(PARAMETER).parent().unwrap()).unwrap();
    std::fs::write(PARAMETER, "fake").unwrap();
    match s.output(s.options("false-proc")) {
        Ok((text, _)) => assert_eq!(text, "777\n", "{over}: set nowhere"),
        Err(e) => println!("    {over}: {e}"),
    }
    assert_eq!(std::fs::read_to_string(PARAMETER).unwrap(), "fake", "{over}: the false file was written");
}

/// A descriptor that is not close-on-exec.
fn leaky(path: &Path) -> OwnedFd {
    use nix::fcntl::{OFlag, open};
    open(path, OFlag::O_RDONLY, nix::sys::stat::Mode::empty()).unwrap()
}

/// I5: descriptors that the program forgot to close stay out, but for those that are passed on.
fn descriptors_of_the_program_stay_out() {
    let s = Scratch::new("descriptors");
    s.bundle(&["descriptors"], |_| {});
    let _leaks: Vec<_> = (0..200).map(|_| leaky(Path::new("/dev/null"))).collect();
    assert_eq!(s.output(s.options("none")).unwrap(), ("[0, 1, 2]\n".into(), 0));
    let two = CreateOptions { preserve_fds: 2, ..s.options("two") };
    assert_eq!(s.output(two).unwrap(), ("[0, 1, 2, 3, 4]\n".into(), 0));

    s.bundle(&["forever"], |_| {});
    let (container, first) = s.runtime.run(s.options("exec")).unwrap();
    let (mut output, end) = std::io::pipe().unwrap();
    let options = ExecOptions {
        args: vec![common::PROGRAM.into(), "descriptors".into()],
        stdio: Some([File::open("/dev/null").unwrap().into(), end.try_clone().unwrap().into(), end.into()]),
        ..ExecOptions::default()
    };
    let process = container.exec(options).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), process.wait().unwrap().code()), ("[0, 1, 2]\n", 0));
    container.kill(libc::SIGKILL, false).unwrap();
    first.wait().unwrap();
    container.delete(false).unwrap();
}

/// I5: the working directory is no descriptor of the host, leaked or passed on.
fn a_working_directory_of_the_host_is_refused() {
    let s = Scratch::new("cwd");
    let _leaks: Vec<_> = (0..8).map(|_| leaky(Path::new("/"))).collect();
    let last = leaky(&s.path);
    for n in 3..last.as_raw_fd() + 16 {
        s.bundle(&["exit", "0"], |config| config["process"]["cwd"] = format!("/proc/self/fd/{n}").into());
        let error = s.output(s.options("leaked")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Launch, "{n}: {error}");
        assert!(s.runtime.list().unwrap().is_empty(), "{n}: {error}");
    }
    let n = last.as_raw_fd();
    s.bundle(&["exit", "0"], |config| config["process"]["cwd"] = format!("/proc/self/fd/{n}").into());
    let preserved = CreateOptions { preserve_fds: (n - 2).unsigned_abs(), ..s.options("preserved") };
    let error = s.output(preserved).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Launch, "{error}");
}

fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Field 22 (proc_pid_stat(5)), the 20th after the name.
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// I8: a record whose pid by now is another process's.
fn a_recycled_pid_is_left_alone() {
    let s = Scratch::new("recycled");
    s.bundle(&["exit", "0"], |_| {});
    let (container, process) = s.runtime.run(s.options("recycled")).unwrap();
    process.wait().unwrap();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let file = s.path.join("state/recycled/state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let mut record = |start: u64| {
        let key = if state.get("state").is_some() { "/state" } else { "" };
        let record = state.pointer_mut(key).unwrap();
        assert!(record["pid"].is_i64() && record["pidStartTime"].is_u64(), "{record}");
        record["pid"] = stranger.id().into();
        record["pidStartTime"] = start.into();
        std::fs::write(&file, state.to_string()).unwrap();
    };
    let start = start_time(stranger.id());
    record(start);
    assert_eq!(container.state().unwrap().status, Status::Running, "the record is not what is read");
    record(start + 1);
    let seen = container.state().unwrap();
    assert_eq!((seen.status, seen.pid), (Status::Stopped, 0));
    assert_eq!(container.kill(libc::SIGKILL, false).unwrap_err().kind(), ErrorKind::NotRunning);
    container.kill(libc::SIGKILL, true).unwrap();
    container.delete(true).unwrap();
    let alive = stranger.try_wait().unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(alive, None, "the stranger was killed");
}

/// The lines of the Rust files below `folder` (of the repository), without comments and a file's tests at its end.
fn lines(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    for path in tree(&root.join(folder)).into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in code.lines() {
            let line = line.split("//").next().unwrap_or_default().trim();
            all.push((name.clone(), line.to_owned()));
        }
    }
    assert!(all.len() > 10, "{folder}: {} lines only", all.len());
    all
}

fn none_has(folders: &[&str], words: &[&str], excused: impl Fn(&str, &str) -> bool) {
    let found: Vec<_> = folders
        .iter()
        .flat_map(|folder| lines(folder))
        .filter(|(file, line)| words.iter().any(|word| line.contains(word)) && !excused(file, line))
        .map(|(file, line)| format!("{file}: {line}"))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// I2: what allocates, locks, panics or leaves `sys` is not even written in the child half.
fn the_child_half_names_nothing_but_sys() {
    let words = [
        "unwrap()",
        ".expect(",
        "panic!",
        "assert!(",
        "unreachable!",
        "vec!",
        "format!",
        "println!",
        ".to_owned()",
        ".to_string()",
        ".to_vec()",
        ".clone()",
        ".collect",
        "Box::",
        "Vec::",
        "String::",
        "CString",
        "std::",
        "nix::",
        "log::",
        "Mutex",
        "OnceLock",
        "thread_local",
    ];
    none_has(&["runtime-core/src/launch/child"], &words, |_, line| line.starts_with("const { assert!"));
}

/// I3: the child half gives the kernel a path, in place of a descriptor, in these lines only, each for its reason.
fn the_child_half_takes_paths_in_one_place() {
    let excused = [
        // The host's: cgroups, the root file system itself, sources of binds, the host's device nodes, the old root.
        ("mod.rs", "sys::openat(Fd::CWD, file, libc::O_WRONLY, 0)"),
        ("rootfs.rs", "sys::mount_setattr_at(Fd::CWD, c\"/\""),
        ("rootfs.rs", "sys::mount(None, c\"/\", flags)"),
        ("rootfs.rs", "sys::openat(Fd::CWD, root, O_PATH | O_DIRECTORY, 0)"),
        ("rootfs.rs", "sys::open_tree_clone(Fd::CWD, &d.path, false, 0)"),
        ("rootfs.rs", "sys::openat(Fd::CWD, c\"/\", O_PATH | O_DIRECTORY, 0)"),
        ("rootfs.rs", "sys::openat(Fd::CWD, tree, O_PATH | O_DIRECTORY, 0)"),
        ("rootfs.rs", "sys::umount2(c\".\", libc::MNT_DETACH)"),
        ("rootfs.rs", "sys::umount2(host, libc::MNT_DETACH)"),
        ("rootfs.rs", "sys::chroot(c\".\")"),
        ("rootfs.rs", "sys::chdir(c\"/\")"),
        ("mounts.rs", "sys::open_tree_clone(Fd::CWD, path, "),
        // A descriptor under a name that the old mount(2) takes.
        ("mounts.rs", "sys::mount(None, path.as_c_str(), flags)"),
        ("mounts.rs", "sys::chdir(c\"/\")"),
        // Procfs, checked.
        ("process.rs", "sys::openat2(cx.proc, "),
        // After the change of root: nothing else can be reached; where it ends is checked.
        ("process.rs", "sys::chdir(directory)"),
        ("process.rs", "sys::openat(Fd::CWD, c\"/\", O_PATH, 0)"),
        ("process.rs", "sys::openat(Fd::CWD, candidate, O_PATH, 0)"),
        ("process.rs", "sys::faccessat2(Fd::CWD, candidate, "),
    ];
    let words = ["sys::openat2(", "Fd::CWD", "sys::mount(", "sys::umount2(", "sys::chdir(", "sys::chroot("];
    none_has(&["runtime-core/src/launch/child"], &words, |file, line| {
        file.ends_with("child/path.rs")
            || line.contains("unwrap_or(Fd::CWD)")
            || excused
                .iter()
                .any(|(name, text)| file.ends_with(&format!("child/{name}")) && line.contains(text))
    });
}

/// I7: what makes a container is called by the engine alone.
fn the_command_and_the_shim_make_no_container() {
    let words = [
        "nix::mount",
        "nix::sched",
        "libc::mount",
        "libc::unshare",
        "libc::setns",
        "sys::mount",
        "clone3",
        "setns(",
        "unshare(",
        "pivot_root(",
        "move_mount(",
        "open_tree",
        "fsopen",
        "fsmount(",
        "cgroup.procs",
        "cgroup.kill",
    ];
    // The mounts that containerd describes, before there is a container, whose layers may need a namespace of their own
    // meanwhile; and the shim's own group.
    let excused = [
        ("shim/src/mounts.rs", "nix::mount"),
        ("shim/src/mounts.rs", "nix::sched::unshare"),
        ("shim/src/idmapped.rs", "use nix::"),
        ("shim/src/idmapped.rs", "unshare(CloneFlags::CLONE_NEWNS)"),
        ("shim/src/idmapped.rs", "setns(&host, "),
        ("shim/src/idmapped.rs", "sys::move_mount("),
        ("shim/src/start.rs", "\"cgroup.procs\"), shim."),
    ];
    none_has(&["runtime-cli/src", "shim/src"], &words, |file, line| {
        excused.iter().any(|(name, text)| file == *name && line.contains(text))
    });
}

/// `unsafe` is in one folder, which is what a reader has to believe.
fn unsafe_code_is_in_sys_alone() {
    let folders = ["runtime-core/src", "runtime-cli/src", "shim/src"];
    none_has(&folders, &["unsafe"], |file, line| {
        // A name of the specification's.
        file.starts_with("runtime-core/src/sys/") || line.contains("potentially_unsafe_config_annotations")
    });
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, word, over] = args.as_slice()
        && word == "--false-proc"
    {
        return behind_a_false_proc(over);
    }
    common::main(&[
        ("the_child_half_names_nothing_but_sys", the_child_half_names_nothing_but_sys),
        ("the_child_half_takes_paths_in_one_place", the_child_half_takes_paths_in_one_place),
        ("the_command_and_the_shim_make_no_container", the_command_and_the_shim_make_no_container),
        ("unsafe_code_is_in_sys_alone", unsafe_code_is_in_sys_alone),
        ("links_of_an_image_stay_inside", links_of_an_image_stay_inside),
        ("a_race_for_a_mountpoint_is_lost", a_race_for_a_mountpoint_is_lost),
        ("a_false_proc_is_not_believed", a_false_proc_is_not_believed),
        ("descriptors_of_the_program_stay_out", descriptors_of_the_program_stay_out),
        ("a_working_directory_of_the_host_is_refused", a_working_directory_of_the_host_is_refused),
        ("a_recycled_pid_is_left_alone", a_recycled_pid_is_left_alone),
    ]);
}
