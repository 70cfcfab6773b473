//! Random CQL types, random values of them that a server could send, and tables of such columns.

use std::sync::Arc;

use proptest::prelude::*;
use ringvault_archive::{
    cql_type::{CqlType, UdtType},
    table::{ColumnLayout, ColumnRole, TableLayout},
};

pub(crate) const NATIVE: [CqlType; 20] = [
    CqlType::Ascii,
    CqlType::BigInt,
    CqlType::Blob,
    CqlType::Boolean,
    CqlType::Counter,
    CqlType::Date,
    CqlType::Decimal,
    CqlType::Double,
    CqlType::Duration,
    CqlType::Float,
    CqlType::Inet,
    CqlType::Int,
    CqlType::SmallInt,
    CqlType::Text,
    CqlType::Time,
    CqlType::Timestamp,
    CqlType::TimeUuid,
    CqlType::TinyInt,
    CqlType::Uuid,
    CqlType::VarInt,
];

/// Any type, up to five levels.
pub(crate) fn any_type() -> impl Strategy<Value = CqlType> {
    let native = prop::sample::select(&NATIVE[..]);
    native.prop_recursive(4, 24, 4, |inner| {
        let names = prop::sample::subsequence(&["$", "$$a", "a", "B c", "d\"e\\", "ü\u{1}"][..], 0..=4);
        let fields = (names, prop::collection::vec(inner.clone(), 4)).prop_map(|(names, types)| {
            let fields = names.into_iter().map(str::to_owned).zip(types).collect();
            CqlType::Udt(Arc::new(UdtType { name: "u".to_owned(), fields }))
        });
        prop_oneof![
            inner.clone().prop_map(|t| CqlType::List(Box::new(t))),
            inner.clone().prop_map(|t| CqlType::Set(Box::new(t))),
            (inner.clone(), inner.clone()).prop_map(|(k, v)| CqlType::Map(Box::new(k), Box::new(v))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(CqlType::Tuple),
            (inner, 1u16..5).prop_map(|(t, n)| CqlType::Vector(Box::new(t), n)),
            fields,
        ]
    })
}

/// A table of one key column `k int` and one column `v` of this type.
pub(crate) fn table_of(cql_type: CqlType) -> TableLayout {
    TableLayout {
        keyspace: "ks".to_owned(),
        table: "t".to_owned(),
        columns: vec![column("k", ColumnRole::PartitionKey, CqlType::Int), column("v", ColumnRole::Regular, cql_type)],
        counter: false,
    }
}

pub(crate) fn column(name: &str, role: ColumnRole, cql_type: CqlType) -> ColumnLayout {
    ColumnLayout {
        name: name.to_owned(),
        role,
        type_text: cql_type.to_string(),
        multi_cell: false,
        timed: !role.is_key(),
        cql_type,
    }
}

/// A small generator (SplitMix64): values follow from a seed, so that types and values shrink apart.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// An integer of any magnitude, often at an edge.
    fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        match self.below(8) {
            0 => i64::MIN >> shift,
            1 => i64::MAX >> shift,
            2 => (1 << 53) + self.below(3).cast_signed() - 1,
            _ => self.next().cast_signed() >> shift,
        }
    }
}

