//! config.md, "Root", and config-linux.md: read-only and masked paths, propagation of the root.

use std::fs;
use std::os::unix::fs::symlink;

use conformance::harness::{Container, Kind, is_root, kind, require_program, require_root};
use serde_json::{Value, json};

#[track_caller]
fn says(container: &mut Container, args: &[&str]) -> String {
    container.args(args);
    container.run().stdout.trim_end().to_owned()
}

/// "readonly (bool, OPTIONAL) If true then the root filesystem MUST be read-only inside the container."
#[test]
fn a_read_only_root_cannot_be_written() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(true);
    assert_eq!(says(&mut container, &["probe", "write", "/tmp/x", "x"]), "EROFS");
    assert_eq!(container.report()["root_readonly"], true);
}

#[test]
fn a_writable_root_is_the_bundles() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    assert_eq!(says(&mut container, &["probe", "write", "/tmp/x", "text"]), "ok");
    assert_eq!(fs::read_to_string(container.rootfs("tmp/x")).expect("written inside"), "text");
}

/// What is mounted in a read-only root stays writable.
#[test]
fn mounts_in_a_read_only_root_are_writable() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &[]);
    assert_eq!(says(&mut container, &["probe", "write", "/tmp/x", "x"]), "ok");
    assert_eq!(says(&mut container, &["probe", "write", "/dev/shm/x", "x"]), "ok");
}

/// "path … relative to the bundle or absolute."
#[test]
fn an_absolute_root_path_is_taken() {
    let mut container = Container::new();
    container.config["root"]["path"] = json!(container.rootfs("").to_string_lossy());
    container.report();
}

#[test]
fn another_relative_root_path_is_taken() {
    let mut container = Container::new();
    fs::rename(container.rootfs(""), container.directory().join("image")).expect("our own directory");
    container.config["root"]["path"] = json!("./image");
    container.report();
}

/// "A directory MUST exist at the path declared by the field."
#[test]
fn a_root_that_is_not_there_is_an_error() {
    let mut container = Container::new();
    container.config["root"]["path"] = json!("nowhere");
    container.run().fails_with("nowhere");
    container.assert_clean();
}

#[test]
fn a_root_that_is_a_file_is_an_error() {
    let mut container = Container::new();
    container.config["root"]["path"] = json!("rootfs/bin/probe");
    container.run().fails();
    container.assert_clean();
}

#[test]
fn no_root_is_an_error() {
    let mut container = Container::new();
    container.config.as_object_mut().expect("an object").remove("root");
    container.run().fails_with("root");
}

/// The host's root is out of reach.
#[test]
fn there_is_nothing_above_the_root() {
    let mut container = Container::new();
    let above = says(&mut container, &["probe", "ls", "/.."]);
    assert_eq!(above, says(&mut container, &["probe", "ls", "/"]));
    assert_eq!(above.lines().next(), Some("bin"));
}

/// "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container."
#[test]
fn read_only_paths_cannot_be_written() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    fs::write(container.rootfs("etc/file"), "text").expect("our own file");
    container.config["linux"]["readonlyPaths"] = json!(["/etc", "/bin/probe", "/no/such/path"]);
    assert_eq!(says(&mut container, &["probe", "write", "/etc/new", "x"]), "EROFS");
    assert_eq!(says(&mut container, &["probe", "open-rw", "/etc/file"]), "EROFS");
    assert_eq!(says(&mut container, &["probe", "write", "/tmp/x", "x"]), "ok");
    assert_eq!(says(&mut container, &["probe", "cat", "/etc/file"]), "text");
}

#[test]
fn sysctls_cannot_be_written_under_the_default_config() {
    let mut container = Container::new();
    assert_eq!(says(&mut container, &["probe", "write", "/proc/sys/kernel/hostname", "x"]), "EROFS");
}

