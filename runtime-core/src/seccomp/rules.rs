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
    pub(super) calls: Vec<Call>,
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
                Some(call) => calls.push(call),
                None => unknown.push(name.clone()),
            }
        }
        let args = rule.args().as_deref().unwrap_or_default();
        let repeated = (1..args.len())
            .any(|index| args[..index].iter().any(|before| before.index() == args[index].index()));
        let alternatives = if repeated { args.chunks(1).collect() } else { vec![args] };
        Self { calls, action, alternatives }
    }

    /// Whether it has no conditions, as nearly all rules of a profile.
    fn is_unconditional(&self) -> bool {
        self.alternatives.iter().any(|args| args.is_empty())
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
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    /// Which of the rules.
    rule: u32,
    /// Which sub-call of a multiplexed call, by its first argument.
    sub_call: Option<u8>,
}

/// What happens to each call of `abi` that some rule names, in the order of their numbers.
pub(super) fn decisions(rules: &[&Rule], abi: Abi, default: Id, graph: &mut Graph) -> Vec<(u32, Id)> {
    let mut entries = Vec::with_capacity(rules.iter().map(|rule| rule.calls.len()).sum());
    let mut decided = Vec::with_capacity(rules.len());
    for (rule, index) in rules.iter().zip(0..) {
        decided.push((*rule, graph.leaf(rule.action)));
        for call in &rule.calls {
            let direct = call.number(abi).map(|number| Entry { number, rule: index, sub_call: None });
            entries.extend(direct);
            if let Some((number, sub_call)) = call.multiplexed().filter(|_| abi.multiplexes()) {
                entries.push(Entry { number, rule: index, sub_call: Some(sub_call) });
            }
        }
    }
    // Stable: among equals the order of the profile stays.
    entries.sort_by_key(|entry| entry.number);
    let width = abi.width();
    let mut decisions = Vec::with_capacity(entries.len());
    for group in entries.chunk_by(|one, next| one.number == next.number) {
        decisions.push((group[0].number, decide(group, &decided, width, default, graph)));
    }
    decisions
}

/// What the rules of `group`, of `rules` with what each does, make of its number.
fn decide(group: &[Entry], rules: &[(&Rule, Id)], width: Width, default: Id, graph: &mut Graph) -> Id {
    let mut chains = Vec::new();
    for entry in group {
        let (rule, action) = rules[entry.rule as usize];
        if entry.sub_call.is_none() && rule.is_unconditional() {
            return action;
        }
        for mut conditions in rule.conditions(width) {
            if let Some(sub_call) = entry.sub_call {
                conditions.retain(|condition| condition.argument != 0);
                conditions.insert(0, Condition::selects(0, sub_call.into()));
            }
            conditions.retain(|condition| !condition.always());
            if conditions.is_empty() {
                return action;
            }
            chains.push((conditions, action));
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
fn chain(conditions: &[Condition], action: Id, width: Width, next: Id, graph: &mut Graph) -> Id {
    let mut facts: Vec<_> = conditions.iter().flat_map(|condition| condition.facts(width)).collect();
    let mut id = action;
    for condition in conditions.iter().rev() {
        facts.truncate(facts.len() - condition.facts(width).count());
        id = condition.build(graph, width, id, next, &mut facts);
    }
    id
}
