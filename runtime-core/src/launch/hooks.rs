//! Hooks: programs of the configuration that run at fixed moments of the container's life (config.md, "POSIX-platform Hooks").

use super::command::{Command, CommandError};
use super::procfs::{ProcError, TrustedProc};
use crate::plan::{Hook, HookKind};
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A hook that failed: `hooks.prestart[0]: "/x/y": exit status 3: text`.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {path:?}: {error}")]
pub struct HookError {
    /// JSON path of the hook.
    pub origin: String,
    /// The program.
    pub path: String,
    /// What happened.
    #[source]
    pub error: HookFailure,
}

/// What happened to a hook.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// The container's namespaces could not be found.
    #[error(transparent)]
    Place(ProcError),
    /// The program did not run, or did not succeed.
    #[error(transparent)]
    Program(CommandError),
}

/// Where hooks run.
#[derive(Clone, Copy, Debug)]
pub enum HookPlace<'a> {
    /// In the namespaces of the caller, with the bundle as working directory.
    Runtime,
    /// In the namespaces of this process, as root of its user namespace when that is another, with the root of its mount
    /// namespace as root and working directory.
    ///
    /// The hook's path is looked up there.  For startContainer that is what the specification wants; and
    /// createContainer runs before pivot_root, when the container's tree still begins with the host's.
    Container {
        /// The container's process.
        pidfd: BorrowedFd<'a>,
    },
}

impl HookKind {
    /// Whether a failure of one of these is only a warning and the others still run (runtime.md, "Lifecycle", step 13).
    /// All other hooks stop the container; poststart too, since the specification was changed before 1.3.
    #[must_use]
    pub const fn only_warns(self) -> bool {
        matches!(self, Self::Poststop)
    }
}

