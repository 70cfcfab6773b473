//! Is what stands in the target what the backup has? What rows and queries depend on: names, roles, types, definitions of indexes,
//! views and functions; options of tables may differ.

use ringvault_archive::schema::{SchemaKind, SchemaObject};
use ringvault_proto::v1;

use super::{
    Result,
    generate::{self, without_frozen},
    lex::{self, Token},
    model::{ColumnModel, ColumnRole, IndexModel, KeyspaceModel, TableModel, TypeModel, ViewModel},
    statement::{Statement, normal, normal_type},
};

/// What stands in a keyspace under the name of an object of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Absent,
    /// The same, as far as rows depend on it.
    Equal,
    /// Something else; how it differs, for a person.
    Different(String),
}

/// What stands there for `object`. `expected`: the columns of the backup's tables. Roles and grants stand in no keyspace: they are
/// taken for absent, and creating them again changes nothing.
///
/// # Errors
/// `Invalid` where the object's statement can't be read.
pub fn standing(object: &SchemaObject, live: &KeyspaceModel, expected: &[v1::InspectedTable]) -> Result<Standing> {
    let name = &object.name;
    Ok(match object.kind {
        SchemaKind::Keyspace => Standing::Equal,
        SchemaKind::Role | SchemaKind::Membership | SchemaKind::Grant => Standing::Absent,
        SchemaKind::Type => match live.user_type(name) {
            None => Standing::Absent,
            Some(user_type) => fields_standing(&Statement::parse(&object.cql)?.fields(), user_type),
        },
        SchemaKind::Function => {
            let found = live.functions.iter().find(|f| generate::is_signature(name, &f.name, &f.argument_types));
            let there = found.map(|function| generate::create_function(&live.name, function));
            text_standing(object, there.as_deref(), &[])?
        }
        SchemaKind::Aggregate => {
            let found = live.aggregates.iter().find(|a| generate::is_signature(name, &a.name, &a.argument_types));
            let there = found.map(|aggregate| generate::create_aggregate(&live.name, aggregate));
            // servers write the first state in different ways
            text_standing(object, there.as_deref(), &["initcond"])?
        }
        SchemaKind::Table => {
            if live.views.iter().any(|view| view.table.name == *name) {
                return Ok(Standing::Different("it is a materialized view".to_owned()));
            }
            let wanted = expected.iter().find(|table| name_of(table) == (live.name.as_str(), name.as_str()));
            match (live.table(name), wanted) {
                (None, _) => Standing::Absent,
                (Some(_), None) => Standing::Equal,
                (Some(table), Some(wanted)) => {
                    table_difference(wanted, table, Columns::Same).map_or(Standing::Equal, Standing::Different)
                }
            }
        }
        SchemaKind::Index => match live.indexes.iter().find(|index| index.name == *name) {
            None => Standing::Absent,
            Some(index) => index_difference(object, index)?.map_or(Standing::Equal, Standing::Different),
        },
        SchemaKind::View => match live.views.iter().find(|view| view.table.name == *name) {
            None if live.table(name).is_some() => Standing::Different("it is a table".to_owned()),
            None => Standing::Absent,
            Some(view) => view_difference(object, &live.name, view)?.map_or(Standing::Equal, Standing::Different),
        },
        SchemaKind::Trigger => {
            let same = |trigger: &&super::model::TriggerModel| {
                trigger.name == *name && Some(&trigger.table) == object.table.as_ref()
            };
            let found = live.triggers.iter().find(same);
            let there = found.map(|trigger| generate::create_trigger(&live.name, trigger));
            text_standing(object, there.as_deref(), &[])?
        }
    })
}

