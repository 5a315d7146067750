//! config.md, "Mounts", and config-linux.md on default file systems and propagation.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use conformance::harness::{Container, beyond_runc, is_root, require_mount_setattr, require_root};
use serde_json::{Value, json};

/// The mount at a destination, the last one if there are several.
#[track_caller]
fn mount_at<'a>(report: &'a Value, destination: &str) -> &'a Value {
    let mounts = report["mounts"].as_array().expect("mounts");
    let found = mounts.iter().rev().find(|mount| mount["destination"] == destination);
    found.unwrap_or_else(|| panic!("no mount at {destination}: {mounts:#?}"))
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|items| items.iter().any(|item| item == word))
}

/// Mounts a tmpfs with one option and looks for the word in mountinfo.
#[track_caller]
fn tmpfs_option(option: &str, place: &str, word: &str) {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &[option]);
    let report = container.report();
    let mount = mount_at(&report, "/tmp");
    assert!(has(&mount[place], word), "{option} should give {word}: {mount}");
}

#[test]
fn ro() {
    tmpfs_option("ro", "options", "ro");
}

#[test]
fn rw() {
    tmpfs_option("rw", "options", "rw");
}

#[test]
fn nosuid() {
    tmpfs_option("nosuid", "options", "nosuid");
}

#[test]
fn nodev() {
    tmpfs_option("nodev", "options", "nodev");
}

#[test]
fn noexec() {
    tmpfs_option("noexec", "options", "noexec");
}

#[test]
fn noatime() {
    tmpfs_option("noatime", "options", "noatime");
}

#[test]
fn nodiratime() {
    tmpfs_option("nodiratime", "options", "nodiratime");
}

#[test]
fn relatime() {
    tmpfs_option("relatime", "options", "relatime");
}

#[test]
fn sync() {
    tmpfs_option("sync", "super_options", "sync");
}

#[test]
fn dirsync() {
    tmpfs_option("dirsync", "super_options", "dirsync");
}

#[test]
fn nosymfollow() {
    if beyond_runc("1.1.5 takes nosymfollow for data") {
        return;
    }
    tmpfs_option("nosymfollow", "options", "nosymfollow");
}

#[test]
fn strictatime() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["strictatime"]);
    let report = container.report();
    let mount = mount_at(&report, "/tmp");
    assert!(!has(&mount["options"], "relatime") && !has(&mount["options"], "noatime"), "{mount}");
}

/// `remount` with what is the file system's changes that, and leaves what is not said.
#[test]
fn a_remount_changes_the_file_system() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["size=1m", "nr_inodes=50", "sync", "nodev"]);
    container.mount(
        "/tmp",
        "tmpfs",
        "tmpfs",
        &["remount", "size=2m", "async", "lazytime", "nodev", "noexec"],
    );
    let report = container.report();
    let mount = mount_at(&report, "/tmp");
    let file_system = &mount["super_options"];
    assert!(has(file_system, "size=2048k") && has(file_system, "nr_inodes=50"), "{mount}");
    assert!(has(file_system, "lazytime") && !has(file_system, "sync"), "{mount}");
    assert!(has(&mount["options"], "noexec") && has(&mount["options"], "nodev"), "{mount}");
}

/// The kernel is the judge of data: a limit below what is used, an option it does not know.
#[test]
fn a_remount_that_the_file_system_refuses_is_an_error() {
    for option in ["nr_inodes=1", "no_such_option=1"] {
        let mut container = Container::new();
        container.mount("/tmp", "tmpfs", "tmpfs", &["nr_inodes=50"]);
        container.mount("/tmp/below", "tmpfs", "tmpfs", &[]);
        container.mount("/tmp", "tmpfs", "tmpfs", &["remount", option]);
        let output = container.run();
        assert!(!output.status.success() && output.stderr.contains("/tmp"), "{option}: {}", output.stderr);
    }
}

