//! Processes: clone, execve, ids, capabilities, scheduling, signals, namespaces.

#![allow(unsafe_code)]

use super::limits::return_open_files;
use super::{Call, Fd, Result, SysError, call, fd, own};
use core::convert::Infallible;
use core::ffi::{CStr, c_char};
use core::mem::size_of;
use nix::sys::signal::SigSet;
use std::os::fd::OwnedFd;

/// What [`clone3`] is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneArgs {
    /// `CLONE_*` flags; `CLONE_PIDFD` and `CLONE_CLEAR_SIGHAND` are added.
    pub flags: u64,
    /// The cgroup v2 directory to start in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<Fd>,
    /// Ask for no exit signal: for a child that is not waited for in the ordinary way.
    pub no_signal: bool,
    /// The child's limit of open files is set by the caller, whom [`raise_open_files`](super::raise_open_files) must not get in the way of.
    pub open_files_are_set: bool,
}

/// A child made by [`clone3`].
#[derive(Debug)]
pub struct Child {
    /// Its process id, as this process sees it.
    pub pid: i32,
    /// A descriptor for it (`pidfd_open(2)`).
    pub pidfd: OwnedFd,
}

/// Makes a process that is a copy of the calling thread, and runs `child` in it.
///
/// The child's signal dispositions are the default ones (`CLONE_CLEAR_SIGHAND`, Linux 5.5), but ignored signals
/// stay ignored.  **The contract of `child`** (invariant I2): the program may have other threads, whose locks are
/// held for ever in the copy, the allocator's among them.  So `child` calls only the functions of this module,
/// allocates and frees nothing, does not panic, and ends in execve or [`exit`].  It cannot return.
///
/// # Errors
/// Those of `clone3(2)`.
pub fn clone3(args: &CloneArgs, child: impl FnOnce() -> Infallible) -> Result<Child> {
    let mut pidfd: i32 = -1;
    let flags = args.flags | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    let pid = clone(flags, args, &raw mut pidfd, || {
        if !args.open_files_are_set {
            return_open_files();
        }
        child()
    })?;
    Ok(Child { pid, pidfd: own(Fd(pidfd)) })
}

/// `pidfd` is written only when `flags` has `CLONE_PIDFD`.
fn clone(flags: u64, args: &CloneArgs, pidfd: *mut i32, child: impl FnOnce() -> Infallible) -> Result<i32> {
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut raw = libc::clone_args {
        flags: flags | CLONE_CLEAR_SIGHAND,
        pidfd: pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: if args.no_signal { 0 } else { libc::SIGCHLD.cast_unsigned().into() },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.0.cast_unsigned().into();
    }
    // SAFETY: no stack is named and CLONE_VM is not asked for, so the child runs on a copy of this memory, as after
    // fork(2): everything `child` borrows is there.  `raw` is a struct of the size passed, and `pidfd` is valid for a
    // write where the flag asks for one.
    let pid = unsafe { call!(Call::Clone3, SYS_clone3, &raw const raw, size_of::<libc::clone_args>()) }?;
    if pid == 0 {
        child();
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(pid as i32)
}

/// [`clone3`] for the stage of a launch, which is itself a child half: nobody will use the descriptor, so none is made.
///
/// # Errors
/// Those of `clone3(2)`.
pub fn fork(args: &CloneArgs, child: impl FnOnce() -> Infallible) -> Result<i32> {
    clone(args.flags, args, core::ptr::null_mut(), child)
}

/// Has the pages of the stack that a child of [`clone3`] goes on to write to at once (`MADV_POPULATE_WRITE`, Linux 5.14), where each
/// would be copied from the parent's in a page fault of its own.
///
/// It is a matter of time only: a kernel that does not know how, and a stack that is shorter, have the faults.
#[inline(always)]
pub fn have_stack_below() {
    const LENGTH: usize = 11 << 12;
    let start = (super::raw::stack_pointer() & !0xfff).saturating_sub(LENGTH);
    // SAFETY: the call changes no content.  What lies below the stack pointer is this thread's, or, where its stack is nearly used up,
    // a neighbour's copy in this process of one thread; it fails where nothing is mapped.
    let _ = unsafe { call!(Call::Madvise, SYS_madvise, start, LENGTH, libc::MADV_POPULATE_WRITE) };
}

/// Ends the calling process at once: no handlers, no flushing.
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group passes no memory and does not return.
    let _ = unsafe { call!(Call::Check, SYS_exit_group, status) };
    // A seccomp filter has refused it.
    super::crash()
}

