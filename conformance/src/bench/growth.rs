//! What grows: a run with many containers or many mounts there already, or after a rest, many runs at once, what waiting containers hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use conformance::sys::pidfd_open;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::measure::{PATIENCE, Stopwatch};
use super::options::{Contender, Operation, Options, Rounds};
use super::world::{Command, Round, World};
use super::{Failure, Group, Table};

/// So many containers, and so many mounts.
const CONTAINERS: [usize; 3] = [0, 100, 1000];
const MOUNTS: [usize; 3] = [10, 1000, 5000];
/// So many milliseconds of rest before each run.
const REST: [u64; 3] = [0, 10, 100];
/// So many at once.
const CROWD: usize = 64;
/// Commands beside each other where nothing is timed.
const HANDS: usize = 4;
/// Containers whose memory is counted.
const SAMPLE: usize = 16;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// What it alone has.
    pub uss: u64,
    /// With its share of what several have mapped.
    pub pss: u64,
}

/// What a container holds, on the average.
pub struct Held {
    /// The runtime.
    pub name: String,
    /// While it waits for `start`, and while it runs; or why there is no figure.
    pub held: Result<[Memory; 2], String>,
}

/// A failure of what is measured is a cell of the table; one that we are asked for ends the bench.
fn told<T>(stopwatch: &Stopwatch, outcome: Result<T, Failure>) -> Result<Result<T, String>, Failure> {
    stopwatch.check()?;
    Ok(outcome.map_err(|error| error.0))
}

/// A command that has been started, and the file of what it says: no pipe, which a created container would hold open.
struct Started {
    child: Child,
    said: File,
}

fn spawn(command: &Command) -> Result<Started, Failure> {
    let words: Vec<&OsStr> = command.words.iter().map(|word| OsStr::from_bytes(word.to_bytes())).collect();
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let said = File::from(open(&std::env::temp_dir(), flags, Mode::from_bits_truncate(0o600))?);
    let mut program = Program::new(words[0]);
    program.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    Ok(Started { child: program.spawn()?, said })
}

/// Waits; the last line it said if it failed.
fn finish(mut started: Started) -> Result<(), Failure> {
    let status = started.child.wait()?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    started.said.rewind()?;
    started.said.read_to_string(&mut said)?;
    Err(Failure(format!("{status}: {}", said.lines().next_back().unwrap_or("it said nothing"))))
}

/// Runs all of them, a few at a time; the first failure, after all have been tried.
fn each(commands: &[Command]) -> Result<(), Failure> {
    let failure = Mutex::new(None);
    let next = Mutex::new(commands.iter());
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let Some(command) = next.lock().ok().and_then(|mut next| next.next()) else { return };
                if let Err(error) = spawn(command).and_then(finish)
                    && let Ok(mut first) = failure.lock()
                {
                    first.get_or_insert(error);
                }
            }
        };
        (0..HANDS).for_each(|_| drop(scope.spawn(work)));
    });
    failure.into_inner().ok().flatten().map_or(Ok(()), Err)
}

/// Starts all of them at once and waits for all.
fn crowd(commands: &[Command]) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let children: Vec<_> = commands.iter().map(spawn).collect();
    let ends: Vec<_> = children.into_iter().map(|child| child.and_then(finish)).collect();
    let time = begun.elapsed();
    ends.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(time)
}

/// Containers of a contender's that wait for `start`, deleted when dropped.
struct Crowd<'a> {
    world: &'a World,
    contender: &'a Contender,
    ids: Vec<String>,
}

impl<'a> Crowd<'a> {
    const fn new(world: &'a World, contender: &'a Contender) -> Self {
        Self { world, contender, ids: Vec::new() }
    }

    fn on_each(&self, ids: &[String], words: &[&str]) -> Vec<Command> {
        ids.iter().map(|id| self.world.command_on(self.contender, words, id)).collect()
    }

    fn pid_file(&self, id: &str) -> PathBuf {
        self.world.bundle(&format!("{id}.pid"))
    }

    /// Creates until there are so many.
    fn grow(&mut self, bundle: &Path, count: usize) -> Result<(), Failure> {
        let before = self.ids.len();
        self.ids.extend((before..count).map(|_| self.world.new_id()));
        let create = |id: &String| {
            let (bundle, pid_file) = (bundle.to_string_lossy(), self.pid_file(id));
            let words = ["create", "--bundle", &bundle, "--pid-file", &pid_file.to_string_lossy()];
            self.world.command_on(self.contender, &words, id)
        };
        each(&self.ids[before..].iter().map(create).collect::<Vec<_>>())
    }

