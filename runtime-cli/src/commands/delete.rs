//! `orlop delete`.

use orlop_core::{ErrorKind, Runtime};

use super::Context;
use super::launch::forget;
use crate::args::Matches;
use crate::failure::Failure;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let runtime = context.runtime()?;
    let force = matches.has("force");
    let mut first = None;
    for id in &matches.operands {
        let id = id.to_string_lossy();
        // One that cannot be deleted does not keep the others; the first failure ends the command, the rest is told.
        match (delete(&runtime, &id, force), &first) {
            (Ok(()), _) => {}
            (Err(failure), None) => first = Some(failure),
            (Err(failure), Some(_)) => log::error!("{failure}"),
        }
    }
    first.map_or(Ok(()), Err)
}

fn delete(runtime: &Runtime, id: &str, force: bool) -> Result<(), Failure> {
    match runtime.open(id).and_then(|container| container.delete(force)) {
        Ok(()) => forget(runtime.root(), id),
        Err(error) if force && error.kind() == ErrorKind::NotFound => forget(runtime.root(), id),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
