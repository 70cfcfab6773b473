//! Random types, tables and options.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::cassandra::CassandraVersion;
use crate::cql::{qualified, quote};
use crate::samples::values::{NativeType, native_types};

/// Levels of types in types.
const NESTING_MAX: u32 = 4;
/// Names that need quotes, or look like something else; a number behind each keeps them apart.
const COLUMN_NAMES: &[&str] =
    &["v", "Mixed Case ", "$", "w", "token", "with\"quote", "ü", "a,b", "select", "x.y:", "{\"$\":"];
const TYPE_NAMES: &[&str] = &["u", "Mixed", "with space "];
const TABLE_NAMES: &[&str] = &["plain", "MixedCase", "select", "a_name_that_is_rather_long_1234567890123456789"];

/// A CQL type. Inside another, what has parts is frozen.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// By its number in [`Schema::natives`].
    Native(usize),
    List(Box<Kind>),
    Set(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    Tuple(Vec<Kind>),
    /// By its number in [`Schema::types`].
    Udt(usize),
    Vector(Box<Kind>, usize),
}

/// A user type.
#[derive(Clone, Debug)]
pub(super) struct UserType {
    pub(super) name: String,
    pub(super) fields: Vec<(String, Kind)>,
}

/// Where a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Partition,
    Clustering,
    Static,
    Regular,
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) kind: Kind,
    /// Written with `frozen<…>`; always so in keys.
    pub(super) frozen: bool,
    reversed: bool,
}

impl Column {
    /// Made of cells of its own, which can be written one by one.
    pub(super) fn multi_cell(&self) -> bool {
        let of_cells = matches!(self.kind, Kind::List(_) | Kind::Set(_) | Kind::Map(..) | Kind::Udt(_));
        of_cells && !self.frozen
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// All columns outside the key are counters.
    pub(super) counter: bool,
    pub(super) default_ttl: bool,
    options: Vec<String>,
}

impl Table {
    pub(super) fn of(&self, role: Role) -> Vec<&Column> {
        self.columns.iter().filter(|column| column.role == role).collect()
    }
}

/// The types and tables of a keyspace.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) natives: Vec<NativeType>,
    pub(super) types: Vec<UserType>,
    pub(super) tables: Vec<Table>,
    version: CassandraVersion,
}

impl Schema {
    pub(super) fn random(random: &mut StdRng, version: CassandraVersion) -> Self {
        let mut schema = Self { natives: native_types(), types: Vec::new(), tables: Vec::new(), version };
        for number in 0..random.random_range(0..4) {
            let fields = (0..random.random_range(1..5)).map(|field| {
                let name = format!("{}{field}", pick(COLUMN_NAMES, random));
                (name, schema.kind(random, NESTING_MAX - 1, false))
            });
            let fields = fields.collect();
            schema.types.push(UserType { name: format!("{}{number}", pick(TYPE_NAMES, random)), fields });
        }
        for number in 0..random.random_range(1..4) {
            let table = schema.table(random, number);
            schema.tables.push(table);
        }
        schema
    }

    /// The statements that make it, in order.
    pub(super) fn statements(&self, keyspace: &str) -> Vec<String> {
        let types = self.types.iter().map(|udt| {
            let field = |(name, kind): &(String, Kind)| format!("{} {}", quote(name), self.text(kind, true));
            let fields: Vec<String> = udt.fields.iter().map(field).collect();
            format!("CREATE TYPE {} ({})", qualified(keyspace, &udt.name), fields.join(", "))
        });
        types.chain(self.tables.iter().map(|table| self.create(keyspace, table))).collect()
    }