/// A NUL-terminated vector of C strings, as execve takes it, made before the clone.
#[derive(Debug)]
pub struct StringVector {
    strings: Vec<Box<[u8]>>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into `strings`, which lives and moves with them (the heap blocks stay where they are);
// nothing is mutable through a shared reference.
unsafe impl Send for StringVector {}
// SAFETY: as for Send.
unsafe impl Sync for StringVector {}

impl Clone for StringVector {
    fn clone(&self) -> Self {
        Self::from_blocks(self.strings.clone())
    }
}

impl StringVector {
    /// Takes the strings.
    #[must_use]
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        Self::from_blocks(strings.into_iter().map(|s| s.into_bytes_with_nul().into_boxed_slice()).collect())
    }

    /// `strings` each end in a NUL.
    fn from_blocks(strings: Vec<Box<[u8]>>) -> Self {
        let pointers = strings
            .iter()
            .map(|s| s.as_ptr().cast::<c_char>())
            .chain(core::iter::once(core::ptr::null()))
            .collect();
        Self { strings, pointers }
    }

    /// The strings, without their NULs.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.strings.iter().map(|s| s.split(|b| *b == 0).next().unwrap_or_default())
    }

    /// Overwrites string `index` by `parts`, one after the other, without moving it; bare.  Returns false when there is no
    /// such string or it is too short.
    pub fn overwrite(&mut self, index: usize, parts: &[&[u8]]) -> bool {
        let Some(block) = self.strings.get_mut(index) else { return false };
        let mut at = 0;
        for part in parts {
            let Some(space) = block.get_mut(at..at + part.len()) else { return false };
            space.copy_from_slice(part);
            at += part.len();
        }
        block.get_mut(at).map(|end| *end = 0).is_some()
    }
}

/// Replaces the calling process by the program at `path`.  Returns only if that failed.
#[must_use]
pub fn execve(path: &CStr, argv: &StringVector, envp: &StringVector) -> SysError {
    // SAFETY: `path` is NUL-terminated; both vectors end in a null pointer and their strings are alive.
    let r = unsafe { call!(Call::Execve, SYS_execve, path, argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    r.err().unwrap_or(SysError { call: Call::Execve, errno: libc::EIO })
}

/// Replaces the calling process by the program open as `file` (`execveat(2)`).  Returns only if that failed.
#[must_use]
pub fn fexecve(file: Fd, argv: &StringVector, envp: &StringVector) -> SysError {
    // SAFETY: the path is an empty literal; both vectors end in a null pointer and their strings are alive.
    let r = unsafe {
        call!(
            Call::Execve,
            SYS_execveat,
            file,
            c"",
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            libc::AT_EMPTY_PATH
        )
    };
    r.err().unwrap_or(SysError { call: Call::Execve, errno: libc::EIO })
}

/// Wall time in nanoseconds (`CLOCK_REALTIME`), by the system call itself: the one clock that a time namespace
/// leaves alone, so that both halves of a launch can be drawn on one line.
#[must_use]
pub fn clock_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is valid for the write of one struct timespec.
    let _ = unsafe { call!(Call::ClockGettime, SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut t) };
    t.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec.cast_unsigned())
}

/// Moves the calling process into the namespace(s) `fd` refers to: a namespace file, or a pidfd with several
/// `CLONE_NEW*` in `kinds` (Linux 5.8).
///
/// # Errors
/// Those of `setns(2)`.
pub fn setns(fd: Fd, kinds: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Setns, SYS_setns, fd, kinds) }.map(drop)
}

/// The kind of namespace that `fd` refers to, as a `CLONE_NEW*` flag (`NS_GET_NSTYPE`, `ioctl_nsfs(2)`, Linux 4.11).
///
/// # Errors
/// Those of `ioctl(2)`; `ENOTTY` for what is no namespace.
pub fn namespace_kind(fd: Fd) -> Result<i32> {
    const NS_GET_NSTYPE: u64 = 0xb703;
    // SAFETY: the request passes no memory.
    let kind = unsafe { call!(Call::Ioctl, SYS_ioctl, fd, NS_GET_NSTYPE, 0) }?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    Ok(kind as i32)
}

/// Moves the calling process into new namespaces.
///
/// # Errors
/// Those of `unshare(2)`.
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Unshare, SYS_unshare, flags) }.map(drop)
}

