//! `orlop list`.

use orlop_core::ContainerState;

use super::Context;
use super::state::Shown;
use crate::args::Matches;
use crate::failure::Failure;
use crate::output;
use crate::owners::Owners;

pub fn run(context: &Context, matches: &Matches) -> Result<(), Failure> {
    let format = matches.choice("format", &["table", "json"])?;
    let mut states = Vec::new();
    for state in context.runtime()?.list()? {
        match state {
            Ok(state) => states.push(state),
            Err(error) => log::warn!("{error}"),
        }
    }
    if matches.has("quiet") {
        let ids: String = states.iter().map(|state| format!("{}\n", state.id)).collect();
        return output::print(&ids);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let owners = Owners::new(&passwd);
    match format {
        "json" => output::print(&json(&states, &owners)?),
        _ => output::print(&output::table(&rows(&states, &owners))),
    }
}

fn json(states: &[ContainerState], owners: &Owners<'_>) -> Result<String, Failure> {
    if states.is_empty() {
        // What runc prints, and who reads its lists has learnt to take.
        return Ok("null\n".to_owned());
    }
    let names: Vec<String> = states.iter().map(|state| owners.name(state.owner)).collect();
    let shown: Vec<Shown<'_>> =
        states.iter().zip(&names).map(|(state, name)| Shown::new(state, name)).collect();
    let mut text = serde_json::to_string(&shown)
        .map_err(|error| Failure::new(format!("cannot print the list: {error}")))?;
    text.push('\n');
    Ok(text)
}

fn rows(states: &[ContainerState], owners: &Owners<'_>) -> Vec<Vec<String>> {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
    let row = |state: &ContainerState| {
        vec![
            state.id.clone(),
            state.pid.to_string(),
            state.status.name().to_owned(),
            state.bundle.display().to_string(),
            state.created.clone(),
            owners.name(state.owner),
        ]
    };
    std::iter::once(header).chain(states.iter().map(row)).collect()
}
