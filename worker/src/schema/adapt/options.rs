//! What becomes of one option of a keyspace, table or view on another server.

use super::{Release, Server, V4_0, V4_1, V5_0};
use crate::schema::{
    ident::{literal, map_literal},
    lex,
    model::Options,
    statement::map_of,
};

/// What becomes of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Kept,
    /// The server doesn't know it. Silently where it says what servers do anyway.
    LeftOut { silently: bool },
    /// It gets another value; the note tells where that means something else.
    Put { value: String, note: Option<String> },
}

/// An option of Cassandra: the releases that know it (from the first, before the second), whether ScyllaDB does, and the values
/// whose loss is not worth a word: what servers set by themselves.
struct Known {
    option: &'static str,
    since: Option<Release>,
    until: Option<Release>,
    scylla: bool,
    defaults: &'static [&'static str],
}

const fn everywhere(option: &'static str) -> Known {
    Known { option, since: None, until: None, scylla: true, defaults: &[] }
}

const fn of_scylla(option: &'static str, defaults: &'static [&'static str]) -> Known {
    // no release of Cassandra comes before the first
    Known { option, since: None, until: Some(Release { major: 0, minor: 0 }), scylla: true, defaults }
}

const OPTIONS: &[Known] = &[
    everywhere("bloom_filter_fp_chance"),
    everywhere("caching"),
    everywhere("cdc"),
    everywhere("clustering"),
    everywhere("comment"),
    everywhere("compact"),
    everywhere("compaction"),
    everywhere("compression"),
    everywhere("crc_check_chance"),
    everywhere("default_time_to_live"),
    everywhere("gc_grace_seconds"),
    everywhere("max_index_interval"),
    everywhere("memtable_flush_period_in_ms"),
    everywhere("min_index_interval"),
    everywhere("speculative_retry"),
    // CASSANDRA-13910 took the read repair chances away, CASSANDRA-14635 brought read_repair
    Known {
        option: "dclocal_read_repair_chance",
        since: None,
        until: Some(V4_0),
        scylla: false,
        defaults: &["0.0", "0.1", "0"],
    },
    Known { option: "read_repair_chance", since: None, until: Some(V4_0), scylla: false, defaults: &["0.0", "0"] },
    Known { option: "read_repair", since: Some(V4_0), until: None, scylla: false, defaults: &["'BLOCKING'"] },
    Known { option: "additional_write_policy", since: Some(V4_0), until: None, scylla: false, defaults: &["'99p'"] },
    Known { option: "extensions", since: Some(V4_0), until: None, scylla: false, defaults: &["{}"] },
    // CASSANDRA-17034
    Known { option: "memtable", since: Some(V4_1), until: None, scylla: false, defaults: &["'default'"] },
    // CASSANDRA-10383, CASSANDRA-15402
    Known { option: "allow_auto_snapshot", since: Some(V5_0), until: None, scylla: false, defaults: &["true"] },
    Known { option: "incremental_backups", since: Some(V5_0), until: None, scylla: false, defaults: &["true"] },
    of_scylla("in_memory", &["false"]),
    of_scylla("paxos_grace_seconds", &["864000"]),
    of_scylla("per_partition_rate_limit", &["{}"]),
    of_scylla("synchronous_updates", &["false"]),
    of_scylla("tablets", &["{}"]),
    of_scylla("tombstone_gc", &["{'mode': 'timeout', 'propagation_delay_in_seconds': '3600'}"]),
];

/// Of a keyspace. What Cassandra's have is in all of them; the rest is ScyllaDB's (tablets, storage) or newer than this list.
pub(super) fn keyspace_option(server: Server, option: &str) -> Fate {
    let known = matches!(option, "replication" | "durable_writes") || server.scylla || server.release > V5_0;
    if known { Fate::Kept } else { Fate::LeftOut { silently: false } }
}

/// Of a table or view.
pub(super) fn table_option(server: Server, option: &str, value: &str) -> Fate {
    if option == "id" {
        return Fate::LeftOut { silently: true }; // for SSTables only
    }
    let Some(known) = OPTIONS.iter().find(|known| known.option == option) else {
        // an option of a later release: the server has the last word where it may know it
        let newer = server.scylla || server.release > V5_0;
        return if newer { Fate::Kept } else { Fate::LeftOut { silently: false } };
    };
    let is_known = if server.scylla {
        known.scylla
    } else {
        known.since.is_none_or(|since| server.release >= since)
            && known.until.is_none_or(|until| server.release < until)
    };
    if !is_known {
        return Fate::LeftOut { silently: known.defaults.contains(&value) };
    }
    match option {
        "speculative_retry" => speculative_retry(server, value),
        "compaction" => compaction(server, value),
        "compression" => compression(server, value),
        "caching" => caching(server, value),
        "cdc" => cdc(server, value),
        _ => Fate::Kept,
    }
}

/// The same value in other words, or the same words.
fn put(value: String, note: Option<String>) -> Fate {
    Fate::Put { value, note }
}

/// `'99p'`, `'NEVER'` and `'MIN(99p,50ms)'` as releases before 4.0 and ScyllaDB write them (CASSANDRA-14293).
fn speculative_retry(server: Server, value: &str) -> Fate {
    let text = lex::tokens(value).first().map(lex::Token::value).unwrap_or_default();
    let lower = text.to_lowercase();
    if server.is_cassandra(V4_0) {
        return if lower == "none" { put(literal("NEVER"), None) } else { Fate::Kept };
    }
    if lower == "never" {
        return put(literal("NONE"), None);
    }
    if let Some(number) = lower.strip_suffix('p').filter(|number| number.parse::<f64>().is_ok()) {
        return put(literal(&format!("{number}PERCENTILE")), None);
    }
    if lower.starts_with("min(") || lower.starts_with("max(") { Fate::LeftOut { silently: false } } else { Fate::Kept }
}

/// The last part of a class name.
fn short(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

fn compaction(server: Server, value: &str) -> Fate {
    let mut options = map_of(value);
    let Some(class) = options.get("class").map(|class| short(class).to_owned()) else { return Fate::Kept };
    let instead = match class.as_str() {
        "UnifiedCompactionStrategy" if !server.is_cassandra(V5_0) => Some("SizeTieredCompactionStrategy"),
        // CASSANDRA-18043
        "DateTieredCompactionStrategy" if server.scylla || server.is_cassandra(V5_0) => {
            Some("TimeWindowCompactionStrategy")
        }
        "IncrementalCompactionStrategy" | "InMemoryCompactionStrategy" if !server.scylla => {
            Some("SizeTieredCompactionStrategy")
        }
        _ => None,
    };
    if let Some(instead) = instead {
        let value = map_literal(&Options::from([("class".to_owned(), instead.to_owned())]));
        return put(value, Some(format!("{server} has no {class}; {instead} stands instead, with its defaults")));
    }
    let had = options.len();
    if class == "LeveledCompactionStrategy" && (server.scylla || server.release < V4_0) {
        // later releases write what it never uses, those before 4.0 refuse it
        for unused in ["max_threshold", "min_threshold", "single_sstable_uplevel"] {
            options.remove(unused);
        }
    }
    if options.len() == had { Fate::Kept } else { put(map_literal(&options), None) }
}

fn compression(server: Server, value: &str) -> Fate {
    let before = map_of(value);
    let mut options = before.clone();
    if let Some(length) = options.remove("chunk_length_kb") {
        options.entry("chunk_length_in_kb".to_owned()).or_insert(length);
    }
    let named = ["class", "sstable_compression"].into_iter().filter_map(|key| options.remove(key)).next();
    let off = options.get("enabled").is_some_and(|enabled| enabled == "false") || named.as_deref() == Some("");
    let Some(class) = named.filter(|_| !off) else {
        if before.is_empty() || (before.contains_key("enabled") && !server.scylla) {
            return Fate::Kept;
        }
        let none = if server.scylla { ("sstable_compression", "") } else { ("enabled", "false") };
        return put(map_literal(&Options::from([(none.0.to_owned(), none.1.to_owned())])), None);
    };
    let (instead, told) = match short(&class) {
        "ZstdCompressor" | "ZstdWithDictsCompressor" if !server.scylla && server.release < V4_0 => {
            (Some("LZ4Compressor"), true)
        }
        "ZstdWithDictsCompressor" if !server.scylla => (Some("ZstdCompressor"), true),
        "LZ4WithDictsCompressor" if !server.scylla => (Some("LZ4Compressor"), true),
        "NoopCompressor" if !server.is_cassandra(V4_0) => {
            let none = if server.scylla { ("sstable_compression", "") } else { ("enabled", "false") };
            return put(map_literal(&Options::from([(none.0.to_owned(), none.1.to_owned())])), None);
        }
        _ => (None, false),
    };
    if !server.is_cassandra(V4_0) {
        for unknown in ["min_compress_ratio", "max_compressed_length"] {
            options.remove(unknown);
        }
    }
    if server.scylla {
        options.retain(|key, _| !key.starts_with("lz4_"));
    }
    if instead.is_some() {
        options.retain(|key, _| !matches!(key.as_str(), "compression_level" | "compressor_type"));
    }
    let note =
        instead.filter(|_| told).map(|instead| format!("{server} has no {}; {instead} stands instead", short(&class)));
    // ScyllaDB knows its compressors by their last name only
    let class = instead.unwrap_or(if server.scylla { short(&class) } else { &class }).to_owned();
    options.insert(if server.scylla { "sstable_compression" } else { "class" }.to_owned(), class);
    if options == before { Fate::Kept } else { put(map_literal(&options), note) }
}

/// ScyllaDB has a third key.
fn caching(server: Server, value: &str) -> Fate {
    let mut options = map_of(value);
    if server.scylla || options.remove("enabled").is_none() {
        return Fate::Kept;
    }
    put(map_literal(&options), None)
}

/// A flag in Cassandra, a map in ScyllaDB.
fn cdc(server: Server, value: &str) -> Fate {
    let is_map = value.starts_with('{');
    match (server.scylla, is_map) {
        (true, true) | (false, false) => Fate::Kept,
        (true, false) if value.eq_ignore_ascii_case("true") => put(
            "{'enabled': 'true'}".to_owned(),
            Some("change data capture becomes a log table as ScyllaDB keeps it".to_owned()),
        ),
        (true, false) => Fate::LeftOut { silently: true },
        (false, true) => {
            let on = map_of(value).get("enabled").is_some_and(|enabled| enabled == "true");
            let note = on.then(|| "ScyllaDB's log of changes becomes Cassandra's, which has no options".to_owned());
            put(on.to_string(), note)
        }
    }
}