/// mount(2) takes no data of a bind mount, new or not.
#[test]
fn a_remount_of_a_bind_leaves_the_file_system() {
    if beyond_runc("wants a source for it, and from 1.3 on refuses the data") {
        return;
    }
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["size=1m"]);
    container.mount("/tmp", "none", "none", &["remount", "bind", "size=2m", "noexec"]);
    let report = container.report();
    let mount = mount_at(&report, "/tmp");
    assert!(has(&mount["super_options"], "size=1024k") && has(&mount["options"], "noexec"), "{mount}");
}

/// Without an option the kernel's defaults hold, and the opposite of an option takes it back.
#[test]
fn the_last_of_opposite_options_counts() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["ro", "nosuid", "nodev", "noexec", "rw", "suid", "exec"]);
    let report = container.report();
    let options = &mount_at(&report, "/tmp")["options"];
    assert!(has(options, "rw") && !has(options, "nosuid") && !has(options, "noexec"), "{options}");
    if is_root() {
        assert!(has(options, "nodev"), "{options}");
    }
}

#[test]
fn defaults_is_no_option_of_its_own() {
    if beyond_runc("1.1 hands it to the file system, which refuses") {
        return;
    }
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["defaults"]);
    assert!(has(&mount_at(&container.report(), "/tmp")["options"], "rw"));
}

/// "options": what is no flag is the file system's data.
#[test]
fn data_reaches_the_file_system() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "source-name", &["size=64k", "mode=0701", "nr_inodes=99"]);
    let report = container.report();
    let mount = mount_at(&report, "/tmp");
    assert_eq!(mount["source"], "source-name");
    for word in ["size=64k", "mode=701", "nr_inodes=99"] {
        assert!(has(&mount["super_options"], word), "{word}: {mount}");
    }
}

#[test]
fn data_the_file_system_does_not_know_is_an_error() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &["no-such-option=1"]);
    container.run().fails_with("/tmp");
    container.assert_clean();
}

#[test]
fn an_unknown_file_system_is_an_error() {
    let mut container = Container::new();
    container.mount("/tmp", "nosuchfs", "none", &[]);
    container.run().fails_with("/tmp");
    container.assert_clean();
}

fn with_file() -> (Container, String) {
    let container = Container::new();
    let directory = container.host_directory("source");
    fs::write(format!("{directory}/file"), "from the host").expect("our own file");
    (container, directory)
}

/// "bind": a directory of the host.
#[test]
fn a_directory_is_bound() {
    let (mut container, source) = with_file();
    container.mount("/tmp", "none", &source, &["bind"]);
    assert_eq!(container.run_args(&["probe", "cat", "/tmp/file"]), ["from the host"]);
    assert_eq!(container.run_args(&["probe", "write", "/tmp/new", "x"]), ["ok"]);
    assert_eq!(fs::read_to_string(format!("{source}/new")).expect("written inside"), "x");
}

/// "type": Docker and containerd write `bind`.
#[test]
fn the_type_bind_needs_no_option() {
    if beyond_runc("1.1 wants the option too") {
        return;
    }
    let (mut container, source) = with_file();
    container.mount("/tmp", "bind", &source, &[]);
    assert_eq!(container.run_args(&["probe", "cat", "/tmp/file"]), ["from the host"]);
}

#[test]
fn a_file_is_bound_on_a_file_made_for_it() {
    let (mut container, source) = with_file();
    container.mount("/etc/deep/down/file", "bind", &format!("{source}/file"), &["rbind", "ro"]);
    assert_eq!(container.run_args(&["probe", "cat", "/etc/deep/down/file"]), ["from the host"]);
    container.args(&["probe", "write", "/etc/deep/down/file", "x"]);
    assert_eq!(container.run().stdout, "EROFS\n");
    assert!(container.rootfs("etc/deep/down/file").is_file());
}

#[test]
fn a_bind_may_be_read_only() {
    let (mut container, source) = with_file();
    container.mount("/tmp", "bind", &source, &["bind", "ro", "nosuid", "nodev", "noexec"]);
    let report = container.report();
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has(&mount_at(&report, "/tmp")["options"], word), "{word}");
    }
    container.args(&["probe", "write", "/tmp/file", "x"]);
    assert_eq!(container.run().stdout, "EROFS\n");
}