/// Runs `hooks` one after the other, each with `state` (the container's state as JSON) on its standard input, and returns
/// the failures that are only warnings.
///
/// A hook gets exactly the environment that its configuration states.  What it writes to standard output is dropped.
///
/// # Errors
/// The first failure, when a failure of this kind of hook stops the container; the hooks after it are not run.
pub fn run_hooks(
    kind: HookKind,
    hooks: &[Hook],
    state: &[u8],
    place: HookPlace<'_>,
) -> Result<Vec<HookError>, HookError> {
    let mut warnings = Vec::new();
    for hook in hooks {
        match run(hook, state, place) {
            Ok(()) => {}
            Err(error) if kind.only_warns() => warnings.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(warnings)
}

/// The container's process `pid` as hooks of a kind see it: those that run in the container have its own view (runtime.md,
/// "State").
///
/// # Errors
/// When procfs does not tell.
pub fn pid_seen_by(kind: HookKind, pid: i32) -> Result<i32, ProcError> {
    match kind {
        HookKind::CreateContainer | HookKind::StartContainer => TrustedProc::open()?.innermost_pid(pid),
        HookKind::Prestart | HookKind::CreateRuntime | HookKind::Poststart | HookKind::Poststop => Ok(pid),
    }
}

/// A place, looked at.
struct Surroundings<'a> {
    directory: Option<CString>,
    namespaces: Vec<(BorrowedFd<'a>, i32)>,
}

impl<'a> Surroundings<'a> {
    fn of(place: HookPlace<'a>, state: &[u8]) -> Result<Self, ProcError> {
        match place {
            HookPlace::Runtime => Ok(Self { directory: bundle(state), namespaces: Vec::new() }),
            HookPlace::Container { pidfd } => {
                let proc = TrustedProc::open()?;
                let kinds = proc.pid_of(pidfd)?.map_or(Ok(0), |pid| proc.foreign_namespaces(pid))?;
                // setns(2) takes no empty set.
                let namespaces = if kinds == 0 { Vec::new() } else { vec![(pidfd, kinds)] };
                Ok(Self { directory: None, namespaces })
            }
        }
    }
}

/// The bundle's path as the state has it.
fn bundle(state: &[u8]) -> Option<CString> {
    #[derive(serde::Deserialize)]
    struct WithBundle {
        bundle: String,
    }
    serde_json::from_slice(state).ok().and_then(|state: WithBundle| CString::new(state.bundle).ok())
}

fn run(hook: &Hook, state: &[u8], place: HookPlace<'_>) -> Result<(), HookError> {
    let failed = |error| HookError {
        origin: hook.origin.clone(),
        path: hook.path.to_string_lossy().into_owned(),
        error,
    };
    let surroundings = Surroundings::of(place, state).map_err(|error| failed(HookFailure::Place(error)))?;
    let command = Command {
        path: &hook.path,
        args: if hook.args.is_empty() { vec![hook.path.clone()] } else { hook.args.clone() },
        env: hook.env.clone(),
        stdin: state,
        directory: surroundings.directory.as_deref(),
        join: &surroundings.namespaces,
        timeout: hook.timeout.map(|seconds| Duration::from_secs(seconds.into())),
    };
    command.run().map_err(|error| failed(HookFailure::Program(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{self, Fd};
    use std::os::fd::AsFd;
    use std::time::Instant;

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    fn shell(script: &str) -> Hook {
        Hook {
            path: c("/bin/sh"),
            args: vec![c("sh"), c("-c"), c(script)],
            env: Vec::new(),
            timeout: None,
            origin: "hooks.prestart[0]".into(),
        }
    }

    fn fails(hook: &Hook) -> String {
        run(hook, b"{}", HookPlace::Runtime).unwrap_err().to_string()
    }

    #[test]
    fn the_state_comes_on_stdin_however_long() {
        let state = vec![b'x'; 300_000];
        let hook = shell("test $(wc -c) = 300000");
        run(&hook, &state, HookPlace::Runtime).unwrap();
        // And one that does not read it is no error.
        run(&shell("exit 0"), &state, HookPlace::Runtime).unwrap();
    }

    #[test]
    fn the_environment_is_exactly_the_hooks() {
        let mut hook =
            shell("test \"$(/usr/bin/env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= -e ^OLDPWD=)\" = A=b");
        hook.env = vec![c("A=b")];
        run(&hook, b"", HookPlace::Runtime).unwrap();
    }

    #[test]
    fn arguments_default_to_the_path() {
        let mut hook = shell("");
        hook.path = c("/bin/false");
        hook.args = Vec::new();
        assert_eq!(fails(&hook), "hooks.prestart[0]: \"/bin/false\": exit status 1");
    }

    #[test]
    fn a_failure_shows_status_and_the_end_of_stderr_in_one_line() {
        let hook = shell("echo unseen; echo one >&2; echo two >&2; exit 3");
        assert_eq!(fails(&hook), "hooks.prestart[0]: \"/bin/sh\": exit status 3: one; two");
        let hook = shell("yes 0123456789 | head -c 1000000 >&2; echo the end >&2; exit 4");
        let text = fails(&hook);
        assert!(text.ends_with("the end") && text.len() < 10_000, "{text}");
        assert_eq!(fails(&shell("kill -TERM $$")), "hooks.prestart[0]: \"/bin/sh\": killed by SIGTERM");
    }

    #[test]
    fn a_missing_program_reports_the_errno() {
        let mut hook = shell("");
        hook.path = c("/no/such/hook");
        assert_eq!(fails(&hook), "hooks.prestart[0]: \"/no/such/hook\": execve: no such file or directory");
        hook.path = c("/etc/passwd");
        assert_eq!(fails(&hook), "hooks.prestart[0]: \"/etc/passwd\": execve: permission denied");
    }

    #[test]
    fn the_bundle_is_the_working_directory_if_it_is_there() {
        let hook = shell("test $PWD = /usr");
        run(&hook, br#"{"id": "c", "bundle": "/usr"}"#, HookPlace::Runtime).unwrap();
        run(&shell(""), br#"{"id": "c", "bundle": "/no/such"}"#, HookPlace::Runtime).unwrap();
    }

    #[test]
    fn a_timeout_kills() {
        let mut hook = shell("echo slow >&2; exec sleep 600");
        hook.timeout = Some(1);
        let begun = Instant::now();
        assert_eq!(fails(&hook), "hooks.prestart[0]: \"/bin/sh\": killed after its timeout of 1 s: slow");
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_secs(1) && taken < Duration::from_secs(600), "{taken:?}");
    }

    #[test]
    fn a_background_process_of_a_hook_is_not_waited_for() {
        let begun = Instant::now();
        run(&shell("sleep 20 & exit 0"), b"", HookPlace::Runtime).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn standard_descriptors_and_signals_are_clean() {
        // Nothing beyond the three streams (and what the listing opens itself), nothing blocked, nothing ignored but what
        // whoever started this test wanted to be (nohup: SIGHUP) and, of that, not SIGPIPE, which Rust's start ignores.
        let leaked = std::fs::File::open("/dev/null").unwrap();
        sys::set_cloexec(Fd::from(leaked.as_fd()), false).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
        let inherited = u64::from_str_radix(ignored, 16).unwrap() & !(1 << (libc::SIGPIPE - 1));
        let hook = shell(&format!(
            "for fd in /proc/self/fd/*; do case ${{fd##*/}} in 0|1|2) ;; *) test -e \"$fd\" && exit 9;; esac; done
             grep -q '^SigBlk:.0000000000000000' /proc/self/status || exit 8
             grep -q '^SigIgn:.{inherited:016x}$' /proc/self/status || exit 7",
        ));
        run(&hook, b"", HookPlace::Runtime).unwrap();
    }

    #[test]
    fn only_poststop_goes_on_after_a_failure() {
        let marker = std::env::temp_dir().join(format!("orlop-hooks-{}", std::process::id()));
        let touch = shell(&format!("echo >> {}", marker.display()));
        let hooks = [shell("exit 1"), touch];
        let error = run_hooks(HookKind::Poststart, &hooks, b"", HookPlace::Runtime).unwrap_err();
        assert_eq!(error.to_string(), "hooks.prestart[0]: \"/bin/sh\": exit status 1");
        assert!(!marker.exists());
        let warnings = run_hooks(HookKind::Poststop, &hooks, b"", HookPlace::Runtime).unwrap();
        assert_eq!(warnings.len(), 1);
        std::fs::remove_file(&marker).unwrap();
    }

    #[test]
    fn it_runs_inside_the_namespaces_of_a_container() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: making namespaces needs root");
            return;
        }
        let kinds = libc::CLONE_NEWUTS | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUSER;
        let (hold, held) = sys::socketpair().unwrap();
        let args = sys::CloneArgs { flags: kinds.unsigned_abs().into(), ..Default::default() };
        let container = sys::clone3(&args, || {
            sys::close(Fd::from(&hold));
            let named = sys::sethostname(c"inside").and_then(|()| sys::send(Fd::from(&held), b"x"));
            let _ = named.and_then(|()| sys::read(Fd::from(&held), &mut [0; 1]));
            sys::exit(0)
        })
        .unwrap();
        drop(held);
        assert_eq!(sys::read(Fd::from(&hold), &mut [0; 1]), Ok(1));
        std::fs::write(format!("/proc/{}/uid_map", container.pid), "0 5000 10").unwrap();
        std::fs::write(format!("/proc/{}/gid_map", container.pid), "0 5000 10").unwrap();
        let place = HookPlace::Container { pidfd: container.pidfd.as_fd() };
        let hook = shell(
            "test $(uname -n) = inside || exit 2; test $$ = 2 || exit 3; test $(id -u):$(id -g) = 0:0 || exit 4; test $PWD = / || exit 5; exit 6",
        );
        let error = run(&hook, b"", place).unwrap_err().to_string();
        let mut missing = shell("");
        missing.path = c("/no/such/hook");
        // Several times: its report and the stage's race.
        let missing: Vec<String> =
            (0..50).map(|_| run(&missing, b"", place).unwrap_err().to_string()).collect();
        let refused = run(&hook, b"", HookPlace::Container { pidfd: hold.as_fd() });
        drop(hold);
        super::super::command::reap(container.pidfd.as_fd()).unwrap();
        assert_eq!(error, "hooks.prestart[0]: \"/bin/sh\": exit status 6");
        assert!(missing.iter().all(|e| e.ends_with("execve: no such file or directory")), "{missing:?}");
        assert!(refused.unwrap_err().to_string().ends_with(": bad file descriptor"));
    }
}
