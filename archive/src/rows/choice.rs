//! Which rows of a table are meant: token ranges, one partition key, or all.

use ringvault_proto::{
    token::{Token, TokenRange},
    v1,
};

use crate::{
    error::{Error, Result},
    row::{DecodedRow, RowDecoder},
    table::{ColumnLayout, ColumnRole, TableLayout},
    token::token_of,
};

/// Chosen rows of a table. The default chooses all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RowChoice {
    /// Nothing chosen: every token.
    ranges: Option<Vec<TokenRange>>,
    /// Raw cells and token.
    partition: Option<(Vec<Vec<u8>>, Token)>,
}

impl RowChoice {
    /// From what a job or a command names.
    ///
    /// # Errors
    /// `Invalid` for a key that is none of the table's.
    pub fn new(layout: &TableLayout, spans: &[v1::TokenSpan], key: Option<&v1::PartitionKey>) -> Result<Self> {
        let partition = match key {
            Some(key) => {
                let cells = key_cells(layout, key)?;
                let token = token_of(&cells);
                Some((cells, token))
            }
            None => None,
        };
        let ranges = (!spans.is_empty()).then(|| spans.iter().flat_map(ranges_of).collect());
        Ok(Self { ranges, partition })
    }

    /// Whether every row is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.ranges.is_none() && self.partition.is_none()
    }

    /// Whether rows of this token may be meant.
    #[must_use]
    pub fn has_token(&self, token: Token) -> bool {
        self.ranges.as_ref().is_none_or(|ranges| ranges.iter().any(|range| range.contains(token)))
            && self.partition.as_ref().is_none_or(|(_, of_key)| *of_key == token)
    }

    /// Whether any row of these tokens may be meant.
    #[must_use]
    pub fn touches(&self, range: TokenRange) -> bool {
        self.partition.as_ref().is_none_or(|(_, token)| range.contains(*token))
            && self.ranges.as_ref().is_none_or(|ranges| {
                ranges.iter().any(|chosen| chosen.start() < range.end() && range.start() < chosen.end())
            })
    }

    /// Whether all rows of these tokens are meant.
    #[must_use]
    pub fn covers(&self, range: TokenRange) -> bool {
        if self.partition.is_some() {
            return false;
        }
        let Some(ranges) = &self.ranges else { return true };
        let mut covered = range.start();
        let mut ranges = ranges.clone();
        ranges.sort_unstable();
        for chosen in ranges {
            if chosen.start() <= covered {
                covered = covered.max(chosen.end());
            }
        }
        covered >= range.end()
    }

    /// The parts of a range that may hold chosen rows, in ring order.
    #[must_use]
    pub fn within(&self, range: TokenRange) -> Vec<TokenRange> {
        if let Some((_, token)) = &self.partition {
            let alone = token.0.checked_sub(1).and_then(|before| TokenRange::new(Token(before), *token));
            return alone.filter(|_| range.contains(*token) && self.has_token(*token)).into_iter().collect();
        }
        let Some(ranges) = &self.ranges else { return vec![range] };
        let mut parts: Vec<TokenRange> = ranges
            .iter()
            .filter_map(|chosen| TokenRange::new(chosen.start().max(range.start()), chosen.end().min(range.end())))
            .collect();
        parts.sort_unstable();
        // what is named twice is read once
        let mut joined: Vec<TokenRange> = Vec::new();
        for part in parts {
            match joined.last_mut().filter(|last| part.start() <= last.end()) {
                Some(last) => *last = TokenRange::new(last.start(), last.end().max(part.end())).unwrap_or(*last),
                None => joined.push(part),
            }
        }
        joined
    }

    /// Whether a row is meant.
    #[must_use]
    pub fn has(&self, layout: &TableLayout, token: Token, row: &DecodedRow) -> bool {
        self.has_token(token) && self.partition.as_ref().is_none_or(|(cells, _)| is_of_partition(layout, cells, row))
    }
}

/// Without the key: it is a cell value.
impl std::fmt::Debug for RowChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowChoice")
            .field("ranges", &self.ranges)
            .field("partition", &self.partition.as_ref().map(|(_, token)| token))
            .finish()
    }
}

