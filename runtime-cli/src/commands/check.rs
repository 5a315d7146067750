//! `orlop check`: what this host offers and lacks.

use std::fmt::Write as _;

use orlop_core::doctor::{self, Finding, Verdict};

use crate::args::Matches;
use crate::failure::Failure;
use crate::output;

/// The status when no container can run here.
const CANNOT: u8 = 1;

pub fn run(matches: &Matches) -> Result<u8, Failure> {
    let format = matches.choice("format", &["text", "json"])?;
    let findings = doctor::check();
    let good = doctor::can_run(&findings);
    let text = if format == "json" { json(&findings, good)? } else { words(&findings, good) };
    output::print(&text)?;
    Ok(if good { 0 } else { CANNOT })
}

fn json(findings: &[Finding], good: bool) -> Result<String, Failure> {
    let document = serde_json::json!({ "canRun": good, "findings": findings });
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n").map_err(|error| Failure::new(format!("cannot write the findings: {error}")))
}

fn words(findings: &[Finding], good: bool) -> String {
    let width = findings.iter().map(|finding| finding.feature.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Lacking => "lacking",
            Verdict::Missing => "MISSING",
        };
        let _ = writeln!(text, "{verdict:8} {:width$}  {}", finding.feature, finding.found);
        if let Some(advice) = finding.advice {
            let _ = writeln!(text, "{:8} {:width$}  -> {advice}", "", "");
        }
    }
    text.push_str(if good {
        "\nContainers can run here.\n"
    } else {
        "\nNo container can run here: see MISSING.\n"
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_json_say_the_same() {
        let finding = |verdict, advice| Finding { feature: "x", verdict, found: "f".into(), advice };
        let findings = [finding(Verdict::Ok, None), finding(Verdict::Missing, Some("do it"))];
        let text = words(&findings, false);
        assert_eq!(
            text,
            "ok       x  f\nMISSING  x  f\n            -> do it\n\nNo container can run here: see MISSING.\n"
        );
        let json: serde_json::Value = serde_json::from_str(&json(&findings, false).unwrap()).unwrap();
        assert_eq!(json["canRun"], false);
        assert_eq!(
            json["findings"][1],
            serde_json::json!({ "feature": "x", "verdict": "missing", "found": "f", "advice": "do it" })
        );
    }
}
