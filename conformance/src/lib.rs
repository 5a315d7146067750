//! Tests and measures any OCI runtime.
//!
//! The `probe` binary of this package is the whole content of a container's root file system: it reports what
//! it sees from inside, so that a test observes effects and not calls.  The crate asks nothing of the runtime
//! but its command line; which one is tested is said by `ORLOP_RUNTIME`.

pub mod config;
pub mod harness;
pub mod sys;
