//! `orlop plan`: what `run` would do.

use std::path::PathBuf;

use orlop_core::{CreateOptions, Runtime};

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;
use crate::output;

/// The id that the plan shows where none is given; the cgroup's path contains it.
const PLACEHOLDER: &str = "ID";

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let format = matches.choice("format", &["text", "json"])?;
    let options = CreateOptions {
        id: if matches.operands.is_empty() { PLACEHOLDER.to_owned() } else { matches.id()?.to_owned() },
        bundle: matches.path("bundle")?.unwrap_or_default(),
        no_pivot: matches.has("no-pivot"),
        no_new_keyring: matches.has("no-new-keyring"),
        preserve_fds: matches.number("preserve-fds", "a number of descriptors")?.unwrap_or(0),
        systemd_cgroup: context.systemd_cgroup,
        rootless_cgroups: context.rootless_cgroups,
        ..CreateOptions::default()
    };
    // Nothing is recorded, so there need not be a place for records.
    let plan = Runtime::new(PathBuf::new()).plan(options)?;
    let mut text = if format == "json" { format!("{:#}", plan.to_json()) } else { plan.render_text() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    output::print(&text)
}
