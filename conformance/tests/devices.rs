//! config-linux.md, "Devices", "Default Devices" and the device rules of "Device allowed list".

use std::fs;
use std::os::unix::fs::MetadataExt;

use conformance::harness::{Container, beyond_runc, is_root, require_root};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

#[track_caller]
fn device<'a>(report: &'a Value, path: &str) -> &'a Value {
    let devices = report["devices"].as_array().expect("devices");
    devices
        .iter()
        .find(|device| device["path"] == path)
        .unwrap_or_else(|| panic!("no {path} in {devices:#?}"))
}

#[track_caller]
fn stat(container: &mut Container, path: &str) -> Value {
    let lines = container.run_args(&["probe", "stat", path]);
    serde_json::from_str(&lines[0]).expect("JSON")
}

fn rules(container: &mut Container, more: &[Value]) {
    let mut all = vec![json!({ "allow": false, "access": "rwm" })];
    all.extend_from_slice(more);
    container.config["linux"]["resources"]["devices"] = Value::Array(all);
}

/// "In addition to any devices configured with this setting, the runtime MUST also supply: …"
#[test]
fn the_default_devices_are_there() {
    let report = Container::new().report();
    for (path, major, minor) in [
        ("/dev/null", 1, 3),
        ("/dev/zero", 1, 5),
        ("/dev/full", 1, 7),
        ("/dev/random", 1, 8),
        ("/dev/urandom", 1, 9),
        ("/dev/tty", 5, 0),
    ] {
        let device = device(&report, path);
        assert_eq!(
            (&device["type"], &device["major"], &device["minor"]),
            (&json!("c"), &json!(major), &json!(minor))
        );
        assert_eq!(device["mode"], 0o666, "{path}");
        if is_root() {
            assert_eq!((&device["uid"], &device["gid"]), (&json!(0), &json!(0)), "{path}");
        }
    }
}

/// runtime-linux.md, "Dev symbolic links".
#[test]
fn the_links_in_dev_are_there() {
    let report = Container::new().report();
    for (path, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ] {
        assert_eq!(device(&report, path)["target"], target);
    }
}

#[test]
fn the_default_devices_work() {
    let mut container = Container::new();
    let verbs = ["open-rw /dev/null", "open-rw /dev/zero", "open-rw /dev/full", "open-rw /dev/urandom"];
    let words: Vec<&str> =
        verbs.iter().flat_map(|verb| std::iter::once("--").chain(verb.split(' '))).collect();
    assert_eq!(container.run_args(&[&["probe", "seq"], words.as_slice()].concat()), ["ok"; 4]);
    container.args(&["probe", "write", "/dev/full", "x"]);
    assert_eq!(container.run().stdout, "ENOSPC\n");
}

/// A new pseudo-terminal can be opened by way of the instance in the container.
#[test]
fn ptmx_works() {
    let mut container = Container::new();
    assert_eq!(container.run_args(&["probe", "open-rw", "/dev/ptmx"]), ["ok"]);
}

/// "/dev/console is set up if terminal is enabled": only then.
#[test]
fn there_is_no_console_without_a_terminal() {
    let report = Container::new().report();
    let devices = report["devices"].as_array().expect("devices");
    assert!(devices.iter().all(|device| device["path"] != "/dev/console"));
}

