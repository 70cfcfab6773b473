//! The server's thresholds for batches and its patience with counters: the text of its settings, read. Pure.

use std::time::Duration;

use super::pack::Limits;

/// Cassandra's `batch_size_warn_threshold` where it can't be read.
const WARN_BYTES: usize = 5 << 10;
/// Cassandra's `batch_size_fail_threshold` where it can't be read.
const FAIL_BYTES: usize = 50 << 10;
/// Cassandra's `unlogged_batch_across_partitions_warn_threshold` where it can't be read.
const PARTITIONS: usize = 10;

/// The settings that matter here, in each spelling: Cassandra 4.0 and Scylla, then Cassandra since 4.1.
pub(super) const SETTINGS: [&str; 7] = [
    "batch_size_warn_threshold_in_kb",
    "batch_size_warn_threshold",
    "batch_size_fail_threshold_in_kb",
    "batch_size_fail_threshold",
    "unlogged_batch_across_partitions_warn_threshold",
    "counter_write_request_timeout_in_ms",
    "counter_write_request_timeout",
];

/// Cassandra's `counter_write_request_timeout` where it can't be read.
const COUNTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Twice the time that an increment may take: by then it has landed or never will.
pub(super) fn landing_time(settings: &[(String, String)]) -> Duration {
    let timeout = settings.iter().find_map(|(key, value)| {
        let unit = match key.as_str() {
            "counter_write_request_timeout_in_ms" | "counter_write_request_timeout" => "ms",
            _ => return None,
        };
        duration(value, unit)
    });
    timeout.unwrap_or(COUNTER_TIMEOUT).saturating_mul(2)
}

/// `5000`, `5000ms`, `5s`: a number of `unit`, or of the unit it names.
fn duration(text: &str, unit: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    match if digits == text.len() { unit } else { &text[digits..] } {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

/// Limits from name and value of the settings that could be read. `rows_max`: the user's `--batch-size`, 0 for automatic. A
/// user who asks for a number of rows gets it up to half of what the server refuses; it may log warnings then.
pub(super) fn limits(settings: &[(String, String)], rows_max: u32) -> Limits {
    let bytes_of = |name: &str| {
        settings.iter().find_map(|(key, value)| {
            let unit = if key.ends_with("_in_kb") { 1 << 10 } else { 1 };
            (key.trim_end_matches("_in_kb") == name).then(|| size(value, unit)).flatten()
        })
    };
    let warn = bytes_of("batch_size_warn_threshold").unwrap_or(WARN_BYTES);
    let fail = bytes_of("batch_size_fail_threshold").unwrap_or(FAIL_BYTES);
    let partitions = settings
        .iter()
        .find(|(key, _)| key == "unlogged_batch_across_partitions_warn_threshold")
        .and_then(|(_, value)| value.trim().parse().ok())
        .filter(|&partitions| partitions > 0)
        .unwrap_or(PARTITIONS);
    match usize::try_from(rows_max).unwrap_or(usize::MAX) {
        0 => Limits { bytes_max: warn.min(fail), partitions_max: partitions, rows_max: None },
        rows => Limits { bytes_max: (fail / 2).max(warn.min(fail)), partitions_max: rows, rows_max: Some(rows) },
    }
}

/// `5`, `5KiB`, `1MiB`, `512B`: a number of `unit` bytes, or of the unit it names.
fn size(text: &str, unit: usize) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" => unit,
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&str, &str)], rows_max: u32) -> Limits {
        let owned: Vec<_> = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        limits(&owned, rows_max)
    }

    #[test]
    fn thresholds_are_read_in_both_spellings() {
        let old = of(&[("batch_size_warn_threshold_in_kb", "128"), ("batch_size_fail_threshold_in_kb", "1024")], 0);
        assert_eq!(old.bytes_max, 128 << 10);
        let new =
            of(&[("batch_size_warn_threshold", "64KiB"), ("unlogged_batch_across_partitions_warn_threshold", "20")], 0);
        assert_eq!(new, Limits { bytes_max: 50 << 10, partitions_max: 20, rows_max: None });
    }

    #[test]
    fn unreadable_settings_mean_cassandras_defaults() {
        let expected = Limits { bytes_max: 5 << 10, partitions_max: 10, rows_max: None };
        assert_eq!(of(&[], 0), expected);
        assert_eq!(of(&[("batch_size_warn_threshold", "lots"), ("batch_size_fail_threshold", "0")], 0), expected);
    }

    #[test]
    fn an_increment_is_waited_for_twice_as_long_as_the_server_may_take() {
        let of = |name: &str, value: &str| landing_time(&[(name.to_owned(), value.to_owned())]);
        assert_eq!(of("counter_write_request_timeout", "20000ms"), Duration::from_secs(40));
        assert_eq!(of("counter_write_request_timeout", "3s"), Duration::from_secs(6));
        assert_eq!(of("counter_write_request_timeout_in_ms", "2000"), Duration::from_secs(4));
        assert_eq!(of("counter_write_request_timeout", "soon"), Duration::from_secs(10));
        assert_eq!(landing_time(&[]), Duration::from_secs(10));
    }

    #[test]
    fn a_number_of_rows_is_kept_below_what_the_server_refuses() {
        assert_eq!(of(&[], 30), Limits { bytes_max: 25 << 10, partitions_max: 30, rows_max: Some(30) });
    }
}
