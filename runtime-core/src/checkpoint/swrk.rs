//! `criu swrk`: finding it, starting it, and talking with it over its socket.

use super::excerpt;
use super::rpc::{Features, Notify, Request, Response, Version, VersionAnswer, kind};
use crate::error::{Error, ErrorKind};
use crate::helper::{Helper, NotSpawned, PROGRAM};
use crate::launch::receive_fd;
use crate::sys::{self, Child, Ended, Fd, SysError};
use crate::wire::Message as _;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What every part of what follows needs: external pid namespaces, the freezer of cgroup v2, readiness of lazy pages told by
/// notification (3.15), and another LSM profile on restore (3.16).
const OLDEST: Version = Version(3, 16, 0);

/// CRIU's socket, after its stdin, stdout and stderr.
pub(super) const SOCKET: i32 = 3;

/// The longest message: errors are cut short by CRIU itself.
const LONGEST: usize = 64 << 10;

/// The CRIU of this host.
#[derive(Clone, Debug)]
pub struct CriuInfo {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, as 4.2.1.
    pub version: String,
    /// Whether it is new enough; if not, which one is.
    pub too_old_for: Option<String>,
}

/// Looks for CRIU in `PATH`, and asks for its version.
///
/// # Errors
/// It is not there, or does not answer.
pub fn criu() -> Result<CriuInfo, Error> {
    let path = find()?;
    let silent = silent()?;
    let fds = silent.each_ref().map(|fd| fd.as_fd());
    let (child, socket) = start(&path, fds, &[], 0, own_session).map_err(|e| e.of(&path))?;
    let mut criu = Criu { child, socket };
    let version = criu.version(false);
    let ended = criu.finish();
    let version = version?;
    ended?;
    let too_old_for = (version < OLDEST).then(|| OLDEST.to_string());
    Ok(CriuInfo { path, version: version.to_string(), too_old_for })
}

/// The program, as `execvp(3)` would find it.
pub(super) fn find() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("criu")).find(|file| file.is_file());
    found.ok_or_else(|| {
        let message =
            format!("checkpoint and restore need CRIU {OLDEST} or later, and there is no criu in PATH");
        Error::new(ErrorKind::Host, message)
    })
}

/// `/dev/null` three times over: what CRIU prints itself is in its log too.
pub(super) fn silent() -> Result<[OwnedFd; 3], Error> {
    let open = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    let opened = || open().map_err(|e| Error::because(ErrorKind::Host, "open /dev/null", e));
    Ok([opened()?, opened()?, opened()?])
}

/// A session of its own: what the terminal sends to us does not end it in the middle of a dump.
pub(super) fn own_session() -> Result<(), (i32, SysError)> {
    sys::setsid().map_err(|error| (PROGRAM, error))
}

impl NotSpawned {
    pub(super) fn of(self, path: &Path) -> Error {
        Error::because(ErrorKind::Host, format!("run {}", path.display()), self.why)
    }
}

