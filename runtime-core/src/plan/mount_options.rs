//! The options of a mount: config.md, "Linux mount options".
//!
//! An option is one of the table below, or else data for the file system, as with mount(8).  Later options win over earlier
//! ones.

use crate::sys::{MountAttr, attr};
use std::collections::BTreeSet;

/// What an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Sets attributes of the mount; of the whole tree with the flag.
    Set(u64, bool),
    /// Clears attributes likewise.
    Clear(u64, bool),
    /// Sets how access times are kept, which is a field and not a bit.
    Atime(u64, bool),
    /// Undoes a way to keep access times.
    NotAtime(u64, bool),
    /// Changes propagation; of the whole tree with the flag.
    Propagation(u64, bool),
    /// A bind mount, recursive or not.
    Bind(bool),
    /// An id-mapped mount, recursive or not.
    IdMap(bool),
    /// Sets a flag of the superblock.
    Superblock(&'static str),
    /// Clears a flag of the superblock.
    NoSuperblock(&'static str),
    /// Changes the mount that is there.
    Remount,
    /// Copies the directory's content into the new tmpfs.
    CopyUp,
    /// Nothing to do: the default, or a flag that only concerns messages in the kernel log, which the calls we use
    /// do not write.
    Nothing,
}

use Meaning as M;

const TOP: bool = false;
const TREE: bool = true;

/// The options that are not data for the file system.
const TABLE: &[(&str, Meaning)] = &[
    ("async", M::NoSuperblock("sync")),
    ("atime", M::NotAtime(attr::NOATIME, TOP)),
    ("bind", M::Bind(false)),
    ("defaults", M::Nothing),
    ("dev", M::Clear(attr::NODEV, TOP)),
    ("diratime", M::Clear(attr::NODIRATIME, TOP)),
    ("dirsync", M::Superblock("dirsync")),
    ("exec", M::Clear(attr::NOEXEC, TOP)),
    ("idmap", M::IdMap(false)),
    ("iversion", M::Superblock("iversion")),
    ("lazytime", M::Superblock("lazytime")),
    ("loud", M::Nothing),
    ("mand", M::Superblock("mand")),
    ("noatime", M::Atime(attr::NOATIME, TOP)),
    ("nodev", M::Set(attr::NODEV, TOP)),
    ("nodiratime", M::Set(attr::NODIRATIME, TOP)),
    ("noexec", M::Set(attr::NOEXEC, TOP)),
    ("noiversion", M::NoSuperblock("iversion")),
    ("nolazytime", M::NoSuperblock("lazytime")),
    ("nomand", M::NoSuperblock("mand")),
    ("norelatime", M::NotAtime(attr::RELATIME, TOP)),
    ("nostrictatime", M::NotAtime(attr::STRICTATIME, TOP)),
    ("nosuid", M::Set(attr::NOSUID, TOP)),
    ("nosymfollow", M::Set(attr::NOSYMFOLLOW, TOP)),
    ("private", M::Propagation(libc::MS_PRIVATE, TOP)),
    ("ratime", M::NotAtime(attr::NOATIME, TREE)),
    ("rbind", M::Bind(true)),
    ("rdev", M::Clear(attr::NODEV, TREE)),
    ("rdiratime", M::Clear(attr::NODIRATIME, TREE)),
    ("relatime", M::Atime(attr::RELATIME, TOP)),
    ("remount", M::Remount),
    ("rexec", M::Clear(attr::NOEXEC, TREE)),
    ("ridmap", M::IdMap(true)),
    ("rnoatime", M::Atime(attr::NOATIME, TREE)),
    ("rnodev", M::Set(attr::NODEV, TREE)),
    ("rnodiratime", M::Set(attr::NODIRATIME, TREE)),
    ("rnoexec", M::Set(attr::NOEXEC, TREE)),
    ("rnorelatime", M::NotAtime(attr::RELATIME, TREE)),
    ("rnostrictatime", M::NotAtime(attr::STRICTATIME, TREE)),
    ("rnosuid", M::Set(attr::NOSUID, TREE)),
    ("rnosymfollow", M::Set(attr::NOSYMFOLLOW, TREE)),
    ("ro", M::Set(attr::RDONLY, TOP)),
    ("rprivate", M::Propagation(libc::MS_PRIVATE, TREE)),
    ("rrelatime", M::Atime(attr::RELATIME, TREE)),
    ("rro", M::Set(attr::RDONLY, TREE)),
    ("rrw", M::Clear(attr::RDONLY, TREE)),
    ("rshared", M::Propagation(libc::MS_SHARED, TREE)),
    ("rslave", M::Propagation(libc::MS_SLAVE, TREE)),
    ("rstrictatime", M::Atime(attr::STRICTATIME, TREE)),
    ("rsuid", M::Clear(attr::NOSUID, TREE)),
    ("rsymfollow", M::Clear(attr::NOSYMFOLLOW, TREE)),
    ("runbindable", M::Propagation(libc::MS_UNBINDABLE, TREE)),
    ("rw", M::Clear(attr::RDONLY, TOP)),
    ("shared", M::Propagation(libc::MS_SHARED, TOP)),
    ("silent", M::Nothing),
    ("slave", M::Propagation(libc::MS_SLAVE, TOP)),
    ("strictatime", M::Atime(attr::STRICTATIME, TOP)),
    ("suid", M::Clear(attr::NOSUID, TOP)),
    ("symfollow", M::Clear(attr::NOSYMFOLLOW, TOP)),
    ("sync", M::Superblock("sync")),
    ("tmpcopyup", M::CopyUp),
    ("unbindable", M::Propagation(libc::MS_UNBINDABLE, TOP)),
];

/// The options of the table, for `features`.
pub fn known() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The options of a mount, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// Attributes of the mount itself.
    pub(super) attributes: MountAttr,
    /// Attributes of the whole tree.
    pub(super) recursive: MountAttr,
    /// Propagation changes, in order.
    pub(super) propagation: Vec<(u64, bool)>,
    /// A bind mount, recursive or not.
    pub(super) bind: Option<bool>,
    /// An id-mapped mount, recursive or not.
    pub(super) id_map: Option<bool>,
    /// Changes the mount that is there.
    pub(super) remount: bool,
    /// Copies the directory's content into the new tmpfs.
    pub(super) copy_up: bool,
    /// Flags of the superblock.
    pub(super) superblock: BTreeSet<&'static str>,
    /// Flags that the superblock shall not have; it has none to begin with.
    pub(super) superblock_cleared: BTreeSet<&'static str>,
    /// Data for the file system: a key with its value, or a flag.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// Reads the options.
pub(super) fn parse(options: Option<&[String]>) -> MountOptions {
    let mut read = MountOptions::default();
    for option in options.unwrap_or_default() {
        match TABLE.binary_search_by(|(name, _)| (*name).cmp(option.as_str())) {
            Ok(at) => read.apply(TABLE[at].1),
            Err(_) => read.data.extend(split_data(option)),
        }
    }
    read
}

impl MountOptions {
    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            M::Set(bits, tree) => change(self.target(tree), bits, 0),
            M::Clear(bits, tree) => change(self.target(tree), 0, bits),
            M::Atime(value, tree) => set_atime(self.target(tree), value),
            M::NotAtime(value, tree) => {
                let target = self.target(tree);
                let stated = target.clear & attr::ATIME != 0;
                if !stated || target.set & attr::ATIME == value {
                    // Without a statement the kernel keeps relative times, so that is what all the opposites come to.
                    set_atime(target, attr::RELATIME);
                }
            }
            M::Propagation(kind, tree) => self.propagation.push((kind, tree)),
            M::Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            M::IdMap(recursive) => self.id_map = Some(recursive || self.id_map == Some(true)),
            M::Superblock(flag) => {
                self.superblock.insert(flag);
                self.superblock_cleared.remove(flag);
            }
            M::NoSuperblock(flag) => {
                self.superblock.remove(flag);
                self.superblock_cleared.insert(flag);
            }
            M::Remount => self.remount = true,
            M::CopyUp => self.copy_up = true,
            M::Nothing => {}
        }
    }

    fn target(&mut self, tree: bool) -> &mut MountAttr {
        if tree { &mut self.recursive } else { &mut self.attributes }
    }

    pub(super) fn read_only(&self) -> bool {
        self.attributes.set & attr::RDONLY != 0
    }
}

