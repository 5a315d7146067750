//! `start`: finds the shim of the container's group, or makes one, and tells containerd where it serves.

use crate::address::{self, Place};
use crate::api::{Any, BootstrapParams, BootstrapResult};
use crate::args::Args;
use crate::options::Options;
use crate::wire::Message;
use orlop_core::protect;
use orlop_core::sys::{self, Reason};
use std::ffi::OsString;
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// More than any options; as much as containerd's own shims read.
const MAX_INPUT: u64 = 10 << 20;
/// Debug, in the log levels of the bootstrap protocol; what is below tells more.
const LOG_LEVEL_DEBUG: i32 = -4;

/// Settings of the C library in the shim, which the library takes from its environment alone (`Tunables` in glibc's manual).
///
/// No caches of freed memory for each thread and size: what is in them counts as in use, keeps the pages around it, and only grows
/// until all are full, after hundreds of calls.  Of the stacks of threads that have ended two are kept, and not forty megabytes' worth.
const TUNABLES: &str = "glibc.malloc.tcache_count=0:glibc.pthread.stack_cache_size=2228224";

/// The form in which containerd wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Before 1.7: the address on a line.
    Address,
    /// 1.7 to 2.2: JSON, with the version of the Task service.
    Json(i32),
    /// Since 2.3: a message, as the question was.
    Message,
}

/// What containerd has said, in whichever form.
#[derive(Debug, PartialEq)]
struct Call {
    form: Form,
    options: Option<Any>,
    ttrpc_address: String,
    grpc_address: String,
    socket_dir: Option<String>,
    debug: bool,
}

/// Understands standard input: since 2.3 it holds all there is to know, before only the options.
///
/// Both are messages, and each can be read as the other, so what counts is whether the message names the container that the
/// flags name.
fn understand(args: &Args, input: &[u8], env: impl Fn(&str) -> Option<String>) -> Result<Call, String> {
    if let Ok(params) = BootstrapParams::decode(input)
        && params.instance_id == args.id
        && params.namespace == args.namespace
    {
        let extensions = params.extensions.into_iter().filter_map(|extension| extension.value);
        return Ok(Call {
            form: Form::Message,
            options: extensions.into_iter().find(|any| Options::from_any(Some(any)).is_ok()),
            ttrpc_address: params.containerd_ttrpc_address,
            grpc_address: params.containerd_grpc_address,
            socket_dir: Some(params.socket_dir).filter(|dir| !dir.is_empty()),
            debug: params.log_level <= LOG_LEVEL_DEBUG || args.debug,
        });
    }
    let options = if input.is_empty() {
        None
    } else {
        Some(Any::decode(input).map_err(|e| format!("understand standard input: {e}"))?)
    };
    let form = match env("MAX_SHIM_VERSION") {
        None => Form::Address,
        // Versions 2 and 3 of the Task service are served alike.
        Some(version) => Form::Json(version.parse().unwrap_or(2).clamp(2, 3)),
    };
    Ok(Call {
        form,
        options,
        ttrpc_address: env("TTRPC_ADDRESS").unwrap_or_default(),
        grpc_address: args.address.clone(),
        socket_dir: None,
        debug: args.debug,
    })
}

fn answer(form: Form, address: &str) -> Vec<u8> {
    match form {
        Form::Address => address.as_bytes().to_vec(),
        Form::Json(version) => {
            // The address is a path of ours, of characters that JSON takes as they are, or was checked to be.
            serde_json::json!({ "version": version, "address": address, "protocol": "ttrpc" })
                .to_string()
                .into_bytes()
        }
        Form::Message => {
            BootstrapResult { version: 3, address: address.to_owned(), protocol: "ttrpc".to_owned() }.encode()
        }
    }
}

/// The shim, which serves on the socket that it finds as its standard input, and as its standard output hears of us.
fn spawn(args: &Args, call: &Call, listener: OwnedFd, us: PipeReader) -> Result<Child, String> {
    let protected = protect::protected_program().map_err(|e| e.to_string())?;
    let mut command =
        Command::new(protected.as_ref().map_or_else(
            || "/proc/self/exe".to_owned(),
            |file| format!("/proc/self/fd/{}", file.as_raw_fd()),
        ));
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &call.grpc_address]);
    if call.debug {
        command.arg("-debug");
    }
    if !call.ttrpc_address.is_empty() {
        command.env("TTRPC_ADDRESS", &call.ttrpc_address);
    }
    command.env("GLIBC_TUNABLES", tunables(std::env::var_os("GLIBC_TUNABLES").unwrap_or_default()));
    command.stdin(Stdio::from(listener)).stdout(Stdio::from(us)).stderr(Stdio::null());
    command.spawn().map_err(|e| format!("start the shim: {}", Reason::of(&e)))
}

