//! The directories and files below the root of the state.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::StateError;
use super::record::{Record, RecordRef, State};
use crate::sys;

/// The name of the record in a container's directory.
pub const STATE_FILE: &str = "state.json";
/// The name of the socket on which a created container waits for `start`.
pub const START_SOCKET: &str = "start.sock";

const NEW_STATE_FILE: &str = "state.json.new";
const MAX_ID_LENGTH: usize = 1024;
/// A record is a few kilobytes; its largest part, a seccomp profile, some hundred.
const MAX_STATE_LENGTH: u64 = 64 << 20;
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// Checks that `id` can name a container: letters, digits and `_+-.`, not only dots, at most 1024 bytes.
///
/// # Errors
/// [`StateError::InvalidId`], with the rule that it breaks.
pub fn validate_id(id: &str) -> Result<(), StateError> {
    let invalid = |reason| Err(StateError::InvalidId { id: id.to_owned(), reason });
    let permitted = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if id.is_empty() {
        return invalid("container id cannot be empty");
    }
    if id.len() > MAX_ID_LENGTH {
        return invalid("longer than 1024 bytes");
    }
    if id == "." || id == ".." {
        return invalid("\".\" and \"..\" name directories");
    }
    if !id.bytes().all(permitted) {
        return invalid("only letters, digits and the characters _ + - . are permitted");
    }
    Ok(())
}

/// The directory below which all state lies.
#[derive(Debug)]
pub struct StateRoot {
    shared: Arc<Shared>,
}

/// What a root has in common with the containers opened through it.
#[derive(Debug)]
struct Shared {
    dir: OwnedFd,
    path: PathBuf,
    /// The id of this boot, where the file system outlives one; read when first needed.
    boot_id: OnceLock<Option<String>>,
}

