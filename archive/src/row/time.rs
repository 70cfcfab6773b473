//! Times: timestamp, date, time and duration. Days are counted in the proleptic Gregorian calendar, as Java's
//! `java.time` does; the conversion is Howard Hinnant's (<https://howardhinnant.github.io/date_algorithms.html>).

use super::{
    cursor::Defect,
    number::{write_big, write_int},
    vint,
};

const DAY_MS: i64 = 86_400_000;
const DAY_NS: i64 = 86_400_000_000_000;
/// 0001-01-01 and 9999-12-31 in days since 1970-01-01; beyond, four digits don't hold the year.
const CALENDAR_DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
/// The day 1970-01-01 of a CQL date.
const DATE_EPOCH: i64 = 1 << 31;

/// Writes a timestamp: a calendar time in quotes, or milliseconds where the calendar doesn't reach.
pub(super) fn write_timestamp(ms: i64, out: &mut Vec<u8>) {
    let days = ms.div_euclid(DAY_MS);
    if !CALENDAR_DAYS.contains(&days) {
        return write_big(ms, out);
    }
    let ms_of_day = ms.rem_euclid(DAY_MS);
    let mut text = *b"\"yyyy-mm-dd hh:mm:ss.000Z\"";
    put_date(&mut text[1..11], days);
    put_clock(&mut text[12..20], ms_of_day / 1000);
    put_digits(&mut text[21..24], ms_of_day % 1000);
    out.extend_from_slice(&text);
}

/// Reads a calendar time.
pub(super) fn read_timestamp(text: &[u8]) -> Result<i64, Defect> {
    const DEFECT: Defect = "a timestamp is wanted";
    if text.len() != 24 || text[10] != b' ' || text[19] != b'.' || text[23] != b'Z' {
        return Err(DEFECT);
    }
    let parts = (read_calendar_date(&text[..10]), read_clock(&text[11..19]), read_digits(&text[20..23]));
    let (Some(days), Some(seconds), Some(ms)) = parts else { return Err(DEFECT) };
    Ok(days * DAY_MS + seconds * 1000 + ms)
}

/// Writes a date (days around 2^31): a calendar date in quotes, or the number where the calendar doesn't reach.
pub(super) fn write_date(day: u32, out: &mut Vec<u8>) {
    let days = i64::from(day) - DATE_EPOCH;
    if !CALENDAR_DAYS.contains(&days) {
        return write_int(i64::from(day), out);
    }
    let mut text = *b"\"yyyy-mm-dd\"";
    put_date(&mut text[1..11], days);
    out.extend_from_slice(&text);
}

/// Reads a calendar date.
pub(super) fn read_date(text: &[u8]) -> Result<u32, Defect> {
    let days = read_calendar_date(text).ok_or("a date is wanted")?;
    u32::try_from(days + DATE_EPOCH).map_err(|_| "a date is wanted")
}

/// Writes a time of day (nanoseconds) without quotes; nothing where it is none.
pub(super) fn write_time(ns: i64, out: &mut Vec<u8>) -> Option<()> {
    if !(0..DAY_NS).contains(&ns) {
        return None;
    }
    let mut text = *b"hh:mm:ss.000000000";
    put_clock(&mut text[..8], ns / 1_000_000_000);
    put_digits(&mut text[9..], ns % 1_000_000_000);
    out.extend_from_slice(&text);
    Some(())
}

/// Reads a time of day.
pub(super) fn read_time(text: &[u8]) -> Result<i64, Defect> {
    const DEFECT: Defect = "a time of day is wanted";
    if text.len() != 18 || text[8] != b'.' {
        return Err(DEFECT);
    }
    match (read_clock(&text[..8]), read_digits(&text[9..])) {
        (Some(seconds), Some(ns)) => Ok(seconds * 1_000_000_000 + ns),
        _ => Err(DEFECT),
    }
}

