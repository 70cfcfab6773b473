//! What a CREATE statement says: its kind, its name, its table, its options. Reads the text of any server's DESCRIBE and of
//! [`super::generate`].

use ringvault_archive::schema::SchemaKind;

use super::{
    Result, invalid,
    lex::{Kind, Token, tokens},
    model::Options,
};

/// A CREATE statement, read.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    source: &'a str,
    tokens: Vec<Token<'a>>,
    /// What it creates.
    pub kind: SchemaKind,
    /// The keyspace, where the statement names one.
    pub keyspace: Option<String>,
    /// The name that is created, unquoted. Functions: without their arguments. Empty for an index without a name.
    pub name: String,
    /// The table of an index or trigger, the base table of a view.
    pub table: Option<String>,
    /// Index of the first token behind the name (and behind the table of an index or trigger).
    body: usize,
    /// Index of the token of `name`, where it has one.
    pub(super) name_at: Option<usize>,
    /// Index of the token of `table`, where it has one.
    pub(super) table_at: Option<usize>,
}

/// One clause behind WITH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause<'a> {
    /// The option in lower case; `clustering` for CLUSTERING ORDER BY, `compact` for COMPACT STORAGE.
    pub name: String,
    /// The whole clause, without AND.
    pub text: &'a str,
    /// The part behind `=`; empty where there is none.
    pub value: &'a str,
}

