//! Loading: the bytes of `config.json` become a validated [`Spec`].
//!
//! Every fault is reported at once, each with its JSON path, so that a user mends a config in one go.
//! Nothing here looks at the host: a rule that needs a file, the kernel or our own ids belongs to the plan.
//!
//! Two guarantees make the rest of the engine simpler:
//!
//! - An optional string of the spec is either absent or not empty, for the ones `normalise` lists: engines
//!   written in Go write `""` for "not set".
//! - A capability set holds only what the kernel would grant beside the other sets; what cannot be granted
//!   was warned about and dropped (config.md asks for a warning, not for a failure).

mod example;
mod fault;
mod lists;
mod load;
mod normalise;
mod presence;
mod repair;
mod resources;
mod sysctl;
mod tree;
mod validate;
mod words;

pub use example::{Example, example};
pub use fault::{Fault, SpecError};
pub(crate) use fault::{Report, member};
pub use lists::{MAX_CPU, MAX_NODE, parse_list};
pub use load::{MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, check_process, load, load_file, load_process};
pub use resources::{LoadedResources, check_resources, load_resources};
pub use sysctl::{SysctlOwner, sysctl_owner, sysctl_path};

use oci_spec::runtime::Spec;
use std::collections::BTreeMap;

/// A config.json that passed every check.
#[derive(Debug)]
pub struct Loaded {
    /// The config itself.
    pub spec: Spec,
    /// What is accepted but will not do what its author may think, each line beginning with a JSON path.
    pub warnings: Vec<String>,
    /// What the spec allows and the types of `oci-spec` cannot hold.
    pub extras: Extras,
}

/// What runtime-spec 1.3 allows and the types of `oci-spec` 0.10 cannot hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extras {
    /// `linux.resources.hugepageLimits[INDEX].limit` above `i64::MAX`, which the spec types as uint64.
    /// The entry in [`Loaded::spec`] holds `i64::MAX`.
    pub hugepage_limits: BTreeMap<usize, u64>,
}
