//! What of a backup a command is about, and how it is to be changed: which of these flags go together.

use ringvault_proto::pattern::Patterns;

use crate::arguments::{
    Command,
    repositories::{Cat, Compared, Diff, Verify},
    restore::{IfExists, Part, Place, Rehearse, Restore, Transforms},
    transforms::{Key, Pair},
    usage,
    values::names,
};

/// Longest name of a keyspace or a table (Cassandra's `SchemaConstants.FILENAME_LENGTH` bounds it since 5.0; before that
/// it was 48, which the server says itself).
const NAME_BYTES_MAX: usize = 222;

type Checked = Result<(), clap::Error>;

/// Refuses choices and transforms that make no sense.
pub(super) fn make_sense(command: &Command) -> Checked {
    match command {
        Command::Backup(backup) => choice(&names(&backup.what.keyspaces), &backup.what.tables),
        Command::Plan(plan) => choice(&names(&plan.what.keyspaces), &plan.what.tables),
        Command::Restore(restore) => a_restore(restore),
        Command::Rehearse(rehearse) => a_rehearsal(rehearse),
        Command::Verify(verify) => a_verification(verify),
        Command::Diff(diff) => a_diff(diff),
        Command::Cat(cat) => a_cat(cat),
        Command::List(_)
        | Command::Show(_)
        | Command::Import(_)
        | Command::Job(_)
        | Command::Worker(_)
        | Command::Cluster(_)
        | Command::Coordinator(_) => Ok(()),
    }
}

fn choice(keyspaces: &[String], tables: &[String]) -> Checked {
    Patterns::of_keyspaces(keyspaces).map_err(|e| usage(format!("KEYSPACES: {e}")))?;
    Patterns::of_tables(tables).map_err(|e| usage(format!("--tables: {e}")))?;
    Ok(())
}

fn a_restore(restore: &Restore) -> Checked {
    let keyspaces = names(&restore.keyspaces);
    let transforms = &restore.transforms;
    choice(&keyspaces, &restore.tables)?;
    a_place(&transforms.place, &keyspaces)?;
    an_existing_table(restore)?;
    parts_of_the_schema(restore)?;
    if let Some(key) = &transforms.partition_key {
        a_key(key, &transforms.part, &restore.tables)?;
    }
    distinct("--map-dc", &transforms.map_dc)?;
    if transforms.replication.is_some() && !transforms.map_dc.is_empty() {
        return Err(usage(
            "--replication replaces the backup's replication and --map-dc renames data centres of it; give one",
        ));
    }
    Ok(())
}

fn an_existing_table(restore: &Restore) -> Checked {
    let Transforms { if_exists, part, partition_key, data_only, .. } = &restore.transforms;
    if !restore.drop {
        return Ok(());
    }
    if let Some(what) = if_exists.filter(|what| *what != IfExists::Fail) {
        let what = word(what);
        return Err(usage(format!(
            "--drop leaves no table for --if-exists {what}; give --drop to replace what stands, or --if-exists alone"
        )));
    }
    if *data_only {
        return Err(usage("--data-only wants the tables that --drop would drop; give one"));
    }
    if partition_key.is_some() || !part.token_range.is_empty() {
        return Err(usage(
            "--drop would delete also the rows that --token-range or --partition-key leave out; to bring some rows back \
             give --if-exists append or only-missing, or --keyspace-as NAME for another place",
        ));
    }
    Ok(())
}

fn parts_of_the_schema(restore: &Restore) -> Checked {
    let transforms = &restore.transforms;
    if transforms.schema_only && transforms.data_only {
        return Err(usage("--schema-only and --data-only together leave nothing; leave both out to restore both"));
    }
    let about_rows = [
        ("--timestamps", transforms.timestamps.is_some()),
        ("--ttl", transforms.ttl.is_some()),
        ("--token-range", !transforms.part.token_range.is_empty()),
        ("--partition-key", transforms.partition_key.is_some()),
        ("--if-exists", transforms.if_exists.is_some_and(|what| what != IfExists::Fail)),
    ];
    if let Some(flag) = first(&about_rows).filter(|_| transforms.schema_only) {
        return Err(usage(format!("{flag} is about rows, of which --schema-only writes none")));
    }
    let about_schema = [
        ("--replication", transforms.replication.is_some()),
        ("--map-dc", !transforms.map_dc.is_empty()),
        ("--with-roles", transforms.with_roles),
    ];
    if let Some(flag) = first(&about_schema).filter(|_| transforms.data_only) {
        return Err(usage(format!("{flag} is about the schema, which --data-only leaves alone")));
    }
    Ok(())
}

fn a_rehearsal(rehearse: &Rehearse) -> Checked {
    choice(&rehearse.keyspace.clone().into_iter().collect::<Vec<_>>(), &rehearse.tables)?;
    distinct("--map-dc", &rehearse.map_dc)?;
    if rehearse.replication.is_some() && !rehearse.map_dc.is_empty() {
        return Err(usage(
            "--replication replaces the backup's replication and --map-dc renames data centres of it; give one",
        ));
    }
    match &rehearse.keyspace {
        Some(keyspace) if !is_name(keyspace) => {
            Err(usage("--keyspace wants one name here: a rehearsal has one scratch keyspace"))
        }
        _ => Ok(()),
    }
}

