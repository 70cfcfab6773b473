//! The DDL of keyspaces as an ordered list of objects, never as a text to be split.
//!
//! Deliberately absent: what the statements say; the worker's schema folder captures, rewrites and applies them.

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    format,
};

/// What a schema object is. The order of the variants is the order of restore; data comes behind the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaKind {
    /// `CREATE KEYSPACE`
    Keyspace,
    /// `CREATE TYPE`; types that use others come behind them.
    Type,
    /// `CREATE FUNCTION`
    Function,
    /// `CREATE AGGREGATE`
    Aggregate,
    /// `CREATE TABLE`
    Table,
    /// `CREATE INDEX`
    Index,
    /// `CREATE MATERIALIZED VIEW`
    View,
    /// `CREATE TRIGGER`
    Trigger,
    /// `CREATE ROLE`; belongs to no keyspace.
    Role,
    /// `GRANT role TO role`; belongs to no keyspace.
    Membership,
    /// `GRANT permission ON … TO role`
    Grant,
}

impl SchemaKind {
    /// Whether it stands outside all keyspaces.
    #[must_use]
    pub fn is_global(self) -> bool {
        matches!(self, Self::Role | Self::Membership)
    }
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaObject {
    /// What it creates.
    pub kind: SchemaKind,
    /// Unquoted; empty where it belongs to no keyspace.
    pub keyspace: String,
    /// Unquoted. Functions and aggregates: with the types of their arguments.
    pub name: String,
    /// The table that an index, view, trigger or grant belongs to; unquoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// One whole CQL statement, with or without a semicolon at its end.
    pub cql: String,
}

/// The DDL of keyspaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDocument {
    /// Unquoted, sorted.
    pub keyspaces: Vec<String>,
    /// Of the server it was captured from.
    pub server_version: String,
    /// In restore order.
    pub objects: Vec<SchemaObject>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    #[serde(default)]
    keyspaces: Vec<String>,
    /// What was written when a backup held one keyspace only.
    #[serde(default, skip_serializing)]
    keyspace: Option<String>,
    server_version: String,
    objects: Vec<SchemaObject>,
}

impl SchemaDocument {
    /// As stored. Equal documents give equal bytes.
    ///
    /// # Errors
    /// `Invalid` where the objects are not in restore order, or not of these keyspaces.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let what = format!("the schema of {}", self.keyspaces.join(", "));
        self.check().map_err(|reason| Error::invalid(format!("{what} is wrong: {reason}")))?;
        let document = Document {
            format: format::FORMAT_VERSION,
            keyspaces: self.keyspaces.clone(),
            keyspace: None,
            server_version: self.server_version.clone(),
            objects: self.objects.clone(),
        };
        format::pretty(&document, &what)
    }

    /// From the bytes of `object`.
    ///
    /// # Errors
    /// `Corrupt` where they are not what was written; `Invalid` where a newer ringvault wrote them.
    pub fn from_json(bytes: &[u8], object: &str) -> Result<Self> {
        let Document { mut keyspaces, keyspace, server_version, objects, .. } = format::parse(bytes, object)?;
        keyspaces.extend(keyspace);
        let schema = Self { keyspaces, server_version, objects };
        schema.check().map_err(|reason| format::damaged(object, &reason))?;
        Ok(schema)
    }

    /// As text for people and `cqlsh`: the statements in restore order, a line of dashes with the name above each.
    #[must_use]
    pub fn to_cql(&self) -> String {
        let mut text = format!(
            "-- Keyspace {}, captured from a server of version {}.\n-- For people: a restore reads schema.json.\n",
            one_line(&self.keyspaces.join(", ")),
            one_line(&self.server_version)
        );
        for object in &self.objects {
            let statement = object.cql.trim_end().trim_end_matches(';').trim_end();
            text.push_str(&format!("\n-- {:?} {}\n{statement};\n", object.kind, one_line(&object.name)));
        }
        text
    }

    /// Why this is no schema that one could restore.
    fn check(&self) -> Result<(), String> {
        if self.keyspaces.is_empty() || !self.keyspaces.is_sorted_by(|a, b| a < b) {
            return Err(format!("its keyspaces are {:?}", self.keyspaces));
        }
        for (at, object) in self.objects.iter().enumerate() {
            let name = format!("{:?} {:?}", object.kind, object.name);
            let belongs = if object.kind.is_global() {
                object.keyspace.is_empty()
            } else {
                self.keyspaces.contains(&object.keyspace)
            };
            if !belongs {
                return Err(format!("{name} is of keyspace {:?}", object.keyspace));
            }
            if object.name.is_empty() || object.cql.trim().is_empty() {
                return Err(format!("{name} has no name or no statement"));
            }
            if at > 0 && self.objects[at - 1].kind > object.kind {
                return Err(format!("{name} comes too late to be restored"));
            }
        }
        Ok(())
    }
}

