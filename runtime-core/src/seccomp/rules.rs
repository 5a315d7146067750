//! The rules of a profile as one ABI sees them.

use super::abi::Abi;
use super::action::Action;
use super::condition::{Condition, Width};
use super::graph::{Graph, Id};
use super::order;
use super::syscalls::Call;
use oci_spec::runtime::{LinuxSeccompArg, LinuxSyscall};

/// A rule of the profile whose action is not the default's.
pub(super) struct Rule<'a> {
    pub(super) calls: Vec<(&'a str, Call)>,
    pub(super) action: Action,
    /// Several of the same argument were alternatives from the start, and so is what stands beside them.
    alternatives: Vec<&'a [LinuxSeccompArg]>,
}

impl<'a> Rule<'a> {
    /// The names that no ABI has go to `unknown`.
    pub(super) fn new(rule: &'a LinuxSyscall, action: Action, unknown: &mut Vec<String>) -> Self {
        let mut calls = Vec::with_capacity(rule.names().len());
        for name in rule.names() {
            match Call::find(name) {
                Some(call) => calls.push((name.as_str(), call)),
                None => unknown.push(name.clone()),
            }
        }
        let args = rule.args().as_deref().unwrap_or_default();
        let repeated = (1..args.len())
            .any(|index| args[..index].iter().any(|before| before.index() == args[index].index()));
        let alternatives = if repeated { args.chunks(1).collect() } else { vec![args] };
        Self { calls, action, alternatives }
    }

    /// Each alternative's conditions, lowest argument first.
    fn conditions(&self, width: Width) -> impl Iterator<Item = Vec<Condition>> {
        self.alternatives.iter().map(move |args| {
            let mut conditions: Vec<_> = args.iter().filter_map(|arg| Condition::new(arg, width)).collect();
            conditions.sort_by_key(|condition| condition.argument);
            conditions
        })
    }
}

/// One way for a call to match.
struct Entry<'a> {
    number: u32,
    /// Which sub-call of a multiplexed call, by its first argument.
    sub_call: Option<u32>,
    rule: &'a Rule<'a>,
}

/// What happens to each call of `abi` that some rule names, in the order of their numbers.
pub(super) fn decisions(rules: &[&Rule], abi: Abi, default: Id, graph: &mut Graph) -> Vec<(u32, Id)> {
    let mut entries = Vec::new();
    for rule in rules {
        for (name, call) in &rule.calls {
            let direct = call.number(abi).map(|number| (number, None));
            let multiplexed = abi.multiplexed(name).map(|(number, sub_call)| (number, Some(sub_call)));
            let ways = direct.into_iter().chain(multiplexed);
            entries.extend(ways.map(|(number, sub_call)| Entry { number, sub_call, rule }));
        }
    }
    // Stable: among equals the order of the profile stays.
    entries.sort_by_key(|entry| entry.number);
    let width = abi.width();
    entries
        .chunk_by(|one, next| one.number == next.number)
        .map(|group| (group[0].number, decide(group, width, default, graph)))
        .collect()
}

fn decide(group: &[Entry], width: Width, default: Id, graph: &mut Graph) -> Id {
    let mut chains = Vec::new();
    for entry in group {
        for mut conditions in entry.rule.conditions(width) {
            if let Some(sub_call) = entry.sub_call {
                conditions.retain(|condition| condition.argument != 0);
                conditions.insert(0, Condition::selects(0, sub_call));
            }
            conditions.retain(|condition| !condition.always());
            if conditions.is_empty() {
                return graph.leaf(entry.rule.action);
            }
            chains.push((conditions, entry.rule.action));
        }
    }
    order::sort(&mut chains);
    let mut next = default;
    for (conditions, action) in chains.iter().rev() {
        next = chain(conditions, *action, width, next, graph);
    }
    next
}

/// The tests of one rule: all conditions hold, or it is `next`'s turn.
fn chain(conditions: &[Condition], action: Action, width: Width, next: Id, graph: &mut Graph) -> Id {
    let mut facts: Vec<_> = conditions.iter().flat_map(|condition| condition.facts(width)).collect();
    let mut id = graph.leaf(action);
    for condition in conditions.iter().rev() {
        facts.truncate(facts.len() - condition.facts(width).count());
        id = condition.build(graph, width, id, next, &mut facts);
    }
    id
}
