//! Shared by the tests of the seccomp compiler: an interpreter of filters, and libseccomp as the oracle.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "halves of arguments, and small test data")]

pub mod oracle;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator as Operator};
use orlop_core::seccomp::{BpfProgram, sock_filter};

pub const X86_64: u32 = 0xc000_003e;
pub const X86: u32 = 0x4000_0003;
pub const AARCH64: u32 = 0xc000_00b7;
pub const ARM: u32 = 0x4000_0028;
pub const X32_BIT: u32 = 0x4000_0000;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..=60 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("no test loads the word at {offset}"),
        }
    }
}

/// What the filter returns, and how many instructions that takes.
pub fn interpret(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let (action, steps, _) = trace(program, call);
    (action, steps)
}

/// The same, and whether the number of the call was looked at.
pub fn trace(program: &[sock_filter], call: &Call) -> (u32, usize, bool) {
    let (mut accumulator, mut at, mut numbered) = (0, 0, false);
    for steps in 1.. {
        let op = &program[at];
        at += 1;
        let jump = |condition| usize::from(if condition { op.jt } else { op.jf });
        match op.code {
            0x20 => {
                accumulator = call.word(op.k);
                numbered |= op.k == 0;
            }
            0x54 => accumulator &= op.k,
            0x06 => return (op.k, steps, numbered),
            0x05 => at += op.k as usize,
            0x15 => at += jump(accumulator == op.k),
            0x25 => at += jump(accumulator > op.k),
            0x35 => at += jump(accumulator >= op.k),
            0x45 => at += jump(accumulator & op.k != 0),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
    unreachable!("every way ends")
}

/// What the kernel checks before it takes a filter (`bpf_check_classic`, `seccomp_check_filter`).
pub fn check(program: &[sock_filter]) {
    assert!(!program.is_empty() && program.len() <= 4096, "{} instructions", program.len());
    assert_eq!(program.last().map(|op| op.code), Some(0x06), "ends with a return");
    for (at, op) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        match op.code {
            0x20 => assert!(op.k < 64 && op.k % 4 == 0),
            0x15 | 0x25 | 0x35 | 0x45 => assert!(usize::from(op.jt) < rest && usize::from(op.jf) < rest),
            0x05 => assert!((op.k as usize) < rest),
            0x06 | 0x54 => {}
            other => panic!("the kernel does not know instruction {other:#x}"),
        }
    }
}

/// Whether `arg` holds, for an ABI with arguments of 64 bits or of 32.
pub fn holds(arg: &LinuxSeccompArg, call: &Call, wide: bool) -> bool {
    let all = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let (is, value) = (call.args[arg.index()] & all, arg.value() & all);
    match arg.op() {
        Operator::ScmpCmpNe => is != value,
        Operator::ScmpCmpLt => is < value,
        Operator::ScmpCmpLe => is <= value,
        Operator::ScmpCmpEq => is == value,
        Operator::ScmpCmpGe => is >= value,
        Operator::ScmpCmpGt => is > value,
        Operator::ScmpCmpMaskedEq => is & value == arg.value_two().unwrap_or(0) & value,
    }
}

/// The conditions of a rule as alternatives: several of one argument are one each.
pub fn alternatives(args: &[LinuxSeccompArg]) -> Vec<Vec<LinuxSeccompArg>> {
    let mut indices: Vec<_> = args.iter().map(LinuxSeccompArg::index).collect();
    indices.sort_unstable();
    if indices.windows(2).any(|pair| pair[0] == pair[1]) {
        args.iter().map(|arg| vec![*arg]).collect()
    } else {
        vec![args.to_vec()]
    }
}

/// A default profile of an engine, below tests/data/seccomp.
pub fn profile(name: &str) -> LinuxSeccomp {
    let path = format!("{}/tests/data/seccomp/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Bytes of a program, as `seccomp_export_bpf` writes them.
pub fn decode(bytes: &[u8]) -> BpfProgram {
    bytes
        .chunks_exact(8)
        .map(|op| sock_filter {
            code: u16::from_ne_bytes([op[0], op[1]]),
            jt: op[2],
            jf: op[3],
            k: u32::from_ne_bytes([op[4], op[5], op[6], op[7]]),
        })
        .collect()
}
