//! config-linux.md, "Network Devices": devices that move into the container.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::super::case::{Case, Need, must};
use super::super::trial::Trial;

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("ip can be executed");
    assert!(status.success(), "ip {words}");
}

/// Puts this process into a network namespace of its own, in which there is a cable between `suite0` and `suite1`.
fn cable() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root may");
    ip("link add suite0 type veth peer name suite1");
    ip("addr add 192.0.2.7/24 dev suite0");
}

fn moved(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": {} }));
    assert_eq!(t.inside()["network_devices"], json!(["lo", "suite0"]));
}

fn renamed(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": { "name": "eth0" } }));
    assert_eq!(t.inside()["network_devices"], json!(["eth0", "lo"]));
}

fn template(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": { "name": "own%d" } }));
    assert_eq!(t.inside()["network_devices"], json!(["lo", "own0"]));
}

fn name_taken(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": { "name": "lo" } }));
    t.refused();
}

fn missing(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite7": {} }));
    t.refused();
}

fn is_up(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": {} }));
    let flags = t.says(&["cat", "/sys/class/net/suite0/flags"]);
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).expect("a number");
    assert_eq!(flags & 1, 1, "IFF_UP in {flags:#x}");
}

fn address(t: &mut Trial) {
    cable();
    t.set("/linux/netDevices", json!({ "suite0": {} }));
    let table = t.says(&["cat", "/proc/net/fib_trie"]);
    assert!(table.contains("192.0.2.7"), "the address is gone: {table}");
}

/// In a namespace that outlives the container.
fn stays(t: &mut Trial) {
    cable();
    let mut owner = t.another();
    owner.args(&["probe", "sleep", "60"]);
    owner.create().ok();
    let namespace = format!("/proc/{}/ns/net", owner.pid());
    t.namespace("network", Some(&namespace)).config["linux"]["netDevices"] = json!({ "suite0": {} });
    t.args(&["probe", "true"]);
    t.life_as_is();
    t.unset("/linux/netDevices");
    assert_eq!(t.inside()["network_devices"], json!(["lo", "suite0"]), "of the namespace, after delete");
}

const DEVICES: &str = "config-linux.md#network-devices";
const NEEDS: &[Need] = &[Need::Root, Need::Program("ip")];

pub const CASES: &[Case] = &[
    must(DEVICES, "net-device-moved", "the device is in the container", moved).needs(NEEDS),
    must(DEVICES, "net-device-renamed", "name is its name there", renamed).needs(NEEDS),
    must(DEVICES, "net-device-template", "a name with %d is a template", template).needs(NEEDS),
    must(DEVICES, "net-device-name-taken", "a name that is taken in the container is an error", name_taken)
        .needs(NEEDS),
    must(DEVICES, "net-device-missing", "a device that is not there is an error", missing).needs(NEEDS),
    must(DEVICES, "net-device-up", "the device is up", is_up).needs(NEEDS),
    must(DEVICES, "net-device-address", "permanent addresses are kept", address).needs(NEEDS),
    must(DEVICES, "net-device-stays", "deletion does not move the device out of its namespace", stays)
        .needs(NEEDS),
];
