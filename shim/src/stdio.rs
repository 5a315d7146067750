//! What a process reads and writes: fifos of the client, files, loggers.
//!
//! A fifo goes to the container as it is: no copy, and no wake-up of the shim for what passes through it.  The shim keeps one
//! end of each, so that the client may come and go:
//!
//! - of stdin a writer, until CloseIO: the process sees the end when the shim *and* every client have closed it;
//! - of stdout and stderr a reader, until Delete: a process whose reader has gone waits when the fifo is full, and is not
//!   killed by SIGPIPE; what it wrote last is still there for a reader that comes after its end.

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchown, pipe2};
use orlop_core::sys::Reason;
use orlop_core::{Helper, Process};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a logger may take before it is ready.
const LOGGER_START: Duration = Duration::from_secs(10);
/// How long the client may take to open a fifo that it reads from, before nobody waits for it any more.
pub const READER_START: Duration = Duration::from_secs(10);

/// The streams as the client names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Paths, or URIs.
    pub stdin: String,
    /// See `stdin`.
    pub stdout: String,
    /// See `stdin`.
    pub stderr: String,
    /// All three are a terminal; `stderr` is not looked at then.
    pub terminal: bool,
}

/// For whom the streams are.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The container, or the process in it: for a logger's environment.
    pub id: &'a str,
    /// containerd's namespace.
    pub namespace: &'a str,
    /// Who owns pipes.
    pub ids: (u32, u32),
    /// The process has a label or a profile, which may forbid it a fifo of the host's: it gets pipes, and the shim copies.
    pub confined: bool,
    /// Leave the fifo of stdin alone until Start: see [`Streams::late`].
    pub late: bool,
    /// How long to wait for the client's reader of stdout and stderr.
    ///
    /// An open for reading returns when somebody has the fifo open for writing.  A process that ends before the client has got so
    /// far would leave it waiting for ever, and with it an exec of the CRI, which waits for the end of the output.
    pub patience: Duration,
}

/// The ends that the shim keeps.
#[derive(Debug, Default)]
pub struct Ends {
    /// A writer of stdin.
    pub stdin: Option<OwnedFd>,
    /// Readers of the other two.
    pub readers: Vec<OwnedFd>,
}

/// Streams, opened.
#[derive(Debug, Default)]
pub struct Streams {
    /// For the process; with a terminal there is none.
    pub process: Option<[OwnedFd; 3]>,
    /// For the shim.
    pub ends: Ends,
    /// From where to where the shim copies.
    pub relays: Vec<(OwnedFd, OwnedFd)>,
    /// With a terminal: what its input is read from.
    pub input: Option<OwnedFd>,
    /// With a terminal: what its output is written to.
    pub output: Option<OwnedFd>,
    /// The fifo of stdin, to be opened on Start and copied from then.
    ///
    /// A client's open of it returns when somebody opens it for reading.  ctr then reads its own input to the end and calls
    /// CloseIO, which it can do only when Create has returned: else nobody ever does.
    pub late: Option<String>,
    /// Where it is copied to, without a terminal.
    pub late_sink: Option<OwnedFd>,
    /// A logger of the client's.
    pub logger: Option<Process>,
}

/// Where output goes.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Nowhere,
    Path(PathBuf),
    File(PathBuf),
    Binary(PathBuf, Vec<String>),
}

fn decode_percent(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Target {
    fn parse(uri: &str) -> Result<Self, String> {
        if uri.is_empty() {
            return Ok(Self::Nowhere);
        }
        let Some((scheme, rest)) = uri.split_once("://") else { return Ok(Self::Path(uri.into())) };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(format!("{uri}: the path must be absolute"));
        }
        // A plus sign is a blank in a query only.
        let path = PathBuf::from(decode_percent(&path.replace('+', "%2B")));
        match scheme {
            "fifo" => Ok(Self::Path(path)),
            "file" => Ok(Self::File(path)),
            "binary" => {
                let words = query.split('&').filter(|pair| !pair.is_empty()).flat_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    [name, value].map(decode_percent)
                });
                Ok(Self::Binary(path, words.filter(|word| !word.is_empty()).collect()))
            }
            _ => Err(format!("{uri}: unknown scheme {scheme:?} for output")),
        }
    }
}

fn open_at(path: &Path, flags: OFlag) -> Result<OwnedFd, String> {
    open(path, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644))
        .map_err(|e| format!("open {}: {}", path.display(), Reason::from(e)))
}

fn is_fifo(fd: &OwnedFd) -> bool {
    fstat(fd).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO)
}

