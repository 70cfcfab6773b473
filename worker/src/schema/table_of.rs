//! A table as its CREATE TABLE statement says: columns in row order, keys, order, counter, default TTL. For schemas of which
//! there is only the text; where there is a server, `system_schema` is asked.

use ringvault_archive::digest::Identity;
use ringvault_proto::v1;
use uuid::Uuid;

use super::{
    Result, ident, invalid,
    lex::{Token, tokens},
    statement::{Statement, types_in},
};

/// The table that `cql` creates in `keyspace`, with those of `types` that its columns use. Its id is the nil uuid, its
/// fingerprint of name, columns and types.
///
/// # Errors
/// `Invalid` for what is no CREATE TABLE that can be read, and for COMPACT STORAGE.
pub fn table_of(keyspace: &str, cql: &str, types: &[v1::UserType]) -> Result<v1::InspectedTable> {
    let statement = Statement::parse(cql)?;
    let name = statement.name.clone();
    let unreadable = |what: &str| invalid(format!("CREATE TABLE {keyspace}.{name} can't be read: {what}"));
    let tokens = tokens(cql);
    let open = tokens.iter().position(|token| token.is_symbol('(')).ok_or_else(|| unreadable("it has no columns"))?;
    let mut table = Parsed::default();
    for item in items(&tokens, open).ok_or_else(|| unreadable("its list of columns does not end"))? {
        table.item(cql, item).ok_or_else(|| unreadable("something in its list of columns is no column"))?;
    }
    let mut default_ttl_s = 0;
    for clause in statement.clauses() {
        match clause.name.as_str() {
            "compact" => {
                return Err(invalid(format!(
                    "{keyspace}.{name} is a COMPACT STORAGE table, whose rows are not what its columns say"
                )));
            }
            "clustering" => table.order(clause.text),
            "default_time_to_live" => default_ttl_s = clause.value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let columns = table.columns().ok_or_else(|| unreadable("its primary key names other columns than it has"))?;
    let types = used_types(&columns, types);
    Ok(v1::InspectedTable {
        fingerprint: fingerprint(keyspace, &name, &columns, &types),
        table: Some(v1::TableName { keyspace: keyspace.to_owned(), table: name }),
        table_id: Uuid::nil().to_string(),
        counter: columns.iter().any(|column| column.r#type == "counter"),
        columns,
        types,
        default_ttl_s,
        ..v1::InspectedTable::default()
    })
}

/// A user type as its CREATE TYPE statement says.
///
/// # Errors
/// `Invalid` for what is no CREATE TYPE.
pub fn type_of(cql: &str) -> Result<v1::UserType> {
    let statement = Statement::parse(cql)?;
    let field =
        |(name, r#type): (String, String)| v1::Column { name, r#type: one_line(&r#type), ..v1::Column::default() };
    Ok(v1::UserType { fields: statement.fields().into_iter().map(field).collect(), name: statement.name })
}

/// What stands between the commas of a bracket that opens at `open`.
pub(super) fn items<'t, 'a>(tokens: &'t [Token<'a>], open: usize) -> Option<Vec<&'t [Token<'a>]>> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0_usize, open + 1);
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.is_symbol('(') || token.is_symbol('<') || token.is_symbol('{') || token.is_symbol('[') {
            depth += 1;
        } else if token.is_symbol(')') || token.is_symbol('>') || token.is_symbol('}') || token.is_symbol(']') {
            depth = depth.checked_sub(1)?;
        }
        let ends = depth == 0;
        if ends || (depth == 1 && token.is_symbol(',')) {
            let item = &tokens[start..index];
            if !item.is_empty() || items.len() + usize::from(!ends) > 0 {
                items.push(item);
            }
            start = index + 1;
        }
        if ends {
            return Some(items);
        }
    }
    None
}

/// What the list of columns says.
#[derive(Default)]
struct Parsed {
    /// Name, type, static.
    columns: Vec<(String, String, bool)>,
    partition_key: Vec<String>,
    clustering: Vec<String>,
    descending: Vec<String>,
}

