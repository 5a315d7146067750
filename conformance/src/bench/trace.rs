//! Counts the system calls, processes and memory of a program and all it starts, by ptrace.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use conformance::sys::{GoOn, Stop, fork_child, go_on, next_stop};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, execv};

use super::Failure;
use super::world::Command;

/// What one run cost.  The container's own program is not counted, only its start.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// System calls of the runtime and its helpers.
    pub calls: u64,
    /// Processes started besides the runtime's first one (the container's is one).
    pub processes: u64,
    /// Threads started.
    pub threads: u64,
    /// Programs executed after the runtime's own start (the container's is one).
    pub execs: u64,
    /// Peak resident memory of the runtime's first process, in KiB.
    pub rss: u64,
    /// The same for the largest of all its processes, the container's program left out.
    pub largest_rss: u64,
    /// System calls by number.
    pub by_number: BTreeMap<u64, u64>,
}

struct Tracer {
    first: Pid,
    /// Device and inode of the container's program.
    payload: (u64, u64),
    counts: Counts,
    /// Processes that have become the container's program.
    payloads: BTreeSet<Pid>,
    /// Tracees whose first stop is behind us.
    known: BTreeSet<Pid>,
    started: bool,
}

fn status_number(pid: Pid, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

impl Tracer {
    fn sample_memory(&mut self, pid: Pid) {
        if self.payloads.contains(&pid) {
            return;
        }
        let peak = status_number(pid, "VmHWM").unwrap_or(0);
        self.counts.largest_rss = self.counts.largest_rss.max(peak);
        if status_number(pid, "Tgid") == u64::try_from(self.first.as_raw()).ok() {
            self.counts.rss = self.counts.rss.max(peak);
        }
    }

    fn on_call(&mut self, pid: Pid) -> nix::Result<()> {
        let info = ptrace::syscall_info(pid)?;
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || self.payloads.contains(&pid) || !self.started {
            return Ok(());
        }
        let number = call_number(pid)?;
        self.counts.calls += 1;
        *self.counts.by_number.entry(number).or_default() += 1;
        if number == libc::SYS_execve.unsigned_abs() {
            self.sample_memory(pid);
        }
        Ok(())
    }

    fn on_event(&mut self, pid: Pid, event: i32) -> nix::Result<()> {
        match event {
            _ if event == Event::PTRACE_EVENT_EXEC as i32 => {
                let program = fs::metadata(format!("/proc/{pid}/exe")).ok();
                if program.is_some_and(|meta| (meta.dev(), meta.ino()) == self.payload) {
                    self.payloads.insert(pid);
                }
                // The first execution is the tracer's child becoming the runtime.
                self.counts.execs += u64::from(self.started);
                self.started = true;
            }
            _ if event == Event::PTRACE_EVENT_EXIT as i32 => self.sample_memory(pid),
            _ => {
                let child = Pid::from_raw(i32::try_from(ptrace::getevent(pid)?).unwrap_or(0));
                let group = status_number(child, "Tgid");
                let process = group.is_none_or(|group| i32::try_from(group) == Ok(child.as_raw()));
                self.counts.processes += u64::from(process);
                self.counts.threads += u64::from(!process);
            }
        }
        Ok(())
    }

    /// Handles one stop and lets the tracee go on.
    fn on_stop(&mut self, stop: Stop) -> nix::Result<()> {
        let (pid, signal) = match stop {
            Stop::Call(pid) => {
                self.on_call(pid)?;
                (pid, 0)
            }
            Stop::Event(pid, event) => {
                self.on_event(pid, event)?;
                (pid, 0)
            }
            // A new tracee begins with a SIGSTOP that nobody sent.
            Stop::Signal(pid, signal) => {
                let first = self.known.insert(pid);
                (pid, if first && signal == libc::SIGSTOP { 0 } else { signal })
            }
            Stop::Ended(_) => return Ok(()),
        };
        go_on(pid, GoOn::ToCall, signal)
    }
}

/// The number of the call a stopped tracee is entering.
fn call_number(pid: Pid) -> nix::Result<u64> {
    let registers = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid)?;
    #[cfg(target_arch = "x86_64")]
    return Ok(registers.orig_rax);
    #[cfg(target_arch = "aarch64")]
    return Ok(registers.regs[8]);
}

/// Starts a program that stops before execve, as our tracee.
pub fn start(words: &[CString]) -> Result<Pid, Failure> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let child = fork_child(|| {
        let become_it = || -> nix::Result<()> {
            nix::sys::signal::SigSet::empty().thread_set_mask()?;
            dup2_stdin(&null)?;
            dup2_stdout(&null)?;
            dup2_stderr(&null)?;
            ptrace::traceme()?;
            raise(Signal::SIGSTOP)?;
            execv(&words[0], words)?;
            Ok(())
        };
        become_it().map_or(126, |()| 0)
    })?;
    waitpid(child, Some(WaitPidFlag::__WALL))?;
    let events = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT;
    ptrace::setoptions(child, events | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
    Ok(child)
}

/// Runs the command once and counts.
pub fn count(command: &Command, payload: &Path) -> Result<Counts, Failure> {
    let meta = fs::metadata(payload)?;
    let first = start(&command.words)?;
    let mut tracer = Tracer {
        first,
        payload: (meta.dev(), meta.ino()),
        counts: Counts::default(),
        payloads: BTreeSet::new(),
        known: BTreeSet::from([first]),
        started: false,
    };
    go_on(first, GoOn::ToCall, 0)?;
    follow(|stop| tracer.on_stop(stop))?;
    Ok(tracer.counts)
}

/// Calls `on_stop` for every stop of every tracee, until there is none left.
pub fn follow(mut on_stop: impl FnMut(Stop) -> nix::Result<()>) -> Result<(), Failure> {
    loop {
        let stop = match next_stop() {
            Err(Errno::ECHILD) => return Ok(()),
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        match on_stop(stop) {
            // ESRCH: a tracee was killed while stopped, as a container's are when its pid 1 ends.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