/// A source that is relative is relative to the bundle.
#[test]
fn a_relative_source_is_below_the_bundle() {
    let (mut container, _) = with_file();
    container.mount("/tmp", "bind", "source", &["bind"]);
    assert_eq!(container.run_args(&["probe", "cat", "/tmp/file"]), ["from the host"]);
}

#[test]
fn a_source_that_is_not_there_is_an_error() {
    let mut container = Container::new();
    container.mount("/tmp", "bind", "/no/such/source", &["bind"]);
    container.run().fails_with("/no/such/source");
    container.assert_clean();
}

#[test]
fn a_directory_is_not_bound_on_a_file() {
    let (mut container, source) = with_file();
    fs::write(container.rootfs("etc/file"), "").expect("our own file");
    container.mount("/etc/file", "bind", &source, &["bind"]);
    container.run().fails();
    container.assert_clean();
}

/// A tmpfs with another on a directory in it, mounted on the host in a namespace of the runtime's own.
fn nested_source(container: &Container) -> (String, String) {
    nested_source_with(container, "rw")
}

fn nested_source_with(container: &Container, options: &str) -> (String, String) {
    let source = container.host_directory("source");
    fs::create_dir(format!("{source}/sub")).expect("our own directory");
    let script = format!(
        "mount -t tmpfs -o {options} outer {source}/sub && echo below >{source}/sub/file && exec \"$@\"",
    );
    (source, script)
}

fn run_in(container: &Container, script: &str) -> conformance::harness::Output {
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"];
    container.runtime_by(&prefix, &["run", &container.id])
}

#[test]
fn rbind_takes_what_is_mounted_below_and_bind_does_not() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let (source, script) = nested_source(&container);
    container.args(&["probe", "ls", "/tmp/sub"]);
    container.mount("/tmp", "bind", &source, &["rbind"]);
    assert_eq!(run_in(&container, &script).lines(), ["file"]);
    container.unmount("/tmp").mount("/tmp", "bind", &source, &["bind"]);
    assert_eq!(run_in(&container, &script).lines(), Vec::<String>::new());
}

/// "ro" is for the mount itself; "rro" for all below it too.
#[test]
fn recursive_options_reach_what_is_mounted_below() {
    if !require_root() || !require_mount_setattr() {
        return;
    }
    let mut container = Container::new();
    let (source, script) = nested_source(&container);
    for (option, word) in [
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rrelatime", "relatime"),
    ] {
        container.unmount("/tmp").mount("/tmp", "bind", &source, &["rbind", option]);
        container.args(&["probe", "report", "--json"]);
        let report = run_in(&container, &script).json();
        for destination in ["/tmp", "/tmp/sub"] {
            assert!(has(&mount_at(&report, destination)["options"], word), "{option} at {destination}");
        }
    }
    container.unmount("/tmp").mount("/tmp", "bind", &source, &["rbind", "ro"]);
    let report = run_in(&container, &script).json();
    assert!(has(&mount_at(&report, "/tmp")["options"], "ro"));
    assert!(has(&mount_at(&report, "/tmp/sub")["options"], "rw"));
}

/// The opposites, for a mount below that has all of these.
#[test]
fn recursive_opposites_reach_what_is_mounted_below() {
    if !require_root()
        || !require_mount_setattr()
        || beyond_runc("1.1 does not clear how access times are kept")
    {
        return;
    }
    let mut container = Container::new();
    let (source, script) = nested_source_with(&container, "nosuid,nodev,noexec,noatime,nodiratime");
    for (option, word) in [
        ("rsuid", "nosuid"),
        ("rdev", "nodev"),
        ("rexec", "noexec"),
        ("ratime", "noatime"),
        ("rrelatime", "noatime"),
        ("rstrictatime", "noatime"),
        ("rdiratime", "nodiratime"),
    ] {
        container.unmount("/tmp").mount("/tmp", "bind", &source, &["rbind"]);
        container.args(&["probe", "report", "--json"]);
        let before = run_in(&container, &script).json();
        assert!(has(&mount_at(&before, "/tmp/sub")["options"], word), "{word} is there without {option}");
        container.unmount("/tmp").mount("/tmp", "bind", &source, &["rbind", option]);
        let report = run_in(&container, &script).json();
        let below = &mount_at(&report, "/tmp/sub")["options"];
        assert!(!has(below, word), "{option}: {below}");
        // The kernel's default, unless all accesses are to be kept.
        assert_eq!(
            has(below, "relatime"),
            word == "noatime" && option != "rstrictatime",
            "{option}: {below}"
        );
    }
}

