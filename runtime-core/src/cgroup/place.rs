//! Where a container's control groups go: pure, so that it is known, and recorded, before any is made.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CgroupError;
use super::layout::{HierarchyMount, Layout, OwnCgroups, controllers_of};
use super::systemd::Unit;

/// One control group of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The version 1 hierarchy, as [`super::V1Hierarchy::label`] has it; `None` for version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<String>,
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The group's directory, absolute.
    pub path: PathBuf,
    /// The directories above it that are, or may be, ours to make and to remove, topmost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<PathBuf>,
}

impl Group {
    /// The controllers of its version 1 hierarchy.
    pub fn controllers(&self) -> impl Iterator<Item = &str> {
        controllers_of(self.hierarchy.as_deref().unwrap_or(""))
    }

    /// Whether it is in the version 1 hierarchy of this controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers().any(|c| c == controller)
    }

    /// Whether it is the version 2 group.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.hierarchy.is_none()
    }

    /// Its path below the mount point.
    #[must_use]
    pub fn below_mount(&self) -> &Path {
        self.path.strip_prefix(&self.mount_point).unwrap_or(Path::new(""))
    }

    /// Refuses what would make a recorded path dangerous: to kill in, or remove, anything but a group below a mount.
    fn check(&self) -> Result<(), String> {
        let below = |path: &Path, of: &Path| {
            let rest = path.strip_prefix(of).ok();
            rest.is_some_and(|r| r.components().count() > 0 && r.components().all(is_normal))
        };
        let mounted = self.mount_point.is_absolute() && self.mount_point.components().skip(1).all(is_normal);
        let parents = self.parents.iter().all(|p| below(p, &self.mount_point) && below(&self.path, p));
        if mounted && below(&self.path, &self.mount_point) && parents {
            return Ok(());
        }
        Err(format!("{} is not a group below {}", self.path.display(), self.mount_point.display()))
    }
}

fn is_normal(component: Component<'_>) -> bool {
    matches!(component, Component::Normal(_))
}

/// The control groups of one container, one in each hierarchy.
///
/// Made by [`place`], recorded, and only then created.  Which parents are ours becomes known by
/// [`Placement::survey`]; until then all that could be are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Recorded", rename_all = "camelCase")]
pub struct Placement {
    pub(super) groups: Vec<Group>,
    /// Made by an ordinary user: permissions may lack.
    pub(super) rootless: bool,
    /// The configuration names the path: to go without it is no choice.
    pub(super) explicit: bool,
    /// What systemd is asked for, where it keeps the groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    /// The group of version 2 is made, and the container's process may be in it.
    #[serde(skip)]
    pub(super) v2_made: bool,
}

/// A placement as read from a record, before it is checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    groups: Vec<Group>,
    rootless: bool,
    explicit: bool,
    #[serde(default)]
    unit: Option<Unit>,
}

impl TryFrom<Recorded> for Placement {
    type Error = String;

    fn try_from(recorded: Recorded) -> Result<Self, String> {
        recorded.groups.iter().try_for_each(Group::check)?;
        let Recorded { groups, rootless, explicit, unit } = recorded;
        Ok(Self { groups, rootless, explicit, unit, v2_made: false })
    }
}

impl Placement {
    /// The groups: those of version 1 in the order of the hierarchies, then that of version 2.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether systemd keeps them, as a unit.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// The group of version 2.
    #[must_use]
    pub fn v2(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.is_v2())
    }

    /// The group in the version 1 hierarchy of this controller.
    #[must_use]
    pub fn v1(&self, controller: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(controller))
    }

    /// The group in which the container's processes are looked up: version 2's, else that of the freezer, as its
    /// members can be stopped, else any.
    #[must_use]
    pub fn main(&self) -> Option<&Group> {
        self.v2().or_else(|| self.v1("freezer")).or_else(|| self.groups.first())
    }
}

