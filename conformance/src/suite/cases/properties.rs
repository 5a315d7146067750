//! config.md: the version, annotations, unknown properties, values that make no sense.

use serde_json::{Value, json};

use super::super::case::{Case, must, should};
use super::super::trial::Trial;

fn runs(t: &mut Trial) {
    assert_eq!(t.says(&["echo", "well"]), "well");
}

fn version(t: &mut Trial) {
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        t.set("/ociVersion", json!(version));
        t.create().ok();
        t.kill("KILL").ok();
        t.end();
        t.delete(&[]).ok();
    }
}

fn no_version(t: &mut Trial) {
    t.unset("/ociVersion");
    t.refused();
}

fn version_is_no_semver(t: &mut Trial) {
    t.set("/ociVersion", json!("one"));
    t.refused();
}

fn version_of_another_major(t: &mut Trial) {
    t.set("/ociVersion", json!("2.0.0"));
    t.refused();
}

fn unknown_at_the_top(t: &mut Trial) {
    t.set("/org.example.unknown", json!({ "a": [1, "b", null] }));
    runs(t);
}

fn unknown_below(t: &mut Trial) {
    for place in ["/process", "/root", "/linux", "/process/user", "/linux/resources"] {
        t.set(&format!("{place}/orgExampleUnknown"), json!(["x"]));
    }
    t.set("/mounts/0/orgExampleUnknown", json!(true));
    runs(t);
}

fn other_platforms(t: &mut Trial) {
    t.set("/process/commandLine", json!("for Windows"));
    t.set("/solaris", json!({ "milestone": "svc:/milestone/container:default" }));
    runs(t);
}

fn unknown_annotation(t: &mut Trial) {
    t.set("/annotations", json!({ "com.example.unknown": "1", "org.opencontainers.unknown.key": "2" }));
    runs(t);
}

fn annotation_without_key(t: &mut Trial) {
    t.set("/annotations", json!({ "": "value" }));
    t.refused();
}

fn annotation_without_string(t: &mut Trial) {
    t.set("/annotations", json!({ "com.example.number": 5 }));
    t.refused();
}

fn annotations_no_map(t: &mut Trial) {
    t.set("/annotations", json!(["com.example.list"]));
    t.refused();
}

fn broken_json(t: &mut Trial) {
    let text = t.config.to_string();
    let output = t.create_from_text(&text[..text.len() - 2]);
    assert!(!output.status.success(), "{output}");
    assert!(!t.exists());
}

/// A value of the wrong type, at a property each.
fn wrong_types(t: &mut Trial) {
    let wrong: [(&str, Value); 8] = [
        ("/hostname", json!(5)),
        ("/root/readonly", json!("yes")),
        ("/root/path", json!(["rootfs"])),
        ("/process/args", json!("probe true")),
        ("/process/user/uid", json!("root")),
        ("/mounts", json!({})),
        ("/linux/namespaces", json!("pid")),
        ("/linux/maskedPaths", json!("/proc/kcore")),
    ];
    let good = t.config.clone();
    for (pointer, value) in wrong {
        t.config = good.clone();
        t.set(pointer, value);
        let output = t.create();
        assert!(!output.status.success(), "{pointer}: {output}");
        assert!(!t.exists(), "{pointer}");
    }
}

fn hostname(t: &mut Trial) {
    t.set("/hostname", json!("mrsdalloway"));
    assert_eq!(t.says(&["hostname"]), "mrsdalloway");
}

fn no_hostname(t: &mut Trial) {
    t.unset("/hostname");
    let own = nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned();
    assert_eq!(t.says(&["hostname"]), own, "a new UTS namespace begins with the runtime's name");
}

fn domainname(t: &mut Trial) {
    t.set("/domainname", json!("foobarbaz.test"));
    assert_eq!(t.inside()["domainname"], "foobarbaz.test");
}

const VERSION: &str = "config.md#specification-version";
const ANNOTATIONS: &str = "config.md#annotations";
const EXTENSIBILITY: &str = "config.md#extensibility";
const VALID: &str = "config.md#valid-values";

pub const CASES: &[Case] = &[
    must(
        VERSION,
        "version-of-this-major",
        "a config of version 1.x is accepted by a runtime that has a later one",
        version,
    ),
    must(VERSION, "version-required", "a config without ociVersion is an error", no_version),
    must(VERSION, "version-not-semver", "an ociVersion that is not SemVer is an error", version_is_no_semver),
    must(
        VALID,
        "version-of-another-major",
        "a version that the runtime does not support is an error",
        version_of_another_major,
    ),
    must(EXTENSIBILITY, "unknown-at-the-top", "an unknown property is no error", unknown_at_the_top),
    must(EXTENSIBILITY, "unknown-below", "unknown properties below known ones are no error", unknown_below),
    must(
        EXTENSIBILITY,
        "unknown-of-other-platforms",
        "properties of other platforms are no error",
        other_platforms,
    ),
    must(ANNOTATIONS, "annotations-unknown", "unknown annotations are ignored", unknown_annotation),
    must(ANNOTATIONS, "annotations-empty-key", "a key that is empty is an error", annotation_without_key),
    must(
        ANNOTATIONS,
        "annotations-value",
        "a value that is not a string is an error",
        annotation_without_string,
    ),
    must(ANNOTATIONS, "annotations-map", "annotations that are no map are an error", annotations_no_map),
    must(VALID, "valid-json", "a config.json that is not JSON is an error", broken_json),
    must(VALID, "valid-types", "values of the wrong type are errors", wrong_types),
    must("config.md#hostname", "hostname", "hostname is what processes inside see", hostname),
    must("config.md#domainname", "domainname", "domainname is what processes inside see", domainname),
    should(
        "config.md#hostname",
        "hostname-unset",
        "without hostname that of the runtime is not changed",
        no_hostname,
    ),
];
