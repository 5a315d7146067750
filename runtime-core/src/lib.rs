//! Orlop engine.
pub mod cgroup;
pub mod spec;
pub mod state;
pub mod sys;
