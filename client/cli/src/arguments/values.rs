//! Values of flags: levels, spans of time, rates, shares.

use std::time::Duration;

use ringvault_proto::v1;

/// A consistency level by its CQL name, any case.
pub(crate) fn consistency(text: &str) -> Result<v1::Consistency, String> {
    let name = format!("CONSISTENCY_{}", text.trim().to_ascii_uppercase());
    match v1::Consistency::from_str_name(&name) {
        Some(v1::Consistency::Unspecified) | None => {
            Err("want one of ONE, TWO, THREE, QUORUM, ALL, LOCAL_QUORUM, EACH_QUORUM, LOCAL_ONE, ANY".to_owned())
        }
        Some(level) => Ok(level),
    }
}

/// The CQL name of a consistency level; the default where none was asked for.
pub(crate) fn consistency_name(level: v1::Consistency) -> &'static str {
    match level {
        v1::Consistency::Unspecified => "LOCAL_QUORUM",
        named => named.as_str_name().trim_start_matches("CONSISTENCY_"),
    }
}

/// A span of time: `90` and `90s` are seconds; also `500ms`, `15m`, `2h`, `1d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("want a span of time such as 30s, 15m or 2h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "want a span of time such as 30s, 15m or 2h".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "the span of time is too long".to_owned())
}

/// The most that may be moved in a second; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    rows: u64,
    /// Encoded.
    bytes: u64,
}

impl Rate {
    /// Reads a rate: rows (`50000`, `50krows`), bytes (`20MiB`, `100MB/s`), both with a comma between, or `none`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let mut rate = Self::default();
        for part in text.split(',') {
            let limit = match Self::one(part)? {
                (rows, 0) if rate.rows == 0 => (&mut rate.rows, rows),
                (0, bytes) if rate.bytes == 0 => (&mut rate.bytes, bytes),
                _ => {
                    return Err("gives rows or bytes twice; want one of each at most, such as 50krows,20MiB".to_owned());
                }
            };
            *limit.0 = limit.1;
        }
        Ok(rate)
    }

    fn one(text: &str) -> Result<(u64, u64), String> {
        const WANT: &str =
            "want rows a second such as 50000 or 50krows, bytes a second such as 20MiB, both as 50krows,20MiB, or none";
        let text = text.trim().trim_end_matches("/s");
        let (number, unit) = split_unit(text).map_err(|_| WANT.to_owned())?;
        if number == 0 {
            return Err("a rate of 0 never ends; say none for no limit".to_owned());
        }
        let rows = |factor: u64| number.checked_mul(factor).map(|rows| (rows, 0));
        let rate = match unit {
            "" | "rows" | "row" => rows(1),
            "krows" | "k" => rows(1_000),
            "Mrows" | "M" => rows(1_000_000),
            unit => byte_unit(unit).and_then(|factor| number.checked_mul(factor)).map(|bytes| (0, bytes)),
        };
        rate.ok_or_else(|| WANT.to_owned())
    }

    /// Rows a second, bytes a second; 0 where there is no limit.
    pub(crate) fn limits(rate: Option<Self>) -> (u64, u64) {
        rate.map_or((0, 0), |Self { rows, bytes }| (rows, bytes))
    }
}

/// A number of bytes: `64M`, `64MB` and `64MiB` all mean 64 × 2^20, as limits of memory are given.
pub(crate) fn byte_size(text: &str) -> Result<u64, String> {
    const WANT: &str = "want a size such as 64M or 1G";
    let (number, unit) = split_unit(text.trim()).map_err(|_| WANT.to_owned())?;
    let shift = match unit.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(WANT.to_owned()),
    };
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| WANT.to_owned())
}

/// A limit that can be lifted: a number above 0, or `none`, which is 0.
pub(crate) fn bound(text: &str) -> Result<u32, String> {
    match text.trim() {
        "none" => Ok(0),
        number => match number.parse() {
            Ok(0) | Err(_) => Err("want a number above 0, or none for no limit".to_owned()),
            Ok(number) => Ok(number),
        },
    }
}

/// The longest idempotency key, in characters.
const KEY_CHARS_MAX: usize = 128;

/// An idempotency key: what its caller calls a job.
pub(crate) fn idempotency_key(text: &str) -> Result<String, String> {
    let printable = text.chars().all(|c| !c.is_control());
    if text.is_empty() || text.chars().count() > KEY_CHARS_MAX || !printable {
        return Err(format!("want 1 to {KEY_CHARS_MAX} printable characters, such as shop-2026-11-22"));
    }
    Ok(text.to_owned())
}