/// "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths … so that they cannot be read."
#[test]
fn a_masked_file_is_empty() {
    let mut container = Container::new();
    fs::write(container.rootfs("etc/secret"), "secret").expect("our own file");
    container.config["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    assert_eq!(says(&mut container, &["probe", "cat", "/etc/secret"]), "");
    assert_eq!(says(&mut container, &["probe", "ls", "/etc"]), "secret");
}

#[test]
fn a_masked_directory_is_empty_and_read_only() {
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    fs::create_dir(container.rootfs("etc/secrets")).expect("our own directory");
    fs::write(container.rootfs("etc/secrets/one"), "secret").expect("our own file");
    container.config["linux"]["maskedPaths"] = json!(["/etc/secrets"]);
    assert_eq!(says(&mut container, &["probe", "ls", "/etc/secrets"]), "");
    assert_eq!(says(&mut container, &["probe", "write", "/etc/secrets/new", "x"]), "EROFS");
}

#[test]
fn masked_directories_are_apart() {
    let mut container = Container::new();
    for name in ["a", "b"] {
        fs::create_dir(container.rootfs("etc").join(name)).expect("our own directory");
    }
    container.config["linux"]["maskedPaths"] = json!(["/etc/a", "/etc/b"]);
    let report = container.report();
    for destination in ["/etc/a", "/etc/b"] {
        let mounts = report["mounts"].as_array().expect("mounts");
        assert!(mounts.iter().any(|mount| mount["destination"] == destination), "{destination}: {mounts:#?}");
    }
}

#[test]
fn a_masked_path_that_is_not_there_is_no_error() {
    let mut container = Container::new();
    container.config["linux"]["maskedPaths"] = json!(["/no/such/path", "/proc/no-such-file"]);
    container.report();
}

/// A link in the image cannot lead a mask astray: what it points to inside is masked, and nothing outside touched.
#[test]
fn a_masked_link_is_masked_inside() {
    let mut container = Container::new();
    let outside = container.host_directory("outside");
    fs::write(format!("{outside}/file"), "host").expect("our own file");
    symlink(format!("{outside}/file"), container.rootfs("etc/link")).expect("our own directory");
    container.config["linux"]["maskedPaths"] = json!(["/etc/link"]);
    container.args(&["probe", "true"]);
    let _ = container.run();
    assert_eq!(fs::read_to_string(format!("{outside}/file")).expect("our own file"), "host");
}

/// The masks of `runc spec` hold: the kernel's log of keys is not read.
#[test]
fn keys_and_timers_are_masked() {
    let mut container = Container::new();
    for path in ["/proc/keys", "/proc/timer_list", "/proc/kcore"] {
        let said = says(&mut container, &["probe", "cat", path]);
        assert!(said.is_empty() || said == "ENOENT", "{path}: {said}");
    }
}

fn root_mount(report: &Value) -> Value {
    let mounts = report["mounts"].as_array().expect("mounts");
    mounts.iter().find(|mount| mount["destination"] == "/").expect("a root").clone()
}

/// "rootfsPropagation (string, OPTIONAL) sets the rootfs's mount propagation."
#[test]
fn the_propagation_of_the_root_is_set() {
    if !require_root() {
        return;
    }
    for (value, tag) in [("shared", "shared:"), ("unbindable", "unbindable"), ("private", "")] {
        if value != "private" && kind() == Kind::Runc {
            // 1.1.5 turns the root before it binds it on itself: shared is lost by that, unbindable forbids it.
            continue;
        }
        let mut container = Container::new();
        container.config["linux"]["rootfsPropagation"] = json!(value);
        let mount = root_mount(&container.report());
        let shown: Vec<_> =
            mount["propagation"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        match tag {
            "" => assert!(shown.is_empty(), "{value}: {mount}"),
            prefix => assert!(shown.iter().any(|word| word.starts_with(prefix)), "{value}: {mount}"),
        }
    }
}

#[test]
fn an_unknown_propagation_is_an_error() {
    let mut container = Container::new();
    container.config["linux"]["rootfsPropagation"] = json!("sideways");
    container.run().fails_with("rootfsPropagation");
}

#[test]
fn no_pivot_gives_the_same_root() {
    if !is_root() {
        // An ordinary user's mount namespace has locked mounts, over which MS_MOVE to / is not for him.
        return;
    }
    let mut container = Container::new();
    container.args(&["probe", "ls", "/"]);
    let usual = container.run().lines();
    assert_eq!(container.run_with(&["--no-pivot"]).lines(), usual);
}

/// CVE-2019-5736: the runtime's own binary cannot be opened for writing from inside.
#[test]
fn the_runtimes_binary_cannot_be_written() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.config["root"]["readonly"] = json!(false);
    // The image's program is a link to whatever executes it.
    symlink("/proc/self/exe", container.rootfs("bin/self")).expect("our own directory");
    let binary = conformance::harness::runtime_path();
    let before = fs::metadata(&binary).expect("the runtime");
    container.args(&["/bin/self", "open-rw", "/proc/self/exe"]);
    let output = container.run();
    assert_ne!(output.stdout, "ok\n", "{output}");
    let after = fs::metadata(&binary).expect("the runtime");
    assert_eq!(before.modified().expect("a time"), after.modified().expect("a time"));
}

/// The bundle's root needs not be a mount, nor its parents be private; afterwards none of it is mounted.
#[test]
fn the_root_may_lie_on_a_shared_mount() {
    if !require_root() {
        return;
    }
    let container = Container::new();
    let directory = container.directory().to_string_lossy().into_owned();
    let script =
        format!("mount --bind {directory} {directory} && mount --make-shared {directory} && exec \"$@\"");
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    container.runtime_by(&prefix, &["run", "--bundle", &directory, &container.id]).ok();
}

/// Runs the container in a mount namespace of its own, where `before` has been run, and returns what that shows as mounted afterwards.
fn mounts_around(container: &Container, before: &str, flags: &[&str]) -> (Vec<String>, Vec<String>) {
    let at = container.host_directory("mounts");
    let look = |name: &str| format!("cut -d' ' -f3-6 /proc/self/mountinfo >{at}/{name}");
    let (first, then) = (look("before"), look("after"));
    let script = format!("{before} && {first} && \"$@\" && {then}");
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let bundle = container.directory().to_string_lossy().into_owned();
    container.runtime_by(&prefix, &[&["run", "--bundle", &bundle], flags, &[&container.id]].concat()).ok();
    let read = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(format!("{at}/{name}")).expect("our own file");
        text.lines().map(str::to_owned).collect()
    };
    (read("before"), read("after"))
}

