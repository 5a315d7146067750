//! What the host side of a launch needs beside nix: netlink sockets.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, call, fd};

/// Opens a socket to the routing family of netlink, in the network namespace of the caller (`rtnetlink(7)`).
/// It stays in that namespace wherever it is used.
///
/// # Errors
/// Those of `socket(2)`.
pub fn route_socket() -> Result<Fd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) passes no memory.
    unsafe { call!(Call::Socket, SYS_socket, libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) }.map(fd)
}
