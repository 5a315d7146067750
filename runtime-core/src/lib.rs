//! Orlop engine.
