//! A connection to systemd: directly to its manager where that may be, else by way of a message bus.
//!
//! One connection serves one command, and nothing is asked that is known already.  Directly there is no greeting and no
//! subscription: the manager sends its signals to every direct peer.  Over a bus there are both, and the bus passes each
//! message on.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, recv, send, socket, sockopt,
};
use serde::{Deserialize, Serialize};

use super::message::{self, Incoming, Method};
use super::value::Value;
use crate::sys::Reason;

/// For how long an answer is waited for: systemd serves one after the other, and under load it can take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a manager is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Address {
    /// Its own socket.
    Direct(PathBuf),
    /// The socket of a message bus that it is on.
    Bus(PathBuf),
}

impl Address {
    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Direct(path) | Self::Bus(path) => path,
        }
    }
}

/// Why systemd could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BusError {
    #[error("{call} {}: {}", path.display(), Reason::from(*errno))]
    Socket { call: &'static str, path: PathBuf, errno: Errno },
    #[error("{}: it does not accept us: {said:?}", path.display())]
    Refused { path: PathBuf, said: String },
    #[error("{}: it says what is not D-Bus", path.display())]
    Protocol { path: PathBuf },
    #[error("{}: no answer for {} s", path.display(), PATIENCE.as_secs())]
    Silent { path: PathBuf },
    /// What the manager says itself.
    #[error("{text} ({name})")]
    Answer { name: String, text: String },
}

impl BusError {
    /// Whether the manager refused with this error of its own.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Answer { name: n, .. } if n.strip_prefix(ERRORS) == Some(name))
    }
}

fn connected(address: &Address) -> Result<OwnedFd, BusError> {
    let path = address.path();
    let fail = |call, errno| BusError::Socket { call, path: path.to_owned(), errno };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|e| fail("socket", e))?;
    let to = UnixAddr::new(path).map_err(|e| fail("connect", e))?;
    connect(socket.as_raw_fd(), &to).map_err(|e| fail("connect", e))?;
    Ok(socket)
}

/// The process that listens at an address, as the kernel knows it: nothing is said.
pub(super) fn listener(address: &Address) -> Result<i32, BusError> {
    let credentials = getsockopt(&connected(address)?, sockopt::PeerCredentials);
    credentials.map(|c| c.pid()).map_err(|errno| BusError::Socket {
        call: "SO_PEERCRED",
        path: address.path().to_owned(),
        errno,
    })
}

const ERRORS: &str = "org.freedesktop.systemd1.";

const fn of_bus(member: &'static str) -> Method {
    const NAME: &str = "org.freedesktop.DBus";
    Method { destination: NAME, path: "/org/freedesktop/DBus", interface: NAME, member }
}

const fn of_manager(member: &'static str) -> Method {
    Method {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
    }
}

const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                           interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    socket: OwnedFd,
    path: PathBuf,
    direct: bool,
    serial: u32,
    /// What was read and is not yet a whole message.
    buffer: Vec<u8>,
    /// Jobs that have ended, with their results, and were not asked for yet.
    ended: Vec<(String, String)>,
    /// Until when the answer to what was asked last is waited for.
    until: Instant,
}

impl Bus {
    /// Connects and says who we are.
    pub(super) fn open(address: &Address) -> Result<Self, BusError> {
        Self::on(connected(address)?, address)
    }

    /// Speaks on a socket that is connected.
    pub(super) fn on(socket: OwnedFd, address: &Address) -> Result<Self, BusError> {
        let direct = matches!(address, Address::Direct(_));
        let path = address.path().to_owned();
        let until = Instant::now() + PATIENCE;
        let mut bus = Self { socket, path, direct, serial: 0, buffer: Vec::new(), ended: Vec::new(), until };
        bus.authenticate()?;
        if !direct {
            bus.call_of(of_bus("Hello"), &[])?;
            bus.call_of(of_bus("AddMatch"), &[Value::text(JOB_REMOVED)])?;
        }
        Ok(bus)
    }

    /// Calls a method of the manager.
    pub(super) fn call(&mut self, member: &'static str, arguments: &[Value]) -> Result<Vec<Value>, BusError> {
        self.call_of(of_manager(member), arguments)
    }

    /// Calls a method that starts a job, and waits until the job has ended; its result, which is `done` if all went well.
    pub(super) fn run(&mut self, member: &'static str, arguments: &[Value]) -> Result<String, BusError> {
        let answer = self.call(member, arguments)?;
        let job = answer.first().and_then(message::text).ok_or_else(|| self.broken())?;
        loop {
            if let Some((_, result)) = self.ended.iter().find(|(ended, _)| *ended == job) {
                return Ok(result.clone());
            }
            if let Incoming::JobRemoved { job, result } = self.hear()? {
                self.ended.push((job, result));
            }
        }
    }

    fn call_of(&mut self, method: Method, arguments: &[Value]) -> Result<Vec<Value>, BusError> {
        self.until = Instant::now() + PATIENCE;
        self.serial += 1;
        let serial = self.serial;
        self.send(&message::call(method, serial, arguments, self.direct))?;
        loop {
            match self.hear()? {
                Incoming::Reply { serial: to, values } if to == serial => return Ok(values),
                Incoming::Refusal { serial: to, name, text } if to == serial => {
                    return Err(BusError::Answer { name, text });
                }
                Incoming::JobRemoved { job, result } => self.ended.push((job, result)),
                _ => {}
            }
        }
    }

    /// SASL, all in one go.  We do not name ourselves, so that the other side takes what the kernel tells it of us: in a user
    /// namespace we do not know how we are called outside.
    fn authenticate(&mut self) -> Result<(), BusError> {
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                let said = String::from_utf8_lossy(&line).into_owned();
                match said.split_whitespace().next() {
                    Some("OK") => return Ok(()),
                    Some("DATA") => {}
                    _ => return Err(BusError::Refused { path: self.path.clone(), said }),
                }
            }
            self.receive()?;
        }
    }

    /// The next message.
    fn hear(&mut self) -> Result<Incoming, BusError> {
        loop {
            if let Some(start) = self.buffer.get(..message::START) {
                let length = message::length(start).ok_or_else(|| self.broken())?;
                if self.buffer.len() >= length {
                    let message: Vec<u8> = self.buffer.drain(..length).collect();
                    return message::decode(&message).ok_or_else(|| self.broken());
                }
            }
            self.receive()?;
        }
    }

    fn send(&self, mut bytes: &[u8]) -> Result<(), BusError> {
        while !bytes.is_empty() {
            match send(self.socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.fail("write to", errno)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), BusError> {
        let mut chunk = [0; 4096];
        loop {
            match recv(self.socket.as_raw_fd(), &mut chunk, MsgFlags::empty()) {
                Ok(0) => return Err(self.fail("read", Errno::ECONNRESET)),
                Ok(n) => {
                    self.buffer.extend_from_slice(chunk.get(..n).unwrap_or_default());
                    return Ok(());
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(self.fail("read", errno)),
            }
        }
    }

    fn wait(&self, what: PollFlags) -> Result<(), BusError> {
        let left = self.until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.socket.as_fd(), what)];
        match poll(&mut fds, timeout) {
            Ok(0) => Err(BusError::Silent { path: self.path.clone() }),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.fail("poll", errno)),
        }
    }

    fn fail(&self, call: &'static str, errno: Errno) -> BusError {
        BusError::Socket { call, path: self.path.clone(), errno }
    }

    fn broken(&self) -> BusError {
        BusError::Protocol { path: self.path.clone() }
    }
}