/// Compares statements token by token, up to the first of these words; whether something may be replaced does not count.
fn text_standing(object: &SchemaObject, there: Option<&str>, up_to: &[&str]) -> Result<Standing> {
    let Some(there) = there else { return Ok(Standing::Absent) };
    let key = |cql: &str| -> Result<String> {
        let cql = without_frozen(cql);
        let statement = Statement::parse(&cql)?;
        let tokens = statement.tokens();
        let end = tokens.iter().position(|token| up_to.iter().any(|word| token.is_word(word)));
        let first = statement.name_at.unwrap_or(0);
        Ok(normal(&tokens[first..end.unwrap_or(tokens.len())]))
    };
    let same = key(&object.cql)? == key(there)?;
    Ok(if same { Standing::Equal } else { Standing::Different("its definition is another".to_owned()) })
}

fn index_difference(object: &SchemaObject, live: &IndexModel) -> Result<Option<String>> {
    if Some(&live.table) != object.table.as_ref() {
        return Ok(Some(format!("it is an index of table {}", live.table)));
    }
    let statement = Statement::parse(&object.cql)?;
    let class = |class: Option<&str>| {
        let class = class.unwrap_or_default();
        let short = class.rsplit('.').next().unwrap_or_default().to_lowercase();
        match short.as_str() {
            "sai" => "storageattachedindex".to_owned(),
            "legacy_local_table" => String::new(),
            _ => short,
        }
    };
    let there = live.options.get("class_name").map(String::as_str);
    if class(statement.index_class().as_deref()) != class(there) {
        return Ok(Some(format!("its class is {}", there.unwrap_or("the server's own"))));
    }
    // `CREATE INDEX ON t (m)` of a collection is kept as `values(m)`
    let target = |tokens: &[Token<'_>]| {
        let text = normal(tokens);
        text.strip_prefix("values ( ")
            .and_then(|text| text.strip_suffix(" )"))
            .map_or_else(|| text.clone(), str::to_owned)
    };
    let live_target = live.options.get("target").map_or("", String::as_str);
    if target(statement.index_target()) != target(&lex::tokens(live_target)) {
        return Ok(Some(format!("it is an index of {live_target}")));
    }
    let mut options = live.options.clone();
    options.retain(|key, _| key != "target" && key != "class_name");
    Ok((options != statement.index_options()).then(|| "its options are others".to_owned()))
}

fn view_difference(object: &SchemaObject, keyspace: &str, live: &ViewModel) -> Result<Option<String>> {
    if Some(&live.base) != object.table.as_ref() {
        return Ok(Some(format!("it is a view of table {}", live.base)));
    }
    let there = generate::table::create_view(keyspace, live);
    let (wanted, there) = (Statement::parse(&object.cql)?, Statement::parse(&there)?);
    let columns = |statement: &Statement<'_>| {
        let tokens = statement.between("select", &["from"]);
        let mut columns: Vec<String> = tokens.split(|token| token.is_symbol(',')).map(normal).collect();
        columns.sort();
        columns
    };
    if columns(&wanted) != columns(&there) {
        return Ok(Some("its columns are others".to_owned()));
    }
    let rows = |statement: &Statement<'_>| normal(statement.between("where", &["primary"]));
    if rows(&wanted) != rows(&there) {
        return Ok(Some(format!("its rows are those where {}", live.where_clause)));
    }
    let key = |statement: &Statement<'_>| normal(statement.between("primary", &["with"]));
    Ok((key(&wanted) != key(&there)).then(|| "its key is another".to_owned()))
}

/// Unquoted name of a table of the backup.
fn name_of(table: &v1::InspectedTable) -> (&str, &str) {
    table.table.as_ref().map_or(("", ""), |name| (&name.keyspace, &name.table))
}

/// Which columns a standing table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// The backup's.
    Same,
    /// The backup's, and others that are no key: they stay null.
    More,
}

fn fields_standing(expected: &[(String, String)], live: &TypeModel) -> Standing {
    let key = |fields: &[(String, String)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, cql_type)| (name.clone(), normal_type(cql_type))).collect()
    };
    if key(expected) == key(&live.fields) {
        return Standing::Equal;
    }
    let show = |fields: &[(String, String)]| {
        fields.iter().map(|(name, cql_type)| format!("{name} {cql_type}")).collect::<Vec<_>>().join(", ")
    };
    Standing::Different(format!("its fields are ({}), the backup's ({})", show(&live.fields), show(expected)))
}

