//! The container's terminal, shown on ours: the pseudoterminal's master arrives over a socket, and everything is
//! copied between it and our standard input and output.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::termios::{
    LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use nix::unistd::{read, write};
use orlop_core::sys;
use orlop_core::sys::Reason;

use crate::failure::Failure;
use crate::output::write_all;

/// What is read at once.  A pipe that poll(2) calls writable takes at least so much without blocking (`PIPE_BUF`).
const CHUNK: usize = 4096;
/// How long a terminal that others still hold may be silent, once the process has ended, before it is left.
const SILENCE_MS: u16 = 100;
/// How much is read from it then: more than the kernel can have buffered, yet not without end.
const LAST_WORDS: usize = 1 << 20;

/// A place for the container's terminal: a socket pair, of which one end goes to the engine.
#[derive(Debug)]
pub struct Offer {
    ours: OwnedFd,
    master: Arc<Mutex<Option<OwnedFd>>>,
}

impl Offer {
    /// Makes the pair; the second value is for the engine.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new() -> Result<(Self, OwnedFd), Failure> {
        let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) = pair.map_err(|errno| fault("make a socket pair for the terminal", errno))?;
        Ok((Self { ours, master: Arc::default() }, theirs))
    }

    /// Splits into what looks for the terminal during the launch, and what has it afterwards.
    pub fn split(self) -> (Watcher, Arrival) {
        let arrival = Arrival { master: Arc::clone(&self.master) };
        (Watcher { socket: self.ours, master: self.master }, arrival)
    }
}

/// Takes the terminal as soon as it was sent: the program must find it as it will be.
#[derive(Debug)]
pub struct Watcher {
    socket: OwnedFd,
    master: Arc<Mutex<Option<OwnedFd>>>,
}

impl Watcher {
    /// Looks once.  What goes wrong is known when the terminal is needed and has not arrived.
    pub fn look(&self) {
        let mut place = self.master.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return;
        }
        let Ok(Some(raw)) = receive(&self.socket) else { return };
        *place = adopt(raw).ok().filter(|master| no_carriage_returns(master).is_ok());
        place.iter().for_each(copy_size);
    }
}

/// The terminal that a [`Watcher`] has taken.
#[derive(Debug)]
pub struct Arrival {
    master: Arc<Mutex<Option<OwnedFd>>>,
}

impl Arrival {
    /// The console, once the process runs.
    ///
    /// # Errors
    /// No terminal has arrived, or it cannot be set.
    pub fn open(self) -> Result<Console, Failure> {
        let master = self.master.lock().unwrap_or_else(PoisonError::into_inner).take();
        Console::new(master.ok_or_else(|| Failure::new("the container's terminal has not arrived"))?)
    }
}

fn fault(what: &str, errno: Errno) -> Failure {
    Failure::new(format!("cannot {what}: {}", Reason::from(errno)))
}

/// The number of the descriptor that lies in the socket; `None` if there is none.
fn receive(socket: &OwnedFd) -> Result<Option<RawFd>, Errno> {
    let mut data = [0; 256];
    let mut data = [IoSliceMut::new(&mut data)];
    let mut control = cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut control), flags) {
        Err(Errno::EAGAIN) => return Ok(None),
        other => other?,
    };
    let received = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    Ok(received)
}

/// Takes ownership of a descriptor that is known by its number only: a duplicate of it, by way of ourselves.
fn adopt(raw: RawFd) -> sys::Result<OwnedFd> {
    let owned = sys::pidfd_open(sys::getpid()).and_then(|this| sys::pidfd_getfd(sys::Fd::from(&this), raw));
    sys::close(sys::Fd(raw));
    owned
}

/// The container's terminal and ours, and what is on its way between them.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    /// The other end, held open so that the terminal does not hang up whenever the container closes its own: an init
    /// that opens its console anew for each message does.
    slave: Option<OwnedFd>,
    input: Way,
    output: Way,
    /// Our terminal, if standard input is one; set back when this is dropped.
    _raw: Option<RawMode>,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    waiting: Vec<u8>,
    /// Nothing more comes from the reading end.
    ended: bool,
    /// The writing end takes nothing more: what comes is thrown away, so that the container does not block on it.
    refused: bool,
    last: u8,
}

