//! `linux.namespaces`: which are new, which are joined, by whom and when; ids, clocks and names inside them.

use super::compiler::{Input, Report, Steps, planned};
use super::path::c_path;
use super::{
    ChildStep, CloneSpec, Gate, HostFacts, HostStep, IdMaps, Namespace, Planned, c_string, cgroups, hooks,
    host, process,
};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec};

/// Capability numbers that the id maps are about.
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
/// What it takes to look into a process that is not dumpable.
const CAP_SYS_PTRACE: u32 = 19;

/// A namespace that is joined.
#[derive(Clone, Debug)]
struct Joined {
    kind: Namespace,
    slot: usize,
    path: std::ffi::CString,
    origin: String,
}

/// How the maps of a new user namespace are written.
#[derive(Clone, Debug)]
struct Writing {
    maps: IdMaps,
    helpers: bool,
    deny_setgroups: bool,
    /// setgroups(2) will not be allowed, whoever denies it.
    setgroups_denied: bool,
}

/// The namespaces of the container.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespaces {
    new: Vec<(Namespace, String)>,
    joined: Vec<Joined>,
    writing: Option<Writing>,
}

/// The order in which namespaces are joined: the mount namespace late, because it changes what paths mean, and the user
/// namespace last, because it changes what we may.
const JOIN_ORDER: [Namespace; 8] = [
    Namespace::Network,
    Namespace::Uts,
    Namespace::Ipc,
    Namespace::Cgroup,
    Namespace::Time,
    Namespace::Pid,
    Namespace::Mount,
    Namespace::User,
];

pub(super) fn join_order(kind: Namespace) -> usize {
    JOIN_ORDER.iter().position(|k| *k == kind).unwrap_or(JOIN_ORDER.len())
}

impl Namespaces {
    pub(super) fn is_new(&self, kind: Namespace) -> bool {
        self.new.iter().any(|(k, _)| *k == kind)
    }

    pub(super) fn is_joined(&self, kind: Namespace) -> bool {
        self.joined.iter().any(|j| j.kind == kind)
    }

    pub(super) fn has(&self, kind: Namespace) -> bool {
        self.is_new(kind) || self.is_joined(kind)
    }

    fn origin(&self, kind: Namespace) -> String {
        let new = self.new.iter().find(|(k, _)| *k == kind).map(|(_, origin)| origin.clone());
        new.or_else(|| self.joined.iter().find(|j| j.kind == kind).map(|j| j.origin.clone()))
            .unwrap_or_default()
    }

    /// The maps of the new user namespace.
    pub(super) fn maps(&self) -> Option<&IdMaps> {
        self.writing.as_ref().map(|w| &w.maps)
    }

    /// Whether setgroups(2) is known to be denied in the container.
    pub(super) fn setgroups_denied(&self) -> bool {
        self.writing.as_ref().is_some_and(|w| w.setgroups_denied)
    }

    /// Whether the process becomes root of its user namespace before anything else, without supplementary groups.
    pub(super) fn becomes_root(&self) -> bool {
        match &self.writing {
            Some(w) => maps_root(&w.maps.uid) && maps_root(&w.maps.gid),
            None => self.is_joined(Namespace::User),
        }
    }

    /// A first process joins namespaces: a pid namespace is entered by children only; a user namespace that is joined
    /// decides who owns the new namespaces, so it comes before them; and host namespaces can be joined only before a new
    /// user namespace takes our rights away.
    pub(super) fn needs_stage(&self) -> bool {
        self.is_joined(Namespace::Pid)
            || self.is_joined(Namespace::User)
            || (!self.joined.is_empty() && self.is_new(Namespace::User))
    }

    fn joins(&self) -> Vec<&Joined> {
        let mut joins: Vec<&Joined> = self.joined.iter().collect();
        joins.sort_by_key(|j| join_order(j.kind));
        joins
    }

    /// Opens what is joined, in the order of the configuration.
    pub(super) fn open_steps(&self) -> Vec<Planned<HostStep>> {
        let open = |j: &Joined| HostStep::OpenNamespace { slot: j.slot, kind: j.kind, path: j.path.clone() };
        self.joined.iter().map(|j| planned(open(j), j.origin.clone())).collect()
    }

    /// Writes the maps of the new user namespace.
    pub(super) fn write_step(&self) -> Option<Planned<HostStep>> {
        let w = self.writing.as_ref()?;
        let (maps, helpers, deny_setgroups) = (w.maps.clone(), w.helpers, w.deny_setgroups);
        Some(planned(HostStep::WriteIdMaps { maps, helpers, deny_setgroups }, "linux.uidMappings"))
    }
}

fn maps_root(lines: &[(u32, u32, u32)]) -> bool {
    lines.iter().any(|(inside, _, count)| *inside == 0 && *count > 0)
}

