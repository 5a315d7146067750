//! Faults, and the collector that gathers them.

use std::fmt;

/// One fault of a config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a JSON path such as `linux.namespaces[3].path`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// As text, no more faults than this are listed.
const MAX_SHOWN: usize = 100;

/// All faults of a config.json, or of resources that came alone: first those of its form (missing, of the wrong type), then those
/// of its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Never empty.
    pub faults: Vec<Fault>,
    /// What they are of, in words.
    of: &'static str,
}

impl SpecError {
    /// An error about the file as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self::new(vec![Fault { path: String::new(), message: message.into() }])
    }

    /// The faults of a config.json.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self { faults, of: "config.json" }
    }

    /// The same faults, of resources that came alone.
    pub(crate) fn of_resources(self) -> Self {
        Self { of: "resources", ..self }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] if one.path.is_empty() => f.write_str(&one.message),
            [one] => write!(f, "invalid {}: {one}", self.of),
            many => {
                write!(f, "invalid {}: {} faults:", self.of, many.len())?;
                many.iter().take(MAX_SHOWN).try_for_each(|fault| write!(f, "\n  {fault}"))?;
                match many.len().checked_sub(MAX_SHOWN) {
                    None | Some(0) => Ok(()),
                    Some(rest) => write!(f, "\n  and {rest} more"),
                }
            }
        }
    }
}

impl std::error::Error for SpecError {}

/// Gathers faults and warnings while a config is checked, and while it is compiled.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<String>,
}

impl Report {
    pub(crate) fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), message: printable(message.into()) });
    }

    pub(crate) fn warn(&mut self, path: impl fmt::Display, message: impl fmt::Display) {
        self.warnings.push(printable(format!("{path}: {message}")));
    }
}

/// Control characters as escapes: no word of a config may forge a line of the log, or speak to a terminal.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// `parent.key`, or `parent["key"]` where the key could be mistaken for several.
pub(crate) fn member(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_one_line_and_several_are_a_list() {
        let mut report = Report::default();
        report.fault("root.path", "required");
        let one = SpecError::new(report.faults.clone());
        assert_eq!(one.to_string(), "invalid config.json: root.path: required");
        report.fault("process.cwd", "required");
        let two = SpecError::new(report.faults);
        assert_eq!(
            two.to_string(),
            "invalid config.json: 2 faults:\n  root.path: required\n  process.cwd: required"
        );
        assert_eq!(SpecError::whole("cannot read x").to_string(), "cannot read x");
    }

    #[test]
    fn a_long_list_is_cut() {
        let fault = Fault { path: "a".into(), message: "b".into() };
        let text = |count| SpecError::new(vec![fault.clone(); count]).to_string();
        assert_eq!(text(100).lines().count(), 101);
        assert!(text(100).ends_with("\n  a: b"));
        assert!(text(103).ends_with("\n  a: b\n  and 3 more"));
    }

    #[test]
    fn a_key_with_dots_is_quoted() {
        assert_eq!(member("", "root"), "root");
        assert_eq!(member("linux", "sysctl"), "linux.sysctl");
        assert_eq!(member("linux.sysctl", "net.core.x"), "linux.sysctl[\"net.core.x\"]");
        assert_eq!(member("annotations", ""), "annotations[\"\"]");
    }

    #[test]
    fn a_config_forges_no_line() {
        let mut report = Report::default();
        report.warn("mounts[0].options", "x\n\u{1b}[2Jé: no effect");
        report.fault("mounts[0]", "y\r\u{9b}");
        assert_eq!(report.warnings, ["mounts[0].options: x\\n\\u{1b}[2Jé: no effect"]);
        assert_eq!(report.faults[0].message, "y\\r\\u{9b}");
    }
}
