//! docs/kernel-features.md: without the calls that are younger than Linux 5.10 a container is the same, or the error
//! names the version that is needed.
//!
//! Every world is one row of that page, or all of them: calls fail as on the older kernel, under a filter that `deny` puts on
//! the runtime and the container.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use conformance::harness::{
    Container, Kind, NOBODY, deny, is_mounted_hierarchy, is_root, kind, require_program, require_root, skip,
};
use serde_json::{Value, json};

/// The rules of `deny`.  A kernel without uname(2) is taken for the oldest that is supported.
const WORLDS: [&str; 5] = ["mount_setattr", "nosymfollow", "uname", "5.10", "5.10,uname"];

/// Other runtimes need not have these fallbacks.
fn only_orlop() -> bool {
    let ours = kind() == Kind::Other;
    if !ours {
        skip("only orlop promises Linux 5.10");
    }
    ours
}

fn in_world(mut container: Container, rules: &str) -> Container {
    container.by = deny(rules);
    container
}

/// What a mount is, without the numbers that no two containers share.
fn described(mount: &Value, container: &Container) -> String {
    let propagation = mount["propagation"].as_array().into_iter().flatten();
    let kinds: Vec<&str> =
        propagation.filter_map(Value::as_str).filter_map(|kind| kind.split(':').next()).collect();
    let root = mount["root"].as_str().unwrap_or_default().replace(&container.id, "ID");
    let (at, kind) = (&mount["destination"], &mount["type"]);
    format!("{at} {kind} {root} {} {kinds:?}", mount["options"])
}

fn described_all(container: &mut Container) -> Vec<String> {
    let report = container.report();
    let mounts = report["mounts"].as_array().expect("mounts");
    mounts.iter().map(|mount| described(mount, container)).collect()
}

/// Asserts that a container has the same mounts in every world as without any denial, and that what is `wanted` is among them.
#[track_caller]
fn same_mounts(new: impl Fn() -> Container, configure: impl Fn(&mut Container), wanted: &[(&str, &str)]) {
    if !only_orlop() {
        return;
    }
    let make = || {
        let mut container = new();
        configure(&mut container);
        container
    };
    let expected = described_all(&mut make());
    for (destination, option) in wanted {
        let start = format!("\"{destination}\" ");
        let last = expected.iter().rev().find(|mount| mount.starts_with(&start));
        let last = last.unwrap_or_else(|| panic!("no mount at {destination}: {expected:#?}"));
        assert!(last.contains(&format!("\"{option}\"")), "{destination} should have {option}: {last}");
    }
    for world in WORLDS {
        let found = described_all(&mut in_world(make(), world));
        let missing: Vec<_> = expected.iter().filter(|mount| !found.contains(mount)).collect();
        let added: Vec<_> = found.iter().filter(|mount| !expected.contains(mount)).collect();
        assert!(found == expected, "without {world}\n  missing: {missing:#?}\n  instead: {added:#?}");
    }
}

/// Root's container, and an ordinary user's.
#[track_caller]
fn same_mounts_for_all(configure: impl Fn(&mut Container), wanted: &[(&str, &str)]) {
    same_mounts(Container::new, &configure, wanted);
    if is_root() {
        same_mounts(|| Container::as_user(NOBODY), &configure, wanted);
    }
}

#[test]
fn the_plain_bundle() {
    // Its root is read-only, and it has masked and read-only paths; among those is no file that every kernel has.
    let configure = |container: &mut Container| {
        let paths = container.config["linux"]["readonlyPaths"].as_array_mut().expect("read-only paths");
        paths.push(json!("/proc/version"));
    };
    let wanted = [("/", "ro"), ("/proc/sys", "ro"), ("/proc/version", "ro"), ("/sys/firmware", "ro")];
    same_mounts_for_all(configure, &wanted);
}

/// What is read-only in the report is so for who writes.
#[test]
fn read_only_is_read_only() {
    if !only_orlop() {
        return;
    }
    for world in WORLDS {
        for path in ["/new", "/proc/sys/kernel/hostname", "/bound/file", "/file"] {
            let mut container = in_world(Container::new(), world);
            let directory = container.host_directory("bound");
            let file = format!("{directory}/file");
            fs::write(&file, "before").expect("own file");
            container.mount("/bound", "bind", &directory, &["bind", "ro"]);
            container.mount("/file", "bind", &file, &["bind", "ro"]);
            container.args(&["probe", "write", path, "after"]);
            let output = container.run();
            assert_eq!((output.code(), output.stdout.trim()), (1, "EROFS"), "{world}: {path}: {output}");
        }
    }
}

