//! The few system calls this crate needs and nix lacks.  The only `unsafe` of the crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_long, c_ulong};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;

/// libc's own constant overflows an int.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Turns the `-1` of a system call into the errno behind it.
fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

/// Forks, runs `child` in the new process and ends that with the returned status.
///
/// For programs of a single thread: the child may then use everything the parent could.
pub fn fork_child(child: impl FnOnce() -> c_int) -> io::Result<Pid> {
    clone3_child(0, None, child)
}

/// As [`fork_child`], in new namespaces (`CLONE_NEW*` in `flags`) and, if given, in another cgroup of v2.
pub fn clone3_child(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> c_int,
) -> io::Result<Pid> {
    // SAFETY: clone_args is plain integers, for which zero means "not asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd().unsigned_abs().into();
    }
    // SAFETY: without CLONE_VM the child has its own copy of the memory, and no stack is asked for: this is
    // a fork.  `args` lives until the call returns and the size given is its own.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    let pid = check(ret)?;
    if pid == 0 {
        let status = child();
        // SAFETY: _exit takes any status and does not return; buffers of the parent's copy stay unwritten.
        unsafe { libc::_exit(status) }
    }
    Ok(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)))
}

/// What `sched_getattr` says of the calling thread.
#[derive(Debug, Clone, Copy)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// The nice value, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// The static priority, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// Maps so many bytes of huge pages of 2 MB, writes to each, and unmaps them.
pub fn map_huge_pages(bytes: usize) -> io::Result<()> {
    const SIZE: usize = 2 << 20;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses overlaps nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for offset in (0..bytes).step_by(SIZE) {
        // SAFETY: below `bytes`, so inside the mapping just made, which is writable and known to nobody else.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) }
    }
    // SAFETY: the whole of the mapping made above, to which no reference is left.
    check(unsafe { libc::munmap(start, bytes) }.into()).map(drop)
}

/// `sched_getattr(2)` of the calling thread.
pub fn sched_getattr() -> io::Result<SchedAttr> {
    // The kernel's layout, first version (48 bytes), which every kernel knows.
    #[repr(C)]
    #[derive(Default)]
    struct Raw {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut raw = Raw::default();
    // SAFETY: the kernel writes at most the size given, which is that of `raw`.
    check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut raw, size_of::<Raw>(), 0) })?;
    let Raw { policy, flags, nice, priority, runtime, deadline, period, .. } = raw;
    Ok(SchedAttr { policy, flags, nice, priority, runtime, deadline, period })
}

/// The I/O priority of the calling thread as `(class, level)`.
pub fn ioprio_get() -> io::Result<(i64, i64)> {
    const IOPRIO_WHO_PROCESS: c_int = 1;
    // SAFETY: the call takes two integers.
    let raw = check(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) })?;
    Ok((raw >> 13, raw & 7))
}

/// The NUMA memory policy of the calling thread: mode with its flags, and the nodes.
pub fn get_mempolicy() -> io::Result<(c_int, Vec<usize>)> {
    const WORDS: usize = 16;
    let mut mode: c_int = 0;
    let mut mask = [0 as c_ulong; WORDS];
    let bits = WORDS * c_ulong::BITS as usize;
    // SAFETY: the kernel writes one int and at most `bits` bits, which is the length of `mask`.
    check(unsafe {
        libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, mask.as_mut_ptr(), bits as c_ulong, 0, 0)
    })?;
    let nodes = (0..bits).filter(|bit| mask[bit / 64] >> (bit % 64) & 1 == 1).collect();
    Ok((mode, nodes))
}

/// The session keyring of the caller.
#[derive(Debug)]
pub struct Keyring {
    /// Its serial number.
    pub id: i32,
    /// `type;uid;gid;perm;name`.
    pub description: String,
    /// What the security module calls it; empty where none does.
    pub label: String,
}

/// The session keyring of the caller.
pub fn session_keyring() -> io::Result<Keyring> {
    const KEY_SPEC_SESSION_KEYRING: c_int = -3;
    const KEYCTL_GET_KEYRING_ID: c_int = 0;
    const KEYCTL_DESCRIBE: c_int = 6;
    const KEYCTL_GET_SECURITY: c_int = 17;
    // SAFETY: the call takes integers only.
    let id = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)
    })?;
    let text = |command: c_int| {
        let mut text = [0u8; 512];
        // SAFETY: the kernel writes at most the length given, less than the buffer, so a NUL always remains.
        check(unsafe { libc::syscall(libc::SYS_keyctl, command, id, text.as_mut_ptr(), text.len() - 1) })?;
        let text = CStr::from_bytes_until_nul(&text).map_err(io::Error::other)?;
        io::Result::Ok(text.to_string_lossy().into_owned())
    };
    Ok(Keyring {
        id: i32::try_from(id).map_err(io::Error::other)?,
        description: text(KEYCTL_DESCRIBE)?,
        label: text(KEYCTL_GET_SECURITY)?,
    })
}

