//! `linux.resources` by themselves, as an update brings them.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use super::fault::{Report, SpecError};
use super::{load, validate};

/// Resources that passed every check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedResources {
    /// The resources.
    pub resources: LinuxResources,
    /// Limits above `i64::MAX`, as [`super::Extras`] has them.
    pub hugepage_limits: BTreeMap<usize, u64>,
    /// What is accepted but will not do what its author may think.
    pub warnings: Vec<String>,
}

/// Loads resources from JSON of the form of config.json's `linux.resources`.
///
/// # Errors
/// All faults at once, each with its path in a config.json.
pub fn load_resources(bytes: &[u8]) -> Result<LoadedResources, SpecError> {
    let no_json = |why: String| SpecError::whole(format!("resources: {why}"));
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| no_json(format!("not valid JSON: {error}")))?;
    if !value.is_object() {
        return Err(no_json("must be a JSON object".to_owned()));
    }
    // The loader knows all that can be wrong with them, and what to mend; the rest of its config is sound.
    let around = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "/" },
        "process": { "cwd": "/", "args": ["/"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "mount" }], "resources": null },
    });
    let text = String::from_utf8_lossy(bytes);
    let config = around.to_string().replacen("\"resources\":null", &format!("\"resources\":{text}"), 1);
    let loaded = load(config.as_bytes()).map_err(SpecError::of_resources)?;
    let resources = loaded.spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    Ok(LoadedResources {
        resources: resources.unwrap_or_default(),
        hugepage_limits: loaded.extras.hugepage_limits,
        warnings: loaded.warnings,
    })
}

/// Checks resources that a program has put together.
///
/// # Errors
/// All faults at once.
pub fn check_resources(resources: &LinuxResources) -> Result<(), SpecError> {
    let mut report = Report::default();
    validate::resources::check(resources, &mut report);
    if report.faults.is_empty() { Ok(()) } else { Err(SpecError::new(report.faults).of_resources()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_and_nothing_else() {
        let loaded = load_resources(br#" {"memory":{"limit":64},"pids":{"limit":null},"x":1} "#).unwrap();
        assert_eq!(loaded.resources.memory().and_then(|memory| memory.limit()), Some(64));
        assert!(loaded.resources.cpu().is_none() && loaded.resources.devices().is_none());
        let large = br#"{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}"#;
        assert_eq!(load_resources(large).unwrap().hugepage_limits, BTreeMap::from([(0, u64::MAX)]));
        assert_eq!(load_resources(b"{}").unwrap().resources.memory(), &None);
    }

    #[test]
    fn all_faults_with_their_places() {
        let error = load_resources(br#"{"memory":{"limit":"a"},"cpu":{"idle":7},"pids":{"limit":-2}}"#);
        let error = error.unwrap_err();
        let places: Vec<&str> = error.faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            places,
            ["linux.resources.memory.limit", "linux.resources.cpu.idle", "linux.resources.pids.limit"]
        );
        for (text, expected) in [
            ("", "resources: not valid JSON: EOF"),
            ("[]", "resources: must be a JSON object"),
            ("{}}", "resources: not valid JSON: trailing"),
            ("{\"memory\":{\"limit\":1,\"limit\":2}}", "occurs more than once"),
        ] {
            let error = load_resources(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