/// Those that are set, and ours after them, which wins.
fn tunables(mut set: OsString) -> OsString {
    if !set.is_empty() {
        set.push(":");
    }
    set.push(TUNABLES);
    set
}

/// Where containerd is configured so (`sched_core`, told by `SCHED_CORE`): the shim and its containers share cores with each other
/// alone.  The shim inherits it.
fn enter_core_group(wanted: bool) -> Result<(), String> {
    let entered = if wanted { sys::share_cores_with_own_group() } else { Ok(()) };
    entered.map_err(|e| format!("enable sched core support: {}", e.reason()))
}

/// Makes the shim a little more likely to be killed for memory than its containerd.  Not having the right to is no reason not
/// to run.
fn adjust_oom_score(shim: u32) {
    let parent = nix::unistd::getppid();
    let Ok(text) = fs::read_to_string(format!("/proc/{parent}/oom_score_adj")) else { return };
    let Ok(score) = text.trim().parse::<i32>() else { return };
    let _ = fs::write(format!("/proc/{shim}/oom_score_adj"), (score + 1).min(1000).to_string());
}

/// Moves the shim into a control group: into those of this name that there are, in every hierarchy.
fn enter_cgroup(shim: u32, group: &str) -> Result<(), String> {
    if group.is_empty() {
        return Ok(());
    }
    let failed = |e: &dyn std::fmt::Display| format!("shim_cgroup {group}: {e}");
    if Path::new(group).components().any(|part| part == std::path::Component::ParentDir) {
        return Err(failed(&"a path with .. in it"));
    }
    let (layout, _) = orlop_core::cgroup::detect().map_err(|e| failed(&e))?;
    let v1 = layout.v1().iter().map(|hierarchy| &hierarchy.mount);
    let mut entered = false;
    for mount in v1.chain(layout.v2()) {
        let directory = mount.mount_point.join(group.trim_start_matches('/'));
        if directory.is_dir() {
            fs::write(directory.join("cgroup.procs"), shim.to_string())
                .map_err(|e| failed(&Reason::of(&e)))?;
            entered = true;
        }
    }
    if entered { Ok(()) } else { Err(failed(&"there is no such control group")) }
}

fn launch(args: &Args, call: &Call, listener: OwnedFd) -> Result<PipeWriter, String> {
    let options = Options::from_any(call.options.as_ref())?;
    enter_core_group(std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()))?;
    let (us, answered) = pipe().map_err(|e| format!("make a pipe to the shim: {}", Reason::of(&e)))?;
    let mut shim = spawn(args, call, listener, us)?;
    let pid = shim.id();
    adjust_oom_score(pid);
    let ready = enter_cgroup(pid, &options.shim_cgroup).and_then(|()| {
        address::write_file(Path::new("shim.pid"), &pid.to_string())
            .map_err(|e| format!("write shim.pid: {}", Reason::of(&e)))
    });
    ready.map(|()| answered).inspect_err(|_| {
        let _ = shim.kill();
    })
}

/// What `start` has come to.
#[derive(Debug)]
pub struct Started {
    /// The answer for containerd.
    pub answer: Vec<u8>,
    /// Of a shim that is new: it ends if the pipe is closed before something was written, as containerd does not know it then.
    new: Option<(PipeWriter, PathBuf)>,
}

impl Started {
    /// The answer of an action that starts nothing.
    #[must_use]
    pub const fn nothing(answer: Vec<u8>) -> Self {
        Self { answer, new: None }
    }

    /// Tells the shim that containerd has its answer.
    ///
    /// # Errors
    /// It is there no more.
    pub fn answered(self) -> Result<(), String> {
        let Some((mut pipe, socket)) = self.new else { return Ok(()) };
        pipe.write_all(b"a").map_err(|e| {
            address::remove(&socket);
            format!("the shim has ended: {}", Reason::of(&e))
        })
    }
}

