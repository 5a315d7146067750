//! The root file system: its propagation, its opening, the change of root, and what is closed off in it.

use super::compiler::{Input, Report, Steps};
use super::path::{c_path, clean};
use super::{ChildStep, Namespace, c_string};
use oci_spec::runtime::Root;
use std::path::{Path, PathBuf};

/// What `linux.rootfsPropagation` asks for: the flag, and whether with all below.
fn propagation(input: &Input<'_>) -> Option<(u64, bool)> {
    let given = input.linux()?.rootfs_propagation().as_deref()?;
    let (kind, recursive) = given.strip_prefix('r').map_or((given, false), |kind| (kind, true));
    let flag = match kind {
        "shared" => libc::MS_SHARED,
        "private" => libc::MS_PRIVATE,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => libc::MS_SLAVE,
    };
    Some((flag, recursive))
}

fn with(recursive: bool) -> u64 {
    if recursive { libc::MS_REC } else { 0 }
}

/// What a tree that the parent opens among the host's mounts must become, so that it relates to them as what the child opens
/// does; `None` where it may stay as it is.
pub(super) fn inherited_propagation(input: &Input<'_>) -> Option<u64> {
    match propagation(input) {
        // A mount namespace of another user namespace never has peers outside (mount_namespaces(7)): nothing that is mounted in it
        // is to show there.
        Some((libc::MS_SHARED, _)) if !input.namespaces.has(Namespace::User) => None,
        Some((libc::MS_PRIVATE | libc::MS_UNBINDABLE, _)) => Some(libc::MS_PRIVATE),
        _ => Some(libc::MS_SLAVE),
    }
}

/// The container alone sees its mount namespace, so that its root can be changed by pivot_root(2).
///
/// In a namespace that is joined, others live: pivot_root(2) would change their root too.
fn owns_mounts(input: &Input<'_>) -> bool {
    input.namespaces.is_new(Namespace::Mount)
}

/// The root file system on the host.
pub(super) fn path(input: &Input<'_>) -> PathBuf {
    let given = input.spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path());
    input.options.bundle.join(given)
}

/// Cuts the mounts off from the host, and opens the root.
pub(super) fn open(input: &Input<'_>, steps: &mut Steps, report: &mut Report) {
    if input.spec.root().is_none() {
        report.fault("root", "required");
    }
    let root = c_path(&path(input));
    if owns_mounts(input) {
        let flags = match propagation(input) {
            // A mount that is to reach the host must stay its peer.
            Some((libc::MS_SHARED, recursive)) => libc::MS_SHARED | with(recursive),
            // Unbindable mounts could not be bound for the container: that comes after the change of root.
            Some((libc::MS_PRIVATE | libc::MS_UNBINDABLE, _)) => libc::MS_PRIVATE | libc::MS_REC,
            // Recursive whatever was asked for: what is not cut off would leak our mounts to the host.
            _ => libc::MS_SLAVE | libc::MS_REC,
        };
        let origin = if propagation(input).is_some() {
            "linux.rootfsPropagation"
        } else {
            "nothing mounted here reaches the host"
        };
        steps.push(ChildStep::RootPropagation { flags }, origin);
        steps.push(ChildStep::OpenRoot { path: root }, "root.path");
        return;
    }
    if propagation(input).is_some() {
        report.fault("linux.rootfsPropagation", "needs a mount namespace of the container's own");
    }
    steps.push(ChildStep::LocateRoot { path: root }, "root.path");
}

/// Changes the root.
pub(super) fn enter(input: &Input<'_>, steps: &mut Steps) {
    let (step, origin) = if !owns_mounts(input) {
        (ChildStep::Chroot, "no mount namespace of its own: root.path")
    } else if input.options.no_pivot {
        (ChildStep::MoveRoot, "--no-pivot")
    } else {
        (ChildStep::PivotRoot, "root.path")
    };
    steps.push(step, origin);
}

/// Makes the root read-only, once it is the root.
pub(super) fn settle(input: &Input<'_>, steps: &mut Steps, report: &mut Report) {
    if is_read_only(input) && !owns_mounts(input) {
        let message = "needs a mount namespace of the container's own: the root is no mount here";
        report.fault("root.readonly", message);
    } else if is_read_only(input) {
        steps.push(ChildStep::RootReadOnly, "root.readonly");
    }
}

/// Says with whom the root shares mounts, after the last mount: what is unbindable cannot be bound to itself.
pub(super) fn propagate(input: &Input<'_>, steps: &mut Steps) {
    if owns_mounts(input)
        && let Some((kind @ (libc::MS_SHARED | libc::MS_UNBINDABLE), recursive)) = propagation(input)
    {
        let flags = kind | with(recursive);
        steps.push(ChildStep::ContainerPropagation { flags }, "linux.rootfsPropagation");
    }
}

pub(super) fn is_read_only(input: &Input<'_>) -> bool {
    input.spec.root().as_ref().and_then(Root::readonly).unwrap_or(false)
}

/// The paths that are read-only, and those that are hidden.
pub(super) fn restrict(input: &Input<'_>, steps: &mut Steps) {
    let Some(linux) = input.linux() else { return };
    let cleaned = |path: &String| c_path(&clean(Path::new(path)));
    for (index, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let step = ChildStep::ReadOnlyPath { path: cleaned(path) };
        steps.push(step, format!("linux.readonlyPaths[{index}]"));
    }
    for (index, path) in linux.masked_paths().iter().flatten().enumerate() {
        steps.push(ChildStep::Mask { path: cleaned(path) }, format!("linux.maskedPaths[{index}]"));
    }
}

/// Whether `linux.mountLabel` can be followed; a fault, once, where it cannot.
pub(super) fn label_supported(input: &Input<'_>, report: &mut Report) -> bool {
    const AT: &str = "linux.mountLabel";
    if !input.facts.selinux && !report.faults.iter().any(|f| f.path == AT) {
        report.fault(AT, "SELinux is not enabled on this host");
    }
    input.facts.selinux
}

/// The SELinux label or AppArmor profile that execve switches to.
pub(super) fn exec_label(file: &str, label: &str) -> ChildStep {
    ChildStep::ExecLabel { file: c_string(file), label: c_string(label) }
}
