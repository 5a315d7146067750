//! CVE-2019-5736: the container gets the runtime to run inside, and overwrites its binary through `/proc/PID/exe`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use conformance::harness::{Container, beyond_runc, eventually, require_root, runtime_path};
use serde_json::json;

use crate::breach;

/// Enough rounds that the attacker, who looks all the time, meets the runtime's process.
const ROUNDS: usize = 15;

/// A container whose runtime is a copy of the one under test, which it may overwrite as far as its file's mode goes.
fn with_copy_of_runtime() -> (Container, PathBuf, Vec<u8>) {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    let name = runtime_path().file_name().expect("a name").to_owned();
    let directory = PathBuf::from(container.host_directory("runtime"));
    let copy = directory.join(name);
    // By another process: ours may fork meanwhile, and the copy would be busy.
    let copied = std::process::Command::new("cp").arg(runtime_path()).arg(&copy).status();
    assert!(copied.expect("cp").success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("our own file");
    let before = fs::read(&copy).expect("our own file");
    container.binary = Some(copy.clone());
    (container, copy, before)
}

/// The container overwrites whatever runs in it and is not the probe, while `args` are executed in it.
fn attack(container: &mut Container, args: &[&str]) -> String {
    let enough = container.rootfs("enough");
    let _ = fs::remove_file(&enough);
    let output = container.launch(&["probe", "overwrite", "60"]);
    let read = || fs::read_to_string(&output).unwrap_or_default();
    eventually("the attacker is ready", || !read().is_empty());
    for _ in 0..ROUNDS {
        let _ = container.runtime(&[&["exec", &container.id.clone()], args].concat());
    }
    fs::write(&enough, "").expect("our own directory");
    eventually("the attacker has ended", || read().contains("opened "));
    read()
}

fn assert_unchanged(copy: &PathBuf, before: &[u8], said: &str) {
    if fs::read(copy).expect("our own file") != before {
        breach!("the runtime's binary was overwritten; the attacker said {said}");
    }
}

/// Executed in a container, `/proc/self/exe` is the runtime: by a link, and as the interpreter of a script.
#[test]
fn the_binary_that_is_executed_inside_cannot_be_overwritten() {
    if !require_root() {
        return;
    }
    let (mut container, copy, before) = with_copy_of_runtime();
    symlink("/proc/self/exe", container.rootfs("bin/link")).expect("our own directory");
    let script = container.rootfs("bin/script");
    fs::write(&script, "#!/proc/self/exe\n").expect("our own file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
    fs::write(container.rootfs("bin/elf"), elf_with_interpreter(b"/proc/self/exe\0")).expect("our own file");
    fs::set_permissions(container.rootfs("bin/elf"), fs::Permissions::from_mode(0o755))
        .expect("our own file");
    for program in ["/bin/link", "/proc/self/exe", "/bin/script", "/bin/elf"] {
        let said = attack(&mut container, &[program, "--help"]);
        assert_unchanged(&copy, &before, &said);
        container.delete(&["--force"]).ok();
    }
}

/// As the container's first process, by each of these ways.
#[test]
fn the_binary_as_entry_point_cannot_be_overwritten() {
    if !require_root() {
        return;
    }
    let (mut container, copy, before) = with_copy_of_runtime();
    symlink("/proc/self/exe", container.rootfs("bin/link")).expect("our own directory");
    fs::write(container.rootfs("bin/script"), "#!/proc/self/exe\n").expect("our own file");
    fs::set_permissions(container.rootfs("bin/script"), fs::Permissions::from_mode(0o755))
        .expect("our own file");
    // A second container looks at the first one's processes.
    let mut attacker = Container::new();
    attacker.config["root"]["readonly"] = json!(false);
    let output = attacker.launch(&["probe", "overwrite", "60"]);
    let read = || fs::read_to_string(&output).unwrap_or_default();
    eventually("the attacker is ready", || !read().is_empty());
    container.namespace("pid", Some(&format!("/proc/{}/ns/pid", attacker.state()["pid"])));
    for program in ["/bin/link", "/proc/self/exe", "/bin/script"] {
        for _ in 0..ROUNDS / 3 {
            container.args(&[program, "--help"]);
            let _ = container.run();
        }
    }
    fs::write(attacker.rootfs("enough"), "").expect("our own directory");
    eventually("the attacker has ended", || read().contains("opened "));
    assert_unchanged(&copy, &before, &read());
}

/// The mount that protects the binary is held over an execve: nobody is handed it, and it is given up once the program runs.
#[test]
fn the_mount_that_protects_the_binary_goes_no_further() {
    if !require_root() || beyond_runc("it protects its binary otherwise") {
        return;
    }
    // What is at the root of a mount that is attached nowhere has this name.
    const MOUNT: &str = "-> /";
    let mut container = Container::new();
    container.args(&["probe", "trap", "TERM"]);
    let seen = container.directory().join("seen");
    let look = format!("ls -l /proc/$$/fd >{}", seen.display());
    container.config["hooks"]["createRuntime"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", look]}]);
    let run = container.spawn(&["run", &container.id]);
    eventually("the program runs", || run.stdout().contains("ready"));
    let hook = fs::read_to_string(seen).expect("the hook has looked");
    assert!(hook.contains(" 0 -> ") && !hook.lines().any(|line| line.ends_with(MOUNT)), "{hook}");
    let directory = PathBuf::from(format!("/proc/{}/fd", run.pid()));
    eventually("the mount is given up", || {
        let mut descriptors = fs::read_dir(&directory).expect("a process of ours").flatten();
        !descriptors.any(|fd| fs::read_link(fd.path()).is_ok_and(|name| name == Path::new("/")))
    });
    container.kill("TERM").ok();
    run.wait().ok();
}

/// The attack is one: it overwrites an ordinary program that is executed in the container.
#[test]
fn the_attacker_can_overwrite_what_is_not_protected() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    let victim = container.rootfs("bin/victim");
    let copied = std::process::Command::new("cp").arg(container.rootfs("bin/probe")).arg(&victim).status();
    assert!(copied.expect("cp").success());
    let before = fs::read(&victim).expect("our own file");
    // It is a race, which the attacker loses now and then, on a busy machine above all.
    let overwritten = || {
        let _ = container.delete(&["--force"]);
        let said = attack(&mut container, &["/bin/victim", "true"]);
        println!("{said}");
        fs::read(&victim).expect("our own file") != before
    };
    assert!(std::iter::repeat_with(overwritten).take(10).any(|done| done), "the attack does nothing");
}

/// The smallest program that asks for an interpreter: the kernel opens that, and starts it in the program's place.
fn elf_with_interpreter(interpreter: &[u8]) -> Vec<u8> {
    const HEADER: u16 = 64;
    const PROGRAM_HEADER: u16 = 56;
    let at = usize::from(HEADER + 2 * PROGRAM_HEADER);
    let size = at + interpreter.len();
    let mut file = Vec::with_capacity(size);
    // e_ident, ET_DYN, the machine's own number, version, entry.
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    file.extend(3u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    // Entry, program headers, section headers, flags, sizes and numbers of both.
    for word in [0u64, HEADER.into(), 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [HEADER, PROGRAM_HEADER, 2, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // PT_INTERP and PT_LOAD, both readable.
    let headers = [(3u32, at as u64, interpreter.len() as u64, 1u64), (1, 0, size as u64, 4096)];
    for (kind, offset, length, align) in headers {
        file.extend(kind.to_le_bytes());
        file.extend(5u32.to_le_bytes());
        for word in [offset, offset, offset, length, length, align] {
            file.extend(word.to_le_bytes());
        }
    }
    file.extend(interpreter);
    file
}
