//! System calls, typed.  The only place of the tree where `unsafe` is allowed.
//!
//! Every function here is *bare*: it enters the kernel and nothing else.  It allocates nothing, takes no
//! lock, touches no libc state (not even `errno`) and cannot panic, so the child half of a launch may call
//! any of them between clone and execve (invariants I2 and I5).  Descriptors are close-on-exec from birth: a
//! wrapper that makes one adds the flag itself.
//!
//! nix and libc serve the rest of the crate, in the parent half, where a safe wrapper of theirs exists.

mod bpf;
mod children;
mod entry;
mod fs;
mod host;
#[cfg(all(target_arch = "x86_64", target_env = "gnu", target_feature = "crt-static"))]
mod libc_start;
mod limits;
mod loops;
mod mount;
mod net;
mod process;
mod raw;
mod seccomp;
mod start;

pub use bpf::*;
pub use children::*;
pub use fs::*;
pub use host::*;
pub use limits::*;
pub use loops::*;
pub use mount::*;
pub use net::*;
pub use process::*;
pub use seccomp::*;
pub use start::*;

use core::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A descriptor number, without ownership.
///
/// The child half works on these: its descriptors end with its execve or its exit, and a destructor has no
/// place between clone and execve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub RawFd);

impl Fd {
    /// The current working directory, where a call takes a directory descriptor.
    pub const CWD: Self = Self(libc::AT_FDCWD);
}

impl From<&OwnedFd> for Fd {
    fn from(fd: &OwnedFd) -> Self {
        Self(fd.as_raw_fd())
    }
}

impl From<BorrowedFd<'_>> for Fd {
    fn from(fd: BorrowedFd<'_>) -> Self {
        Self(fd.as_raw_fd())
    }
}

/// A failed system call: which one, and the kernel's error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SysError {
    /// The call that failed.
    pub call: Call,
    /// The kernel's error number, positive (`errno(3)`).
    pub errno: i32,
}

/// What the functions of this module return.
pub type Result<T> = core::result::Result<T, SysError>;

impl SysError {
    /// The text of the error number.
    #[must_use]
    pub fn reason(self) -> Reason {
        Reason(self.errno)
    }
}

/// An error number in words: those of `strerror(3)`, but beginning small, as Go's do.
///
/// Engines tell failures apart by these words ("no such file or directory", "permission denied"), and not all of them whatever
/// the case of the letters: docs/compat.md, "Words that engines match".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub i32);

impl Reason {
    /// Why a function of the standard library failed, without Rust's "(os error 2)".
    #[must_use]
    pub fn of(error: &std::io::Error) -> String {
        error.raw_os_error().map_or_else(|| error.to_string(), |errno| Self(errno).to_string())
    }
}

impl From<nix::errno::Errno> for Reason {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The standard library has strerror's text only with its own ending.
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        let text = text.rsplit_once(" (os error ").map_or(text.as_str(), |(text, _)| text);
        // All begin with a letter or a full stop; an abbreviation ("RFS specific error") stays one.
        match text.as_bytes() {
            [first, second, ..] if !second.is_ascii_uppercase() => {
                write!(f, "{}{}", char::from(first.to_ascii_lowercase()), &text[1..])
            }
            _ => f.write_str(text),
        }
    }
}

impl fmt::Debug for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.call.name(), nix::errno::Errno::from_raw(self.errno))
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call.name(), self.reason())
    }
}

impl std::error::Error for SysError {}

macro_rules! calls {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A system call, or a use of a multiplexed one, by the name its manual page has.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        #[allow(missing_docs)]
        pub enum Call { $($variant),* }

        impl Call {
            const ALL: &'static [Call] = &[$(Call::$variant),*];

            /// The name in the manual.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Call::$variant => $name),* }
            }
        }
    };
}