/// A name that can't end the comment it stands in.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn object(kind: SchemaKind, name: &str, cql: &str) -> SchemaObject {
        SchemaObject { kind, keyspace: "shop".into(), name: name.into(), table: None, cql: cql.into() }
    }

    fn schema() -> SchemaDocument {
        let index = SchemaObject {
            table: Some("orders".into()),
            ..object(SchemaKind::Index, "by_day", "CREATE INDEX by_day ON shop.orders (day)")
        };
        SchemaDocument {
            keyspaces: vec!["bar".into(), "shop".into()],
            server_version: "5.0.6".into(),
            objects: vec![
                object(SchemaKind::Keyspace, "shop", "CREATE KEYSPACE shop WITH …;"),
                SchemaObject { keyspace: "bar".into(), ..object(SchemaKind::Type, "u", "CREATE TYPE bar.u …") },
                object(SchemaKind::Function, "f", "CREATE FUNCTION shop.f() … AS $$ return \";\"; $$;"),
                object(SchemaKind::Table, "orders\n;DROP", "CREATE TABLE shop.\"orders\n;DROP\" …"),
                index,
                SchemaObject { keyspace: String::new(), ..object(SchemaKind::Role, "clerk", "CREATE ROLE clerk") },
            ],
        }
    }

    #[test]
    fn a_schema_survives_with_semicolons_and_newlines() {
        let bytes = schema().to_json().expect("right");
        assert_eq!(SchemaDocument::from_json(&bytes, "schema.json").expect("undamaged"), schema());
        let text = schema().to_cql();
        assert!(text.contains("\n-- Function f\nCREATE FUNCTION shop.f() … AS $$ return \";\"; $$;\n"), "{text}");
        assert!(text.contains("\n-- Table orders ;DROP\n"), "{text}");
    }

    #[test]
    fn a_schema_out_of_order_or_of_another_keyspace_is_refused() {
        let wrong: [fn(&mut SchemaDocument); 7] = [
            |s| s.objects.swap(0, 1),
            |s| s.keyspaces.clear(),
            |s| s.keyspaces.swap(0, 1),
            |s| s.objects.last_mut().expect("a role").keyspace = "shop".into(),
            |s| s.objects[1].keyspace = "other".into(),
            |s| s.objects[1].name.clear(),
            |s| s.objects[1].cql = " \n".into(),
        ];
        for change in wrong {
            let mut schema = schema();
            change(&mut schema);
            assert_eq!(schema.to_json().expect_err("wrong").kind(), ErrorKind::Invalid);
        }
        let good = String::from_utf8(schema().to_json().expect("right")).expect("JSON");
        let damaged = good.replacen("\"keyspace\": \"shop\"", "\"keyspace\": \"chop\"", 1);
        assert_ne!(damaged, good);
        let error = SchemaDocument::from_json(damaged.as_bytes(), "backups/x/schema.json").expect_err("damaged");
        assert!(error.to_string().starts_with("backups/x/schema.json is damaged"), "{error}");
    }

    #[test]
    fn a_schema_of_the_time_of_one_keyspace_is_still_read() {
        let old = br#"{"format": 1, "keyspace": "shop", "server_version": "4.0", "objects": []}"#;
        assert_eq!(SchemaDocument::from_json(old, "schema.json").expect("fine").keyspaces, ["shop"]);
    }
}
