//! Table options that another server version doesn't know are left out of the statement, and said.
//!
//! Only options whose loss changes no data are listed; everything else is sent as it was, and the server has the last word.

use ringvault_archive::schema::SchemaKind;

use super::{
    Release, Result,
    ident::{literal, map_literal},
    statement::{Statement, map_of},
};

/// An option of tables and views, the releases of Cassandra that know it (from the first, before the second), and the values
/// whose loss is not worth a word: what servers set by themselves.
struct Known {
    option: &'static str,
    since: Option<Release>,
    until: Option<Release>,
    defaults: &'static [&'static str],
}

const V4_0: Release = Release { major: 4, minor: 0 };
const V4_1: Release = Release { major: 4, minor: 1 };
const V5_0: Release = Release { major: 5, minor: 0 };

const OPTIONS: &[Known] = &[
    // CASSANDRA-13910 took the read repair chances away, CASSANDRA-14635 brought read_repair
    Known { option: "dclocal_read_repair_chance", since: None, until: Some(V4_0), defaults: &["0.0", "0.1"] },
    Known { option: "read_repair_chance", since: None, until: Some(V4_0), defaults: &["0.0"] },
    Known { option: "read_repair", since: Some(V4_0), until: None, defaults: &["'BLOCKING'"] },
    Known { option: "additional_write_policy", since: Some(V4_0), until: None, defaults: &["'99p'"] },
    Known { option: "extensions", since: Some(V4_0), until: None, defaults: &["{}"] },
    // CASSANDRA-17034
    Known { option: "memtable", since: Some(V4_1), until: None, defaults: &["'default'"] },
    // CASSANDRA-10383, CASSANDRA-15402
    Known { option: "allow_auto_snapshot", since: Some(V5_0), until: None, defaults: &["true"] },
    Known { option: "incremental_backups", since: Some(V5_0), until: None, defaults: &["true"] },
];

/// A statement as a target takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// The statement.
    pub cql: String,
    /// What was left out or changed, for a person.
    pub changes: Vec<String>,
}

/// The statement for a Cassandra of this release. Other databases are given the statement as it is, but for the options that
/// only Cassandra before 4.0 knows.
///
/// # Errors
/// `Invalid` where it is no CREATE statement.
pub fn for_release(cql: &str, release: Release) -> Result<Adapted> {
    let statement = Statement::parse(cql)?;
    let unchanged = || Adapted { cql: cql.to_owned(), changes: Vec::new() };
    if !matches!(statement.kind, SchemaKind::Table | SchemaKind::View) {
        return Ok(unchanged());
    }
    let (mut kept, mut changes, mut left_out) = (Vec::new(), Vec::new(), false);
    for clause in statement.clauses() {
        let unknown = OPTIONS.iter().find(|known| known.option == clause.name && !known.is_in(release));
        if let Some(unknown) = unknown {
            left_out = true;
            if unknown.defaults.contains(&clause.value) {
                continue;
            }
            changes.push(format!(
                "{} {}: Cassandra {release} has no option {}, left out",
                what(&statement),
                statement.name,
                clause.text
            ));
        } else if let Some(value) = older_percentile(release, &clause.name, clause.value)
            .or_else(|| older_leveled(release, &clause.name, clause.value))
        {
            kept.push(format!("{} = {value}", clause.name));
        } else {
            kept.push(clause.text.to_owned());
        }
    }
    if !left_out && kept.iter().map(String::as_str).eq(statement.clauses().iter().map(|clause| clause.text)) {
        return Ok(unchanged());
    }
    let with = if kept.is_empty() { String::new() } else { format!(" WITH {}", kept.join("\n    AND ")) };
    Ok(Adapted { cql: format!("{}{with}", statement.head()), changes })
}