impl Parsed {
    fn item(&mut self, cql: &str, item: &[Token<'_>]) -> Option<()> {
        if let [primary, key, rest @ ..] = item
            && primary.is_word("primary")
            && key.is_word("key")
        {
            return self.primary_key(rest);
        }
        let [name, rest @ ..] = item else { return None };
        let mut depth = 0_usize;
        let mut end = rest.len();
        for (index, token) in rest.iter().enumerate() {
            depth += usize::from(token.is_symbol('<'));
            depth = depth.checked_sub(usize::from(token.is_symbol('>')))?;
            let behind = ["static", "primary", "masked"].iter().any(|word| token.is_word(word));
            if index > 0 && depth == 0 && behind {
                end = index;
                break;
            }
        }
        let (of_type, behind) = rest.split_at(end);
        let (first, last) = (of_type.first()?, of_type.last()?);
        let cql_type = one_line(cql.get(first.start..last.end())?);
        let is_static = behind.first().is_some_and(|token| token.is_word("static"));
        if behind.windows(2).any(|pair| pair[0].is_word("primary") && pair[1].is_word("key")) {
            self.partition_key = vec![name.value()];
        }
        self.columns.push((name.value(), cql_type, is_static));
        Some(())
    }

    /// `((a, b), c)`, `(a, c)`
    fn primary_key(&mut self, tokens: &[Token<'_>]) -> Option<()> {
        let mut parts = items(tokens, 0)?.into_iter();
        let first = parts.next()?;
        let names = |part: &[Token<'_>]| match part {
            [name] => Some(name.value()),
            _ => None,
        };
        self.partition_key = match first {
            [open, ..] if open.is_symbol('(') => items(first, 0)?.into_iter().map(names).collect::<Option<_>>()?,
            first => vec![names(first)?],
        };
        self.clustering = parts.map(names).collect::<Option<_>>()?;
        Some(())
    }

    /// `CLUSTERING ORDER BY (c DESC, d ASC)`
    fn order(&mut self, clause: &str) {
        for pair in tokens(clause).windows(2) {
            if pair[1].is_word("desc") {
                self.descending.push(pair[0].value());
            }
        }
    }

    /// In row order; nothing where the key names a column that isn't there.
    fn columns(self) -> Option<Vec<v1::Column>> {
        let Self { mut columns, partition_key, clustering, descending } = self;
        let mut found = Vec::with_capacity(columns.len());
        let keys = [(v1::ColumnKind::PartitionKey, &partition_key), (v1::ColumnKind::Clustering, &clustering)];
        for (kind, names) in keys {
            for name in names {
                let at = columns.iter().position(|(column, ..)| column == name)?;
                let (name, r#type, _) = columns.remove(at);
                let reversed = kind == v1::ColumnKind::Clustering && descending.contains(&name);
                found.push(v1::Column { name, kind: kind.into(), r#type, reversed });
            }
        }
        let mut others: Vec<v1::Column> = columns
            .into_iter()
            .map(|(name, r#type, is_static)| {
                let kind = if is_static { v1::ColumnKind::Static } else { v1::ColumnKind::Regular };
                v1::Column { name, kind: kind.into(), r#type, reversed: false }
            })
            .collect();
        others.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        found.extend(others);
        (!partition_key.is_empty()).then_some(found)
    }
}

/// The text with single spaces, as servers write types.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The types that columns use, also through each other, by name.
fn used_types(columns: &[v1::Column], types: &[v1::UserType]) -> Vec<v1::UserType> {
    let mut texts: Vec<&str> = columns.iter().map(|column| column.r#type.as_str()).collect();
    let mut used: Vec<&v1::UserType> = Vec::new();
    while let Some(text) = texts.pop() {
        for name in types_in(text, |name| types.iter().any(|user_type| user_type.name == name)) {
            if let Some(found) = types.iter().find(|user_type| user_type.name == name)
                && !used.iter().any(|user_type| user_type.name == name)
            {
                used.push(found);
                texts.extend(found.fields.iter().map(|field| field.r#type.as_str()));
            }
        }
    }
    used.sort_by(|a, b| a.name.cmp(&b.name));
    used.into_iter().cloned().collect()
}

fn fingerprint(keyspace: &str, table: &str, columns: &[v1::Column], types: &[v1::UserType]) -> String {
    let mut text = format!("statement of {}.{}\n", ident::quoted(keyspace), ident::quoted(table));
    for column in columns {
        let (kind, order) = (column.kind().as_str_name(), if column.reversed { " desc" } else { "" });
        text.push_str(&format!("column {} {kind}{order} {}\n", ident::quoted(&column.name), column.r#type));
    }
    for user_type in types {
        text.push_str(&format!("type {}\n", ident::quoted(&user_type.name)));
        for field in &user_type.fields {
            text.push_str(&format!("field {} {}\n", ident::quoted(&field.name), field.r#type));
        }
    }
    Identity::of(text.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(cql: &str) -> Vec<String> {
        let table = table_of("ks", cql, &[]).expect("a table");
        let shown = |column: &v1::Column| {
            let kind = match column.kind() {
                v1::ColumnKind::PartitionKey => "pk",
                v1::ColumnKind::Clustering => "ck",
                v1::ColumnKind::Static => "st",
                _ => "",
            };
            format!("{kind}{} {}: {}", if column.reversed { "↓" } else { "" }, column.name, column.r#type)
        };
        table.columns.iter().map(shown).collect()
    }

    #[test]
    fn columns_stand_in_row_order_with_their_roles() {
        let cql = "CREATE TABLE ks.t (\n    c2 int,\n    \"C 1\" frozen<map<text,\n int>>,\n    b text STATIC,\n    pk1 int,\n    \
                   a static_type,\n    pk2 uuid,\n    z vector<float, 3>,\n    m text MASKED WITH mask_inner(1, null),\n    \
                   PRIMARY KEY ((pk2, pk1), c2, \"C 1\")\n) WITH CLUSTERING ORDER BY (c2 ASC, \"C 1\" DESC) AND comment = \
                   'x) DESC, (y' AND default_time_to_live = 60";
        let expected = [
            "pk pk2: uuid",
            "pk pk1: int",
            "ck c2: int",
            "ck↓ C 1: frozen<map<text, int>>",
            "st b: text",
            " a: static_type",
            " m: text",
            " z: vector<float, 3>",
        ];
        assert_eq!(columns(cql), expected);
        assert_eq!(table_of("ks", cql, &[]).expect("a table").default_ttl_s, 60);
        assert_eq!(columns("CREATE TABLE t (k int PRIMARY KEY, v counter)"), ["pk k: int", " v: counter"]);
        assert_eq!(columns("create table t (k int static, primary int, primary key (primary))").len(), 2);
        assert!(table_of("ks", "CREATE TABLE t (k int PRIMARY KEY, v counter)", &[]).expect("a table").counter);
    }

    #[test]
    fn types_come_with_those_that_they_use() {
        let inner = type_of("CREATE TYPE ks.\"In ner\" (a int)").expect("a type");
        let outer = type_of("CREATE TYPE ks.outer (\n    b frozen<\"In ner\">,\n c list<int>)").expect("a type");
        let other = type_of("CREATE TYPE ks.other (d int)").expect("a type");
        let cql = "CREATE TABLE ks.t (k int PRIMARY KEY, v list<frozen<outer>>)";
        let table = table_of("ks", cql, &[outer.clone(), other, inner.clone()]).expect("a table");
        assert_eq!(table.types, [inner, outer.clone()]);
        let without = table_of("ks", cql, &[outer]).expect("a table");
        assert_ne!(table.fingerprint, without.fingerprint);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (cql, part) in [
            ("CREATE TABLE ks.t", "no columns"),
            ("CREATE TABLE ks.t (k int PRIMARY KEY", "does not end"),
            ("CREATE TABLE ks.t (k int)", "primary key"),
            ("CREATE TABLE ks.t (k int, PRIMARY KEY (x))", "primary key"),
            ("CREATE TABLE ks.t (k int, PRIMARY KEY (k, (c)))", "no column"),
            ("CREATE TABLE ks.t (k, PRIMARY KEY (k))", "no column"),
            ("CREATE TABLE ks.t (k int, , PRIMARY KEY (k))", "no column"),
            ("CREATE TABLE ks.t (k int PRIMARY KEY, v int) WITH COMPACT STORAGE AND comment = ''", "COMPACT STORAGE"),
            ("DROP TABLE ks.t", "CREATE"),
        ] {
            let error = table_of("ks", cql, &[]).expect_err(cql).to_string();
            assert!(error.contains(part), "{cql}: {error}");
        }
    }
}
