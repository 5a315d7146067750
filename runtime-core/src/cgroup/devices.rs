//! Which devices a container may use: `linux.resources.devices`, as the version 1 controller takes it.
//!
//! The rules of the configuration are read as a list in which the last rule that speaks of a device and a kind of
//! access decides, and what no rule speaks of is denied.  Version 2 runs that list as it is ([`super::device_program`]).
//! Version 1 keeps a default and a set of exceptions to it, which cannot express every list; one that it cannot
//! express is an error.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::bpf::device_program;
use super::error::CgroupError;
use super::files::write_to;
use super::place::{Group, Placement};
use crate::sys;

/// Kinds of access to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access(u8);

impl Access {
    /// To make a node of it.
    pub const MKNOD: Self = Self(1);
    /// To read it.
    pub const READ: Self = Self(2);
    /// To write it.
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Reads `rwm` in any order; `None` for another letter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self(0), |access, letter| match letter {
            'r' => Some(Self(access.0 | Self::READ.0)),
            'w' => Some(Self(access.0 | Self::WRITE.0)),
            'm' => Some(Self(access.0 | Self::MKNOD.0)),
            _ => None,
        })
    }

    /// As the kernel numbers them in `struct bpf_cgroup_dev_ctx`.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    fn text(self) -> String {
        let letters = [('r', Self::READ), ('w', Self::WRITE), ('m', Self::MKNOD)];
        letters.iter().filter(|(_, bit)| self.0 & bit.0 != 0).map(|(letter, _)| letter).collect()
    }
}

/// What sort of device a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Character and block devices.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it permits.
    pub allow: bool,
    /// Which sort of device.
    pub kind: DeviceKind,
    /// The major number; `None` for every one.
    pub major: Option<u32>,
    /// The minor number; `None` for every one.
    pub minor: Option<u32>,
    /// Which kinds of access.
    pub access: Access,
}

const fn permit(major: Option<u32>, minor: Option<u32>, access: Access) -> DeviceRule {
    DeviceRule { allow: true, kind: DeviceKind::Char, major, minor, access }
}

/// The devices that every container may use, to be put after the rules of the configuration: nodes of any device can
/// be made, and `null`, `zero`, `full`, `random`, `urandom`, `tty`, `ptmx` and the pseudo terminals can be used.
pub const DEFAULT_DEVICES: &[DeviceRule] = &[
    permit(None, None, Access::MKNOD),
    DeviceRule { allow: true, kind: DeviceKind::Block, major: None, minor: None, access: Access::MKNOD },
    permit(Some(1), Some(3), Access::ALL),
    permit(Some(1), Some(5), Access::ALL),
    permit(Some(1), Some(7), Access::ALL),
    permit(Some(1), Some(8), Access::ALL),
    permit(Some(1), Some(9), Access::ALL),
    permit(Some(5), Some(0), Access::ALL),
    permit(Some(5), Some(2), Access::ALL),
    permit(Some(136), None, Access::ALL),
];

impl DeviceRule {
    /// Whether it speaks of every device and every access, so that no rule before it counts.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.kind == DeviceKind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == Access::ALL
    }
}

/// One exception to the default, of one sort of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exception {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Exception {
    fn covers(&self, other: &Self) -> bool {
        let within = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.block == other.block && within(self.major, other.major) && within(self.minor, other.minor)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.block == other.block && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    /// The line that the kernel's files take.
    fn line(&self) -> String {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = if self.block { 'b' } else { 'c' };
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), Access(self.access).text())
    }
}

/// A device, or several, and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedDevice {
    /// A block device, else a character device.
    pub(super) block: bool,
    /// The major number; `None` for every one.
    pub(super) major: Option<u32>,
    /// The minor number; `None` for every one.
    pub(super) minor: Option<u32>,
    /// Of the letters `rwm`.
    pub(super) access: String,
}

/// A list of rules in the form of version 1: a default and exceptions to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceLists {
    allow_by_default: bool,
    exceptions: Vec<Exception>,
}

