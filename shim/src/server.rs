//! The loop: one thread, one epoll set.

use crate::address::Listener;
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
use orlop_core::sys::{self, Reason, SysError};
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
/// How many bytes of answers a connection may leave unread before it is closed.
const MAX_UNSENT: usize = 8 << 20;
/// How long nobody is accepted after that has failed: for want of descriptors, which others have to close first.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Methods that begin something, which a shim that ends does not do any more.
const BEGINNINGS: [&str; 5] = ["Create", "Start", "Exec", "CreateSandbox", "StartSandbox"];

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
    listener: Listener,
    /// When accepting is tried again, which has failed.
    accept_at: Option<Instant>,
    /// That it fails was logged.
    accept_fails: bool,
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
    pub fn new(shim: Shim, listener: Listener, starter: Option<OwnedFd>) -> nix::Result<Self> {
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
            accept_at: None,
            accept_fails: false,
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
            self.listen_again();
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
        let next = [self.shim.publisher.retry_at(), self.end, self.trim, self.uncalled, self.accept_at, look];
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
        let end = self.close_down();
        let unsent = self.connections.values().any(|connection| !connection.unsent.is_empty());
        let idle = self.shim.relays.is_empty() && self.shim.jobs.is_empty();
        let settled = self.shim.publisher.is_settled(end) && idle && !unsent;
        settled || Instant::now() >= end
    }

    /// It is to end: whoever comes from now on is to find another one.  When it is over at the latest.
    fn close_down(&mut self) -> Instant {
        if let Some(end) = self.end {
            return end;
        }
        self.listener.leave();
        self.shim.publisher.hurry();
        *self.end.insert(Instant::now() + LAST_WORDS)
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
                Err(e) => return self.stop_listening(&e),
            };
            self.accept_fails = false;
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

    /// Whoever waits to be accepted would be told of at once again, and the shim would do nothing else.
    fn stop_listening(&mut self, why: &SysError) {
        if !std::mem::replace(&mut self.accept_fails, true) {
            log::error!("accept a connection: {why}: tried again every second");
        }
        self.shim.poller.change(&self.listener, Token::Listener, EpollFlags::empty());
        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
    }

    fn listen_again(&mut self) {
        if self.accept_at.is_some_and(|at| Instant::now() >= at) {
            self.accept_at = None;
            self.shim.poller.change(&self.listener, Token::Listener, EpollFlags::EPOLLIN);
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
            _ if self.shim.closing && BEGINNINGS.contains(&method) => {
                Err(Status::new(Code::Unavailable, "the shim ends: try again, with another one"))
            }
            "containerd.task.v2.Task" | "containerd.task.v3.Task" => {
                self.shim.call_task(ticket, method, payload)
            }
            "containerd.runtime.sandbox.v1.Sandbox" => self.shim.call_sandbox(ticket, method, payload),
            service => Err(Status::new(Code::Unimplemented, format!("service {service}: not implemented"))),
        };
        if self.shim.closing {
            // Before the answer: who has it may start another one at once.
            self.close_down();
        }
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
        let listener = Listener::new(listener.into()).unwrap();
        let server = Server::new(shim, listener, Some(reader.into())).unwrap();
        (server, path, writer)
    }

    #[test]
    fn it_ends_with_a_start_that_could_not_answer() {
        let (mut server, path, starter) = new("gone");
        assert!(!server.is_over());
        drop(starter);
        server.hear_starter();
        assert!(server.is_over());
        assert!(!path.exists());
    }

    #[test]
    fn it_stays_when_start_has_answered() {
        let (mut server, _, mut starter) = new("answered");
        starter.write_all(b"a").unwrap();
        drop(starter);
        server.hear_starter();
        assert!(!server.is_over() && server.starter.is_none());
    }

    #[test]
    fn it_stays_for_who_was_told_of_it_by_another_start() {
        let (mut server, path, starter) = new("told");
        let _peer = UnixStream::connect(&path).unwrap();
        drop(starter);
        server.hear_starter();
        assert!(!server.is_over());
    }

    #[test]
    fn it_waits_for_the_first_call_only_and_not_for_ever() {
        for (called, over) in [(false, true), (true, false)] {
            let (mut server, path, _starter) = new(&format!("called-{called}"));
            let _peer = called.then(|| UnixStream::connect(&path).unwrap());
            assert!(server.timeout().is_some_and(|time| time <= FIRST_CALL));
            server.uncalled = Some(Instant::now());
            assert_eq!(server.is_over(), over);
        }
    }

    fn call(server: &mut Server, service: &str, method: &str) -> Outcome {
        let (service, method) = (service.to_owned(), method.to_owned());
        server.call(Ticket { connection: 0, stream: 1 }, &Request { service, method, ..Request::default() })
    }

    const TASK: &str = "containerd.task.v3.Task";
    const SANDBOX: &str = "containerd.runtime.sandbox.v1.Sandbox";

    #[test]
    fn its_address_is_free_before_it_says_that_it_ends() {
        for (service, method) in [(TASK, "Shutdown"), (SANDBOX, "ShutdownSandbox")] {
            let (mut server, path, _starter) = new(method);
            assert!(path.exists());
            assert!(call(&mut server, service, method).is_ok());
            assert!(!path.exists());
            let _next = UnixListener::bind(&path).unwrap();
            assert!(server.is_over());
            drop(server);
            assert!(path.exists(), "the next shim's is not touched");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_shim_that_ends_begins_nothing() {
        let (mut server, _, _starter) = new("ends");
        assert!(call(&mut server, SANDBOX, "CreateSandbox").is_ok());
        assert!(call(&mut server, TASK, "Shutdown").is_ok());
        for (service, method) in
            [(TASK, "Create"), (TASK, "Start"), (TASK, "Exec"), (SANDBOX, "StartSandbox")]
        {
            let status = call(&mut server, service, method).unwrap_err();
            assert_eq!(status.code, Code::Unavailable, "{method}: {status:?}");
        }
        // What there is can be looked at, and ended.
        assert!(call(&mut server, SANDBOX, "SandboxStatus").is_ok());
        assert_eq!(call(&mut server, TASK, "State").unwrap_err().code, Code::NotFound);
        assert!(server.shim.creating.is_empty());
    }
}
