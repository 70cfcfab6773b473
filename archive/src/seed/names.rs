//! The names under which cassandra-backup-tool wrote columns: those of the namedtuple that Python's driver makes of a row.
//! A name that is no plain one is changed there, and where a namedtuple can't have one, all names are sanitized.

use std::collections::{HashMap, HashSet};

/// Which column a member of a row is.
#[derive(Debug)]
pub(super) struct Names {
    /// As the driver writes them; the index of the column.
    driver: HashMap<String, usize>,
    /// As they are.
    plain: HashMap<String, usize>,
}

impl Names {
    /// Of the columns of a table, in the order in which `SELECT *` gives them.
    pub(super) fn new<'n>(columns: impl Iterator<Item = &'n str> + Clone) -> Self {
        let cleaned: Vec<String> = columns.clone().map(clean).collect();
        let distinct: HashSet<&String> = cleaned.iter().collect();
        let fit = distinct.len() == cleaned.len() && cleaned.iter().all(|name| is_field(name));
        let driver = if fit { cleaned } else { sanitized(&cleaned) };
        let index = |names: Vec<String>| names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        Self { driver: index(driver), plain: index(columns.map(str::to_owned).collect()) }
    }

    /// The columns that these members are, each once and all of them; or the name that is too much or missing.
    pub(super) fn columns<'m>(&self, members: impl Iterator<Item = &'m str> + Clone) -> Result<Vec<usize>, Misfit> {
        let first = by(&self.driver, members.clone());
        if first.is_ok() || self.driver == self.plain {
            return first;
        }
        by(&self.plain, members).or(first)
    }
}

/// Why a row's members are not the table's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    Unknown(String),
    Twice(String),
    Missing(String),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "it holds {name:?}, which is no column of the table"),
            Self::Twice(name) => write!(f, "it holds {name:?} twice"),
            Self::Missing(name) => write!(f, "it lacks column {name:?}"),
        }
    }
}

fn by<'m>(names: &HashMap<String, usize>, members: impl Iterator<Item = &'m str>) -> Result<Vec<usize>, Misfit> {
    let mut found = Vec::with_capacity(names.len());
    let mut seen = vec![false; names.len()];
    for member in members {
        let column = *names.get(member).ok_or_else(|| Misfit::Unknown(member.to_owned()))?;
        if std::mem::replace(&mut seen[column], true) {
            return Err(Misfit::Twice(member.to_owned()));
        }
        found.push(column);
    }
    match seen.iter().position(|seen| !seen) {
        Some(missing) => {
            let name = names.iter().find(|(_, column)| **column == missing).map(|(name, _)| name.clone());
            Err(Misfit::Missing(name.unwrap_or_default()))
        }
        None => Ok(found),
    }
}

/// The driver's `_clean_column_name`: what is no letter or digit is cut off the front, what is neither these nor `_` off
/// the end, and becomes `_` between.
fn clean(name: &str) -> String {
    let end = name.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let front = end.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    front.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// What the fields of a namedtuple may be called.
fn is_field(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && KEYWORDS.binary_search(&name).is_err()
}

/// The driver's `_sanitize_identifiers`: a name that can't be a field becomes `field_N_`, N its index; one that stood
/// before gets `_` behind it until it is new.
fn sanitized(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let field = |(at, name): (usize, &String)| {
        let mut field = if is_field(name) { name.clone() } else { format!("field_{at}_") };
        while !taken.insert(field.clone()) {
            field.push('_');
        }
        field
    };
    names.iter().enumerate().map(field).collect()
}

/// Python's `keyword.kwlist`, sorted.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names(columns: &[&str]) -> Names {
        Names::new(columns.iter().copied())
    }

    #[test]
    fn members_are_the_columns_that_the_driver_names_so() {
        let plain = names(&["pk", "b"]);
        assert_eq!(plain.columns(["b", "pk"].into_iter()), Ok(vec![1, 0]));
        let odd = names(&["P k", "class", "_x", "P-k", "größe"]);
        // As driver 3.30.1 and Python 3.11 answer for these columns.
        let fields = ["P_k", "field_1_", "x", "P_k_", "gr__e"];
        assert_eq!(odd.columns(fields.into_iter()), Ok(vec![0, 1, 2, 3, 4]));
        let raw = ["P k", "class", "_x", "P-k", "größe"];
        assert_eq!(odd.columns(raw.into_iter()), Ok(vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn a_row_of_other_columns_is_told_by_name() {
        let names = names(&["pk", "v"]);
        assert_eq!(names.columns(["pk"].into_iter()), Err(Misfit::Missing("v".into())));
        assert_eq!(names.columns(["pk", "v", "w"].into_iter()), Err(Misfit::Unknown("w".into())));
        assert_eq!(names.columns(["pk", "pk", "v"].into_iter()), Err(Misfit::Twice("pk".into())));
    }

    #[test]
    fn keywords_are_sorted_so_that_they_are_found() {
        assert!(KEYWORDS.is_sorted());
    }
}
