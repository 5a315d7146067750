//! The image's /etc/passwd, read in pieces, and the host's, for `orlop list`: whatever they hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;

#[path = "../../runtime-cli/src/owners.rs"]
mod owners;
#[path = "../../runtime-core/src/launch/child/users.rs"]
mod users;

fuzz_target!(|input: (u32, u8, &[u8])| {
    let (uid, piece, database) = input;
    let piece = usize::from(piece).max(1);
    if database.len() / piece >= users::MAX_CHUNKS - 1 {
        return;
    }
    let home = find(database, piece, uid);
    assert_eq!(home, simply(database, uid), "pieces of {piece}");
    if let Ok(text) = std::str::from_utf8(database) {
        assert!(!owners::Owners::new(text).name(uid).contains([':', '\n']));
    }
});

fn find(database: &[u8], piece: usize, uid: u32) -> Option<Vec<u8>> {
    let mut rest = database;
    let mut line = [0; users::MAX_LINE];
    let length = users::find_user::<Infallible>(
        |chunk| {
            let n = piece.min(rest.len()).min(chunk.len());
            chunk[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        },
        uid,
        &mut line,
    );
    length.expect("reading does not fail").map(|length| users::home_of(&line[..length]).to_vec())
}

/// The same, said shortly.
fn simply(database: &[u8], uid: u32) -> Option<Vec<u8>> {
    database.split(|byte| *byte == b'\n').filter(|line| line.len() <= users::MAX_LINE).find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let digits = std::str::from_utf8(fields.get(2)?).ok()?;
        let ours = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse() == Ok(uid);
        let home = fields.get(5).filter(|home| !home.is_empty()).map_or(b"/".to_vec(), |home| home.to_vec());
        ours.then_some(home)
    })
}
