//! The figures as Markdown and JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::growth::{Held, Memory};
use super::options::Options;
use super::trace::Counts;
use super::{Figures, Group, Series, Table};

/// Order statistics of a series, in milliseconds.
pub struct Summary {
    minimum: f64,
    /// A quarter of the times are below.
    pub quartile: f64,
    /// Half of the times are below.
    pub median: f64,
    /// A quarter of the times are above.
    pub upper: f64,
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Not numbers when nothing was timed.
pub fn summary(series: &Series) -> Summary {
    let mut times: Vec<f64> = series.times.iter().copied().map(milliseconds).collect();
    times.sort_by(f64::total_cmp);
    let at = |quarter: usize| {
        times.get((times.len().saturating_sub(1)) * quarter / 4).copied().unwrap_or(f64::NAN)
    };
    Summary { minimum: at(0), quartile: at(1), median: at(2), upper: at(3) }
}

/// One table of times: a row for each contender, the ratio of first quartiles to each of the others.
fn times(out: &mut String, table: &Table) {
    let summaries: Vec<Summary> = table.series.iter().map(summary).collect();
    let peers: String = table.series.iter().map(|series| format!(" ÷ {} |", series.name)).collect();
    let _ = writeln!(out, "| | median | first quartile | third | minimum |{peers}");
    let _ = writeln!(out, "|---|--:|--:|--:|--:|{}", "--:|".repeat(table.series.len()));
    for (series, own) in table.series.iter().zip(&summaries) {
        let ratios: String =
            summaries.iter().map(|other| format!(" {:.2} |", own.quartile / other.quartile)).collect();
        let _ = writeln!(
            out,
            "| {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms |{ratios}",
            series.name, own.median, own.quartile, own.upper, own.minimum
        );
    }
    for (name, words) in &table.dropped {
        let _ = writeln!(out, "| {name} | {} | | | |{}", absent(words), " |".repeat(table.series.len()));
    }
}

/// The cell of what could not be measured.
fn absent(words: &str) -> String {
    format!("n/a: {}", words.replace('|', "\\|"))
}

/// One table for all sizes: first quartiles, and how the last compares to the first.
fn growth(out: &mut String, group: &Group) {
    let heads: String = group.sizes.iter().map(|size| format!(" {size} |")).collect();
    let _ = writeln!(out, "| |{heads} last ÷ first |\n|---|{}--:|", "--:|".repeat(group.sizes.len()));
    let mut names: Vec<&str> = Vec::new();
    for table in &group.tables {
        let of = table.series.iter().map(|series| &series.name).chain(table.dropped.iter().map(|one| &one.0));
        for name in of {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    for name in names {
        let quartile = |table: &Table| {
            let series = table.series.iter().find(|series| series.name == name)?;
            Some(summary(series).quartile)
        };
        let cells: String = group
            .tables
            .iter()
            .map(|table| {
                let why = table.dropped.iter().find(|one| one.0 == name).map_or("", |one| one.1.as_str());
                quartile(table)
                    .map_or_else(|| format!(" {} |", absent(why)), |time| format!(" {time:.2} ms |"))
            })
            .collect();
        let ends = group.tables.first().and_then(quartile).zip(group.tables.last().and_then(quartile));
        let ratio = ends.map_or_else(String::new, |(first, last)| format!("{:.2}", last / first));
        let _ = writeln!(out, "| {name} |{cells} {ratio} |");
    }
}

fn counts(out: &mut String, table: &Table) {
    let _ = writeln!(
        out,
        "\n| | system calls | processes | threads | programs executed | peak RSS | largest process |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    );
    for series in &table.series {
        let Some(counts) = &series.counts else { continue };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} KiB | {} KiB |",
            series.name,
            counts.calls,
            counts.processes,
            counts.threads,
            counts.execs,
            counts.rss,
            counts.largest_rss
        );
    }
}

/// Where and how it was measured, as a list.
fn circumstances(out: &mut String, options: &Options, facts: &[String]) {
    for fact in facts {
        let _ = writeln!(out, "- {fact}.");
    }
    let _ = writeln!(
        out,
        "- {} rounds after {} to warm up, interleaved, in rotating order; wall time from posix_spawn to the end.\n\
         - Ratios are of first quartiles.  Counts come from one run more under ptrace, without the container's own \
         program; peak RSS is the VmHWM of the runtime's first process, and of the largest of all.",
        options.rounds.counted,
        options.rounds.warm_up + 1
    );
    for contender in options.contenders.iter().filter(|contender| !contender.global.is_empty()) {
        let words: Vec<_> = contender.global.iter().map(|word| word.to_string_lossy()).collect();
        let _ = writeln!(out, "- {} is given {}.", contender.name, words.join(" "));
    }
}

/// What was measured for one operation on one bundle, below a heading.
fn figures(out: &mut String, table: &Table) {
    let _ = writeln!(out, " `{}`, {}\n", table.operation.name(), table.bundle);
    times(out, table);
    if table.series.iter().any(|series| series.counts.is_some()) {
        counts(out, table);
    }
}

/// What containers hold.
fn held(out: &mut String, figures: &Figures) {
    out.push_str(
        " Memory of containers\n\n\
         The mean of 16 containers' processes: those that wait for `start`, which are the runtime's still, and those that run, \
         which are the program's alone. No runtime here leaves a process beside them.\n\n\
         | | created: its own (USS) | its share (PSS) | running: its own (USS) | its share (PSS) |\n|---|--:|--:|--:|--:|\n",
    );
    for one in &figures.held {
        let _ = match &one.held {
            Ok([created, running]) => writeln!(
                out,
                "| {} | {} KiB | {} KiB | {} KiB | {} KiB |",
                one.name, created.uss, created.pss, running.uss, running.pss
            ),
            Err(words) => writeln!(out, "| {} | {} | | | |", one.name, absent(words)),
        };
    }
}

/// Why orlop is behind where it has been looked into: a part of the row's name, and the reason.
const REASONS: [(&str, &str); 4] = [
    ("peak RSS", PAGES),
    ("largest process", PAGES),
    ("memory of a created container", WRITTEN),
    (
        "memory of a running container",
        "the program is the same, and all that is left: a page more or less is chance",
    ),
];
const WRITTEN: &str = "the pages of relocated data are written at the start in one call, those too that nothing needs later, in place of a fault for each";
const PAGES: &str = "what of the program's file the page cache holds in large pieces is mapped with what is touched, see \"Where the time goes\"";

/// Our value beside another's; of times with their third quartiles.
struct Compared {
    name: String,
    value: f64,
    upper: Option<f64>,
}

/// The rows of one comparison in which a runtime other than ours has less, with the reason.
fn behind_in(what: &str, all: &[Compared]) -> Vec<String> {
    let ours = |one: &&Compared| one.name.starts_with("orlop");
    let Some(own) = all.iter().find(ours) else { return Vec::new() };
    let peers = all.iter().filter(|one| !ours(one) && one.name != "floor" && one.value < own.value);
    peers
        .map(|peer| {
            let known = REASONS.iter().find(|(row, _)| what.contains(row)).map(|(_, reason)| *reason);
            let reason = match peer.upper {
                _ if known.is_some() => known.unwrap_or_default(),
                Some(upper) if upper >= own.value => {
                    "no difference that can be told: the middle halves of the two overlap"
                }
                _ => "the reason has not been found yet",
            };
            format!("{what}: orlop {:.2}, {} {:.2}: {reason}", own.value, peer.name, peer.value)
        })
        .collect()
}

/// Every comparison in which a runtime other than ours has less.
fn behind(figures: &Figures) -> Vec<String> {
    let mut rows = Vec::new();
    for table in figures.tables.iter().chain(figures.groups.iter().flat_map(|group| &group.tables)) {
        let what = format!("`{}`, {}", table.operation.name(), table.bundle);
        let time = |series: &Series| {
            let times = summary(series);
            Compared { name: series.name.clone(), value: times.quartile, upper: Some(times.upper) }
        };
        let times: Vec<Compared> = table.series.iter().map(time).collect();
        rows.extend(behind_in(&format!("{what}, milliseconds"), &times));
        let mut count = |unit: &str, of: fn(&Counts) -> u64| {
            let counted = table
                .series
                .iter()
                .filter_map(|series| Some(plainly(&series.name, series.counts.as_ref().map(of)?)));
            rows.extend(behind_in(&format!("{what}, {unit}"), &counted.collect::<Vec<_>>()));
        };
        count("system calls", |counts| counts.calls);
        count("processes", |counts| counts.processes);
        count("threads", |counts| counts.threads);
        count("programs executed", |counts| counts.execs);
        count("peak RSS in KiB", |counts| counts.rss);
        count("largest process in KiB", |counts| counts.largest_rss);
    }
    for (at, what) in ["created", "running"].into_iter().enumerate() {
        let mut held = |unit: &str, of: fn(Memory) -> u64| {
            let known = figures
                .held
                .iter()
                .filter_map(|one| Some(plainly(&one.name, of(*one.held.as_ref().ok()?.get(at)?))));
            rows.extend(behind_in(
                &format!("memory of a {what} container, {unit} in KiB"),
                &known.collect::<Vec<_>>(),
            ));
        };
        held("USS", |memory| memory.uss);
        held("PSS", |memory| memory.pss);
    }
    rows
}

#[allow(clippy::cast_precision_loss, reason = "counts of one run are small")]
fn plainly(name: &str, value: u64) -> Compared {
    Compared { name: name.to_owned(), value: value as f64, upper: None }
}

/// What follows the tables of the operations.
fn rest(out: &mut String, figures: &Figures, heading: &str, pictures: bool) {
    for group in &figures.groups {
        let _ = writeln!(out, "\n{heading} {}\n\n{}", group.title, group.prose);
        if pictures {
            let _ = writeln!(out, "\n![{}](benchmarks/{}.svg)", group.title.replace('`', ""), group.file);
        }
        if !group.sizes.is_empty() {
            out.push('\n');
            growth(out, group);
            continue;
        }
        for table in &group.tables {
            let _ = write!(out, "\n{heading}#");
            self::figures(out, table);
        }
    }
    if !figures.held.is_empty() {
        let _ = write!(out, "\n{heading}");
        held(out, figures);
    }
    let _ = writeln!(out, "\n{heading} Rows in which orlop does not lead\n");
    let rows = behind(figures);
    if rows.is_empty() {
        out.push_str("None.\n");
    }
    for row in rows {
        let _ = writeln!(out, "- {row}.");
    }
}

/// The report for people.
pub fn markdown(options: &Options, facts: &[String], measured: &Figures) -> String {
    let mut out = String::from("# A static `true`\n\n");
    circumstances(&mut out, options, facts);
    for table in &measured.tables {
        out.push_str("\n##");
        figures(&mut out, table);
    }
    rest(&mut out, measured, "##", false);
    out
}

/// The same as a section of `docs/benchmarks.md`, with a picture before each operation's tables.
pub fn section(options: &Options, facts: &[String], measured: &Figures) -> String {
    let mut out = String::from("## Measured\n\n");
    circumstances(&mut out, options, facts);
    let mut last = None;
    for table in &measured.tables {
        let name = table.operation.name();
        if last.replace(name) != Some(name) {
            let _ = writeln!(out, "\n![the times of {name}](benchmarks/{name}.svg)");
        }
        out.push_str("\n###");
        figures(&mut out, table);
    }
    rest(&mut out, measured, "###", true);
    out.push('\n');
    out
}

/// The same as JSON, with every single time.
pub fn json(options: &Options, facts: &[String], figures: &Figures) -> String {
    let series = |series: &Series| {
        let summary = summary(series);
        let counts = series.counts.as_ref();
        json!({
            "name": series.name,
            "milliseconds": series.times.iter().copied().map(milliseconds).collect::<Vec<_>>(),
            "median": summary.median, "first_quartile": summary.quartile,
            "third_quartile": summary.upper, "minimum": summary.minimum,
            "system_calls": counts.map(|counts| counts.calls),
            "system_calls_by_number": counts.map(|counts| &counts.by_number),
            "processes": counts.map(|counts| counts.processes),
            "threads": counts.map(|counts| counts.threads),
            "programs_executed": counts.map(|counts| counts.execs),
            "peak_rss_kib": counts.map(|counts| counts.rss),
            "largest_process_rss_kib": counts.map(|counts| counts.largest_rss),
        })
    };
    let table = |table: &Table| {
        json!({
            "operation": table.operation.name(),
            "bundle": table.bundle,
            "series": table.series.iter().map(series).collect::<Vec<_>>(),
            "dropped": table.dropped.iter().map(|(name, words)| json!({ "name": name, "error": words })).collect::<Vec<_>>(),
        })
    };
    let held = |one: &Held| match &one.held {
        Ok([created, running]) => json!({
            "name": one.name,
            "created": { "uss": created.uss, "pss": created.pss },
            "running": { "uss": running.uss, "pss": running.pss },
        }),
        Err(words) => json!({ "name": one.name, "error": words }),
    };
    let value = json!({
        "rounds": options.rounds.counted,
        "warm_up": options.rounds.warm_up + 1,
        "facts": facts,
        "tables": figures.tables.iter().map(table).collect::<Vec<_>>(),
        "growth": figures.groups.iter().flat_map(|group| &group.tables).map(table).collect::<Vec<_>>(),
        "memory_kib": figures.held.iter().map(held).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}
