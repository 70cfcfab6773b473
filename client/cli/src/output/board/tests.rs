use ringvault_client::{
    Client,
    v1::{BackupSpec, Pace, Priority, TableName},
};

use super::*;

fn table_of(keyspace: &str, name: &str, state: TableState) -> TableProgress {
    TableProgress {
        table: Some(TableName { keyspace: keyspace.into(), table: name.into() }),
        state: state.into(),
        rows: 1_000,
        encoded_bytes: 1 << 20,
        bytes_estimated: 4 << 20,
        ..Default::default()
    }
}

fn running(keyspace: &str, name: &str) -> TableProgress {
    TableProgress {
        rows_per_second: 500,
        encoded_bytes_per_second: 64 << 10,
        retries: 2,
        failures: 1,
        ..table_of(keyspace, name, TableState::Running)
    }
}

fn job(tables: Vec<TableProgress>) -> Job {
    let spec = BackupSpec { keyspaces: vec!["shop".into()], cluster: "prod".into(), ..Default::default() };
    Job {
        job_id: "20261122T145053Z-7k3f".into(),
        state: JobState::Running.into(),
        stage: "dumping, 1 of 3 tables done".into(),
        spec: Some(Client::backup(spec)),
        leases: 3,
        workers: 2,
        tables,
        ..Default::default()
    }
}

#[test]
fn the_board_tells_what_runs_first_and_all_of_it() {
    let job = job(vec![
        table_of("shop", "items", TableState::Done),
        table_of("shop", "carts", TableState::Waiting),
        running("shop", "orders"),
    ]);
    let want = "\
running  backup of keyspace shop, cluster prod  (20261122T145053Z-7k3f)
  ━━━━━━╸               33%  3,000 rows  3.0 MiB  500 rows/s  64.0 KiB/s  about 1 min 36 s left  1 of 3 tables
  3 ranges at 2 workers; priority normal, polite
  dumping, 1 of 3 tables done

table        state       %   rows  encoded  rows/s   left  retries  failures
orders       running   25%  1,000  1.0 MiB     500   48 s        2         1
carts        waiting   25%  1,000  1.0 MiB       -      -        0         0
items        done     100%  1,000  1.0 MiB       -      -        0         0
total (1/3)  running   33%  3,000  3.0 MiB     500  1 min        2         1";
    assert_eq!(live(&job, 40, 120).join("\n"), want);
}

#[test]
fn a_thousand_tables_stay_within_the_screen_and_are_counted() {
    let mut tables: Vec<_> = (0..1_000).map(|n| table_of("shop", &format!("t{n:03}"), TableState::Waiting)).collect();
    tables.extend((0..5).map(|n| running("shop", &format!("z{n}"))));
    tables.extend((0..7).map(|n| table_of("shop", &format!("d{n}"), TableState::Done)));
    let job = job(tables);
    for rows in 8..40 {
        let lines = live(&job, rows, 100);
        assert!(lines.len() <= rows, "{rows}: {}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{lines:#?}");
    }
    let lines = live(&job, 14, 100);
    assert!(lines[6].starts_with("z0 ") && lines[10].starts_with("z4 "), "{lines:#?}");
    assert_eq!(lines[12], "… 1,006 more: 999 waiting, 7 done");
    assert!(lines[13].starts_with("total (7/1012)"), "{lines:#?}");
    // A screen of a few lines shows what fits, and never a table without its total.
    assert_eq!(live(&job, 3, 100).len(), 3);
    assert_eq!(whole(&job).len(), 1 + 1_012 + 1);
}

#[test]
fn several_keyspaces_have_a_line_each_with_their_sums() {
    let job = job(vec![
        running("users", "names"),
        table_of("shop", "orders", TableState::Done),
        table_of("shop", "items", TableState::Done),
        table_of("users", "mails", TableState::Waiting),
    ]);
    let lines = whole(&job);
    let starts: Vec<&str> = lines.iter().map(|line| line.split_at(13).0.trim_end()).collect();
    assert_eq!(
        starts,
        ["table", "users (0/2)", "  names", "  mails", "shop (2/2)", "  items", "  orders", "total (2/4)"]
    );
    assert!(lines[4].contains("done     100%  2,000"), "{lines:#?}");
    // Where they don't fit, no keyspace stands there without a table.
    let lines: Vec<String> = live(&job, 12, 100).into_iter().skip(5).collect();
    let starts: Vec<&str> = lines.iter().map(|line| line.split("  ").find(|s| !s.is_empty()).unwrap_or("")).collect();
    assert_eq!(starts, ["table", "users (0/2)", "names", "mails", "… 2 more: 2 done", "total (2/4)"]);
}

#[test]
fn a_narrow_terminal_loses_columns_and_not_lines() {
    let job = job(vec![running("shop", "orders_by_customer_and_day")]);
    let lines = live(&job, 40, 70);
    assert!(lines.iter().all(|line| line.chars().count() <= 70), "{lines:#?}");
    assert!(lines[5].contains("left") && !lines[5].contains("encoded"), "{lines:#?}");
    assert!(lines[1].ends_with('…'), "{lines:#?}");
}

#[test]
fn limits_are_told_where_there_are_any() {
    let mut job = job(vec![]);
    let Some(Work::Backup(spec)) = job.spec.as_mut().and_then(|spec| spec.work.as_mut()) else { unreachable!() };
    spec.set_pace(Pace::Full);
    spec.rows_per_second_max = 50_000;
    spec.bytes_per_second_max = 1 << 20;
    if let Some(spec) = job.spec.as_mut() {
        spec.set_priority(Priority::High);
        (spec.workers_max, spec.ranges_max) = (1, 8);
    }
    let told = limits(&job);
    assert_eq!(
        told,
        "priority high, full, at most 50,000 rows/s, at most 1.0 MiB/s, at most 1 worker, at most 8 ranges"
    );
    job.leases = 0;
    assert_eq!(live(&job, 40, 200)[2], format!("  0 ranges at 2 workers; {told}"));
}

#[test]
fn a_job_that_is_read_back_counts_segments() {
    let table = TableProgress { segments: 16, segments_verified: 4, ..running("shop", "orders") };
    let job = Job { state: JobState::Verifying.into(), ..job(vec![table]) };
    let lines = live(&job, 40, 120);
    assert!(lines[1].contains("25%  4 of 16 segments"), "{lines:#?}");
    assert!(lines[6].starts_with("orders       running    25%"), "{lines:#?}");
}

#[test]
fn a_bar_is_full_only_when_all_is_done() {
    assert_eq!(bar(1.0), "━".repeat(BAR_CHARS));
    assert_eq!(bar(0.0).chars().count(), BAR_CHARS);
    assert!(bar(0.99).ends_with('╸'));
}

#[test]
fn what_a_job_waits_for_is_told_whole_where_a_few_lines_hold_it() {
    let mut job = job(vec![]);
    job.stage = "reading tables; waiting: no host of the cluster can be reached: 10.0.0.1:9042 (refused)".into();
    let lines = live(&job, 40, 40);
    let told = ["  reading tables; waiting: no host of", "  the cluster can be reached:", "  10.0.0.1:9042 (refused)"];
    assert_eq!(lines[3..], told);
    job.stage = "word ".repeat(100);
    let lines = live(&job, 40, 40);
    assert_eq!(lines.len(), 3 + STAGE_LINES_MAX);
    assert!(lines[5].ends_with('…') && lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
    // A job that says nothing keeps its line, so that the board does not jump.
    job.stage.clear();
    assert_eq!(live(&job, 40, 40).len(), 4);
}
