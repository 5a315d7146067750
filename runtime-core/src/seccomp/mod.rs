//! From `linux.seccomp` to a program for seccomp(2).
//!
//! A pure function: what it knows of the machine is its architecture.

mod abi;
mod action;
mod condition;
mod describe;
mod emit;
mod graph;
mod order;
mod rules;
mod slots;
mod syscalls;
mod tree;

pub use abi::Machine;
pub use action::Action;
pub use seccompiler::{BpfProgram, sock_filter};

use crate::spec::{Fault, Report};
use abi::{Abi, X32_BIT};
use graph::{Graph, Id, Op, Test, Word};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};
use rules::Rule;
use syscalls::Call;
use tree::Spans;

/// `BPF_MAXINSNS`: the kernel takes no longer program.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A compiled profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program for `SECCOMP_SET_MODE_FILTER`; never empty, never longer than [`MAX_INSTRUCTIONS`].
    pub program: BpfProgram,
    /// `SECCOMP_FILTER_FLAG_*`, with `NEW_LISTENER` when some call is notified.
    pub flags: u32,
    /// What is accepted but will not do what its author may think: config path and text.
    pub warnings: Vec<(String, String)>,
    /// Names of system calls that no architecture of ours has: their rules have no effect.
    pub unknown: Vec<String>,
}

impl Filter {
    /// Whether loading it returns a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }

    /// What the filter does, in lines for people.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        describe::describe(&self.program)
    }
}

const TSYNC: u32 = 1 << 0;
const LOG: u32 = 1 << 1;
const SPEC_ALLOW: u32 = 1 << 2;
const NEW_LISTENER: u32 = 1 << 3;
const TSYNC_ESRCH: u32 = 1 << 4;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Compiles `profile` for `machine`.
///
/// # Errors
/// Every fault, each with its place in the config.
pub fn compile(profile: &LinuxSeccomp, machine: Machine) -> Result<Filter, Vec<Fault>> {
    let mut report = Report::default();
    let mut filter = Filter { program: Vec::new(), flags: 0, warnings: Vec::new(), unknown: Vec::new() };
    check(profile, &mut report);
    let default = Action::new(profile.default_action(), profile.default_errno_ret());
    let listed = listed(profile, machine, &mut filter.warnings);
    let rules: Vec<Rule> = profile
        .syscalls()
        .iter()
        .flatten()
        .map(|rule| Rule::new(rule, Action::new(rule.action(), rule.errno_ret()), &mut filter.unknown))
        .collect();
    filter.unknown.sort_unstable();
    filter.unknown.dedup();
    let mut compiler = Compiler { graph: Graph::default(), rules, default, listed };
    filter.flags = flags(profile, compiler.notifies(), &mut filter.warnings);
    let root = compiler.machine(machine);
    match emit::emit(&compiler.graph, root, MAX_INSTRUCTIONS) {
        Some(program) => filter.program = program,
        None => report.fault(
            "linux.seccomp.syscalls",
            format!("needs a filter of more than {MAX_INSTRUCTIONS} instructions, the most that Linux takes"),
        ),
    }
    if report.faults.is_empty() { Ok(filter) } else { Err(report.faults) }
}

fn check(profile: &LinuxSeccomp, report: &mut Report) {
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        for (position, arg) in rule.args().iter().flatten().enumerate() {
            if arg.index() > 5 {
                let at = format!("linux.seccomp.syscalls[{index}].args[{position}].index");
                report.fault(at, format!("{} is not between 0 and 5", arg.index()));
            }
        }
    }
}

/// The ABIs that the profile names, each once.
fn listed(profile: &LinuxSeccomp, machine: Machine, warnings: &mut Vec<(String, String)>) -> Vec<Abi> {
    let mut abis = Vec::new();
    for (index, arch) in profile.architectures().iter().flatten().enumerate() {
        match machine.abi_of(*arch) {
            Some(abi) if abis.contains(&abi) => {}
            Some(abi) => abis.push(abi),
            None => warnings.push((
                format!("linux.seccomp.architectures[{index}]"),
                format!("{arch} has no programs on this machine: nothing is filtered for it"),
            )),
        }
    }
    abis
}

