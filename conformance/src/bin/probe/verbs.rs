//! The verbs.  One that fails prints the name of the errno (`EROFS`) on standard output and returns 1.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use conformance::sys;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd;
use serde_json::{Value, json};

use crate::{attacks, burden, report};

/// Every verb.
pub const NAMES: &[&str] = &[
    "append",
    "bomb",
    "burn",
    "call",
    "call-interrupted",
    "call-32",
    "cat",
    "chown",
    "eat",
    "echo",
    "env",
    "exec",
    "exit",
    "false",
    "fork",
    "hook",
    "hostname",
    "huge",
    "id",
    "kill-self",
    "ls",
    "mkdir",
    "mknod",
    "notify",
    "open-rw",
    "orphan",
    "overwrite",
    "read-direct",
    "readlink",
    "report",
    "seq",
    "sleep",
    "snoop",
    "stat",
    "trap",
    "true",
    "tell",
    "tty",
    "write",
];

pub type Outcome = io::Result<i32>;

/// The symbolic name of an error's errno.
pub fn errno_name(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
}

fn usage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("usage: {what}"))
}

fn argument<'a>(args: &'a [String], at: usize, what: &str) -> io::Result<&'a str> {
    args.get(at).map(String::as_str).ok_or_else(|| usage(what))
}

pub fn number<T: std::str::FromStr>(args: &[String], at: usize, what: &str) -> io::Result<T> {
    argument(args, at, what)?.parse().map_err(|_| usage(what))
}

/// Runs a verb; nothing when there is none of that name.
pub fn run(name: &str, args: &[String]) -> Option<i32> {
    let outcome = match name {
        "call" => call(args),
        "call-32" => call_32(args),
        "call-interrupted" => sys::be_interrupted_by(libc::SIGUSR1).and_then(|()| call(args)),
        "true" => Ok(0),
        "false" => Ok(1),
        "exit" => number(args, 0, "exit N"),
        "echo" => say(&args.join(" ")),
        "env" => {
            say(&std::env::vars().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("\n"))
        }
        "hostname" => unistd::gethostname().map_err(Into::into).and_then(|name| say(&name.to_string_lossy())),
        "id" => identity(),
        "sleep" => sleep(args),
        "cat" => cat(args),
        "write" => write(args, OpenOptions::new().write(true).create(true).truncate(true)),
        "append" => write(args, OpenOptions::new().append(true)),
        "open-rw" => open_rw(args),
        "stat" => stat(args),
        "ls" => list(args),
        "readlink" => argument(args, 0, "readlink PATH")
            .and_then(fs::read_link)
            .and_then(|to| say(&to.to_string_lossy())),
        "mkdir" => argument(args, 0, "mkdir PATH").and_then(fs::create_dir).and_then(|()| say("ok")),
        "chown" => chown(args),
        "mknod" => make_node(args),
        "notify" => notify(args),
        "tell" => tell(args),
        "kill-self" => kill_self(args),
        "trap" => trap(args),
        "fork" => fork(args),
        "orphan" => orphan(args),
        "exec" => exec(args),
        "hook" => hook(args),
        "tty" => say(if io::IsTerminal::is_terminal(&io::stdin()) { "yes" } else { "no" }),
        "report" => full_report(args),
        "bomb" => burden::bomb(args),
        "eat" => burden::eat(args),
        "burn" => burden::burn(args),
        "huge" => burden::huge(args),
        "read-direct" => burden::read_direct(args),
        "snoop" => attacks::snoop(args),
        "overwrite" => attacks::overwrite(args),
        "seq" => return Some(sequence(args)),
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|error| {
        println!("{}", errno_name(&error));
        1
    }))
}

pub fn say(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(0)
}

/// A system call by its number; says what it returned.
fn call(args: &[String]) -> Outcome {
    let mut words = [0u64; 7];
    for (at, word) in words.iter_mut().enumerate().take(args.len()) {
        *word = number(args, at, "call NUMBER ARGUMENTS…")?;
    }
    let [number, arguments @ ..] = words;
    say(&sys::raw_call(number, arguments)?.to_string())
}

