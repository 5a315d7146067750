//! Paths of the container, resolved inside its root, once, to a descriptor (invariant I3).

use crate::sys::{self, Call, Fd, PATH_MAX, Result, SysError};
use core::ffi::CStr;
use libc::{O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY};

/// Resolution that cannot leave the directory it starts from, and follows no magic link.
const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

/// As many symbolic links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: u32 = 40;

/// What a mountpoint is created as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// Opens `path` inside `root` as a location.
pub fn locate(root: Fd, path: &CStr) -> Result<Fd> {
    open(root, path, O_PATH)
}

/// Opens `path` inside `root`.
pub fn open(root: Fd, path: &CStr, flags: i32) -> Result<Fd> {
    sys::openat2(root, path, flags, 0, IN_ROOT)
}

/// Opens `path` inside `root` as a location, where no component may be a symbolic link.
pub fn locate_plain(root: Fd, path: &CStr) -> Result<Fd> {
    sys::openat2(root, path, O_PATH, 0, IN_ROOT | libc::RESOLVE_NO_SYMLINKS)
}

/// Opens `path` inside `root` as a location, and makes what is missing of it: directories with mode 0755, and the
/// last component as `kind` says.
///
/// Dangling symbolic links are followed inside the root, as container images rely on it
/// (`/etc/resolv.conf` that points into an empty `/run`).
pub fn locate_or_create(root: Fd, path: &CStr, kind: Kind) -> Result<Fd> {
    match locate(root, path) {
        Err(e) if e.errno == libc::ENOENT => {}
        r => return r,
    }
    if let Some((directory, made)) = create_last(root, path, kind)? {
        sys::close(directory);
        return Ok(made);
    }
    let mut path = PathBuffer::from(path.to_bytes())?;
    for _ in 0..MAX_LINKS {
        match create(root, &path, kind)? {
            Created::Done(fd) => return Ok(fd),
            Created::Redirected(other) => path = other,
        }
    }
    Err(SysError { call: Call::Openat2, errno: libc::ELOOP })
}

/// Makes the last component of `path` where that alone is missing, which is the usual case: the directory that it lies in, and what was
/// made; `None` where more or nothing is missing.
pub fn create_last(root: Fd, path: &CStr, kind: Kind) -> Result<Option<(Fd, Fd)>> {
    let (directory, name) = split(path);
    let mut buffer = PathBuffer::from(directory)?;
    buffer.push(b"/")?;
    let directory = match locate(root, buffer.as_c_str()) {
        Err(e) if e.errno == libc::ENOENT => return Ok(None),
        r => r?,
    };
    let made = create_in(directory, name, kind)?;
    if made.is_none() {
        sys::close(directory);
    }
    Ok(made.map(|made| (directory, made)))
}

/// Makes `name` in `directory`, if it is a name and nothing has it.
pub fn create_in(directory: Fd, name: &CStr, kind: Kind) -> Result<Option<Fd>> {
    match name.to_bytes() {
        b"" | b"." | b".." => Ok(None),
        _ => make_new(directory, name, kind),
    }
}

/// What is before the last slash of `path`, and the last component.
pub fn split(path: &CStr) -> (&[u8], &CStr) {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|b| *b == b'/');
    let name = bytes.get(slash.map_or(0, |s| s + 1)..).unwrap_or_default();
    let name = CStr::from_bytes_with_nul(name).unwrap_or_default();
    (bytes.get(..slash.unwrap_or(0)).unwrap_or_default(), name)
}

/// Opens `directory`, the part before a slash, creating what is missing.
pub fn parent(root: Fd, directory: &[u8]) -> Result<Fd> {
    let mut path = PathBuffer::from(directory)?;
    path.push(b"/")?;
    locate_or_create(root, path.as_c_str(), Kind::Directory)
}

#[expect(clippy::large_enum_variant, reason = "there is no heap to put it on")]
enum Created {
    Done(Fd),
    /// A dangling link was met: the same destination with the link's content in its place.
    Redirected(PathBuffer),
}

