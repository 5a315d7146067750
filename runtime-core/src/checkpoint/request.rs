//! What CRIU is asked for: pure functions from a plan, the options, and what was looked at on the host.

use super::descriptors::is_external_file;
use super::options::{CheckpointOptions, CriuSettings, ManageCgroups, RestoreOptions};
use super::rpc::{CgroupRoot, CriuOptions, InheritFd, JoinNamespace, PageServer, Request, kind};
use crate::error::{Error, ErrorKind};
use crate::plan::{ChildStep, HostStep, MountSource, Namespace, Plan};
use crate::state::HostMount;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::Path;

/// Where a host keeps what CRIU is to do otherwise for containers: runc's place, as hosts that have set one up have it there.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
/// The annotation that names another file, or with an empty value none.
const CONFIG_ANNOTATION: &str = "org.criu.config";
/// What a masked file shows.
pub(super) const NULL: &str = "/dev/null";
/// Messages and not only warnings: the log is what is left of a failure.
const LOG_LEVEL: i32 = 4;

/// A tree of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Where the configuration puts it; the name that the images know it by.
    pub destination: CString,
    /// Where it comes from.
    pub source: CString,
    /// Its ids are mapped.
    pub mapped: bool,
}

/// What a later dump is to know of a plan: the mounts that are the host's.
pub(crate) fn host_mounts(plan: &Plan) -> Vec<HostMount> {
    let recorded = |bound: Bound| HostMount {
        destination: bound.destination.to_string_lossy().into_owned(),
        mapped: bound.mapped,
    };
    bound(plan).into_iter().map(recorded).collect()
}

/// Refuses a mount of which CRIU knows nothing.
pub(super) fn refuse_mapped(destination: &str, mapped: bool) -> Result<(), Error> {
    if !mapped {
        return Ok(());
    }
    let message = format!("mount {destination}: CRIU knows nothing of mounts with mapped ids (idmap)");
    Err(Error::new(ErrorKind::InvalidConfig, message))
}

/// The trees of the host that a plan binds.
pub(super) fn bound(plan: &Plan) -> Vec<Bound> {
    let mut trees = BTreeMap::new();
    for planned in &plan.host {
        let HostStep::OpenTree { slot, source, idmap, .. } = &planned.step else { continue };
        trees.insert(*slot, (source, idmap.is_some()));
    }
    let found = plan.child.iter().filter_map(|planned| match &planned.step {
        ChildStep::Mount(mount) => {
            let (source, mapped) = match &mount.source {
                MountSource::Bind { path, .. } => (path, false),
                MountSource::Tree { slot } => *trees.get(slot)?,
                MountSource::New { .. } => return None,
            };
            Some(Bound { destination: mount.destination.clone(), source: source.clone(), mapped })
        }
        ChildStep::Device(device) if device.bind => {
            Some(Bound { destination: device.path.clone(), source: device.path.clone(), mapped: false })
        }
        _ => None,
    });
    found.collect()
}

/// The paths that a plan hides.
pub(super) fn masked(plan: &Plan) -> impl Iterator<Item = &CStr> {
    plan.child.iter().filter_map(|planned| match &planned.step {
        ChildStep::Mask { path } => Some(path.as_c_str()),
        _ => None,
    })
}

/// A namespace that is the host's to keep: by which name CRIU knows it.
pub(super) fn external_namespace(kind: Namespace) -> Option<&'static str> {
    match kind {
        Namespace::Network => Some("extRootNetNS"),
        Namespace::Pid => Some("extRootPidNS"),
        _ => None,
    }
}

/// What was looked at before a dump.
#[derive(Debug, Default)]
pub(super) struct DumpFacts {
    /// The container's first process.
    pub pid: i32,
    /// The directory of the images, as a descriptor of ours.
    pub images: i32,
    /// That of the log.
    pub work: Option<i32>,
    /// Mounts of the host's: where they are in the container, after all links, and their names.
    pub mounts: Vec<(String, String)>,
    /// Network and pid namespaces that were given by path, by their inodes.
    pub namespaces: Vec<(Namespace, u64)>,
    /// Streams that are the host's named pipes, as CRIU names them.
    pub files: Vec<String>,
    /// The group by which its processes are stopped.
    pub freezer: Option<String>,
}

fn config_file(annotations: &BTreeMap<String, String>) -> String {
    annotations.get(CONFIG_ANNOTATION).cloned().unwrap_or_else(|| CONFIG_FILE.to_owned())
}

fn mode(cgroups: ManageCgroups) -> Option<i32> {
    Some(match cgroups {
        ManageCgroups::Ignore => 0,
        ManageCgroups::Soft => 3,
        ManageCgroups::Full => 4,
        ManageCgroups::Strict => 5,
        ManageCgroups::Default => 6,
    })
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("{}: CRIU takes paths in UTF-8 only", path.display()))
    })
}

fn utf8(path: &CStr) -> Result<&str, Error> {
    path.to_str().map_err(|_| {
        Error::new(
            ErrorKind::InvalidConfig,
            format!("{}: CRIU takes paths in UTF-8 only", path.to_string_lossy()),
        )
    })
}

