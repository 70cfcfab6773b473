//! The text of a scan's statements, and which times of which columns the server lets be read.
//!
//! Every column is named, so a page never means another column than the one that was asked for. Times are probed by
//! PREPARE, since what may be asked differs by release: non-frozen collections since 5.0 only, frozen ones not before
//! CASSANDRA-17628.
//!
//! Of a non-frozen map, set or user type, 5.0 answers with lists: one entry an element in the order of the value, of a user
//! type one a field, null where the field is. `ttl` holds null where an element stays (of lists also zero bytes).

use std::sync::Arc;

use ringvault_archive::{
    cql_type::CqlType,
    table::{ColumnLayout, ColumnRole, TableLayout},
};
use ringvault_proto::{error::ErrorKind, v1};
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
    pub(crate) approximations: Vec<v1::Approximation>,
    /// One a column: its times are read exactly.
    pub(crate) comparable: Vec<bool>,
}

/// How a column's times are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// It has none.
    No,
    /// `writetime(c), ttl(c)`: of a collection, lists with one entry an element.
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
    let (asked, prepared) = ask(cluster, layout, values_only, true).await?;
    Ok(Selection {
        list: list(layout, &asked),
        shape: Arc::new(match &prepared {
            Some(prepared) => shape(layout, &asked, prepared),
            None => PageShape::of_values(layout),
        }),
        approximations: told(layout, &asked, values_only),
        comparable: layout.columns.iter().zip(&asked).map(|(column, asked)| is_exact(column, *asked)).collect(),
    })
}

/// What this server can't tell of the rows of a table. Asks it only where that depends on its release.
///
/// # Errors
/// `Invalid` where the server refuses the table or a column.
pub(crate) async fn approximations(
    cluster: &Cluster,
    layout: &TableLayout,
    values_only: bool,
) -> Result<Vec<v1::Approximation>> {
    let (asked, _) = ask(cluster, layout, values_only, false).await?;
    Ok(told(layout, &asked, values_only))
}

/// How each column's times can be asked for, and the statement that asks for all of them; none where nothing is asked, or
/// where it is not wanted and nothing hangs on it.
async fn ask(
    cluster: &Cluster,
    layout: &TableLayout,
    values_only: bool,
    wanted: bool,
) -> Result<(Vec<Asked>, Option<PreparedStatement>)> {
    if values_only || layout.counter {
        return Ok((vec![Asked::No; layout.columns.len()], None));
    }
    let what = format!("preparing to read {}.{}", layout.keyspace, layout.table);
    let elements = !cluster.is_scylla() && cluster.versions().0 >= ELEMENT_TIMES_SINCE;
    let mut asked: Vec<Asked> = layout.columns.iter().map(|column| hoped(column, elements)).collect();
    let in_doubt = |(column, asked): (&ColumnLayout, &Asked)| asked.terms("").is_some() && !is_native(&column.cql_type);
    if !wanted && !layout.columns.iter().zip(&asked).any(in_doubt) {
        return Ok((asked, None));
    }
    let prepared = match cluster.prepare(&what, &probe(layout, &list(layout, &asked))).await {
        Err(error) if error.kind() == ErrorKind::Invalid => {
            probe_each(cluster, layout, &mut asked).await?;
            cluster.prepare(&what, &probe(layout, &list(layout, &asked))).await?
        }
        prepared => prepared?,
    };
    Ok((asked, Some(prepared)))
}

fn hoped(column: &ColumnLayout, elements: bool) -> Asked {
    match column {
        column if column.role.is_key() || column.cql_type == CqlType::Counter => Asked::No,
        column if column.multi_cell && !elements => Asked::Unreadable,
        column if column.multi_cell && !column.has_element_times() => Asked::Newest,
        _ => Asked::Plain,
    }
}

/// The ways to ask for the times of a column, the best first.
fn ways(column: &ColumnLayout) -> &'static [Asked] {
    match (column.multi_cell, column.has_element_times()) {
        (true, true) => &[Asked::Plain, Asked::Newest],
        (true, false) => &[Asked::Newest, Asked::Plain],
        (false, _) => &[Asked::Plain],
    }
}

