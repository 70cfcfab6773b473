use std::collections::BTreeMap;

use proptest::prelude::*;
use ringvault_proto::v1::approximation::What;

use super::*;
use crate::{
    row::CellTime,
    rows::tests::{at, keyed, layout, map, row_of, until},
    table::TableLayout,
};

const COLUMNS: &str = "k:p:int;a:r:int;b:r:int;m:r:map<int, int>";

fn key(number: i32) -> [u8; 4] {
    number.to_be_bytes()
}

/// A row at a token: key, and the value of `a`.
fn simple(layout: &TableLayout, token: i64, number: i32, value: i32) -> KeyedRow {
    let (k, v) = (key(number), key(value));
    keyed(layout, token, row_of(layout, &[Some(&k), Some(&v), None, None], at(1)))
}

/// A row with these cells.
fn full(cells: [Option<i32>; 2], entries: &[(i32, i32)], time: CellTime) -> KeyedRow {
    let layout = layout(COLUMNS);
    let (k, [a, b]) = (key(1), cells.map(|cell| cell.map(key)));
    let m = map(entries);
    let m = (!entries.is_empty()).then_some(&m[..]);
    let bytes = |cell: &Option<[u8; 4]>| -> Option<Vec<u8>> { cell.map(|cell| cell.to_vec()) };
    let (a, b) = (bytes(&a), bytes(&b));
    keyed(&layout, 0, row_of(&layout, &[Some(&k), a.as_deref(), b.as_deref(), m], time))
}

/// Pushes both sides by turns as the merge asks for them.
fn run(mut merge: Merge, left: Vec<KeyedRow>, right: Vec<KeyedRow>) -> (Counts, Vec<Difference>, usize) {
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let mut most = 0;
    while let Some(side) = merge.next_side() {
        let next = match side {
            Side::Left => left.next(),
            Side::Right => right.next(),
        };
        match next {
            Some(row) => merge.push(side, row).expect("in order"),
            None => merge.end(side).expect("fine"),
        }
        most = most.max(merge.waiting());
    }
    assert_eq!(merge.waiting(), 0);
    (merge.counts(), merge.take_differences(), most)
}

fn plain() -> Comparison {
    Comparison::new(&layout(COLUMNS), &layout(COLUMNS)).expect("one table")
}

fn compare(comparison: Comparison, left: KeyedRow, right: KeyedRow) -> Vec<String> {
    let (counts, found, _) = run(Merge::new(comparison), vec![left], vec![right]);
    assert_eq!(counts.differing, found.len() as u64);
    found.into_iter().flat_map(|difference| difference.columns).collect()
}

#[test]
fn missing_extra_and_changed_rows_are_told_with_their_lines() {
    let layout = layout(COLUMNS);
    let row = |token, number, value| simple(&layout, token, number, value);
    let left = vec![row(1, 1, 1), row(2, 2, 2), row(3, 3, 3)];
    let right = vec![row(1, 1, 1), row(2, 2, 9), row(4, 4, 4)];
    let (counts, found, _) = run(Merge::new(plain()), left, right);
    let expected = Counts { left: 3, right: 3, missing: 1, extra: 1, differing: 1, fallen_behind: 1 };
    assert_eq!(counts, expected);
    let told: Vec<_> = found.iter().map(|d| (d.kind, d.token.0, d.left.is_some(), d.right.is_some())).collect();
    assert!(told.contains(&(DifferenceKind::Changed, 2, true, true)));
    assert!(told.contains(&(DifferenceKind::Missing, 3, true, false)));
    assert!(told.contains(&(DifferenceKind::Extra, 4, false, true)));
    let changed = found.iter().find(|d| d.kind == DifferenceKind::Changed).expect("one");
    assert_eq!(changed.columns, ["a"]);
    assert!(!format!("{changed:?}").contains("\\\"a\\\":2"), "no value in a log");
}

#[test]
fn rows_out_of_order_are_a_defect_that_is_found() {
    let layout = layout(COLUMNS);
    let mut merge = Merge::new(plain());
    merge.push(Side::Left, simple(&layout, 5, 1, 1)).expect("first");
    assert!(merge.push(Side::Left, simple(&layout, 4, 2, 1)).is_err());
}

#[test]
fn of_a_flood_only_numbers_are_left_and_equal_ones_are_still_equal() {
    let layout = layout(COLUMNS);
    let rows = |numbers: &mut dyn Iterator<Item = i32>| -> Vec<KeyedRow> {
        numbers.map(|number| simple(&layout, 7, number, number)).collect()
    };
    let small = || Merge::new(plain()).bounded(1000, 20);
    let (counts, found, most) = run(small(), rows(&mut (0..200)), rows(&mut (0..200).rev()));
    assert!(counts.is_equal() && found.is_empty(), "{counts:?}");
    assert!(most <= 42, "{most} waited");
    let (counts, found, _) = run(small(), rows(&mut (0..200)), rows(&mut (3..200).rev()));
    assert_eq!((counts.missing, counts.extra), (3, 0));
    assert!(matches!(found[..], [Difference { kind: DifferenceKind::TooMany { .. }, .. }]));
    let (counts, ..) = run(small(), rows(&mut (0..200)), rows(&mut (1..201).rev()));
    assert_eq!((counts.missing, counts.extra, counts.differing), (0, 0, 1));
    let among = Merge::new(plain().by(Rule::Among)).bounded(1000, 20);
    let (counts, ..) = run(among, rows(&mut (0..200)), rows(&mut (0..260).rev()));
    assert!(!counts.is_equal(), "what nobody can tell is not taken for equal");
}

