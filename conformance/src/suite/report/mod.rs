//! How findings are told: to programs (TAP, JUnit) and side by side to people (Markdown, HTML).

pub mod html;
pub mod junit;
pub mod markdown;
pub mod tap;

use std::process::Command;

use super::case::{Case, Level};
use super::options::Subject;
use super::runner::{Finding, Verdict};

/// What is known of one runtime.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The first line of what it says of its version.
    pub version: String,
    /// All tests, in the order of the list.
    pub findings: Vec<Finding>,
}

/// How many passed, failed and were skipped, of one level.
pub fn counts(findings: &[Finding], level: Level) -> [usize; 3] {
    let mut counts = [0; 3];
    for finding in findings.iter().filter(|finding| finding.case.level == level) {
        let at = match finding.verdict {
            Verdict::Pass => 0,
            Verdict::Fail(_) => 1,
            Verdict::Skip(_) => 2,
        };
        counts[at] += 1;
    }
    counts
}

/// The first line of a runtime's `--version`.
pub fn version(subject: &Subject) -> String {
    let output = Command::new(&subject.path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or(&subject.name).to_owned()
}

/// The rows of a matrix by the file of the specification, in the order of the list.
fn by_file(columns: &[Column]) -> Vec<(&'static str, Vec<usize>)> {
    let mut files: Vec<(&'static str, Vec<usize>)> = Vec::new();
    let first = columns.first().map_or(&[][..], |column| column.findings.as_slice());
    for (at, finding) in first.iter().enumerate() {
        let file = file_of(finding.case);
        match files.iter_mut().find(|(name, _)| *name == file) {
            Some((_, rows)) => rows.push(at),
            None => files.push((file, vec![at])),
        }
    }
    files
}

/// The file of the specification that a test is from.
pub fn file_of(case: &Case) -> &'static str {
    case.section.split('#').next().unwrap_or(case.section)
}

/// The text of an element or attribute of HTML or XML.  Characters that XML has no place for become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
pub mod samples {
    use std::time::Duration;

    use super::super::case::{Case, must, should};
    use super::super::runner::{Finding, Verdict};

    pub static PASSES: Case = must("runtime.md#state", "one-passes", "it is so", |_| ());
    pub static FAILS: Case = must("runtime.md#state", "two-fails", "a <b> & \"c\" | d", |_| ());
    pub static SHOULD_FAIL: Case = should("config.md#mounts", "three-should", "better so", |_| ());
    pub static SKIPS: Case = should("config.md#mounts", "four-skips", "perhaps", |_| ());

    fn finding(case: &'static Case, verdict: Verdict) -> Finding {
        Finding { case, verdict, time: Duration::from_millis(1500) }
    }

    /// One of each kind.
    pub fn findings() -> Vec<Finding> {
        vec![
            finding(&PASSES, Verdict::Pass),
            finding(&FAILS, Verdict::Fail("left <1>\nright \u{1b}2 | 'x'".to_owned())),
            finding(&SHOULD_FAIL, Verdict::Fail("not so".to_owned())),
            finding(&SKIPS, Verdict::Skip("needs root".to_owned())),
        ]
    }
}
