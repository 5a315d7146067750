//! The one place where the shim waits.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use orlop_core::sys;
use std::os::fd::AsFd;
use std::time::Duration;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Somebody connects.
    Listener,
    /// A child ended, or somebody wants the shim to end.
    Signals,
    /// The connection of this number.
    Connection(u64),
    /// The connection that events go out by.
    Publisher,
    /// The source of this relay.
    Source(u64),
    /// The destination of this relay.
    Sink(u64),
    /// The memory of this task ran out.
    Oom(u64),
    /// Work beside the loop has ended.
    Jobs,
    /// `start` has said that containerd has its answer, or has ended.
    Starter,
}

impl Token {
    const fn encode(self) -> u64 {
        match self {
            Self::Listener => 0,
            Self::Signals => 1,
            Self::Publisher => 2,
            Self::Connection(n) => n << 3 | 3,
            Self::Source(n) => n << 3 | 4,
            Self::Sink(n) => n << 3 | 5,
            Self::Oom(n) => n << 3 | 6,
            Self::Jobs => 7,
            // Of what has no number there is one each: with one it is something else.
            Self::Starter => 1 << 3,
        }
    }

    const fn decode(data: u64) -> Self {
        let number = data >> 3;
        match data & 7 {
            0 if number == 1 => Self::Starter,
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Publisher,
            3 => Self::Connection(number),
            4 => Self::Source(number),
            5 => Self::Sink(number),
            6 => Self::Oom(number),
            _ => Self::Jobs,
        }
    }
}

/// An epoll set.
#[derive(Debug)]
pub struct Poller(Epoll);

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> nix::Result<Self> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(Self)
    }

    /// Waits for `flags` on a descriptor.
    ///
    /// # Errors
    /// Memory is short, or the descriptor cannot be waited for.
    pub fn add(&self, fd: impl AsFd, token: Token, flags: EpollFlags) -> nix::Result<()> {
        self.0.add(fd, EpollEvent::new(flags, token.encode()))
    }

    /// Waits for other flags.
    pub fn change(&self, fd: impl AsFd, token: Token, flags: EpollFlags) {
        // A descriptor that is in the set can be changed.
        let _ = self.0.modify(fd, &mut EpollEvent::new(flags, token.encode()));
    }

    /// Waits no more.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = self.0.delete(fd);
    }

    /// Waits until something happens, for ever when `timeout` is `None`, with as little memory as may be; [`wait`](Self::wait) tells
    /// what it was.
    ///
    /// # Errors
    /// Those of `ppoll(2)` but `EINTR`.
    pub fn rest(&self, timeout: Option<Duration>) -> sys::Result<()> {
        sys::rest(self.0.0.as_fd(), timeout)
    }

    /// Waits until something happens, for ever when `timeout` is `None`; what happened goes to `events`.
    ///
    /// # Errors
    /// Those of `epoll_wait(2)` but `EINTR`.
    pub fn wait(&self, timeout: Option<Duration>, events: &mut Vec<(Token, EpollFlags)>) -> nix::Result<()> {
        let mut buffer = [EpollEvent::empty(); 16];
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            // Rounded up, or the last part of a millisecond would be waited for by running in circles.
            Some(left) => {
                EpollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
            }
        };
        events.clear();
        match self.0.wait(&mut buffer, timeout) {
            Ok(count) => {
                events.extend(buffer.iter().take(count).map(|e| (Token::decode(e.data()), e.events())));
                Ok(())
            }
            Err(nix::Error::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_survive() {
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Publisher,
            Token::Connection(7),
            Token::Source(1 << 40),
            Token::Sink(0),
            Token::Oom(3),
            Token::Jobs,
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
