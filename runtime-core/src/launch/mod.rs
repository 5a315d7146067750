//! Launch: two small interpreters over a plan.
//!
//! The *parent half* ([`parent`]) prepares descriptors, clones, and does on the host what the child cannot.  The *child half*
//! ([`child`]) runs after the clone and ends in execve.  What they say to each other is in [`protocol`].

pub(crate) mod child;
mod command;
mod enter;
pub(crate) mod explain;
pub(crate) mod hooks;
pub(crate) mod idmap;
pub(crate) mod inputs;
pub(crate) mod launched;
pub(crate) mod listener;
pub(crate) mod netdev;
mod netlink;
pub(crate) mod parent;
pub(crate) mod procfs;
pub mod protocol;
pub(crate) mod rdt;

pub use child::Observe;
pub(crate) use command::receive_fd;
pub use inputs::{Half, StepEvent};
