//! Which devices a container may use, as version 2 takes it: a BPF program (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The kernel asks the program about each access with `struct bpf_cgroup_dev_ctx`: the kinds of access and the sort of
//! device in one word, the major and the minor number; it answers 1 for yes.  One request may ask for several kinds
//! of access.  The program goes through the rules from the last to the first and keeps the kinds that are not decided
//! yet: a rule that denies one of them ends it with no, one that permits takes its kinds off, and when none is left
//! the answer is yes.

use super::devices::{Access, DeviceKind, DeviceRule};

const BLOCK: i32 = 1;
const CHAR: i32 = 2;

const CONTEXT: u8 = 1;
const RESULT: u8 = 0;
const KIND: u8 = 2;
const UNDECIDED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Codes of instructions (`linux/bpf.h`): the class, the operation, and where the operand is from.
mod code {
    pub const LOAD_WORD: u8 = 0x61;
    pub const MOVE32: u8 = 0xbc;
    pub const SET: u8 = 0xb7;
    pub const AND32: u8 = 0x54;
    pub const SHIFT_RIGHT32: u8 = 0x74;
    /// Comparing the lower halves: a 64-bit comparison would extend the sign of a number above 2^31.
    pub const JUMP_UNEQUAL32: u8 = 0x56;
    pub const JUMP_COMMON_BITS32: u8 = 0x46;
    pub const JUMP: u8 = 0x05;
    pub const EXIT: u8 = 0x95;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { code, destination, source, offset, immediate }
    }

    const fn with_value(code: u8, destination: u8, immediate: i32) -> Self {
        Self::new(code, destination, 0, 0, immediate)
    }

    /// As `struct bpf_insn` lies in the memory of this machine.
    fn encode(self) -> u64 {
        let registers = if cfg!(target_endian = "little") {
            self.source << 4 | self.destination
        } else {
            self.destination << 4 | self.source
        };
        let mut bytes = [0; 8];
        bytes[0] = self.code;
        bytes[1] = registers;
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.immediate.to_ne_bytes());
        u64::from_ne_bytes(bytes)
    }
}

/// The program for a list of rules, as `bpf(2)` takes it, one instruction in each number.
#[must_use]
pub fn device_program(rules: &[DeviceRule]) -> Vec<u64> {
    instructions(rules).into_iter().map(Instruction::encode).collect()
}

