//! What a filter decides, as a graph of tests that ends in actions.
//!
//! Equal nodes are one node, so what two calls or two architectures have in common is there once.

use super::action::Action;

/// A word of `struct seccomp_data`, by its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

impl Id {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Return(Action),
    Branch { test: Test, yes: Id, no: Id },
}

#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Where each node is, by its hash: an index into `nodes` and one more, or 0.  A power of two of places, half of them empty at least.
    places: Vec<u32>,
}

/// As many places as most profiles need.
const PLACES: usize = 1024;

impl Default for Graph {
    fn default() -> Self {
        Self { nodes: Vec::with_capacity(PLACES / 2), places: vec![0; PLACES] }
    }
}

impl Node {
    /// Some words, multiplied.  Who writes a profile so that many are alike makes the compilation of that profile slow.
    fn hash(&self) -> usize {
        let words = match *self {
            Self::Return(action) => [u64::from(action.0), u64::MAX],
            Self::Branch { test, yes, no } => {
                let (op, mask) = match test.op {
                    Op::Eq => (0, 0),
                    Op::Gt => (1, 0),
                    Op::Ge => (2, 0),
                    Op::AnyBit => (3, 0),
                    Op::Masked(mask) => (4, mask),
                };
                let tested = u64::from(test.value) << 32 | u64::from(mask);
                [tested ^ op << 8 ^ u64::from(test.word.0), u64::from(yes.0) << 32 | u64::from(no.0)]
            }
        };
        let mixed = words
            .iter()
            .fold(0, |hash: u64, word| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The best bits are the upper ones.
        (mixed >> 32) as usize
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
        let place = self.place(&node);
        if let Some(index) = self.places[place].checked_sub(1) {
            return Id(index);
        }
        let index = u32::try_from(self.nodes.len()).expect("bounded by the length of a profile");
        self.nodes.push(node);
        self.places[place] = index + 1;
        if self.nodes.len() * 2 > self.places.len() {
            self.grow();
        }
        Id(index)
    }

    /// Where `node` is in `places`, or the empty place that it would get.
    fn place(&self, node: &Node) -> usize {
        let most = self.places.len() - 1;
        let mut place = node.hash() & most;
        while self.places[place].checked_sub(1).is_some_and(|index| self.nodes[index as usize] != *node) {
            place = (place + 1) & most;
        }
        place
    }

    fn grow(&mut self) {
        self.places = vec![0; self.places.len() * 2];
        for (node, number) in self.nodes.iter().zip(1..) {
            let place = self.place(node);
            self.places[place] = number;
        }
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
