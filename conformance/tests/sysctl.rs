//! config-linux.md, "Sysctl": kernel parameters of namespaces that the container owns.

use std::fs;

use conformance::harness::{Container, Kind, is_root, kind, require_root};
use serde_json::json;

#[track_caller]
fn set_and_read(name: &str, value: &str) {
    let mut container = Container::new();
    container.config["linux"]["sysctl"] = json!({ name: value });
    assert_eq!(container.report_with(&[name])["sysctls"][name], value);
}

/// Asks for a sysctl in a container that does not own its namespace; nothing on the host may change.
#[track_caller]
fn refused(mut container: Container, name: &str) {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let before = fs::read_to_string(&path);
    container.config["linux"]["sysctl"] = json!({ name: "1" });
    container.run().fails_with(name);
    container.assert_clean();
    assert_eq!(before.ok(), fs::read_to_string(&path).ok());
}

fn without(namespace: &str) -> Container {
    let mut container = Container::new();
    container.no_namespace(namespace);
    container
}

#[test]
fn network_parameters_are_set() {
    set_and_read("net.ipv4.ip_forward", "1");
    set_and_read("net.ipv4.ip_unprivileged_port_start", "80");
}

#[test]
fn the_form_with_slashes_is_the_same() {
    let mut container = Container::new();
    container.config["linux"]["sysctl"] = json!({ "net/ipv4/ip_forward": "1" });
    if kind() == Kind::Runc {
        conformance::harness::skip("runc differs: 1.1 knows the form with dots only");
        return;
    }
    assert_eq!(container.report_with(&["net.ipv4.ip_forward"])["sysctls"]["net.ipv4.ip_forward"], "1");
}

#[test]
fn ipc_parameters_are_set() {
    set_and_read("kernel.msgmax", "16384");
    set_and_read("kernel.shm_rmid_forced", "1");
}

#[test]
fn message_queue_parameters_are_set() {
    set_and_read("fs.mqueue.msg_max", "7");
}

#[test]
fn the_domain_name_is_a_parameter_of_the_uts_namespace() {
    // The file belongs to the host's root, also in a user namespace that owns the UTS namespace.
    if !require_root() {
        return;
    }
    set_and_read("kernel.domainname", "example.org");
}

#[test]
fn network_parameters_of_the_host_are_refused() {
    if require_root() {
        refused(without("network"), "net.ipv4.ip_forward");
    }
}

#[test]
fn ipc_parameters_of_the_host_are_refused() {
    if require_root() {
        refused(without("ipc"), "kernel.msgmax");
        refused(without("ipc"), "fs.mqueue.msg_max");
    }
}

#[test]
fn parameters_of_no_namespace_are_refused() {
    refused(Container::new(), "kernel.panic");
    refused(Container::new(), "vm.swappiness");
    refused(Container::new(), "fs.file-max");
}

/// A network namespace that is the host's by path is the host's still.
#[test]
fn a_joined_host_namespace_is_no_namespace_of_ours() {
    if !require_root() {
        return;
    }
    let mut container = Container::new();
    container.namespace("network", Some("/proc/self/ns/net"));
    refused(container, "net.ipv4.ip_forward");
}

/// "." and "/" cannot lead out of /proc/sys.
#[test]
fn a_name_cannot_lead_out() {
    for name in ["net/../kernel/panic", "net.ipv4/../../kernel/panic", "../../etc/passwd"] {
        let mut container = Container::new();
        container.config["linux"]["sysctl"] = json!({ name: "1" });
        container.run().fails();
        container.assert_clean();
    }
}

#[test]
fn a_parameter_that_does_not_exist_is_an_error() {
    let mut container = Container::new();
    container.config["linux"]["sysctl"] = json!({ "net.ipv4.no_such_parameter": "1" });
    container.run().fails_with("no_such_parameter");
    container.assert_clean();
}

#[test]
fn a_value_the_kernel_refuses_is_an_error() {
    let mut container = Container::new();
    container.config["linux"]["sysctl"] = json!({ "kernel.shm_rmid_forced": "perhaps" });
    container.run().fails_with("shm_rmid_forced");
    container.assert_clean();
}

/// Setting works although the config makes /proc/sys read-only for the container.
#[test]
fn parameters_are_set_before_proc_is_read_only() {
    let mut container = Container::new();
    container.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    container.args(&["probe", "write", "/proc/sys/net/ipv4/ip_forward", "0"]);
    assert_eq!(container.run().stdout, "EROFS\n");
    if is_root() {
        assert_ne!(container.config["linux"]["readonlyPaths"], json!([]));
    }
}
