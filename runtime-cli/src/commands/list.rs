//! `orlop list`.

use std::collections::HashMap;

use orlop_core::ContainerState;

use super::Context;
use super::state::Shown;
use crate::args::Matches;
use crate::failure::Failure;
use crate::output;

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

/// User names by id, of a passwd file.
struct Owners<'a> {
    names: HashMap<u32, &'a str>,
}

impl<'a> Owners<'a> {
    fn new(passwd: &'a str) -> Self {
        let mut names = HashMap::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(_), Some(Ok(id))) =
                (fields.next(), fields.next(), fields.next().map(str::parse))
            {
                // The first line of an id is its name, as for getpwuid(3).
                names.entry(id).or_insert(name);
            }
        }
        Self { names }
    }

    /// The name, or the id behind a `#` where it has none.
    fn name(&self, id: u32) -> String {
        self.names.get(&id).map_or_else(|| format!("#{id}"), |name| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_have_the_name_of_the_first_line() {
        let owners =
            Owners::new("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:\n\nbad\nx:y:zz:\nann:x:1000:1000:::\n");
        assert_eq!(owners.name(0), "root");
        assert_eq!(owners.name(1000), "ann");
        assert_eq!(owners.name(7), "#7");
    }
}
