//! config-linux.md, "Namespaces": each kind new, shared with the runtime, or joined by path.

use std::fs;

use conformance::harness::{Container, Kind, NOBODY, beyond_runc, kind, require_root, skip};
use serde_json::{Value, json};

fn own(kind: &str) -> String {
    link("self", kind)
}

fn link(pid: &str, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}"))
        .expect("a namespace of ours")
        .to_string_lossy()
        .into_owned()
}

/// A running container, whose namespaces others may join.
fn host_container() -> (Container, String) {
    let mut container = Container::new();
    container.launch_trap(&["TERM"]);
    let pid = container.state()["pid"].to_string();
    (container, pid)
}

/// "If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime
/// namespace of that type."
#[test]
fn those_listed_are_new_and_others_inherited() {
    let report = Container::new().report();
    for kind in ["pid", "net", "ipc", "uts", "mnt"] {
        assert_ne!(report["namespaces"][kind], own(kind), "{kind} should be new");
    }
    for kind in ["time", "cgroup"] {
        assert_eq!(report["namespaces"][kind], own(kind), "{kind} should be inherited");
    }
}

fn inherits(spec_name: &str, link_name: &str) {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.no_namespace(spec_name);
    if spec_name == "uts" {
        container.config.as_object_mut().expect("an object").remove("hostname");
    }
    let report = container.report();
    assert_eq!(report["namespaces"][link_name], own(link_name));
}

#[test]
fn network_can_be_the_hosts() {
    inherits("network", "net");
}

#[test]
fn ipc_can_be_the_hosts() {
    inherits("ipc", "ipc");
}

#[test]
fn uts_can_be_the_hosts() {
    inherits("uts", "uts");
}

/// With the host's pid namespace the container's process is not pid 1, and its end still ends the container.
#[test]
fn pid_can_be_the_hosts() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.no_namespace("pid");
    let report = container.report();
    assert_eq!(report["namespaces"]["pid"], own("pid"));
    assert_ne!(report["identity"]["pid"], 1);
}

/// Without a pid namespace of its own a container is still killed and deleted.
#[test]
fn a_container_in_the_hosts_pid_namespace_is_deleted() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.no_namespace("pid");
    container.launch_trap(&["TERM"]);
    container.delete(&["--force"]).ok();
    container.assert_clean();
}

/// "path (string, OPTIONAL) - namespace file. … The runtime MUST place the container process in the namespace
/// associated with that path."
fn joins(spec_name: &str, link_name: &str) {
    if !require_root() {
        return;
    }
    let (_host, pid) = host_container();
    let path = format!("/proc/{pid}/ns/{link_name}");
    let mut container = Container::new();
    container.namespace(spec_name, Some(&path));
    if spec_name == "uts" {
        container.config.as_object_mut().expect("an object").remove("hostname");
    }
    let report = container.report();
    assert_eq!(report["namespaces"][link_name], link(&pid, link_name));
}

#[test]
fn a_network_namespace_is_joined() {
    joins("network", "net");
}

#[test]
fn an_ipc_namespace_is_joined() {
    joins("ipc", "ipc");
}

#[test]
fn a_uts_namespace_is_joined() {
    joins("uts", "uts");
}

#[test]
fn a_pid_namespace_is_joined() {
    joins("pid", "pid");
}

#[test]
fn a_cgroup_namespace_is_joined() {
    if !require_root() {
        return;
    }
    let mut host = Container::new();
    host.namespace("cgroup", None);
    host.launch_trap(&["TERM"]);
    let pid = host.state()["pid"].to_string();
    let mut container = Container::new();
    container.namespace("cgroup", Some(&format!("/proc/{pid}/ns/cgroup")));
    let report = container.report();
    assert_eq!(report["namespaces"]["cgroup"], link(&pid, "cgroup"));
}

/// The process of a joined pid namespace is not its first, and sees the one that is.
#[test]
fn in_a_joined_pid_namespace_pid_1_is_the_hosts() {
    if !require_root() {
        return;
    }
    let (_host, pid) = host_container();
    let mut container = Container::new();
    container.namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    let report = container.report();
    assert_ne!(report["identity"]["pid"], 1);
    assert_eq!(report["pid1"]["argv"], json!(["probe", "trap", "TERM"]));
}

