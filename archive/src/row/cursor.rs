//! A place in a row line, and the JSON tokens that are read there. Strict: no white space, no escape but the canonical
//! ones. It borrows from the line and allocates nothing.

/// Why a place can't be read: a constant, so that it never holds a cell's value.
pub(super) type Defect = &'static str;

/// A place in a text that is known to be UTF-8.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What stands between the quotes of a JSON string.
#[derive(Clone, Copy)]
pub(super) struct Quoted<'a> {
    /// Escapes and all.
    pub(super) raw: &'a [u8],
    /// There are escapes in it.
    pub(super) escaped: bool,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes before the place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from the place on.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes beyond `wanted` if it stands here.
    pub(super) fn eat(&mut self, wanted: &[u8]) -> bool {
        let found = self.rest().starts_with(wanted);
        self.at += if found { wanted.len() } else { 0 };
        found
    }

    /// Goes beyond `wanted`.
    pub(super) fn expect(&mut self, wanted: &[u8], defect: Defect) -> Result<(), Defect> {
        if self.eat(wanted) { Ok(()) } else { Err(defect) }
    }

    /// A JSON string.
    pub(super) fn string(&mut self) -> Result<Quoted<'a>, Defect> {
        self.expect(b"\"", "a string is wanted")?;
        let rest = self.rest();
        let mut end = 0;
        let mut escaped = false;
        loop {
            end += find_special(&rest[end..]);
            match rest.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                    if end > rest.len() {
                        return Err("a string does not end");
                    }
                }
                Some(_) => return Err("a control character stands in a string"),
                None => return Err("a string does not end"),
            }
        }
        self.at += end + 1;
        Ok(Quoted { raw: &rest[..end], escaped })
    }

    /// A number or a word: what stands up to the next structural character.
    pub(super) fn bare(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.'))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads `[item,item…]` or `{item,item…}` around `item`, which gets the index.
    pub(super) fn sequence(
        &mut self,
        (open, close): (&[u8], &[u8]),
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Defect>,
    ) -> Result<usize, Defect> {
        self.expect(open, if open == b"[" { "an array is wanted" } else { "an object is wanted" })?;
        if self.eat(close) {
            return Ok(0);
        }
        let mut count = 0;
        loop {
            item(self, count)?;
            count += 1;
            if self.eat(close) {
                return Ok(count);
            }
            self.expect(b",", "a comma or an end is wanted")?;
        }
    }
}

/// The index of the first byte that a JSON string can't hold bare (a quote, a backslash, a control character), or the
/// length. Eight bytes at a time: this is where the time of encoding text goes.
pub(super) fn find_special(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    const fn all(byte: u8) -> u64 {
        ONES * byte as u64
    }
    let mut chunks = bytes.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        let quote = word ^ all(b'"');
        let backslash = word ^ all(b'\\');
        // The lowest bit found is right; a borrow can only make false ones above it.
        let controls = word.wrapping_sub(all(0x20)) & !word;
        let quotes = quote.wrapping_sub(ONES) & !quote;
        let backslashes = backslash.wrapping_sub(ONES) & !backslash;
        let found = (controls | quotes | backslashes) & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = chunks.remainder();
    at + rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes: Vec<u8>) {
            let plain = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(find_special(&bytes), plain);
        }

        #[test]
        fn a_special_byte_is_found_among_others(bytes in prop::collection::vec(0x1eu8..0x24, 0..40)) {
            let plain = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(find_special(&bytes), plain);
        }
    }
}
