//! Network devices moved into the container: lands with its own change; until then a clear error.
use std::os::fd::BorrowedFd;

/// A device of the host.
#[derive(Debug)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
}

fn not_yet(name: &str) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!("network device {name}: moving is not available yet"),
    )
}

/// Looks a device up.
///
/// # Errors
/// Always, for now.
pub fn prepare(name: &str) -> Result<DeviceInfo, std::io::Error> {
    Err(not_yet(name))
}

/// Messages that configure it inside.
#[must_use]
pub fn configure_messages(_: &DeviceInfo, _: &str) -> Vec<Vec<u8>> {
    Vec::new()
}

/// Moves it.
///
/// # Errors
/// Always, for now.
pub fn move_to(info: &DeviceInfo, _: BorrowedFd<'_>, _: &str) -> Result<(), std::io::Error> {
    Err(not_yet(&info.name))
}

/// Moves it back.
///
/// # Errors
/// Always, for now.
pub fn move_back(_: BorrowedFd<'_>, name: &str, _: &str) -> Result<(), std::io::Error> {
    Err(not_yet(name))
}