fn a_verification(verify: &Verify) -> Checked {
    if verify.against_cluster {
        if verify.ids.len() > 1 {
            return Err(usage("--against-cluster compares one backup; give one ID"));
        }
        return compared(&verify.compared);
    }
    with_cluster_only(&verify.compared.given())?;
    with_cluster_only(&verify.submission.given())
}

fn a_diff(diff: &Diff) -> Checked {
    if diff.against_cluster {
        return compared(&diff.compared);
    }
    if diff.b.is_none() {
        return Err(usage(
            "diff wants REPOSITORY A B, two backups of one repository (see `ringvault list`), or REPOSITORY [A] \
             --against-cluster --hosts H1,H2",
        ));
    }
    compared(&diff.compared)?;
    let place = &diff.compared.place;
    with_cluster_only(&[("--keyspace-as", place.keyspace_as.is_some()), ("--table-as", !place.table_as.is_empty())])
}

fn compared(compared: &Compared) -> Checked {
    choice(&compared.keyspace, &compared.tables)?;
    let place = &compared.place;
    match &place.keyspace_as {
        // Without a choice the backup's only keyspace is meant; what reads the backup checks that there is one.
        Some(name) if compared.keyspace.is_empty() => a_name("--keyspace-as", name),
        _ => a_place(place, &compared.keyspace),
    }?;
    distinct("--table-as", &place.table_as)
}

fn with_cluster_only(flags: &[(&str, bool)]) -> Checked {
    match first(flags) {
        Some(flag) => Err(usage(format!("{flag} goes with --against-cluster: it says what to compare there"))),
        None => Ok(()),
    }
}

fn a_cat(cat: &Cat) -> Checked {
    let tables = names(&cat.tables);
    choice(&[], &tables)?;
    match &cat.partition_key {
        Some(key) => a_key(key, &cat.part, &tables),
        None if one_table(&tables) => Ok(()),
        None => Err(usage("cat prints one table; give --tables KEYSPACE.TABLE")),
    }
}

fn a_place(place: &Place, keyspaces: &[String]) -> Checked {
    if let Some(name) = &place.keyspace_as {
        a_name("--keyspace-as", name)?;
        let one = Patterns::of_keyspaces(keyspaces).is_ok_and(|patterns| patterns.only().is_some());
        if !one {
            return Err(usage(format!(
                "--keyspace-as {name} renames one keyspace; name one, without globs, and run the command again for each other"
            )));
        }
    }
    let several = Patterns::of_keyspaces(keyspaces).is_ok_and(|patterns| patterns.names().count() > 1);
    if several && !place.table_as.is_empty() {
        return Err(usage(
            "--table-as renames tables of one keyspace; name one, and run the command again for each other",
        ));
    }
    for Pair { old, new } in &place.table_as {
        a_name("--table-as", old)?;
        a_name("--table-as", new)?;
    }
    distinct("--table-as", &place.table_as)
}

fn distinct(flag: &str, pairs: &[Pair]) -> Checked {
    for (at, pair) in pairs.iter().enumerate() {
        let before = &pairs[..at];
        if before.iter().any(|other| other.old == pair.old) {
            return Err(usage(format!("{flag} gives {} two new names", pair.old)));
        }
        if flag == "--table-as" && before.iter().any(|other| other.new == pair.new) {
            return Err(usage(format!("{flag} gives two tables the name {}", pair.new)));
        }
    }
    Ok(())
}

fn a_key(key: &Key, part: &Part, tables: &[String]) -> Checked {
    key.cells().map_err(usage)?;
    if !part.token_range.is_empty() {
        return Err(usage("--partition-key names one partition already; leave --token-range out"));
    }
    if !one_table(tables) {
        return Err(usage("--partition-key is the key of one table; name that with --tables KEYSPACE.TABLE"));
    }
    Ok(())
}

fn one_table(tables: &[String]) -> bool {
    Patterns::of_tables(tables).is_ok_and(|patterns| patterns.only().is_some())
}

fn a_name(flag: &str, name: &str) -> Checked {
    if is_name(name) {
        return Ok(());
    }
    Err(usage(format!(
        "{flag}: {name:?} is no name; names are letters, digits and underscores, at most {NAME_BYTES_MAX}, unquoted"
    )))
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(good)
}

fn first<'a>(flags: &[(&'a str, bool)]) -> Option<&'a str> {
    flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
}

fn word(what: IfExists) -> &'static str {
    match what {
        IfExists::Fail => "fail",
        IfExists::Append => "append",
        IfExists::Truncate => "truncate",
        IfExists::OnlyMissing => "only-missing",
    }
}
