//! For programs that serve for long: children of which no descriptor is at hand, connections, memory given back.

#![allow(unsafe_code)]

use super::{Call, Result, call, fd, own};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Gives the calling process's group a cookie of its own for core scheduling: its processes, and those that they make from now on,
/// share a core (its hyper-threads) with each other only (`PR_SCHED_CORE`, Linux 5.14;
/// `Documentation/admin-guide/hw-vuln/core-scheduling.rst`).
///
/// # Errors
/// Those of `prctl(2)`: `EINVAL` from a kernel that cannot do it, `ENODEV` where cores have one thread each.
pub fn share_cores_with_own_group() -> Result<()> {
    const PR_SCHED_CORE: i32 = 62;
    const PR_SCHED_CORE_CREATE: i32 = 1;
    const PR_SCHED_CORE_SCOPE_PROCESS_GROUP: i32 = 2;
    let (own, none) = (0, 0u64);
    let scope = PR_SCHED_CORE_SCOPE_PROCESS_GROUP;
    // SAFETY: no memory is passed; the last argument, an address, is of use to PR_SCHED_CORE_GET alone.
    unsafe { call!(Call::Prctl, SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_CREATE, own, scope, none) }.map(drop)
}

const P_ALL: i32 = 0;
const P_PID: i32 = 1;

/// Any child that has ended and was not reaped yet; it stays so.  `None` when there is no such child, or no child.
///
/// # Errors
/// Those of `waitid(2)` but `EINTR` and `ECHILD`.
pub fn ended_child() -> Result<Option<i32>> {
    wait(P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Reaps the child `pid` if it has ended, whatever its status is.
///
/// # Errors
/// Those of `waitid(2)` but `EINTR` and `ECHILD`.
pub fn reap_child(pid: i32) -> Result<()> {
    wait(P_PID, pid, libc::WEXITED | libc::WNOHANG).map(drop)
}

fn wait(kind: i32, id: i32, options: i32) -> Result<Option<i32>> {
    // siginfo_t is 128 bytes; of a SIGCHLD: signal, errno, code, pad, pid, uid, status.
    let mut info = [0i32; 32];
    let none = core::ptr::null::<u8>();
    loop {
        // SAFETY: `info` is valid for the write of one siginfo_t, and no rusage is asked for.
        match unsafe { call!(Call::Waitid, SYS_waitid, kind, id, info.as_mut_ptr(), options, none) } {
            Err(e) if e.errno == libc::EINTR => {}
            Err(e) if e.errno == libc::ECHILD => return Ok(None),
            Err(e) => return Err(e),
            Ok(_) => break,
        }
    }
    let [_, _, _, _, pid, ..] = info;
    Ok((pid != 0).then_some(pid))
}

/// Accepts a connection, which will not block; `None` when nobody waits on a listener that does not block either.
///
/// # Errors
/// Those of `accept4(2)` but `EINTR`, `ECONNABORTED` and `EAGAIN`.
pub fn accept_connection(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let none = core::ptr::null::<u8>();
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    loop {
        // SAFETY: no address is asked for.
        match unsafe { call!(Call::Accept, SYS_accept4, super::Fd::from(listener), none, none, flags) } {
            Err(e) if e.errno == libc::EINTR || e.errno == libc::ECONNABORTED => {}
            Err(e) if e.errno == libc::EAGAIN => return Ok(None),
            r => return r.map(|raw| Some(own(fd(raw)))),
        }
    }
}

/// Descriptor 0, as it was inherited; an operation on it fails where there was none.
#[must_use]
pub fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: a program of ours keeps descriptors 0 to 2 open for as long as it runs.
    unsafe { BorrowedFd::borrow_raw(libc::STDIN_FILENO) }
}

/// Descriptor 1, as [`standard_input`].
#[must_use]
pub fn standard_output() -> BorrowedFd<'static> {
    // SAFETY: a program of ours keeps descriptors 0 to 2 open for as long as it runs.
    unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) }
}

