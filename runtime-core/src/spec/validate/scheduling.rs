//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`.

use crate::spec::fault::Report;
use crate::spec::lists::{MAX_CPU, parse_list};
use oci_spec::runtime::{LinuxSchedulerPolicy as Policy, Process, Scheduler};

/// sched(7): static priorities of the real-time policies.
const RT_PRIORITY: std::ops::RangeInclusive<i32> = 1..=99;

/// The kernel's `1 << DL_SCALE`: the shortest deadline runtime, in nanoseconds.
const MIN_DEADLINE_RUNTIME: u64 = 1024;

pub(super) fn check(process: &Process, at: &str, report: &mut Report) {
    if let Some(scheduler) = process.scheduler() {
        check_scheduler(scheduler, &format!("{at}.scheduler"), report);
    }
    if let Some(io) = process.io_priority().filter(|io| !(0..=7).contains(&io.priority())) {
        let message = format!("{} is not between 0 and 7", io.priority());
        report.fault(format!("{at}.ioPriority.priority"), message);
    }
    if let Some(affinity) = process.exec_cpu_affinity() {
        for (key, list) in [("initial", affinity.initial()), ("final", affinity.cpu_affinity_final())] {
            if let Some(Err(message)) = list.as_deref().map(|list| parse_list(list, MAX_CPU)) {
                report.fault(format!("{at}.execCPUAffinity.{key}"), message);
            }
        }
    }
}

fn check_scheduler(scheduler: &Scheduler, at: &str, report: &mut Report) {
    let policy = *scheduler.policy();
    if policy == Policy::SchedIso {
        report.fault(format!("{at}.policy"), "no version of Linux implements SCHED_ISO");
    }
    if let Some(nice) = scheduler.nice().filter(|nice| *nice != 0) {
        if !matches!(policy, Policy::SchedOther | Policy::SchedBatch) {
            report.fault(
                format!("{at}.nice"),
                format!("has no effect with {policy}, only with SCHED_OTHER and SCHED_BATCH"),
            );
        } else if !(-20..=19).contains(&nice) {
            report.fault(format!("{at}.nice"), format!("{nice} is not between -20 and 19"));
        }
    }
    let priority = scheduler.priority().unwrap_or(0);
    if matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        if !RT_PRIORITY.contains(&priority) {
            report.fault(
                format!("{at}.priority"),
                format!("{policy} needs a priority between 1 and 99, not {priority}"),
            );
        }
    } else if priority != 0 {
        report.fault(
            format!("{at}.priority"),
            format!("{policy} has no priority, only SCHED_FIFO and SCHED_RR have"),
        );
    }
    if policy == Policy::SchedDeadline {
        deadline(scheduler, at, report);
    } else {
        let times = [
            ("runtime", scheduler.runtime()),
            ("deadline", scheduler.deadline()),
            ("period", scheduler.period()),
        ];
        for (key, _) in times.into_iter().filter(|(_, time)| time.is_some_and(|time| time != 0)) {
            report.fault(
                format!("{at}.{key}"),
                format!("has no effect with {policy}, only with SCHED_DEADLINE"),
            );
        }
    }
}

/// sched_setattr(2): runtime <= deadline <= period, where a period of 0 stands for the deadline.
fn deadline(scheduler: &Scheduler, at: &str, report: &mut Report) {
    let runtime = scheduler.runtime().unwrap_or(0);
    let deadline = scheduler.deadline().unwrap_or(0);
    let period = scheduler.period().unwrap_or(0);
    if runtime < MIN_DEADLINE_RUNTIME {
        report.fault(
            format!("{at}.runtime"),
            format!("SCHED_DEADLINE needs at least {MIN_DEADLINE_RUNTIME} ns, not {runtime}"),
        );
    }
    if deadline == 0 {
        report.fault(format!("{at}.deadline"), "required with SCHED_DEADLINE");
    } else if deadline < runtime {
        report.fault(
            format!("{at}.deadline"),
            format!("{deadline} ns is shorter than the runtime, {runtime} ns"),
        );
    }
    if period != 0 && period < deadline {
        report.fault(
            format!("{at}.period"),
            format!("{period} ns is shorter than the deadline, {deadline} ns"),
        );
    }
    for (key, time) in [("deadline", deadline), ("period", period)] {
        if i64::try_from(time).is_err() {
            report.fault(
                format!("{at}.{key}"),
                format!("{time} ns is more than the kernel's 9223372036854775807"),
            );
        }
    }
}
