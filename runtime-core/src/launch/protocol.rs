//! What parent half and child half say to each other (invariant I10).
//!
//! One pair of sequenced-packet sockets; a record is one packet of [`SIZE`] bytes.
//!
//! ```text
//!   parent                                   stage (only when namespaces are joined first)
//!     | ---- clone3 ------------------------> | setns …, clone3(CLONE_PARENT)
//!     | <------------------- Forked(pid) ---- | exits
//!                                            child
//!     | ---- Go(Maps) ----------------------> |   id maps are written
//!     | <---------------- StepDone(n, t) ---- |   only when observed; answered by Continue in lockstep
//!     | ---- Go(Cgroup) --------------------> |   cgroup and network devices are in place; with it come the `tasks` files of
//!     |                                       |   the groups of version 1 that the child is to enter, if it is to (`SCM_RIGHTS`)
//!     | <------------------------ AtHooks --- |   only when there are hooks before pivot_root
//!     | ---- Go(Hooks) ---------------------> |
//!     | <-------------------------- Ready --- |   all is done but execve
//!     | ---- Start -------------------------> |   run: here; create: by `start`, over start.sock
//!     | <------------------ Listener(fd) ---- |   only when calls are notified; by a thread without the filter
//!     | ---- Go(Listener) ------------------> |   the seccomp agent has it
//!     | <--------------- end of file -------- |   execve succeeded (the socket is close-on-exec)
//!     | <------- Failed(step, call, errno) -- |   at any time instead; the child then exits
//! ```
//!
//! The parent opens a gate when its own work is done, also while the child is not there yet: the record waits in the
//! socket, or in lockstep is noted by the child.  A child that finds its parent gone (end of file, `EPIPE`) exits without a word.

use crate::plan::Gate;
use crate::sys::{self, Call, Fd, SysError};

/// Bytes of a record.
pub const SIZE: usize = 24;

/// What the child half says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromChild {
    /// The stage has made the container's process.
    Forked {
        /// Its pid, in the parent's pid namespace.
        pid: i32,
    },
    /// A step is done.
    StepDone {
        /// Index in [`crate::plan::Plan::child`].
        step: u16,
        /// When ([`sys::clock_ns`]).
        time: u64,
    },
    /// Stands before pivot_root, and waits for the hooks.
    AtHooks,
    /// All is done but execve.
    Ready,
    /// The filter is in force; its listener comes with the record (`SCM_RIGHTS`).
    Listener,
    /// A step failed, and with it the launch.
    Failed {
        /// Index in [`crate::plan::Plan::child`]; [`STAGE`] for the joining before the first.
        step: u16,
        /// Why.
        error: SysError,
    },
}

/// Step number of what happens before the first step: joining namespaces in the stage.
pub const STAGE: u16 = u16::MAX;

/// What the parent half says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromParent {
    /// Go past a gate.
    Go(Gate),
    /// Answer to a step in lockstep.
    Continue,
    /// Run the program.
    Start,
}

/// A record, taken apart: kind, step, call, errno or pid, time.
type Fields = (u16, u16, u16, i32, u64);

fn pack((kind, step, call, value, time): Fields) -> [u8; SIZE] {
    let mut r = [0; SIZE];
    let (head, tail) = r.split_at_mut(8);
    let words = [kind.to_ne_bytes(), step.to_ne_bytes(), call.to_ne_bytes()];
    for (to, from) in head.iter_mut().zip(words.iter().flatten()) {
        *to = *from;
    }
    for (to, from) in
        tail.iter_mut().zip(value.to_ne_bytes().iter().chain(&[0; 4]).chain(&time.to_ne_bytes()))
    {
        *to = *from;
    }
    r
}

fn unpack(r: &[u8]) -> Option<Fields> {
    let r: &[u8; SIZE] = r.try_into().ok()?;
    let half = |i: usize| u16::from_ne_bytes([r[i], r[i + 1]]);
    let value = i32::from_ne_bytes([r[8], r[9], r[10], r[11]]);
    let time = u64::from_ne_bytes([r[16], r[17], r[18], r[19], r[20], r[21], r[22], r[23]]);
    Some((half(0), half(2), half(4), value, time))
}

impl FromChild {
    /// The record.
    #[must_use]
    pub fn encode(self) -> [u8; SIZE] {
        pack(match self {
            Self::Forked { pid } => (1, 0, 0, pid, 0),
            Self::StepDone { step, time } => (2, step, 0, 0, time),
            Self::AtHooks => (3, 0, 0, 0, 0),
            Self::Ready => (4, 0, 0, 0, 0),
            Self::Failed { step, error } => (5, step, error.call as u16, error.errno, 0),
            Self::Listener => (6, 0, 0, 0, 0),
        })
    }

