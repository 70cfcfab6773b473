use super::*;
use crate::schema::model::{IndexModel, TableModel, ViewModel};

fn object(cql: &str) -> SchemaObject {
    let statement = Statement::parse(cql).expect("fine");
    SchemaObject {
        kind: statement.kind,
        keyspace: "Shop".into(),
        name: statement.name.clone(),
        table: statement.table,
        cql: cql.into(),
    }
}

fn tables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
}

fn shop(cql: &str, pairs: &[(&str, &str)]) -> SchemaObject {
    let tables = tables(pairs);
    renamed(&object(cql), &Names { keyspace: "Shop", keyspace_as: "select", tables: &tables }).expect("fine")
}

#[test]
fn a_keyspace_is_renamed_wherever_it_is_named() {
    for (old, new) in [
        (
            "CREATE KEYSPACE \"Shop\" WITH replication = {'class': 'Shop'}",
            "CREATE KEYSPACE \"select\" WITH replication = {'class': 'Shop'}",
        ),
        (
            "CREATE TYPE \"Shop\".a (\"Shop\" frozen<\"Shop\".b>, c int)",
            "CREATE TYPE \"select\".a (\"Shop\" frozen<\"select\".b>, c int)",
        ),
        (
            "CREATE FUNCTION \"Shop\".f(x \"Shop\".b) CALLED ON NULL INPUT RETURNS \"Shop\".b LANGUAGE java AS $$ \"Shop\".x; /* 'Shop' */ $$",
            "CREATE FUNCTION \"select\".f(x \"select\".b) CALLED ON NULL INPUT RETURNS \"select\".b LANGUAGE java AS $$ \"Shop\".x; /* 'Shop' */ $$",
        ),
        (
            "CREATE AGGREGATE \"Shop\".g(int) SFUNC \"Shop\".f STYPE double FINALFUNC h INITCOND 0.5",
            "CREATE AGGREGATE \"select\".g(int) SFUNC \"select\".f STYPE double FINALFUNC h INITCOND 0.5",
        ),
        (
            "CREATE TABLE \"Shop\".t (k int PRIMARY KEY, v text MASKED WITH \"Shop\".m('Shop.x')) WITH comment = 'of \"Shop\".t' -- \"Shop\".t",
            "CREATE TABLE \"select\".t (k int PRIMARY KEY, v text MASKED WITH \"select\".m('Shop.x')) WITH comment = 'of \"Shop\".t' -- \"Shop\".t",
        ),
        ("CREATE INDEX i ON \"Shop\".t (values(\"Shop\"))", "CREATE INDEX i ON \"select\".t (values(\"Shop\"))"),
        (
            "CREATE MATERIALIZED VIEW \"Shop\".v AS SELECT k FROM \"Shop\".t WHERE k = 'Shop.' PRIMARY KEY (k)",
            "CREATE MATERIALIZED VIEW \"select\".v AS SELECT k FROM \"select\".t WHERE k = 'Shop.' PRIMARY KEY (k)",
        ),
        ("CREATE TRIGGER tr ON \"Shop\".t USING 'Shop.T'", "CREATE TRIGGER tr ON \"select\".t USING 'Shop.T'"),
    ] {
        let renamed = shop(old, &[]);
        assert_eq!(renamed.cql, new);
        assert_eq!(renamed.keyspace, "select");
    }
}

#[test]
fn a_bare_name_is_the_keyspace_only_in_its_own_case() {
    let none = BTreeMap::new();
    let names = Names { keyspace: "shop", keyspace_as: "Neu", tables: &none };
    let table = |cql: &str| renamed(&object(cql), &names).expect("fine").cql;
    assert_eq!(table("CREATE TABLE SHOP.t (k int PRIMARY KEY)"), "CREATE TABLE \"Neu\".t (k int PRIMARY KEY)");
    assert_eq!(table("CREATE TABLE \"SHOP\".t (k int PRIMARY KEY)"), "CREATE TABLE \"SHOP\".t (k int PRIMARY KEY)");
}

#[test]
fn a_number_is_never_a_keyspace() {
    let none = BTreeMap::new();
    let names = Names { keyspace: "0", keyspace_as: "x", tables: &none };
    let cql = "CREATE TABLE \"0\".t (k int PRIMARY KEY) WITH crc_check_chance = 0.5";
    let renamed = renamed(&object(cql), &names).expect("fine");
    assert_eq!(renamed.cql, "CREATE TABLE x.t (k int PRIMARY KEY) WITH crc_check_chance = 0.5");
}

