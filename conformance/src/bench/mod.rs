//! Compares runtimes with each other and with the floor, on the same bundles, in the same minutes.
//!
//! The runs are interleaved and their order rotates, so that what the machine does meanwhile meets all alike.
//! Wall time is from `posix_spawn` to the end of the process; system calls, processes and memory are counted in
//! one run more, under ptrace, outside of the timing.

mod docs;
mod growth;
pub mod hot;
mod measure;
mod options;
mod plot;
mod report;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use measure::Stopwatch;
use options::{Contender, Operation, Options};
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
    /// What created containers hold, if it was asked for.
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
        for bundle in world.bundles() {
            eprintln!("bench: {}, {bundle}", operation.name());
            figures.tables.push(compare(&options, &world, &stopwatch, *operation, bundle)?);
        }
    }
    if options.growth {
        grow(&mut figures, &options, &world, &stopwatch)?;
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

fn grow(
    figures: &mut Figures,
    options: &Options,
    world: &World,
    stopwatch: &Stopwatch,
) -> Result<(), Failure> {
    eprintln!("bench: memory of created containers");
    figures.held = growth::memory_held(options, world);
    eprintln!("bench: many at once");
    figures.groups.push(growth::at_once(options, world));
    eprintln!("bench: many containers");
    figures.groups.push(growth::containers(options, world, stopwatch));
    eprintln!("bench: many mounts");
    figures.groups.push(growth::mounts(options, world, stopwatch)?);
    Ok(())
}

fn compare(
    options: &Options,
    world: &World,
    stopwatch: &Stopwatch,
    operation: Operation,
    bundle: &str,
) -> Result<Table, Failure> {
    let mut table = Table { operation, bundle: bundle.to_owned(), series: Vec::new(), dropped: Vec::new() };
    let mut fit = Vec::new();
    for contender in &options.contenders {
        let Some(round) = world.round(operation, contender, bundle) else { continue };
        match stopwatch.rehearse(world, &round)? {
            None => fit.push(contender),
            Some(words) => table.dropped.push((contender.name.clone(), words)),
        }
    }
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for number in 0..options.warm_up + options.rounds {
        for at in 0..fit.len() {
            let contender = fit[(at + number) % fit.len()];
            let Some(round) = world.round(operation, contender, bundle) else { continue };
            let time = stopwatch.time(world, &round)?;
            if number >= options.warm_up {
                times.entry(&contender.name).or_default().push(time);
            }
        }
    }
    for contender in &fit {
        table.series.push(Series {
            name: contender.name.clone(),
            times: times.remove(contender.name.as_str()).unwrap_or_default(),
            counts: counts(world, stopwatch, operation, contender, bundle)?,
        });
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