    /// Reads a record; `None` when it is none.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (kind, step, call, value, time) = unpack(record)?;
        Some(match kind {
            1 => Self::Forked { pid: value },
            2 => Self::StepDone { step, time },
            3 => Self::AtHooks,
            4 => Self::Ready,
            5 => Self::Failed { step, error: SysError { call: Call::from_number(call)?, errno: value } },
            6 => Self::Listener,
            _ => return None,
        })
    }
}

impl FromParent {
    /// The record.
    #[must_use]
    pub fn encode(self) -> [u8; SIZE] {
        pack(match self {
            Self::Go(gate) => (1, gate as u16, 0, 0, 0),
            Self::Continue => (2, 0, 0, 0, 0),
            Self::Start => (3, 0, 0, 0, 0),
        })
    }

    /// Reads a record; `None` when it is none.
    #[must_use]
    pub fn decode(record: &[u8]) -> Option<Self> {
        let (kind, gate, ..) = unpack(record)?;
        Some(match kind {
            1 => Self::Go(Gate::ALL.into_iter().find(|g| *g as u16 == gate)?),
            2 => Self::Continue,
            3 => Self::Start,
            _ => return None,
        })
    }
}

/// Sends a record.
///
/// # Errors
/// Those of `send(2)`; `EPIPE` when the peer is gone.
pub fn send(socket: Fd, record: &[u8; SIZE]) -> sys::Result<()> {
    sys::send(socket, record)
}

/// Where a launch stands, as the parent sees it: which records the child may send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the stage to fork.
    Joining,
    /// The child walks its steps.
    Walking {
        /// It will stop at [`Gate::Hooks`] once more.
        hooks: bool,
    },
    /// The child waits for start.
    Ready,
    /// Start was said.
    Started {
        /// It will send the listener of its filter.
        listener: bool,
    },
}

impl Stage {
    /// The stage after the child said `message`; `None` when it had no right to.
    #[must_use]
    pub fn after(self, message: FromChild) -> Option<Self> {
        match (self, message) {
            (Self::Joining, FromChild::Forked { pid }) if pid > 0 => Some(Self::Walking { hooks: true }),
            (_, FromChild::Failed { .. })
            | (Self::Walking { .. } | Self::Started { .. }, FromChild::StepDone { .. }) => Some(self),
            (Self::Started { listener: true }, FromChild::Listener) => {
                Some(Self::Started { listener: false })
            }
            (Self::Walking { hooks: true }, FromChild::AtHooks) => Some(Self::Walking { hooks: false }),
            (Self::Walking { .. }, FromChild::Ready) => Some(Self::Ready),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_wire() {
        let error = SysError { call: Call::MoveMount, errno: libc::EACCES };
        let said = [
            FromChild::Forked { pid: 4711 },
            FromChild::StepDone { step: 9, time: u64::MAX - 5 },
            FromChild::AtHooks,
            FromChild::Ready,
            FromChild::Listener,
            FromChild::Failed { step: STAGE, error },
        ];
        for m in said {
            assert_eq!(FromChild::decode(&m.encode()), Some(m));
        }
        let gates = Gate::ALL.map(FromParent::Go);
        for m in gates.into_iter().chain([FromParent::Continue, FromParent::Start]) {
            assert_eq!(FromParent::decode(&m.encode()), Some(m));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(FromChild::decode(&[]), None);
        assert_eq!(FromChild::decode(&[0; SIZE]), None);
        assert_eq!(FromChild::decode(&[1; SIZE + 1]), None);
        assert_eq!(FromParent::decode(&pack((1, 77, 0, 0, 0))), None);
        assert_eq!(FromChild::decode(&pack((5, 0, u16::MAX, 1, 0))), None);
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let walking = Stage::Walking { hooks: true };
        assert_eq!(walking.after(FromChild::Ready), Some(Stage::Ready));
        assert_eq!(Stage::Ready.after(FromChild::Ready), None);
        assert_eq!(Stage::Joining.after(FromChild::Ready), None);
        assert_eq!(walking.after(FromChild::Forked { pid: 1 }), None);
        assert_eq!(Stage::Joining.after(FromChild::Forked { pid: -1 }), None);
        let past_hooks = walking.after(FromChild::AtHooks).unwrap();
        assert_eq!(past_hooks.after(FromChild::AtHooks), None);
        assert_eq!(walking.after(FromChild::Listener), None);
        assert_eq!(Stage::Started { listener: false }.after(FromChild::Listener), None);
        let sent = Stage::Started { listener: true }.after(FromChild::Listener).unwrap();
        assert_eq!(sent.after(FromChild::Listener), None);
        let error = SysError { call: Call::Read, errno: 5 };
        assert_eq!(Stage::Ready.after(FromChild::Failed { step: 0, error }), Some(Stage::Ready));
    }
}
