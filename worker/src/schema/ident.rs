//! Names and literals as CQL text (CQL specification, "Identifiers and keywords", "Constants").

/// Words that CQL 3.4.7 reserves: unquoted, they are no names. Scylla's and later additions are included, since quoting
/// one word too many does no harm.
const RESERVED: &[&str] = &[
    "add",
    "allow",
    "alter",
    "and",
    "any",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "default",
    "delete",
    "desc",
    "describe",
    "drop",
    "each_quorum",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "inet",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "keyspaces",
    "limit",
    "local_one",
    "local_quorum",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "one",
    "or",
    "order",
    "partition",
    "password",
    "per",
    "primary",
    "quorum",
    "rename",
    "replace",
    "revoke",
    "schema",
    "scylla_clustering_bound",
    "scylla_counter_shard_list",
    "scylla_timeuuid_list_index",
    "select",
    "set",
    "table",
    "three",
    "to",
    "token",
    "truncate",
    "two",
    "unlogged",
    "unset",
    "update",
    "use",
    "using",
    "view",
    "where",
    "with",
];

/// The name in double quotes, whatever it is: for statements that only the server reads.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name as a person would write it: quoted only where CQL would read another name, or none.
#[must_use]
pub fn shown(name: &str) -> String {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && RESERVED.binary_search(&name).is_err();
    if plain { name.to_owned() } else { quoted(name) }
}

/// A text literal.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A map literal of text, in the order given.
#[must_use]
pub fn map_literal<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let parts: Vec<String> =
        entries.into_iter().map(|(key, value)| format!("{}: {}", literal(key), literal(value))).collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted_so_that_they_are_found() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn names_are_quoted_only_where_cql_would_read_another() {
        assert_eq!(shown("orders_2"), "orders_2");
        assert_eq!(shown("Orders"), "\"Orders\"");
        assert_eq!(shown("select"), "\"select\"");
        assert_eq!(shown("2fast"), "\"2fast\"");
        assert_eq!(shown("_x"), "\"_x\"");
        assert_eq!(shown("a\"b"), "\"a\"\"b\"");
        assert_eq!(shown(""), "\"\"");
    }

    #[test]
    fn literals_double_their_quotes() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(
            map_literal(&std::collections::BTreeMap::from([("a".to_owned(), "b'c".to_owned())])),
            "{'a': 'b''c'}"
        );
    }
}
