//! Protection of the runtime's own binary (CVE-2019-5736).
//!
//! A container can reach the file it was started from as `/proc/PID/exe` of any process of the runtime that enters it; as root of
//! the host, without a user namespace, it could write to that file.  So a program that starts containers calls
//! [`reexec_if_needed`] first.  It runs itself once more from a place that cannot be written:
//!
//! - with the right to mount, from a read-only copy of the mount it lies on, attached nowhere (Linux 5.12): the file is not
//!   copied, and nobody can make the mount writable, because it belongs to no mount namespace once the program runs;
//! - else from a copy of the file in sealed memory.
//!
//! Nothing is done when the file lies on a read-only mount or in sealed memory already, or when the caller has no privilege and
//! the file belongs to root and nobody else may write to it: then no process that this caller can start may either.
//!
//! Whether it is needed is always asked of the kernel and never of a variable that a user could set; and what is executed
//! has passed the same question, so it is done at most once.
//!
//! After it, `readlink /proc/self/exe` is `/` or `/memfd:orlop`, and `std::env::current_exe` with it; `argv[0]` is what it was.
//!
//! The C library's own start is most of the price of a second execution where CPUID instructions trap; the command `orlop` spares the
//! first one by its entry point, see `sys/entry.rs`.
//!
//! Price without that, measured on a busy virtual machine with two processors (minimum of 2,500 runs of a static-pie program of 1.1 MB): six
//! calls and a second start of the program, 610 µs; 400 µs of that is what any second execve costs there, 80 µs the mount that
//! comes and goes.  The copy in memory: 1,200 µs.  Where nothing is to be done: three to five calls, not measurable.

use crate::sys::{self, Fd, MountAttr, Reason, StringVector, SysError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicI32, Ordering};

const EXE: &CStr = c"/proc/self/exe";
/// `statfs(2)`: memory files are on a tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const ST_RDONLY: i64 = 1;
/// Write permission of the group and of others; an access control list cannot grant more than the group has.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Linux 6.3; the flag is refused before, and asked for where `vm.memfd_noexec` is set after.
const MFD_EXEC: u32 = 0x10;

/// The binary could not be protected.
#[derive(Debug, thiserror::Error)]
#[error("protect the runtime's own binary: {action}: {reason}")]
pub struct ProtectError {
    action: &'static str,
    reason: Reason,
}

fn failed(action: &'static str) -> impl Fn(SysError) -> ProtectError {
    move |error| ProtectError { action, reason: error.reason() }
}

fn nix_failed(action: &'static str) -> impl Fn(Errno) -> ProtectError {
    move |errno| ProtectError { action, reason: Reason::from(errno) }
}

/// Whether no container of the caller can write to the file that this program runs from.
///
/// # Errors
/// When procfs does not tell.
pub fn is_protected() -> Result<bool, ProtectError> {
    let exe = open_exe(libc::O_PATH)?;
    Ok(shield(&exe)? != Shield::None)
}

/// Protects the file that this program runs from, by running it again where that is needed.  To be called first in `main`,
/// before threads, arguments or descriptors: all of the state of the process is lost but its descriptors that stay open across
/// execve, its arguments and its environment.
///
/// # Errors
/// When it is needed and cannot be done.  The program should not start a container then.
pub fn reexec_if_needed() -> Result<(), ProtectError> {
    let exe = open_exe(libc::O_PATH)?;
    match shield(&exe)? {
        Shield::OwnFile => {
            // Before Linux 6.14 a program that was run by descriptor has its number for a name.
            if let Some(name) = std::env::args_os().next().map(|arg| basename(&arg)) {
                let _ = nix::sys::prctl::set_name(&name);
            }
            return Ok(());
        }
        Shield::Ownership => return Ok(()),
        Shield::None => {}
    }
    let (args, env) = (StringVector::new(args()), StringVector::new(environment()));
    if let Some(tree) = protected_tree(&exe) {
        let _ = sys::fexecve(Fd::from(&tree), &args, &env);
    }
    let copy = sealed_copy()?;
    Err(failed("run the copy in memory")(sys::fexecve(Fd::from(&copy), &args, &env)))
}

/// The descriptor of the mount that this program runs from, and that it holds by itself; 0 for none.
static OWN_MOUNT: AtomicI32 = AtomicI32::new(0);

/// Takes charge of the mount that the program's entry point has made (`sys/entry.rs`): it could not be close-on-exec, since the
/// program was still to be executed from it.  For [`program!`](crate::program).
#[doc(hidden)]
pub fn keep_own_mount() {
    // The kernel's name for what was executed by its descriptor.
    let name = sys::executed_as().and_then(|name| name.to_bytes().strip_prefix(b"/dev/fd/"));
    let number = name.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    let Some(number) = number.filter(|number| *number > 2) else { return };
    // Who executes us by a descriptor of their own may mean it to stay; that leads to no mount of the program alone.
    if sys::fstat(Fd(number)).is_ok_and(|stat| stat.mount_root && !stat.is_dir()) {
        let _ = sys::set_cloexec(Fd(number), true);
        OWN_MOUNT.store(number, Ordering::Relaxed);
    }
}

/// Gives up what this program still holds of the mount that protects it, which it needs no more once it runs.
///
/// The kernel takes the mount down then, for which it waits for all processors (a grace period of RCU, 40 to 100 µs and more on a
/// busy machine).  So it is best done while there is nothing to do but wait, as while a container's program runs; left undone, the
/// end of this program does it.  Another process that was cloned and has not executed anything holds the mount too.
pub fn release_own_mount() {
    match OWN_MOUNT.swap(0, Ordering::Relaxed) {
        0 => {}
        number => sys::close(Fd(number)),
    }
}