/// How a table differs from the backup's, in what rows depend on; nothing where it doesn't.
#[must_use]
pub fn table_difference(expected: &v1::InspectedTable, live: &TableModel, columns: Columns) -> Option<String> {
    for column in &expected.columns {
        let Some(found) = live.columns.iter().find(|found| found.name == column.name) else {
            return Some(format!("it has no column {:?}", column.name));
        };
        let role = match found.role {
            ColumnRole::PartitionKey => v1::ColumnKind::PartitionKey,
            ColumnRole::Clustering => v1::ColumnKind::Clustering,
            ColumnRole::Static => v1::ColumnKind::Static,
            ColumnRole::Regular => v1::ColumnKind::Regular,
        };
        if role != column.kind() {
            return Some(format!("its column {:?} has another role", column.name));
        }
        if normal_type(&found.cql_type) != normal_type(&column.r#type) {
            return Some(format!("its column {:?} is {}, the backup's {}", column.name, found.cql_type, column.r#type));
        }
    }
    let known = |found: &&ColumnModel| expected.columns.iter().all(|column| column.name != found.name);
    let is_key = |column: &ColumnModel| matches!(column.role, ColumnRole::PartitionKey | ColumnRole::Clustering);
    let may_stand = |column: &&ColumnModel| columns == Columns::More && !is_key(column);
    if let Some(extra) = live.columns.iter().filter(known).find(|column| !may_stand(column)) {
        return Some(format!("it has a column {:?} that the backup has not", extra.name));
    }
    let key = |wanted: ColumnRole| {
        let columns = live.columns_in_order();
        columns
            .into_iter()
            .filter(move |column| column.role == wanted)
            .map(|column| column.name.clone())
            .collect::<Vec<_>>()
    };
    let wanted = |kind: v1::ColumnKind| {
        let columns = expected.columns.iter().filter(move |column| column.kind() == kind);
        columns.map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    let same = key(ColumnRole::PartitionKey) == wanted(v1::ColumnKind::PartitionKey)
        && key(ColumnRole::Clustering) == wanted(v1::ColumnKind::Clustering);
    (!same).then(|| "its key columns stand in another order".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model::{FunctionModel, IndexModel};

    fn live() -> KeyspaceModel {
        let column = |name: &str, role, position, cql_type: &str| ColumnModel {
            name: name.into(),
            role,
            position,
            cql_type: cql_type.into(),
            descending: false,
        };
        KeyspaceModel {
            name: "ks".into(),
            types: vec![TypeModel { name: "addr".into(), fields: vec![("a".into(), "frozen<list<text>>".into())] }],
            functions: vec![FunctionModel {
                name: "f".into(),
                argument_types: vec!["frozen<addr>".into(), "int".into()],
                ..Default::default()
            }],
            tables: vec![TableModel {
                name: "t".into(),
                columns: vec![
                    column("c", ColumnRole::Clustering, 0, "int"),
                    column("k2", ColumnRole::PartitionKey, 1, "int"),
                    column("k1", ColumnRole::PartitionKey, 0, "int"),
                    column("v", ColumnRole::Regular, -1, "text"),
                ],
                ..Default::default()
            }],
            indexes: vec![IndexModel { table: "t".into(), name: "i".into(), ..Default::default() }],
            ..Default::default()
        }
    }

    fn expected() -> v1::InspectedTable {
        let column = |name: &str, kind: v1::ColumnKind, cql_type: &str| v1::Column {
            name: name.into(),
            kind: kind.into(),
            r#type: cql_type.into(),
            reversed: false,
        };
        v1::InspectedTable {
            table: Some(v1::TableName { keyspace: "ks".into(), table: "t".into() }),
            columns: vec![
                column("k1", v1::ColumnKind::PartitionKey, "int"),
                column("k2", v1::ColumnKind::PartitionKey, "int"),
                column("c", v1::ColumnKind::Clustering, "int"),
                column("v", v1::ColumnKind::Regular, "varchar"),
            ],
            ..Default::default()
        }
    }

    /// What stands there for an object that this statement creates.
    fn of(cql: &str, live: &KeyspaceModel) -> Standing {
        let statement = Statement::parse(cql).expect("fine");
        let signed =
            cql.split_once("ks.").and_then(|(_, rest)| rest.split_once(')')).map(|(name, _)| format!("{name})"));
        let is_signed = matches!(statement.kind, SchemaKind::Function | SchemaKind::Aggregate);
        let name = signed.filter(|_| is_signed).unwrap_or_else(|| statement.name.clone());
        let object = object(statement.kind, &name, statement.table.as_deref(), cql);
        standing(&object, live, &[]).expect("fine")
    }

    fn differs(cql: &str, live: &KeyspaceModel, how: &str) {
        match of(cql, live) {
            Standing::Different(found) => assert!(found.contains(how), "{cql}: {found}"),
            standing => panic!("{cql}: {standing:?}"),
        }
    }

    fn object(kind: SchemaKind, name: &str, table: Option<&str>, cql: &str) -> SchemaObject {
        SchemaObject { kind, keyspace: "ks".into(), name: name.into(), table: table.map(Into::into), cql: cql.into() }
    }

    #[test]
    fn a_table_of_the_same_columns_is_equal() {
        let table = object(SchemaKind::Table, "t", None, "");
        assert_eq!(standing(&table, &live(), &[expected()]).expect("fine"), Standing::Equal);
        let other = object(SchemaKind::Table, "u", None, "");
        assert_eq!(standing(&other, &live(), &[expected()]).expect("fine"), Standing::Absent);
    }

    #[test]
    fn every_difference_that_rows_depend_on_is_named() {
        let difference = |change: &dyn Fn(&mut v1::InspectedTable)| {
            let mut table = expected();
            change(&mut table);
            table_difference(&table, live().table("t").expect("fine"), Columns::Same).expect("fine")
        };
        assert!(difference(&|t| t.columns[3].name = "w".into()).contains("no column \"w\""));
        assert!(difference(&|t| t.columns[3].r#type = "int".into()).contains("is text, the backup's int"));
        assert!(difference(&|t| t.columns[3].kind = v1::ColumnKind::Static.into()).contains("another role"));
        assert!(difference(&|t| t.columns.truncate(3)).contains("\"v\" that the backup has not"));
        assert!(difference(&|t| t.columns.swap(0, 1)).contains("another order"));
    }

    #[test]
    fn a_table_may_have_more_columns_where_that_is_allowed_but_no_other_key() {
        let difference = |kept: usize| {
            let mut table = expected();
            table.columns.truncate(kept);
            table_difference(&table, live().table("t").expect("fine"), Columns::More)
        };
        assert_eq!(difference(4), None);
        assert_eq!(difference(3), None);
        assert!(difference(2).expect("c is a key").contains("\"c\" that the backup has not"));
    }

    #[test]
    fn types_are_told_apart_by_their_fields_and_functions_by_their_arguments() {
        let user_type = |cql: &str| standing(&object(SchemaKind::Type, "addr", None, cql), &live(), &[]).expect("fine");
        assert_eq!(user_type("CREATE TYPE ks.addr (a frozen<list<varchar>>)"), Standing::Equal);
        assert!(matches!(user_type("CREATE TYPE ks.addr (a int)"), Standing::Different(_)));
        assert_eq!(of("CREATE FUNCTION ks.f(int) RETURNS int LANGUAGE java AS ''", &live()), Standing::Absent);
    }

    #[test]
    fn a_function_is_the_same_where_its_text_is_however_it_is_quoted() {
        let function = FunctionModel {
            name: "f".into(),
            argument_names: vec!["x".into()],
            argument_types: vec!["frozen<list<int>>".into()],
            body: "return \"it's\";".into(),
            called_on_null_input: true,
            language: "java".into(),
            return_type: "text".into(),
        };
        let live = KeyspaceModel { functions: vec![function], ..live() };
        let same =
            "CREATE FUNCTION ks.f(x list<int>) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'return \"it''s\";'";
        let standing =
            |cql: &str| standing(&object(SchemaKind::Function, "f(list<int>)", None, cql), &live, &[]).expect("fine");
        assert_eq!(standing(same), Standing::Equal);
        assert_eq!(standing(&same.replace("'return \"it''s\";'", "$$return \"it's\";$$")), Standing::Equal);
        assert!(matches!(standing(&same.replace("return \"", "return \"x")), Standing::Different(_)));
        assert!(matches!(standing(&same.replace("CALLED", "RETURNS NULL")), Standing::Different(_)));
    }

    #[test]
    fn an_index_whose_definition_changed_is_another_though_it_kept_its_name() {
        let index = |pairs: &[(&str, &str)]| {
            let options = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let index = IndexModel { table: "t".into(), name: "i".into(), kind: String::new(), options };
            KeyspaceModel { indexes: vec![index], ..live() }
        };
        let plain = index(&[("target", "\"My\"")]);
        assert_eq!(of("CREATE INDEX i ON ks.t (\"My\")", &plain), Standing::Equal);
        assert_eq!(of("CREATE INDEX i ON ks.t (\"My\") USING 'legacy_local_table'", &plain), Standing::Equal);
        differs("CREATE INDEX i ON ks.t (my)", &plain, "it is an index of \"My\"");
        differs("CREATE INDEX i ON ks.u (\"My\")", &plain, "of table t");
        differs("CREATE CUSTOM INDEX i ON ks.t (\"My\") USING 'sai'", &plain, "class");
        let keys = index(&[("target", "keys(m)")]);
        assert_eq!(of("CREATE INDEX i ON ks.t (KEYS(m))", &keys), Standing::Equal);
        differs("CREATE INDEX i ON ks.t (entries(m))", &keys, "keys(m)");
        let values = index(&[("target", "values(m)")]);
        assert_eq!(of("CREATE INDEX i ON ks.t (m)", &values), Standing::Equal);
        let sai = index(&[("target", "v"), ("class_name", "StorageAttachedIndex"), ("case_sensitive", "false")]);
        let cql = "CREATE CUSTOM INDEX i ON ks.t (v) USING 'sai' WITH OPTIONS = {'case_sensitive': 'false'}";
        assert_eq!(of(cql, &sai), Standing::Equal);
        differs(&cql.replace("false", "true"), &sai, "options");
    }

    #[test]
    fn a_view_is_told_by_its_columns_rows_and_key() {
        let column = |name: &str, role, position| ColumnModel {
            name: name.into(),
            role,
            position,
            cql_type: "int".into(),
            descending: false,
        };
        let view = ViewModel {
            table: TableModel {
                name: "v".into(),
                columns: vec![
                    column("b", ColumnRole::Clustering, 0),
                    column("A", ColumnRole::PartitionKey, 0),
                    column("c", ColumnRole::Regular, -1),
                ],
                ..Default::default()
            },
            base: "t".into(),
            all_columns: false,
            where_clause: "\"A\" IS NOT NULL AND b > 0".into(),
        };
        let live = KeyspaceModel { views: vec![view], ..live() };
        let same = "CREATE MATERIALIZED VIEW ks.v AS SELECT c, b, \"A\" FROM ks.t WHERE \"A\" is not null AND b>0 PRIMARY KEY (\"A\", b) WITH comment = 'x'";
        assert_eq!(of(same, &live), Standing::Equal);
        differs(&same.replace("c, b", "b"), &live, "columns");
        differs(&same.replace("b>0", "b>1"), &live, "rows");
        differs(&same.replace("(\"A\", b)", "(b, \"A\")"), &live, "key");
        differs(&same.replace("ks.t", "ks.u"), &live, "view of table t");
    }

    #[test]
    fn an_index_of_that_name_on_another_table_is_another() {
        differs("CREATE INDEX i ON ks.u (v)", &live(), "index of table t");
    }
}
