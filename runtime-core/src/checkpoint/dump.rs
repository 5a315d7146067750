//! Dumping a container.

use super::descriptors;
use super::options::CheckpointOptions;
use super::request::{self, DumpFacts};
use super::rpc::{Features, Notify};
use super::swrk::{self, Criu};
use super::{Directories, number};
use crate::container::{Container, open_init, status_of, wait_end};
use crate::error::{Error, ErrorKind};
use crate::launch::child::path;
use crate::launch::procfs::TrustedProc;
use crate::plan::Namespace;
use crate::state::{ContainerDir, Helper, HostMount, State, is_stopped};
use crate::status::Status;
use crate::sys::{self, Fd};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, fchown};
use oci_spec::runtime::LinuxNamespaceType;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

/// The file that CRIU writes its log to.
pub(super) const LOG: &str = "dump.log";

impl Container {
    /// Writes its processes to files, by which [`Runtime::restore`](crate::Runtime::restore) brings them back.
    ///
    /// Afterwards it has stopped, unless it was to be left running.  Who fails halfway lets it go on.
    ///
    /// # Errors
    /// When it does not run; when there is no CRIU, or one that is too old; when CRIU refuses: the error has what its log
    /// says about it.
    pub fn checkpoint(&self, mut options: CheckpointOptions) -> Result<(), Error> {
        let (dir, mut state) = self.lock()?;
        let status = status_of(&dir, &state)?;
        if !matches!(status, Status::Running | Status::Paused) {
            let message = format!("Container cannot be checkpointed in {status} state");
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let init = open_init(&state)?.ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, "Container cannot be checkpointed in stopped state")
        })?;
        let directories = Directories::open(&options.criu, true)?;
        let mut facts = look(&state, &directories)?;
        let all = state.cgroup.as_ref().map_or_else(|| Ok(vec![facts.pid]), |c| c.procs(true))?;
        facts.freezer = freezer(&state, status, &all)?;
        if !options.pre_dump {
            let links = descriptors::of_container(facts.pid, &all);
            descriptors::write(directories.images.as_fd(), &links)?;
            facts.files = links.into_iter().filter(|link| descriptors::is_external_file(link)).collect();
        }
        let request = request::dump(&options, &state.rootfs, &state.annotations, &facts)?;
        let mut criu = begin(&dir, &mut state)?;
        let worked = prepare(&mut criu, &options).and_then(|()| {
            criu.work(&request, &directories.log.join(LOG), |notify, _| {
                notified(notify, &mut options.status_fd);
                Ok(())
            })
        });
        let done = end(criu, worked, options.pre_dump);
        let done = done.map_err(|e| if status == Status::Running { go_on(&state, e) } else { e });
        state.criu = None;
        let saved = dir.save(&state);
        // What CRIU says comes first: what cannot be written down of its end is looked at before it is believed.
        done?;
        saved?;
        if !(options.leave_running || options.pre_dump) {
            // Its end is its parent's to hear of, which may be us.
            wait_end(init.as_fd());
        }
        Ok(())
    }
}

/// Lets the processes go on after a failure, which CRIU does itself unless it was killed.
fn go_on(state: &State, failure: Error) -> Error {
    let Some(cgroup) = &state.cgroup else { return failure };
    match cgroup.thaw() {
        Err(e) if cgroup.is_frozen().unwrap_or(true) => {
            Error::new(failure.kind(), format!("{failure}; and its processes stay frozen: {e}"))
        }
        _ => failure,
    }
}

/// Starts CRIU, on record.
fn begin(dir: &ContainerDir, state: &mut State) -> Result<Criu, Error> {
    let path = swrk::find()?;
    let silent = swrk::silent()?;
    let fds = silent.each_ref().map(|fd| fd.as_fd());
    let (child, socket) = swrk::start(&path, fds, &[], 0, swrk::own_session).map_err(|e| e.of(&path))?;
    state.criu = Helper::of(child.pid);
    let criu = Criu { child, socket };
    match dir.save(state) {
        Ok(()) => Ok(criu),
        Err(e) => {
            let _ = criu.finish();
            Err(e.into())
        }
    }
}

/// Makes sure that CRIU can do it, before it begins.
fn prepare(criu: &mut Criu, options: &CheckpointOptions) -> Result<(), Error> {
    criu.require_version()?;
    if options.pre_dump {
        criu.require_feature(Features { mem_track: true, ..Features::default() }, "--pre-dump")?;
    }
    if options.criu.lazy_pages {
        criu.require_feature(Features { lazy_pages: true, ..Features::default() }, "--lazy-pages")?;
    }
    Ok(())
}

/// Waits for CRIU's end.  After a pre-dump it waits for the next one of a series, and takes the end of the series for a failure.
fn end(criu: Criu, worked: Result<(), Error>, pre_dump: bool) -> Result<(), Error> {
    let ended = criu.finish();
    worked.and_then(|()| if pre_dump { Ok(()) } else { ended })
}

fn notified(notify: &Notify, status_fd: &mut Option<OwnedFd>) {
    if notify.script == "status-ready"
        && let Some(fd) = status_fd.take()
        && let Err(e) = File::from(fd).write_all(&[0])
    {
        log::warn!("tell that memory is served: {e}");
    }
}

