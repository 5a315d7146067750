//! JSON as a tree, with the duplicate keys that `serde_json::Value` would silently drop.

use super::fault::member;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// More duplicates than this are not looked for: one is enough to refuse a config.
const MAX_DUPLICATES: usize = 32;

/// Parses `bytes`; beside the tree, the paths of the keys that occur more than once (the last one is kept).
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { at: &Crumb::Root, duplicates: &mut duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, duplicates))
}

/// The way from the root to a value.  It is put into words only for a duplicate: doing so for every value would
/// be quadratic in a hostile config's longest key.
enum Crumb<'a> {
    Root,
    Member(&'a Crumb<'a>, &'a str),
    Item(&'a Crumb<'a>, usize),
}

impl Crumb<'_> {
    fn path(&self) -> String {
        match self {
            Crumb::Root => String::new(),
            Crumb::Member(parent, key) => member(&parent.path(), key),
            Crumb::Item(parent, index) => format!("{}[{index}]", parent.path()),
        }
    }
}

struct Node<'a> {
    at: &'a Crumb<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let at = Crumb::Item(self.at, items.len());
            match seq.next_element_seed(Node { at: &at, duplicates: &mut *self.duplicates })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let at = Crumb::Member(self.at, &key);
            if members.contains_key(&key) && self.duplicates.len() < MAX_DUPLICATES {
                self.duplicates.push(at.path());
            }
            let value = map.next_value_seed(Node { at: &at, duplicates: &mut *self.duplicates })?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_what_serde_json_reads() {
        let text = br#"{"a":[1,-2,2.5,null,true,"x\u0000y"],"b":{"c":{}},"d":18446744073709551615}"#;
        let (value, duplicates) = parse(text).unwrap();
        assert_eq!(value, serde_json::from_slice::<Value>(text).unwrap());
        assert!(duplicates.is_empty());
    }

    #[test]
    fn duplicates_are_named_and_the_last_is_kept() {
        let (value, duplicates) = parse(br#"{"a":1,"b":[{"c":1,"c":2}],"a":3}"#).unwrap();
        assert_eq!(duplicates, ["b[0].c", "a"]);
        assert_eq!(value["a"], 3);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).unwrap_err().to_string().starts_with("recursion limit exceeded"));
    }
}