#[test]
fn a_table_is_renamed_in_what_hangs_on_it_and_nowhere_else() {
    let pairs = [("t", "Neu"), ("v", "w")];
    let table = shop("CREATE TABLE \"Shop\".t (t int PRIMARY KEY, v int) WITH comment = 't'", &pairs);
    assert_eq!(table.cql, "CREATE TABLE \"select\".\"Neu\" (t int PRIMARY KEY, v int) WITH comment = 't'");
    assert_eq!(table.name, "Neu");
    let index = shop("CREATE INDEX t ON \"Shop\".t (t)", &pairs);
    assert_eq!((index.cql.as_str(), index.name.as_str()), ("CREATE INDEX t ON \"select\".\"Neu\" (t)", "t"));
    assert_eq!(index.table.as_deref(), Some("Neu"));
    let view = shop(
        "CREATE MATERIALIZED VIEW \"Shop\".v AS SELECT t FROM \"Shop\".t WHERE t IS NOT NULL PRIMARY KEY (t)",
        &pairs,
    );
    assert_eq!(
        view.cql,
        "CREATE MATERIALIZED VIEW \"select\".w AS SELECT t FROM \"select\".\"Neu\" WHERE t IS NOT NULL PRIMARY KEY (t)"
    );
    assert_eq!((view.name.as_str(), view.table.as_deref()), ("w", Some("Neu")));
    let user_type = shop("CREATE TYPE \"Shop\".t (t int)", &pairs);
    assert_eq!((user_type.cql.as_str(), user_type.name.as_str()), ("CREATE TYPE \"select\".t (t int)", "t"));
}

#[test]
fn grants_follow_their_keyspace_and_table() {
    let tables = tables(&[("t", "u")]);
    let names = Names { keyspace: "Shop", keyspace_as: "neu", tables: &tables };
    for (old, new) in [
        ("GRANT SELECT ON TABLE \"Shop\".t TO \"Shop\"", "GRANT SELECT ON TABLE neu.u TO \"Shop\""),
        ("GRANT ALTER ON KEYSPACE \"Shop\" TO t", "GRANT ALTER ON KEYSPACE neu TO t"),
        (
            "GRANT EXECUTE ON ALL FUNCTIONS IN KEYSPACE \"Shop\" TO r",
            "GRANT EXECUTE ON ALL FUNCTIONS IN KEYSPACE neu TO r",
        ),
        ("GRANT EXECUTE ON FUNCTION \"Shop\".t(int) TO r", "GRANT EXECUTE ON FUNCTION neu.t(int) TO r"),
    ] {
        let grant = SchemaObject {
            kind: SchemaKind::Grant,
            keyspace: "Shop".into(),
            name: "SELECT".into(),
            table: Some("t".into()),
            cql: old.into(),
        };
        assert_eq!(renamed(&grant, &names).expect("fine").cql, new);
    }
}

#[test]
fn an_index_of_a_renamed_table_gives_way_to_one_that_stands_there() {
    let index = |name: &str, table: &str| IndexModel { name: name.into(), table: table.into(), ..Default::default() };
    let live = |indexes| KeyspaceModel { name: "Shop".into(), indexes, ..Default::default() };
    let renamed = BTreeSet::from(["u".to_owned()]);
    let freed = |live: &KeyspaceModel, gone: bool| {
        let mut objects =
            vec![object("CREATE INDEX by_v ON \"Shop\".u (v)"), object("CREATE INDEX other ON \"Shop\".t (v)")];
        let notes = free_names(&mut objects, live, &renamed, &|_| gone).expect("fine");
        (notes.len(), objects[0].cql.clone())
    };
    let kept = (0, "CREATE INDEX by_v ON \"Shop\".u (v)".to_owned());
    let given_way = (1, "CREATE INDEX u_by_v ON \"Shop\".u (v)".to_owned());
    assert_eq!(freed(&live(vec![]), false), kept);
    assert_eq!(freed(&live(vec![index("by_v", "t")]), false), given_way);
    assert_eq!(
        freed(&live(vec![index("by_v", "t"), index("u_by_v", "u")]), false),
        given_way,
        "it stands there already"
    );
    assert_eq!(freed(&live(vec![index("by_v", "t")]), true), kept);
    let taken = live(vec![index("by_v", "t"), index("u_by_v", "z")]);
    assert_eq!(freed(&taken, false).1, "CREATE INDEX u_by_v_2 ON \"Shop\".u (v)");
}

#[test]
fn a_view_of_a_renamed_table_gives_way_too() {
    let named = |name: &str| TableModel { name: name.into(), ..TableModel::default() };
    let view = |name: &str, base: &str| ViewModel { table: named(name), base: base.into(), ..ViewModel::default() };
    let freed = |tables: Vec<TableModel>, views: Vec<ViewModel>| {
        let live = KeyspaceModel { name: "Shop".into(), tables, views, ..KeyspaceModel::default() };
        let cql = "CREATE MATERIALIZED VIEW \"Shop\".v AS SELECT k FROM \"Shop\".u WHERE k IS NOT NULL PRIMARY KEY (k)";
        let mut objects = vec![object(cql)];
        free_names(&mut objects, &live, &BTreeSet::from(["u".to_owned()]), &|_| false).expect("fine");
        (objects[0].name.clone(), objects[0].cql.contains("VIEW \"Shop\".u_v AS SELECT k FROM \"Shop\".u "))
    };
    assert_eq!(freed(vec![], vec![view("v", "u")]), ("v".to_owned(), false), "its own stands there");
    assert_eq!(freed(vec![], vec![view("v", "t")]), ("u_v".to_owned(), true));
    assert_eq!(freed(vec![named("v")], vec![]), ("u_v".to_owned(), true));
    assert_eq!(freed(vec![], vec![view("v", "t"), view("u_v", "u")]), ("u_v".to_owned(), true));
}
