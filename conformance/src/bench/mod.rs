//! Compares runtimes with each other and with the floor, on the same bundles, in the same minutes.
//!
//! The runs are interleaved and their order rotates, so that what the machine does meanwhile meets all alike.
//! Wall time is from `posix_spawn` to the end of the process; system calls, processes and memory are counted in
//! one run more, under ptrace, outside of the timing.

mod docs;
mod growth;
pub mod hot;
mod lines;
mod measure;
mod options;
mod plot;
mod report;
mod smallest;
mod trace;
mod world;

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use measure::Stopwatch;
use options::{Contender, Growth, Operation, Options, Rounds};
use trace::Counts;
use world::World;

pub use options::{CgroupView, USAGE, in_path, view};
pub use world::hide_unified;

/// What stops a bench: a sentence.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What is known of one contender on one bundle.
pub struct Series {
    /// The name it was given on the command line.
    pub name: String,
    /// Wall times, in the order they were taken.
    pub times: Vec<Duration>,
    /// From the run under ptrace; of `run` and `exec`, which leave no process behind that would be traced still.
    pub counts: Option<Counts>,
}

/// The outcome for one operation on one bundle.
pub struct Table {
    /// What was timed.
    pub operation: Operation,
    /// `plain` or `docker-like`.
    pub bundle: String,
    /// Contenders that took part, as given.
    pub series: Vec<Series>,
    /// Contenders that could not run this bundle, with their own words.
    pub dropped: Vec<(String, String)>,
}

/// Tables that belong together, with one picture.
pub struct Group {
    /// The picture's name.
    pub file: &'static str,
    /// The heading.
    pub title: &'static str,
    /// A sentence on how it was done.
    pub prose: &'static str,
    /// What grows from table to table; nothing when they are of different things.
    pub sizes: Vec<String>,
    /// One for each size.
    pub tables: Vec<Table>,
}

/// All that was measured.
#[derive(Default)]
pub struct Figures {
    /// One for each operation and bundle.
    pub tables: Vec<Table>,
    /// What grows, if it was asked for.
    pub groups: Vec<Group>,
    /// What containers hold, if it was asked for.
    pub held: Vec<growth::Held>,
}

/// Runs `conformance bench`.
pub fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let Some(options) = options::parse(args)? else { return Ok(()) };
    if let Some(directory) = &options.docs {
        docs::check(directory)?;
    }
    let world = World::prepare(&options)?;
    let facts = world.facts(&options.contenders);
    let stopwatch = Stopwatch::new()?;
    let mut figures = Figures::default();
    for operation in &options.operations {
        // What only asks or signals does not depend on the bundle.
        let bundles = if operation.is_small() { &world.bundles()[..1] } else { world.bundles() };
        for bundle in bundles {
            eprintln!("bench: {}, {bundle}", operation.name());
            figures.tables.push(compare(&options, &world, &stopwatch, *operation, bundle)?);
        }
    }
    for part in &options.growth {
        eprintln!("bench: {}", part.name());
        match part {
            Growth::Memory => figures.held = growth::memory_held(&options, &world, &stopwatch)?,
            Growth::AtOnce => figures.groups.push(growth::at_once(&options, &world, &stopwatch)?),
            Growth::Containers => figures.groups.push(growth::containers(&options, &world, &stopwatch)?),
            Growth::Mounts => figures.groups.push(growth::mounts(&options, &world, &stopwatch)?),
            Growth::Rest => figures.groups.push(growth::rest(&options, &world, &stopwatch)?),
        }
    }
    print!("{}", report::markdown(&options, &facts, &figures));
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(&options, &facts, &figures))?;
    }
    if let Some(directory) = &options.docs {
        docs::write(directory, &options, &facts, &figures)?;
    }
    Ok(())
}

impl Table {
    fn new(operation: Operation, bundle: impl Into<String>) -> Self {
        Self { operation, bundle: bundle.into(), series: Vec::new(), dropped: Vec::new() }
    }

    /// Times the contenders in turns, the first ones of each not counted.  One that fails drops out.
    fn fill<'a>(
        &mut self,
        contenders: impl Iterator<Item = &'a Contender>,
        rounds: &Rounds,
        time: impl Fn(&Contender) -> Result<Result<Duration, String>, Failure>,
    ) -> Result<(), Failure> {
        let mut fit: Vec<(&Contender, Result<Vec<Duration>, String>)> =
            contenders.map(|contender| (contender, Ok(Vec::new()))).collect();
        for number in 0..=rounds.warm_up + rounds.counted {
            for at in 0..fit.len() {
                let turn = (at + number) % fit.len();
                let (contender, times) = &mut fit[turn];
                let Ok(counted) = times else { continue };
                match time(contender)? {
                    Ok(time) if number > rounds.warm_up => counted.push(time),
                    Ok(_) => {}
                    Err(words) => *times = Err(words),
                }
            }
        }
        for (contender, times) in fit {
            let name = contender.name.clone();
            match times {
                Ok(times) => self.series.push(Series { name, times, counts: None }),
                Err(words) => self.dropped.push((name, words)),
            }
        }
        Ok(())
    }
}

fn compare(
    options: &Options,
    world: &World,
    stopwatch: &Stopwatch,
    operation: Operation,
    bundle: &str,
) -> Result<Table, Failure> {
    let mut table = Table::new(operation, bundle);
    let able = |contender: &&Contender| world.round(operation, contender, bundle).is_some();
    table.fill(options.contenders.iter().filter(able), &options.rounds, |contender| {
        let round = world.round(operation, contender, bundle);
        round.map_or_else(
            || Ok(Err("it has no such command".to_owned())),
            |round| stopwatch.time(world, &round),
        )
    })?;
    for series in &mut table.series {
        let Some(contender) = options.contenders.iter().find(|one| one.name == series.name) else { continue };
        match counts(world, stopwatch, operation, contender, bundle) {
            Ok(counts) => series.counts = counts,
            Err(Failure(words)) => {
                stopwatch.check()?;
                eprintln!("bench: {} is not counted: {words}", series.name);
            }
        }
    }
    Ok(table)
}

fn counts(
    world: &World,
    stopwatch: &Stopwatch,
    operation: Operation,
    contender: &Contender,
    bundle: &str,
) -> Result<Option<Counts>, Failure> {
    if !matches!(operation, Operation::Run | Operation::Exec) {
        return Ok(None);
    }
    let Some(round) = world.round(operation, contender, bundle) else { return Ok(None) };
    let payload = world.payload(operation, bundle);
    stopwatch.around(world, &round, || trace::count(&round.timed, &payload)).map(Some)
}
