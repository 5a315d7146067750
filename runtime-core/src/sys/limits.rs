//! Limits of resources (`prlimit(2)`).

#![allow(unsafe_code)]

use super::{Call, Result, call};
use core::sync::atomic::{AtomicU64, Ordering};

/// Sets soft and hard limit of `resource` (`RLIMIT_*`) for the calling process.
///
/// # Errors
/// Those of `prlimit(2)`.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    prlimit(0, resource, soft, hard)
}

/// Sets soft and hard limit of `resource` for process `pid`; 0 is the caller.
///
/// # Errors
/// Those of `prlimit(2)`.
pub fn prlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit: [u64; 2] = [soft, hard];
    // SAFETY: the call reads one struct rlimit64, and the old value is not asked for.
    unsafe { call!(Call::Prlimit, SYS_prlimit64, pid, resource, limit.as_ptr(), core::ptr::null::<u8>()) }
        .map(drop)
}

/// Soft and hard limit of open files before they were raised; 0 while they were not.
static INHERITED_OPEN_FILES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Raises the soft limit of open files (`RLIMIT_NOFILE`) to the hard one for this process, as a program may that does not use
/// `select(2)`; whom [`clone3`](super::clone3) makes after that begins with the limit that was.  For the `main` of a program, once.
///
/// # Errors
/// Those of `prlimit(2)`.
pub fn raise_open_files() -> Result<()> {
    let mut limit = [0u64; 2];
    // SAFETY: the call writes one struct rlimit64, and no new value is given.
    unsafe {
        call!(
            Call::Prlimit,
            SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            core::ptr::null::<u8>(),
            limit.as_mut_ptr()
        )
    }?;
    let [soft, hard] = limit;
    if soft < hard {
        setrlimit(libc::RLIMIT_NOFILE, hard, hard)?;
        for (kept, value) in INHERITED_OPEN_FILES.iter().zip(limit) {
            kept.store(value, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// In a child: the limit that [`raise_open_files`] has found.
pub(super) fn return_open_files() {
    let [soft, hard] = &INHERITED_OPEN_FILES;
    let hard = hard.load(Ordering::SeqCst);
    if hard != 0 {
        // A soft limit may always be lowered; if it cannot, because somebody has lowered the hard one, it is as good as that.
        let _ = setrlimit(libc::RLIMIT_NOFILE, soft.load(Ordering::SeqCst), hard);
    }
}