fn kind_of(typ: LinuxNamespaceType) -> Namespace {
    match typ {
        LinuxNamespaceType::Mount => Namespace::Mount,
        LinuxNamespaceType::Cgroup => Namespace::Cgroup,
        LinuxNamespaceType::Uts => Namespace::Uts,
        LinuxNamespaceType::Ipc => Namespace::Ipc,
        LinuxNamespaceType::User => Namespace::User,
        LinuxNamespaceType::Pid => Namespace::Pid,
        LinuxNamespaceType::Network => Namespace::Network,
        LinuxNamespaceType::Time => Namespace::Time,
    }
}

/// Reads `linux.namespaces`.
pub(super) fn resolve(spec: &Spec, facts: &HostFacts, report: &mut Report) -> Namespaces {
    let mut namespaces = Namespaces::default();
    let linux = spec.linux().as_ref();
    for (index, namespace) in linux.iter().filter_map(|l| l.namespaces().as_ref()).flatten().enumerate() {
        let kind = kind_of(namespace.typ());
        let origin = format!("linux.namespaces[{index}]");
        match namespace.path() {
            None => namespaces.new.push((kind, origin)),
            Some(path) => {
                let slot = namespaces.joined.len();
                namespaces.joined.push(Joined { kind, slot, path: c_path(path), origin });
            }
        }
    }
    if namespaces.is_new(Namespace::User)
        && let Some(linux) = linux
    {
        namespaces.writing = writing(linux, facts, report);
    }
    if (facts.euid != 0 || !facts.privileged) && !namespaces.has(Namespace::User) {
        report.fault(
            "linux.namespaces",
            "rootless containers require a user namespace: add {\"type\": \"user\"}, and linux.uidMappings and \
             linux.gidMappings",
        );
    }
    namespaces
}

/// Lines for the kernel.
pub(super) fn lines(mappings: Option<&[LinuxIdMapping]>) -> Vec<(u32, u32, u32)> {
    mappings.unwrap_or_default().iter().map(|m| (m.container_id(), m.host_id(), m.size())).collect()
}

/// Who writes the id maps: user_namespaces(7), "Defining user and group ID mappings".
fn writing(linux: &Linux, facts: &HostFacts, report: &mut Report) -> Option<Writing> {
    let maps =
        IdMaps { uid: lines(linux.uid_mappings().as_deref()), gid: lines(linux.gid_mappings().as_deref()) };
    let own = |lines: &[(u32, u32, u32)], id: u32| matches!(lines, [(_, outside, 1)] if *outside == id);
    let (own_uid, own_gid) = (own(&maps.uid, facts.euid), own(&maps.gid, facts.egid));
    let may = |cap: u32| facts.permitted & (1 << cap) != 0;
    if may(CAP_SETUID) && may(CAP_SETGID) {
        return Some(Writing { maps, helpers: false, deny_setgroups: false, setgroups_denied: false });
    }
    if own_uid && own_gid {
        return Some(Writing { maps, helpers: false, deny_setgroups: true, setgroups_denied: true });
    }
    if facts.map_helpers {
        // newgidmap(1) denies setgroups(2) where it maps nothing but the caller's own group.
        return Some(Writing { maps, helpers: true, deny_setgroups: false, setgroups_denied: own_gid });
    }
    let (at, own_id) =
        if own_uid { ("linux.gidMappings", facts.egid) } else { ("linux.uidMappings", facts.euid) };
    report.fault(
        at,
        format!(
            "maps more than the caller's own id, {own_id}: an ordinary user needs newuidmap and newgidmap for that \
             (package uidmap), and they are not installed"
        ),
    );
    None
}

/// How the process is made.
pub(super) fn clone_spec(input: &Input<'_>, groups: &cgroups::Groups, tree_slots: usize) -> CloneSpec {
    let namespaces = &input.namespaces;
    let mut later = vec![Namespace::Cgroup, Namespace::Time];
    if network_by_itself(input, groups) {
        later.push(Namespace::Network);
    }
    let flags = namespaces
        .new
        .iter()
        .filter(|(kind, _)| !later.contains(kind))
        .fold(0, |f, (kind, _)| f | kind.flag());
    let hiding = hiding(input);
    let joins = || namespaces.joins().iter().map(|j| (j.slot, j.kind)).collect();
    CloneSpec {
        flags,
        stage: namespaces.needs_stage().then(joins),
        into_cgroup: groups.into_cgroup,
        enters_later: groups.beside(),
        initial_affinity: None,
        hidden: hiding == Hiding::AtOnce,
        oom_score: oom_score_of_itself(input),
        ignored_signals: input.facts.ignored_signals,
        namespace_slots: namespaces.joined.len(),
        tree_slots,
    }
}

