//! What a test is: a name, the place in the specification, what is demanded there, and a function.

use std::fmt;
use std::fs;
use std::path::Path;

use conformance::harness;

use super::trial::Trial;

/// How much the specification asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// MUST, MUST NOT, REQUIRED.
    Must,
    /// SHOULD, SHOULD NOT.
    Should,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        })
    }
}

/// What a test cannot do without.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// To be root.
    Root,
    /// A cgroup controller, on a hierarchy of version 1 or available in version 2.
    Controller(&'static str),
    /// The controller on version 1.
    ControllerV1(&'static str),
    /// The root of a cgroup v2 hierarchy that has controllers.
    Unified,
    /// A namespace of the kernel, as it is called in `/proc/self/ns`.
    Namespace(&'static str),
    /// A program in PATH.
    Program(&'static str),
    /// A file of the host.
    File(&'static str),
    /// That a file of the host is not there.
    NoFile(&'static str),
    /// `mount_setattr(2)`.
    MountSetattr,
}

fn has_controller(name: &str, first: bool) -> bool {
    let groups = harness::Groups::of("self");
    let unified = groups.0.get("").and_then(|path| {
        let root = path.ancestors().filter(|above| above.join("cgroup.controllers").exists()).last()?;
        fs::read_to_string(root.join("cgroup.controllers")).ok()
    });
    groups.is_v1(name) || (!first && unified.is_some_and(|all| all.split_whitespace().any(|one| one == name)))
}

impl Need {
    /// The reason to skip a test that needs it, where it is not there.
    pub fn missing(self) -> Option<String> {
        let (there, reason) = match self {
            Self::Root => (harness::is_root(), "needs root".to_owned()),
            Self::Controller(name) => {
                (has_controller(name, false), format!("needs the cgroup controller {name}"))
            }
            Self::ControllerV1(name) => {
                (has_controller(name, true), format!("needs the controller {name} on cgroup v1"))
            }
            Self::Unified => (
                harness::Groups::of("self").0.contains_key("") && harness::on_v2_alone(),
                "needs cgroup v2 alone".to_owned(),
            ),
            Self::Namespace(name) => (
                Path::new("/proc/self/ns").join(name).exists(),
                format!("needs a kernel with {name} namespaces"),
            ),
            Self::Program(name) => {
                (crate::bench::in_path(name).is_some(), format!("needs the program {name}"))
            }
            Self::File(path) => (Path::new(path).exists(), format!("needs {path}")),
            Self::NoFile(path) => (!Path::new(path).exists(), format!("needs a host without {path}")),
            Self::MountSetattr => (harness::has_mount_setattr(), "needs mount_setattr(2)".to_owned()),
        };
        (!there).then_some(reason)
    }
}

/// One test.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Unique; words joined by hyphens.
    pub name: &'static str,
    /// The file and section of the specification.
    pub section: &'static str,
    /// How much is asked.
    pub level: Level,
    /// What is asked, in our words.
    pub demand: &'static str,
    /// What it needs.
    pub needs: &'static [Need],
    /// Panics when the demand is not met.
    pub run: fn(&mut Trial),
}

/// A test of a MUST.
pub const fn must(
    section: &'static str,
    name: &'static str,
    demand: &'static str,
    run: fn(&mut Trial),
) -> Case {
    Case { name, section, level: Level::Must, demand, needs: &[], run }
}

/// A test of a SHOULD.
pub const fn should(
    section: &'static str,
    name: &'static str,
    demand: &'static str,
    run: fn(&mut Trial),
) -> Case {
    Case { name, section, level: Level::Should, demand, needs: &[], run }
}

impl Case {
    /// The same, which needs something.
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// The last word of its name: what a row of a table of tests is about.
    pub fn word(&self) -> &'static str {
        self.name.rsplit_once('-').map_or(self.name, |(_, word)| word)
    }

    /// The reason not to run it here.
    pub fn missing(&self) -> Option<String> {
        self.needs.iter().find_map(|need| need.missing())
    }
}
