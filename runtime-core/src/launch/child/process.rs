//! The process itself: ids, limits, labels, working directory, the program.

use super::Context;
use super::path::{self, Kind, PathBuffer};
use super::users;
use crate::plan::ChildStep;
use crate::sys::{self, Call, Fd, Result, SysError};
use core::ffi::CStr;
use libc::{
    AT_EACCESS, AT_EMPTY_PATH, O_PATH, O_RDONLY, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
};

/// Opens a file of the checked procfs; nothing mounted over it and no link out of it is followed (invariant I4).
fn open_proc(cx: &Context<'_>, file: &CStr, flags: i32) -> Result<Fd> {
    sys::openat2(cx.proc, file, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS)
}

fn write_proc(cx: &Context<'_>, file: &CStr, value: &CStr) -> Result<()> {
    let file = open_proc(cx, file, O_WRONLY)?;
    let result = sys::write(file, value.to_bytes());
    sys::close(file);
    result
}

/// Writes its own score for the OOM killer.
pub fn set_oom_score(cx: &Context<'_>, score: i32) -> Result<()> {
    let mut value = PathBuffer::empty();
    if score < 0 {
        value.push(b"-")?;
    }
    value.push_number(score.unsigned_abs())?;
    // By this call a failure is known from those of the other things done at this point.
    write_proc(cx, c"self/oom_score_adj", value.as_c_str()).map_err(|e| SysError { call: Call::Openat2, ..e })
}

/// Unshares the time namespace, sets the clocks, and enters it.
///
/// A new time namespace is that of the children only (`time_namespaces(7)`), and its offsets can be set until somebody
/// enters it, which we then do ourselves.
pub fn new_time_namespace(cx: &Context<'_>, offsets: Option<&CStr>) -> Result<()> {
    const CLONE_NEWTIME: i32 = 0x80;
    sys::unshare(CLONE_NEWTIME)?;
    if let Some(offsets) = offsets {
        write_proc(cx, c"self/timens_offsets", offsets)?;
    }
    // A magic link, and the kernel's own: there is no other name for it.
    let own = sys::openat(cx.proc, c"self/ns/time_for_children", O_RDONLY, 0)?;
    sys::setns(own, CLONE_NEWTIME)?;
    sys::close(own);
    Ok(())
}

/// Becomes root of the user namespace.
pub fn become_root(clear_groups: bool) -> Result<()> {
    if clear_groups {
        match sys::setgroups(&[]) {
            // An unprivileged caller mapped its own group only, and the kernel denies the call for good.
            Err(e) if e.errno == libc::EPERM => {}
            r => r?,
        }
    }
    sys::setresgid(0)?;
    sys::setresuid(0)
}

/// Joins a session keyring of the container's own, which its processes may search.
pub fn new_keyring(name: &CStr) -> Result<()> {
    /// KEY_USR_SEARCH (`keyctl_setperm(3)`).
    const USER_SEARCH: u32 = 0x0008_0000;
    match sys::join_session_keyring(name) {
        // A kernel without keys has none to keep apart.
        Err(e) if e.errno == libc::ENOSYS => Ok(()),
        Err(e) => Err(e),
        Ok(key) => sys::add_key_permissions(key, USER_SEARCH),
    }
}

/// Writes a kernel parameter.
pub fn sysctl(cx: &Context<'_>, path: &CStr, value: &CStr) -> Result<()> {
    let mut file = PathBuffer::from(b"sys/")?;
    file.push(path.to_bytes())?;
    write_proc(cx, file.as_c_str(), value)
}

/// Sets the label that execve switches to.
pub fn exec_label(cx: &Context<'_>, file: &CStr, label: &CStr) -> Result<()> {
    let mut path = PathBuffer::from(b"self/attr/")?;
    path.push(file.to_bytes())?;
    write_proc(cx, path.as_c_str(), label)
}