/// Starts it with these descriptors from 0 on, and the socket, and then `extra`, from 4 on.
pub(super) fn start(
    path: &Path,
    stdio: [BorrowedFd<'_>; 3],
    extra: &[BorrowedFd<'_>],
    flags: u64,
    before: impl Fn() -> Result<(), (i32, SysError)>,
) -> Result<(Child, OwnedFd), NotSpawned> {
    // CRIU takes the maker of the socket for who asks, and opens descriptors that a request names as that one's.
    let (ours, theirs) = sys::socketpair()?;
    let mut fds = stdio.to_vec();
    fds.push(theirs.as_fd());
    fds.extend(extra);
    let env = std::env::vars_os();
    let helper = Helper {
        args: vec!["swrk".into(), SOCKET.to_string()],
        env: env
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
            .collect(),
        fds,
    };
    let child = helper.spawn_after(path, flags, before)?;
    Ok((child, ours))
}

/// A running `criu swrk`.
pub(super) struct Criu {
    pub child: Child,
    pub socket: OwnedFd,
}

impl Criu {
    fn say(&self, request: &Request) -> Result<(), Error> {
        sys::send(Fd::from(&self.socket), &request.encode()).map_err(|e| match e.errno {
            libc::EPIPE | libc::ECONNRESET => self.silent(),
            _ => Error::because(ErrorKind::Host, "talk to criu", e),
        })
    }

    fn hear(&self) -> Result<(Response, Option<OwnedFd>), Error> {
        let mut bytes = vec![0; LONGEST];
        let (length, descriptor) = loop {
            match receive_fd(&self.socket, &mut bytes) {
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::ECONNRESET) => return Err(self.silent()),
                heard => break heard.map_err(|e| Error::because(ErrorKind::Host, "listen to criu", e))?,
            }
        };
        let bytes = bytes.get(..length).filter(|bytes| !bytes.is_empty()).ok_or_else(|| self.silent())?;
        let response = Response::decode(bytes)
            .map_err(|e| Error::because(ErrorKind::Host, "understand what criu says", e))?;
        Ok((response, descriptor))
    }

    /// It closed the socket without a word.
    fn silent(&self) -> Error {
        let how = match sys::wait_child(Fd::from(&self.child.pidfd), libc::WNOWAIT) {
            Ok(Some(Ended::Killed(signal))) => format!("was killed by signal {signal}"),
            Ok(Some(Ended::Exited(status))) => format!("ended with status {status}"),
            _ => "ended".into(),
        };
        Error::new(ErrorKind::Host, format!("criu {how} in the middle of its work"))
    }

    /// Asks which version it is; with `more` to come, it stays.
    fn version(&mut self, more: bool) -> Result<Version, Error> {
        self.say(&Request { kind: kind::VERSION, keep_open: more, ..Request::default() })?;
        let (response, _) = self.hear()?;
        response.version.map(VersionAnswer::into).ok_or_else(|| {
            // Of before 3.0, which does not know the question.
            Error::new(ErrorKind::Host, format!("criu is too old: {OLDEST} or later is needed"))
        })
    }

    /// Refuses one that is too old.
    pub fn require_version(&mut self) -> Result<(), Error> {
        let version = self.version(true)?;
        log::debug!("using CRIU {version}");
        if version >= OLDEST {
            return Ok(());
        }
        let message = format!("criu is of version {version}, and {OLDEST} or later is needed");
        Err(Error::new(ErrorKind::Host, message))
    }

    /// Refuses to go on where CRIU and kernel lack what `flag` needs.
    pub fn require_feature(&mut self, wanted: Features, flag: &str) -> Result<(), Error> {
        let request = Request {
            kind: kind::FEATURE_CHECK,
            keep_open: true,
            features: Some(wanted.clone()),
            ..Request::default()
        };
        self.say(&request)?;
        let (response, _) = self.hear()?;
        let there = response.features.unwrap_or_default();
        let message = match (wanted, there) {
            (Features { mem_track: true, .. }, Features { mem_track: false, .. }) => {
                "cannot track changes of memory on this kernel (it lacks CONFIG_MEM_SOFT_DIRTY)"
            }
            (Features { lazy_pages: true, .. }, Features { lazy_pages: false, .. }) => {
                "cannot restore memory lazily on this kernel (it lacks CONFIG_USERFAULTFD)"
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Host, format!("{flag}: criu {message}")))
    }

    /// Sends a request, lets `notified` answer the notifications, and returns when it is done.  CRIU tells of its failures
    /// in `log`.
    pub fn work(
        &mut self,
        request: &Request,
        log: &Path,
        mut notified: impl FnMut(&Notify, Option<OwnedFd>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.say(request)?;
        loop {
            let (response, descriptor) = self.hear()?;
            if !response.success {
                return Err(excerpt::explain(failed(&response), &response.message, log));
            }
            let Some(notify) = response.notify.filter(|_| response.kind == kind::NOTIFY) else {
                return Ok(());
            };
            log::debug!("criu: {}", notify.script);
            let answered = notified(&notify, descriptor);
            let answer =
                Request { kind: kind::NOTIFY, notify_success: answered.is_ok(), ..Request::default() };
            self.say(&answer)?;
            if let Err(e) = answered {
                // It takes back what it has done; what it says of that is no news.
                while self.hear().is_ok_and(|(response, _)| response.success) {}
                return Err(e);
            }
        }
    }

    /// Waits for its end, which comes when the socket is closed.
    pub fn finish(self) -> Result<(), Error> {
        drop(self.socket);
        match sys::wait_child(Fd::from(&self.child.pidfd), 0) {
            Ok(Some(Ended::Exited(0)) | None) => Ok(()),
            Ok(Some(ended)) => Err(Error::new(ErrorKind::Host, format!("criu ended oddly: {ended:?}"))),
            Err(e) => Err(Error::because(ErrorKind::Host, "wait for criu", e)),
        }
    }
}

fn failed(response: &Response) -> Error {
    let name = match response.kind {
        kind::DUMP => "DUMP",
        kind::RESTORE => "RESTORE",
        kind::PRE_DUMP => "PRE_DUMP",
        kind::NOTIFY => "NOTIFY",
        _ => "UNKNOWN",
    };
    Error::new(ErrorKind::Host, format!("criu failed: type {name} errno {}", response.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    /// A program that is no CRIU.
    fn pretender(name: &str, script: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orlop-{name}-{}", std::process::id()));
        let mut file = File::options().create_new(true).write(true).mode(0o755).open(&path).unwrap();
        file.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        path
    }

    fn talk(path: &Path) -> Error {
        let silent = silent().unwrap();
        let fds = silent.each_ref().map(|fd| fd.as_fd());
        // Another test's clone may hold the script open for writing for a moment.
        let (child, socket) = loop {
            match start(path, fds, &[], 0, own_session) {
                Err(e) if e.why.contains("ETXTBSY") => std::thread::yield_now(),
                started => break started.map_err(|e| e.of(path)).unwrap(),
            }
        };
        let mut criu = Criu { child, socket };
        let error = criu.require_version().unwrap_err();
        let _ = criu.finish();
        std::fs::remove_file(path).unwrap();
        error
    }

    #[test]
    fn one_that_is_too_old_is_told_with_the_version_that_is_needed() {
        // VERSION is answered: type 10, success, 3.15.
        let old = pretender("old-criu", r"printf '\010\012\020\001\122\004\010\003\020\017' >&3; read x <&3");
        assert_eq!(talk(&old).to_string(), "criu is of version 3.15, and 3.16 or later is needed");
        // By one that does not know the question: type 0, no success.
        let ancient = pretender("ancient-criu", r"printf '\010\000\020\000' >&3; read x <&3");
        assert_eq!(talk(&ancient).to_string(), "criu is too old: 3.16 or later is needed");
    }

    #[test]
    fn one_that_ends_without_a_word_is_told_of() {
        let mute = pretender("mute-criu", "exit 7");
        assert_eq!(talk(&mute).to_string(), "criu ended with status 7 in the middle of its work");
    }
}