/// Waits until `fd` can be read from, or until `timeout` is over (for ever when it is `None`), having given back memory that a
/// process which only waits does not need: freed heap, what the calls before have left of the first thread's stack, and the pages
/// of its own program, which the kernel keeps in its cache and maps again when they are run.
///
/// Not bare, unlike its neighbours: it asks the allocator and reads procfs.
///
/// # Errors
/// Those of `ppoll(2)` but `EINTR`, after which it returns early.
#[inline(never)]
pub fn rest(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<()> {
    let Layout { code, stack } = layout().unwrap_or_default();
    // SAFETY: malloc_trim may be called at any time.
    unsafe { libc::malloc_trim(0) };
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let limit = timeout.map(|left| libc::timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    let page = page_size();
    if let Some((start, length)) = below_this_frame(stack, page) {
        // SAFETY: memory of this thread's stack below all that it uses: frames that have returned.
        let _ = unsafe { call!(Call::Madvise, SYS_madvise, start, length, libc::MADV_DONTNEED) };
    }
    for (start, length) in code {
        // SAFETY: a private mapping of a file, never written to: its pages come back with the same bytes.  Nobody can
        // write to the file (`protect`), as it was when they were first read.
        let _ = unsafe { call!(Call::Madvise, SYS_madvise, start, length, libc::MADV_DONTNEED) };
    }
    // From here to the system call no function is called: each one would bring pages back, sixteen around its own.
    let none = core::ptr::null::<u8>();
    // SAFETY: the kernel reads and writes one struct pollfd and reads one timespec, or none; there is no signal mask.
    match unsafe { call!(Call::Poll, SYS_ppoll, &raw mut one, 1, limit, none, size_of::<u64>()) } {
        Err(e) if e.errno == libc::EINTR => Ok(()),
        r => r.map(drop),
    }
}

/// What lies in `stack` and is used by no function that has not returned, in whole pages; nothing if this thread's is another one.
#[inline(always)]
fn below_this_frame(stack: (usize, usize), page: usize) -> Option<(usize, usize)> {
    // Functions that call none use so much below the pointer (the red zone of the x86_64 ABI; none on aarch64).
    const RED_ZONE: usize = 128;
    let (start, length) = stack;
    let pointer = super::raw::stack_pointer();
    let used = (pointer - RED_ZONE) & !(page - 1);
    (start..start + length).contains(&pointer).then(|| (start, used.saturating_sub(start)))
}

/// Has all threads that come take memory from where the first one does, for a program in which hardly two ever run at once: memory
/// that a thread has used for itself alone is not given back when it ends.
pub fn share_memory_among_threads() {
    // SAFETY: an integer is set, before there are threads that could look at it.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// The size of a page, a power of two.
fn page_size() -> usize {
    // SAFETY: a constant of the system is asked for; no memory is passed.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // As large as any, should it not be told: then less is given back.
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(1 << 16)
}

/// Where parts of this process are mapped, each as address and length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Layout {
    /// The constants of the program, and its code behind them.
    code: [(usize, usize); 2],
    /// The stack of the first thread.
    stack: (usize, usize),
}

/// What lies behind the code was written to when the program started (relocations), though it may be read-only now: so only
/// mappings up to the code count.
fn layout() -> Option<Layout> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut found = Layout::default();
    let mut of_program = 0;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let (inode, name) = (fields.nth(2)?, fields.next().unwrap_or_default());
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        if name == "[stack]" {
            found.stack = (start, end - start);
        }
        // The heap may lie before the program or behind it, wherever the kernel has put it.
        if inode == "0" {
            continue;
        }
        // The first file that is mapped is the program; anything else means that it is not laid out as expected.
        match (of_program, rights) {
            (0, "r--p") | (1, "r-xp") => {
                *found.code.get_mut(of_program)? = (start, end - start);
                of_program += 1;
            }
            (0 | 1, _) => return None,
            _ => {}
        }
    }
    (of_program == 2).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_program_is_found_and_lives_on_without_its_pages() {
        let found = layout().unwrap();
        let here = rest as *const () as usize;
        let (start, length) = found.code[1];
        assert!((start..start + length).contains(&here), "{found:x?}");
        let (reader, writer) = std::io::pipe().unwrap();
        rest(reader.as_fd(), Some(Duration::ZERO)).unwrap();
        drop(writer);
        rest(reader.as_fd(), None).unwrap();
        assert_eq!(layout().unwrap(), found);
    }

    #[test]
    fn only_the_own_stack_is_cut_off_below_what_is_in_use() {
        const PAGE: usize = 4096;
        let here = super::super::raw::stack_pointer();
        let (start, length) = below_this_frame((here & !(PAGE - 1), PAGE), PAGE).unwrap();
        assert_eq!((start, length), (here & !(PAGE - 1), 0), "the page that is in use stays");
        let (start, length) = below_this_frame((here - 10 * PAGE, 11 * PAGE), PAGE).unwrap();
        assert!(start + length < here && length > 7 * PAGE, "{here:x} {start:x} {length:x}");
        assert_eq!(below_this_frame((here + 4096 * PAGE, PAGE), PAGE), None, "another thread's");
    }
}