/// Works out where the groups of the container `id` go.
///
/// An absolute `linux.cgroupsPath` is taken below the mount point of each hierarchy.  A relative one, and the id where
/// there is none, is taken below the group this process is in; on a host of version 2 alone beside that group,
/// because one that has processes cannot give controllers to groups below it.  A path of the form
/// `slice:prefix:name` is for [`super::systemd::place`]; it is a relative path like any other here.
///
/// # Errors
/// [`CgroupError::Path`] for a path with `..`, for one that names no group of its own, and for a relative one where our
/// own group is not visible.
pub fn place(
    layout: &Layout,
    own: &OwnCgroups,
    cgroups_path: Option<&str>,
    id: &str,
    rootless: bool,
) -> Result<Placement, CgroupError> {
    let given = cgroups_path.filter(|path| !path.is_empty());
    let text = given.unwrap_or(id);
    let refuse = |reason: String| CgroupError::Path { path: text.to_owned(), reason };
    let inner = components(text).map_err(|reason| refuse(reason.to_owned()))?;
    let absolute = given.is_some_and(|path| path.starts_with('/'));
    let base = |mount: &HierarchyMount, own_path: Option<&str>| {
        if absolute { Ok(mount.mount_point.clone()) } else { own_group(mount, own_path).map_err(refuse) }
    };

    let mut groups = Vec::new();
    for hierarchy in layout.v1() {
        let base = base(&hierarchy.mount, own.v1_path(&hierarchy.label))?;
        groups.push(group(Some(hierarchy.label.clone()), &hierarchy.mount, base, &inner));
    }
    if let Some(mount) = layout.v2() {
        let mut base = base(mount, own.v2.as_deref())?;
        if !absolute && matches!(layout, Layout::V2(_)) && base != mount.mount_point {
            base.pop();
        }
        groups.push(group(None, mount, base, &inner));
    }
    Ok(Placement { groups, rootless, explicit: given.is_some(), ..Placement::default() })
}

fn components(path: &str) -> Result<Vec<&str>, &'static str> {
    // The kernel would say so in the end; until then each of thousands of directories is named, with all above it.
    if path.len() >= libc::PATH_MAX.cast_unsigned() as usize {
        return Err("file name too long: a path has less than 4096 bytes");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("\"..\" is not permitted in it");
    }
    if path.contains(['\0', '\n']) {
        return Err("a control group's name cannot hold NUL or a line break");
    }
    if parts.is_empty() {
        return Err("it names no group of the container's own");
    }
    Ok(parts)
}

/// The directory of our own group.
fn own_group(mount: &HierarchyMount, own_path: Option<&str>) -> Result<PathBuf, String> {
    let own_path = own_path.ok_or_else(|| format!("no group of ours in {}", mount.mount_point.display()))?;
    let rest = Path::new(own_path).strip_prefix(&mount.root).ok();
    match rest.filter(|rest| rest.components().all(is_normal)) {
        Some(rest) if rest.as_os_str().is_empty() => Ok(mount.mount_point.clone()),
        Some(rest) => Ok(mount.mount_point.join(rest)),
        None => Err(format!(
            "it is relative to our own group {own_path}, which is not below {}, where {} of the hierarchy is mounted",
            mount.mount_point.display(),
            mount.root
        )),
    }
}