    /// Their processes.
    fn pids(&self) -> Result<Vec<Pid>, Failure> {
        let pid = |id: &String| Ok(Pid::from_raw(fs::read_to_string(self.pid_file(id))?.trim().parse()?));
        self.ids.iter().map(pid).collect()
    }

    /// Starts all at once; the time until all have ended, for programs that end by themselves.
    fn start_and_end(&self) -> Result<Duration, Failure> {
        let ends: Vec<OwnedFd> = self.pids()?.into_iter().map(pidfd_open).collect::<Result<_, _>>()?;
        let commands = self.on_each(&self.ids, &["start"]);
        let begun = Instant::now();
        crowd(&commands)?;
        for end in &ends {
            if poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], PollTimeout::from(PATIENCE))? == 0 {
                return Err(Failure("a started program does not end".to_owned()));
            }
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        if let Err(error) = each(&self.on_each(&self.ids, &["delete", "--force"])) {
            eprintln!("conformance: a container of {} is left: {error}", self.contender.name);
        }
    }
}

fn runtimes(options: &Options) -> impl Iterator<Item = &Contender> {
    options.contenders.iter().filter(|contender| !contender.floor)
}

/// `run` after a rest.  Among runs that follow each other at once, the kernel's ways are warm: what it does once in a while is done.
pub fn rest(options: &Options, world: &World, stopwatch: &Stopwatch) -> Result<Group, Failure> {
    let mut tables = Vec::new();
    for rest in REST {
        let mut table = Table::new(Operation::Run, format!("docker-like, after {rest} ms of rest"));
        table.fill(options.contenders.iter(), &options.growth_rounds, |contender| {
            std::thread::sleep(Duration::from_millis(rest));
            run(world, stopwatch, contender, "docker-like")
        })?;
        tables.push(table);
    }
    let prose = "A `run` like Docker's when no container was run for so long before, as is usual outside of benchmarks. A process that another one \
                 moves into a cgroup of version 1 waits for a grace period of RCU then, some 10 ms; one that enters `tasks` by itself does not.";
    Ok(Group {
        file: "rest",
        title: "`run` after a rest",
        prose,
        sizes: REST.map(|rest| format!("{rest} ms")).to_vec(),
        tables,
    })
}

/// One `run` of the bundle by the clock.
fn run(
    world: &World,
    stopwatch: &Stopwatch,
    contender: &Contender,
    bundle: &str,
) -> Result<Result<Duration, String>, Failure> {
    let timed = world.command(contender, bundle);
    stopwatch.time(world, &Round { before: Vec::new(), timed, after: Vec::new() })
}

/// `run`, while so many containers of the same runtime wait for `start`.
pub fn containers(options: &Options, world: &World, stopwatch: &Stopwatch) -> Result<Group, Failure> {
    let label = |count: &usize| Table::new(Operation::Run, format!("plain, among {count} containers"));
    let mut tables: Vec<Table> = CONTAINERS.iter().map(label).collect();
    for contender in runtimes(options) {
        let mut there = Crowd::new(world, contender);
        for (table, count) in tables.iter_mut().zip(CONTAINERS) {
            if let Err(words) = told(stopwatch, there.grow(&world.idle_bundle("plain"), count))? {
                table.dropped.push((contender.name.clone(), words));
                continue;
            }
            let time = |contender: &Contender| run(world, stopwatch, contender, "plain");
            table.fill(std::iter::once(contender), &options.growth_rounds, time)?;
        }
    }
    let prose = "A `run`, while so many containers of the same runtime, in the same state directory, wait for `start`; \
                 one runtime after the other.";
    Ok(Group {
        file: "containers",
        title: "`run` among many containers",
        prose,
        sizes: CONTAINERS.map(|count| format!("{count} containers")).to_vec(),
        tables,
    })
}