/// The securebits of the calling thread.
pub fn securebits() -> io::Result<c_int> {
    // SAFETY: this prctl takes no pointer.
    let ret = unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) };
    check(c_long::from(ret))?;
    Ok(ret)
}

/// Rows and columns of a terminal.
pub fn winsize(tty: impl AsFd) -> io::Result<(u16, u16)> {
    // SAFETY: winsize is plain integers.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes one struct winsize.
    let ret = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(c_long::from(ret))?;
    Ok((size.ws_row, size.ws_col))
}

/// A descriptor of a process, readable when it has ended; close-on-exec.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets rows and columns of a terminal; its foreground processes are sent SIGWINCH.
pub fn set_winsize(tty: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize.
    let ret = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    check(c_long::from(ret)).map(drop)
}

/// Makes the command's standard input its controlling terminal, in a session of its own.
pub fn on_terminal(command: &mut Command) -> &mut Command {
    let prepare = || {
        nix::unistd::setsid()?;
        // SAFETY: TIOCSCTTY takes an integer; descriptor 0 is the command's standard input by now.
        let ret = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
        check(c_long::from(ret)).map(drop)
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) }
}

/// Receives one descriptor and the bytes beside it from a connected socket.
pub fn receive_descriptor(socket: &UnixStream) -> io::Result<(OwnedFd, Vec<u8>)> {
    let mut bytes = [0u8; 4096];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let length = message.bytes;
    let mut received: Vec<RawFd> = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            received.extend(descriptors);
        }
    }
    // SAFETY: the kernel has just installed these descriptors for us and nobody else knows them.
    let mut owned = received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let first = owned.next().ok_or_else(|| io::Error::other("no descriptor came"))?;
    if owned.next().is_some() {
        return Err(io::Error::other("more than one descriptor came"));
    }
    Ok((first, bytes[..length].to_vec()))
}

/// Puts a seccomp filter on the calling thread and what it becomes and makes; without the right to, by giving up new
/// privileges for good.
pub fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    let install = || {
        // SAFETY: the kernel reads the program, whose length is stated and which lives until the call returns.
        let ret =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        check(ret).map(drop)
    };
    match install() {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: this prctl takes integers only.
            let ret = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            check(c_long::from(ret))?;
            install()
        }
        result => result,
    }
}

/// Whether the kernel knows `mount_setattr(2)`.
pub fn has_mount_setattr() -> bool {
    // SAFETY: the descriptor and the size are wrong, so the kernel refuses before it reads a structure.
    let ret = unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, 0, 0) };
    check(ret).is_err_and(|error| error.raw_os_error() != Some(libc::ENOSYS))
}

/// A system call by its number.
///
/// For calls that ignore their arguments or take numbers: what they do to the caller's memory is not known here.
pub fn raw_call(number: u64, arguments: [u64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    let number = c_long::try_from(number).map_err(io::Error::other)?;
    // SAFETY: only the probe calls this, with what its test asks for: calls without effect on memory.
    check(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// A system call without arguments by the gate of 32-bit programs.
#[cfg(target_arch = "x86_64")]
pub fn raw_call_32(number: u32) -> io::Result<i64> {
    let answer: i32;
    // SAFETY: the gate takes the number in eax and changes r8 to r11 besides; only calls that take no argument are made.
    unsafe {
        std::arch::asm!(
            "int 0x80", inlateout("eax") number => answer,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(answer.into()) }
}

/// Other machines have none.
#[cfg(not(target_arch = "x86_64"))]
pub fn raw_call_32(_: u32) -> io::Result<i64> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// A call that waits for the answer of a seccomp agent.
#[derive(Debug, Clone, Copy)]
pub struct Notified {
    id: u64,
    /// Who makes it.
    pub pid: i32,
    /// Its number.
    pub number: c_long,
}

/// The answer of a seccomp agent.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// Let it happen.
    Continue,
    /// It fails with this errno.
    Fail(c_int),
    /// It returns this.
    Return(i64),
}

/// Waits for the next call; `ENOENT` when its process has gone.
pub fn next_notified(listener: BorrowedFd<'_>) -> io::Result<Notified> {
    const SECCOMP_IOCTL_NOTIF_RECV: c_ulong = 0xc050_2100;
    // id; pid, flags; nr, arch; instruction pointer, arguments
    let mut notification = [0u64; 10];
    // SAFETY: the kernel writes one struct seccomp_notif, 80 bytes.
    let ret = unsafe {
        libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV as _, notification.as_mut_ptr())
    };
    check(c_long::from(ret))?;
    let low = |word: u64| (word & 0xffff_ffff).try_into().unwrap_or(-1);
    let number = (notification[2] & 0xffff_ffff).try_into().unwrap_or(-1);
    Ok(Notified { id: notification[0], pid: low(notification[1]), number })
}

/// Whether the call waits still: it does not when a signal has interrupted it.
pub fn is_waiting(listener: BorrowedFd<'_>, notified: Notified) -> bool {
    const SECCOMP_IOCTL_NOTIF_ID_VALID: c_ulong = 0x4008_2102;
    let mut id = notified.id;
    // SAFETY: the kernel reads one id.
    unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw mut id) == 0 }
}

