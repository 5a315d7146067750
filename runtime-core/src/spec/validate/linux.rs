//! The `linux` section: what is not in a file of its own.

use super::namespaces::Namespaces;
use super::{devices, namespaces, numa, rdt, resources, seccomp, strings};
use crate::spec::fault::Report;
use oci_spec::runtime::{Linux, Spec};
use std::path::{Component, Path};

pub(super) fn check(spec: &Spec, namespaces: &Namespaces, report: &mut Report) {
    let Some(linux) = spec.linux() else { return };
    namespaces::check(linux, spec, namespaces, report);
    devices::check(linux, report);
    if let Some(path) = linux.cgroups_path() {
        cgroups_path(path, report);
    }
    if let Some(resources) = linux.resources() {
        resources::check(resources, report);
    }
    if let Some(rdt) = linux.intel_rdt() {
        rdt::check(rdt, report);
    }
    if let Some(policy) = linux.memory_policy() {
        numa::check(policy, report);
    }
    if let Some(seccomp) = linux.seccomp() {
        seccomp::check(seccomp, report);
    }
    if let Some(propagation) = linux.rootfs_propagation() {
        rootfs_propagation(propagation, report);
    }
    restricted_paths(linux, namespaces, report);
    let flags = linux.personality().iter().filter_map(|personality| personality.flags().as_ref()).flatten();
    for (index, flag) in flags.enumerate() {
        report.fault(
            format!("linux.personality.flags[{index}]"),
            format!("{flag:?}: the spec supports no flag"),
        );
    }
}

fn cgroups_path(path: &Path, report: &mut Report) {
    if path.components().any(|component| component == Component::ParentDir) {
        let message = format!("{:?} must not hold \"..\"", path.display().to_string());
        report.fault("linux.cgroupsPath", message);
    }
}

fn rootfs_propagation(propagation: &str, report: &mut Report) {
    let kind = propagation.strip_prefix('r').unwrap_or(propagation);
    if !matches!(kind, "shared" | "slave" | "private" | "unbindable") {
        let message =
            format!("{propagation:?} is not one of shared, slave, private, unbindable or their r-forms");
        report.fault("linux.rootfsPropagation", message);
    }
}

fn restricted_paths(linux: &Linux, namespaces: &Namespaces, report: &mut Report) {
    for (key, paths) in [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())] {
        let paths = paths.as_deref().unwrap_or_default();
        if !paths.is_empty() && !namespaces.has_mount() {
            report.fault(
                format!("linux.{key}"),
                "needs a mount namespace in linux.namespaces: it would change the host's mounts",
            );
        }
        for (index, path) in paths.iter().enumerate() {
            strings::absolute(|| format!("linux.{key}[{index}]"), Path::new(path), report);
        }
    }
}
