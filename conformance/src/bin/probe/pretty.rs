//! The report for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::parse::CAPABILITIES;

/// Columns of the text beside the headings.
const WIDTH: usize = 88;
const INDENT: usize = 16;

/// Text put together section by section: a heading at the left, lines beside it.
struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn section<S: AsRef<str>>(&mut self, heading: &str, lines: impl IntoIterator<Item = S>) {
        let mut label = heading;
        for line in lines {
            let line = line.as_ref();
            let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            let pad = INDENT.saturating_sub(label.chars().count() + 2);
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "  {on}{label}{off}{:pad$}{line}", "");
            label = "";
        }
    }
}

/// Words joined by blanks into lines of at most [`WIDTH`] columns.
fn wrap<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let word = word.as_ref();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A JSON value as bare text.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().map(|items| items.iter().map(bare).collect()).unwrap_or_default()
}

fn yes_no(value: &Value) -> &'static str {
    if value.as_bool() == Some(true) { "yes" } else { "no" }
}

/// Rows as aligned columns; the last column is not padded.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(at, cell)| {
                let pad = if at + 1 == row.len() { 0 } else { widths[at] };
                format!("{cell:pad$}")
            });
            cells.collect::<Vec<_>>().join("  ")
        })
        .collect()
}

fn identity(value: &Value) -> Vec<String> {
    let id = &value["identity"];
    let effective = |key: &str| bare(&id[key][1]);
    let groups = words(&id["groups"]).join(",");
    let map = |key: &str| {
        let rows = id[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |row: &Value| format!("{}→{}×{}", row[0], row[1], row[2]);
        rows.iter().map(row).collect::<Vec<_>>().join(" ")
    };
    let umask = id["umask"].as_u64().unwrap_or(0);
    vec![
        format!(
            "uid {}  gid {}  groups {}  umask {umask:04o}",
            effective("uid"),
            effective("gid"),
            if groups.is_empty() { "none" } else { &groups }
        ),
        format!("uid map {}  gid map {}", map("uid_map"), map("gid_map")),
    ]
}

fn short(capability: &str) -> &str {
    capability.trim_start_matches("CAP_")
}

/// A large capability set said by what it lacks.
fn all_but(names: &[String]) -> Vec<&str> {
    let missing: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|known| !names.iter().any(|name| name == *known))
        .map(|name| short(name))
        .collect();
    if missing.is_empty() { vec!["all"] } else { ["all", "but"].into_iter().chain(missing).collect() }
}

/// One line for each distinct capability set, naming the sets that are equal.
fn capabilities(value: &Value) -> Vec<String> {
    let mut by_content: BTreeMap<String, (Vec<&str>, Vec<String>)> = BTreeMap::new();
    for set in ["effective", "permitted", "inheritable", "bounding", "ambient"] {
        let content = &value["capabilities"][set];
        let entry = by_content.entry(bare(&content["hex"])).or_default();
        entry.0.push(set);
        entry.1 =
            words(&content["names"]).iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
    }
    let mut lines = Vec::new();
    for (hex, (sets, names)) in by_content.iter().rev() {
        lines.push(format!("{} ({hex})", sets.join(", ")));
        let shown = match names.len() {
            0 => vec!["none".to_owned()],
            count if count > CAPABILITIES.len() / 2 => wrap(all_but(names)),
            _ => wrap(names.iter().map(|name| short(name))),
        };
        lines.extend(shown.iter().map(|line| format!("  {line}")));
    }
    lines
}

fn limits(value: &Value) -> Vec<String> {
    let short = |limit: &Value| bare(limit).replace("unlimited", "∞");
    let Some(limits) = value["limits"].as_object() else { return Vec::new() };
    wrap(limits.iter().map(|(name, limit)| {
        format!("{}={}/{}", name.trim_start_matches("RLIMIT_"), short(&limit["soft"]), short(&limit["hard"]))
    }))
}

fn mounts(value: &Value) -> Vec<String> {
    let Some(mounts) = value["mounts"].as_array() else { return Vec::new() };
    let row = |mount: &Value| {
        let propagation: String =
            words(&mount["propagation"]).iter().map(|word| format!(" {word}")).collect();
        vec![
            bare(&mount["destination"]),
            bare(&mount["type"]),
            format!("{}{propagation}", words(&mount["options"]).join(",")),
        ]
    };
    table(&mounts.iter().map(row).collect::<Vec<_>>())
}