impl StateRoot {
    /// Opens the root at `path`, and creates it with mode 0700 if it is not there.
    ///
    /// A new one gets the sticky bit too: by the XDG base directory specification this keeps what lies in
    /// `$XDG_RUNTIME_DIR` from being cleaned up as unused.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        if let Some(root) = Self::open_existing(path)? {
            return Ok(root);
        }
        let make = DirBuilder::new().recursive(true).mode(0o1700).create(path);
        make.map_err(|e| StateError::io("mkdir", path, e))?;
        Self::open_existing(path)?.ok_or_else(|| StateError::io("open", path, Errno::ENOENT))
    }

    /// Opens the root at `path`; `None` if it is not there, which only a caller who may look there is told.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StateError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = match nix::fcntl::open(path, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            dir => dir.map_err(|e| StateError::io("open", path, e))?,
        };
        let shared = Shared { dir, path: path.to_owned(), boot_id: OnceLock::new() };
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Makes the directory of a new container, and locks it.
    ///
    /// Another process may open the empty directory before it is locked here.  It finds no record in it, so to it
    /// there is no such container; should it clear the directory away, another is made here.  A record in it, once
    /// the lock is had, is another creator's, who took that place.
    ///
    /// # Errors
    /// [`StateError::InvalidId`], [`StateError::AlreadyExists`], [`StateError::Io`].
    pub fn reserve(&self, id: &str) -> Result<ContainerDir, StateError> {
        validate_id(id)?;
        loop {
            match mkdirat(&self.shared.dir, id, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => return Err(StateError::AlreadyExists { id: id.to_owned() }),
                Err(errno) => return Err(StateError::io("mkdir", &self.shared.path.join(id), errno)),
            }
            match self.open_container(id) {
                Ok(container) if container.has(STATE_FILE) => {
                    return Err(StateError::AlreadyExists { id: id.to_owned() });
                }
                Err(StateError::NotFound { .. }) => {}
                other => return other,
            }
        }
    }

    /// Opens a container's directory for a command that changes the container, and waits until no other such command
    /// has it.
    ///
    /// # Errors
    /// [`StateError::NotFound`] if it is not there, or no more once the lock is had; [`StateError::InvalidId`],
    /// [`StateError::Io`].
    pub fn open_container(&self, id: &str) -> Result<ContainerDir, StateError> {
        loop {
            let container = self.open_shared(id)?;
            container.lock()?;
            if container.is_current()? {
                return Ok(container);
            }
        }
    }

    /// Opens a container's directory without its lock, for a command that only reads.
    ///
    /// It never waits, so that `list` and `state` answer while another command works on the container.
    ///
    /// # Errors
    /// [`StateError::NotFound`], [`StateError::InvalidId`], [`StateError::Io`].
    pub fn open_shared(&self, id: &str) -> Result<ContainerDir, StateError> {
        validate_id(id)?;
        let path = self.shared.path.join(id);
        match openat(&self.shared.dir, id, DIRECTORY, Mode::empty()) {
            Ok(dir) => Ok(ContainerDir {
                root: Arc::clone(&self.shared),
                dir: File::from(dir),
                id: id.to_owned(),
                path,
                locked: AtomicBool::new(false),
            }),
            // Names longer than the file system takes cannot have been made.
            Err(Errno::ENOENT | Errno::ENAMETOOLONG) => Err(StateError::NotFound { id: id.to_owned() }),
            Err(errno) => Err(StateError::io("open", &path, errno)),
        }
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn ids(&self) -> Result<Vec<String>, StateError> {
        let entries = entries(self.shared.dir.as_fd(), &self.shared.path)?;
        let mut ids: Vec<String> = entries
            .into_iter()
            .filter(|(_, is_dir)| *is_dir)
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| validate_id(name).is_ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

impl Shared {
    /// The id of this boot, if the state can outlive it: on tmpfs it cannot.
    fn boot_id(&self) -> Option<&str> {
        let read = || {
            let kind = fstatfs(&self.dir).ok()?.filesystem_type();
            if kind == TMPFS_MAGIC || kind == RAMFS_MAGIC {
                return None;
            }
            let id = String::from_utf8(crate::host::slurp("/proc/sys/kernel/random/boot_id").ok()?).ok()?;
            Some(id.trim_end().to_owned())
        };
        self.boot_id.get_or_init(read).as_deref()
    }
}

/// The directory of one container.
///
/// Its lock, if it has it, ends with it.  The end is an explicit unlock: a child that was cloned meanwhile shares the
/// open file, and would hold the lock until its execve.
#[derive(Debug)]
pub struct ContainerDir {
    root: Arc<Shared>,
    dir: File,
    id: String,
    path: PathBuf,
    locked: AtomicBool,
}

impl ContainerDir {
    /// The directory's descriptor.
    #[must_use]
    pub fn dir_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes the lock; waits for another command that has it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn lock(&self) -> Result<(), StateError> {
        loop {
            match self.dir.lock() {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(StateError::io("flock", &self.path, error)),
            }
        }
        self.locked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets others at the container, as `run` does once it has started and only waits.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn unlock(&self) -> Result<(), StateError> {
        self.locked.store(false, Ordering::Relaxed);
        self.dir.unlock().map_err(|e| StateError::io("flock", &self.path, e))
    }

    /// Whether the container is still the one that its id names; false after another has removed it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn is_current(&self) -> Result<bool, StateError> {
        let ours = self.dir.metadata().map_err(|e| StateError::io("fstat", &self.path, e))?;
        match fstatat(&self.root.dir, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.dev(), ours.ino())),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(StateError::io("fstatat", &self.path, errno)),
        }
    }

    /// Replaces the record.  Whoever reads it sees the old one or this one, also when the runtime is killed here.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        self.save_text(state).map(drop)
    }

    /// As [`ContainerDir::save`], for who wants to know the record when it meets it again ([`ContainerDir::load_known`]).
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn save_text(&self, state: &State) -> Result<Vec<u8>, StateError> {
        let record = RecordRef { boot_id: self.root.boot_id(), state };
        let text = serde_json::to_vec(&record)
            .map_err(|e| StateError::Corrupt { path: self.path.join(STATE_FILE), reason: e.to_string() })?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let path = || self.path.join(NEW_STATE_FILE);
        let file = openat(&self.dir, NEW_STATE_FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|e| StateError::io("open", &path(), e))?;
        File::from(file).write_all(&text).map_err(|e| StateError::io("write", &path(), e))?;
        self.put_in_place().map_err(|e| StateError::io("rename", &path(), e))?;
        Ok(text)
    }

    /// Makes the new record the record.
    ///
    /// By exchange where the file system can: ext4 writes a file out before a rename replaces another by it, which takes
    /// milliseconds, and nothing here has to survive a crash of the machine.
    fn put_in_place(&self) -> Result<(), Errno> {
        let (new, old) = (NEW_STATE_FILE, STATE_FILE);
        match renameat2(&self.dir, new, &self.dir, old, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => unlinkat(&self.dir, new, UnlinkatFlags::NoRemoveDir),
            // The first record, or a file system that cannot.
            Err(Errno::ENOENT | Errno::EINVAL | Errno::ENOSYS) => renameat(&self.dir, new, &self.dir, old),
            Err(errno) => Err(errno),
        }
    }

    /// Reads the record; `None` if there is none, as when the runtime was killed before it wrote the first.
    ///
    /// # Errors
    /// [`StateError::Corrupt`] with the path of the file, [`StateError::Io`].
    pub fn load(&self) -> Result<Option<State>, StateError> {
        self.load_known(None)
    }

    /// As [`ContainerDir::load`]; a record that is byte by byte the one that is known need not be understood once more.
    ///
    /// # Errors
    /// Those of [`ContainerDir::load`].
    pub(crate) fn load_known(&self, known: Option<Known>) -> Result<Option<State>, StateError> {
        let path = || self.path.join(STATE_FILE);
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match openat(&self.dir, STATE_FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(StateError::io("open", &path(), errno)),
        };
        // Room for the usual record: without, it would be read by the dozen of bytes.
        let mut text = Vec::with_capacity(8192);
        file.take(MAX_STATE_LENGTH + 1)
            .read_to_end(&mut text)
            .map_err(|e| StateError::io("read", &path(), e))?;
        if let Some(known) = known.filter(|known| known.text == text) {
            return Ok(Some(known.state));
        }
        if text.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        if text.len() as u64 > MAX_STATE_LENGTH {
            return Err(StateError::Corrupt { path: path(), reason: "it is longer than 64 MiB".to_owned() });
        }
        let record =
            Record::from_bytes(&text).map_err(|reason| StateError::Corrupt { path: path(), reason })?;
        Ok(Some(record.in_boot(self.root.boot_id())))
    }

    /// Whether a created container waits for `start`, or did when its runtime was killed.
    #[must_use]
    pub fn start_socket_exists(&self) -> bool {
        self.has(START_SOCKET)
    }

    fn has(&self, name: &str) -> bool {
        fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes the directory and all in it, the record last: until then the container exists and can be deleted again.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn remove(self) -> Result<(), StateError> {
        clear(self.dir.as_fd(), &self.path, &[STATE_FILE])?;
        match unlinkat(&self.dir, STATE_FILE, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(StateError::io("unlink", &self.path.join(STATE_FILE), errno)),
        }
        let remove = || unlinkat(&self.root.dir, self.id.as_str(), UnlinkatFlags::RemoveDir);
        let mut removed = remove();
        if matches!(removed, Err(Errno::ENOTEMPTY | Errno::EEXIST)) {
            // Something came after it was looked for.
            clear(self.dir.as_fd(), &self.path, &[])?;
            removed = remove();
        }
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(StateError::io("rmdir", &self.path, errno)),
        }
    }
}

