//! A keyspace with every CQL type and the values that backups lose: a table per kind of difficulty.

use anyhow::{Context, Result};

use super::bytes::{bigint, boolean, double, duration, float, int, list, map, text, tuple, vector_of_variable};
use super::values::{TIMEUUID, native_types};
use super::{every_type_times, load};
use crate::cassandra::{CassandraVersion, TestCluster};
use crate::cql::{Cell, qualified, quote};

/// Makes the keyspace anew and fills it. Rows with a TTL live for an hour at least.
///
/// # Errors
/// If the server refuses any of it.
pub async fn make(cluster: &TestCluster, keyspace: &str, replication_factor: u32) -> Result<()> {
    cluster.fresh_keyspace(keyspace, replication_factor).await?;
    let maker = Maker { cluster, keyspace };
    maker.scalars().await.context("scalars")?;
    maker.keys().await.context("keys")?;
    maker.types().await.context("types")?;
    maker.collections().await.context("collections")?;
    maker.nested().await.context("nested")?;
    maker.statics().await.context("statics")?;
    maker.names().await.context("names")?;
    maker.counters().await.context("counters")?;
    if cluster.version() == CassandraVersion::V5_0 {
        maker.vectors().await.context("vectors")?;
    }
    every_type_times::make(&maker).await.context("times")
}

pub(super) struct Maker<'a> {
    pub(super) cluster: &'a TestCluster,
    pub(super) keyspace: &'a str,
}

