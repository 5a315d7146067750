//! Terminals as an engine and as a person at the keyboard see them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};

use super::patience;
use crate::sys;

const PATIENCE: Duration = Duration::from_secs(60);

/// The master of a pseudo-terminal.
#[derive(Debug)]
pub struct Console {
    master: File,
    /// Everything read so far.
    pub text: String,
}

impl Console {
    fn new(master: OwnedFd) -> Self {
        Self { master: master.into(), text: String::new() }
    }

    /// Reads what has come within `time`; `false` when the other side is closed.
    fn read(&mut self, time: Duration) -> bool {
        let mut watched = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        if poll(&mut watched, limit) == Ok(0) {
            return true;
        }
        let mut bytes = [0; 4096];
        // The master of a pseudo-terminal without slaves says EIO.
        match self.master.read(&mut bytes) {
            Ok(length) if length > 0 => {
                self.text.push_str(&String::from_utf8_lossy(&bytes[..length]));
                true
            }
            _ => false,
        }
    }

    /// Reads until `text` has come.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + patience(PATIENCE);
        while !self.text.contains(text) {
            let open = self.read(Duration::from_millis(50));
            assert!(open || self.text.contains(text), "closed before {text:?} came: {:?}", self.text);
            assert!(Instant::now() < deadline, "{text:?} did not come: {:?}", self.text);
        }
    }

    /// Reads until the other side is closed and returns everything.
    ///
    /// # Panics
    /// When it stays open.
    pub fn finish(&mut self) -> &str {
        let deadline = Instant::now() + patience(PATIENCE);
        while self.read(Duration::from_millis(50)) {
            assert!(Instant::now() < deadline, "never closed; so far: {:?}", self.text);
        }
        &self.text
    }

    /// Types.
    ///
    /// # Panics
    /// When the terminal does not take it.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("a terminal takes what is typed");
    }

    /// Changes the size.
    ///
    /// # Panics
    /// When the terminal does not take it.
    pub fn resize(&self, rows: u16, columns: u16) {
        sys::set_winsize(&self.master, rows, columns).expect("a terminal takes a size");
    }
}

/// Where a runtime sends the master of a container's terminal (`--console-socket`), or another descriptor.
#[derive(Debug)]
pub struct ConsoleSocket {
    listener: UnixListener,
    /// Its path.
    pub path: PathBuf,
}

impl ConsoleSocket {
    /// Listens in a directory.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("console.sock");
        let listener = UnixListener::bind(&path).expect("a socket can be made");
        Self { listener, path }
    }

    /// Takes the terminal that was sent.
    ///
    /// # Panics
    /// When none was.
    #[must_use]
    pub fn console(&self) -> Console {
        Console::new(self.descriptor())
    }

    /// Takes the descriptor that was sent.
    ///
    /// # Panics
    /// When none was.
    #[must_use]
    pub fn descriptor(&self) -> OwnedFd {
        let mut watched = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(patience(PATIENCE)).unwrap_or(PollTimeout::MAX);
        assert_eq!(poll(&mut watched, limit), Ok(1), "nobody connected to the socket");
        let (stream, _) = self.listener.accept().expect("a connection is waiting");
        sys::receive_descriptor(&stream).expect("a descriptor is sent").0
    }
}

/// A command in the foreground of a terminal of ours.
#[derive(Debug)]
pub struct Foreground {
    /// The keyboard and the screen.
    pub console: Console,
    slave: OwnedFd,
    child: Child,
}

impl Foreground {
    /// Starts a command on a new terminal; what has been set as its standard output stays.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, rows: u16, columns: u16, output: Option<File>) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a pseudo-terminal can be made");
        let slave = || pair.slave.try_clone().expect("a descriptor can be copied");
        command.stdin(slave()).stderr(slave()).stdout(output.map_or_else(|| slave().into(), Stdio::from));
        let child = sys::on_terminal(&mut command).spawn().expect("the runtime starts");
        Self { console: Console::new(pair.master), slave: pair.slave, child }
    }

    /// The settings of the terminal.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn settings(&self) -> nix::sys::termios::Termios {
        nix::sys::termios::tcgetattr(&self.slave).expect("a terminal has settings")
    }

    /// Waits for the end and returns the status and all that was shown.
    ///
    /// # Panics
    /// When it does not end; it is killed then.
    #[must_use]
    pub fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + patience(PATIENCE);
        let status = loop {
            // Reading must go on, or a full terminal would hold the command up.
            self.console.read(Duration::from_millis(5));
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().expect("a child can be killed");
                self.child.wait().expect("a killed child ends");
                panic!("hung; so far: {:?}", self.console.text);
            }
        };
        drop(self.slave);
        let text = super::without_cgroup_warning(self.console.finish());
        (status, text)
    }
}
