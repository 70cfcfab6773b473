//! DDL from the rows of `system_schema`, for Cassandra 3.11, which has no server-side DESCRIBE. The text follows cqlsh's.
//!
//! Deliberately absent: what only SSTables need (table ids, dropped columns), and COMPACT STORAGE, which is refused by name.

pub(super) mod table;

use ringvault_archive::schema::{SchemaKind, SchemaObject};

use super::{
    Result,
    ident::{literal, map_literal, shown},
    invalid, lex,
    model::{AggregateModel, FunctionModel, IndexModel, KeyspaceModel, TriggerModel, TypeModel},
    select,
    statement::normal_type,
};

/// Every object of the keyspace, in the order in which they can be created.
///
/// # Errors
/// `Invalid`, naming the tables that were made WITH COMPACT STORAGE, and for types that refer to each other in a circle.
pub fn objects(keyspace: &KeyspaceModel) -> Result<Vec<SchemaObject>> {
    refuse_compact(keyspace)?;
    let ks = &keyspace.name;
    let object = |kind, name: &str, table: Option<&str>, cql| SchemaObject {
        kind,
        keyspace: ks.clone(),
        name: name.to_owned(),
        table: table.map(str::to_owned),
        cql,
    };
    let mut objects = vec![object(SchemaKind::Keyspace, ks, None, create_keyspace(keyspace))];
    for user_type in &keyspace.types {
        objects.push(object(SchemaKind::Type, &user_type.name, None, create_type(ks, user_type)));
    }
    for function in &keyspace.functions {
        let name = signature(&function.name, &function.argument_types);
        objects.push(object(SchemaKind::Function, &name, None, create_function(ks, function)));
    }
    for aggregate in &keyspace.aggregates {
        let name = signature(&aggregate.name, &aggregate.argument_types);
        objects.push(object(SchemaKind::Aggregate, &name, None, create_aggregate(ks, aggregate)));
    }
    for table in &keyspace.tables {
        objects.push(object(SchemaKind::Table, &table.name, None, table::create_table(ks, table)));
    }
    for index in &keyspace.indexes {
        objects.push(object(SchemaKind::Index, &index.name, Some(&index.table), create_index(ks, index)));
    }
    for view in &keyspace.views {
        objects.push(object(SchemaKind::View, &view.table.name, Some(&view.base), table::create_view(ks, view)));
    }
    for trigger in &keyspace.triggers {
        objects.push(object(SchemaKind::Trigger, &trigger.name, Some(&trigger.table), create_trigger(ks, trigger)));
    }
    select::in_order(objects)
}

/// Refuses a keyspace with tables that were made WITH COMPACT STORAGE.
///
/// # Errors
/// `Invalid`, naming them.
pub fn refuse_compact(keyspace: &KeyspaceModel) -> Result<()> {
    let compact: Vec<&str> = keyspace.tables.iter().filter(|t| t.is_compact()).map(|t| t.name.as_str()).collect();
    if compact.is_empty() {
        return Ok(());
    }
    Err(invalid(format!(
        "tables of keyspace {} use COMPACT STORAGE, which later releases can't create: {}; back up the other tables with --tables, or \
         run ALTER TABLE … DROP COMPACT STORAGE",
        keyspace.name,
        compact.join(", ")
    )))
}

/// `name(type, type)`, as functions are told apart.
fn signature(name: &str, types: &[String]) -> String {
    format!("{}({})", shown(name), types.iter().map(|t| without_frozen(t)).collect::<Vec<_>>().join(", "))
}

/// Whether a signature, as servers and this module write it, is that of a function.
pub(super) fn is_signature(signature: &str, name: &str, types: &[String]) -> bool {
    let key = |text: &str| normal_type(&without_frozen(text));
    key(signature) == key(&format!("{}({})", shown(name), types.join(", ")))
}

fn create_keyspace(keyspace: &KeyspaceModel) -> String {
    // The class stands first, as cqlsh writes it; the map's own order would put data centres in upper case before it.
    let class = keyspace.replication.iter().filter(|(key, _)| *key == "class");
    let rest = keyspace.replication.iter().filter(|(key, _)| *key != "class");
    format!(
        "CREATE KEYSPACE {} WITH replication = {} AND durable_writes = {}",
        shown(&keyspace.name),
        map_literal(class.chain(rest)),
        keyspace.durable_writes
    )
}

