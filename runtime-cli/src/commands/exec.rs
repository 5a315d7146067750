//! `orlop exec`: another program in a running container.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{self as oci, Capability};
use orlop_core::cgroup::SubGroup;
use orlop_core::spec::{MAX_CONFIG_BYTES, load_process};
use orlop_core::sys::{self, Fd, Reason};
use orlop_core::{ExecOptions, Process};

use super::launch::{Told, check_console, console_socket, offer_console, preserve_fds};
use super::{Context, exit_status};
use crate::args::Matches;
use crate::console::Arrival;
use crate::failure::Failure;
use crate::foreground::Foreground;
use crate::signals::Signals;

/// The status when no program ran, which a program's own could not be told from otherwise.
const NOT_RUN: u8 = 255;

pub fn run(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    exec(context, matches).map_err(|failure| failure.within("exec failed").with_status(NOT_RUN))
}

fn exec(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let mut told = Told::new(matches)?;
    let mut options = options(matches, &told)?;
    let detach = matches.has("detach");
    let terminal =
        options.process.as_ref().map_or(options.terminal, |process| process.terminal().unwrap_or(false));
    check_console(context, terminal, options.console_socket.is_some(), detach)?;
    let (runtime, id) = (context.runtime()?, matches.id()?);
    if detach {
        let process = runtime.exec(id, options);
        told.write_trace();
        let process = process?;
        return tell(&told, &process).map(|()| 0);
    }
    let arrival = if terminal && options.console_socket.is_none() {
        Some(offer_console(&mut options.console_socket, &mut options.observer)?)
    } else {
        None
    };
    let signals = Signals::collect()?;
    let process = runtime.exec(id, options);
    told.write_trace();
    let process = process?;
    tell(&told, &process)?;
    let console = arrival.map(Arrival::open).transpose()?;
    // What the program leaves behind goes to the container's first process, not to us.
    let mut foreground = Foreground { signals, console, notify: None, adopts: false };
    foreground.serve(process.as_fd(), process.pid())?;
    Ok(exit_status(process.wait()?))
}

/// Makes the process known.  One that nobody was told of must not stay: it is ended, and reaped, so that the container's end does not
/// have to wait for somebody else to do that.
fn tell(told: &Told, process: &Process) -> Result<(), Failure> {
    told.tell(process.pid(), process).inspect_err(|_| {
        // It may have ended by itself.
        let _ = sys::pidfd_send_signal(Fd::from(process.as_fd()), libc::SIGKILL);
        let _ = process.wait();
    })
}

fn options(matches: &Matches, told: &Told) -> Result<ExecOptions, Failure> {
    let process = matches.path("process")?.map(|path| read_process(&path)).transpose()?;
    if process.is_none() && matches.operands.len() < 2 {
        return Err(matches.fault("missing COMMAND, or --process"));
    }
    let args = matches.operands[1..].iter().map(|arg| match arg.to_str() {
        Some(arg) => Ok(arg.to_owned()),
        None => Err(matches.fault(&format!("argument \"{}\" is not valid UTF-8", arg.to_string_lossy()))),
    });
    Ok(ExecOptions {
        process,
        args: args.collect::<Result<_, _>>()?,
        cwd: matches.path("cwd")?,
        env: environment(matches)?,
        terminal: matches.has("tty"),
        user: matches.text("user")?.map(|text| user(matches, text)).transpose()?,
        additional_gids: gids(matches)?,
        selinux_label: matches.text("process-label")?.map(str::to_owned),
        apparmor_profile: matches.text("apparmor")?.map(str::to_owned),
        no_new_privileges: matches.has("no-new-privs"),
        capabilities: capabilities(matches)?,
        console_socket: console_socket(matches)?,
        preserve_fds: preserve_fds(matches, 0)?,
        cgroups: cgroups(matches)?,
        ignore_paused: matches.has("ignore-paused"),
        observe: told.observe(),
        observer: told.observer(),
        ..ExecOptions::default()
    })
}

/// Reads a process.json.
fn read_process(path: &Path) -> Result<oci::Process, Failure> {
    let mut text = Vec::new();
    let limit = u64::try_from(MAX_CONFIG_BYTES).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
    read.map_err(|error| Failure::new(format!("cannot read {}: {}", path.display(), Reason::of(&error))))?;
    let loaded = load_process(&text);
    let (process, warnings) = loaded.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    warnings.iter().for_each(|warning| log::warn!("{warning}"));
    Ok(process)
}

/// `[CONTROLLER[,CONTROLLER]...:]PATH`, a path for every hierarchy or one for each.
fn cgroups(matches: &Matches) -> Result<Vec<SubGroup>, Failure> {
    let texts = matches.texts("cgroup")?;
    let mut groups: Vec<SubGroup> = Vec::new();
    for text in &texts {
        let fault = |what: String| Err(matches.fault(&format!("invalid --cgroup argument: {text} ({what})")));
        let Some((controllers, path)) = text.split_once(':') else {
            if texts.len() > 1 {
                return fault("missing <controller>: prefix".to_owned());
            }
            groups.push(SubGroup { controllers: Vec::new(), path: text.into() });
            continue;
        };
        let controllers: Vec<String> = controllers.split(',').map(str::to_owned).collect();
        if controllers.iter().any(String::is_empty) {
            return fault("empty <controller> prefix".to_owned());
        }
        let known = |c: &&String| groups.iter().any(|group| group.controllers.contains(c));
        if let Some(twice) = controllers.iter().find(known) {
            return fault(format!("controller {twice} specified multiple times"));
        }
        groups.push(SubGroup { controllers, path: path.into() });
    }
    Ok(groups)
}

