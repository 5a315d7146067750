//! Lets one system call of a program fail, or kills the program before it: `inject OPTIONS -- PROGRAM ARGS…`.
//!
//! The program and the processes that it makes are traced (`ptrace(2)`).  Their system calls are counted in two halves: those of the
//! program, through all that it executes itself as (`parent`), and those of the processes that it makes, up to the execve of each
//! (`child`): what comes after that is another program, and is let go.
//!
//! - `--calls FILE`: writes each call as a line `HALF NUMBER`, in order;
//! - `--half HALF --call C --at N`: the Nth call of the kind C (its number on this machine) in that half, from 0 on,
//! - `--errno E`: is not made and returns E; or
//! - `--kill`: is not made, as its process is killed (`SIGKILL`);
//! - `--interrupt`: every other call of those that a signal can interrupt returns `EINTR`, in both halves;
//! - `--patience S`: the program is killed after so many seconds (15, which no command of a runtime takes).
//!
//! The exit status is the program's, or 128 and the signal that ended it.  x86_64 only, as registers are written.

#[cfg(target_arch = "x86_64")]
mod tracer {
    use std::collections::{BTreeSet, HashMap};
    use std::error::Error;
    use std::fs::File;
    use std::io::{BufWriter, Write};
    use std::process::Command;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::ptrace::{self, Options};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// What is done to the call whose turn it is.
    #[derive(Clone, Copy)]
    pub enum Fate {
        Errno(i32),
        Kill,
    }

    pub struct Wish {
        pub calls: Option<String>,
        /// Half, kind of call, which of these, fate.
        pub at: Option<(usize, i64, usize, Fate)>,
        pub interrupt: bool,
        /// How long the program may take.
        pub patience: Duration,
    }

    pub const HALVES: [&str; 2] = ["parent", "child"];
    const PARENT: usize = 0;
    const CHILD: usize = 1;