impl Drop for ContainerDir {
    fn drop(&mut self) {
        if *self.locked.get_mut() {
            // Closing the descriptor unlocks too, unless a child shares it: nothing better is to be done here.
            let _ = self.dir.unlock();
        }
    }
}

/// A record that this process has written itself, in this boot.
#[derive(Debug)]
pub(crate) struct Known {
    /// As it was written.
    pub(crate) text: Vec<u8>,
    /// What it says.
    pub(crate) state: State,
}

/// The names in a directory, and whether each is a directory.
///
/// Not by readdir(3), whose buffer of 32 KiB costs more than the few names of a container.
fn entries(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<(std::ffi::CString, bool)>, StateError> {
    let opened = openat(dir, ".", DIRECTORY, Mode::empty()).map_err(|e| StateError::io("open", path, e))?;
    let mut found = Vec::new();
    let mut records = [0; 2048];
    loop {
        let length = sys::getdents64(sys::Fd::from(&opened), &mut records)
            .map_err(|e| StateError::io("getdents", path, Errno::from_raw(e.errno)))?;
        if length == 0 {
            return Ok(found);
        }
        let mut rest = records.get(..length).unwrap_or_default();
        while let Some((entry, after)) = sys::next_entry(rest) {
            rest = after;
            if entry.name == c"." || entry.name == c".." {
                continue;
            }
            let is_dir = match entry.kind {
                libc::DT_UNKNOWN => fstatat(dir, entry.name, AtFlags::AT_SYMLINK_NOFOLLOW)
                    .is_ok_and(|s| s.st_mode & libc::S_IFMT == libc::S_IFDIR),
                kind => kind == libc::DT_DIR,
            };
            found.push((entry.name.to_owned(), is_dir));
        }
    }
}

/// Removes what is in a directory, but for the names in `keep`.
fn clear(dir: BorrowedFd<'_>, path: &Path, keep: &[&str]) -> Result<(), StateError> {
    for (name, is_dir) in entries(dir, path)? {
        if keep.iter().any(|kept| kept.as_bytes() == name.as_bytes()) {
            continue;
        }
        let path = path.join(String::from_utf8_lossy(name.as_bytes()).as_ref());
        let removed = if is_dir {
            match openat(dir, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(sub) => clear(sub.as_fd(), &path, &[])?,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(StateError::io("open", &path, errno)),
            }
            unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir)
        } else {
            unlinkat(dir, name.as_c_str(), UnlinkatFlags::NoRemoveDir)
        };
        match removed {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(StateError::io("unlink", &path, errno)),
        }
    }
    Ok(())
}
