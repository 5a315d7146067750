//! The seccomp agent: who answers for the calls that a filter notifies (config-linux.md, "Seccomp").

use crate::error::{Error, ErrorKind};
use crate::state::{SeccompListener, State};
use crate::status::{OCI_VERSION, Status, oci_state};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, sendmsg, socket,
};
use serde::Serialize;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// "The container process state".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: serde_json::Value,
}

/// A connection to the agent, made before the filter is loaded: a process that has it on could not do without.
#[derive(Debug)]
pub struct Agent {
    connection: OwnedFd,
    message: Vec<u8>,
    path: std::path::PathBuf,
}

fn failed(doing: &str, path: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::because(ErrorKind::Launch, format!("linux.seccomp.listenerPath: {doing} {}", path.display()), e)
}

/// Looks whether the agent's socket is there.
pub fn check(path: &Path) -> Result<(), Error> {
    let there = std::fs::metadata(path).map_err(|e| failed("find the seccomp agent's socket", path, e))?;
    if there.file_type().is_socket() {
        return Ok(());
    }
    Err(failed("find the seccomp agent's socket", path, "not a socket"))
}

impl Agent {
    /// Connects to the agent, and prepares what it is told of process `pid` of the container, which is in `status`.
    pub fn connect(
        listener: &SeccompListener,
        state: &State,
        status: Status,
        pid: i32,
    ) -> Result<Self, Error> {
        // Before its first process is recorded, this is the first.
        let init = state.pid.unwrap_or(pid);
        let path = &listener.path;
        let to_agent =
            |e: Box<dyn std::error::Error + Send + Sync>| failed("connect to the seccomp agent", path, e);
        // By a descriptor: the path may be longer than an address.
        let there = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)
            .map_err(|e| to_agent(e.into()))?;
        let address = UnixAddr::new(format!("/proc/self/fd/{}", there.as_raw_fd()).as_str());
        let connection = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .and_then(|s| connect_whatever_signals(&s, &address?).map(|()| s))
            .map_err(|e| to_agent(e.into()))?;
        let message = ProcessState {
            oci_version: OCI_VERSION,
            fds: ["seccompFd"],
            pid,
            metadata: listener.metadata.as_deref(),
            state: serde_json::from_slice(&oci_state(state, status, init)).map_err(|e| to_agent(e.into()))?,
        };
        let message = serde_json::to_vec(&message).map_err(|e| to_agent(e.into()))?;
        Ok(Self { connection, message, path: path.clone() })
    }

    /// Sends the listener with the message, and ends the connection.
    pub fn tell(self, listener: &OwnedFd) -> Result<(), Error> {
        let what = |e: nix::Error| failed("send the seccomp listener to", &self.path, e);
        let fd = self.connection.as_raw_fd();
        let descriptors = [listener.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        let mut sent = retry(|| sendmsg::<()>(fd, &[IoSlice::new(&self.message)], &rights, flags, None));
        let mut rest = self.message.as_slice();
        loop {
            rest = rest.get(sent.map_err(what)?..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            sent = retry(|| send(fd, rest, flags));
        }
    }
}

fn retry(mut call: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(nix::Error::EINTR) => {}
            r => return r,
        }
    }
}

/// connect(2) once more where a signal has interrupted it: of a Unix socket, nothing has been begun then.
fn connect_whatever_signals(socket: &OwnedFd, address: &UnixAddr) -> nix::Result<()> {
    loop {
        match connect(socket.as_raw_fd(), address) {
            Err(nix::Error::EINTR) => {}
            r => return r,
        }
    }
}
