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
    let open_files_are_set = context.open_files_are_set;
    let clone = |cgroup: Option<&OwnedFd>, context: &mut Option<Context<'_>>| {
        let args = CloneArgs { flags, cgroup: cgroup.map(Fd::from), no_signal: false, open_files_are_set };
        sys::clone3(&args, || match context.take() {
            Some(context) => child::run(context, spec),
            None => sys::exit(1),
        })
    };
    let mut context = Some(context);
    let result = clone(place.map(|(group, _)| group), &mut context);
    let (Err(error), Some((_, placement))) = (&result, place) else { return result };
    match other_way(*error, placement, inputs, proc) {
        Some(Way::Into(group)) => clone(Some(&group), &mut context),
        Some(Way::Nowhere) => clone(None, &mut context),
        Some(Way::ByItself(entry)) => {
            let Some(context) = context else { return result };
            let entry = Fd::from(&entry);
            let files = [context.task_files, &[entry]].concat();
            let mut keep = [context.keep, &[entry]].concat();
            keep.sort_unstable_by_key(|fd| fd.0);
            let enters_last = spec.stage.is_some() && !context.joins_itself;
            clone(None, &mut Some(Context { task_files: &files, keep: &keep, enters_last, ..context }))
        }
        None => result,
    }
}

/// How else a process comes into a group of version 2 that the kernel has refused to make it in.
enum Way {
    /// It is made in another group.
    Into(OwnedFd),
    /// It stays in the caller's group.
    Nowhere,
    /// It is made in the caller's group, and enters by this file.
    ByItself(OwnedFd),
}

/// Another way than into the container's own group; `None` if there is none.
///
/// - The container's init (systemd, say) has moved itself to a group below and has handed controllers down: then the group itself
///   takes no process (`EBUSY`), and the new process goes where the init is, as under runc.
/// - The container has as many processes as it may have (`EAGAIN`): to make another is refused, to move one in is not, and who
///   executes one from outside is not the one that the limit is for.  A limit of the caller's own refuses the next clone too.
/// - A caller without privileges may have no right to put a process there from where it is itself: then it stays where it is, as
///   under runc.
fn other_way(error: SysError, placement: &Placement, inputs: &Inputs<'_>, proc: &TrustedProc) -> Option<Way> {
    match error.errno {
        libc::EBUSY | libc::EOPNOTSUPP => {
            let text = cgroups_of(proc, inputs.init?)?;
            placement.group_of_init(&text).map(Way::Into)
        }
        libc::EAGAIN => {
            inputs.target?;
            let inner = inputs.init.and_then(|init| cgroups_of(proc, init));
            placement.v2_entry(inner.as_deref()).ok()?.map(Way::ByItself)
        }
        libc::EACCES | libc::EPERM if inputs.target.is_some() && placement.is_rootless() => {
            log::warn!("no permission to enter the container's cgroup: the process stays in the caller's");
            Some(Way::Nowhere)
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
