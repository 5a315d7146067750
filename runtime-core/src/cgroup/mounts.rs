//! What a mount of type `cgroup` in the configuration stands for: the hierarchies of the host, each in its directory.

use std::path::PathBuf;

use super::layout::Layout;
use super::place::{Group, Placement};

/// One hierarchy, as a container sees it below its `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// The name of its directory; empty on a host of version 2 alone, where it is mounted at the destination itself.
    /// Where a name is not empty, the destination is a tmpfs that holds the directories.
    pub directory: String,
    /// Links to the directory, one for each controller of a hierarchy with several.
    pub links: Vec<String>,
    /// The type of file system: `cgroup` or `cgroup2`.
    pub fs_type: &'static str,
    /// The data to mount it with in a cgroup namespace of the container's own, empty for version 2.
    pub data: String,
    /// The container's group, to be bound there where the container has no cgroup namespace of its own; `None` if it
    /// has no group in this hierarchy.
    pub group: Option<PathBuf>,
}

/// The hierarchies a container sees: those of version 1 in their order, then that of version 2.
#[must_use]
pub fn cgroup_mounts(layout: &Layout, placement: Option<&Placement>) -> Vec<CgroupMount> {
    let groups = || placement.map(Placement::groups).unwrap_or_default().iter();
    let group_of = |test: &dyn Fn(&&Group) -> bool| groups().find(test).map(|group| group.path.clone());
    let name_of = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut mounts = Vec::new();
    for hierarchy in layout.v1() {
        let directory = name_of(&hierarchy.mount.mount_point);
        let controllers: Vec<&str> = hierarchy.controllers().collect();
        let links = if controllers.len() > 1 { controllers.as_slice() } else { &[] };
        mounts.push(CgroupMount {
            links: links.iter().filter(|link| **link != directory).map(ToString::to_string).collect(),
            directory,
            fs_type: "cgroup",
            data: if controllers.is_empty() {
                format!("none,{}", hierarchy.label)
            } else {
                hierarchy.label.clone()
            },
            group: group_of(&|g| g.hierarchy.as_deref() == Some(hierarchy.label.as_str())),
        });
    }
    if let Some(mount) = layout.v2() {
        let alone = matches!(layout, Layout::V2(_));
        mounts.push(CgroupMount {
            directory: if alone { String::new() } else { name_of(&mount.mount_point) },
            links: Vec::new(),
            fs_type: "cgroup2",
            data: String::new(),
            group: group_of(&|g| g.is_v2()),
        });
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{HierarchyMount, OwnCgroups, V1Hierarchy, place};

    fn mount(point: &str) -> HierarchyMount {
        HierarchyMount { mount_point: point.into(), root: "/".into() }
    }

    #[test]
    fn each_hierarchy_in_its_directory() {
        let v1 = |label: &str, point: &str| V1Hierarchy { label: label.into(), mount: mount(point) };
        let layout = Layout::Hybrid {
            controllers: vec![
                v1("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                v1("net_cls,net_prio", "/sys/fs/cgroup/net_cls"),
                v1("pids", "/sys/fs/cgroup/pids"),
                v1("name=systemd", "/sys/fs/cgroup/systemd"),
            ],
            unified: mount("/sys/fs/cgroup/unified"),
        };
        let own = OwnCgroups::default();
        let placement = place(&layout, &own, Some("/x"), "id", false).unwrap();
        let all = cgroup_mounts(&layout, Some(&placement));
        let shown: Vec<_> = all
            .iter()
            .map(|m| (m.directory.as_str(), m.fs_type, m.data.as_str(), m.links.join(" ")))
            .collect();
        assert_eq!(
            shown,
            [
                ("cpu,cpuacct", "cgroup", "cpu,cpuacct", "cpu cpuacct".to_owned()),
                ("net_cls", "cgroup", "net_cls,net_prio", "net_prio".to_owned()),
                ("pids", "cgroup", "pids", String::new()),
                ("systemd", "cgroup", "none,name=systemd", String::new()),
                ("unified", "cgroup2", "", String::new()),
            ]
        );
        assert_eq!(all[0].group, Some("/sys/fs/cgroup/cpu,cpuacct/x".into()));
        assert_eq!(all[4].group, Some("/sys/fs/cgroup/unified/x".into()));
        assert!(cgroup_mounts(&layout, None).iter().all(|m| m.group.is_none()));
    }

    #[test]
    fn version_2_alone_at_the_destination_itself() {
        let all = cgroup_mounts(&Layout::V2(mount("/sys/fs/cgroup")), None);
        assert_eq!((all.len(), all[0].directory.as_str(), all[0].fs_type), (1, "", "cgroup2"));
        assert!(cgroup_mounts(&Layout::None, None).is_empty());
    }
}
