//! The form the plan compiler relies on: no empty optional strings, no capability that cannot be granted.

use super::fault::Report;
use oci_spec::runtime::{Capabilities, Linux, LinuxCapabilities, Process, Spec};
use std::path::PathBuf;

pub(super) fn normalise(spec: &mut Spec, report: &mut Report) {
    unset_empty(spec.hostname_mut());
    unset_empty(spec.domainname_mut());
    for mount in spec.mounts_mut().iter_mut().flatten() {
        unset_empty(mount.typ_mut());
        unset_empty_path(mount.source_mut());
    }
    if let Some(process) = spec.process_mut() {
        normalise_process(process, report);
    }
    if let Some(linux) = spec.linux_mut() {
        normalise_linux(linux);
    }
}

fn normalise_process(process: &mut Process, report: &mut Report) {
    if process.apparmor_profile().as_deref() == Some("") {
        process.set_apparmor_profile(None);
    }
    if process.selinux_label().as_deref() == Some("") {
        process.set_selinux_label(None);
    }
    if let Some(mut sets) = process.capabilities().clone()
        && drop_ungrantable(&mut sets, report)
    {
        process.set_capabilities(Some(sets));
    }
}

fn normalise_linux(linux: &mut Linux) {
    unset_empty_path(linux.cgroups_path_mut());
    unset_empty(linux.rootfs_propagation_mut());
    unset_empty(linux.mount_label_mut());
    for namespace in linux.namespaces_mut().iter_mut().flatten() {
        if namespace.path().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            namespace.set_path(None);
        }
    }
    for device in linux.net_devices_mut().iter_mut().flat_map(|devices| devices.values_mut()) {
        unset_empty(device.name_mut());
    }
    if let Some(rdt) = linux.intel_rdt_mut() {
        unset_empty(rdt.clos_id_mut());
        unset_empty(rdt.l3_cache_schema_mut());
        unset_empty(rdt.mem_bw_schema_mut());
    }
    if let Some(policy) = linux.memory_policy_mut()
        && policy.nodes().as_deref() == Some("")
    {
        policy.set_nodes(None);
    }
}

fn unset_empty(value: &mut Option<String>) {
    if value.as_deref() == Some("") {
        *value = None;
    }
}

fn unset_empty_path(value: &mut Option<PathBuf>) {
    if value.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        *value = None;
    }
}

/// What capset(2) and `PR_CAP_AMBIENT_RAISE` refuse whatever the runtime holds: an effective capability that is
/// not permitted, an inheritable one that is not in the bounding set, an ambient one that is not both permitted
/// and inheritable.  config.md: warn, and do not fail.
fn drop_ungrantable(sets: &mut LinuxCapabilities, report: &mut Report) -> bool {
    let none = Capabilities::new();
    let bounding = sets.bounding().as_ref().unwrap_or(&none);
    let permitted = sets.permitted().as_ref().unwrap_or(&none);
    let effective = keep(sets.effective(), &[("permitted", permitted)], "effective", report);
    let inheritable = keep(sets.inheritable(), &[("bounding", bounding)], "inheritable", report);
    let inherited = inheritable.as_ref().or(sets.inheritable().as_ref()).unwrap_or(&none);
    let ambient =
        keep(sets.ambient(), &[("permitted", permitted), ("inheritable", inherited)], "ambient", report);
    let changed = effective.is_some() || inheritable.is_some() || ambient.is_some();
    if effective.is_some() {
        sets.set_effective(effective);
    }
    if inheritable.is_some() {
        sets.set_inheritable(inheritable);
    }
    if ambient.is_some() {
        sets.set_ambient(ambient);
    }
    changed
}

/// The part of `set` that is in every set of `within`; `None` when that is all of it.
fn keep(
    set: &Option<Capabilities>,
    within: &[(&str, &Capabilities)],
    name: &str,
    report: &mut Report,
) -> Option<Capabilities> {
    let set = set.as_ref()?;
    let kept: Capabilities =
        set.iter().filter(|cap| within.iter().all(|(_, outer)| outer.contains(cap))).copied().collect();
    if kept.len() == set.len() {
        return None;
    }
    let mut lost: Vec<String> = set.difference(&kept).map(|cap| format!("CAP_{cap}")).collect();
    lost.sort_unstable();
    let outer: Vec<&str> = within.iter().map(|(name, _)| *name).collect();
    report.warn(
        format_args!("process.capabilities.{name}"),
        format_args!("{} not granted: not in {}", lost.join(", "), outer.join(" and ")),
    );
    Some(kept)
}

#[cfg(test)]
mod tests {
    use crate::spec::load;

    fn with(linux: &str, process: &str) -> String {
        format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},
            "process":{{"user":{{"uid":0,"gid":0}},"cwd":"/","args":["sh"]{process}}},"linux":{{{linux}}}}}"#
        )
    }

    #[test]
    fn empty_strings_are_unset() {
        let text = with(
            r#""namespaces":[{"type":"mount","path":""}],"cgroupsPath":"","mountLabel":"","rootfsPropagation":"",
               "intelRdt":{"closID":"","memBwSchema":""},"memoryPolicy":{"mode":"MPOL_DEFAULT","nodes":""}"#,
            r#","apparmorProfile":"","selinuxLabel":"""#,
        );
        let spec = load(text.as_bytes()).unwrap().spec;
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap()[0].path(), &None);
        assert_eq!(
            (linux.cgroups_path(), linux.mount_label(), linux.rootfs_propagation()),
            (&None, &None, &None)
        );
        assert_eq!(linux.intel_rdt().as_ref().unwrap().clos_id(), &None);
        assert_eq!(linux.memory_policy().as_ref().unwrap().nodes(), &None);
        let process = spec.process().as_ref().unwrap();
        assert_eq!((process.apparmor_profile(), process.selinux_label()), (&None, &None));
    }

    #[test]
    fn capabilities_that_cannot_be_granted_are_dropped_with_a_warning() {
        let text = with(
            "",
            r#","capabilities":{"bounding":["CAP_KILL"],"permitted":["CAP_KILL"],"effective":["CAP_KILL","CAP_CHOWN"],
               "inheritable":["CAP_KILL","CAP_SETUID"],"ambient":["CAP_KILL","CAP_SETUID","CAP_CHOWN"]}"#,
        );
        let loaded = load(text.as_bytes()).unwrap();
        assert_eq!(
            loaded.warnings,
            [
                "process.capabilities.effective: CAP_CHOWN not granted: not in permitted",
                "process.capabilities.inheritable: CAP_SETUID not granted: not in bounding",
                "process.capabilities.ambient: CAP_CHOWN, CAP_SETUID not granted: not in permitted and inheritable",
            ]
        );
        let process = loaded.spec.process().as_ref().unwrap();
        let sets = process.capabilities().as_ref().unwrap();
        for set in [sets.bounding(), sets.permitted(), sets.effective(), sets.inheritable(), sets.ambient()] {
            assert_eq!(set.as_ref().unwrap().len(), 1);
        }
    }
}
