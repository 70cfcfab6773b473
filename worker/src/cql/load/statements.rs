//! The statements that bring rows back: their text, and prepared. A table has a handful, whatever its rows look like: null and
//! other groups' columns are left unset, so one INSERT, one UPDATE and one adding UPDATE fit every row.

use std::collections::HashMap;

use ringvault_archive::{row::LineKind, table::TableLayout};
use ringvault_proto::v1;
use scylla::{
    frame::types::Consistency, policies::retry::FallthroughRetryPolicy, statement::prepared::PreparedStatement,
};
use tokio::sync::OnceCell;

use super::columns::{Columns, Slot, is_list};
use crate::cql::{Cluster, errors::Result, quoted};

/// Which statement a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// A whole row with its marker: `INSERT …`.
    Insert,
    /// A row of nothing but its key: an `INSERT` that leaves the table's default TTL to it.
    Marker,
    /// Further regular columns of a row: `UPDATE … SET c = ?, …`.
    Update,
    /// Statics of a partition: `INSERT` of the partition key and static columns.
    Static,
    /// Elements and fields of a line of this kind: `UPDATE … SET m = m + ?, u.f = ?, …`.
    Add(LineKind),
    /// One non-frozen list, by its index in the layout: `UPDATE … SET l = ?`.
    List(usize),
}

impl Shape {
    /// Whether the values of USING are bound before all others.
    pub(super) fn using_comes_first(self) -> bool {
        match self {
            Self::Update | Self::Add(_) | Self::List(_) => true,
            Self::Insert | Self::Marker | Self::Static => false,
        }
    }

    /// Whether writing it twice at the same timestamp may change the outcome.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::List(_))
    }
}

/// Which times statements carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    /// Writetimes; else the server sets them, but for lists.
    timestamps: bool,
    /// TTLs; else the table's default holds.
    ttls: bool,
    /// Those of markers too.
    marker_ttls: bool,
}

impl Carried {
    pub(super) fn of(rules: &v1::RowRules, values_only: bool) -> Self {
        Self {
            timestamps: !values_only && rules.timestamps() != v1::Timestamps::Now,
            ttls: !values_only,
            marker_ttls: !values_only && rules.ttl() == v1::Ttl::Drop,
        }
    }

    /// Whether statements of this shape carry a timestamp, and a TTL.
    pub(super) fn by(self, shape: Shape) -> (bool, bool) {
        match shape {
            Shape::List(_) => (true, self.ttls),
            Shape::Marker => (self.timestamps, self.marker_ttls),
            Shape::Insert | Shape::Update | Shape::Static | Shape::Add(_) => (self.timestamps, self.ttls),
        }
    }

    fn using(self, shape: Shape) -> &'static str {
        match self.by(shape) {
            (true, true) => " USING TIMESTAMP ? AND TTL ?",
            (true, false) => " USING TIMESTAMP ?",
            (false, true) => " USING TTL ?",
            (false, false) => "",
        }
    }
}

/// CQL of every statement that rows of the table may need.
pub(super) fn texts(layout: &TableLayout, carried: Carried) -> Vec<(Shape, String)> {
    let columns = Columns::of(layout);
    let table = format!("{}.{}", quoted(&layout.keyspace), quoted(&layout.table));
    let name = |column: usize| quoted(&layout.columns[column].name);
    let insert = |shape: Shape, parts: &[&[usize]]| {
        let names: Vec<String> = parts.concat().into_iter().map(name).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let using = carried.using(shape);
        (shape, format!("INSERT INTO {table} ({}) VALUES ({marks}){using}", names.join(", ")))
    };
    let assigned = |columns: &[usize]| -> Vec<String> { columns.iter().map(|c| format!("{} = ?", name(*c))).collect() };
    let update = |shape: Shape, set: Vec<String>, key: &[usize]| {
        let (using, key) = (carried.using(shape), assigned(key).join(" AND "));
        (shape, format!("UPDATE {table}{using} SET {} WHERE {key}", set.join(", ")))
    };
    let added = |slot: &Slot| match &slot.field {
        Some(field) => format!("{}.{} = ?", name(slot.column), quoted(field)),
        None => format!("{0} = {0} + ?", name(slot.column)),
    };
    let mut texts =
        vec![insert(Shape::Insert, &[&columns.key, &columns.regular]), insert(Shape::Marker, &[&columns.key])];
    if columns.regular.len() > 1 {
        texts.push(update(Shape::Update, assigned(&columns.regular), &columns.key));
    }
    if !columns.statics.is_empty() {
        texts.push(insert(Shape::Static, &[&columns.partition_key, &columns.statics]));
    }
    for kind in [LineKind::Row, LineKind::Static] {
        let slots = columns.slots_of(kind);
        if !slots.is_empty() {
            texts.push(update(Shape::Add(kind), slots.iter().map(added).collect(), columns.key_of(kind)));
        }
    }
    for &list in &columns.lists {
        texts.push(update(Shape::List(list), assigned(&[list]), columns.key_of(kind_of(layout, list))));
    }
    texts
}

