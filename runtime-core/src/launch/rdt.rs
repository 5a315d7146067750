//! Intel RDT: lands with its own change; until then a clear error.
use crate::state::IntelRdt;

fn not_yet() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::Unsupported, "linux.intelRdt is not available yet")
}

/// What will be made.
///
/// # Errors
/// Always, for now.
pub fn intent(_: &crate::plan::IntelRdt) -> Result<Option<IntelRdt>, std::io::Error> {
    Err(not_yet())
}

/// Makes it.
///
/// # Errors
/// Always, for now.
pub fn apply(_: &crate::plan::IntelRdt, _: i32) -> Result<IntelRdt, std::io::Error> {
    Err(not_yet())
}

/// Removes it.
///
/// # Errors
/// Always, for now.
pub fn remove(_: &IntelRdt) -> Result<(), std::io::Error> {
    Err(not_yet())
}
