//! Verbs that use more than a container may be allowed: processes, memory, processor time, huge pages, a disk.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::{Duration, Instant};

use conformance::sys;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;

use crate::verbs::{Outcome, errno_name, number, say};

/// Makes up to N children that stay, then says how many there were and why no more, and ends them.
pub fn bomb(args: &[String]) -> Outcome {
    let most: usize = number(args, 0, "bomb N")?;
    let mut children = Vec::new();
    let why = loop {
        if children.len() == most {
            break "enough".to_owned();
        }
        match sys::fork_child(|| {
            thread::sleep(Duration::from_secs(60));
            0
        }) {
            Ok(child) => children.push(child),
            Err(error) => break errno_name(&error),
        }
    };
    say(&format!("{} {why}", children.len()))?;
    for child in children {
        kill(child, Signal::SIGKILL)?;
        waitpid(child, None)?;
    }
    Ok(0)
}

/// Takes so many bytes of memory, and writes to each page of it.
pub fn eat(args: &[String]) -> Outcome {
    let bytes: usize = number(args, 0, "eat BYTES")?;
    let mut taken = vec![0_u8; bytes];
    taken.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let kept: usize = std::hint::black_box(&taken).iter().step_by(4096).map(|byte| usize::from(*byte)).sum();
    say(&format!("{kept} pages"))
}

/// Does nothing, hard, for so many seconds of the clock; says how many milliseconds of a processor it had.
pub fn burn(args: &[String]) -> Outcome {
    let seconds: f64 = number(args, 0, "burn SECONDS")?;
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds {
        std::hint::spin_loop();
    }
    let used = getrusage(UsageWho::RUSAGE_SELF)?.user_time();
    say(&(used.tv_sec() * 1000 + used.tv_usec() / 1000).to_string())
}

/// Maps so many bytes of huge pages of 2 MB.
pub fn huge(args: &[String]) -> Outcome {
    sys::map_huge_pages(number(args, 0, "huge BYTES")?)?;
    say("ok")
}

/// Reads so many bytes of a file past the page cache; says how many milliseconds that took.
pub fn read_direct(args: &[String]) -> Outcome {
    const BLOCK: usize = 1 << 16;
    let what = "read-direct PATH BYTES";
    let path = args.first().map_or("", String::as_str);
    let bytes: usize = number(args, 1, what)?;
    let started = Instant::now();
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)?;
    // The kernel wants an address that is a multiple of the disk's block.
    let mut space = vec![0_u8; BLOCK + 4096];
    let at = space.as_ptr().align_offset(4096);
    for _ in 0..bytes.div_ceil(BLOCK) {
        let block = space.get_mut(at..at + BLOCK).ok_or(io::ErrorKind::OutOfMemory)?;
        file.read_exact(block)?;
    }
    say(&started.elapsed().as_millis().to_string())
}