/// The kind of line that holds a list.
pub(super) fn kind_of(layout: &TableLayout, list: usize) -> LineKind {
    debug_assert!(is_list(&layout.columns[list]));
    if LineKind::Static.holds(layout.columns[list].role) { LineKind::Static } else { LineKind::Row }
}

/// The statements of a table, prepared when they are first needed.
#[derive(Debug)]
pub(super) struct Statements {
    what: String,
    consistency: Consistency,
    texts: HashMap<Shape, (String, OnceCell<PreparedStatement>)>,
}

impl Statements {
    /// Prepares at once what nearly every table needs, and every column with it: what the server refuses is found before a
    /// row is written.
    pub(super) async fn prepare(
        cluster: &Cluster,
        layout: &TableLayout,
        carried: Carried,
        consistency: Consistency,
    ) -> Result<Self> {
        let texts = texts(layout, carried).into_iter().map(|(shape, cql)| (shape, (cql, OnceCell::new()))).collect();
        let what = format!("preparing the writes of {}.{}", layout.keyspace, layout.table);
        let statements = Self { what, consistency, texts };
        for shape in statements.texts.keys() {
            match shape {
                Shape::Insert | Shape::Marker | Shape::Static | Shape::List(_) => {
                    statements.of(cluster, *shape).await?;
                }
                Shape::Update | Shape::Add(_) => {}
            }
        }
        Ok(statements)
    }

    /// The statement of a shape; nothing for a shape that the binder doesn't make of the layout.
    pub(super) async fn of(&self, cluster: &Cluster, shape: Shape) -> Result<Option<PreparedStatement>> {
        let Some((cql, cell)) = self.texts.get(&shape) else { return Ok(None) };
        let prepared = cell.get_or_try_init(|| async {
            let mut statement = cluster.prepare(&self.what, cql).await?;
            statement.set_consistency(self.consistency);
            // Explicit timestamps make it so; lists count their attempts, and nothing is retried behind our back.
            statement.set_is_idempotent(!shape.is_list());
            statement.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy::new())));
            Ok(statement)
        });
        prepared.await.cloned().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::tests::layout;

    fn carried(timestamps: v1::Timestamps, ttl: v1::Ttl, values_only: bool) -> Carried {
        let rules = v1::RowRules { timestamps: timestamps.into(), ttl: ttl.into(), ..Default::default() };
        Carried::of(&rules, values_only)
    }

    fn cql(columns: &str, carried: Carried) -> Vec<String> {
        texts(&layout(columns), carried).into_iter().map(|(_, cql)| cql).collect()
    }

    #[test]
    fn a_table_with_everything_has_a_handful_of_statements() {
        let carried = carried(v1::Timestamps::Unspecified, v1::Ttl::Unspecified, false);
        assert_eq!(
            cql("k:p,c:c,s:s,sl:sl,sm:sm,v:r,w:r,l:l,m:m,u:u", carried),
            [
                r#"INSERT INTO "ks"."t" ("k", "c", "v", "w", "m", "u") VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"#,
                r#"INSERT INTO "ks"."t" ("k", "c") VALUES (?, ?) USING TIMESTAMP ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "v" = ?, "w" = ?, "m" = ?, "u" = ? WHERE "k" = ? AND "c" = ?"#,
                r#"INSERT INTO "ks"."t" ("k", "s", "sm") VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "m" = "m" + ?, "u"."a" = ?, "u"."B" = ? WHERE "k" = ? AND "c" = ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "sm" = "sm" + ? WHERE "k" = ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "sl" = ? WHERE "k" = ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "l" = ? WHERE "k" = ? AND "c" = ?"#,
            ]
        );
    }

    #[test]
    fn without_times_only_lists_carry_a_timestamp() {
        assert_eq!(
            cql("k:p,v:r,l:l", carried(v1::Timestamps::Original, v1::Ttl::OriginalExpiry, true)),
            [
                r#"INSERT INTO "ks"."t" ("k", "v") VALUES (?, ?)"#,
                r#"INSERT INTO "ks"."t" ("k") VALUES (?)"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? SET "l" = ? WHERE "k" = ?"#,
            ]
        );
    }

    #[test]
    fn at_the_databases_now_ttls_are_carried_and_timestamps_are_not() {
        assert_eq!(
            cql("k:p,v:r,l:l", carried(v1::Timestamps::Now, v1::Ttl::Drop, false)),
            [
                r#"INSERT INTO "ks"."t" ("k", "v") VALUES (?, ?) USING TTL ?"#,
                r#"INSERT INTO "ks"."t" ("k") VALUES (?) USING TTL ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "l" = ? WHERE "k" = ?"#,
            ]
        );
    }
}