fn flags(profile: &LinuxSeccomp, notifies: bool, warnings: &mut Vec<(String, String)>) -> u32 {
    let listed = profile.flags().as_deref();
    let mut flags = 0;
    // Unlike an empty list, none stands for what runc takes.
    for flag in listed.unwrap_or(&[Flag::SeccompFilterFlagSpecAllow]) {
        flags |= match flag {
            Flag::SeccompFilterFlagTsync => TSYNC,
            Flag::SeccompFilterFlagLog => LOG,
            Flag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
            Flag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
        };
    }
    if notifies {
        flags |= NEW_LISTENER;
        // Both return a number of their own, unless failure to synchronise is an errno.
        if flags & TSYNC != 0 {
            flags |= TSYNC_ESRCH;
        }
    } else if flags & WAIT_KILLABLE_RECV != 0 {
        // The kernel refuses it without a listener.
        flags &= !WAIT_KILLABLE_RECV;
        warnings.push((
            "linux.seccomp.flags".into(),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY".into(),
        ));
    }
    flags
}

struct Compiler<'a> {
    graph: Graph,
    rules: Vec<Rule<'a>>,
    default: Action,
    /// The ABIs that the profile names.
    listed: Vec<Abi>,
}

/// Calls that programs make all the time: they are to be found in few steps.  Linux from 5.11 on does not even run
/// the filter for those that are always allowed.
const HOT: [&str; 24] = [
    "read",
    "write",
    "close",
    "fstat",
    "newfstatat",
    "lseek",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "openat",
    "futex",
    "poll",
    "ppoll",
    "epoll_wait",
    "epoll_pwait",
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "clock_gettime",
    "clock_nanosleep",
    "rt_sigprocmask",
    "getpid",
];

impl Compiler<'_> {
    fn notifies(&self) -> bool {
        self.default.notifies()
            || self.rules.iter().any(|rule| rule.action.notifies() && !rule.calls.is_empty())
    }

    /// From the architecture of the calling program to its tree.
    fn machine(&mut self, machine: Machine) -> Id {
        let kill = self.graph.leaf(Action::KILL);
        let compat = match machine {
            Machine::X86_64 => Abi::X86,
            Machine::Aarch64 => Abi::Arm,
        };
        let mut root = kill;
        if self.listed.contains(&compat) {
            let tree = self.tree(compat, None);
            root = self.architecture(compat, tree, root);
        }
        let native = machine.abi();
        let beyond = (native == Abi::X86_64).then_some(Abi::X32);
        let tree = self.tree(native, beyond);
        self.architecture(native, tree, root)
    }

    fn architecture(&mut self, abi: Abi, tree: Id, other: Id) -> Id {
        let test = Test { word: Word::ARCH, op: Op::Eq, value: abi.audit() };
        self.graph.branch(test, tree, other)
    }

    /// The search among the numbers of `abi`, and of `beyond`, which shares its architecture.
    fn tree(&mut self, abi: Abi, beyond: Option<Abi>) -> Id {
        let mut spans = Spans::default();
        self.fill(abi, &mut spans);
        match beyond {
            Some(beyond) if self.listed.contains(&beyond) => self.fill(beyond, &mut spans),
            Some(_) => {
                spans.from(X32_BIT, self.graph.leaf(Action::KILL));
                // Not a call of x32, but of a tracer that has cancelled one.
                spans.from(u32::MAX, self.graph.leaf(self.default));
            }
            None => {}
        }
        let mut hot: Vec<u32> = HOT.iter().filter_map(|name| Call::find(name)?.number(abi)).collect();
        hot.sort_unstable();
        spans.search(&hot, &mut self.graph)
    }

    fn fill(&mut self, abi: Abi, spans: &mut Spans) {
        let default = self.graph.leaf(self.default);
        let different: Vec<&Rule> = self.rules.iter().filter(|rule| rule.action != self.default).collect();
        let mut decisions = rules::decisions(&different, abi, default, &mut self.graph);
        let newest = self.newest(abi);
        // That a call is newer than the profile is found first, even if it is the new number of an old one.
        decisions.retain(|(number, _)| newest.is_none_or(|newest| *number <= newest));
        spans.from(abi.bit(), default);
        spans.calls(&decisions, default);
        if let Some(newest) = newest {
            spans.from(newest + 1, self.graph.leaf(Action::NO_SUCH_CALL));
        }
    }

    /// The highest number that the profile knows, where those above are to seem not to exist.
    ///
    /// A profile that allows little by little cannot know calls that came after it.  Programs probe for those and
    /// do without when they are told ENOSYS, but not when they are told EPERM or are killed.
    fn newest(&self, abi: Abi) -> Option<u32> {
        if self.default.permissive() || !self.listed.contains(&abi) {
            return None;
        }
        // As in libseccomp's names, the numbers that once multiplexed calls of x86 got later do not count.
        let numbers = self
            .rules
            .iter()
            .flat_map(|rule| &rule.calls)
            .filter(|call| !abi.multiplexes() || call.multiplexed().is_none())
            .filter_map(|call| call.number(abi));
        numbers.max().filter(|newest| *newest != 0)
    }
}
