//! The loop: one thread, one epoll set.

use crate::api::Request;
use crate::forgotten::Vacancy;
use crate::poller::{Poller, Token};
use crate::service::{Outcome, answer};
use crate::shim::{Answer, Shim};
use crate::task::Ticket;
use crate::ttrpc::{Code, Decoder, Frame, Status, put_response};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use orlop_core::sys::{self, Reason};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a shim that is to end waits for its last events and bytes to be taken.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long nothing must happen before memory is given back.
const QUIET: Duration = Duration::from_secs(2);
/// How long containerd has for its first call: who was given the address calls at once.
const FIRST_CALL: Duration = Duration::from_secs(600);
/// What a connection may have unanswered before it is not read from any more.
const MAX_UNSENT: usize = 8 << 20;

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    decoder: Decoder,
    unsent: Vec<u8>,
    /// The set tells when it takes more.
    blocked: bool,
}

/// A shim and those who call it.
#[derive(Debug)]
pub struct Server {
    shim: Shim,
    listener: OwnedFd,
    /// `start`, until it has said that containerd knows us.
    starter: Option<OwnedFd>,
    /// When it is over, if nobody has called until then.
    uncalled: Option<Instant>,
    signals: SignalFd,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    /// When it is over, whatever is left to do.
    end: Option<Instant>,
    /// When memory is given back, if nothing happens until then.
    trim: Option<Instant>,
    vacancy: Option<Vacancy>,
}

/// What is read by the loop, and not suffered.
fn signals_to_read() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

/// Blocks the signals that the loop reads: no thread of the shim may take one away from it.
///
/// # Errors
/// Those of `rt_sigprocmask(2)`.
pub(crate) fn block_signals() -> sys::Result<()> {
    sys::block_signals(&signals_to_read())
}