/// Looks at the container and its place on the host.
fn look(state: &State, directories: &Directories) -> Result<DumpFacts, Error> {
    let pid = state.pid.unwrap_or(0);
    let proc = TrustedProc::open().map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    let mut facts = DumpFacts {
        pid,
        images: number(&directories.images),
        work: directories.work.as_ref().map(number),
        ..DumpFacts::default()
    };
    facts.mounts = mounts(&proc, pid, &state.host_mounts)?;
    for namespace in state.exec.namespaces.iter().filter(|namespace| namespace.path().is_some()) {
        let kind = match namespace.typ() {
            LinuxNamespaceType::Network => Namespace::Network,
            LinuxNamespaceType::Pid => Namespace::Pid,
            // CRIU joins the others by their paths.
            _ => continue,
        };
        facts.namespaces.push((kind, inode(&proc, pid, kind)?));
    }
    give_to_root(&proc, pid, directories)?;
    Ok(facts)
}

/// The group by which CRIU stops the processes.
///
/// It attaches itself to them when they are frozen, which the kernel lets it wait for without end where version 1 has frozen
/// one that a signal had stopped before.  Then it does without.
fn freezer(state: &State, status: Status, all: &[i32]) -> Result<Option<String>, Error> {
    let paused = status == Status::Paused;
    let Some(path) = state.cgroup.as_ref().and_then(|cgroup| cgroup.freezer(paused)) else { return Ok(None) };
    let is_v1 = path.join("freezer.state").exists();
    if let Some(pid) = all.iter().find(|pid| is_v1 && is_stopped(**pid)) {
        if !paused {
            return Ok(None);
        }
        let message = format!(
            "process {pid} was stopped by a signal, and cgroup v1 lets nobody attach to it in a container that is paused: resume that first"
        );
        return Err(Error::new(ErrorKind::InvalidState, message));
    }
    Ok(Some(path.to_string_lossy().into_owned()))
}

/// Lets the root of the container's user namespace search a directory of images that was made for them: in a restore the
/// processes read some as the host's root, and some as this one.
fn give_to_root(proc: &TrustedProc, pid: i32, directories: &Directories) -> Result<(), Error> {
    let text = slurp(proc, &format!("{pid}/gid_map"));
    let text =
        text.map_err(|e| Error::because(ErrorKind::Host, "read the container's map of group ids", e))?;
    let Some(root) = root_of(&text).filter(|root| *root != 0 && directories.made) else { return Ok(()) };
    let given = fchown(&directories.images, None, Some(Gid::from_raw(root)))
        .and_then(|()| fchmod(&directories.images, Mode::S_IRWXU | Mode::S_IXGRP));
    given.map_err(|e| {
        Error::because(ErrorKind::Host, "let the container's root into the directory of the images", e)
    })
}

/// Who is root, by a map of `user_namespaces(7)`.
fn root_of(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u32>().ok());
        numbers.next().filter(|inside| *inside == 0).and_then(|_| numbers.next())
    })
}

fn inode(proc: &TrustedProc, pid: i32, kind: Namespace) -> Result<u64, Error> {
    let namespace = proc.namespace(pid, kind).map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    let stat = sys::fstat(Fd::from(&namespace));
    stat.map(|stat| stat.ino).map_err(|e| Error::because(ErrorKind::Host, "look at a namespace", e))
}

/// Where the host's mounts are in the container, and the names that they get.
fn mounts(proc: &TrustedProc, pid: i32, recorded: &[HostMount]) -> Result<Vec<(String, String)>, Error> {
    let host = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::because(ErrorKind::Host, "look at the container's mounts", e)
    };
    let root = CString::new(format!("{pid}/root")).unwrap_or_default();
    let root = sys::openat(Fd::from(proc.as_fd()), &root, libc::O_PATH | libc::O_DIRECTORY, 0).map(sys::own);
    let root = root.map_err(|e| host(e.into()))?;
    let points = mount_points(&slurp(proc, &format!("{pid}/mountinfo")).map_err(host)?);
    let mut found = Vec::new();
    for mount in recorded {
        request::refuse_mapped(&mount.destination, mount.mapped)?;
        let destination = CString::new(mount.destination.as_str()).map_err(|e| host(e.into()))?;
        // One that is gone was unmounted inside.
        let point = point(proc, root.as_fd(), &destination, &points);
        found.extend(point.map(|point| (point, mount.destination.clone())));
    }
    Ok(found)
}

/// The mount point that `destination` leads to, after all links.
fn point(
    proc: &TrustedProc,
    root: BorrowedFd<'_>,
    destination: &CStr,
    points: &BTreeMap<u64, String>,
) -> Option<String> {
    let there = sys::own(path::locate(Fd::from(root), destination).ok()?);
    let info = slurp(proc, &format!("self/fdinfo/{}", there.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
    points.get(&id).cloned()
}

fn slurp(proc: &TrustedProc, path: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let file = proc.open_file(&CString::new(path)?, libc::O_RDONLY)?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

/// Mount points by the ids of their mounts (`proc_pid_mountinfo(5)`).
fn mount_points(mountinfo: &str) -> BTreeMap<u64, String> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        let id = fields.next()?.parse().ok()?;
        Some((id, unescape(fields.nth(3)?)))
    };
    mountinfo.lines().filter_map(parse).collect()
}

/// Blanks and the like are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|_| *first == b'\\');
        let byte = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_by_their_ids() {
        let text = "22 1 0:5 / / rw - ext4 /dev/vda rw\n23 22 0:6 /x /a\\040b\\134 rw,nosuid shared:1 - tmpfs t rw\n";
        let points = mount_points(text);
        assert_eq!(points[&22], "/");
        assert_eq!(points[&23], "/a b\\");
        assert_eq!(unescape("\\9\\"), "\\9\\");
    }

    #[test]
    fn root_is_found_in_a_map() {
        assert_eq!(
            root_of("         5     200000          1\n         0     100000      65536\n"),
            Some(100_000)
        );
        assert_eq!(root_of("         1     100000      65536\n"), None);
        assert_eq!(root_of("         0          0 4294967295\n"), Some(0));
    }
}
