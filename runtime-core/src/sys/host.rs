//! What the host side needs beside nix: netlink sockets, capabilities of the caller.

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

/// The permitted capabilities of the calling thread, a bit for each.
///
/// # Errors
/// Those of `capget(2)`.
pub fn permitted_capabilities() -> Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: version 3 reads one header of two words and writes data of six.
    unsafe { call!(Call::Capset, SYS_capget, header.as_ptr(), data.as_mut_ptr())? };
    Ok(u64::from(data[1]) | u64::from(data[4]) << 32)
}
