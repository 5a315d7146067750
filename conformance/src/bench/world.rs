//! What the measured programs find: bundles, a place for state, and the cgroup hierarchies they see.

use std::cell::Cell;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use conformance::config;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use super::options::{self, CgroupView, Contender, Operation, Options};
use super::{Failure, smallest};

/// What Docker makes of its default profile for a container with the default capabilities.
const DOCKER_PROFILE: &str = include_str!("../../../fuzz/seeds/seccomp/docker.json");

/// A command ready to be started, and how to clean up after it when it fails.
pub struct Command {
    /// The words, the program first.
    pub words: Vec<CString>,
    /// `delete --force` for the same container; nothing for the floor.
    pub delete: Option<Vec<CString>>,
}

/// What is done in a round: one command by the clock, others before and after it.
pub struct Round {
    /// Before.
    pub before: Vec<Command>,
    /// By the clock.
    pub timed: Command,
    /// After.
    pub after: Vec<Command>,
}

/// A directory of ours, removed with everything in it when dropped.
pub struct World {
    directory: PathBuf,
    /// Another one, for what the runtimes keep of their containers.
    state: PathBuf,
    bundles: Vec<String>,
    hidden: Option<PathBuf>,
    hierarchies: usize,
    serial: Cell<u64>,
}

/// The mount points of the cgroup hierarchies in sight: (v1, v2).
fn hierarchies() -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let point = PathBuf::from(left.split(' ').nth(4).unwrap_or_default());
        match right.split(' ').next() {
            Some("cgroup") => first.push(point),
            Some("cgroup2") => second.push(point),
            _ => {}
        }
    }
    Ok((first, second))
}

/// Takes the v2 hierarchy of a hybrid host out of our own sight; returns where it was.
pub fn hide_unified(view: CgroupView) -> Result<Option<PathBuf>, Failure> {
    let (first, second) = hierarchies()?;
    let [unified] = second.as_slice() else { return Ok(None) };
    let controllers = fs::read_to_string(unified.join("cgroup.controllers"))?;
    let wanted = match view {
        CgroupView::Host => false,
        CgroupView::V1 => true,
        CgroupView::Auto => !controllers.trim().is_empty(),
    };
    if !wanted || first.is_empty() {
        return Ok(None);
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    umount2(unified, MntFlags::MNT_DETACH)?;
    // Below the mount lies a plain directory, in which crun would make its "cgroup" as a directory with files that
    // outlives us unseen; on a tmpfs of our own it goes away with this mount namespace.
    mount(Some("none"), unified, Some("tmpfs"), MsFlags::empty(), Some("size=256m,mode=755"))?;
    Ok(Some(unified.clone()))
}

/// The program of those that wait or run.
const SLEEP: [&str; 3] = ["/bin/probe", "sleep", "600"];

/// A command of the floor's, which keeps what it has made in a directory.
fn floor(contender: &Contender, words: Vec<OsString>, kept: Option<OsString>) -> Command {
    let program = || OsString::from(&contender.path);
    let delete = kept.map(|kept| c_words(vec![program(), "--delete".into(), kept]));
    Command { words: c_words(std::iter::once(program()).chain(words).collect()), delete }
}

/// The bundle of the same shape whose program sleeps.
fn idle(bundle: &str) -> String {
    format!("{bundle}-idle")
}

fn make_bundle(directory: &Path, name: &str, options: &Options, program: &[&str]) -> Result<(), Failure> {
    let docker_like = name.starts_with("docker");
    let bundle = directory.join(name);
    let rootfs = bundle.join("rootfs");
    for below in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(below))?;
    }
    fs::copy(&options.probe, rootfs.join("bin/probe"))?;
    let smallest = rootfs.join("bin/true");
    fs::write(&smallest, smallest::program())?;
    fs::set_permissions(&smallest, fs::Permissions::from_mode(0o755))?;
    let files = directory.join("files");
    fs::create_dir_all(&files)?;
    for file in ["resolv.conf", "hostname", "hosts"] {
        fs::write(files.join(file), "\n")?;
        fs::write(rootfs.join("etc").join(file), "")?;
    }
    let mut config = if docker_like {
        config::docker_like(program, &files.to_string_lossy())
    } else {
        config::plain(program)
    };
    // Docker's are as `docker run --memory --cpus --pids-limit` has them.
    if options.resources || docker_like {
        config["linux"]["resources"]["memory"] = json!({ "limit": 256 << 20, "swap": 512 << 20 });
        config["linux"]["resources"]["cpu"] = json!({ "shares": 512, "quota": 50_000, "period": 100_000 });
        config["linux"]["resources"]["pids"] = json!({ "limit": 100 });
    }
    let profile = match &options.seccomp {
        Some(path) => Some(fs::read(path)?),
        None => name.starts_with("docker-seccomp").then(|| DOCKER_PROFILE.as_bytes().to_vec()),
    };
    if let Some(text) = profile {
        config["linux"]["seccomp"] = serde_json::from_slice::<Value>(&text)?;
    }
    fs::write(bundle.join("config.json"), config.to_string())?;
    Ok(())
}

