//! The rules of a profile as one ABI sees them.

use super::abi::{self, Abi};
use super::action::Action;
use super::condition::{Condition, Width};
use super::graph::{Graph, Id};
use super::order;
use super::syscalls::Call;
use oci_spec::runtime::{LinuxSeccompArg, LinuxSyscall};

/// A call that a rule names.
pub(super) struct Named {
    pub(super) call: Call,
    /// How it can be made as well where that is so: the other call and its first argument.
    pub(super) multiplexed: Option<(u32, u32)>,
}

/// A rule of the profile whose action is not the default's.
pub(super) struct Rule<'a> {
    pub(super) calls: Vec<Named>,
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
                Some(call) => calls.push(Named { call, multiplexed: abi::multiplexed(name) }),
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
struct Entry<'a> {
    number: u32,
    /// Which sub-call of a multiplexed call, by its first argument.
    sub_call: Option<u32>,
    rule: &'a Rule<'a>,
    /// What the rule does.
    action: Id,
}

/// What happens to each call of `abi` that some rule names, in the order of their numbers.
pub(super) fn decisions(rules: &[&Rule], abi: Abi, default: Id, graph: &mut Graph) -> Vec<(u32, Id)> {
    let mut entries = Vec::with_capacity(rules.iter().map(|rule| rule.calls.len()).sum());
    for rule in rules {
        let action = graph.leaf(rule.action);
        for named in &rule.calls {
            let direct = named.call.number(abi).map(|number| (number, None));
            let multiplexed = named.multiplexed.filter(|_| abi.multiplexes());
            let ways =
                direct.into_iter().chain(multiplexed.map(|(number, sub_call)| (number, Some(sub_call))));
            entries.extend(ways.map(|(number, sub_call)| Entry { number, sub_call, rule, action }));
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
        if entry.sub_call.is_none() && entry.rule.is_unconditional() {
            return entry.action;
        }
        for mut conditions in entry.rule.conditions(width) {
            if let Some(sub_call) = entry.sub_call {
                conditions.retain(|condition| condition.argument != 0);
                conditions.insert(0, Condition::selects(0, sub_call));
            }
            conditions.retain(|condition| !condition.always());
            if conditions.is_empty() {
                return entry.action;
            }
            chains.push((conditions, entry.action));
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