#[test]
fn bind_mounts_with_attributes() {
    let configure = |container: &mut Container| {
        let directory = container.host_directory("bound");
        let file = format!("{directory}/file");
        fs::write(&file, "").expect("own file");
        let mut bind = |destination: &str, source: &str, options: &[&str]| {
            container.mount(destination, "bind", source, &[&["bind"], options].concat());
        };
        bind("/d/ro", &directory, &["ro"]);
        bind("/d/nosuid", &directory, &["nosuid", "nodev", "noexec"]);
        bind("/d/nosymfollow", &directory, &["nosymfollow", "ro"]);
        bind("/f/ro", &file, &["ro"]);
        bind("/f/nosuid", &file, &["nosuid"]);
        bind("/f/plain", &file, &[]);
        bind("/r/ro", &directory, &["rbind", "ro"]);
    };
    let wanted = [
        ("/d/ro", "ro"),
        ("/d/nosuid", "nosuid"),
        ("/d/nosuid", "noexec"),
        ("/d/nosymfollow", "nosymfollow"),
        ("/d/nosymfollow", "ro"),
        ("/f/ro", "ro"),
        ("/f/nosuid", "nosuid"),
        ("/f/plain", "rw"),
        ("/r/ro", "ro"),
    ];
    same_mounts_for_all(
        |container| {
            container.config["root"]["readonly"] = json!(false);
            configure(container);
        },
        &wanted,
    );
}

/// The way to keep access times is a field: the fallback must state it anew, whatever it was.
#[test]
fn access_times() {
    if !require_root() {
        return;
    }
    let configure = |container: &mut Container| {
        let directory = container.host_directory("bound");
        container.mount("/tmp/bound", "bind", &directory, &["bind", "noatime", "nodiratime"]);
        for (index, times) in ["noatime", "strictatime", "relatime"].iter().enumerate() {
            for (second, other) in
                ["noatime", "strictatime", "relatime", "ro", "nodiratime"].iter().enumerate()
            {
                let place = format!("/tmp/{index}{second}");
                container.mount(&place, "tmpfs", "tmpfs", &[times]);
                container.mount(&place, "none", "none", &["remount", other]);
            }
        }
    };
    same_mounts(
        Container::new,
        |container| {
            container.mount("/tmp", "tmpfs", "tmpfs", &[]);
            configure(container);
        },
        &[
            ("/tmp/02", "relatime"),
            ("/tmp/10", "noatime"),
            ("/tmp/03", "ro"),
            ("/tmp/14", "nodiratime"),
            ("/tmp/bound", "noatime"),
        ],
    );
}

/// New file systems: `nosymfollow`, what is copied up, and what is read-only only after something was made in it.
#[test]
fn new_file_systems() {
    let configure = |container: &mut Container| {
        container.mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
        container.mount("/tmp", "tmpfs", "tmpfs", &["ro", "nosymfollow"]);
        container.mount("/tmp/below", "tmpfs", "tmpfs", &["nosuid", "nosymfollow"]);
    };
    let wanted = [("/etc", "ro"), ("/tmp", "ro"), ("/tmp", "nosymfollow"), ("/tmp/below", "nosymfollow")];
    same_mounts_for_all(configure, &wanted);
}

/// nosymfollow by the old mount API is what its name says.
#[test]
fn links_are_not_followed() {
    if !only_orlop() {
        return;
    }
    for world in WORLDS {
        let mut container = in_world(Container::new(), world);
        let directory = container.host_directory("bound");
        fs::write(format!("{directory}/file"), "text").expect("own file");
        symlink("file", format!("{directory}/link")).expect("own link");
        container.mount("/tmp", "bind", &directory, &["bind", "nosymfollow"]);
        assert_eq!(container.run_args(&["cat", "/tmp/file"]), ["text"], "{world}");
        container.args(&["cat", "/tmp/link"]);
        assert_eq!(container.run().stdout.trim(), "ELOOP", "{world}");
    }
}

