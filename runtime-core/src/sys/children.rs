//! For programs that serve for long: children of which no descriptor is at hand, connections, memory given back.

#![allow(unsafe_code)]

use super::{Call, Result, call, fd, own};
use std::os::fd::{BorrowedFd, OwnedFd};

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

/// Gives memory back that a process which now waits does not need: freed heap, and the pages of its own program, which the
/// kernel keeps in its cache and maps again when they are run.
///
/// Not bare, unlike its neighbours: it asks the allocator and reads procfs.
pub fn trim_memory() {
    // SAFETY: malloc_trim may be called at any time.
    unsafe { libc::malloc_trim(0) };
    for (start, length) in program_text().into_iter().flatten() {
        // SAFETY: a private mapping of a file, never written to: its pages come back with the same bytes.  Nobody can
        // write to the file (`protect`), as it was when they were first read.
        let _ = unsafe { call!(Call::Madvise, SYS_madvise, start, length, libc::MADV_DONTNEED) };
    }
}

/// Has all threads that come take memory from where the first one does, for a program in which hardly two ever run at once: memory
/// that a thread has used for itself alone is not given back when it ends.
pub fn share_memory_among_threads() {
    // SAFETY: an integer is set, before there are threads that could look at it.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Where the code of this program is mapped, and the constants before it, as address and length.
///
/// What lies behind the code was written to when the program started (relocations), though it may be read-only now: so only
/// mappings up to the code count.
fn program_text() -> Option<Vec<(usize, usize)>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let inode = fields.nth(2)?;
        let (start, end) = range.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        match rights {
            // The heap, wherever the kernel has put it.
            _ if inode == "0" => {}
            "r--p" => found.push((start, end - start)),
            "r-xp" => {
                found.push((start, end - start));
                return Some(found);
            }
            // The first file that is mapped is the program; anything else means that it is not laid out as expected.
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_and_lives_on_without_its_pages() {
        let text = program_text().unwrap();
        let here = trim_memory as *const () as usize;
        let (start, length) = *text.last().unwrap();
        assert!((start..start + length).contains(&here), "{text:x?}");
        trim_memory();
        assert_eq!(program_text().unwrap(), text);
    }
}
