//! The program: where it is looked for, its arguments, its environment.

use super::compiler::{Input, Report};
use super::mounts::NOTIFY_DIRECTORY;
use super::{Namespace, Program, c_string};
use crate::sys::StringVector;
use oci_spec::runtime::Process;
use std::collections::HashSet;
use std::ffi::CString;

/// Where to look when the environment has no PATH: as execvp(3) does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Bytes kept for a home directory that is known only inside the container.
const HOME_SPACE: usize = 512;

/// An environment in the making.
#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: Vec<String>,
    /// The entry that the child fills in.
    pub(super) home: Option<usize>,
}

impl Environment {
    /// The variables of a process: of a name that occurs twice the later counts, as with runc.
    pub(super) fn of(process: &Process) -> Self {
        let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        let mut seen = HashSet::new();
        let given = process.env().as_deref().unwrap_or_default();
        let mut variables: Vec<String> =
            given.iter().rev().filter(|entry| seen.insert(name(entry))).cloned().collect();
        variables.reverse();
        Self { variables, home: None }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|entry| entry.split('=').next() != Some(name));
        self.variables.push(format!("{name}={value}"));
    }

    /// Keeps a place for HOME where the process states none: only the container's user database knows it.
    pub(super) fn reserve_home(&mut self) {
        if self.get("HOME").is_none_or(str::is_empty) {
            self.set("HOME", &"x".repeat(HOME_SPACE));
            self.home = Some(self.variables.len() - 1);
        }
    }

    fn into_strings(self) -> Vec<CString> {
        self.variables.iter().map(|entry| c_string(entry)).collect()
    }
}

/// The environment of a container's first process.
pub(super) fn environment(process: &Process, input: &Input<'_>, report: &mut Report) -> Environment {
    let options = input.options;
    let mut environment = Environment::of(process);
    if options.listen_fds > 0 {
        if !input.namespaces.is_new(Namespace::Pid) {
            report.warn(
                "LISTEN_FDS",
                "without a new pid namespace the process is not 1, as LISTEN_PID will say",
            );
        }
        environment.set("LISTEN_FDS", &options.listen_fds.to_string());
        environment.set("LISTEN_PID", "1");
        if let Some(names) = &options.listen_fdnames {
            environment.set("LISTEN_FDNAMES", names);
        }
    }
    let socket = options.notify_socket.as_deref().filter(|socket| socket.is_absolute());
    if let Some(name) = socket.and_then(std::path::Path::file_name)
        && input.namespaces.has(Namespace::Mount)
    {
        environment.set("NOTIFY_SOCKET", &format!("{NOTIFY_DIRECTORY}/{}", name.to_string_lossy()));
    }
    environment.reserve_home();
    environment
}

/// The program with its arguments.
pub(super) fn compile(process: &Process, environment: Environment) -> Program {
    let args = process.args().as_deref().unwrap_or_default();
    let name = args.first().cloned().unwrap_or_default();
    let searched = !name.contains('/');
    let candidates = if searched {
        candidates(&name, environment.get("PATH").unwrap_or(DEFAULT_PATH))
    } else {
        vec![c_string(&name)]
    };
    Program {
        candidates,
        name,
        searched,
        args: StringVector::new(args.iter().map(|arg| c_string(arg)).collect()),
        env: StringVector::new(environment.into_strings()),
    }
}

/// The places to look at.  Entries that are not absolute mean the working directory, which nobody should trust in a search:
/// they are passed over, as runc does.
fn candidates(name: &str, path: &str) -> Vec<CString> {
    let directories = path.split(':').filter(|directory| directory.starts_with('/'));
    directories.map(|directory| c_string(&format!("{}/{name}", directory.trim_end_matches('/')))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(env: &[&str]) -> Process {
        let mut process = Process::default();
        process.set_env(Some(env.iter().map(ToString::to_string).collect()));
        process
    }

    #[test]
    fn of_two_values_the_later_counts() {
        let environment = Environment::of(&process(&["A=1", "B=2", "A=3", "C="]));
        assert_eq!(environment.variables, ["B=2", "A=3", "C="]);
    }

    #[test]
    fn home_is_kept_or_reserved() {
        for (env, slot) in [(&["HOME=/h"][..], None), (&["HOME=", "X=1"], Some(1)), (&["X=1"], Some(1))] {
            let mut environment = Environment::of(&process(env));
            environment.reserve_home();
            assert_eq!(environment.home, slot, "{env:?}");
            let strings = environment.into_strings();
            if let Some(slot) = slot {
                assert_eq!(strings[slot].as_bytes().len(), "HOME=".len() + HOME_SPACE);
                assert_eq!(strings.iter().filter(|s| s.as_bytes().starts_with(b"HOME=")).count(), 1);
            }
        }
    }

    #[test]
    fn the_search_looks_in_absolute_directories_only() {
        let found = candidates("sh", "/bin:.::/usr/bin/:rel");
        assert_eq!(found, [c_string("/bin/sh"), c_string("/usr/bin/sh")]);
        assert_eq!(candidates("sh", "/"), [c_string("/sh")]);
        assert_eq!(candidates("sh", ""), [] as [CString; 0]);
    }
}