/// Where the network is the caller's, an ordinary user cannot mount a sysfs and gets a copy of the host's.
#[test]
fn a_bound_sysfs_keeps_its_options() {
    let configure = |container: &mut Container| {
        container.no_namespace("network");
    };
    let user = if is_root() { || Container::as_user(NOBODY) } else { Container::new };
    same_mounts(user, configure, &[("/sys", "ro"), ("/sys", "nosuid")]);
}

#[test]
fn propagation_of_mounts() {
    let configure = |container: &mut Container| {
        let source = container.host_directory("bound");
        for kind in
            ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"]
        {
            container.mount(&format!("/tmp/{kind}"), "bind", &source, &["rbind", kind]);
        }
    };
    same_mounts_for_all(
        |container| {
            container.mount("/tmp", "tmpfs", "tmpfs", &[]);
            configure(container);
        },
        &[("/tmp/shared", "shared"), ("/tmp/unbindable", "unbindable")],
    );
}

#[test]
fn propagation_of_the_root() {
    if !require_root() {
        return;
    }
    for kind in ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"] {
        let configure = |container: &mut Container| {
            container.config["linux"]["rootfsPropagation"] = json!(kind);
        };
        same_mounts(Container::new, configure, &[("/", "ro")]);
    }
}

#[test]
fn roots_user_namespaces() {
    if !require_root() {
        return;
    }
    let configure = |container: &mut Container| {
        container.namespace("user", None);
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        container.config["linux"]["uidMappings"] = mapping.clone();
        container.config["linux"]["gidMappings"] = mapping;
        let source = container.host_directory("bound");
        // The parent opens it among the host's mounts.
        container.mount("/tmp", "bind", &source, &["rbind", "ro", "nosuid"]);
    };
    same_mounts(Container::new, configure, &[("/tmp", "ro"), ("/tmp", "nosuid")]);
}

/// Before Linux 5.16 the clone cannot enter groups of version 1 by itself when it is in a new user namespace.
#[test]
fn cgroups_of_a_user_namespace() {
    if !require_root() || !only_orlop() {
        return;
    }
    for world in WORLDS {
        let mut container = in_world(Container::new(), world);
        container.namespace("user", None);
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        container.config["linux"]["uidMappings"] = mapping.clone();
        container.config["linux"]["gidMappings"] = mapping;
        let path = format!("/own-{}", container.id);
        container.config["linux"]["cgroupsPath"] = json!(path);
        container.launch_trap(&["TERM"]);
        let pid = container.state()["pid"].to_string();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("procfs");
        let groups = groups.lines().filter(|line| is_mounted_hierarchy(line));
        let groups: BTreeSet<&str> = groups.filter_map(|line| line.rsplit(':').next()).collect();
        assert_eq!(groups, BTreeSet::from([path.as_str()]), "{world}");
        container.delete(&["--force"]).ok();
    }
}

#[test]
fn time_namespaces() {
    if !only_orlop() || !Path::new("/proc/self/ns/time").exists() {
        return;
    }
    for world in WORLDS {
        let mut container = in_world(Container::new(), world);
        container.namespace("time", None);
        container.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 500, "nanosecs": 0 } });
        let offsets = container.run_args(&["cat", "/proc/self/timens_offsets"]);
        let boottime = offsets.iter().find(|line| line.starts_with("boottime")).expect("a clock");
        assert_eq!(boottime.split_whitespace().nth(1), Some("500"), "{world}");
    }
}

fn lives_and_dies(container: &mut Container, world: &str) {
    let output = container.launch_trap(&["TERM"]);
    assert_eq!(container.status(), "running", "{world}");
    let id = container.id.clone();
    let exec = container.runtime(&["exec", &id, "/bin/echo", "inside"]);
    assert_eq!(exec.lines(), ["inside"], "{world}");
    container.kill("TERM").ok();
    container.await_status("stopped");
    assert!(fs::read_to_string(&output).is_ok_and(|text| text.contains("TERM")), "{world}");
    container.delete(&[]).ok();
}

#[test]
fn every_command() {
    if !only_orlop() {
        return;
    }
    for world in WORLDS {
        lives_and_dies(&mut in_world(Container::new(), world), world);
        if is_root() {
            lives_and_dies(&mut in_world(Container::as_user(NOBODY), world), world);
        }
    }
}

