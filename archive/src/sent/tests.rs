use super::*;
use crate::{
    row::{DecodedRow, RowDecoder, RowEncoder},
    rows::tests::{at, decoded, layout, map, row_of, until},
};

const COLUMNS: &str = "k:p:int;a:r:text;b:r:text;m:r:map<int, int>";
const KEY: Option<&[u8]> = Some(&[0, 0, 0, 1]);
const A: Option<&[u8]> = Some(b"a");

fn sent(rules: impl std::borrow::Borrow<v1::RowRules>) -> Sent {
    Sent::new(&layout(COLUMNS), rules.borrow(), false).expect("plain rules")
}

fn rules() -> v1::RowRules {
    v1::RowRules { backup_started_unix_ms: 7_000, restore_started_unix_ms: 1_000_000, ..v1::RowRules::default() }
}

/// A row whose column `a` and the rest have these times.
fn row(time_of_a: CellTime, rest: CellTime) -> DecodedRow {
    let mut row = row_of(&layout(COLUMNS), &[KEY, A, A, Some(&map(&[(1, 1), (2, 2)]))], rest);
    row.set_time(1, time_of_a);
    row
}

#[test]
fn what_has_ended_is_not_sent_and_is_counted() {
    let mut sent = sent(rules());
    let mut partly = row(until(1, 100), until(1, 200));
    let treated = sent.apply(&mut partly, 100);
    assert_eq!(treated, Treated { fate: Fate::Sent, cells_expired: 1, changed: true });
    assert_eq!((partly.cell(1), partly.cell(2)), (None, A));
    let mut whole = row(until(1, 100), until(1, 200));
    assert_eq!(sent.apply(&mut whole, 200), Treated { fate: Fate::Expired, cells_expired: 3, changed: true });
    let mut living = row(until(1, 100), until(1, 200));
    assert_eq!(sent.apply(&mut living, 99), Treated { fate: Fate::Sent, cells_expired: 0, changed: false });
}

#[test]
fn a_row_of_nothing_but_its_key_is_sent() {
    let mut row = row_of(&layout(COLUMNS), &[KEY, None, None, None], CellTime::default());
    assert_eq!(sent(rules()).apply(&mut row, 1), Treated { fate: Fate::Sent, cells_expired: 0, changed: false });
}

#[test]
fn elements_end_one_by_one() {
    let mut row = row(at(1), at(1));
    row.set_element_times(3, [Some(until(1, 50)), Some(at(2))]);
    let treated = sent(rules()).apply(&mut row, 60);
    assert_eq!((treated.cells_expired, treated.fate), (1, Fate::Sent));
    assert_eq!((row.cell(3), row.time(3)), (Some(&map(&[(2, 2)])[..]), at(2)));
}

#[test]
fn what_has_no_writetime_gets_the_rows_newest_or_the_backups_start() {
    let mut sent = sent(rules());
    let mut of_row = row(until(5, 900), CellTime::default());
    assert!(sent.apply(&mut of_row, 1).changed);
    assert_eq!((of_row.time(2), of_row.time(3)), (until(5, 900), until(5, 900)));
    let mut of_backup = row(CellTime::default(), CellTime::default());
    sent.apply(&mut of_backup, 1);
    assert_eq!(of_backup.time(1), at(7_000_000));
    let mut endless = row(at(5), CellTime::default());
    sent.apply(&mut endless, 1);
    assert_eq!(endless.time(2), at(5));
}

#[test]
fn ttls_restart_or_are_dropped_and_nothing_ends_before_then() {
    let mut restart = sent(v1::RowRules { ttl: Ttl::Restart.into(), ..rules() });
    let mut ended = row(until(10_000_000, 70), at(3));
    assert_eq!(restart.apply(&mut ended, 1059).cells_expired, 0);
    assert_eq!(ended.time(1), until(10_000_000, 1000 + 60));
    let mut ended_again = row(until(10_000_000, 70), at(3));
    assert_eq!(restart.apply(&mut ended_again, 1060).cells_expired, 1);
    // written at a time of no clock, with 93 s left when the backup began
    let mut of_no_clock = row(until(5, 2_000_000_000), at(3));
    let mut started_late = rules();
    started_late.backup_started_unix_ms = (2_000_000_000 - 93) * 1000;
    sent(v1::RowRules { ttl: Ttl::Restart.into(), ..started_late }).apply(&mut of_no_clock, 1);
    assert_eq!(of_no_clock.time(1), until(5, 1000 + 93));
    let drop = v1::RowRules { ttl: Ttl::Drop.into(), ..rules() };
    let mut ended = row(until(1, 70), at(3));
    sent(drop).apply(&mut ended, 5000);
    assert_eq!(ended.time(1), at(1));
}

#[test]
fn the_databases_clock_replaces_writetimes_and_keeps_expiries() {
    let now = v1::RowRules { timestamps: Timestamps::Now.into(), ..rules() };
    let mut row = row(until(1, 70), at(3));
    row.set_element_times(3, [Some(until(1, 50)), Some(at(2))]);
    let mut sent = sent(now);
    sent.apply(&mut row, 1);
    assert_eq!(row.time(1), CellTime { writetime: None, expiry: Some(70) });
    assert_eq!(row.time(2), CellTime::default());
    let elements = [Some(CellTime { writetime: None, expiry: Some(50) }), Some(CellTime::default())];
    assert_eq!(row.element_times(3), Some(&elements[..]));
    assert!(!sent.keeps_writetimes());
}

#[test]
fn only_chosen_rows_are_sent() {
    let key = v1::PartitionKey { cells: vec!["2".to_owned()] };
    let mut sent = sent(v1::RowRules { partition_key: Some(key), ..rules() });
    assert_eq!(sent.apply(&mut row(at(1), at(1)), 1).fate, Fate::Skipped);
    let mut other = row_of(&layout(COLUMNS), &[Some(&[0, 0, 0, 2]), A, None, None], at(1));
    assert_eq!(sent.apply(&mut other, 1).fate, Fate::Sent);
}

#[test]
fn without_times_and_of_counters_rows_stay_as_they_are() {
    let layout = layout(COLUMNS);
    let mut sent = Sent::new(&layout, &rules(), true).expect("plain rules");
    let mut row = row_of(&layout, &[KEY, A, None, None], CellTime::default());
    assert_eq!(sent.apply(&mut row, 1), Treated { fate: Fate::Sent, cells_expired: 0, changed: false });
    assert!(!sent.keeps_writetimes());
}

#[test]
fn a_row_that_is_not_changed_keeps_its_line() {
    let layout = layout(COLUMNS);
    let before = row(until(1, 100), at(2));
    let (mut line, mut again) = (Vec::new(), Vec::new());
    RowEncoder::new(&layout).encode_row(&before, &mut line).expect("a row");
    let mut row = decoded(&layout, &line);
    assert!(!sent(rules()).apply(&mut row, 1).changed);
    let hash = RowEncoder::new(&layout).encode_row(&row, &mut again).expect("a row").hash();
    assert_eq!(line, again);
    let mut back = DecodedRow::default();
    let decoded = RowDecoder::new(&layout).decode(&again, &mut back).expect("a line").hash();
    assert_eq!(decoded, hash);
}

#[test]
fn rules_of_a_later_version_are_refused() {
    let strange = v1::RowRules { ttl: 77, ..rules() };
    assert!(Sent::new(&layout(COLUMNS), &strange, false).is_err());
}
