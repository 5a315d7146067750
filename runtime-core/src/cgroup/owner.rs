//! Giving the group of version 2 to the container's user, so that it can make groups of its own below
//! (config-linux.md, "Cgroup ownership").

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Uid, chown};

use super::error::CgroupError;
use super::place::Placement;

/// Which files go with a group that is given away: the kernel's list.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
/// The list of kernels that do not say.
const USUAL: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

impl Placement {
    /// Gives the group of version 2, and the files in it that the kernel names for that, to a user of the host.  No other
    /// file: by those the user could raise the group's limits.
    ///
    /// # Errors
    /// [`CgroupError::Io`].
    pub fn give_to(&self, uid: u32) -> Result<(), CgroupError> {
        let Some(group) = self.v2() else { return Ok(()) };
        let list = crate::host::slurp(DELEGATE).unwrap_or_else(|_| USUAL.into());
        give(&group.path, uid)?;
        for file in String::from_utf8_lossy(&list).lines() {
            match give(&group.path.join(file), uid) {
                // Not every group has every file.
                Err(CgroupError::Io { errno: Errno::ENOENT, .. }) => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn give(path: &Path, uid: u32) -> Result<(), CgroupError> {
    let given = chown(path, Some(Uid::from_raw(uid)), None);
    given.map_err(|errno| CgroupError::io(format!("chown to {uid} of"), path, errno))
}
