//! The statements that bring rows back: their text, and prepared. A table has a handful, whatever its rows look like: null and
//! other groups' columns are left unset, so one INSERT and one UPDATE fit every row.

use std::collections::HashMap;

use ringvault_archive::table::TableLayout;
use scylla::{
    frame::types::Consistency, policies::retry::FallthroughRetryPolicy, statement::prepared::PreparedStatement,
};

use super::bind::Columns;
use crate::cql::{Cluster, errors::Result, quoted};

/// Which statement a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// A whole row with its marker: `INSERT … USING TIMESTAMP ? AND TTL ?`.
    Insert,
    /// A row of nothing but its key: `INSERT … USING TIMESTAMP ?`, so that the table's default TTL holds.
    Marker,
    /// Further regular columns of a row: `UPDATE … USING TIMESTAMP ? AND TTL ? SET …`.
    Update,
    /// Statics of a partition: `INSERT` of the partition key and static columns.
    Static,
    /// One non-frozen list, by its index in the layout: `UPDATE … SET l = ?`.
    List(usize),
}

impl Shape {
    /// Whether the values of USING are bound before all others.
    pub(super) fn using_comes_first(self) -> bool {
        match self {
            Self::Update | Self::List(_) => true,
            Self::Insert | Self::Marker | Self::Static => false,
        }
    }

    /// Whether USING holds a TTL.
    pub(super) fn has_ttl(self, values_only: bool) -> bool {
        match self {
            Self::Marker => false,
            Self::Insert | Self::Update | Self::Static | Self::List(_) => !values_only,
        }
    }

    /// Whether writing it twice at the same timestamp may change the outcome.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::List(_))
    }
}

/// CQL of every statement that the table needs.
pub(super) fn texts(layout: &TableLayout, values_only: bool) -> Vec<(Shape, String)> {
    let columns = Columns::of(layout);
    let table = format!("{}.{}", quoted(&layout.keyspace), quoted(&layout.table));
    let name = |&column: &usize| quoted(&layout.columns[column].name);
    let insert = |parts: &[&[usize]], using: &str| {
        let names: Vec<String> = parts.concat().iter().map(name).collect();
        let marks = vec!["?"; names.len()].join(", ");
        format!("INSERT INTO {table} ({}) VALUES ({marks}){using}", names.join(", "))
    };
    let update = |set: &[usize], key: &[usize], using: &str| {
        let assign = |column: &usize| format!("{} = ?", name(column));
        let set: Vec<String> = set.iter().map(assign).collect();
        let key: Vec<String> = key.iter().map(assign).collect();
        format!("UPDATE {table}{using} SET {} WHERE {}", set.join(", "), key.join(" AND "))
    };
    let times = |shape: Shape| match (values_only && !shape.is_list(), shape.has_ttl(values_only)) {
        (true, _) => "",
        (false, true) => " USING TIMESTAMP ? AND TTL ?",
        (false, false) => " USING TIMESTAMP ?",
    };
    let mut texts = vec![
        (Shape::Insert, insert(&[&columns.key, &columns.regular], times(Shape::Insert))),
        (Shape::Marker, insert(&[&columns.key], times(Shape::Marker))),
    ];
    if columns.regular.len() > 1 && !values_only {
        texts.push((Shape::Update, update(&columns.regular, &columns.key, times(Shape::Update))));
    }
    if !columns.statics.is_empty() {
        texts.push((Shape::Static, insert(&[&columns.partition_key, &columns.statics], times(Shape::Static))));
    }
    for &list in &columns.lists {
        let is_static = layout.columns[list].role == ringvault_archive::table::ColumnRole::Static;
        let key = if is_static { &columns.partition_key } else { &columns.key };
        texts.push((Shape::List(list), update(&[list], key, times(Shape::List(list)))));
    }
    texts
}

/// The statements, prepared.
#[derive(Debug)]
pub(super) struct Statements(HashMap<Shape, PreparedStatement>);

impl Statements {
    pub(super) async fn prepare(
        cluster: &Cluster,
        layout: &TableLayout,
        values_only: bool,
        consistency: Consistency,
    ) -> Result<Self> {
        let what = format!("preparing the writes of {}.{}", layout.keyspace, layout.table);
        let mut statements = HashMap::new();
        for (shape, cql) in texts(layout, values_only) {
            let mut statement = cluster.prepare(&what, &cql).await?;
            statement.set_consistency(consistency);
            // Explicit timestamps make it so; lists count their attempts, and nothing is retried behind our back.
            statement.set_is_idempotent(!shape.is_list());
            statement.set_retry_policy(Some(std::sync::Arc::new(FallthroughRetryPolicy::new())));
            statements.insert(shape, statement);
        }
        Ok(Self(statements))
    }

    /// The statement of a shape; every shape that the binder makes of the layout is there.
    pub(super) fn of(&self, shape: Shape) -> Option<&PreparedStatement> {
        self.0.get(&shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cql::load::tests::layout;

    #[test]
    fn a_table_with_everything_has_six_statements() {
        let texts = texts(&layout("k:p,c:c,s:s,sl:sl,v:r,w:r,l:l"), false);
        let cql: Vec<&str> = texts.iter().map(|(_, cql)| cql.as_str()).collect();
        assert_eq!(
            cql,
            [
                r#"INSERT INTO "ks"."t" ("k", "c", "v", "w") VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"#,
                r#"INSERT INTO "ks"."t" ("k", "c") VALUES (?, ?) USING TIMESTAMP ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "v" = ?, "w" = ? WHERE "k" = ? AND "c" = ?"#,
                r#"INSERT INTO "ks"."t" ("k", "s") VALUES (?, ?) USING TIMESTAMP ? AND TTL ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "sl" = ? WHERE "k" = ?"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? AND TTL ? SET "l" = ? WHERE "k" = ? AND "c" = ?"#,
            ]
        );
    }

    #[test]
    fn without_times_only_lists_carry_a_timestamp() {
        let texts = texts(&layout("k:p,v:r,w:r,l:l"), true);
        let cql: Vec<&str> = texts.iter().map(|(_, cql)| cql.as_str()).collect();
        assert_eq!(
            cql,
            [
                r#"INSERT INTO "ks"."t" ("k", "v", "w") VALUES (?, ?, ?)"#,
                r#"INSERT INTO "ks"."t" ("k") VALUES (?)"#,
                r#"UPDATE "ks"."t" USING TIMESTAMP ? SET "l" = ? WHERE "k" = ?"#,
            ]
        );
    }
}
