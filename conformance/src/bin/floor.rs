//! The floor of the benchmark: what no runtime can be faster than, because it does only what the kernel must.
//!
//! `floor [--cgroups] [--cgroup-namespace] ROOTFS PROGRAM ARGS…` starts PROGRAM in new pid, network, ipc, uts and
//! mount namespaces over ROOTFS, with the mounts and devices of a `runc spec` config, waits and returns its
//! status.  With `--cgroups` it makes, joins and removes a cgroup in every hierarchy of the host.  It reads no
//! config, sets no capability, limit or mask, and keeps no state.
//!
//! `floor --create DIR …` ends when the child has everything but PROGRAM, and leaves in DIR its pid and a FIFO, at which the child waits:
//! `floor --start DIR` writes to that.  `floor --exec DIR PROGRAM ARGS…` runs one more program in its cgroups and namespaces, and
//! `floor --delete DIR` kills, waits, and removes cgroups and DIR.  The cgroups are named after DIR.

use std::error::Error;
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::exit;

use conformance::sys::{clone3_child, pidfd_open};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, execve, mkdir, mkfifo, pivot_root, sethostname};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the command line asks for.
#[derive(Default)]
struct Job {
    cgroups: bool,
    cgroup_namespace: bool,
    /// Of `--create`: the child waits there.
    kept: Option<PathBuf>,
    rootfs: PathBuf,
    program: Vec<CString>,
}

/// A cgroup of ours in one hierarchy.
struct Cgroup {
    /// The name of the hierarchy's mount point (`cpu`, `unified`, …).
    name: OsString,
    path: PathBuf,
    unified: bool,
    cpuset: bool,
}

const USAGE: &str = "usage: floor [--create DIR] [--cgroups] [--cgroup-namespace] ROOTFS PROGRAM ARGS…\n\
                     or floor --start DIR, --exec DIR PROGRAM ARGS…, --delete DIR";

fn parse(words: impl Iterator<Item = OsString>) -> Result<Job> {
    let mut job = Job::default();
    let mut words = words.peekable();
    while let Some(flag) = words.next_if(|word| word.as_bytes().starts_with(b"--")) {
        match flag.as_bytes() {
            b"--cgroups" => job.cgroups = true,
            b"--cgroup-namespace" => job.cgroup_namespace = true,
            b"--create" => job.kept = Some(words.next().ok_or(USAGE)?.into()),
            _ => return Err(format!("unknown flag {}", flag.display()).into()),
        }
    }
    job.rootfs = words.next().ok_or(USAGE)?.into();
    job.program = program(words)?;
    Ok(job)
}

fn program(words: impl Iterator<Item = OsString>) -> Result<Vec<CString>> {
    let program: Vec<CString> =
        words.map(|word| CString::new(word.into_vec())).collect::<std::result::Result<_, _>>()?;
    if program.is_empty() {
        return Err("no program to run".into());
    }
    Ok(program)
}

/// The cgroups of that name below the root of every hierarchy this process sees; they need not be there.
fn find_cgroups(own: &str) -> Result<Vec<Cgroup>> {
    let mut found = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let unified = right.starts_with("cgroup2 ");
        if !unified && !right.starts_with("cgroup ") {
            continue;
        }
        let point = Path::new(left.split(' ').nth(4).ok_or("odd line in mountinfo")?);
        let name = point.file_name().ok_or("a cgroup mount at /")?.to_owned();
        found.push(Cgroup { name, path: point.join(own), unified, cpuset: line.ends_with(",cpuset") });
    }
    Ok(found)
}

/// Makes them.
fn make_cgroups(own: &str) -> Result<Vec<Cgroup>> {
    let cgroups = find_cgroups(own)?;
    for cgroup in &cgroups {
        mkdir(&cgroup.path, Mode::from_bits_truncate(0o755))?;
        if !cgroup.unified && cgroup.cpuset {
            // A v1 cpuset starts empty, and takes no process while it is.
            let parent = cgroup.path.parent().ok_or("a cgroup without a parent")?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(cgroup.path.join(file), fs::read(parent.join(file))?)?;
            }
        }
    }
    Ok(cgroups)
}