#[test]
fn several_namespaces_of_one_container_are_joined_at_once() {
    if !require_root() {
        return;
    }
    let (_host, pid) = host_container();
    let mut container = Container::new();
    for (spec_name, name) in [("network", "net"), ("ipc", "ipc"), ("pid", "pid")] {
        container.namespace(spec_name, Some(&format!("/proc/{pid}/ns/{name}")));
    }
    let report = container.report();
    for name in ["net", "ipc", "pid"] {
        assert_eq!(report["namespaces"][name], link(&pid, name));
    }
    assert_ne!(report["namespaces"]["mnt"], link(&pid, "mnt"));
}

/// A container of an ordinary user shares its user namespace with a second, as containers of a pod do.
#[test]
fn a_user_namespace_is_joined() {
    if !require_root() {
        return;
    }
    let mut host = Container::as_user(NOBODY);
    host.launch_trap(&["TERM"]);
    let pid = host.state()["pid"].to_string();
    let mut container = Container::as_user(NOBODY);
    container.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    let linux = container.config["linux"].as_object_mut().expect("an object");
    linux.remove("uidMappings");
    linux.remove("gidMappings");
    container.args(&["probe", "report", "--json"]);
    let output = container.run();
    if kind() == Kind::Runc && !output.status.success() {
        skip("runc 1.1 wants mappings beside the path of a user namespace");
        return;
    }
    assert_eq!(output.json()["namespaces"]["user"], link(&pid, "user"));
}

/// "The runtime MUST generate an error if the path is not associated with a namespace of type type."
#[test]
fn a_path_of_another_type_is_an_error() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.namespace("network", Some("/proc/self/ns/ipc"));
    container.run().fails();
}

#[test]
fn a_path_that_does_not_exist_is_an_error() {
    let mut container = Container::new();
    container.namespace("network", Some("/nonexistent/namespace"));
    container.run().fails_with("nonexistent");
}

/// "This value MUST be an absolute path in the runtime mount namespace."
#[test]
fn a_relative_path_is_an_error() {
    let mut container = Container::new();
    container.namespace("network", Some("proc/self/ns/net"));
    container.run().fails();
}

/// "The runtime MUST generate an error if there are duplicated namespaces with same type."
#[test]
fn a_duplicate_is_an_error() {
    let mut container = Container::new();
    let namespaces = container.config["linux"]["namespaces"].as_array_mut().expect("an array");
    namespaces.push(json!({ "type": "ipc" }));
    container.run().fails();
}

#[test]
fn an_unknown_type_is_an_error() {
    let mut container = Container::new();
    container.namespace("universe", None);
    container.run().fails_with("universe");
}

/// In a cgroup namespace the container's own cgroup is the root.
#[test]
fn a_new_cgroup_namespace_hides_the_path() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.namespace("cgroup", None);
    let report = container.report();
    assert_ne!(report["namespaces"]["cgroup"], own("cgroup"));
    let id = container.id.clone();
    for line in report["cgroup"].as_array().expect("lines") {
        let line = line.as_str().unwrap_or_default();
        assert!(!line.contains(&id), "{line}");
    }
}

/// A new network namespace has a loopback device, and it is up (what runc does and images rely on).
#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let mut container = Container::new();
    let lines = container.run_args(&["probe", "cat", "/sys/class/net/lo/flags"]);
    let flags = u32::from_str_radix(lines[0].trim_start_matches("0x"), 16).expect("a hexadecimal number");
    assert_eq!(flags & 1, 1, "IFF_UP in {flags:#x}");
    assert_eq!(container.report()["network_devices"], json!(["lo"]));
}

/// A new mount namespace over a new root shows what the config mounts, and nothing of the host's.
#[test]
fn mounts_of_the_host_are_not_seen() {
    let mut container = Container::new();
    let report = container.report();
    let root =
        report["mounts"].as_array().expect("mounts").iter().filter(|mount| mount["destination"] == "/");
    assert_eq!(root.count(), 1, "one root: {}", report["mounts"]);
    let known = ["/", "/dev", "/proc", "/sys"];
    for mount in report["mounts"].as_array().expect("mounts") {
        let destination = mount["destination"].as_str().unwrap_or_default();
        let expected = known.iter().any(|prefix| {
            destination == *prefix || (*prefix != "/" && destination.starts_with(&format!("{prefix}/")))
        });
        assert!(expected, "{destination}");
    }
}

