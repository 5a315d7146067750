//! Unix sockets that an engine listens on.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use orlop_core::sys::Reason;

use crate::failure::Failure;

/// The longest path a socket address holds (`sun_path` without its end).
const LONGEST: usize = 107;

/// Connects to the socket at `path`, of whatever length.
///
/// # Errors
/// Nobody listens there.
pub fn connect(path: &Path) -> Result<OwnedFd, Failure> {
    let connected =
        if path.as_os_str().len() <= LONGEST { UnixStream::connect(path) } else { connect_long(path) };
    let fault = |error| Failure::new(format!("cannot connect to {}: {}", path.display(), Reason::of(&error)));
    connected.map(OwnedFd::from).map_err(fault)
}

/// A path too long for an address is shortened by a descriptor of its directory.
fn connect_long(path: &Path) -> io::Result<UnixStream> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let directory =
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(parent)?;
    let mut short = OsString::from(format!("/proc/self/fd/{}/", directory.as_raw_fd()));
    short.push(path.file_name().unwrap_or_default());
    debug_assert!(short.as_bytes().first() == Some(&b'/'));
    UnixStream::connect(PathBuf::from(short))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_is_reached_by_a_path_of_any_length() {
        let base = std::env::temp_dir().join(format!("orlop-socket-{}", std::process::id()));
        let deep = base.join("d".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        let listener = UnixListener::bind(base.join("s")).unwrap();
        assert!(connect(&base.join("s")).is_ok());
        // A rename gives the socket a path that could not have been bound.
        fs::rename(base.join("s"), deep.join("s")).unwrap();
        assert!(connect(&deep.join("s")).is_ok());
        drop(listener);
        let message = connect(&deep.join("s")).unwrap_err().message.unwrap();
        assert!(message.contains("connection refused"), "{message}");
        assert!(connect(&base.join("none")).unwrap_err().message.unwrap().contains("no such file"));
        fs::remove_dir_all(&base).unwrap();
    }
}