/// What the cgroups of a kept container are called.
fn kept_name(kept: &Path) -> Result<String> {
    Ok(format!("floor-{}", kept.file_name().ok_or("a directory without a name")?.display()))
}

fn mount_in(source: &str, target: &str, kind: &str, flags: MsFlags, data: Option<&str>) -> nix::Result<()> {
    mount(Some(source), target, Some(kind), flags, data)
}

/// `/dev` and what is below it.
fn make_dev() -> Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    mount_in("tmpfs", "dev", "tmpfs", flags, Some("mode=755,size=65536k"))?;
    for directory in ["dev/pts", "dev/shm", "dev/mqueue"] {
        mkdir(directory, Mode::from_bits_truncate(0o755))?;
    }
    mount_in("devpts", "dev/pts", "devpts", quiet, Some("newinstance,ptmxmode=0666,mode=0620,gid=5"))?;
    mount_in("shm", "dev/shm", "tmpfs", quiet | MsFlags::MS_NODEV, Some("mode=1777,size=65536k"))?;
    mount_in("mqueue", "dev/mqueue", "mqueue", quiet | MsFlags::MS_NODEV, None)?;
    for (path, major, minor) in [
        ("dev/null", 1, 3),
        ("dev/zero", 1, 5),
        ("dev/full", 1, 7),
        ("dev/random", 1, 8),
        ("dev/urandom", 1, 9),
        ("dev/tty", 5, 0),
    ] {
        mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))?;
    }
    symlink("/proc/self/fd", "dev/fd")?;
    symlink("/proc/self/fd/0", "dev/stdin")?;
    symlink("/proc/self/fd/1", "dev/stdout")?;
    symlink("/proc/self/fd/2", "dev/stderr")?;
    symlink("pts/ptmx", "dev/ptmx")?;
    Ok(())
}

/// A tmpfs on `/sys/fs/cgroup`, the container's own cgroups bound into it, all read-only.
fn mount_cgroups(cgroups: &[Cgroup]) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    mount_in("tmpfs", "sys/fs/cgroup", "tmpfs", flags, Some("mode=755"))?;
    for cgroup in cgroups {
        let target = Path::new("sys/fs/cgroup").join(&cgroup.name);
        mkdir(&target, Mode::from_bits_truncate(0o755))?;
        mount(Some(&cgroup.path), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | flags;
        mount(None::<&str>, &target, None::<&str>, again, None::<&str>)?;
    }
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | flags;
    mount(None::<&str>, "sys/fs/cgroup", None::<&str>, again, None::<&str>)?;
    Ok(())
}

