//! `hooks`.

use super::path::c_path;
use super::{Hook, HookKind, c_string};
use oci_spec::runtime::{Hook as Given, Spec};

/// The name of a moment, as `hooks` of the configuration has it.
pub const fn name(kind: HookKind) -> &'static str {
    match kind {
        HookKind::Prestart => "prestart",
        HookKind::CreateRuntime => "createRuntime",
        HookKind::CreateContainer => "createContainer",
        HookKind::StartContainer => "startContainer",
        HookKind::Poststart => "poststart",
        HookKind::Poststop => "poststop",
    }
}

fn given(spec: &Spec, kind: HookKind) -> &[Given] {
    let Some(hooks) = spec.hooks() else { return &[] };
    // prestart is deprecated, and still what engines write.
    #[allow(deprecated)]
    let list = match kind {
        HookKind::Prestart => hooks.prestart(),
        HookKind::CreateRuntime => hooks.create_runtime(),
        HookKind::CreateContainer => hooks.create_container(),
        HookKind::StartContainer => hooks.start_container(),
        HookKind::Poststart => hooks.poststart(),
        HookKind::Poststop => hooks.poststop(),
    };
    list.as_deref().unwrap_or_default()
}

/// A moment's hooks, as they are in a configuration or a state record, ready to be run.
#[must_use]
pub fn hooks_of(kind: HookKind, given: &[Given]) -> Vec<Hook> {
    let strings = |list: &Option<Vec<String>>| list.iter().flatten().map(|s| c_string(s)).collect();
    let hook = |(index, hook): (usize, &Given)| Hook {
        path: c_path(hook.path()),
        args: strings(hook.args()),
        env: strings(hook.env()),
        timeout: hook.timeout().map(|t| u32::try_from(t).unwrap_or(u32::MAX)),
        origin: format!("hooks.{}[{index}]", name(kind)),
    };
    given.iter().enumerate().map(hook).collect()
}

fn compile(spec: &Spec, kind: HookKind) -> Option<(HookKind, Vec<Hook>)> {
    let hooks = hooks_of(kind, given(spec, kind));
    (!hooks.is_empty()).then_some((kind, hooks))
}

/// The hooks that run while the child stands before pivot_root, in their order.
pub(super) fn before_pivot(spec: &Spec) -> impl Iterator<Item = (HookKind, Vec<Hook>)> {
    [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer]
        .into_iter()
        .filter_map(|kind| compile(spec, kind))
}

/// Whether any hook runs in the container's namespaces.
pub(super) fn enter_the_container(spec: &Spec) -> bool {
    [HookKind::CreateContainer, HookKind::StartContainer].iter().any(|kind| !given(spec, *kind).is_empty())
}

/// The hooks of `start` and `delete`.
pub(super) fn later(spec: &Spec) -> Vec<(HookKind, Vec<Hook>)> {
    [HookKind::StartContainer, HookKind::Poststart, HookKind::Poststop]
        .into_iter()
        .filter_map(|kind| compile(spec, kind))
        .collect()
}
