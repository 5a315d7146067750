//! The time of day as RFC 3339 writes it.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH_FROM_MARCH_0000: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

/// Now, in UTC, with nanoseconds.
#[must_use]
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_nanos())
}

/// A time given in seconds and nanoseconds after 1970, as `2024-02-29T23:59:59.000000001Z`.
///
/// Zeros at the end of the fraction are left out, and with them an empty fraction: engines read this with Go's
/// `RFC3339Nano`, which writes the same.
#[must_use]
pub fn rfc3339(seconds: u64, nanoseconds: u32) -> String {
    let (year, month, day) = civil(seconds / DAY);
    let in_day = seconds % DAY;
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanoseconds > 0 {
        let fraction = format!(".{nanoseconds:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// The date of a day counted from 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year and the lengths of the months follow
/// one linear formula.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_FROM_MARCH_0000;
    let cycle = days / DAYS_OF_400_YEARS;
    let in_cycle = days % DAYS_OF_400_YEARS;
    let year_of_cycle = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_251_199, 1, "2024-02-29T23:59:59.000000001Z"),
            (1_709_251_200, 120_000_000, "2024-03-01T00:00:00.12Z"),
            (4_107_542_400, 10, "2100-03-01T00:00:00.00000001Z"),
            (4_107_542_399, 0, "2100-02-28T23:59:59Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds, nanoseconds), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for n in 0..DAYS_OF_400_YEARS {
            assert_eq!(civil(n), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