/// Starts a session.
///
/// # Errors
/// Those of `setsid(2)`.
pub fn setsid() -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Setsid, SYS_setsid) }.map(drop)
}

/// Sets all three user ids of this thread, by the system call and not libc's broadcast to all threads.
///
/// # Errors
/// Those of `setresuid(2)`.
pub fn setresuid(uid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Setresuid, SYS_setresuid, uid, uid, uid) }.map(drop)
}

/// Sets all three group ids of this thread.
///
/// # Errors
/// Those of `setresgid(2)`.
pub fn setresgid(gid: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Setresgid, SYS_setresgid, gid, gid, gid) }.map(drop)
}

/// Sets the supplementary groups.
///
/// # Errors
/// Those of `setgroups(2)`.
pub fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: `groups` is valid for reads of its length.
    unsafe { call!(Call::Setgroups, SYS_setgroups, groups.len(), groups.as_ptr()) }.map(drop)
}

/// Sets the host name of the UTS namespace.
///
/// # Errors
/// Those of `sethostname(2)`.
pub fn sethostname(name: &CStr) -> Result<()> {
    let name = name.to_bytes();
    // SAFETY: `name` is valid for reads of its length.
    unsafe { call!(Call::Sethostname, SYS_sethostname, name.as_ptr(), name.len()) }.map(drop)
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// Those of `setdomainname(2)`.
pub fn setdomainname(name: &CStr) -> Result<()> {
    let name = name.to_bytes();
    // SAFETY: `name` is valid for reads of its length.
    unsafe { call!(Call::Setdomainname, SYS_setdomainname, name.as_ptr(), name.len()) }.map(drop)
}

/// The `prctl(2)` operations that take numbers only.
fn prctl(op: i32, a: u64, b: u64) -> Result<usize> {
    // SAFETY: every caller below passes an operation whose arguments are numbers.
    unsafe { call!(Call::Prctl, SYS_prctl, op, a, b, 0u64, 0u64) }
}

/// Keeps the permitted capabilities over the next change of user ids (`PR_SET_KEEPCAPS`).
///
/// # Errors
/// Those of `prctl(2)`.
pub fn set_keep_capabilities(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, on.into(), 0).map(drop)
}

/// Makes the calling process one that others of its user and its user namespace may not trace, nor look into by `/proc/PID` (`fd`,
/// `root`, `cwd`, `exe`, `mem`), until its next execve (`PR_SET_DUMPABLE`, `ptrace(2)`).  Its files in `/proc` are root's meanwhile.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Has the caller be sent `signal` when the thread that made it ends (`PR_SET_PDEATHSIG`), or nothing with 0.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, u64::from(signal.cast_unsigned()), 0).map(drop)
}

/// Sets no_new_privs, which cannot be taken back (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// Those of `prctl(2)`.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Takes every capability that is not in `keep` out of the bounding set, up to the last one that the kernel knows.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn drop_bounding(keep: u64) -> Result<()> {
    const CAP_CHECKPOINT_RESTORE: u64 = 40;
    for cap in 0..64u64 {
        if keep & (1 << cap) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, cap, 0) {
            Ok(_) => {}
            // Past the last one that this kernel has; every kernel that we run on has CAP_CHECKPOINT_RESTORE (Linux 5.9).
            Err(e) if e.errno == libc::EINVAL && cap > CAP_CHECKPOINT_RESTORE => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Empties the ambient set, then raises the capabilities of `set`.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn set_ambient(set: u64) -> Result<()> {
    #[allow(clippy::cast_sign_loss)]
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    for cap in (0..64u64).filter(|cap| set & (1 << cap) != 0) {
        #[allow(clippy::cast_sign_loss)]
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, cap)?;
    }
    Ok(())
}

/// The three capability sets of a thread, a bit for each capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSets {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets the capabilities of the calling thread.
///
/// # Errors
/// Those of `capset(2)`.
#[allow(clippy::cast_possible_truncation)]
pub fn capset(sets: CapSets) -> Result<()> {
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let data: [u32; 6] = [
        sets.effective as u32,
        sets.permitted as u32,
        sets.inheritable as u32,
        (sets.effective >> 32) as u32,
        (sets.permitted >> 32) as u32,
        (sets.inheritable >> 32) as u32,
    ];
    // SAFETY: version 3 reads one header of two words and data of six.
    unsafe { call!(Call::Capset, SYS_capset, header.as_ptr(), data.as_ptr()) }.map(drop)
}

