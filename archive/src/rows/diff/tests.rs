use super::*;
use crate::{
    merge::DifferenceKind,
    rows::tests::{Table, repository, stored},
    token::token_of,
};

fn keep(found: &mut Vec<Difference>) -> impl FnMut(Difference) -> ControlFlow<()> + Send {
    |difference| {
        found.push(difference);
        ControlFlow::Continue(())
    }
}

fn by_rows() -> DiffOptions {
    DiffOptions { rows: true, ..DiffOptions::default() }
}

#[tokio::test]
async fn one_changed_cell_is_found_by_reading_only_its_segment() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let before: Table = (0..3000).map(|key| (key, 0)).collect();
    let mut after = before.clone();
    after.insert(1234, 1);
    let (a, b) = (stored(&repository, &before, 5, 20).await, stored(&repository, &after, 5, 20).await);
    let (left, right) =
        (StoredTable { repository: &repository, index: &a }, StoredTable { repository: &repository, index: &b });
    let mut found = Vec::new();
    let report = diff(left, right, &by_rows(), keep(&mut found)).await.expect("sound");
    assert_eq!((report.segments, report.differing.len(), report.rows.differing), (32, 1, 1));
    let segment = report.differing[0].segment;
    assert_eq!(segment, a.grid().segment_of(token_of(&[1234_i32.to_be_bytes()])));
    assert_eq!(report.read.objects, 2, "the other parts of the segment stand on both sides");
    assert!(a.segment_chunks(segment).len() > 2);
    let [Difference { kind: DifferenceKind::Changed, columns, left: Some(old), right: Some(new), .. }] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!(columns, &["v"]);
    assert!(old.starts_with(br#"{"k":1234,"v":0,"#) && new.starts_with(br#"{"k":1234,"v":1,"#));

    let report = diff(left, left, &by_rows(), keep(&mut found)).await.expect("sound");
    assert_eq!((report.differing.len(), report.read), (0, ObjectsRead::default()), "equal sums are not read");
}

#[tokio::test]
async fn tables_of_different_grids_are_compared_at_the_coarser_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let before: Table = (0..500).map(|key| (key, 0)).collect();
    let mut after = before.clone();
    after.remove(&7);
    after.insert(9999, 0);
    let (a, b) = (stored(&repository, &before, 6, 1000).await, stored(&repository, &after, 3, 1000).await);
    for (left, right) in [(&a, &b), (&b, &a)] {
        let mut found = Vec::new();
        let table = |index| StoredTable { repository: &repository, index };
        let report = diff(table(left), table(right), &by_rows(), keep(&mut found)).await.expect("sound");
        assert_eq!(report.segments, 8);
        assert_eq!((report.rows.missing, report.rows.extra, report.rows.differing), (1, 1, 0));
        assert!(report.differing.len() <= 2 && report.read.objects < 20);
        assert_eq!(found.len(), 2);
    }
}

#[tokio::test]
async fn only_chosen_rows_are_compared_and_told_until_it_is_enough() {
    let directory = tempfile::tempdir().expect("a directory");
    let repository = repository(&directory).await;
    let (before, after): (Table, Table) = ((0..300).map(|k| (k, 0)).collect(), (0..300).map(|k| (k, 1)).collect());
    let (a, b) = (stored(&repository, &before, 3, 1000).await, stored(&repository, &after, 3, 1000).await);
    let table = |index| StoredTable { repository: &repository, index };
    let layout = crate::rows::tests::layout(crate::rows::tests::COLUMNS);
    let key = v1::PartitionKey { cells: vec!["42".to_owned()] };
    let options = DiffOptions { choice: RowChoice::new(&layout, &[], Some(&key)).expect("a key"), ..by_rows() };
    let mut found = Vec::new();
    let report = diff(table(&a), table(&b), &options, keep(&mut found)).await.expect("sound");
    assert_eq!((report.segments, report.rows.differing, found.len()), (1, 1, 1));
    let mut told = 0;
    let enough = |_| {
        told += 1;
        if told == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    diff(table(&a), table(&b), &by_rows(), enough).await.expect("sound");
    assert_eq!(told, 3);
}
