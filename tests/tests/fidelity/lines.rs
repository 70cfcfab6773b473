//! The reference list of traps, a line each, and the tests that stand for it. A line without a test fails the suite; where a
//! test does not apply to a release, the reason stands here and is printed.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ringvault_tests::cassandra::CassandraVersion::{self, V3_11, V4_0, V4_1, V5_0};
use ringvault_tests::runner::{Test, TestContext};

use super::stage::named;

/// A line of the list.
struct Line {
    section: &'static str,
    /// What it says, in short.
    says: &'static str,
    tests: &'static [(&'static str, On)],
    /// Parts of it that are proved elsewhere, or can't be here: said aloud.
    beside: &'static [&'static str],
}

/// Where a test applies.
enum On {
    /// Every release.
    All,
    /// These; why not the others.
    Only(&'static [CassandraVersion], &'static str),
}
use On::{All, Only};

const FIVE: On = Only(&[V5_0], "only 5.0 knows it");
const THREE_ELEVEN: On = Only(&[V3_11], "tables with COMPACT STORAGE can't be made since 4.0");
const THREE_NODES: On = Only(&[V5_0], "three nodes take a minute: they run as 5.0 only");
const BEFORE_FIVE: On = Only(&[V3_11, V4_0, V4_1], "5.0 tells times of elements and of frozen collections");
const SCYLLA: &str = "ScyllaDB's part: not run, there is no ScyllaDB here; its statements are unit tests of the worker";

