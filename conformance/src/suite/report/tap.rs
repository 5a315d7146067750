//! The Test Anything Protocol, version 14.

use std::fmt::Write;

use super::super::case::Level;
use super::super::options::Subject;
use super::super::runner::{Finding, Verdict};

/// What comes before the first test.
pub fn head(count: usize, subject: &Subject, version: &str) -> String {
    format!("TAP version 14\n1..{count}\n# {}: {version}\n", subject.name)
}

/// A description must have no number sign that is not escaped, nor a line's end.
fn plain(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace('\n', " ")
}

/// The line of one test, with a block of YAML where it failed.  A SHOULD that is not met is marked `TODO`: a consumer counts it as
/// known, not as a failure.
pub fn point(number: usize, finding: &Finding) -> String {
    let case = finding.case;
    let name = plain(&format!("{} ({} {})", case.name, case.level, case.section));
    match &finding.verdict {
        Verdict::Pass => format!("ok {number} - {name}\n"),
        Verdict::Skip(reason) => format!("ok {number} - {name} # SKIP {}\n", plain(reason)),
        Verdict::Fail(reason) => {
            let todo = if case.level == Level::Should { " # TODO a SHOULD, not a MUST" } else { "" };
            let mut text = format!("not ok {number} - {name}{todo}\n  ---\n");
            // Strings of JSON are strings of YAML.
            for (key, value) in [("demand", case.demand), ("message", reason)] {
                let _ = writeln!(text, "  {key}: {}", serde_json::Value::from(value));
            }
            text + "  ...\n"
        }
    }
}

/// Comments that count.
pub fn summary(findings: &[Finding]) -> String {
    let mut text = String::new();
    for level in [Level::Must, Level::Should] {
        let [passed, failed, skipped] = super::counts(findings, level);
        let _ = writeln!(text, "# {level}: {passed} passed, {failed} failed, {skipped} skipped");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_line_for_each() {
        let findings = samples::findings();
        let text: String = findings.iter().enumerate().map(|(at, one)| point(at + 1, one)).collect();
        let expected = r#"ok 1 - one-passes (MUST runtime.md\#state)
not ok 2 - two-fails (MUST runtime.md\#state)
  ---
  demand: "a <b> & \"c\" | d"
  message: "left <1>\nright \u001b2 | 'x'"
  ...
not ok 3 - three-should (SHOULD config.md\#mounts) # TODO a SHOULD, not a MUST
  ---
  demand: "better so"
  message: "not so"
  ...
ok 4 - four-skips (SHOULD config.md\#mounts) # SKIP needs root
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn the_head_has_the_plan() {
        let subject = Subject { name: "x".to_owned(), path: "/x".into(), global: Vec::new() };
        assert_eq!(head(4, &subject, "x 1.0"), "TAP version 14\n1..4\n# x: x 1.0\n");
    }

    #[test]
    fn the_summary_counts_by_level() {
        let text = summary(&samples::findings());
        assert_eq!(text, "# MUST: 1 passed, 1 failed, 0 skipped\n# SHOULD: 0 passed, 1 failed, 1 skipped\n");
    }
}