/// The descriptors that a [`Console`] waits for, each with what for; `None` where it waits for nothing.
pub type Interests<'a> = [Option<(BorrowedFd<'a>, PollFlags)>; 3];

impl Console {
    fn new(master: OwnedFd) -> Result<Self, Failure> {
        let flags = fcntl(&master, FcntlArg::F_GETFL)
            .map_err(|errno| fault("set the container's terminal", errno))?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags))
            .map_err(|errno| fault("set the container's terminal", errno))?;
        let slave = sys::pty_peer(sys::Fd::from(&master)).and_then(|fd| adopt(fd.0)).ok();
        let raw = RawMode::enter().map_err(|errno| fault("set the terminal to raw mode", errno))?;
        Ok(Self { master, slave, input: Way::default(), output: Way::default(), _raw: raw })
    }

    /// What to poll for: our input, the master, our output.
    pub fn interests<'a>(&'a self, stdin: &'a io::Stdin, stdout: &'a io::Stdout) -> Interests<'a> {
        let from_stdin = !self.input.ended && !self.input.refused && self.input.waiting.is_empty();
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, !self.output.ended && self.output.waiting.is_empty());
        master.set(PollFlags::POLLOUT, !self.input.waiting.is_empty());
        // A hang-up is reported to whoever polls, whatever for: an end without interest would turn the loop hot.
        [
            from_stdin.then(|| (stdin.as_fd(), PollFlags::POLLIN)),
            (!master.is_empty()).then(|| (self.master.as_fd(), master)),
            (!self.output.waiting.is_empty()).then(|| (stdout.as_fd(), PollFlags::POLLOUT)),
        ]
    }

    /// Moves what can be moved without blocking; `ready` answers [`Console::interests`].
    pub fn turn(&mut self, ready: [PollFlags; 3]) {
        if !ready[0].is_empty() {
            self.read_input();
        }
        let writable = PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP;
        if ready[1].intersects(writable) {
            self.input.flush(&self.master);
        }
        let readable = PollFlags::POLLIN | PollFlags::POLLERR | PollFlags::POLLHUP;
        if ready[1].intersects(readable) && self.output.waiting.is_empty() {
            self.output.fill(&self.master);
        }
        if !ready[2].is_empty() {
            self.output.flush(io::stdout());
        }
    }

    /// Reads the user's input; its end becomes the end-of-file character, where the terminal has one.
    fn read_input(&mut self) {
        self.input.fill(io::stdin());
        if !self.input.ended {
            return;
        }
        let Ok(settings) = tcgetattr(&self.master) else { return };
        if settings.local_flags.contains(LocalFlags::ICANON) {
            let end = settings.control_chars[SpecialCharacterIndices::VEOF as usize];
            // Behind an unfinished line, the first one only ends the line.
            let count = if matches!(self.input.last, 0 | b'\n') { 1 } else { 2 };
            self.input.waiting.extend(std::iter::repeat_n(end, count));
        }
    }

    /// Gives the container's terminal the size that ours has now.
    pub fn resize(&self) {
        copy_size(&self.master);
    }

    /// Copies what the container's process wrote last, after its end.
    pub fn finish(&mut self) {
        self.slave = None;
        let mut copied = 0;
        let mut out = std::mem::take(&mut self.output);
        loop {
            if !out.refused && write_all(io::stdout(), &out.waiting).is_err() {
                return;
            }
            copied += out.waiting.len();
            out.waiting.clear();
            let mut wait = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let quiet =
                !matches!(poll(&mut wait, PollTimeout::from(SILENCE_MS)), Ok(1..) | Err(Errno::EINTR));
            if quiet || out.ended || copied > LAST_WORDS {
                return;
            }
            out.fill(&self.master);
        }
    }
}

impl Way {
    fn fill(&mut self, from: impl AsFd) {
        let mut chunk = [0; CHUNK];
        match read(from, &mut chunk) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.waiting.extend_from_slice(&chunk[..count]);
                self.last = chunk[count - 1];
                if self.refused {
                    self.waiting.clear();
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The other end hung up (EIO of a terminal), or is no longer ours to read: either way it is over.
            Err(_) => self.ended = true,
        }
    }

