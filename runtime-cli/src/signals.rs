//! Signals: their names on the command line, and their way to the container's process.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use orlop_core::sys;
use orlop_core::sys::Reason;

use crate::failure::Failure;

/// Names and numbers that both supported architectures share.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The real-time signals as userspace counts them: the C library keeps the kernel's first two to itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The signal that `text` names: `TERM`, `sigterm`, `15`, `RTMIN+3`.  Zero only asks whether the process is there.
pub fn parse(text: &str) -> Option<i32> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (0..=RTMAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    named.or_else(|| real_time(name))
}

fn real_time(name: &str) -> Option<i32> {
    let digits = |text: &str| -> Option<i32> {
        text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => RTMIN,
        (_, Some("")) => RTMAX,
        (Some(rest), _) => RTMIN.checked_add(digits(rest.strip_prefix('+')?)?)?,
        (_, Some(rest)) => RTMAX - digits(rest.strip_prefix('-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

/// Signals that are not for the container: faults of our own, the answer to a write that nobody reads, and the stop
/// of a background job that reads from or sets its terminal, which is us.
const OURS: [Signal; 8] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGPIPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Every other signal that is sent to us, to be read instead of suffered.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks the signals and collects them from now on; the ones that arrive while the container is made wait.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn collect() -> Result<Self, Failure> {
        let mut set = SigSet::all();
        OURS.into_iter().for_each(|signal| set.remove(signal));
        let fault = |errno: nix::errno::Errno| {
            Failure::new(format!("cannot collect signals: {}", Reason::from(errno)))
        };
        sys::block_signals(&set).map_err(|e| fault(nix::errno::Errno::from_raw(e.errno)))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(fault)?;
        Ok(Self { fd })
    }

    /// The next signal that has arrived.
    pub fn next(&self) -> Option<i32> {
        let info = self.fd.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends a signal, of any number, to a process that is held by its descriptor.
pub fn forward(pidfd: BorrowedFd<'_>, signal: i32) {
    // It may have ended in this moment; then its end is what is read next.
    if let Err(error) = sys::pidfd_send_signal(sys::Fd::from(pidfd), signal) {
        log::debug!("cannot forward signal {signal}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Signals, forward, parse};
    use nix::sys::signal::{SigSet, Signal, raise};
    use orlop_core::sys;
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn signals_are_named_in_every_way_runc_takes() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("term", 15),
            ("15", 15),
            ("9", 9),
            ("0", 0),
            ("KILL", 9),
            ("CHLD", 17),
            ("WINCH", 28),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("RTMAX", 64),
            ("RTMIN+30", 64),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "FOO",
            "SIG",
            "SIGSIGTERM",
            "-9",
            "65",
            "99999999999",
            "1x",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX-31",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN++1",
            "RTMIN+2147483647",
            "TERM ",
            "+9",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
    #[test]
    fn signals_are_collected_instead_of_suffered() {
        let before = SigSet::thread_get_mask().unwrap();
        let signals = Signals::collect().unwrap();
        raise(Signal::SIGUSR1).unwrap();
        assert_eq!(signals.next(), Some(libc::SIGUSR1));
        assert_eq!(signals.next(), None);
        before.thread_set_mask().unwrap();
    }

    #[test]
    fn real_time_signals_are_forwarded_too() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = sys::pidfd_open(i32::try_from(child.id()).unwrap()).unwrap();
        forward(pidfd.as_fd(), 40);
        assert_eq!(child.wait().unwrap().signal(), Some(40));
        forward(pidfd.as_fd(), 40);
    }
}
