//! The steps of the child half in words.

use super::render::{Words, plain, with};
use super::render_host::{gate_name, rlimit};
use super::{ChildStep, Device, Mount, MountSource, Plan, capabilities, seccomp, words};
use crate::seccomp::Filter;
use crate::sys::{MountAttr, SchedAttr};

pub(super) fn describe(step: &ChildStep, plan: &Plan) -> Words {
    match step {
        ChildStep::JoinNamespace { slot, kind } => with("JoinNamespace", format!("{slot}: {}", kind.name())),
        ChildStep::NewTimeNamespace { offsets } => {
            let offsets = offsets.as_ref().map(|o| words::text(o)).unwrap_or_default();
            with("NewTimeNamespace", offsets)
        }
        ChildStep::Await(gate) => with("Await", gate_name(*gate)),
        ChildStep::Hide => plain("Hide"),
        ChildStep::BecomeRoot { clear_groups } => {
            with("BecomeRoot", if *clear_groups { "without groups" } else { "" })
        }
        ChildStep::EnterCgroups { .. } => plain("EnterCgroups"),
        ChildStep::NewCgroupNamespace => plain("NewCgroupNamespace"),
        ChildStep::NewNetworkNamespace => plain("NewNetworkNamespace"),
        ChildStep::NewSession => plain("NewSession"),
        ChildStep::NewKeyring { name } => with("NewKeyring", words::text(name)),
        ChildStep::Hostname(name) => with("Hostname", words::text(name)),
        ChildStep::Domainname(name) => with("Domainname", words::text(name)),
        ChildStep::LoopbackUp => plain("LoopbackUp"),
        ChildStep::NoNewPrivs => plain("NoNewPrivs"),
        ChildStep::Ready => plain("Ready"),
        ChildStep::Seccomp(filter) => with("Seccomp", filter_words(filter)),
        ChildStep::PreserveFds { count } => with("PreserveFds", format!("3-{}", 2 + u64::from(*count))),
        ChildStep::FindExecutable => {
            let candidates = plan.program.candidates.iter().map(|path| words::text(path));
            with("FindExecutable", candidates.collect::<Vec<_>>().join(" "))
        }
        ChildStep::Execute => {
            let args = plan.program.args.strings().map(|arg| format!("{:?}", String::from_utf8_lossy(arg)));
            with("Execute", args.collect::<Vec<_>>().join(" "))
        }
        _ => describe_rootfs(step),
    }
}

fn describe_rootfs(step: &ChildStep) -> Words {
    match step {
        ChildStep::RootPropagation { flags } => with("RootPropagation", words::propagation(*flags)),
        ChildStep::OpenRoot { path } => with("OpenRoot", words::text(path)),
        ChildStep::LocateRoot { path } => with("LocateRoot", words::text(path)),
        ChildStep::Mount(m) => with("Mount", mount(m)),
        ChildStep::ChangeMount { destination, params, attributes, recursive_attributes, propagation } => {
            let mut all = words::params(params);
            all.extend(options(attributes, recursive_attributes, propagation));
            with("ChangeMount", format!("{} {}", words::text(destination), all.join(",")))
        }
        ChildStep::MakeDirectory { path } => with("MakeDirectory", words::text(path)),
        ChildStep::Device(d) => with("Device", device(d)),
        ChildStep::OwnNull => with("OwnNull", "/dev/null for streams that are the host's".to_owned()),
        ChildStep::Symlink { target, path } => {
            with("Symlink", format!("{} -> {}", words::text(path), words::text(target)))
        }
        ChildStep::Console { size, mount } => {
            let size = size.map(|(rows, columns)| format!("{rows}x{columns}")).unwrap_or_default();
            let at = if *mount { "/dev/console" } else { "" };
            with("Console", format!("{at} {size}").trim())
        }
        ChildStep::LateReadOnly { destination, attributes } => {
            let attributes = words::attributes(attributes, "").join(",");
            with("LateReadOnly", format!("{} {attributes}", words::text(destination)))
        }
        ChildStep::Mask { path } => with("Mask", words::text(path)),
        ChildStep::ReadOnlyPath { path } => with("ReadOnlyPath", words::text(path)),
        ChildStep::Sysctl { path, value } => {
            with("Sysctl", format!("{} = {}", words::text(path), words::text(value)))
        }
        ChildStep::PivotRoot => plain("PivotRoot"),
        ChildStep::MoveRoot => plain("MoveRoot"),
        ChildStep::Chroot => plain("Chroot"),
        ChildStep::RootReadOnly => plain("RootReadOnly"),
        ChildStep::ContainerPropagation { flags } => with("ContainerPropagation", words::propagation(*flags)),
        _ => describe_process(step),
    }
}

