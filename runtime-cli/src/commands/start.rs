//! `orlop start`.

use super::Context;
use super::run::relay_until_ready;
use crate::args::Matches;
use crate::failure::Failure;
use crate::notify::Relay;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let runtime = context.runtime()?;
    let id = matches.id()?;
    let container = runtime.open(id)?;
    // A container that was created without NOTIFY_SOCKET has no directory for the socket either.
    let relay = Relay::wanted(runtime.root(), id).filter(|(relay, _)| relay.is_prepared());
    let Some((relay, manager)) = relay else {
        return Ok(container.start()?);
    };
    let mut notify = relay.listen(&manager)?;
    let pidfd = container.pidfd()?;
    container.start()?;
    relay_until_ready(&mut notify, &pidfd)?;
    if notify.is_ready() {
        notify.announce(container.pid());
    }
    Ok(())
}
