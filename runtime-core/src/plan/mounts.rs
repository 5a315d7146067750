//! `mounts`: what is mounted, where, and with which attributes.

use super::cgroups::{self, Groups};
use super::compiler::{Input, Report, Steps, planned};
use super::mount_options::{self, MountOptions};
use super::path::{c_path, clean};
use super::{
    ChildStep, FsParam, HostStep, IdMaps, Mount, MountSource, Namespace, Planned, c_string, cgroup_mounts,
    devices, namespaces,
};
use crate::sys::{MountAttr, attr};
use oci_spec::runtime::Mount as Given;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// What `fsconfig(2)` takes as a key or a value, without the final NUL.
const MAX_PARAM: usize = 255;

/// As many mounts can wait to become read-only (the child half has no heap).
const MAX_LATE: usize = 16;

/// What may be mounted inside a container's `/proc`: the files that lxcfs serves, and what gVisor and CRIU users need.
/// Anything else there could hide what the kernel says, or fool those who trust it (CVE-2019-16884).
const ALLOWED_IN_PROC: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// One mount of the configuration, read.
pub(super) struct Entry<'a> {
    pub(super) at: String,
    pub(super) given: &'a Given,
    pub(super) destination: PathBuf,
    pub(super) options: MountOptions,
}

impl Entry<'_> {
    fn fstype(&self) -> &str {
        self.given.typ().as_deref().unwrap_or("none")
    }

    fn is_bind(&self) -> bool {
        self.options.bind.is_some() || self.fstype() == "bind"
    }

    fn is_cgroup(&self) -> bool {
        matches!(self.fstype(), "cgroup" | "cgroup2")
    }

    fn source(&self) -> &Path {
        self.given.source().as_deref().unwrap_or(Path::new(""))
    }

    /// The mount step with all that does not depend on its kind.
    pub(super) fn mount(&self, source: MountSource) -> Mount {
        Mount {
            source,
            destination: c_path(&self.destination),
            plain_destination: false,
            attributes: self.options.attributes,
            recursive_attributes: self.options.recursive,
            propagation: self.options.propagation.clone(),
            copy_up: self.options.copy_up,
            label: None,
            late_read_only: false,
        }
    }
}

/// What the mounts leave to be done elsewhere.
#[derive(Default)]
pub(super) struct Rest {
    /// The parent's steps, for trees that the child could not open.
    pub(super) trees: Vec<Planned<HostStep>>,
    /// Mounts that become read-only when what they hold is made.
    late: Vec<Planned<ChildStep>>,
}

/// The mounts of the configuration, in its order, and what engines add to them.
pub(super) fn compile(input: &Input<'_>, groups: &Groups, steps: &mut Steps, report: &mut Report) -> Rest {
    let mut rest = Rest::default();
    let entries = read(input);
    if !entries.is_empty() && !input.namespaces.has(Namespace::Mount) {
        report.fault("mounts", "needs a mount namespace in linux.namespaces: the mounts would be the host's");
        return rest;
    }
    for (index, entry) in entries.iter().enumerate() {
        if !check(input, entry, report) {
            continue;
        }
        let below = || has_something_below(input, &entries, index);
        if entry.options.remount {
            let late = entry.options.read_only() && below();
            remount(input, entry, steps, late.then_some(&mut rest.late), report);
        } else if entry.is_bind() {
            bind(input, entry, steps, &mut rest.trees, report);
        } else if entry.is_cgroup() {
            cgroups::await_group(input, groups, steps);
            cgroup_mounts::compile(input, groups, entry, steps, report);
        } else {
            if entry.options.copy_up && groups.beside() {
                // What is copied there is memory, and the container's.
                cgroups::await_group(input, groups, steps);
            }
            new(input, entry, below(), steps, report);
        }
    }
    notify_socket(input, steps, report);
    rest
}