/// What dumps and restores have in common.
fn common(settings: &CriuSettings, annotations: &BTreeMap<String, String>, log: &str) -> CriuOptions {
    CriuOptions {
        log_level: LOG_LEVEL,
        log_file: log.to_owned(),
        notify_scripts: true,
        manage_cgroups: true,
        manage_cgroups_mode: mode(settings.manage_cgroups),
        tcp_established: settings.tcp_established,
        link_remap: settings.link_remap,
        ext_unix_sk: settings.ext_unix_sk,
        shell_job: settings.shell_job,
        file_locks: settings.file_locks,
        auto_dedup: settings.auto_dedup,
        lazy_pages: settings.lazy_pages,
        // What is in a network namespace is set up by who made it: a network plugin, a hook.
        empty_ns: libc::CLONE_NEWNET.unsigned_abs(),
        orphan_pts_master: true,
        config_file: config_file(annotations),
        ..CriuOptions::default()
    }
}

/// The request of a dump or a pre-dump.
pub(super) fn dump(
    options: &CheckpointOptions,
    rootfs: &Path,
    annotations: &BTreeMap<String, String>,
    facts: &DumpFacts,
) -> Result<Request, Error> {
    let mut external: Vec<String> =
        facts.mounts.iter().map(|(point, name)| format!("mnt[{point}]:{name}")).collect();
    for (kind, inode) in &facts.namespaces {
        external.extend(external_namespace(*kind).map(|name| format!("{}[{inode}]:{name}", kind.file())));
    }
    external.extend(facts.files.iter().cloned());
    let kind = if options.pre_dump { kind::PRE_DUMP } else { kind::DUMP };
    let options = CriuOptions {
        images_dir_fd: Some(facts.images),
        work_dir_fd: facts.work,
        pid: facts.pid,
        root: text(rootfs)?,
        leave_running: options.leave_running,
        tcp_skip_in_flight: options.tcp_skip_in_flight,
        page_server: options
            .page_server
            .as_ref()
            .map(|(address, port)| PageServer { address: address.clone(), port: i32::from(*port) }),
        parent_img: options.parent_path.as_deref().map(text).transpose()?.unwrap_or_default(),
        track_mem: options.parent_path.is_some(),
        freeze_cgroup: facts.freezer.clone().unwrap_or_default(),
        external,
        ..common(&options.criu, annotations, super::dump::LOG)
    };
    Ok(Request { kind, options: Some(options), ..Request::default() })
}

/// What was looked at, and opened, before a restore.
#[derive(Debug)]
pub(super) struct RestoreFacts<'a> {
    /// The directory of the images, as a descriptor of ours.
    pub images: i32,
    /// That of the log.
    pub work: Option<i32>,
    /// Where the root file system is mounted for CRIU.
    pub root: &'a Path,
    /// What stdin, stdout and stderr were.
    pub descriptors: Vec<String>,
    /// Names of the images, and the descriptors of CRIU's that are these.
    pub inherited: Vec<(&'static str, i32)>,
    /// The groups that CRIU is in, by controller.
    pub cgroups: Vec<(String, String)>,
}

/// The request of a restore.
pub(super) fn restore(
    options: &RestoreOptions,
    plan: &Plan,
    annotations: &BTreeMap<String, String>,
    facts: &RestoreFacts<'_>,
) -> Result<Request, Error> {
    let mut external = Vec::new();
    for Bound { destination, source, mapped } in bound(plan) {
        let destination = utf8(&destination)?;
        refuse_mapped(destination, mapped)?;
        external.push(format!("mnt[{destination}]:{}", utf8(&source)?));
    }
    if masked(plan).next().is_some() {
        external.push(format!("mnt[{NULL}]:{NULL}"));
    }
    let is_pipe = |link: &str| link.starts_with("pipe:") || is_external_file(link);
    let pipes = facts.descriptors.iter().zip(0..).filter(|(link, _)| is_pipe(link));
    let pipes = pipes.map(|(link, n)| InheritFd { key: link.clone(), fd: Some(n) });
    let given = facts.inherited.iter().map(|(key, n)| InheritFd { key: (*key).to_owned(), fd: Some(*n) });
    let cgroup_roots = facts.cgroups.iter();
    let options = CriuOptions {
        images_dir_fd: Some(facts.images),
        work_dir_fd: facts.work,
        root: text(facts.root)?,
        // The new processes are our children, so that they can be waited for.
        rst_sibling: true,
        evasive_devices: true,
        lsm_profile: options.lsm_profile.clone().unwrap_or_default(),
        lsm_mount_context: options.lsm_mount_context.clone().unwrap_or_default(),
        inherit_fd: pipes.chain(given).collect(),
        cgroup_roots: cgroup_roots
            .map(|(controller, path)| CgroupRoot { controller: controller.clone(), path: path.clone() })
            .collect(),
        join_ns: joined(plan)?,
        external,
        ..common(&options.criu, annotations, super::restore::LOG)
    };
    Ok(Request { kind: kind::RESTORE, options: Some(options), ..Request::default() })
}

/// The namespaces that a plan joins, by their paths.
pub(super) fn given(plan: &Plan) -> impl Iterator<Item = (Namespace, &CStr)> {
    plan.host.iter().filter_map(|planned| match &planned.step {
        HostStep::OpenNamespace { kind, path, .. } => Some((*kind, path.as_c_str())),
        _ => None,
    })
}

/// Those of them that CRIU joins by itself.
fn joined(plan: &Plan) -> Result<Vec<JoinNamespace>, Error> {
    let mut found = Vec::new();
    for (kind, path) in given(plan).filter(|(kind, _)| external_namespace(*kind).is_none()) {
        if kind == Namespace::Cgroup {
            let message = "linux.namespaces: CRIU cannot restore into a cgroup namespace given by its path";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        found.push(JoinNamespace { kind: kind.file().to_owned(), file: utf8(path)?.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
