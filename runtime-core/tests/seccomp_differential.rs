//! The compiler against libseccomp: the same verdict for every call.
//!
//! `ORLOP_SECCOMP_PROFILES=100000` makes the random test as long as one likes.

mod seccomp;

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};
use orlop_core::seccomp::{BpfProgram, Filter, Machine, compile};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use seccomp::{
    AARCH64, ARM, Call, X32_BIT, X86, X86_64, alternatives, check, holds, interpret, oracle, trace,
};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A profile compiled twice.
struct Pair<'a> {
    profile: &'a LinuxSeccomp,
    machine: Machine,
    ours: Filter,
    theirs: BpfProgram,
}

/// The differences that are justified in docs/seccomp.md, by the heading there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Justified {
    /// Several rules with different actions match, and libseccomp takes another of them.
    Order,
    /// libseccomp's answer is that of no rule that matches.
    NoRule,
    /// libseccomp decides without having looked at the number.
    NoNumber,
}

type Counts = BTreeMap<Justified, usize>;

impl<'a> Pair<'a> {
    /// None where libseccomp refuses the profile.
    fn new(profile: &'a LinuxSeccomp, machine: Machine) -> Option<Self> {
        let theirs = oracle::compile(profile, machine, false)?;
        let ours = compile(profile, machine).expect("what libseccomp takes, we take");
        check(&ours.program);
        Some(Self { profile, machine, ours, theirs })
    }

    /// Compares one call; the reason if the verdicts differ with good reason.
    fn compare(&self, call: &Call) -> Option<Justified> {
        let ours = interpret(&self.ours.program, call).0;
        let newer = oracle::is_newer(self.profile, self.machine, call.arch, call.number);
        let theirs = if newer { 0x0005_0026 } else { interpret(&self.theirs, call).0 };
        if ours == theirs {
            return None;
        }
        let rules = self.matching(call);
        let actions: BTreeSet<u32> = rules.iter().map(|rule| rule.0).collect();
        let default =
            oracle::code(oracle::action(self.profile.default_action(), self.profile.default_errno_ret()));
        let right = if actions.is_empty() { ours == default } else { actions.contains(&ours) };
        assert!(right && !newer, "{call:x?}: {ours:#x}, libseccomp says {theirs:#x}; rules say {actions:x?}");
        if !trace(&self.theirs, call).2 {
            // Seen only where a call is named that the architecture does not have.
            let rules = self.profile.syscalls().iter().flatten();
            let absent = |name: &String| oracle::number(name, abi(call).0).is_none();
            assert!(rules.flat_map(LinuxSyscall::names).any(absent), "{call:x?}");
            return Some(Justified::NoNumber);
        }
        // Of rules without conditions, the first decides; there is nothing to choose.
        assert!(rules.iter().all(|rule| rule.1), "{call:x?}: {ours:#x}, libseccomp says {theirs:#x}");
        if actions.len() > 1 && actions.contains(&theirs) {
            return Some(Justified::Order);
        }
        // A single rule for a call is never misjudged.
        assert!(self.conditional(call) > 1, "{call:x?}: {ours:#x}, libseccomp says {theirs:#x}");
        Some(Justified::NoRule)
    }

    /// The actions of the rules that match, and whether they have conditions.
    fn matching(&self, call: &Call) -> Vec<(u32, bool)> {
        self.rules(call).into_iter().filter(|rule| rule.2).map(|rule| (rule.0, rule.1)).collect()
    }

    fn conditional(&self, call: &Call) -> usize {
        self.rules(call).into_iter().filter(|rule| rule.1).count()
    }

    /// Of every rule for the call: its action, whether it has conditions, and whether they hold.
    fn rules(&self, call: &Call) -> Vec<(u32, bool, bool)> {
        let (arch, wide) = abi(call);
        let default = oracle::action(self.profile.default_action(), self.profile.default_errno_ret());
        let mut found = Vec::new();
        for rule in self.profile.syscalls().iter().flatten() {
            let action = oracle::action(rule.action(), rule.errno_ret());
            let ways: Vec<_> = rule.names().iter().filter_map(|name| way(name, arch, call)).collect();
            if action == default || ways.is_empty() {
                continue;
            }
            for args in alternatives(rule.args().as_deref().unwrap_or_default()) {
                for way in &ways {
                    let args: Vec<_> = args.iter().filter(|arg| way.is_none() || arg.index() != 0).collect();
                    let selected = way.is_none_or(|selected| selected);
                    let hold = selected && args.iter().all(|arg| holds(arg, call, wide));
                    found.push((oracle::code(action), way.is_some() || !args.is_empty(), hold));
                }
            }
        }
        found
    }
}