/// Enters the cgroups into which nobody can be cloned.
fn join(cgroups: &[Cgroup]) -> Result<()> {
    for cgroup in cgroups.iter().filter(|cgroup| !cgroup.unified) {
        fs::write(cgroup.path.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

fn execute(program: &[CString]) -> Result<()> {
    let environment = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=xterm"];
    execve(&program[0], program, &environment)?;
    Ok(())
}

/// Where a child of `--create` says that it is ready, and waits.
struct Gate {
    ready: PipeWriter,
    start: File,
}

/// The child: joins, mounts, turns the root, executes.
fn enter(job: &Job, cgroups: &[Cgroup], gate: Option<&Gate>) -> Result<()> {
    join(cgroups)?;
    if job.cgroup_namespace {
        unshare(CloneFlags::CLONE_NEWCGROUP)?;
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    mount(Some(&job.rootfs), &job.rootfs, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    chdir(&job.rootfs)?;
    mount_in("proc", "proc", "proc", MsFlags::empty(), None)?;
    make_dev()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    mount_in("sysfs", "sys", "sysfs", flags, None)?;
    if job.cgroups {
        mount_cgroups(cgroups)?;
    }
    sethostname("floor")?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, "/", none, flags, none)?;
    chdir("/")?;
    if let Some(Gate { ready, start }) = gate {
        (&*ready).write_all(b"r")?;
        (&*start).read_exact(&mut [0])?;
    }
    execute(&job.program)
}

/// Clones a child into the cgroup of v2, if there is one; `work` returns when it fails.
fn child(flags: CloneFlags, cgroups: &[Cgroup], work: impl Fn() -> Result<()>) -> Result<Pid> {
    let unified = cgroups.iter().find(|cgroup| cgroup.unified);
    let unified = unified.map(|cgroup| File::open(&cgroup.path)).transpose()?;
    let into = unified.as_ref().map(AsFd::as_fd);
    Ok(clone3_child(flags.bits().unsigned_abs().into(), into, || {
        let failure = work().err().map(|error| error.to_string());
        eprintln!("floor: in the container: {}", failure.unwrap_or_default());
        127
    })?)
}

fn status(child: Pid) -> Result<i32> {
    Ok(match waitpid(child, None)? {
        WaitStatus::Exited(_, status) => status,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    })
}

const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWPID
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWNS);

fn remove(cgroups: &[Cgroup]) -> Result<()> {
    for cgroup in cgroups {
        match fs::remove_dir(&cgroup.path) {
            Err(error) if error.raw_os_error() != Some(Errno::ENOENT as i32) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn run(job: &Job) -> Result<i32> {
    let own = format!("floor-{}", std::process::id());
    let cgroups = if job.cgroups { make_cgroups(&own)? } else { Vec::new() };
    let outcome = child(NAMESPACES, &cgroups, || enter(job, &cgroups, None)).and_then(status);
    remove(&cgroups)?;
    outcome
}

fn create(job: &Job, kept: &Path) -> Result<i32> {
    mkdir(kept, Mode::from_bits_truncate(0o700))?;
    let fifo = kept.join("start");
    mkfifo(&fifo, Mode::from_bits_truncate(0o600))?;
    let start = OpenOptions::new().read(true).write(true).open(fifo)?;
    let cgroups = if job.cgroups { make_cgroups(&kept_name(kept)?)? } else { Vec::new() };
    let (mut there, ready) = pipe()?;
    let gate = Gate { ready, start };
    let pid = child(NAMESPACES, &cgroups, || enter(job, &cgroups, Some(&gate)))?;
    fs::write(kept.join("pid"), pid.to_string())?;
    drop(gate);
    there.read_exact(&mut [0])?;
    Ok(0)
}

/// The process of a kept container.
fn kept_process(kept: &Path) -> Result<(Pid, OwnedFd)> {
    let pid = Pid::from_raw(fs::read_to_string(kept.join("pid"))?.parse()?);
    Ok((pid, pidfd_open(pid)?))
}

fn start(kept: &Path) -> Result<i32> {
    OpenOptions::new().write(true).open(kept.join("start"))?.write_all(b"s")?;
    Ok(0)
}

fn exec(kept: &Path, program: &[CString]) -> Result<i32> {
    let (_, process) = kept_process(kept)?;
    let mut cgroups = find_cgroups(&kept_name(kept)?)?;
    cgroups.retain(|cgroup| cgroup.path.exists());
    setns(&process, CloneFlags::CLONE_NEWPID)?;
    status(child(CloneFlags::empty(), &cgroups, || {
        join(&cgroups)?;
        setns(&process, NAMESPACES.difference(CloneFlags::CLONE_NEWPID))?;
        execute(program)
    })?)
}

fn delete(kept: &Path) -> Result<i32> {
    if let Ok((pid, process)) = kept_process(kept) {
        kill(pid, Signal::SIGKILL)?;
        poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    }
    remove(&find_cgroups(&kept_name(kept)?)?)?;
    fs::remove_dir_all(kept)?;
    Ok(0)
}

fn begin() -> Result<i32> {
    let mut words = std::env::args_os().skip(1).peekable();
    let first = words.peek().map(|word| word.as_bytes().to_vec()).unwrap_or_default();
    if matches!(first.as_slice(), b"--start" | b"--exec" | b"--delete") {
        let kept = PathBuf::from(words.nth(1).ok_or(USAGE)?);
        return match first.as_slice() {
            b"--start" => start(&kept),
            b"--exec" => exec(&kept, &program(words)?),
            _ => delete(&kept),
        };
    }
    let job = parse(words)?;
    job.kept.as_deref().map_or_else(|| run(&job), |kept| create(&job, kept))
}

fn main() {
    exit(begin().unwrap_or_else(|error| {
        eprintln!("floor: {error}");
        125
    }));
}