impl Maker<'_> {
    pub(super) fn table(&self, name: &str) -> String {
        qualified(self.keyspace, name)
    }

    pub(super) async fn ddl(&self, create: &str) -> Result<()> {
        let statement = create.replace("KS.", &format!("{}.", quote(self.keyspace)));
        self.cluster.run(&[&statement]).await
    }

    /// Inserts rows into the named columns.
    pub(super) async fn insert(&self, table: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Result<()> {
        let names: Vec<String> = columns.iter().map(|name| quote(name)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT INTO {} ({}) VALUES ({marks})", self.table(table), names.join(", "));
        load(self.cluster.session(), &insert, rows.into_iter()).await.map(drop)
    }

    /// Every native type as a column; row i takes the i-th value of each; then empty values, nulls and no cells at all.
    async fn scalars(&self) -> Result<()> {
        let types = native_types();
        let columns: Vec<String> = types.iter().map(|t| format!("c_{}", t.name)).collect();
        let described: Vec<String> = types.iter().map(|t| format!("c_{} {}", t.name, t.name)).collect();
        self.ddl(&format!("CREATE TABLE KS.scalars (pk int PRIMARY KEY, {})", described.join(", "))).await?;
        let most = types.iter().map(|t| t.values.len()).max().unwrap_or(0);
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for i in 0..most {
            rows.push(types.iter().map(|t| t.values[i % t.values.len()].clone().into()).collect());
        }
        rows.push(types.iter().map(|t| if t.empty { Vec::new() } else { t.values[0].clone() }.into()).collect());
        rows.push(types.iter().map(|_| Cell::Null).collect());
        rows.push(types.iter().map(|_| Cell::Unset).collect());
        for (pk, row) in rows.iter_mut().enumerate() {
            row.insert(0, int(i32::try_from(pk)?).into());
        }
        let names: Vec<&str> = std::iter::once("pk").chain(columns.iter().map(String::as_str)).collect();
        self.insert("scalars", &names, rows).await
    }

    /// Every native type as partition key and as clustering, both orders; composites; frozen things as keys.
    async fn keys(&self) -> Result<()> {
        for (number, native) in native_types().into_iter().filter(|t| t.key).enumerate() {
            let name = native.name;
            let order = if number % 2 == 0 { "ASC" } else { "DESC" };
            self.ddl(&format!(
                "CREATE TABLE KS.key_{name} (pk {name}, ck {name}, v int, PRIMARY KEY (pk, ck)) \
                 WITH CLUSTERING ORDER BY (ck {order})"
            ))
            .await?;
            // The server refuses keys over 64 KiB.
            let short = |values: Vec<Vec<u8>>| values.into_iter().filter(|value| value.len() < 1 << 15);
            let mut clusterings: Vec<Vec<u8>> = short(native.distinct_values()).collect();
            if native.empty {
                clusterings.push(Vec::new());
            }
            let mut rows = Vec::new();
            for pk in short(native.values) {
                for ck in &clusterings {
                    rows.push([pk.clone(), ck.clone(), int(7)].map(Cell::Raw).to_vec());
                }
            }
            self.insert(&format!("key_{name}"), &["pk", "ck", "v"], rows).await?;
        }
        self.ddl(
            "CREATE TABLE KS.key_composite (a text, b int, c blob, d timestamp, e text, v text, \
             PRIMARY KEY ((a, b, c), d, e)) WITH CLUSTERING ORDER BY (d DESC, e ASC)",
        )
        .await?;
        let mut rows = Vec::new();
        for a in ["", "a", "\0", "ä🦀"] {
            for (b, c) in [(0, vec![]), (-1, vec![0]), (7, vec![0xff, 0])] {
                for (d, e) in [(0, ""), (0, "x"), (-5, "x\0"), (i64::MAX, "y")] {
                    let (a, b, c, d, e) = (text(a), int(b), c.clone(), bigint(d), text(e));
                    rows.push([a, b, c, d, e, text("v")].map(Cell::Raw).to_vec());
                }
            }
        }
        self.insert("key_composite", &["a", "b", "c", "d", "e", "v"], rows).await?;
        // Two components, both empty, are a legal partition key; so are frozen collections and tuples.
        self.ddl(
            "CREATE TABLE KS.key_frozen (a frozen<list<int>>, b frozen<tuple<int, text>>, c frozen<map<text, int>>, \
             v int, PRIMARY KEY (a, b, c))",
        )
        .await?;
        let lists = [list(&[]), list(&[int(1), int(2)])];
        // Short or with nulls at its end, a tuple is the same to the comparator: one of both.
        let tuples = [tuple(&[Some(int(1)), None]), tuple(&[None, Some(text("x"))]), tuple(&[Some(int(2))])];
        let maps = [map(&[]), map(&[(text("k"), int(1))])];
        let mut rows = Vec::new();
        for a in &lists {
            for b in &tuples {
                for c in &maps {
                    rows.push([a.clone(), b.clone(), c.clone(), int(1)].map(Cell::Raw).to_vec());
                }
            }
        }
        self.insert("key_frozen", &["a", "b", "c", "v"], rows).await
    }

    /// User-defined types; one has a quoted name and odd fields, one grows after rows were written.
    async fn types(&self) -> Result<()> {
        self.ddl("CREATE TYPE KS.address (street text, number int, tags frozen<set<text>>)").await?;
        self.ddl("CREATE TYPE KS.person (name text, home frozen<address>, phones frozen<map<text, text>>)").await?;
        self.ddl(r#"CREATE TYPE KS."MyType" ("$" int, "Mixed Case" text, "w" frozen<list<double>>)"#).await?;
        self.ddl("CREATE TYPE KS.grows (first int)").await
    }

    async fn collections(&self) -> Result<()> {
        self.ddl(
            "CREATE TABLE KS.collections (pk int PRIMARY KEY, l list<int>, s set<text>, m map<text, blob>, \
             md map<double, timestamp>, lb list<boolean>, ld list<duration>, mi map<inet, date>, fl frozen<list<text>>, \
             fs frozen<set<uuid>>, fm frozen<map<float, decimal>>, nested list<frozen<map<text, frozen<set<int>>>>>, \
             deep frozen<map<int, frozen<list<frozen<tuple<int, text>>>>>>)",
        )
        .await?;
        let columns = ["pk", "l", "s", "m", "md", "lb", "ld", "mi", "fl", "fs", "fm", "nested", "deep"];
        let nan = double(f64::NAN);
        let full = vec![
            int(0),
            list(&[int(3), int(1), int(3), int(i32::MIN)]),
            list(&[text(""), text("\0"), text("$x"), text("ä🦀")]),
            map(&[(text(""), vec![]), (text("$"), vec![0]), (text("$0x"), vec![1, 2]), (text("a\"b"), vec![0xff])]),
            map(&[
                (double(f64::NEG_INFINITY), bigint(0)),
                (double(-0.0), bigint(1)),
                (double(0.0), bigint(2)),
                (nan, bigint(-1)),
            ]),
            list(&[boolean(true), boolean(false)]),
            list(&[duration(1, 2, 3), duration(-1, 0, -5)]),
            map(&[(vec![10, 0, 0, 1], vec![0; 4]), (vec![0; 16], vec![0xff; 4])]),
            list(&[text("b"), text("a"), text("")]),
            list(&[vec![0; 16], vec![0xff; 16]]),
            map(&[(float(f32::INFINITY), vec![0, 0, 0, 1, 10])]),
            list(&[map(&[]), map(&[(text("k"), list(&[int(1), int(2)])), (text("l"), list(&[]))])]),
            map(&[(int(-1), list(&[])), (int(5), list(&[tuple(&[Some(int(1)), None]), tuple(&[]), tuple(&[None])]))]),
        ];
        // Empty collections: a frozen one is a value, another is the same as null. Empty elements only where a text is:
        // a server reads an empty int in a list as null and fails to write it.
        let empty = vec![
            int(1),
            list(&[]),
            list(&[vec![]]),
            map(&[(vec![], vec![])]),
            map(&[]),
            list(&[]),
            list(&[]),
            map(&[]),
            list(&[vec![], vec![]]),
            list(&[]),
            map(&[]),
            list(&[map(&[])]),
            map(&[]),
        ];
        let mut many = full.clone();
        many[0] = int(2);
        many[1] = list(&(0..2000).map(int).collect::<Vec<_>>());
        many[2] = list(&(1000..2000).map(|i| text(&i.to_string())).collect::<Vec<_>>());
        let rows = [full, empty, many].into_iter().map(|row| row.into_iter().map(Cell::Raw).collect()).collect();
        self.insert("collections", &columns, rows).await
    }

    /// UDTs and tuples, frozen and not, in each other; values with fewer fields than the type has.
    async fn nested(&self) -> Result<()> {
        self.ddl(
            "CREATE TABLE KS.nested (pk int PRIMARY KEY, u address, fu frozen<address>, p frozen<person>, \
             lp list<frozen<person>>, mlp map<text, frozen<list<frozen<map<text, frozen<person>>>>>>, \
             t tuple<int, text, double>, tt frozen<tuple<frozen<tuple<int, text>>, frozen<address>>>, \
             st set<frozen<tuple<int, text>>>, q frozen<\"MyType\">, g frozen<grows>, gn grows)",
        )
        .await?;
        let columns = ["pk", "u", "fu", "p", "lp", "mlp", "t", "tt", "st", "q", "g", "gn"];
        let address = tuple(&[Some(text("Straße 🏠")), Some(int(-7)), Some(list(&[text("a"), text("b")]))]);
        let holes = tuple(&[None, Some(vec![]), None]);
        let short = tuple(&[Some(text(""))]);
        let person = tuple(&[Some(text("p\0")), Some(address.clone()), Some(map(&[(text("h"), text("1"))]))]);
        let person_holes = tuple(&[None, Some(short.clone()), None]);
        let pair = tuple(&[Some(int(1)), Some(text("x"))]);
        let full = vec![
            int(0),
            address.clone(),
            address.clone(),
            person.clone(),
            list(&[person.clone(), person_holes.clone()]),
            map(&[(text("k"), list(&[map(&[(text("p"), person), (text("$"), person_holes.clone())]), map(&[])]))]),
            tuple(&[Some(int(1)), Some(text("two")), Some(double(3.0))]),
            tuple(&[Some(pair.clone()), Some(address)]),
            list(&[tuple(&[Some(int(0)), None]), pair.clone()]),
            tuple(&[Some(int(1)), Some(text("mixed")), Some(list(&[double(f64::NAN), double(-0.0)]))]),
            tuple(&[Some(int(1))]),
            tuple(&[Some(int(1))]),
        ];
        let sparse = vec![
            int(1),
            holes.clone(),
            holes,
            person_holes,
            list(&[]),
            map(&[(text(""), list(&[]))]),
            tuple(&[Some(int(1))]),
            tuple(&[None, Some(short.clone())]),
            list(&[tuple(&[])]),
            tuple(&[None, None, Some(list(&[]))]),
            tuple(&[None]),
            tuple(&[Some(vec![])]),
        ];
        let fewer = [int(2), short.clone(), short].map(Cell::Raw).to_vec();
        let mut fewer: Vec<Cell> = fewer;
        fewer.resize(columns.len(), Cell::Unset);
        // Zero fields: a tuple, and a frozen UDT, of zero bytes.
        fewer[6] = Cell::Raw(Vec::new());
        fewer[9] = Cell::Raw(Vec::new());
        let mut rows: Vec<Vec<Cell>> =
            [full.clone(), sparse].into_iter().map(|row| row.into_iter().map(Cell::Raw).collect()).collect();
        rows.push(fewer);
        self.insert("nested", &columns, rows).await?;
        // The type grows: old values now have fewer fields than it.
        self.ddl("ALTER TYPE KS.grows ADD second text").await?;
        self.cluster.session().await_schema_agreement().await?;
        let grown = tuple(&[Some(int(5)), Some(text("new"))]);
        let row = vec![int(3).into(), grown.clone().into(), grown.into()];
        self.insert("nested", &["pk", "g", "gn"], vec![row]).await
    }

    /// Partitions with statics only, with rows only, with both; and a table of nothing but keys.
    async fn statics(&self) -> Result<()> {
        self.ddl(
            "CREATE TABLE KS.statics (pk text, ck int, s text static, sm map<text, int> static, v text, \
             PRIMARY KEY (pk, ck))",
        )
        .await?;
        let one = map(&[(text("k"), int(1))]);
        let only: Vec<Vec<Cell>> =
            (0..50).map(|i| vec![text(&format!("only {i}")).into(), text("s").into(), one.clone().into()]).collect();
        self.insert("statics", &["pk", "s", "sm"], only).await?;
        let both = (0..20).flat_map(|p| {
            let one = one.clone();
            (0..30).map(move |ck| {
                vec![
                    text(&format!("both {p}")).into(),
                    int(ck).into(),
                    text("shared").into(),
                    one.clone().into(),
                    text("v").into(),
                ]
            })
        });
        self.insert("statics", &["pk", "ck", "s", "sm", "v"], both.collect()).await?;
        let rows = (0..30).map(|ck| vec![text("rows").into(), int(ck).into(), text("v").into()]);
        self.insert("statics", &["pk", "ck", "v"], rows.collect()).await?;
        self.insert("statics", &["pk", "s"], vec![vec![text("empty static").into(), text("").into()]]).await?;
        self.ddl("CREATE TABLE KS.keys_only (a int, b text, c uuid, PRIMARY KEY ((a), b, c))").await?;
        let keys = (0..200).map(|i| vec![int(i % 17).into(), text(&i.to_string()).into(), TIMEUUID.to_vec().into()]);
        self.insert("keys_only", &["a", "b", "c"], keys.collect()).await
    }

    /// Names that need quotes, and columns named as Ringvault's own key is.
    async fn names(&self) -> Result<()> {
        self.ddl(
            r#"CREATE TABLE KS."MixedCase" ("Pk" int, "select" text, "$" text, "$w" int, "$$" map<text, int>,
               "quote""d" text, "ключ 🔑" frozen<"MyType">, "a.b c/d\e" int, PRIMARY KEY ("Pk", "select"))"#,
        )
        .await?;
        let columns = ["Pk", "select", "$", "$w", "$$", "quote\"d", "ключ 🔑", "a.b c/d\\e"];
        let mine = tuple(&[Some(int(9)), None, Some(list(&[double(0.5)]))]);
        let rows = (0..40).map(|i| {
            let odd = map(&[(text("$"), int(i)), (text("$w"), int(1))]);
            let cells = [int(i % 5), text(&i.to_string()), text("$"), int(i), odd, text("\""), mine.clone(), int(1)];
            cells.map(Cell::Raw).to_vec()
        });
        self.insert("MixedCase", &columns, rows.collect()).await?;
        self.ddl(r#"CREATE TABLE KS.mixedcase ("a" int PRIMARY KEY, "A" int)"#).await?;
        self.insert("mixedcase", &["a", "A"], vec![vec![int(1).into(), int(2).into()]]).await
    }

    /// Counters above, below and at zero; one never touched in a row where another is; a static one.
    async fn counters(&self) -> Result<()> {
        self.ddl(
            "CREATE TABLE KS.counters (pk text, ck int, hits counter, misses counter, total counter static, \
             PRIMARY KEY (pk, ck))",
        )
        .await?;
        let table = self.table("counters");
        for (assignment, rows) in [
            ("hits = hits + 5", 0..40),
            ("hits = hits - 12", 10..20),
            ("misses = misses + 9223372036854775807", 15..18),
            ("misses = misses - 3", 30..35),
        ] {
            for ck in rows {
                let update = format!("UPDATE {table} SET {assignment} WHERE pk = 'p{}' AND ck = {ck}", ck % 4);
                self.cluster.run(&[&update]).await?;
            }
        }
        let zero = format!("UPDATE {table} SET hits = hits - 5 WHERE pk = 'p0' AND ck = 0");
        let fixed = format!("UPDATE {table} SET total = total + 77 WHERE pk = 'p1'");
        let only = format!("UPDATE {table} SET total = total - 1 WHERE pk = 'statics only'");
        self.cluster.run(&[&zero, &fixed, &only]).await
    }

    /// Vectors of fixed and of variable element length, in collections and of collections.
    async fn vectors(&self) -> Result<()> {
        self.ddl(
            "CREATE TABLE KS.vectors (pk int PRIMARY KEY, vf vector<float, 3>, vt vector<text, 2>, vi vector<int, 1>, \
             vd vector<double, 2>, vv vector<frozen<list<int>>, 2>, lv list<frozen<vector<float, 2>>>, \
             vn vector<vector<int, 2>, 2>, vb vector<boolean, 3>, vm vector<varint, 2>)",
        )
        .await?;
        let columns = ["pk", "vf", "vt", "vi", "vd", "vv", "lv", "vn", "vb", "vm"];
        let floats = |v: &[f32]| v.iter().flat_map(|f| float(*f)).collect::<Vec<u8>>();
        let first = vec![
            int(0),
            floats(&[1.0, f32::NAN, -0.0]),
            vector_of_variable(&[text(""), text("🦀 and \0")]),
            int(7),
            [double(f64::INFINITY), double(0.1)].concat(),
            vector_of_variable(&[list(&[]), list(&[int(1), int(2)])]),
            list(&[floats(&[0.0, 1.0]), floats(&[2.0, 3.0])]),
            [int(1), int(2), int(3), int(4)].concat(),
            vec![1, 0, 1],
            vector_of_variable(&[vec![5], vec![0; 200]]),
        ];
        let mut rows: Vec<Vec<Cell>> = vec![first.into_iter().map(Cell::Raw).collect()];
        let mut nulls = vec![Cell::Unset; columns.len()];
        nulls[0] = int(1).into();
        rows.push(nulls);
        self.insert("vectors", &columns, rows).await
    }
}
