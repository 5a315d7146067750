//! From the graph to instructions.
//!
//! Written from the end to the start, since jumps only go forward: what a test leads to has its place before the
//! test gets one.  Only the instructions that Linux can follow by itself (`seccomp_is_const_allow`) are used outside
//! the tests of masked arguments, so that it remembers which calls are always allowed and skips the filter for them.

use super::graph::{Graph, Id, Node, Op, Test, Word};
use seccompiler::{BpfProgram, sock_filter};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// Of a node that has no place yet.
const NOWHERE: usize = usize::MAX;

/// The program that starts with the tests of `root`; none if it would be longer than `most` instructions.
pub(super) fn emit(graph: &Graph, root: Id, most: usize) -> Option<BpfProgram> {
    let order = successors_first(graph, root);
    // Each node takes an instruction at least.
    if order.len() > most {
        return None;
    }
    let mut writer = Writer {
        graph,
        loads: loads(graph, root, &order),
        reversed: Vec::with_capacity(order.len() * 2),
        places: vec![[NOWHERE; 2]; graph.len()],
    };
    for id in order {
        writer.place(id);
        if writer.reversed.len() > most {
            return None;
        }
    }
    writer.reversed.reverse();
    Some(writer.reversed)
}

/// The nodes that can be reached, each after those it leads to.
fn successors_first(graph: &Graph, root: Id) -> Vec<Id> {
    let mut seen = vec![false; graph.len()];
    let mut order = Vec::with_capacity(graph.len());
    let mut stack = vec![(root, false)];
    while let Some((id, done)) = stack.pop() {
        if done {
            order.push(id);
            continue;
        }
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        stack.push((id, true));
        if let Node::Branch { yes, no, .. } = graph.node(id) {
            stack.push((no, false));
            stack.push((yes, false));
        }
    }
    order
}

/// What the accumulator holds after the test.
fn leaves(test: Test) -> Option<Word> {
    match test.op {
        Op::Masked(_) => None,
        _ => Some(test.word),
    }
}

/// Which tests some way reaches without their word in the accumulator.
fn loads(graph: &Graph, root: Id, order: &[Id]) -> Vec<bool> {
    let mut loads = vec![false; graph.len()];
    loads[root.index()] = true;
    for id in order {
        let Node::Branch { test, yes, no } = graph.node(*id) else { continue };
        for next in [yes, no] {
            if matches!(graph.node(next), Node::Branch { test: then, .. } if leaves(test) != Some(then.word))
            {
                loads[next.index()] = true;
            }
        }
    }
    loads
}

struct Writer<'a> {
    graph: &'a Graph,
    loads: Vec<bool>,
    /// The program's instructions, the last first.
    reversed: BpfProgram,
    /// The nearest place, counted from the end, that does what a node does; with the word in the accumulator, or not.
    places: Vec<[usize; 2]>,
}

impl Writer<'_> {
    fn place(&mut self, id: Id) {
        match self.graph.node(id) {
            Node::Return(action) => {
                let at = self.push(RETURN, 0, 0, action.0);
                self.places[id.index()][0] = at;
            }
            Node::Branch { test, yes, no } => self.branch(id, test, yes, no),
        }
    }

    fn branch(&mut self, id: Id, test: Test, yes: Id, no: Id) {
        let yes = (yes, self.is_loaded(test, yes));
        let no = (no, self.is_loaded(test, no));
        // What brings one near moves the other away.
        while self.bring_near(yes) || self.bring_near(no) {}
        let code = match test.op {
            Op::Eq | Op::Masked(_) => JUMP_EQ,
            Op::Gt => JUMP_GT,
            Op::Ge => JUMP_GE,
            Op::AnyBit => JUMP_ANY_BIT,
        };
        let [yes, no] = [yes, no].map(|target| u8::try_from(self.distance(target)).unwrap_or(u8::MAX));
        let mut at = self.push(code, yes, no, test.value);
        if let Op::Masked(mask) = test.op {
            at = self.push(AND, 0, 0, mask);
        }
        self.places[id.index()][1] = at;
        if self.loads[id.index()] {
            at = self.push(LOAD, 0, 0, u32::from(test.word.0));
            self.places[id.index()][0] = at;
        }
    }

    /// Whether `next` may be entered behind its load, coming from `test`.
    fn is_loaded(&self, test: Test, next: Id) -> bool {
        matches!(self.graph.node(next), Node::Branch { test: then, .. } if leaves(test) == Some(then.word))
    }

    /// How many instructions the next one has to jump over.
    fn distance(&self, target: (Id, bool)) -> usize {
        self.reversed.len() - 1 - self.places[target.0.index()][usize::from(target.1)]
    }

    /// Gives the target a place within reach; false if it has one.
    fn bring_near(&mut self, target: (Id, bool)) -> bool {
        let distance = self.distance(target);
        if distance <= REACH {
            return false;
        }
        let at = match self.graph.node(target.0) {
            // As short as a jump to it.
            Node::Return(action) => self.push(RETURN, 0, 0, action.0),
            Node::Branch { .. } => self.push(JUMP, 0, 0, u32::try_from(distance).unwrap_or(u32::MAX)),
        };
        self.places[target.0.index()][usize::from(target.1)] = at;
        true
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(sock_filter { code, jt, jf, k });
        self.reversed.len() - 1
    }
}