/// Writes a duration (months, days, nanoseconds as vints) without quotes; nothing where it is malformed or its parts
/// differ in sign.
pub(super) fn write_duration(mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let months = i64::from(i32::try_from(vint::read_signed(&mut bytes)?).ok()?);
    let days = i64::from(i32::try_from(vint::read_signed(&mut bytes)?).ok()?);
    let ns = vint::read_signed(&mut bytes)?;
    let negative = months < 0 || days < 0 || ns < 0;
    if !bytes.is_empty() || (negative && (months > 0 || days > 0 || ns > 0)) {
        return None;
    }
    if negative {
        out.push(b'-');
    }
    for (part, unit) in [(months, "mo"), (days, "d"), (ns, "ns")] {
        out.extend_from_slice(itoa::Buffer::new().format(part.unsigned_abs()).as_bytes());
        out.extend_from_slice(unit.as_bytes());
    }
    Some(())
}

/// Reads a duration.
pub(super) fn read_duration(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a duration is wanted";
    let text = std::str::from_utf8(text).map_err(|_| DEFECT)?;
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let rest = rest.strip_suffix("ns").ok_or(DEFECT)?;
    let (months, rest) = rest.split_once("mo").ok_or(DEFECT)?;
    let (days, ns) = rest.split_once('d').ok_or(DEFECT)?;
    let part = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let value = if sign.is_empty() { digits.parse::<i64>() } else { format!("-{digits}").parse() };
        value.ok().filter(|_| plain).ok_or(DEFECT)
    };
    for small in [part(months)?, part(days)?] {
        vint::write_signed(i64::from(i32::try_from(small).map_err(|_| DEFECT)?), out);
    }
    vint::write_signed(part(ns)?, out);
    Ok(())
}

/// Fills `out` with the decimal digits of a number that fits.
fn put_digits(out: &mut [u8], mut value: i64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn read_digits(text: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    text.iter().try_fold(0, |value, byte| Some(value * 10 + digit(byte)?))
}

/// `hh:mm:ss` of the seconds of a day, around the colons that stand there.
fn put_clock(out: &mut [u8], seconds: i64) {
    put_digits(&mut out[..2], seconds / 3600);
    put_digits(&mut out[3..5], seconds / 60 % 60);
    put_digits(&mut out[6..8], seconds % 60);
}

fn read_clock(text: &[u8]) -> Option<i64> {
    let (hours, minutes, seconds) = (read_digits(&text[..2])?, read_digits(&text[3..5])?, read_digits(&text[6..8])?);
    let valid = hours < 24 && minutes < 60 && seconds < 60 && text[2] == b':' && text[5] == b':';
    valid.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// `yyyy-mm-dd` of days since 1970-01-01, around the dashes that stand there.
fn put_date(out: &mut [u8], days: i64) {
    let (year, month, day) = civil_of_days(days);
    put_digits(&mut out[..4], year);
    put_digits(&mut out[5..7], month);
    put_digits(&mut out[8..10], day);
}

fn read_calendar_date(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (read_digits(&text[..4])?, read_digits(&text[5..7])?, read_digits(&text[8..])?);
    if year < 1 || !(1..=12).contains(&month) {
        return None;
    }
    let days = days_of_civil(year, month, day);
    // No day that the month hasn't.
    (civil_of_days(days) == (year, month, day)).then_some(days)
}

/// Days since 1970-01-01 to year, month, day; years from 0 on.
fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // since 0000-03-01
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_is_the_one_that_jiff_counts() {
        let mut date = jiff::civil::date(1, 1, 1);
        for days in CALENDAR_DAYS {
            let (year, month, day) = civil_of_days(days);
            assert_eq!((year, month, day), (date.year().into(), date.month().into(), date.day().into()));
            assert_eq!(days_of_civil(year, month, day), days);
            if days < *CALENDAR_DAYS.end() {
                date = date.tomorrow().expect("in range");
            }
        }
        assert_eq!(date, jiff::civil::date(9999, 12, 31));
    }

    #[test]
    fn days_that_no_calendar_has_are_refused() {
        for text in ["2023-02-29", "2024-00-10", "2024-13-01", "2024-01-32", "2024-01-00", "0000-01-01", "2024/01/01"] {
            assert!(read_date(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read_date(b"2024-02-29").is_ok());
    }
}
