//! Writing limits into the files of a container's groups.

use nix::errno::Errno;

use super::{Limit, LimitWrite, Limits, Missing};
use crate::cgroup::create::{Need, enable};
use crate::cgroup::error::CgroupError;
use crate::cgroup::files::{read, write};
use crate::cgroup::place::{Group, Placement};

impl Placement {
    /// Writes every limit.  It stops at the first that the kernel refuses; those before it are in effect.
    ///
    /// # Errors
    /// [`CgroupError::Limit`], [`CgroupError::Controller`].
    pub fn apply(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits.limits.iter().try_for_each(|limit| self.apply_limit(limit))
    }

    /// Writes the values of one limit, in whatever order the kernel takes them.
    ///
    /// # Errors
    /// [`CgroupError::Limit`], [`CgroupError::Controller`].
    pub fn apply_limit(&self, limit: &Limit) -> Result<(), CgroupError> {
        limit.writes.iter().try_for_each(|write| self.check(write))?;
        let mut left: Vec<&LimitWrite> = limit.writes.iter().collect();
        loop {
            let before = left.len();
            let mut refused = Vec::new();
            let mut why = None;
            for write in left {
                match self.write_limit(write) {
                    Ok(()) => {}
                    Err(error) if error.is_invalid() && before > 1 => {
                        refused.push(write);
                        why = why.or(Some(error));
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some(error) = why else { return Ok(()) };
            if refused.len() == before {
                return Err(error);
            }
            left = refused;
        }
    }

    /// Whether the kernel has killed for want of memory in the container.
    #[must_use]
    pub(crate) fn oom_killed(&self) -> bool {
        let counted = |group: Option<&Group>, file| {
            let text = group.and_then(|group| read(&group.path, file).ok()).unwrap_or_default();
            text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
        };
        counted(self.v1("memory"), "memory.oom_control") || counted(self.v2(), "memory.events")
    }

    pub(in crate::cgroup) fn group_of(&self, limit: &LimitWrite) -> Option<&Group> {
        if limit.unified { self.v2() } else { self.v1(&limit.controller) }
    }

    /// The kernel of version 2 kills where that of version 1 refuses; a configuration can ask for the latter.
    fn check(&self, limit: &LimitWrite) -> Result<(), CgroupError> {
        let Some((file, group)) = limit.not_below.zip(self.group_of(limit)) else { return Ok(()) };
        let (wanted, used) = (limit.value.parse::<u64>().ok(), number(group, file));
        match wanted.zip(used) {
            Some((wanted, used)) if wanted < used => Err(CgroupError::InUse {
                config_path: limit.origin.clone(),
                value: limit.value.clone(),
                used,
                path: group.path.join(file),
            }),
            _ => Ok(()),
        }
    }

    fn write_limit(&self, limit: &LimitWrite) -> Result<(), CgroupError> {
        let Some(group) = self.group_of(limit) else {
            return if limit.missing == Missing::Skip { Ok(()) } else { Err(no_group(limit)) };
        };
        match write(&group.path, &limit.file, limit.value.as_bytes()) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) => write_missing(group, limit),
            Err(errno) => Err(refusal(group, limit, &limit.file, &limit.value, errno)),
        }
    }
}

fn number(group: &Group, file: &str) -> Option<u64> {
    read(&group.path, file).ok()?.trim().parse().ok()
}

fn no_group(limit: &LimitWrite) -> CgroupError {
    CgroupError::Controller {
        config_path: limit.origin.clone(),
        controller: limit.controller.clone(),
        reason: "the container has no group with it".to_owned(),
    }
}

/// The file is not there: the controller may not be handed down yet, or the kernel has another file, or none.
fn write_missing(group: &Group, limit: &LimitWrite) -> Result<(), CgroupError> {
    let again = |file: &str, value: &str| write(&group.path, file, value.as_bytes());
    if limit.unified && limit.controller != "cgroup" && limit.missing != Missing::Skip {
        enable(group, &[Need { controller: &limit.controller, config_path: &limit.origin }])?;
        match again(&limit.file, &limit.value) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(refusal(group, limit, &limit.file, &limit.value, errno)),
        }
    }
    match &limit.missing {
        Missing::Skip => Ok(()),
        Missing::Instead { file, value } => {
            again(file, value).map_err(|errno| refusal(group, limit, file, value, errno))
        }
        Missing::Error | Missing::Since(..) => {
            Err(refusal(group, limit, &limit.file, &limit.value, Errno::ENOENT))
        }
    }
}