    fn create(&self, keyspace: &str, table: &Table) -> String {
        let mut parts: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                let kind = if table.is_counter(column) {
                    "counter".to_owned()
                } else {
                    self.text(&column.kind, column.frozen)
                };
                let role = if column.role == Role::Static { " static" } else { "" };
                format!("{} {kind}{role}", quote(&column.name))
            })
            .collect();
        let names = |role| table.of(role).iter().map(|column| quote(&column.name)).collect::<Vec<_>>();
        let clustering = names(Role::Clustering).iter().fold(String::new(), |all, name| format!("{all}, {name}"));
        parts.push(format!("PRIMARY KEY (({}){clustering})", names(Role::Partition).join(", ")));
        let mut options = table.options.clone();
        let order =
            |column: &&Column| format!("{} {}", quote(&column.name), if column.reversed { "DESC" } else { "ASC" });
        let orders: Vec<String> = table.of(Role::Clustering).iter().map(order).collect();
        if !orders.is_empty() {
            options.push(format!("CLUSTERING ORDER BY ({})", orders.join(", ")));
        }
        let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(" AND ")) };
        format!("CREATE TABLE {} ({}){with}", qualified(keyspace, &table.name), parts.join(", "))
    }

    fn table(&self, random: &mut StdRng, number: usize) -> Table {
        let counter = random.random_bool(0.25);
        let clusterings = if random.random_bool(0.8) { random.random_range(1..4) } else { 0 };
        let statics = if clusterings > 0 { random.random_range(0..3) } else { 0 };
        let regulars = if counter { random.random_range(1..4) } else { random.random_range(0..7) };
        let counts = [
            (Role::Partition, random.random_range(1..3)),
            (Role::Clustering, clusterings),
            (Role::Static, statics),
            (Role::Regular, regulars),
        ];
        let mut columns = Vec::new();
        for (role, count) in counts {
            for _ in 0..count {
                let key = matches!(role, Role::Partition | Role::Clustering);
                let kind = self.kind(random, if key { 2 } else { NESTING_MAX }, key);
                columns.push(Column {
                    name: format!("{}{}", pick(COLUMN_NAMES, random), columns.len()),
                    role,
                    kind,
                    frozen: key || random.random_bool(0.3),
                    reversed: random.random_bool(0.5),
                });
            }
        }
        let default_ttl = !counter && random.random_bool(0.25);
        let mut options = random_options(random);
        if default_ttl {
            options.push(format!("default_time_to_live = {}", random.random_range(5..50) * 86_400));
        }
        Table { name: format!("{}_{number}", pick(TABLE_NAMES, random)), columns, counter, default_ttl, options }
    }

    /// A type of at most so many levels. One of a key, a set, or a map's keys must be comparable.
    fn kind(&self, random: &mut StdRng, levels: u32, key: bool) -> Kind {
        let choice = if levels <= 1 { 0 } else { random.random_range(0..14) };
        let part = |random: &mut StdRng, key| Box::new(self.kind(random, levels - 1, key));
        match choice {
            6 => Kind::List(part(random, key)),
            7 => Kind::Set(part(random, true)),
            8 | 9 => Kind::Map(part(random, true), part(random, key)),
            10 => Kind::Tuple((0..random.random_range(1..4)).map(|_| *part(random, key)).collect()),
            11 | 12 => {
                let usable: Vec<usize> =
                    (0..self.types.len()).filter(|udt| !key || self.comparable(&Kind::Udt(*udt))).collect();
                usable.choose(random).map_or_else(|| self.native(random, key), |udt| Kind::Udt(*udt))
            }
            13 if self.version >= CassandraVersion::V5_0 => Kind::Vector(part(random, key), random.random_range(1..5)),
            _ => self.native(random, key),
        }
    }

    fn native(&self, random: &mut StdRng, key: bool) -> Kind {
        let usable: Vec<usize> = (0..self.natives.len()).filter(|at| !key || self.natives[*at].key).collect();
        Kind::Native(*usable.choose(random).expect("there are types"))
    }

    /// Durations have no order, and so has nothing that holds one.
    fn comparable(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Native(at) => self.natives[*at].key,
            Kind::List(part) | Kind::Set(part) | Kind::Vector(part, _) => self.comparable(part),
            Kind::Map(key, value) => self.comparable(key) && self.comparable(value),
            Kind::Tuple(parts) => parts.iter().all(|part| self.comparable(part)),
            Kind::Udt(at) => self.types[*at].fields.iter().all(|(_, field)| self.comparable(field)),
        }
    }

    fn text(&self, kind: &Kind, frozen: bool) -> String {
        let part = |kind: &Kind| self.text(kind, true);
        let text = match kind {
            Kind::Native(at) => return self.natives[*at].name.to_owned(),
            Kind::Vector(element, dimension) => return format!("vector<{}, {dimension}>", part(element)),
            Kind::List(element) => format!("list<{}>", part(element)),
            Kind::Set(element) => format!("set<{}>", part(element)),
            Kind::Map(key, value) => format!("map<{}, {}>", part(key), part(value)),
            Kind::Tuple(parts) => format!("tuple<{}>", parts.iter().map(part).collect::<Vec<_>>().join(", ")),
            Kind::Udt(at) => quote(&self.types[*at].name),
        };
        if frozen { format!("frozen<{text}>") } else { text }
    }
}

impl Table {
    pub(super) fn is_counter(&self, column: &Column) -> bool {
        self.counter && matches!(column.role, Role::Static | Role::Regular)
    }
}

/// Options that all releases know.
fn random_options(random: &mut StdRng) -> Vec<String> {
    let all = [
        "comment = 'it''s a \"comment\"; with $$ and -- and /* all */'",
        "gc_grace_seconds = 86401",
        "bloom_filter_fp_chance = 0.25",
        "compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': '64'}",
        "compression = {'class': 'LZ4Compressor', 'chunk_length_in_kb': '4'}",
        "caching = {'keys': 'NONE', 'rows_per_partition': '10'}",
        "min_index_interval = 64",
        "max_index_interval = 4096",
        "speculative_retry = 'ALWAYS'",
        "crc_check_chance = 0.5",
    ];
    all.iter().filter(|_| random.random_bool(0.2)).map(ToString::to_string).collect()
}

fn pick<'a>(from: &[&'a str], random: &mut StdRng) -> &'a str {
    from.choose(random).copied().unwrap_or_default()
}
