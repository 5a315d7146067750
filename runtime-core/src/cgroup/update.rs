//! Changing limits that are in effect: all that is asked for, or nothing.

use super::error::CgroupError;
use super::files::read;
use super::limits::{Limit, LimitWrite, Limits, Missing};
use super::place::{Group, Placement};

impl Placement {
    /// Writes limits over those in effect.  If the kernel refuses one, those that were written before it are set back, as far
    /// as they can be: what cannot is told by a warning.  Where systemd keeps the groups it is told first, as it rounds what the
    /// files then get exactly, and would write the old values again one day.
    ///
    /// # Errors
    /// That of the limit which was refused.
    pub fn update(&self, limits: &Limits) -> Result<(), CgroupError> {
        // systemd writes what it is told at once, so all is read before.
        let before: Vec<Limit> = limits.limits.iter().map(|limit| self.in_effect(limit)).collect();
        let to_set_back: Vec<Limit> = before.iter().map(|limit| self.to_set_back(limit)).collect();
        self.set_unit(&limits.limits)?;
        limits.limits.iter().try_for_each(|limit| self.apply_limit(limit)).inspect_err(|_| {
            if let Err(error) = self.set_unit(&before) {
                log::warn!("cannot set back what the update has changed: {error}");
            }
            self.set_back(&to_set_back);
        })
    }

    /// The same files with the values that they have now.
    fn in_effect(&self, limit: &Limit) -> Limit {
        let writes = limit.writes.iter().filter_map(|write| self.value_now(write)).collect();
        Limit { writes, before_process: limit.before_process }
    }

    /// What sets these values again.  A list of CPUs or memory nodes that says nothing cannot be had back while there are processes
    /// in the group (`ENOSPC`): then the list that is in effect stands for it.
    fn to_set_back(&self, before: &Limit) -> Limit {
        let mut limit = before.clone();
        for write in limit.writes.iter_mut().filter(|write| write.value == NOTHING) {
            let group = self.group_of(write);
            let effective = group.and_then(|g| read(&g.path, &format!("{}.effective", write.file)).ok());
            let effective = effective.as_deref().map(str::trim).filter(|list| !list.is_empty());
            if let Some(effective) = effective {
                write.value = effective.to_owned();
            }
        }
        limit
    }

    fn value_now(&self, write: &LimitWrite) -> Option<LimitWrite> {
        let group = self.group_of(write)?;
        let (file, new) = existing(group, write)?;
        let text = read(&group.path, file).ok()?;
        let value = setting(file, &text, new);
        Some(LimitWrite {
            file: file.to_owned(),
            value,
            missing: Missing::Skip,
            not_below: None,
            ..write.clone()
        })
    }

    fn set_back(&self, before: &[Limit]) {
        for limit in before.iter().rev().filter(|limit| !limit.writes.is_empty()) {
            // Values that are as they were need no writing, and some could not be written: no process could be moved now.
            let changed = |write: &&LimitWrite| {
                self.value_now(write).is_none_or(|now| now.value != write.value && now.value != NOTHING)
            };
            let writes: Vec<LimitWrite> = limit.writes.iter().filter(changed).cloned().collect();
            if writes.is_empty() {
                continue;
            }
            if let Err(error) = self.apply_limit(&Limit { writes, before_process: limit.before_process }) {
                log::warn!("cannot set back what the update has changed: {error}");
            }
        }
    }
}

/// The file that would be written, and the value.
fn existing<'a>(group: &Group, write: &'a LimitWrite) -> Option<(&'a str, &'a str)> {
    if group.path.join(&write.file).exists() {
        return Some((&write.file, &write.value));
    }
    match &write.missing {
        Missing::Instead { file, value } => Some((file, value)),
        _ => None,
    }
}

/// What to write into a file with this text to have what it says now, of the thing that the value `new` is about: a device or an
/// interface, where `new` begins with one, else the group itself.
fn setting(file: &str, text: &str, new: &str) -> String {
    let listed = !matches!(file, "cpu.max" | "memory.oom_control" | "memory.stat");
    if let Some((name, _)) = new.split_once(' ').filter(|_| listed) {
        let mut lines = text.lines();
        return match lines.find(|line| line.split_once(' ').is_some_and(|(first, _)| first == name)) {
            Some(line) => line.to_owned(),
            None => format!("{name} {}", unlisted(file)),
        };
    }
    let own = text.lines().next().unwrap_or_default().trim();
    let own = own.strip_prefix("default ").or_else(|| own.strip_prefix("oom_kill_disable ")).unwrap_or(own);
    if own.is_empty() { NOTHING.to_owned() } else { own.to_owned() }
}

/// What empties a file: to write nothing would be no write at all.
const NOTHING: &str = "\n";

/// The value of a device that a file does not list.
fn unlisted(file: &str) -> &'static str {
    match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        "rdma.max" => "hca_handle=max hca_object=max",
        "misc.max" => "max",
        // Version 1's.
        _ => "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_can_be_written_back() {
        for (file, text, new, expected) in [
            ("memory.max", "max\n", "4096", "max"),
            ("cpu.max", "50000 100000\n", "10000 100000", "50000 100000"),
            ("cpuset.cpus", "\n", "0", "\n"),
            ("cpuset.cpus", "0-1\n", "0", "0-1"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "1", "0"),
            ("io.bfq.weight", "default 100\n8:0 50\n", "200", "100"),
            ("io.bfq.weight", "default 100\n8:0 50\n", "8:0 200", "8:0 50"),
            ("io.bfq.weight", "default 100\n", "8:0 200", "8:0 default"),
            (
                "io.max",
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 rbps=2",
                "8:0 rbps=1 wbps=max riops=max wiops=max",
            ),
            ("io.max", "", "8:0 rbps=2", "8:0 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 7\n", "8:16 9", "8:16 0"),
            ("blkio.throttle.read_bps_device", "8:0 7\n", "8:0 9", "8:0 7"),
            ("net_prio.ifpriomap", "lo 3\neth0 0\n", "lo 5", "lo 3"),
            (
                "rdma.max",
                "mlx hca_handle=2 hca_object=max\n",
                "mlx hca_handle=9",
                "mlx hca_handle=2 hca_object=max",
            ),
        ] {
            assert_eq!(setting(file, text, new), expected, "{file} {new}");
        }
    }
}
