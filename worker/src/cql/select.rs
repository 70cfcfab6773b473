//! The text of a scan's statements, and which times of which columns the server lets be read.
//!
//! Every column is named, so a page never means another column than the one that was asked for. Times are probed by
//! PREPARE, since what may be asked differs by release: non-frozen collections since 5.0 only, frozen ones not before
//! CASSANDRA-17628.

use std::sync::Arc;

use ringvault_archive::{
    cql_type::CqlType,
    table::{ColumnLayout, ColumnRole, TableLayout},
};
use ringvault_proto::error::ErrorKind;
use scylla::{cluster::metadata::ColumnType, statement::prepared::PreparedStatement};

use super::{
    cluster::Cluster,
    errors::Result,
    page::{PageShape, TimeColumn, TimeSource},
    quoted,
    ring::Version,
};

/// The first release that tells the times of non-frozen collections and UDTs.
const ELEMENT_TIMES_SINCE: Version = Version::new(5, 0, 0);

/// What a scan selects.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// The select list as text.
    pub(crate) list: String,
    /// What comes back.
    pub(crate) shape: Arc<PageShape>,
    /// What is not read as it is, for the fidelity report.
    pub(crate) fidelity: Vec<String>,
}

/// How a column's times are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It has none.
    No,
    /// `writetime(c), ttl(c)`.
    Plain,
    /// `maxwritetime(c), ttl(c)`.
    Newest,
    /// They can't be.
    Unreadable,
}

impl Asked {
    fn terms(self, column: &str) -> Option<[String; 2]> {
        let column = quoted(column);
        match self {
            Self::Plain => Some([format!("writetime({column})"), format!("ttl({column})")]),
            Self::Newest => Some([format!("maxwritetime({column})"), format!("ttl({column})")]),
            Self::No | Self::Unreadable => None,
        }
    }
}

/// Finds what can be selected of a table.
pub(crate) async fn select(cluster: &Cluster, layout: &TableLayout, values_only: bool) -> Result<Selection> {
    let what = format!("preparing to read {}.{}", layout.keyspace, layout.table);
    if values_only || layout.counter {
        return Ok(Selection {
            list: list(layout, &vec![Asked::No; layout.columns.len()]),
            shape: Arc::new(PageShape::of_values(layout)),
            fidelity: Vec::new(),
        });
    }
    let elements = !cluster.is_scylla() && cluster.versions().0 >= ELEMENT_TIMES_SINCE;
    let mut asked: Vec<Asked> = layout.columns.iter().map(|column| hoped(column, elements)).collect();
    let prepared = match cluster.prepare(&what, &probe(layout, &list(layout, &asked))).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            probe_each(cluster, layout, &mut asked).await?;
            cluster.prepare(&what, &probe(layout, &list(layout, &asked))).await?
        }
        prepared => prepared?,
    };
    Ok(Selection {
        list: list(layout, &asked),
        shape: Arc::new(shape(layout, &asked, &prepared)),
        fidelity: fidelity(layout, &asked),
    })
}

fn hoped(column: &ColumnLayout, elements: bool) -> Asked {
    match column {
        column if column.role.is_key() || column.cql_type == CqlType::Counter => Asked::No,
        column if column.multi_cell && elements => Asked::Newest,
        column if column.multi_cell => Asked::Unreadable,
        _ => Asked::Plain,
    }
}