/// This program as a file that cannot be written, to be executed by descriptor; `None` when it runs from such a file already.
///
/// For a program that starts no container and enters none, but starts itself once more for that: its second run then need not
/// protect itself by a third.
///
/// # Errors
/// When there is no such file and none can be made.
pub fn protected_program() -> Result<Option<OwnedFd>, ProtectError> {
    let exe = open_exe(libc::O_PATH)?;
    if shield(&exe)? != Shield::None {
        return Ok(None);
    }
    protected_tree(&exe).map_or_else(sealed_copy, Ok).map(Some)
}

fn open_exe(flags: i32) -> Result<OwnedFd, ProtectError> {
    sys::openat(Fd::CWD, EXE, flags, 0).map(sys::own).map_err(failed("open /proc/self/exe"))
}

/// What keeps a file from being written through `/proc/PID/exe`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shield {
    /// A read-only mount, or seals.
    OwnFile,
    /// It is root's, and we are not.
    Ownership,
    /// Nothing.
    None,
}

fn shield(file: &OwnedFd) -> Result<Shield, ProtectError> {
    let (magic, flags) = sys::fstatfs(Fd::from(file)).map_err(failed("look at its file system"))?;
    // Seals cannot be read through an O_PATH descriptor.  A file that may not be read is not our copy.
    let sealed = || open_exe(libc::O_RDONLY).is_ok_and(|readable| is_sealed(&readable));
    Ok(if flags & ST_RDONLY != 0 || (magic == TMPFS_MAGIC && sealed()) {
        Shield::OwnFile
    } else if belongs_to_root_and_we_do_not(file)? {
        Shield::Ownership
    } else {
        Shield::None
    })
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

fn is_sealed(file: &OwnedFd) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|found| SealFlag::from_bits_retain(found).contains(seals()))
}

/// Whether the caller has no privilege and the file is root's alone to write.  A container of such a caller has the caller's id and
/// subordinate ids, of which root is none.
fn belongs_to_root_and_we_do_not(file: &OwnedFd) -> Result<bool, ProtectError> {
    if nix::unistd::geteuid().is_root() || nix::unistd::getuid().is_root() {
        return Ok(false);
    }
    let stat = sys::fstat(Fd::from(file)).map_err(failed("look at it"))?;
    let roots = stat.uid == 0 && stat.mode & WRITABLE_BY_OTHERS == 0;
    Ok(roots && sys::permitted_capabilities().map_err(failed("read our capabilities"))? == 0)
}

/// Without the right to mount, or on an older kernel, there is none, and the copy in memory serves.
fn protected_tree(exe: &OwnedFd) -> Option<OwnedFd> {
    let tree = read_only_mount(exe).ok()?;
    (shield(&tree).ok()? != Shield::None).then_some(tree)
}

/// A read-only copy of the mount of `exe`, whose root is that file and which is attached nowhere.
fn read_only_mount(exe: &OwnedFd) -> sys::Result<OwnedFd> {
    let tree = sys::own(sys::open_tree_clone(Fd::from(exe), c"", false, libc::AT_EMPTY_PATH)?);
    let read_only = MountAttr { set: sys::attr::RDONLY, ..MountAttr::default() };
    sys::mount_setattr(Fd::from(&tree), false, &read_only)?;
    Ok(tree)
}

/// A copy of this program in memory that nobody can change.
fn sealed_copy() -> Result<OwnedFd, ProtectError> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = MFdFlags::from_bits_retain(MFD_EXEC);
    let memory = match memfd_create(c"orlop", flags | executable) {
        Err(Errno::EINVAL) => memfd_create(c"orlop", flags),
        r => r,
    }
    .map_err(nix_failed("make a file in memory"))?;
    let mut from = File::from(open_exe(libc::O_RDONLY)?);
    let mut to = File::from(memory);
    copy(&mut from, &mut to).map_err(|e| {
        nix_failed("copy it to memory")(Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    })?;
    seal(&to).map_err(nix_failed("seal the copy in memory"))?;
    Ok(to.into())
}

/// Not `io::copy`: it panics where sendfile(2) works at first and is refused (`EPERM`) later.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&piece[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Adds the seals.  The kernel says EBUSY while it holds pages of the file itself, as it does for a moment where memory is short
/// or processors are busy (`memfd_wait_for_pins` in its mm/memfd.c, which gives up after 150 ms).
fn seal(file: &File) -> nix::Result<()> {
    const ATTEMPTS: u32 = 20;
    for _ in 1..ATTEMPTS {
        match fcntl(file, FcntlArg::F_ADD_SEALS(seals())) {
            Err(Errno::EBUSY) => std::thread::sleep(std::time::Duration::from_millis(10)),
            r => return r.map(drop),
        }
    }
    fcntl(file, FcntlArg::F_ADD_SEALS(seals())).map(drop)
}

fn args() -> Vec<CString> {
    std::env::args_os().map(c_string).collect()
}

fn environment() -> Vec<CString> {
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        c_string(name)
    };
    std::env::vars_os().map(entry).collect()
}

/// What came from the kernel as C strings has no NUL in it.
fn c_string(text: OsString) -> CString {
    CString::new(text.into_vec()).unwrap_or_default()
}

fn basename(path: &OsStr) -> CString {
    let name = path.as_bytes().rsplit(|b| *b == b'/').next().unwrap_or_default();
    c_string(OsStr::from_bytes(name).to_owned())
}
