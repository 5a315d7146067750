//! The shim's log: lines into the fifo `log` of the bundle, which containerd copies to its own.

use log::{Level, LevelFilter, Metadata, Record};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;

struct Logger {
    out: OwnedFd,
    prefix: String,
}

/// A line in the form of logrus, which containerd and its shims write.
fn line(prefix: &str, level: Level, message: &str) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    let mut line = format!("time=\"{}\" level={level} msg=\"", orlop_core::state::now());
    for c in message.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
    line.push_str(prefix);
    line.push('\n');
    line
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // When nobody reads and the fifo is full, a line is lost: a log is no reason for a container to wait.
            let _ = nix::unistd::write(
                &self.out,
                line(&self.prefix, record.level(), &record.args().to_string()).as_bytes(),
            );
        }
    }

    fn flush(&self) {}
}

fn install(out: OwnedFd, fields: &str, debug: bool) {
    let logger = Box::new(Logger { out, prefix: fields.to_owned() });
    if log::set_boxed_logger(logger).is_ok() {
        log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    }
}

/// Logs to the fifo `log` in `bundle`; to nowhere when there is none.
///
/// Opened for reading too: so it is never without a reader, and a containerd that comes back finds what was written
/// meanwhile, as far as the fifo holds it.
pub fn to_fifo(bundle: &Path, namespace: &str, debug: bool) {
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    if let Ok(fifo) = open(&bundle.join("log"), flags, Mode::empty()) {
        let pid = std::process::id();
        install(fifo, &format!(" namespace={namespace} pid={pid} runtime=io.containerd.orlop.v2"), debug);
    }
}

/// Logs to standard error, for `delete`, whose caller reads it.
pub fn to_stderr(namespace: &str, debug: bool) {
    use std::os::fd::AsFd;
    if let Ok(copy) = std::io::stderr().as_fd().try_clone_to_owned() {
        install(copy, &format!(" namespace={namespace}"), debug);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line() {
        let line = line(" a=b", Level::Warn, "x \"y\"\nz\u{1}");
        let (time, rest) = line.split_once(" level").unwrap();
        assert!(time.starts_with("time=\"20") && time.ends_with("Z\""), "{time}");
        assert_eq!(rest, "=warning msg=\"x \\\"y\\\"\\nz\\u0001\" a=b\n");
    }
}