/// Keeps what the server prepares, column by column; only types that are not native ones may be refused.
async fn probe_each(cluster: &Cluster, layout: &TableLayout, asked: &mut [Asked]) -> Result<()> {
    for (column, asked) in layout.columns.iter().zip(asked) {
        if asked.terms("").is_none() || is_native(&column.cql_type) {
            continue;
        }
        let what = format!("asking whether times of column {:?} can be read", column.name);
        let mut found = Asked::Unreadable;
        for way in ways(column) {
            let Some(terms) = way.terms(&column.name) else { continue };
            match cluster.prepare(&what, &probe(layout, &terms.join(", "))).await {
                Ok(_) => {
                    found = *way;
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
    !cql_type.is_composite()
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
                if layout.columns[column].has_element_times() && is_list(index) && is_list(index + 1) {
                    TimeSource::Elements { writetime: index, ttl: index + 1 }
                } else {
                    let column = |index| TimeColumn { index, is_list: is_list(index) };
                    TimeSource::Read { writetime: column(index), ttl: column(index + 1) }
                }
            }
        };
    }
    shape
}

/// Whether what is asked for tells the times of a column exactly.
fn is_exact(column: &ColumnLayout, asked: Asked) -> bool {
    column.role.is_key() || (asked == Asked::Plain && (column.has_element_times() || !column.multi_cell))
}

fn told(layout: &TableLayout, asked: &[Asked], values_only: bool) -> Vec<v1::Approximation> {
    use v1::approximation::What;
    let of = |what: What, column: &str, note: String| v1::Approximation {
        what: what.into(),
        column: column.to_owned(),
        note,
    };
    if layout.counter {
        let note = "counters have no writetime and no TTL that CQL could set; their values are kept";
        return vec![of(What::CounterTimes, "", note.to_owned())];
    }
    if values_only {
        let note = "writetimes and expiries were left out, as --values-only asks";
        return vec![of(What::AllTimes, "", note.to_owned())];
    }
    let markers = if layout.columns.iter().any(|column| column.role == ColumnRole::Regular) {
        "CQL doesn't tell when a row itself was inserted, or whether it was: a restored row is as old as most of its cells, one \
         of nothing but its key as old as the backup, and one whose cells have all ended by then is left out"
    } else {
        "rows are nothing but their key, and CQL doesn't tell when they were inserted: restored ones are as old as the backup"
    };
    let mut told = vec![of(What::RowMarkers, "", markers.to_owned())];
    for (column, asked) in layout.columns.iter().zip(asked) {
        let (name, cql_type) = (&column.name, &column.type_text);
        match asked {
            Asked::Unreadable => {
                let note = format!(
                    "this server tells no times of {cql_type}; the newest writetime and the latest expiry of its row stand in"
                );
                told.push(of(What::ColumnTimes, name, note));
            }
            Asked::Newest if column.has_element_times() => {
                let note = format!(
                    "of {cql_type} this server tells only the newest writetime and the latest expiry of its elements"
                );
                told.push(of(What::ElementTimes, name, note));
            }
            Asked::No | Asked::Plain | Asked::Newest => {}
        }
        if column.multi_cell && !column.has_element_times() {
            let note = format!("{cql_type} comes back whole: all elements at its newest writetime and latest expiry");
            told.push(of(What::ListTimes, name, note));
        }
    }
    told
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
        assert!(list(&layout, &asked).ends_with(r#", writetime("m3"), ttl("m3")"#));
    }

    #[test]
    fn what_a_server_cannot_tell_is_named_by_column() {
        use v1::approximation::What;
        let layout = layout("pcrm");
        let of = |asked: &[Asked]| -> Vec<(What, String)> {
            told(&layout, asked, false).into_iter().map(|told| (told.what(), told.column)).collect()
        };
        let markers = (What::RowMarkers, String::new());
        let of_map = |what| (what, "m3".to_owned());
        let asked = |last| [Asked::No, Asked::No, Asked::Plain, last];
        assert_eq!(of(&asked(Asked::Plain)), std::slice::from_ref(&markers));
        assert_eq!(of(&asked(Asked::Newest)), [markers.clone(), of_map(What::ElementTimes)]);
        assert_eq!(of(&asked(Asked::Unreadable)), [markers, of_map(What::ColumnTimes)]);
        let exact = |asked: [Asked; 4]| -> Vec<bool> {
            layout.columns.iter().zip(asked).map(|(column, asked)| is_exact(column, asked)).collect()
        };
        assert_eq!(exact(asked(Asked::Plain)), [true; 4]);
        assert_eq!(exact(asked(Asked::Newest)), [true, true, true, false]);
        assert_eq!(exact([Asked::No; 4]), [true, true, false, false]);
        assert_eq!(told(&layout, &[Asked::No; 4], true)[0].what(), What::AllTimes);
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
