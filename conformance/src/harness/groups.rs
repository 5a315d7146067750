//! Where a container's cgroups are, as the kernel tells it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::Container;

/// The cgroups of a process, by controller; that of version 2 under an empty name.
#[derive(Debug)]
pub struct Groups(pub BTreeMap<String, PathBuf>);

impl Groups {
    /// Those of a process, or of `self`.
    ///
    /// # Panics
    /// When there is no such process.
    #[must_use]
    pub fn of(pid: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
        let mounts: Vec<(&str, &str)> = mounts.lines().filter_map(|line| line.split_once(" - ")).collect();
        let point = |fits: &dyn Fn(&str) -> bool| {
            let mount = mounts.iter().find(|(_, right)| fits(right))?;
            mount.0.split(' ').nth(4).map(PathBuf::from)
        };
        let mut groups = BTreeMap::new();
        for line in fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process").lines() {
            let fields: Vec<&str> = line.splitn(3, ':').collect();
            let [_, controllers, path] = fields[..] else { continue };
            for controller in controllers.split(',') {
                let option = |right: &str| right.split([' ', ',']).any(|word| word == controller);
                let place = match controller {
                    "" => point(&|right| right.starts_with("cgroup2 ")),
                    _ => point(&|right| right.starts_with("cgroup ") && option(right)),
                };
                let path = path.trim_start_matches('/');
                groups.extend(place.map(|place| (controller.to_owned(), place.join(path))));
            }
        }
        Self(groups)
    }

    /// Those of a container's first process.
    #[must_use]
    pub fn of_container(container: &Container) -> Self {
        Self::of(&container.state()["pid"].to_string())
    }

    /// What the file of a controller says: in version 1, else in version 2; nothing where there is none.
    #[must_use]
    pub fn read(&self, controller: &str, v1: &str, v2: &str) -> Option<String> {
        let (group, file) = match self.0.get(controller) {
            Some(group) => (group, v1),
            None => (self.0.get("")?, v2),
        };
        fs::read_to_string(group.join(file)).ok().map(|text| text.trim().to_owned())
    }

    /// Whether a hierarchy of version 1 has this controller.
    #[must_use]
    pub fn is_v1(&self, controller: &str) -> bool {
        self.0.contains_key(controller)
    }
}

/// Whether cgroups of version 2 are all there is.
///
/// # Panics
/// Without procfs.
#[must_use]
pub fn on_v2_alone() -> bool {
    fs::read_to_string("/proc/self/cgroup").expect("procfs").lines().all(|line| line.starts_with("0::"))
}
