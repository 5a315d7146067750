//! `mounts`.  The option strings are read where mounts are compiled; here is what concerns the entry as a whole.

use super::namespaces::{Namespaces, check_mappings};
use crate::spec::fault::Report;
use oci_spec::runtime::{Mount, Spec};

pub(super) fn check(spec: &Spec, namespaces: &Namespaces, report: &mut Report) {
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let at = format!("mounts[{index}]");
        if mount.destination().as_os_str().is_empty() {
            report.fault(format!("{at}.destination"), "must not be empty");
        } else if !mount.destination().is_absolute() {
            let shown = mount.destination().display();
            report.warn(
                format_args!("{at}.destination"),
                format_args!("{:?} is relative, which is deprecated: taken relative to /", shown.to_string()),
            );
        }
        check_kind(&at, mount, report);
        check_idmap(&at, mount, namespaces, report);
    }
}

fn has_option(mount: &Mount, wanted: &[&str]) -> bool {
    mount.options().iter().flatten().any(|option| wanted.contains(&option.as_str()))
}

/// config.md makes a mount a bind mount by its options; runc, and so some engines, by the type "bind" as well.
fn is_bind(mount: &Mount) -> bool {
    has_option(mount, &["bind", "rbind"]) || mount.typ().as_deref() == Some("bind")
}

fn check_kind(at: &str, mount: &Mount, report: &mut Report) {
    let remount = has_option(mount, &["remount"]);
    if is_bind(mount) && !remount && mount.source().is_none() {
        report.fault(format!("{at}.source"), "required for a bind mount");
    }
    if !is_bind(mount) && !remount && mount.typ().is_none() {
        report.fault(format!("{at}.type"), "required unless the options hold bind, rbind or remount");
    }
}

fn check_idmap(at: &str, mount: &Mount, namespaces: &Namespaces, report: &mut Report) {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    let option = has_option(mount, &["idmap", "ridmap"]);
    match (uids.is_empty(), gids.is_empty()) {
        (false, true) => report.fault(format!("{at}.gidMappings"), "required beside uidMappings"),
        (true, false) => report.fault(format!("{at}.uidMappings"), "required beside gidMappings"),
        (true, true) if option && !namespaces.has_user() => report.fault(
            format!("{at}.options"),
            "idmap needs uidMappings and gidMappings, or a user namespace to take them from",
        ),
        (false, false) if !option => {
            report.warn(
                format_args!("{at}.uidMappings"),
                "neither idmap nor ridmap is in the options: taken as idmap",
            );
        }
        _ => {}
    }
    let field = match (uids.is_empty(), gids.is_empty()) {
        (false, _) => "uidMappings",
        (true, false) => "gidMappings",
        (true, true) if option => "options",
        (true, true) => return,
    };
    if !is_bind(mount) {
        report.fault(format!("{at}.{field}"), "only a bind mount can be id-mapped");
    }
    check_mappings(&format!("{at}.uidMappings"), uids, report);
    check_mappings(&format!("{at}.gidMappings"), gids, report);
}