fn c_words(words: Vec<OsString>) -> Vec<CString> {
    words.into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect()
}

/// The first line that a program says, for the report.
fn said(program: &Path, words: &[&str]) -> String {
    let output = std::process::Command::new(program).args(words).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().as_deref().and_then(|text| text.lines().next()).unwrap_or("(it did not say)").to_owned()
}

fn version(contender: &Contender) -> String {
    let words = said(&contender.path, &["--version"]);
    // A second build of a runtime says the same as the first, under another name.
    if words.starts_with(&contender.name) { words } else { format!("{}: {words}", contender.name) }
}

/// The processor's name; architectures other than x86 have no such line.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("of no name", |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// The kind of the file system at `path`, in words.
fn file_system(path: &Path) -> &'static str {
    if options::is_tmpfs(path) {
        "a tmpfs, as /run is where systemd is"
    } else {
        "a file system of a disk, which takes its time"
    }
}

impl World {
    /// Makes the directory and its bundles.
    pub fn prepare(options: &Options) -> Result<Self, Failure> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure("bench needs root: it compares containers with real cgroups".to_owned()));
        }
        let hidden = hide_unified(options.view)?;
        let (first, second) = hierarchies()?;
        let name = format!("orlop-bench-{}", std::process::id());
        let world = Self {
            directory: options.dir.join(&name),
            state: options.state.join(name + ".state"),
            bundles: options.bundles.clone(),
            hidden,
            hierarchies: first.len() + second.len(),
            serial: Cell::new(0),
        };
        fs::create_dir_all(&world.directory)?;
        fs::create_dir_all(&world.state)?;
        for name in &world.bundles {
            make_bundle(&world.directory, name, options, &["/bin/true"])?;
            make_bundle(&world.directory, &idle(name), options, &SLEEP)?;
        }
        Ok(world)
    }

    /// Their names.
    pub fn bundles(&self) -> &[String] {
        &self.bundles
    }

    /// The directory of one.
    pub fn bundle(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The directory of the bundle of the same shape whose program sleeps.
    pub fn idle_bundle(&self, name: &str) -> PathBuf {
        self.directory.join(idle(name))
    }

    /// A new directory below ours.
    pub fn make_directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.directory.join(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// The program that `operation` executes in the container.
    pub fn payload(&self, operation: Operation, bundle: &str) -> PathBuf {
        let bundle = if operation == Operation::Run { bundle.to_owned() } else { idle(bundle) };
        let ends = matches!(operation, Operation::Run | Operation::Exec);
        self.directory.join(bundle).join("rootfs/bin").join(if ends { "true" } else { "probe" })
    }

    /// Sentences about the circumstances as they are now, for the report.
    pub fn facts(&self, contenders: &[Contender]) -> Vec<String> {
        let hidden = self.hidden.as_ref().map_or_else(String::new, |path| {
            format!(
                "; the v2 hierarchy at {} holds controllers, which crun refuses beside v1, so all programs run in a \
                 mount namespace without it, on the same unchanged bundle and with real cgroups",
                path.display()
            )
        });
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        let versions: Vec<String> =
            contenders.iter().filter(|contender| !contender.floor).map(version).collect();
        vec![
            format!(
                "{}, with a load of {} before it began",
                said(Path::new("date"), &["-u", "+%F %R UTC"]),
                load.join(", ")
            ),
            format!("Linux {}, {cpus} CPUs: {}", release.trim(), processor()),
            format!("{} cgroup hierarchies in sight{hidden}", self.hierarchies),
            format!("the runtimes' state is kept on {}", file_system(&self.state)),
            versions.join("; "),
        ]
    }

    /// A container's id that nothing else has.
    pub fn new_id(&self) -> String {
        self.serial.set(self.serial.get() + 1);
        format!("bench-{}-{}", std::process::id(), self.serial.get())
    }

    /// The words of a command on container `id` of a contender's.
    fn on(&self, contender: &Contender, words: &[&str], id: &str) -> Vec<CString> {
        let mut all: Vec<OsString> = vec![contender.path.clone().into()];
        all.extend(contender.global.iter().cloned());
        all.extend(["--root".into(), self.state.join(&contender.name).into()]);
        all.extend(words.iter().map(Into::into));
        all.push(id.into());
        c_words(all)
    }

    /// A command of a contender's on container `id`.
    pub fn command_on(&self, contender: &Contender, words: &[&str], id: &str) -> Command {
        let delete = self.on(contender, &["delete", "--force"], id);
        Command { words: self.on(contender, words, id), delete: Some(delete) }
    }

    /// The command with which a contender runs a bundle, under an id of its own.
    pub fn command(&self, contender: &Contender, bundle: &str) -> Command {
        let bundle = self.directory.join(bundle);
        if contender.floor {
            let words = vec!["--cgroups".into(), bundle.join("rootfs").into(), "/bin/true".into()];
            return floor(contender, words, None);
        }
        let id = self.new_id();
        self.command_on(contender, &["run", "--bundle", &bundle.to_string_lossy()], &id)
    }

    /// What a round of `operation` is; the floor has no command that only asks or signals.
    pub fn round(&self, operation: Operation, contender: &Contender, bundle: &str) -> Option<Round> {
        if operation == Operation::Run {
            let timed = self.command(contender, bundle);
            return Some(Round { before: Vec::new(), timed, after: Vec::new() });
        }
        if contender.floor && operation.is_small() {
            return None;
        }
        let id = self.new_id();
        let step = |word: &str| self.step(contender, bundle, word, &id);
        let (create, start, delete) = (step("create"), step("start"), step("delete"));
        let timed = step(operation.name());
        let (before, after) = match operation {
            Operation::Run | Operation::Create => (vec![], vec![delete]),
            Operation::Start => (vec![create], vec![delete]),
            Operation::Delete => (vec![create, start], vec![]),
            Operation::Exec | Operation::State | Operation::List | Operation::Kill => {
                (vec![create, start], vec![delete])
            }
            Operation::Pause => (vec![create, start], vec![step("resume"), delete]),
            Operation::Resume => (vec![create, start, step("pause")], vec![delete]),
        };
        Some(Round { before, timed, after })
    }

    /// One command in the life of a container that sleeps.
    fn step(&self, contender: &Contender, bundle: &str, word: &str, id: &str) -> Command {
        let idle = self.idle_bundle(bundle);
        if contender.floor {
            let kept: OsString = self.state.join(id).into();
            let mut words = vec![format!("--{word}").into(), kept.clone()];
            match word {
                "create" => {
                    words.extend(["--cgroups".into(), idle.join("rootfs").into()]);
                    words.extend(SLEEP.map(Into::into));
                }
                "exec" => words.push("/bin/true".into()),
                _ => {}
            }
            return floor(contender, words, Some(kept));
        }
        let mut command = match word {
            "create" => self.command_on(contender, &["create", "--bundle", &idle.to_string_lossy()], id),
            "delete" => self.command_on(contender, &["delete", "--force"], id),
            _ => self.command_on(contender, &[word], id),
        };
        match word {
            "exec" => command.words.push(c"/bin/true".to_owned()),
            "kill" => command.words.push(c"KILL".to_owned()),
            // Of all that there are.
            "list" => drop(command.words.pop()),
            _ => {}
        }
        command
    }

    /// A file for a program's words on standard error.
    pub fn stderr(&self) -> PathBuf {
        self.directory.join("stderr")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for directory in [&self.directory, &self.state] {
            if let Err(error) = fs::remove_dir_all(directory) {
                eprintln!("conformance: {} is left: {error}", directory.display());
            }
        }
    }
}
