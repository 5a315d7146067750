//! A plan for people, and for other programs: `orlop plan`.

use super::{ChildStep, Hook, HookKind, HostStep, Plan, hooks, render_child, render_host, seccomp, words};
use crate::seccomp::Filter;
use serde_json::{Value, json};
use std::ffi::CString;
use std::fmt::Write as _;

/// A step in words: its name, and what it does with what.
pub(super) struct Words {
    pub(super) name: &'static str,
    pub(super) what: String,
}

/// A step without particulars.
pub(super) fn plain(name: &'static str) -> Words {
    with(name, "")
}

pub(super) fn with(name: &'static str, what: impl Into<String>) -> Words {
    Words { name, what: what.into() }
}

/// One step of either half.
struct Line<'a> {
    half: &'static str,
    number: usize,
    words: Words,
    origin: &'a str,
}

impl Plan {
    /// The plan as text: a line for each step, with its number, its half, what it does, and the place of the configuration
    /// that asks for it.
    #[must_use]
    pub fn render_text(&self) -> String {
        let mut text = String::new();
        for line in self.lines() {
            let Words { name, what } = &line.words;
            let space = if what.is_empty() { "" } else { " " };
            let _ =
                writeln!(text, "{:>5} {:<3} {name}{space}{what}  # {}", line.half, line.number, line.origin);
        }
        for line in self.filter().map(Filter::describe).unwrap_or_default() {
            let _ = writeln!(text, "filter    {line}");
        }
        for (kind, hooks) in &self.hooks_later {
            let _ = writeln!(
                text,
                "later     Hooks {}  # hooks.{}",
                hook_words(*kind, hooks),
                hooks::name(*kind)
            );
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    /// The plan as JSON: `{"clone": …, "host": […], "child": […], "program": …, "hooksLater": […], "warnings": […]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let half = |half: &str| -> Vec<Value> {
            self.lines().filter(|line| line.half == half).map(|line| line.to_json()).collect()
        };
        let stage = self.clone.stage.as_ref().map(|joins| {
            joins.iter().map(|(slot, kind)| json!({"slot": slot, "type": kind.name()})).collect::<Vec<_>>()
        });
        json!({
            "clone": {
                "newNamespaces": words::namespaces(self.clone.flags),
                "stage": stage,
                "intoCgroup": self.clone.into_cgroup,
            },
            "host": half("host"),
            "child": half("child"),
            "program": {
                "name": self.program.name,
                "candidates": strings(self.program.candidates.iter().map(CString::as_bytes)),
                "args": strings(self.program.args.strings()),
                "env": strings(self.program.env.strings()),
            },
            "seccomp": self.filter().map(|filter| filter_json(filter, self)),
            "hooksLater": self.hooks_later.iter().map(|(kind, hooks)| {
                json!({"moment": hooks::name(*kind), "hooks": hook_words(*kind, hooks)})
            }).collect::<Vec<_>>(),
            "warnings": self.warnings,
        })
    }

    /// The seccomp filter, if one is loaded.
    pub(crate) fn filter(&self) -> Option<&Filter> {
        self.child.iter().rev().find_map(|planned| match &planned.step {
            ChildStep::Seccomp(filter) => Some(filter),
            _ => None,
        })
    }

    /// Whether the container's groups are made by systemd, in this launch.
    pub(crate) fn has_unit(&self) -> bool {
        self.host.iter().any(|planned| matches!(planned.step, HostStep::StartUnit { .. }))
    }

    /// Whether its memory is limited.
    pub(crate) fn limits_memory(&self) -> bool {
        let limits = |step: &HostStep| matches!(step, HostStep::CgroupLimit(l) if l.origin() == "linux.resources.memory.limit");
        self.host.iter().any(|planned| limits(&planned.step))
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let host = self.host.iter().enumerate().map(|(number, planned)| Line {
            half: "host",
            number,
            words: render_host::describe(&planned.step, self),
            origin: &planned.origin,
        });
        let child = self.child.iter().enumerate().map(|(number, planned)| Line {
            half: "child",
            number,
            words: render_child::describe(&planned.step, self),
            origin: &planned.origin,
        });
        host.chain(child)
    }
}

impl Line<'_> {
    fn to_json(&self) -> Value {
        json!({"number": self.number, "step": self.words.name, "what": self.words.what, "origin": self.origin})
    }
}

/// The filter: its size, its flags, and in lines what it does.
fn filter_json(filter: &Filter, plan: &Plan) -> Value {
    json!({
        "instructions": filter.program.len(),
        "flags": seccomp::flag_names(filter.flags),
        "filter": filter.describe(),
        "unknown": filter.unknown,
        "listenerPath": plan.listener.as_ref().map(|listener| &listener.path),
    })
}

fn strings<'a>(list: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    list.map(|s| String::from_utf8_lossy(s).into_owned()).collect()
}

/// A moment's hooks: `poststop /a, /b (5 s)`.
pub(super) fn hook_words(kind: HookKind, list: &[Hook]) -> String {
    let word = |hook: &Hook| {
        let timeout = hook.timeout.map(|seconds| format!(" ({seconds} s)")).unwrap_or_default();
        format!("{}{timeout}", words::text(&hook.path))
    };
    format!("{} {}", hooks::name(kind), list.iter().map(word).collect::<Vec<_>>().join(", "))
}
