//! `orlop restore`: a container from a checkpoint, in the foreground to its end, or detached.

use nix::sys::prctl::set_child_subreaper;
use orlop_core::{Bundle, RestoreOptions};

use super::checkpoint::{settings, warn_if_unprivileged};
use super::launch::{Told, check_console, console_socket, withdraw};
use super::run::{discard, end, listen};
use super::{Context, exit_status};
use crate::args::Matches;
use crate::console::Offer;
use crate::failure::Failure;
use crate::foreground::Foreground;
use crate::notify::Relay;
use crate::signals::Signals;
use std::os::fd::AsFd;

pub fn run(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    warn_if_unprivileged(context, "restore");
    restore(context, matches).map_err(|failure| context.failed("restore", failure))
}

fn restore(context: &Context, matches: &Matches) -> Result<u8, Failure> {
    let runtime = context.runtime()?;
    let told = Told::by_file(matches)?;
    let mut options = options(context, matches)?;
    let bundle = Bundle::load(&options.bundle)?;
    let terminal = bundle.has_terminal();
    options.loaded = Some(bundle);
    let detach = matches.has("detach");
    check_console(context, terminal, options.console_socket.is_some(), detach)?;
    let mut relay = Relay::wanted(runtime.root(), &options.id);
    options.notify_socket = relay.as_ref().map(|(relay, _)| relay.socket());
    if detach {
        let notify = listen(&mut relay)?;
        let restored = runtime.restore(options).inspect_err(|_| withdraw(relay.as_ref()));
        let (container, process) = restored?;
        told.tell(process.pid(), &process).map_err(|failure| discard(&runtime, container, failure))?;
        if let Some(mut notify) = notify {
            notify.resume();
            notify.announce(process.pid());
        }
        return Ok(0);
    }
    let adopts = !matches.has("no-subreaper");
    if adopts {
        set_child_subreaper(true)
            .map_err(|errno| Failure::new(format!("cannot become a subreaper: {}", errno.desc())))?;
    }
    let arrival = if terminal && options.console_socket.is_none() {
        let (offer, theirs) = Offer::new()?;
        options.console_socket = Some(theirs);
        Some(offer.split())
    } else {
        None
    };
    let signals = Signals::collect()?;
    let mut notify = listen(&mut relay)?;
    let restored = runtime.restore(options).inspect_err(|_| withdraw(relay.as_ref()));
    let (container, process) = restored?;
    let served = told.tell(process.pid(), &process).and_then(|()| {
        let console = arrival.map(|(watcher, arrival)| {
            watcher.look();
            arrival.open()
        });
        if let Some(notify) = &mut notify {
            notify.resume();
        }
        let mut foreground = Foreground { signals, console: console.transpose()?, notify, adopts };
        foreground.serve(process.as_fd(), process.pid())
    });
    if let Err(failure) = served {
        return Err(discard(&runtime, container, failure));
    }
    let status = exit_status(process.wait()?);
    end(&runtime, container);
    Ok(status)
}

fn options(context: &Context, matches: &Matches) -> Result<RestoreOptions, Failure> {
    let text = |name| {
        matches.value(name).map(|value| value.to_string_lossy().into_owned()).filter(|v| !v.is_empty())
    };
    Ok(RestoreOptions {
        id: matches.id()?.to_owned(),
        bundle: matches.path("bundle")?.unwrap_or_default(),
        console_socket: console_socket(matches)?,
        systemd_cgroup: context.systemd_cgroup,
        rootless_cgroups: context.rootless_cgroups,
        criu: settings(matches)?,
        lsm_profile: text("lsm-profile"),
        lsm_mount_context: text("lsm-mount-context"),
        ..RestoreOptions::default()
    })
}
