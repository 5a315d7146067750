//! Events on their way to containerd: one after the other, kept until containerd has taken them.
//!
//! containerd serves calls side by side, so the next event goes out when the one before was answered: that is what keeps them
//! in order.  When containerd is away, the queue waits: it is tried again a few times, and then whenever containerd calls.

use crate::address;
use crate::api::{Any, Envelope, ForwardRequest, Request, Timestamp};
use crate::poller::{Poller, Token};
use crate::ttrpc::{Decoder, Frame, put_request};
use crate::wire::Message;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use orlop_core::sys::Reason;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
/// Events that are kept; the oldest go first.
const MAX_QUEUE: usize = 4096;
/// The first pause after a failure; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(50);
/// Failures in a row after which only a call of containerd's brings another attempt.
const ATTEMPTS: u32 = 12;
/// How often an event is sent that containerd refuses.
const REFUSALS: u32 = 5;

#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    decoder: Decoder,
    /// Bytes of the event under way that the socket has not taken.
    unsent: Vec<u8>,
    /// The stream of the event under way.
    stream: Option<u32>,
    next_stream: u32,
}

/// The queue, and the connection it goes out by.
#[derive(Debug)]
pub struct Publisher {
    poller: Rc<Poller>,
    address: PathBuf,
    namespace: String,
    queue: VecDeque<Vec<u8>>,
    link: Option<Link>,
    failures: u32,
    refusals: u32,
    retry_at: Option<Instant>,
}

impl Publisher {
    /// Publishes at containerd's ttrpc socket.
    #[must_use]
    pub fn new(poller: Rc<Poller>, address: &str, namespace: &str) -> Self {
        Self {
            poller,
            address: PathBuf::from(address.strip_prefix("unix://").unwrap_or(address)),
            namespace: namespace.to_owned(),
            queue: VecDeque::new(),
            link: None,
            failures: 0,
            refusals: 0,
            retry_at: None,
        }
    }

    /// Queues an event; [`Publisher::flush`] sends it.
    pub fn publish(&mut self, topic: &str, event: Any) {
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event),
        };
        if self.queue.len() == MAX_QUEUE {
            log::warn!("containerd takes no events: the oldest of {MAX_QUEUE} is dropped");
            self.queue.pop_front();
        }
        self.queue.push_back(ForwardRequest { envelope: Some(envelope) }.encode());
    }

    /// When [`Publisher::flush`] is to be called again, though nothing has happened.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether everything was delivered, or nobody is there to deliver it to.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() || (self.link.is_none() && self.retry_at.is_none())
    }

    /// containerd is there: it has called.
    pub fn containerd_called(&mut self) {
        if self.link.is_none() && !self.queue.is_empty() {
            self.failures = 0;
            self.retry_at = None;
            self.flush();
        }
    }

    /// Sends what can be sent.
    pub fn flush(&mut self) {
        if self.queue.is_empty() || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        if self.link.is_none() {
            match self.connect() {
                Ok(link) => self.link = Some(link),
                Err(errno) => return self.failed(&format!("connect to containerd: {}", Reason::from(errno))),
            }
        }
        self.send();
    }

    fn connect(&self) -> nix::Result<Link> {
        let socket = address::dial(&self.address)?;
        self.poller.add(&socket, Token::Publisher, EpollFlags::EPOLLIN)?;
        Ok(Link { socket, decoder: Decoder::default(), unsent: Vec::new(), stream: None, next_stream: 1 })
    }

    fn send(&mut self) {
        let (Some(link), Some(payload)) = (&mut self.link, self.queue.front()) else { return };
        if link.stream.is_none() {
            let request = Request {
                service: SERVICE.to_owned(),
                method: "Forward".to_owned(),
                payload: payload.clone(),
                ..Request::default()
            };
            put_request(&mut link.unsent, link.next_stream, &request);
            link.stream = Some(link.next_stream);
            link.next_stream = link.next_stream.wrapping_add(2);
        }
        while !link.unsent.is_empty() {
            match nix::unistd::write(&link.socket, &link.unsent) {
                Ok(length) => drop(link.unsent.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let both = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
                    return self.poller.change(&link.socket, Token::Publisher, both);
                }
                Err(errno) => return self.broken(&format!("send an event: {}", Reason::from(errno))),
            }
        }
        link.unsent = Vec::new();
    }

    /// The connection has something to tell.
    pub fn ready(&mut self, events: EpollFlags) {
        if events.contains(EpollFlags::EPOLLOUT)
            && let Some(link) = &self.link
        {
            self.poller.change(&link.socket, Token::Publisher, EpollFlags::EPOLLIN);
            self.send();
        }
        let mut chunk = [0; 1024];
        while let Some(link) = &mut self.link {
            match nix::unistd::read(&link.socket, &mut chunk) {
                Ok(0) => return self.broken("containerd has closed the connection"),
                Ok(length) => {
                    link.decoder.feed(chunk.get(..length).unwrap_or_default());
                    self.take_answers();
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(errno) => return self.broken(&Reason::from(errno).to_string()),
            }
        }
        self.flush();
    }

    fn take_answers(&mut self) {
        while let Some(link) = &mut self.link {
            match link.decoder.frame() {
                Ok(None) => return,
                Err(_) => return self.broken("containerd does not speak ttrpc"),
                Ok(Some(Frame::Response { stream, response })) if link.stream == Some(stream) => {
                    link.stream = None;
                    match response.status.filter(|status| status.code != 0) {
                        None => self.delivered(),
                        Some(status) => return self.refused(&status.message),
                    }
                }
                Ok(Some(_)) => {}
            }
        }
    }

    fn delivered(&mut self) {
        self.queue.pop_front();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        (self.failures, self.refusals) = (0, 0);
    }

    fn refused(&mut self, message: &str) {
        self.refusals += 1;
        if self.refusals < REFUSALS {
            return self.failed(message);
        }
        log::error!("containerd refuses an event, which is dropped: {message}");
        self.delivered();
    }

    fn broken(&mut self, why: &str) {
        if let Some(link) = self.link.take() {
            self.poller.remove(&link.socket);
        }
        if !self.queue.is_empty() {
            self.failed(why);
        }
    }

    fn failed(&mut self, why: &str) {
        self.failures += 1;
        log::debug!("{} events wait: {why}", self.queue.len());
        self.retry_at =
            (self.failures <= ATTEMPTS).then(|| Instant::now() + PAUSE * 2_u32.pow(self.failures.min(8)));
    }
}
