//! Random bytes of a type: the hard values of each native one, and composites of them.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::schema::{Kind, Schema};
use crate::samples::bytes::{list, map, tuple, vector_of_variable};

/// Longest native value: what is long is another test's.
const VALUE_BYTES_MAX: usize = 600;

/// What an IPv4 address in the form of IPv6 starts with.
const MAPPED_V4_HEAD: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];

/// Whether a big integer has bytes in front that only repeat its sign.
fn is_longer_than_needed(integer: &[u8]) -> bool {
    matches!(integer, [0x00, next, ..] if *next < 0x80) || matches!(integer, [0xff, next, ..] if *next >= 0x80)
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Any bytes that the server takes for a cell.
    Cell,
    /// Part of a composite: never empty, as servers differ in what they make of that.
    Part,
    /// Compared with others: two that differ must differ to the server, too.
    Key,
}

impl Schema {
    /// A value of a type, not null.
    pub(super) fn value(&self, kind: &Kind, usage: Use, random: &mut StdRng) -> Vec<u8> {
        let part = if usage == Use::Key { Use::Key } else { Use::Part };
        let mut count = random.random_range(0..4);
        if let (Kind::Set(element) | Kind::Map(element, _), Use::Part | Use::Key) = (kind, usage)
            && !self.sorted_by_bytes(element)
        {
            // Within a user type a server keeps a set as it was sent, in any order, but sorts it where the field is
            // written alone: what is not sorted can't be written back field by field.
            count = count.min(1);
        }
        match kind {
            Kind::Native(at) => self.native_value(*at, usage, random),
            Kind::List(element) => {
                let elements: Vec<Vec<u8>> = (0..count).map(|_| self.value(element, part, random)).collect();
                list(&elements)
            }
            Kind::Set(element) => {
                let elements: Vec<Vec<u8>> = (0..count).map(|_| self.value(element, Use::Key, random)).collect();
                list(&distinct(elements))
            }
            Kind::Map(key, value) => {
                let keys: Vec<Vec<u8>> = (0..count).map(|_| self.value(key, Use::Key, random)).collect();
                let entry = |key| (key, self.value(value, part, random));
                map(&distinct(keys).into_iter().map(entry).collect::<Vec<_>>())
            }
            Kind::Tuple(parts) => self.fields(parts.iter(), usage, random),
            Kind::Udt(at) => self.fields(self.types[*at].fields.iter().map(|(_, field)| field), usage, random),
            Kind::Vector(element, dimension) => {
                let elements: Vec<Vec<u8>> = (0..*dimension).map(|_| self.value(element, part, random)).collect();
                if self.fixed_length(element) { elements.concat() } else { vector_of_variable(&elements) }
            }
        }
    }

    /// Fields of a tuple or user type. Where they are compared, all of them: one that ends early equals one with nulls.
    fn fields<'k>(&self, kinds: impl ExactSizeIterator<Item = &'k Kind>, usage: Use, random: &mut StdRng) -> Vec<u8> {
        let part = if usage == Use::Key { Use::Key } else { Use::Part };
        let all = kinds.len();
        let written = if usage != Use::Key && random.random_bool(0.2) { random.random_range(1..=all) } else { all };
        let fields: Vec<Option<Vec<u8>>> = kinds
            .take(written)
            .map(|kind| (usage == Use::Key || random.random_bool(0.8)).then(|| self.value(kind, part, random)))
            .collect();
        tuple(&fields)
    }

    fn native_value(&self, at: usize, usage: Use, random: &mut StdRng) -> Vec<u8> {
        let native = &self.natives[at];
        if usage == Use::Cell && native.empty && random.random_bool(0.05) {
            return Vec::new();
        }
        let values = if usage == Use::Cell { native.values.clone() } else { native.distinct_values() };
        let short: Vec<Vec<u8>> =
            values.into_iter().filter(|value| (1..VALUE_BYTES_MAX).contains(&value.len())).collect();
        // In a collection, a server keeps ::ffff:1.2.3.4, and a number with more bytes than it needs, where it was set by its
        // key, but makes it 1.2.3.4 and the shortest number where a whole map is added: one can't be written by the other.
        let kept = |value: &Vec<u8>| match native.name {
            "inet" => !value.starts_with(&MAPPED_V4_HEAD),
            "varint" => !is_longer_than_needed(value),
            "decimal" => value.get(4..).is_none_or(|unscaled| !is_longer_than_needed(unscaled)),
            _ => true,
        };
        let short: Vec<Vec<u8>> = short.into_iter().filter(|value| usage == Use::Cell || kept(value)).collect();
        // Often another number than the known ones, where any bytes of the length are one.
        let any_bytes = matches!(native.name, "int" | "bigint" | "blob" | "uuid" | "tinyint" | "smallint" | "date");
        let chosen = short.choose(random).cloned().unwrap_or_default();
        if any_bytes && random.random_bool(0.5) { chosen.iter().map(|_| random.random()).collect() } else { chosen }
    }

    /// Whether the server's order is that of the bytes.
    fn sorted_by_bytes(&self, kind: &Kind) -> bool {
        let Kind::Native(at) = kind else { return false };
        matches!(self.natives[*at].name, "text" | "ascii" | "blob" | "date" | "inet" | "boolean")
    }

    /// `VectorType` stores elements of these one behind the other.
    fn fixed_length(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Native(at) => matches!(
                self.natives[*at].name,
                "boolean" | "int" | "float" | "bigint" | "double" | "timestamp" | "uuid" | "timeuuid"
            ),
            Kind::Vector(element, _) => self.fixed_length(element),
            _ => false,
        }
    }
}

fn distinct(mut values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    values.sort();
    values.dedup();
    values
}