fn is_fifo_at(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let path = path.strip_prefix("fifo://").unwrap_or(path);
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo())
}

/// A process expects its streams to wait.
fn set_blocking(fd: &OwnedFd, blocking: bool) -> Result<(), String> {
    let set = || {
        let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
        flags.set(OFlag::O_NONBLOCK, !blocking);
        fcntl(fd, FcntlArg::F_SETFL(flags))
    };
    set().map(drop).map_err(|e| format!("set O_NONBLOCK: {}", Reason::from(e)))
}

fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("make a pipe: {}", Reason::from(e)))
}

fn null(flags: OFlag) -> Result<OwnedFd, String> {
    open_at(Path::new("/dev/null"), flags)
}

/// stdin for a process, and the writer of it.
///
/// # Errors
/// It cannot be opened.
pub fn input(path: &str) -> Result<(OwnedFd, Option<OwnedFd>), String> {
    if path.is_empty() {
        return Ok((null(OFlag::O_RDONLY)?, None));
    }
    let path = Path::new(path.strip_prefix("fifo://").unwrap_or(path));
    // Without waiting for a writer: the client comes when it likes.
    let reader = open_at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    let writer = is_fifo(&reader).then(|| open_at(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK)).transpose()?;
    Ok((reader, writer))
}

/// Where output is written to, and the reader that keeps it open.
fn output(target: &Target, patience: Duration) -> Result<(OwnedFd, Option<OwnedFd>), String> {
    match target {
        Target::Nowhere | Target::Binary(..) => Ok((null(OFlag::O_WRONLY)?, None)),
        Target::File(path) => {
            if let Some(directory) = path.parent() {
                let made = std::fs::create_dir_all(directory);
                made.map_err(|e| format!("make {}: {}", directory.display(), Reason::of(&e)))?;
            }
            Ok((open_at(path, OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT)?, None))
        }
        Target::Path(path) => {
            let Some(writer) = open_writer(path, patience)? else {
                // Nobody there yet: what is written waits.
                let reader = open_at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
                return Ok((open_at(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK)?, Some(reader)));
            };
            if is_fifo(&writer) {
                return Ok((writer, Some(open_at(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?)));
            }
            Ok((open_at(path, OFlag::O_WRONLY | OFlag::O_APPEND)?, None))
        }
    }
}

/// Opens for writing what somebody else reads from; `None` when there is no reader within `patience`.
fn open_writer(path: &Path, patience: Duration) -> Result<Option<OwnedFd>, String> {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_micros(50);
    loop {
        match open(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(writer) => return Ok(Some(writer)),
            Err(nix::Error::ENXIO) if Instant::now() < end => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(nix::Error::ENXIO) => return Ok(None),
            Err(e) => return Err(format!("open {}: {}", path.display(), Reason::from(e))),
        }
    }
}

/// Starts the client's logger: it reads stdout and stderr from descriptors 3 and 4, and closes 5 when it is ready.
fn start_logger(
    path: &Path,
    args: &[String],
    owner: Owner<'_>,
) -> Result<(OwnedFd, OwnedFd, Process), String> {
    let (out, to_out) = pipe()?;
    let (err, to_err) = pipe()?;
    let (ready, to_ready) = pipe()?;
    let nothing = null(OFlag::O_RDWR)?;
    let helper = Helper {
        args: args.to_vec(),
        env: vec![format!("CONTAINER_ID={}", owner.id), format!("CONTAINER_NAMESPACE={}", owner.namespace)],
        fds: [&nothing, &nothing, &nothing, &out, &err, &to_ready].map(AsFd::as_fd).into(),
    };
    let process = helper.spawn(path).map_err(|e| e.to_string())?;
    drop(to_ready);
    let mut wait = [nix::poll::PollFd::new(ready.as_fd(), nix::poll::PollFlags::POLLIN)];
    let limit = nix::poll::PollTimeout::try_from(LOGGER_START).unwrap_or(nix::poll::PollTimeout::MAX);
    if nix::poll::poll(&mut wait, limit) == Ok(0) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(process.pid()),
            nix::sys::signal::Signal::SIGKILL,
        );
        return Err(format!("logger {}: not ready after {} s", path.display(), LOGGER_START.as_secs()));
    }
    Ok((to_out, to_err, process))
}

impl Streams {
    /// Opens what `stdio` names.
    ///
    /// # Errors
    /// Something cannot be opened, or a logger not be started.
    pub fn open(stdio: &Stdio, owner: Owner<'_>) -> Result<Self, String> {
        let mut streams = Self::default();
        if stdio.terminal {
            streams.open_terminal(stdio, owner).map_err(|e| format!("terminal: {e}"))?;
        } else {
            streams.open_three(stdio, owner)?;
        }
        Ok(streams)
    }

