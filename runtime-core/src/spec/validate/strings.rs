//! Rules about strings that hold everywhere.

use crate::spec::fault::{Report, member};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::path::Path;

/// A fault unless `path` is absolute.
pub(super) fn absolute(at: impl FnOnce() -> String, path: &Path, report: &mut Report) {
    if path.as_os_str().is_empty() {
        report.fault(at(), "must not be empty");
    } else if !path.is_absolute() {
        report.fault(at(), format!("{:?} must be an absolute path", path.display().to_string()));
    }
}

/// The faults of a list of `KEY=value` strings.
pub(super) fn environment(at: &str, env: Option<&[String]>, report: &mut Report) {
    for (index, entry) in env.unwrap_or_default().iter().enumerate() {
        match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() => {}
            Some(_) => {
                report.fault(format!("{at}[{index}]"), format!("{entry:?} has no name before the \"=\""));
            }
            None => {
                report.fault(format!("{at}[{index}]"), format!("{entry:?} is not of the form NAME=value"));
            }
        }
    }
}

/// The kernel ends a string at NUL, so one that holds NUL would mean something else than it says.
///
/// JSON can only write NUL as an escape; when the bytes have none, nothing needs to be walked.
pub(super) fn check_nul(spec: &Spec, bytes: &[u8], report: &mut Report) {
    const ESCAPE: &[u8] = b"u0000";
    // Most configs have no escape at all, and `contains` looks for a single byte many at a time.
    if !bytes.contains(&b'\\') || !bytes.windows(ESCAPE.len()).any(|window| window == ESCAPE) {
        return;
    }
    // Through JSON again: only what the types know is looked at, and unknown properties are ignored.
    if let Ok(root) = serde_json::to_value(spec) {
        walk(&root, "", report);
    }
}

fn walk(value: &Value, path: &str, report: &mut Report) {
    match value {
        Value::String(text) if text.contains('\0') => report.fault(path, "must not contain a NUL character"),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| walk(item, &format!("{path}[{index}]"), report));
        }
        Value::Object(members) => {
            for (key, value) in members {
                let at = member(path, key);
                if key.contains('\0') {
                    report.fault(at.as_str(), "must not contain a NUL character");
                }
                walk(value, &at, report);
            }
        }
        _ => {}
    }
}
