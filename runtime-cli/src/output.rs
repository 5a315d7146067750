//! Standard output: one buffer, written once.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::write;
use orlop_core::sys::Reason;

use crate::failure::Failure;

/// Writes all of `text` to standard output.
///
/// # Errors
/// A silent [`Failure`] when the reader has gone (`orlop list | head -0`), one with words for anything else.
pub fn print(text: &str) -> Result<(), Failure> {
    write_all(io::stdout().as_fd(), text.as_bytes()).map_err(|errno| match errno {
        Errno::EPIPE => Failure::broken_pipe(),
        errno => Failure::new(format!("cannot write to standard output: {}", Reason::from(errno))),
    })
}

/// Writes all of `bytes` to a descriptor, without a buffer between.
///
/// # Errors
/// The error number of write(2).
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd.as_fd(), bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Lays out a table as runc's `list` does: columns at least twelve wide, three blanks between.
pub fn table(rows: &[Vec<String>]) -> String {
    const LEAST: usize = 12;
    const GAP: usize = 3;
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(LEAST)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if index + 1 < row.len() {
                let blanks = widths[index] - cell.chars().count();
                out.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_columns_scripts_cut_at() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = vec![row(&["ID", "PID", "OWNER"]), row(&["a-rather-long-id", "7", "root"])];
        assert_eq!(
            table(&rows),
            "ID                 PID         OWNER\na-rather-long-id   7           root\n"
        );
    }

    #[test]
    fn output_that_nobody_reads_is_a_broken_pipe() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        assert_eq!(write_all(&writer, b"x"), Err(Errno::EPIPE));
    }
}
