//! CQL types, parsed from the text of `system_schema.columns.type` and `system_schema.types.field_types`.
//!
//! Understood: every native type, collections, tuples, vectors, user types by name (also quoted), `frozen<…>` around
//! any of them, and the quoted class form of the same (`'org.apache.cassandra.db.marshal.VectorType(…)'`), which older
//! servers write for what their CQL has no word for. Everything else is refused by name: a custom type's bytes can be
//! read, but not bound again. Nesting is bounded, so that no walk over a type can exhaust the stack.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use ringvault_proto::v1;

use crate::error::{Error, Result};

/// Levels of types in types, `frozen<…>` too, at most; a hostile schema must not exhaust the stack, a real one nests a
/// handful.
pub const TYPE_NESTING_MAX: usize = 64;

/// A CQL type. Frozen or not does not change a value's bytes, so it is not kept here; see `ColumnLayout::multi_cell`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are CQL's own
pub enum CqlType {
    Ascii,
    BigInt,
    Blob,
    Boolean,
    Counter,
    Date,
    Decimal,
    Double,
    Duration,
    Float,
    Inet,
    Int,
    SmallInt,
    Text,
    Time,
    Timestamp,
    TimeUuid,
    TinyInt,
    Uuid,
    VarInt,
    List(Box<CqlType>),
    Set(Box<CqlType>),
    Map(Box<CqlType>, Box<CqlType>),
    Tuple(Vec<CqlType>),
    /// Element type and dimension.
    Vector(Box<CqlType>, u16),
    Udt(Arc<UdtType>),
}

/// A user-defined type with its fields in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdtType {
    /// Unquoted.
    pub name: String,
    /// Unquoted name and type.
    pub fields: Vec<(String, CqlType)>,
}

impl CqlType {
    /// The type that `text` names, e.g. `map<text, frozen<address>>`.
    ///
    /// # Errors
    /// `Invalid` for a custom type, a user type that `types` lacks, and text that is no type.
    pub fn parse(text: &str, types: &UserTypes) -> Result<Self> {
        Self::parse_column(text, types).map(|(cql_type, _)| cql_type)
    }

    /// As [`CqlType::parse`], with whether the outermost type is written `frozen<…>`.
    ///
    /// # Errors
    /// As [`CqlType::parse`].
    pub fn parse_column(text: &str, types: &UserTypes) -> Result<(Self, bool)> {
        let parsed = parse(text, 0, &mut |name, _| Ok(types.types.get(name).cloned()))?;
        Ok((parsed.cql_type, parsed.frozen))
    }

    /// Bytes of every non-empty value, where they are the same for all values *and* `VectorType` therefore stores
    /// elements without a length (Cassandra's `AbstractType.valueLengthIfFixed`, which is not set for tinyint,
    /// smallint, date and time).
    #[must_use]
    pub fn vector_element_bytes(&self) -> Option<usize> {
        match self {
            Self::Boolean => Some(1),
            Self::Float | Self::Int => Some(4),
            Self::BigInt | Self::Double | Self::Timestamp => Some(8),
            Self::TimeUuid | Self::Uuid => Some(16),
            Self::Vector(element, dimension) => element.vector_element_bytes()?.checked_mul(usize::from(*dimension)),
            Self::Ascii
            | Self::Blob
            | Self::Counter
            | Self::Date
            | Self::Decimal
            | Self::Duration
            | Self::Inet
            | Self::SmallInt
            | Self::Text
            | Self::Time
            | Self::TinyInt
            | Self::VarInt
            | Self::List(_)
            | Self::Set(_)
            | Self::Map(..)
            | Self::Tuple(_)
            | Self::Udt(_) => None,
        }
    }

    /// Made of other types: a collection, tuple, vector or user type.
    #[must_use]
    pub fn is_composite(&self) -> bool {
        matches!(self, Self::List(_) | Self::Set(_) | Self::Map(..) | Self::Tuple(_) | Self::Vector(..) | Self::Udt(_))
    }

    /// The name of a native type.
    fn native_name(&self) -> Option<&'static str> {
        NATIVE_TYPES.iter().find(|(_, _, native)| native == self).map(|(name, ..)| *name)
    }

    /// Writes the type as an element of another: what has parts is frozen there.
    fn fmt_part(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(_) | Self::Set(_) | Self::Map(..) | Self::Tuple(_) | Self::Udt(_) => write!(f, "frozen<{self}>"),
            _ => fmt::Display::fmt(self, f),
        }
    }
}

