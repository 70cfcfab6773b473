use proptest::prelude::*;

use super::*;
use crate::cql_type::UserTypes;

fn key(cql_type: &str, cell: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    append(&CqlType::parse(cql_type, &UserTypes::default()).expect("a type"), cell, &mut key);
    key
}

/// Cells in rising order; each must sort before the next.
#[track_caller]
fn rises(cql_type: &str, cells: &[&[u8]]) {
    for pair in cells.windows(2) {
        let (a, b) = (key(cql_type, pair[0]), key(cql_type, pair[1]));
        assert!(a < b, "{cql_type}: {} before {}", hex::encode(pair[0]), hex::encode(pair[1]));
        let turned = |key: &[u8]| key.iter().map(|byte| !byte).collect::<Vec<u8>>();
        assert!(turned(&a) > turned(&b), "{cql_type} reversed");
    }
}

fn uuid(text: &str) -> [u8; 16] {
    *text.parse::<uuid::Uuid>().expect("a uuid").as_bytes()
}

#[test]
fn values_sort_as_cassandra_sorts_them() {
    rises("text", &[b"", b"\0", b"\0\0", b"\0a", b"a", b"a\0", b"ab", b"\xff"]);
    rises("blob", &[b"", b"\0", b"\x01", b"\x7f", b"\x80"]);
    rises("int", &[b"", &i32::MIN.to_be_bytes(), &[0xff; 4], &[0; 4], &i32::MAX.to_be_bytes()]);
    rises("tinyint", &[b"", b"\x80", b"\xff", b"\x00", b"\x7f"]);
    rises("timestamp", &[&[0x80, 0, 0, 0, 0, 0, 0, 0], &[0xff; 8], &[0; 8]]);
    rises("date", &[&[0; 4], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0]]);
    rises("boolean", &[b"", b"\0", b"\x01"]);
    let doubles = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 1.5, f64::INFINITY, f64::NAN].map(f64::to_be_bytes);
    rises("double", &doubles.each_ref().map(|cell| &cell[..]));
    let floats = [f32::NEG_INFINITY, -1.5, -0.0, 0.0, 1.5, f32::INFINITY, f32::NAN].map(f32::to_be_bytes);
    rises("float", &floats.each_ref().map(|cell| &cell[..]));
    rises("inet", &[&[10, 0, 0, 1], &[127, 0, 0, 1], &[0xff; 16]]);
}

#[test]
fn numbers_of_any_length_sort_by_value() {
    rises(
        "varint",
        &[b"\xff\x00\x00", b"\x80\x00", b"\x80", b"\xff", b"\x00", b"\x01", b"\x7f", b"\x00\x80", b"\x01\x00\x00"],
    );
    let decimal = |scale: i32, unscaled: &[u8]| [&scale.to_be_bytes()[..], unscaled].concat();
    let rising = [
        decimal(-3, b"\xff"), // -1000
        decimal(0, b"\x80"),  // -128
        decimal(1, b"\xf3"),  // -1.3
        decimal(1, b"\xf6"),  // -1.0
        decimal(5, b"\xff"),  // -0.00001
        decimal(7, b"\x00"),  // 0
        decimal(5, b"\x01"),  // 0.00001
        decimal(1, b"\x0a"),  // 1.0
        decimal(2, b"\x69"),  // 1.05
        decimal(1, b"\x0b"),  // 1.1
        decimal(0, b"\x0a"),  // 10
        decimal(-3, b"\x01"), // 1000
    ];
    rises("decimal", &rising.each_ref().map(|cell| &cell[..]));
    assert_eq!(key("decimal", &decimal(1, b"\x0a")), key("decimal", &decimal(0, b"\x01")));
    assert_eq!(key("decimal", &decimal(1, b"\0")), key("decimal", &decimal(9, b"\0")));
}

