//! `orlop features`: what this runtime implements, as JSON.

use crate::failure::Failure;
use crate::output;

pub fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&orlop_core::features());
    let text = text.map_err(|error| Failure::new(format!("cannot write the features: {error}")))?;
    output::print(&(text + "\n"))
}
