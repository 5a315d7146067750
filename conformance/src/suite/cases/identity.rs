//! config.md, "User" and capabilities of "Linux Process".

use serde_json::{Value, json};

use super::super::case::{Case, Need, must, should};
use super::super::trial::Trial;

fn user(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    let identity = t.inside()["identity"].clone();
    assert_eq!(identity["uid"], json!([1001, 1001, 1001, 1001]));
    assert_eq!(identity["gid"], json!([1002, 1002, 1002, 1002]));
}

fn additional(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002, "additionalGids": [5, 6] }));
    let groups = t.inside()["identity"]["groups"].clone();
    let groups = groups.as_array().cloned().unwrap_or_default();
    assert!(groups.contains(&json!(5)) && groups.contains(&json!(6)), "{groups:?}");
}

fn no_additional(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    let groups = t.inside()["identity"]["groups"].clone();
    let strange = groups.as_array().is_some_and(|all| all.iter().any(|one| *one != json!(1002)));
    assert!(!strange, "groups that the config does not have: {groups}");
}

fn umask(t: &mut Trial) {
    t.set("/process/user/umask", json!(0o27));
    assert_eq!(t.inside()["identity"]["umask"], 0o27);
}

fn negative(t: &mut Trial) {
    t.set("/process/user/uid", json!(-1));
    t.refused_until_started();
}

const SOME: [&str; 3] = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// All sets as given.
fn sets(t: &mut Trial, sets: &Value) -> Value {
    t.set("/process/capabilities", sets.clone());
    let mut found = t.inside()["capabilities"].clone();
    for set in found.as_object_mut().into_iter().flat_map(|sets| sets.values_mut()) {
        *set = set["names"].take();
    }
    found
}

fn sorted(value: &Value) -> Vec<String> {
    let all = value.as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn bounding(t: &mut Trial) {
    let found = sets(t, &json!({ "bounding": SOME, "permitted": SOME, "effective": SOME }));
    assert_eq!(sorted(&found["bounding"]), SOME);
}

fn permitted(t: &mut Trial) {
    let found = sets(t, &json!({ "bounding": SOME, "permitted": SOME, "effective": [] }));
    assert_eq!(sorted(&found["permitted"]), SOME, "{found}");
}

fn effective(t: &mut Trial) {
    let found = sets(t, &json!({ "bounding": SOME, "permitted": SOME, "effective": SOME }));
    assert_eq!(sorted(&found["effective"]), SOME, "{found}");
}

fn inheritable(t: &mut Trial) {
    let few = ["CAP_KILL"];
    let found =
        sets(t, &json!({ "bounding": SOME, "permitted": SOME, "effective": SOME, "inheritable": few }));
    assert_eq!(sorted(&found["inheritable"]), few, "{found}");
}

fn ambient(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    let few = ["CAP_KILL"];
    let found = sets(
        t,
        &json!({ "bounding": SOME, "permitted": few, "effective": few, "inheritable": few, "ambient": few }),
    );
    for set in ["ambient", "permitted", "effective", "inheritable"] {
        assert_eq!(sorted(&found[set]), few, "{set} of {found}");
    }
}

fn none(t: &mut Trial) {
    let found = sets(t, &json!({ "bounding": [], "permitted": [], "effective": [] }));
    for set in ["bounding", "permitted", "effective", "ambient", "inheritable"] {
        assert_eq!(found[set], json!([]), "{set}");
    }
}

fn of_a_user(t: &mut Trial) {
    t.set("/process/user", json!({ "uid": 1001, "gid": 1002 }));
    let found = sets(t, &json!({ "bounding": SOME, "permitted": SOME, "effective": SOME }));
    assert_eq!(sorted(&found["bounding"]), SOME);
    assert_eq!(found["ambient"], json!([]));
    assert_eq!(found["effective"], json!([]), "execve of another user keeps none but ambient ones");
}

fn unknown(t: &mut Trial) {
    let with = ["CAP_KILL", "CAP_NO_SUCH_THING"];
    let found = sets(t, &json!({ "bounding": with, "permitted": with, "effective": with }));
    assert_eq!(sorted(&found["effective"]), ["CAP_KILL"], "{found}");
}

fn unknown_warns(t: &mut Trial) {
    let with = ["CAP_KILL", "CAP_NO_SUCH_THING"];
    t.set("/process/capabilities", json!({ "bounding": with, "permitted": with, "effective": with }));
    t.args(&["probe", "true"]);
    let create = t.create();
    if !create.status.success() {
        super::super::trial::skip("it is an error here, which is a test of its own");
    }
    let start = t.start();
    assert!(
        create.stderr.contains("CAP_NO_SUCH_THING") || start.stderr.contains("CAP_NO_SUCH_THING"),
        "no warning: {create} {start}"
    );
}

const USER: &str = "config.md#posix-platform-user";
const LINUX: &str = "config.md#linux-process";

pub const CASES: &[Case] = &[
    must(USER, "user-ids", "uid and gid are those of the process: real, effective, saved", user)
        .needs(&[Need::Root]),
    must(USER, "user-additional-gids", "additionalGids are groups of the process", additional)
        .needs(&[Need::Root]),
    must(
        USER,
        "user-no-additional-gids",
        "without additionalGids there are no groups of the runtime's caller",
        no_additional,
    )
    .needs(&[Need::Root]),
    must(USER, "user-umask", "umask is that of the process", umask),
    must("config.md#valid-values", "user-negative", "an id below zero is an error", negative),
    must(LINUX, "capabilities-bounding", "the bounding set is what is kept", bounding),
    must(LINUX, "capabilities-permitted", "the permitted set is what is kept", permitted),
    must(LINUX, "capabilities-effective", "the effective set is what is kept", effective),
    must(LINUX, "capabilities-inheritable", "the inheritable set is what is kept", inheritable),
    must(LINUX, "capabilities-ambient", "the ambient set is what is kept", ambient).needs(&[Need::Root]),
    must(LINUX, "capabilities-none", "empty sets leave none", none),
    must(
        LINUX,
        "capabilities-of-a-user",
        "another user than root has those of the bounding set within bounds, and none in effect",
        of_a_user,
    )
    .needs(&[Need::Root]),
    should(LINUX, "capabilities-unknown", "a capability that cannot be granted is no error", unknown),
    must(
        LINUX,
        "capabilities-unknown-warns",
        "a capability that the kernel does not have is logged as a warning",
        unknown_warns,
    ),
];