/// The execution domain (`personality(2)`).
///
/// # Errors
/// Those of `personality(2)`.
pub fn personality(persona: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::Personality, SYS_personality, persona) }.map(drop)
}

/// `struct sched_attr` of `sched_setattr(2)`, in the size of Linux 5.3 and later.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Size of the struct.
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// Static priority, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
    /// Utilization clamp, minimum.
    pub util_min: u32,
    /// Utilization clamp, maximum.
    pub util_max: u32,
}

/// Sets the scheduling policy of the calling thread.
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    // SAFETY: `attr` is a live struct sched_attr that states its own size.
    unsafe { call!(Call::SchedSetattr, SYS_sched_setattr, 0, &raw const *attr, 0u32) }.map(drop)
}

/// Sets the CPUs the calling thread may run on; `mask` has a bit for each.
///
/// # Errors
/// Those of `sched_setaffinity(2)`.
pub fn sched_setaffinity(mask: &[u64]) -> Result<()> {
    // SAFETY: `mask` is valid for reads of the length passed, in bytes.
    unsafe { call!(Call::SchedSetaffinity, SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) }
        .map(drop)
}

/// Sets I/O class and priority of the calling thread, packed as `ioprio_set(2)` says.
///
/// # Errors
/// Those of `ioprio_set(2)`.
pub fn ioprio_set(packed: u32) -> Result<()> {
    const WHO_PROCESS: u32 = 1;
    // SAFETY: no memory is passed.
    unsafe { call!(Call::IoprioSet, SYS_ioprio_set, WHO_PROCESS, 0, packed) }.map(drop)
}

/// Sets the NUMA memory policy of the calling thread; `nodes` has a bit for each node.
///
/// # Errors
/// Those of `set_mempolicy(2)`.
pub fn set_mempolicy(mode: u32, nodes: &[u64]) -> Result<()> {
    // The kernel takes one more than the number of bits (see BUGS of the manual page).
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let pointer = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads `bits - 1` bits, which `nodes` holds.
    unsafe { call!(Call::SetMempolicy, SYS_set_mempolicy, mode, pointer, bits) }.map(drop)
}

/// Joins a session keyring, a new one of that name, and returns its number (`KEYCTL_JOIN_SESSION_KEYRING`).
///
/// # Errors
/// Those of `keyctl(2)`.
pub fn join_session_keyring(name: &CStr) -> Result<u32> {
    // SAFETY: `name` is NUL-terminated and only read.
    let key = unsafe { call!(Call::Keyctl, SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name) }?;
    #[allow(clippy::cast_possible_truncation)]
    Ok(key as u32)
}

/// Adds `add` to the permissions of key `key` (`KEYCTL_DESCRIBE` to read them, `KEYCTL_SETPERM` to write).
///
/// # Errors
/// Those of `keyctl(2)`.
pub fn add_key_permissions(key: u32, add: u32) -> Result<()> {
    let mut text = [0u8; 256];
    // SAFETY: the kernel writes at most the length passed to `text`.
    let len = unsafe {
        call!(Call::Keyctl, SYS_keyctl, libc::KEYCTL_DESCRIBE, key, text.as_mut_ptr(), text.len())
    }?;
    // "type;uid;gid;permissions in hex;description"
    let described = text.get(..len).unwrap_or(&text);
    let permissions = described.split(|b| *b == b';').nth(3).unwrap_or(b"0");
    let old = permissions.iter().fold(0u32, |n, b| n << 4 | char::from(*b).to_digit(16).unwrap_or(0));
    // SAFETY: the command takes numbers only.
    unsafe { call!(Call::Keyctl, SYS_keyctl, libc::KEYCTL_SETPERM, key, old | add) }.map(drop)
}

/// Blocks signals for the calling thread.
///
/// `SigSet::thread_block` of nix 0.31 takes every failure for success: pthread_sigmask(3) returns an error number, and not -1.
///
/// # Errors
/// Those of `rt_sigprocmask(2)`.
pub fn block_signals(signals: &SigSet) -> Result<()> {
    let set: &libc::sigset_t = signals.as_ref();
    let none = core::ptr::null::<u64>();
    // SAFETY: the kernel reads its own sigset of 8 bytes, with which the C library's longer one begins; the old one is not asked for.
    unsafe {
        call!(
            Call::RtSigprocmask,
            SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            &raw const *set,
            none,
            size_of::<u64>()
        )
    }
    .map(drop)
}

