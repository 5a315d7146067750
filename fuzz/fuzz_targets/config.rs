//! config.json, from bytes of anybody's choosing: loading ends in a spec or in faults, and compiling in a plan or in
//! faults, never in a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::cgroup::{HierarchyMount, Layout, OwnCgroups, V1Hierarchy};
use orlop_core::plan::{self, HostFacts, Options};
use orlop_core::spec::{self, Loaded};

const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

fuzz_target!(|bytes: &[u8]| {
    match spec::load(bytes) {
        Ok(loaded) => {
            // Not a word of the config may forge a line of the log.
            assert!(loaded.warnings.iter().all(|warning| one_line(warning)), "{:?}", loaded.warnings);
            for facts in [root_on_v2(), user_on_hybrid()] {
                compile(&loaded, &facts);
            }
        }
        Err(error) => {
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| one_line(&fault.to_string())), "{:?}", error.faults);
        }
    }
});

fn compile(loaded: &Loaded, facts: &HostFacts) {
    let options = Options {
        id: "fuzz".into(),
        bundle: "/bundle".into(),
        notify_socket: Some("/run/orlop/notify/s".into()),
        listen_fds: 1,
        detach_start: true,
        ..Options::default()
    };
    let first = match plan::compile(loaded, facts, &options) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.faults.is_empty());
            return;
        }
    };
    // A pure function: what it saw decides what it says (I1).
    let second = plan::compile(loaded, facts, &options).expect("it compiled a moment ago");
    assert_eq!(first.render_text(), second.render_text());
}

fn root_on_v2() -> HostFacts {
    HostFacts {
        kernel: (6, 18),
        euid: 0,
        egid: 0,
        permitted: ALL_CAPABILITIES,
        bounding: ALL_CAPABILITIES,
        privileged: true,
        in_user_namespace: false,
        map_helpers: false,
        cgroups: Layout::V2(mounted("/sys/fs/cgroup")),
        own_cgroups: OwnCgroups::parse("0::/user.slice/session.scope\n"),
        systemd: orlop_core::cgroup::systemd::Systemd::NotAsked,
        apparmor: true,
        selinux: true,
        kcore: true,
        ignored_signals: 0,
    }
}

fn user_on_hybrid() -> HostFacts {
    let v1 = V1Hierarchy { label: "devices".into(), mount: mounted("/sys/fs/cgroup/devices") };
    HostFacts {
        kernel: (5, 10),
        euid: 1000,
        egid: 100,
        permitted: 0,
        privileged: false,
        map_helpers: true,
        cgroups: Layout::Hybrid { controllers: vec![v1], unified: mounted("/sys/fs/cgroup/unified") },
        own_cgroups: OwnCgroups::parse("2:devices:/user\n0::/user/s\n"),
        systemd: orlop_core::cgroup::systemd::Systemd::NotAsked,
        apparmor: false,
        selinux: false,
        ..root_on_v2()
    }
}

fn mounted(point: &str) -> HierarchyMount {
    HierarchyMount { mount_point: point.into(), root: "/".into() }
}

fn one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}
