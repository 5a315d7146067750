//! The matrix as one page that needs nothing else: the reason of a failure is in the cell's title.

use std::fmt::Write;

use super::super::case::Level;
use super::super::runner::{Finding, Verdict};
use super::{Column, by_file, counts, escaped};

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Conformance of OCI runtimes</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em; } table { border-collapse: collapse; }
td, th { border: 1px solid #ccc; padding: 2px 8px; text-align: left; } th { background: #eee; }
.pass { background: #d8f0d8; } .fail { background: #f6c8c8; font-weight: bold; } .skip { background: #eee; color: #666; }
</style></head><body>
<h1>Conformance of OCI runtimes</h1>
<p>Tests of runtime-spec 1.3.0 by <code>conformance matrix</code>. Why a test failed or was skipped is shown where the pointer rests.</p>
";

fn cell(finding: Option<&Finding>) -> String {
    match finding.map(|finding| &finding.verdict) {
        Some(Verdict::Pass) => "<td class=\"pass\">pass</td>".to_owned(),
        Some(Verdict::Fail(reason)) => {
            format!("<td class=\"fail\" title=\"{}\">FAIL</td>", escaped(reason))
        }
        Some(Verdict::Skip(reason)) => {
            format!("<td class=\"skip\" title=\"{}\">skip</td>", escaped(reason))
        }
        None => "<td></td>".to_owned(),
    }
}

/// The whole page.
pub fn document(columns: &[Column]) -> String {
    let mut text = HEAD.to_owned();
    text += "<table><tr><th>runtime</th><th>version</th><th>MUST met, failed, skipped</th><th>SHOULD met, failed, skipped</th></tr>\n";
    for column in columns {
        let [must, should] = [Level::Must, Level::Should].map(|level| counts(&column.findings, level));
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}, {}, {}</td><td>{}, {}, {}</td></tr>",
            escaped(&column.name),
            escaped(&column.version),
            must[0],
            must[1],
            must[2],
            should[0],
            should[1],
            should[2]
        );
    }
    text += "</table>\n";
    let names: String = columns.iter().map(|column| format!("<th>{}</th>", escaped(&column.name))).collect();
    for (file, rows) in by_file(columns) {
        let _ = writeln!(
            text,
            "<h2>{file}</h2>\n<table><tr><th>test</th><th>section</th><th>level</th><th>demand</th>{names}</tr>"
        );
        for at in rows {
            let case = columns[0].findings[at].case;
            let cells: String = columns.iter().map(|column| cell(column.findings.get(at))).collect();
            let section = case.section.split_once('#').map_or("", |(_, section)| section);
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{section}</td><td>{}</td><td>{}</td>{cells}</tr>",
                case.name,
                case.level,
                escaped(case.demand)
            );
        }
        text += "</table>\n";
    }
    text + "</body></html>\n"
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_page() {
        let columns =
            [Column { name: "a&b".to_owned(), version: "1 <2>".to_owned(), findings: samples::findings() }];
        let page = document(&columns);
        assert!(page.contains("<td>a&amp;b</td><td>1 &lt;2&gt;</td><td>1, 1, 0</td><td>0, 1, 1</td>"));
        assert!(page.contains("<h2>config.md</h2>"));
        let row = "<tr><td>two-fails</td><td>state</td><td>MUST</td><td>a &lt;b&gt; &amp; &quot;c&quot; | d</td>\
                   <td class=\"fail\" title=\"left &lt;1&gt;\nright \u{fffd}2 | 'x'\">FAIL</td></tr>";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("<td class=\"skip\" title=\"needs root\">skip</td>"));
    }
}