impl DeviceLists {
    /// Brings a list of rules into this form.
    ///
    /// # Errors
    /// [`CgroupError::DeviceRule`] for a rule that takes back a part of an earlier one, which version 1 cannot express.
    pub fn new(rules: &[DeviceRule]) -> Result<Self, CgroupError> {
        let mut lists = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            lists.apply(rule).map_err(|reason| CgroupError::DeviceRule { index, reason })?;
        }
        lists.widen();
        Ok(lists)
    }

    /// Whether all is permitted.
    #[must_use]
    pub fn permits_all(&self) -> bool {
        self.allow_by_default && self.exceptions.is_empty()
    }

    /// What is permitted, where all else is denied; `None` where it is the other way round.
    #[must_use]
    pub(super) fn permitted(&self) -> Option<Vec<ListedDevice>> {
        let listed = |e: &Exception| ListedDevice {
            block: e.block,
            major: e.major,
            minor: e.minor,
            access: Access(e.access).text(),
        };
        (!self.allow_by_default).then(|| self.exceptions.iter().map(listed).collect())
    }

    /// The exceptions as the kernel's files take them, one a line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.exceptions.iter().map(Exception::line).collect()
    }

    fn apply(&mut self, rule: &DeviceRule) -> Result<(), String> {
        if rule.is_total() {
            *self = Self { allow_by_default: rule.allow, exceptions: Vec::new() };
            return Ok(());
        }
        let kinds: &[bool] = match rule.kind {
            DeviceKind::All => &[false, true],
            DeviceKind::Char => &[false],
            DeviceKind::Block => &[true],
        };
        for &block in kinds {
            let spoken =
                Exception { block, major: rule.major, minor: rule.minor, access: rule.access.bits() };
            if rule.allow == self.allow_by_default {
                self.take_back(&spoken)?;
            } else {
                self.add(spoken);
            }
        }
        Ok(())
    }

    fn add(&mut self, new: Exception) {
        let same = |old: &&mut Exception| old.covers(&new) && new.covers(old);
        match self.exceptions.iter_mut().find(same) {
            Some(old) => old.access |= new.access,
            None if new.access != 0 => self.exceptions.push(new),
            None => {}
        }
    }

    fn take_back(&mut self, what: &Exception) -> Result<(), String> {
        let in_part =
            |old: &&Exception| old.overlaps(what) && !what.covers(old) && old.access & what.access != 0;
        if let Some(old) = self.exceptions.iter().find(in_part) {
            return Err(format!(
                "{:?} takes back a part of {:?}, which the devices controller of cgroup v1 cannot express",
                what.line(),
                old.line()
            ));
        }
        for old in self.exceptions.iter_mut().filter(|old| what.covers(old)) {
            old.access &= !what.access;
        }
        self.exceptions.retain(|old| old.access != 0);
        Ok(())
    }

    /// Gives each permission what wider ones permit too: the kernel wants one entry that permits all that an open(2)
    /// asks for.
    fn widen(&mut self) {
        if self.allow_by_default {
            return;
        }
        let before = self.exceptions.clone();
        for exception in &mut self.exceptions {
            let narrow = *exception;
            for wider in before.iter().filter(|wider| wider.covers(&narrow)) {
                exception.access |= wider.access;
            }
        }
    }

    fn write(&self, dir: &Path) -> Result<(), CgroupError> {
        let (default, other) = if self.allow_by_default {
            ("devices.allow", "devices.deny")
        } else {
            ("devices.deny", "devices.allow")
        };
        write_lines(dir, default, &["a".to_owned()])?;
        if self.exceptions.is_empty() { Ok(()) } else { write_lines(dir, other, &self.lines()) }
    }
}

fn write_lines(dir: &Path, name: &str, lines: &[String]) -> Result<(), CgroupError> {
    let path = dir.join(name);
    let file: File = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|e| CgroupError::io("open", &path, e))?
        .into();
    lines.iter().try_for_each(|line| {
        write_to(&file, line.as_bytes()).map_err(|errno| {
            let hint = match errno {
                Errno::EPERM => " (a group above denies it, or we lack CAP_SYS_ADMIN)",
                Errno::EINVAL => " (there are groups below this one already)",
                _ => "",
            };
            CgroupError::hinted(format!("write {line:?} to"), &path, errno, hint)
        })
    })
}

impl Placement {
    /// Permits the container the devices that `rules` permit, and no other.  It starts from nothing: the caller puts
    /// [`DEFAULT_DEVICES`] after the rules of the configuration.
    ///
    /// An ordinary user's groups are left as they are: that user can make no device nodes, and opens with no more
    /// rights than its own.
    ///
    /// # Errors
    /// [`CgroupError::DeviceRule`], [`CgroupError::Io`]; [`CgroupError::Controller`] where there is no hierarchy that
    /// enforces them, for without them the container could open every disk.
    pub fn apply_devices(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        if self.rootless {
            return Ok(());
        }
        if let Some(group) = self.v1("devices") {
            return DeviceLists::new(rules)?.write(&group.path);
        }
        if let Some(group) = self.v2() {
            return attach_program(group, rules);
        }
        let reason = "no hierarchy with it is mounted";
        Err(CgroupError::Controller {
            config_path: "linux.resources.devices".to_owned(),
            controller: "devices".to_owned(),
            reason: reason.to_owned(),
        })
    }
}