/// Starts a shim or finds one.
///
/// # Errors
/// The bundle is unreadable, the socket cannot be had, or the shim cannot be started.
pub fn start(args: &Args) -> Result<Started, String> {
    let mut input = Vec::new();
    let stdin = std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut input);
    stdin.map_err(|e| format!("read standard input: {}", Reason::of(&e)))?;
    let call = understand(args, &input, |name| std::env::var(name).ok())?;
    let path = if args.socket.is_empty() {
        let group = address::group(Path::new("."), &args.id)?;
        address::of_group(call.socket_dir.as_deref(), &call.grpc_address, &args.namespace, &group)
    } else {
        PathBuf::from(&args.socket)
    };
    let text = format!("unix://{}", path.display());
    let told = match address::claim(&path)? {
        Place::Ours(listener) => Some(launch(args, &call, listener).inspect_err(|_| address::remove(&path))?),
        Place::Taken => None,
    };
    address::write_file(Path::new("address"), &text)
        .map_err(|e| format!("write the file address: {}", Reason::of(&e)))?;
    Ok(Started { answer: answer(call.form, &text), new: told.zip(Some(path)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Extension, RuncOptions};

    fn args() -> Args {
        Args { namespace: "n".into(), id: "c".into(), address: "/c.sock".into(), ..Args::default() }
    }

    fn options() -> Any {
        let options = RuncOptions { root: "/r".into(), ..RuncOptions::default() };
        Any::new("containerd.runc.v1.Options", options.encode())
    }

    #[test]
    fn three_forms_of_containerd_are_told_apart() {
        let old = understand(&args(), b"", |_| None).unwrap();
        assert_eq!((old.form, old.options, old.grpc_address.as_str()), (Form::Address, None, "/c.sock"));
        let max = |name: &str| (name == "MAX_SHIM_VERSION").then(|| "9".to_owned());
        let middle = understand(&args(), &options().encode(), max).unwrap();
        assert_eq!((middle.form, middle.options), (Form::Json(3), Some(options())));
        let params = BootstrapParams {
            instance_id: "c".into(),
            namespace: "n".into(),
            log_level: -4,
            containerd_ttrpc_address: "/t".into(),
            containerd_grpc_address: "/g".into(),
            extensions: vec![
                Extension { value: Some(Any::new("x.Y", Vec::new())) },
                Extension { value: Some(options()) },
            ],
            socket_dir: "/s".into(),
            ..BootstrapParams::default()
        };
        let new = understand(&args(), &params.encode(), max).unwrap();
        assert_eq!((new.form, new.options, new.debug), (Form::Message, Some(options()), true));
        assert_eq!((new.ttrpc_address.as_str(), new.socket_dir.as_deref()), ("/t", Some("/s")));
    }

    #[test]
    fn settings_of_the_c_library_are_kept_and_ours_come_last() {
        assert_eq!(tunables(OsString::new()), TUNABLES);
        let both = format!("glibc.malloc.check=3:{TUNABLES}");
        assert_eq!(tunables("glibc.malloc.check=3".into()), OsString::from(both));
    }

    #[test]
    fn the_message_must_be_of_this_container() {
        let params = BootstrapParams {
            instance_id: "other".into(),
            namespace: "n".into(),
            ..BootstrapParams::default()
        };
        assert_eq!(understand(&args(), &params.encode(), |_| None).unwrap().form, Form::Address);
        assert!(understand(&args(), &[0xff], |_| None).is_err());
    }

    #[test]
    fn answers_have_the_form_of_the_question() {
        assert_eq!(answer(Form::Address, "unix:///s"), b"unix:///s");
        let json: serde_json::Value = serde_json::from_slice(&answer(Form::Json(2), "unix:///s")).unwrap();
        assert_eq!(json, serde_json::json!({"version": 2, "address": "unix:///s", "protocol": "ttrpc"}));
        let result = BootstrapResult::decode(&answer(Form::Message, "unix:///s")).unwrap();
        assert_eq!(
            (result.version, result.address.as_str(), result.protocol.as_str()),
            (3, "unix:///s", "ttrpc")
        );
    }
}
