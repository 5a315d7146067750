//! Sockets: the pair that parent and child talk over, descriptors in messages, the loopback device.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, SysError, call, fd};
use core::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{FromRawFd, OwnedFd};

/// A connected pair of sequenced-packet sockets: records keep their borders, an end that closes is noticed.
///
/// # Errors
/// Those of `socketpair(2)`.
pub fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0i32; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` is valid for the write of two ints.
    unsafe { call!(Call::Socketpair, SYS_socketpair, libc::AF_UNIX, kind, 0, fds.as_mut_ptr())? };
    // SAFETY: the kernel has just made both descriptors, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Takes ownership of a descriptor that a bare call returned.
///
/// Only for descriptors fresh out of this module, which nobody else owns.
pub(crate) fn own(fd: Fd) -> OwnedFd {
    // SAFETY: the callers pass a descriptor that the kernel has just made for them.
    unsafe { OwnedFd::from_raw_fd(fd.0) }
}

/// Sends one record; a peer that is gone is `EPIPE`, never a signal.
///
/// # Errors
/// Those of `sendto(2)` but `EINTR`.
pub fn send(socket: Fd, record: &[u8]) -> Result<()> {
    let none = core::ptr::null::<u8>();
    loop {
        // SAFETY: `record` is valid for reads of its length; no address is passed.
        let r = unsafe {
            call!(
                Call::Sendmsg,
                SYS_sendto,
                socket,
                record.as_ptr(),
                record.len(),
                libc::MSG_NOSIGNAL,
                none,
                0
            )
        };
        match r {
            Err(e) if e.errno == libc::EINTR => {}
            r => return r.map(drop),
        }
    }
}

/// Sends the bytes `data` and a descriptor over a Unix socket (`SCM_RIGHTS`, `unix(7)`).
///
/// # Errors
/// Those of `sendmsg(2)` but `EINTR`.
pub fn send_fd(socket: Fd, data: &[u8], passed: Fd) -> Result<()> {
    /// A control message with one descriptor, laid out and padded as `cmsg(3)` does on 64-bit machines.
    #[repr(C)]
    struct Control {
        header: libc::cmsghdr,
        fd: i32,
        pad: i32,
    }
    let control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<i32>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fd: passed.0,
        pad: 0,
    };
    let iov = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut msg: libc::msghdr = unsafe { zeroed() };
    msg.msg_iov = (&raw const iov).cast_mut();
    msg.msg_iovlen = 1;
    msg.msg_control = (&raw const control).cast_mut().cast();
    msg.msg_controllen = size_of::<Control>();
    loop {
        // SAFETY: `msg` points to live buffers of the lengths it states, which the kernel only reads.
        match unsafe { call!(Call::Sendmsg, SYS_sendmsg, socket, &raw const msg, libc::MSG_NOSIGNAL) } {
            Err(e) if e.errno == libc::EINTR => {}
            r => return r.map(drop),
        }
    }
}

/// Accepts a connection on a listening socket.
///
/// # Errors
/// Those of `accept4(2)` but `EINTR` and `ECONNABORTED`.
pub fn accept(socket: Fd) -> Result<Fd> {
    let none = core::ptr::null::<u8>();
    loop {
        // SAFETY: no address is asked for.
        match unsafe { call!(Call::Accept, SYS_accept4, socket, none, none, libc::SOCK_CLOEXEC) } {
            Err(e) if e.errno == libc::EINTR || e.errno == libc::ECONNABORTED => {}
            r => return r.map(fd),
        }
    }
}

/// Brings the loopback device of the current network namespace up (`netdevice(7)`).
///
/// # Errors
/// Those of `socket(2)` and `ioctl(2)`.
pub fn loopback_up() -> Result<()> {
    // SAFETY: socket(2) passes no memory.
    let socket =
        unsafe { call!(Call::Socket, SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    let socket = match socket {
        // A kernel without IPv4 has no loopback that would want this.
        Err(SysError { errno: libc::EAFNOSUPPORT, .. }) => return Ok(()),
        r => fd(r?),
    };
    let mut request = MaybeUninit::<libc::ifreq>::zeroed();
    // SAFETY: all-zero is a valid ifreq; only plain fields and the flags member of the union are written.
    let request = unsafe {
        let r = &mut *request.as_mut_ptr();
        r.ifr_name[0] = b'l'.cast_signed();
        r.ifr_name[1] = b'o'.cast_signed();
        #[allow(clippy::cast_possible_truncation)]
        {
            r.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        }
        r
    };
    // SAFETY: SIOCSIFFLAGS reads one struct ifreq.
    let r = unsafe { call!(Call::Ioctl, SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw const *request) };
    super::close(socket);
    r.map(drop)
}
