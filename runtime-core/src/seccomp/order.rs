//! Which of several rules decides when more than one matches.

use super::condition::{Condition, Relation};
use super::graph::Id;
use std::cmp::Ordering;

/// Sorts the rules of one call, each a list of conditions by argument: the first that matches decides.
///
/// The order is libseccomp's, as far as it has one that does not depend on accidents: compared condition by
/// condition, a higher argument comes first, equality before order, the larger operand first, and what is equal in
/// all of this as the profile lists it.  A rule whose conditions are the beginning of another's comes before it.
pub(super) fn sort(rules: &mut [(Vec<Condition>, Id)]) {
    rules.sort_by(|(one, _), (other, _)| {
        for (a, b) in one.iter().zip(other) {
            let order = compare(*a, *b);
            if order != Ordering::Equal {
                return order;
            }
        }
        one.len().cmp(&other.len())
    });
}

fn compare(a: Condition, b: Condition) -> Ordering {
    let key = |condition: Condition| match condition.relation {
        Relation::Equal { value, .. } => (0, value),
        Relation::Above(value) | Relation::AtLeast(value) => (1, value),
    };
    let ((a_class, a_value), (b_class, b_value)) = (key(a), key(b));
    b.argument.cmp(&a.argument).then(a_class.cmp(&b_class)).then(b_value.cmp(&a_value))
}
