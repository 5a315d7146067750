//! The system calls of every ABI: names to numbers and back.  The table is written by `build.rs`.

use super::abi::Abi;
use std::collections::BTreeMap;

/// One name; it is `NAMES[start..start + len]`.
struct Entry {
    start: u16,
    len: u8,
    /// By ABI; `ABSENT` where it has no such call.
    numbers: [u32; Abi::COUNT],
}

const ABSENT: u32 = u32::MAX;

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
        let index = ENTRIES.binary_search_by(|entry| entry.name().cmp(name)).ok()?;
        ENTRIES.get(index).map(Self)
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
}
