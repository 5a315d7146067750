//! The state directory: which containers there are, and what was made for each (invariants I6 and I8).
//!
//! Below the root lies one directory for each container, named by its id, which holds the record
//! ([`STATE_FILE`]) and what else belongs to the container while it exists.  A container exists from the moment
//! its directory does, and until the directory is removed.
//!
//! Commands on one container are serialised by an exclusive `flock(2)` on its directory.  The kernel drops the lock
//! of a process that dies, so no lock is ever left behind.  The record is replaced by `rename(2)`, so that readers
//! need no lock: [`StateRoot::open_shared`].
//!
//! **Nothing is flushed to the disk.**  What the record must survive is the death of the runtime, for which the
//! page cache is enough.  It need not survive a crash of the machine: the processes, cgroups and mounts it names
//! end with the kernel.  A record that was on its way to the disk then reads as empty, which [`ContainerDir::load`]
//! takes as none; one that had arrived is known by its boot id, and forgets what ended with that boot.

mod dir;
mod error;
mod filter;
mod process;
mod record;
mod time;

pub(crate) use dir::Known;
pub use dir::{ContainerDir, START_SOCKET, STATE_FILE, StateRoot, validate_id};
pub use error::StateError;
pub use filter::FILTER_FILE;
pub use process::{ProcState, has_executed, identify, is_stopped, process_start_time};
pub use record::{
    ExecDefaults, Helper, HostMount, IntelRdt, NetDevice, Phase, STATE_VERSION, Seccomp, SeccompListener,
    State,
};
pub use time::{now, rfc3339};

#[cfg(test)]
mod tests;