/// Whether the process makes its network namespace by itself.  That takes the kernel most of the time of such a clone, in which we can
/// make its cgroups; but network devices are moved into one that is there.
fn network_by_itself(input: &Input<'_>, groups: &cgroups::Groups) -> bool {
    groups.beside()
        && input.namespaces.is_new(Namespace::Network)
        && host::net_devices(input.linux()).is_empty()
}

/// When the process makes itself invisible to processes of its own user (`PR_SET_DUMPABLE`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hiding {
    AtOnce,
    /// An ordinary user's parent could not write the maps of a process that is hidden; nor the process its clock offsets.
    WithMaps,
    /// An ordinary user's parent must look into it, for the hooks that enter the container.
    Never,
}

fn parent_sees_hidden(facts: &HostFacts) -> bool {
    facts.euid == 0 && facts.permitted & (1 << CAP_SYS_PTRACE) != 0
}

fn hiding(input: &Input<'_>) -> Hiding {
    let namespaces = &input.namespaces;
    if parent_sees_hidden(input.facts) {
        return Hiding::AtOnce;
    }
    if namespaces.is_new(Namespace::Pid) || hooks::enter_the_container(input.spec) {
        // In a pid namespace of its own nobody sees it.
        return Hiding::Never;
    }
    let later = namespaces.is_new(Namespace::User) || namespaces.is_new(Namespace::Time);
    if later { Hiding::WithMaps } else { Hiding::AtOnce }
}

/// The score that the process sets itself, as the parent may not when it is hidden.
pub(super) fn oom_score_of_itself(input: &Input<'_>) -> Option<i32> {
    let itself = hiding(input) == Hiding::AtOnce && !parent_sees_hidden(input.facts);
    input.spec.process().as_ref().filter(|_| itself)?.oom_score_adj()
}

/// What the process does about its namespaces before it looks at the root file system.
pub(super) fn child_steps(input: &Input<'_>, groups: &cgroups::Groups, steps: &mut Steps) {
    let namespaces = &input.namespaces;
    if !namespaces.needs_stage() {
        for join in namespaces.joins() {
            steps.push(ChildStep::JoinNamespace { slot: join.slot, kind: join.kind }, join.origin.clone());
        }
    }
    if namespaces.is_new(Namespace::Time) {
        let offsets = input.linux().and_then(time_offsets);
        let origin =
            if offsets.is_some() { "linux.timeOffsets".into() } else { namespaces.origin(Namespace::Time) };
        steps.push(ChildStep::NewTimeNamespace { offsets: offsets.map(|o| c_string(&o)) }, origin);
    }
    if namespaces.is_new(Namespace::User) {
        steps.push(ChildStep::Await(Gate::Maps), namespaces.origin(Namespace::User));
    }
    if hiding(input) == Hiding::WithMaps {
        steps.push(ChildStep::Hide, "its pid namespace is not its own");
    }
    if namespaces.becomes_root() {
        let clear_groups = !namespaces.setgroups_denied();
        steps.push(ChildStep::BecomeRoot { clear_groups }, namespaces.origin(Namespace::User));
    }
    steps.push(ChildStep::NewSession, "every container has a session of its own");
    if network_by_itself(input, groups) {
        steps.push(ChildStep::NewNetworkNamespace, namespaces.origin(Namespace::Network));
    }
    if namespaces.is_new(Namespace::Network) {
        steps.push(ChildStep::LoopbackUp, namespaces.origin(Namespace::Network));
    }
    if !input.options.no_new_keyring {
        let process = input.spec.process().as_ref();
        let origin = "every container has a session keyring of its own";
        process::keyring(&input.options.id, process, input.facts, steps, origin);
    }
    if let Some(name) = input.spec.hostname() {
        steps.push(ChildStep::Hostname(c_string(name)), "hostname");
    }
    if let Some(name) = input.spec.domainname() {
        steps.push(ChildStep::Domainname(c_string(name)), "domainname");
    }
}

/// The content of `timens_offsets` (time_namespaces(7)).
fn time_offsets(linux: &Linux) -> Option<String> {
    let offsets = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty())?;
    let mut text = String::new();
    for clock in ["monotonic", "boottime"] {
        if let Some(offset) = offsets.get(clock) {
            let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            text.push_str(&format!("{clock} {secs} {nanosecs}\n"));
        }
    }
    Some(text)
}

/// `NewCgroupNamespace`, where it is asked for.
pub(super) fn new_cgroup_namespace(input: &Input<'_>, steps: &mut Steps) {
    if input.namespaces.is_new(Namespace::Cgroup) {
        steps.push(ChildStep::NewCgroupNamespace, input.namespaces.origin(Namespace::Cgroup));
    }
}