/// The type in CQL, with parts frozen and the whole not: `map<text, frozen<list<int>>>`.
impl fmt::Display for CqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Part<'a>(&'a CqlType);
        impl fmt::Display for Part<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_part(f)
            }
        }
        match self {
            Self::List(element) => write!(f, "list<{}>", Part(element)),
            Self::Set(element) => write!(f, "set<{}>", Part(element)),
            Self::Map(key, value) => write!(f, "map<{}, {}>", Part(key), Part(value)),
            Self::Vector(element, dimension) => write!(f, "vector<{}, {dimension}>", Part(element)),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { ", " }, Part(item))?;
                }
                f.write_char('>')
            }
            Self::Udt(udt) => write_identifier(&udt.name, f),
            native => f.write_str(native.native_name().unwrap_or("unknown")),
        }
    }
}

/// Writes a name as CQL needs it: bare where it is a plain lower-case word that no keyword or type takes, else quoted.
fn write_identifier(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let taken = RESERVED_WORDS.contains(&name) || NATIVE_TYPES.iter().any(|(native, ..)| *native == name);
    if plain && !taken { f.write_str(name) } else { write!(f, "\"{}\"", name.replace('"', "\"\"")) }
}

/// The user types of a keyspace, by name, with the types of their fields resolved.
#[derive(Clone, Debug, Default)]
pub struct UserTypes {
    types: HashMap<String, (Arc<UdtType>, usize)>,
}

impl UserTypes {
    /// Resolves the types in any order.
    ///
    /// # Errors
    /// `Invalid` where a field's type is custom or unknown, types hold each other, or nest too deep.
    pub fn from_message(types: &[v1::UserType]) -> Result<Self> {
        let mut resolution =
            Resolution { given: types.iter().map(|udt| (udt.name.as_str(), udt)).collect(), ..Resolution::default() };
        for udt in types {
            resolution.resolve(&udt.name, 0)?;
        }
        Ok(Self { types: resolution.types })
    }

    /// The type of this (unquoted) name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<UdtType>> {
        self.types.get(name).map(|(udt, _)| udt)
    }
}

/// The state of resolving user types that name each other.
#[derive(Default)]
struct Resolution<'a> {
    given: HashMap<&'a str, &'a v1::UserType>,
    types: HashMap<String, (Arc<UdtType>, usize)>,
    /// Names between the first type asked for and the one being resolved.
    open: Vec<&'a str>,
}

