//! The seccomp filter: loaded so late that of our own calls only execve, and at most capset, are left for it to judge.

use super::{Context, Observe, hear};
use crate::launch::protocol::{FromChild, FromParent};
use crate::plan::Gate;
use crate::seccomp::Filter;
use crate::sys::{self, Call, Fd, Result, SysError};
use core::sync::atomic::{AtomicI32, Ordering};

/// Puts the filter on this thread.
pub fn load(cx: &mut Context<'_>, filter: &Filter) -> Result<()> {
    // To tell of a step takes calls that the filter may refuse.
    cx.observe = Observe::No;
    if filter.notifies() { load_and_hand_over(cx, filter) } else { put(filter, filter.flags).map(drop) }
}

fn put(filter: &Filter, flags: u32) -> Result<Option<Fd>> {
    sys::load_filter(&filter.program, flags)
}

/// What the thread that loads the filter says to the one beside it.
struct Listener {
    /// Where it is sent.
    socket: Fd,
    /// Its descriptor, once there is one.
    number: AtomicI32,
}

/// Not yet.
const PENDING: i32 = -1;
/// Never.
const FAILED: i32 = -2;

/// Puts the filter on this thread, and waits until the seccomp agent has its listener.
///
/// The filter may notify or refuse any call that could send a descriptor, also the one that waits.  So a second thread,
/// which the filter does not bind, sends it and hears that it has arrived; this one stands still meanwhile, without any
/// call.  execve would end the other thread in any case, and with it nothing is left of the arrangement.
fn load_and_hand_over(cx: &mut Context<'_>, filter: &Filter) -> Result<()> {
    /// `SECCOMP_FILTER_FLAG_TSYNC` and `TSYNC_ESRCH`
    const ALL_THREADS: u32 = 1 << 0 | 1 << 4;
    let missing = SysError { call: Call::Seccomp, errno: libc::ENOMEM };
    let stack = cx.stack.as_mut().ok_or(missing)?;
    let socket = cx.state.report.unwrap_or(cx.sync);
    let listener = Listener { socket, number: AtomicI32::new(PENDING) };
    // The other thread must stay free of it, and is gone when the program begins: on all of its threads is on the one.
    let flags = filter.flags & !ALL_THREADS;
    sys::with_thread(stack, &listener, hand_over, || {
        let loaded = put(filter, flags);
        let number = loaded.map_or(FAILED, |fd| fd.map_or(FAILED, |fd| fd.0));
        listener.number.store(number, Ordering::Release);
        loaded.map(drop)
    })?
}

/// The second thread: sends the listener as soon as there is one, and waits for the answer.
fn hand_over(listener: &Listener) {
    let number = loop {
        match listener.number.load(Ordering::Acquire) {
            // Loading takes about as long as one nap, and nobody could wake us.
            PENDING => sys::nap(),
            FAILED => return,
            number => break Fd(number),
        }
    };
    let sent = sys::send_fd(listener.socket, &FromChild::Listener.encode(), number);
    sys::close(number);
    if sent.is_err() || hear(listener.socket) != Ok(FromParent::Go(Gate::Listener)) {
        // The parent is gone, or wants us to be.
        sys::exit(1);
    }
}