#[test]
fn uuids_sort_by_version_and_time() {
    let by_time = [
        uuid("ffffffff-0000-1000-8000-000000000000"),
        uuid("00000000-0001-1000-8000-000000000000"),
        uuid("00000000-0000-1001-8000-000000000000"),
        uuid("00000000-0000-1001-8100-000000000000"),
    ];
    rises("uuid", &by_time.each_ref().map(|cell| &cell[..]));
    let versions =
        [by_time[3], uuid("00000000-0000-4000-8000-000000000000"), uuid("00000001-0000-4000-8000-000000000000")];
    rises("uuid", &versions.each_ref().map(|cell| &cell[..]));
    // The last eight bytes are compared as signed ones.
    let signed = [
        by_time[0],
        by_time[1],
        uuid("00000000-0000-1001-8000-000000000080"),
        uuid("00000000-0000-1001-8000-000000000000"),
        uuid("00000000-0000-1001-8000-00000000007f"),
        uuid("00000000-0000-1001-7f00-000000000000"),
    ];
    rises("timeuuid", &signed.each_ref().map(|cell| &cell[..]));
}

#[test]
fn composites_sort_part_by_part() {
    let list = |items: &[&[u8]]| {
        let mut cell = (items.len() as i32).to_be_bytes().to_vec();
        for item in items {
            cell.extend((item.len() as i32).to_be_bytes());
            cell.extend(*item);
        }
        cell
    };
    let rising = [list(&[]), list(&[b"a"]), list(&[b"a", b""]), list(&[b"a", b"b"]), list(&[b"ab"]), list(&[b"b"])];
    rises("frozen<list<text>>", &rising.each_ref().map(|cell| &cell[..]));
    rises("frozen<set<text>>", &rising.each_ref().map(|cell| &cell[..]));
    let tuple = |parts: &[Option<i32>]| {
        let part = |part: &Option<i32>| match part {
            Some(value) => [4_i32.to_be_bytes(), value.to_be_bytes()].concat(),
            None => (-1_i32).to_be_bytes().to_vec(),
        };
        parts.iter().flat_map(part).collect::<Vec<u8>>()
    };
    let rising = [tuple(&[None, Some(5)]), tuple(&[Some(-1)]), tuple(&[Some(-1), Some(-7)]), tuple(&[Some(0), None])];
    rises("frozen<tuple<int, int>>", &rising.each_ref().map(|cell| &cell[..]));
    assert_eq!(key("tuple<int, int>", &tuple(&[Some(1)])), key("tuple<int, int>", &tuple(&[Some(1), None])));
    rises("vector<int, 2>", &[&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 9], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 1]]);
    rises("vector<text, 2>", &[b"\x01a\x01b", b"\x01a\x02bb", b"\x02aa\0"]);
}

proptest! {
    #[test]
    fn longs_sort_by_value(a: i64, b: i64) {
        let keys = (key("bigint", &a.to_be_bytes()), key("bigint", &b.to_be_bytes()));
        prop_assert_eq!(keys.0.cmp(&keys.1), a.cmp(&b));
        let varint = |n: i64| key("varint", &BigInt::from(n).to_signed_bytes_be());
        prop_assert_eq!(varint(a).cmp(&varint(b)), a.cmp(&b));
    }

    #[test]
    fn doubles_sort_by_value(a: f64, b: f64) {
        let keys = (key("double", &a.to_be_bytes()), key("double", &b.to_be_bytes()));
        prop_assert_eq!(keys.0.cmp(&keys.1), a.total_cmp(&b));
    }

    #[test]
    fn no_key_is_the_start_of_another(
        cql_type in prop::sample::select(vec!["text", "blob", "int", "varint", "decimal", "frozen<list<blob>>", "frozen<tuple<text, int>>"]),
        a in prop::collection::vec(0u8..3, 0..12),
        b in prop::collection::vec(0u8..3, 0..12),
    ) {
        let (a, b) = (key(cql_type, &a), key(cql_type, &b));
        prop_assert!(a == b || !b.starts_with(&a));
    }
}
