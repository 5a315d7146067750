//! `conformance hot`: which functions of a runtime `run` and `exec` execute, as they are met.
//!
//! The linker lays the program out in this order (`runtime-cli/hot-functions.txt`), so that a run touches a small part
//! of the file: what is not touched is neither paged in nor counted as memory.  Found by stepping through the program,
//! instruction by instruction, in all of its processes; so no call is missed, and nothing needs to be built for it
//! but symbols.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString, c_int};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command as Program;

use conformance::sys::{GoOn, Stop, go_on};
use nix::libc;
use nix::sys::ptrace::{self, Event};
use nix::unistd::Pid;

use super::measure::Stopwatch;
use super::options::Operation;
use super::world::World;
use super::{Failure, options, trace};

/// A function of the program: where it begins, and its name for the linker.
type Symbol = (u64, String);

/// Where execve enters the program, and its functions by address.
struct Symbols {
    entry: u64,
    functions: Vec<Symbol>,
}

/// What binutils know of the program.
fn symbols(program: &Path) -> Result<Symbols, Failure> {
    let output = Program::new("nm").arg("--defined-only").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut functions: Vec<Symbol> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (address, kind, name) = (words.next(), words.next(), words.next());
        let (Some(address), Some("t" | "T" | "W" | "i"), Some(name)) = (address, kind, name) else {
            continue;
        };
        let address = u64::from_str_radix(address, 16).map_err(|_| Failure(format!("nm says: {line}")))?;
        functions.push((address, name.to_owned()));
    }
    functions.sort();
    let entry = functions.iter().find(|function| function.1 == "orlop_start").map(|function| function.0);
    let missing = || Failure(format!("{} has no symbols: build it with -C strip=none", program.display()));
    Ok(Symbols { entry: entry.ok_or_else(missing)?, functions })
}

struct Stepper<'a> {
    /// Device and inode of the program.
    program: (u64, u64),
    symbols: &'a Symbols,
    /// Where the program lies in each process that runs it; others are let go on.
    bases: BTreeMap<Pid, u64>,
    /// Processes whose beginning their parents have reported, and those that stopped before that.
    announced: BTreeSet<Pid>,
    early: BTreeSet<Pid>,
    /// By index, whether it was met, and those that were.
    met: Vec<bool>,
    order: Vec<usize>,
}

/// The address at which execve entered the program of `pid`: `AT_ENTRY` of its auxiliary vector.
fn entry_of(pid: Pid) -> Option<u64> {
    const AT_ENTRY: u64 = 9;
    let bytes = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let words: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?))).collect();
    words.chunks_exact(2).find(|pair| pair[0] == AT_ENTRY).map(|pair| pair[1])
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: Pid) -> nix::Result<u64> {
    Ok(ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid)?.rip)
}

#[cfg(target_arch = "aarch64")]
fn instruction(pid: Pid) -> nix::Result<u64> {
    Ok(ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(pid)?.pc)
}

impl Stepper<'_> {
    fn note(&mut self, pid: Pid) -> nix::Result<()> {
        let Some(base) = self.bases.get(&pid) else { return Ok(()) };
        let address = instruction(pid)?.wrapping_sub(*base);
        let after = self.symbols.functions.partition_point(|function| function.0 <= address);
        // What lies beyond the last function is not the program's: the kernel's vdso.
        if after > 0 && after < self.symbols.functions.len() && !self.met[after - 1] {
            self.met[after - 1] = true;
            self.order.push(after - 1);
        }
        Ok(())
    }

    fn on_event(&mut self, pid: Pid, event: i32) -> nix::Result<()> {
        if event == Event::PTRACE_EVENT_EXEC as i32 {
            self.bases.remove(&pid);
            let program = fs::metadata(format!("/proc/{pid}/exe")).ok();
            let ours = program.is_some_and(|meta| (meta.dev(), meta.ino()) == self.program);
            if let Some(entry) = entry_of(pid).filter(|_| ours) {
                self.bases.insert(pid, entry.wrapping_sub(self.symbols.entry));
            }
        } else if event != Event::PTRACE_EVENT_EXIT as i32 {
            let child = Pid::from_raw(i32::try_from(ptrace::getevent(pid)?).unwrap_or(0));
            if let Some(base) = self.bases.get(&pid).copied() {
                self.bases.insert(child, base);
            }
            self.announced.insert(child);
            if self.early.remove(&child) {
                self.go_on(child, 0)?;
            }
        }
        Ok(())
    }

    fn go_on(&self, pid: Pid, signal: c_int) -> nix::Result<()> {
        let how = if self.bases.contains_key(&pid) { GoOn::Step } else { GoOn::Freely };
        go_on(pid, how, signal)
    }

    fn on_stop(&mut self, stop: Stop) -> nix::Result<()> {
        match stop {
            Stop::Event(pid, event) => {
                self.on_event(pid, event)?;
                self.go_on(pid, 0)
            }
            Stop::Signal(pid, libc::SIGTRAP) => {
                self.note(pid)?;
                self.go_on(pid, 0)
            }
            // A new tracee begins with a SIGSTOP that nobody sent.
            Stop::Signal(pid, libc::SIGSTOP) => {
                if self.announced.contains(&pid) {
                    return self.go_on(pid, 0);
                }
                self.early.insert(pid);
                Ok(())
            }
            Stop::Signal(pid, signal) => self.go_on(pid, signal),
            Stop::Call(_) | Stop::Ended(_) => Ok(()),
        }
    }

    /// Steps through a program and all that it starts, to the end.
    fn run(&mut self, words: &[CString]) -> Result<(), Failure> {
        let first = trace::start(words)?;
        self.announced.insert(first);
        go_on(first, GoOn::Freely, 0)?;
        trace::follow(|stop| self.on_stop(stop))
    }
}

/// Runs `conformance hot`.
pub fn main(args: Vec<OsString>) -> Result<(), Failure> {
    let Some(options) = options::parse(args)? else { return Ok(()) };
    let world = World::prepare(&options)?;
    let runtime = options.contenders.first().ok_or_else(|| Failure("no runtime was named".to_owned()))?;
    let symbols = symbols(&runtime.path)?;
    let program = fs::metadata(&runtime.path)?;
    let mut stepper = Stepper {
        program: (program.dev(), program.ino()),
        symbols: &symbols,
        bases: BTreeMap::new(),
        announced: BTreeSet::new(),
        early: BTreeSet::new(),
        met: vec![false; symbols.functions.len()],
        order: Vec::new(),
    };
    let stopwatch = Stopwatch::new()?;
    for operation in [Operation::Run, Operation::Exec] {
        for bundle in world.bundles() {
            let Some(round) = world.round(operation, runtime, bundle) else { continue };
            stopwatch.around(&world, &round, || stepper.run(&round.timed.words))?;
        }
    }
    for at in stepper.order {
        println!("{}", symbols.functions[at].1);
    }
    Ok(())
}
