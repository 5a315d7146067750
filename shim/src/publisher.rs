//! Events on their way to containerd: one after the other, kept until containerd has taken them.
//!
//! containerd serves calls side by side, so the next event goes out when the one before was answered: that is what keeps them
//! in order.  When containerd is away, the queue waits, and is tried again for as long as something is in it: ever less often, and at
//! once when containerd calls.

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
/// The first pause after a failure; each is twice the one before, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.  A containerd that comes back calls, so that this need not be short; but it may call before it takes events.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
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

/// How long to wait after a failure that `failures` came before without a success.
fn pause(failures: u32) -> Duration {
    2_u32.checked_pow(failures).map_or(LONGEST_PAUSE, |times| PAUSE.saturating_mul(times).min(LONGEST_PAUSE))
}

/// The queue, and the connection it goes out by.
#[derive(Debug)]
pub struct Publisher {
    poller: Rc<Poller>,
    address: PathBuf,
    namespace: String,
    queue: VecDeque<Vec<u8>>,
    /// How many were dropped since containerd took one.
    dropped: u64,
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
            dropped: 0,
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
            self.drop_oldest();
        }
        self.queue.push_back(ForwardRequest { envelope: Some(envelope) }.encode());
    }

    /// Drops the oldest that is not under way: the answer to that one would be taken for the next one's.
    fn drop_oldest(&mut self) {
        if self.dropped == 0 {
            log::warn!("containerd takes no events: of more than {MAX_QUEUE} the oldest are dropped");
        }
        self.dropped += 1;
        if self.link.as_ref().is_some_and(|link| link.stream.is_some()) {
            self.queue.remove(1);
        } else {
            self.queue.pop_front();
            // They were the dropped one's.
            self.refusals = 0;
        }
    }

    /// When [`Publisher::flush`] is to be called again, though nothing has happened.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether everything was delivered, or nothing more will be tried until `end`.
    #[must_use]
    pub fn is_settled(&self, end: Instant) -> bool {
        self.queue.is_empty() || self.retry_at.is_some_and(|at| at >= end)
    }

    /// Ends the pause: containerd has called, and so is there; or it is the last chance.
    pub fn hurry(&mut self) {
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
                        None => self.accepted(),
                        Some(status) => return self.refused(&status.message),
                    }
                }
                Ok(Some(_)) => {}
            }
        }
    }

    fn accepted(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            log::warn!("containerd takes events again: {dropped} were dropped");
        }
        self.done_with_first();
    }

    fn done_with_first(&mut self) {
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
        self.done_with_first();
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
        log::debug!("{} events wait: {why}", self.queue.len());
        self.retry_at = Some(Instant::now() + pause(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ttrpc::{Code, Status, put_response};
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A publisher, and containerd's end of its socket, which is there once it listens.
    struct Scene {
        poller: Rc<Poller>,
        publisher: Publisher,
        path: PathBuf,
        listener: Option<UnixListener>,
        peer: Option<(UnixStream, Decoder)>,
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    impl Scene {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("orlop-publisher-{name}-{}", std::process::id()));
            let poller = Rc::new(Poller::new().unwrap());
            let publisher = Publisher::new(Rc::clone(&poller), path.to_str().unwrap(), "n");
            Self { poller, publisher, path, listener: None, peer: None }
        }

        fn serving(name: &str) -> Self {
            let mut scene = Self::new(name);
            scene.listen();
            scene
        }

        fn listen(&mut self) {
            let listener = UnixListener::bind(&self.path).unwrap();
            listener.set_nonblocking(true).unwrap();
            self.listener = Some(listener);
        }

        fn publish(&mut self, topics: impl IntoIterator<Item = u32>) {
            for topic in topics {
                self.publisher.publish(&topic.to_string(), Any::default());
                self.publisher.flush();
            }
        }

        /// What the loop does, but that pauses are over at once.
        fn turn(&mut self) {
            self.publisher.retry_at = None;
            self.publisher.flush();
            let mut events = Vec::new();
            self.poller.wait(Some(Duration::from_millis(1)), &mut events).unwrap();
            for (_, flags) in events {
                self.publisher.ready(flags);
            }
        }

        /// The next event that comes, and the stream for its answer; `None` when all are delivered.
        fn receive(&mut self) -> Option<(u32, u32)> {
            for _ in 0..10_000 {
                if let Some((stream, decoder)) = &mut self.peer {
                    match decoder.frame().unwrap() {
                        Some(Frame::Request { stream, request }) => {
                            let request = ForwardRequest::decode(&request.payload).unwrap();
                            return Some((request.envelope.unwrap().topic.parse().unwrap(), stream));
                        }
                        frame => assert_eq!(frame, None),
                    }
                    let mut chunk = [0; 4096];
                    match stream.read(&mut chunk) {
                        Ok(length) => {
                            decoder.feed(&chunk[..length]);
                            continue;
                        }
                        Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                    }
                } else if let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
                    stream.set_nonblocking(true).unwrap();
                    self.peer = Some((stream, Decoder::default()));
                }
                if self.publisher.queue.is_empty() {
                    return None;
                }
                self.turn();
            }
            panic!("no event comes");
        }

        fn answer(&mut self, stream: u32, answer: Result<Vec<u8>, Status>) {
            let mut bytes = Vec::new();
            put_response(&mut bytes, stream, answer);
            self.peer.as_mut().unwrap().0.write_all(&bytes).unwrap();
            self.turn();
        }

        /// All that come, each taken as it comes.
        fn take_all(&mut self) -> Vec<u32> {
            let mut taken = Vec::new();
            while let Some((topic, stream)) = self.receive() {
                taken.push(topic);
                self.answer(stream, Ok(Vec::new()));
            }
            taken
        }
    }

    fn refusal() -> Result<Vec<u8>, Status> {
        Err(Status::new(Code::Unavailable, "not now"))
    }

    #[test]
    fn pauses_grow_and_stay_bearable() {
        assert_eq!([0, 1, 3].map(pause), [50, 100, 400].map(Duration::from_millis));
        assert_eq!([10, 31, 32, u32::MAX].map(pause), [LONGEST_PAUSE; 4]);
    }

    #[test]
    fn containerd_is_waited_for_as_long_as_it_takes() {
        let mut scene = Scene::new("absent");
        scene.publish(0..3);
        for _ in 0..100 {
            let at = scene.publisher.retry_at().expect("it is tried again");
            assert!(at <= Instant::now() + LONGEST_PAUSE);
            scene.turn();
        }
        scene.listen();
        assert_eq!(scene.take_all(), [0, 1, 2]);
        assert_eq!(scene.publisher.retry_at(), None, "nothing wakes it any more");
    }

    #[test]
    fn a_call_of_containerds_ends_the_pause() {
        let mut scene = Scene::new("called");
        scene.publish(0..1);
        scene.publisher.failures = 100;
        scene.publisher.retry_at = Some(Instant::now() + LONGEST_PAUSE);
        let soon = Instant::now() + Duration::from_secs(2);
        assert!(scene.publisher.is_settled(soon), "nothing will be tried until then");
        scene.listen();
        scene.publisher.hurry();
        assert!(scene.publisher.link.is_some() && !scene.publisher.is_settled(soon));
        assert_eq!(scene.take_all(), [0]);
        assert!(scene.publisher.is_settled(soon));
    }

    #[test]
    fn an_event_that_is_refused_is_sent_again_before_the_next() {
        let mut scene = Scene::serving("refused");
        scene.publish(0..2);
        for _ in 1..REFUSALS {
            let (topic, stream) = scene.receive().unwrap();
            assert_eq!(topic, 0);
            scene.answer(stream, refusal());
        }
        assert_eq!(scene.take_all(), [0, 1]);
    }

    #[test]
    fn an_event_that_is_always_refused_does_not_hold_up_the_others() {
        let mut scene = Scene::serving("always");
        scene.publish(0..2);
        for _ in 0..REFUSALS {
            let (topic, stream) = scene.receive().unwrap();
            assert_eq!(topic, 0);
            scene.answer(stream, refusal());
        }
        // Those refusals are not counted against the next one.
        let (topic, stream) = scene.receive().unwrap();
        assert_eq!(topic, 1);
        scene.answer(stream, refusal());
        assert_eq!(scene.take_all(), [1]);
    }

    #[test]
    fn an_event_whose_answer_is_lost_is_sent_once_more() {
        let mut scene = Scene::serving("lost");
        scene.publish(0..3);
        let (first, stream) = scene.receive().unwrap();
        scene.answer(stream, Ok(Vec::new()));
        let (second, stream) = scene.receive().unwrap();
        let mut bytes = Vec::new();
        put_response(&mut bytes, stream, Ok(vec![0; 100]));
        let (mut peer, _) = scene.peer.take().unwrap();
        peer.write_all(&bytes[..50]).unwrap();
        scene.turn();
        drop(peer);
        assert_eq!((first, second, scene.take_all()), (0, 1, vec![1, 2]));
    }

    fn all() -> u32 {
        u32::try_from(MAX_QUEUE).unwrap()
    }

    #[test]
    fn of_too_many_the_oldest_is_dropped_that_is_not_under_way() {
        let mut scene = Scene::serving("overflow");
        scene.publish([0]);
        let (topic, stream) = scene.receive().unwrap();
        assert_eq!(topic, 0);
        scene.publish(1..=all() + 1);
        assert_eq!(scene.publisher.dropped, 2);
        // It is there still to be sent again.
        scene.answer(stream, refusal());
        let expected: Vec<u32> = [0].into_iter().chain(3..=all() + 1).collect();
        assert_eq!(scene.take_all(), expected);
        assert_eq!(scene.publisher.dropped, 0, "that was told");
    }

    #[test]
    fn of_too_many_the_oldest_is_dropped_when_none_is_under_way() {
        let mut scene = Scene::serving("refused-overflow");
        scene.publish([0]);
        let (_, stream) = scene.receive().unwrap();
        // Not by a turn, in which it would be sent anew.
        let mut bytes = Vec::new();
        put_response(&mut bytes, stream, refusal());
        scene.peer.as_mut().unwrap().0.write_all(&bytes).unwrap();
        scene.publisher.ready(EpollFlags::EPOLLIN);
        assert_eq!(scene.publisher.refusals, 1);
        scene.publisher.retry_at = Some(Instant::now() + Duration::from_secs(3600));
        scene.publish(1..=all());
        assert_eq!((scene.publisher.dropped, scene.publisher.refusals), (1, 0));
        assert_eq!(scene.take_all(), (1..=all()).collect::<Vec<_>>());
    }
}
