//! The containerd shim of Orlop: containerd's shim protocol on one side, [`orlop_core`] on the other.
//!
//! One process serves a whole pod.  There is no runtime process: create, start, exec, kill, pause, update and delete are calls
//! into the engine.  What waits, waits in one epoll set of one thread; what may take long has a thread as long as it takes; when
//! nothing happens, nothing runs.

pub mod address;
pub mod api;
pub mod args;
pub mod checkpoint;
pub mod delete;
pub mod forgotten;
mod idmapped;
pub mod info;
pub mod jobs;
pub mod launch;
pub mod logger;
pub mod metrics;
pub mod mounts;
pub mod options;
pub mod poller;
pub mod publisher;
pub mod relay;
pub mod resources;
pub mod sandbox;
pub mod serve;
pub mod server;
pub mod service;
pub mod sha256;
pub mod shim;
pub mod start;
pub mod stdio;
pub mod task;
pub mod ttrpc;

pub use orlop_core::wire;