fn what(statement: &Statement<'_>) -> &'static str {
    if statement.kind == SchemaKind::View { "view" } else { "table" }
}

impl Known {
    fn is_in(&self, release: Release) -> bool {
        self.since.is_none_or(|since| release >= since) && self.until.is_none_or(|until| release < until)
    }
}

/// `'99p'` as releases before 4.0 write it (CASSANDRA-14293).
fn older_percentile(release: Release, option: &str, value: &str) -> Option<String> {
    if option != "speculative_retry" || release >= V4_0 {
        return None;
    }
    let number = value.trim_matches('\'').to_lowercase().strip_suffix('p')?.to_owned();
    number.parse::<f64>().ok().map(|_| literal(&format!("{number}PERCENTILE")))
}

/// Leveled compaction without the thresholds that it never uses: later releases write them, those before 4.0 refuse them.
fn older_leveled(release: Release, option: &str, value: &str) -> Option<String> {
    if option != "compaction" || release >= V4_0 {
        return None;
    }
    let mut compaction = map_of(value);
    let leveled = compaction.get("class").is_some_and(|class| class.ends_with("LeveledCompactionStrategy"));
    let thresholds = ["max_threshold", "min_threshold"];
    let had = thresholds.iter().filter(|name| compaction.remove(**name).is_some()).count();
    (leveled && had > 0).then(|| map_literal(&compaction))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'read_repair_chance = 1'\n    AND dclocal_read_repair_chance = 0.1\n    AND read_repair_chance = 0.0\n    AND speculative_retry = '99PERCENTILE'";
    const NEW: &str = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH additional_write_policy = '99p'\n    AND allow_auto_snapshot = true\n    AND comment = ''\n    AND memtable = 'default'\n    AND read_repair = 'BLOCKING'\n    AND speculative_retry = '99p'";

    #[test]
    fn a_newer_server_is_spared_the_options_that_it_has_lost() {
        let adapted = for_release(OLD, V5_0).expect("fine");
        assert_eq!(
            adapted.cql,
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'read_repair_chance = 1'\n    AND speculative_retry = '99PERCENTILE'"
        );
        assert!(adapted.changes.is_empty(), "defaults are not worth a word");
        let adapted = for_release(&OLD.replace("_chance = 0.1", "_chance = 0.5"), V5_0).expect("fine");
        assert_eq!(
            adapted.changes,
            ["table t: Cassandra 5.0 has no option dclocal_read_repair_chance = 0.5, left out"]
        );
    }

    #[test]
    fn an_older_server_is_spared_the_options_that_it_has_not_yet() {
        let adapted = for_release(NEW, Release { major: 3, minor: 11 }).expect("fine");
        assert_eq!(
            adapted.cql,
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = ''\n    AND speculative_retry = '99PERCENTILE'"
        );
        let adapted = for_release(NEW, V4_1).expect("fine");
        assert!(adapted.cql.contains("memtable") && !adapted.cql.contains("allow_auto_snapshot"));
    }

    #[test]
    fn the_same_release_gets_the_same_bytes() {
        assert_eq!(
            for_release(OLD, Release { major: 3, minor: 11 }).expect("fine"),
            Adapted { cql: OLD.into(), changes: vec![] }
        );
        assert_eq!(for_release(NEW, V5_0).expect("fine"), Adapted { cql: NEW.into(), changes: vec![] });
        let index = "CREATE INDEX i ON ks.t (read_repair_chance)";
        assert_eq!(for_release(index, V5_0).expect("fine").cql, index);
    }

    #[test]
    fn a_statement_that_loses_all_its_options_loses_its_with() {
        let adapted =
            for_release("CREATE TABLE ks.t (k int PRIMARY KEY) WITH read_repair_chance = 0.0", V5_0).expect("fine");
        assert_eq!(adapted.cql, "CREATE TABLE ks.t (k int PRIMARY KEY)");
    }

    #[test]
    fn leveled_compaction_loses_the_thresholds_that_an_older_server_refuses() {
        let leveled = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH compaction = {'class': 'o.LeveledCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4', 'sstable_size_in_mb': '64'}";
        let adapted = for_release(leveled, Release { major: 3, minor: 11 }).expect("fine");
        assert!(
            adapted.cql.ends_with("{'class': 'o.LeveledCompactionStrategy', 'sstable_size_in_mb': '64'}"),
            "{adapted:?}"
        );
        assert_eq!(for_release(leveled, V4_1).expect("fine").cql, leveled);
        let tiered = leveled.replace("Leveled", "SizeTiered");
        assert_eq!(for_release(&tiered, Release { major: 3, minor: 11 }).expect("fine").cql, tiered);
    }
}