/// Keeps what the server prepares, column by column; only types that are not native ones may be refused.
async fn probe_each(cluster: &Cluster, layout: &TableLayout, asked: &mut [Asked]) -> Result<()> {
    for (column, asked) in layout.columns.iter().zip(asked) {
        if *asked == Asked::No || is_native(&column.cql_type) {
            continue;
        }
        let what = format!("asking whether times of column {:?} can be read", column.name);
        let mut found = Asked::Unreadable;
        for way in [Asked::Newest, Asked::Plain] {
            if way == Asked::Newest && !column.multi_cell {
                continue;
            }
            let Some(terms) = way.terms(&column.name) else { continue };
            match cluster.prepare(&what, &probe(layout, &terms.join(", "))).await {
                Ok(_) => {
                    found = way;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        *asked = found;
    }
    Ok(())
}

fn is_native(cql_type: &CqlType) -> bool {
    !matches!(
        cql_type,
        CqlType::List(_)
            | CqlType::Set(_)
            | CqlType::Map(..)
            | CqlType::Tuple(_)
            | CqlType::Vector(..)
            | CqlType::Udt(_)
    )
}

fn probe(layout: &TableLayout, list: &str) -> String {
    format!("SELECT {list} FROM {}.{}", quoted(&layout.keyspace), quoted(&layout.table))
}

fn list(layout: &TableLayout, asked: &[Asked]) -> String {
    let names = layout.columns.iter().map(|column| quoted(&column.name));
    let times = layout.columns.iter().zip(asked).filter_map(|(column, asked)| asked.terms(&column.name)).flatten();
    names.chain(times).collect::<Vec<_>>().join(", ")
}

fn shape(layout: &TableLayout, asked: &[Asked], prepared: &PreparedStatement) -> PageShape {
    let specs = prepared.get_current_result_set_col_specs();
    let is_list = |index: usize| {
        specs.get().get_by_index(index).is_some_and(|spec| matches!(spec.typ(), ColumnType::Collection { .. }))
    };
    let mut shape = PageShape::of_values(layout);
    for (column, asked) in asked.iter().enumerate() {
        shape.times[column] = match asked {
            Asked::No => TimeSource::None,
            Asked::Unreadable => TimeSource::OfRow,
            Asked::Plain | Asked::Newest => {
                let index = shape.selected;
                shape.selected += 2;
                let column = |index| TimeColumn { index, is_list: is_list(index) };
                TimeSource::Read { writetime: column(index), ttl: column(index + 1) }
            }
        };
    }
    shape
}

fn fidelity(layout: &TableLayout, asked: &[Asked]) -> Vec<String> {
    let table = format!("{}.{}", layout.keyspace, layout.table);
    let note = |(column, asked): (&ColumnLayout, &Asked)| match asked {
        Asked::Unreadable => Some(format!(
            "{table}: this server tells no times of column {:?} ({}); the row's newest writetime and latest expiry are kept for it",
            column.name, column.type_text
        )),
        Asked::Plain | Asked::Newest if column.multi_cell => Some(format!(
            "{table}: elements of column {:?} ({}) keep the newest of their writetimes and the latest of their expiries",
            column.name, column.type_text
        )),
        Asked::No | Asked::Plain | Asked::Newest => None,
    };
    let mut notes: Vec<String> = layout.columns.iter().zip(asked).filter_map(note).collect();
    if !layout.columns.iter().any(|column| column.role == ColumnRole::Regular) {
        notes.push(format!("{table}: rows have no columns but their key, so their times can't be read"));
    }
    notes
}

/// The statements of one table's scan, as text.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    select: String,
    distinct: String,
    suffix: &'static str,
    token: String,
    partition: Vec<String>,
    clustering: Vec<(String, bool)>,
}

impl Statements {
    /// For a table whose clustering columns are `reversed` or not, in their order.
    pub(crate) fn new(layout: &TableLayout, reversed: &[bool], list: &str, scylla: bool) -> Self {
        let names = |role: ColumnRole| {
            let columns = layout.columns.iter().filter(move |column| column.role == role);
            columns.map(|column| quoted(&column.name)).collect::<Vec<_>>()
        };
        let partition = names(ColumnRole::PartitionKey);
        let from = format!("{}.{}", quoted(&layout.keyspace), quoted(&layout.table));
        Self {
            select: format!("SELECT {list} FROM {from}"),
            distinct: format!("SELECT DISTINCT {} FROM {from}", partition.join(", ")),
            suffix: if scylla { " BYPASS CACHE USING TIMEOUT 60s" } else { "" },
            token: format!("token({})", partition.join(", ")),
            clustering: names(ColumnRole::Clustering)
                .into_iter()
                .enumerate()
                .map(|(index, name)| (name, reversed.get(index).copied().unwrap_or(false)))
                .collect(),
            partition,
        }
    }

    /// Rows of the tokens in `(?, ?]`.
    pub(crate) fn range(&self) -> String {
        format!("{} WHERE {}{}", self.select, self.tokens(), self.suffix)
    }

    /// Partition keys of the tokens in `(?, ?]`.
    pub(crate) fn keys(&self) -> String {
        format!("{} WHERE {}{}", self.distinct, self.tokens(), self.suffix)
    }

    /// Rows of a partition.
    pub(crate) fn partition(&self) -> String {
        format!("{} WHERE {}{}", self.select, self.equal_partition(), self.suffix)
    }

    /// Rows of a partition that share the first `level` clustering cells and follow in the next one, in its own order:
    /// from the last level to level 0 they are what follows a row.
    pub(crate) fn following(&self, level: usize) -> String {
        let mut terms = self.equal_partition();
        for (name, _) in &self.clustering[..level] {
            terms.push_str(&format!(" AND {name} = ?"));
        }
        let (name, reversed) = &self.clustering[level];
        let sign = if *reversed { '<' } else { '>' };
        format!("{} WHERE {terms} AND {name} {sign} ?{}", self.select, self.suffix)
    }

    /// Clustering columns.
    pub(crate) fn levels(&self) -> usize {
        self.clustering.len()
    }

    fn tokens(&self) -> String {
        format!("{0} > ? AND {0} <= ?", self.token)
    }

    fn equal_partition(&self) -> String {
        self.partition.iter().map(|name| format!("{name} = ?")).collect::<Vec<_>>().join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lines::tests::layout, *};

    #[test]
    fn every_column_is_named_and_times_follow() {
        let layout = layout("pcrm");
        let asked: Vec<Asked> = layout.columns.iter().map(|column| hoped(column, false)).collect();
        assert_eq!(list(&layout, &asked), r#""p0", "c1", "r2", "m3", writetime("r2"), ttl("r2")"#);
        let asked: Vec<Asked> = layout.columns.iter().map(|column| hoped(column, true)).collect();
        assert!(list(&layout, &asked).ends_with(r#"maxwritetime("m3"), ttl("m3")"#));
        assert_eq!(fidelity(&layout, &asked).len(), 1);
    }

    #[test]
    fn a_range_and_its_continuations_read() {
        let statements = Statements::new(&layout("ppccr"), &[false, true], "x", false);
        let from = r#"SELECT x FROM "ks"."t" WHERE "#;
        assert_eq!(statements.range(), format!(r#"{from}token("p0", "p1") > ? AND token("p0", "p1") <= ?"#));
        assert_eq!(statements.following(1), format!(r#"{from}"p0" = ? AND "p1" = ? AND "c2" = ? AND "c3" < ?"#));
        assert_eq!(statements.following(0), format!(r#"{from}"p0" = ? AND "p1" = ? AND "c2" > ?"#));
        assert!(statements.keys().starts_with(r#"SELECT DISTINCT "p0", "p1" FROM "ks"."t" WHERE token("#));
        assert_eq!(statements.levels(), 2);
    }

    #[test]
    fn scylla_is_asked_to_spare_its_cache() {
        let statements = Statements::new(&layout("pr"), &[], "x", true);
        assert!(statements.range().ends_with("<= ? BYPASS CACHE USING TIMEOUT 60s"));
    }
}
