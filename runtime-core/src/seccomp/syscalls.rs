//! The system calls of every ABI: names to numbers and back.  The table is written by `build.rs`.

use super::abi::Abi;
use super::slots;
use std::collections::BTreeMap;

/// One name; it is `NAMES[start..start + len]`.
struct Entry {
    start: u16,
    len: u8,
    /// The first argument with which x86 makes it by `socketcall(2)`, or by `ipc(2)` ([`slots::IPC`]); 0 for neither.
    sub_call: u8,
    /// By ABI; `ABSENT` where it has no such call.
    numbers: [u32; Abi::COUNT],
}

const ABSENT: u32 = u32::MAX;

/// The number of `socketcall(2)` on x86.
const SOCKETCALL: u32 = 102;
/// The number of `ipc(2)` on x86.
const IPC: u32 = 117;

include!(concat!(env!("OUT_DIR"), "/syscalls.rs"));

impl Entry {
    fn name(&self) -> &'static str {
        let start = usize::from(self.start);
        NAMES.get(start..start + usize::from(self.len)).unwrap_or("")
    }
}

/// A name that some ABI has.
#[derive(Clone, Copy)]
pub(super) struct Call(&'static Entry);

impl Call {
    pub(super) fn find(name: &str) -> Option<Self> {
        let mut slot = slots::first(name);
        loop {
            let entry = ENTRIES.get(usize::from(*SLOTS.get(slot)?).checked_sub(1)?)?;
            if entry.name() == name {
                return Some(Self(entry));
            }
            slot = slots::next(slot);
        }
    }

    /// The names of `abi`'s calls, by their numbers without the bit of x32; of several names the first.
    pub(super) fn names(abi: Abi) -> BTreeMap<u32, &'static str> {
        let mut names = BTreeMap::new();
        for entry in &ENTRIES {
            let number = entry.numbers[abi as usize];
            if number != ABSENT {
                names.entry(number).or_insert_with(|| entry.name());
            }
        }
        names
    }

    /// Its number as the filter sees it, with the bit of x32.
    pub(super) fn number(self, abi: Abi) -> Option<u32> {
        let number = self.0.numbers[abi as usize];
        (number != ABSENT).then_some(number | abi.bit())
    }

    /// The call by which it can be made as well where [`Abi::multiplexes`], and the number it is given there.
    pub(super) fn multiplexed(self) -> Option<(u32, u8)> {
        let number = self.0.sub_call & !slots::IPC;
        match self.0.sub_call {
            0 => None,
            by_ipc if by_ipc & slots::IPC != 0 => Some((IPC, number)),
            _ => Some((SOCKETCALL, number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Call, ENTRIES, IPC, SLOTS, SOCKETCALL};

    #[test]
    fn every_name_is_found_and_no_other() {
        assert!(SLOTS.len() > 2 * ENTRIES.len(), "a search ends at an empty slot");
        for entry in &ENTRIES {
            let found = Call::find(entry.name()).expect("found");
            assert_eq!(found.0.name(), entry.name());
            assert!(Call::find(&format!("{}_", entry.name())).is_none());
            assert!(Call::find(&entry.name()[1..]).is_none_or(|other| other.0.name() == &entry.name()[1..]));
        }
        assert!(Call::find("").is_none());
    }

    #[test]
    fn what_is_multiplexed_is_told_by_its_name() {
        let multiplexed = |name| Call::find(name).expect("a call").multiplexed();
        assert_eq!(multiplexed("socket"), Some((SOCKETCALL, 1)));
        assert_eq!(multiplexed("sendmmsg"), Some((SOCKETCALL, 20)));
        assert_eq!(multiplexed("semop"), Some((IPC, 1)));
        assert_eq!(multiplexed("shmctl"), Some((IPC, 24)));
        assert_eq!(multiplexed("sendfile"), None);
        assert_eq!(ENTRIES.iter().filter(|entry| entry.sub_call != 0).count(), 32);
    }
}
