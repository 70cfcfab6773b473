//! Writetimes and expiries that a server refuses to write.

use super::Target;
use crate::schema::{Release, Result, invalid};

/// The last second that servers can note as an expiry before storage of 5.0: 2038-01-19T03:14:06Z.
const EXPIRY_2038: i64 = i32::MAX as i64 - 1;
/// The last second of 5.0's own storage: 2106-02-07T06:28:14Z.
const EXPIRY_2106: i64 = u32::MAX as i64 - 1;
/// How far ahead of its clock ScyllaDB takes writetimes.
const SCYLLA_AHEAD_US: i64 = 3 * 24 * 3600 * 1_000_000;

/// Checks the greatest writetime (µs) and expiry (s) of a backup; zero where they are not known. `now_us`: the target's clock.
///
/// # Errors
/// `Invalid`, with what the target takes, and what to do.
pub fn check_times(writetime_us: i64, expiry_s: i64, now_us: i64, target: &Target) -> Result<()> {
    if target.scylla && writetime_us > now_us.saturating_add(SCYLLA_AHEAD_US) {
        return Err(invalid(format!(
            "the backup holds cells written at {writetime_us} µs, more than three days ahead of now, which ScyllaDB refuses; restore \
             with --timestamps now, or set restrict_future_timestamp: false in scylla.yaml"
        )));
    }
    if target.scylla || expiry_s <= EXPIRY_2038 {
        return Ok(());
    }
    let remedy = "restore with --ttl drop";
    let release = target.release.unwrap_or(Release { major: 5, minor: 0 });
    if !release.is_at_least(5, 0) {
        return Err(invalid(format!(
            "the backup holds cells that expire after 2038-01-19, which Cassandra {release} can't note; {remedy}, or to 5.0 with \
             storage_compatibility_mode: NONE"
        )));
    }
    let mode = target.settings.get("storage_compatibility_mode").map(String::as_str);
    if mode != Some("NONE") {
        return Err(invalid(format!(
            "the backup holds cells that expire after 2038-01-19, which the target takes only with storage_compatibility_mode: NONE in \
             cassandra.yaml ({}); set it, or {remedy}",
            match mode {
                Some(mode) if !mode.is_empty() => format!("it is {mode}"),
                None if target.settings.is_empty() =>
                    "this login may not read the settings: GRANT SELECT ON system_views.settings".to_owned(),
                _ => "it is at its default".to_owned(),
            }
        )));
    }
    if expiry_s > EXPIRY_2106 {
        return Err(invalid(format!(
            "the backup holds cells that expire after 2106-02-07, which no Cassandra can note; {remedy}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn target(release: &str, mode: Option<&str>) -> Target {
        let settings = mode.map(|mode| ("storage_compatibility_mode".to_owned(), mode.to_owned()));
        Target { release: Some(Release::of(release)), settings: settings.into_iter().collect(), ..Target::default() }
    }

    fn refused(writetime: i64, expiry: i64, target: &Target) -> Option<String> {
        check_times(writetime, expiry, NOW, target).err().map(|failure| failure.message)
    }

    #[test]
    fn an_expiry_after_2038_needs_the_storage_of_5_0() {
        let (last, beyond) = (EXPIRY_2038, EXPIRY_2038 + 1);
        for old in [
            target("3.11.19", None),
            target("4.1.10", None),
            target("5.0.6", None),
            target("5.0.6", Some("CASSANDRA_4")),
        ] {
            assert_eq!(refused(0, last, &old), None);
            assert!(refused(0, beyond, &old).expect("refused").contains("2038"));
        }
        assert_eq!(refused(0, beyond, &target("5.0.6", Some("NONE"))), None);
        assert!(refused(0, EXPIRY_2106 + 1, &target("5.0.6", Some("NONE"))).expect("refused").contains("2106"));
        assert_eq!(refused(i64::MAX, 0, &target("4.0.18", None)), None);
    }

    #[test]
    fn scylla_takes_writetimes_of_the_next_three_days_only() {
        let scylla = Target { scylla: true, ..target("3.0.8", None) };
        assert_eq!(refused(NOW + SCYLLA_AHEAD_US, 0, &scylla), None);
        assert!(refused(NOW + SCYLLA_AHEAD_US + 1, 0, &scylla).expect("refused").contains("--timestamps now"));
        assert_eq!(refused(0, EXPIRY_2106, &scylla), None);
    }
}
