//! Id maps of user namespaces (`user_namespaces(7)`).

use super::command::{Command, CommandError, reap};
use super::procfs::{ProcError, TrustedProc};
use crate::plan::{IdMaps, Namespace};
use crate::sys::{self, CloneArgs, Fd, SysError};
use std::ffi::{CStr, CString, OsStr};
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A line of a map: first id inside, first id outside, how many.
pub type Range = (u32, u32, u32);

/// Where newuidmap and newgidmap are looked for after PATH, which a service manager may have cut short.
const HELPER_DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/sbin"];

/// Why the ids of a user namespace could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum IdMapError {
    /// The kernel refused a map.
    #[error("{error} (map: {lines})")]
    Refused {
        /// Which file, and why.
        error: ProcError,
        /// The map.
        lines: String,
    },
    /// Another file of procfs could not be used.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// A helper is not installed.
    #[error(
        "{0}: not found in PATH, /usr/bin, /bin or /usr/sbin; it comes with the package uidmap or shadow-utils"
    )]
    NoHelper(&'static str),
    /// A helper failed: `newuidmap: exit status 1: newuidmap: uid range … not allowed`.
    #[error("{helper}: {error}")]
    Helper {
        /// Which.
        helper: &'static str,
        /// What it said.
        error: CommandError,
    },
    /// A user namespace could not be made.
    #[error("user namespace for id-mapped mounts: {0}")]
    Holder(SysError),
}

/// Writes the id maps of the user namespace that process `pid`, an unreaped child of the caller, is in.
///
/// Either directly, or through newuidmap and newgidmap (`helpers`), which know what ranges the caller may use.
/// `deny_setgroups` forbids setgroups(2) in the namespace first, without which an unprivileged group map is refused.
/// A map without lines is not written.
///
/// # Errors
/// When the kernel or a helper refuses.
pub fn write_id_maps(
    proc: &TrustedProc,
    pid: i32,
    maps: &IdMaps,
    helpers: bool,
    deny_setgroups: bool,
) -> Result<(), IdMapError> {
    if deny_setgroups {
        proc.write(&proc_path(pid, "setgroups"), b"deny")?;
    }
    let kinds = [("uid_map", "newuidmap", &maps.uid), ("gid_map", "newgidmap", &maps.gid)];
    for (file, helper, map) in kinds.into_iter().filter(|(_, _, map)| !map.is_empty()) {
        if helpers {
            run_helper(helper, pid, map)?;
        } else {
            let lines = lines(map);
            proc.write(&proc_path(pid, file), lines.as_bytes()).map_err(|error| IdMapError::Refused {
                error,
                lines: lines.trim_end().replace('\n', ", "),
            })?;
        }
    }
    Ok(())
}

fn proc_path(pid: i32, file: &str) -> CString {
    CString::new(format!("{pid}/{file}")).unwrap_or_default()
}

