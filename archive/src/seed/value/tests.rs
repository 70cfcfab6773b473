use proptest::prelude::*;

use super::*;
use crate::{cql_type::UserTypes, seed::json::parse};

fn cql(text: &str) -> CqlType {
    let field = |name: &str, text: &str| ringvault_proto::v1::Column {
        name: name.into(),
        r#type: text.into(),
        ..ringvault_proto::v1::Column::default()
    };
    let address = ringvault_proto::v1::UserType {
        name: "address".into(),
        fields: vec![field("street", "text"), field("no", "int"), field("tags", "frozen<set<text>>")],
    };
    CqlType::parse(text, &UserTypes::from_message(&[address]).expect("a type")).expect("a type")
}

fn bytes(cql_type: &str, json: &str) -> Result<Vec<u8>, Defect> {
    let mut out = Vec::new();
    let json = parse(json.as_bytes()).expect("JSON");
    read(&cql(cql_type), &json, &mut Losses::default(), &mut out).map(|()| out)
}

fn hex(cql_type: &str, json: &str) -> String {
    hex::encode(bytes(cql_type, json).unwrap_or_else(|defect| panic!("{cql_type} {json}: {defect}")))
}

#[test]
fn scalars_become_the_cells_that_the_server_sends() {
    for (cql_type, json, expected) in [
        ("text", "\"ä\\n\"", "c3a40a"),
        ("ascii", "\"\"", ""),
        ("blob", r#"{"__blob__": true, "b64": "AP8QIA=="}"#, "00ff1020"),
        ("blob", r#"{"b64": "", "__blob__": true}"#, ""),
        ("blob", r#"{"__blob__": true, "b64": "AAEC"}"#, "000102"),
        ("boolean", "true", "01"),
        ("tinyint", "-1", "ff"),
        ("smallint", "-32768", "8000"),
        ("int", "2147483647", "7fffffff"),
        ("bigint", "-9223372036854775808", "8000000000000000"),
        ("bigint", "\"5\"", "0000000000000005"),
        ("counter", "7", "0000000000000007"),
        ("varint", "123456789012345678901234567890", "018ee90ff6c373e0ee4e3f0ad2"),
        ("varint", "-1", "ff"),
        ("decimal", "\"1.10\"", "000000026e"),
        ("decimal", "\"1E+3\"", "fffffffd01"),
        ("decimal", "\"0E-10\"", "0000000a00"),
        ("float", "0.10000000149011612", "3dcccccd"),
        ("float", "NaN", "7fc00000"),
        ("float", "-Infinity", "ff800000"),
        ("double", "1e+16", "4341c37937e08000"),
        ("double", "-0.0", "8000000000000000"),
        ("double", "Infinity", "7ff0000000000000"),
        ("uuid", "\"00112233-4455-6677-8899-AABBCCDDEEFF\"", "00112233445566778899aabbccddeeff"),
        ("inet", "\"127.0.0.1\"", "7f000001"),
        ("inet", "\"::1\"", "00000000000000000000000000000001"),
        ("timestamp", "\"1970-01-01T00:00:00.001000\"", "0000000000000001"),
        ("timestamp", "\"1970-01-01T00:00:00\"", "0000000000000000"),
        ("timestamp", "\"1970-01-01 01:00:00.5+01:00\"", "00000000000001f4"),
        ("timestamp", "\"1969-12-31T23:59:59.999000Z\"", "ffffffffffffffff"),
        ("timestamp", "\"9999-12-31T23:59:59.999000\"", "0000e677d21fdbff"),
        // Python's arithmetic on seconds as doubles.
        ("timestamp", "\"9000-01-01T00:00:00.000991\"", "0000c9c467c90401"),
        ("date", "\"1970-01-02\"", "80000001"),
        ("date", "\"1969-12-31T00:00:00\"", "7fffffff"),
        ("time", "\"00:00:01.000000002\"", "000000003b9aca02"),
        ("time", "\"23:59:59\"", "00004e9455b43600"),
        ("duration", "\"1mo2d3ns\"", "020406"),
        ("duration", "\"-1mo2d3ns\"", "010305"),
    ] {
        assert_eq!(hex(cql_type, json), expected, "{cql_type} {json}");
    }
}

#[test]
fn composites_are_framed_and_sorted_as_servers_keep_them() {
    for (cql_type, json, expected) in [
        ("list<int>", "[2, 1]", "00000002 00000004 00000002 00000004 00000001"),
        ("list<int>", "[]", "00000000"),
        ("set<int>", "[1, -1]", "00000002 00000004 ffffffff 00000004 00000001"),
        ("set<text>", "[\"b\", \"a\"]", "00000002 00000001 61 00000001 62"),
        (
            "map<int, text>",
            "{\"2\": \"b\", \"-1\": \"\"}",
            "00000002 00000004 ffffffff 00000000 00000004 00000002 00000001 62",
        ),
        ("tuple<int, text>", "[1, \"x\"]", "00000004 00000001 00000001 78"),
        ("tuple<int, text>", "[null, \"x\"]", "ffffffff 00000001 78"),
        ("address", "[\"s\", null, [\"b\", \"a\"]]", "00000001 73 ffffffff 0000000e 00000002 00000001 61 00000001 62"),
        ("vector<float, 2>", "[1.0, -2.0]", "3f800000 c0000000"),
        ("vector<text, 2>", "[\"ab\", \"\"]", "02 6162 00"),
        (
            "list<frozen<map<text, blob>>>",
            r#"[{"k": {"__blob__": true, "b64": "AA=="}}]"#,
            "00000001 0000000e 00000001 00000001 6b 00000001 00",
        ),
    ] {
        assert_eq!(hex(cql_type, json), expected.replace(' ', ""), "{cql_type} {json}");
    }
}

#[test]
fn keys_of_maps_are_read_back_by_their_type() {
    for (cql_type, key, expected) in [
        ("boolean", "true", "01"),
        ("boolean", "False", "00"),
        ("float", "0.10000000149011612", "3dcccccd"),
        ("double", "inf", "7ff0000000000000"),
        ("bigint", "-1", "ffffffffffffffff"),
        ("text", "$x\"", "247822"),
        ("timestamp", "1970-01-01 00:00:00.001000", "0000000000000001"),
        ("date", "1970-01-01", "80000000"),
        ("blob", "b'a\\\\x00\\\\n\\\\\\\\'", "61000a5c"),
        ("uuid", "00112233-4455-6677-8899-aabbccddeeff", "00112233445566778899aabbccddeeff"),
        ("decimal", "1.0", "000000010a"),
    ] {
        let json = format!("{{\"{}\": 1}}", key.replace("\\\\", "\u{0}").replace('"', "\\\"").replace('\u{0}', "\\\\"));
        let found = hex(&format!("map<{cql_type}, tinyint>"), &json);
        let expected = format!("00000001{:08x}{expected}0000000101", expected.len() / 2);
        assert_eq!(found, expected, "{cql_type} {key}");
    }
}

#[test]
fn what_lost_its_meaning_is_refused_by_a_reason() {
    for (cql_type, json, part) in [
        ("duration", "\"1 day, 0:00:00\"", "duration"),
        ("duration", "5", "form"),
        ("date", "\"2932897\"", "ambiguous"),
        ("date", "\"-719163\"", "ambiguous"),
        ("date", "\"2024-01-01T12:00:00\"", "time of day"),
        ("date", "\"2023-02-29\"", "date"),
        ("date", "\"é\"", "ambiguous"),
        ("timestamp", "\"2024-01-01\"", "ISO"),
        ("timestamp", "\"2024-01-01T00:00:00.000500\"", "finer"),
        ("timestamp", "\"0000-01-01T00:00:00\"", "ISO"),
        ("timestamp", "\"2024-01-01T00:00:00+25:00\"", "ISO"),
        ("timestamp", "1700000000000", "form"),
        ("time", "\"25:00:00\"", "time of day"),
        ("float", "0.1", "32 bits"),
        ("float", "1e39", "range"),
        ("int", "2147483648", "range"),
        ("int", "1.0", "integer"),
        ("int", "\"1\"", "form"),
        ("tinyint", "true", "form"),
        ("boolean", "1", "form"),
        ("text", "1", "form"),
        ("blob", "\"AAEC\"", "form"),
        ("blob", r#"{"__blob__": true, "b64": "AAE"}"#, "base64"),
        ("blob", r#"{"__blob__": true, "b64": "AB=="}"#, "base64"),
        ("blob", r#"{"__blob__": true, "b64": "A==="}"#, "base64"),
        ("blob", r#"{"__blob__": true, "b64": "AA==AA=="}"#, "base64"),
        ("blob", r#"{"__blob__": false, "b64": ""}"#, "form"),
        ("decimal", "\"NaN\"", "decimal"),
        ("decimal", "1.5", "form"),
        ("inet", "\"localhost\"", "address"),
        ("uuid", "\"x\"", "uuid"),
        ("list<int>", "[null]", "null"),
        ("list<int>", "\"[1]\"", "array"),
        ("set<int>", "[1, 1]", "twice"),
        ("map<int, int>", "{\"1\": 1, \"1\": 2}", "twice"),
        ("map<int, int>", "[[1, 2]]", "array or object"),
        ("map<frozen<list<int>>, int>", "{\"[1]\": 1}", "ambiguous"),
        ("tuple<int, int>", "[1]", "number of parts"),
        ("address", "[\"s\", 1]", "number of fields"),
        ("address", "{\"street\": \"s\"}", "array"),
        ("vector<float, 2>", "[1.0]", "dimension"),
    ] {
        let defect = bytes(cql_type, json).expect_err(json);
        assert!(defect.contains(part), "{cql_type} {json}: {defect}");
    }
}

#[test]
fn null_tails_are_counted() {
    let mut losses = Losses::default();
    let json = parse(b"[[1, null], [null, 1], [null, null]]").expect("JSON");
    read(&cql("list<frozen<tuple<int, int>>>"), &json, &mut losses, &mut Vec::new()).expect("fine");
    assert_eq!(losses.null_tails, 2);
}

proptest! {
    #[test]
    fn base64_is_pythons(given: Vec<u8>) {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in given.chunks(3) {
            let word = group.iter().chain(&[0, 0]).take(3).fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
            for digit in 0..4 {
                let there = digit <= group.len();
                text.push(if there { char::from(DIGITS[word >> (18 - 6 * digit) & 63]) } else { '=' });
            }
        }
        let mut read = Vec::new();
        prop_assert_eq!(base64(text.as_bytes(), &mut read), Ok(()));
        prop_assert_eq!(read, given);
    }

    #[test]
    fn any_text_of_any_type_ends_without_a_panic(
        cql_type in prop::sample::select(vec!["timestamp", "date", "time", "duration", "decimal", "inet", "uuid", "varint", "float", "blob"]),
        text in "[-0-9:.TZ+ébmodns\\\\x' E]{0,30}",
    ) {
        let mut out = Vec::new();
        let _ = read(&cql(cql_type), &Json::Text(text.clone().into()), &mut Losses::default(), &mut out);
        let _ = read(&cql(cql_type), &Json::Number(&text), &mut Losses::default(), &mut out);
        let _ = read_key(&cql(cql_type), &text, &mut out);
    }

    #[test]
    fn every_millisecond_survives_pythons_form(ms in -62_135_596_800_000_i64..253_402_300_799_999) {
        let time = jiff::Timestamp::from_millisecond(ms).expect("in range");
        let text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let text = format!("{text}.{:06}", ms.rem_euclid(1000) * 1000);
        let mut out = Vec::new();
        prop_assert_eq!(timestamp(&text, &mut out), Ok(()));
        prop_assert_eq!(out, ms.to_be_bytes());
    }
}