/// Gives pipes, sockets and our own terminal among stdin, stdout and stderr to `uid`, so that the program can open them
/// anew through `/dev/stdout`.  Never a device of the host's, and never a file: those keep their owners.
pub fn chown_stdio(cx: &Context<'_>, uid: u32) -> Result<()> {
    const KEEP_GROUP: u32 = u32::MAX;
    for n in 0..3 {
        // Stdin, stdout or stderr may be closed.
        let Ok(there) = sys::fstat(Fd(n)) else { continue };
        let ours = match there.file_type() {
            libc::S_IFIFO | libc::S_IFSOCK => true,
            libc::S_IFCHR => cx.state.console.is_some(),
            _ => false,
        };
        if !ours || there.uid == uid {
            continue;
        }
        match sys::fchownat(Fd(n), c"", uid, KEEP_GROUP, AT_EMPTY_PATH) {
            // The owner is not mapped here, or the pipe is another user's: the program can still use it as it is.
            Err(e) if ![libc::EPERM, libc::EINVAL, libc::EROFS].contains(&e.errno) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Enters the working directory.
pub fn chdir(cx: &Context<'_>, directory: &CStr, create: bool) -> Result<()> {
    match sys::chdir(directory) {
        Err(e) if e.errno == libc::ENOENT && create => {
            let made = path::locate_or_create(cx.root(), directory, Kind::Directory)?;
            sys::fchdir(made)?;
            sys::close(made);
        }
        // What we may not enter, the user that we become later may (a home on NFS with root squashed).
        Err(e) if e.errno == libc::EACCES && comes_again(cx) => return Ok(()),
        r => r?,
    }
    // A descriptor of the host's that leaked into "/proc/self/fd/N" could be the way out (CVE-2024-21626).
    let mut cwd = PathBuffer::empty();
    let length = cwd.fill(sys::getcwd)?;
    if length == 0 || cwd.bytes().first() != Some(&b'/') {
        return Err(SysError { call: Call::Getcwd, errno: libc::EXDEV });
    }
    Ok(())
}

/// Whether the plan enters the working directory once more.
fn comes_again(cx: &Context<'_>) -> bool {
    let later = cx.steps.get(cx.state.at.saturating_add(1)..).unwrap_or_default();
    later.iter().any(|planned| matches!(planned.step, ChildStep::Chdir { .. }))
}

/// Sets groups and ids.
pub fn set_ids(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<()> {
    // (uid_t)-1 means "leave as it is" to the kernel: root.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(SysError { call: Call::Setresuid, errno: libc::EINVAL });
    }
    sys::set_keep_capabilities(true)?;
    if let Some(groups) = groups {
        sys::setgroups(groups)?;
    }
    sys::setresgid(gid)?;
    sys::setresuid(uid)?;
    sys::set_keep_capabilities(false)
}

/// Fills in HOME from the container's user database; `/` when the user is not in it.
pub fn home(cx: &mut Context<'_>, slot: usize, uid: u32) -> Result<()> {
    let mut line = [0; users::MAX_LINE];
    // After pivot_root, and for exec after joining: "/" is the container's.
    let root = sys::openat(Fd::CWD, c"/", O_PATH, 0)?;
    let length = match path::open(root, c"/etc/passwd", O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY) {
        Ok(file) => {
            // A database that cannot be read (a directory, say) tells of nobody, as one that is not there.
            let length = users::find_user(|chunk| sys::read(file, chunk), uid, &mut line).unwrap_or_default();
            sys::close(file);
            length
        }
        Err(_) => None,
    };
    let line = length.and_then(|n| line.get(..n)).unwrap_or_default();
    let home = users::home_of(line);
    if cx.program.env.overwrite(slot, &[b"HOME=", home]) || cx.program.env.overwrite(slot, &[b"HOME=/"]) {
        return Ok(());
    }
    Err(SysError { call: Call::Check, errno: libc::ENAMETOOLONG })
}

/// Lets descriptors 3 to 3+count-1 through.
pub fn preserve_fds(count: u32) -> Result<()> {
    for n in 0..count {
        sys::set_cloexec(Fd(3i32.saturating_add_unsigned(n)), false)?;
    }
    Ok(())
}

/// Finds the program: the first candidate that is a file which may be executed.
pub fn find_executable(cx: &mut Context<'_>) -> Result<()> {
    let mut why = libc::ENOENT;
    for (n, candidate) in cx.program.candidates.iter().enumerate() {
        match is_executable(candidate) {
            Ok(()) => {
                cx.state.executable = n;
                return Ok(());
            }
            Err(e) if e.errno == libc::ENOENT || e.errno == libc::ENOTDIR => {}
            Err(e) => why = e.errno,
        }
    }
    Err(SysError { call: Call::Faccessat2, errno: why })
}

fn is_executable(candidate: &CStr) -> Result<()> {
    let file = sys::openat(Fd::CWD, candidate, O_PATH, 0)?;
    let there = sys::fstat(file)?;
    sys::close(file);
    if there.is_dir() {
        return Err(SysError { call: Call::Faccessat2, errno: libc::EISDIR });
    }
    sys::faccessat2(Fd::CWD, candidate, libc::X_OK, AT_EACCESS)
}

/// Becomes the program.
pub fn execute(cx: &Context<'_>) -> Result<()> {
    let missing = SysError { call: Call::Execve, errno: libc::ENOENT };
    let path = cx.program.candidates.get(cx.state.executable).ok_or(missing)?;
    Err(sys::execve(path, &cx.program.args, &cx.program.env))
}
