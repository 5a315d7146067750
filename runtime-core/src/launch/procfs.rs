//! Procfs that can be trusted (invariant I4).
//!
//! Who can mount in our mount namespace could put a file of their own over `/proc/PID/attr/exec`, and a write meant to confine
//! would confine nothing (CVE-2019-16884, CVE-2025-31133).  So `/proc` is opened once, checked to be the root of a
//! procfs that shows our own pid namespace, and everything below is opened from that descriptor without crossing a
//! mount or following a magic link.

use crate::plan::Namespace;
use crate::sys::{self, Call, Fd, SysError};
use libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, O_WRONLY};
use std::ffi::{CStr, CString};
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `PROC_SUPER_MAGIC` of `statfs(2)`.
const PROC_MAGIC: i64 = 0x9fa0;
/// Inode number of the root of every procfs (`PROC_ROOT_INO`, part of the kernel's interface).
const PROC_ROOT_INODE: u64 = 1;
/// No way out, over a mount, or through `/proc/PID/{root,exe,fd,ns}/…`.
const RESOLVE: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;

/// A failed operation on procfs.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// A call failed; the path is relative to `/proc`.
    #[error("{action} /proc/{path}: {}", error.reason())]
    Call {
        /// `open` or `write`.
        action: &'static str,
        /// Path below `/proc`.
        path: String,
        /// Why.
        error: SysError,
    },
    /// Neither is `/proc` what it should be, nor could a procfs be mounted.
    #[error("/proc cannot be trusted ({fault}), and a procfs of our own cannot be mounted: {error}")]
    Untrusted {
        /// What is wrong with `/proc`.
        fault: String,
        /// Why mounting failed.
        error: SysError,
    },
    /// The file is no namespace of the kind it should be.
    #[error("/proc/{path} is not a {kind} namespace", kind = .kind.name())]
    NotNamespace {
        /// Path below `/proc`.
        path: String,
        /// The kind that was expected.
        kind: Namespace,
    },
}

type Result<T> = std::result::Result<T, ProcError>;

/// The root of a procfs that is what it claims to be.
#[derive(Debug)]
pub struct TrustedProc {
    root: OwnedFd,
}

impl TrustedProc {
    /// Opens `/proc`; where it is not a real procfs of our pid namespace, mounts a new one that nobody else sees.
    ///
    /// # Errors
    /// When `/proc` is missing or false and we have not the right to mount.
    pub fn open() -> Result<Self> {
        match checked(c"/proc") {
            Ok(root) => Ok(Self { root }),
            Err(fault) => Self::mount().map_err(|error| ProcError::Untrusted { fault, error }),
        }
    }

    /// Mounts a procfs of our pid namespace, attached nowhere.
    fn mount() -> sys::Result<Self> {
        let fs = sys::own(sys::fsopen(c"proc")?);
        sys::fsconfig_create(Fd::from(&fs))?;
        let attributes = sys::attr::NOSUID | sys::attr::NODEV | sys::attr::NOEXEC;
        let root = sys::own(sys::fsmount(Fd::from(&fs), attributes)?);
        Ok(Self { root })
    }

    /// Opens `path`, relative to `/proc`.
    ///
    /// # Errors
    /// Those of `openat2(2)`; `EXDEV` when something is mounted on the way, `ELOOP` for a magic link.
    pub fn open_file(&self, path: &CStr, flags: i32) -> Result<OwnedFd> {
        sys::openat2(Fd::from(&self.root), path, flags, 0, RESOLVE)
            .map(sys::own)
            .map_err(|error| failed("open", path, error))
    }

    /// The id of the process `pid` in its own pid namespace (`NSpid` of `proc_pid_status(5)`).
    ///
    /// # Errors
    /// When its status cannot be read.
    pub fn innermost_pid(&self, pid: i32) -> Result<i32> {
        let ids = self.status_field(&c_path(format!("{pid}/status")), "NSpid:")?;
        Ok(ids.split_whitespace().next_back().and_then(|id| id.parse().ok()).unwrap_or(pid))
    }

    /// What stands behind `key` in a status file; nothing where it does not.
    fn status_field(&self, path: &CStr, key: &str) -> Result<String> {
        let file = self.open_file(path, O_RDONLY)?;
        let mut text = [0; 4096];
        let n = sys::read(Fd::from(&file), &mut text).map_err(|error| failed("read", path, error))?;
        let text = String::from_utf8_lossy(text.get(..n).unwrap_or_default());
        Ok(text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned())
    }