/// Lets a signal interrupt what this process does, and nothing else.
pub fn be_interrupted_by(signal: c_int) -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    let action = nix::sys::signal::SigAction::new(
        nix::sys::signal::SigHandler::Handler(nothing),
        nix::sys::signal::SaFlags::empty(),
        nix::sys::signal::SigSet::empty(),
    );
    let signal = nix::sys::signal::Signal::try_from(signal)?;
    // SAFETY: the handler does nothing.
    unsafe { nix::sys::signal::sigaction(signal, &action) }?;
    Ok(())
}

/// Answers.
pub fn answer_notified(listener: BorrowedFd<'_>, notified: Notified, answer: Answer) -> io::Result<()> {
    const SECCOMP_IOCTL_NOTIF_SEND: c_ulong = 0xc018_2101;
    #[repr(C)]
    struct Response {
        id: u64,
        val: i64,
        error: i32,
        flags: u32,
    }
    let (val, error, flags) = match answer {
        Answer::Continue => (0, 0, 1),
        Answer::Fail(errno) => (0, -errno, 0),
        Answer::Return(value) => (value, 0, 0),
    };
    let mut response = Response { id: notified.id, val, error, flags };
    // SAFETY: the kernel reads one struct seccomp_notif_resp.
    let ret = unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut response) };
    check(c_long::from(ret)).map(drop)
}

/// What has become of a traced thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is about to make a system call, or has made one (`PTRACE_O_TRACESYSGOOD`).
    Call(Pid),
    /// One of `PTRACE_EVENT_*`.
    Event(Pid, c_int),
    /// A signal is about to be delivered to it.
    Signal(Pid, c_int),
    /// It is gone.
    Ended(Pid),
}

/// How a stopped tracee goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum GoOn {
    /// To the next system call.
    ToCall = libc::PTRACE_SYSCALL,
    /// One instruction.
    Step = libc::PTRACE_SINGLESTEP,
    /// Until something happens.
    Freely = libc::PTRACE_CONT,
}

/// Waits for any tracee; `ECHILD` when there is none left.
///
/// nix has no name for the real-time signals, and fails on a tracee that gets one: glibc sends them to the threads of a
/// program that calls setuid.
pub fn next_stop() -> nix::Result<Stop> {
    let mut status: c_int = 0;
    // SAFETY: the kernel writes one int.
    let ret = nix::errno::Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) })?;
    Ok(stop_of(Pid::from_raw(ret), status))
}

fn stop_of(pid: Pid, status: c_int) -> Stop {
    if !libc::WIFSTOPPED(status) {
        return Stop::Ended(pid);
    }
    let event = status >> 16;
    match libc::WSTOPSIG(status) {
        _ if event != 0 => Stop::Event(pid, event),
        signal if signal == libc::SIGTRAP | 0x80 => Stop::Call(pid),
        signal => Stop::Signal(pid, signal),
    }
}

/// Lets a stopped tracee go on, with a signal delivered to it if not 0.
pub fn go_on(pid: Pid, how: GoOn, signal: c_int) -> nix::Result<()> {
    let data = c_long::from(signal);
    // SAFETY: these requests take the signal as a number and touch no memory of ours.
    let ret = unsafe { libc::ptrace(how as u32, pid.as_raw(), std::ptr::null_mut::<libc::c_void>(), data) };
    nix::errno::Errno::result(ret).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{GoOn, Stop, fork_child, go_on, next_stop};
    use nix::libc;

    #[test]
    fn a_tracee_may_get_a_real_time_signal() {
        let realtime = libc::SIGRTMIN() + 1;
        let child = fork_child(|| {
            nix::sys::ptrace::traceme().map_or(1, |()| {
                // SAFETY: a signal to this thread, which asks for nothing in memory.
                unsafe { libc::raise(realtime) }
            })
        })
        .unwrap();
        assert_eq!(next_stop(), Ok(Stop::Signal(child, realtime)));
        // Not delivered: it would kill.
        go_on(child, GoOn::Freely, 0).unwrap();
        assert_eq!(next_stop(), Ok(Stop::Ended(child)));
    }
}
