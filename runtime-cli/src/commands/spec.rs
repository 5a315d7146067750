//! `orlop spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};
use orlop_core::spec::example;
use orlop_core::sys::Reason;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::args::Matches;
use crate::failure::Failure;

const FILE: &str = "config.json";

pub fn run(matches: &Matches) -> Result<(), Failure> {
    let directory = matches.path("bundle")?.unwrap_or_else(|| PathBuf::from("."));
    let user = matches.has("rootless").then(|| (geteuid().as_raw(), getegid().as_raw()));
    let mut config = example(user);
    if unified_cgroups() {
        config = config.with_cgroup_namespace();
    }
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    config
        .serialize(&mut serializer)
        .map_err(|error| Failure::new(format!("cannot write {FILE}: {error}")))?;
    text.push(b'\n');
    write(&directory, &text)
}

/// Whether this host has cgroup v2 alone.
fn unified_cgroups() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn write(directory: &Path, text: &[u8]) -> Result<(), Failure> {
    let path = directory.join(FILE);
    let created = OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path);
    let mut file = created.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(format!("File {FILE} exists. Remove it first")),
        _ => Failure::new(format!("cannot create {}: {}", path.display(), Reason::of(&error))),
    })?;
    file.write_all(text).map_err(|error| {
        // Half a config would only be refused later, and keep the next `spec` from writing a whole one.
        let _ = std::fs::remove_file(&path);
        Failure::new(format!("cannot write {}: {}", path.display(), Reason::of(&error)))
    })
}
