//! Which keyspaces and tables patterns mean, and what to say where a name means nothing.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    pattern::Patterns,
};

use crate::name::TableKey;

/// Names that a message lists at most.
const NAMES_TOLD_MAX: usize = 20;

/// Where names are looked up.
pub(crate) struct Place<'a> {
    /// For people: "backup 2026…", "cluster Prod".
    pub(crate) name: String,
    /// Keyspaces that stand there.
    pub(crate) keyspaces: &'a [String],
    /// Tables that stand there.
    pub(crate) tables: &'a [TableKey],
    /// Whether that is all there is; a cluster shows only what it was asked for.
    pub(crate) is_all: bool,
}

/// What is meant, in the order in which it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) keyspaces: Vec<String>,
    pub(crate) tables: Vec<TableKey>,
}

/// Finds what patterns mean. A keyspace without tables may be meant, too.
///
/// # Errors
/// `Invalid` for what is no pattern; `NotFound` for a plain name that stands for nothing, and where nothing is meant.
pub(crate) fn choose(keyspaces: &[String], tables: &[String], place: &Place<'_>) -> Result<Choice, Failure> {
    let invalid = |e: ringvault_proto::pattern::PatternError| Failure::new(ErrorKind::Invalid, e.to_string());
    let of_keyspaces = Patterns::of_keyspaces(keyspaces).map_err(invalid)?;
    let of_tables = Patterns::of_tables(tables).map_err(invalid)?;
    let absent = of_keyspaces.names().map(|(_, name)| name).find(|name| !place.keyspaces.iter().any(|k| k == name));
    if let Some(name) = absent {
        return Err(place.lacks(&format!("keyspace {name}"), place.keyspaces.iter().cloned()));
    }
    let chosen = Choice {
        keyspaces: place.keyspaces.iter().filter(|keyspace| of_keyspaces.has_keyspace(keyspace)).cloned().collect(),
        tables: Vec::new(),
    };
    if chosen.keyspaces.is_empty() {
        return Err(place.lacks(&format!("keyspace that {of_keyspaces} means"), place.keyspaces.iter().cloned()));
    }
    let there: Vec<&TableKey> = place.tables.iter().filter(|key| chosen.keyspaces.contains(&key.keyspace)).collect();
    let absent = of_tables.names().find(|(keyspace, name)| {
        !there.iter().any(|key| key.table == **name && keyspace.is_none_or(|keyspace| key.keyspace == keyspace))
    });
    if let Some((keyspace, name)) = absent {
        let name = keyspace.map_or_else(|| name.to_owned(), |keyspace| format!("{keyspace}.{name}"));
        return Err(place.lacks(&format!("table {name}"), there.iter().map(ToString::to_string)));
    }
    let meant = |key: &&&TableKey| of_tables.has_table(&key.keyspace, &key.table);
    let tables: Vec<TableKey> = there.iter().filter(meant).map(|key| (*key).clone()).collect();
    if tables.is_empty() && !of_tables.is_empty() {
        return Err(place.lacks(&format!("table that {of_tables} means"), there.iter().map(ToString::to_string)));
    }
    Ok(Choice { tables, ..chosen })
}

impl Place<'_> {
    fn lacks(&self, what: &str, held: impl Iterator<Item = String>) -> Failure {
        let mut held: Vec<String> = held.collect();
        let more = held.len().saturating_sub(NAMES_TOLD_MAX);
        held.truncate(NAMES_TOLD_MAX);
        let hint = "names are case-sensitive, as the database stores them";
        let message = match (self.is_all, held.is_empty(), more) {
            (false, ..) => format!("{} has no {what}; {hint}", self.name),
            (true, true, _) => format!("{} has no {what}; it holds none", self.name),
            (true, false, 0) => format!("{} has no {what}; it holds {}; {hint}", self.name, held.join(", ")),
            (true, false, more) => {
                format!("{} has no {what}; it holds {} and {more} more; {hint}", self.name, held.join(", "))
            }
        };
        Failure::new(ErrorKind::NotFound, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(keyspaces: &[&str], tables: &[&str]) -> Result<Vec<String>, Failure> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let there: Vec<TableKey> = [("shop", "a"), ("shop", "a_tmp"), ("user_1", "a"), ("user_2", "b")]
            .map(|(keyspace, table)| TableKey { keyspace: keyspace.into(), table: table.into() })
            .to_vec();
        let held = texts(&["shop", "user_1", "user_2", "empty"]);
        let place = Place { name: "backup B".into(), keyspaces: &held, tables: &there, is_all: true };
        choose(&texts(keyspaces), &texts(tables), &place)
            .map(|choice| choice.tables.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn patterns_choose_tables_of_several_keyspaces() {
        assert_eq!(chosen(&["user_*"], &[]).expect("found"), ["user_1.a", "user_2.b"]);
        assert_eq!(chosen(&["shop", "user_*"], &["a*", "!*_tmp"]).expect("found"), ["shop.a", "user_1.a"]);
        assert_eq!(chosen(&[], &["shop.*"]).expect("found"), ["shop.a", "shop.a_tmp"]);
        assert_eq!(chosen(&["empty"], &[]).expect("an empty keyspace"), [""; 0]);
    }

    #[test]
    fn a_name_that_means_nothing_is_told_with_what_there_is() {
        for (keyspaces, tables, needle) in [
            (&["shap"][..], &[][..], "backup B has no keyspace shap; it holds shop, user_1"),
            (&["x*"], &[], "no keyspace that x* means"),
            (&["shop"], &["b"], "no table b; it holds shop.a, shop.a_tmp"),
            (&["shop"], &["user_1.a"], "no table user_1.a"),
            (&["shop"], &["z*"], "no table that z* means"),
        ] {
            let failure = chosen(keyspaces, tables).expect_err("means nothing");
            assert_eq!(failure.kind, ErrorKind::NotFound);
            assert!(failure.message.contains(needle), "{}", failure.message);
        }
    }
}
