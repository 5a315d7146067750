//! Orlop engine.
pub mod sys;
