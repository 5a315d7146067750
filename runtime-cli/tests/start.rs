//! How the built command starts.

#![cfg(target_arch = "x86_64")]

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::Write;
use std::process::{Command, Stdio};

/// The command with its arguments in words, traced and stopped before its first instruction.
#[expect(clippy::zombie_processes, reason = "the test waits for it by its pid")]
fn stopped_at_its_entry(words: &str) -> Pid {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &format!("read x; exec \"$0\" {words}"), env!("CARGO_BIN_EXE_orlop")])
        .env_clear() // in which the C library looks for its tunables, for thousands of steps
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(shell.id().cast_signed());
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL).unwrap();
    shell.stdin.take().unwrap().write_all(b"\n").unwrap();
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_orlop")).unwrap();
    loop {
        let executed = waitpid(pid, None).unwrap();
        assert_eq!(executed, WaitStatus::PtraceEvent(pid, Signal::SIGTRAP, Event::PTRACE_EVENT_EXEC as i32));
        // The shell's own beginning may be seen too.
        if std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() == program {
            return pid;
        }
        ptrace::cont(pid, None).unwrap();
    }
}

/// A CPUID instruction leaves a virtual machine, and the C library's own start has some forty of them, before all that is long.
#[test]
fn nothing_is_asked_of_the_processor() {
    const CPUID: i64 = 0xa20f;
    if !cfg!(own_libc_start) {
        println!("SKIP: this C library's start is not replaced");
        return;
    }
    let pid = stopped_at_its_entry("--version");
    let mut questions = 0;
    for _ in 0..20_000 {
        ptrace::step(pid, None).unwrap();
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(pid, Signal::SIGTRAP));
        let at = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid).unwrap().rip;
        let word = ptrace::read(pid, at as ptrace::AddressType).unwrap();
        questions += u32::from(word & 0xffff == CPUID);
    }
    ptrace::cont(pid, None).unwrap();
    assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
    assert_eq!(questions, 0);
}