/// Whose call it is, and whether its arguments have 64 bits.
fn abi(call: &Call) -> (libseccomp::ScmpArch, bool) {
    match call.arch {
        X86_64 if call.number & X32_BIT != 0 => (libseccomp::ScmpArch::X32, false),
        X86_64 => (libseccomp::ScmpArch::X8664, true),
        X86 => (libseccomp::ScmpArch::X86, false),
        AARCH64 => (libseccomp::ScmpArch::Aarch64, true),
        _ => (libseccomp::ScmpArch::Arm, false),
    }
}

/// How `name` is made by `call`: not at all, directly, or as a sub-call that its first argument selects or not.
fn way(name: &str, arch: libseccomp::ScmpArch, call: &Call) -> Option<Option<bool>> {
    if oracle::number(name, arch) == Some(call.number) {
        return Some(None);
    }
    if arch != libseccomp::ScmpArch::X86 {
        return None;
    }
    if DIRECT_CALLS.contains(&(name, call.number)) {
        return Some(None);
    }
    let calls: &[(&str, u64)] = match call.number {
        102 => &SOCKET_CALLS,
        117 => &IPC_CALLS,
        _ => return None,
    };
    let sub_call = calls.iter().find(|known| known.0 == name)?.1;
    Some(Some(call.args[0] & u64::from(u32::MAX) == sub_call))
}

/// The numbers that multiplexed calls got on x86 in Linux 3.0, 4.3 and 5.1: by name, libseccomp answers with
/// a negative number of its own, which stands for both ways.
const DIRECT_CALLS: [(&str, u32); 3] = [("sendmmsg", 345), ("socket", 359), ("shmat", 397)];
const SOCKET_CALLS: [(&str, u64); 4] = [("socket", 1), ("accept", 5), ("send", 9), ("sendmmsg", 20)];
const IPC_CALLS: [(&str, u64); 3] = [("semop", 1), ("semtimedop", 4), ("shmat", 21)];

/// Every number that some ABI has, and those at the edges.
fn numbers(arch: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..640).collect();
    numbers.extend([0x1000, 0x3fff_ffff, u32::MAX]);
    match arch {
        X86_64 => numbers.extend((X32_BIT..X32_BIT + 640).chain([0x4000_1000, 0x7fff_ffff])),
        ARM => numbers.extend(0xf_0000..0xf_0008),
        _ => {}
    }
    numbers
}

fn arches(machine: Machine) -> [u32; 3] {
    match machine {
        Machine::X86_64 => [X86_64, X86, 0x8000_0016],
        Machine::Aarch64 => [AARCH64, ARM, 0x8000_0016],
    }
}

/// Values on both sides of each that a condition names, in each half.
fn values(profile: &LinuxSeccomp) -> Vec<u64> {
    let mut values: BTreeSet<u64> = [0, 1, u64::MAX, 1 << 32, u64::from(u32::MAX)].into();
    let args = profile.syscalls().iter().flatten().flat_map(|rule| rule.args().iter().flatten());
    for arg in args {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            let (high, low) = (value >> 32 << 32, value & u64::from(u32::MAX));
            values.extend([value, value.wrapping_sub(1), value.wrapping_add(1), high, low, !value]);
            values.extend([value ^ (1 << 32), value.wrapping_add(1 << 32), value ^ (1 << 31)]);
        }
    }
    values.into_iter().collect()
}

/// Numbers from a seed; the same at every run.
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        &from[(self.0 >> 33) as usize % from.len()]
    }
}

/// Every number once, and those that have conditions on `grid` combinations of arguments.
fn compare_everywhere(pair: &Pair, grid: usize) -> Counts {
    let (values, mut dice, mut counts) = (values(pair.profile), Dice(7), Counts::new());
    for arch in arches(pair.machine) {
        for number in numbers(arch) {
            let mut call = Call { arch, number, args: [0; 6] };
            let rounds = if pair.rules(&call).iter().any(|rule| rule.1) { grid } else { 1 };
            for _ in 0..rounds {
                call.args = std::array::from_fn(|_| *dice.pick(&values));
                if let (102 | 117, X86) = (number, arch) {
                    call.args[0] = *dice.pick(&[0, 1, 4, 5, 9, 20, 21, 1 << 32 | 1]);
                }
                if let Some(reason) = pair.compare(&call) {
                    *counts.entry(reason).or_default() += 1;
                }
            }
        }
    }
    counts
}

#[test]
fn the_engines_default_profiles() {
    for name in ["docker", "containerd", "podman"] {
        let profile = seccomp::profile(name);
        let pair = Pair::new(&profile, Machine::X86_64).expect("libseccomp takes it");
        assert_eq!(compare_everywhere(&pair, 400), Counts::new(), "{name}");
    }
}

