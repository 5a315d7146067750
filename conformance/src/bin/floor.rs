//! The floor of the benchmark: what no runtime can be faster than, because it does only what the kernel must.
//!
//! `floor [--cgroups] [--cgroup-namespace] ROOTFS PROGRAM ARGS…` starts PROGRAM in new pid, network, ipc, uts and
//! mount namespaces over ROOTFS, with the mounts and devices of a `runc spec` config, waits and returns its
//! status.  With `--cgroups` it makes, joins and removes a cgroup in every hierarchy of the host.  It reads no
//! config, sets no capability, limit or mask, and keeps no state.

use std::error::Error;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::exit;

use conformance::sys::clone3_child;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{chdir, execve, mkdir, pivot_root, sethostname};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the command line asks for.
struct Job {
    cgroups: bool,
    cgroup_namespace: bool,
    rootfs: PathBuf,
    program: Vec<CString>,
}

/// A cgroup of ours in one hierarchy.
struct Cgroup {
    /// The name of the hierarchy's mount point (`cpu`, `unified`, …).
    name: OsString,
    path: PathBuf,
    unified: bool,
}

fn parse() -> Result<Job> {
    let mut job =
        Job { cgroups: false, cgroup_namespace: false, rootfs: PathBuf::new(), program: Vec::new() };
    let mut words = std::env::args_os().skip(1).peekable();
    while let Some(flag) = words.next_if(|word| word.as_bytes().starts_with(b"--")) {
        match flag.as_bytes() {
            b"--cgroups" => job.cgroups = true,
            b"--cgroup-namespace" => job.cgroup_namespace = true,
            _ => return Err(format!("unknown flag {}", flag.display()).into()),
        }
    }
    job.rootfs =
        words.next().ok_or("usage: floor [--cgroups] [--cgroup-namespace] ROOTFS PROGRAM ARGS…")?.into();
    job.program = words.map(|word| CString::new(word.into_vec())).collect::<std::result::Result<_, _>>()?;
    if job.program.is_empty() {
        return Err("no program to run".into());
    }
    Ok(job)
}

/// Makes a cgroup below the root of every hierarchy this process sees.
fn make_cgroups() -> Result<Vec<Cgroup>> {
    let own = format!("floor-{}", std::process::id());
    let mut made = Vec::new();
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let unified = right.starts_with("cgroup2 ");
        if !unified && !right.starts_with("cgroup ") {
            continue;
        }
        let point = Path::new(left.split(' ').nth(4).ok_or("odd line in mountinfo")?);
        let path = point.join(&own);
        mkdir(&path, Mode::from_bits_truncate(0o755))?;
        if !unified && line.ends_with(",cpuset") {
            // A v1 cpuset starts empty, and takes no process while it is.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(path.join(file), fs::read(point.join(file))?)?;
            }
        }
        let name = point.file_name().ok_or("a cgroup mount at /")?.to_owned();
        made.push(Cgroup { name, path, unified });
    }
    Ok(made)
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

/// The child: joins, mounts, turns the root, executes.
fn enter(job: &Job, cgroups: &[Cgroup]) -> Result<()> {
    for cgroup in cgroups.iter().filter(|cgroup| !cgroup.unified) {
        fs::write(cgroup.path.join("cgroup.procs"), "0")?;
    }
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
    let environment = [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"TERM=xterm"];
    execve(&job.program[0], &job.program, &environment)?;
    Ok(())
}

fn run(job: &Job, cgroups: &[Cgroup]) -> Result<i32> {
    let flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNS;
    let unified = cgroups.iter().find(|cgroup| cgroup.unified);
    let unified = unified.map(|cgroup| fs::File::open(&cgroup.path)).transpose()?;
    let into = unified.as_ref().map(std::os::fd::AsFd::as_fd);
    let child = clone3_child(flags.bits().unsigned_abs().into(), into, || {
        let failure = enter(job, cgroups).err().map(|error| error.to_string());
        eprintln!("floor: in the container: {}", failure.unwrap_or_default());
        127
    })?;
    Ok(match waitpid(child, None)? {
        WaitStatus::Exited(_, status) => status,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => 1,
    })
}

fn start() -> Result<i32> {
    let job = parse()?;
    let cgroups = if job.cgroups { make_cgroups()? } else { Vec::new() };
    let outcome = run(&job, &cgroups);
    for cgroup in &cgroups {
        fs::remove_dir(&cgroup.path)?;
    }
    outcome
}

fn main() {
    exit(start().unwrap_or_else(|error| {
        eprintln!("floor: {error}");
        125
    }));
}