const LINES: &[Line] = &[
    Line {
        section: "Values",
        says: "a null and an empty value differ",
        tests: &[("a_null_and_an_empty_value_differ", All)],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "NaN, ±Infinity, -0.0; decimal scale; varint; duration; date; time; timestamps; inet; every code point",
        tests: &[
            ("every_type_at_any_nesting_comes_back", All),
            ("floats_keep_nan_infinity_and_negative_zero", All),
            ("decimals_keep_their_scale_and_varints_their_size", All),
            ("durations_keep_their_three_parts", All),
            ("dates_times_and_timestamps_keep_every_year", All),
            ("addresses_of_both_kinds_come_back", All),
            ("text_keeps_every_code_point", All),
        ],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "tuples and UDTs of fewer fields; nested frozen; collections of UDTs; non-frozen UDTs; vectors",
        tests: &[
            ("tuples_and_types_keep_fewer_fields_than_they_have_now", All),
            ("every_type_at_any_nesting_comes_back", All),
            ("fields_of_a_type_come_back_by_their_own_times_also_static_ones", All),
            ("vectors_come_back", FIVE),
        ],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "unknown custom types and RandomPartitioner are refused before any work",
        tests: &[
            ("an_unknown_custom_type_is_refused_by_name", All),
            ("a_cluster_of_another_partitioner_is_refused", All),
        ],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "COMPACT STORAGE tables (3.11) as DESCRIBE shows them, or refused by name",
        tests: &[
            ("a_compact_table_comes_back_as_it_was_or_is_refused_by_name", THREE_ELEVEN),
            ("across_a_compact_table_is_restored_plain_or_refused_by_name", FIVE),
        ],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "quoted, mixed-case and reserved names; columns named like the reserved key",
        tests: &[
            ("quoted_mixed_case_and_reserved_names_come_back", All),
            ("a_column_named_like_the_reserved_key_comes_back", All),
        ],
        beside: &[],
    },
    Line {
        section: "Values",
        says: "masked columns are refused without UNMASK",
        tests: &[("masked_columns_are_refused_without_unmask", FIVE)],
        beside: &[],
    },
    Line {
        section: "Rows",
        says: "a row with only a primary key: at the backup's start, the table's default TTL, declared",
        tests: &[
            ("a_row_of_only_a_key_comes_back_at_the_backups_start_and_is_declared", All),
            ("a_row_of_only_a_key_is_kept_in_a_table_of_keys", All),
            ("a_row_of_only_a_key_gets_its_tables_default_ttl", All),
        ],
        beside: &[],
    },
    Line {
        section: "Rows",
        says: "static columns: partitions of statics alone, statics once a partition",
        tests: &[("statics_come_back_once_a_partition_also_without_rows", All)],
        beside: &[],
    },
    Line {
        section: "Rows",
        says: "an assignment deletes at ts-1: differing elements and fields by addition; lists whole at their newest",
        tests: &[
            ("an_assignment_does_not_hide_elements_that_were_added_before", All),
            ("fields_of_a_type_come_back_by_their_own_times_also_static_ones", All),
            ("elements_without_any_other_cell_come_back", All),
            ("each_element_has_its_own_time_and_expiry", FIVE),
        ],
        beside: &[],
    },
    Line {
        section: "Rows",
        says: "a list assigned again at the same timestamp doubles",
        tests: &[("a_list_does_not_double_however_often_it_is_written", All)],
        beside: &["kills in the middle of lists: the suite torture", SCYLLA],
    },
    Line {
        section: "Rows",
        says: "counters: by value, never twice; a null is not 0",
        tests: &[("counters_come_back_by_value_and_a_null_is_not_zero", All)],
        beside: &["kills in the middle of counters: the suite torture"],
    },
    Line {
        section: "Rows",
        says: "a null is bound as unset",
        tests: &[("a_null_is_left_unset_and_leaves_no_tombstone", All)],
        beside: &[],
    },
    Line {
        section: "Time",
        says: "expiry is absolute; TTL 0 under a default; the later expiry wins at an equal timestamp",
        tests: &[
            ("an_expiring_cell_is_stored_with_its_absolute_end", All),
            ("a_cell_that_ended_meanwhile_is_skipped_and_counted", All),
            ("a_cell_that_never_expires_stays_so_under_a_default_ttl", All),
            ("the_later_expiry_wins_at_an_equal_timestamp", All),
        ],
        beside: &[],
    },
    Line {
        section: "Time",
        says: "expiry after 2038 is refused before 5.0",
        tests: &[
            ("an_expiry_after_2038_is_kept_where_the_server_keeps_it", FIVE),
            (
                "across_an_expiry_after_2038_is_refused_before_any_write",
                Only(&[V4_0, V4_1], "5.0's node here keeps it; 3.11 runs before 5.0 has made such a backup"),
            ),
        ],
        beside: &[SCYLLA],
    },
    Line {
        section: "Time",
        says: "cells of one row differ in writetime and TTL",
        tests: &[("cells_of_one_row_keep_their_own_times_and_expiries", All)],
        beside: &[],
    },
    Line {
        section: "Time",
        says: "element-wise times on 5.0 only; frozen collections before CASSANDRA-17628; unreadable ones declared",
        tests: &[
            ("each_element_has_its_own_time_and_expiry", FIVE),
            ("unreadable_element_times_fall_back_to_the_rows_newest_and_are_declared", BEFORE_FIVE),
            ("times_of_frozen_collections_are_kept_where_the_server_tells_them_else_declared", BEFORE_FIVE),
        ],
        beside: &[SCYLLA],
    },
    Line {
        section: "Time",
        says: "ttl(list) on 5.0 returns elements of zero length",
        tests: &[("ttls_of_list_elements_may_be_zero_bytes_long", All)],
        beside: &[],
    },
    Line {
        section: "Time",
        says: "original timestamps under a newer tombstone show nothing: the remedy is named",
        tests: &[("rows_hidden_by_newer_tombstones_are_a_mismatch_with_the_remedy", All)],
        beside: &[],
    },
    Line {
        section: "Time",
        says: "times cost: --values-only is the user's choice",
        tests: &[("values_only_is_the_users_choice_and_declared", All)],
        beside: &["the measured rates are figures of the benchmark"],
    },
    Line {
        section: "Proof",
        says: "two sums; compared with what was sent; merged row by row",
        tests: &[
            ("two_sums_find_lost_times_that_sums_of_values_miss", All),
            ("append_and_only_missing_are_compared_with_what_was_sent", All),
            ("an_unaligned_token_range_is_compared_with_what_was_sent", All),
            ("one_changed_missing_or_added_row_is_found_and_counted", All),
            ("the_products_own_proof_agrees_about_values", All),
            ("the_products_own_proof_agrees_about_rows", All),
            ("the_products_own_proof_agrees_about_times", All),
        ],
        beside: &[],
    },
    Line {
        section: "Schema",
        says: "DESCRIBE is paged per node and schema version; 3.11 has none",
        tests: &[
            ("the_whole_schema_comes_back_as_the_server_describes_it", All),
            ("an_unrelated_schema_change_during_a_backup_disturbs_nothing", All),
        ],
        beside: &[],
    },
    Line {
        section: "Schema",
        says: "options removed in later versions",
        tests: &[
            ("table_options_comments_and_the_cdc_flag_come_back", All),
            ("across_removed_options_are_left_out_with_a_warning_that_names_them", FIVE),
        ],
        beside: &[],
    },
    Line {
        section: "Schema",
        says: "types in order of use; functions, aggregates; indexes and views after the data; `;` in bodies; no ids",
        tests: &[
            ("types_come_before_what_uses_them_at_any_depth", All),
            ("functions_with_semicolons_and_quotes_and_aggregates_work_after_the_restore", All),
            ("static_frozen_and_reversed_clustering_come_back", All),
            ("secondary_indexes_of_every_kind_answer_after_the_restore", All),
            ("a_sasi_index_answers_after_the_restore", All),
            ("storage_attached_indexes_answer_after_the_restore", FIVE),
            ("a_view_shows_its_base_after_the_restore_and_is_never_dumped", All),
            ("stored_ddl_names_no_table_ids", All),
        ],
        beside: &[],
    },
    Line {
        section: "Schema",
        says: "views, SASI and functions may be off: known before DROP",
        tests: &[("what_the_server_has_switched_off_is_named_before_the_drop", All)],
        beside: &[],
    },
    Line {
        section: "Schema",
        says: "data centres are baked into keyspaces; the local one replicates the keyspace",
        tests: &[
            ("a_backup_asks_the_data_centre_that_holds_the_keyspace", THREE_NODES),
            ("across_removed_options_are_left_out_with_a_warning_that_names_them", FIVE),
        ],
        beside: &["--map-dc: across_one_node_to_three_with_another_data_centre"],
    },
    Line { section: "Schema", says: "Scylla: tablets, CDC log tables", tests: &[], beside: &[SCYLLA] },
    Line {
        section: "Schema",
        says: "schema changes during a backup: the fingerprint",
        tests: &[("an_unrelated_schema_change_during_a_backup_disturbs_nothing", All)],
        beside: &["ALTER TABLE and ALTER TYPE in the middle of a backup: the suite torture"],
    },
    Line {
        section: "Schema",
        says: "roles and grants are a separate, explicit option",
        tests: &[("roles_and_grants_come_with_the_option_and_only_then", All)],
        beside: &[],
    },
    Line {
        section: "Reading",
        says: "size_estimates is empty for minutes: sampling",
        tests: &[("empty_size_estimates_are_replaced_by_samples", All)],
        beside: &[],
    },
    Line {
        section: "Reading",
        says: "ONE misses rows that QUORUM has",
        tests: &[("a_quorum_reads_rows_that_one_replica_lacks", THREE_NODES)],
        beside: &[],
    },
    Line {
        section: "Reading",
        says: "token ranges are not routed by the driver; only the paging state tells the last page",
        tests: &[("short_pages_over_deleted_stretches_lose_nothing", All)],
        beside: &["routing: reads_are_spread_over_the_owners of the suite foundation"],
    },
    Line {
        section: "Reading",
        says: "tombstone-heavy ranges: smaller pages, then split, then named",
        tests: &[("tombstone_heavy_ranges_are_read_by_smaller_pages_or_named", All)],
        beside: &[],
    },
    Line {
        section: "Reading",
        says: "pages count rows: start small, then by bytes",
        tests: &[("rows_of_a_megabyte_are_read_a_few_at_a_time", All)],
        beside: &[],
    },
    Line {
        section: "Reading",
        says: "the token -2^63 never belongs to a key; ranges tile everything",
        tests: &[("both_ends_of_the_ring_and_of_every_segment_are_read", All)],
        beside: &[],
    },
    Line {
        section: "Writing",
        says: "batches under the server's thresholds, read from settings or assumed; minimal grants",
        tests: &[
            ("batches_stay_below_the_servers_thresholds", All),
            ("batches_fit_thresholds_lower_than_the_usual", All),
            ("the_readmes_minimal_grants_suffice", All),
        ],
        beside: &[SCYLLA],
    },
    Line {
        section: "Writing",
        says: "measured rates of single writes and batches",
        tests: &[],
        beside: &["figures of the benchmark, no promise of a test"],
    },
];

