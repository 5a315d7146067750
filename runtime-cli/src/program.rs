//! The program around the commands: its name, its global flags, its version, and how it ends.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::args::{self, GLOBAL, Matches};
use crate::commands::{self, Context};
use crate::failure::Failure;
use crate::log::{self, Format};
use crate::output;

/// The version of the runtime specification that is implemented.
const SPEC: &str = "1.3.0";

/// The name to answer to: `runc` when called so, for engines that look for it; `orlop` otherwise.
pub fn name(arg0: Option<OsString>) -> String {
    let arg0 = arg0.unwrap_or_default();
    let name = Path::new(&arg0).file_name().unwrap_or_default();
    if name == "runc" { "runc" } else { "orlop" }.to_owned()
}

/// Runs the command line, reports its failure if it has one, and returns the exit status.
pub fn run(program: &str, args: Vec<OsString>) -> u8 {
    let mut log_to_file = None;
    match dispatch(program, args, &mut log_to_file) {
        Ok(status) => status,
        Err(failure) => {
            if log_to_file.is_none() {
                // The global flags themselves are wrong, so there is no log but the default one.
                let options = log::Options { file: None, format: Format::Text, debug: false };
                log_to_file = log::install(&options).ok();
            }
            log::report(&failure, log_to_file == Some(true));
            failure.status
        }
    }
}

fn dispatch(program: &str, args: Vec<OsString>, log_to_file: &mut Option<bool>) -> Result<u8, Failure> {
    let global = GLOBAL.parse(program, args)?;
    if global.has("version") {
        return output::print(&version(program)).map(|()| 0);
    }
    let Some(name) = global.operands.first().filter(|_| !global.has("help")) else {
        return output::print(&args::program_help(program)).map(|()| 0);
    };
    *log_to_file = Some(log::install(&log_options(&global)?)?);
    let rest = &global.operands[1..];
    match name.to_str().unwrap_or_default() {
        "help" | "h" => help(program, rest.first().map(OsString::as_os_str)).map(|()| 0),
        known => match args::find_command(known) {
            Some(command) => {
                let matches = command.parse(program, rest.to_vec())?;
                if matches.has("help") {
                    return output::print(&args::command_help(program, command)).map(|()| 0);
                }
                commands::run(&context(program, &global)?, &matches)
            }
            None => Err(unknown_command(program, name)),
        },
    }
}

fn log_options(global: &Matches) -> Result<log::Options<'_>, Failure> {
    let format =
        if global.choice("log-format", &["text", "json"])? == "json" { Format::Json } else { Format::Text };
    Ok(log::Options { file: global.value("log").map(Path::new), format, debug: global.has("debug") })
}

fn context(program: &str, global: &Matches) -> Result<Context, Failure> {
    Ok(Context {
        program: program.to_owned(),
        root: global.path("root")?,
        systemd_cgroup: global.has("systemd-cgroup"),
        rootless_cgroups: match global.choice("rootless", &["auto", "true", "false", "1", "0"])? {
            "auto" => None,
            word => Some(["true", "1"].contains(&word)),
        },
    })
}

fn help(program: &str, command: Option<&OsStr>) -> Result<(), Failure> {
    let Some(name) = command else { return output::print(&args::program_help(program)) };
    let known = name.to_str().and_then(args::find_command);
    let known = known.ok_or_else(|| unknown_command(program, name))?;
    output::print(&args::command_help(program, known))
}

fn unknown_command(program: &str, name: &OsStr) -> Failure {
    let name = name.to_string_lossy();
    let names = args::COMMANDS.iter().map(|command| command.name);
    let hint = args::nearest(&name, names).map_or_else(String::new, |near| format!(", did you mean {near}?"));
    Failure::unknown_command(format!("{program}: unknown command \"{name}\"{hint} (see {program} --help)"))
}

/// What engines read line by line: who we are, from which commit if the build knew, and which specification.
fn version(program: &str) -> String {
    let commit = option_env!("ORLOP_COMMIT").map_or_else(String::new, |commit| format!("commit: {commit}\n"));
    format!("{program} version {}\n{commit}spec: {SPEC}\n", env!("CARGO_PKG_VERSION"))
}
