//! config-linux.md, "User namespace mappings", as root and as an ordinary user.

use std::fs;
use std::os::unix::fs::MetadataExt;

use conformance::harness::{
    Container, Kind, NOBODY, Output, beyond_runc, is_root, kind, require_program, require_root, skip,
};
use serde_json::{Value, json};

/// A container of root's, in a user namespace of 65536 ids from 100000 on, with a root file system that they own.
fn shifted() -> Container {
    let mut container = Container::new();
    container.namespace("user", None);
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    container.config["linux"]["uidMappings"] = mapping.clone();
    container.config["linux"]["gidMappings"] = mapping;
    container
}

#[test]
fn roots_mappings_are_the_configs() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    container.config["linux"]["uidMappings"] = json!([
        { "containerID": 0, "hostID": 100_000, "size": 1000 },
        { "containerID": 1000, "hostID": 300_000, "size": 1 },
        { "containerID": 1001, "hostID": 200_000, "size": 10 },
    ]);
    container.config["linux"]["gidMappings"] =
        json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    let report = container.report();
    assert_eq!(
        report["identity"]["uid_map"],
        json!([[0, 100_000, 1000], [1000, 300_000, 1], [1001, 200_000, 10]])
    );
    assert_eq!(report["identity"]["gid_map"], json!([[0, 100_000, 65536]]));
    assert_eq!(report["identity"]["uid"], json!([0, 0, 0, 0]));
    assert_eq!(report["identity"]["gid"], json!([0, 0, 0, 0]));
}

#[test]
fn a_user_of_the_namespace_is_taken() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    container.config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] });
    let report = container.report();
    assert_eq!(report["identity"]["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(report["identity"]["gid"], json!([1001, 1001, 1001, 1001]));
    assert_eq!(report["identity"]["groups"], json!([5, 7]));
}

/// Seen from the host the process is the mapped user's.
#[test]
fn outside_the_process_has_the_mapped_id() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    container.launch_trap(&["TERM"]);
    let pid = &container.state()["pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("a field of status");
    assert_eq!(line, "Uid:\t100000\t100000\t100000\t100000");
}

#[test]
fn files_made_inside_are_the_mapped_users() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    let shared = container.host_directory("shared");
    std::os::unix::fs::chown(&shared, Some(100_000), Some(100_000)).expect("root can give its file away");
    container.mount("/tmp", "bind", &shared, &["bind"]);
    assert_eq!(container.run_args(&["probe", "write", "/tmp/file", "x"]), ["ok"]);
    let meta = fs::metadata(format!("{shared}/file")).expect("written inside");
    assert_eq!((meta.uid(), meta.gid()), (100_000, 100_000));
}

/// Mounts, devices and masks work in a user namespace of root's as they do without.
#[test]
fn the_devices_and_mounts_are_there() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    let report = container.report();
    let devices = report["devices"].as_array().expect("a list");
    for path in ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"] {
        assert!(devices.iter().any(|device| device["path"] == path && device["type"] == "c"), "{path}");
    }
    assert_eq!(container.run_args(&["probe", "open-rw", "/dev/null"]), ["ok"]);
    for destination in ["/proc", "/sys", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        let mounts = report["mounts"].as_array().expect("a list");
        assert!(mounts.iter().any(|mount| mount["destination"] == destination), "{destination}");
    }
}

#[test]
fn root_in_a_user_namespace_has_the_configs_capabilities() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    let sets = &container.report()["capabilities"];
    assert_eq!(sets["effective"]["names"], json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]));
}

/// With the host's network the namespace does not own it, and sysfs cannot be new: it is bound from the host.
#[test]
fn sysfs_falls_back_to_the_hosts_with_the_hosts_network() {
    if kind() == Kind::Runc || !require_root() {
        if kind() == Kind::Runc {
            skip("runc differs: 1.1 wants a bind mount in the config");
        }
        return;
    }
    let mut container = shifted();
    container.no_namespace("network");
    let report = container.report();
    let mounts = report["mounts"].as_array().expect("a list");
    let sys = mounts.iter().find(|mount| mount["destination"] == "/sys").expect("a mount at /sys");
    assert_eq!(sys["type"], "sysfs");
    assert!(sys["options"].as_array().is_some_and(|options| options.contains(&json!("ro"))), "{sys}");
}

#[test]
fn a_user_namespace_without_mappings_is_an_error() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    let linux = container.config["linux"].as_object_mut().expect("an object");
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    container.run().fails();
    container.assert_clean();
}

#[test]
fn mappings_without_a_user_namespace_are_an_error() {
    if beyond_runc("1.1 does not look at them") || !require_root() {
        return;
    }
    let mut container = shifted();
    container.no_namespace("user");
    container.run().fails();
    container.assert_clean();
}

#[test]
fn mappings_that_overlap_are_an_error() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    container.config["linux"]["uidMappings"] = json!([
        { "containerID": 0, "hostID": 100_000, "size": 10 },
        { "containerID": 5, "hostID": 200_000, "size": 10 },
    ]);
    container.run().fails();
    container.assert_clean();
}

#[test]
fn a_user_that_is_not_mapped_is_an_error() {
    if !require_root() {
        return;
    }
    let mut container = shifted();
    container.config["process"]["user"] = json!({ "uid": 70_000, "gid": 0 });
    container.run().fails();
    container.assert_clean();
}