    fn flush(&mut self, to: impl AsFd) {
        match write(to, &self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.refused = true;
                self.waiting.clear();
            }
        }
    }
}

/// Lets a line end in a line feed alone: whoever shows the output, a terminal of ours in the end, adds the carriage
/// return, and a file stays free of it.
fn no_carriage_returns(master: &OwnedFd) -> Result<(), Errno> {
    let mut settings = tcgetattr(master)?;
    settings.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(master, SetArg::TCSANOW, &settings)
}

/// Gives `master` the size of our terminal, if we have one.
fn copy_size(master: &OwnedFd) {
    let ours = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    let size = ours.into_iter().find_map(|fd| sys::window_size(sys::Fd(fd)).ok());
    if let Some((rows, columns)) = size
        && let Err(error) = sys::set_window_size(sys::Fd::from(master), rows, columns)
    {
        log::warn!("cannot set the size of the container's terminal: {error}");
    }
}

/// Our terminal in raw mode, for as long as this lives.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `None` when standard input is no terminal.
    fn enter() -> Result<Option<Self>, Errno> {
        let Ok(before) = tcgetattr(io::stdin()) else { return Ok(None) };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // The container's terminal leaves the carriage returns to ours.
        raw.output_flags.insert(OutputFlags::OPOST);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // If our terminal is gone there is nothing to set back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;

    #[test]
    fn a_container_without_terminal_sends_none() {
        let (offer, theirs) = Offer::new().unwrap();
        assert!(receive(&offer.ours).unwrap().is_none(), "nothing was sent yet");
        drop(theirs);
        assert!(receive(&offer.ours).unwrap().is_none(), "and nothing will be");
    }

    #[test]
    fn a_terminal_that_is_sent_is_set_before_the_program_writes() {
        let (offer, theirs) = Offer::new().unwrap();
        let (watcher, arrival) = offer.split();
        watcher.look();
        let pty = openpty(None, None).unwrap();
        sys::send_fd(sys::Fd::from(&theirs), b"/dev/pts/0", sys::Fd::from(&pty.master)).unwrap();
        watcher.look();
        write_all(&pty.slave, b"hi\n").unwrap();
        drop(watcher);
        let master = arrival.master.lock().unwrap().take().expect("the terminal");
        let mut text = [0; 16];
        assert_eq!(read(&master, &mut text), Ok(3));
        assert_eq!(&text[..3], b"hi\n", "no carriage return");
    }

    #[test]
    fn a_received_descriptor_becomes_our_own() {
        let (offer, theirs) = Offer::new().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        sys::send_fd(sys::Fd::from(&theirs), b"x", sys::Fd::from(&writer)).unwrap();
        let raw = receive(&offer.ours).unwrap().expect("a descriptor");
        let owned = adopt(raw).unwrap();
        assert!(!sys::is_open(sys::Fd(raw)) || owned.as_raw_fd() == raw, "the number it came by is closed");
        write_all(&owned, b"y").unwrap();
        drop((owned, writer));
        let mut text = [0; 2];
        assert_eq!(read(&reader, &mut text), Ok(1));
        assert_eq!(read(&reader, &mut text), Ok(0), "every copy is gone");
    }

    #[test]
    fn a_size_that_was_set_is_read_again() {
        let pty = openpty(None, None).unwrap();
        sys::set_window_size(sys::Fd::from(&pty.master), 33, 77).unwrap();
        assert_eq!(sys::window_size(sys::Fd::from(&pty.slave)), Ok((33, 77)));
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        assert_eq!(sys::window_size(sys::Fd::from(&reader)).unwrap_err().errno, libc::ENOTTY);
    }

    #[test]
    fn what_cannot_be_written_is_dropped_and_later_output_with_it() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut way = Way { waiting: b"abc".to_vec(), ..Way::default() };
        drop(reader);
        way.flush(&writer);
        assert!(way.refused && way.waiting.is_empty());
        let (reader, writer) = nix::unistd::pipe().unwrap();
        write_all(&writer, b"more").unwrap();
        way.fill(&reader);
        assert!(way.waiting.is_empty() && !way.ended);
        drop(writer);
        way.fill(&reader);
        assert!(way.ended);
    }
}
