//! `--trace`: the engine's steps as a Chrome trace, one line of time for each half of the launch.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use orlop_core::{Half, StepEvent};
use serde::Serialize;

use crate::commands::write_atomically;
use crate::failure::Failure;

/// Hears of each step of a launch.
pub type Observer = Box<dyn FnMut(&StepEvent) + Send>;

/// Steps that are being collected for a file.
pub struct Trace {
    path: PathBuf,
    steps: Arc<Mutex<Vec<StepEvent>>>,
}

impl Trace {
    /// A trace without steps.
    pub fn to_file(path: PathBuf) -> Self {
        Self { path, steps: Arc::default() }
    }

    /// What collects the steps, for the engine.
    pub fn observer(&self) -> Observer {
        let steps = Arc::clone(&self.steps);
        Box::new(move |step| steps.lock().unwrap_or_else(PoisonError::into_inner).push(step.clone()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(self) -> Result<(), Failure> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = serde_json::to_vec(&document(&steps))
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", self.path.display())))?;
        text.push(b'\n');
        write_atomically(&self.path, &text)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    trace_events: Vec<Event<'a>>,
    display_time_unit: &'static str,
}

/// An event of the trace event format: `X` is a span, `M` names a line.  Times are in microseconds.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    args: Args<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Args<'a> {
    Name { name: &'a str },
    Step { step: usize },
}

const LINES: [(u32, &str); 2] = [(1, "parent"), (2, "child")];

fn document(steps: &[StepEvent]) -> Document<'_> {
    let origin = steps.iter().map(|step| step.start_ns).min().unwrap_or(0);
    let names = LINES.iter().map(|&(tid, name)| Event {
        name: "thread_name",
        ph: "M",
        pid: 1,
        tid,
        ts: None,
        dur: None,
        args: Args::Name { name },
    });
    let spans = steps.iter().map(|step| Event {
        name: &step.name,
        ph: "X",
        pid: 1,
        tid: match step.half {
            Half::Parent => LINES[0].0,
            Half::Child => LINES[1].0,
        },
        ts: Some(micros(step.start_ns - origin)),
        dur: Some(micros(step.end_ns.saturating_sub(step.start_ns))),
        args: Args::Step { step: step.index },
    });
    Document { trace_events: names.chain(spans).collect(), display_time_unit: "ns" }
}

#[allow(clippy::cast_precision_loss, reason = "a double holds the nanoseconds of 104 days exactly")]
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_a_line_for_each_half_and_starts_at_zero() {
        let step = |half, index, name: &str, start_ns, end_ns| StepEvent {
            half,
            index,
            name: name.to_owned(),
            start_ns,
            end_ns,
        };
        let steps =
            [step(Half::Parent, 0, "clone", 5_000, 6_500), step(Half::Child, 3, "mount /proc", 7_000, 7_250)];
        let value = serde_json::to_value(document(&steps)).unwrap();
        let events = value["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!(events[1]["args"]["name"], "child");
        assert_eq!(events[2]["ts"], 0.0);
        assert_eq!(events[2]["dur"], 1.5);
        assert_eq!(events[3]["name"], "mount /proc");
        assert_eq!(events[3]["tid"], 2);
        assert_eq!(events[3]["ts"], 2.0);
    }
}
