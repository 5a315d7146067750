//! More rights than were asked for: capabilities, ids, maps.

use std::fs;

use conformance::harness::{Container, Output, require_root};
use serde_json::{Value, json};

use crate::breach;

fn exec(container: &Container, flags: &[&str]) -> Output {
    container.runtime(&[&["exec"], flags, &[&container.id, "probe", "report", "--json"]].concat())
}

fn set(report: &Value, name: &str) -> Vec<String> {
    let words = report["capabilities"][name]["names"].as_array().expect("a set").iter();
    words.map(|word| word.as_str().unwrap_or_default().to_owned()).collect()
}

/// CVE-2022-24769 (containerd, Docker), CVE-2022-29162 (runc), CVE-2022-27650 (crun), CVE-2025-27612 (youki): inheritable and ambient
/// capabilities that nobody asked for, of the container or of what is executed in it.
#[test]
fn no_capability_is_inherited_unasked() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["capabilities"] =
        json!({ "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] });
    let run = container.report();
    container.launch_trap(&["TERM"]);
    let plain = exec(&container, &[]).json();
    let added = exec(&container, &["--cap", "CAP_NET_RAW"]).json();
    let as_user = exec(&container, &["--user", "1000", "--cap", "CAP_NET_RAW"]).json();
    for (what, report) in
        [("run", &run), ("exec", &plain), ("exec --cap", &added), ("exec --user --cap", &as_user)]
    {
        for name in ["inheritable", "ambient"] {
            let found = set(report, name);
            if !found.is_empty() {
                breach!("{what}: {name} {found:?}");
            }
        }
    }
    if set(&plain, "permitted") != ["CAP_KILL"] || set(&plain, "bounding") != ["CAP_KILL"] {
        breach!("exec: {}", plain["capabilities"]);
    }
    // A process that is described in whole, and says nothing of capabilities, has no more than the container.
    let process = json!({ "args": ["probe", "report", "--json"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"] });
    let path = container.directory().join("process.json");
    fs::write(&path, process.to_string()).expect("our own file");
    let report = container.runtime(&["exec", "--process", &path.to_string_lossy(), &container.id]).json();
    for name in ["inheritable", "permitted", "effective", "bounding", "ambient"] {
        let found = set(&report, name);
        if found.iter().any(|capability| capability != "CAP_KILL") {
            breach!("exec --process: {name} {found:?}");
        }
    }
}

/// CVE-2026-30892 (crun): `exec --user 1` was root.  CVE-2016-3697 (runc): a number is a number, also where the image has a user of that
/// name.
#[test]
fn a_user_by_number_is_that_user() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    fs::write(container.rootfs("etc/passwd"), "1:x:0:0::/:/\n1000:x:0:0::/:/\nroot:x:0:0::/:/\n")
        .expect("our own file");
    fs::write(container.rootfs("etc/group"), "1:x:0:\n1000:x:0:\n").expect("our own file");
    container.launch_trap(&["TERM"]);
    for (word, uid, gid) in [
        ("1", 1, 0),
        ("1000", 1000, 0),
        ("1:1", 1, 1),
        ("7:1000", 7, 1000),
        ("0:1", 0, 1),
        ("65534", 65534, 0),
    ] {
        let report = exec(&container, &["--user", word]).json();
        let found = (&report["identity"]["uid"][0], &report["identity"]["gid"][0]);
        if found != (&json!(uid), &json!(gid)) {
            breach!("--user {word} is {found:?}");
        }
    }
    // What is no number is no user: not the first one that is at hand.
    for word in ["-1", "4294967295", "4294967296", "1x", "", "root", " 0", "0:4294967295"] {
        let output = exec(&container, &["--user", word]);
        if output.status.success() {
            let report = output.json();
            breach!("--user {word:?} is {}", report["identity"]["uid"]);
        }
    }
}

/// CVE-2021-43784 (runc): the length of a list overflows in the message to the process, and what was data is a second list, of the
/// attacker's: here, id maps so long that they do.
#[test]
fn long_lists_do_not_overflow() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.namespace("user", None);
    for count in [341u32, 5000, 20_000] {
        let maps: Vec<Value> =
            (0..count).map(|n| json!({ "containerID": n, "hostID": 1_000_000 + n * 2, "size": 1 })).collect();
        container.config["linux"]["uidMappings"] = json!(maps);
        container.config["linux"]["gidMappings"] =
            json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        container.args(&["probe", "report", "--json"]);
        let output = container.run();
        if output.status.success() {
            let report = output.json();
            let map = report["identity"]["uid_map"].as_array().expect("a map");
            if map.len() != maps.len() || map.iter().any(|line| line[1].as_u64() < Some(1_000_000)) {
                breach!("the map is {:?}", map.first());
            }
        }
        container.assert_clean();
    }
}

/// An exec has every protection that the container has: what it says of itself is the same.
#[test]
fn an_exec_is_confined_as_the_container() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
    });
    let output = container.launch(&["probe", "seq", "--", "report", "--json", "--", "sleep", "100"]);
    conformance::harness::eventually("the report has come", || {
        fs::read_to_string(&output).is_ok_and(|text| text.ends_with('\n'))
    });
    let text = fs::read_to_string(&output).expect("our own file");
    let run: Value = serde_json::from_str(&text).expect("JSON");
    let executed = exec(&container, &[]).json();
    for (part, fields) in [
        ("security", vec!["no_new_privs", "seccomp_mode", "seccomp_filters", "label"]),
        ("capabilities", vec!["inheritable", "permitted", "effective", "bounding", "ambient"]),
        ("identity", vec!["uid", "gid", "groups", "uid_map", "gid_map"]),
    ] {
        for field in fields {
            if run[part][field] != executed[part][field] {
                breach!(
                    "{part}.{field}: {} of the container, {} of exec",
                    run[part][field],
                    executed[part][field]
                );
            }
        }
    }
    if run["mounts"] != executed["mounts"] || run["namespaces"] != executed["namespaces"] {
        breach!("exec has other mounts or namespaces");
    }
}
