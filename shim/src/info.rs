//! `-info`: what the runtime can do, which the CRI plugin asks before it offers user namespaces and recursive read-only mounts.

use crate::api::{Any, RuntimeInfo, RuntimeVersion};
use crate::wire::Message;
use orlop_core::sys::Reason;
use std::io::Read;

/// The type of the features structure of the runtime specification, as containerd names JSON documents.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
/// More than any options.
const MAX_INPUT: u64 = 10 << 20;

/// The answer; the question, on standard input, are the options of the runtime, which go back as they came.
///
/// # Errors
/// Standard input cannot be read, or is no message.
pub fn info() -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    let read = std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut input);
    read.map_err(|e| format!("read standard input: {}", Reason::of(&e)))?;
    let options = if input.is_empty() {
        None
    } else {
        Some(Any::decode(&input).map_err(|e| format!("understand standard input: {e}"))?)
    };
    let version = RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), revision: String::new() };
    let features =
        serde_json::to_vec(&orlop_core::features()).map_err(|e| format!("write the features: {e}"))?;
    let info = RuntimeInfo {
        name: "io.containerd.orlop.v2".to_owned(),
        version: Some(version),
        options,
        features: Some(Any::new(FEATURES, features)),
        annotations: Vec::new(),
    };
    Ok(info.encode())
}
