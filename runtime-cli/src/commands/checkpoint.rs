//! `orlop checkpoint`, and what it has in common with `restore`.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use orlop_core::sys;
use orlop_core::{CheckpointOptions, CriuSettings, ManageCgroups};

use super::Context;
use super::launch::forget;
use crate::args::Matches;
use crate::failure::Failure;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    warn_if_unprivileged(context, "checkpoint");
    let runtime = context.runtime()?;
    let container = runtime.open(matches.id()?)?;
    let options = options(matches)?;
    let stays = options.leave_running || options.pre_dump;
    container.checkpoint(options)?;
    if !stays {
        let id = container.id().to_owned();
        container.delete(false)?;
        forget(runtime.root(), &id);
    }
    Ok(())
}

/// CRIU needs the host's root, and so do tests of it.
pub fn warn_if_unprivileged(context: &Context, command: &str) {
    if !nix::unistd::geteuid().is_root() {
        log::warn!("{} {command} is untested with rootless containers", context.program);
    }
}

/// The flags that both commands have.
///
/// # Errors
/// One of them is wrong.
pub fn settings(matches: &Matches) -> Result<CriuSettings, Failure> {
    check_empty_ns(matches)?;
    Ok(CriuSettings {
        image_path: matches.path("image-path")?.unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: matches.path("work-path")?,
        tcp_established: matches.has("tcp-established"),
        link_remap: matches.has("link-remap"),
        ext_unix_sk: matches.has("ext-unix-sk"),
        shell_job: matches.has("shell-job"),
        file_locks: matches.has("file-locks"),
        auto_dedup: matches.has("auto-dedup"),
        lazy_pages: matches.has("lazy-pages"),
        manage_cgroups: manage_cgroups(matches)?,
    })
}

fn options(matches: &Matches) -> Result<CheckpointOptions, Failure> {
    let criu = settings(matches)?;
    let parent_path = matches.path("parent-path")?.map(|path| parent(&criu.image_path, path)).transpose()?;
    Ok(CheckpointOptions {
        criu,
        parent_path,
        leave_running: matches.has("leave-running"),
        pre_dump: matches.has("pre-dump"),
        tcp_skip_in_flight: matches.has("tcp-skip-in-flight"),
        status_fd: status_fd(matches)?,
        page_server: matches
            .value("page-server")
            .map(|text| page_server(&text.to_string_lossy()))
            .transpose()?,
    })
}

/// `--parent-path`, which CRIU resolves below the images.
fn parent(images: &Path, parent: PathBuf) -> Result<PathBuf, Failure> {
    if parent.is_absolute() {
        return Err(Failure::new("--parent-path must be relative"));
    }
    // What is relative to a directory that the library has yet to make cannot be looked at by way of it.
    let place = if images.exists() { images.join(&parent) } else { joined(images, &parent) };
    match fs::metadata(place) {
        Ok(found) if found.is_dir() => Ok(parent),
        Ok(_) => Err(Failure::new(format!("invalid --parent-path: {}: not a directory", parent.display()))),
        Err(error) => Err(Failure::new(format!("invalid --parent-path: {}: {error}", parent.display()))),
    }
}

/// `relative` seen from `directory`, by their names alone.
fn joined(directory: &Path, relative: &Path) -> PathBuf {
    let mut path = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    for part in relative.components() {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// `--status-fd`: a descriptor that our caller has left open for us to write to.
fn status_fd(matches: &Matches) -> Result<Option<OwnedFd>, Failure> {
    let Some(number) = matches.number::<i32>("status-fd", "the number of a descriptor")?.filter(|n| *n >= 0)
    else {
        return Ok(None);
    };
    let invalid = |why: &str| Failure::new(format!("invalid --status-fd argument {number}: {why}"));
    if !sys::is_inherited(sys::Fd(number)) {
        return Err(invalid("it is not open"));
    }
    let copy = sys::pidfd_open(sys::getpid()).and_then(|this| sys::pidfd_getfd(sys::Fd::from(&this), number));
    let copy = copy.map_err(|error| invalid(&error.reason().to_string()))?;
    // Who waits at the other end is to see the end, once the copy is closed.
    sys::close(sys::Fd(number));
    let flags = nix::fcntl::fcntl(&copy, nix::fcntl::FcntlArg::F_GETFL);
    let flags = flags.map_err(|errno| invalid(errno.desc()))?;
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(invalid("not writable"));
    }
    Ok(Some(copy))
}

fn page_server(text: &str) -> Result<(String, u16), Failure> {
    let split = text.rsplit_once(':').filter(|(address, port)| !address.is_empty() && !port.is_empty());
    let Some((address, port)) = split else {
        return Err(Failure::new("Use --page-server ADDRESS:PORT to specify page server"));
    };
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| Failure::new("Invalid port number"))?;
    // An IPv6 address stands in brackets.
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Ok((bare.unwrap_or(address).to_owned(), port))
}

/// `--manage-cgroups-mode`.
fn manage_cgroups(matches: &Matches) -> Result<ManageCgroups, Failure> {
    let Some(mode) = matches.value("manage-cgroups-mode") else { return Ok(ManageCgroups::Default) };
    match mode.to_str() {
        Some("") => Ok(ManageCgroups::Default),
        Some("soft") => Ok(ManageCgroups::Soft),
        Some("full") => Ok(ManageCgroups::Full),
        Some("strict") => Ok(ManageCgroups::Strict),
        Some("ignore") => Ok(ManageCgroups::Ignore),
        _ => Err(Failure::new("Invalid manage-cgroups-mode value")),
    }
}

/// `--empty-ns`: what it asks for is what is done without it.
fn check_empty_ns(matches: &Matches) -> Result<(), Failure> {
    match matches.texts("empty-ns")?.iter().find(|kind| *kind != "network") {
        Some(kind) => Err(Failure::new(format!("namespace {kind:?} is not supported"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_page_servers() {
        assert_eq!(page_server("10.0.0.1:27").unwrap(), ("10.0.0.1".into(), 27));
        assert_eq!(page_server("[::1]:27").unwrap(), ("::1".into(), 27));
        for text in ["", ":1", "host:", "host:x", "host:0", "host"] {
            assert!(page_server(text).is_err(), "{text}");
        }
    }
}
