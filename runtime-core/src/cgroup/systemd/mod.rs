//! systemd as the keeper of the hierarchies: a container is a scope, asked for over D-Bus.
//!
//! 1. [`find`] looks where the manager is (the system's, or an ordinary user's own), and where its groups are.
//! 2. [`place`] works out, purely, the unit of a container and its groups: a [`super::Placement`] with a [`Unit`].
//! 3. [`properties`] and [`device_properties`] say, purely, what the unit is asked to be.
//! 4. The caller records the placement, and only then
//! 5. [`super::Placement::start_unit`] starts the unit with the process in it, [`super::Placement::set_unit`] changes it, and
//!    [`super::Placement::remove`] stops it.
//!
//! The client is ours: a connection of one's own to a manager costs 3 messages for a container, and the crates there are bring
//! a runtime for asynchronous programs.  What is counted in `docs/cgroups.md` is counted by `bus`.

mod annotations;
mod bus;
mod device_rules;
mod manager;
mod message;
mod names;
mod properties;
mod unit;
mod value;
mod variant;

pub use bus::Address;
pub use device_rules::device_properties;
pub use manager::{Manager, Systemd, find};
pub use unit::{Unit, place, properties};
pub use value::Value;