fn instructions(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::new(code::LOAD_WORD, KIND, CONTEXT, 0, 0),
        Instruction::new(code::MOVE32, UNDECIDED, KIND, 0, 0),
        Instruction::with_value(code::AND32, KIND, 0xffff),
        Instruction::with_value(code::SHIFT_RIGHT32, UNDECIDED, 16),
        Instruction::new(code::LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        Instruction::new(code::LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(one_rule(rule));
        if rule.is_total() {
            // It has ended the program; the verifier refuses instructions that cannot be reached.
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn answer(yes: bool) -> [Instruction; 2] {
    [Instruction::with_value(code::SET, RESULT, yes.into()), Instruction::with_value(code::EXIT, 0, 0)]
}

fn one_rule(rule: &DeviceRule) -> Vec<Instruction> {
    let access = i32::from(rule.access.bits());
    let mut body = Vec::new();
    match (rule.allow, rule.access == Access::ALL) {
        (_, true) => {}
        (true, false) => {
            let rest = i32::from(Access::ALL.bits()) & !access;
            body.push(Instruction::with_value(code::AND32, UNDECIDED, rest));
            body.push(Instruction::new(code::JUMP_UNEQUAL32, UNDECIDED, 0, 2, 0));
        }
        (false, false) => {
            body.push(Instruction::new(code::JUMP_COMMON_BITS32, UNDECIDED, 0, 1, access));
            body.push(Instruction::new(code::JUMP, 0, 0, 2, 0));
        }
    }
    body.extend(answer(rule.allow));

    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Char => Some(CHAR),
        DeviceKind::Block => Some(BLOCK),
    };
    // The numbers keep their bits: the comparison is of 32 bits without sign.
    let tests =
        [(KIND, kind), (MAJOR, rule.major.map(u32::cast_signed)), (MINOR, rule.minor.map(u32::cast_signed))];
    for (register, value) in tests.into_iter().rev() {
        let Some(value) = value else { continue };
        // To behind the rule; a rule has at most seven instructions.
        let over = i16::try_from(body.len()).unwrap_or(i16::MAX);
        body.insert(0, Instruction::new(code::JUMP_UNEQUAL32, register, 0, over, value));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::super::devices::tests::{permitted, some_rules};
    use super::*;

    /// Runs a program on a request; `None` if it does what the verifier would refuse.
    fn run(program: &[Instruction], block: bool, major: u32, minor: u32, access: u32) -> Option<u64> {
        let context = [access << 16 | if block { 1 } else { 2 }, major, minor];
        let mut registers: [Option<u64>; 6] = [None; 6];
        let mut at = 0_usize;
        loop {
            let i = program.get(at)?;
            at += 1;
            let value = registers[usize::from(i.destination)];
            let low = value.map(|v| u32::try_from(v & 0xffff_ffff).unwrap());
            let operand = i.immediate.cast_unsigned();
            let result = match i.code {
                code::LOAD_WORD if i.source == CONTEXT => {
                    Some(u64::from(*context.get(usize::try_from(i.offset).ok()? / 4)?))
                }
                code::MOVE32 => Some(registers[usize::from(i.source)]? & 0xffff_ffff),
                code::SET => Some(u64::from(operand)),
                code::AND32 => Some(u64::from(low? & operand)),
                code::SHIFT_RIGHT32 => Some(u64::from(low? >> operand)),
                code::EXIT => return registers[0],
                code::JUMP_UNEQUAL32 | code::JUMP_COMMON_BITS32 | code::JUMP => {
                    let taken = match i.code {
                        code::JUMP_UNEQUAL32 => low? != operand,
                        code::JUMP_COMMON_BITS32 => low? & operand != 0,
                        _ => true,
                    };
                    at += if taken { usize::try_from(i.offset).ok()? } else { 0 };
                    value
                }
                _ => return None,
            };
            registers[usize::from(i.destination)] = result;
        }
    }

    #[test]
    fn the_program_means_what_the_rules_mean() {
        for seed in 0..20_000 {
            let rules = some_rules(seed);
            let program = instructions(&rules);
            for n in 0_u32..126 {
                let (block, major, minor, access) = (n % 2 == 1, n / 2 % 3, n / 6 % 3, n / 18 + 1);
                let kinds = [Access::MKNOD, Access::READ, Access::WRITE];
                let mut asked = kinds.into_iter().filter(|kind| u32::from(kind.bits()) & access != 0);
                let expected = asked.all(|kind| permitted(&rules, block, major, minor, kind));
                let answer = run(&program, block, major, minor, access);
                assert_eq!(answer, Some(u64::from(expected)), "{rules:?} {block} {major}:{minor} {access}");
            }
        }
    }

    #[test]
    fn numbers_above_the_sign_bit_are_compared_whole() {
        let rule = DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major: Some(u32::MAX),
            minor: Some(0x8000_0000),
            access: Access::ALL,
        };
        let program = instructions(&[rule]);
        assert_eq!(run(&program, false, u32::MAX, 0x8000_0000, 2), Some(1));
        assert_eq!(run(&program, false, u32::MAX, 0, 2), Some(0));
    }

    #[test]
    fn every_instruction_can_be_reached() {
        for seed in 0..5_000 {
            let program = instructions(&some_rules(seed));
            let mut reached = vec![false; program.len()];
            let mut open = vec![0];
            while let Some(at) = open.pop() {
                if std::mem::replace(&mut reached[at], true) {
                    continue;
                }
                let i = program[at];
                let target = at + 1 + usize::try_from(i.offset).unwrap();
                match i.code {
                    code::EXIT => {}
                    code::JUMP => open.push(target),
                    code::JUMP_UNEQUAL32 | code::JUMP_COMMON_BITS32 => open.extend([at + 1, target]),
                    _ => open.push(at + 1),
                }
            }
            assert!(reached.iter().all(|r| *r), "{program:?}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_encoding_is_the_kernels() {
        let rules = [DeviceRule {
            allow: true,
            kind: DeviceKind::All,
            major: None,
            minor: None,
            access: Access::ALL,
        }];
        let expected: [u64; 8] = [
            0x61 | 0x12 << 8,
            0xbc | 0x23 << 8,
            0x54 | 0x02 << 8 | 0xffff << 32,
            0x74 | 0x03 << 8 | 16 << 32,
            0x61 | 0x14 << 8 | 4 << 16,
            0x61 | 0x15 << 8 | 8 << 16,
            0xb7 | 1 << 32,
            0x95,
        ];
        assert_eq!(device_program(&rules), expected);
    }
}
