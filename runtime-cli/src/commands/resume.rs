//! `orlop resume`.

use super::Context;
use crate::args::Matches;
use crate::failure::Failure;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    Ok(context.runtime()?.open(matches.id()?)?.resume()?)
}
