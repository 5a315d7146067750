//! Which process a recorded pid means (invariant I8).

use std::fs;
use std::io::Read as _;

/// What has become of a process that was recorded by its pid and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcState {
    /// It is no more; the pid is free or belongs to another process.
    Gone,
    /// It has exited and waits to be reaped.
    Zombie,
    /// It lives, in the state whose letter `proc_pid_stat(5)` gives.
    Alive(char),
}

/// The start time of a process, in clock ticks after boot; `None` if there is no such process.
#[must_use]
pub fn process_start_time(pid: i32) -> Option<u64> {
    read_stat(pid).map(|(_, start_time)| start_time)
}

/// Whether a process has been stopped by a signal (`SIGSTOP`, `SIGTSTP`).
#[must_use]
pub fn is_stopped(pid: i32) -> bool {
    read_stat(pid).is_some_and(|(state, _)| state == 'T')
}

/// What has become of the process that had this pid and started at this time.
#[must_use]
pub fn identify(pid: i32, start_time: u64) -> ProcState {
    match read_stat(pid) {
        Some((state, at)) if at == start_time => match state {
            'Z' => ProcState::Zombie,
            'X' | 'x' => ProcState::Gone,
            letter => ProcState::Alive(letter),
        },
        _ => ProcState::Gone,
    }
}

fn read_stat(pid: i32) -> Option<(char, u64)> {
    // The kernel writes the file in one go and it is shorter than this, so that one read gets all.
    let mut buffer = [0_u8; 2048];
    parse_stat(read_line(pid, &mut buffer)?)
}

fn read_line(pid: i32, buffer: &mut [u8]) -> Option<&[u8]> {
    if pid <= 0 {
        return None;
    }
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(buffer).ok()?;
    buffer.get(..length)
}

/// Whether a process has become another program since it was made, also when it has ended since; `None` when it is reaped.
#[must_use]
pub fn has_executed(pid: i32) -> Option<bool> {
    let mut buffer = [0_u8; 2048];
    executed(read_line(pid, &mut buffer)?)
}

/// `PF_FORKNOEXEC` among the flags of the process, which is field 9.
fn executed(line: &[u8]) -> Option<bool> {
    const FORKED_AND_NO_EXEC: u32 = 0x40;
    let flags: u32 = fields(line)?.nth(6)?.parse().ok()?;
    Some(flags & FORKED_AND_NO_EXEC == 0)
}

/// The fields of a line of `/proc/PID/stat` from the third on.
///
/// The name of the command is whatever the process likes, with parentheses and blanks in it; it ends at the last
/// closing parenthesis, as only numbers follow.
fn fields(line: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = line.iter().rposition(|&b| b == b')')?;
    Some(std::str::from_utf8(line.get(end + 1..)?).ok()?.split_ascii_whitespace())
}

/// The state letter and the start time.
fn parse_stat(line: &[u8]) -> Option<(char, u64)> {
    let mut fields = fields(line)?;
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start time field 22: 18 lie between.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const TAIL: &str = "1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 88";

    #[test]
    fn a_name_may_hold_anything() {
        for name in ["sh", "a b", ") R 1 2 3", "(((", "x) Z 9", "\n)"] {
            assert_eq!(parse_stat(format!("12 ({name}) S {TAIL}").as_bytes()), Some(('S', 4711)), "{name}");
        }
        assert_eq!(parse_stat(b"12 (\xff\xfe) S 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 5 9"), Some(('S', 5)));
    }

    #[test]
    fn a_fork_is_known_from_a_program() {
        assert_eq!(executed(b"12 (x) S 1 7 7 0 -1 4194560 1 2"), Some(true));
        assert_eq!(executed(b"12 (x) S 1 7 7 0 -1 4194624 1 2"), Some(false));
        assert_eq!(executed(b"12 (x) S 1"), None);
        let mut child = Command::new("sleep").arg("9").spawn().unwrap();
        // Whoever has made it goes on a moment before the kernel takes note.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while has_executed(child.id().cast_signed()) != Some(true) {
            assert!(std::time::Instant::now() < deadline, "it has not executed");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(has_executed(child.id().cast_signed()), None);
    }

    #[test]
    fn a_line_cut_short_is_no_process() {
        for line in [
            "",
            "12",
            "12 (x",
            "12 (x)",
            "12 (x) S",
            "12 (x) S 1 2 3",
            "12 (x) S 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 x",
        ] {
            assert_eq!(parse_stat(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_child_is_alive_then_a_zombie_then_gone() {
        let mut child = Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start = process_start_time(pid).unwrap();
        assert!(matches!(identify(pid, start), ProcState::Alive(_)));
        assert_eq!(identify(pid, start + 1), ProcState::Gone, "another process's start time");
        drop(child.stdin.take());
        // The exit shows as a zombie until the wait below; how soon is the scheduler's.
        while identify(pid, start) != ProcState::Zombie {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(identify(pid, start), ProcState::Gone);
        assert_eq!(process_start_time(pid), None);
    }

    #[test]
    fn no_pid_is_never_alive() {
        assert_eq!(identify(0, 0), ProcState::Gone);
        assert_eq!(identify(-1, 0), ProcState::Gone);
    }
}
