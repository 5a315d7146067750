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
use crate::plan::{Namespace, Plan};
use crate::runtime::{CreateOptions, compile_silently};
use crate::state::{ContainerDir, Helper, State};
use crate::status::Status;
use crate::sys::{self, Fd};
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
        let directories = Directories::open(&options.image_path, options.work_path.as_deref(), true)?;
        let plan = compiled(&state)?;
        let mut facts = look(&plan, &state, &directories, status)?;
        if !options.pre_dump {
            let all = state.cgroup.as_ref().map_or_else(|| Ok(vec![facts.pid]), |c| c.procs(true))?;
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
        if done.is_err() && status == Status::Running {
            // CRIU does so itself, unless it was killed.
            state.cgroup.as_ref().map_or(Ok(()), crate::cgroup::Placement::thaw)?;
        }
        state.criu = None;
        dir.save(&state)?;
        done?;
        if !(options.leave_running || options.pre_dump) {
            // Its end is its parent's to hear of, which may be us.
            wait_end(init.as_fd());
        }
        Ok(())
    }
}

/// The plan of the container's bundle, which tells what of it is the host's.
fn compiled(state: &State) -> Result<Plan, Error> {
    let mut options = CreateOptions {
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        systemd_cgroup: state.cgroup.as_ref().is_some_and(crate::cgroup::Placement::is_unit),
        ..CreateOptions::default()
    };
    compile_silently(&mut options, true).map(|compiled| compiled.plan)
}

/// Starts CRIU, on record.
fn begin(dir: &ContainerDir, state: &mut State) -> Result<Criu, Error> {
    let path = swrk::find()?;
    let silent = swrk::silent()?;
    let fds = silent.each_ref().map(|fd| fd.as_fd());
    let (child, socket) = swrk::start(&path, fds, &[], 0, swrk::own_session).map_err(|e| e.of(&path))?;
    state.criu = Helper::of(child.pid);
    dir.save(state)?;
    Ok(Criu { child, socket })
}

/// Makes sure that CRIU can do it, before it begins.
fn prepare(criu: &mut Criu, options: &CheckpointOptions) -> Result<(), Error> {
    criu.require_version()?;
    if options.pre_dump {
        criu.require_feature(Features { mem_track: true, ..Features::default() }, "--pre-dump")?;
    }
    if options.lazy_pages {
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
fn look(plan: &Plan, state: &State, directories: &Directories, status: Status) -> Result<DumpFacts, Error> {
    let pid = state.pid.unwrap_or(0);
    let proc = TrustedProc::open().map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    let mut facts = DumpFacts {
        pid,
        images: number(&directories.images),
        work: directories.work.as_ref().map(number),
        ..DumpFacts::default()
    };
    facts.mounts = mounts(&proc, pid, plan)?;
    for (kind, _) in request::given(plan).filter(|(kind, _)| request::external_namespace(*kind).is_some()) {
        facts.namespaces.push((kind, inode(&proc, pid, kind)?));
    }
    let freezer = state.cgroup.as_ref().and_then(|cgroup| cgroup.freezer(status == Status::Paused));
    facts.freezer = freezer.map(|path| path.to_string_lossy().into_owned());
    Ok(facts)
}

fn inode(proc: &TrustedProc, pid: i32, kind: Namespace) -> Result<u64, Error> {
    let namespace = proc.namespace(pid, kind).map_err(|e| Error::because(ErrorKind::Host, "", e))?;
    let stat = sys::fstat(Fd::from(&namespace));
    stat.map(|stat| stat.ino).map_err(|e| Error::because(ErrorKind::Host, "look at a namespace", e))
}

/// Where the host's mounts are in the container, and the names that they get.
fn mounts(proc: &TrustedProc, pid: i32, plan: &Plan) -> Result<Vec<(String, String)>, Error> {
    let host = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::because(ErrorKind::Host, "look at the container's mounts", e)
    };
    let root = CString::new(format!("{pid}/root")).unwrap_or_default();
    let root = sys::openat(Fd::from(proc.as_fd()), &root, libc::O_PATH | libc::O_DIRECTORY, 0).map(sys::own);
    let root = root.map_err(|e| host(e.into()))?;
    let points = mount_points(&slurp(proc, &format!("{pid}/mountinfo")).map_err(host)?);
    let mut found = Vec::new();
    for bound in request::bound(plan)? {
        let name = bound.destination.to_string_lossy().into_owned();
        // One that is gone was unmounted inside.
        let point = point(proc, root.as_fd(), &bound.destination, &points);
        found.extend(point.map(|point| (point, name)));
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
}
