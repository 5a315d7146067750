//! A comparison of one argument, and its tests.

use super::graph::{Fact, Graph, Id, Op, Test, Word};
use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator as Operator};

/// How much of an argument an ABI has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// The low half; of the operands, too.
    W32,
    W64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) relation: Relation,
    /// Whether the relation must not hold.
    pub(super) negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// Under the mask; all ones for plain equality.
    Equal {
        mask: u64,
        value: u64,
    },
    Above(u64),
    AtLeast(u64),
}

impl Condition {
    /// None for an argument that no call has.
    pub(super) fn new(arg: &LinuxSeccompArg, width: Width) -> Option<Self> {
        let argument = u8::try_from(arg.index()).ok().filter(|index| *index < 6)?;
        let all = match width {
            Width::W32 => u64::from(u32::MAX),
            Width::W64 => u64::MAX,
        };
        let value = arg.value() & all;
        let equal = Relation::Equal { mask: all, value };
        let (relation, negated) = match arg.op() {
            Operator::ScmpCmpEq => (equal, false),
            Operator::ScmpCmpNe => (equal, true),
            Operator::ScmpCmpGt => (Relation::Above(value), false),
            Operator::ScmpCmpLe => (Relation::Above(value), true),
            Operator::ScmpCmpGe => (Relation::AtLeast(value), false),
            Operator::ScmpCmpLt => (Relation::AtLeast(value), true),
            Operator::ScmpCmpMaskedEq => {
                let wanted = arg.value_two().unwrap_or(0) & value;
                (Relation::Equal { mask: value, value: wanted }, false)
            }
        };
        Some(Self { argument, relation, negated })
    }

    /// Plain equality of the low half: how a multiplexed call is told from its siblings.
    pub(super) const fn selects(argument: u8, value: u32) -> Self {
        let relation = Relation::Equal { mask: u32::MAX as u64, value: value as u64 };
        Self { argument, relation, negated: false }
    }

    /// Whether it asks for nothing.
    pub(super) const fn always(self) -> bool {
        !self.negated && matches!(self.relation, Relation::Equal { mask: 0, .. })
    }

    /// The tests, leading to `yes` or `no`, whose heads are skipped where these tests and `facts` decide them.
    pub(super) fn build(self, graph: &mut Graph, width: Width, yes: Id, no: Id, facts: &mut Vec<Fact>) -> Id {
        let (yes, no) = if self.negated { (no, yes) } else { (yes, no) };
        match (self.relation, width) {
            (Relation::Equal { mask, value }, _) => self.equal(graph, mask, value, (yes, no), facts),
            (Relation::Above(value), Width::W32) => {
                let test = Test { word: Word::low(self.argument), op: Op::Gt, value: halves(value).1 };
                decide(graph, test, yes, no, facts)
            }
            (Relation::AtLeast(value), Width::W32) => {
                let test = Test { word: Word::low(self.argument), op: Op::Ge, value: halves(value).1 };
                decide(graph, test, yes, no, facts)
            }
            (Relation::Above(value), Width::W64) => self.ordered(graph, Op::Gt, value, (yes, no), facts),
            (Relation::AtLeast(value), Width::W64) => self.ordered(graph, Op::Ge, value, (yes, no), facts),
        }
    }

    fn equal(self, graph: &mut Graph, mask: u64, value: u64, ends: (Id, Id), facts: &mut Vec<Fact>) -> Id {
        let ((high_mask, low_mask), (high, low)) = (halves(mask), halves(value));
        let (yes, no) = ends;
        let upper = masked(Word::high(self.argument), high_mask, high);
        let before = facts.len();
        facts.extend(upper.map(|(test, outcome)| Fact(test, outcome)));
        let inner = match masked(Word::low(self.argument), low_mask, low) {
            Some((test, true)) => decide(graph, test, yes, no, facts),
            Some((test, false)) => decide(graph, test, no, yes, facts),
            None => graph.skip(yes, facts),
        };
        facts.truncate(before);
        match upper {
            Some((test, true)) => decide_no(graph, test, inner, no, facts),
            Some((test, false)) => {
                let outer = skip_with(graph, no, facts, Fact(test, true));
                graph.branch(test, outer, inner)
            }
            None => inner,
        }
    }

    /// The upper halves decide, unless they are equal.
    fn ordered(self, graph: &mut Graph, op: Op, value: u64, ends: (Id, Id), facts: &mut Vec<Fact>) -> Id {
        let (yes, no) = ends;
        let (high, low) = halves(value);
        let word = Word::high(self.argument);
        let same = Test { word, op: Op::Eq, value: high };
        facts.push(Fact(same, true));
        let inner = decide(graph, Test { word: Word::low(self.argument), op, value: low }, yes, no, facts);
        facts.pop();
        let differs = if high == 0 {
            skip_with(graph, yes, facts, Fact(same, false))
        } else if high == u32::MAX {
            skip_with(graph, no, facts, Fact(same, false))
        } else {
            facts.push(Fact(same, false));
            let above = decide(graph, Test { word, op: Op::Gt, value: high }, yes, no, facts);
            facts.pop();
            above
        };
        graph.branch(same, inner, differs)
    }
}

const fn halves(value: u64) -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    let halves = ((value >> 32) as u32, value as u32);
    halves
}

/// The test for equality under a mask, and the outcome that stands for it; none if it always holds.
fn masked(word: Word, mask: u32, value: u32) -> Option<(Test, bool)> {
    match (mask, value) {
        (0, _) => None,
        (u32::MAX, _) => Some((Test { word, op: Op::Eq, value }, true)),
        // These two leave the accumulator as it is, for the next test of the same word.
        (_, 0) => Some((Test { word, op: Op::AnyBit, value: mask }, false)),
        _ if mask.is_power_of_two() => Some((Test { word, op: Op::AnyBit, value: mask }, true)),
        _ => Some((Test { word, op: Op::Masked(mask), value }, true)),
    }
}

/// A branch on `test`, or what remains of it when it is decided already.
fn decide(graph: &mut Graph, test: Test, yes: Id, no: Id, facts: &mut Vec<Fact>) -> Id {
    let always = test.op == Op::Ge && test.value == 0;
    let never = test.op == Op::Gt && test.value == u32::MAX;
    if always || never {
        return graph.skip(if always { yes } else { no }, facts);
    }
    let yes = skip_with(graph, yes, facts, Fact(test, true));
    decide_no(graph, test, yes, no, facts)
}

fn decide_no(graph: &mut Graph, test: Test, yes: Id, no: Id, facts: &mut Vec<Fact>) -> Id {
    let no = skip_with(graph, no, facts, Fact(test, false));
    graph.branch(test, yes, no)
}

fn skip_with(graph: &Graph, id: Id, facts: &mut Vec<Fact>, fact: Fact) -> Id {
    facts.push(fact);
    let end = graph.skip(id, facts);
    facts.pop();
    end
}

impl Condition {
    /// What is known of the argument once the condition holds.
    pub(super) fn facts(self, width: Width) -> impl Iterator<Item = Fact> {
        let known = match self.relation {
            Relation::Equal { mask, value } if !self.negated => Some((halves(mask), halves(value))),
            _ => None,
        };
        let tests = known.map(|((high_mask, low_mask), (high, low))| {
            let upper = (width == Width::W64).then(|| masked(Word::high(self.argument), high_mask, high));
            [upper.flatten(), masked(Word::low(self.argument), low_mask, low)]
        });
        tests.into_iter().flatten().flatten().map(|(test, outcome)| Fact(test, outcome))
    }
}