/// `cgroup.kill` is of Linux 5.14.  A device without a driver in its place cannot be opened, as a file that is not there.
#[test]
fn killing_without_cgroup_kill() {
    if !require_root() || !only_orlop() || !require_program("unshare") || !require_program("mount") {
        return;
    }
    let mut container = Container::new();
    // No pid namespace, so that it is the group that all must be found by.
    container.no_namespace("pid");
    let path = format!("/own-{}", container.id);
    container.config["linux"]["cgroupsPath"] = json!(path);
    container.launch(&["probe", "seq", "--", "orphan", "60", "--", "sleep", "60"]);
    let points = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let file = points
        .map(|point| format!("{point}{path}/cgroup.kill"))
        .into_iter()
        .find(|file| Path::new(file).exists());
    let Some(file) = file else {
        skip("no cgroup of version 2, or no cgroup.kill");
        container.delete(&["--force"]).ok();
        return;
    };
    // 10 is the major number of devices that register a minor; 251 is nobody's.
    let script = format!(
        "mknod nothing c 10 251 && mount --bind nothing {file} && ! echo 1 2>&- >{file} && exec \"$@\""
    );
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let id = container.id.clone();
    container.runtime_by(&prefix, &["delete", "--force", &id]).ok();
    container.assert_clean();
}

/// What has no way round it names the version, whether the kernel's number tells or the call's answer.
#[test]
fn errors_name_the_version() {
    if !require_root() || !only_orlop() {
        return;
    }
    let cases: [(&str, &[&str], &str); 7] = [
        (
            "uname",
            &["rbind", "rro"],
            "mounts[7].options: an option for a whole tree (rro and the like) needs Linux 5.12",
        ),
        ("mount_setattr", &["rbind", "rro"], "needs Linux 5.12"),
        ("mount_setattr", &["rbind", "rnosymfollow"], "needs Linux 5.12"),
        (
            "uname",
            &["rbind", "rnosymfollow"],
            "mounts[7].options: rnosymfollow or rsymfollow needs Linux 5.14",
        ),
        ("uname", &["bind", "idmap"], "mounts[7].options: an id-mapped mount needs Linux 5.12"),
        ("mount_setattr", &["bind", "idmap"], "an id-mapped mount needs Linux 5.12"),
        ("5.10,uname", &["rbind", "rro"], "needs Linux 5.12, and this is 5.10"),
    ];
    for (world, options, message) in cases {
        let mut container = in_world(Container::new(), world);
        let source = container.host_directory("bound");
        container.mount("/tmp", "bind", &source, options);
        if options.contains(&"idmap") {
            let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            container.config["mounts"][7]["uidMappings"] = mapping.clone();
            container.config["mounts"][7]["gidMappings"] = mapping;
        }
        container.run().fails_with(message);
    }
}

/// Memory policies are the kernel's: none but its own can stand in for one that it lacks.
#[test]
fn errors_name_the_version_of_a_memory_policy() {
    if !only_orlop() {
        return;
    }
    let cases = [
        (
            json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }),
            "mode: MPOL_PREFERRED_MANY needs Linux 5.15",
        ),
        (
            json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }),
            "mode: MPOL_WEIGHTED_INTERLEAVE needs Linux 6.9",
        ),
        (
            json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }),
            "flags: MPOL_F_NUMA_BALANCING needs Linux 5.12",
        ),
    ];
    for (policy, message) in cases {
        let mut container = in_world(Container::new(), "uname");
        container.config["linux"]["memoryPolicy"] = policy;
        container.run().fails_with(&format!("linux.memoryPolicy.{message}, and this is 5.10"));
    }
}

/// The calls of Linux 5.10 itself are required: without one of them nothing runs, and the error says which.
#[test]
fn errors_name_the_call() {
    if !only_orlop() {
        return;
    }
    for call in
        ["clone3", "close_range", "faccessat2", "fsopen", "fsmount", "move_mount", "open_tree", "openat2"]
    {
        let container = in_world(Container::new(), call);
        let output = container.run().fails();
        let message = output.stderr.lines().last().unwrap_or_default();
        assert!(message.contains(call) && message.contains("function not implemented"), "{call}: {output}");
        container.assert_clean();
    }
}
