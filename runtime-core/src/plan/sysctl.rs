//! `linux.sysctl`.

use super::compiler::{Input, Steps};
use super::{ChildStep, c_string};
use crate::spec::sysctl_path;
use std::collections::BTreeMap;

/// Writes the kernel parameters, sorted: the order of a JSON object says nothing.
pub(super) fn compile(input: &Input<'_>, steps: &mut Steps) {
    let parameters: BTreeMap<&String, &String> =
        input.linux().iter().filter_map(|linux| linux.sysctl().as_ref()).flatten().collect();
    for (key, value) in parameters {
        let step = ChildStep::Sysctl { path: c_string(&sysctl_path(key)), value: c_string(value) };
        steps.push(step, format!("linux.sysctl[{key:?}]"));
    }
}