#[test]
fn times_count_as_far_as_both_sides_tell_them() {
    let (old, new) = (full([Some(1), Some(2)], &[(1, 1)], at(1)), full([Some(1), Some(2)], &[(1, 1)], at(2)));
    assert_eq!(compare(plain(), old.clone(), new.clone()), ["a", "b", "m"]);
    assert!(compare(plain().values_only(), old.clone(), new.clone()).is_empty());
    let untold = |what: What, column: &str| v1_approximation(what, column);
    let masked = plain().untold(&[untold(What::ColumnTimes, "m"), untold(What::RowMarkers, "")]);
    assert_eq!(compare(masked, old.clone(), new.clone()), ["a", "b"]);
    assert!(compare(plain().untold(&[untold(What::AllTimes, "")]), old, new).is_empty());
}

fn v1_approximation(what: What, column: &str) -> ringvault_proto::v1::Approximation {
    ringvault_proto::v1::Approximation { what: what.into(), column: column.to_owned(), note: String::new() }
}

#[test]
fn element_times_are_compared_one_by_one_or_by_the_newest() {
    let layout = layout(COLUMNS);
    let with = |times: [CellTime; 2]| {
        let mut row = full([Some(1), None], &[(1, 1), (2, 2)], at(1)).row;
        row.set_element_times(3, times.map(Some));
        keyed(&layout, 0, row)
    };
    let (left, right) = (with([at(1), at(5)]), with([at(2), at(5)]));
    assert_eq!(compare(plain(), left.clone(), right.clone()), ["m"]);
    let newest = || plain().untold(&[v1_approximation(What::ElementTimes, "m")]);
    assert!(compare(newest(), left.clone(), right).is_empty());
    assert_eq!(compare(newest(), left.clone(), with([at(2), at(6)])), ["m"]);
    assert!(compare(plain(), left, with([until(1, 99), at(5)])).is_empty(), "expiries are not compared");
}

#[test]
fn what_ends_about_the_look_may_be_there_or_not() {
    let look = |row: KeyedRow, as_of_s| KeyedRow { as_of_s: Some(as_of_s), ..row };
    let mut one = full([Some(1), Some(2)], &[], at(1));
    one.row.set_time(2, until(1, 1000));
    let left = || look(keyed(&layout(COLUMNS), 0, one.row.clone()), 990);
    let gone = || full([Some(1), None], &[], at(1));
    assert!(compare(plain(), left(), look(gone(), 996)).is_empty());
    assert_eq!(compare(plain(), left(), look(gone(), 994)), ["b"]);
    assert_eq!(compare(plain(), left(), gone()), ["b"], "where time stands still nothing ends");
    // whole rows
    let ending = || look(full([Some(1), None], &[], until(1, 1000)), 990);
    let other = |as_of_s| look(KeyedRow { token: Token(9), ..simple(&layout(COLUMNS), 9, 9, 9) }, as_of_s);
    let (counts, ..) = run(Merge::new(plain()), vec![ending(), other(990)], vec![other(996)]);
    assert!(counts.is_equal(), "{counts:?}");
    let (counts, ..) = run(Merge::new(plain()), vec![ending(), other(990)], vec![other(993)]);
    assert_eq!(counts.missing, 1);
    let ended = KeyedRow { ended: true, ..full([None, None], &[], at(1)) };
    let (counts, ..) = run(Merge::new(plain()), vec![ended.clone()], vec![]);
    assert!(counts.is_equal());
    assert!(compare(plain(), ended, full([None, None], &[], at(1))).is_empty());
}

#[test]
fn elements_that_end_about_the_look_may_be_there_or_not() {
    let layout = layout(COLUMNS);
    let mut row = full([Some(1), None], &[(1, 1), (2, 2)], at(1)).row;
    row.set_element_times(3, [Some(until(1, 1000)), Some(at(1))]);
    let left = KeyedRow { as_of_s: Some(990), ..keyed(&layout, 0, row) };
    let right = |as_of_s| KeyedRow { as_of_s: Some(as_of_s), ..full([Some(1), None], &[(2, 2)], at(1)) };
    assert!(compare(plain(), left.clone(), right(999)).is_empty());
    assert_eq!(compare(plain(), left, right(900)), ["m"]);
}

