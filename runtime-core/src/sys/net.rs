//! Sockets: the pair that parent and child talk over, descriptors in messages, the loopback device.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, SysError, call, fd};
use core::mem::{MaybeUninit, align_of, size_of, zeroed};
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

/// As many descriptors as go with one message ([`send_fds`]).
pub const MAX_PASSED: usize = 32;

/// A control message with descriptors, laid out and padded as `cmsg(3)` does on 64-bit machines.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fds: [i32; MAX_PASSED],
}

impl Rights {
    /// Room for any number of descriptors.
    const fn empty() -> Self {
        let header = libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        };
        Self { header, fds: [-1; MAX_PASSED] }
    }
}

/// Sends the bytes `data` and a descriptor over a Unix socket (`SCM_RIGHTS`, `unix(7)`).
///
/// # Errors
/// Those of `sendmsg(2)` but `EINTR`.
pub fn send_fd(socket: Fd, data: &[u8], passed: Fd) -> Result<()> {
    send_fds(socket, data, &[passed])
}

/// As [`send_fd`], with the first [`MAX_PASSED`] of some descriptors.
///
/// # Errors
/// Those of `sendmsg(2)` but `EINTR`.
pub fn send_fds(socket: Fd, data: &[u8], passed: &[Fd]) -> Result<()> {
    let mut rights = Rights::empty();
    for (to, from) in rights.fds.iter_mut().zip(passed) {
        *to = from.0;
        rights.header.cmsg_len += size_of::<i32>();
    }
    let iov = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut msg: libc::msghdr = unsafe { zeroed() };
    msg.msg_iov = (&raw const iov).cast_mut();
    msg.msg_iovlen = 1;
    msg.msg_control = (&raw const rights).cast_mut().cast();
    msg.msg_controllen = rights.header.cmsg_len.next_multiple_of(align_of::<libc::cmsghdr>());
    loop {
        // SAFETY: `msg` points to live buffers of the lengths it states, which the kernel only reads.
        match unsafe { call!(Call::Sendmsg, SYS_sendmsg, socket, &raw const msg, libc::MSG_NOSIGNAL) } {
            Err(e) if e.errno == libc::EINTR => {}
            r => return r.map(drop),
        }
    }
}

/// Reads a message into `data`, and the descriptors that come with it into the first slots of `passed`, close-on-exec from birth.
///
/// # Errors
/// Those of `recvmsg(2)` but `EINTR`.
pub fn receive_fds(socket: Fd, data: &mut [u8], passed: &mut [Option<Fd>; MAX_PASSED]) -> Result<usize> {
    let mut rights = Rights::empty();
    let mut iov = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut msg: libc::msghdr = unsafe { zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = (&raw mut rights).cast();
    msg.msg_controllen = size_of::<Rights>();
    let length = loop {
        // SAFETY: `msg` points to live buffers of the lengths it states, which the kernel may write.
        match unsafe { call!(Call::Recvmsg, SYS_recvmsg, socket, &raw mut msg, libc::MSG_CMSG_CLOEXEC) } {
            Err(e) if e.errno == libc::EINTR => {}
            r => break r?,
        }
    };
    // Of control messages there is one kind that this socket was not asked for and can get.
    if msg.msg_controllen > size_of::<libc::cmsghdr>() {
        let came = rights.header.cmsg_len.saturating_sub(size_of::<libc::cmsghdr>()) / size_of::<i32>();
        passed.iter_mut().zip(rights.fds).take(came).for_each(|(slot, raw)| *slot = Some(Fd(raw)));
    }
    Ok(length)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    /// How many descriptors arrive of so many, and that they are open, not kept over execve, and those that were sent.
    fn arrived(count: usize) -> usize {
        let (ours, theirs) = socketpair().unwrap();
        let files: Vec<_> = (0..count).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let fds: Vec<Fd> = files.iter().map(|file| Fd(file.as_raw_fd())).collect();
        send_fds(Fd::from(&ours), b"abc", &fds).unwrap();
        let mut data = [0; 8];
        let mut passed = [None; MAX_PASSED];
        assert_eq!(receive_fds(Fd::from(&theirs), &mut data, &mut passed).unwrap(), 3);
        assert_eq!(&data[..3], b"abc");
        let came = passed.iter().take_while(|fd| fd.is_some()).count();
        assert!(passed[came..].iter().all(Option::is_none));
        for raw in passed.into_iter().flatten() {
            let fd = own(raw);
            let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags, libc::FD_CLOEXEC);
            assert_eq!(
                std::fs::read_link(format!("/proc/self/fd/{}", raw.0)).unwrap().as_os_str(),
                "/dev/null"
            );
        }
        came
    }

    #[test]
    fn descriptors_arrive_up_to_what_a_message_takes() {
        for count in [0, 1, 2, 9, MAX_PASSED, MAX_PASSED + 1] {
            assert_eq!(arrived(count), count.min(MAX_PASSED));
        }
    }

    #[test]
    fn a_message_without_descriptors_leaves_the_slots_alone() {
        let (ours, theirs) = socketpair().unwrap();
        send(Fd::from(&ours), b"x").unwrap();
        drop(ours);
        let mut passed = [Some(Fd(7)); MAX_PASSED];
        assert_eq!(receive_fds(Fd::from(&theirs), &mut [0; 8], &mut passed).unwrap(), 1);
        assert_eq!(
            receive_fds(Fd::from(&theirs), &mut [0; 8], &mut passed).unwrap(),
            0,
            "the end of the file"
        );
        assert_eq!(passed, [Some(Fd(7)); MAX_PASSED]);
    }
}