/// A name at `at`, perhaps behind `keyspace.`, and the index behind it.
fn qualified_name(tokens: &[Token<'_>], at: usize) -> Option<(Option<String>, String, usize)> {
    let first = name_at(tokens, at)?;
    if tokens.get(at + 1).is_some_and(|token| token.is_symbol('.')) {
        return Some((Some(first), name_at(tokens, at + 2)?, at + 3));
    }
    Some((None, first, at + 1))
}

fn name_at(tokens: &[Token<'_>], at: usize) -> Option<String> {
    tokens.get(at).filter(|token| matches!(token.kind, Kind::Word | Kind::QuotedName)).map(Token::value)
}

impl<'a> Statement<'a> {
    /// Reads a statement.
    ///
    /// # Errors
    /// `Invalid` where it is no CREATE of a thing that a keyspace can hold.
    pub fn parse(source: &'a str) -> Result<Self> {
        let mut tokens = tokens(source);
        while tokens.last().is_some_and(|token| token.is_symbol(';')) {
            tokens.pop();
        }
        let source = tokens.last().map_or("", |last| &source[..last.end()]);
        Self::read(source, tokens).ok_or_else(|| {
            let start: String = source.chars().take(60).collect();
            invalid(format!(
                "not a CREATE statement that Ringvault knows: {start:?}; the schema was captured by a newer release"
            ))
        })
    }

    fn read(source: &'a str, tokens: Vec<Token<'a>>) -> Option<Self> {
        let word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
        let mut at = 1;
        if !word(0, "create") {
            return None;
        }
        if word(at, "or") && word(at + 1, "replace") {
            at += 2;
        }
        if word(at, "custom") {
            at += 1;
        }
        let kind = match tokens.get(at)?.value().as_str() {
            "keyspace" | "schema" => SchemaKind::Keyspace,
            "type" => SchemaKind::Type,
            "function" => SchemaKind::Function,
            "aggregate" => SchemaKind::Aggregate,
            "table" | "columnfamily" => SchemaKind::Table,
            "index" => SchemaKind::Index,
            "materialized" if word(at + 1, "view") => {
                at += 1;
                SchemaKind::View
            }
            "trigger" => SchemaKind::Trigger,
            _ => return None,
        };
        at += 1;
        if word(at, "if") {
            at += 3;
        }
        let (mut keyspace, mut name, mut table) = (None, String::new(), None);
        let (mut name_at, mut table_at) = (None, None);
        if !(kind == SchemaKind::Index && word(at, "on")) {
            (keyspace, name, at) = qualified_name(&tokens, at)?;
            name_at = Some(at - 1);
        }
        match kind {
            SchemaKind::Index | SchemaKind::Trigger => {
                let (of, on, behind) = word(at, "on").then(|| qualified_name(&tokens, at + 1))??;
                (keyspace, table, at) = (of, Some(on), behind);
                table_at = Some(behind - 1);
            }
            SchemaKind::View => {
                let from = tokens.iter().position(|token| token.is_word("from"))?;
                let (_, base, behind) = qualified_name(&tokens, from + 1)?;
                (table, table_at) = (Some(base), Some(behind - 1));
            }
            SchemaKind::Keyspace
            | SchemaKind::Type
            | SchemaKind::Function
            | SchemaKind::Aggregate
            | SchemaKind::Table
            | SchemaKind::Role
            | SchemaKind::Membership
            | SchemaKind::Grant => {}
        }
        Some(Self { source, kind, keyspace, name, table, body: at, name_at, table_at, tokens })
    }

    /// The clauses behind the last WITH that stands outside all brackets.
    #[must_use]
    pub fn clauses(&self) -> Vec<Clause<'a>> {
        let Some((with, cuts)) = self.with() else { return Vec::new() };
        let mut clauses = Vec::new();
        let mut start = with + 1;
        for cut in cuts.into_iter().chain([self.tokens.len()]) {
            let part = &self.tokens[start.min(cut)..cut];
            if let (Some(first), Some(last)) = (part.first(), part.last()) {
                let equals = part.iter().find(|token| token.is_symbol('='));
                let value = equals.map_or("", |equals| self.source[equals.end()..last.end()].trim());
                clauses.push(Clause { name: first.value(), text: &self.source[first.start..last.end()], value });
            }
            start = cut + 1;
        }
        clauses
    }

    /// The source before WITH.
    #[must_use]
    pub fn head(&self) -> &'a str {
        match self.with() {
            Some((with, _)) => self.source[..self.tokens[with].start].trim_end(),
            None => self.source.trim_end(),
        }
    }

    /// Index of the last top-level WITH, and of every top-level AND behind it.
    fn with(&self) -> Option<(usize, Vec<usize>)> {
        let (mut with, mut ands) = (None, Vec::new());
        for index in self.top_level(self.body) {
            let token = &self.tokens[index];
            if token.is_word("with") {
                (with, ands) = (Some(index), Vec::new());
            } else if token.is_word("and") {
                ands.push(index);
            }
        }
        with.map(|with| (with, ands))
    }

    /// The replication of a keyspace: `class` and its options.
    #[must_use]
    pub fn replication(&self) -> Option<Options> {
        self.clauses().iter().find(|clause| clause.name == "replication").map(|clause| map_of(clause.value))
    }

    /// The class of a custom index, as in `USING 'sai'`.
    #[must_use]
    pub fn index_class(&self) -> Option<String> {
        let using = self.tokens.iter().skip(self.body).position(|token| token.is_word("using"))? + self.body;
        self.tokens.get(using + 1).map(Token::value)
    }

    /// Name and type of each field of a CREATE TYPE.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut depth = 0_usize;
        let mut start = self.body + 1; // behind the opening bracket
        for (index, token) in self.tokens.iter().enumerate().skip(self.body) {
            match token.text {
                "(" | "<" => depth += 1,
                ")" | ">" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let ends = (depth == 1 && token.is_symbol(',')) || (depth == 0 && token.is_symbol(')'));
            if ends {
                if let [name, cql_type @ ..] = &self.tokens[start..index]
                    && let (Some(first), Some(last)) = (cql_type.first(), cql_type.last())
                {
                    fields.push((name.value(), self.source[first.start..last.end()].to_owned()));
                }
                start = index + 1;
            }
        }
        fields
    }

    /// Whether a type in it is a vector.
    #[must_use]
    pub fn has_vectors(&self) -> bool {
        self.tokens.windows(2).any(|pair| pair[0].is_word("vector") && pair[1].is_symbol('<'))
    }

    /// Its tokens.
    pub(super) fn tokens(&self) -> &[Token<'a>] {
        &self.tokens
    }

    /// The tokens behind the first of these words, up to the next of those, outside all brackets.
    pub(super) fn between(&self, from: &str, to: &[&str]) -> &[Token<'a>] {
        let Some(start) = self.top_level(self.body).find(|at| self.tokens[*at].is_word(from)) else { return &[] };
        let is_end = |at: &usize| to.iter().any(|word| self.tokens[*at].is_word(word));
        let end = self.top_level(start + 1).find(is_end).unwrap_or(self.tokens.len());
        &self.tokens[start + 1..end]
    }

    /// Indexes of the tokens from `first` on that stand outside all brackets.
    fn top_level(&self, first: usize) -> impl Iterator<Item = usize> {
        let mut depth = 0_usize;
        let outside = self.tokens.iter().enumerate().skip(first).map(move |(index, token)| {
            let before = depth;
            match token.text {
                "(" | "{" | "[" if token.kind == Kind::Symbol => depth += 1,
                ")" | "}" | "]" if token.kind == Kind::Symbol => depth = depth.saturating_sub(1),
                _ => {}
            }
            (index, before == 0)
        });
        outside.filter_map(|(index, outside)| outside.then_some(index))
    }

    /// What an index covers, as in `values(m)`: the tokens in the brackets behind its table.
    pub(super) fn index_target(&self) -> &[Token<'a>] {
        let opening = self.body.min(self.tokens.len());
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(opening) {
            if token.is_symbol('(') {
                depth += 1;
            } else if token.is_symbol(')') {
                depth = depth.saturating_sub(1);
            }
            if depth == 0 {
                return self.tokens.get(opening + 1..index).unwrap_or_default();
            }
        }
        &[]
    }

    /// The map behind WITH OPTIONS of an index.
    pub(super) fn index_options(&self) -> Options {
        self.clauses()
            .iter()
            .find(|clause| clause.name == "options")
            .map(|clause| map_of(clause.value))
            .unwrap_or_default()
    }

    /// Whether a column in it is masked.
    #[must_use]
    pub fn has_masks(&self) -> bool {
        self.tokens.windows(2).any(|pair| pair[0].is_word("masked") && pair[1].is_word("with"))
    }

    /// Whether a bare word of this name stands anywhere in it.
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token.is_word(word))
    }
}