/// "slave", of a mount that the runtime shares: what is mounted there later comes in, and not the reverse.
#[test]
fn a_slave_has_the_mount_outside_for_master() {
    if !require_root() {
        return;
    }
    for option in ["slave", "rslave"] {
        let mut container = Container::new();
        let (source, script) = nested_source(&container);
        let shared = format!("mount --bind {source} {source} && mount --make-shared {source} && {script}");
        // Else it would be one by what the whole tree is.
        container.config["linux"]["rootfsPropagation"] = json!("shared");
        container.mount("/tmp", "bind", &source, &["rbind", option]);
        container.args(&["probe", "report", "--json"]);
        let report = run_in(&container, &shared).json();
        let tags = |at: &str| mount_at(&report, at)["propagation"].to_string();
        assert!(
            tags("/tmp").contains("master:") && !tags("/tmp").contains("shared:"),
            "{option}: {}",
            tags("/tmp")
        );
        assert_eq!(tags("/tmp/sub").contains("shared:"), option == "slave", "{option}: {}", tags("/tmp/sub"));
    }
}

/// config.md: "shared", "slave", "private", "unbindable" and their recursive forms.
#[test]
fn propagation_is_set() {
    if !require_root() {
        return;
    }
    for (option, expected) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        let (mut container, source) = with_file();
        container.mount("/tmp", "bind", &source, &["bind", option]);
        let report = container.report();
        let tags = mount_at(&report, "/tmp")["propagation"].as_array().expect("a list").clone();
        let shown: Vec<_> = tags.iter().filter_map(Value::as_str).collect();
        match expected {
            "" => assert!(shown.is_empty(), "{option}: {shown:?}"),
            prefix => assert!(shown.iter().any(|tag| tag.starts_with(prefix)), "{option}: {shown:?}"),
        }
    }
}

/// "destination … For bind mounts and others it is created when missing" (runc), and inside the root.
#[test]
fn a_missing_destination_is_made() {
    let mut container = Container::new();
    container.mount("/made/for/it", "tmpfs", "tmpfs", &[]);
    let report = container.report();
    assert_eq!(mount_at(&report, "/made/for/it")["type"], "tmpfs");
    assert!(container.rootfs("made/for/it").is_dir());
}

/// "destination … This value MUST be an absolute path"; what runc 1.1 took as below the root stays so.
#[test]
fn a_relative_destination_is_below_the_root() {
    let mut container = Container::new();
    container.mount("tmp", "tmpfs", "tmpfs", &[]);
    assert_eq!(mount_at(&container.report(), "/tmp")["type"], "tmpfs");
}

#[test]
fn a_destination_behind_a_link_stays_inside() {
    let mut container = Container::new();
    let outside = container.host_directory("outside");
    symlink(&outside, container.rootfs("link")).expect("our own directory");
    container.mount("/link/sub", "tmpfs", "tmpfs", &[]);
    let report = container.report();
    assert_eq!(mount_at(&report, &format!("{outside}/sub"))["type"], "tmpfs");
    assert!(!std::path::Path::new(&format!("{outside}/sub")).exists(), "made on the host");
}

#[test]
fn a_destination_with_dots_stays_inside() {
    let mut container = Container::new();
    symlink("../../../../../../tmp", container.rootfs("etc/up")).expect("our own directory");
    container.mount("/etc/up", "tmpfs", "inside", &[]);
    let report = container.report();
    assert_eq!(mount_at(&report, "/tmp")["source"], "inside");
}