fn group(hierarchy: Option<String>, mount: &HierarchyMount, base: PathBuf, inner: &[&str]) -> Group {
    let mut path = base;
    let mut parents = Vec::new();
    for (n, part) in inner.iter().enumerate() {
        path.push(part);
        if n + 1 < inner.len() {
            parents.push(path.clone());
        }
    }
    Group { hierarchy, mount_point: mount.mount_point.clone(), path, parents }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::V1Hierarchy;

    fn mount(point: &str, root: &str) -> HierarchyMount {
        HierarchyMount { mount_point: point.into(), root: root.into() }
    }

    fn hybrid() -> (Layout, OwnCgroups) {
        let v1 = |label: &str, point: &str| V1Hierarchy { label: label.into(), mount: mount(point, "/") };
        let layout = Layout::Hybrid {
            controllers: vec![v1("cpu,cpuacct", "/c/cpu,cpuacct"), v1("name=systemd", "/c/systemd")],
            unified: mount("/c/unified", "/"),
        };
        (layout, OwnCgroups::parse("2:cpu,cpuacct:/a\n1:name=systemd:/s/x\n0::/u/v\n"))
    }

    fn paths(placement: &Placement) -> Vec<&str> {
        placement.groups.iter().map(|g| g.path.to_str().unwrap()).collect()
    }

    #[test]
    fn on_a_hybrid_host() {
        let (layout, own) = hybrid();
        for (given, expected) in [
            (None, ["/c/cpu,cpuacct/a/id", "/c/systemd/s/x/id", "/c/unified/u/v/id"]),
            (Some(""), ["/c/cpu,cpuacct/a/id", "/c/systemd/s/x/id", "/c/unified/u/v/id"]),
            (Some("/p//./q/"), ["/c/cpu,cpuacct/p/q", "/c/systemd/p/q", "/c/unified/p/q"]),
            (Some("p/q"), ["/c/cpu,cpuacct/a/p/q", "/c/systemd/s/x/p/q", "/c/unified/u/v/p/q"]),
            (Some("a:b:c"), ["/c/cpu,cpuacct/a/a:b:c", "/c/systemd/s/x/a:b:c", "/c/unified/u/v/a:b:c"]),
        ] {
            assert_eq!(paths(&place(&layout, &own, given, "id", false).unwrap()), expected, "{given:?}");
        }
    }

    #[test]
    fn parents_are_those_of_the_path_alone() {
        let (layout, own) = hybrid();
        let placement = place(&layout, &own, Some("p/q/r"), "id", false).unwrap();
        let expected: Vec<PathBuf> = vec!["/c/unified/u/v/p".into(), "/c/unified/u/v/p/q".into()];
        assert_eq!(placement.v2().unwrap().parents, expected);
        assert!(placement.explicit);
        let without = place(&layout, &own, None, "id", true).unwrap();
        assert!(without.groups.iter().all(|g| g.parents.is_empty()) && without.rootless && !without.explicit);
    }

    #[test]
    fn on_a_version_2_host_beside_us() {
        for (root, own, given, expected) in [
            ("/", "/user.slice/a.scope", None, Some("/c/user.slice/id")),
            ("/", "/", None, Some("/c/id")),
            ("/", "/user.slice/a.scope", Some("x"), Some("/c/user.slice/x")),
            ("/", "/user.slice/a.scope", Some("/x/y"), Some("/c/x/y")),
            ("/docker/k", "/docker/k/sub/mine", None, Some("/c/sub/id")),
            ("/docker/k", "/docker/k", None, Some("/c/id")),
            ("/docker/k", "/elsewhere", Some("/x"), Some("/c/x")),
            ("/docker/k", "/elsewhere", None, None),
            ("/docker/k", "/docker/kk", None, None),
            ("/", "/../sibling", None, None),
        ] {
            let own = OwnCgroups::parse(&format!("0::{own}\n"));
            let placed = place(&Layout::V2(mount("/c", root)), &own, given, "id", false);
            assert_eq!(placed.as_ref().ok().map(paths), expected.map(|path| vec![path]), "{own:?} {given:?}");
        }
    }

    #[test]
    fn refused_paths() {
        let (layout, own) = hybrid();
        for (path, why) in [
            ("/", "no group of the container's own"),
            (".", "no group of the container's own"),
            ("//.//", "no group of the container's own"),
            ("/a/../../b", "\"..\" is not permitted"),
            ("..", "\"..\" is not permitted"),
            ("/x/y".repeat(1024).as_str(), "file name too long"),
            ("/a\nb", "line break"),
            ("/a\0b", "NUL"),
        ] {
            let error = place(&layout, &own, Some(path), "id", false).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: ") && error.contains(why), "{path:?}: {error}");
        }
    }

    #[test]
    fn without_hierarchies_there_is_nothing() {
        let placement = place(&Layout::None, &OwnCgroups::default(), Some("/x"), "id", false).unwrap();
        assert!(placement.groups.is_empty() && placement.main().is_none());
    }

    #[test]
    fn a_record_is_read_back_and_a_dangerous_one_refused() {
        let (layout, own) = hybrid();
        let placement = place(&layout, &own, Some("/p/q"), "id", false).unwrap();
        let text = serde_json::to_string(&placement).unwrap();
        assert_eq!(serde_json::from_str::<Placement>(&text).unwrap(), placement);
        for (from, to) in [
            ("/c/unified/p/q", "/c/unified"),
            ("/c/unified/p/q", "/c/unified/../etc"),
            ("/c/unified/p/q", "/etc"),
            ("\"/c/unified/p\"", "\"/c/unified\""),
            ("\"/c/unified/p\"", "\"/c/unified/z\""),
            ("\"mountPoint\":\"/c/unified\"", "\"mountPoint\":\"/c/unified/..\""),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            assert!(serde_json::from_str::<Placement>(&changed).is_err(), "{from} -> {to}");
        }
    }
}
