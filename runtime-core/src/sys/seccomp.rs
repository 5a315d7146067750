//! Seccomp filters, and what a process under one still can do: a second thread that is not, memory, its own end.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, SchedAttr, SysError, call};
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, Ordering};
use seccompiler::sock_filter;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
const NEW_LISTENER: u32 = 1 << 3;

/// Puts a filter on the calling thread (`SECCOMP_SET_MODE_FILTER`); with `NEW_LISTENER` in `flags` the descriptor of its
/// listener is returned.
///
/// # Errors
/// Those of `seccomp(2)`; `ESRCH` when `TSYNC` could not put it on every thread.
pub fn load_filter(program: &[sock_filter], flags: u32) -> Result<Option<Fd>> {
    /// `struct sock_fprog`
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const sock_filter,
    }
    let too_long = |_| SysError { call: Call::Seccomp, errno: libc::EINVAL };
    let len = u16::try_from(program.len()).map_err(too_long)?;
    let program = Program { len, filter: program.as_ptr() };
    let op = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel reads one struct sock_fprog and the `len` instructions it points to, all alive.
    let ret = unsafe { call!(Call::Seccomp, SYS_seccomp, op, flags, &raw const program) }?;
    if flags & NEW_LISTENER != 0 {
        return Ok(Some(super::fd(ret)));
    }
    // Of a failed synchronisation the kernel says the thread, and not an errno.
    if ret == 0 { Ok(None) } else { Err(SysError { call: Call::Seccomp, errno: libc::ESRCH }) }
}

/// Memory for the stack of a second thread, made before the clone.
pub struct ThreadStack(Box<[u8]>);

impl ThreadStack {
    const SIZE: usize = 64 << 10;

    /// Allocates it.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; Self::SIZE].into_boxed_slice())
    }
}

impl Default for ThreadStack {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for ThreadStack {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ThreadStack")
    }
}

/// What [`with_thread`]'s two threads share.
struct Scope<'a, T> {
    shared: &'a T,
    body: fn(&T),
    running: AtomicBool,
    left: AtomicBool,
}

/// Runs `main`, and beside it `body` in a second thread with the same descriptors and memory; returns when both have ended.
///
/// For the child half only: the thread has no thread-local storage of its own, both keep to the contract of
/// [`super::clone3`]'s child, and `stack` must not be freed afterwards.  For `body` to end the caller waits without a system call,
/// so that `main` may put a filter on its thread that refuses all of them.
///
/// # Errors
/// Those of `clone3(2)`; neither has run then.
pub fn with_thread<T: Sync, R>(
    stack: &mut ThreadStack,
    shared: &T,
    body: fn(&T),
    main: impl FnOnce() -> R,
) -> Result<R> {
    let scope = Scope { shared, body, running: AtomicBool::new(false), left: AtomicBool::new(false) };
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    let base = stack.0.as_mut_ptr();
    // Calling conventions want the top aligned to 16 bytes.
    let shift = base.align_offset(16) & 15;
    // SAFETY: all-zero is a valid clone_args.
    let mut args: libc::clone_args = unsafe { core::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned());
    args.stack = base.wrapping_add(shift) as u64;
    args.stack_size = ((stack.0.len() - shift) & !15) as u64;
    // SAFETY: `args` is a live structure of the size passed; the new thread runs on `stack`, which nobody else uses, and calls
    // `enter` with `scope`, which lives until `left` is set, after which the thread does not touch it any more.
    let ret =
        unsafe { clone_thread(&raw const args, enter::<T> as *const () as usize, &raw const scope as usize) };
    super::check(Call::Clone3, ret)?;
    // It must have run before nothing but this loop does, on the only processor, with a real-time priority.
    while !scope.running.load(Ordering::Acquire) {
        nap();
    }
    let result = main();
    while !scope.left.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    Ok(result)
}

/// The second thread.
extern "C" fn enter<T>(scope: *const Scope<'_, T>) -> ! {
    // SAFETY: `with_thread` keeps the scope until `left` is set.
    let scope = unsafe { &*scope };
    // The other thread may not yield to us once it waits: at an ordinary priority the kernel sees to it that we get our turn.
    let ordinary = SchedAttr { size: 48, ..SchedAttr::default() };
    let _ = super::sched_setattr(&ordinary);
    scope.running.store(true, Ordering::Release);
    (scope.body)(scope.shared);
    scope.left.store(true, Ordering::Release);
    exit_thread()
}

/// clone3, and a call of `body(argument)` in the new thread.
///
/// # Safety
/// `args` is valid and names a stack for a thread; `body` is an `extern "C" fn(*const T) -> !` and `argument` what it may be
/// called with.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_thread(args: *const libc::clone_args, body: usize, argument: usize) -> i64 {
    let ret: i64;
    // SAFETY: the new thread has the caller's registers but for rax (0) and rsp (the top of its own stack), so it takes the way that
    // ends in `body`, which does not return; the caller's thread sees a system call and a branch.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => ret,
            in("rdi") args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") body,
            in("r13") argument,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}

/// clone3, and a call of `body(argument)` in the new thread.
///
/// # Safety
/// `args` is valid and names a stack for a thread; `body` is an `extern "C" fn(*const T) -> !` and `argument` what it may be
/// called with.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_thread(args: *const libc::clone_args, body: usize, argument: usize) -> i64 {
    let ret: i64;
    // SAFETY: as for x86_64: x0 is 0 in the new thread, whose sp is the top of its own stack.
    unsafe {
        core::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args => ret,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") body,
            in("x21") argument,
        );
    }
    ret
}

/// Ends the calling thread, and not its process.
pub fn exit_thread() -> ! {
    // SAFETY: exit passes no memory and does not return.
    let _ = unsafe { call!(Call::Check, SYS_exit, 0) };
    crash()
}

/// Ends the process by an instruction that does not exist: where a filter refuses every call, those that end it too.
pub fn crash() -> ! {
    // SAFETY: the instruction raises a signal that is not blocked, ignored or handled, and never completes.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("udf #0", options(noreturn, nomem, nostack))
    }
}

/// Sleeps for some microseconds.
pub fn nap() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 20_000 };
    // SAFETY: the kernel reads one timespec, and the rest of an interrupted sleep is not asked for.
    let _ = unsafe { call!(Call::Check, SYS_nanosleep, &raw const time, core::ptr::null::<u8>()) };
}