/// Names that are on one architecture only, multiplexed, with different numbers, and usual ones.
const NAMES: [&str; 30] = [
    "read",
    "write",
    "close",
    "clone",
    "personality",
    "ioctl",
    "readv",
    "socket",
    "accept",
    "send",
    "sendmmsg",
    "socketcall",
    "shmat",
    "semop",
    "semtimedop",
    "ipc",
    "_llseek",
    "newfstatat",
    "fstatat64",
    "set_tls",
    "cacheflush",
    "arch_prctl",
    "modify_ldt",
    "arm_sync_file_range",
    "arm_fadvise64_64",
    "clone3",
    "openat2",
    "rt_sigreturn",
    "exit_group",
    "nonesuch",
];

const VALUES: [u64; 12] = [
    0,
    1,
    2,
    5,
    0x10,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0xffff_ffff_0000_0001,
    u64::MAX,
];

fn any_action() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => Just(json!({"action": "SCMP_ACT_ALLOW"})),
        3 => prop::sample::select(vec![1_u32, 2, 38]).prop_map(|data| json!({"action": "SCMP_ACT_ERRNO", "errnoRet": data})),
        1 => Just(json!({"action": "SCMP_ACT_ERRNO"})),
        1 => Just(json!({"action": "SCMP_ACT_TRACE", "errnoRet": 7})),
        1 => prop::sample::select(vec!["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "LOG", "NOTIFY"])
            .prop_map(|name| json!({"action": format!("SCMP_ACT_{name}")})),
    ]
}

fn any_condition(ops: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let value = || prop::sample::select(VALUES.to_vec());
    // Low arguments more often, so that rules meet.
    (prop_oneof![3 => 0..2_usize, 1 => 2..6_usize], value(), value(), prop::sample::select(ops)).prop_map(
        |(index, value, two, op)| json!({"index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")}),
    )
}

fn any_rule(ops: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let names = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4);
    let args = prop::collection::vec(any_condition(ops), 0..4);
    (names, any_action(), args).prop_map(|(names, mut rule, args)| {
        rule["names"] = json!(names);
        rule["args"] = json!(args);
        rule
    })
}

fn any_profile(ops: &'static [&'static str]) -> impl Strategy<Value = (Machine, LinuxSeccomp)> {
    let rules = prop::collection::vec(any_rule(ops), 0..9);
    let archs = prop::collection::vec(any::<bool>(), 3);
    (any::<bool>(), any_action(), archs, rules).prop_map(|(arm, default, listed, rules)| {
        let (machine, all) = if arm {
            (Machine::Aarch64, ["AARCH64", "ARM", "AARCH64"])
        } else {
            (Machine::X86_64, ["X86_64", "X86", "X32"])
        };
        let listed = all.iter().zip(listed).filter(|(_, take)| *take);
        let mut profile = json!({
            "defaultAction": default["action"],
            "architectures": listed.map(|(name, _)| format!("SCMP_ARCH_{name}")).collect::<Vec<_>>(),
            "syscalls": rules,
        });
        if let Some(data) = default.get("errnoRet") {
            profile["defaultErrnoRet"] = data.clone();
        }
        (machine, serde_json::from_value(profile).expect("a profile"))
    })
}

/// How many random profiles: bounded where nothing is optimised.
fn profiles() -> u32 {
    let asked = std::env::var("ORLOP_SECCOMP_PROFILES").ok();
    let bound = if cfg!(debug_assertions) { 150 } else { 10_000 };
    asked.map_or(bound, |count| count.parse().expect("ORLOP_SECCOMP_PROFILES is a number"))
}

/// Compares random profiles; returns how many were compared, how many libseccomp refused, and the differences.
fn random(ops: &'static [&'static str], cases: u32) -> (usize, usize, Counts) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner =
        TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, rng);
    let sums = RefCell::new((0, 0, Counts::new()));
    let outcome = runner.run(&any_profile(ops), |(machine, profile)| {
        let mut sums = sums.borrow_mut();
        let Some(pair) = Pair::new(&profile, machine) else {
            sums.1 += 1;
            return Ok(());
        };
        sums.0 += 1;
        for (reason, _) in compare_everywhere(&pair, 60) {
            *sums.2.entry(reason).or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    sums.into_inner()
}

#[test]
fn random_profiles_of_equality() {
    let (compared, refused, counts) = random(&["EQ", "MASKED_EQ"], profiles());
    println!(
        "{compared} profiles of equality compared, {refused} refused by libseccomp, by difference: {counts:?}"
    );
    assert!(compared > refused * 2, "{compared} compared, {refused} refused");
}

#[test]
fn random_profiles() {
    let (compared, refused, counts) = random(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"], profiles());
    println!("{compared} profiles compared, {refused} refused by libseccomp, by difference: {counts:?}");
    assert!(compared > refused * 2, "{compared} compared, {refused} refused");
}
