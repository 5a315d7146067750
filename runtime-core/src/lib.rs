//! Orlop engine.
pub mod cgroup;
pub mod host;
pub mod plan;
pub mod spec;
pub mod state;
pub mod sys;
