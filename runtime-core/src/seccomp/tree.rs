//! The search for a call's number: ranges of numbers with the same treatment, and a tree over them.

use super::graph::{Graph, Id, Op, Test, Word};

/// From `start` to where the next one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) target: Id,
}

/// Ranges in ascending order; neighbours that are treated alike become one.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<Span>);

impl Spans {
    /// From `start` on it is `target`.  What was said of `start` before is taken back.
    pub(super) fn from(&mut self, start: u32, target: Id) {
        if self.0.last().is_some_and(|last| last.start == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.target != target) {
            self.0.push(Span { start, target });
        }
    }

    /// The numbers of `calls`, and `other` between them.
    pub(super) fn calls(&mut self, calls: &[(u32, Id)], other: Id) {
        for (number, target) in calls {
            self.from(*number, *target);
            if let Some(next) = number.checked_add(1) {
                self.from(next, other);
            }
        }
    }

    /// The tree.  `hot` are numbers to be found in few steps, in ascending order.
    pub(super) fn search(&self, hot: &[u32], graph: &mut Graph) -> Id {
        let end = 1 << 32;
        let weights = weights(&self.0, end, hot);
        Search { spans: &self.0, weights: &weights, end }.tree(0, self.0.len(), graph)
    }
}

/// A range of numbers beyond all calls weighs as much as this many calls.
const WIDEST: u64 = 8;

/// How much more often a hot call is made.
const HOT: u64 = 16;

/// The weights of all spans before each: the sum of a run of them is a difference.
fn weights(spans: &[Span], end: u64, hot: &[u32]) -> Vec<u64> {
    let mut hot = hot.iter().copied().peekable();
    let mut sums = Vec::with_capacity(spans.len() + 1);
    sums.push(0);
    let mut sum = 0;
    for (index, span) in spans.iter().enumerate() {
        let next = spans.get(index + 1).map_or(end, |next| u64::from(next.start));
        sum += (next - u64::from(span.start)).min(WIDEST);
        while hot.next_if(|number| u64::from(*number) < next).is_some() {
            sum += HOT;
        }
        sums.push(sum);
    }
    sums
}

struct Search<'a> {
    spans: &'a [Span],
    weights: &'a [u64],
    end: u64,
}

/// So many numbers are asked for one after the other; more are worth a tree.
const CHAIN: usize = 3;

impl Search<'_> {
    fn tree(&self, low: usize, high: usize, graph: &mut Graph) -> Id {
        if high - low == 1 {
            return self.spans[low].target;
        }
        if let Some(chain) = self.chain(low, high, graph) {
            return chain;
        }
        let middle = self.split(low, high);
        let no = self.tree(low, middle, graph);
        let yes = self.tree(middle, high, graph);
        let test = Test { word: Word::NUMBER, op: Op::Ge, value: self.spans[middle].start };
        graph.branch(test, yes, no)
    }

    /// The boundary that comes nearest to halving the weight.
    fn split(&self, low: usize, high: usize) -> usize {
        let sum = self.weights[low] + self.weights[high];
        let beyond = self.weights[low..high].partition_point(|weight| weight * 2 < sum) + low;
        let middle = beyond.clamp(low + 1, high - 1);
        let off = |at: usize| (self.weights[at] * 2).abs_diff(sum);
        if middle > low + 1 && off(middle - 1) < off(middle) { middle - 1 } else { middle }
    }

    /// A few single numbers in the middle of what is treated alike.
    fn chain(&self, low: usize, high: usize, graph: &mut Graph) -> Option<Id> {
        let spans = &self.spans[low..high];
        if spans.len() > 2 * CHAIN + 1 {
            return None;
        }
        let single = |index: usize| {
            let next = self.spans.get(low + index + 1).map_or(self.end, |next| u64::from(next.start));
            next - u64::from(spans[index].start) == 1
        };
        let common = (0..spans.len()).find(|index| !single(*index)).unwrap_or(0);
        let common = spans[common].target;
        let exceptions: Vec<_> = (0..spans.len()).filter(|index| spans[*index].target != common).collect();
        if exceptions.len() > CHAIN || !exceptions.iter().all(|index| single(*index)) {
            return None;
        }
        Some(exceptions.iter().fold(common, |next, index| {
            let test = Test { word: Word::NUMBER, op: Op::Eq, value: spans[*index].start };
            graph.branch(test, spans[*index].target, next)
        }))
    }
}
