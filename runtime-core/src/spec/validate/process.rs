//! `process`.

use super::{scheduling, strings};
use crate::spec::fault::Report;
use oci_spec::runtime::{Process, User};
use std::collections::HashMap;

/// `OOM_SCORE_ADJ_MIN` and `OOM_SCORE_ADJ_MAX`.
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i32> = -1000..=1000;

/// (uid_t)-1: "leave as it is" to the kernel, never an id.
const NO_ID: u32 = u32::MAX;

pub(super) fn check(process: &Process, at: &str, report: &mut Report) {
    strings::absolute(|| format!("{at}.cwd"), process.cwd(), report);
    match process.args().as_deref().unwrap_or_default().first() {
        None => report.fault(format!("{at}.args"), "must have at least one entry"),
        Some(program) if program.is_empty() => report.fault(format!("{at}.args[0]"), "must not be empty"),
        Some(_) => {}
    }
    strings::environment(&format!("{at}.env"), process.env().as_deref(), report);
    if process.command_line().is_some() {
        report.warn(format_args!("{at}.commandLine"), super::FOREIGN);
    }
    user(process.user(), &format!("{at}.user"), report);
    console_size(process, at, report);
    rlimits(process, at, report);
    if let Some(score) = process.oom_score_adj().filter(|score| !OOM_SCORE_ADJ.contains(score)) {
        report.fault(format!("{at}.oomScoreAdj"), format!("{score} is not between -1000 and 1000"));
    }
    scheduling::check(process, at, report);
}

fn user(user: &User, at: &str, report: &mut Report) {
    if user.uid() == NO_ID {
        report.fault(format!("{at}.uid"), "4294967295 is no user id");
    }
    if user.gid() == NO_ID {
        report.fault(format!("{at}.gid"), "4294967295 is no group id");
    }
    for (index, _) in user.additional_gids().iter().flatten().enumerate().filter(|(_, gid)| **gid == NO_ID) {
        report.fault(format!("{at}.additionalGids[{index}]"), "4294967295 is no group id");
    }
    if let Some(umask) = user.umask().filter(|umask| *umask > 0o777) {
        report.fault(format!("{at}.umask"), format!("{umask} is more than 511 (octal 777)"));
    }
    if user.username().is_some() {
        report.warn(format_args!("{at}.username"), super::FOREIGN);
    }
}

/// Without a terminal the size MUST be ignored, so then nothing is wrong with it.
fn console_size(process: &Process, at: &str, report: &mut Report) {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else { return };
    for (key, value) in [("height", size.height()), ("width", size.width())] {
        if u16::try_from(value).is_err() {
            report.fault(format!("{at}.consoleSize.{key}"), format!("{value} is more than 65535"));
        }
    }
}

fn rlimits(process: &Process, at: &str, report: &mut Report) {
    let mut first = HashMap::new();
    for (index, limit) in process.rlimits().iter().flatten().enumerate() {
        let name = limit.typ().to_string();
        if limit.soft() > limit.hard() {
            let message = format!("{} is more than the hard limit, {}", limit.soft(), limit.hard());
            report.fault(format!("{at}.rlimits[{index}].soft"), message);
        }
        if let Some(earlier) = first.get(&name) {
            let message = format!("{name:?} is listed already, at {at}.rlimits[{earlier}]");
            report.fault(format!("{at}.rlimits[{index}].type"), message);
        }
        first.entry(name).or_insert(index);
    }
}