impl<'a> Resolution<'a> {
    /// The type with its depth; `depth` levels stand around it.
    fn resolve(&mut self, name: &str, depth: usize) -> Result<Option<(Arc<UdtType>, usize)>> {
        if let Some(done) = self.types.get(name) {
            return Ok(Some(done.clone()));
        }
        let Some(&given) = self.given.get(name) else { return Ok(None) };
        if self.open.contains(&name) {
            return Err(Error::invalid(format!(
                "user type {name:?} holds itself; the schema that was read is damaged"
            )));
        }
        self.open.push(&given.name);
        let mut fields = Vec::with_capacity(given.fields.len());
        let mut deepest = 0;
        for field in &given.fields {
            let parsed = parse(&field.r#type, depth + 1, &mut |name, depth| self.resolve(name, depth))
                .map_err(|e| Error::invalid(format!("field {:?} of user type {name:?}: {e}", field.name)))?;
            deepest = deepest.max(parsed.depth);
            fields.push((field.name.clone(), parsed.cql_type));
        }
        self.open.pop();
        let resolved = (Arc::new(UdtType { name: name.to_owned(), fields }), deepest + 1);
        self.types.insert(name.to_owned(), resolved.clone());
        Ok(Some(resolved))
    }
}

/// CQL name, class name below `org.apache.cassandra.db.marshal.`, type.
const NATIVE_TYPES: [(&str, &str, CqlType); 20] = [
    ("ascii", "AsciiType", CqlType::Ascii),
    ("bigint", "LongType", CqlType::BigInt),
    ("blob", "BytesType", CqlType::Blob),
    ("boolean", "BooleanType", CqlType::Boolean),
    ("counter", "CounterColumnType", CqlType::Counter),
    ("date", "SimpleDateType", CqlType::Date),
    ("decimal", "DecimalType", CqlType::Decimal),
    ("double", "DoubleType", CqlType::Double),
    ("duration", "DurationType", CqlType::Duration),
    ("float", "FloatType", CqlType::Float),
    ("inet", "InetAddressType", CqlType::Inet),
    ("int", "Int32Type", CqlType::Int),
    ("smallint", "ShortType", CqlType::SmallInt),
    ("text", "UTF8Type", CqlType::Text),
    ("time", "TimeType", CqlType::Time),
    ("timestamp", "TimestampType", CqlType::Timestamp),
    ("timeuuid", "TimeUUIDType", CqlType::TimeUuid),
    ("tinyint", "ByteType", CqlType::TinyInt),
    ("uuid", "UUIDType", CqlType::Uuid),
    ("varint", "IntegerType", CqlType::VarInt),
];

const MARSHAL_PACKAGE: &str = "org.apache.cassandra.db.marshal.";

/// Reserved by CQL (Cassandra's `ReservedKeywords`, 5.0): as names they need quotes.
#[rustfmt::skip]
const RESERVED_WORDS: &[&str] = &[
    "add", "allow", "alter", "and", "apply", "asc", "authorize", "batch", "begin", "by", "columnfamily", "create",
    "default", "delete", "desc", "describe", "drop", "entries", "execute", "from", "full", "grant", "if", "in", "index",
    "infinity", "insert", "into", "is", "keyspace", "limit", "materialized", "mbean", "mbeans", "modify", "nan",
    "norecursive", "not", "null", "of", "on", "or", "order", "primary", "rename", "replace", "revoke", "schema",
    "select", "set", "table", "to", "token", "truncate", "unlogged", "unset", "update", "use",
    "using", "view", "where", "with",
];

/// What a piece of type text means.
struct Parsed {
    cql_type: CqlType,
    /// Levels, 1 for a native type.
    depth: usize,
    /// Written in `frozen<…>`.
    frozen: bool,
}

/// Finds a user type by name, with its depth; gets the number of levels around it.
type Lookup<'l> = dyn FnMut(&str, usize) -> Result<Option<(Arc<UdtType>, usize)>> + 'l;

/// Parses a whole type text around which `depth` levels stand.
fn parse(text: &str, depth: usize, lookup: &mut Lookup<'_>) -> Result<Parsed> {
    let mut parser = Parser { text, at: 0, lookup };
    let parsed = parser.cql_type(depth)?;
    parser.skip_spaces();
    if parser.at < text.len() { Err(parser.unreadable()) } else { Ok(parsed) }
}

struct Parser<'t, 'l> {
    text: &'t str,
    at: usize,
    lookup: &'l mut Lookup<'l>,
}

impl<'t> Parser<'t, '_> {
    fn cql_type(&mut self, depth: usize) -> Result<Parsed> {
        if depth >= TYPE_NESTING_MAX {
            return Err(self.too_deep());
        }
        self.skip_spaces();
        if self.eat('\'') {
            let parsed = self.class(depth)?;
            return self.expect('\'').map(|()| parsed);
        }
        if self.eat('"') {
            let name = self.quoted_name()?;
            return self.user_type(&name, depth);
        }
        let name = self.word()?;
        if name.starts_with(MARSHAL_PACKAGE) {
            self.at -= name.len();
            return self.class(depth);
        }
        let name = name.to_ascii_lowercase();
        if let Some((.., native)) = NATIVE_TYPES.iter().find(|(native, ..)| *native == name) {
            return Ok(Parsed { cql_type: native.clone(), depth: 1, frozen: false });
        }
        if name == "varchar" {
            return Ok(Parsed { cql_type: CqlType::Text, depth: 1, frozen: false });
        }
        if !self.eat('<') {
            return self.user_type(&name, depth);
        }
        let parsed = match name.as_str() {
            "frozen" => self.frozen(depth, Self::cql_type)?,
            "list" => self.nest(depth, Self::cql_type, CqlType::List)?,
            "set" => self.nest(depth, Self::cql_type, CqlType::Set)?,
            "map" => self.map(depth, Self::cql_type)?,
            "tuple" => self.tuple(depth, Self::cql_type)?,
            "vector" => self.vector(depth, Self::cql_type)?,
            _ => return Err(self.unreadable()),
        };
        self.expect('>').map(|()| parsed)
    }

