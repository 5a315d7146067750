//! A table of faulty configs: each line of `spec_faults.txt` that begins with `{` is a merge patch (RFC 7396) to a
//! sound config, and the indented lines below it are the faults to be reported, all of them and in this order.

use orlop_core::spec::{example, load};
use serde_json::{Map, Value};

/// RFC 7396: members are merged, null removes, anything else replaces.
fn patch(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in members {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            patch_member(target, key, value);
        }
    }
}

fn patch_member(target: &mut Value, key: &str, value: &Value) {
    let member = target.as_object_mut().unwrap().entry(key.to_owned()).or_insert(Value::Null);
    patch(member, value);
}

fn faults(changes: &str) -> Vec<String> {
    let mut config = serde_json::to_value(example(None)).unwrap();
    patch(&mut config, &serde_json::from_str(changes).unwrap_or_else(|error| panic!("{changes}: {error}")));
    match load(config.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_fault_is_reported_with_its_path_and_words() {
    let table = include_str!("spec_faults.txt");
    let mut cases: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(fault) => cases.last_mut().unwrap().1.push(fault),
            None => cases.push((line, Vec::new())),
        }
    }
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut wrong = String::new();
    for (changes, expected) in cases {
        let got = faults(changes);
        if expected.is_empty() || got != expected {
            wrong += &format!("{changes}\n");
            got.iter().for_each(|fault| wrong += &format!("    {fault}\n"));
        }
    }
    assert!(wrong.is_empty(), "these differ from spec_faults.txt, here is what was reported:\n{wrong}");
}

#[test]
fn the_config_that_is_patched_has_no_fault() {
    assert_eq!(faults("{}"), [""; 0]);
}