/// Names or patterns, comma-separated, each once.
pub(crate) fn names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A share of the whole: `5%`, above 0 and up to 100.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("want a share above 0% and up to 100%, such as 5%".to_owned()),
    }
}

/// A share of the whole in millionths, for a sample of segments; the whole is 0, as if none was given.
pub(crate) fn sample(text: &str) -> Result<u32, String> {
    let share = share(text)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 < share <= 1
    let millionths = (share * 1_000_000.0).round() as u32;
    Ok(if millionths >= 1_000_000 { 0 } else { millionths.max(1) })
}

/// Rows of a batch: `auto`, or a number.
pub(crate) fn batch_rows(text: &str) -> Result<u32, String> {
    match text.trim() {
        "auto" => Ok(0),
        number => match number.parse() {
            Ok(0) | Err(_) => Err("want auto or a number of rows above 0".to_owned()),
            Ok(rows) => Ok(rows),
        },
    }
}

fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse().map_err(|_| "want a whole number with a unit".to_owned())?;
    Ok((number, unit.trim()))
}

fn byte_unit(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_known_by_their_cql_names_in_any_case() {
        assert_eq!(consistency("local_quorum"), Ok(v1::Consistency::LocalQuorum));
        assert_eq!(consistency("ALL"), Ok(v1::Consistency::All));
        assert!(consistency("UNSPECIFIED").is_err());
        assert!(consistency("most").is_err());
        assert_eq!(consistency_name(v1::Consistency::Unspecified), "LOCAL_QUORUM");
        assert_eq!(consistency_name(v1::Consistency::EachQuorum), "EACH_QUORUM");
    }

    #[test]
    fn spans_of_time_without_a_unit_are_seconds() {
        assert_eq!(span("90"), Ok(Duration::from_secs(90)));
        assert_eq!(span("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(span("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert!(span("soon").is_err() && span("-1s").is_err() && span("1 fortnight").is_err());
    }

    #[test]
    fn sizes_of_memory_are_in_powers_of_two() {
        for text in ["64M", "64MB", "64MiB", "64m", " 64 MiB ", "65536K"] {
            assert_eq!(byte_size(text), Ok(64 << 20), "{text}");
        }
        assert_eq!((byte_size("1G"), byte_size("123")), (Ok(1 << 30), Ok(123)));
        assert!(byte_size("0").is_err() && byte_size("64X").is_err() && byte_size("lots").is_err());
    }

    #[test]
    fn a_rate_is_rows_unless_it_names_bytes() {
        let limits = |text| Rate::read(text).map(|rate| Rate::limits(Some(rate)));
        assert_eq!(limits("5000"), Ok((5_000, 0)));
        assert_eq!(limits("50krows/s"), Ok((50_000, 0)));
        assert_eq!(limits("20MiB"), Ok((0, 20 << 20)));
        assert_eq!(limits("100MB/s"), Ok((0, 100_000_000)));
        assert_eq!(limits("50krows,20MiB"), Ok((50_000, 20 << 20)));
        assert_eq!(limits("none"), Ok((0, 0)));
        for text in ["0", "fast", "5lightyears", "5,6", "1MiB,2MiB", "5,", "none,5", ""] {
            assert!(Rate::read(text).is_err(), "{text}");
        }
        assert_eq!(Rate::limits(None), (0, 0));
    }

    #[test]
    fn a_limit_is_a_number_or_none_and_a_key_is_printable() {
        assert_eq!((bound("3"), bound("none")), (Ok(3), Ok(0)));
        assert!(bound("0").is_err() && bound("-1").is_err() && bound("many").is_err());
        assert_eq!(idempotency_key("shop 2026"), Ok("shop 2026".to_owned()));
        assert!(idempotency_key("").is_err() && idempotency_key("a\nb").is_err());
        assert!(idempotency_key(&"x".repeat(129)).is_err() && idempotency_key(&"ä".repeat(128)).is_ok());
    }

    #[test]
    fn shares_and_batches_refuse_what_makes_no_sense() {
        assert!(Rate::read("18446744073709551615GB").is_err());
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!((sample("1%"), sample("0.00001%"), sample("100%")), (Ok(10_000), Ok(1), Ok(0)));
        assert!(share("0%").is_err() && share("101%").is_err() && share("5").is_err());
        assert_eq!((batch_rows("auto"), batch_rows("50")), (Ok(0), Ok(50)));
        assert!(batch_rows("0").is_err() && batch_rows("-3").is_err());
    }
}
