//! Where a shim serves, and which containers share it.

use crate::sha256::hex_digest;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockname, listen, socket,
};
use nix::sys::stat::{Mode, umask};
use orlop_core::sys::Reason;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory of sockets, where containerd has not named another.
const SOCKETS: &str = "/run/containerd/s";
/// Annotations that name a group, the first that is there counts: those of containerd's own shim.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// The group of the container whose bundle this is: a pod, or the container alone.
pub fn group(bundle: &Path, id: &str) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    let path = bundle.join("config.json");
    let text = fs::read(&path).map_err(|e| format!("read {}: {}", path.display(), Reason::of(&e)))?;
    let config: Config =
        serde_json::from_slice(&text).map_err(|e| format!("parse {}: {e}", path.display()))?;
    let annotations = config.annotations.unwrap_or_default();
    Ok(GROUPS.iter().find_map(|name| annotations.get(*name)).map_or(id, String::as_str).to_owned())
}

/// The address of the shim of a group: different for every containerd, namespace and group.
pub fn of_group(directory: Option<&str>, containerd: &str, namespace: &str, group: &str) -> PathBuf {
    let directory = directory.filter(|d| d.starts_with('/')).unwrap_or(SOCKETS);
    let name: PathBuf = [containerd, namespace, group].iter().collect();
    Path::new(directory).join(hex_digest(name.as_os_str().as_encoded_bytes()))
}

fn stream() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Connects to a Unix socket, without waiting.
pub fn dial(path: &Path) -> nix::Result<OwnedFd> {
    let fd = stream()?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// What is found at the address of a group.
#[derive(Debug)]
pub enum Place {
    /// A shim serves there.
    Taken,
    /// Nobody does: now the caller.
    Ours(OwnedFd),
}

/// Listens at `path`, unless a shim does already.
pub fn claim(path: &Path) -> Result<Place, String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("{what} {}: {e}", path.display());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(directory);
    made.map_err(|e| failed("make the directory of", &Reason::of(&e)))?;
    let address = UnixAddr::new(path).map_err(|e| failed("use socket", &Reason::from(e)))?;
    // A second round after the remains of a shim that died were cleared away; and a third if another was faster.
    for _ in 0..3 {
        let fd = stream().map_err(|e| failed("make socket", &Reason::from(e)))?;
        // The socket must never be there with wider rights, not for a moment.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(fd.as_raw_fd(), &address);
        umask(before);
        match bound {
            Ok(()) => {
                let backlog = Backlog::new(128).map_err(|e| failed("listen on", &Reason::from(e)))?;
                listen(&fd, backlog).map_err(|e| failed("listen on", &Reason::from(e)))?;
                return Ok(Place::Ours(fd));
            }
            Err(nix::Error::EADDRINUSE) => match dial(path) {
                Ok(_) | Err(nix::Error::EAGAIN) => return Ok(Place::Taken),
                Err(_) => remove(path),
            },
            Err(e) => return Err(failed("bind", &Reason::from(e))),
        }
    }
    Err(failed("bind", &Reason::from(nix::Error::EADDRINUSE)))
}

/// A socket that a shim serves on, and the file that it is called by, which goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file, while that is to be removed.
    file: Option<(u64, u64)>,
}

impl Listener {
    /// Of a socket that was bound and listens.
    ///
    /// # Errors
    /// It has no name.
    pub fn new(socket: OwnedFd) -> Result<Self, String> {
        let address: UnixAddr = getsockname(socket.as_raw_fd())
            .map_err(|e| format!("ask where containerd will call: {}", Reason::from(e)))?;
        let path = address.path().ok_or("serve: the socket has no name")?.to_owned();
        let file = Self::file_at(&path);
        Ok(Self { socket, path, file })
    }

    fn file_at(path: &Path) -> Option<(u64, u64)> {
        fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
    }

    /// Removes the file, so that who comes now makes a new shim; not one that another shim has made at its place.  Who has connected
    /// is there still.
    pub fn leave(&mut self) {
        // As long as the socket is open, no other file gets the number of its own.
        if let Some(file) = self.file.take()
            && Self::file_at(&self.path) == Some(file)
        {
            remove(&self.path);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.leave();
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Removes a socket's file.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Writes a file that readers see whole or not at all.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orlop-shim-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn the_address_is_that_of_containerds_own_shim() {
        // echo -n /run/containerd/containerd.sock/default/c1 | sha256sum
        let path = of_group(None, "/run/containerd/containerd.sock", "default", "c1");
        let digest = hex_digest(b"/run/containerd/containerd.sock/default/c1");
        assert_eq!(path, Path::new(SOCKETS).join(digest));
        assert!(of_group(Some("/x"), "a", "b", "c").starts_with("/x"));
        assert_ne!(of_group(None, "a", "b", "c"), of_group(None, "a", "c", "b"));
    }

    #[test]
    fn a_pod_is_a_group() {
        let bundle = directory("group");
        let config = bundle.join("config.json");
        fs::write(&config, r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}"#).unwrap();
        assert_eq!(group(&bundle, "c1").as_deref(), Ok("pod"));
        fs::write(&config, r#"{"annotations":null}"#).unwrap();
        assert_eq!(group(&bundle, "c1").as_deref(), Ok("c1"));
        fs::write(&config, "{").unwrap();
        assert!(group(&bundle, "c1").unwrap_err().contains("config.json"));
        fs::remove_dir_all(&bundle).unwrap();
    }

    #[test]
    fn one_shim_holds_an_address_and_a_dead_one_does_not() {
        let directory = directory("claim");
        let path = directory.join("s/socket");
        let Ok(Place::Ours(listener)) = claim(&path) else { panic!("not ours") };
        assert!(matches!(claim(&path), Ok(Place::Taken)));
        drop(listener);
        assert!(path.exists());
        assert!(matches!(claim(&path), Ok(Place::Ours(_))));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_file_of_a_socket_goes_with_it_and_that_of_another_does_not() {
        let directory = directory("listener");
        let path = directory.join("socket");
        let bind = || std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::new(bind().into()).unwrap();
        drop(listener);
        assert!(!path.exists());
        let mut listener = Listener::new(bind().into()).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = bind();
        listener.leave();
        drop(listener);
        assert!(path.exists(), "it is another one's");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        let path = std::env::temp_dir().join("x".repeat(120)).join("s");
        let _ = fs::create_dir_all(path.parent().unwrap());
        assert!(claim(&path).is_err());
        let _ = fs::remove_dir_all(path.parent().unwrap());
    }
}