fn read<'a>(input: &Input<'a>) -> Vec<Entry<'a>> {
    let given = input.spec.mounts().iter().flatten().enumerate();
    given
        .map(|(index, given)| Entry {
            at: format!("mounts[{index}]"),
            given,
            destination: clean(given.destination()),
            options: mount_options::parse(given.options().as_deref()),
        })
        .collect()
}

/// Refuses what cannot be, whatever is mounted.
fn check(input: &Input<'_>, entry: &Entry<'_>, report: &mut Report) -> bool {
    let faults = report.faults.len();
    let at = format!("{}.destination", entry.at);
    if entry.destination == Path::new("/") && !entry.options.remount {
        report.fault(at, "\"/\" is the root file system, which root.path gives");
    } else if let Ok(inside) = entry.destination.strip_prefix("/proc") {
        check_proc(entry, inside, &at, report);
    }
    let at = format!("{}.options", entry.at);
    let recursive = &entry.options.recursive;
    if (recursive.set | recursive.clear) & attr::NOSYMFOLLOW != 0 {
        report.need_kernel(input.facts, (5, 14), &at, "rnosymfollow or rsymfollow");
    }
    if entry.options.recursive != MountAttr::default() {
        report.need_kernel(input.facts, (5, 12), &at, "an option for a whole tree (rro and the like)");
    }
    if entry.options.copy_up && (entry.is_bind() || entry.fstype() != "tmpfs") {
        report.fault(at, "tmpcopyup goes with a tmpfs only");
    }
    report.faults.len() == faults
}

fn check_proc(entry: &Entry<'_>, inside: &Path, at: &str, report: &mut Report) {
    if entry.options.remount {
        return;
    }
    if inside.as_os_str().is_empty() {
        let proc = if entry.is_bind() {
            clean(entry.source()) == Path::new("/proc")
        } else {
            entry.fstype() == "proc"
        };
        if !proc {
            report.fault(at, "only a proc file system, or the host's /proc, may be mounted at /proc");
        }
    } else if !ALLOWED_IN_PROC.iter().any(|allowed| Path::new(allowed) == inside) {
        let message = format!(
            "{:?} is inside /proc, where only these may be mounted: {}",
            entry.destination.display().to_string(),
            ALLOWED_IN_PROC.join(", ")
        );
        report.fault(at, message);
    }
}

/// Whether anything is made below the mount, so that it cannot be read-only from the start.
fn has_something_below(input: &Input<'_>, entries: &[Entry<'_>], index: usize) -> bool {
    let here = &entries[index].destination;
    let below = |path: &Path| path != here && path.starts_with(here);
    entries[index + 1..].iter().any(|later| below(&later.destination))
        || devices::paths(input).iter().any(|path| below(path))
        || input.options.notify_socket.is_some() && below(Path::new(NOTIFY_DIRECTORY))
}

/// `remount`: other attributes for a mount that is there, and other parameters for its file system; with `late`, read-only only when
/// what it holds is made.
fn remount(
    input: &Input<'_>,
    entry: &Entry<'_>,
    steps: &mut Steps,
    late: Option<&mut Vec<Planned<ChildStep>>>,
    report: &mut Report,
) {
    let options = &entry.options;
    let params = if entry.is_bind() {
        no_data_for_bind(entry, report);
        Vec::new()
    } else {
        changed_params(input, entry, report)
    };
    let change = |params, attributes| ChildStep::ChangeMount {
        destination: c_path(&entry.destination),
        params,
        attributes,
        recursive_attributes: MountAttr::default(),
        propagation: Vec::new(),
    };
    let mut step = change(params, options.attributes);
    if let ChildStep::ChangeMount { attributes, recursive_attributes, propagation, .. } = &mut step {
        *recursive_attributes = options.recursive;
        propagation.clone_from(&options.propagation);
        if let Some(late) = late {
            attributes.set &= !attr::RDONLY;
            let read_only = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
            late.push(Planned { step: change(Vec::new(), read_only), origin: entry.at.clone() });
        }
    }
    steps.push(step, entry.at.clone());
}

