//! The pseudoterminal of a container with `process.terminal`.

use super::Context;
use super::path::{self, Kind};
use crate::sys::{self, Call, Fd, Result, SysError};
use libc::{O_NOCTTY, O_RDWR};

/// File system magic of devpts (`statfs(2)`).
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Makes the pseudoterminal in the container's devpts, sends its master away, and makes its slave the controlling terminal
/// and stdin, stdout and stderr.
pub fn make(cx: &mut Context<'_>, size: Option<(u16, u16)>, mount: bool) -> Result<()> {
    let socket = cx.console_socket.ok_or(SysError { call: Call::Sendmsg, errno: libc::ENOTCONN })?;
    let master = open_master(cx)?;
    sys::pty_unlock(master)?;
    let slave = sys::pty_peer(master)?;
    if let Some((rows, columns)) = size {
        sys::set_window_size(slave, rows, columns)?;
    }
    if mount {
        let target = path::locate_or_create(cx.root(), c"/dev/console", Kind::File)?;
        let tree = super::mounts::bind_onto(slave, false, target)?;
        sys::close(tree);
        sys::close(target);
    }
    sys::send_fd(socket, b"/dev/ptmx", master)?;
    sys::close(master);
    sys::close(socket);
    for n in 0..3 {
        sys::dup3(slave, Fd(n), true)?;
    }
    sys::set_controlling_terminal(Fd(0))?;
    sys::close(slave);
    cx.state.console = Some(Fd(0));
    Ok(())
}

/// Opens the multiplexer of the container's devpts, and makes sure that it is one: what an image put at `/dev/pts/ptmx` would
/// otherwise be handed to the engine as a terminal (CVE-2025-52565).
fn open_master(cx: &Context<'_>) -> Result<Fd> {
    let flags = O_RDWR | O_NOCTTY;
    let master = match path::open(cx.root(), c"/dev/pts/ptmx", flags) {
        // Unreadable by its mode (ptmxmode=000, the default): /dev/ptmx may be a node of its own.
        Err(e) if e.errno == libc::ENOENT || e.errno == libc::EACCES => {
            path::open(cx.root(), c"/dev/ptmx", flags)?
        }
        r => r?,
    };
    let there = sys::fstat(master)?;
    let (magic, _) = sys::fstatfs(master)?;
    let right = there.file_type() == libc::S_IFCHR && there.rdev == libc::makedev(5, 2);
    if !right || magic != DEVPTS_SUPER_MAGIC {
        return Err(SysError { call: Call::Check, errno: libc::ENXIO });
    }
    Ok(master)
}