/// Loads the rules as a BPF program and lets it decide over the group, beside what programs of others decide.
fn attach_program(group: &Group, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    const ALLOW_MULTI: u32 = 2;
    let failed = |action: &'static str, e: sys::SysError| {
        CgroupError::io(action, &group.path, Errno::from_raw(e.errno))
    };
    let directory = File::open(&group.path)
        .map_err(|e| CgroupError::io("open", &group.path, Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
    let program = sys::bpf_load_device_program(&device_program(rules))
        .map_err(|e| failed("load the device program for", e))?;
    let directory = sys::Fd::from(directory.as_fd());
    sys::bpf_attach_device_program(directory, sys::Fd::from(&program), ALLOW_MULTI)
        .map_err(|e| failed("attach the device program to", e))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The meaning of a list of rules, for one kind of access: what no list is allowed to differ from.
    pub fn permitted(rules: &[DeviceRule], block: bool, major: u32, minor: u32, access: Access) -> bool {
        let speaks = |rule: &&DeviceRule| {
            let kind = match rule.kind {
                DeviceKind::All => true,
                DeviceKind::Char => !block,
                DeviceKind::Block => block,
            };
            kind && rule.major.is_none_or(|m| m == major)
                && rule.minor.is_none_or(|m| m == minor)
                && rule.access.bits() & access.bits() != 0
        };
        rules.iter().rev().find(speaks).is_some_and(|rule| rule.allow)
    }

    /// Lists of rules over few numbers, so that they meet often.
    pub fn some_rules(seed: u64) -> Vec<DeviceRule> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) % below
        };
        let number = |n: u64| if n == 0 { None } else { u32::try_from(n).ok() };
        (0..=next(6))
            .map(|_| DeviceRule {
                allow: next(2) == 1,
                kind: [DeviceKind::All, DeviceKind::Char, DeviceKind::Block]
                    [usize::try_from(next(3)).unwrap()],
                major: number(next(3)),
                minor: number(next(3)),
                access: Access(u8::try_from(next(8)).unwrap()),
            })
            .collect()
    }

    /// As the kernel's controller decides about one request, which may ask for several kinds of access at once.
    fn kernel(lists: &DeviceLists, block: bool, major: u32, minor: u32, access: u8) -> bool {
        let one = Exception { block, major: Some(major), minor: Some(minor), access };
        if lists.allow_by_default {
            return !lists.exceptions.iter().any(|e| e.covers(&one) && e.access & access != 0);
        }
        lists.exceptions.iter().any(|e| e.covers(&one) && access & !e.access == 0)
    }

    #[test]
    fn the_lists_mean_what_the_rules_mean() {
        let (mut expressed, mut refused) = (0, 0);
        for seed in 0..20_000 {
            let rules = some_rules(seed);
            let Ok(lists) = DeviceLists::new(&rules) else {
                refused += 1;
                continue;
            };
            expressed += 1;
            for n in 0_u32..54 {
                let (block, major, minor) = (n % 2 == 1, n / 2 % 3, n / 6 % 3);
                let access = [Access::READ, Access::WRITE, Access::MKNOD][usize::try_from(n / 18).unwrap()];
                let expected = permitted(&rules, block, major, minor, access);
                assert_eq!(
                    kernel(&lists, block, major, minor, access.bits()),
                    expected,
                    "{rules:?} {lists:?}"
                );
            }
        }
        assert!(expressed > 5000 && refused > 500, "{expressed} {refused}");
    }

    #[test]
    fn the_default_of_engines() {
        let deny =
            DeviceRule { allow: false, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };
        let mut rules = vec![permit(Some(10), None, Access::READ), deny];
        rules.extend(DEFAULT_DEVICES);
        let lists = DeviceLists::new(&rules).unwrap();
        assert_eq!(
            lists.lines(),
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
                "c 136:* rwm"
            ]
        );
        assert!(!lists.permits_all());
    }

    #[test]
    fn an_open_for_both_is_permitted_by_two_rules() {
        let rules = [permit(None, None, Access::WRITE), permit(Some(1), Some(3), Access::READ)];
        let lists = DeviceLists::new(&rules).unwrap();
        assert!(kernel(&lists, false, 1, 3, Access::READ.bits() | Access::WRITE.bits()));
        assert_eq!(lists.lines(), ["c *:* w", "c 1:3 rw"]);
    }

    #[test]
    fn a_part_taken_back_is_refused_by_index() {
        let mut rules = vec![permit(Some(1), None, Access::ALL)];
        rules.push(DeviceRule { allow: false, minor: Some(3), ..rules[0] });
        let error = DeviceLists::new(&rules).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.devices[1]: \"c 1:3 rwm\" takes back a part"), "{error}");
    }

    #[test]
    fn access_is_read() {
        assert_eq!(Access::parse("mwr"), Some(Access::ALL));
        assert_eq!(Access::parse("rw").map(Access::text).as_deref(), Some("rw"));
        assert_eq!(Access::parse(""), Some(Access(0)));
        assert_eq!(Access::parse("rx"), None);
    }
}