/// Whatever the root is to share, the host keeps its mounts when the container's process leaves them, and gets none.
#[test]
fn a_host_that_shares_all_keeps_its_mounts() {
    if !require_root() {
        return;
    }
    for value in ["shared", "rshared", "slave", "private"] {
        for flags in [&[][..], &["--no-pivot"]] {
            if value == "private" && !flags.is_empty() && kind() == Kind::Runc {
                // It refuses the two together.
                continue;
            }
            let mut container = Container::new();
            container.config["linux"]["rootfsPropagation"] = json!(value);
            container.args(&["probe", "true"]);
            let (before, after) = mounts_around(&container, "mount --make-rshared /", flags);
            assert_eq!(before, after, "{value} {flags:?}");
        }
    }
}

/// What is mounted in a volume inside is there outside, when both sides share it (Kubernetes: "Bidirectional"), and only then.
#[test]
fn what_is_mounted_inside_a_shared_volume_is_there_outside() {
    if !require_root() || !require_program("busybox") {
        return;
    }
    // What is mounted in a user namespace does not come out of it, whatever is shared.
    for (option, user, reaches) in [
        ("rshared", false, true),
        ("rslave", false, false),
        ("rprivate", false, false),
        ("rshared", true, false),
    ] {
        for flags in [&[][..], &["--no-pivot"]] {
            let mut container = Container::new();
            container.lend_busybox("bin", &["mount"]);
            let volume = container.host_directory("volume");
            fs::create_dir(format!("{volume}/below")).expect("our own directory");
            container.config["linux"]["rootfsPropagation"] = json!("shared");
            container.mount("/tmp", "bind", &volume, &["rbind", option]);
            for set in ["bounding", "effective", "permitted"] {
                container.config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
            if user {
                container.namespace("user", None);
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                container.config["linux"]["uidMappings"] = map.clone();
                container.config["linux"]["gidMappings"] = map;
            }
            container.args(&["mount", "-t", "tmpfs", "inner", "/tmp/below"]);
            let share = format!("mount --bind {volume} {volume} && mount --make-shared {volume}");
            let (_, after) = mounts_around(&container, &share, flags);
            let found = after.iter().any(|line| line.contains(&format!("{volume}/below")));
            assert_eq!(found, reaches, "{option} {user} {flags:?}: {after:#?}");
        }
    }
}