/// The error, with what the number means here; looked for after the failure, never before.
fn refusal(group: &Group, limit: &LimitWrite, file: &str, value: &str, errno: Errno) -> CgroupError {
    CgroupError::Limit {
        config_path: limit.origin.clone(),
        value: value.to_owned(),
        path: group.path.join(file),
        errno,
        hint: hint(group, limit, file, errno),
    }
}

fn hint(group: &Group, limit: &LimitWrite, file: &str, errno: Errno) -> String {
    let above = || group.path.parent().unwrap_or(&group.mount_point);
    let text = match (errno, file) {
        (Errno::ENOENT, _) => return missing_hint(limit, file),
        (Errno::EBUSY, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => {
            let used = number(group, &file.replace("limit", "usage")).unwrap_or(0);
            format!("{used} bytes are in use, and cannot be reclaimed")
        }
        (Errno::EINVAL, "memory.limit_in_bytes") => {
            "it may be above memory and swap together, memory.memsw.limit_in_bytes".to_owned()
        }
        (Errno::EINVAL, "memory.memsw.limit_in_bytes") => {
            "it is memory and swap together, and may not be below memory.limit_in_bytes".to_owned()
        }
        (Errno::EOPNOTSUPP, "memory.kmem.limit_in_bytes") => {
            "Linux 5.16 and later do not limit it".to_owned()
        }
        (Errno::EINVAL, "memory.use_hierarchy") => "Linux 5.11 and later have nothing else".to_owned(),
        (Errno::EACCES, "cpuset.cpus" | "cpuset.mems") => {
            let theirs = read(above(), file).unwrap_or_default();
            format!("{} has {:?} alone", above().display(), theirs.trim())
        }
        (Errno::ERANGE | Errno::EINVAL, "cpuset.cpus" | "cpuset.mems") => {
            "there may be no such number on this host".to_owned()
        }
        (Errno::EINVAL, "cpu.rt_runtime_us") => {
            format!("the budget of {} may be less, or the period shorter", above().display())
        }
        (Errno::EINVAL, "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max") => {
            format!(
                "less than 1 ms of time, or more than 1 s of period, or a larger share than {} has",
                above().display()
            )
        }
        (Errno::EOPNOTSUPP, "blkio.bfq.weight_device" | "io.bfq.weight") => {
            "the device is not scheduled by BFQ: see /sys/block/*/queue/scheduler".to_owned()
        }
        (Errno::ENODEV | Errno::ENXIO, _) => {
            "there is no such device, or it takes no such setting".to_owned()
        }
        _ => return String::new(),
    };
    format!(" ({text})")
}

fn missing_hint(limit: &LimitWrite, file: &str) -> String {
    let text = match (&limit.missing, limit.controller.as_str()) {
        (Missing::Since(major, minor), _) => {
            format!(
                "this kernel has no such file: it needs Linux {major}.{minor}, and may be left out of a build"
            )
        }
        (Missing::Instead { .. }, _) => {
            format!("this kernel has neither {} nor {file}: no I/O scheduler of it knows weights", limit.file)
        }
        (_, "hugetlb") => "this kernel has no huge pages of that size".to_owned(),
        _ if file == "memory.memsw.limit_in_bytes" || file == "memory.swap.max" => {
            "this kernel does not account swap".to_owned()
        }
        _ => "this kernel has no such file".to_owned(),
    };
    format!(" ({text})")
}

#[cfg(test)]
mod tests {
    use super::super::Side;
    use super::*;

    /// What a kernel before Linux 5.14 and 5.15 has no file for.
    #[test]
    fn a_file_that_came_later_is_missed_by_its_version() {
        let path = std::env::temp_dir().join(format!("orlop-limits-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let (hierarchy, parents) = (Some("cpu".to_owned()), Vec::new());
        let group = Group { hierarchy, mount_point: path.clone(), path: path.clone(), parents };
        let placement = Placement { groups: vec![group], ..Placement::default() };
        let write = |file: &str, at: &str| LimitWrite::new("cpu", Side::V1, file, &1, at);
        for (file, at, version) in
            [("cpu.cfs_burst_us", "cpu.burst", (5, 14)), ("cpu.idle", "cpu.idle", (5, 15))]
        {
            let limit = write(file, at).or(Missing::Since(version.0, version.1));
            let said = placement.write_limit(&limit).unwrap_err().to_string();
            let needs = format!("it needs Linux {}.{}", version.0, version.1);
            assert!(said.contains(at) && said.contains(&needs), "{said}");
            assert!(placement.write_limit(&write(file, at).or(Missing::Skip)).is_ok());
        }
        std::fs::remove_dir(&path).unwrap();
    }
}
