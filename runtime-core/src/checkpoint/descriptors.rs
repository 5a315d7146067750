//! What the container's stdin, stdout and stderr were: `descriptors.json` beside the images.

use crate::error::{Error, ErrorKind};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// Three links, as `/proc/PID/fd` has them: the form of runc's, which keeps them beside CRIU's images too.
const FILE: &str = "descriptors.json";
/// Links are short, but for a file with a long path.
const LONGEST: u64 = 64 << 10;
/// `O_ACCMODE` of proc_pid_fdinfo(5).
const ACCESS: u32 = 3;

/// What the first three descriptors of `init` are; of pipes, only those with one end outside count.
///
/// A pipe between two of its own processes (`exec > >(tee log)` in a shell) is none of ours: CRIU restores it with both ends,
/// and to put ours in its place would cut the one off from the other.
pub(super) fn of_container(init: i32, all: &[i32]) -> [String; 3] {
    let mounts = mounts(init);
    let links =
        [0, 1, 2].map(|n| external_fifo(init, n, &mounts).or_else(|| link(init, n)).unwrap_or_default());
    let pipes: BTreeSet<&str> =
        links.iter().filter(|link| link.starts_with("pipe:")).map(String::as_str).collect();
    if pipes.is_empty() {
        return links;
    }
    let mut read = BTreeSet::new();
    let mut written = BTreeSet::new();
    for &pid in all {
        for (number, link) in open_files(pid).into_iter().filter(|(_, link)| pipes.contains(link.as_str())) {
            match access(pid, number) {
                Some(mode) if mode == libc::O_RDONLY.unsigned_abs() => _ = read.insert(link),
                Some(_) => _ = written.insert(link),
                None => {}
            }
        }
    }
    links.map(|link| if read.contains(&link) && written.contains(&link) { String::new() } else { link })
}

/// Whether a link names a file of the host's, as CRIU does: `file[MOUNT:INODE]`, both in hexadecimal digits.
pub(super) fn is_external_file(link: &str) -> bool {
    link.starts_with("file[")
}

/// CRIU's name for a descriptor that is a named pipe of the host's: one whose file system is not mounted in the container, so that
/// CRIU cannot open it by its path again.  An engine that hands out its own fifos makes such.
fn external_fifo(pid: i32, number: i32, mounts: &BTreeSet<u64>) -> Option<String> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let found = std::fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
    if !found.file_type().is_fifo() || link(pid, number)?.starts_with("pipe:") {
        return None;
    }
    let mount = fdinfo(pid, number, "mnt_id:")?.parse().ok()?;
    (!mounts.contains(&mount)).then(|| format!("file[{mount:x}:{:x}]", found.ino()))
}

/// The ids of the mounts that a process sees (`proc_pid_mountinfo(5)`).
fn mounts(pid: i32) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

fn link(pid: i32, number: i32) -> Option<String> {
    std::fs::read_link(format!("/proc/{pid}/fd/{number}"))
        .ok()
        .map(|path| path.to_string_lossy().into_owned())
}

fn open_files(pid: i32) -> Vec<(i32, String)> {
    // A process that has ended since has none.
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|number| Some((number, link(pid, number)?))).collect()
}

fn access(pid: i32, number: i32) -> Option<u32> {
    Some(u32::from_str_radix(&fdinfo(pid, number, "flags:")?, 8).ok()? & ACCESS)
}

/// What is told of a descriptor (`proc_pid_fdinfo(5)`).
fn fdinfo(pid: i32, number: i32, what: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(what)).map(|found| found.trim().to_owned())
}

fn failed(doing: &str) -> impl Fn(std::io::Error) -> Error {
    move |e| Error::because(ErrorKind::Host, format!("{doing} {FILE} of the images"), e)
}

fn open(images: BorrowedFd<'_>, flags: OFlag) -> std::io::Result<File> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    Ok(openat(images, FILE, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)?)
}

pub(super) fn write(images: BorrowedFd<'_>, links: &[String; 3]) -> Result<(), Error> {
    let text = serde_json::to_vec(links).map_err(std::io::Error::from).map_err(failed("write"))?;
    let file = open(images, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC);
    file.and_then(|mut file| file.write_all(&text)).map_err(failed("write"))
}

pub(super) fn read(images: BorrowedFd<'_>) -> Result<Vec<String>, Error> {
    let mut text = Vec::new();
    let file = open(images, OFlag::O_RDONLY).map_err(failed("read"))?;
    file.take(LONGEST).read_to_end(&mut text).map_err(failed("read"))?;
    // Three and no more: with a fourth an image would ask for what CRIU itself has open.
    serde_json::from_slice::<[String; 3]>(&text).map(Vec::from).map_err(|e| failed("read")(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd as _;
    use std::process::{Command, Stdio};

    #[test]
    fn a_pipe_of_its_own_is_told_from_one_to_outside() {
        let script = "{ echo ready; exec sleep 100; } | { read line; echo $line >&2; exec sleep 100; }";
        let (mut ready, stderr) = std::io::pipe().unwrap();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        ready.read_exact(&mut [0; 6]).unwrap();
        let init = i32::try_from(shell.id()).unwrap();
        let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
        let children: Vec<i32> = children.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let [writer, reader] = children[..] else { panic!("{children:?}") };
        let all = [init, writer, reader];
        let outside = of_container(init, &all);
        let inner = of_container(writer, &all);
        for pid in children {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        }
        shell.wait().unwrap();
        assert!(outside.iter().all(|link| link.starts_with("pipe:[")), "{outside:?}");
        assert_eq!((inner[0].clone(), inner[1].as_str()), (outside[0].clone(), ""), "{inner:?}");
    }

    #[test]
    fn a_named_pipe_of_the_hosts_is_told_by_mount_and_inode() {
        use std::os::unix::fs::MetadataExt as _;
        let path = std::env::temp_dir().join(format!("orlop-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let fifo = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let (inode, number) = (fifo.metadata().unwrap().ino(), fifo.as_raw_fd());
        let this = i32::try_from(std::process::id()).unwrap();
        let name = external_fifo(this, number, &BTreeSet::new()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mount: u64 = fdinfo(this, number, "mnt_id:").unwrap().parse().unwrap();
        assert_eq!(name, format!("file[{mount:x}:{inode:x}]"));
        assert!(is_external_file(&name));
        // One that the process can open by its path is its own affair, and so is what is no named pipe.
        assert_eq!(external_fifo(this, number, &mounts(this)), None);
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(external_fifo(this, reader.as_raw_fd(), &BTreeSet::new()), None);
        let null = File::open("/dev/null").unwrap();
        assert_eq!(external_fifo(this, null.as_raw_fd(), &BTreeSet::new()), None);
    }

    #[test]
    fn they_are_read_back() {
        let directory = std::env::temp_dir().join(format!("orlop-descriptors-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let fd = File::open(&directory).unwrap();
        let links = ["/dev/null".to_owned(), "pipe:[1]".to_owned(), String::new()];
        use std::os::fd::AsFd as _;
        assert!(
            read(fd.as_fd()).unwrap_err().to_string().starts_with("read descriptors.json of the images: ")
        );
        write(fd.as_fd(), &links).unwrap();
        assert_eq!(read(fd.as_fd()).unwrap(), links);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