fn describe_process(step: &ChildStep) -> Words {
    match step {
        ChildStep::SetRlimit { resource, soft, hard } => rlimit(*resource, *soft, *hard),
        ChildStep::Scheduler(attr) => with("Scheduler", scheduler(attr)),
        ChildStep::IoPriority(packed) => with("IoPriority", io_priority(*packed)),
        ChildStep::Affinity(mask) => with("Affinity", words::list(mask)),
        ChildStep::MemoryPolicy { mode, nodes } => with("MemoryPolicy", memory_policy(*mode, nodes)),
        ChildStep::Personality(persona) => with("Personality", format!("{persona:#x}")),
        ChildStep::ExecLabel { file, label } => {
            with("ExecLabel", format!("{} = {}", words::text(file), words::text(label)))
        }
        ChildStep::ChownStdio { uid } => with("ChownStdio", uid.to_string()),
        ChildStep::Chdir { path, create } => {
            let made = if *create { " (made when missing)" } else { "" };
            with("Chdir", format!("{}{made}", words::text(path)))
        }
        ChildStep::Bounding { keep } => with("Bounding", capabilities::names(*keep)),
        ChildStep::SetIds { uid, gid, groups } => {
            let groups = groups.as_ref().map(|groups| format!(" groups {groups:?}")).unwrap_or_default();
            with("SetIds", format!("uid {uid} gid {gid}{groups}"))
        }
        ChildStep::Capabilities { effective, permitted, inheritable, ambient } => {
            let sets = [
                ("effective", effective),
                ("permitted", permitted),
                ("inheritable", inheritable),
                ("ambient", ambient),
            ];
            let sets = sets.map(|(name, set)| format!("{name}: {}", capabilities::names(*set)));
            with("Capabilities", sets.join("; "))
        }
        ChildStep::GiveUpSysAdmin { effective, permitted, inheritable } => {
            let sets = [("effective", effective), ("permitted", permitted), ("inheritable", inheritable)];
            let sets = sets.map(|(name, set)| format!("{name}: {}", capabilities::names(*set)));
            with("GiveUpSysAdmin", sets.join("; "))
        }
        ChildStep::Umask(mask) => with("Umask", format!("{mask:04o}")),
        ChildStep::Home { slot, uid } => with("Home", format!("of user {uid} into env[{slot}]")),
        // Every other variant has its arm above.
        _ => plain("unknown"),
    }
}

/// `243 instructions, SPEC_ALLOW`.
fn filter_words(filter: &Filter) -> String {
    let mut words = vec![format!("{} instructions", filter.program.len())];
    words.extend(seccomp::flag_names(filter.flags).into_iter().map(str::to_owned));
    words.join(" ")
}

fn options(attributes: &MountAttr, recursive: &MountAttr, propagation: &[(u64, bool)]) -> Vec<String> {
    let mut options = words::attributes(attributes, "");
    options.extend(words::attributes(recursive, "r"));
    let rec = |recursive: bool| if recursive { libc::MS_REC } else { 0 };
    options.extend(propagation.iter().map(|(kind, tree)| words::propagation(kind | rec(*tree))));
    options
}

/// `tmpfs on /dev (mode=755,nosuid)`.
fn mount(m: &Mount) -> String {
    let (source, mut all) = match &m.source {
        MountSource::New { fstype, params, or_bind } => {
            let or = or_bind.as_ref().map(|path| format!(" or rbind {}", words::text(path)));
            (format!("{}{}", words::text(fstype), or.unwrap_or_default()), words::params(params))
        }
        MountSource::Bind { path, recursive } => {
            let kind = if *recursive { "rbind" } else { "bind" };
            (format!("{kind} {}", words::text(path)), Vec::new())
        }
        MountSource::Tree { slot } => (format!("tree {slot}"), Vec::new()),
    };
    all.extend(options(&m.attributes, &m.recursive_attributes, &m.propagation));
    let notes = [
        (m.plain_destination, "no links in the destination"),
        (m.copy_up, "tmpcopyup"),
        (m.late_read_only, "ro later"),
    ];
    all.extend(notes.iter().filter(|(on, _)| *on).map(|(_, note)| (*note).to_owned()));
    all.extend(m.label.as_ref().map(|label| format!("labelled {}", words::text(label))));
    format!("{source} on {} ({})", words::text(&m.destination), all.join(","))
}

/// `/dev/null c 1:3 0666 0:0`.
fn device(d: &Device) -> String {
    let kind = match d.mode & libc::S_IFMT {
        libc::S_IFBLK => 'b',
        libc::S_IFIFO => 'p',
        _ => 'c',
    };
    let bind = if d.bind { " bind" } else { "" };
    let (major, minor) = (libc::major(d.dev), libc::minor(d.dev));
    let (mode, uid, gid) = (d.mode & 0o7777, d.uid, d.gid);
    format!("{} {kind} {major}:{minor} {mode:04o} {uid}:{gid}{bind}", words::text(&d.path))
}

fn scheduler(attr: &SchedAttr) -> String {
    const POLICIES: [&str; 7] = ["OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"];
    let policy = POLICIES.get(attr.policy as usize).copied().unwrap_or("?");
    let mut what = format!("SCHED_{policy}");
    let numbers = [
        ("nice", i64::from(attr.nice)),
        ("priority", i64::from(attr.priority)),
        ("runtime", attr.runtime.cast_signed()),
        ("deadline", attr.deadline.cast_signed()),
        ("period", attr.period.cast_signed()),
        ("flags", attr.flags.cast_signed()),
    ];
    for (name, number) in numbers.iter().filter(|(_, number)| *number != 0) {
        what.push_str(&format!(" {name} {number}"));
    }
    what
}

fn io_priority(packed: u32) -> String {
    let class = ["none", "realtime", "best-effort", "idle"].get((packed >> 13) as usize).copied();
    format!("{} {}", class.unwrap_or("?"), packed & 0x1fff)
}

fn memory_policy(mode: u32, nodes: &[u64]) -> String {
    const MODES: [&str; 7] =
        ["DEFAULT", "PREFERRED", "BIND", "INTERLEAVE", "LOCAL", "PREFERRED_MANY", "WEIGHTED_INTERLEAVE"];
    let name = MODES.get((mode & 0x1fff) as usize).copied().unwrap_or("?");
    let flags = [(1 << 13, "NUMA_BALANCING"), (1 << 14, "RELATIVE_NODES"), (1 << 15, "STATIC_NODES")];
    let flags: String =
        flags.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, f)| format!("|F_{f}")).collect();
    let nodes = words::list(nodes);
    format!("MPOL_{name}{flags} {nodes}").trim_end().to_owned()
}