/// "The runtime MUST mount entries in the listed order."
#[test]
fn mounts_are_made_in_order() {
    let (mut container, source) = with_file();
    container.mount("/tmp", "tmpfs", "first", &[]);
    container.mount("/tmp/sub", "bind", &source, &["bind"]);
    let report = container.report();
    assert_eq!(mount_at(&report, "/tmp")["source"], "first");
    assert_eq!(container.run_args(&["probe", "cat", "/tmp/sub/file"]), ["from the host"]);
    // The other way round the second hides the first.
    container.mount("/tmp", "tmpfs", "second", &[]);
    assert_eq!(container.run_args(&["probe", "ls", "/tmp"]), Vec::<String>::new());
}

#[test]
fn a_destination_may_have_odd_characters() {
    let mut container = Container::new();
    for name in ["/tmp/a b", "/tmp/a:b", "/tmp/a,b", "/tmp/ünï", "/tmp/a\\b"] {
        container.mount(name, "tmpfs", "odd", &[]);
    }
    let report = container.report();
    for name in ["/tmp/a b", "/tmp/a:b", "/tmp/a,b", "/tmp/ünï", "/tmp/a\\b"] {
        assert_eq!(mount_at(&report, name)["source"], "odd");
    }
}

/// config-linux.md, "Default Filesystems": the ones of `runc spec`, as they are asked for.
#[test]
fn the_default_file_systems_are_there() {
    let report = Container::new().report();
    for (destination, kind) in [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
    ] {
        assert_eq!(mount_at(&report, destination)["type"], kind);
    }
    let sys = &mount_at(&report, "/sys")["options"];
    for word in ["ro", "nosuid", "noexec", "nodev"] {
        assert!(has(sys, word), "{sys}");
    }
}

#[test]
fn proc_shows_the_containers_processes_only() {
    let mut container = Container::new();
    let lines = container.run_args(&["probe", "ls", "/proc"]);
    let pids: Vec<_> = lines.iter().filter(|name| name.parse::<u32>().is_ok()).collect();
    assert_eq!(pids, ["1"]);
}

/// devpts is an instance of its own: its ptmx makes `/dev/pts/0`.
#[test]
fn devpts_is_new() {
    let mut container = Container::new();
    assert_eq!(container.run_args(&["probe", "ls", "/dev/pts"]), ["ptmx"]);
    let report = container.report();
    assert!(has(&mount_at(&report, "/dev/pts")["super_options"], "ptmxmode=666"));
}

/// runc: a tmpfs that begins with what the image has at its destination.
#[test]
fn tmpcopyup_copies_the_image() {
    let mut container = Container::new();
    fs::create_dir(container.rootfs("data")).expect("our own directory");
    fs::write(container.rootfs("data/file"), "from the image").expect("our own file");
    symlink("file", container.rootfs("data/link")).expect("our own file");
    container.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    assert_eq!(container.run_args(&["probe", "cat", "/data/file"]), ["from the image"]);
    assert_eq!(container.run_args(&["probe", "readlink", "/data/link"]), ["file"]);
    assert_eq!(container.run_args(&["probe", "write", "/data/file", "changed"]), ["ok"]);
    assert_eq!(fs::read_to_string(container.rootfs("data/file")).expect("our own file"), "from the image");
}

#[test]
fn overlay_is_mounted() {
    if !require_root() {
        return;
    }
    let (mut container, lower) = with_file();
    let (upper, work) = (container.host_directory("upper"), container.host_directory("work"));
    let options = [format!("lowerdir={lower}"), format!("upperdir={upper}"), format!("workdir={work}")];
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    container.mount("/tmp", "overlay", "overlay", &words);
    assert_eq!(container.run_args(&["probe", "write", "/tmp/file", "changed"]), ["ok"]);
    assert_eq!(fs::read_to_string(format!("{upper}/file")).expect("copied up"), "changed");
    assert_eq!(fs::read_to_string(format!("{lower}/file")).expect("our own file"), "from the host");
}

