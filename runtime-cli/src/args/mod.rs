//! The command line: what may be written, what was written, and what is wrong with it.
//!
//! The grammar is that of Go's flag package, because engines were written against runc: one dash or two for any
//! name, `--flag=value` or `--flag value`, switches that take their value only behind `=`, and `--` as the end of
//! flags.  Unlike there, flags are understood before and after the container's id.  One table per command drives
//! both the parser and the help text, so that the two cannot disagree.

mod help;
mod matches;
mod table;

pub use help::{command_help, program_help};
pub use matches::Matches;
pub use table::{COMMANDS, GLOBAL, find_command};

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::failure::Failure;

/// One flag of a command.
#[derive(Debug)]
pub struct Flag {
    /// The name, without dashes.
    pub long: &'static str,
    /// The one-letter form.
    pub short: Option<char>,
    /// What the value is called in the help text; `None` for a switch.
    pub value: Option<&'static str>,
    /// One line of description.
    pub help: &'static str,
}

/// Where flags end and operands that may look like flags begin.
#[derive(Debug, PartialEq, Eq)]
pub enum Flags {
    /// Flags are understood everywhere until `--`.
    Anywhere,
    /// The operand with this index is the first one behind which nothing is a flag any more: the program that
    /// `exec` runs owns the rest of the line.
    Until(usize),
}

/// A command, or the program itself with its global flags.
#[derive(Debug)]
pub struct Command {
    /// The name on the command line; empty for the program itself.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The operands, as the usage line shows them.
    pub operands: &'static str,
    /// The least number of operands.
    pub at_least: usize,
    /// The greatest number of operands.
    pub at_most: usize,
    /// How far flags reach.
    pub until: Flags,
    /// Paragraphs for the help text.
    pub about: &'static str,
    /// The flags it knows.
    pub flags: &'static [Flag],
}

/// `--help`, which every command knows.
pub static HELP: Flag =
    Flag { long: "help", short: Some('h'), value: None, help: "print this help and exit" };

impl Command {
    /// The command as the user wrote it, for messages: `orlop run`.
    pub fn path(&self, program: &str) -> String {
        if self.name.is_empty() { program.to_owned() } else { format!("{program} {}", self.name) }
    }

    fn find(&self, name: &str) -> Option<&'static Flag> {
        let mut letters = name.chars();
        let letter = letters.next().filter(|_| letters.next().is_none());
        self.flags
            .iter()
            .find(|flag| flag.long == name || (letter.is_some() && flag.short == letter))
            .or_else(|| {
                let help = name == HELP.long || letter == HELP.short;
                help.then_some(&HELP)
            })
    }

    /// Parses `args`, of which the command's own name is no part.
    ///
    /// # Errors
    /// A [`Failure`] that names the flag and the command, and says where the help is.
    pub fn parse(&'static self, program: &str, args: Vec<OsString>) -> Result<Matches, Failure> {
        let mut matches = Matches::new(self, program);
        let mut args = args.into_iter();
        let mut flags_end = false;
        while let Some(arg) = args.next() {
            if flags_end || !looks_like_flag(&arg) {
                matches.operands.push(arg);
                flags_end |= self.until == Flags::Until(matches.operands.len() - 1);
            } else if arg == "--" {
                flags_end = true;
            } else {
                self.parse_flag(&mut matches, &arg, &mut args)?;
            }
            if self.name.is_empty() && !matches.operands.is_empty() {
                // What follows a command's name is that command's to parse.
                matches.operands.extend(args);
                break;
            }
        }
        if !matches.has(HELP.long) {
            self.check_operands(&matches)?;
        }
        Ok(matches)
    }

    fn parse_flag(
        &'static self,
        matches: &mut Matches,
        arg: &OsStr,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let bytes = arg.as_bytes();
        let body = bytes.strip_prefix(b"--").unwrap_or(&bytes[1..]);
        let (name, attached) = match body.iter().position(|&byte| byte == b'=') {
            Some(at) => (&body[..at], Some(OsString::from_vec(body[at + 1..].to_vec()))),
            None => (body, None),
        };
        let name = String::from_utf8_lossy(name);
        let Some(flag) = self.find(&name) else {
            return Err(self.unknown_flag(matches, &name, arg));
        };
        let value = match (flag.value, attached) {
            (None, None) => OsString::new(),
            (None, Some(value)) => match switch(&value) {
                Some(true) => OsString::new(),
                Some(false) => {
                    matches.values.retain(|(long, _)| *long != flag.long);
                    return Ok(());
                }
                None => {
                    let value = value.to_string_lossy();
                    return Err(
                        matches.fault(&format!("--{} is a switch and takes no value \"{value}\"", flag.long))
                    );
                }
            },
            (Some(_), Some(value)) => value,
            (Some(what), None) => {
                let needs =
                    || matches.fault(&format!("--{} needs a value: --{} {what}", flag.long, flag.long));
                rest.next().ok_or_else(needs)?
            }
        };
        matches.values.push((flag.long, value));
        Ok(())
    }

    fn unknown_flag(&self, matches: &Matches, name: &str, written: &OsStr) -> Failure {
        let dashes = if written.as_bytes().starts_with(b"--") { "--" } else { "-" };
        let mut text = format!("unknown flag {dashes}{name}");
        if !self.name.is_empty() && GLOBAL.find(name).is_some() {
            text.push_str(", which is a global flag: write it before the command");
        } else if let Some(near) = nearest(name, self.flags.iter().map(|flag| flag.long)) {
            text.push_str(", did you mean --");
            text.push_str(near);
            text.push('?');
        }
        matches.fault(&text)
    }

    fn check_operands(&self, matches: &Matches) -> Result<(), Failure> {
        let given = matches.operands.len();
        if given < self.at_least {
            // `exec` needs a command only when --process does not bring one; its own reader says so.
            return Err(matches.fault(&format!("missing {}", self.missing(given))));
        }
        if given > self.at_most {
            let extra = matches.operands[self.at_most].to_string_lossy();
            return Err(matches.fault(&format!("unexpected argument \"{extra}\"")));
        }
        Ok(())
    }

    /// The first operand that was not given, as the usage line writes it.
    fn missing(&self, given: usize) -> &'static str {
        self.operands.split(' ').nth(given).unwrap_or(self.operands).trim_end_matches("...")
    }
}

fn looks_like_flag(arg: &OsStr) -> bool {
    let bytes = arg.as_bytes();
    bytes.len() > 1 && bytes[0] == b'-'
}

/// The spellings of a truth value that Go's flag package takes.
fn switch(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The candidate that is at most two edits from `name`, if `name` is long enough for that to mean anything.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() < 3 {
        return None;
    }
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(far, _)| *far <= 2)
        .min()
        .map(|p| p.1)
}

/// Levenshtein's distance, by bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
