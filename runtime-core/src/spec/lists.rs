//! Lists of numbers as cpusets write them: `0-3,7`.

use std::ops::RangeInclusive;

/// The highest CPU number any kernel is built for (`CONFIG_NR_CPUS` at most 8192).
pub const MAX_CPU: u32 = 8191;

/// The highest NUMA node number any kernel is built for (`CONFIG_NODES_SHIFT` at most 10).
pub const MAX_NODE: u32 = 1023;

/// Reads a list such as `0-3,7`: comma-separated numbers and ascending ranges, none above `max`.
///
/// # Errors
/// What is wrong with it, in words that name the part.
pub fn parse_list(list: &str, max: u32) -> Result<Vec<RangeInclusive<u32>>, String> {
    list.split(',').map(|part| parse_part(list, part, max)).collect()
}

fn parse_part(list: &str, part: &str, max: u32) -> Result<RangeInclusive<u32>, String> {
    let (low, high) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| -> Result<u32, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{list:?} is not a list of numbers and ranges such as \"0-3,7\""));
        }
        match text.parse() {
            Ok(number) if number <= max => Ok(number),
            _ => Err(format!("{text} is above {max}, the highest number possible")),
        }
    };
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        return Err(format!("the range {part:?} is descending"));
    }
    Ok(low..=high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-3,7", MAX_CPU), Ok(vec![0..=3, 7..=7]));
        assert_eq!(parse_list("8191", MAX_CPU), Ok(vec![8191..=8191]));
        assert_eq!(
            parse_list("8192", MAX_CPU).unwrap_err(),
            "8192 is above 8191, the highest number possible"
        );
        assert_eq!(parse_list("3-1", MAX_CPU).unwrap_err(), "the range \"3-1\" is descending");
        for bad in ["", ",", "1,", "-", "1-", "-1", "a", "1-2-3", "+1", " 1", "0x1", "\u{661}"] {
            assert_eq!(
                parse_list(bad, MAX_CPU).unwrap_err(),
                format!("{bad:?} is not a list of numbers and ranges such as \"0-3,7\"")
            );
        }
        assert!(parse_list("99999999999999999999", MAX_CPU).is_err());
    }
}