/// A system call without arguments by the 32-bit gate of x86, with the number it has there.
fn call_32(args: &[String]) -> Outcome {
    let number: u32 = number(args, 0, "call-32 NUMBER")?;
    say(&sys::raw_call_32(number)?.to_string())
}

fn identity() -> Outcome {
    let groups: Vec<String> = unistd::getgroups()?.iter().map(ToString::to_string).collect();
    say(&format!("uid={} gid={} groups={}", unistd::geteuid(), unistd::getegid(), groups.join(",")))
}

fn sleep(args: &[String]) -> Outcome {
    let seconds: f64 = number(args, 0, "sleep SECONDS")?;
    thread::sleep(Duration::try_from_secs_f64(seconds).map_err(|_| usage("sleep SECONDS"))?);
    Ok(0)
}

/// `cat` copies standard input when no file is named.
fn cat(args: &[String]) -> Outcome {
    let mut out = io::stdout().lock();
    if args.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut out)?;
    }
    for path in args {
        io::copy(&mut File::open(path)?, &mut out)?;
    }
    out.flush()?;
    Ok(0)
}

fn write(args: &[String], options: &OpenOptions) -> Outcome {
    let mut file = options.open(argument(args, 0, "write PATH TEXT")?)?;
    file.write_all(args.get(1..).unwrap_or_default().join(" ").as_bytes())?;
    say("ok")
}

fn open_rw(args: &[String]) -> Outcome {
    // Not waiting for a peer or a carrier: the question is only whether it may be opened.
    let path = argument(args, 0, "open-rw PATH")?;
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    say("ok")
}

fn stat(args: &[String]) -> Outcome {
    for path in args {
        say(&report::file(Path::new(path))?.to_string())?;
    }
    Ok(0)
}

fn list(args: &[String]) -> Outcome {
    let path = args.first().map_or(".", String::as_str);
    let mut names: Vec<_> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    names.iter().try_for_each(|name| say(&name.to_string_lossy()).map(drop))?;
    Ok(0)
}

fn chown(args: &[String]) -> Outcome {
    let what = "chown PATH UID GID";
    std::os::unix::fs::lchown(
        argument(args, 0, what)?,
        Some(number(args, 1, what)?),
        Some(number(args, 2, what)?),
    )?;
    say("ok")
}

fn make_node(args: &[String]) -> Outcome {
    let what = "mknod PATH c|b|p MAJOR MINOR";
    let path = argument(args, 0, what)?;
    let (kind, device) = match argument(args, 1, what)? {
        "p" => (SFlag::S_IFIFO, 0),
        "b" => (SFlag::S_IFBLK, makedev(number(args, 2, what)?, number(args, 3, what)?)),
        "c" => (SFlag::S_IFCHR, makedev(number(args, 2, what)?, number(args, 3, what)?)),
        _ => return Err(usage(what)),
    };
    mknod(path, kind, Mode::from_bits_truncate(0o600), device)?;
    say("ok")
}

/// sd_notify(3): one datagram to the socket named by the environment.
fn notify(args: &[String]) -> Outcome {
    let path = std::env::var("NOTIFY_SOCKET").map_err(|_| usage("notify TEXT, with NOTIFY_SOCKET set"))?;
    UnixDatagram::unbound()?.send_to(args.join("\n").as_bytes(), path)?;
    say("ok")
}