/// "hostname": "the container's hostname as seen by processes running inside the container."
#[test]
fn the_host_name_is_set() {
    let mut container = Container::new();
    container.config["hostname"] = json!("orlop-test.example");
    assert_eq!(container.report()["hostname"], "orlop-test.example");
}

/// A host name in the host's UTS namespace would rename the host.
#[test]
fn a_host_name_without_a_uts_namespace_is_an_error() {
    let mut container = Container::new();
    container.no_namespace("uts");
    container.config["hostname"] = json!("orlop-test");
    container.run().fails();
    assert_ne!(nix::unistd::gethostname().expect("a host name"), "orlop-test");
}

#[test]
fn the_domain_name_is_set() {
    if beyond_runc("1.1 has no domainname") {
        return;
    }
    let mut container = Container::new();
    container.config["domainname"] = json!("example.org");
    assert_eq!(container.report()["domainname"], "example.org");
}

#[test]
fn a_domain_name_without_a_uts_namespace_is_an_error() {
    if beyond_runc("1.1 has no domainname") {
        return;
    }
    let mut container = Container::new();
    container.no_namespace("uts");
    container.config.as_object_mut().expect("an object").remove("hostname");
    container.config["domainname"] = json!("orlop-test");
    container.run().fails();
}

/// config-linux.md, "Offset for time namespace".
#[test]
fn clocks_are_offset_in_a_time_namespace() {
    if beyond_runc("1.1 has no time namespace") {
        return;
    }
    let mut container = Container::new();
    container.namespace("time", None);
    container.config["linux"]["timeOffsets"] =
        json!({ "monotonic": { "secs": 172_800, "nanosecs": 5 }, "boottime": { "secs": 86_400 } });
    let report = container.report();
    assert_ne!(report["namespaces"]["time"], own("time"));
    let offsets: Vec<Value> = report["clocks"]["offsets"]
        .as_str()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(offsets, [json!(["monotonic", "172800", "5"]), json!(["boottime", "86400", "0"])]);
    assert!(report["clocks"]["monotonic"].as_i64() > Some(172_800));
}

#[test]
fn clocks_run_alike_in_a_time_namespace_without_offsets() {
    if beyond_runc("1.1 has no time namespace") {
        return;
    }
    let mut container = Container::new();
    container.namespace("time", None);
    let report = container.report();
    assert_ne!(report["namespaces"]["time"], own("time"));
    let here: f64 = fs::read_to_string("/proc/uptime")
        .expect("uptime")
        .split(' ')
        .next()
        .expect("a number")
        .parse()
        .expect("a number");
    let there = report["clocks"]["boottime"].as_f64().expect("a number");
    assert!((here - there).abs() < 30.0, "{here} {there}");
}

#[test]
fn offsets_without_a_time_namespace_are_an_error() {
    if beyond_runc("1.1 has no time namespace") {
        return;
    }
    let mut container = Container::new();
    container.config["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1 } });
    container.run().fails_with("time");
}

/// Joined namespaces are left as they were: the runtime neither renames nor reconfigures them.
#[test]
fn a_joined_uts_namespace_may_not_be_renamed_by_accident() {
    if !require_root() {
        return;
    }
    let (host, pid) = host_container();
    let mut container = Container::new();
    container.namespace("uts", Some(&format!("/proc/{pid}/ns/uts")));
    container.config.as_object_mut().expect("an object").remove("hostname");
    assert_eq!(container.report()["hostname"], host.config["hostname"]);
}

/// A `pid` namespace needs no `proc` mount; the container just has none.
#[test]
fn no_proc_mount_is_no_error() {
    if beyond_runc("it reads the container's /proc/self/fd") {
        return;
    }
    let mut container = Container::new();
    container.unmount("/proc");
    let linux = container.config["linux"].as_object_mut().expect("an object");
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    assert_eq!(container.run_args(&["probe", "ls", "/proc"]), Vec::<String>::new());
}
