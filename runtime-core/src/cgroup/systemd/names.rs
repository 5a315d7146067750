//! The names of units, and where systemd puts their groups.

/// What the default unit of a container is called: `orlop-ID.scope`.
const PREFIX: &str = "orlop";
/// The longest name of a unit.
const LONGEST: usize = 255;
/// The longest name of a directory.
const LONGEST_FILE: usize = 255;

/// The names that `linux.cgroupsPath` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The slice that the unit is in.
    pub(super) slice: String,
    /// The unit.
    pub(super) unit: String,
}

/// Reads `slice:prefix:name`.
///
/// Each part may be empty: the slice is then `default_slice`, and without a name, which is the container's id as a rule,
/// the id is used.  Without a prefix the unit is `name.scope`, else `prefix-name.scope`.
pub(super) fn parse(given: Option<&str>, id: &str, default_slice: &str) -> Result<Names, String> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        let unit = format!("{PREFIX}-{}.scope", escape(id));
        check_unit(&unit)?;
        return Ok(Names { slice: default_slice.to_owned(), unit });
    };
    let [slice, prefix, name] = text.split(':').collect::<Vec<_>>()[..] else {
        return Err("systemd wants it in the form slice:prefix:name".to_owned());
    };
    let slice = if slice.is_empty() { default_slice } else { slice };
    let escaped = escape(id);
    let name = if name.is_empty() { &escaped } else { name };
    if ends_as_unit(name) {
        return Err(format!(
            "the unit {name:?} would be another kind of unit than a scope: leave out the ending"
        ));
    }
    let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
    check_slice(slice)?;
    check_unit(&unit)?;
    Ok(Names { slice: slice.to_owned(), unit })
}

/// The characters that an id may have and the name of a unit may not, as systemd escapes them.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b")
}

fn ends_as_unit(name: &str) -> bool {
    const KINDS: [&str; 10] = [
        ".service",
        ".socket",
        ".device",
        ".mount",
        ".automount",
        ".swap",
        ".target",
        ".path",
        ".timer",
        ".slice",
    ];
    KINDS.iter().any(|kind| name.ends_with(kind))
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, ':' | '-' | '_' | '.' | '\\')
}

fn check_letters(name: &str, what: &str) -> Result<(), String> {
    match name.chars().find(|letter| !is_name_letter(*letter)) {
        Some(letter) => Err(format!("{what} {name:?} cannot have {letter:?} in its name")),
        None => Ok(()),
    }
}

fn check_unit(unit: &str) -> Result<(), String> {
    check_letters(unit, "the unit")?;
    // The group's directory may have one character more.
    if unit.len() > LONGEST.min(LONGEST_FILE - 1) {
        return Err(format!("the unit {unit:?} has a name of more than {} characters", LONGEST - 1));
    }
    Ok(())
}

/// A slice's name is its place: `a-b.slice` is in `a.slice`.
fn check_slice(slice: &str) -> Result<(), String> {
    check_letters(slice, "the slice")?;
    let Some(stem) = slice.strip_suffix(".slice") else {
        return Err(format!("{slice:?} is no slice: its name must end in .slice"));
    };
    if slice.len() > LONGEST {
        return Err(format!("the slice {slice:?} has a name of more than {LONGEST} characters"));
    }
    if stem != "-" && stem.split('-').any(str::is_empty) {
        return Err(format!("the slice {slice:?} has an empty name between dashes, or none at all"));
    }
    Ok(())
}

/// The directories of a slice, topmost first, below the manager's own group.
fn slice_directories(slice: &str) -> Vec<String> {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    if stem == "-" {
        return Vec::new();
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    ends.filter_map(|end| stem.get(..end)).map(|upper| escape_directory(&format!("{upper}.slice"))).collect()
}

/// The unit's group, below the manager's own, in parts.
pub(super) fn directories(names: &Names) -> Vec<String> {
    let mut parts = slice_directories(&names.slice);
    parts.push(escape_directory(&names.unit));
    parts
}

/// The directory for a name: one that the kernel could take for a file of its own gets an underscore before it.
fn escape_directory(name: &str) -> String {
    const CONTROLLERS: [&str; 11] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "io",
        "blkio",
        "memory",
        "devices",
        "pids",
        "bpf-firewall",
        "bpf-devices",
        "cgroup",
    ];
    let first = name.split_once('.').map_or("", |(first, _)| first);
    if name.starts_with(['_', '.']) || CONTROLLERS.contains(&first) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: Option<&str>, id: &str) -> Result<(String, String), String> {
        let names = parse(given, id, "system.slice")?;
        Ok((names.slice.clone(), directories(&names).join("/")))
    }

    #[test]
    fn paths_and_their_groups() {
        for (given, id, slice, path) in [
            (None, "web", "system.slice", "system.slice/orlop-web.scope"),
            (Some(""), "a+b", "system.slice", "system.slice/orlop-a\\x2bb.scope"),
            (Some("::"), "web", "system.slice", "system.slice/web.scope"),
            (Some(":docker:x"), "web", "system.slice", "system.slice/docker-x.scope"),
            (Some("a.slice::x"), "web", "a.slice", "a.slice/x.scope"),
            (Some("a-b-c.slice:p:"), "web", "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/p-web.scope"),
            (Some("-.slice:p:x"), "web", "-.slice", "p-x.scope"),
            (Some("a.slice:p-q:x-y"), "web", "a.slice", "a.slice/p-q-x-y.scope"),
            (Some("memory.slice::_x"), "web", "memory.slice", "_memory.slice/__x.scope"),
            (Some("a.slice::x.scope"), "web", "a.slice", "a.slice/x.scope.scope"),
            (Some("a.slice::cpu"), "web", "a.slice", "a.slice/_cpu.scope"),
        ] {
            assert_eq!(names(given, id), Ok((slice.to_owned(), path.to_owned())), "{given:?}");
        }
    }

    #[test]
    fn tricks_are_refused() {
        let long = "x".repeat(300);
        for (given, why) in [
            ("/a/b", "slice:prefix:name"),
            ("a.slice:x", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a:b:c", "must end in .slice"),
            ("../a.slice:b:c", "cannot have '/'"),
            ("a.slice:../b:c", "cannot have '/'"),
            ("a.slice:b:../c", "cannot have '/'"),
            ("a.slice:b:c/d", "cannot have '/'"),
            (".slice:b:c", "empty name"),
            ("-a.slice:b:c", "empty name"),
            ("a-.slice:b:c", "empty name"),
            ("a--b.slice:b:c", "empty name"),
            ("a.slice:b:c@", "cannot have '@'"),
            ("a b.slice:b:c", "cannot have ' '"),
            ("a.slice:b:c\n", "cannot have '\\n'"),
            ("a.slice:b:é", "cannot have 'é'"),
            ("a.slice:b:c.slice", "another kind of unit"),
            ("a.slice:b:c.service", "another kind of unit"),
            (&format!("a.slice:b:{long}"), "more than"),
            (&format!("{long}.slice:b:c"), "more than"),
        ] {
            let error = names(Some(given), "web").unwrap_err();
            assert!(error.contains(why), "{given:?}: {error}");
        }
        // An id that is none too long becomes so by what is escaped in it: found by the fuzzer.
        let error = names(None, &"+".repeat(70)).unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }
}
