//! The log: runc's text and JSON line formats, to a file or standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use ::log::{Level, LevelFilter, Log, Metadata, Record};
use orlop_core::sys::Reason;

use crate::failure::Failure;
use crate::output::write_all;
use crate::time;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
    /// `ERRO[0000] …`, for people at a terminal.
    Terminal,
}

#[derive(Debug)]
struct Logger {
    /// `None` is standard error.
    file: Option<File>,
    format: Format,
    started: Instant,
}

/// What the global flags say about the log.
#[derive(Debug)]
pub struct Options<'a> {
    /// `--log`.
    pub file: Option<&'a Path>,
    /// `--log-format`.
    pub format: Format,
    /// `--debug`.
    pub debug: bool,
}

/// Makes the log that the options describe the process's log, and tells whether it goes to a file.
///
/// # Errors
/// The file cannot be opened.
pub fn install(options: &Options<'_>) -> Result<bool, Failure> {
    let file = options.file.map(open).transpose()?;
    let to_file = file.is_some();
    let mut format = options.format;
    if format == Format::Text && !to_file && io::stderr().is_terminal() {
        format = Format::Terminal;
    }
    ::log::set_max_level(if options.debug { LevelFilter::Debug } else { LevelFilter::Info });
    let logger = Logger { file, format, started: Instant::now() };
    ::log::set_boxed_logger(Box::new(logger))
        .map_err(|error| Failure::new(format!("cannot set up the log: {error}")))?;
    Ok(to_file)
}

/// Reports the failure that ends the command: once in the log, and as plain text to standard error if the log is
/// elsewhere, because engines read either.
pub fn report(failure: &Failure, to_file: bool) {
    let Some(message) = &failure.message else { return };
    ::log::error!("{message}");
    if to_file {
        // The exit status tells of the failure even when standard error is gone.
        let _ = write_all(io::stderr(), format!("{message}\n").as_bytes());
    }
}

/// The log file is shared with the engine that named it: appended to, each line on disk before the next.
fn open(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o644).custom_flags(libc::O_SYNC);
    options.open(path).map_err(|error| {
        Failure::new(format!("cannot open the log file {}: {}", path.display(), Reason::of(&error)))
    })
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let seconds = self.started.elapsed().as_secs();
        let line = line(self.format, record.level(), &record.args().to_string(), &time::now(), seconds);
        let stderr = io::stderr();
        let to: BorrowedFd<'_> = self.file.as_ref().map_or_else(|| stderr.as_fd(), AsFd::as_fd);
        // There is no better place left to complain in.
        let _ = write_all(to, line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(format: Format, level: Level, message: &str, time: &str, seconds: u64) -> String {
    let name = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    match format {
        Format::Text => format!("time=\"{time}\" level={name} msg={}\n", quoted(message)),
        Format::Json => {
            let message = serde_json::Value::from(message);
            format!("{{\"level\":\"{name}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        }
        Format::Terminal => {
            let colour = match level {
                Level::Error => 31,
                Level::Warn => 33,
                Level::Info => 36,
                Level::Debug | Level::Trace => 37,
            };
            let short = &name[..4].to_ascii_uppercase();
            format!("\x1b[{colour}m{short}\x1b[0m[{seconds:04}] {}\n", message.trim_end_matches('\n'))
        }
    }
}

/// A value of a text line: bare where it is one plain word, otherwise in double quotes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-23T22:04:35Z";

    #[test]
    fn text_lines_quote_what_a_reader_would_split() {
        let text = |level, message| line(Format::Text, level, message, TIME, 0);
        assert_eq!(
            text(Level::Error, "exec: \"sh\": not found\n"),
            "time=\"2026-11-23T22:04:35Z\" level=error msg=\"exec: \\\"sh\\\": not found\\n\"\n"
        );
        assert_eq!(
            text(Level::Warn, "one-word"),
            "time=\"2026-11-23T22:04:35Z\" level=warning msg=one-word\n"
        );
        assert_eq!(text(Level::Info, ""), "time=\"2026-11-23T22:04:35Z\" level=info msg=\"\"\n");
        assert!(
            text(Level::Error, "a\x1b[31mb").contains("\\u001b[31m"),
            "no escape sequence reaches the log"
        );
    }

    #[test]
    fn json_lines_have_the_three_keys_engines_decode() {
        assert_eq!(
            line(Format::Json, Level::Error, "a \"b\"\n\u{1}", TIME, 0),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\\u0001\",\"time\":\"2026-11-23T22:04:35Z\"}\n"
        );
    }

    #[test]
    fn a_terminal_gets_a_short_level_and_the_seconds() {
        assert_eq!(line(Format::Terminal, Level::Warn, "x", TIME, 7), "\x1b[33mWARN\x1b[0m[0007] x\n");
        assert_eq!(line(Format::Terminal, Level::Error, "x\n", TIME, 0), "\x1b[31mERRO\x1b[0m[0000] x\n");
    }
}
