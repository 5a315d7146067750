//! What CRIU's log says about a failure, in one line.

use crate::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The log of a large container has some megabytes.
const LONGEST: u64 = 64 << 20;
/// Lines beyond these repeat what follows from the first ones.
const LINES: usize = 4;

/// What is said of any run, and is no reason for a failure.
const NOISE: [&str; 4] =
    ["rlimit: Can't setup RLIMIT_NOFILE", "FAILED.", "tun: Unable to create tun", "cgroupd: recv req error"];

/// What helps, where CRIU's own words lead astray.
const HINTS: [(&str, &str); 4] = [
    (
        "tables-restore",
        " (CRIU locks the network by iptables; /etc/criu/runc.conf may name another way: \"network-lock nftables\", or \"network-lock skip\")",
    ),
    (
        "mnt: No mapping for",
        " (the images have a mount of the host's, or NOTIFY_SOCKET's, that the bundle and the environment of the restore lack)",
    ),
    (
        ".img: Permission denied",
        " (the root of the container's user namespace must be able to search the directory of the images)",
    ),
    // To serve pages it makes a pipe of 819 pages, and does not look whether it has got it.
    (
        "page-pipe: splice: -1",
        " (CRIU was refused a pipe of 3.2 MiB: serving memory needs CAP_SYS_RESOURCE, or a larger /proc/sys/fs/pipe-max-size)",
    ),
];

/// An error with what the log at `path` says about it; if there is none, with what CRIU itself said.
pub(super) fn explain(error: Error, said: &str, path: &Path) -> Error {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    match read.ok().and_then(|_| errors(&String::from_utf8_lossy(&text))) {
        Some(errors) => Error::because(error.kind(), format!("{error} ({})", path.display()), errors),
        None if said.is_empty() => error,
        None => Error::because(error.kind(), error.to_string(), said.trim().replace('\n', "; ")),
    }
}

fn errors(log: &str) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once("Error (") else { continue };
        // `file.c:123): what has happened`
        let message = rest.split_once("): ").map_or(rest, |(_, message)| message).trim();
        let known = found.contains(&message) || NOISE.iter().any(|noise| message.contains(noise));
        if !known && found.len() < LINES {
            found.push(message);
        }
    }
    let mut text = found.join("; ");
    let hint = HINTS.iter().find(|(words, _)| text.contains(words)).map(|(_, hint)| hint);
    hint.into_iter().for_each(|hint| text.push_str(hint));
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_picked_out_of_the_noise() {
        let log = "(00.033330) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
                   (00.034) net: Lock network\n\
                   (00.035) Error (criu/files-reg.c:1): Can't lookup mount=5 for fd=1 path=/tmp/log\n\
                   (00.035) Error (criu/files-reg.c:1): Can't lookup mount=5 for fd=1 path=/tmp/log\n\
                   (00.038) Error (criu/cr-dump.c:1975): Dumping FAILED.\n";
        assert_eq!(errors(log).as_deref(), Some("Can't lookup mount=5 for fd=1 path=/tmp/log"));
        assert_eq!(errors("(00.1) all is well\n"), None);
    }

    #[test]
    fn what_cannot_be_had_has_a_way_out() {
        let log =
            "Error (criu/util.c:642): execvp(\"iptables-restore\", ...) failed: No such file or directory\n";
        let text = errors(log).unwrap();
        let log = "(04.0) Error (criu/page-pipe.c:424): page-pipe: splice: -1: Bad file descriptor\n";
        assert!(errors(log).unwrap().contains("CAP_SYS_RESOURCE"));
        assert!(
            text.starts_with("execvp(\"iptables-restore\", ...) failed: No such file")
                && text.contains("network-lock")
        );
    }
}
