//! Numbers as people read them. One unit a figure, and the same figure always looks the same.

use std::time::Duration;

/// `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 chunk`, `3 chunks`
pub(crate) fn plural(number: u64, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {word}{s}", count(number))
}

/// `0 B`, `1023 B`, `1.0 KiB`, `340.1 MiB`
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = to_f64(bytes) / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 05 min`, `3 d 04 h`
pub(crate) fn span(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        return format!("{:.1} s", time.as_secs_f64());
    }
    let seconds = time.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A span in its largest unit only: `40 s`, `12 min`, `5 h`, `3 d`
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `24%`; below 100 % until all is done.
pub(crate) fn percent(fraction: f64) -> String {
    format!("{:.0}%", (fraction.clamp(0.0, 1.0) * 100.0).floor())
}

/// `2026-11-22 14:50:53 UTC`; `-` where the time isn't known.
pub(crate) fn moment(unix_ms: u64) -> String {
    let known = i64::try_from(unix_ms).ok().filter(|&ms| ms > 0);
    match known.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => "-".to_owned(),
    }
}

/// A count as a float; exact up to 2^53, which is exact enough to be shown.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}

/// How many of something a second; 0 before a moment has passed.
pub(crate) fn per_second(number: u64, time: Duration) -> u64 {
    if time < Duration::from_millis(1) {
        return 0;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // not negative, and saturating
    let rate = (to_f64(number) / time.as_secs_f64()) as u64;
    rate
}

/// Lines of a table: columns as wide as they need to be, two blanks between; a column whose header starts with `>` is
/// right-aligned.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let right: Vec<bool> = headers.iter().map(|header| header.starts_with('>')).collect();
    let headers: Vec<String> = headers.iter().map(|header| header.trim_start_matches('>').to_owned()).collect();
    let lines = || std::iter::once(&headers).chain(rows);
    let widths: Vec<usize> = (0..headers.len())
        .map(|column| lines().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let aligned = |line: &Vec<String>| {
        let cells =
            line.iter().zip(&widths).zip(&right).map(|((cell, &width), &right)| {
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines().map(aligned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 7, 999, 1_000, 1_234_567, u64::MAX].into_iter().map(count).collect();
        assert_eq!(shown, ["0", "7", "999", "1,000", "1,234,567", "18,446,744,073,709,551,615"]);
        assert_eq!((plural(1, "chunk"), plural(2_000, "row")), ("1 chunk".into(), "2,000 rows".into()));
    }

    #[test]
    fn sizes_have_one_unit_and_never_show_1024_of_it() {
        let given = [0, 1023, 1024, 1_048_575, 1 << 20, 356_620_698, 5 << 40, u64::MAX];
        let shown: Vec<String> = given.into_iter().map(size).collect();
        let want = ["0 B", "1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB", "340.1 MiB", "5.0 TiB", "16.0 EiB"];
        assert_eq!(shown, want);
    }

    #[test]
    fn spans_show_two_units_and_ages_one() {
        let shown = |seconds| (span(Duration::from_secs(seconds)), age(Duration::from_secs(seconds)));
        assert_eq!(span(Duration::from_millis(420)), "0.4 s");
        assert_eq!(shown(12), ("12 s".into(), "12 s".into()));
        assert_eq!(shown(185), ("3 min 05 s".into(), "3 min".into()));
        assert_eq!(shown(7_500), ("2 h 05 min".into(), "2 h".into()));
        assert_eq!(shown(273_600), ("3 d 04 h".into(), "3 d".into()));
    }

    #[test]
    fn moments_are_utc_and_unknown_ones_a_dash() {
        assert_eq!(moment(1_795_359_053_000), "2026-11-22 14:50:53 UTC");
        assert_eq!(moment(0), "-");
    }

    #[test]
    fn a_rate_before_any_time_is_zero() {
        assert_eq!(per_second(10, Duration::ZERO), 0);
        assert_eq!(per_second(3_000, Duration::from_millis(1_500)), 2_000);
        assert_eq!((percent(0.999), percent(1.0), percent(7.0)), ("99%".into(), "100%".into(), "100%".into()));
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right() {
        let rows = [vec!["orders".to_owned(), "7".to_owned()], vec!["a".to_owned(), "1,000".to_owned()]];
        assert_eq!(table(&["table", ">rows"], &rows), ["table    rows", "orders      7", "a       1,000"]);
    }
}