/// A cgroup mount shows the container's own cgroups, for every hierarchy of the host.
#[test]
fn cgroups_are_mounted_read_only() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    let report = container.report();
    let mounts = report["mounts"].as_array().expect("mounts");
    let cgroups: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["type"].as_str().is_some_and(|kind| kind.starts_with("cgroup")))
        .collect();
    assert!(!cgroups.is_empty());
    for mount in cgroups {
        assert!(has(&mount["options"], "ro"), "{mount}");
        assert!(
            mount["root"].as_str().is_some_and(|root| root.ends_with(&container.id)),
            "not its own: {mount}"
        );
    }
}

#[test]
fn cgroups_are_mounted_in_a_cgroup_namespace() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.namespace("cgroup", None);
    let report = container.report();
    let mounts = report["mounts"].as_array().expect("mounts");
    let mut count = 0;
    for mount in mounts {
        if mount["type"].as_str().is_some_and(|kind| kind.starts_with("cgroup")) {
            count += 1;
            assert_eq!(mount["root"], "/", "{mount}");
            assert!(has(&mount["options"], "ro"), "{mount}");
        }
    }
    assert!(count > 0);
}

/// Nothing the container mounts or the runtime prepared shows up on the host.
#[test]
fn the_hosts_mounts_stay_as_they_are() {
    let mut container = Container::new();
    container.mount("/tmp", "tmpfs", "tmpfs", &[]);
    container.launch_trap(&["TERM"]);
    let text = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let ours = container.directory().to_string_lossy().into_owned();
    let leaked: Vec<_> = text.lines().filter(|line| line.contains(&ours)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

/// config.md: "uidMappings", "gidMappings" with "idmap".
#[test]
fn a_bind_is_id_mapped() {
    if beyond_runc("1.1 has no id-mapped mounts") || !require_root() || !require_mount_setattr() {
        return;
    }
    let (mut container, source) = with_file();
    container.mount("/tmp", "bind", &source, &["bind", "idmap"]);
    let mapping = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
    let at = container.config["mounts"].as_array().expect("mounts").len() - 1;
    container.config["mounts"][at]["uidMappings"] = mapping.clone();
    container.config["mounts"][at]["gidMappings"] = mapping;
    let line = container.run_args(&["probe", "stat", "/tmp/file"]);
    let shown: Value = serde_json::from_str(&line[0]).expect("JSON");
    assert_eq!((&shown["uid"], &shown["gid"]), (&json!(5000), &json!(5000)));
    assert_eq!(fs::metadata(format!("{source}/file")).expect("our own file").uid(), 0);
}

#[test]
fn an_id_mapped_file_system_that_cannot_be_is_an_error() {
    if beyond_runc("1.1 has no id-mapped mounts") || !require_root() {
        return;
    }
    let mut container = Container::new();
    container.mount("/tmp", "proc", "proc", &["idmap"]);
    let at = container.config["mounts"].as_array().expect("mounts").len() - 1;
    container.config["mounts"][at]["uidMappings"] = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
    container.config["mounts"][at]["gidMappings"] = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
    container.run().fails();
    container.assert_clean();
}

/// A mount over a mask of the config, or below `/proc`, is refused (CVE-2019-16884): the real files must show.
#[test]
fn a_bind_over_proc_is_refused() {
    let (mut container, source) = with_file();
    container.mount("/proc", "bind", &source, &["bind"]);
    container.run().fails_with("proc");
    container.assert_clean();
}

/// A link at `/proc` in the image must not lead procfs elsewhere (CVE-2021-30465 and its family).
#[test]
fn a_link_at_proc_is_refused() {
    let container = Container::new();
    fs::remove_dir(container.rootfs("proc")).expect("our own directory");
    fs::create_dir(container.rootfs("evil")).expect("our own directory");
    symlink("/evil", container.rootfs("proc")).expect("our own directory");
    container.run().fails();
    container.assert_clean();
}
