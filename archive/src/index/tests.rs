use proptest::prelude::*;
use ringvault_proto::{error::ErrorKind, v1::Compression};

use super::*;

fn backup() -> BackupId {
    "20261122T145053Z-7k3f".parse().expect("an id")
}

fn table() -> v1::InspectedTable {
    let column = |name: &str, kind: v1::ColumnKind, text: &str| v1::Column {
        name: name.into(),
        kind: kind.into(),
        r#type: text.into(),
        reversed: name == "at",
    };
    v1::InspectedTable {
        table: Some(v1::TableName { keyspace: "shop".into(), table: "orders".into() }),
        table_id: "9ab1f1d0-c7a5-11f0-8de9-0242ac120002".into(),
        fingerprint: "f00d".into(),
        columns: vec![
            column("id", v1::ColumnKind::PartitionKey, "int"),
            column("at", v1::ColumnKind::Clustering, "timestamp"),
            column("Ünit \"x\"", v1::ColumnKind::Regular, "frozen<list<money>>"),
        ],
        types: vec![v1::UserType {
            name: "money".into(),
            fields: vec![v1::Column { name: "cents".into(), r#type: "bigint".into(), ..v1::Column::default() }],
        }],
        default_ttl_s: 7,
        approximations: vec![v1::Approximation {
            what: v1::approximation::What::RowMarkers.into(),
            column: String::new(),
            note: "no server tells them".into(),
        }],
        ..v1::InspectedTable::default()
    }
}

fn chunk(segment: u64, part: u32) -> v1::Chunk {
    let sum = |salt: u8| Bytes::copy_from_slice(&Identity::of(&[salt, u8::try_from(part).unwrap_or(0)]).0);
    v1::Chunk {
        segment,
        part,
        identity: sum(1),
        object: format!("data/shop/orders/{segment}.{part}"),
        compression: Compression::Zstd.into(),
        rows: 10 + segment,
        static_rows: u64::from(part),
        encoded_bytes: 1000,
        stored_bytes: 100,
        value_sum: sum(2),
        time_sum: sum(3),
        reused: false,
        key_only_rows: segment % 3,
        estimated_cells: 4,
        writetime_us_max: 1_700_000_000_000_000,
        expiry_s_max: i64::from(part),
    }
}

fn grid(exponent: u32) -> Grid {
    Grid::try_from(exponent).expect("small")
}

fn record(encoded: &EncodedIndex) -> ObjectRecord {
    ObjectRecord {
        object: "backups/x/tables/shop.orders.jsonl.zst".into(),
        identity: encoded.identity,
        encoded_bytes: encoded.encoded_bytes,
        stored_bytes: encoded.stored.len() as u64,
    }
}

/// Stores any text as an index would be, with a record that agrees.
fn decode_text(text: &str) -> Result<TableIndex> {
    let mut out = crate::compressed::Compressor::new()?;
    out.push(text.as_bytes())?;
    let done = out.finish()?;
    let encoded = EncodedIndex { identity: done.identity, encoded_bytes: done.encoded_bytes, stored: done.stored };
    TableIndex::decode(encoded.stored.clone(), &record(&encoded), &backup())
}

fn text_of(encoded: &EncodedIndex) -> String {
    String::from_utf8(zstd::decode_all(&encoded.stored[..]).expect("a frame")).expect("JSON")
}

proptest! {
    #[test]
    fn an_index_survives_and_equal_indexes_are_equal_bytes(
        exponent in 0u32..8,
        parts in proptest::collection::btree_map(0u64..256, 1u32..4, 0..40),
    ) {
        let grid = grid(exponent);
        let mut chunks: Vec<_> = parts
            .iter()
            .filter(|(segment, _)| **segment < grid.segments())
            .flat_map(|(segment, parts)| (0..*parts).map(|part| chunk(*segment, part)))
            .collect();
        let index = TableIndex::new(table(), grid, true, chunks.clone()).expect("whole");
        let encoded = index.encode(&backup()).expect("memory");
        let decoded = TableIndex::decode(encoded.stored.clone(), &record(&encoded), &backup()).expect("undamaged");
        prop_assert_eq!(&decoded, &index);
        chunks.reverse();
        let again = TableIndex::new(table(), grid, true, chunks).expect("whole").encode(&backup()).expect("memory");
        prop_assert_eq!(again, encoded);
        let counted: usize = (0..grid.segments()).map(|segment| index.segment_chunks(segment).len()).sum();
        prop_assert_eq!(counted, index.chunks().len());
    }
}

#[test]
fn every_line_can_be_read_by_a_stranger() {
    let index = TableIndex::new(table(), grid(3), false, vec![chunk(2, 0), chunk(2, 1), chunk(3, 0)]).expect("whole");
    let text = text_of(&index.encode(&backup()).expect("memory"));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["grid_exponent"], 3);
    assert_eq!(lines[0]["columns"][1]["kind"], "clustering");
    assert_eq!(lines[1], serde_json::json!({"empty": {"segment": 0, "segments": 2}}));
    assert_eq!(lines[3]["chunk"]["part"], 1);
    assert_eq!(lines[5], serde_json::json!({"empty": {"segment": 4, "segments": 4}}));
    assert_eq!(lines[6]["end"]["chunks"], 3);
    assert_eq!(lines.len(), 7);
}

#[test]
fn chunks_that_are_no_table_are_refused() {
    let bad: [(&str, Vec<v1::Chunk>); 12] = [
        ("part is missing", vec![chunk(0, 1)]),
        ("part is missing", vec![chunk(0, 0), chunk(0, 2)]),
        ("there twice", vec![chunk(0, 0), chunk(0, 0)]),
        ("there are 8 segments", vec![chunk(8, 0)]),
        ("is there twice", vec![chunk(0, 0), v1::Chunk { object: "data/shop/orders/0.0".into(), ..chunk(1, 0) }]),
        ("is not below", vec![v1::Chunk { object: "data/shop/orders/../x".into(), ..chunk(0, 0) }]),
        ("is not below", vec![v1::Chunk { object: "data/shop/other/x".into(), ..chunk(0, 0) }]),
        ("32 bytes", vec![v1::Chunk { identity: Bytes::new(), ..chunk(0, 0) }]),
        ("32 bytes", vec![v1::Chunk { time_sum: vec![1; 33].into(), ..chunk(0, 0) }]),
        ("rows in", vec![v1::Chunk { rows: u64::MAX, static_rows: 2, ..chunk(0, 0) }]),
        ("encoded bytes", vec![v1::Chunk { encoded_bytes: u64::MAX, ..chunk(0, 0) }]),
        ("stored bytes", vec![v1::Chunk { stored_bytes: 1 << 40, ..chunk(0, 0) }]),
    ];
    for (reason, chunks) in bad {
        let error = TableIndex::new(table(), grid(3), false, chunks).expect_err(reason);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn any_damage_to_stored_bytes_is_found() {
    let index = TableIndex::new(table(), grid(2), false, vec![chunk(1, 0), chunk(1, 1), chunk(3, 0)]).expect("whole");
    let encoded = index.encode(&backup()).expect("memory");
    for position in 0..encoded.stored.len() {
        let mut damaged = encoded.stored.to_vec();
        damaged[position] ^= 0x10;
        match TableIndex::decode(damaged.into(), &record(&encoded), &backup()) {
            Ok(decoded) => assert_eq!(decoded, index, "a bit that says nothing"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
        let cut = encoded.stored.slice(..position);
        assert!(TableIndex::decode(cut, &record(&encoded), &backup()).is_err());
    }
    let other = "20261122T145053Z-0000".parse().expect("an id");
    assert!(TableIndex::decode(encoded.stored.clone(), &record(&encoded), &other).is_err());
}

#[test]
fn lines_that_were_changed_left_out_doubled_or_moved_are_found() {
    let index = TableIndex::new(table(), grid(2), false, vec![chunk(1, 0), chunk(1, 1), chunk(3, 0)]).expect("whole");
    let text = text_of(&index.encode(&backup()).expect("memory"));
    assert_eq!(decode_text(&text).expect("unchanged"), index);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        assert_eq!(decode_text(&without).expect_err("a line is missing").kind(), ErrorKind::Corrupt, "{without}");
        let doubled = [&lines[..=at], &lines[at..]].concat().concat();
        assert_eq!(decode_text(&doubled).expect_err("a line is doubled").kind(), ErrorKind::Corrupt, "{doubled}");
        let mut swapped = lines.clone();
        swapped.swap(at, (at + 1) % lines.len());
        assert_eq!(decode_text(&swapped.concat()).expect_err("swapped").kind(), ErrorKind::Corrupt);
    }
    let changes = [
        ("\"segments\":1}", "\"segments\":18446744073709551615}"),
        ("\"segments\":1}", "\"segments\":0}"),
        ("\"segment\":3", "\"segment\":18446744073709551615"),
        ("\"part\":1", "\"part\":4294967295"),
        ("\"rows\":11", "\"rows\":12"),
        ("\"encoded_bytes\":1000", "\"encoded_bytes\":-1"),
        ("\"grid_exponent\":2", "\"grid_exponent\":3"),
        ("\"grid_exponent\":2", "\"grid_exponent\":25"),
        ("\"end\"", "\"fin\""),
    ];
    for (from, to) in changes {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(decode_text(&changed).expect_err(to).kind(), ErrorKind::Corrupt);
    }
    let newer = text.replacen("\"format\":1", "\"format\":2", 1);
    assert_eq!(decode_text(&newer).expect_err("newer").kind(), ErrorKind::Invalid);
}
