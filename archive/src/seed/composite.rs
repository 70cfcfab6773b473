//! Lists, sets, maps, tuples, vectors and user types as cassandra-backup-tool wrote them: arrays, and objects for maps.
//! Framed as the native protocol does (v4, section 6); sets and maps in the order of their type, as servers keep them.

use super::{
    json::{Defect, Json},
    order,
    value::{Losses, read as read_value, read_key},
};
use crate::{cql_type::CqlType, row::parts};

/// Appends the raw bytes of a composite.
pub(super) fn read(cql_type: &CqlType, json: &Json<'_>, losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Defect> {
    match (cql_type, json) {
        (CqlType::List(element), Json::Array(items)) => {
            put_length(items.len(), out)?;
            items.iter().try_for_each(|item| put_element(element, item, losses, out))
        }
        (CqlType::Set(element), Json::Array(items)) => set(element, items, losses, out),
        (CqlType::Map(key, value), Json::Object(members)) => {
            let mut entries = Vec::with_capacity(members.len());
            for (name, item) in members {
                let (mut raw_key, mut framed) = (Vec::new(), Vec::new());
                read_key(key, name, &mut raw_key)?;
                put_element(value, item, losses, &mut framed)?;
                entries.push((raw_key, framed));
            }
            put_sorted(key, entries, "a map holds a key twice", out)
        }
        (CqlType::Tuple(types), Json::Array(items)) => {
            fields(types.iter(), items, "a tuple has another number of parts than its type", losses, out)
        }
        (CqlType::Udt(udt), Json::Array(items)) => {
            let types = udt.fields.iter().map(|(_, cql_type)| cql_type);
            fields(types, items, "a user type's value has another number of fields than its type", losses, out)
        }
        (CqlType::Vector(element, dimension), Json::Array(items)) => {
            if items.len() != usize::from(*dimension) {
                return Err("a vector is not of its type's dimension");
            }
            vector(element, items, losses, out)
        }
        _ => Err("a collection, tuple or user type is not an array or object, as cassandra-backup-tool writes them"),
    }
}

fn set(element: &CqlType, items: &[Json<'_>], losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Defect> {
    let mut entries = Vec::with_capacity(items.len());
    for item in items {
        let mut raw = Vec::new();
        not_null(item)?;
        read_value(element, item, losses, &mut raw)?;
        entries.push((raw, Vec::new()));
    }
    put_sorted(element, entries, "a set holds an element twice", out)
}

/// Appends the count, then each key with its length and what belongs to it, by the order of the key's type.
fn put_sorted(
    cql_type: &CqlType,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    twice: Defect,
    out: &mut Vec<u8>,
) -> Result<(), Defect> {
    let mut sorted: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = Vec::with_capacity(entries.len());
    for (key, rest) in entries {
        let mut rank = Vec::new();
        order::append(cql_type, &key, &mut rank);
        sorted.push((rank, key, rest));
    }
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(twice);
    }
    put_length(sorted.len(), out)?;
    for (_, key, rest) in sorted {
        put_length(key.len(), out)?;
        out.extend_from_slice(&key);
        out.extend_from_slice(&rest);
    }
    Ok(())
}

/// The parts of a tuple or user type. The driver fills absent parts up with nulls, so there are as many as the type has.
fn fields<'t>(
    types: impl ExactSizeIterator<Item = &'t CqlType>,
    items: &[Json<'_>],
    wrong_number: Defect,
    losses: &mut Losses,
    out: &mut Vec<u8>,
) -> Result<(), Defect> {
    if types.len() != items.len() {
        return Err(wrong_number);
    }
    for (cql_type, item) in types.zip(items) {
        match item {
            Json::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            item => put_element(cql_type, item, losses, out)?,
        }
    }
    losses.null_tails += u64::from(items.last() == Some(&Json::Null));
    Ok(())
}

fn vector(element: &CqlType, items: &[Json<'_>], losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Defect> {
    let fixed = element.vector_element_bytes();
    for item in items {
        not_null(item)?;
        let mut raw = Vec::new();
        read_value(element, item, losses, &mut raw)?;
        if fixed.is_none() {
            parts::write_vint(raw.len() as u64, out);
        }
        out.extend_from_slice(&raw);
    }
    Ok(())
}

/// Appends an element with its length.
fn put_element(cql_type: &CqlType, item: &Json<'_>, losses: &mut Losses, out: &mut Vec<u8>) -> Result<(), Defect> {
    not_null(item)?;
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    read_value(cql_type, item, losses, out)?;
    let length = length_of(out.len() - at - 4)?;
    out[at..at + 4].copy_from_slice(&length);
    Ok(())
}

fn not_null(item: &Json<'_>) -> Result<(), Defect> {
    if *item == Json::Null { Err("a collection holds null, which CQL's collections can't") } else { Ok(()) }
}

fn put_length(length: usize, out: &mut Vec<u8>) -> Result<(), Defect> {
    out.extend_from_slice(&length_of(length)?);
    Ok(())
}

fn length_of(length: usize) -> Result<[u8; 4], Defect> {
    i32::try_from(length).map(i32::to_be_bytes).map_err(|_| "a value is longer than CQL can carry")
}