    /// What signal(7) says can be interrupted, as far as a runtime waits in it.
    const INTERRUPTIBLE: [i64; 18] = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_wait4,
        libc::SYS_waitid,
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_connect,
        libc::SYS_recvmsg,
        libc::SYS_recvfrom,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_flock,
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_readv,
        libc::SYS_writev,
    ];

    struct Tracee {
        half: usize,
        /// The call was taken away, and returns this.
        returns: Option<i32>,
    }

    pub struct Tracer {
        wish: Wish,
        main: Pid,
        tracees: HashMap<Pid, Tracee>,
        /// The program itself runs, and not yet the shell that has executed it.
        started: bool,
        /// How the program has ended.
        status: Option<i32>,
        /// How many of the calls whose turn may come have been made.
        count: usize,
        interruptible: usize,
        log: Option<BufWriter<File>>,
        /// Everybody, for the watch.
        pids: Arc<Mutex<BTreeSet<Pid>>>,
    }

    impl Tracer {
        pub fn start(wish: Wish, words: &[String]) -> Result<Self, Box<dyn Error>> {
            // It stops itself, so that nothing is missed before it is traced.
            let child = Command::new("/bin/sh")
                .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
                .args(words)
                .spawn()?;
            let main = Pid::from_raw(i32::try_from(child.id())?);
            waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACEEXEC;
            ptrace::seize(main, options)?;
            kill(main, Signal::SIGCONT)?;
            let log = wish.calls.as_ref().map(File::create).transpose()?.map(BufWriter::new);
            let tracees = HashMap::from([(main, Tracee { half: PARENT, returns: None })]);
            let pids = Arc::new(Mutex::new(BTreeSet::from([main])));
            watch(Arc::clone(&pids), wish.patience);
            Ok(Self {
                wish,
                main,
                tracees,
                started: false,
                status: None,
                count: 0,
                interruptible: 0,
                log,
                pids,
            })
        }

        /// Until the program has ended; what it has left running is let go by our own end.
        pub fn run(mut self) -> Result<i32, Box<dyn Error>> {
            loop {
                match waitpid(None, Some(WaitPidFlag::__WALL))? {
                    WaitStatus::PtraceSyscall(pid) => self.at_call(pid)?,
                    WaitStatus::PtraceEvent(pid, _, event) => self.at_event(pid, event)?,
                    WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal))?,
                    WaitStatus::Exited(pid, status) => self.ended(pid, status),
                    WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32),
                    _ => {}
                }
                // A process let go in the midst of a call that was taken away would see ENOSYS.
                let midst = self.tracees.values().any(|tracee| tracee.returns.is_some());
                if let (Some(status), false) = (self.status, midst) {
                    return Ok(status);
                }
            }
        }

        fn ended(&mut self, pid: Pid, status: i32) {
            self.forget(pid);
            if pid == self.main {
                self.status = Some(status);
            }
        }

        fn forget(&mut self, pid: Pid) {
            self.tracees.remove(&pid);
            self.pids.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        }

        fn at_event(&mut self, pid: Pid, event: i32) -> Result<(), Errno> {
            if event == libc::PTRACE_EVENT_EXEC {
                if pid != self.main {
                    self.forget(pid);
                    return gone_is_fine(ptrace::detach(pid, None));
                }
                self.started = true;
            }
            self.pids.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
            self.go_on(pid, None)
        }

        fn at_call(&mut self, pid: Pid) -> Result<(), Box<dyn Error>> {
            let main = self.main;
            let tracee = self.tracees.entry(pid).or_insert_with(|| {
                // A thread of the program is no process that it makes.
                let thread = std::path::Path::new(&format!("/proc/{main}/task/{pid}")).exists();
                Tracee { half: if thread { PARENT } else { CHILD }, returns: None }
            });
            let entered = match ptrace::syscall_info(pid) {
                Err(Errno::ESRCH) => return Ok(()),
                r => r?.op == libc::PTRACE_SYSCALL_INFO_ENTRY,
            };
            if !entered {
                if let Some(errno) = tracee.returns.take() {
                    let result = ptrace::getregs(pid).and_then(|mut registers| {
                        registers.rax = i64::from(-errno).cast_unsigned();
                        ptrace::setregs(pid, registers)
                    });
                    gone_is_fine(result)?;
                }
                return Ok(self.go_on(pid, None)?);
            }
            if !self.started || self.status.is_some() {
                return Ok(self.go_on(pid, None)?);
            }
            let half = tracee.half;
            let mut registers = match ptrace::getregs(pid) {
                Err(Errno::ESRCH) => return Ok(()),
                r => r?,
            };
            let call = registers.orig_rax.cast_signed();
            let interruptible = self.wish.interrupt && is_interruptible(pid, call, registers.rdi);
            let fate = self.fate(half, call, interruptible)?;
            match fate {
                Some(Fate::Kill) => gone_is_fine(kill(pid, Signal::SIGKILL))?,
                Some(Fate::Errno(errno)) => {
                    // No call has this number: nothing is done, and we say what it has returned.
                    registers.orig_rax = u64::MAX;
                    ptrace::setregs(pid, registers)?;
                    if let Some(tracee) = self.tracees.get_mut(&pid) {
                        tracee.returns = Some(errno);
                    }
                }
                None => {}
            }
            Ok(self.go_on(pid, None)?)
        }

        /// Until its next call, if there is still one to wait for.
        fn go_on(&self, pid: Pid, signal: Option<Signal>) -> Result<(), Errno> {
            let returns = |tracee: &Tracee| tracee.returns.is_some();
            let over = self.wish.at.is_some_and(|(_, _, at, _)| self.count > at)
                && !self.tracees.get(&pid).is_some_and(returns);
            gone_is_fine(if over { ptrace::cont(pid, signal) } else { ptrace::syscall(pid, signal) })
        }

        fn fate(&mut self, half: usize, call: i64, interruptible: bool) -> std::io::Result<Option<Fate>> {
            if let Some(log) = &mut self.log {
                writeln!(log, "{} {call}", HALVES[half])?;
            }
            if interruptible {
                self.interruptible += 1;
                return Ok((self.interruptible % 2 == 1).then_some(Fate::Errno(libc::EINTR)));
            }
            let Some((_, _, at, fate)) = self.wish.at.filter(|(of, kind, ..)| *of == half && *kind == call)
            else {
                return Ok(None);
            };
            self.count += 1;
            Ok((self.count == at + 1).then_some(fate))
        }
    }

    /// Kills all, and says so, if it takes too long.
    fn watch(pids: Arc<Mutex<BTreeSet<Pid>>>, patience: Duration) {
        std::thread::spawn(move || {
            std::thread::sleep(patience);
            eprintln!("inject: hung for {patience:?}");
            for pid in pids.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                // One that has just ended is no worse.
                let _ = kill(*pid, Signal::SIGKILL);
            }
        });
    }

    /// Reading and writing wait only where there is somebody at the other end.
    fn is_interruptible(pid: Pid, call: i64, fd: u64) -> bool {
        let stream = || {
            let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
            let target = target.to_string_lossy();
            ["socket:", "pipe:", "/dev/pts/"].iter().any(|kind| target.starts_with(kind))
        };
        match call {
            libc::SYS_read | libc::SYS_write | libc::SYS_readv | libc::SYS_writev => stream(),
            _ => INTERRUPTIBLE.contains(&call),
        }
    }

    /// A killed process may be gone before it is told to go on.
    fn gone_is_fine(result: Result<(), Errno>) -> Result<(), Errno> {
        match result {
            Err(Errno::ESRCH) => Ok(()),
            r => r,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn main() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
    use tracer::{Fate, HALVES, Tracer, Wish};

    let usage = "usage: inject [--calls FILE] [--half parent|child --call C --at N (--errno E|--kill)] [--interrupt] [--patience S] -- PROGRAM ARGS…";
    let mut words = std::env::args().skip(1);
    let patience = std::time::Duration::from_secs(15);
    let mut wish = Wish { calls: None, at: None, interrupt: false, patience };
    let (mut half, mut call, mut at, mut fate) = (None, None, None, None);
    loop {
        let word = words.next().ok_or(usage)?;
        let mut value = || words.next().ok_or(usage);
        match word.as_str() {
            "--" => break,
            "--calls" => wish.calls = Some(value()?),
            "--half" => {
                let name = value()?;
                half = HALVES.iter().position(|known| *known == name);
            }
            "--call" => call = Some(value()?.parse()?),
            "--at" => at = Some(value()?.parse()?),
            "--errno" => fate = Some(Fate::Errno(value()?.parse()?)),
            "--kill" => fate = Some(Fate::Kill),
            "--interrupt" => wish.interrupt = true,
            "--patience" => wish.patience = std::time::Duration::from_secs(value()?.parse()?),
            _ => return Err(usage.into()),
        }
    }
    wish.at = half.zip(call).zip(at.zip(fate)).map(|((half, call), (at, fate))| (half, call, at, fate));
    let program: Vec<String> = words.collect();
    let status = Tracer::start(wish, &program)?.run()?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX).into())
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("inject: registers are written on x86_64 only");
    std::process::exit(3);
}
