//! Reading, bounding and parsing; the fast path.

use super::fault::{Report, SpecError};
use super::{Extras, Loaded, normalise, presence, repair, validate};
use crate::sys::Reason;
use oci_spec::runtime::{Process, Spec};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest config.json that is read, in bytes: 16 MiB, a thousand times a usual one.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// The most values a config.json may hold, estimated by its commas.  The size alone does not bound memory: a
/// two-byte `{}` can become a structure of a hundred bytes and more.
pub const MAX_CONFIG_VALUES: usize = 250_000;

/// Loads the config.json at `path`.
///
/// # Errors
/// When it cannot be read, is not a regular file, is larger than [`MAX_CONFIG_BYTES`], or has faults: all of
/// them are in the error.
pub fn load_file(path: &Path) -> Result<Loaded, SpecError> {
    load(&read(path)?)
}

/// Loads a config.json from its bytes.
///
/// # Errors
/// All faults at once.
pub fn load(bytes: &[u8]) -> Result<Loaded, SpecError> {
    check_bounds(bytes)?;
    // serde reads an array as a structure's values in order; not here.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(SpecError::whole("config.json must be a JSON object, not an array"));
    }
    match serde_json::from_slice::<Spec>(bytes) {
        Ok(spec) if !presence::suspicious(&spec, bytes) => {
            finish(spec, Report::default(), Extras::default(), bytes)
        }
        // Either something the types cannot hold, or a default that may stand for a missing property: only the
        // JSON itself tells.
        _ => {
            let (spec, report, extras) = repair::load_cold(bytes)?;
            finish(spec, report, extras, bytes)
        }
    }
}

/// Loads a `process` alone from its bytes: what `exec --process` reads.  The faults are those it would have in a config.json.
///
/// # Errors
/// All faults at once.
pub fn load_process(bytes: &[u8]) -> Result<(Process, Vec<String>), SpecError> {
    check_bounds(bytes)?;
    // One value and nothing behind it: what is put together below is then what it seems.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        return Err(SpecError::whole(format!("process: {error}")));
    }
    let config = [br#"{"ociVersion":"1.0.0","root":{"path":"rootfs"},"process":"#, bytes, b"}"].concat();
    let loaded = load(&config)?;
    match loaded.spec.process() {
        Some(process) => Ok((process.clone(), loaded.warnings)),
        None => Err(SpecError::whole("process: it is null")),
    }
}

/// Checks a process that was put together from others; what is wrong with it is told as for a configuration's `process`.
///
/// # Errors
/// All faults at once.
pub fn check_process(process: &Process) -> Result<(), SpecError> {
    let mut report = Report::default();
    validate::process(process, &mut report);
    if report.faults.is_empty() { Ok(()) } else { Err(SpecError::new(report.faults)) }
}

/// Checks what parsed, and puts it into the form the plan compiler relies on.
fn finish(mut spec: Spec, mut report: Report, extras: Extras, bytes: &[u8]) -> Result<Loaded, SpecError> {
    let typed = std::mem::take(&mut report.faults);
    normalise::normalise(&mut spec, &mut report);
    warn_of_the_removed(&spec, bytes, &mut report);
    validate::validate(&spec, bytes, &mut report);
    if !typed.is_empty() {
        repair::merge_faults(typed, &mut report);
    }
    if report.faults.is_empty() {
        Ok(Loaded { spec, warnings: report.warnings, extras })
    } else {
        Err(SpecError::new(report.faults))
    }
}

/// Properties that runtime-spec 1.3 has taken out, and whose makers should hear that they have no effect any more.
fn warn_of_the_removed(spec: &Spec, bytes: &[u8], report: &mut Report) {
    if spec.linux().as_ref().is_none_or(|linux| linux.intel_rdt().is_none()) {
        return;
    }
    for (key, path) in
        [("\"enableCMT\"", "linux.intelRdt.enableCMT"), ("\"enableMBM\"", "linux.intelRdt.enableMBM")]
    {
        if presence::occurrences(bytes, key, 1) > 0 {
            report.warn(path, "ignored: runtime-spec 1.3 has enableMonitoring in its place");
        }
    }
}

fn check_bounds(bytes: &[u8]) -> Result<(), SpecError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(too_large("config.json", bytes.len() as u64));
    }
    // Fewer bytes than the bound cannot hold more values than it.
    if bytes.len() > MAX_CONFIG_VALUES {
        let commas = bytes.iter().filter(|byte| **byte == b',').count();
        if commas >= MAX_CONFIG_VALUES {
            return Err(SpecError::whole(format!(
                "config.json holds more than {MAX_CONFIG_VALUES} values, the most that is accepted"
            )));
        }
    }
    Ok(())
}

fn too_large(name: &str, size: u64) -> SpecError {
    SpecError::whole(format!(
        "{name} is {size} bytes, more than the {MAX_CONFIG_BYTES} (16 MiB) that are accepted"
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, SpecError> {
    let shown = path.display();
    let cannot =
        |error: std::io::Error| SpecError::whole(format!("cannot read {shown}: {}", Reason::of(&error)));
    let file = open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => SpecError::whole(format!("JSON specification file {shown} not found")),
        _ => cannot(error),
    })?;
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err(SpecError::whole(format!("{shown} is not a regular file")));
    }
    let size = meta.len();
    if size > MAX_CONFIG_BYTES as u64 {
        return Err(too_large(&shown.to_string(), size));
    }
    // One byte more than the bound: a file that grows while it is read is refused too, not cut off.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(MAX_CONFIG_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

/// Opens without waiting for a writer, should the path be a FIFO.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}
