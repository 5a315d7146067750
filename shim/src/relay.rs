//! Moves bytes between two descriptors, where the container cannot have the client's fifo itself: terminals, and confined
//! processes.  A reader that does not read stops the writer; nothing is thrown away.

use crate::poller::{Poller, Token};
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Rounds before others get their turn.
const ROUNDS: usize = 16;
/// What a terminal hands out at once.
const CHUNK: usize = 4096;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// From pipe to pipe, within the kernel.
    Splice,
    /// Through memory: terminals cannot be spliced on every kernel.
    Copy,
}

#[derive(Debug)]
struct Relay {
    from: OwnedFd,
    to: OwnedFd,
    how: How,
    /// Read and not written yet.
    pending: Vec<u8>,
    /// When nothing is left to read, that is the end.
    finishing: bool,
    waiting: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Source,
    Sink,
}

enum Progress {
    Wait(Wait),
    Done,
}

impl Relay {
    fn pump(&mut self) -> Progress {
        for _ in 0..ROUNDS {
            let step = match self.how {
                How::Splice => self.splice(),
                How::Copy => self.copy(),
            };
            match step {
                None => {}
                Some(Progress::Wait(Wait::Source)) if self.finishing => return Progress::Done,
                Some(progress) => return progress,
            }
        }
        // Or nobody would tell: another process may hold the other end for ever.
        if self.finishing && self.pending.is_empty() && !self.has_more() {
            return Progress::Done;
        }
        // The set tells again at once.
        Progress::Wait(if self.pending.is_empty() { Wait::Source } else { Wait::Sink })
    }

    fn has_more(&self) -> bool {
        let mut source = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
        poll(&mut source, PollTimeout::ZERO).unwrap_or(0) > 0
    }

    fn splice(&self) -> Option<Progress> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match splice(&self.from, None, &self.to, None, 1 << 16, flags) {
            Ok(0) => Some(Progress::Done),
            Ok(_) | Err(Errno::EINTR) => None,
            // It does not say which of the two.
            Err(Errno::EAGAIN) => {
                let mut sink = [PollFd::new(self.to.as_fd(), PollFlags::POLLOUT)];
                let ready = poll(&mut sink, PollTimeout::ZERO).unwrap_or(0) > 0;
                Some(Progress::Wait(if ready { Wait::Source } else { Wait::Sink }))
            }
            Err(_) => Some(Progress::Done),
        }
    }

    fn copy(&mut self) -> Option<Progress> {
        if self.pending.is_empty() {
            let mut chunk = [0; CHUNK];
            match nix::unistd::read(&self.from, &mut chunk) {
                Ok(0) => return Some(Progress::Done),
                Ok(length) => self.pending.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                Err(Errno::EINTR) => return None,
                Err(Errno::EAGAIN) => return Some(Progress::Wait(Wait::Source)),
                // EIO: nobody has the terminal any more.
                Err(_) => return Some(Progress::Done),
            }
        }
        match nix::unistd::write(&self.to, &self.pending) {
            Ok(length) => {
                self.pending.drain(..length);
                if self.pending.is_empty() {
                    self.pending = Vec::new();
                }
                None
            }
            Err(Errno::EINTR) => None,
            Err(Errno::EAGAIN) => Some(Progress::Wait(Wait::Sink)),
            Err(_) => Some(Progress::Done),
        }
    }
}

/// All relays of a shim.
#[derive(Debug)]
pub struct Relays {
    poller: Rc<Poller>,
    relays: BTreeMap<u64, Relay>,
    next: u64,
}

impl Relays {
    /// None yet.
    #[must_use]
    pub const fn new(poller: Rc<Poller>) -> Self {
        Self { poller, relays: BTreeMap::new(), next: 0 }
    }

    /// Begins to move bytes; both descriptors must be non-blocking.
    ///
    /// # Errors
    /// They cannot be waited for.
    pub fn add(&mut self, from: OwnedFd, to: OwnedFd, how: How) -> nix::Result<u64> {
        let number = self.next;
        self.poller.add(&from, Token::Source(number), EpollFlags::EPOLLIN)?;
        self.next += 1;
        let relay = Relay { from, to, how, pending: Vec::new(), finishing: false, waiting: Wait::Source };
        self.relays.insert(number, relay);
        Ok(number)
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relays.is_empty()
    }

