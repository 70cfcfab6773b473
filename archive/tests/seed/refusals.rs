//! What is damaged, ambiguous or of two minds is refused, by file, line and column, without a value; no backup is left.

use ringvault_archive::repository::Repository;
use ringvault_proto::error::ErrorKind;

use crate::sample::{directory, import, table};

/// The error of importing these files into one table `t`.
async fn refused(columns: &[&str], files: &[(&str, &str)]) -> (ErrorKind, String) {
    let directory = directory(files);
    let repository = Repository::in_memory();
    let error = import(directory.path(), vec![table("t", columns)], &repository).await.expect_err("refused");
    assert!(repository.backups().await.expect("listed").is_empty());
    (error.kind(), error.to_string())
}

const PLAIN: [&str; 4] = ["pk pk int", "ck ck int", "st s text", " v text"];

#[tokio::test]
async fn damaged_files_are_corrupt_by_file_and_line() {
    let row = r#"{"pk": 1, "ck": 2, "s": "a", "v": "secret"}"#;
    let cut = format!("[\n{row},\n{}", &row[..20]);
    let open = format!("[\n{row}\n");
    let twice = format!("[\n{row}\n]\n[\n]\n");
    let of = |row: &str| format!("[\n{row}\n]\n");
    let cases = [
        (cut, "t_part1.json is damaged (line 3): it ends before"),
        (open, "t_part1.json is damaged (line 3): it ends before"),
        (twice, "(line 4): something follows"),
        (String::new(), "it is empty"),
        (of(r#"{"pk": 1, "ck": 2, "s": "a"}"#), "(line 2) holds no row of shop.t: it lacks column \"v\""),
        (of(r#"{"pk": 1, "ck": 2, "s": "a", "v": "secret", "w": 1}"#), "it holds \"w\", which is no column"),
        (of(r#"{"pk": 1, "pk": 1, "ck": 2, "s": "a", "v": "secret"}"#), "it holds \"pk\" twice"),
        (of(r#"{"pk": null, "ck": 2, "s": "a", "v": "secret"}"#), "partition key is null"),
        (of(r#"{"pk": 1, "ck": null, "s": null, "v": "secret"}"#), "all clustering and static columns are null"),
        (of(r#"{"pk": 1, "ck": 2, "s": "a", "v": "secret" "x"}"#), "(line 2) holds no row of shop.t: a comma"),
    ];
    for (text, part) in cases {
        let (kind, message) = refused(&PLAIN, &[("t_part1.json", &text)]).await;
        assert!(kind == ErrorKind::Corrupt && message.contains(part), "{part}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn values_that_lost_their_meaning_are_refused_by_their_column() {
    for (cql_type, value, part) in [
        ("duration", "\"1 day, 0:00:00\"", "months, days and nanoseconds can't be told apart"),
        ("date", "\"2932897\"", "outside the years 1 to 9999"),
        ("map<frozen<list<int>>, int>", "{\"[1, 2]\": 3}", "which is ambiguous"),
        ("address", "[\"secret\", 1]", "another number of fields"),
        ("tuple<int, text>", "[1]", "another number of parts"),
        ("int", "\"secret\"", "not of the form"),
    ] {
        let text = format!("[\n{{\"pk\": 1, \"Odd_name\": {value}}}\n]\n");
        let column = format!(" Odd~name {cql_type}");
        let (kind, message) = refused(&["pk pk int", &column], &[("t_part1.json", &text)]).await;
        assert!(kind == ErrorKind::Invalid && message.contains(part), "{part}: {message}");
        assert!(
            message.contains("shop.t, column \"Odd name\"") && message.contains("t_part1.json, line 2"),
            "{message}"
        );
        assert!(!message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn rows_and_statics_that_differ_are_refused_with_both_places() {
    let first = r#"[{"pk": 1, "ck": 2, "s": "a", "v": "x"}]"#;
    let other_row = r#"[{"pk": 1, "ck": 2, "s": "a", "v": "y"}]"#;
    let files = [("t_shard0_part1.json", first), ("t_shard1_part1.json", other_row)];
    let (kind, message) = refused(&PLAIN, &files).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("two rows of one primary key"), "{message}");
    assert!(message.contains("t_shard0_part1.json line 1 and t_shard1_part1.json line 1"), "{message}");
    for other_static in [r#"[{"pk": 1, "ck": 3, "s": "b", "v": "x"}]"#, r#"[{"pk": 1, "ck": 3, "s": null, "v": "x"}]"#]
    {
        let files = [("t_shard0_part1.json", first), ("t_shard1_part1.json", other_static)];
        let (_, message) = refused(&PLAIN, &files).await;
        assert!(message.contains("rows of one partition hold different static columns"), "{message}");
    }
}

#[tokio::test]
async fn files_that_are_missing_or_none_are_named() {
    let (kind, message) = refused(&PLAIN, &[("t_shard1_part1.json", "[]")]).await;
    assert!(kind == ErrorKind::Corrupt && message.contains("part 1 of shard 0 is missing"), "{message}");
    let (kind, message) = refused(&PLAIN, &[]).await;
    assert!(kind == ErrorKind::NotFound && message.contains("no rows of keyspace shop"), "{message}");
    let (kind, message) = refused(&PLAIN, &[("u_part1.json", "[]")]).await;
    assert!(kind == ErrorKind::Invalid && message.contains("of no table that shop_schema.cql creates"), "{message}");
}

#[tokio::test]
async fn empty_files_make_an_empty_table() {
    let directory = directory(&[("t_shard0_part1.json", "[\n\n]\n"), ("t_shard1_part1.json", "[]")]);
    let repository = Repository::in_memory();
    let manifest = import(directory.path(), vec![table("t", &PLAIN)], &repository).await.expect("imported");
    assert_eq!((manifest.tables[0].sums.rows, manifest.tables[0].chunks), (0, 0));
    assert!(manifest.is_complete());
}