/// Bytes of a value that a server could send and that are not empty, unless zero bytes are the type's own.
pub(crate) fn value_of(cql_type: &CqlType, dice: &mut Dice) -> Vec<u8> {
    match cql_type {
        CqlType::Ascii => text(dice, &["", "a", "$", "\"", "\\", "\u{0}", "\n", "0x", "null"]),
        CqlType::Text => {
            text(dice, &["", "$0x00", "ü", "🦀", "\u{0}", "\u{7f}", "\u{2028}", "\"quoted\"", "a,\"$\":{"])
        }
        CqlType::Blob => {
            let length = dice.below(20);
            dice.bytes(length)
        }
        CqlType::Boolean => vec![dice.below(2) as u8],
        CqlType::TinyInt => (dice.integer() as i8).to_be_bytes().to_vec(),
        CqlType::SmallInt => (dice.integer() as i16).to_be_bytes().to_vec(),
        CqlType::Int => (dice.integer() as i32).to_be_bytes().to_vec(),
        CqlType::BigInt | CqlType::Counter | CqlType::Timestamp => dice.integer().to_be_bytes().to_vec(),
        CqlType::Date => (dice.integer() as u32 ^ if dice.below(2) == 0 { 1 << 31 } else { 0 }).to_be_bytes().to_vec(),
        CqlType::Time => (dice.next() % 86_400_000_000_000).to_be_bytes().to_vec(),
        CqlType::Float => float(dice),
        CqlType::Double => double(dice),
        CqlType::VarInt => varint(dice),
        CqlType::Decimal => {
            let mut bytes = (dice.integer() as i32 >> dice.below(32)).to_be_bytes().to_vec();
            bytes.extend(varint(dice));
            bytes
        }
        CqlType::Duration => {
            let sign = if dice.below(2) == 0 { 1 } else { -1 };
            let mut bytes = Vec::new();
            for bits in [31, 31, 63] {
                let spare = 64 - bits + dice.below(bits);
                vint(zigzag(sign * (dice.next() >> spare).cast_signed()), &mut bytes);
            }
            bytes
        }
        CqlType::Inet => {
            let length = if dice.below(2) == 0 { 4 } else { 16 };
            let mut bytes = dice.bytes(length);
            for byte in &mut bytes {
                *byte *= (dice.below(3) > 0) as u8;
            }
            bytes
        }
        CqlType::Uuid | CqlType::TimeUuid => dice.bytes(16),
        CqlType::List(element) | CqlType::Set(element) => {
            let count = dice.below(4);
            let mut bytes = (count as i32).to_be_bytes().to_vec();
            (0..count).for_each(|_| push(Some(part_of(element, dice)), &mut bytes));
            bytes
        }
        CqlType::Map(key, value) => {
            let count = dice.below(4);
            let mut bytes = (count as i32).to_be_bytes().to_vec();
            for _ in 0..count {
                push(Some(part_of(key, dice)), &mut bytes);
                push(Some(part_of(value, dice)), &mut bytes);
            }
            bytes
        }
        CqlType::Tuple(items) => fields(items.iter(), dice),
        CqlType::Udt(udt) => fields(udt.fields.iter().map(|(_, field)| field), dice),
        CqlType::Vector(element, dimension) => {
            let mut bytes = Vec::new();
            for _ in 0..*dimension {
                let value = value_of(element, dice);
                if element.vector_element_bytes().is_none() {
                    vint(value.len() as u64, &mut bytes);
                }
                bytes.extend(value);
            }
            bytes
        }
    }
}

/// A part of a composite: now and then empty.
fn part_of(cql_type: &CqlType, dice: &mut Dice) -> Vec<u8> {
    if dice.below(10) == 0 { Vec::new() } else { value_of(cql_type, dice) }
}

/// Fields of a tuple or user type: nulls among them, the last ones missing.
fn fields<'t>(types: impl ExactSizeIterator<Item = &'t CqlType>, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = types.len() as u64 - if dice.below(3) == 0 { dice.below(types.len() as u64 + 1) } else { 0 };
    for field in types.take(written as usize) {
        let value = (dice.below(5) > 0).then(|| part_of(field, dice));
        push(value, &mut bytes);
    }
    bytes
}

fn push(value: Option<Vec<u8>>, bytes: &mut Vec<u8>) {
    let length = value.as_ref().map_or(-1, |value| value.len() as i32);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value.unwrap_or_default());
}

fn text(dice: &mut Dice, pieces: &[&str]) -> Vec<u8> {
    let count = dice.below(6);
    (0..count).flat_map(|_| pieces[dice.below(pieces.len() as u64) as usize].bytes()).collect()
}

fn float(dice: &mut Dice) -> Vec<u8> {
    let edges =
        [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, f32::MAX, 1e-45, 16_777_216.0];
    let any = f32::from_bits(dice.next() as u32);
    let value = if any.is_nan() || dice.below(2) == 0 { edges[dice.below(9) as usize] } else { any };
    value.to_be_bytes().to_vec()
}

fn double(dice: &mut Dice) -> Vec<u8> {
    let edges = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e16];
    let any = f64::from_bits(dice.next());
    let value = if any.is_nan() || dice.below(2) == 0 { edges[dice.below(9) as usize] } else { any };
    value.to_be_bytes().to_vec()
}

fn varint(dice: &mut Dice) -> Vec<u8> {
    let length = 1 + dice.below(40);
    let mut bytes = dice.bytes(length);
    // The shortest two's complement.
    while let [first, second, ..] = bytes[..] {
        if !(first == 0 && second < 0x80 || first == 0xff && second >= 0x80) {
            break;
        }
        bytes.remove(0);
    }
    bytes
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Cassandra's unsigned vint, written another way than the crate does.
pub(crate) fn vint(value: u64, bytes: &mut Vec<u8>) {
    for extra in 0..=8u32 {
        let data_bits = if extra == 8 { 64 } else { 7 * (extra + 1) };
        if data_bits == 64 || value < 1 << data_bits {
            let marked = if extra == 0 { 0 } else { 0xffu64 << (8 - extra) & 0xff };
            let high = if extra == 8 { 0 } else { value >> (8 * extra) };
            bytes.push((marked | high) as u8);
            bytes.extend((0..extra).rev().map(|byte| (value >> (8 * byte)) as u8));
            return;
        }
    }
}
