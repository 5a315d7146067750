//! What grows: a run with many containers or many mounts there already, many runs at once, what waiting containers hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::measure::Stopwatch;
use super::options::{Contender, Operation, Options};
use super::world::{Command, World};
use super::{Failure, Group, Series, Table};

/// So many containers, and so many mounts.
const CONTAINERS: [usize; 3] = [0, 100, 1000];
const MOUNTS: [usize; 3] = [10, 1000, 5000];
/// So many at once.
const CROWD: usize = 64;
/// Commands beside each other where nothing is timed.
const HANDS: usize = 4;
/// Containers whose memory is counted.
const SAMPLE: usize = 16;

/// What a created container holds while it waits for `start`, in KiB.
pub struct Held {
    /// The runtime.
    pub name: String,
    /// Memory of its process alone (USS), and its share of what is mapped by several (PSS), or why there is no figure.
    pub held: Result<(u64, u64), String>,
}

fn table(label: String) -> Table {
    Table { operation: Operation::Run, bundle: label, series: Vec::new(), dropped: Vec::new() }
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

    /// Creates until there are so many.
    fn grow(&mut self, bundle: &Path, count: usize) -> Result<(), Failure> {
        let before = self.ids.len();
        self.ids.extend((before..count).map(|_| self.world.new_id()));
        each(&self.on_each(&self.ids[before..], &["create", "--bundle", &bundle.to_string_lossy()]))
    }

    /// The process of one.
    fn pid(&self, id: &str) -> Result<u64, Failure> {
        let words = self.world.command_on(self.contender, &["state"], id).words;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let output = Program::new(&words[0]).args(&words[1..]).output()?;
        let state: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        state["pid"].as_u64().ok_or_else(|| Failure(format!("state {id} has no pid")))
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        if let Err(error) = each(&self.on_each(&self.ids, &["delete", "--force"])) {
            eprintln!("conformance: a container of {} is left: {error}", self.contender.name);
        }
    }
}

/// One `run` of the plain bundle by the clock, so many times.
fn runs(
    options: &Options,
    world: &World,
    stopwatch: &Stopwatch,
    contender: &Contender,
) -> Result<Series, Failure> {
    let mut times = Vec::new();
    for number in 0..=options.growth_rounds {
        let round = world.round(Operation::Run, contender, "plain");
        let round = round.ok_or_else(|| Failure("run is of all".to_owned()))?;
        let time = stopwatch.try_time(world, &round)?;
        // The first is to warm up.
        if number > 0 {
            times.push(time);
        }
    }
    Ok(Series { name: contender.name.clone(), times, counts: None })
}

fn note(table: &mut Table, name: &str, outcome: Result<Series, Failure>) {
    match outcome {
        Ok(series) => table.series.push(series),
        Err(Failure(words)) => table.dropped.push((name.to_owned(), words)),
    }
}

fn runtimes(options: &Options) -> impl Iterator<Item = &Contender> {
    options.contenders.iter().filter(|contender| !contender.floor)
}

/// `run`, while so many containers of the same runtime wait for `start`.
pub fn containers(options: &Options, world: &World, stopwatch: &Stopwatch) -> Group {
    let label = |count: &usize| table(format!("plain, with {count} containers created before"));
    let mut tables: Vec<Table> = CONTAINERS.iter().map(label).collect();
    for contender in runtimes(options) {
        let mut there = Crowd::new(world, contender);
        for (table, count) in tables.iter_mut().zip(CONTAINERS) {
            let outcome = there
                .grow(&world.idle_bundle("plain"), count)
                .and_then(|()| runs(options, world, stopwatch, contender));
            note(table, &contender.name, outcome);
        }
    }
    let prose =
        "Each runtime with its own containers, in its own state directory; one runtime after the other.";
    Group { file: "containers", title: "`run` among many containers", prose, tables }
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
        let mut table = table(format!("plain, with {count} mounts more on the host"));
        for contender in &options.contenders {
            note(&mut table, &contender.name, runs(options, world, stopwatch, contender));
        }
        tables.push(table);
    }
    umount2(&top, MntFlags::MNT_DETACH)?;
    let prose = "Bind mounts in the mount namespace in which the runtime is started.";
    Ok(Group { file: "mounts", title: "`run` among many mounts", prose, tables })
}

/// So many `run` at once, and so many `start` of containers made before.
pub fn at_once(options: &Options, world: &World) -> Group {
    let bundle = world.bundle("plain");
    let mut run = table(format!("plain, {CROWD} at once until all have ended"));
    let mut start = table(format!("plain, {CROWD} created before, all at once until all have been started"));
    start.operation = Operation::Start;
    for contender in runtimes(options) {
        let mut series = [(); 2].map(|()| Ok(Vec::new()));
        for _ in 0..options.growth_rounds.div_ceil(2) {
            let ids: Vec<String> = (0..CROWD).map(|_| world.new_id()).collect();
            let words = ["run", "--bundle", &bundle.to_string_lossy()];
            let commands: Vec<Command> =
                ids.iter().map(|id| world.command_on(contender, &words, id)).collect();
            add(&mut series[0], crowd(&commands));
            let mut created = Crowd::new(world, contender);
            let grown = created.grow(&bundle, CROWD);
            add(&mut series[1], grown.and_then(|()| crowd(&created.on_each(&created.ids, &["start"]))));
        }
        for (table, times) in [&mut run, &mut start].into_iter().zip(series) {
            let outcome = times.map(|times| Series { name: contender.name.clone(), times, counts: None });
            note(table, &contender.name, outcome);
        }
    }
    let prose = "Wall time of all of them together, one runtime after the other.";
    Group { file: "at-once", title: "Many at once", prose, tables: vec![run, start] }
}

fn add(series: &mut Result<Vec<Duration>, Failure>, time: Result<Duration, Failure>) {
    match (series.as_mut(), time) {
        (Ok(times), Ok(time)) => times.push(time),
        (Ok(_), Err(error)) => *series = Err(error),
        (Err(_), _) => {}
    }
}

/// USS and PSS of a process, in KiB: `/proc/PID/smaps_rollup`, proc_pid_smaps(5).
fn memory(pid: u64) -> Result<(u64, u64), Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    Ok((number("Private_Clean") + number("Private_Dirty"), number("Pss")))
}

fn held(world: &World, contender: &Contender) -> Result<(u64, u64), Failure> {
    let mut there = Crowd::new(world, contender);
    there.grow(&world.idle_bundle("plain"), SAMPLE)?;
    let (mut uss, mut pss) = (0, 0);
    for id in &there.ids {
        let one = memory(there.pid(id)?)?;
        uss += one.0;
        pss += one.1;
    }
    Ok((uss / SAMPLE as u64, pss / SAMPLE as u64))
}

/// The mean of a few created containers of each.
pub fn memory_held(options: &Options, world: &World) -> Vec<Held> {
    runtimes(options)
        .map(|contender| Held {
            name: contender.name.clone(),
            held: held(world, contender).map_err(|error| error.0),
        })
        .collect()
}
