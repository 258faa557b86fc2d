//! The time at the start of a line: RFC 3339 in UTC with microseconds.

use super::write::six_digits;
use std::{io::Write as _, time::Duration};

const SECONDS_PER_DAY: u64 = 86_400;

/// Formats times. Remembers the text of the current second.
#[derive(Default)]
pub(super) struct Timestamp {
    second: Option<u64>,
    /// As `2026-01-31T23:59:59.`.
    text: Vec<u8>,
}

impl Timestamp {
    /// Appends a time, which counts from the beginning of 1970.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, unix: Duration) {
        let second = unix.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let (year, month, day) = date(second / SECONDS_PER_DAY);
            let of_day = second % SECONDS_PER_DAY;
            let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
            let _in_memory = write!(self.text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
        }
        out.extend_from_slice(&self.text);
        six_digits(out, unix.subsec_micros());
        out.push(b'Z');
    }
}

/// Returns year, month and day of a day, counted from 1970-01-01. The year begins in March here, so that the leap day is the
/// last one.
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_UNTIL_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let day = day + DAYS_UNTIL_1970;
    let (era, day) = (day / DAYS_PER_ERA, day % DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + is_next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days_of = |year: u64, month: u64| match month {
            2 => 28 + u64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for number in 0..146_097 {
            assert_eq!(date(number), (year, month, day), "day {number}");
            day += 1;
            if day > days_of(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn the_text_changes_with_the_second() {
        let mut timestamp = Timestamp::default();
        let mut text = |unix: Duration| {
            let mut out = Vec::new();
            timestamp.write(&mut out, unix);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Duration::ZERO), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(Duration::from_micros(1_790_000_000_000_001)), "2026-09-21T14:13:20.000001Z");
        assert_eq!(text(Duration::from_micros(1_790_000_000_999_999)), "2026-09-21T14:13:20.999999Z");
        assert_eq!(text(Duration::from_secs(1_790_000_001)), "2026-09-21T14:13:21.000000Z");
    }
}
