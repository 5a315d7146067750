//! config-linux.md, "Network Devices": interfaces of the runtime's network namespace that move into the container's.

use conformance::harness::{Container, Output, beyond_runc, require_program, require_root};
use serde_json::{Value, json};

/// Runs in a network namespace of the test's own, in which there are the ends `o0` and `o1` of a cable; `o0` is up,
/// with an address and an MTU of its own.  What follows the runtime says which devices are left.
fn run(container: &Container) -> Output {
    let script = "ip link add o0 type veth peer name o1 && ip addr add 192.0.2.7/24 dev o0 &&
        ip link set o0 mtu 1400 up || exit 99
        \"$@\"; status=$?
        ip -oneline link | sed 's/^[0-9]*: //; s/[@:].*//' | sort >left; exit $status";
    let prefix = ["unshare", "--net", "sh", "-c", script, "sh"];
    container.runtime_by(&prefix, &["run", &container.id])
}

/// The devices left in the runtime's namespace.
fn left(container: &Container) -> Vec<String> {
    let text = std::fs::read_to_string(container.directory().join("left")).expect("written by the script");
    text.lines().map(str::to_owned).collect()
}

fn with_devices(devices: &Value) -> Option<Container> {
    if beyond_runc("1.1 has no netDevices") || !require_root() || !require_program("ip") {
        return None;
    }
    let mut container = Container::new();
    container.config["linux"]["netDevices"] = devices.clone();
    container.args(&["probe", "report", "--json"]);
    Some(container)
}

#[test]
fn a_device_is_moved() {
    let Some(container) = with_devices(&json!({ "o1": {} })) else { return };
    let report = run(&container).json();
    assert_eq!(report["network_devices"], json!(["lo", "o1"]));
}

/// "name (string, OPTIONAL) - the name of the network device inside the container namespace."
#[test]
fn a_device_is_renamed() {
    let Some(container) = with_devices(&json!({ "o1": { "name": "eth0" } })) else { return };
    let report = run(&container).json();
    assert_eq!(report["network_devices"], json!(["eth0", "lo"]));
}

/// The attributes of a device, its global addresses among them, are kept, and it is up inside.
#[test]
fn addresses_and_mtu_are_kept_and_the_device_is_up() {
    let Some(mut container) = with_devices(&json!({ "o0": { "name": "eth0" } })) else { return };
    let verbs = ["cat /sys/class/net/eth0/mtu", "cat /sys/class/net/eth0/flags", "cat /proc/net/fib_trie"];
    let words: Vec<&str> =
        verbs.iter().flat_map(|verb| std::iter::once("--").chain(verb.split(' '))).collect();
    container.args(&[&["probe", "seq"], words.as_slice()].concat());
    let lines = run(&container).lines();
    assert_eq!(lines[0], "1400");
    let flags = u32::from_str_radix(lines[1].trim_start_matches("0x"), 16).expect("a hexadecimal number");
    assert_eq!(flags & 1, 1, "IFF_UP in {flags:#x}");
    assert!(lines.iter().any(|line| line.contains("192.0.2.7")), "{lines:#?}");
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let Some(container) = with_devices(&json!({ "o9": {} })) else { return };
    run(&container).fails_with("o9");
    container.assert_clean();
}

/// Two devices cannot have one name.
#[test]
fn a_name_that_is_taken_is_an_error() {
    let Some(container) = with_devices(&json!({ "o0": { "name": "eth0" }, "o1": { "name": "eth0" } })) else {
        return;
    };
    run(&container).fails();
    container.assert_clean();
    let Some(container) = with_devices(&json!({ "o1": { "name": "lo" } })) else { return };
    run(&container).fails();
    container.assert_clean();
}

#[test]
fn a_name_the_kernel_does_not_take_is_an_error() {
    for name in ["a/b", "a b", ".", "..", "sixteen-letters-", "a:b"] {
        let Some(container) = with_devices(&json!({ "o1": { "name": name } })) else { return };
        run(&container).fails_with("netDevices");
        container.assert_clean();
    }
}

#[test]
fn without_a_network_namespace_it_is_an_error() {
    let Some(mut container) = with_devices(&json!({ "o1": {} })) else { return };
    container.no_namespace("network");
    run(&container).fails_with("netDevices");
    container.assert_clean();
}

/// After a failure the devices are where they were.
#[test]
fn a_failed_create_gives_devices_back() {
    let Some(mut container) = with_devices(&json!({ "o1": { "name": "eth0" } })) else { return };
    container.args(&["no-such-program"]);
    run(&container).fails();
    assert_eq!(left(&container), ["lo", "o0", "o1"]);
}
