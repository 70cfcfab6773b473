//! Command lines as people and their scripts write them.

use super::*;
use crate::exit::plain;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::read(line.split_whitespace())
}

fn refused(line: &str) -> String {
    let error = read(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    plain(&error)
}

fn backup(cli: &Cli) -> &jobs::Backup {
    match &cli.command {
        Command::Backup(backup) => backup,
        other => unreachable!("backup was asked for, not {other:?}"),
    }
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn common_flags_stand_before_or_behind_the_subcommand() {
    let flags = "--hosts h1,h2 --port 9043 --username u --password p --local-dc DC1 --protocol-version 5 \
                 --read-consistency LOCAL_ONE --write-consistency QUORUM --idempotent --timeout 20 --ssl --ca-cert /ca \
                 --client-cert /c --client-key /k --log-level DEBUG --pace full --rate 20MiB --patience 1h --json";
    let before = read(&format!("ringvault {flags} backup shop /bk --tables a,b")).expect("before");
    let behind = read(&format!("ringvault backup shop /bk --tables a,b {flags}")).expect("behind");
    let both = read(&format!("ringvault --hosts h1,h2 backup {} shop /bk --tables a,b", &flags[14..])).expect("both");
    for cli in [&behind, &both] {
        assert_eq!(cli.common.connection, before.common.connection);
        assert_eq!(cli.common.reading, before.common.reading);
        assert_eq!(cli.common.lean, before.common.lean);
        assert_eq!(cli.common.telling, before.common.telling);
        assert_eq!(backup(cli).what.tables, ["a", "b"]);
    }
    assert_eq!(before.common.reading.read_consistency, Some(ringvault_proto::v1::Consistency::LocalOne));
}

#[test]
fn the_seed_tools_command_lines_are_taken() {
    for line in [
        "backup shop ./out --hosts 10.0.0.1 --tables a,b --fetch-size 5000 --gzip --chunk-size 1000 --parallel 2 --shards 8 \
         --limit 100 --estimate-progress",
        "--hosts 10.0.0.1,10.0.0.2 --username u --password p backup shop ./out --gzip",
        "restore shop ./out --hosts 10.0.0.1 --drop --yes --batch-size 100 --parallel 4 --tables a --retries 5 --retry-delay 2",
        "--hosts 10.0.0.1 --ssl --ssl-no-verify restore shop ./out",
    ] {
        read(&format!("ringvault {line}")).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn with_a_coordinator_every_connection_flag_is_refused_and_says_why() {
    let line = "ringvault backup shop s3://b/p --coordinator http://c:7077 --cluster prod";
    read(line).expect("a fleet's job");
    for flag in [
        "--hosts h",
        "--port 9042",
        "--username u",
        "--password p",
        "--password-file /f",
        "--local-dc d",
        "--timeout 3",
        "--ssl",
        "--ca-cert /c",
        "--client-cert /c",
        "--client-key /k",
        "--ssl-no-verify",
    ] {
        let message = refused(&format!("{line} {flag}"));
        let name = flag.split(' ').next().expect("a flag");
        assert!(message.contains(name) && message.contains("workers' settings"), "{message}");
    }
}

#[test]
fn a_cluster_is_needed_one_way_or_the_other() {
    assert!(refused("ringvault backup shop /bk").contains("--hosts"));
    assert!(refused("ringvault restore shop /bk").contains("--hosts"));
    assert!(refused("ringvault plan shop /bk --cluster prod").contains("--coordinator"));
    assert!(refused("ringvault backup shop /bk --coordinator http://c:1").contains("--cluster NAME"));
    assert!(refused("ringvault backup shop /bk --hosts h --detach").contains("--coordinator"));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for (line, named) in [
        ("backup shop /bk --hosts h --gzip --compression zstd", "--compression"),
        ("backup shop /bk --hosts h --username u", "RINGVAULT_PASSWORD"),
        ("backup shop /bk --hosts h --password p", "--username"),
        ("backup shop /bk --hosts h --username u --password p --password-file /f", "--password-file"),
        ("backup shop /bk --hosts h --ca-cert /ca", "--ssl"),
        ("backup shop /bk --hosts h --ssl --ca-cert /ca --client-cert /c", "--client-key"),
        ("backup shop /bk --hosts h --ssl --ca-cert /ca --ssl-no-verify", "--ssl-no-verify"),
        ("backup shop /bk --hosts h --parallel 0", "--parallel"),
        ("backup shop /bk --hosts h --read-consistency MOST", "LOCAL_QUORUM"),
        ("backup shop /bk --hosts h --port 70000", "--port"),
        ("restore shop /bk --hosts h --batch-size 0", "auto"),
        ("verify /bk --read-data --read-data-subset 5%", "--read-data"),
        ("verify /bk --read-data-subset 200%", "5%"),
        ("list /bk --hosts h", "--hosts"),
        ("list /bk --coordinator http://c:1", "--coordinator"),
        ("job list", "--coordinator"),
        ("job list --coordinator http://c:1 --hosts h", "--hosts"),
        ("worker list", "--coordinator"),
        ("worker --hosts h --config /w.toml", "[clusters.NAME]"),
        ("coordinator --hosts h", "CQL"),
        ("coordinator --coordinator http://c:1", "--listen"),
        ("backup shop", "<REPOSITORY>"),
        ("frobnicate", "frobnicate"),
        ("diff /bk a --hosts h", "--against-cluster"),
        ("diff /bk a", "REPOSITORY A B"),
        ("diff /bk a b --against-cluster --hosts h", "--against-cluster"),
        ("diff /bk a --against-cluster", "--hosts"),
        ("diff /bk a --against-cluster --coordinator http://c:1 --cluster prod", "verify --against-cluster"),
        ("diff /bk a b --keyspace-as x", "--against-cluster"),
        ("diff /bk a b --limit 5", "--rows"),
        ("cat /bk", "--tables"),
        ("cat /bk --tables a,b", "one table"),
        ("cat /bk --tables shop.*", "one table"),
        ("cat /bk --tables a --hosts h", "no cluster"),
        ("verify /bk --tables a", "--against-cluster"),
        ("verify /bk --values-only", "--against-cluster"),
        ("verify /bk --detach", "--against-cluster"),
        ("verify /bk --against-cluster", "--hosts"),
        ("verify /bk a b --against-cluster --hosts h", "one ID"),
        ("verify /bk --against-cluster --read-data --hosts h", "--read-data"),
        ("rehearse /bk", "--hosts"),
        ("rehearse /bk --hosts h --sample 0%", "1%"),
        ("rehearse /bk --hosts h --keyspace a*", "one name"),
        ("list /bk --tls-ca /ca", "--coordinator"),
        ("backup shop /bk --hosts h --tls-ca /ca", "--ca-cert"),
        ("job list --coordinator https://c:1 --tls-ca /ca --tls-cert /c", "all three"),
        ("import /old", "<REPOSITORY>"),
        ("import /old /bk --hosts h", "no cluster"),
        ("backup shop /bk --hosts h --priority high", "--coordinator"),
        ("backup shop /bk --hosts h --workers 2", "--coordinator"),
        ("verify /bk --priority low", "--against-cluster"),
        ("verify /bk --idempotency-key k", "--against-cluster"),
        ("job limit j-1 --coordinator http://c:1", "--priority"),
        ("job limit j-1 --coordinator http://c:1 --workers 0", "none"),
        ("job pause j-1", "--coordinator"),
        ("cluster list", "--coordinator"),
        ("cluster list --coordinator http://c:1 --hosts h", "--hosts"),
        ("cluster limit prod --coordinator http://c:1", "--requests-per-node"),
        ("cluster limit prod --coordinator http://c:1 --rate 5 --pace full", "job limit"),
        ("worker drain w --coordinator http://c:1 --undo --wait", "--wait"),
        ("worker drain --coordinator http://c:1", "<WORKER>"),
        ("backup shop /bk --coordinator http://c:1 --cluster p --priority urgent", "--priority"),
    ] {
        let message = refused(&format!("ringvault {line}"));
        assert!(message.contains(named), "{line}: {message}");
    }
}

#[test]
fn transforms_that_contradict_each_other_are_refused_before_any_work() {
    for (line, named) in [
        ("shop,users --keyspace-as copy", "one keyspace"),
        ("shop* --keyspace-as copy", "without globs"),
        ("shop --keyspace-as bad-name", "letters, digits"),
        ("shop --keyspace-as a\"b", "letters, digits"),
        ("shop --table-as a", "OLD=NEW"),
        ("shop --table-as a=b,a=c", "two new names"),
        ("shop --table-as a=c,b=c", "two tables the name c"),
        ("shop --table-as a=b.c", "letters, digits"),
        ("shop --replication {}", "'class'"),
        ("shop --replication {'class':'x'} --map-dc a=b", "--map-dc"),
        ("shop --map-dc a=b,a=c", "two new names"),
        ("shop --schema-only --data-only", "together"),
        ("shop --schema-only --ttl drop", "--ttl"),
        ("shop --schema-only --if-exists truncate", "--if-exists"),
        ("shop --data-only --with-roles", "--with-roles"),
        ("shop --data-only --drop", "--data-only"),
        ("shop --drop --yes --if-exists append", "--if-exists append"),
        ("shop --drop --yes --token-range 0:5", "--token-range"),
        ("shop,users --table-as a=b", "one keyspace"),
        ("shop --token-range 5", "START:END"),
        ("shop --timestamps later", "original"),
        ("shop --ttl never", "original-expiry"),
        ("shop --if-exists maybe", "only-missing"),
        ("shop --partition-key 5", "--tables"),
        ("shop --partition-key 5 --tables a,b", "one table"),
        ("shop --partition-key 5 --tables a --token-range 0:5", "--token-range"),
        ("sh-op", "KEYSPACES"),
        ("shop --tables a-b", "--tables"),
    ] {
        let words = line.split(' ').collect::<Vec<_>>();
        let all =
            ["ringvault", "restore", words[0], "/bk", "--hosts", "h"].into_iter().chain(words[1..].iter().copied());
        let error = Cli::read(all).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(plain(&error).contains(named), "{line}: {}", plain(&error));
    }
}

#[test]
fn no_message_repeats_a_partition_key() {
    for key in ["canary", "[1,canary]", "{\"canary\"", "\"canary\""] {
        let line = ["ringvault", "restore", "shop", "/bk", "--hosts", "h", "--partition-key", key];
        let message = plain(&Cli::read(line).expect_err("no table, or no JSON"));
        assert!(message.contains("--partition-key") && !message.contains("canary"), "{message}");
    }
    let line = ["ringvault", "cat", "/bk", "--tables", "a", "--partition-key", "\"canary\""];
    assert!(!format!("{:?}", Cli::read(line).expect("parses")).contains("canary"));
}

#[test]
fn patterns_tokens_and_keys_that_begin_with_a_sign_are_taken() {
    for line in [
        "backup shop,user_* /bk --hosts h --tables orders_*,!*_tmp,shop.a --with-roles",
        "restore * /bk --hosts h --tables !*_tmp",
        "restore shop /bk --hosts h --token-range -9223372036854775808:0 --token-range 5:9 --if-exists append",
        "restore shop /bk --hosts h --partition-key -5 --tables shop.a --if-exists only-missing --timestamps now --ttl restart",
        "restore shop /bk --hosts h --keyspace-as copy --table-as a=b,c=d --table-as e=f --map-dc x=y --drop --yes",
        "verify /bk --against-cluster --hosts h --keyspace-as copy",
        "verify s3://b/p 20261122T145053Z-7k3f --against-cluster --coordinator http://c:1 --cluster prod --detach",
        "diff /bk a b --rows --limit 9",
        "diff /bk --against-cluster --hosts h --rows --keyspace shop --keyspace-as copy",
        "cat /bk --tables shop.a --token-range -5:5",
        "rehearse /bk --hosts h --sample 0.5%",
        "import /old /bk",
        "backup shop main --coordinator http://c:1 --cluster p --priority high --workers 2 --ranges 8 --idempotency-key shop-1",
        "backup shop /bk --hosts h --ranges 2 --idempotency-key shop-1 --rate 50krows,20MiB",
        "verify main --against-cluster --coordinator http://c:1 --cluster p --priority low --detach --fresh",
        "job limit j-1 --coordinator http://c:1 --priority low --workers none --ranges 3 --rate none --pace full",
        "job pause j-1 --coordinator http://c:1",
        "job resume j-1 --coordinator http://c:1",
        "cluster list --coordinator http://c:1",
        "cluster limit prod --coordinator http://c:1 --rate 20MiB --ranges none --requests-per-node 2",
        "worker drain w --coordinator http://c:1 --wait",
        "worker drain w --coordinator http://c:1 --undo",
        "coordinator --state-dir /s --metrics-listen 127.0.0.1:9100 --log-format json --otlp-endpoint http://o:4317",
    ] {
        read(&format!("ringvault {line}")).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn worker_runs_one_or_lists_them() {
    let cli = read("ringvault worker --config /w.toml --coordinator http://c:1 --slots 8").expect("runs one");
    assert_eq!(cli.command.name(), "worker");
    let cli = read("ringvault worker list --coordinator http://c:1").expect("lists");
    assert_eq!(cli.command.name(), "worker list");
    let cli = read("ringvault --coordinator http://c:1 job watch j-1").expect("watches");
    assert_eq!(cli.command.name(), "job");
}

#[test]
fn no_help_or_debug_output_shows_a_password_of_the_environment() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("RINGVAULT_PASSWORD"));
    assert!(!help.contains("RINGVAULT_PASSWORD="), "the value would stand behind it");
}
