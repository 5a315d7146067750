//! The shim itself: what it needs of its process, and then the loop.

use crate::address::Listener;
use crate::args::Args;
use crate::logger;
use crate::poller::Poller;
use crate::server::Server;
use crate::shim::Shim;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::{Mode, SFlag, fstat};
use orlop_core::sys::{self, Reason};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

fn failed(what: &'static str) -> impl Fn(nix::Error) -> String {
    move |e| format!("{what}: {}", Reason::from(e))
}

/// What `start` has left as our streams.
struct Inherited {
    /// Standard input: where containerd will call.
    listener: Listener,
    /// Standard output: where `start` says that containerd has its answer; not if somebody else has started us.
    starter: Option<OwnedFd>,
}

/// Takes them, and leaves `/dev/null` in their place.
fn inherited() -> Result<Inherited, String> {
    // Not the standard library's, which would keep buffers for what is never used.
    let (stdin, stdout) = (sys::standard_input(), sys::standard_output());
    if getsockopt(&stdin, sockopt::AcceptConn) != Ok(true) {
        return Err("serve: standard input is no listening socket; containerd calls `start`".to_owned());
    }
    let keep = |e: std::io::Error| format!("keep what start has left: {}", Reason::of(&e));
    let listener = Listener::new(stdin.try_clone_to_owned().map_err(keep)?)?;
    let is_pipe =
        fstat(stdout).is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits());
    let starter = if is_pipe { Some(stdout.try_clone_to_owned().map_err(keep)?) } else { None };
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let null = null.map_err(failed("open /dev/null"))?;
    nix::unistd::dup2_stdin(&null).map_err(failed("let go of standard input"))?;
    nix::unistd::dup2_stdout(&null).map_err(failed("let go of standard output"))?;
    Ok(Inherited { listener, starter })
}

/// Serves the containers of a group until containerd has deleted the last one.
///
/// # Errors
/// The shim cannot begin to serve, or not wait.
pub fn serve(args: &Args) -> Result<(), String> {
    let inherited = inherited()?;
    let served = settle(args).and_then(|bundle| run(args, inherited, bundle));
    if let Err(e) = &served {
        log::error!("{e}");
    }
    served
}

/// Makes the process what a shim is; the bundle that it was started for.
fn settle(args: &Args) -> Result<PathBuf, String> {
    let bundle = std::env::current_dir().map_err(|e| format!("find the bundle: {}", Reason::of(&e)))?;
    logger::to_fifo(&bundle, &args.namespace, args.debug);
    // Each container of a pod takes some; the usual 1,024 are for programs that use select(2).
    if let Err(e) = sys::raise_open_files() {
        log::warn!("raise the limit of open files: {}", e.reason());
    }
    // Whoever loses his parent in a container that shares our pid namespace is ours to reap.
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| format!("become a subreaper: {}", Reason::from(e)))?;
    let _ = nix::unistd::setsid();
    // The bundle must not be held: containerd removes it, while other containers of the pod go on.
    std::env::set_current_dir("/").map_err(|e| format!("leave the bundle: {}", Reason::of(&e)))?;
    Ok(bundle)
}

fn run(args: &Args, Inherited { listener, starter }: Inherited, bundle: PathBuf) -> Result<(), String> {
    let containerd =
        std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty()).unwrap_or_else(|| {
            // Where containerd has it unless configured otherwise.
            format!("{}.ttrpc", args.address)
        });
    let failed = failed("serve");
    let poller = Rc::new(Poller::new().map_err(&failed)?);
    // Threads come and go: memory for each of its own kind would stay.
    sys::share_memory_among_threads();
    let shim = Shim::new(poller, &args.namespace, &containerd).map_err(&failed)?;
    let server = Server::new(shim, listener, starter).map_err(&failed)?;
    server.of_bundle(bundle).run().map_err(failed)
}