/// An ordinary user, without subordinate ids: one mapping of one id, and setgroups denied.
#[test]
fn an_ordinary_user_runs_a_container() {
    let (mut container, user) = rootless();
    let report = container.report();
    assert_eq!(report["identity"]["uid_map"], json!([[0, user, 1]]));
    assert_eq!(report["identity"]["gid_map"], json!([[0, user, 1]]));
    assert_eq!(report["identity"]["setgroups"], "deny");
    assert_eq!(report["identity"]["uid"], json!([0, 0, 0, 0]));
    assert_eq!(report["hostname"], "container");
}

fn rootless() -> (Container, u32) {
    if is_root() {
        (Container::as_user(NOBODY), NOBODY)
    } else {
        (Container::new(), nix::unistd::getuid().as_raw())
    }
}

#[test]
fn an_ordinary_users_container_has_a_life_cycle() {
    let (mut container, _) = rootless();
    let output = container.launch_trap(&["USR1", "TERM"]);
    assert_eq!(container.status(), "running");
    container.kill("USR1").ok();
    container.kill("TERM").ok();
    container.await_status("stopped");
    assert_eq!(fs::read_to_string(output).expect("the output file"), "ready\nSIGUSR1\nSIGTERM\n");
    container.delete(&[]).ok();
    container.assert_clean();
}

#[test]
fn an_ordinary_user_is_themself_inside() {
    let (mut container, user) = rootless();
    container.config["linux"]["uidMappings"] = json!([{ "containerID": user, "hostID": user, "size": 1 }]);
    container.config["linux"]["gidMappings"] = json!([{ "containerID": user, "hostID": user, "size": 1 }]);
    container.config["process"]["user"] = json!({ "uid": user, "gid": user });
    if kind() == Kind::Runc {
        skip("runc differs: 1.1 wants root mapped");
        return;
    }
    assert_eq!(container.report()["identity"]["uid"], json!([user, user, user, user]));
}

#[test]
fn an_ordinary_users_devices_are_the_hosts() {
    let (mut container, _) = rootless();
    let steps = ["--", "open-rw", "/dev/null", "--", "open-rw", "/dev/urandom", "--", "open-rw", "/dev/ptmx"];
    assert_eq!(container.run_args(&[&["probe", "seq"], steps.as_slice()].concat()), ["ok"; 3]);
}

/// Ids that were not granted are refused by the kernel, and nothing is left.
#[test]
fn an_ordinary_user_cannot_map_ids_of_others() {
    let (mut container, user) = rootless();
    container.config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": user, "size": 2 }]);
    container.run().fails();
    container.config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    container.run().fails();
    container.assert_clean();
}

/// additionalGids need setgroups, which a single mapping without helpers does not have.
#[test]
fn an_ordinary_user_without_setgroups_has_no_additional_groups() {
    let (mut container, _) = rootless();
    container.config["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [5] });
    container.run().fails();
    container.assert_clean();
}

/// Where the state is kept when `--root` does not say: `$XDG_RUNTIME_DIR`.
#[test]
fn an_ordinary_users_state_is_in_the_runtime_directory() {
    let (container, _) = rootless();
    let mut command = container.command(&["list", "--quiet"]);
    // The same without --root and its value.
    let words: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut plain = std::process::Command::new(command.get_program());
    plain.args(words.iter().take_while(|word| *word != "--root")).args(["list", "--quiet"]);
    plain.current_dir("/").env_clear().env("XDG_RUNTIME_DIR", container.directory().join("run"));
    if is_root() {
        use std::os::unix::process::CommandExt;
        plain.uid(NOBODY).gid(NOBODY);
    }
    let output = plain.output().expect("the runtime starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"");
    assert!(command.output().expect("the runtime starts").status.success());
}

/// Runs as nobody, who is granted 1000 subordinate ids for the time, in a mount namespace of the command's own.
fn with_subordinate_ids(container: &Container) -> Output {
    let directory = container.directory().to_string_lossy().into_owned();
    fs::write(format!("{directory}/subid"), format!("{NOBODY}:400000:1000\n")).expect("our own file");
    let script = format!(
        "mount --bind {directory}/subid /etc/subuid && mount --bind {directory}/subid /etc/subgid &&
         exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\""
    );
    let prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    container.runtime_by(&prefix, &["run", &container.id])
}

#[test]
fn subordinate_ids_are_mapped_by_the_helpers() {
    if !require_root() || !require_program("newuidmap") || !require_program("setpriv") {
        return;
    }
    if !fs::exists("/etc/subuid").unwrap_or(false) || !fs::exists("/etc/subgid").unwrap_or(false) {
        skip("needs /etc/subuid and /etc/subgid to bind over");
        return;
    }
    let mut container = Container::as_user(NOBODY);
    // The runtime is started by root here and becomes nobody on the way.
    container.become_root();
    let mapping = |user: u32| json!([{ "containerID": 0, "hostID": user, "size": 1 }, { "containerID": 1, "hostID": 400_000, "size": 1000 }]);
    container.config["linux"]["uidMappings"] = mapping(NOBODY);
    container.config["linux"]["gidMappings"] = mapping(NOBODY);
    // runc gives an ordinary user no additional groups, whatever the kernel would allow.
    let groups = if kind() == Kind::Runc { json!([]) } else { json!([9]) };
    container.config["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": groups });
    container.args(&["probe", "report", "--json"]);
    let report: Value = with_subordinate_ids(&container).json();
    assert_eq!(report["identity"]["uid_map"], json!([[0, NOBODY, 1], [1, 400_000, 1000]]));
    assert_eq!(report["identity"]["gid_map"], json!([[0, NOBODY, 1], [1, 400_000, 1000]]));
    assert_eq!(report["identity"]["uid"], json!([7, 7, 7, 7]));
    assert_eq!(report["identity"]["groups"], groups);
    assert_eq!(report["identity"]["setgroups"], "allow");
}
