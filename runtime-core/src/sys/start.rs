//! What a program of ours does between the C library and its own `main`, in place of the standard library's start.
//!
//! The standard library finds out where the stack ends, from `/proc/self/maps`, and makes a second stack, on which a handler could
//! say that the first has overflowed; and then one for each thread, with a panic where there is no memory for it.  What is left here
//! is what a program must have: descriptors 0 to 2 are open, and to write where nobody reads is an error that can be told.

#![allow(unsafe_code)]

use super::{Call, Fd, Result, call, fd};
use core::ffi::CStr;

/// Makes the function `$main`, which takes nothing and returns the exit status as [`u8`], the `main` of a program that is marked
/// `#![no_main]`.
///
/// Arguments and environment are read as ever (`std::env`), what was printed is written out at the end, and a panic ends the
/// program; but a stack that overflows is a plain `SIGSEGV`, and the first thread has no name.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// What the C library calls.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> ::core::ffi::c_int {
            $crate::sys::start_program();
            $crate::protect::keep_own_mount();
            ::std::process::exit(i32::from($main()))
        }
    };
}

/// The start of a program, for [`program!`](crate::program), before anything else: it changes the process as a whole.
#[doc(hidden)]
pub fn start_program() {
    // A descriptor that is missing would be given to the next file that is opened, and messages would be written to that.
    let closed = closed_stdio();
    for n in (0..3).filter(|n| closed & (1 << n) != 0) {
        if open_for_all(c"/dev/null") != Ok(Fd(n)) {
            super::exit(127);
        }
    }
    // It cannot fail for this signal.
    let _ = super::process::ignore_signal(libc::SIGPIPE);
}

/// Which of descriptors 0 to 2 are not open, a bit for each.
fn closed_stdio() -> u8 {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes three structs pollfd, which live here, and reads one timespec; there is no signal mask.
    let asked = unsafe {
        call!(
            Call::Poll,
            SYS_ppoll,
            fds.as_mut_ptr(),
            fds.len(),
            &raw const now,
            core::ptr::null::<u8>(),
            size_of::<u64>()
        )
    };
    let closed = |answer: &libc::pollfd| asked.is_ok() && answer.revents & libc::POLLNVAL != 0;
    fds.iter().zip(0..).fold(0, |bits, (answer, n)| bits | u8::from(closed(answer)) << n)
}

/// Opens a file to read and write, and for the programs that this one executes too.
fn open_for_all(path: &CStr) -> Result<Fd> {
    // SAFETY: `path` is NUL-terminated and only read.
    unsafe { call!(Call::Openat, SYS_openat, Fd::CWD, path, libc::O_RDWR, 0) }.map(fd)
}

/// The name by which the kernel was asked to execute this program (`AT_EXECFN` of `getauxval(3)`).
#[must_use]
pub fn executed_as() -> Option<&'static CStr> {
    // SAFETY: getauxval only reads the auxiliary vector of this process.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) };
    // SAFETY: where it is not 0, it is the address of a C string that the kernel has put above the stack, which stays as it is.
    (name != 0).then(|| unsafe { CStr::from_ptr(name as *const libc::c_char) })
}
