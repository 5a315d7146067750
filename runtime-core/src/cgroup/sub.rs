//! Groups below a container's own, for a process that is executed in it.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::error::CgroupError;
use super::files::read;
use super::place::{Group, Placement};

/// A group below the container's, as `exec --cgroup [CONTROLLER[,CONTROLLER]:]PATH` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubGroup {
    /// The version 1 hierarchies, by their controllers or labels; none for every hierarchy.
    pub controllers: Vec<String>,
    /// Its path, below the container's group.
    pub path: PathBuf,
}

impl Placement {
    /// The placement with the groups that are asked for in place of those of the container; they have to be there.
    ///
    /// # Errors
    /// [`CgroupError::SubGroup`] for a path that leads out of the container's group, or a controller that none of its hierarchies
    /// has.
    pub fn below(&self, asked: &[SubGroup]) -> Result<Self, CgroupError> {
        let mut placement = self.clone();
        for sub in asked {
            let refuse = |reason: String| CgroupError::SubGroup { path: sub.path.clone(), reason };
            let path = clean(&sub.path)
                .ok_or_else(|| refuse(format!("{} is not a sub cgroup path", sub.path.display())))?;
            if sub.controllers.is_empty() {
                placement.groups.iter_mut().for_each(|group| enter(group, &path));
            }
            for controller in &sub.controllers {
                let group = placement.groups.iter_mut().find(|group| {
                    group.has(controller) || group.hierarchy.as_deref() == Some(controller.as_str())
                });
                let group = group.ok_or_else(|| refuse(format!("unknown controller {controller}")))?;
                enter(group, &path);
            }
        }
        Ok(placement)
    }

    /// Made by an ordinary user: permissions may lack.
    #[must_use]
    pub fn is_rootless(&self) -> bool {
        self.rootless
    }

    /// A descriptor of the version 2 group in which the container's first process is by its `/proc/PID/cgroup`, if that is below
    /// the container's own.
    #[must_use]
    pub fn group_of_init(&self, proc_cgroup: &str) -> Option<OwnedFd> {
        let path = group_of_init(self.v2()?, proc_cgroup)?;
        open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }

    /// The file by which a process enters the group of version 2 by itself; that of the container's first process where the group
    /// hands controllers down.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn v2_entry(&self, init_cgroup: Option<&str>) -> Result<Option<OwnedFd>, CgroupError> {
        let Some(group) = self.v2() else { return Ok(None) };
        let hands_down =
            || read(&group.path, "cgroup.subtree_control").is_ok_and(|text| !text.trim().is_empty());
        let inner = init_cgroup.filter(|_| hands_down()).and_then(|text| group_of_init(group, text));
        let path = inner.as_ref().unwrap_or(&group.path).join("cgroup.procs");
        open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map(Some)
            .map_err(|errno| CgroupError::io("open", &path, errno))
    }
}

fn enter(group: &mut Group, path: &Path) {
    // An empty path would leave a slash at the end.
    if !path.as_os_str().is_empty() {
        group.path.push(path);
    }
}

/// Without `.`, and without `..`, as far as these lead to nowhere outside.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if !clean.pop() => return None,
            _ => {}
        }
    }
    Some(clean)
}

fn group_of_init(group: &Group, proc_cgroup: &str) -> Option<PathBuf> {
    let path = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = group.mount_point.join(path);
    let inside = path.starts_with(&group.path) && !path.components().any(|c| c == Component::ParentDir);
    inside.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement() -> Placement {
        let group = |hierarchy: Option<&str>, mount: &str| Group {
            hierarchy: hierarchy.map(str::to_owned),
            mount_point: mount.into(),
            path: format!("{mount}/c").into(),
            parents: Vec::new(),
        };
        let groups = vec![
            group(Some("cpu,cpuacct"), "/f/cpu"),
            group(Some("name=systemd"), "/f/s"),
            group(None, "/f/u"),
        ];
        Placement { groups, ..Placement::default() }
    }

    fn sub(controllers: &[&str], path: &str) -> SubGroup {
        SubGroup { controllers: controllers.iter().map(ToString::to_string).collect(), path: path.into() }
    }

    fn paths(asked: &[SubGroup]) -> Result<Vec<String>, String> {
        let placement = placement().below(asked).map_err(|e| e.to_string())?;
        Ok(placement.groups.iter().map(|g| g.path.display().to_string()).collect())
    }

    #[test]
    fn one_path_for_all_or_one_for_each() {
        assert_eq!(paths(&[sub(&[], "x/./y")]).unwrap(), ["/f/cpu/c/x/y", "/f/s/c/x/y", "/f/u/c/x/y"]);
        assert_eq!(paths(&[sub(&[], "/")]).unwrap(), ["/f/cpu/c", "/f/s/c", "/f/u/c"]);
        let each = [sub(&["cpuacct"], "a"), sub(&["name=systemd"], "/b")];
        assert_eq!(paths(&each).unwrap(), ["/f/cpu/c/a", "/f/s/c/b", "/f/u/c"]);
    }

    #[test]
    fn the_way_out_and_what_is_not_there_are_refused() {
        for path in ["..", "../c2", "x/../../y"] {
            let error = paths(&[sub(&[], path)]).unwrap_err();
            assert_eq!(error, format!("--cgroup {path:?}: {path} is not a sub cgroup path"));
        }
        assert_eq!(paths(&[sub(&["pids"], "x")]).unwrap_err(), "--cgroup \"x\": unknown controller pids");
    }

    #[test]
    fn the_group_of_init_is_below_the_containers() {
        let placement = placement();
        let at = |text| group_of_init(placement.v2().unwrap(), text);
        assert_eq!(at("1:name=systemd:/q\n0::/c/init.scope\n"), Some("/f/u/c/init.scope".into()));
        assert_eq!(at("0::/c\n"), Some("/f/u/c".into()));
        assert_eq!(at("0::/other\n"), None);
        assert_eq!(at("0::/c/../other\n"), None);
        assert_eq!(at("3:cpu:/c\n"), None);
    }
}
