//! What a filter decides, as a graph of tests that ends in actions.
//!
//! Equal nodes are one node, so what two calls or two architectures have in common is there once.

use super::action::Action;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A word of `struct seccomp_data`, by its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word(pub(super) u8);

impl Word {
    pub(super) const NUMBER: Self = Self(0);
    pub(super) const ARCH: Self = Self(4);

    /// The low half of an argument; both architectures of ours are little-endian.
    pub(super) const fn low(argument: u8) -> Self {
        Self(16 + 8 * argument)
    }

    pub(super) const fn high(argument: u8) -> Self {
        Self(20 + 8 * argument)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Eq,
    Gt,
    Ge,
    /// Some bit of the operand is set.
    AnyBit,
    /// The bits of the first are as in the operand.
    Masked(u32),
}

/// One comparison of a word with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Test {
    pub(super) word: Word,
    pub(super) op: Op,
    pub(super) value: u32,
}

impl Test {
    fn holds(self, word: u32) -> bool {
        match self.op {
            Op::Eq => word == self.value,
            Op::Gt => word > self.value,
            Op::Ge => word >= self.value,
            Op::AnyBit => word & self.value != 0,
            Op::Masked(mask) => word & mask == self.value,
        }
    }

    /// What `fact` says about this test.
    fn given(self, fact: Fact) -> Option<bool> {
        let Fact(known, outcome) = fact;
        if self == known {
            Some(outcome)
        } else if outcome && known.op == Op::Eq && known.word == self.word {
            Some(self.holds(known.value))
        } else {
            None
        }
    }
}

/// The outcome of a test on the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact(pub(super) Test, pub(super) bool);

/// So many tests are skipped at once.  More would be right, too, but take time that grows with the square of the rules.
const FURTHEST: usize = 64;

/// A node, by its place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u32);

impl Id {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Return(Action),
    Branch { test: Test, yes: Id, no: Id },
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    places: HashMap<Node, Id, BuildHasherDefault<Mixed>>,
}

/// The hash of a node: some words, multiplied.  Who writes a profile so that many are alike makes the compilation of that profile slow.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        // The best bits are the upper ones, and the lower ones are asked for too.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Which variant of an enum it is.
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }
}

impl Graph {
    pub(super) fn leaf(&mut self, action: Action) -> Id {
        self.add(Node::Return(action))
    }

    pub(super) fn branch(&mut self, test: Test, yes: Id, no: Id) -> Id {
        if yes == no { yes } else { self.add(Node::Branch { test, yes, no }) }
    }

    pub(super) fn node(&self, id: Id) -> Node {
        self.nodes[id.index()]
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn add(&mut self, node: Node) -> Id {
        let next = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        *self.places.entry(node).or_insert_with(|| {
            self.nodes.push(node);
            next
        })
    }

    /// Where `id` leads, past the tests at its head that `facts` decide.
    pub(super) fn skip(&self, mut id: Id, facts: &[Fact]) -> Id {
        for _ in 0..FURTHEST {
            let Node::Branch { test, yes, no } = self.node(id) else { break };
            let Some(outcome) = facts.iter().find_map(|fact| test.given(*fact)) else { break };
            id = if outcome { yes } else { no };
        }
        id
    }
}
