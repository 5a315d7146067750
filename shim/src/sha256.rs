//! SHA-256 (FIPS 180-4), for the name of a socket: two groups of containers must never meet on one, whatever their names.

/// The fractional parts of the square roots of the first eight primes.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The fractional parts of the cube roots of the first 64 primes, worked out when they are needed: this runs once.
fn constants() -> [u32; 64] {
    let mut out = [0; 64];
    let mut candidate = 2_u64;
    for slot in &mut out {
        while (2..candidate).take_while(|d| d * d <= candidate).any(|d| candidate.is_multiple_of(d)) {
            candidate += 1;
        }
        *slot = cube_root_fraction(candidate);
        candidate += 1;
    }
    out
}

/// The first 32 bits after the point of the cube root of `prime`: the largest r with r^3 <= prime * 2^96, less its upper bits.
fn cube_root_fraction(prime: u64) -> u32 {
    let mut root = 0_u128;
    for bit in (0..36).rev() {
        let next = root | 1 << bit;
        if next * next * next <= u128::from(prime) << 96 {
            root = next;
        }
    }
    let [.., a, b, c, d] = root.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn block(state: &mut [u32; 8], chunk: &[u8], k: &[u32; 64]) {
    let mut w = [0_u32; 64];
    for (word, bytes) in w.iter_mut().zip(chunk.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for i in 16..64 {
        let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ w[i - 15] >> 3;
        let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (k, w) in k.iter().zip(w) {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(*k).wrapping_add(w);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        (h, g, f, e, d, c, b, a) =
            (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(s0).wrapping_add(majority));
    }
    for (total, part) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *total = total.wrapping_add(part);
    }
}

/// The digest of `message` in lower-case hexadecimal.
#[must_use]
pub fn hex_digest(message: &[u8]) -> String {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let (mut state, k) = (START, constants());
    for chunk in padded.chunks_exact(64) {
        block(&mut state, chunk, &k);
    }
    state.iter().map(|word| format!("{word:08x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::hex_digest;

    #[test]
    fn the_digests_are_those_of_the_standard() {
        for (message, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            assert_eq!(hex_digest(message.as_bytes()), digest);
        }
        // Lengths around the border of a block.
        let all: Vec<_> = (54..66).map(|n| hex_digest(&vec![b'a'; n])).collect();
        assert_eq!(all[10], "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb", "64 times a");
    }
}
