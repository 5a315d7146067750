//! The shim itself: what it needs of its process, and then the loop.

use crate::args::Args;
use crate::poller::Poller;
use crate::server::Server;
use crate::shim::Shim;
use crate::{address, logger};
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::stat::Mode;
use orlop_core::sys::{self, Reason};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The socket that `start` has left as standard input.
fn listener() -> Result<OwnedFd, String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("{what}: {e}");
    // Not the standard library's, which would keep a buffer for what is never read.
    let stdin = sys::standard_input();
    let listens = getsockopt(&stdin, sockopt::AcceptConn);
    if listens != Ok(true) {
        return Err("serve: standard input is no listening socket; containerd calls `start`".to_owned());
    }
    let listener = stdin.try_clone_to_owned().map_err(|e| failed("keep the socket", &Reason::of(&e)))?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let null = null.map_err(|e| failed("open /dev/null", &Reason::from(e)))?;
    nix::unistd::dup2_stdin(&null).map_err(|e| failed("let go of standard input", &Reason::from(e)))?;
    Ok(listener)
}

/// Serves the containers of a group until containerd has deleted the last one.
///
/// # Errors
/// The shim cannot begin to serve, or not wait.
pub fn serve(args: &Args) -> Result<(), String> {
    let listener = listener()?;
    let bundle = std::env::current_dir().map_err(|e| format!("find the bundle: {}", Reason::of(&e)))?;
    logger::to_fifo(&bundle, &args.namespace, args.debug);
    // Whoever loses his parent in a container that shares our pid namespace is ours to reap.
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| format!("become a subreaper: {}", Reason::from(e)))?;
    let _ = nix::unistd::setsid();
    // The bundle must not be held: containerd removes it, while other containers of the pod go on.
    std::env::set_current_dir("/").map_err(|e| format!("leave the bundle: {}", Reason::of(&e)))?;
    let socket = std::fs::read_to_string(bundle.join("address")).ok();
    let served = run(args, listener);
    if let Err(e) = &served {
        log::error!("{e}");
    }
    remove_socket(&bundle, socket);
    served
}

fn run(args: &Args, listener: OwnedFd) -> Result<(), String> {
    let containerd =
        std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty()).unwrap_or_else(|| {
            // Where containerd has it unless configured otherwise.
            format!("{}.ttrpc", args.address)
        });
    let failed = |e: nix::Error| format!("serve: {}", Reason::from(e));
    let poller = Rc::new(Poller::new().map_err(failed)?);
    // Threads come and go: memory for each of its own kind would stay.
    sys::share_memory_among_threads();
    let shim = Shim::new(poller, &args.namespace, &containerd).map_err(failed)?;
    Server::new(shim, listener).and_then(Server::run).map_err(failed)
}

/// `start` may not have written the address yet when the shim began.
fn remove_socket(bundle: &Path, known: Option<String>) {
    let text = known.or_else(|| std::fs::read_to_string(bundle.join("address")).ok());
    if let Some(path) =
        text.as_deref().and_then(|text| text.trim().strip_prefix("unix://")).map(PathBuf::from)
    {
        address::remove(&path);
    }
}
