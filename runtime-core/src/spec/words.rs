//! serde's type errors in words of JSON and the spec.

/// Longer values are cut: the path tells which value it is.
const MAX_SHOWN: usize = 64;

/// `message` as serde worded it, reworded; as it is when its form is not known.
pub(super) fn reword(message: &str) -> String {
    if message.starts_with("invalid length ") && message.contains("expected struct ") {
        // serde reads an array as an object's values in order, as far as they go.
        return "must be an object, not an array".into();
    }
    variant(message).or_else(|| mismatch(message)).unwrap_or_else(|| message.to_owned())
}

/// ``unknown variant `x`, expected one of `a`, `b` ``
fn variant(message: &str) -> Option<String> {
    let (value, expected) = message.strip_prefix("unknown variant `")?.rsplit_once("`, expected ")?;
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).map(spelling).collect();
    Some(format!("{:?} is not one of {}", cut(value), names.join(", ")))
}

/// The spec's spelling of the two names that `oci-spec` derives differently.
fn spelling(name: &str) -> &str {
    match name {
        "SCHED_RESET_ON_FORK" => "SCHED_FLAG_RESET_ON_FORK",
        "SCHED_FLAG_D_L_OVERRUN" => "SCHED_FLAG_DL_OVERRUN",
        other => other,
    }
}

/// `invalid type: integer 5, expected a string`
fn mismatch(message: &str) -> Option<String> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (got, expected) = rest.rsplit_once(", expected ")?;
    Some(format!("must be {}, not {}", expectation(expected), received(got)))
}

fn expectation(expected: &str) -> String {
    let range = |low: &dyn std::fmt::Display, high: &dyn std::fmt::Display| {
        format!("an integer from {low} to {high}")
    };
    match expected {
        "u16" => range(&u16::MIN, &u16::MAX),
        "u32" => range(&u32::MIN, &u32::MAX),
        "u64" | "usize" => range(&u64::MIN, &u64::MAX),
        "i32" => range(&i32::MIN, &i32::MAX),
        "i64" => range(&i64::MIN, &i64::MAX),
        "a sequence" => "an array".into(),
        "a map" => "an object".into(),
        "path string" | "string or map" | "variant identifier" => "a string".into(),
        other if other.starts_with("struct ") => "an object".into(),
        other => other.into(),
    }
}

fn received(got: &str) -> String {
    match got {
        "map" => "an object".into(),
        "sequence" => "an array".into(),
        "unit value" => "null".into(),
        other => {
            let quoted = other.split_once('`').and_then(|(_, value)| value.strip_suffix('`'));
            cut(quoted.or_else(|| other.strip_prefix("string ")).unwrap_or(other))
        }
    }
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::reword;

    #[test]
    fn serde_words_become_ours() {
        for (serde, ours) in [
            ("unknown variant `x`, expected `LINUX` or `LINUX32`", "\"x\" is not one of LINUX, LINUX32"),
            ("unknown variant `x`, expected one of `a`, `b`, `c`", "\"x\" is not one of a, b, c"),
            ("invalid type: integer `5`, expected a string", "must be a string, not 5"),
            (
                "invalid type: string \"a, expected b\", expected u32",
                "must be an integer from 0 to 4294967295, not \"a, expected b\"",
            ),
            ("invalid type: map, expected a sequence", "must be an array, not an object"),
            (
                "invalid type: floating point `1.5`, expected i64",
                "must be an integer from -9223372036854775808 to 9223372036854775807, not 1.5",
            ),
            ("invalid type: null, expected struct Hook", "must be an object, not null"),
            ("invalid length 2, expected struct Process with 16 elements", "must be an object, not an array"),
            ("invalid length 3, expected fewer", "invalid length 3, expected fewer"),
        ] {
            assert_eq!(reword(serde), ours);
        }
        let long = format!("invalid type: string {:?}, expected a boolean", "x".repeat(1000));
        assert_eq!(reword(&long).chars().count(), "must be a boolean, not ".len() + 65);
    }
}
