//! Whatever the bytes, `load` answers and does not panic.

use orlop_core::spec::{example, load};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON value of modest size.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![".{0,8}", Just("/".to_owned()), Just("a\0b".to_owned()), Just(String::new())]
            .prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-zA-Z]{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Every property of the spec, so that replacing any of them reaches every check.
fn full() -> Value {
    let mut config = serde_json::to_value(example(Some((0, 0)))).unwrap();
    let more: Value = serde_json::from_str(include_str!("spec_full.json")).unwrap();
    merge(&mut config, more);
    config
}

fn merge(target: &mut Value, more: Value) {
    match (target, more) {
        (Value::Object(target), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(target.entry(key).or_insert(Value::Null), value));
        }
        (target, more) => *target = more,
    }
}

/// The number of values in a tree, the root included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

/// The `index`th value of the tree, counted in depth.
fn nth<'a>(value: &'a mut Value, index: &mut usize) -> Option<&'a mut Value> {
    if *index == 0 {
        return Some(value);
    }
    *index -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, index)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, index)),
        _ => None,
    }
}

#[test]
fn the_full_config_is_sound() {
    let loaded = load(full().to_string().as_bytes()).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
}

/// Each property made each kind of value: never a panic, and never a fault without words.
#[test]
fn each_value_replaced_by_each_kind() {
    let kinds = [
        Value::Null,
        Value::from(-1),
        Value::from(u64::MAX),
        Value::from("\0"),
        Value::Array(vec![Value::from(1)]),
        Value::Object(Map::new()),
    ];
    let full = full();
    for index in 0..count(&full) {
        for kind in &kinds {
            let mut config = full.clone();
            *nth(&mut config, &mut index.clone()).unwrap() = kind.clone();
            if let Err(error) = load(config.to_string().as_bytes()) {
                assert!(!error.faults.is_empty());
                assert!(error.faults.iter().all(|fault| !fault.message.is_empty()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = load(&bytes);
    }

    #[test]
    fn arbitrary_json(value in any_json()) {
        let _ = load(value.to_string().as_bytes());
    }

    #[test]
    fn a_config_with_arbitrary_parts(changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4)) {
        let mut config = full();
        for (place, value) in changes {
            let mut index = place.index(count(&config));
            *nth(&mut config, &mut index).unwrap() = value;
        }
        let _ = load(config.to_string().as_bytes());
    }

    #[test]
    fn a_truncated_config_is_never_accepted(cut in any::<prop::sample::Index>()) {
        let text = full().to_string();
        prop_assert!(load(&text.as_bytes()[..cut.index(text.len())]).is_err());
    }

    #[test]
    fn a_flipped_byte(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = full().to_string().into_bytes();
        let index = place.index(bytes.len());
        bytes[index] = byte;
        let _ = load(&bytes);
    }
}