/// The raw cells of a partition key that a user named, one JSON value a column, as in a row line.
///
/// # Errors
/// `Invalid` where they are none of the table's; the message never shows them.
pub fn key_cells(layout: &TableLayout, key: &v1::PartitionKey) -> Result<Vec<Vec<u8>>> {
    let columns: Vec<_> = layout.columns.iter().filter(|column| column.role == ColumnRole::PartitionKey).collect();
    let refused = |what: String| {
        let columns: Vec<String> =
            columns.iter().map(|column| format!("{} {}", column.name, column.type_text)).collect();
        Error::invalid(format!(
            "the partition key given for table {}.{} is none: {what}; give the JSON of {}, each as ringvault cat shows it",
            layout.keyspace,
            layout.table,
            columns.join(", ")
        ))
    };
    if key.cells.len() != columns.len() {
        return Err(refused(format!("it has {} values, not {}", key.cells.len(), columns.len())));
    }
    let mut cells = Vec::with_capacity(columns.len());
    for (column, json) in columns.iter().zip(&key.cells) {
        // a table of this one column: its lines are that value and no other
        let only = ColumnLayout { name: "k".to_owned(), ..(*column).clone() };
        let alone = TableLayout { columns: vec![only], ..layout.clone() };
        let line = [&br#"{"k":"#[..], json.trim().as_bytes(), b"}"].concat();
        let mut row = DecodedRow::default();
        let is_read = RowDecoder::new(&alone).decode(&line, &mut row).is_ok();
        let cell = row.cell(0).filter(|_| is_read).map(<[u8]>::to_vec);
        cells.push(cell.ok_or_else(|| refused(format!("the value for {} is not of its type", column.name)))?);
    }
    Ok(cells)
}

fn is_of_partition(layout: &TableLayout, cells: &[Vec<u8>], row: &DecodedRow) -> bool {
    let columns = layout.columns.iter().enumerate().filter(|(_, column)| column.role == ColumnRole::PartitionKey);
    columns.zip(cells).all(|((index, _), cell)| row.cell(index) == Some(cell))
}

/// A span may be the whole ring, or go on beyond its end.
fn ranges_of(span: &v1::TokenSpan) -> Vec<TokenRange> {
    let (start, end) = (Token(span.start), Token(span.end));
    if start == end {
        return vec![TokenRange::FULL];
    }
    match TokenRange::new(start, end) {
        Some(range) => vec![range],
        None => [TokenRange::new(start, Token::MAX), TokenRange::new(Token::MIN, end)].into_iter().flatten().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::layout;

    fn span(start: i64, end: i64) -> v1::TokenSpan {
        v1::TokenSpan { start, end }
    }

    fn range(start: i64, end: i64) -> TokenRange {
        TokenRange::new(Token(start), Token(end)).expect("not empty")
    }

    #[test]
    fn spans_choose_tokens_also_around_the_ring() {
        let layout = layout("k:p:int");
        let choice = RowChoice::new(&layout, &[span(0, 10), span(100, -100)], None).expect("fine");
        for (token, chosen) in [(0, false), (1, true), (10, true), (11, false), (101, true), (-100, true), (-99, false)]
        {
            assert_eq!(choice.has_token(Token(token)), chosen, "{token}");
        }
        assert!(RowChoice::new(&layout, &[span(7, 7)], None).expect("fine").covers(TokenRange::FULL));
        assert!(choice.covers(range(2, 9)) && !choice.covers(range(2, 12)) && choice.touches(range(9, 12)));
        assert!(!choice.touches(range(10, 100)), "a start is not part of a range");
        let joined = RowChoice::new(&layout, &[span(5, 10), span(0, 5)], None).expect("fine");
        assert!(joined.covers(range(0, 10)));
    }

    #[test]
    fn a_key_is_read_as_a_row_line_writes_it_and_never_shown() {
        let layout = layout("a:p:int;b:p:text;c:c:int");
        let key = v1::PartitionKey { cells: vec![" 7".to_owned(), "\"hunter2\"".to_owned()] };
        assert_eq!(key_cells(&layout, &key).expect("a key"), [vec![0, 0, 0, 7], b"hunter2".to_vec()]);
        for cells in [vec!["\"hunter2\"", "7"], vec!["7"], vec!["7", "\"hunter2\",\"c\":7"], vec!["7", "hunter2"]] {
            let key = v1::PartitionKey { cells: cells.into_iter().map(str::to_owned).collect() };
            let error = key_cells(&layout, &key).expect_err("no key");
            assert!(error.to_string().contains("a int") && !error.to_string().contains("hunter2"), "{error}");
        }
        let choice = RowChoice::new(&layout, &[], Some(&key)).expect("fine");
        assert!(!format!("{choice:?}").contains("hunter2"));
    }
}