fn environment(matches: &Matches) -> Result<Vec<String>, Failure> {
    let env = matches.texts("env")?;
    match env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
        Some(bad) => Err(matches.fault(&format!("invalid environment variable: \"{bad}\""))),
        None => Ok(env),
    }
}

/// `UID[:GID]`.
fn user(matches: &Matches, text: &str) -> Result<(u32, Option<u32>), Failure> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let parsed = match gid {
        Some(gid) => number(uid).zip(number(gid)).map(|(uid, gid)| (uid, Some(gid))),
        None => number(uid).map(|uid| (uid, None)),
    };
    parsed.ok_or_else(|| matches.fault(&format!("--user \"{text}\" is not UID[:GID] in numbers")))
}

/// Groups, each flag one or several behind commas.
fn gids(matches: &Matches) -> Result<Vec<u32>, Failure> {
    let texts = matches.texts("additional-gids")?;
    let each = texts.iter().flat_map(|text| text.split(','));
    each.map(|text| {
        text.parse()
            .map_err(|_| matches.fault(&format!("--additional-gids \"{text}\" is not a group number")))
    })
    .collect()
}

/// Capabilities by name; one that this version does not know is warned about, as the specification asks for those
/// of config.json.
fn capabilities(matches: &Matches) -> Result<Vec<Capability>, Failure> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for text in matches.texts("cap")? {
        match serde_json::from_value(serde_json::Value::from(text.to_ascii_uppercase())) {
            Ok(capability) => known.push(capability),
            Err(_) => unknown.push(text),
        }
    }
    if !unknown.is_empty() {
        log::warn!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" "));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::find_command;
    use std::ffi::OsString;

    fn matches(line: &str) -> Matches {
        let args = line.split(' ').map(OsString::from).collect();
        find_command("exec").unwrap().parse("orlop", args).unwrap()
    }

    fn read(line: &str) -> Result<ExecOptions, Failure> {
        let matches = matches(line);
        options(&matches, &Told::new(&matches)?)
    }

    #[test]
    fn flags_become_options() {
        let options = read(
            "-u 7:8 -g 1,2 -g 3 -e A=1 -e B= -c CAP_KILL -c cap_chown --cwd /x -t --no-new-privs c1 ls -l",
        )
        .unwrap();
        assert_eq!(options.args, ["ls", "-l"]);
        assert_eq!(options.user, Some((7, Some(8))));
        assert_eq!(options.additional_gids, [1, 2, 3]);
        assert_eq!(options.env, ["A=1", "B="]);
        assert_eq!(options.capabilities, [Capability::Kill, Capability::Chown]);
        assert_eq!(options.cwd.as_deref(), Some(Path::new("/x")));
        assert!(options.terminal && options.no_new_privileges && !options.ignore_paused);
        assert_eq!(read("-u 7 c1 ls").unwrap().user, Some((7, None)));
        let groups = read("--cgroup cpu,cpuacct:a/b --cgroup pids:c c1 ls").unwrap().cgroups;
        let group = |controllers: &[&str], path: &str| SubGroup {
            controllers: controllers.iter().map(ToString::to_string).collect(),
            path: path.into(),
        };
        assert_eq!(groups, [group(&["cpu", "cpuacct"], "a/b"), group(&["pids"], "c")]);
        assert_eq!(read("--cgroup x/y c1 ls").unwrap().cgroups, [group(&[], "x/y")]);
    }

    #[test]
    fn faults_name_the_flag() {
        for (line, expected) in [
            ("c1", "missing COMMAND, or --process"),
            ("-u root c1 ls", "--user \"root\" is not UID[:GID] in numbers"),
            ("-u 1: c1 ls", "--user \"1:\" is not UID[:GID] in numbers"),
            ("-u -1 c1 ls", "--user \"-1\" is not UID[:GID] in numbers"),
            ("-g wheel c1 ls", "--additional-gids \"wheel\" is not a group number"),
            ("-e NAME c1 ls", "invalid environment variable: \"NAME\""),
            ("-e =x c1 ls", "invalid environment variable: \"=x\""),
            ("--cwd= c1 ls", "--cwd is empty"),
            ("--cgroup x --cgroup y c1 ls", "invalid --cgroup argument: x (missing <controller>: prefix)"),
            ("--cgroup :x c1 ls", "invalid --cgroup argument: :x (empty <controller> prefix)"),
            (
                "--cgroup pids:x --cgroup cpu,pids:y c1 ls",
                "invalid --cgroup argument: cpu,pids:y (controller pids specified multiple times)",
            ),
        ] {
            let message = read(line).unwrap_err().message.unwrap();
            assert_eq!(message, format!("orlop exec: {expected} (see orlop exec --help)"), "{line}");
        }
        let message = read("-p /nonexistent c1").unwrap_err().message.unwrap();
        assert!(message.starts_with("cannot read /nonexistent: no such file"), "{message}");
    }
}
