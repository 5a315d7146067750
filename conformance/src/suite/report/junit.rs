//! The XML that JUnit's readers take: one suite, one element for each test.

use std::fmt::Write;

use super::super::runner::{Finding, Verdict};
use super::escaped;

/// The whole document.
pub fn document(name: &str, findings: &[Finding]) -> String {
    let count = |kind: fn(&Verdict) -> bool| findings.iter().filter(|one| kind(&one.verdict)).count();
    let failures = count(|verdict| matches!(verdict, Verdict::Fail(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skip(_)));
    let time: f64 = findings.iter().map(|one| one.time.as_secs_f64()).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{time:.3}\">\n",
        escaped(name),
        findings.len()
    );
    for finding in findings {
        one(&mut text, finding);
    }
    text + "</testsuite>\n"
}

fn one(text: &mut String, finding: &Finding) {
    let case = finding.case;
    let _ = write!(
        text,
        "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(case.section),
        escaped(case.name),
        finding.time.as_secs_f64()
    );
    let _ = match &finding.verdict {
        Verdict::Pass => writeln!(text, "/>"),
        Verdict::Skip(reason) => {
            writeln!(text, ">\n    <skipped message=\"{}\"/>\n  </testcase>", escaped(reason))
        }
        Verdict::Fail(reason) => writeln!(
            text,
            ">\n    <failure type=\"{}\" message=\"{}\">{}</failure>\n  </testcase>",
            case.level,
            escaped(case.demand),
            escaped(reason)
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_document() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"run&amp;c\" tests=\"4\" failures=\"2\" errors=\"0\" skipped=\"1\" time=\"6.000\">
  <testcase classname=\"runtime.md#state\" name=\"one-passes\" time=\"1.500\"/>
  <testcase classname=\"runtime.md#state\" name=\"two-fails\" time=\"1.500\">
    <failure type=\"MUST\" message=\"a &lt;b&gt; &amp; &quot;c&quot; | d\">left &lt;1&gt;
right \u{fffd}2 | 'x'</failure>
  </testcase>
  <testcase classname=\"config.md#mounts\" name=\"three-should\" time=\"1.500\">
    <failure type=\"SHOULD\" message=\"better so\">not so</failure>
  </testcase>
  <testcase classname=\"config.md#mounts\" name=\"four-skips\" time=\"1.500\">
    <skipped message=\"needs root\"/>
  </testcase>
</testsuite>
";
        assert_eq!(document("run&c", &samples::findings()), expected);
    }
}
