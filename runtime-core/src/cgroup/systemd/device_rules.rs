//! Device rules as properties of a unit.
//!
//! On version 1 systemd writes its own idea of them over ours, whenever a property of the unit changes; on version 2 it adds a program
//! of its own, and what both permit is permitted.  So it must be told all or nothing.

use super::value::Value;
use crate::cgroup::devices::{DeviceLists, DeviceRule, ListedDevice};

/// The properties that mean the same as these rules; `None` where systemd cannot say it: it knows no exceptions to "all", and no
/// minor number of every major one.
///
/// They are those of systemd 240 and later, which takes numbers without asking whether there is such a device.
#[must_use]
pub fn device_properties(rules: &[DeviceRule]) -> Option<Vec<(String, Value)>> {
    let lists = DeviceLists::new(rules).ok()?;
    if lists.permits_all() {
        return Some(Vec::new());
    }
    let entries: Option<Vec<Value>> = lists.permitted()?.iter().map(entry).collect();
    Some(vec![
        ("DevicePolicy".to_owned(), Value::text("strict")),
        ("DeviceAllow".to_owned(), Value::Array("(ss)".to_owned(), entries?)),
    ])
}

fn entry(listed: &ListedDevice) -> Option<Value> {
    let kind = if listed.block { "block" } else { "char" };
    let device = match (listed.major, listed.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (None, Some(_)) => return None,
    };
    Some(Value::Struct(vec![Value::Text(device), Value::Text(listed.access.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Access, DEFAULT_DEVICES, DeviceKind};

    fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: Access::ALL }
    }

    fn said(rules: &[DeviceRule]) -> Option<String> {
        let properties = device_properties(rules)?;
        let words = properties.iter().map(|(name, value)| format!("{name}={value}"));
        Some(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_permitted_is_listed() {
        let none = rule(false, DeviceKind::All, None, None);
        let disks = rule(true, DeviceKind::Block, Some(8), None);
        let rules = [&[none, disks], DEFAULT_DEVICES].concat();
        assert_eq!(
            said(&rules).unwrap(),
            "DevicePolicy='strict' DeviceAllow=[('block-8', 'rwm'), ('char-*', 'm'), ('block-*', 'm'), \
             ('/dev/char/1:3', 'rwm'), ('/dev/char/1:5', 'rwm'), ('/dev/char/1:7', 'rwm'), \
             ('/dev/char/1:8', 'rwm'), ('/dev/char/1:9', 'rwm'), ('/dev/char/5:0', 'rwm'), \
             ('/dev/char/5:2', 'rwm'), ('char-136', 'rwm')]"
        );
    }

    #[test]
    fn all_or_nothing() {
        let all = rule(true, DeviceKind::All, None, None);
        assert_eq!(said(&[all]).unwrap(), "");
        assert_eq!(
            said(&[rule(false, DeviceKind::All, None, None)]).unwrap(),
            "DevicePolicy='strict' DeviceAllow=@a(ss) []"
        );
        let but = rule(false, DeviceKind::Char, Some(1), Some(3));
        assert_eq!(said(&[all, but]), None);
        assert_eq!(said(&[rule(true, DeviceKind::Char, None, Some(3))]), None);
        // Nor what version 1 cannot say.
        assert_eq!(said(&[rule(true, DeviceKind::Char, Some(1), None), but]), None);
    }
}
