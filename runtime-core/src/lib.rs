//! Orlop engine.
pub mod spec;
pub mod sys;