    /// Writes `value` to `path`, relative to `/proc`, in one call.
    ///
    /// # Errors
    /// Those of `openat2(2)` and `write(2)`.
    pub fn write(&self, path: &CStr, value: &[u8]) -> Result<()> {
        let file = self.open_file(path, O_WRONLY)?;
        sys::write(Fd::from(&file), value).map_err(|error| failed("write", path, error))
    }

    /// Opens a namespace of the process `pid`, to be joined or kept.
    ///
    /// # Errors
    /// Those of opening, and when what is there is no such namespace.
    pub fn namespace(&self, pid: i32, kind: Namespace) -> Result<OwnedFd> {
        let directory = self.open_file(&c_path(format!("{pid}/ns")), O_PATH | O_DIRECTORY)?;
        let path = c_path(format!("{pid}/ns/{}", kind.file()));
        // The file itself is a magic link and has to be followed; but it must be the link of procfs and
        // not something that is mounted over it.
        self.open_file(&path, O_PATH | O_NOFOLLOW)?;
        let name = c_path(kind.file().to_owned());
        let file = sys::openat(Fd::from(&directory), &name, O_RDONLY, 0)
            .map(sys::own)
            .map_err(|error| failed("open", &path, error))?;
        match sys::namespace_kind(Fd::from(&file)) {
            Ok(found) if found == kind.flag() => Ok(file),
            _ => Err(ProcError::NotNamespace { path: path.to_string_lossy().into_owned(), kind }),
        }
    }

    /// The kinds of namespace in which the process `pid` is and the caller is not, as `CLONE_NEW*` flags.
    ///
    /// # Errors
    /// Those of [`TrustedProc::namespace`].
    pub fn foreign_namespaces(&self, pid: i32) -> Result<i32> {
        let mut kinds = 0;
        for kind in Namespace::ALL {
            let identity = |pid| {
                let namespace = self.namespace(pid, kind)?;
                sys::fstat(Fd::from(&namespace))
                    .map(|stat| (stat.dev, stat.ino))
                    .map_err(|error| failed("stat", &c_path(format!("{pid}/ns/{}", kind.file())), error))
            };
            if identity(pid)? != identity(sys::getpid())? {
                kinds |= kind.flag();
            }
        }
        Ok(kinds)
    }

    /// The pid of the process behind `pidfd` (`pidfd_open(2)`); `None` when it is gone.
    ///
    /// # Errors
    /// When the descriptor is no pidfd.
    pub fn pid_of(&self, pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
        let path = c_path(format!("self/fdinfo/{}", pidfd.as_raw_fd()));
        let mut text = String::new();
        std::fs::File::from(self.open_file(&path, O_RDONLY)?).read_to_string(&mut text).map_err(|e| {
            failed("read", &path, SysError { call: Call::Read, errno: e.raw_os_error().unwrap_or(0) })
        })?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        let pid: Option<i32> = line.and_then(|pid| pid.trim().parse().ok());
        // -1 for a process that was reaped, 0 for one of a pid namespace that is not below ours.
        pid.map(|pid| (pid > 0).then_some(pid))
            .ok_or_else(|| failed("read", &path, SysError { call: Call::Read, errno: libc::EBADF }))
    }
}

impl AsFd for TrustedProc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn failed(action: &'static str, path: &CStr, error: SysError) -> ProcError {
    // A call that is denied as a whole is the fault, not what it was for.
    let action = if error.errno == libc::ENOSYS { error.call.name() } else { action };
    ProcError::Call { action, path: path.to_string_lossy().into_owned(), error }
}

/// `path` is made of numbers and of names of the kernel, so there is no NUL in it.
fn c_path(path: String) -> CString {
    CString::new(path).unwrap_or_default()
}

/// Opens the procfs at `path`, or says what is wrong with it.
fn checked(path: &CStr) -> std::result::Result<OwnedFd, String> {
    let root = sys::openat(Fd::CWD, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0)
        .map(sys::own)
        .map_err(|e| e.to_string())?;
    let fd = Fd::from(&root);
    let (magic, _) = sys::fstatfs(fd).map_err(|e| e.to_string())?;
    if magic != PROC_MAGIC {
        return Err("it is another kind of file system".into());
    }
    if sys::fstat(fd).map_err(|e| e.to_string())?.ino != PROC_ROOT_INODE {
        return Err("it is not the root of a procfs".into());
    }
    if shown_pid(fd).map_err(|e| e.to_string())? != sys::getpid() {
        return Err("it belongs to another pid namespace".into());
    }
    Ok(root)
}