fn devices(value: &Value) -> Vec<String> {
    let Some(devices) = value["devices"].as_array() else { return Vec::new() };
    wrap(devices.iter().map(|device| {
        let name = bare(&device["path"]).trim_start_matches("/dev/").to_owned();
        match device["type"].as_str() {
            Some(kind @ ("c" | "b")) => format!("{name}({kind} {}:{})", device["major"], device["minor"]),
            Some("l") => format!("{name}→{}", bare(&device["target"])),
            _ => format!("{name}/"),
        }
    }))
}

fn security(value: &Value) -> String {
    let security = &value["security"];
    let seccomp = ["off", "strict", "filter"];
    let mode = usize::try_from(security["seccomp_mode"].as_u64().unwrap_or(0)).unwrap_or(0);
    format!(
        "no_new_privs {}  seccomp {}  root file system {}  label {}",
        yes_no(&security["no_new_privs"]),
        seccomp.get(mode).unwrap_or(&"?"),
        if value["root_readonly"] == true { "read-only" } else { "writable" },
        match bare(&security["label"]) {
            label if label.is_empty() => "none".to_owned(),
            label => label,
        },
    )
}

fn schedule(value: &Value) -> String {
    let schedule = &value["schedule"];
    let attr = &schedule["scheduler"];
    format!(
        "{} nice {}  oom_score_adj {}  cpus {}  I/O class {} level {}",
        bare(&attr["policy"]),
        attr["nice"],
        schedule["oom_score_adj"],
        words(&schedule["affinity"]).join(","),
        schedule["ioprio"]["class"],
        schedule["ioprio"]["level"],
    )
}

/// The report as text of aligned sections.
pub fn render(value: &Value) -> String {
    let colour = value["terminal"]["stdout"]["isatty"] == true && std::env::var_os("NO_COLOR").is_none();
    let mut page = Page { text: String::new(), colour };
    let namespaces = value["namespaces"].as_object().map(|map| {
        wrap(map.iter().map(|(name, link)| {
            let digits: String = bare(link).chars().filter(char::is_ascii_digit).collect();
            format!("{name}:{}", if digits.is_empty() { "-" } else { &digits })
        }))
    });
    let environment =
        value["env"].as_object().map(|map| wrap(map.iter().map(|(k, v)| format!("{k}={}", bare(v)))));
    let descriptors = value["descriptors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let host = match value["domainname"].as_str() {
        Some("" | "(none)") | None => bare(&value["hostname"]),
        Some(domain) => format!("{}  domain {domain}", bare(&value["hostname"])),
    };
    page.section("host name", [host]);
    page.section(
        "process",
        [format!(
            "pid {}  parent {}  cwd {}  pid 1 is {}",
            value["identity"]["pid"],
            value["identity"]["ppid"],
            bare(&value["cwd"]),
            words(&value["pid1"]["argv"]).join(" ")
        )],
    );
    page.section("identity", identity(value));
    page.section("security", [security(value)]);
    page.section("capabilities", capabilities(value));
    page.section("scheduling", [schedule(value)]);
    page.section("limits", limits(value));
    page.section("namespaces", namespaces.unwrap_or_default());
    page.section("cgroup", wrap(words(&value["cgroup"])));
    page.section("network", wrap(words(&value["network_devices"])));
    page.section("environment", environment.unwrap_or_default());
    page.section(
        "descriptors",
        wrap(descriptors.iter().map(|fd| format!("{}:{}", fd["fd"], bare(&fd["target"])))),
    );
    page.section("mounts", mounts(value));
    page.section("devices", devices(value));
    page.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_align() {
        let rows =
            vec![vec!["a".into(), "b".into(), "c".into()], vec!["long".into(), "x".into(), "y".into()]];
        assert_eq!(table(&rows), ["a     b  c", "long  x  y"]);
    }

    #[test]
    fn lines_wrap_between_words() {
        let word = "x".repeat(WIDTH / 2);
        assert_eq!(wrap([&word, &word, &word]).len(), 3);
        assert_eq!(wrap(["a", "b"]), ["a b"]);
    }

    #[test]
    fn equal_capability_sets_share_a_line() {
        let set = |hex: &str, names: &[&str]| json!({"hex": hex, "names": names});
        let value = json!({"capabilities": {
            "effective": set("20", &["CAP_KILL"]), "permitted": set("20", &["CAP_KILL"]),
            "inheritable": set("00", &[]), "bounding": set("20", &["CAP_KILL"]), "ambient": set("00", &[]),
        }});
        assert_eq!(
            capabilities(&value),
            ["effective, permitted, bounding (20)", "  KILL", "inheritable, ambient (00)", "  none"]
        );
    }
}
