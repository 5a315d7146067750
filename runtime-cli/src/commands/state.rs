//! `orlop state`, and the shape of a container's state that `list` shares.

use std::collections::BTreeMap;
use std::path::Path;

use orlop_core::ContainerState;
use serde::Serialize;

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;
use crate::output;

/// A container as runc's `state` and `list` show it: these keys, in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: &'a str,
}

impl<'a> Shown<'a> {
    /// The state, with the owner's name: `state` has none, `list` has.
    pub fn new(state: &'a ContainerState, owner: &'a str) -> Self {
        Self {
            oci_version: &state.oci_version,
            id: &state.id,
            pid: state.pid,
            status: state.status.name(),
            bundle: &state.bundle,
            rootfs: &state.rootfs,
            created: &state.created,
            annotations: &state.annotations,
            owner,
        }
    }
}

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let state = context.runtime()?.open(matches.id()?)?.state()?;
    let text = serde_json::to_string_pretty(&Shown::new(&state, ""));
    let mut text =
        text.map_err(|error| Failure::new(format!("cannot print the state of {}: {error}", state.id)))?;
    text.push('\n');
    output::print(&text)
}
