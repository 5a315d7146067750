//! A filter in words: what its instructions do, not what they were made of.

use super::abi::Abi;
use super::action::Action;
use super::syscalls::Call;
use seccompiler::sock_filter;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many lines the conditions of one call may take.
const MOST_LINES: usize = 64;

/// For each architecture of the filter: which calls meet which fate, in the order of their numbers.
pub(super) fn describe(program: &[sock_filter]) -> Vec<String> {
    let mut lines = Vec::new();
    for abi in [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm] {
        // Every number takes its way through the program; the ends are few, and mostly those of the neighbours.
        let names = Call::names(abi);
        let beyond = names.keys().next_back().map_or(0, |last| last + 1);
        // The private numbers of ARM are far away from the others.
        let numbers = (0..beyond.min(COMMON) + 1).chain(PRIVATE..=beyond);
        let ends = numbers.map(|number| (number, walk(program, abi, abi.bit() | number)));
        let mut runs: Vec<(u32, u32, End)> = Vec::new();
        for (number, end) in ends {
            match runs.last_mut() {
                Some(run) if run.2 == end => run.1 = number,
                _ => runs.push((number, number, end)),
            }
        }
        if matches!(runs.as_slice(), [(_, _, End::Decided(Action::KILL))]) {
            continue;
        }
        lines.push(format!("{}:", abi.name()));
        for (first, last, end) in runs {
            render(program, &names, (first, last), end, &mut lines);
        }
    }
    lines.push("every other architecture: kill the thread".into());
    lines
}

/// Where ARM's private numbers start; all others are below a thousand.
const PRIVATE: u32 = 0x000f_0000;

/// Beyond the numbers of the common numbering.
const COMMON: u32 = 1024;

/// Where a number leads before an argument is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Decided(Action),
    /// The instruction that loads the argument.
    Arguments(usize),
}

fn walk(program: &[sock_filter], abi: Abi, number: u32) -> End {
    let (mut at, mut accumulator) = (0, 0);
    while let Some(op) = program.get(at) {
        at += 1;
        let condition = match op.code {
            0x20 if op.k == 0 => {
                accumulator = number;
                continue;
            }
            0x20 if op.k == 4 => {
                accumulator = abi.audit();
                continue;
            }
            0x20 => return End::Arguments(at - 1),
            0x06 => return End::Decided(Action(op.k)),
            0x05 => {
                at += op.k as usize;
                continue;
            }
            code => holds(code, accumulator, op.k),
        };
        at += usize::from(if condition { op.jt } else { op.jf });
    }
    End::Decided(Action::KILL)
}

fn holds(code: u16, accumulator: u32, value: u32) -> bool {
    match code {
        0x15 => accumulator == value,
        0x25 => accumulator > value,
        0x35 => accumulator >= value,
        _ => accumulator & value != 0,
    }
}

fn render(
    program: &[sock_filter],
    names: &BTreeMap<u32, &str>,
    (first, last): (u32, u32),
    end: End,
    lines: &mut Vec<String>,
) {
    let name = |number: u32| {
        names.get(&number).map_or_else(|| number.to_string(), |name| format!("{name} ({number})"))
    };
    let range = if first == last { name(first) } else { format!("{} to {}", name(first), name(last)) };
    match end {
        End::Decided(action) => lines.push(format!("  {range}: {action}")),
        End::Arguments(at) => {
            lines.push(format!("  {range}:"));
            let most = lines.len() + MOST_LINES;
            branches(program, at, String::new(), 2, most, lines);
        }
    }
}

/// The tests of arguments from `at` on, as nested questions.
fn branches(
    program: &[sock_filter],
    mut at: usize,
    mut word: String,
    depth: usize,
    most: usize,
    lines: &mut Vec<String>,
) {
    while let Some(op) = program.get(at).filter(|_| lines.len() < most) {
        at += 1;
        match op.code {
            0x20 => word = argument(op.k),
            0x54 => {
                let _ = write!(word, " & {:#x}", op.k);
            }
            0x05 => at += op.k as usize,
            0x06 => {
                lines.push(format!("{:indent$}{}", "", Action(op.k), indent = depth * 2));
                return;
            }
            code => {
                let sign = match code {
                    0x15 => "==",
                    0x25 => ">",
                    0x35 => ">=",
                    _ => "has of",
                };
                let (yes, no) = (at + usize::from(op.jt), at + usize::from(op.jf));
                lines.push(format!("{:indent$}if {word} {sign} {:#x}:", "", op.k, indent = depth * 2));
                // A test of the same word is reached without its load.
                branches(program, yes, word.clone(), depth + 1, most, lines);
                lines.push(format!("{:indent$}else:", "", indent = depth * 2));
                branches(program, no, word, depth + 1, most, lines);
                return;
            }
        }
    }
}

fn argument(offset: u32) -> String {
    let index = offset.saturating_sub(16) / 8;
    let half = if offset.is_multiple_of(8) { "low" } else { "high" };
    format!("arg{index}.{half}")
}