    /// One of its two sides is ready.
    pub fn ready(&mut self, number: u64) {
        let Some(relay) = self.relays.get_mut(&number) else { return };
        match relay.pump() {
            Progress::Done => self.remove(number),
            Progress::Wait(wait) if wait == relay.waiting => {}
            Progress::Wait(wait) => {
                // One of the two is in the set, never both: a side that is not waited for would be told of all the same when
                // its other end closes.
                let (from, to) = (&relay.from, &relay.to);
                let added = match wait {
                    Wait::Sink => {
                        self.poller.remove(from);
                        self.poller.add(to, Token::Sink(number), EpollFlags::EPOLLOUT)
                    }
                    Wait::Source => {
                        self.poller.remove(to);
                        self.poller.add(from, Token::Source(number), EpollFlags::EPOLLIN)
                    }
                };
                relay.waiting = wait;
                if added.is_err() {
                    self.remove(number);
                }
            }
        }
    }

    /// No more will come than is there now: moves that, and ends.
    pub fn finish(&mut self, number: u64) {
        if let Some(relay) = self.relays.get_mut(&number) {
            relay.finishing = true;
            self.ready(number);
        }
    }

    /// Ends it here and now.
    pub fn remove(&mut self, number: u64) {
        if let Some(relay) = self.relays.remove(&number) {
            match relay.waiting {
                Wait::Source => self.poller.remove(&relay.from),
                Wait::Sink => self.poller.remove(&relay.to),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::unistd::{pipe2, read, write};
    use std::time::Duration;

    fn run(relays: &mut Relays, poller: &Poller) {
        let mut events = Vec::new();
        while {
            poller.wait(Some(Duration::from_millis(20)), &mut events).unwrap();
            !events.is_empty()
        } {
            for (token, _) in &events {
                let (Token::Source(n) | Token::Sink(n)) = token else { panic!("{token:?}") };
                relays.ready(*n);
            }
        }
    }

    /// Ten times what fits into the pipes between, through a reader that comes late: all of it, in order.
    fn nothing_is_lost(how: How) {
        let poller = Rc::new(Poller::new().unwrap());
        let mut relays = Relays::new(Rc::clone(&poller));
        let (from, writer) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let (reader, to) = pipe2(OFlag::O_NONBLOCK).unwrap();
        relays.add(from, to, how).unwrap();
        let data: Vec<u8> =
            (0..1_300_000_u32).flat_map(|n| [n.to_le_bytes()[0], n.to_le_bytes()[1]]).collect();
        let (mut sent, mut got) = (0, Vec::new());
        let mut buffer = vec![0; 1 << 16];
        while got.len() < data.len() {
            while let Ok(length) = write(&writer, &data[sent..data.len().min(sent + 5000)]) {
                sent += length;
                if sent == data.len() {
                    break;
                }
            }
            run(&mut relays, &poller);
            while let Ok(length) = read(&reader, &mut buffer) {
                got.extend_from_slice(&buffer[..length]);
            }
        }
        assert!(got == data, "{how:?}");
        drop(writer);
        run(&mut relays, &poller);
        assert!(relays.is_empty());
        assert_eq!(read(&reader, &mut buffer), Ok(0), "the end is passed on");
    }

    #[test]
    fn a_slow_reader_gets_all() {
        nothing_is_lost(How::Splice);
        nothing_is_lost(How::Copy);
    }

    #[test]
    fn a_reader_that_is_gone_ends_it() {
        let poller = Rc::new(Poller::new().unwrap());
        let mut relays = Relays::new(Rc::clone(&poller));
        let (from, writer) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let (reader, to) = pipe2(OFlag::O_NONBLOCK).unwrap();
        relays.add(from, to, How::Splice).unwrap();
        drop(reader);
        write(&writer, b"x").unwrap();
        run(&mut relays, &poller);
        assert!(relays.is_empty());
        assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
    }

    #[test]
    fn what_is_there_at_the_end_is_still_moved() {
        let poller = Rc::new(Poller::new().unwrap());
        let mut relays = Relays::new(poller);
        let (from, writer) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let (reader, to) = pipe2(OFlag::O_NONBLOCK).unwrap();
        let number = relays.add(from, to, How::Copy).unwrap();
        write(&writer, b"last").unwrap();
        relays.finish(number);
        assert!(relays.is_empty());
        let mut buffer = [0; 8];
        assert_eq!(read(&reader, &mut buffer), Ok(4));
    }
}
