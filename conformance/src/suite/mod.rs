//! The conformance suite: what runtime-spec 1.3.0 demands of a runtime on Linux, tested on any runtime.
//!
//! A test says which section it is from, whether that is a MUST or a SHOULD, and what is demanded.  It drives the runtime by the
//! operations of the specification (create, start, state, kill, delete) in the command-line form that runtimes share, and looks at
//! the outcome from inside, by the probe, and from the host.

mod case;
mod cases;
mod docs;
mod options;
mod report;
mod runner;
mod statements;
mod trial;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use crate::bench::{CgroupView, Failure, hide_unified};
use case::{Case, Level};
use options::{Format, Options, Subject};
use report::{Column, junit, tap};
use runner::{Finding, Runner, Verdict};

pub use options::USAGE;

/// The sub-command that is the process of one test.
pub const CASE: &str = "--case";

/// `conformance run`.
pub fn run(args: Vec<OsString>) -> Result<(), Failure> {
    let Some(options) = options::parse(args, CgroupView::Host)? else { return Ok(()) };
    let cases = chosen(&options)?;
    if options.list {
        return list(&cases);
    }
    let [subject] = options.subjects.as_slice() else {
        return Err(Failure("run tests one runtime; matrix puts several side by side".to_owned()));
    };
    hide_unified(options.view)?;
    let findings = test(&options, subject, &cases, options.format == Format::Tap)?;
    match options.format {
        Format::Tap => print!("{}", tap::summary(&findings)),
        Format::Junit => print!("{}", junit::document(&subject.name, &findings)),
    }
    let failed = |level| {
        findings
            .iter()
            .filter(|one| one.case.level == level && matches!(one.verdict, Verdict::Fail(_)))
            .count()
    };
    let (musts, shoulds) = (failed(Level::Must), failed(Level::Should));
    if musts > 0 || (options.strict && shoulds > 0) {
        return Err(Failure(format!("{}: {musts} MUST and {shoulds} SHOULD not met", subject.name)));
    }
    Ok(())
}

/// `conformance matrix`.
pub fn matrix(args: Vec<OsString>) -> Result<(), Failure> {
    let Some(options) = options::parse(args, CgroupView::Auto)? else { return Ok(()) };
    if let Some(directory) = &options.docs {
        docs::check(directory)?;
    }
    let cases = chosen(&options)?;
    hide_unified(options.view)?;
    let mut columns = Vec::new();
    for subject in &options.subjects {
        eprintln!("conformance: {} tests of {}", cases.len(), subject.name);
        let findings = test(&options, subject, &cases, false)?;
        columns.push(Column { name: subject.name.clone(), version: report::version(subject), findings });
    }
    let markdown = report::markdown::document(&columns);
    let html = report::html::document(&columns);
    if let Some(path) = &options.markdown {
        std::fs::write(path, &markdown)?;
    }
    if let Some(path) = &options.html {
        std::fs::write(path, &html)?;
    }
    if let Some(directory) = &options.docs {
        docs::write(directory, &columns, &html)?;
    }
    if options.markdown.is_none() && options.html.is_none() && options.docs.is_none() {
        print!("{markdown}");
    }
    Ok(())
}

/// The process of one test: `--case NAME RESULT-FILE`.
pub fn case(args: &[OsString]) -> Result<(), Failure> {
    let [name, result] = args else { return Err(Failure(format!("{CASE}: want NAME FILE"))) };
    let found = cases::all().find(|case| name == case.name);
    let case = found.ok_or_else(|| Failure(format!("{}: no such test", name.display())))?;
    runner::single(case, Path::new(result));
    Ok(())
}

fn chosen(options: &Options) -> Result<Vec<&'static Case>, Failure> {
    let wanted = |case: &&Case| {
        options.filters.is_empty()
            || options.filters.iter().any(|text| case.name.contains(text) || case.section.contains(text))
    };
    let cases: Vec<_> = cases::all().filter(wanted).collect();
    match cases.is_empty() {
        true => Err(Failure(format!("no test matches {}", options.filters.join(", ")))),
        false => Ok(cases),
    }
}

fn list(cases: &[&Case]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for case in cases {
        writeln!(out, "{:42} {:6} {:38} {}", case.name, case.level, case.section, case.demand)?;
    }
    Ok(())
}

fn test(
    options: &Options,
    subject: &Subject,
    cases: &[&'static Case],
    aloud: bool,
) -> Result<Vec<Finding>, Failure> {
    let runner = Runner::new(subject, options.limit)?;
    if aloud {
        print!("{}", tap::head(cases.len(), subject, &report::version(subject)));
    }
    let mut tell = |at: usize, finding: &Finding| {
        if aloud {
            print!("{}", tap::point(at + 1, finding));
        }
    };
    Ok(runner.run(cases, options.jobs, &mut tell))
}
