//! The instructions of a container's seccomp filter: a file of their own, as they are written once and read by exec alone.

use std::fs::File;
use std::io::{Read as _, Write as _};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use seccompiler::sock_filter;

use super::dir::ContainerDir;
use super::error::StateError;

/// The name of the file: an array of `struct sock_filter`, which tools for BPF can read.
pub const FILTER_FILE: &str = "seccomp.bpf";

/// `BPF_MAXINSNS` instructions.
const MAX_LENGTH: u64 = 4096 * 8;

impl ContainerDir {
    /// Writes the instructions of the container's filter.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn save_filter(&self, program: &[sock_filter]) -> Result<(), StateError> {
        let bytes: Vec<u8> = program.iter().flat_map(encode).collect();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let path = || self.path().join(FILTER_FILE);
        let file = openat(self.dir_fd(), FILTER_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|e| StateError::io("open", &path(), e))?;
        File::from(file).write_all(&bytes).map_err(|e| StateError::io("write", &path(), e))
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`StateError::Io`]; [`StateError::Corrupt`] for what is no program.
    pub fn load_filter(&self) -> Result<Vec<sock_filter>, StateError> {
        let path = || self.path().join(FILTER_FILE);
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = openat(self.dir_fd(), FILTER_FILE, flags, Mode::empty())
            .map_err(|e| StateError::io("open", &path(), e))?;
        let mut bytes = Vec::with_capacity(4096);
        File::from(file)
            .take(MAX_LENGTH + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| StateError::io("read", &path(), e))?;
        decode(&bytes).ok_or_else(|| StateError::Corrupt {
            path: path(),
            reason: format!("{} bytes are no filter", bytes.len()),
        })
    }
}

fn encode(instruction: &sock_filter) -> [u8; 8] {
    let [a, b] = instruction.code.to_ne_bytes();
    let [w, x, y, z] = instruction.k.to_ne_bytes();
    [a, b, instruction.jt, instruction.jf, w, x, y, z]
}

fn decode(bytes: &[u8]) -> Option<Vec<sock_filter>> {
    let (instructions, rest) = bytes.as_chunks::<8>();
    let sound = !instructions.is_empty() && rest.is_empty() && bytes.len() as u64 <= MAX_LENGTH;
    let one = |&[a, b, jt, jf, w, x, y, z]: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([a, b]),
        jt,
        jf,
        k: u32::from_ne_bytes([w, x, y, z]),
    };
    sound.then(|| instructions.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateRoot;

    #[test]
    fn a_filter_survives_the_file() {
        let root = std::env::temp_dir().join(format!("orlop-filter-{}", std::process::id()));
        let dir = StateRoot::open(&root).unwrap().reserve("c").unwrap();
        assert!(dir.load_filter().is_err());
        let program: Vec<_> =
            (0..4096).map(|n| sock_filter { code: 0x15, jt: 3, jf: 255, k: u32::MAX - n }).collect();
        dir.save_filter(&program).unwrap();
        assert_eq!(dir.load_filter().unwrap(), program);
        dir.save_filter(&program[..1]).unwrap();
        assert_eq!(dir.load_filter().unwrap(), program[..1]);
        dir.remove().unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[6, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(decode(&[0; 4097 * 8]), None);
    }
}