/// Sends numbers to a datagram socket that it is connected to, one after the other.
fn tell(args: &[String]) -> Outcome {
    let socket = UnixDatagram::unbound()?;
    socket.connect(argument(args, 0, "tell PATH")?)?;
    for number in 1_u64.. {
        socket.send(number.to_string().as_bytes())?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(0)
}

fn signal(word: &str) -> io::Result<Signal> {
    let name = word.strip_prefix("SIG").unwrap_or(word);
    let by_number = name.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    by_number.or_else(|| format!("SIG{name}").parse().ok()).ok_or_else(|| usage("a signal's name or number"))
}

fn kill_self(args: &[String]) -> Outcome {
    raise(signal(argument(args, 0, "kill-self SIGNAL")?)?)?;
    Ok(0)
}

/// Says `ready`, then the name of each of the given signals as it comes; the last one ends it with status 0.
fn trap(args: &[String]) -> Outcome {
    let wanted: Vec<Signal> = args.iter().map(|word| signal(word)).collect::<io::Result<_>>()?;
    let last = *wanted.last().ok_or_else(|| usage("trap SIGNAL…"))?;
    let set: SigSet = wanted.iter().copied().collect();
    set.thread_block()?;
    say("ready")?;
    loop {
        let got = set.wait()?;
        say(got.as_str())?;
        if got == last {
            return Ok(0);
        }
    }
}

/// Starts N children that end at once and reaps them all.
fn fork(args: &[String]) -> Outcome {
    let count: usize = number(args, 0, "fork N")?;
    let children: Vec<_> = (0..count).map(|_| sys::fork_child(|| 0)).collect::<io::Result<_>>()?;
    let clean = children
        .iter()
        .filter(|child| matches!(waitpid(**child, None), Ok(WaitStatus::Exited(_, 0))))
        .count();
    say(&format!("{clean} reaped"))
}

/// Leaves a child behind that sleeps for the given seconds, and ends.
fn orphan(args: &[String]) -> Outcome {
    let seconds: u64 = number(args, 0, "orphan SECONDS")?;
    sys::fork_child(|| {
        thread::sleep(Duration::from_secs(seconds));
        0
    })?;
    say("ok")
}

fn exec(args: &[String]) -> Outcome {
    let words: Vec<_> =
        args.iter().map(|word| std::ffi::CString::new(word.as_str())).collect::<Result<_, _>>()?;
    let program = words.first().ok_or_else(|| usage("exec PATH ARGS…"))?;
    unistd::execv(program, &words)?;
    Ok(0)
}

/// For hooks: appends what it was given (state on standard input, arguments, environment, namespaces, working
/// directory) as one line of JSON to FILE, waits, and returns the status asked for.
///
/// `hook FILE [status N] [sleep SECONDS] [echo TEXT] [read PATH]`
fn hook(args: &[String]) -> Outcome {
    let what = "hook FILE [status N] [sleep SECONDS] [echo TEXT] [read PATH]";
    let path = argument(args, 0, what)?;
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let mut record = report::gather(&[]);
    record["stdin"] = serde_json::from_str(&input).unwrap_or(Value::String(input));
    let option = |name: &str| args.iter().position(|word| word == name).and_then(|at| args.get(at + 1));
    if let Some(name) = option("read") {
        record["read"] =
            fs::read_to_string(name).map_or_else(|error| json!(errno_name(&error)), Value::String);
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    // One write, so that lines of two hooks do not mix.
    file.write_all(format!("{record}\n").as_bytes())?;
    if let Some(text) = option("echo") {
        eprintln!("{text}");
    }
    if let Some(seconds) = option("sleep") {
        sleep(std::slice::from_ref(seconds))?;
    }
    option("status").map_or(Ok(0), |word| word.parse().map_err(|_| usage(what)))
}

fn full_report(args: &[String]) -> Outcome {
    let sysctls: Vec<String> = args.iter().filter(|word| !word.starts_with("--")).cloned().collect();
    let value = report::gather(&sysctls);
    if args.iter().any(|word| word == "--json") {
        return say(&value.to_string());
    }
    let mut out = io::stdout().lock();
    out.write_all(std::ffi::OsStr::new(&crate::pretty::render(&value)).as_bytes())?;
    Ok(0)
}

/// `seq -- verb args -- verb args`: each in turn, whatever the ones before returned; the last status counts.
fn sequence(args: &[String]) -> i32 {
    let steps = args.split(|word| word == "--").filter(|step| !step.is_empty());
    let mut status = 0;
    for step in steps {
        status = run(&step[0], &step[1..]).unwrap_or_else(|| {
            println!("no such verb: {}", step[0]);
            2
        });
    }
    status
}