    /// A Java class of the marshal package with its parameters in parentheses.
    fn class(&mut self, depth: usize) -> Result<Parsed> {
        if depth >= TYPE_NESTING_MAX {
            return Err(self.too_deep());
        }
        self.skip_spaces();
        let name = self.word()?;
        let Some(name) = name.strip_prefix(MARSHAL_PACKAGE) else { return Err(self.custom()) };
        if let Some((.., native)) = NATIVE_TYPES.iter().find(|(_, class, _)| *class == name) {
            return Ok(Parsed { cql_type: native.clone(), depth: 1, frozen: false });
        }
        if !self.eat('(') {
            return Err(self.custom());
        }
        let parsed = match name {
            "FrozenType" => self.frozen(depth, Self::class)?,
            "ReversedType" => self.class(depth + 1)?,
            "ListType" => self.nest(depth, Self::class, CqlType::List)?,
            "SetType" => self.nest(depth, Self::class, CqlType::Set)?,
            "MapType" => self.map(depth, Self::class)?,
            "TupleType" => self.tuple(depth, Self::class)?,
            "VectorType" => self.vector(depth, Self::class)?,
            _ => return Err(self.custom()),
        };
        self.expect(')').map(|()| parsed)
    }

    fn frozen(&mut self, depth: usize, part: Part<Self>) -> Result<Parsed> {
        let parsed = part(self, depth + 1)?;
        Ok(Parsed { frozen: true, depth: parsed.depth + 1, ..parsed })
    }

    fn nest(&mut self, depth: usize, part: Part<Self>, make: fn(Box<CqlType>) -> CqlType) -> Result<Parsed> {
        let element = part(self, depth + 1)?;
        Ok(Parsed { cql_type: make(Box::new(element.cql_type)), depth: element.depth + 1, frozen: false })
    }

    fn map(&mut self, depth: usize, part: Part<Self>) -> Result<Parsed> {
        let key = part(self, depth + 1)?;
        self.expect(',')?;
        let value = part(self, depth + 1)?;
        let cql_type = CqlType::Map(Box::new(key.cql_type), Box::new(value.cql_type));
        Ok(Parsed { cql_type, depth: key.depth.max(value.depth) + 1, frozen: false })
    }

    fn tuple(&mut self, depth: usize, part: Part<Self>) -> Result<Parsed> {
        let mut items = Vec::new();
        let mut deepest = 0;
        loop {
            let item = part(self, depth + 1)?;
            deepest = deepest.max(item.depth);
            items.push(item.cql_type);
            if !self.eat(',') {
                return Ok(Parsed { cql_type: CqlType::Tuple(items), depth: deepest + 1, frozen: false });
            }
        }
    }

    fn vector(&mut self, depth: usize, part: Part<Self>) -> Result<Parsed> {
        let element = part(self, depth + 1)?;
        self.expect(',')?;
        self.skip_spaces();
        let dimension = self.word()?.parse::<u16>().ok().filter(|dimension| *dimension > 0);
        let Some(dimension) = dimension else { return Err(self.unreadable()) };
        let cql_type = CqlType::Vector(Box::new(element.cql_type), dimension);
        Ok(Parsed { cql_type, depth: element.depth + 1, frozen: false })
    }

    fn user_type(&mut self, name: &str, depth: usize) -> Result<Parsed> {
        let Some((udt, levels)) = (self.lookup)(name, depth)? else {
            return Err(Error::invalid(format!(
                "{name:?} in type {} is neither a CQL type that Ringvault knows nor a user type of the keyspace",
                self.text
            )));
        };
        if depth + levels > TYPE_NESTING_MAX {
            return Err(self.too_deep());
        }
        Ok(Parsed { cql_type: CqlType::Udt(udt), depth: levels, frozen: false })
    }

    /// A name, a class name or a number.
    fn word(&mut self) -> Result<&'t str> {
        let rest = &self.text[self.at..];
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'))).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unreadable());
        }
        self.at += end;
        Ok(&rest[..end])
    }

    /// The rest of a name behind its opening quote; `""` stands for one quote.
    fn quoted_name(&mut self) -> Result<String> {
        let mut name = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = rest.find('"') else { return Err(self.unreadable()) };
            name.push_str(&rest[..end]);
            self.at += end + 1;
            if !self.text[self.at..].starts_with('"') {
                return Ok(name);
            }
            name.push('"');
            self.at += 1;
        }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(' ').len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        let found = self.text[self.at..].starts_with(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        if self.eat(wanted) { Ok(()) } else { Err(self.unreadable()) }
    }

    fn unreadable(&self) -> Error {
        Error::invalid(format!("type {} can't be understood at character {}", self.text, self.at + 1))
    }

    fn custom(&self) -> Error {
        Error::invalid(format!("type {} is a custom type, which CQL can't write back", self.text))
    }

    fn too_deep(&self) -> Error {
        Error::invalid(format!("type {} nests deeper than {TYPE_NESTING_MAX} levels", self.text))
    }
}

/// Parses one part of a type, around which so many levels stand.
type Part<P> = fn(&mut P, usize) -> Result<Parsed>;

#[cfg(test)]
mod tests;
