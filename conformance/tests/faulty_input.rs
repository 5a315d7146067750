//! Bad input: every faulty config of the engine's table through the command, then faulty ids and flags.  Each gives one
//! clear error and a non-zero exit, and leaves nothing.

use conformance::harness::{Kind, kind, runtime_path, skip};
use serde_json::{Map, Value};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The table that the loader's own test holds its words to: merge patches, each followed by its faults.
const TABLE: &str = include_str!("../../runtime-core/tests/spec_faults.txt");

struct Place {
    directory: PathBuf,
    base: Value,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("orlop-faulty-{name}-{}", std::process::id()));
        fs::create_dir_all(directory.join("rootfs")).unwrap();
        let made = Command::new(runtime_path()).arg("spec").current_dir(&directory).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let base = serde_json::from_slice(&fs::read(directory.join("config.json")).unwrap()).unwrap();
        Self { directory, base }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(runtime_path())
            .arg("--root")
            .arg(self.directory.join("state"))
            .args(args)
            .current_dir(&self.directory)
            .output()
            .unwrap()
    }

    /// One error, in one record of the log, and nothing made.
    fn refuses(&self, args: &[&str], case: &str, words: &[&str]) {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{case}: accepted");
        assert!(output.status.code().is_some(), "{case}: died of a signal\n{said}");
        assert!(output.stdout.is_empty(), "{case}: {:?}", String::from_utf8_lossy(&output.stdout));
        let errors = said.lines().filter(|line| line.contains("level=error")).count();
        assert_eq!(errors, 1, "{case}: not one error\n{said}");
        for word in words {
            // The log quotes its message as Go does.
            let quoted = format!("{word:?}");
            let quoted = quoted.trim_matches('"');
            assert!(said.contains(word) || said.contains(quoted), "{case}: {word} is not in\n{said}");
        }
        let left: Vec<_> =
            fs::read_dir(self.directory.join("state")).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{case}: {left:?} is left");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// RFC 7396.
fn patch(target: &mut Value, change: &Value) {
    let Value::Object(members) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let object = target.as_object_mut().expect("made one above");
    for (key, value) in members {
        if value.is_null() {
            object.remove(key);
        } else {
            patch(object.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn is_orlop() -> bool {
    let ours = kind() == Kind::Other;
    if !ours {
        skip("the words of the table are Orlop's");
    }
    ours
}

fn cases() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut cases: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(fault) => cases.last_mut().expect("a patch comes first").1.push(fault),
            None => cases.push((line, Vec::new())),
        }
    }
    cases
}

#[test]
fn every_faulty_config_is_one_error_that_leaves_nothing() {
    if !is_orlop() {
        return;
    }
    let place = Place::new("config");
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for (change, faults) in cases {
        let mut config = place.base.clone();
        patch(&mut config, &serde_json::from_str(change).unwrap());
        fs::write(place.directory.join("config.json"), config.to_string()).unwrap();
        place.refuses(&["run", "faulty"], change, &faults);
    }
}

#[test]
fn what_is_no_config_is_one_error_that_leaves_nothing() {
    if !is_orlop() {
        return;
    }
    let place = Place::new("file");
    let config = place.directory.join("config.json");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let huge = format!("{{\"ociVersion\":\"1.0.0\",\"x\":\"{}\"}}", "x".repeat(64 << 20));
    for (name, text) in
        [("empty", ""), ("cut", "{\"ociVersion\":"), ("deep", &deep), ("huge", &huge), ("no object", "[]")]
    {
        fs::write(&config, text).unwrap();
        place.refuses(&["run", "faulty"], name, &[]);
    }
    fs::remove_file(&config).unwrap();
    place.refuses(&["run", "faulty"], "missing", &["config.json"]);
    fs::create_dir(&config).unwrap();
    place.refuses(&["run", "faulty"], "a directory", &["config.json"]);
    place.refuses(&["run", "--bundle", "/nonexistent", "faulty"], "no bundle", &["/nonexistent"]);
}

#[test]
fn faulty_ids_and_flags_are_one_error_that_leaves_nothing() {
    if !is_orlop() {
        return;
    }
    let place = Place::new("flags");
    let long = "x".repeat(2000);
    for id in ["", ".", "..", "a/b", "../a", "a b", "ä", "a\nb", "a:b", "a*", "$x", &long] {
        place.refuses(&["create", id], &format!("id {id:?}"), &[]);
    }
    for args in [
        vec!["run"],
        vec!["run", "a", "b"],
        vec!["run", "--nonsense", "a"],
        vec!["run", "--bundle"],
        vec!["run", "--preserve-fds", "x", "a"],
        vec!["run", "--preserve-fds", "-1", "a"],
        vec!["run", "--preserve-fds", "900", "a"],
        vec!["run", "--detach=perhaps", "a"],
        vec!["kill"],
        vec!["kill", "nobody"],
        vec!["kill", "nobody", "SIGNONSENSE"],
        vec!["state", "nobody"],
        vec!["start", "nobody"],
        vec!["delete", "nobody"],
        vec!["exec", "nobody", "true"],
        vec!["list", "--format", "xml"],
        vec!["plan", "--format", "xml"],
    ] {
        place.refuses(&args, &format!("{args:?}"), &[]);
    }
}