/// Lines a section of the reference.
const SECTIONS: &[(&str, usize)] =
    &[("Values", 7), ("Rows", 6), ("Time", 7), ("Proof", 1), ("Schema", 8), ("Reading", 6), ("Writing", 2)];

/// Checks this list against the tests that there are.
pub(crate) fn test(there: &[Test]) -> Test {
    let names: BTreeSet<String> = there.iter().map(|test| test.name().to_owned()).collect();
    Test::new("every_line_of_the_reference_has_a_test", move |t| {
        let result = check(&t, &names);
        async move { result }
    })
}

fn check(t: &TestContext, there: &BTreeSet<String>) -> Result<()> {
    for (section, lines) in SECTIONS {
        let listed = LINES.iter().filter(|line| line.section == *section).count();
        ensure!(listed == *lines, "{section} has {lines} lines and {listed} are listed");
    }
    let mut claimed = BTreeSet::new();
    let mut missing = Vec::new();
    for line in LINES {
        if line.tests.is_empty() && line.beside.is_empty() {
            missing.push(format!("nothing for \"{}\" of {}", line.says, line.section));
        }
        for (sentence, on) in line.tests {
            let versions = match on {
                All => &CassandraVersion::ALL,
                Only(versions, why) => {
                    let others = CassandraVersion::ALL.iter().filter(|v| !versions.contains(v)).map(|v| v.release());
                    t.note(format!("not on {}: {sentence}: {why}", others.collect::<Vec<_>>().join(", ")));
                    *versions
                }
            };
            for version in versions {
                let name = named(sentence, *version);
                if !there.contains(&name) {
                    missing.push(format!("no test {name} for \"{}\" of {}", line.says, line.section));
                }
                claimed.insert(name);
            }
        }
        for beside in line.beside {
            t.note(format!("{}, {}: {beside}", line.section, line.says));
        }
    }
    // What is no line of its own says so by its name.
    let free = |name: &&String| !name.starts_with("across_") && !name.starts_with("transform_");
    for name in there.iter().filter(free).filter(|name| !claimed.contains(*name)) {
        missing.push(format!("the test {name} stands for no line"));
    }
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}
