//! Hard values of every native type, as bytes.

use num_bigint::BigInt;

use super::bytes::{
    bigint, boolean, date, decimal, double, double_bits, duration, float, float_bits, int, smallint, text, tinyint,
    varint,
};

/// Values of one native type.
#[derive(Debug)]
pub(crate) struct NativeType {
    /// As CQL writes it.
    pub(crate) name: &'static str,
    pub(crate) values: Vec<Vec<u8>>,
    /// Zero bytes are a legal value of it.
    pub(crate) empty: bool,
    /// It may stand in a primary key.
    pub(crate) key: bool,
}

impl NativeType {
    /// Values that a comparator tells apart: of 1.0 and 1.00, or two NaNs, as clusterings, only one row remains, and it
    /// depends on the replica by which bytes it goes.
    pub(crate) fn distinct_values(&self) -> Vec<Vec<u8>> {
        let alike: &[Vec<u8>] = &match self.name {
            "decimal" => vec![decimal(2, &BigInt::from(100)), decimal(10, &BigInt::from(0))],
            "double" => vec![double_bits(0x7ff0_0000_0000_0001), double_bits(0xfff8_1234_5678_9abc)],
            "float" => vec![float_bits(0x7f80_0001), float_bits(0xffc1_2345)],
            "varint" => vec![vec![0, 0, 1], vec![0xff, 0xff]],
            _ => Vec::new(),
        };
        self.values.iter().filter(|value| !alike.contains(value)).cloned().collect()
    }
}

/// Every native type but counter.
pub(crate) fn native_types() -> Vec<NativeType> {
    let of = |name, empty, values| NativeType { name, values, empty, key: name != "duration" };
    vec![
        of("ascii", true, ["a", "~", "\0", "\u{7f}", "with \"quotes\" and \\", "{\"$\":1}"].map(text).to_vec()),
        of("bigint", true, [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1].map(bigint).to_vec()),
        of("blob", true, vec![vec![0], vec![0xff; 3], (0..=255).collect(), vec![0xab; 70_000], b"0x00".to_vec()]),
        of("boolean", true, vec![boolean(true), boolean(false)]),
        of(
            "date",
            false,
            [0, 1, (1 << 31) - 1, 1 << 31, (1 << 31) + 20_000, u32::MAX, DATE_YEAR_1, DATE_YEAR_10000]
                .map(date)
                .to_vec(),
        ),
        of("decimal", true, decimals()),
        of("double", true, doubles()),
        of("duration", false, durations()),
        of("float", true, floats()),
        of(
            "inet",
            true,
            vec![vec![127, 0, 0, 1], vec![0; 4], vec![255; 4], vec![0; 16], vec![255; 16], MAPPED_V4.to_vec()],
        ),
        of("int", true, [0, 1, -1, i32::MAX, i32::MIN].map(int).to_vec()),
        of("smallint", false, [0, 1, -1, i16::MAX, i16::MIN].map(smallint).to_vec()),
        of("text", true, texts()),
        of("time", false, [0, 1, 86_399_999_999_999, 43_200_000_000_000].map(bigint).to_vec()),
        of("timestamp", true, timestamps()),
        of("timeuuid", true, vec![TIMEUUID.to_vec(), TIMEUUID_LOW.to_vec()]),
        of("tinyint", false, [0, 1, -1, i8::MAX, i8::MIN].map(tinyint).to_vec()),
        of("uuid", true, vec![vec![0; 16], vec![255; 16], TIMEUUID.to_vec(), (1..=16).collect()]),
        of("varint", true, varints()),
    ]
}

/// 0001-01-01 and 10000-01-01, as shifted days.
const DATE_YEAR_1: u32 = (1 << 31) - 719_162;
const DATE_YEAR_10000: u32 = (1 << 31) + 2_932_897;
/// ::ffff:1.2.3.4, which Java likes to turn into a v4 address.
const MAPPED_V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4];
/// Version 1.
pub(crate) const TIMEUUID: [u8; 16] =
    [0x5b, 0x6a, 0x7f, 0x00, 0x3a, 0x2c, 0x11, 0xee, 0x8c, 0x99, 0x02, 0x42, 0xac, 0x12, 0x00, 0x02];
const TIMEUUID_LOW: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];

fn texts() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "plain",
        "U+0000 \0 inside",
        "\0",
        "emoji 🦀👩‍👩‍👧‍👦 and ß漢",
        "line\r\nbreak\ttab \u{1b} \u{7f} \u{85} \u{2028}\u{2029}",
        "\"quotes\" 'single' \\ back / slash",
        "\u{10ffff}\u{fffd}\u{feff}\u{d7ff}\u{e000}",
        "$0x00",
        "null",
        "{\"$\":\"0x00\"}",
        "cafe\u{301} against caf\u{e9}",
    ]
    .map(text)
    .to_vec();
    all.push(text(&"long ".repeat(20_000)));
    all
}

fn decimals() -> Vec<Vec<u8>> {
    let n = |v: i64| BigInt::from(v);
    vec![
        decimal(0, &n(0)),
        decimal(1, &n(10)),
        decimal(2, &n(100)),
        decimal(10, &n(0)),
        decimal(-5, &n(1)),
        decimal(3, &n(-1)),
        decimal(i32::MAX, &n(7)),
        decimal(i32::MIN, &n(-7)),
        decimal(40, &huge()),
        decimal(-40, &-huge()),
        // The unscaled part may carry needless bytes.
        vec![0, 0, 0, 1, 0, 0, 5],
    ]
}

fn varints() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        [0, 1, -1, 127, 128, -128, -129, i64::MAX, i64::MIN].map(|v| varint(&BigInt::from(v))).to_vec();
    all.push(varint(&huge()));
    all.push(varint(&-huge()));
    all.push(vec![0, 0, 1]);
    all.push(vec![0xff, 0xff]);
    all
}

/// About 10^300.
fn huge() -> BigInt {
    BigInt::from(10).pow(300) + 7
}

fn floats() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        0.0,
        -0.0,
        1.5,
        0.1,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        f32::INFINITY,
        f32::NEG_INFINITY,
        16_777_216.0,
        1e-45,
    ]
    .map(float)
    .to_vec();
    all.extend([0x7fc0_0000, 0x7f80_0001, 0xffc1_2345].map(float_bits));
    all
}

fn doubles() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        [0.0, -0.0, 1.5, 0.1, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, 1e21, 5e-324]
            .map(double)
            .to_vec();
    all.extend([0x7ff8_0000_0000_0000, 0x7ff0_0000_0000_0001, 0xfff8_1234_5678_9abc].map(double_bits));
    all
}

fn durations() -> Vec<Vec<u8>> {
    vec![
        duration(0, 0, 0),
        duration(1, 2, 3),
        duration(-1, -2, -3),
        duration(i32::MAX, i32::MAX, i64::MAX),
        duration(-i32::MAX, -i32::MAX, -i64::MAX),
        duration(0, 0, 1_000_000_000),
        duration(14, 0, 0),
        duration(0, -40, 0),
    ]
}

fn timestamps() -> Vec<Vec<u8>> {
    [
        0,
        1,
        -1,
        1_700_000_000_123,
        -62_135_596_800_000, // 0001-01-01
        -62_135_596_800_001, // the millisecond before
        253_402_300_799_999, // the last of year 9999
        253_402_300_800_000, // year 10000
        i64::MAX,
        i64::MIN,
        -2_208_988_800_000, // 1900
    ]
    .map(bigint)
    .to_vec()
}
