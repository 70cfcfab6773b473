//! Small pieces for raw work with the driver: quoting, raw cells as bind values, raw cells of a page, statements.

use anyhow::{Context, Result};
use scylla::client::session::Session;
use scylla::deserialize::row::ColumnIterator;
use scylla::response::query_result::QueryRowsResult;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::prepared::PreparedStatement;

/// A name as CQL takes it whatever it holds.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"keyspace"."table"`.
pub fn qualified(keyspace: &str, table: &str) -> String {
    format!("{}.{}", quote(keyspace), quote(table))
}

/// One value to bind, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// These bytes; none at all is an *empty* value, not a null.
    Raw(Vec<u8>),
    /// A null: deletes what is there.
    Null,
    /// Leaves what is there.
    Unset,
}

impl From<Vec<u8>> for Cell {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Raw(bytes)
    }
}

impl From<Option<Vec<u8>>> for Cell {
    /// A missing value becomes unset: what a copy of a row wants.
    fn from(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Unset, Self::Raw)
    }
}

/// A row of raw values, bound without any look at their types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells(pub Vec<Cell>);

impl SerializeRow for Cells {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        if context.columns().len() != self.0.len() {
            let message = format!("{} values for {} markers", self.0.len(), context.columns().len());
            return Err(SerializationError::new(std::io::Error::other(message)));
        }
        for cell in &self.0 {
            let slot = writer.make_cell_writer();
            match cell {
                Cell::Raw(bytes) => slot.set_value(bytes).map_err(SerializationError::new)?,
                Cell::Null => slot.set_null(),
                Cell::Unset => slot.set_unset(),
            };
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Runs one prepared statement with raw cells.
///
/// # Errors
/// If the server refuses it.
pub async fn execute(session: &Session, statement: &PreparedStatement, cells: Vec<Cell>) -> Result<()> {
    session.execute_unpaged(statement, Cells(cells)).await?;
    Ok(())
}

/// A page's rows as raw cells; `None` is null.
///
/// # Errors
/// If the page is malformed.
pub fn raw_rows(page: &QueryRowsResult) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
    let mut rows = Vec::with_capacity(page.rows_num());
    for row in page.rows::<ColumnIterator<'_, '_>>().context("iterate rows")? {
        let mut cells = Vec::new();
        for column in row.context("read a row")? {
            cells.push(column.context("read a cell")?.slice.map(|slice| slice.as_slice().to_vec()));
        }
        rows.push(cells);
    }
    Ok(rows)
}

/// A statement's whole answer as raw rows; for small answers.
///
/// # Errors
/// If the server refuses it.
pub async fn query_raw(session: &Session, statement: &str) -> Result<Vec<Vec<Option<Vec<u8>>>>> {
    let result = session.query_unpaged(statement, ()).await.with_context(|| format!("run {statement}"))?;
    raw_rows(&result.into_rows_result()?)
}

/// A statement's single bigint, such as `count(*)`.
///
/// # Errors
/// If the answer is anything else.
pub async fn query_i64(session: &Session, statement: &str) -> Result<i64> {
    let (value,) = session.query_unpaged(statement, ()).await?.into_rows_result()?.single_row::<(i64,)>()?;
    Ok(value)
}
