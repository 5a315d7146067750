//! What a launch is given, and what it tells while it goes on.

use super::child::Observe;
use crate::cgroup::Placement;
use crate::state::{ContainerDir, IntelRdt, State};
use std::os::fd::BorrowedFd;

/// Which half of the launch did a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The caller.
    Parent,
    /// The container's process, before execve.
    Child,
}

/// A step that is done, as an observer hears of it.
#[derive(Clone, Debug)]
pub struct StepEvent {
    /// Who did it.
    pub half: Half,
    /// Its index in that half of the plan.
    pub index: usize,
    /// What it was, in words.
    pub name: String,
    /// When it began, in nanoseconds of the wall clock.
    pub start_ns: u64,
    /// When it was done.
    pub end_ns: u64,
}

/// Hears of each step when it is done.
pub type Observer<'a> = dyn FnMut(&StepEvent) + Send + 'a;

/// The container that a launch makes, as opposed to a process in an existing one.
pub struct Record<'a> {
    /// Its state directory, locked.
    pub dir: &'a ContainerDir,
    /// Its record.
    pub state: &'a mut State,
}

/// What a launch is given beside the plan.
#[derive(Default)]
pub struct Inputs<'a> {
    /// Where the pseudoterminal's master is sent.
    pub console_socket: Option<BorrowedFd<'a>>,
    /// What becomes stdin, stdout and stderr; the caller's own when `None`.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// Descriptors 3 to 3+n-1 are passed on.
    pub preserve_fds: u32,
    /// How much is told to the observer.
    pub observe: Observe,
    /// Nothing has to be done between the child's last step and execve: it is told to go on before it asks.
    pub start_at_once: bool,
    /// The observer.
    pub observer: Option<&'a mut Observer<'a>>,
    /// For a process in an existing container: its pidfd, which stands for all namespaces.
    pub target: Option<BorrowedFd<'a>>,
    /// For a process in an existing container: its cgroups.
    pub cgroup: Option<Placement>,
    /// For a process in an existing container: its first process, into whose cgroup of version 2 the new one goes where the
    /// container's own takes none.
    pub init: Option<i32>,
    /// For a process in an existing container: its groups of resctrl.
    pub intel_rdt: Option<IntelRdt>,
}
