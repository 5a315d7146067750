//! From the units of version 1, which the specification uses, to those of version 2.

/// The weight of version 2 (1 to 10000, 100 being usual) for shares of version 1 (2 to 262144, 1024 being usual); 0 means
/// "not given" in both.
///
/// The ends and the usual values of both ranges correspond; between them the logarithms follow a parabola, as runc 1.3.2 and
/// crun 1.23 and later have it: 10 to the power of (l² + 125 l) / 612 - 7 / 34, where l is the logarithm of the shares to
/// the base 2, rounded up.
#[must_use]
pub fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1 | 2 => 1,
        262_144.. => 10_000,
        _ => {
            // Less than 2^18: exact.
            let shares = f64::from(u32::try_from(shares).unwrap_or(u32::MAX));
            let l = shares.log2();
            let weight = 10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil();
            // Between 1 and 10000 by the shares' range.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let weight = weight as u64;
            weight.clamp(1, 10_000)
        }
    }
}

/// The weight of version 2's `io.weight` (1 to 10000) for one of version 1 (10 to 1000): linear.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990
}

/// The swap that version 2 limits by itself, of a limit to memory and swap together: `None` for "not given", -1 for no limit.
///
/// # Errors
/// When it cannot be reckoned.
pub fn swap_beside(memory: Option<i64>, swap: Option<i64>) -> Result<Option<i64>, String> {
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    match (given(memory), given(swap)) {
        // No limit to memory alone means none to both.
        (Some(..=-1), None) | (_, Some(..=-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (Some(..=-1), Some(swap)) => Ok(Some(swap)),
        (None, Some(swap)) => Err(format!(
            "{swap} is memory and swap together, and without a memory limit version 2 cannot be told how much of it is swap"
        )),
        (Some(memory), Some(swap)) if swap < memory => {
            Err(format!("{swap} is memory and swap together, so not less than the memory limit, {memory}"))
        }
        (Some(memory), Some(swap)) => Ok(Some(swap - memory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_as_runc_and_crun_convert_them() {
        for (shares, weight) in [
            (0, 0),
            (1, 1),
            (2, 1),
            (3, 2),
            (102, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (65_536, 3023),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(shares_to_weight(shares), weight, "{shares}");
        }
        let all: Vec<u64> = (2..262_144).step_by(97).map(shares_to_weight).collect();
        assert!(all.is_sorted());
    }

    #[test]
    fn weights_of_block_devices() {
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }

    #[test]
    fn swap_is_what_is_beside_memory() {
        for (memory, swap, beside) in [
            (None, None, None),
            (Some(0), Some(0), None),
            (Some(5), None, None),
            (Some(-1), None, Some(-1)),
            (Some(-1), Some(7), Some(7)),
            (Some(5), Some(-1), Some(-1)),
            (None, Some(-1), Some(-1)),
            (Some(5), Some(5), Some(0)),
            (Some(5), Some(8), Some(3)),
        ] {
            assert_eq!(swap_beside(memory, swap), Ok(beside), "{memory:?} {swap:?}");
        }
        assert!(swap_beside(None, Some(8)).is_err());
        assert!(swap_beside(Some(8), Some(5)).is_err());
    }
}