    fn open_terminal(&mut self, stdio: &Stdio, owner: Owner<'_>) -> Result<(), String> {
        if owner.late && is_fifo_at(&stdio.stdin) {
            self.late = Some(stdio.stdin.clone());
        } else if !stdio.stdin.is_empty() {
            let (reader, writer) = input(&stdio.stdin)?;
            (self.input, self.ends.stdin) = (Some(reader), writer);
        }
        let target = Target::parse(&stdio.stdout)?;
        let writer = if let Target::Binary(path, args) = &target {
            let (out, _, logger) = start_logger(path, args, owner)?;
            self.logger = Some(logger);
            out
        } else {
            let (writer, reader) = output(&target, owner.patience)?;
            self.ends.readers.extend(reader);
            writer
        };
        set_blocking(&writer, false)?;
        self.output = Some(writer);
        Ok(())
    }

    fn open_three(&mut self, stdio: &Stdio, owner: Owner<'_>) -> Result<(), String> {
        let late = owner.late && is_fifo_at(&stdio.stdin);
        let (stdin, writer) = if late {
            let (read, write) = pipe()?;
            set_blocking(&write, false)?;
            (self.late, self.late_sink) = (Some(stdio.stdin.clone()), Some(write));
            (read, None)
        } else {
            input(&stdio.stdin).map_err(|e| format!("stdin: {e}"))?
        };
        self.ends.stdin = writer;
        let out = Target::parse(&stdio.stdout)?;
        let [stdout, stderr] = match &out {
            Target::Binary(path, args) => {
                let (out, err, logger) = start_logger(path, args, owner)?;
                self.logger = Some(logger);
                [out, err]
            }
            // One file for both, as the one URI says.
            Target::File(_) => [self.sink(&out, owner.patience)?, self.sink(&out, owner.patience)?],
            _ => [
                self.sink(&out, owner.patience).map_err(|e| format!("stdout: {e}"))?,
                self.sink(&Target::parse(&stdio.stderr)?, owner.patience)
                    .map_err(|e| format!("stderr: {e}"))?,
            ],
        };
        let stdin =
            if owner.confined && self.ends.stdin.is_some() { self.through_pipe_in(stdin)? } else { stdin };
        let stdout = self.for_process(stdout, owner)?;
        let stderr = self.for_process(stderr, owner)?;
        set_blocking(&stdin, true)?;
        for fd in [&stdin, &stdout, &stderr].into_iter().filter(|fd| owner.ids != (0, 0) && is_fifo(fd)) {
            fchown(fd, Some(Uid::from_raw(owner.ids.0)), Some(Gid::from_raw(owner.ids.1))).map_err(|e| {
                format!("give a stream to {}:{}: {}", owner.ids.0, owner.ids.1, Reason::from(e))
            })?;
        }
        self.process = Some([stdin, stdout, stderr]);
        Ok(())
    }

    fn sink(&mut self, target: &Target, patience: Duration) -> Result<OwnedFd, String> {
        let (writer, reader) = output(target, patience)?;
        self.ends.readers.extend(reader);
        Ok(writer)
    }

    fn through_pipe_in(&mut self, fifo: OwnedFd) -> Result<OwnedFd, String> {
        let (read, write) = pipe()?;
        set_blocking(&write, false)?;
        self.relays.push((fifo, write));
        Ok(read)
    }