/// Our own pid as this procfs shows it: one of another pid namespace would lead `/proc/PID` to other processes.
fn shown_pid(root: Fd) -> sys::Result<i32> {
    let mut text = [0u8; 16];
    let len = sys::readlinkat(root, c"self", &mut text)?;
    let digits = text.get(..len).and_then(|t| std::str::from_utf8(t).ok());
    digits.and_then(|t| t.parse().ok()).ok_or(SysError { call: Call::Readlinkat, errno: libc::EINVAL })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fd: OwnedFd) -> String {
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_real_one_is_trusted_and_read() {
        let proc = TrustedProc::open().unwrap();
        let status = read(proc.open_file(c"self/status", O_RDONLY).unwrap());
        assert!(status.contains(&format!("Pid:\t{}", std::process::id())), "{status}");
    }

    #[test]
    fn other_file_systems_and_other_directories_are_not() {
        assert_eq!(checked(c"/tmp").unwrap_err(), "it is another kind of file system");
        assert_eq!(checked(c"/proc/sys").unwrap_err(), "it is not the root of a procfs");
        assert_eq!(checked(c"/nowhere").unwrap_err(), "openat: no such file or directory");
    }

    #[test]
    fn magic_links_and_ways_out_are_refused() {
        let proc = TrustedProc::open().unwrap();
        let error = proc.open_file(c"self/root/etc", O_PATH).unwrap_err().to_string();
        assert!(error.starts_with("open /proc/self/root/etc: "), "{error}");
        assert!(error.contains("symbolic links"), "{error}");
        let error = proc.open_file(c"../etc", O_PATH).unwrap_err().to_string();
        assert_eq!(error, "open /proc/../etc: invalid cross-device link");
    }

    #[test]
    fn a_namespace_is_of_its_kind() {
        let proc = TrustedProc::open().unwrap();
        let pid = sys::getpid();
        for kind in Namespace::ALL {
            let fd = proc.namespace(pid, kind).unwrap();
            assert_eq!(sys::namespace_kind(Fd::from(&fd)).unwrap(), kind.flag(), "{}", kind.name());
        }
    }

    #[test]
    fn a_procfs_of_our_own_serves_as_well() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let proc = TrustedProc::mount().unwrap();
        let status = read(proc.open_file(c"self/status", O_RDONLY).unwrap());
        assert!(status.contains(&format!("Pid:\t{}", std::process::id())), "{status}");
    }

    #[test]
    fn what_is_mounted_over_a_file_is_not_opened() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let proc = TrustedProc::open().unwrap();
        let root = Fd::from(&proc.root);
        let args = sys::CloneArgs { flags: libc::CLONE_NEWNS.unsigned_abs().into(), ..Default::default() };
        let child = sys::clone3(&args, || {
            let _ = sys::mount(None, c"/", libc::MS_REC | libc::MS_PRIVATE);
            let mounted = sys::mount(Some(c"/dev/null"), c"/proc/version", libc::MS_BIND);
            // The descriptor is of the mount in the old namespace; the copy that has the new mount is opened again.
            let again = sys::openat(Fd::CWD, c"/proc", O_PATH | O_DIRECTORY, 0).unwrap_or(root);
            match (mounted, sys::openat2(again, c"version", O_RDONLY, 0, RESOLVE)) {
                (Ok(()), Err(e)) => sys::exit(e.errno),
                _ => sys::exit(0),
            }
        })
        .unwrap();
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.pid), None).unwrap();
        let nix::sys::wait::WaitStatus::Exited(_, errno) = status else { panic!("{status:?}") };
        assert_eq!(errno, libc::EXDEV);
    }

    #[test]
    fn errors_say_where_and_why() {
        let proc = TrustedProc::open().unwrap();
        let error = proc.write(c"version", b"x").unwrap_err().to_string();
        // Root is stopped by the missing write method, others by the mode.
        assert!(
            error.starts_with("open /proc/version: ") || error.starts_with("write /proc/version: "),
            "{error}"
        );
        let error = proc.namespace(i32::MAX, Namespace::User).unwrap_err().to_string();
        assert_eq!(error, "open /proc/2147483647/ns: no such file or directory");
    }
}
