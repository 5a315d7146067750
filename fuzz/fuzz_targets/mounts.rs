//! Mounts of anybody's choosing, and their option strings: one a line, the first three the type, the source and the
//! destination.  They end in a plan of which every word is one line, or in faults.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::cgroup::{Layout, OwnCgroups, systemd::Systemd};
use orlop_core::plan::{self, HostFacts, Options};
use orlop_core::spec;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (kind, source, destination) = (lines.next(), lines.next(), lines.next());
    let options: Vec<&str> = lines.collect();
    let config = serde_json::json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["/bin/true"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "mount" }] },
        "mounts": [{ "destination": destination.unwrap_or("/m"), "type": kind, "source": source, "options": options }],
    });
    match spec::load(config.to_string().as_bytes()) {
        Err(error) => {
            assert!(!error.faults.is_empty());
            assert!(error.faults.iter().all(|fault| one_line(&fault.to_string())), "{:?}", error.faults);
        }
        Ok(loaded) => {
            let options = Options { id: "fuzz".into(), bundle: "/bundle".into(), ..Options::default() };
            match plan::compile(&loaded, &facts(), &options) {
                Ok(plan) => {
                    assert!(plan.render_text().lines().all(one_line_or_none), "{}", plan.render_text())
                }
                Err(error) => assert!(
                    error.faults.iter().all(|fault| one_line(&fault.to_string())),
                    "{:?}",
                    error.faults
                ),
            }
        }
    }
});

fn facts() -> HostFacts {
    HostFacts {
        kernel: (6, 18),
        euid: 0,
        egid: 0,
        permitted: (1 << 41) - 1,
        bounding: (1 << 41) - 1,
        privileged: true,
        in_user_namespace: false,
        map_helpers: false,
        cgroups: Layout::None,
        own_cgroups: OwnCgroups::default(),
        systemd: Systemd::NotAsked,
        apparmor: false,
        selinux: false,
        kcore: true,
        ignored_signals: 0,
    }
}

fn one_line(text: &str) -> bool {
    !text.is_empty() && one_line_or_none(text)
}

fn one_line_or_none(text: &str) -> bool {
    !text.contains(char::is_control)
}