#[test]
fn among_other_rows_only_what_is_lacking_or_older_differs() {
    let among = || plain().by(Rule::Among);
    let ours = || full([Some(1), None], &[(1, 1)], at(5));
    assert!(compare(among(), ours(), full([Some(1), Some(7)], &[(1, 1), (2, 2)], at(5))).is_empty());
    assert!(compare(among(), ours(), full([Some(9), None], &[(1, 9)], at(6))).is_empty(), "newer ones win");
    assert_eq!(compare(among(), ours(), full([Some(9), None], &[(1, 1)], at(4))), ["a", "m"]);
    assert_eq!(compare(among(), ours(), full([None, Some(1)], &[(1, 1)], at(5))), ["a"]);
    assert_eq!(compare(among(), ours(), full([Some(1), None], &[(2, 2)], at(5))), ["m"]);
    let (counts, ..) = run(Merge::new(among()), vec![], vec![ours()]);
    assert!(counts.is_equal());
    let (counts, ..) = run(Merge::new(among()), vec![ours()], vec![]);
    assert_eq!((counts.missing, counts.fallen_behind), (1, 1));
}

#[test]
fn a_row_that_holds_anything_else_is_left_alone() {
    let alone = || plain().by(Rule::LeftAlone);
    let ours = || full([Some(1), Some(2)], &[(1, 1)], at(5));
    assert!(compare(alone(), ours(), ours()).is_empty());
    assert_eq!(compare(alone(), ours(), full([Some(1), None], &[], at(5))), ["b", "m"], "half-written");
    assert!(compare(alone(), ours(), full([Some(9), None], &[], at(5))).is_empty());
    assert!(compare(alone(), ours(), full([Some(1), None], &[], at(4))).is_empty());
    assert!(compare(alone(), ours(), full([None, None], &[(2, 2)], at(5))).is_empty());
}

#[test]
fn columns_are_matched_by_name_and_others_count_as_null() {
    let (left, right) = (layout("k:p:int;a:r:int"), layout("k:p:int;a:r:int;z:r:int"));
    let comparison = || Comparison::new(&left, &right).expect("one key");
    let row = |layout: &TableLayout, cells: &[Option<i32>]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.map(key)).collect();
        let cells: Vec<Option<&[u8]>> = cells.iter().map(|cell| cell.as_ref().map(|cell| &cell[..])).collect();
        keyed(layout, 0, row_of(layout, &cells, at(1)))
    };
    let ours = || row(&left, &[Some(1), Some(2)]);
    assert!(compare(comparison(), ours(), row(&right, &[Some(1), Some(2), None])).is_empty());
    assert_eq!(compare(comparison(), ours(), row(&right, &[Some(1), Some(2), Some(3)])), ["z"]);
    for other in ["k:p:int;a:r:text", "k:p:text;a:r:int", "k:p:int;a:s:int", "j:p:int;a:r:int"] {
        assert!(Comparison::new(&left, &layout(other)).is_err(), "{other}");
    }
}

/// Tokens, keys and values; few of each, so that much collides.
fn table() -> impl Strategy<Value = BTreeMap<(i64, i32), i32>> {
    proptest::collection::btree_map((0_i64..6, 0_i32..8), 0_i32..3, 0..40)
}

fn rows(layout: &TableLayout, table: &BTreeMap<(i64, i32), i32>, seed: u64) -> Vec<KeyedRow> {
    let mut rows: Vec<KeyedRow> =
        table.iter().map(|((token, number), value)| simple(layout, *token, *number, *value)).collect();
    // any order within a token
    let shuffled = |row: &KeyedRow| blake3::hash(&[&seed.to_le_bytes()[..], &row.line].concat()).as_bytes().to_vec();
    rows.sort_by_cached_key(|row| (row.token, shuffled(row)));
    rows
}

proptest! {
    #[test]
    fn what_is_told_is_what_differs(left in table(), right in table(), seeds: (u64, u64), cap in 1_usize..60) {
        let layout = layout(COLUMNS);
        let of = |table, seed| rows(&layout, table, seed);
        let (counts, found, _) = run(Merge::new(plain()), of(&left, seeds.0), of(&right, seeds.1));
        // keys repeat across tokens in these tables, as they never do in real ones: a row is its token and its key
        let missing = left.keys().filter(|place| !right.contains_key(place)).count() as u64;
        let extra = right.keys().filter(|place| !left.contains_key(place)).count() as u64;
        let differing = left.iter().filter(|(p, v)| right.get(p).is_some_and(|other| other != *v)).count() as u64;
        prop_assert_eq!((counts.missing, counts.extra, counts.differing), (missing, extra, differing));
        prop_assert_eq!(found.len() as u64, missing + extra + differing);
        prop_assert_eq!((counts.left, counts.right), (left.len() as u64, right.len() as u64));
        // however little may wait, equal tables are equal and different ones are not
        let small = Merge::new(plain()).bounded(cap, cap);
        let (bounded, ..) = run(small, of(&left, seeds.0), of(&right, seeds.1));
        prop_assert_eq!(bounded.is_equal(), left == right);
        let small = Merge::new(plain()).bounded(cap, cap);
        let (same, ..) = run(small, of(&left, seeds.0), of(&left, seeds.1));
        prop_assert!(same.is_equal());
    }
}
