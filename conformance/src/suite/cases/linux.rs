//! To come.

use super::super::case::Case;

pub const CASES: &[Case] = &[];
