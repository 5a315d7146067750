//! What a launch does around the container's process, for a process that comes about otherwise.

use super::{Parent, with_origin};
use crate::error::Error;
use crate::launch::explain::failed;
use crate::launch::inputs::{Inputs, Record};
use crate::plan::{HostStep, Plan};
use crate::sys::{self, Child, Fd};

/// Records what will be made, makes the cgroups and groups of resctrl, and puts the process into them that `make` makes.
///
/// The other steps of the plan are left out: what the container's own process is told, and what it asks for.
pub fn surround(
    plan: &Plan,
    record: Record<'_>,
    make: impl FnOnce() -> Result<Child, Error>,
) -> Result<Child, Error> {
    let mut parent = Parent::new(plan, Some(record), Inputs::default())?;
    let result = parent.walk_around(make);
    let Some(child) = parent.guest.take() else {
        return result.and(Err(failed("make a process", "the plan makes none")));
    };
    match result {
        Ok(()) => Ok(child),
        Err(e) => {
            let _ = sys::pidfd_send_signal(Fd::from(&child.pidfd), libc::SIGKILL);
            let _ = sys::wait_child(Fd::from(&child.pidfd), 0);
            Err(e)
        }
    }
}

impl Parent<'_> {
    fn walk_around(&mut self, make: impl FnOnce() -> Result<Child, Error>) -> Result<(), Error> {
        let plan = self.plan;
        let mut make = Some(make);
        for planned in &plan.host {
            let done = match &planned.step {
                HostStep::Clone => match make.take() {
                    Some(make) => make().and_then(|child| {
                        self.guest = Some(child);
                        // The container's own process is cloned into its group, and no step moves it then.
                        if plan.clone.into_cgroup { self.join_cgroup() } else { Ok(()) }
                    }),
                    None => Ok(()),
                },
                // The process is not the container's own: that records itself, when there is one.
                HostStep::RecordProcess => self.record_rest(|_| {}),
                HostStep::RecordIntent
                | HostStep::CreateUnified
                | HostStep::CreateCgroup { .. }
                | HostStep::StartUnit { .. }
                | HostStep::JoinCgroup
                | HostStep::CgroupDevices { .. }
                | HostStep::GiveCgroup { .. }
                | HostStep::CgroupLimit(_)
                | HostStep::IntelRdt(_) => self.step(&planned.step),
                _ => Ok(()),
            };
            done.map_err(|e| with_origin(e, &planned.origin))?;
        }
        Ok(())
    }
}
