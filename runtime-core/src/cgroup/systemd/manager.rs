//! Which manager there is to ask.

use std::path::{Path, PathBuf};

use super::bus::{Address, listener};
use crate::cgroup::layout::OwnCgroups;

/// systemd makes it when it is the host's first process, and nobody else does.
const BOOTED: &str = "/run/systemd/system";
const SYSTEM_SOCKET: &str = "/run/systemd/private";
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// A manager of units: the system's, or a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Where it is spoken to.
    pub address: Address,
    /// It is an ordinary user's own.
    pub user: bool,
    /// The groups it and its units are in, in the form of `/proc/PID/cgroup`.
    pub own: OwnCgroups,
}

impl Manager {
    /// The slice of a container that names none.
    #[must_use]
    pub fn default_slice(&self) -> &'static str {
        if self.user { "user.slice" } else { "system.slice" }
    }
}

/// Whether a manager is to be asked, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Systemd {
    /// `--systemd-cgroup` is not given.
    #[default]
    NotAsked,
    /// It is given, and there is no manager, for this reason.
    Absent(String),
    /// This one.
    Found(Manager),
}

/// Looks for the manager: root's is the system's, an ordinary user's is that user's own.
#[must_use]
pub fn find(user: bool) -> Systemd {
    if !Path::new(BOOTED).is_dir() {
        return Systemd::Absent(format!("systemd does not run here: there is no {BOOTED}"));
    }
    let found = if user { of_user() } else { of_system() };
    found.map_or_else(Systemd::Absent, Systemd::Found)
}

fn of_system() -> Result<Manager, String> {
    let direct = Path::new(SYSTEM_SOCKET);
    let address = if direct.exists() {
        Address::Direct(direct.to_owned())
    } else {
        Address::Bus(PathBuf::from(SYSTEM_BUS))
    };
    Ok(Manager { address, user: false, own: above(1, |path| path.strip_suffix("/init.scope"))? })
}

fn of_user() -> Result<Manager, String> {
    let address = user_address(|name| std::env::var(name).ok())?;
    // Who listens there is the manager itself, or a bus that is a unit of its.
    let peer = listener(&address).map_err(|e| e.to_string())?;
    Ok(Manager { address, user: true, own: above(peer, group_of_manager)? })
}

/// The user manager's socket; a bus only if that is not there, or another one is asked for.
fn user_address(variable: impl Fn(&str) -> Option<String>) -> Result<Address, String> {
    let given = variable("DBUS_SESSION_BUS_ADDRESS");
    let given =
        given.as_deref().and_then(|text| text.split(';').find_map(|one| one.strip_prefix("unix:path=")));
    let bus = given.map(|path| PathBuf::from(path.split(',').next().unwrap_or(path)));
    let directory = variable("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    // The bus of a user lies beside the manager's directory; XDG_RUNTIME_DIR may have been changed for the runtime alone.
    let directories =
        [bus.as_deref().and_then(Path::parent).map(Path::to_owned), directory.map(PathBuf::from)];
    for directory in directories.iter().flatten() {
        let direct = directory.join("systemd/private");
        if direct.exists() {
            return Ok(Address::Direct(direct));
        }
    }
    let bus = bus.or_else(|| directories.into_iter().flatten().map(|directory| directory.join("bus")).next());
    bus.map(Address::Bus).ok_or_else(|| {
        "no manager of this user's is known: neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS is set"
            .to_owned()
    })
}

/// The groups of a process, each cut down to the manager's.
fn above(pid: i32, cut: impl Fn(&str) -> Option<&str>) -> Result<OwnCgroups, String> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("read {path}: {e}"))?;
    let mut own = OwnCgroups::parse(&text);
    let named = own.v1_path("name=systemd").or(own.v2.as_deref()).unwrap_or_default().to_owned();
    // Hierarchies that a manager does not delegate have its processes further up: its units have the same paths there.
    let root = cut(&named).unwrap_or(&named).to_owned();
    let root = if root.is_empty() { "/".to_owned() } else { root };
    own.v1.iter_mut().for_each(|(_, path)| path.clone_from(&root));
    own.v2 = own.v2.map(|_| root);
    Ok(own)
}

/// `/user.slice/user-1000.slice/user@1000.service`, of a path that is in it.
fn group_of_manager(path: &str) -> Option<&str> {
    let start = path.find("/user@")?;
    let end = path.get(start + 1..)?.find('/').map_or(path.len(), |at| start + 1 + at);
    path.get(..end).filter(|group| group.ends_with(".service")).or_else(|| path.strip_suffix("/init.scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_own_group() {
        let user = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(group_of_manager(&format!("{user}/init.scope")), Some(user));
        assert_eq!(group_of_manager(&format!("{user}/session.slice/dbus.service")), Some(user));
        assert_eq!(group_of_manager(user), Some(user));
        assert_eq!(group_of_manager("/docker/abc/init.scope"), None);
    }

    #[test]
    fn addresses_of_a_user() {
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        assert!(user_address(set(&[])).is_err());
        assert!(user_address(set(&[("XDG_RUNTIME_DIR", "")])).is_err());
        let bus = |path: &str| Ok(Address::Bus(path.into()));
        assert_eq!(user_address(set(&[("XDG_RUNTIME_DIR", "/no/where")])), bus("/no/where/bus"));
        let of_bus = &[("DBUS_SESSION_BUS_ADDRESS", "unix:abstract=a;unix:path=/no/b,guid=7")];
        assert_eq!(user_address(set(of_bus)), bus("/no/b"));
    }
}
