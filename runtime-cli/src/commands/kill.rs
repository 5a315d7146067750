//! `orlop kill`.

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;
use crate::signals;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let signal = match matches.operands.get(1) {
        Some(text) => {
            let text = text.to_string_lossy();
            signals::parse(&text).ok_or_else(|| Failure::new(format!("unknown signal \"{text}\"")))?
        }
        None => libc::SIGTERM,
    };
    Ok(context.runtime()?.open(matches.id()?)?.kill(signal, matches.has("all"))?)
}