impl Server {
    /// Serves `shim` on `listener`; `starter` is the pipe of the `start` that has made it, if one has.
    ///
    /// # Errors
    /// Descriptors or memory are short.
    pub fn new(shim: Shim, listener: OwnedFd, starter: Option<OwnedFd>) -> nix::Result<Self> {
        block_signals().map_err(|e| Errno::from_raw(e.errno))?;
        let signals =
            SignalFd::with_flags(&signals_to_read(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        shim.poller.add(&signals, Token::Signals, EpollFlags::EPOLLIN)?;
        shim.poller.add(&listener, Token::Listener, EpollFlags::EPOLLIN)?;
        if let Some(starter) = &starter {
            shim.poller.add(starter, Token::Starter, EpollFlags::EPOLLIN)?;
        }
        Ok(Self {
            shim,
            listener,
            starter,
            uncalled: Some(Instant::now() + FIRST_CALL),
            signals,
            connections: BTreeMap::new(),
            next_connection: 0,
            end: None,
            trim: None,
            vacancy: None,
        })
    }

    /// It was started for `bundle`: where that is removed, containerd has forgotten it.
    #[must_use]
    pub fn of_bundle(mut self, bundle: PathBuf) -> Self {
        self.vacancy = Some(Vacancy::new(bundle));
        self
    }

    /// Serves until containerd wants no more.
    ///
    /// # Errors
    /// Waiting fails, for want of memory.
    pub fn run(mut self) -> nix::Result<()> {
        let poller: Rc<Poller> = Rc::clone(&self.shim.poller);
        let mut events = Vec::new();
        // A child may have ended before its end could be heard of.
        self.shim.reap();
        while !self.is_over() {
            if self.is_quiet() {
                self.trim = None;
                // Should it fail, the shim waits below, with more memory than it needs.
                let _ = poller.rest(self.timeout());
            }
            poller.wait(self.timeout(), &mut events)?;
            for (token, flags) in events.iter().copied() {
                self.handle(token, flags);
            }
            self.shim.publisher.flush();
            self.send_answers();
            if !events.is_empty() {
                self.trim = Some(Instant::now() + QUIET);
            }
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let look = self.vacancy.as_ref().and_then(Vacancy::next);
        let next = [self.shim.publisher.retry_at(), self.end, self.trim, self.uncalled, look];
        next.into_iter().flatten().min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Memory that a burst of calls has taken goes back when it is over; after that nothing wakes the shim.
    fn is_quiet(&self) -> bool {
        self.trim.is_some_and(|at| Instant::now() >= at)
    }

    fn end_if_forgotten(&mut self) {
        let vacant = self.shim.is_vacant();
        if self.vacancy.as_mut().is_some_and(|vacancy| vacancy.is_forgotten(vacant)) {
            log::info!("the bundle is gone, and there are no containers: the shim ends");
            self.shim.closing = true;
        }
    }

    fn is_over(&mut self) -> bool {
        self.end_if_forgotten();
        if self.uncalled.is_some_and(|at| Instant::now() >= at) {
            self.give_up("nobody has called");
        }
        if !self.shim.closing {
            return false;
        }
        let end = *self.end.get_or_insert_with(|| Instant::now() + LAST_WORDS);
        let unsent = self.connections.values().any(|connection| !connection.unsent.is_empty());
        let idle = self.shim.relays.is_empty() && self.shim.jobs.is_empty();
        let settled = self.shim.publisher.is_settled(end) && idle && !unsent;
        settled || Instant::now() >= end
    }

    fn handle(&mut self, token: Token, flags: EpollFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.take_signals(),
            Token::Publisher => self.shim.publisher.ready(flags),
            Token::Source(number) | Token::Sink(number) => self.shim.relays.ready(number),
            Token::Oom(number) => self.shim.oom(number),
            Token::Jobs => self.shim.finish_jobs(),
            Token::Starter => self.hear_starter(),
            Token::Connection(number) => {
                if flags.contains(EpollFlags::EPOLLOUT) {
                    self.write(number);
                }
                if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    self.read(number);
                }
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            // SIGTERM, SIGINT: the containers go on, as with containerd's own shims; `delete` is there for them.
            if info.ssi_signo != Signal::SIGCHLD as u32 {
                log::info!("ended by signal {}", info.ssi_signo);
                self.shim.closing = true;
            }
        }
        self.shim.reap();
    }

    /// A `start` that was killed, or could not answer, has left us without anybody who knows of us.
    fn hear_starter(&mut self) {
        let Some(starter) = &self.starter else { return };
        let ended = match nix::unistd::read(starter, &mut [0]) {
            Err(Errno::EINTR | Errno::EAGAIN) => return,
            said => said != Ok(1),
        };
        self.shim.poller.remove(starter);
        self.starter = None;
        if ended {
            self.give_up("start has ended before containerd had its answer");
        }
    }

    /// Ends a shim that nobody knows: containerd makes another one for the next container.
    fn give_up(&mut self, why: &str) {
        // Whoever was told of us by a second `start` is in the queue.
        self.accept();
        if self.uncalled.take().is_some() {
            log::warn!("{why}: the shim ends");
            self.shim.closing = true;
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match sys::accept_connection(self.listener.as_fd()) {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(e) => return log::error!("accept a connection: {e}"),
            };
            self.uncalled = None;
            let number = self.next_connection;
            self.next_connection += 1;
            if let Err(errno) = self.shim.poller.add(&socket, Token::Connection(number), EpollFlags::EPOLLIN)
            {
                log::error!("wait for a connection: {}", Reason::from(errno));
                continue;
            }
            let connection =
                Connection { socket, decoder: Decoder::default(), unsent: Vec::new(), blocked: false };
            self.connections.insert(number, connection);
            self.shim.publisher.hurry();
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(connection) = self.connections.remove(&number) {
            self.shim.poller.remove(&connection.socket);
            self.shim.forget_waiters(number);
        }
    }

    fn read(&mut self, number: u64) {
        let mut chunk = [0; 8192];
        while let Some(connection) = self.connections.get_mut(&number) {
            match nix::unistd::read(&connection.socket, &mut chunk) {
                Ok(0) => return self.close(number),
                Ok(length) => {
                    connection.decoder.feed(chunk.get(..length).unwrap_or_default());
                    self.take_calls(number);
                    if length < chunk.len() {
                        // That was all; what comes from now on is told.
                        return;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.close(number),
            }
        }
    }

    fn take_calls(&mut self, number: u64) {
        while let Some(connection) = self.connections.get_mut(&number) {
            match connection.decoder.frame() {
                Ok(None) => return,
                Err(_) => {
                    log::warn!("a peer does not speak ttrpc: its connection is closed");
                    return self.close(number);
                }
                Ok(Some(Frame::Request { stream, request })) => {
                    let ticket = Ticket { connection: number, stream };
                    if let Some(answer) = answer(self.call(ticket, &request)) {
                        self.answer(ticket, answer);
                    }
                }
                Ok(Some(Frame::Refused { stream, status: Some(status) })) => {
                    self.answer(Ticket { connection: number, stream }, Err(status));
                }
                Ok(Some(_)) => {}
            }
        }
    }

    fn call(&mut self, ticket: Ticket, request: &Request) -> Outcome {
        log::debug!("{}/{}", request.service, request.method);
        let (method, payload) = (request.method.as_str(), request.payload.as_slice());
        let outcome = match request.service.as_str() {
            "containerd.task.v2.Task" | "containerd.task.v3.Task" => {
                self.shim.call_task(ticket, method, payload)
            }
            "containerd.runtime.sandbox.v1.Sandbox" => self.shim.call_sandbox(ticket, method, payload),
            service => Err(Status::new(Code::Unimplemented, format!("service {service}: not implemented"))),
        };
        if let Err(status) = &outcome {
            log::debug!("{}: {:?}: {}", request.method, status.code, status.message);
        }
        outcome
    }

    fn send_answers(&mut self) {
        for (ticket, answer) in std::mem::take(&mut self.shim.answers) {
            self.answer(ticket, answer);
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let Some(connection) = self.connections.get_mut(&ticket.connection) else { return };
        put_response(&mut connection.unsent, ticket.stream, answer);
        if connection.unsent.len() > MAX_UNSENT {
            log::warn!("a peer calls and reads no answers: its connection is closed");
            return self.close(ticket.connection);
        }
        self.write(ticket.connection);
    }

    fn write(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        while !connection.unsent.is_empty() {
            match nix::unistd::write(&connection.socket, &connection.unsent) {
                Ok(length) => drop(connection.unsent.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                    connection.blocked = true;
                    return self.shim.poller.change(&connection.socket, Token::Connection(number), both);
                }
                Err(_) => return self.close(number),
            }
        }
        connection.unsent = Vec::new();
        if std::mem::take(&mut connection.blocked) {
            self.shim.poller.change(&connection.socket, Token::Connection(number), EpollFlags::EPOLLIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeWriter, Write, pipe};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A shim that was just made, where it is called, and what its `start` tells it by.
    fn new(name: &str) -> (Server, PathBuf, PipeWriter) {
        let path = std::env::temp_dir().join(format!("orlop-server-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let poller = Rc::new(Poller::new().unwrap());
        let shim = Shim::new(poller, "n", "/nowhere").unwrap();
        let (reader, writer) = pipe().unwrap();
        let server = Server::new(shim, listener.into(), Some(reader.into())).unwrap();
        (server, path, writer)
    }

    #[test]
    fn it_ends_with_a_start_that_could_not_answer() {
        let (mut server, path, starter) = new("gone");
        assert!(!server.is_over());
        drop(starter);
        server.hear_starter();
        assert!(server.is_over());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn it_stays_when_start_has_answered() {
        let (mut server, path, mut starter) = new("answered");
        starter.write_all(b"a").unwrap();
        drop(starter);
        server.hear_starter();
        assert!(!server.is_over() && server.starter.is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn it_stays_for_who_was_told_of_it_by_another_start() {
        let (mut server, path, starter) = new("told");
        let _peer = UnixStream::connect(&path).unwrap();
        drop(starter);
        server.hear_starter();
        assert!(!server.is_over());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn it_waits_for_the_first_call_only_and_not_for_ever() {
        for (called, over) in [(false, true), (true, false)] {
            let (mut server, path, _starter) = new(&format!("called-{called}"));
            let _peer = called.then(|| UnixStream::connect(&path).unwrap());
            assert!(server.timeout().is_some_and(|time| time <= FIRST_CALL));
            server.uncalled = Some(Instant::now());
            assert_eq!(server.is_over(), over);
            std::fs::remove_file(path).unwrap();
        }
    }
}
