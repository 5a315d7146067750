//! The matrix as Markdown.

use std::fmt::Write;

use super::super::case::Level;
use super::super::runner::{Finding, Verdict};
use super::{Column, by_file, counts};

/// A cell of a table: one line, and no bar.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn verdict(finding: Option<&Finding>) -> &'static str {
    match finding.map(|finding| &finding.verdict) {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Fail(_)) => "**FAIL**",
        Some(Verdict::Skip(_)) => "skip",
        None => "",
    }
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

/// How many of each level each runtime meets.
pub fn totals(columns: &[Column]) -> String {
    let mut text =
        row(["runtime", "version", "MUST", "failed", "skipped", "SHOULD", "failed", "skipped"]
            .map(str::to_owned));
    text += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for column in columns {
        let numbers = [Level::Must, Level::Should].map(|level| counts(&column.findings, level));
        let numbers = numbers.as_flattened().iter().map(ToString::to_string);
        text += &row([cell(&column.name), cell(&column.version)].into_iter().chain(numbers));
    }
    text
}

/// The tests on which the runtimes differ or that one fails; then all, by the file of the specification.
pub fn document(columns: &[Column]) -> String {
    let mut text = totals(columns);
    for (file, rows) in by_file(columns) {
        let _ = write!(text, "\n### {file}\n\n");
        let names = columns.iter().map(|column| cell(&column.name));
        text += &row(["test", "section", "level"].map(str::to_owned).into_iter().chain(names));
        text += &format!("| --- | --- | --- |{}\n", " --- |".repeat(columns.len()));
        for at in rows {
            let case = columns[0].findings[at].case;
            let section = case.section.split_once('#').map_or("", |(_, section)| section);
            let cells = columns.iter().map(|column| verdict(column.findings.get(at)).to_owned());
            let head = [case.name.to_owned(), section.to_owned(), case.level.to_string()];
            text += &row(head.into_iter().chain(cells));
        }
    }
    let reasons = skips(columns);
    if !reasons.is_empty() {
        let _ = write!(text, "\nSkipped here:\n\n{reasons}");
    }
    text
}

/// Why tests were skipped, each reason once with its tests.
fn skips(columns: &[Column]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in columns.iter().flat_map(|column| &column.findings) {
        let Verdict::Skip(reason) = &finding.verdict else { continue };
        let name = finding.case.name;
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => reasons.push((reason, vec![name])),
        }
    }
    reasons.iter().fold(String::new(), |text, (reason, names)| {
        text + &format!("- {}: {}\n", reason.replace('\n', " "), names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_matrix() {
        let mut other = samples::findings();
        other[1].verdict = Verdict::Pass;
        let column =
            |name: &str, findings| Column { name: name.to_owned(), version: format!("{name} | 1"), findings };
        let expected = "\
| runtime | version | MUST | failed | skipped | SHOULD | failed | skipped |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| a | a \\| 1 | 1 | 1 | 0 | 0 | 1 | 1 |
| b | b \\| 1 | 2 | 0 | 0 | 0 | 1 | 1 |

### runtime.md

| test | section | level | a | b |
| --- | --- | --- | --- | --- |
| one-passes | state | MUST | pass | pass |
| two-fails | state | MUST | **FAIL** | pass |

### config.md

| test | section | level | a | b |
| --- | --- | --- | --- | --- |
| three-should | mounts | SHOULD | **FAIL** | **FAIL** |
| four-skips | mounts | SHOULD | skip | skip |

Skipped here:

- needs root: four-skips
";
        let columns = [column("a", samples::findings()), column("b", other)];
        assert_eq!(document(&columns), expected);
    }
}