    /// What the process writes to: the fifo itself, or a pipe to it.
    fn for_process(&mut self, sink: OwnedFd, owner: Owner<'_>) -> Result<OwnedFd, String> {
        if !owner.confined || !is_fifo(&sink) || self.logger.is_some() {
            set_blocking(&sink, true)?;
            return Ok(sink);
        }
        let (read, write) = pipe()?;
        set_blocking(&read, false)?;
        self.relays.push((read, sink));
        Ok(write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{mkfifo, read, write};
    use std::process::Command;

    const OWNER: Owner<'static> = Owner {
        id: "c",
        namespace: "n",
        ids: (0, 0),
        confined: false,
        late: false,
        patience: Duration::ZERO,
    };

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orlop-stdio-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn fifo(directory: &Path, name: &str) -> String {
        let path = directory.join(name);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn uris_are_understood() {
        assert_eq!(Target::parse(""), Ok(Target::Nowhere));
        assert_eq!(Target::parse("/a b"), Ok(Target::Path("/a b".into())));
        assert_eq!(Target::parse("file:///a%20b+c"), Ok(Target::File("/a b+c".into())));
        let words = ["k", "v 1", "flag"].map(str::to_owned).to_vec();
        assert_eq!(Target::parse("binary:///bin/l?k=v+1&flag"), Ok(Target::Binary("/bin/l".into(), words)));
        assert!(Target::parse("npipe:///x").is_err());
        assert!(Target::parse("file://x").is_err());
    }

    #[test]
    fn a_fifo_is_the_process_own_and_outlives_its_readers() {
        let dir = directory("fifo");
        let stdio = Stdio { stdin: fifo(&dir, "0"), stdout: fifo(&dir, "1"), ..Stdio::default() };
        let mut streams = Streams::open(&stdio, OWNER).unwrap();
        let [stdin, stdout, _] = streams.process.take().unwrap();
        write(&stdout, b"early").unwrap();
        // The client's reader comes after that, goes, and another comes: none sees an end.
        let open_reader = || open_at(Path::new(&stdio.stdout), OFlag::O_RDONLY | OFlag::O_NONBLOCK).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(read(open_reader(), &mut buffer), Ok(5));
        write(&stdout, b"later").unwrap();
        let reader = open_reader();
        drop(stdout);
        assert_eq!(read(&reader, &mut buffer), Ok(5), "it was kept after the end of the process");
        assert_eq!(read(&reader, &mut buffer), Ok(0));
        // stdin ends when the client and we have closed it.
        set_blocking(&stdin, false).unwrap();
        assert_eq!(read(&stdin, &mut buffer), Err(nix::Error::EAGAIN));
        streams.ends.stdin = None;
        assert_eq!(read(&stdin, &mut buffer), Ok(0));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_confined_process_gets_pipes() {
        let dir = directory("confined");
        let stdio =
            Stdio { stdin: fifo(&dir, "0"), stdout: fifo(&dir, "1"), stderr: String::new(), terminal: false };
        let streams = Streams::open(&stdio, Owner { confined: true, ..OWNER }).unwrap();
        assert_eq!(streams.relays.len(), 2, "stderr is /dev/null");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn files_take_both_streams() {
        let dir = directory("file");
        let path = dir.join("sub/log");
        let stdio = Stdio { stdout: format!("file://{}", path.display()), ..Stdio::default() };
        let streams = Streams::open(&stdio, OWNER).unwrap();
        let [_, out, err] = streams.process.unwrap();
        write(&out, b"a").unwrap();
        write(&err, b"b").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_logger_reads_what_the_process_writes() {
        let dir = directory("logger");
        let (program, log) = (dir.join("logger"), dir.join("log"));
        let script =
            "#!/bin/sh\nexec 5>&-\n(cat <&3; cat <&4; echo $CONTAINER_ID $CONTAINER_NAMESPACE) >$1\n";
        // By a process of its own: a child that another test makes meanwhile would have it open to be written, too (ETXTBSY).
        let script_writer = "printf %s \"$1\" >\"$0\" && chmod +x \"$0\"";
        let written = Command::new("sh").args(["-c", script_writer]).arg(&program).arg(script).status();
        assert!(written.unwrap().success());
        let stdio =
            Stdio { stdout: format!("binary://{}?{}", program.display(), log.display()), ..Stdio::default() };
        let streams = Streams::open(&stdio, OWNER).unwrap();
        let [_, out, err] = streams.process.unwrap();
        write(&out, b"out ").unwrap();
        write(&err, b"err ").unwrap();
        drop((out, err));
        assert_eq!(streams.logger.unwrap().wait().unwrap().code(), 0);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out err c n\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_reader_that_is_late_sees_the_end_of_a_process_that_was_quick() {
        let dir = directory("late");
        let stdio = Stdio { stdout: fifo(&dir, "1"), ..Stdio::default() };
        let (path, (said, heard)) = (stdio.stdout.clone(), std::sync::mpsc::channel());
        let client = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            said.send(std::fs::read_to_string(path)).unwrap();
        });
        let owner = Owner { patience: Duration::from_secs(60), ..OWNER };
        let mut streams = Streams::open(&stdio, owner).unwrap();
        write(&streams.process.take().unwrap()[1], b"quick").unwrap();
        let whole = heard.recv_timeout(Duration::from_secs(60));
        assert_eq!(whole.expect("the client waits for ever").unwrap(), "quick");
        client.join().unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_not_there_is_named() {
        let stdio = Stdio { stdout: "/no/such/fifo".into(), ..Stdio::default() };
        assert!(Streams::open(&stdio, OWNER).unwrap_err().contains("stdout: open /no/such/fifo"));
    }
}
