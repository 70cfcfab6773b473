//! What is a string in JSON by nature: text, names, blobs, uuids, addresses. Each is written and read here.

use std::{
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::cursor::{Defect, Quoted, find_special};

/// Writes text with JSON's escapes, without quotes. Canonical: the short escape where JSON has one, `\u00xx` for the
/// other control characters, everything else as it is.
pub(super) fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let clean = find_special(rest);
        out.extend_from_slice(&rest[..clean]);
        let Some(&special) = rest.get(clean) else { return };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                write_hex(&[control], out);
            }
        }
        rest = &rest[clean + 1..];
    }
}

/// Undoes [`write_escaped`]. Other escapes are refused: then no text has two spellings.
pub(super) fn read_escaped(quoted: Quoted<'_>, out: &mut Vec<u8>) -> Result<(), Defect> {
    let mut rest = quoted.raw;
    if !quoted.escaped {
        out.extend_from_slice(rest);
        return Ok(());
    }
    loop {
        let clean = find_special(rest);
        out.extend_from_slice(&rest[..clean]);
        let Some(escape) = rest.get(clean + 1) else { return Ok(()) };
        let mut end = clean + 2;
        match escape {
            b'"' | b'\\' => out.push(*escape),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let [b'0', b'0', high @ (b'0' | b'1'), low] = *rest.get(end..end + 4).ok_or(BAD_ESCAPE)? else {
                    return Err(BAD_ESCAPE);
                };
                read_hex(&[high, low], out)?;
                end += 4;
            }
            _ => return Err(BAD_ESCAPE),
        }
        rest = &rest[end..];
    }
}

const BAD_ESCAPE: Defect = "a string holds an escape that is never written";

/// Writes the name of a column or field as a JSON string with its colon. A leading `$` is doubled, so that the key `$`
/// is free.
pub(super) fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    if name.starts_with('$') {
        out.push(b'$');
    }
    write_escaped(name.as_bytes(), out);
    out.extend_from_slice(b"\":");
}

/// Writes lower-case hex digits.
pub(super) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const fn digit(nibble: u8) -> u8 {
        nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
    }
    let start = out.len();
    out.resize(start + bytes.len() * 2, 0);
    for (pair, byte) in out[start..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
}

/// Reads lower-case hex digits.
pub(super) fn read_hex(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    let start = out.len();
    out.resize(start + text.len() / 2, 0);
    let mut wrong = text.len() % 2;
    for (byte, pair) in out[start..].iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (DIGIT_VALUES[usize::from(pair[0])], DIGIT_VALUES[usize::from(pair[1])]);
        wrong |= usize::from((high | low) >> 4);
        *byte = high << 4 | (low & 15);
    }
    if wrong == 0 { Ok(()) } else { Err("something else than lower-case hex digits stands there") }
}

/// The value of each lower-case hex digit; 0xff for what is none.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Where the dashes of a uuid stand: before these bytes.
const UUID_DASHES: [usize; 4] = [4, 6, 8, 10];

/// Writes a uuid without quotes; nothing where it hasn't 16 bytes.
pub(super) fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let bytes: &[u8; 16] = bytes.try_into().ok()?;
    let mut start = 0;
    for end in UUID_DASHES {
        write_hex(&bytes[start..end], out);
        out.push(b'-');
        start = end;
    }
    write_hex(&bytes[start..], out);
    Some(())
}

/// Reads a uuid.
pub(super) fn read_uuid(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "a uuid is wanted";
    if text.len() != 36 {
        return Err(DEFECT);
    }
    let mut at = 0;
    let mut start = 0;
    for end in UUID_DASHES {
        let digits = (end - start) * 2;
        read_hex(&text[at..at + digits], out)?;
        at += digits;
        if text[at] != b'-' {
            return Err(DEFECT);
        }
        at += 1;
        start = end;
    }
    read_hex(&text[at..], out)
}

/// Writes an address without quotes: IPv4 in dotted form, IPv6 as RFC 5952 says; nothing where it has neither length.
pub(super) fn write_inet(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let written = match bytes.len() {
        4 => write!(out, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => write!(out, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    written.ok()
}

/// Reads an address.
pub(super) fn read_inet(text: &[u8], out: &mut Vec<u8>) -> Result<(), Defect> {
    const DEFECT: Defect = "an IP address is wanted";
    let text = std::str::from_utf8(text).map_err(|_| DEFECT)?;
    if text.contains(':') {
        out.extend_from_slice(&text.parse::<Ipv6Addr>().map_err(|_| DEFECT)?.octets());
    } else {
        out.extend_from_slice(&text.parse::<Ipv4Addr>().map_err(|_| DEFECT)?.octets());
    }
    Ok(())
}