/// mount(2) ignores what is the file system's for `MS_BIND`, and engines rely on it.
fn no_data_for_bind(entry: &Entry<'_>, report: &mut Report) {
    let ignored = entry.options.data.iter().map(|(key, _)| key.as_str());
    let ignored: Vec<&str> = ignored.chain(entry.options.superblock.iter().copied()).collect();
    if !ignored.is_empty() {
        let message = format!("{}: no effect on a bind mount", ignored.join(", "));
        report.warn(format_args!("{}.options", entry.at), message);
    }
}

/// A bind mount.
fn bind(
    input: &Input<'_>,
    entry: &Entry<'_>,
    steps: &mut Steps,
    trees: &mut Vec<Planned<HostStep>>,
    report: &mut Report,
) {
    no_data_for_bind(entry, report);
    let recursive = entry.options.bind.unwrap_or(false);
    let path = c_path(&input.options.bundle.join(entry.source()));
    let Ok(idmap) = id_map(input, entry, report) else { return };
    // Of the trees a user namespace's root may not see all, and id-mapping needs rights over the file system.
    let by_parent = idmap.is_some() || input.facts.privileged && input.namespaces.has(Namespace::User);
    let mut mount = if by_parent {
        let slot = trees.len();
        let step = HostStep::OpenTree { slot, source: path, recursive, idmap };
        trees.push(planned(step, entry.at.clone()));
        entry.mount(MountSource::Tree { slot })
    } else {
        entry.mount(MountSource::Bind { path, recursive })
    };
    if by_parent && let Some(kind) = super::rootfs::inherited_propagation(input) {
        // The parent opens it among the host's mounts, whose peers it would stay.
        mount.propagation.insert(0, (kind, true));
    }
    steps.push(ChildStep::Mount(mount), entry.at.clone());
}

/// The id mapping of a bind mount; an error when a fault was reported.
fn id_map(input: &Input<'_>, entry: &Entry<'_>, report: &mut Report) -> Result<Option<(IdMaps, bool)>, ()> {
    let uid = namespaces::lines(entry.given.uid_mappings().as_deref());
    let gid = namespaces::lines(entry.given.gid_mappings().as_deref());
    let explicit = !uid.is_empty() || !gid.is_empty();
    if !explicit && entry.options.id_map.is_none() {
        return Ok(None);
    }
    let at = format!("{}.options", entry.at);
    let faults = report.faults.len();
    report.need_kernel(input.facts, (5, 12), &at, "an id-mapped mount");
    if !input.facts.privileged || input.facts.euid != 0 {
        report.fault(at.as_str(), "id-mapped mounts need rights over the file system, which only root has");
    }
    let maps = if explicit {
        Some(IdMaps { uid, gid })
    } else {
        let inherited = input.namespaces.maps().cloned();
        if inherited.is_none() {
            report.fault(
                at,
                "idmap without uidMappings and gidMappings takes those of linux, and a user namespace that is joined has \
                 its own: state them",
            );
        }
        inherited
    };
    if report.faults.len() > faults {
        return Err(());
    }
    Ok(maps.map(|maps| (maps, entry.options.id_map.unwrap_or(false))))
}

/// A new file system instance.
fn new(input: &Input<'_>, entry: &Entry<'_>, below: bool, steps: &mut Steps, report: &mut Report) {
    let fstype = entry.fstype();
    let params = params(input, entry, report);
    let sysfs = fstype == "sysfs";
    let own_network = input.namespaces.is_new(Namespace::Network);
    // Only who owns the network namespace may mount a sysfs.
    let or_bind = (sysfs && input.namespaces.has(Namespace::User) && !own_network).then(|| c_string("/sys"));
    let mut mount = entry.mount(MountSource::New { fstype: c_string(fstype), params, or_bind });
    mount.plain_destination = sysfs || fstype == "proc";
    if fstype == "mqueue" {
        mount.label = mount_label(input, report).map(c_string);
    }
    if below && fstype == "tmpfs" && entry.options.read_only() {
        mount.late_read_only = true;
        mount.attributes.set &= !attr::RDONLY;
    }
    steps.push(ChildStep::Mount(mount), entry.at.clone());
}

