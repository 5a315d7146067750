//! The figures as Markdown and JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use super::growth::Held;
use super::options::Options;
use super::trace::Counts;
use super::{Figures, Series, Table};

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
        options.rounds, options.warm_up
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
    for (name, words) in &table.dropped {
        let _ = writeln!(out, "\n{name} cannot run this bundle here: {words}");
    }
}

/// What created containers hold.
fn held(out: &mut String, figures: &Figures) {
    if figures.held.is_empty() {
        return;
    }
    out.push_str(
        " Memory of a container that waits for `start`\n\n\
         The mean of 16.  What runs costs no more than its own program, with all of these: none leaves a process beside it.\n\n\
         | | its own (USS) | its share (PSS) |\n|---|--:|--:|\n",
    );
    for one in &figures.held {
        let _ = match &one.held {
            Ok((uss, pss)) => writeln!(out, "| {} | {uss} KiB | {pss} KiB |", one.name),
            Err(words) => writeln!(out, "| {} | n/a: {words} | |", one.name),
        };
    }
}

/// Every comparison in which a runtime other than ours has less.
fn behind(figures: &Figures) -> Vec<String> {
    let ours = |name: &str| name.starts_with("orlop");
    let mut rows = Vec::new();
    let mut compare = |what: &str, values: &[(&str, f64)]| {
        let Some((_, own)) = values.iter().find(|(name, _)| ours(name)) else { return };
        let peers = values.iter().filter(|(name, value)| !ours(name) && *name != "floor" && value < own);
        rows.extend(peers.map(|(name, value)| format!("{what}: orlop {own:.2}, {name} {value:.2}")));
    };
    for table in figures.tables.iter().chain(figures.groups.iter().flat_map(|group| &group.tables)) {
        let what = format!("`{}`, {}", table.operation.name(), table.bundle);
        let times: Vec<_> =
            table.series.iter().map(|series| (series.name.as_str(), summary(series).quartile)).collect();
        compare(&format!("{what}, milliseconds"), &times);
        let counts = |of: fn(&Counts) -> u64| -> Vec<(&str, f64)> {
            let counted = |series: &'_ Series| series.counts.as_ref().map(of);
            #[allow(clippy::cast_precision_loss, reason = "counts are small")]
            let value = |series| counted(series).map(|count| count as f64);
            table.series.iter().filter_map(|series| Some((series.name.as_str(), value(series)?))).collect()
        };
        compare(&format!("{what}, system calls"), &counts(|counts| counts.calls));
        compare(&format!("{what}, processes"), &counts(|counts| counts.processes));
        compare(&format!("{what}, peak RSS in KiB"), &counts(|counts| counts.rss));
    }
    #[allow(clippy::cast_precision_loss, reason = "KiB of one process")]
    let held: Vec<_> = figures
        .held
        .iter()
        .filter_map(|one| Some((one.name.as_str(), one.held.as_ref().ok()?.0 as f64)))
        .collect();
    compare("memory of a created container, USS in KiB", &held);
    rows
}

/// What follows the tables of the operations.
fn rest(out: &mut String, figures: &Figures, heading: &str, pictures: bool) {
    for group in &figures.groups {
        let _ = writeln!(out, "\n{heading} {}\n\n{}", group.title, group.prose);
        if pictures {
            let _ = writeln!(out, "\n![{}](benchmarks/{}.svg)", group.title.replace('`', ""), group.file);
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
        Ok((uss, pss)) => json!({ "name": one.name, "uss": uss, "pss": pss }),
        Err(words) => json!({ "name": one.name, "error": words }),
    };
    let value = json!({
        "rounds": options.rounds,
        "warm_up": options.warm_up,
        "facts": facts,
        "tables": figures.tables.iter().map(table).collect::<Vec<_>>(),
        "growth": figures.groups.iter().flat_map(|group| &group.tables).map(table).collect::<Vec<_>>(),
        "created_kib": figures.held.iter().map(held).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}