/// The content of a map file.
fn lines(map: &[Range]) -> String {
    let mut text = String::new();
    for (inside, outside, count) in map {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    text
}

fn run_helper(helper: &'static str, pid: i32, map: &[Range]) -> Result<(), IdMapError> {
    let path =
        find_helper(helper, std::env::var_os("PATH").as_deref()).ok_or(IdMapError::NoHelper(helper))?;
    let numbers = map.iter().flat_map(|(inside, outside, count)| [*inside, *outside, *count]);
    let args = [helper.to_owned(), pid.to_string()].into_iter().chain(numbers.map(|n| n.to_string()));
    let command = Command {
        path: &path,
        args: args.filter_map(|arg| CString::new(arg).ok()).collect(),
        // It may be set-user-ID: what it does must not hang on a variable of ours.
        env: vec![c"PATH=/usr/sbin:/usr/bin:/sbin:/bin".into()],
        stdin: b"",
        directory: None,
        join: &[],
        timeout: None,
    };
    command.run().map_err(|error| IdMapError::Helper { helper, error })
}

/// The helper's path: in the absolute directories of `path`, then in the usual ones.
fn find_helper(helper: &str, path: Option<&OsStr>) -> Option<CString> {
    let listed = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let usual = HELPER_DIRECTORIES.iter().map(|directory| Path::new(directory).to_owned());
    listed
        .into_iter()
        .filter(|directory| directory.is_absolute())
        .chain(usual)
        .filter_map(|directory| CString::new(directory.join(helper).as_os_str().as_bytes()).ok())
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &CStr) -> bool {
    let file = sys::statx(Fd::CWD, path, 0).is_ok_and(|stat| stat.file_type() == libc::S_IFREG);
    file && sys::faccessat2(Fd::CWD, path, libc::X_OK, libc::AT_EACCESS).is_ok()
}

/// Whether newuidmap and newgidmap are both installed.
#[must_use]
pub fn helpers_installed() -> bool {
    let path = std::env::var_os("PATH");
    ["newuidmap", "newgidmap"].iter().all(|helper| find_helper(helper, path.as_deref()).is_some())
}

/// Makes a user namespace with these maps that no process is in, for `MOUNT_ATTR_IDMAP`.  The caller needs the right to write
/// the maps directly, as it needs it to map the ids of a mount.
///
/// # Errors
/// When the namespace cannot be made or its maps are refused.
pub fn user_namespace_with(proc: &TrustedProc, maps: &IdMaps) -> Result<OwnedFd, IdMapError> {
    let (ours, theirs) = sys::socketpair().map_err(IdMapError::Holder)?;
    let flags = libc::CLONE_NEWUSER.unsigned_abs().into();
    // Without an exit signal, so that the calling program's handling of SIGCHLD neither sees nor reaps it.
    let args = CloneArgs { flags, no_signal: true, ..CloneArgs::default() };
    let holder = sys::clone3(&args, || {
        // Until we are done, or gone: then the only other end of the socket is closed.
        sys::close(Fd::from(&ours));
        let _ = sys::read(Fd::from(&theirs), &mut [0]);
        sys::exit(0)
    })
    .map_err(IdMapError::Holder)?;
    let made = write_id_maps(proc, holder.pid, maps, false, false)
        .and_then(|()| Ok(proc.namespace(holder.pid, Namespace::User)?));
    // Neither can fail for a child that nobody else waits for; and a namespace that was opened is good anyway.
    let _ = sys::pidfd_send_signal(Fd::from(&holder.pidfd), libc::SIGKILL);
    let _ = reap(holder.pidfd.as_fd());
    made
}

/// Since when mounts of a file system can be id-mapped; the rest of them that can be, ext4 and XFS first, since 5.12.
const ID_MAPPED_SINCE: [(i64, &str, &str); 7] = [
    (0x9123_683e, "btrfs", "5.15"),
    (0xf2f5_2010, "F2FS", "5.18"),
    (0xe0f5_e1e2, "EROFS", "5.19"),
    (0x7371_7368, "squashfs", "6.2"),
    (0x0102_1994, "tmpfs", "6.3"),
    (0x00c3_6400, "Ceph", "6.7"),
    (0x6573_5546, "FUSE", "6.12"),
];

/// What the kernel means by refusing to map the ids of the mount `tree`.
pub fn explain_refusal(tree: Fd, error: SysError) -> String {
    match error.errno {
        libc::ENOSYS => " (an id-mapped mount needs Linux 5.12)".into(),
        libc::EINVAL => {
            let magic = sys::fstatfs(tree).map_or(0, |(magic, _)| magic);
            match ID_MAPPED_SINCE.iter().find(|(known, ..)| *known == magic) {
                Some((_, name, version)) => format!(" (an id-mapped mount of {name} needs Linux {version})"),
                None => " (its file system does not support id-mapped mounts on this kernel)".into(),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(uid: &[Range], gid: &[Range]) -> IdMaps {
        IdMaps { uid: uid.to_vec(), gid: gid.to_vec() }
    }

    /// A child in a new user namespace, ended and reaped when dropped.
    struct Holder(sys::Child);

    impl Holder {
        fn new() -> Self {
            let flags = libc::CLONE_NEWUSER.unsigned_abs().into();
            let args = CloneArgs { flags, no_signal: true, ..CloneArgs::default() };
            Self(sys::clone3(&args, || sys::exit(libc::SIGKILL * pause())).unwrap())
        }

        fn read(&self, file: &str) -> Vec<String> {
            let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.0.pid)).unwrap();
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        }
    }

    /// Bare: waits until killed.
    fn pause() -> i32 {
        let pair = sys::socketpair();
        pair.map_or(1, |(a, _b)| sys::read(Fd::from(&a), &mut [0]).map_or(1, |_| 0))
    }

    impl Drop for Holder {
        fn drop(&mut self) {
            let _ = sys::pidfd_send_signal(Fd::from(&self.0.pidfd), libc::SIGKILL);
            let _ = reap(self.0.pidfd.as_fd());
        }
    }

    fn root() -> bool {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            eprintln!("skipped: these maps need root");
        }
        root
    }

    #[test]
    fn several_lines_are_written_in_one_piece() {
        if !root() {
            return;
        }
        let holder = Holder::new();
        let proc = TrustedProc::open().unwrap();
        let maps = maps(&[(0, 100_000, 1000), (1000, 5000, 1)], &[(0, 200_000, 65_536)]);
        write_id_maps(&proc, holder.0.pid, &maps, false, false).unwrap();
        assert_eq!(holder.read("uid_map"), ["0 100000 1000", "1000 5000 1"]);
        assert_eq!(holder.read("gid_map"), ["0 200000 65536"]);
        assert_eq!(holder.read("setgroups"), ["allow"]);
        let error = write_id_maps(&proc, holder.0.pid, &maps, false, false).unwrap_err().to_string();
        let pid = holder.0.pid;
        assert_eq!(
            error,
            format!("write /proc/{pid}/uid_map: operation not permitted (map: 0 100000 1000, 1000 5000 1)")
        );
    }

    #[test]
    fn our_own_id_alone_needs_no_privilege() {
        let holder = Holder::new();
        let proc = TrustedProc::open().unwrap();
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        write_id_maps(&proc, holder.0.pid, &maps(&[(0, uid, 1)], &[(0, gid, 1)]), false, true).unwrap();
        assert_eq!(holder.read("uid_map"), [format!("0 {uid} 1")]);
        assert_eq!(holder.read("setgroups"), ["deny"]);
    }

    #[test]
    fn what_a_helper_says_is_in_the_error() {
        if !helpers_installed() {
            eprintln!("skipped: newuidmap is not installed");
            return;
        }
        let holder = Holder::new();
        let proc = TrustedProc::open().unwrap();
        // Nobody is granted the end of the id space.
        let maps = maps(&[(0, 4_000_000_000, 7)], &[]);
        let error = write_id_maps(&proc, holder.0.pid, &maps, true, false).unwrap_err().to_string();
        assert!(error.starts_with("newuidmap: exit status 1: newuidmap: "), "{error}");
        assert!(error.contains("4000000000"), "{error}");
    }

    #[test]
    fn a_namespace_nobody_is_in_keeps_its_maps() {
        if !root() {
            return;
        }
        let proc = TrustedProc::open().unwrap();
        let namespace = user_namespace_with(&proc, &maps(&[(0, 7000, 10)], &[(0, 8000, 10)])).unwrap();
        // The kernel tells the maps of a namespace only to who is in it: enter, look, and tell by the exit status.
        let args = CloneArgs { no_signal: true, ..CloneArgs::default() };
        let child = sys::clone3(&args, || {
            let joined = sys::setns(Fd::from(&namespace), libc::CLONE_NEWUSER);
            let mut text = [0u8; 64];
            let read = joined
                .and_then(|()| sys::openat(Fd::CWD, c"/proc/self/uid_map", libc::O_RDONLY, 0))
                .and_then(|file| sys::read(file, &mut text));
            let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            let same =
                words.next() == Some(b"0") && words.next() == Some(b"7000") && words.next() == Some(b"10");
            sys::exit(i32::from(!(read.is_ok() && same)))
        })
        .unwrap();
        let status = reap(child.pidfd.as_fd()).unwrap();
        assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
        let error = user_namespace_with(&proc, &maps(&[(0, 1, 5), (3, 9, 5)], &[])).unwrap_err().to_string();
        assert!(error.ends_with("/uid_map: invalid argument (map: 0 1 5, 3 9 5)"), "{error}");
    }

    #[test]
    fn helpers_are_found_in_path_first_and_never_relatively() {
        let directory = std::env::temp_dir().join(format!("orlop-helpers-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("newuidmap");
        std::os::unix::fs::symlink("/bin/true", &program).unwrap();
        let found = find_helper("newuidmap", Some(directory.as_os_str()));
        let missing = find_helper("no-such-helper", Some(directory.as_os_str()));
        let relative = find_helper("true", Some(OsStr::new("bin:../bin:")));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found.unwrap().as_bytes(), program.as_os_str().as_bytes());
        assert_eq!(missing, None);
        assert_eq!(relative.as_deref(), Some(c"/usr/bin/true"));
    }

    #[test]
    fn a_refusal_names_the_version() {
        let refused = |errno| SysError { call: sys::Call::MountSetattr, errno };
        let proc = sys::own(sys::openat(Fd::CWD, c"/proc", libc::O_PATH, 0).unwrap());
        let explain = |fd: &OwnedFd, errno| explain_refusal(Fd::from(fd), refused(errno));
        assert_eq!(explain(&proc, libc::ENOSYS), " (an id-mapped mount needs Linux 5.12)");
        assert!(explain(&proc, libc::EINVAL).contains("does not support id-mapped mounts"));
        assert_eq!(explain(&proc, libc::EPERM), "");
        // A file in memory lies in a tmpfs.
        let memory = nix::sys::memfd::memfd_create(c"x", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
        assert_eq!(explain(&memory, libc::EINVAL), " (an id-mapped mount of tmpfs needs Linux 6.3)");
    }
}