/// Walks `path` component by component, each prefix resolved by the kernel inside the root, and creates what is missing.
fn create(root: Fd, path: &PathBuffer, kind: Kind) -> Result<Created> {
    let mut prefix = PathBuffer::from(b".")?;
    let mut here = locate(root, prefix.as_c_str())?;
    let mut rest = path.bytes();
    while let Some((name, after)) = next_component(rest) {
        rest = after;
        let parent_length = prefix.length;
        prefix.push(b"/")?;
        prefix.push(name)?;
        let last = next_component(rest).is_none();
        let next = match locate(root, prefix.as_c_str()) {
            Err(e) if e.errno == libc::ENOENT => {
                let component = PathBuffer::from(name)?;
                if let Some(target) = read_link(here, &component)? {
                    prefix.truncate(parent_length);
                    return redirect(&prefix, &target, rest).map(Created::Redirected);
                }
                make(here, component.as_c_str(), if last { kind } else { Kind::Directory })?
            }
            r => r?,
        };
        sys::close(here);
        here = next;
    }
    Ok(Created::Done(here))
}

/// The first component of `path`, and what follows it.
fn next_component(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|b| *b != b'/')?;
    let path = path.get(start..)?;
    let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}

fn read_link(directory: Fd, name: &PathBuffer) -> Result<Option<PathBuffer>> {
    let mut target = PathBuffer::empty();
    match target.fill(|space| sys::readlinkat(directory, name.as_c_str(), space)) {
        Ok(_) => Ok(Some(target)),
        Err(e) if e.errno == libc::ENOENT || e.errno == libc::EINVAL => Ok(None),
        Err(e) => Err(e),
    }
}

fn redirect(prefix: &PathBuffer, target: &PathBuffer, rest: &[u8]) -> Result<PathBuffer> {
    let mut path = PathBuffer::empty();
    if target.bytes().first() != Some(&b'/') {
        path.push(prefix.bytes())?;
        path.push(b"/")?;
    }
    path.push(target.bytes())?;
    path.push(b"/")?;
    path.push(rest)?;
    Ok(path)
}

/// Makes one entry that is not there and opens it; `None` where there is one, which can be a dangling link only.
fn make_new(directory: Fd, name: &CStr, kind: Kind) -> Result<Option<Fd>> {
    let opened = match kind {
        Kind::Directory => sys::mkdirat(directory, name, 0o755)
            .and_then(|()| sys::openat(directory, name, O_PATH | O_NOFOLLOW | O_DIRECTORY, 0)),
        Kind::File => make(directory, name, kind),
    };
    match opened {
        Err(e) if e.errno == libc::EEXIST => Ok(None),
        r => r.map(Some),
    }
}

/// Makes one entry and opens it.  Somebody else may have made it meanwhile, but never as a symbolic link that we follow.
fn make(directory: Fd, name: &CStr, kind: Kind) -> Result<Fd> {
    match kind {
        Kind::Directory => match sys::mkdirat(directory, name, 0o755) {
            Err(e) if e.errno != libc::EEXIST => Err(e),
            _ => sys::openat(directory, name, O_PATH | O_NOFOLLOW | O_DIRECTORY, 0),
        },
        Kind::File => sys::openat(directory, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644),
    }
}

/// A path on the stack: the child half has no heap.
pub struct PathBuffer {
    /// Always zero behind `length`, so that it ends in a NUL.
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathBuffer {
    /// Nothing.
    pub const fn empty() -> Self {
        Self { bytes: [0; PATH_MAX], length: 0 }
    }

    /// Holds `path`.
    pub fn from(path: &[u8]) -> Result<Self> {
        let mut buffer = Self::empty();
        buffer.push(path)?;
        Ok(buffer)
    }

    /// Appends `part`.
    pub fn push(&mut self, part: &[u8]) -> Result<()> {
        let end = self.length + part.len();
        // One byte stays for the NUL.
        match self.bytes.get_mut(self.length..end) {
            Some(space) if end < PATH_MAX => space.copy_from_slice(part),
            _ => return Err(SysError { call: Call::Openat2, errno: libc::ENAMETOOLONG }),
        }
        self.length = end;
        Ok(())
    }

    /// Appends `n` in decimal.
    pub fn push_number(&mut self, n: u32) -> Result<()> {
        if n >= 10 {
            self.push_number(n / 10)?;
        }
        self.push(&[b'0' + digit(n)])
    }

    /// Cuts back to `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        if let Some(cut) = self.bytes.get_mut(length..) {
            cut.fill(0);
        }
        self.length = length.min(self.length);
    }

    /// The path.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The path for the kernel.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// Lets `read` write the path, and keeps the length it returns.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        // The last byte stays zero.
        let space = self.bytes.get_mut(..PATH_MAX - 1).unwrap_or_default();
        self.length = read(space)?.min(PATH_MAX - 1);
        Ok(self.length)
    }
}

/// The last decimal digit of `n`.
#[allow(clippy::cast_possible_truncation)]
fn digit(n: u32) -> u8 {
    (n % 10) as u8
}
