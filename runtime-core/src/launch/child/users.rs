//! The container's user database, a file of the image's: read in pieces, without memory of its own.
//!
//! Uses nothing of the crate, so that the fuzzer can take it in as it is.

/// Longer lines are passed over.
pub const MAX_LINE: usize = 1024;
/// Bounds what is read of a database without an end.
pub const MAX_CHUNKS: usize = 4096;

/// Puts the line of user `uid` into `line`, and returns its length.  `read` gives the next piece, and 0 at the end.
pub fn find_user<E>(
    mut read: impl FnMut(&mut [u8]) -> Result<usize, E>,
    uid: u32,
    line: &mut [u8; MAX_LINE],
) -> Result<Option<usize>, E> {
    let mut chunk = [0; 4096];
    let mut length = 0;
    for _ in 0..MAX_CHUNKS {
        let n = read(&mut chunk)?;
        for byte in chunk.get(..n).unwrap_or_default() {
            if *byte == b'\n' {
                if is_user(line.get(..length).unwrap_or_default(), uid) {
                    return Ok(Some(length));
                }
                length = 0;
            } else {
                if let Some(space) = line.get_mut(length) {
                    *space = *byte;
                }
                // Runs past the end for a line too long, which then is not looked at.
                length = length.saturating_add(1);
            }
        }
        if n == 0 {
            return Ok(is_user(line.get(..length).unwrap_or_default(), uid).then_some(length));
        }
    }
    Ok(None)
}

/// The home of a line; `/` where it names none.
pub fn home_of(line: &[u8]) -> &[u8] {
    // name:password:uid:gid:gecos:home:shell (passwd(5))
    line.split(|b| *b == b':').nth(5).filter(|home| !home.is_empty()).unwrap_or(b"/")
}

fn is_user(line: &[u8], uid: u32) -> bool {
    let Some(field) = line.split(|b| *b == b':').nth(2) else { return false };
    let number = field.iter().try_fold(0u32, |n, b| {
        let digit = b.checked_sub(b'0').filter(|d| *d < 10)?;
        n.checked_mul(10)?.checked_add(digit.into())
    });
    !field.is_empty() && number == Some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn home(database: &[u8], piece: usize, uid: u32) -> Option<Vec<u8>> {
        let mut pieces = database.chunks(piece);
        let mut line = [0; MAX_LINE];
        let read = |chunk: &mut [u8]| {
            let next = pieces.next().unwrap_or_default();
            chunk[..next.len()].copy_from_slice(next);
            Ok::<_, Infallible>(next.len())
        };
        let length = find_user(read, uid, &mut line).expect("reading does not fail");
        length.map(|length| home_of(&line[..length]).to_vec())
    }

    #[test]
    fn however_it_is_cut() {
        let long = [b"x:x:7:7:".as_slice(), &[b'g'; MAX_LINE], b":/long:\n"].concat();
        let rest = b"bad\n::\na:x:4294967296::/a:\nroot:x:0:0:r:/root:/bin/sh\nann:x:1000:1000::/home/ann\nb:x:7:7:::\nb:x:7:::/2:";
        let database = [&long, rest.as_slice()].concat();
        for piece in [1, 2, 3, 100, 4096] {
            assert_eq!(home(&database, piece, 0).as_deref(), Some(b"/root".as_slice()));
            assert_eq!(home(&database, piece, 1000).as_deref(), Some(b"/home/ann".as_slice()));
            assert_eq!(
                home(&database, piece, 7).as_deref(),
                Some(b"/".as_slice()),
                "the long line is passed over"
            );
            assert_eq!(home(&database, piece, 3), None);
        }
    }

    #[test]
    fn an_endless_one_is_left() {
        let mut reads = 0;
        let endless = |chunk: &mut [u8]| {
            reads += 1;
            chunk.fill(b':');
            Ok::<_, Infallible>(chunk.len())
        };
        assert_eq!(find_user(endless, 0, &mut [0; MAX_LINE]), Ok(None));
        assert_eq!(reads, MAX_CHUNKS);
    }
}
