//! How visitors come by day and by night: many in the afternoon, few before dawn, and never quite
//! the same from one minute to the next; pure.

use xxhash_rust::xxh3::xxh3_64;

const MINUTE_MS: u128 = 60_000;
const MINUTES_OF_DAY: u64 = 24 * 60;

/// How busy each hour of a day (UTC) is, in percent of the average.
const HOURS: [u64; 24] = [
    55, 45, 38, 34, 33, 38, 50, 70, 95, 120, 138, 145, 140, 148, 158, 160, 155, 148, 142, 140, 135,
    120, 95, 78,
];

/// A number of entries, spread over the minutes of a time.
#[derive(Debug, Clone)]
pub struct Days {
    entries: u64,
    /// For each minute, how busy it and those before it are together.
    ends: Vec<u64>,
}

impl Days {
    /// So many entries, within so many minutes from that one on, which is counted from 1970.
    #[must_use]
    pub fn new(first_minute: u64, minutes: u64, entries: u64) -> Self {
        let mut sum = 0;
        let ends = (first_minute..first_minute + minutes.max(1)).map(|minute| {
            // Never more than a fifth off.
            let noise = 80 + xxh3_64(&minute.to_le_bytes()) % 41;
            sum += busyness_percent(minute) * noise;
            sum
        });
        Self { ends: ends.collect(), entries: entries.max(1) }
    }

    /// When an entry with so many before it is received, in ms from the start.
    pub(super) fn time_ms(&self, before: u128) -> i64 {
        let all = u128::from(self.ends.last().copied().unwrap_or_default());
        let at = before * all / u128::from(self.entries);
        let minute = self.ends.partition_point(|end| u128::from(*end) <= at);
        let minute = minute.min(self.ends.len() - 1);
        let begin = minute.checked_sub(1).map_or(0, |before| u128::from(self.ends[before]));
        let width = u128::from(self.ends[minute]) - begin;
        let within = (at.saturating_sub(begin) * MINUTE_MS / width.max(1)).min(MINUTE_MS - 1);
        i64::try_from(minute as u128 * MINUTE_MS + within).unwrap_or(i64::MAX)
    }
}

/// How busy a minute, counted from 1970, is in percent of an average one.
#[must_use]
pub fn busyness_percent(minute: u64) -> u64 {
    let of_day = minute % MINUTES_OF_DAY;
    let (hour, past) = ((of_day / 60) as usize, of_day % 60);
    // From the middle of an hour to that of the next, in a straight line.
    (HOURS[hour] * (60 - past) + HOURS[(hour + 1) % HOURS.len()] * past) / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26T00:00:00Z
    const MIDNIGHT: u64 = 1_795_651_200 / 60;

    #[test]
    fn days_have_a_night() {
        assert_eq!(MIDNIGHT % MINUTES_OF_DAY, 0);
        let entries = 100_000;
        let days = Days::new(MIDNIGHT, 2 * MINUTES_OF_DAY, entries);
        let mut hours = [0_u32; 48];
        let mut before = 0;
        for entry in 0..entries {
            let time = days.time_ms(u128::from(entry));
            assert!(time >= before, "times go on");
            before = time;
            hours[usize::try_from(time / 3_600_000).expect("after the start")] += 1;
        }
        assert!(before < 2 * 24 * 3_600_000, "no entry is after the end");
        assert!(hours[15] > 3 * hours[3] && hours[39] > 3 * hours[27], "{hours:?}");
        assert!(hours.iter().all(|requests| *requests > 500), "{hours:?}");
    }

    #[test]
    fn an_average_minute_is_one() {
        let all: u64 = (0..MINUTES_OF_DAY).map(busyness_percent).sum();
        let average = all / MINUTES_OF_DAY;
        assert!((98..=108).contains(&average), "{average}");
    }

    #[test]
    fn more_entries_than_were_meant_come_at_the_end() {
        let days = Days::new(0, 1, 10);
        assert_eq!(days.time_ms(10_000), 59_999);
    }
}