/// Sets the signal mask of the calling thread to the 64 bits of `mask`, and returns the old one.
///
/// # Errors
/// Those of `rt_sigprocmask(2)`.
pub fn set_signal_mask(mask: u64) -> Result<u64> {
    let mut old = 0u64;
    // SAFETY: the kernel's sigset is 8 bytes, which is what both pointers have and the size says.
    unsafe {
        call!(
            Call::RtSigprocmask,
            SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            size_of::<u64>()
        )?;
    }
    Ok(old)
}

/// Sets the disposition of `signal` to the default one.  For the child half only: elsewhere it would change the
/// process that Orlop is a guest in.
///
/// # Errors
/// Those of `rt_sigaction(2)`.
pub fn reset_signal(signal: i32) -> Result<()> {
    // SIG_DFL.
    set_disposition(signal, 0)
}

/// Ignores `signal` in the whole process: for the start of a program of ours.
///
/// # Errors
/// Those of `rt_sigaction(2)`.
pub(super) fn ignore_signal(signal: i32) -> Result<()> {
    // SIG_IGN.
    set_disposition(signal, 1)
}

/// Sets a disposition that is no handler.
fn set_disposition(signal: i32, disposition: u64) -> Result<()> {
    // The kernel's own struct sigaction: handler, flags, restorer, mask.
    let action = [disposition, 0, 0, 0];
    // SAFETY: the kernel reads one struct sigaction (32 bytes) with an 8-byte mask; no old action is asked for.
    unsafe {
        call!(
            Call::RtSigaction,
            SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            core::ptr::null::<u8>(),
            size_of::<u64>()
        )
    }
    .map(drop)
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it, any of the 64.
    Killed(i32),
}

/// Asks after the child of `pidfd` (`waitid(2)` with `P_PIDFD`, Linux 5.4), and reaps it unless `flags` has `WNOWAIT`.
/// `None` with `WNOHANG`, when it still runs.
///
/// # Errors
/// Those of `waitid(2)` but `EINTR`; `ECHILD` when it is no child, or was reaped.
pub fn wait_child(pidfd: Fd, flags: i32) -> Result<Option<Ended>> {
    const P_PIDFD: i32 = 3;
    // siginfo_t is 128 bytes; of a SIGCHLD: signal, errno, code, pad, pid, uid, status.
    let mut info = [0i32; 32];
    let none = core::ptr::null::<u8>();
    loop {
        // SAFETY: `info` is valid for the write of one siginfo_t, and no rusage is asked for.
        let r = unsafe {
            call!(Call::Waitid, SYS_waitid, P_PIDFD, pidfd, info.as_mut_ptr(), libc::WEXITED | flags, none)
        };
        match r {
            Err(e) if e.errno == libc::EINTR => {}
            Err(e) => return Err(e),
            Ok(_) => break,
        }
    }
    let [signal, _, code, _, _, _, status, ..] = info;
    Ok(match (signal, code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Ended::Exited(status)),
        _ => Some(Ended::Killed(status)),
    })
}

/// Opens a descriptor for the process `pid`.  Linux 5.3.
///
/// # Errors
/// Those of `pidfd_open(2)`; `ESRCH` when there is no such process.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::PidfdOpen, SYS_pidfd_open, pid, 0u32) }.map(fd).map(own)
}

/// Sends `signal` to the process of `pidfd`; 0 only asks whether it is there.  Linux 5.1.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(pidfd: Fd, signal: i32) -> Result<()> {
    let none = core::ptr::null::<u8>();
    // SAFETY: a null siginfo makes the kernel fill it in as for kill(2).
    unsafe { call!(Call::PidfdSendSignal, SYS_pidfd_send_signal, pidfd, signal, none, 0u32) }.map(drop)
}

/// A copy of the descriptor `target` of the process of `pidfd` (`pidfd_getfd(2)`, Linux 5.6).
///
/// # Errors
/// Those of `pidfd_getfd(2)`.
pub fn pidfd_getfd(pidfd: Fd, target: i32) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    unsafe { call!(Call::PidfdOpen, SYS_pidfd_getfd, pidfd, target, 0u32) }.map(fd).map(own)
}

/// The process id of the caller.
#[must_use]
pub fn getpid() -> i32 {
    // SAFETY: getpid cannot fail and passes no memory.
    let pid = unsafe { call!(Call::Check, SYS_getpid) };
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    pid.map_or(0, |pid| pid as i32)
}
