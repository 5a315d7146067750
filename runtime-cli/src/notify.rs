//! `sd_notify(3)` for a container: a socket of its own, whose messages are checked and relayed to the service manager.
//!
//! The manager's own socket is never shown to the container: its directory holds more than the socket, and a message
//! may name any process as the main one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use orlop_core::sys::Reason;

use crate::failure::Failure;

/// Below the state root; no container can have this name, which has a character that ids lack.
const DIRECTORY: &str = "@notify";
const SOCKET: &str = "notify.sock";
/// sd_notify(3) sends no more.
const LARGEST: usize = 4096;

/// The container's end of the relay: a directory that holds its socket.
#[derive(Debug)]
pub struct Relay {
    directory: PathBuf,
}

impl Relay {
    /// The relay of a container, if a service manager wants to hear of it (`NOTIFY_SOCKET`).
    pub fn wanted(root: &Path, id: &str) -> Option<(Self, OsString)> {
        let manager = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())?;
        Some((Self { directory: directory(root, id) }, manager))
    }

    /// Where the container's socket is, or will be.
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Makes the directory, and tells whether it is ours: where the id is taken, its container has one already, and the
    /// engine is about to say so.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare(&self) -> Result<bool, Failure> {
        let all = self.directory.parent().unwrap_or(&self.directory);
        // Sticky as the engine makes its root: what lies in $XDG_RUNTIME_DIR is cleaned up as unused otherwise.
        let private = DirBuilder::new().recursive(true).mode(0o1700).create(all);
        private.map_err(|error| fault("make", all, &error))?;
        // The container sees this one, whatever user it runs as; its parent keeps everybody else out.
        match DirBuilder::new().mode(0o755).create(&self.directory) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_taken() => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let hint = "a launch that was killed has left it; delete --force removes it";
                Err(fault("make", &self.directory, &io::Error::new(error.kind(), hint)))
            }
            Err(error) => Err(fault("make", &self.directory, &error)),
        }
    }

    /// Whether there is a container of this id.
    fn is_taken(&self) -> bool {
        let root = self.directory.parent().and_then(Path::parent);
        root.zip(self.directory.file_name()).is_some_and(|(root, id)| root.join(id).exists())
    }

    /// Whether `create` has made the directory.
    pub fn is_prepared(&self) -> bool {
        self.directory.is_dir()
    }

    /// Removes the directory, if there is one.
    pub fn remove(&self) {
        if fs::symlink_metadata(&self.directory).is_ok()
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            log::warn!("cannot remove {}: {}", self.directory.display(), Reason::of(&error));
        }
    }

    /// Binds the container's socket, before its process runs.
    ///
    /// # Errors
    /// It cannot be bound, or the manager's address is none.
    pub fn listen(&self, manager: &OsStr) -> Result<Proxy, Failure> {
        let manager = address(manager).map_err(|error| fault("reach", Path::new(manager), &error))?;
        let path = self.socket();
        // One that an earlier `start` left when it was killed.
        let _ = fs::remove_file(&path);
        let inside = UnixDatagram::bind(&path).map_err(|error| fault("bind", &path, &error))?;
        fs::set_permissions(&path, Permissions::from_mode(0o777))
            .map_err(|error| fault("open up", &path, &error))?;
        inside.set_nonblocking(true).map_err(|error| fault("set", &path, &error))?;
        let outside = UnixDatagram::unbound().map_err(|error| fault("make a socket for", &path, &error))?;
        Ok(Proxy { inside, outside, manager, ready: false })
    }
}

/// Removes what a container's relay left; there is nothing for a container without one.
pub fn remove(root: &Path, id: &str) {
    Relay { directory: directory(root, id) }.remove();
}

fn directory(root: &Path, id: &str) -> PathBuf {
    root.join(DIRECTORY).join(id)
}

fn fault(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {what} {} for NOTIFY_SOCKET: {}", path.display(), Reason::of(error)))
}

/// A path, or a name in the abstract name space behind `@`.
fn address(text: &OsStr) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(text),
    }
}

/// The relay at work.
#[derive(Debug)]
pub struct Proxy {
    inside: UnixDatagram,
    outside: UnixDatagram,
    manager: SocketAddr,
    ready: bool,
}

impl Proxy {
    /// Hands on what has arrived.
    pub fn relay(&mut self) {
        let mut message = [0; LARGEST];
        while let Ok(length) = self.inside.recv(&mut message) {
            let text = relayed(&message[..length]);
            self.ready |= text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
            if !text.is_empty() {
                self.send(&text);
            }
        }
    }

    /// Whether the container has said that it is ready.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Tells the manager that the service is up: one that was restored has said so in its earlier life.
    pub fn resume(&mut self) {
        self.ready = true;
        self.send(b"READY=1\n");
    }

    /// Tells the manager which process is the service's main one, by its number outside.
    pub fn announce(&self, pid: i32) {
        self.send(format!("MAINPID={pid}\n").as_bytes());
    }

    fn send(&self, message: &[u8]) {
        if let Err(error) = self.outside.send_to_addr(message, &self.manager) {
            log::warn!("cannot relay a message to NOTIFY_SOCKET: {error}");
        }
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }
}

/// What of a container's message the manager may hear: what concerns the service's state.  A process number of the
/// inside means another process outside, and descriptors do not come along.
fn relayed(message: &[u8]) -> Vec<u8> {
    const NAMES: [&[u8]; 10] = [
        b"READY",
        b"RELOADING",
        b"STOPPING",
        b"STATUS",
        b"ERRNO",
        b"BUSERROR",
        b"WATCHDOG",
        b"WATCHDOG_USEC",
        b"EXTEND_TIMEOUT_USEC",
        b"MONOTONIC_USEC",
    ];
    let mut out = Vec::new();
    for line in message.split(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        if NAMES.contains(&name) && line.contains(&b'=') {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_of_the_service_and_of_no_process_number() {
        let message = b"STATUS=up\nMAINPID=1\nREADY=1\nFDSTORE=1\nREADY\nNOTIFYACCESS=all";
        assert_eq!(relayed(message), b"STATUS=up\nREADY=1\n");
        assert_eq!(relayed(b""), b"");
    }

    #[test]
    fn messages_travel_from_the_container_to_the_manager() {
        let root = env::temp_dir().join(format!("orlop-notify-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let manager_path = root.join("manager.sock");
        let manager = UnixDatagram::bind(&manager_path).unwrap();
        let relay = Relay { directory: directory(&root, "c1") };
        assert!(relay.prepare().unwrap());
        let again = relay.prepare().unwrap_err().message.unwrap();
        assert!(again.contains("delete --force removes it"), "{again}");
        fs::create_dir(root.join("c1")).unwrap();
        assert!(!relay.prepare().unwrap(), "the socket of a container is not taken over");
        let mut proxy = relay.listen(manager_path.as_os_str()).unwrap();
        let container = UnixDatagram::unbound().unwrap();
        container.send_to(b"STATUS=warming up", relay.socket()).unwrap();
        proxy.relay();
        assert!(!proxy.is_ready());
        container.send_to(b"READY=1\nMAINPID=1\n", relay.socket()).unwrap();
        proxy.relay();
        assert!(proxy.is_ready());
        proxy.announce(4711);
        let mut text = [0; 64];
        for expected in [&b"STATUS=warming up\n"[..], b"READY=1\n", b"MAINPID=4711\n"] {
            let length = manager.recv(&mut text).unwrap();
            assert_eq!(&text[..length], expected);
        }
        remove(&root, "c1");
        assert!(!relay.directory.exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