/// A map literal of text to text (numbers and booleans are taken as text).
pub(super) fn map_of(literal: &str) -> Options {
    let mut options = Options::new();
    let tokens = tokens(literal);
    let content: Vec<&Token<'_>> =
        tokens.iter().filter(|token| token.kind != Kind::Symbol || token.is_symbol(':')).collect();
    for part in content.windows(3) {
        if part[1].is_symbol(':') {
            options.insert(part[0].value(), part[2].value());
        }
    }
    options
}

/// The user-defined types that a CQL type names, among those that `is_type` knows.
pub(super) fn types_in(cql_type: &str, is_type: impl Fn(&str) -> bool) -> Vec<String> {
    tokens(cql_type)
        .iter()
        .filter(|token| matches!(token.kind, Kind::Word | Kind::QuotedName))
        .map(Token::value)
        .filter(|name| is_type(name))
        .collect()
}

/// A CQL type with one spelling: no white space, built-in names in lower case, `varchar` as `text`.
#[must_use]
pub fn normal_type(cql_type: &str) -> String {
    tokens(cql_type).iter().map(normal_token).collect()
}

/// A piece of CQL with one spelling: one space between tokens, names quoted only where they must be, texts in simple quotes.
pub(super) fn normal(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(normal_token).collect::<Vec<_>>().join(" ")
}

fn normal_token(token: &Token<'_>) -> String {
    match token.kind {
        Kind::Word if token.is_word("varchar") => "text".to_owned(),
        Kind::Word => token.text.to_lowercase(),
        Kind::QuotedName => super::ident::shown(&token.value()),
        Kind::Text => super::ident::literal(&token.value()),
        Kind::Symbol => token.text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyspace_tells_its_replication() {
        let cql = "CREATE KEYSPACE \"Shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'DC1': '3', 'dc2': 2} AND durable_writes = true";
        let statement = Statement::parse(cql).expect("fine");
        assert_eq!((statement.kind, statement.name.as_str()), (SchemaKind::Keyspace, "Shop"));
        let expected = [("DC1", "3"), ("class", "NetworkTopologyStrategy"), ("dc2", "2")];
        assert_eq!(statement.replication().expect("fine"), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn clauses_are_those_behind_the_last_outer_with() {
        let cql = "CREATE MATERIALIZED VIEW shop.v AS SELECT * FROM shop.base WHERE a IS NOT NULL AND b = 'x AND WITH' PRIMARY KEY (a, b) \
                   WITH CLUSTERING ORDER BY (b DESC) AND comment = 'a AND b' AND compaction = {'class': 'X', 'with': 'and'}";
        let statement = Statement::parse(cql).expect("fine");
        assert_eq!((statement.name.as_str(), statement.table.as_deref()), ("v", Some("base")));
        let clauses = statement.clauses();
        let names: Vec<&str> = clauses.iter().map(|clause| clause.name.as_str()).collect();
        assert_eq!(names, ["clustering", "comment", "compaction"]);
        assert_eq!(clauses[1].value, "'a AND b'");
        assert!(statement.head().ends_with("PRIMARY KEY (a, b)"));
    }

    #[test]
    fn an_index_tells_its_table_and_class() {
        let statement =
            Statement::parse("CREATE CUSTOM INDEX \"By V\" ON shop.\"T\" (v) USING 'sai' WITH OPTIONS = {'a': 'b'}")
                .expect("fine");
        assert_eq!(statement.name, "By V");
        assert_eq!((statement.keyspace.as_deref(), statement.table.as_deref()), (Some("shop"), Some("T")));
        assert_eq!(statement.index_class().as_deref(), Some("sai"));
        let plain = Statement::parse("CREATE INDEX IF NOT EXISTS ON t (v)").expect("fine");
        assert_eq!((plain.name.as_str(), plain.table.as_deref(), plain.index_class()), ("", Some("t"), None));
    }

    #[test]
    fn a_type_tells_its_fields() {
        let statement = Statement::parse("CREATE TYPE ks.t (a frozen<map<text, \"My\">>, \"B c\" int)").expect("fine");
        let expected = [("a", "frozen<map<text, \"My\">>"), ("B c", "int")];
        assert_eq!(statement.fields(), expected.map(|(n, t)| (n.to_owned(), t.to_owned())));
    }

    #[test]
    fn what_is_no_create_statement_is_refused() {
        for cql in ["", "DROP TABLE a", "CREATE", "CREATE ROLE x", "CREATE INDEX x", "CREATE TABLE", "CREATE TABLE a."]
        {
            assert!(Statement::parse(cql).is_err(), "{cql}");
        }
    }

    #[test]
    fn equal_types_have_one_spelling() {
        assert_eq!(normal_type("frozen<map<varchar, \"lower\">>"), normal_type("FROZEN<map<text,lower>>"));
        assert_ne!(normal_type("\"My\""), normal_type("my"));
    }
}