/// Mounts a directory upon itself until there are so many.
fn add_mounts(top: &Path, from: usize, to: usize) -> Result<(), Failure> {
    for number in from..to {
        let place = top.join(number.to_string());
        fs::create_dir(&place)?;
        mount(Some(&place), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}

/// `run`, while the mount namespace of the host holds so many mounts more; in a namespace of our own, which is not left any more.
pub fn mounts(options: &Options, world: &World, stopwatch: &Stopwatch) -> Result<Group, Failure> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let top = world.make_directory("mounts")?;
    mount(Some("none"), &top, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let mut tables = Vec::new();
    let mut there = 0;
    for count in MOUNTS {
        add_mounts(&top, there, count)?;
        there = count;
        let mut table = Table::new(Operation::Run, format!("plain, with {count} mounts more"));
        let time = |contender: &Contender| run(world, stopwatch, contender, "plain");
        table.fill(options.contenders.iter(), &options.growth_rounds, time)?;
        tables.push(table);
    }
    umount2(&top, MntFlags::MNT_DETACH)?;
    let prose = "A `run` in a mount namespace that has so many bind mounts more.";
    Ok(Group {
        file: "mounts",
        title: "`run` among many mounts",
        prose,
        sizes: MOUNTS.map(|count| format!("{count} mounts")).to_vec(),
        tables,
    })
}

/// So many `run` at once, and so many `start` of containers made before.
pub fn at_once(options: &Options, world: &World, stopwatch: &Stopwatch) -> Result<Group, Failure> {
    let rounds = Rounds { warm_up: 0, counted: options.growth_rounds.counted.div_ceil(2) };
    let mut run = Table::new(Operation::Run, format!("plain, {CROWD} at once, until all have ended"));
    run.fill(options.contenders.iter(), &rounds, |contender| {
        let commands: Vec<Command> = (0..CROWD).map(|_| world.command(contender, "plain")).collect();
        let time = crowd(&commands);
        if time.is_err() {
            each(&deletions(&commands)).ok();
        }
        told(stopwatch, time)
    })?;
    let label = format!("plain, {CROWD} created before and started at once, until all have ended");
    let mut start = Table::new(Operation::Start, label);
    start.fill(runtimes(options), &rounds, |contender| {
        let mut created = Crowd::new(world, contender);
        let grown = created.grow(&world.bundle("plain"), CROWD);
        told(stopwatch, grown.and_then(|()| created.start_and_end()))
    })?;
    let prose = "Wall time of all of them together.";
    Ok(Group { file: "at-once", title: "Many at once", prose, sizes: Vec::new(), tables: vec![run, start] })
}

/// How what is left of failed ones is removed.
fn deletions(commands: &[Command]) -> Vec<Command> {
    let words = commands.iter().filter_map(|command| command.delete.clone());
    words.map(|words| Command { words, delete: None }).collect()
}

/// USS and PSS of a process, in KiB: `/proc/PID/smaps_rollup`, proc_pid_smaps(5).
fn memory(pid: Pid) -> Result<Memory, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok(Memory { uss: number("Private_Clean") + number("Private_Dirty"), pss: number("Pss") })
}

fn mean(pids: &[Pid]) -> Result<Memory, Failure> {
    let mut sum = Memory::default();
    for pid in pids {
        let one = memory(*pid)?;
        sum = Memory { uss: sum.uss + one.uss, pss: sum.pss + one.pss };
    }
    let count = pids.len().max(1) as u64;
    Ok(Memory { uss: sum.uss / count, pss: sum.pss / count })
}

fn held(world: &World, contender: &Contender) -> Result<[Memory; 2], Failure> {
    let mut there = Crowd::new(world, contender);
    there.grow(&world.idle_bundle("plain"), SAMPLE)?;
    let pids = there.pids()?;
    let created = mean(&pids)?;
    each(&there.on_each(&there.ids, &["start"]))?;
    for pid in &pids {
        sleeping(*pid)?;
    }
    Ok([created, mean(&pids)?])
}

/// Waits until the program has come to its sleep: `start` may return while it still begins.
fn sleeping(pid: Pid) -> Result<(), Failure> {
    for _ in 0..1000 {
        let call = fs::read_to_string(format!("/proc/{pid}/wchan"))?;
        let program = fs::read_to_string(format!("/proc/{pid}/comm"))?;
        if program.trim_end() == "probe" && call.contains("nanosleep") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Failure("the started program does not come to its sleep".to_owned()))
}

/// The mean of a few containers of each.
pub fn memory_held(options: &Options, world: &World, stopwatch: &Stopwatch) -> Result<Vec<Held>, Failure> {
    runtimes(options)
        .map(|contender| {
            Ok(Held { name: contender.name.clone(), held: told(stopwatch, held(world, contender))? })
        })
        .collect()
}
