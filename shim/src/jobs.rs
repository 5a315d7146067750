//! What may take long (a launch with its hooks, a checkpoint, a removal), beside the loop: each in a thread that ends with it, so
//! that one container does not keep the others of its pod waiting, and an idle shim has one thread.

use crate::poller::{Poller, Token};
use crate::server::block_signals;
use crate::shim::Shim;
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use orlop_core::sys::Reason;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// As many at once; more wait for one of these to end.
const MAX_AT_ONCE: usize = 16;
/// Address space for a thread's stack, of which it touches a few pages.
const STACK: usize = 1 << 20;
/// The loop is told so often of an end, where telling fails.
const ATTEMPTS: u32 = 100;

/// What the loop does when the work is done.
pub type Done = Box<dyn FnOnce(&mut Shim) + Send>;
/// What a thread does.
type Work = Box<dyn FnOnce() -> Done + Send>;

/// The work under way.
#[derive(Debug)]
pub struct Jobs {
    done: (Sender<Done>, Receiver<Done>),
    wake: Arc<EventFd>,
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting(Work);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// The C library blocks all signals while it makes a thread, and does not look whether it could: then what it sets in both threads
/// afterwards is not the mask that was.
fn keep_signals_blocked() {
    if let Err(e) = block_signals() {
        log::warn!("keep signals for the loop: {}", e.reason());
    }
}

/// Tells the loop; what is not told would be waited for without end.
fn tell(wake: &EventFd) {
    for _ in 0..ATTEMPTS {
        match wake.write(1) {
            // Full: it has been told more than once already.
            Ok(_) | Err(Errno::EAGAIN) => return,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl Jobs {
    /// None yet.
    ///
    /// # Errors
    /// Descriptors or memory are short.
    pub fn new(poller: &Poller) -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        poller.add(&wake, Token::Jobs, EpollFlags::EPOLLIN)?;
        Ok(Self { done: channel(), wake: Arc::new(wake), running: 0, waiting: VecDeque::new() })
    }

    /// Has `work` done; what it returns is done by the loop afterwards.
    pub fn start(&mut self, work: impl FnOnce() -> Done + Send + 'static) {
        let work = Box::new(work);
        if self.running < MAX_AT_ONCE {
            self.run(work);
        } else {
            self.waiting.push_back(Waiting(work));
        }
    }

    fn run(&mut self, work: Work) {
        self.running += 1;
        let (sender, wake) = (self.done.0.clone(), Arc::clone(&self.wake));
        // Where it can be taken back from when there is no thread to be had.
        let work = Arc::new(Mutex::new(Some(work)));
        let task = {
            let work = Arc::clone(&work);
            move || {
                keep_signals_blocked();
                let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(work) = work {
                    // The receiver lives as long as the loop.
                    let _ = sender.send(work());
                    tell(&wake);
                }
            }
        };
        let started = std::thread::Builder::new().stack_size(STACK).spawn(task.clone());
        keep_signals_blocked();
        if let Err(e) = started {
            log::warn!("start a thread: {}: all others wait meanwhile", Reason::of(&e));
            task();
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.running == 0
    }

    /// One that has ended, if any; the next one that waits begins.
    pub fn ended(&mut self) -> Option<Done> {
        let done = self.done.1.try_recv().ok();
        if done.is_some() {
            self.running -= 1;
            if let Some(Waiting(work)) = self.waiting.pop_front() {
                self.run(work);
            }
        }
        done
    }

    /// Before they are looked at: who ends after that is told anew.
    fn reset(&self) {
        let _ = self.wake.read();
    }
}

impl Shim {
    /// Finishes the jobs that have ended.
    pub fn finish_jobs(&mut self) {
        self.jobs.reset();
        while let Some(done) = self.jobs.ended() {
            done(self);
            // Whose end could not be told before its beginning.
            self.reap();
        }
    }
}
