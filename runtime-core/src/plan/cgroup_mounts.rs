//! Mounts of type cgroup: the container's view of its own groups.

use super::cgroups::Groups;
use super::compiler::{Input, Report, Steps};
use super::mounts::Entry;
use super::path::c_path;
use super::{ChildStep, FsParam, Mount, MountSource, Namespace, c_string};
use crate::cgroup::{CgroupMount, Layout, cgroup_mounts};
use crate::sys::{MountAttr, attr};
use std::path::{Path, PathBuf};

/// What is mounted for one entry of the configuration.
pub(super) fn compile(
    input: &Input<'_>,
    groups: &Groups,
    entry: &Entry<'_>,
    steps: &mut Steps,
    report: &mut Report,
) {
    let shown = hierarchies(input, groups, entry);
    if shown.is_empty() {
        report.fault(format!("{}.type", entry.at), "this host has no such cgroup hierarchy mounted");
        return;
    }
    let alone = shown.len() == 1 && shown[0].directory.is_empty();
    if !alone {
        ignored_data(entry, report);
        steps.push(ChildStep::Mount(holder(entry)), entry.at.clone());
    }
    for hierarchy in &shown {
        let Some(mut mount) = one(input, entry, hierarchy, report) else { continue };
        if alone {
            mount.propagation.clone_from(&entry.options.propagation);
        }
        steps.push(ChildStep::Mount(mount), entry.at.clone());
        for link in &hierarchy.links {
            let path = c_path(&entry.destination.join(link));
            steps.push(ChildStep::Symlink { target: c_string(&hierarchy.directory), path }, entry.at.clone());
        }
    }
}

/// The hierarchies that are shown: of a hybrid host, those of version 1 for `cgroup`, as runc does, and the one of version 2
/// for `cgroup2`.
fn hierarchies(input: &Input<'_>, groups: &Groups, entry: &Entry<'_>) -> Vec<CgroupMount> {
    let mut shown = cgroup_mounts(&input.facts.cgroups, groups.placement.as_ref());
    if entry.given.typ().as_deref() == Some("cgroup2") {
        shown.retain(|m| m.fs_type == "cgroup2");
        shown.iter_mut().for_each(|m| m.directory.clear());
    } else if shown.len() > 1 {
        shown.retain(|m| m.fs_type == "cgroup");
        // The kernel lists the newest first; people expect the order in which they were mounted.
        shown.reverse();
    }
    shown
}

/// The instances of version 1 exist already: their options are what they are.
fn ignored_data(entry: &Entry<'_>, report: &mut Report) {
    let names: Vec<&str> = entry.options.data.iter().map(|(key, _)| key.as_str()).collect();
    if !names.is_empty() {
        let message = format!("{}: no effect on hierarchies that are mounted already", names.join(", "));
        report.warn(format_args!("{}.options", entry.at), message);
    }
}

/// The tmpfs that holds a directory for each hierarchy.
fn holder(entry: &Entry<'_>) -> Mount {
    let params = vec![
        FsParam::String(c_string("source"), c_string("tmpfs")),
        FsParam::String(c_string("mode"), c_string("755")),
    ];
    let mut mount = entry.mount(MountSource::New { fstype: c_string("tmpfs"), params, or_bind: None });
    mount.attributes.set |= attr::NOSUID | attr::NODEV | attr::NOEXEC;
    mount.late_read_only = entry.options.read_only();
    mount.attributes.set &= !attr::RDONLY;
    mount
}

/// The mount of one hierarchy.
fn one(input: &Input<'_>, entry: &Entry<'_>, m: &CgroupMount, report: &mut Report) -> Option<Mount> {
    let fallback = group(input, m);
    let source = if input.namespaces.has(Namespace::Cgroup) {
        MountSource::New {
            fstype: c_string(m.fs_type),
            params: params(entry, m),
            // A cgroup namespace of another user namespace.
            or_bind: fallback.as_deref().map(c_path),
        }
    } else if let Some(path) = fallback {
        MountSource::Bind { path: c_path(&path), recursive: true }
    } else {
        let message = format!("{} cannot be shown: no group of ours is visible in it", m.fs_type);
        report.warn(&entry.at, message);
        return None;
    };
    let mut mount = entry.mount(source);
    mount.destination = c_path(&if m.directory.is_empty() {
        entry.destination.clone()
    } else {
        entry.destination.join(&m.directory)
    });
    mount.attributes =
        MountAttr { set: mount.attributes.set, clear: mount.attributes.clear, ..MountAttr::default() };
    mount.propagation.clear();
    Some(mount)
}

/// The group to show where the container has no cgroup namespace: its own.  An ordinary user may not get one, and then shows
/// the one we are in.
fn group(input: &Input<'_>, m: &CgroupMount) -> Option<PathBuf> {
    if !input.rootless() {
        return m.group.clone();
    }
    let (mount, own) = match (&input.facts.cgroups, m.fs_type) {
        (Layout::V2(mount) | Layout::Hybrid { unified: mount, .. }, "cgroup2") => {
            (mount, input.facts.own_cgroups.v2.as_deref()?)
        }
        (layout, _) => {
            let named = |h: &&crate::cgroup::V1Hierarchy| h.mount.mount_point.ends_with(&m.directory);
            let hierarchy = layout.v1().iter().find(named)?;
            (&hierarchy.mount, input.facts.own_cgroups.v1_path(&hierarchy.label)?)
        }
    };
    let below = Path::new(own).strip_prefix(&mount.root).ok()?;
    Some(if below.as_os_str().is_empty() { mount.mount_point.clone() } else { mount.mount_point.join(below) })
}

fn params(entry: &Entry<'_>, m: &CgroupMount) -> Vec<FsParam> {
    let source = c_path(entry.given.source().as_deref().unwrap_or(Path::new("cgroup")));
    let mut params = vec![FsParam::String(c_string("source"), source)];
    for option in m.data.split(',').filter(|option| !option.is_empty()) {
        params.push(match option.split_once('=') {
            Some((key, value)) => FsParam::String(c_string(key), c_string(value)),
            None => FsParam::Flag(c_string(option)),
        });
    }
    if m.fs_type == "cgroup2" && m.directory.is_empty() {
        let data = entry.options.data.iter().map(|(key, value)| match value {
            Some(value) => FsParam::String(c_string(key), c_string(value)),
            None => FsParam::Flag(c_string(key)),
        });
        params.extend(data);
    }
    params
}
