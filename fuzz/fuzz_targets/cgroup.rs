//! Ids and control group paths of anybody's choosing, also as systemd's units, on the mounts of any host: a group is
//! below its mount and nowhere else, and what is recorded of it can be read again.  The first line is the id, the second
//! the path, and the others are read as `/proc/self/cgroup` and as `/proc/self/mountinfo`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_core::cgroup::systemd::{self, Address, Manager};
use orlop_core::cgroup::{self, CgroupError, HierarchyMount, Layout, OwnCgroups, Placement, V1Hierarchy};
use orlop_core::state::validate_id;
use std::path::Component;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let id = lines.next().unwrap_or_default();
    let path = lines.next();
    let rest = lines.next().unwrap_or_default();
    let named = validate_id(id).is_ok();
    if named {
        assert!(!id.contains(['/', '\0', '\n']) && ![".", ".."].contains(&id) && !id.is_empty());
    }
    let own = OwnCgroups::parse(rest);
    // Read for its own sake: of a kernel it is not possible that a mount's path has "..".
    let _ = Layout::parse(rest.as_bytes(), &own);
    if !named {
        return;
    }
    for layout in [v2(), hybrid()] {
        check(cgroup::place(&layout, &own, path, id, false));
        for user in [false, true] {
            let manager = Manager {
                address: Address::Direct("/run/systemd/private".into()),
                user,
                own: OwnCgroups { v1: Vec::new(), v2: Some("/".into()) },
            };
            let placed = systemd::place(&layout, &manager, path, id, user);
            if let Ok(Some(unit)) = placed.as_ref().map(|placed| placed.unit()) {
                assert!(!unit.name.contains(['/', '\n']) && unit.name.len() < 256, "{:?}", unit.name);
                assert!(unit.slice.ends_with(".slice"), "{:?}", unit.slice);
            }
            check(placed);
        }
    }
});

fn check(placed: Result<Placement, CgroupError>) {
    let placed = match placed {
        Ok(placed) => placed,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for group in placed.groups() {
        let below = group.path.strip_prefix(&group.mount_point).expect("below its mount");
        assert!(below.components().count() > 0, "{group:?}");
        assert!(below.components().all(|part| matches!(part, Component::Normal(_))), "{group:?}");
        assert!(group.parents.iter().all(|parent| group.path.starts_with(parent)), "{group:?}");
    }
    let record = serde_json::to_vec(&placed).expect("a placement can be recorded");
    assert_eq!(serde_json::from_slice::<Placement>(&record).expect("what was recorded can be read"), placed);
}

fn v2() -> Layout {
    Layout::V2(mounted("/sys/fs/cgroup"))
}

fn hybrid() -> Layout {
    let controllers = ["devices", "name=systemd", "freezer"]
        .map(|label| V1Hierarchy { label: label.into(), mount: mounted(&format!("/sys/fs/cgroup/{label}")) });
    Layout::Hybrid { controllers: controllers.into(), unified: mounted("/sys/fs/cgroup/unified") }
}

fn mounted(point: &str) -> HierarchyMount {
    HierarchyMount { mount_point: point.into(), root: "/".into() }
}
