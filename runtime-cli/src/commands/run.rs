//! `orlop run`: to the end of the container in the foreground, or, detached, to its beginning.

use std::ffi::OsString;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use orlop_core::sys::Reason;
use orlop_core::{Container, ErrorKind, Process, Runtime};

use super::launch::{Launch, forget, offer_console, prepare_relay, withdraw};
use super::{Context, exit_status};
use crate::args::Matches;
use crate::console::Arrival;
use crate::failure::Failure;
use crate::foreground::Foreground;
use crate::notify::{Proxy, Relay};
use crate::signals::Signals;

pub fn run(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let ran = if matches.has("detach") { detached(context, matches) } else { foreground(context, matches) };
    ran.map_err(|failure| context.failed("run", failure))
}

fn detached(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let runtime = context.runtime()?;
    let mut launch = Launch::new(context, &runtime, matches)?;
    launch.has_terminal(context, true)?;
    let notify = listen(&mut launch.relay)?;
    let ran = runtime.run(launch.options);
    launch.told.write_trace();
    let (container, process) = ran.inspect_err(|_| withdraw(launch.relay.as_ref()))?;
    let told = launch.told.tell(process.pid(), &process).and_then(|()| match notify {
        Some(mut notify) => wait_ready(&mut notify, &process),
        None => Ok(()),
    });
    match told {
        Ok(()) => Ok(0),
        Err(failure) => Err(discard(&runtime, container, failure)),
    }
}

fn foreground(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let runtime = context.runtime()?;
    let mut launch = Launch::new(context, &runtime, matches)?;
    let adopts = !matches.has("no-subreaper");
    if adopts {
        set_child_subreaper(true)
            .map_err(|errno| Failure::new(format!("cannot become a subreaper: {}", Reason::from(errno))))?;
    }
    let terminal = if launch.has_terminal(context, false)? && launch.options.console_socket.is_none() {
        Some(offer_console(&mut launch.options.console_socket, &mut launch.options.observer)?)
    } else {
        None
    };
    let notify = listen(&mut launch.relay)?;
    let signals = Signals::collect()?;
    let ran = runtime.run(launch.options);
    launch.told.write_trace();
    let (container, process) = ran.inspect_err(|_| withdraw(launch.relay.as_ref()))?;
    let served = launch.told.tell(process.pid(), &process).and_then(|()| {
        let console = terminal.map(Arrival::open).transpose()?;
        let mut foreground = Foreground { signals, console, notify, adopts };
        foreground.serve(process.as_fd(), process.pid())
    });
    if let Err(failure) = served {
        return Err(discard(&runtime, container, failure));
    }
    let status = exit_status(process.wait()?);
    if !matches.has("keep") {
        end(&runtime, container);
    }
    Ok(status)
}

/// The container's notify socket, if there is a manager to relay to.
///
/// # Errors
/// It cannot be made.
pub fn listen(relay: &mut Option<(Relay, OsString)>) -> Result<Option<Proxy>, Failure> {
    prepare_relay(relay)?;
    let notify = relay.as_ref().map(|(relay, manager)| relay.listen(manager)).transpose();
    notify.inspect_err(|_| withdraw(relay.as_ref()))
}

/// Removes a container whose process has ended.  Its exit status is the answer, whatever becomes of the remains.
pub fn end(runtime: &Runtime, container: Container) {
    let id = container.id().to_owned();
    match container.delete(false) {
        Ok(()) => forget(runtime.root(), &id),
        // Somebody else has deleted it: that is what ended it, maybe.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => log::error!("{error}"),
    }
}

/// Removes a container that came up, but of which nobody could be told.
pub fn discard(runtime: &Runtime, container: Container, failure: Failure) -> Failure {
    let id = container.id().to_owned();
    match container.delete(true) {
        Ok(()) => forget(runtime.root(), &id),
        Err(error) => log::warn!("{error}"),
    }
    failure
}

/// Relays until the container is ready, or gone, and then tells which process is the service.
fn wait_ready(notify: &mut Proxy, process: &Process) -> Result<(), Failure> {
    relay_until_ready(notify, process)?;
    if notify.is_ready() {
        notify.announce(process.pid());
    }
    Ok(())
}

/// Waits for the message that says that the service is up.
///
/// # Errors
/// poll(2) fails, for want of memory.
pub fn relay_until_ready(notify: &mut Proxy, process: &impl AsFd) -> Result<(), Failure> {
    while !notify.is_ready() {
        let mut fds =
            [PollFd::new(notify.as_fd(), PollFlags::POLLIN), PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => {
                return Err(Failure::new(format!("cannot wait for readiness: {}", Reason::from(errno))));
            }
        }
        let ended = fds[1].any().unwrap_or(false);
        notify.relay();
        if ended {
            return Ok(());
        }
    }
    Ok(())
}