fn create_type(keyspace: &str, user_type: &TypeModel) -> String {
    let fields: Vec<String> =
        user_type.fields.iter().map(|(name, cql_type)| format!("    {} {cql_type}", shown(name))).collect();
    format!("CREATE TYPE {}.{} (\n{}\n)", shown(keyspace), shown(&user_type.name), fields.join(",\n"))
}

pub(super) fn create_function(keyspace: &str, function: &FunctionModel) -> String {
    let arguments: Vec<String> = function
        .argument_names
        .iter()
        .zip(&function.argument_types)
        .map(|(name, cql_type)| format!("{} {}", shown(name), without_frozen(cql_type)))
        .collect();
    let on_null = if function.called_on_null_input { "CALLED" } else { "RETURNS NULL" };
    let dollars = !function.body.contains("$$") && !function.body.ends_with('$');
    let body = if dollars { format!("$${}$$", function.body) } else { literal(&function.body) };
    format!(
        "CREATE FUNCTION {}.{}({})\n    {on_null} ON NULL INPUT\n    RETURNS {}\n    LANGUAGE {}\n    AS {body}",
        shown(keyspace),
        shown(&function.name),
        arguments.join(", "),
        without_frozen(&function.return_type),
        function.language,
    )
}

pub(super) fn create_aggregate(keyspace: &str, aggregate: &AggregateModel) -> String {
    let types: Vec<String> = aggregate.argument_types.iter().map(|t| without_frozen(t)).collect();
    let mut cql = format!(
        "CREATE AGGREGATE {}.{}({})\n    SFUNC {}\n    STYPE {}",
        shown(keyspace),
        shown(&aggregate.name),
        types.join(", "),
        shown(&aggregate.state_func),
        without_frozen(&aggregate.state_type),
    );
    if let Some(function) = &aggregate.final_func {
        cql.push_str(&format!("\n    FINALFUNC {}", shown(function)));
    }
    if let Some(initial) = &aggregate.initcond {
        cql.push_str(&format!("\n    INITCOND {initial}"));
    }
    cql
}

fn create_index(keyspace: &str, index: &IndexModel) -> String {
    let target = index.options.get("target").map_or("", String::as_str);
    let on = format!("INDEX {} ON {}.{} ({target})", shown(&index.name), shown(keyspace), shown(&index.table));
    if !index.kind.eq_ignore_ascii_case("CUSTOM") {
        return format!("CREATE {on}");
    }
    let class = index.options.get("class_name").map_or("", String::as_str);
    let rest: Vec<_> = index.options.iter().filter(|(key, _)| *key != "target" && *key != "class_name").collect();
    let mut cql = format!("CREATE CUSTOM {on} USING {}", literal(class));
    if !rest.is_empty() {
        cql.push_str(&format!(" WITH OPTIONS = {}", map_literal(rest)));
    }
    cql
}

pub(super) fn create_trigger(keyspace: &str, trigger: &TriggerModel) -> String {
    format!(
        "CREATE TRIGGER {} ON {}.{} USING {}",
        shown(&trigger.name),
        shown(keyspace),
        shown(&trigger.table),
        literal(&trigger.class)
    )
}

/// A type without its `frozen<…>`: functions and aggregates take their types so, and refuse the word.
pub(super) fn without_frozen(cql_type: &str) -> String {
    let mut text = String::new();
    let mut closing = Vec::new(); // for each open `<`: whether its `>` is kept
    let mut frozen = false;
    let mut last = 0;
    for token in lex::tokens(cql_type) {
        let space = &cql_type[last..token.start];
        last = token.end();
        let keep = match token.text {
            _ if token.is_word("frozen") => false,
            "<" => {
                closing.push(!frozen);
                !frozen
            }
            ">" => closing.pop().unwrap_or(true),
            _ => true,
        };
        frozen = token.is_word("frozen");
        text.push_str(space);
        if keep {
            text.push_str(token.text);
        }
    }
    text
}

#[cfg(test)]
mod tests;