/// "devices (array of objects, OPTIONAL) lists devices that MUST be available in the container."
#[test]
fn a_device_is_made_as_described() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["devices"] = json!([
        { "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 11, "gid": 12 },
        { "path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 0, "gid": 0 },
        { "path": "/dev/fifo", "type": "p", "fileMode": 0o622 },
        { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5 },
    ]);
    let report = container.report();
    let one = device(&report, "/dev/one");
    assert_eq!((&one["type"], &one["major"], &one["minor"]), (&json!("c"), &json!(1), &json!(3)));
    assert_eq!((&one["mode"], &one["uid"], &one["gid"]), (&json!(0o640), &json!(11), &json!(12)));
    let block = device(&report, "/dev/block");
    assert_eq!((&block["type"], &block["major"], &block["minor"]), (&json!("b"), &json!(7), &json!(200)));
    let fifo = device(&report, "/dev/fifo");
    assert_eq!((&fifo["type"], &fifo["mode"]), (&json!("p"), &json!(0o622)));
    assert_eq!(device(&report, "/dev/unbuffered")["type"], "c");
}

/// The umask has no say in a device's mode.
#[test]
fn a_device_mode_is_not_masked() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["process"]["user"]["umask"] = json!(0o077);
    container.config["linux"]["devices"] =
        json!([{ "path": "/dev/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }]);
    let report = container.report();
    assert_eq!(device(&report, "/dev/one")["mode"], 0o666);
    assert_eq!(device(&report, "/dev/null")["mode"], 0o666);
}

#[test]
fn a_device_may_lie_deeper_or_elsewhere() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["devices"] = json!([
        { "path": "/dev/net/deep/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 },
        { "path": "/etc/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 },
    ]);
    assert_eq!(stat(&mut container, "/dev/net/deep/one")["minor"], 3);
    assert_eq!(stat(&mut container, "/etc/one")["minor"], 3);
}

/// A device of the config at a default one's path takes its place.
#[test]
fn a_default_device_may_be_described_otherwise() {
    if beyond_runc("1.1 takes the default rule away with the default device and cannot open it")
        || !require_root()
    {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["devices"] = json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 5, "gid": 5 }]);
    let report = container.report();
    let null = device(&report, "/dev/null");
    assert_eq!((&null["mode"], &null["uid"]), (&json!(0o600), &json!(5)));
}

/// "If a file already exists at path that does not match the requested device, the runtime MUST generate an error."
#[test]
fn another_file_in_a_devices_place_is_an_error() {
    if beyond_runc("1.1 leaves the file and goes on") || !require_root() {
        return;
    }
    let mut container = Container::new();
    fs::write(container.rootfs("etc/one"), "text").expect("our own file");
    container.config["linux"]["devices"] =
        json!([{ "path": "/etc/one", "type": "c", "major": 1, "minor": 3 }]);
    container.run().fails_with("/etc/one");
    container.assert_clean();
    assert_eq!(fs::read_to_string(container.rootfs("etc/one")).expect("our own file"), "text");
}

#[test]
fn the_same_device_in_a_devices_place_is_no_error() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let path = container.rootfs("etc/one");
    mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).expect("root makes devices");
    container.config["linux"]["devices"] =
        json!([{ "path": "/etc/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }]);
    assert_eq!(stat(&mut container, "/etc/one")["minor"], 3);
}

#[test]
fn an_unknown_device_type_is_an_error() {
    let mut container = Container::new();
    container.config["linux"]["devices"] =
        json!([{ "path": "/dev/one", "type": "x", "major": 1, "minor": 3 }]);
    container.run().fails();
    container.assert_clean();
}

/// A device of the image's, through a link that leads out.
#[test]
fn a_device_behind_a_link_stays_inside() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let outside = container.host_directory("outside");
    std::os::unix::fs::symlink(&outside, container.rootfs("etc/link")).expect("our own directory");
    container.config["linux"]["devices"] =
        json!([{ "path": "/etc/link/one", "type": "c", "major": 1, "minor": 3 }]);
    container.args(&["probe", "true"]);
    // To refuse and to make it inside are both safe.
    let _ = container.run();
    assert!(!std::path::Path::new(&format!("{outside}/one")).exists(), "made on the host");
}

/// A container with a device that no driver serves: to open it gives ENXIO where the rules let the caller through to
/// the driver, and EPERM where they do not.
fn experimental() -> Container {
    let mut container = Container::new();
    container.config["linux"]["devices"] =
        json!([{ "path": "/dev/experimental", "type": "c", "major": 60, "minor": 1, "fileMode": 0o666 }]);
    container
}

#[track_caller]
fn opening_gives(container: &mut Container, verb: &str, expected: &str) {
    container.args(&["probe", verb, "/dev/experimental"]);
    assert_eq!(container.run().stdout.trim_end(), expected);
}

/// "resources.devices": what no rule allows cannot be opened, whatever its node's mode.
#[test]
fn a_device_that_is_not_allowed_cannot_be_opened() {
    if !require_root() {
        return;
    }
    let mut container = experimental();
    rules(&mut container, &[]);
    opening_gives(&mut container, "open-rw", "EPERM");
    rules(&mut container, &[json!({ "allow": true, "type": "c", "major": 60, "minor": 1, "access": "rw" })]);
    opening_gives(&mut container, "open-rw", "ENXIO");
}

#[test]
fn access_is_allowed_in_the_ways_given() {
    if !require_root() {
        return;
    }
    let mut container = experimental();
    rules(&mut container, &[json!({ "allow": true, "type": "c", "major": 60, "minor": 1, "access": "w" })]);
    opening_gives(&mut container, "append", "ENXIO");
    opening_gives(&mut container, "open-rw", "EPERM");
    opening_gives(&mut container, "cat", "EPERM");
}

/// runc lets every node be made, whatever the rules; they are held when it is opened.
#[test]
fn a_node_may_be_made_and_not_opened() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    for set in ["bounding", "effective", "permitted"] {
        container.config["process"]["capabilities"][set]
            .as_array_mut()
            .expect("a list")
            .push(json!("CAP_MKNOD"));
    }
    container.mount("/tmp", "tmpfs", "tmpfs", &[]);
    rules(&mut container, &[]);
    let steps = ["--", "mknod", "/tmp/node", "c", "60", "1", "--", "open-rw", "/tmp/node"];
    container.args(&[&["probe", "seq"], steps.as_slice()].concat());
    assert_eq!(container.run().stdout, "ok\nEPERM\n");
}

/// Later rules override earlier ones.
#[test]
fn the_last_rule_counts() {
    if !require_root() {
        return;
    }
    let mut container = experimental();
    let rule = |allow: bool| json!({ "allow": allow, "type": "c", "major": 60, "minor": 1, "access": "rwm" });
    rules(&mut container, &[rule(true), rule(false)]);
    opening_gives(&mut container, "open-rw", "EPERM");
    rules(&mut container, &[rule(false), rule(true)]);
    opening_gives(&mut container, "open-rw", "ENXIO");
}

/// A rule without numbers is for all of its type.
#[test]
fn numbers_may_be_left_open() {
    if !require_root() {
        return;
    }
    let mut container = experimental();
    rules(&mut container, &[json!({ "allow": true, "type": "c", "access": "rwm" })]);
    opening_gives(&mut container, "open-rw", "ENXIO");
    rules(&mut container, &[json!({ "allow": true, "type": "c", "major": 60, "access": "rwm" })]);
    opening_gives(&mut container, "open-rw", "ENXIO");
    rules(&mut container, &[json!({ "allow": true, "type": "b", "access": "rwm" })]);
    opening_gives(&mut container, "open-rw", "EPERM");
}

/// A privileged container: one rule allows all.
#[test]
fn everything_may_be_allowed() {
    if !require_root() {
        return;
    }
    let mut container = experimental();
    container.config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    opening_gives(&mut container, "open-rw", "ENXIO");
}

/// The default devices work under a rule that denies all.
#[test]
fn the_default_devices_are_allowed() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    rules(&mut container, &[]);
    let steps = ["--", "open-rw", "/dev/null", "--", "open-rw", "/dev/urandom", "--", "open-rw", "/dev/ptmx"];
    assert_eq!(container.run_args(&[&["probe", "seq"], steps.as_slice()].concat()), ["ok"; 3]);
}

/// Old crun gave the host's /dev/null away to a container's root.
#[test]
fn the_hosts_devices_keep_their_owner() {
    let before = fs::metadata("/dev/null").expect("/dev/null");
    let mut container =
        if is_root() { Container::as_user(conformance::harness::NOBODY) } else { Container::new() };
    container.report();
    if is_root() {
        let mut container = Container::new();
        container.namespace("user", None);
        container.config["linux"]["uidMappings"] =
            json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        container.config["linux"]["gidMappings"] =
            json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        container.report();
    }
    let after = fs::metadata("/dev/null").expect("/dev/null");
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
}

/// An engine may bind the host's /dev; then nothing is made in it.
#[test]
fn a_bound_dev_is_left_alone() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let source = container.host_directory("dev");
    fs::write(format!("{source}/marker"), "").expect("our own file");
    mknod(format!("{source}/null").as_str(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))
        .expect("root makes devices");
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        container.unmount(destination);
    }
    container.mount("/dev", "bind", &source, &["bind"]);
    let report = container.report();
    let names: Vec<_> =
        report["devices"].as_array().expect("a list").iter().map(|one| one["path"].clone()).collect();
    assert_eq!(names, ["/dev/marker", "/dev/null"]);
}