calls! {
    Accept = "accept4", Bind = "bind", Capset = "capset", Chdir = "chdir", Check = "check", Chroot = "chroot",
    ClockGettime = "clock_gettime", Clone3 = "clone3", Close = "close", CloseRange = "close_range",
    CopyFileRange = "copy_file_range", Dup3 = "dup3", Execve = "execve", Faccessat2 = "faccessat2", Fchdir = "fchdir",
    Fchmod = "fchmod", Fchmodat = "fchmodat", Fchownat = "fchownat", Fcntl = "fcntl", Fsconfig = "fsconfig",
    Fsmount = "fsmount", Fsopen = "fsopen", Fstatfs = "fstatfs", Getcwd = "getcwd", Getdents64 = "getdents64",
    Getxattr = "fgetxattr", Ioctl = "ioctl", IoprioSet = "ioprio_set", Keyctl = "keyctl", Kill = "kill", Listen = "listen", Madvise = "madvise",
    Mkdirat = "mkdirat", Mknodat = "mknodat", Mount = "mount", MountSetattr = "mount_setattr",
    MoveMount = "move_mount", OpenTree = "open_tree", Openat = "openat", Openat2 = "openat2",
    Personality = "personality", PidfdOpen = "pidfd_open", PidfdSendSignal = "pidfd_send_signal",
    PivotRoot = "pivot_root", Poll = "ppoll", Prctl = "prctl", Prlimit = "prlimit64", Read = "read", Readlinkat = "readlinkat",
    Recvmsg = "recvmsg", RtSigaction = "rt_sigaction", RtSigprocmask = "rt_sigprocmask",
    SchedSetaffinity = "sched_setaffinity", SchedSetattr = "sched_setattr", Seccomp = "seccomp", Sendmsg = "sendmsg",
    SetMempolicy = "set_mempolicy", Setdomainname = "setdomainname", Setgroups = "setgroups",
    Sethostname = "sethostname", Setns = "setns", Setresgid = "setresgid", Setresuid = "setresuid",
    Setsid = "setsid", Socket = "socket", Socketpair = "socketpair", Statx = "statx", Symlinkat = "symlinkat", Umount = "umount2",
    Unlinkat = "unlinkat", Unshare = "unshare", Waitid = "waitid", Write = "write", Bpf = "bpf", Setxattr = "fsetxattr",
    Fspick = "fspick",
}

impl Call {
    /// The call with this number in a record of the launch protocol; `None` for a number that is none.
    #[must_use]
    pub fn from_number(n: u16) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }
}

/// Turns the kernel's answer into a result.
#[inline]
fn check(call: Call, ret: i64) -> Result<usize> {
    if ret < 0 {
        // The kernel's error numbers are 1..=4095, so the negated value fits.
        #[allow(clippy::cast_possible_truncation)]
        Err(SysError { call, errno: -ret as i32 })
    } else {
        #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)]
        Ok(ret as usize)
    }
}

/// Calls the kernel and checks the answer: `call!(Call::Openat, SYS_openat, dir, path, flags)`.
///
/// Expands to an unsafe operation: use it in an `unsafe` block that says why its arguments are valid.
macro_rules! call {
    ($call:expr, $n:ident $(, $arg:expr)* $(,)?) => {{
        #[allow(unused_mut, unused_assignments)]
        let args = {
            let mut args = [0usize; 6];
            let mut i = 0;
            $( args[i] = $crate::sys::raw::Arg::arg($arg); i += 1; )*
            let _ = i;
            args
        };
        $crate::sys::check($call, $crate::sys::raw::syscall6(libc::$n, args))
    }};
}
use call;

/// The descriptor in a kernel answer.
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
fn fd(ret: usize) -> Fd {
    Fd(ret as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_what_strerror_says_but_begins_small() {
        for (errno, text) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EACCES, "permission denied"),
            (libc::EPERM, "operation not permitted"),
            (libc::EISDIR, "is a directory"),
            (libc::ENOTDIR, "not a directory"),
            (libc::ESRCH, "no such process"),
            (libc::ERANGE, "numerical result out of range"),
            (libc::ENOTUNIQ, "name not unique on network"),
            (libc::EDOTDOT, "RFS specific error"),
        ] {
            assert_eq!(Reason(errno).to_string(), text);
        }
        assert_eq!(Reason::of(&std::io::Error::from_raw_os_error(libc::EIO)), "input/output error");
        assert_eq!(Reason::of(&std::io::Error::other("its own words")), "its own words");
    }
}
