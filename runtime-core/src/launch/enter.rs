//! How a process that is executed in a container comes into its pid namespace and its cgroups: by its clone, where that can be.

use super::child::{self, Context};
use super::inputs::Inputs;
use super::procfs::TrustedProc;
use crate::cgroup::Placement;
use crate::plan::{CloneSpec, Namespace};
use crate::sys::{self, Child, CloneArgs, Fd, SysError};
use std::os::fd::{AsFd, OwnedFd};

/// The caller's thread makes its children in another pid namespace, until this is given back.
pub struct Visit {
    own: OwnedFd,
}

impl Visit {
    /// Joins the pid namespace of the process that is the target of the launch, for the children of this one thread.
    ///
    /// It saves the stage: another process, which would have to join and then make the one that is wanted.  `None` where a stage
    /// is needed all the same: without the right to (rootless), or where the thread has children in yet another namespace, or has
    /// no right over its own (root of a user namespace within the pid namespace of another), so that there would be no way back.
    pub fn begin(inputs: &Inputs<'_>, spec: &CloneSpec, proc: &TrustedProc) -> Option<Self> {
        let target = inputs.target.filter(|_| joins_pid(spec))?;
        // A magic link, and the kernel's own: there is no other name for it.
        let name = c"thread-self/ns/pid_for_children";
        let own = sys::openat(Fd::from(proc.as_fd()), name, libc::O_RDONLY, 0).map(sys::own).ok()?;
        if sys::namespace_kind(Fd::from(&own)) != Ok(libc::CLONE_NEWPID) {
            return None;
        }
        // The way back first: from where it starts it leads nowhere, but is refused as it would be later.
        sys::setns(Fd::from(&own), libc::CLONE_NEWPID).ok()?;
        sys::setns(Fd::from(target), libc::CLONE_NEWPID).ok()?;
        Some(Self { own })
    }

    /// Goes back.
    ///
    /// # Errors
    /// Those of `setns(2)`: [`Visit::begin`] has tried it, so none is known that could come.
    pub fn end(self) -> sys::Result<()> {
        sys::setns(Fd::from(&self.own), libc::CLONE_NEWPID)
    }
}

fn joins_pid(spec: &CloneSpec) -> bool {
    spec.stage.iter().flatten().any(|(_, kind)| *kind == Namespace::Pid)
}

/// Whether the process joins all namespaces by itself: those of a running container, its pid namespace being joined already, or
/// not to be joined.
pub fn joins_itself(inputs: &Inputs<'_>, spec: &CloneSpec, visit: Option<&Visit>) -> bool {
    inputs.target.is_some() && (visit.is_some() || !joins_pid(spec))
}

/// Clones, into the given group of version 2 of a placement where there is one, or where else the process may go.
///
/// # Errors
/// Those of `clone3(2)`.
pub fn clone_into(
    place: Option<(&OwnedFd, &Placement)>,
    spec: &CloneSpec,
    context: Context<'_>,
    inputs: &Inputs<'_>,
    proc: &TrustedProc,
) -> sys::Result<Child> {
    let flags = if spec.stage.is_some() { 0 } else { u64::from(spec.flags.cast_unsigned()) };
    let mut context = Some(context);
    let mut clone = |cgroup: Option<&OwnedFd>| {
        let args = CloneArgs { flags, cgroup: cgroup.map(Fd::from), no_signal: false };
        sys::clone3(&args, || match context.take() {
            Some(context) => child::run(context, spec),
            None => sys::exit(1),
        })
    };
    let result = clone(place.map(|(group, _)| group));
    let (Err(error), Some((_, placement))) = (&result, place) else { return result };
    match other_group(*error, placement, inputs, proc) {
        Some(other) => clone(other.as_ref()),
        None => result,
    }
}

/// Another group than the container's own of version 2, which the kernel has refused, or none; `None` if there is no other way.
///
/// - The container's init (systemd, say) has moved itself to a group below and has handed controllers down: then the group itself
///   takes no process (`EBUSY`), and the new process goes where the init is, as under runc.
/// - A caller without privileges may have no right to put a process there from where it is itself: then it stays where it is, as
///   under runc.
fn other_group(
    error: SysError,
    placement: &Placement,
    inputs: &Inputs<'_>,
    proc: &TrustedProc,
) -> Option<Option<OwnedFd>> {
    match error.errno {
        libc::EBUSY | libc::EOPNOTSUPP => {
            let text = cgroups_of(proc, inputs.init?)?;
            placement.group_of_init(&text).map(Some)
        }
        libc::EACCES | libc::EPERM if inputs.target.is_some() && placement.is_rootless() => {
            log::warn!("no permission to enter the container's cgroup: the process stays in the caller's");
            Some(None)
        }
        _ => None,
    }
}

/// `/proc/PID/cgroup`.
pub fn cgroups_of(proc: &TrustedProc, pid: i32) -> Option<String> {
    use std::io::Read as _;
    let path = std::ffi::CString::new(format!("{pid}/cgroup")).ok()?;
    let file = proc.open_file(&path, libc::O_RDONLY).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).ok()?;
    Some(text)
}
