//! `orlop create`.

use super::Context;
use super::launch::{Launch, prepare_relay, withdraw};
use crate::args::Matches;
use crate::failure::Failure;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    create(context, matches).map_err(|failure| context.failed("create", failure))
}

fn create(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let runtime = context.runtime()?;
    let mut launch = Launch::new(context, &runtime, matches)?;
    launch.has_terminal(context, true)?;
    prepare_relay(&mut launch.relay)?;
    let created = runtime.create(launch.options);
    launch.told.write_trace();
    let container = created.inspect_err(|_| withdraw(launch.relay.as_ref()))?;
    let told =
        container.pidfd().map_err(Failure::from).and_then(|pidfd| launch.told.tell(container.pid(), pidfd));
    if told.is_err() {
        // Who asked for the container cannot find it: it must not stay.
        container.delete(true)?;
        withdraw(launch.relay.as_ref());
    }
    told
}