/// Whether read-only is a matter of the mount alone: the instance has no storage, or is shared with other mounts.
fn is_virtual(fstype: &str) -> bool {
    const VIRTUAL: [&str; 21] = [
        "binder",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "proc",
        "pstore",
        "ramfs",
        "resctrl",
        "securityfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ];
    VIRTUAL.contains(&fstype)
}

/// The parameters of the file system: its source, flags of the superblock, data, and the SELinux context.
fn params(input: &Input<'_>, entry: &Entry<'_>, report: &mut Report) -> Vec<FsParam> {
    let at = format!("{}.options", entry.at);
    let fstype = entry.fstype();
    let mut params = Params { list: Vec::new(), at: &at };
    if let Some(source) = entry.given.source() {
        params.string("source", c_path(source), report);
    }
    // A superblock on storage is opened for writing unless this says otherwise, which storage may refuse.
    if entry.options.read_only() && !is_virtual(fstype) {
        params.flag("ro", report);
    }
    options(input, entry, &mut params, report);
    if takes_context(fstype)
        && let Some(label) = mount_label(input, report)
    {
        params.string("context", c_string(label), report);
    }
    params.list
}

/// The parameters that a file system takes anew.
///
/// What is not said stays, where mount(2) with `MS_REMOUNT` would clear every flag that is not said again.
fn changed_params(input: &Input<'_>, entry: &Entry<'_>, report: &mut Report) -> Vec<FsParam> {
    let at = format!("{}.options", entry.at);
    let fstype = entry.fstype();
    let mut params = Params { list: Vec::new(), at: &at };
    // One on storage became read-only itself when it was mounted so (see `params`).
    let storage = fstype != "none" && !is_virtual(fstype);
    if storage && entry.options.attributes.clear & attr::RDONLY != 0 {
        params.flag("rw", report);
    }
    for flag in &entry.options.superblock_cleared {
        match *flag {
            "sync" => params.flag("async", report),
            "lazytime" => params.flag("nolazytime", report),
            "mand" => params.flag("nomand", report),
            flag => report.warn(&at, format_args!("no{flag}: stays as it was mounted")),
        }
    }
    options(input, entry, &mut params, report);
    params.list
}

/// The options that are the file system's: flags of the superblock, and data.
fn options(input: &Input<'_>, entry: &Entry<'_>, params: &mut Params<'_>, report: &mut Report) {
    let fstype = entry.fstype();
    for flag in &entry.options.superblock {
        match (*flag, fstype) {
            ("dirsync", _) if entry.options.remount => {
                report.warn(
                    params.at,
                    "dirsync: the kernel takes it when a file system is first mounted alone",
                );
            }
            ("iversion", "ext4") => params.flag("i_version", report),
            ("iversion", _) => {
                let message = format!("iversion: {fstype} keeps it, or does not, without being asked");
                report.warn(params.at, message);
            }
            (flag, _) => params.flag(flag, report),
        }
    }
    for (key, value) in &entry.options.data {
        match value {
            Some(value) if fstype == "overlay" && key == "lowerdir" => {
                lower_directories(input, value, params, report);
            }
            Some(value) => params.string(key, c_string(value), report),
            None => params.flag(key, report),
        }
    }
}

/// `linux.mountLabel`, where the host knows labels; a fault where it does not.
fn mount_label<'a>(input: &'a Input<'_>, report: &mut Report) -> Option<&'a str> {
    let label = input.linux()?.mount_label().as_deref()?;
    super::rootfs::label_supported(input, report).then_some(label)
}

/// proc and sysfs label their own files; the instances of the others exist before they are mounted, so that their context
/// is settled: the root of mqueue, which belongs to the container, is labelled once it is there.
fn takes_context(fstype: &str) -> bool {
    !matches!(fstype, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

/// `lowerdir` can be longer than a parameter; layer by layer it fits (Linux 6.7).
fn lower_directories(input: &Input<'_>, value: &str, params: &mut Params<'_>, report: &mut Report) {
    // An escaped colon, or two (data-only layers), need the kernel's own reading.
    let plain = !value.contains('\\') && !value.contains("::");
    if value.len() <= MAX_PARAM || !plain || input.facts.kernel < (6, 7) {
        params.string("lowerdir", c_string(value), report);
        return;
    }
    for layer in value.split(':') {
        params.string("lowerdir+", c_string(layer), report);
    }
}

/// Parameters in the making.
struct Params<'a> {
    list: Vec<FsParam>,
    at: &'a str,
}

impl Params<'_> {
    fn flag(&mut self, key: &str, report: &mut Report) {
        self.check(key, 0, report);
        self.list.push(FsParam::Flag(c_string(key)));
    }

    fn string(&mut self, key: &str, value: CString, report: &mut Report) {
        self.check(key, value.as_bytes().len(), report);
        self.list.push(FsParam::String(c_string(key), value));
    }

    fn check(&self, key: &str, value: usize, report: &mut Report) {
        if key.is_empty() {
            report.fault(self.at, "a value without a key");
        } else if key.len() > MAX_PARAM || value > MAX_PARAM {
            let length = key.len().max(value);
            let message = format!("{key}: {length} bytes, and fsconfig(2) takes {MAX_PARAM} at most");
            report.fault(self.at, message);
        }
    }
}

/// Where the directory of `NOTIFY_SOCKET` is seen inside.
pub(super) const NOTIFY_DIRECTORY: &str = "/run/notify";

/// The directory of the service manager's socket.
fn notify_socket(input: &Input<'_>, steps: &mut Steps, report: &mut Report) {
    let Some(socket) = &input.options.notify_socket else { return };
    let Some(directory) = socket.parent().filter(|_| socket.is_absolute()) else {
        report.warn("NOTIFY_SOCKET", format_args!("{} is not a path: not passed on", socket.display()));
        return;
    };
    if !input.namespaces.has(Namespace::Mount) {
        return report.warn("NOTIFY_SOCKET", "needs a mount namespace in linux.namespaces: not passed on");
    }
    let mount = Mount {
        source: MountSource::Bind { path: c_path(directory), recursive: false },
        destination: c_string(NOTIFY_DIRECTORY),
        plain_destination: false,
        attributes: MountAttr { set: attr::NOSUID | attr::NODEV | attr::NOEXEC, ..MountAttr::default() },
        recursive_attributes: MountAttr::default(),
        propagation: Vec::new(),
        copy_up: false,
        label: None,
        late_read_only: false,
    };
    steps.push(ChildStep::Mount(mount), "NOTIFY_SOCKET");
}

/// Makes read-only what had to be written first.
pub(super) fn late_read_only(rest: &mut Rest, steps: &mut Steps, report: &mut Report) {
    let late = |s: &Planned<ChildStep>| match &s.step {
        ChildStep::Mount(mount) if mount.late_read_only => {
            Some((mount.destination.clone(), s.origin.clone()))
        }
        _ => None,
    };
    let found: Vec<(CString, String)> = steps.0.iter().filter_map(late).collect();
    if found.len() > MAX_LATE {
        let message =
            format!("{} read-only tmpfs hold other mounts, and {MAX_LATE} at most can", found.len());
        report.fault("mounts", message);
    }
    let attributes = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
    for (destination, origin) in found {
        steps.push(ChildStep::LateReadOnly { destination, attributes }, origin);
    }
    steps.0.append(&mut rest.late);
}