fn change(target: &mut MountAttr, set: u64, clear: u64) {
    target.set = (target.set & !clear) | set;
    target.clear = (target.clear & !set) | clear;
}

/// mount_setattr(2): the whole field must be cleared for a value of it to be set.
fn set_atime(target: &mut MountAttr, value: u64) {
    target.set = (target.set & !attr::ATIME) | value;
    target.clear |= attr::ATIME;
}

/// Data as mount(8) has it: several with commas between, which double quotes protect (security contexts hold commas).
fn split_data(option: &str) -> Vec<(String, Option<String>)> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for c in option.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => pieces.push(String::new()),
            c => {
                if let Some(piece) = pieces.last_mut() {
                    piece.push(c);
                }
            }
        }
    }
    let pair = |piece: String| match piece.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (piece, None),
    };
    pieces.into_iter().filter(|piece| !piece.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> MountOptions {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        parse(Some(&options))
    }

    fn attributes(set: u64, clear: u64) -> MountAttr {
        MountAttr { set, clear, ..MountAttr::default() }
    }

    #[test]
    fn the_table_is_sorted_and_complete() {
        let names: Vec<&str> = known().collect();
        assert!(names.is_sorted());
        // config.md of runtime-spec 1.3, "Linux mount options"; "acl" and the like are data of file systems.
        let spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
            nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
            rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw \
            shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap rnodev";
        for option in spec.split_whitespace() {
            assert!(names.contains(&option), "{option}");
        }
        assert_eq!(names.len(), spec.split_whitespace().count());
    }

    #[test]
    fn every_bit_has_an_opposite_and_a_recursive_form() {
        for (on, off, bit) in [
            ("ro", "rw", attr::RDONLY),
            ("nosuid", "suid", attr::NOSUID),
            ("nodev", "dev", attr::NODEV),
            ("noexec", "exec", attr::NOEXEC),
            ("nodiratime", "diratime", attr::NODIRATIME),
            ("nosymfollow", "symfollow", attr::NOSYMFOLLOW),
        ] {
            assert_eq!(read(&[on]).attributes, attributes(bit, 0), "{on}");
            assert_eq!(read(&[off]).attributes, attributes(0, bit), "{off}");
            assert_eq!(read(&[on, off]).attributes, attributes(0, bit), "the later wins");
            assert_eq!(read(&[off, on]).attributes, attributes(bit, 0), "the later wins");
            let (on, off) = (format!("r{on}"), format!("r{off}"));
            assert_eq!(read(&[&on]).recursive, attributes(bit, 0), "{on}");
            assert_eq!(read(&[&off]).recursive, attributes(0, bit), "{off}");
            assert_eq!(read(&[&on]).attributes, MountAttr::default(), "{on}");
        }
    }

    #[test]
    fn access_times_are_one_field() {
        for (options, set) in [
            (&["noatime"][..], attr::NOATIME),
            (&["strictatime"], attr::STRICTATIME),
            (&["relatime"], attr::RELATIME),
            (&["noatime", "strictatime"], attr::STRICTATIME),
            (&["noatime", "atime"], attr::RELATIME),
            (&["strictatime", "atime"], attr::STRICTATIME),
            (&["strictatime", "nostrictatime"], attr::RELATIME),
            (&["atime"], attr::RELATIME),
            (&["norelatime", "strictatime"], attr::STRICTATIME),
            (&["strictatime", "norelatime"], attr::STRICTATIME),
        ] {
            assert_eq!(read(options).attributes, attributes(set, attr::ATIME), "{options:?}");
            let recursive: Vec<String> = options.iter().map(|o| format!("r{o}")).collect();
            assert_eq!(parse(Some(&recursive)).recursive, attributes(set, attr::ATIME), "{recursive:?}");
        }
        let both = read(&["noatime", "nodiratime"]).attributes;
        assert_eq!(both, attributes(attr::NOATIME | attr::NODIRATIME, attr::ATIME));
    }

    #[test]
    fn propagation_keeps_its_order() {
        let read = read(&["rslave", "shared", "runbindable", "private"]);
        let expected = [
            (libc::MS_SLAVE, true),
            (libc::MS_SHARED, false),
            (libc::MS_UNBINDABLE, true),
            (libc::MS_PRIVATE, false),
        ];
        assert_eq!(read.propagation, expected);
    }

    #[test]
    fn binds_and_id_maps() {
        assert_eq!(read(&["bind"]).bind, Some(false));
        assert_eq!(read(&["rbind", "bind"]).bind, Some(true));
        assert_eq!(read(&[]).bind, None);
        assert_eq!(read(&["idmap", "ridmap"]).id_map, Some(true));
    }

    #[test]
    fn superblock_flags_and_their_opposites() {
        let flags = |options: &[&str]| read(options).superblock.into_iter().collect::<Vec<_>>();
        assert_eq!(flags(&["sync", "dirsync", "lazytime", "mand", "iversion"]).len(), 5);
        assert_eq!(flags(&["sync", "lazytime", "async", "nolazytime"]), [""; 0]);
        assert_eq!(flags(&["silent", "loud", "defaults"]), [""; 0]);
    }

    #[test]
    fn the_rest_is_data() {
        let data = |option: &str| read(&[option]).data;
        let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(data("mode=755"), [pair("mode", "755")]);
        assert_eq!(data("newinstance"), [("newinstance".to_owned(), None)]);
        assert_eq!(data("size=1m,,uid=0"), [pair("size", "1m"), pair("uid", "0")]);
        assert_eq!(
            data("context=\"a:b:s0:c1,c2\",x"),
            [pair("context", "a:b:s0:c1,c2"), ("x".to_owned(), None)]
        );
        assert_eq!(data("a=b=c"), [pair("a", "b=c")]);
        assert_eq!(data("RO"), [("RO".to_owned(), None)], "options are case-sensitive");
    }
}
