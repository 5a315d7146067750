//! Properties of the unit that annotations ask for: `org.systemd.property.NAME`.

use super::value::Value;
use super::variant;
use crate::spec::Fault;

/// What the names of such annotations begin with.
const PREFIX: &str = "org.systemd.property.";
/// Which unit it is, and what is in it, is not for annotations to say.
const OURS: [&str; 4] = ["PIDs", "PIDFDs", "Slice", "Delegate"];

/// The properties, and everything that is wrong with them.
pub(super) fn properties<'a>(
    annotations: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<(String, Value)>, Vec<Fault>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        match property(name, text) {
            Ok(property) => found.push(property),
            Err(message) => faults.push(Fault { path: format!("annotations.{key}"), message }),
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn property(name: &str, text: &str) -> Result<(String, Value), String> {
    if name.len() < 3 || !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is no property of a unit"));
    }
    if OURS.contains(&name) {
        return Err(format!("{name} is set by the runtime"));
    }
    let value = variant::parse(text)?;
    // Unit files have seconds, as TimeoutStopSec; the bus has microseconds.
    match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
        Some(stem) => Ok((format!("{stem}USec"), microseconds(&value)?)),
        None => Ok((name.to_owned(), value)),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked before
fn microseconds(seconds: &Value) -> Result<Value, String> {
    let whole = match *seconds {
        Value::Byte(n) => Some(u64::from(n)),
        Value::U16(n) => Some(u64::from(n)),
        Value::U32(n) => Some(u64::from(n)),
        Value::U64(n) => Some(n),
        Value::I16(n) => u64::try_from(n).ok(),
        Value::I32(n) => u64::try_from(n).ok(),
        Value::I64(n) => u64::try_from(n).ok(),
        Value::F64(n) if (0.0..1e12).contains(&n) => return Ok(Value::U64((n * 1e6) as u64)),
        _ => None,
    };
    let microseconds = whole.and_then(|n| n.checked_mul(1_000_000));
    microseconds.map(Value::U64).ok_or_else(|| "it is no number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_and_seconds() {
        let annotations: BTreeMap<String, String> = [
            ("org.systemd.property.TimeoutStopSec", "uint32 3"),
            ("org.systemd.property.TimeoutStartUSec", "uint64 7"),
            ("org.systemd.property.RuntimeMaxSec", "1.5"),
            ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
            ("org.example.other", "["),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let expected = [
            ("CollectMode", Value::text("inactive-or-failed")),
            ("RuntimeMaxUSec", Value::U64(1_500_000)),
            ("TimeoutStartUSec", Value::U64(7)),
            ("TimeoutStopUSec", Value::U64(3_000_000)),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        assert_eq!(properties(annotations.iter()), Ok(expected.to_vec()));
    }

    #[test]
    fn all_faults_at_once() {
        let annotations: BTreeMap<String, String> =
            ["PIDs", "a b", "xy", "MemoryMax", "TimeoutSec", "SomeSec", "Slice"]
                .map(|name| (format!("{PREFIX}{name}"), "'x'".to_owned()))
                .into();
        let faults = properties(annotations.iter()).unwrap_err();
        // MemoryMax of a wrong type is for systemd to refuse.
        assert_eq!(faults.len(), 6, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.path.starts_with("annotations.org.systemd.property.")));
    }
}
