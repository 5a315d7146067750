//! What the specification demands of a runtime on Linux, sentence by sentence in our words, and which tests there are for it.
//!
//! Counted are the sentences with MUST, MUST NOT, REQUIRED, SHOULD, SHOULD NOT that oblige a runtime (or a config, for then the
//! runtime has to refuse the config: "Valid values"), and what the properties without such a word mean: create has to apply all of
//! them.  Not counted: MAY, other platforms, how documents are to be written, and what obliges kernels or engines.

mod config;
mod linux;
mod runtime;

use std::fmt::Write;

use super::case::Level;
use super::cases;

/// One demand.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// The file and section.
    section: &'static str,
    /// How much it is asked.
    level: Level,
    /// What it says, in our words.
    says: &'static str,
    /// Tests, by their name or, with a `*` at the end, by its beginning.
    tests: &'static [&'static str],
    /// Why there is no test, or none of a part.
    gap: &'static str,
}

const fn must(section: &'static str, says: &'static str, tests: &'static [&'static str]) -> Statement {
    Statement { section, level: Level::Must, says, tests, gap: "" }
}

const fn should(section: &'static str, says: &'static str, tests: &'static [&'static str]) -> Statement {
    Statement { section, level: Level::Should, says, tests, gap: "" }
}

impl Statement {
    /// The same, with what is not tested and why.
    const fn but(mut self, gap: &'static str) -> Self {
        self.gap = gap;
        self
    }

    #[cfg(test)]
    fn has(&self, case: &super::case::Case) -> bool {
        self.tests.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => case.name.starts_with(beginning),
            None => case.name == *name,
        })
    }
}

fn all() -> impl Iterator<Item = &'static Statement> {
    [runtime::STATEMENTS, config::STATEMENTS, linux::STATEMENTS].into_iter().flatten()
}

/// The section of `docs/conformance.md`.
pub fn coverage() -> String {
    let mut text = String::from("| | statements | tested | not tested |\n| --- | ---: | ---: | ---: |\n");
    for level in [Level::Must, Level::Should] {
        let of_level = || all().filter(|one| one.level == level);
        let tested = of_level().filter(|one| !one.tests.is_empty()).count();
        let count = of_level().count();
        let _ = writeln!(text, "| {level} | {count} | {tested} | {} |", count - tested);
    }
    let _ = writeln!(
        text,
        "\n{} tests. What a name with `*` stands for, `conformance run --list --filter NAME` tells.\n",
        cases::all().count()
    );
    text +=
        "### Not tested, or in part\n\n| section | level | statement | why |\n| --- | --- | --- | --- |\n";
    for one in all().filter(|one| !one.gap.is_empty()) {
        let _ = writeln!(text, "| {} | {} | {} | {} |", one.section, one.level, one.says, one.gap);
    }
    text += "\n### Tested\n\n| section | level | statement | tests |\n| --- | --- | --- | --- |\n";
    for one in all().filter(|one| !one.tests.is_empty()) {
        let tests = one.tests.join("`, `");
        let _ = writeln!(text, "| {} | {} | {} | `{tests}` |", one.section, one.level, one.says);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_named_by_a_statement() {
        let stray: Vec<_> =
            cases::all().filter(|case| !all().any(|one| one.has(case))).map(|case| case.name).collect();
        assert!(stray.is_empty(), "{stray:?}");
    }

    #[test]
    fn every_statement_names_tests_that_exist_or_says_why_not() {
        for one in all() {
            assert!(!one.tests.is_empty() || !one.gap.is_empty(), "{one:?}");
            for name in one.tests {
                let only = Statement { tests: std::slice::from_ref(name), ..*one };
                assert!(cases::all().any(|case| only.has(case)), "no test is called {name}");
            }
        }
    }

    #[test]
    fn the_coverage_counts() {
        let text = coverage();
        let musts = all().filter(|one| one.level == Level::Must).count();
        assert!(text.contains(&format!("| MUST | {musts} |")), "{text}");
    }
}
