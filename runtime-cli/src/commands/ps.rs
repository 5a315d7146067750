//! `orlop ps`: the container's processes, by their ids or as ps(1) describes them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::Command;

use orlop_core::sys::Reason;

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;
use crate::output;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let format = matches.choice("format", &["table", "json"])?;
    let pids = context.runtime()?.open(matches.id()?)?.processes()?;
    if format == "json" {
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        return output::print(&format!("[{}]\n", pids.join(",")));
    }
    let described = describe(&matches.operands[1..])?;
    output::print(&select(&described, &pids)?)
}

/// What ps(1) says of all processes of this host; `-ef` unless the caller asks otherwise.
fn describe(options: &[OsString]) -> Result<String, Failure> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    } else {
        command.args(options);
    }
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new("exec: \"ps\": executable file not found in $PATH"),
        _ => Failure::new(format!("cannot run ps: {}", Reason::of(&error))),
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // What is wrong comes first; all that follows is ps's own help.
        let reason = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        return Err(Failure::new(format!("ps ended with {}: {}", output.status, reason.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading, and the lines whose column `PID` is one of `pids`.
///
/// Columns before the last hold no blanks, so that the words of a line stand under those of the heading.
fn select(described: &str, pids: &[i32]) -> Result<String, Failure> {
    let mut lines = described.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|word| word == "PID");
    let column = column.ok_or_else(|| Failure::new("couldn't find PID field in ps output"))?;
    let mut text = format!("{heading}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_selected_by_the_column_of_the_heading() {
        let described =
            "UID        PID  PPID CMD\nroot         1     0 init 17\nroot        17     1 sh -c 1\n";
        let selected = select(described, &[17, 99]).unwrap();
        assert_eq!(selected, "UID        PID  PPID CMD\nroot        17     1 sh -c 1\n");
        assert_eq!(select("  PID\n   17\n", &[17]).unwrap(), "  PID\n   17\n");
        assert_eq!(select(described, &[]).unwrap(), "UID        PID  PPID CMD\n");
    }

    #[test]
    fn without_a_column_of_pids_there_is_nothing_to_select_by() {
        for described in ["", "COMMAND\nsh\n"] {
            let failure = select(described, &[1]).unwrap_err();
            assert_eq!(failure.message.as_deref(), Some("couldn't find PID field in ps output"));
        }
    }
}
