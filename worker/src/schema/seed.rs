//! `KEYSPACE_schema.cql` of cassandra-backup-tool: the statements that Python's driver exports of a keyspace, most of them
//! twice (once with the keyspace, once by themselves), separated by `;`.

use ringvault_archive::{
    schema::{SchemaDocument, SchemaKind, SchemaObject},
    seed::SeedSchema,
};
use ringvault_proto::v1;

use super::{
    Result, invalid,
    lex::{Token, statements, tokens},
    select,
    statement::Statement,
    table_of::{items, table_of, type_of},
};

/// What stands in a schema document for a server that nobody asked.
const SERVER_VERSION: &str = "unknown";

/// Reads the schema file of `keyspace`.
///
/// # Errors
/// `Invalid` for a statement that creates nothing of this keyspace, for two of one name that differ, and for tables that a
/// backup can't hold; it names the statement.
pub fn parse(keyspace: &str, text: &str) -> Result<SeedSchema> {
    let file = format!("{keyspace}_schema.cql");
    let mut objects: Vec<SchemaObject> = Vec::new();
    for cql in statements(text) {
        let object = object_of(keyspace, cql).map_err(|mut failure| {
            failure.message = format!("{file}: {}", failure.message);
            failure
        })?;
        let known = objects.iter().find(|known| (known.kind, &known.name) == (object.kind, &object.name));
        match known {
            Some(known) if !same(&known.cql, cql) => {
                let (kind, name) = (object.kind, &object.name);
                return Err(invalid(format!(
                    "{file} creates {kind:?} {name:?} twice in different ways; remove the wrong statement"
                )));
            }
            Some(_) => {}
            None => objects.push(object),
        }
    }
    if !objects.iter().any(|object| object.kind == SchemaKind::Keyspace) {
        return Err(invalid(format!(
            "{file} does not create keyspace {keyspace:?}; is it of another one, or cut off?"
        )));
    }
    let objects = select::in_order(objects)?;
    let of_kind = |kind: SchemaKind| objects.iter().filter(move |object| object.kind == kind);
    let types = of_kind(SchemaKind::Type).map(|object| type_of(&object.cql)).collect::<Result<Vec<v1::UserType>>>()?;
    let tables = of_kind(SchemaKind::Table).map(|object| table_of(keyspace, &object.cql, &types));
    let tables = tables.collect::<Result<Vec<_>>>()?;
    let document =
        SchemaDocument { keyspaces: vec![keyspace.to_owned()], server_version: SERVER_VERSION.to_owned(), objects };
    Ok(SeedSchema { document, tables, warnings: Vec::new() })
}

fn object_of(keyspace: &str, cql: &str) -> Result<SchemaObject> {
    let statement = Statement::parse(cql)?;
    let of = if statement.kind == SchemaKind::Keyspace { Some(&statement.name) } else { statement.keyspace.as_ref() };
    if let Some(other) = of.filter(|of| *of != keyspace) {
        return Err(invalid(format!("{:?} {:?} is of keyspace {other:?}", statement.kind, statement.name)));
    }
    let name = match statement.kind {
        SchemaKind::Function => signature(&statement.name, cql, 1)?,
        SchemaKind::Aggregate => signature(&statement.name, cql, 0)?,
        _ => statement.name.clone(),
    };
    Ok(SchemaObject {
        kind: statement.kind,
        keyspace: keyspace.to_owned(),
        name,
        table: statement.table,
        cql: cql.to_owned(),
    })
}

/// `name(int, list<text>)`; before the type of an argument stand so many words.
fn signature(name: &str, cql: &str, words_before: usize) -> Result<String> {
    let tokens = tokens(cql);
    let open = tokens.iter().position(|token| token.is_symbol('('));
    let arguments = open.and_then(|open| items(&tokens, open));
    let arguments = arguments.ok_or_else(|| invalid(format!("function {name:?} has no list of arguments")))?;
    let of_type = |argument: &[Token<'_>]| {
        let part = argument.get(words_before..).unwrap_or_default();
        match (part.first(), part.last()) {
            (Some(first), Some(last)) => cql[first.start..last.end()].to_owned(),
            _ => String::new(),
        }
    };
    let types: Vec<String> = arguments.into_iter().map(of_type).collect();
    Ok(format!("{name}({})", types.join(", ")))
}

/// Whether two statements differ in white space only.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (tokens(a), tokens(b));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a.kind, a.text) == (b.kind, b.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'}  AND durable_writes = true;

CREATE TYPE shop.outer (
    i frozen<\"In\">
);

CREATE TYPE shop.\"In\" (
    a int
);

CREATE FUNCTION shop.f(x int, \"Y\" list<text>)
    CALLED ON NULL INPUT
    RETURNS int
    LANGUAGE java
    AS $$ String s = \";\"; return x; $$;

CREATE AGGREGATE shop.agg(int)
    SFUNC f
    STYPE int;

CREATE TABLE shop.orders (
    id uuid PRIMARY KEY,
    o frozen<outer>
) WITH comment = 'a; b''c';

CREATE INDEX by_o ON shop.orders (o);

CREATE TYPE shop.outer (i frozen<\"In\">);

CREATE TYPE shop.\"In\" (a int);

CREATE TABLE shop.orders (id uuid PRIMARY KEY, o frozen<outer>) WITH comment = 'a; b''c';

CREATE INDEX by_o ON shop.orders (o);

CREATE MATERIALIZED VIEW shop.v AS SELECT id, o FROM shop.orders WHERE o IS NOT NULL AND id IS NOT NULL PRIMARY KEY (o, id);

";

    #[test]
    fn each_object_is_taken_once_in_the_order_of_a_restore() {
        let schema = parse("shop", TEXT).expect("a schema");
        let names: Vec<&str> = schema.document.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["shop", "In", "outer", "f(int, list<text>)", "agg(int)", "orders", "by_o", "v"]);
        assert!(schema.document.objects[3].cql.ends_with("AS $$ String s = \";\"; return x; $$"));
        assert_eq!(schema.document.objects[6].table.as_deref(), Some("orders"));
        schema.document.to_json().expect("one that can be stored");
        assert_eq!(schema.tables.len(), 1);
        assert_eq!(schema.tables[0].types.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        for (from, to, part) in [
            (
                "CREATE TABLE shop.orders (id uuid PRIMARY",
                "CREATE TABLE shop.orders (id text PRIMARY",
                "twice in different",
            ),
            ("CREATE INDEX by_o ON shop", "CREATE INDEX by_o ON bar", "keyspace \"bar\""),
            ("CREATE KEYSPACE shop", "CREATE KEYSPACE Shop2", "\"shop2\""),
            ("CREATE KEYSPACE", "VIRTUAL KEYSPACE", "not a CREATE"),
            ("SFUNC f", "SFUNC f; DROP KEYSPACE shop", "not a CREATE"),
        ] {
            let error = parse("shop", &TEXT.replacen(from, to, 1)).expect_err(part).to_string();
            assert!(error.contains("shop_schema.cql") && error.contains(part), "{error}");
        }
        assert!(parse("shop", "").expect_err("nothing").to_string().contains("does not create keyspace"));
    }
}
