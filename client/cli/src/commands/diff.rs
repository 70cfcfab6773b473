//! `ringvault diff`: what differs between two backups of a repository, or between a backup and a cluster. In this process:
//! rows never pass a coordinator. Of the repository only segments whose sums differ are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use ringvault_archive::{
    index::TableIndex,
    manifest::Manifest,
    merge::Difference,
    repository::Repository,
    rows::{
        choice::RowChoice,
        diff::{DiffOptions, StoredTable, diff},
    },
    table::TableLayout,
};
use ringvault_client::{ErrorKind, Failure, v1::TableName};
use ringvault_proto::pattern::Patterns;

use super::Context;
use crate::{
    arguments::{repositories::Diff, usage},
    embedded::{self, LiveCluster},
    exit::Exit,
    interrupt::Interrupt,
    output::differences::{self, Compared, Tally},
    requests::{self, failed},
};

/// Keyspace and table.
type Name = (String, String);

/// Compares until all is compared or it is asked to stop.
pub(super) async fn run(context: &Context, flags: &Diff) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(&context.tasks, "interrupted; nothing was changed")?;
    tokio::select! {
        compared = Box::pin(compare(context, flags)) => compared,
        () = interrupt.asked() => Ok(Exit::Interrupted),
    }
}

async fn compare(context: &Context, flags: &Diff) -> anyhow::Result<Exit> {
    let repository = Arc::new(super::open_repository(&flags.repository).await?);
    let keyspaces = Patterns::of_keyspaces(&flags.compared.keyspace).map_err(usage)?;
    let tables = Patterns::of_tables(&flags.compared.tables).map_err(usage)?;
    let a = match &flags.a {
        Some(id) => repository.manifest(&super::backup_id(id)?).await,
        None => repository.newest(&keyspaces).await,
    };
    let a = a.map_err(failed)?;
    let mut run = Run { context, flags, repository, shown: 0, tally: Tally::default() };
    let names = match &flags.b {
        Some(id) => {
            let b = run.repository.manifest(&super::backup_id(id)?).await.map_err(failed)?;
            let chosen = chosen(&[&a, &b], &keyspaces, &tables)?;
            run.two_backups(&a, &b, &chosen).await?;
            (a.backup_id.to_string(), b.backup_id.to_string())
        }
        None => {
            let chosen = chosen(&[&a], &keyspaces, &tables)?;
            let places = Places::new(flags, &chosen)?;
            let cluster = embedded::live_cluster(&context.common, &context.tasks).await?;
            run.against(&a, &cluster, &chosen, &places).await?;
            (a.backup_id.to_string(), format!("cluster {}", cluster.name()))
        }
    };
    let equal = differences::verdict(context.output, (&names.0, &names.1), &run.tally, !run.is_full());
    Ok(if equal { Exit::Done } else { Exit::Mismatch })
}

/// The tables that are meant, of all that any of the backups holds.
fn chosen(manifests: &[&Manifest], keyspaces: &Patterns, tables: &Patterns) -> anyhow::Result<BTreeSet<Name>> {
    let held: BTreeSet<Name> = manifests
        .iter()
        .flat_map(|manifest| &manifest.tables)
        .map(|entry| (entry.keyspace.clone(), entry.table.clone()))
        .collect();
    let absent = |what: String| {
        let backups: Vec<&str> = manifests.iter().map(|manifest| manifest.backup_id.as_str()).collect();
        let message = format!("{} {what}; see `ringvault show`", backups.join(" and "));
        failed(Failure::new(ErrorKind::NotFound, message))
    };
    let lacks = |keyspace: Option<&str>, table: &str| {
        !held.iter().any(|(k, t)| t == table && keyspace.is_none_or(|keyspace| keyspace == k))
    };
    if let Some((_, name)) = keyspaces.names().find(|(_, name)| !held.iter().any(|(keyspace, _)| keyspace == name)) {
        return Err(absent(format!("hold no table of keyspace {name}")));
    }
    if let Some((_, name)) = tables.names().find(|(keyspace, name)| lacks(*keyspace, name)) {
        return Err(absent(format!("hold no table {name}")));
    }
    let meant = |name: &Name| keyspaces.has_keyspace(&name.0) && tables.has_table(&name.0, &name.1);
    let chosen: BTreeSet<Name> = held.iter().filter(|name| meant(name)).cloned().collect();
    if chosen.is_empty() {
        return Err(absent("hold no such table".to_owned()));
    }
    Ok(chosen)
}

/// Where the tables of a backup stand in the cluster.
struct Places<'a> {
    keyspace_as: Option<&'a str>,
    table_as: BTreeMap<&'a str, &'a str>,
}

impl<'a> Places<'a> {
    fn new(flags: &'a Diff, chosen: &BTreeSet<Name>) -> anyhow::Result<Self> {
        let place = &flags.compared.place;
        let keyspaces: BTreeSet<&str> = chosen.iter().map(|(keyspace, _)| keyspace.as_str()).collect();
        if keyspaces.len() > 1 && (place.keyspace_as.is_some() || !place.table_as.is_empty()) {
            let held = keyspaces.into_iter().collect::<Vec<_>>().join(", ");
            let message =
                format!("--keyspace-as and --table-as rename within one keyspace; choose one of {held} by --keyspace");
            return Err(usage(message).into());
        }
        let table_as: BTreeMap<&str, &str> =
            place.table_as.iter().map(|pair| (pair.old.as_str(), pair.new.as_str())).collect();
        if let Some(old) = table_as.keys().find(|old| !chosen.iter().any(|(_, table)| table == **old)) {
            return Err(usage(format!("--table-as: the backup holds no table {old} that is compared")).into());
        }
        Ok(Self { keyspace_as: place.keyspace_as.as_deref(), table_as })
    }

    fn of(&self, (keyspace, table): &Name) -> TableName {
        TableName {
            keyspace: self.keyspace_as.unwrap_or(keyspace).to_owned(),
            table: self.table_as.get(table.as_str()).copied().unwrap_or(table).to_owned(),
        }
    }
}

/// One comparison as it goes on.
struct Run<'a> {
    context: &'a Context,
    flags: &'a Diff,
    repository: Arc<Repository>,
    /// Rows that were told.
    shown: u64,
    tally: Tally,
}

impl Run<'_> {
    async fn two_backups(&mut self, a: &Manifest, b: &Manifest, chosen: &BTreeSet<Name>) -> anyhow::Result<()> {
        for (keyspace, table) in chosen {
            if self.is_full() {
                return Ok(());
            }
            match (a.table(keyspace, table), b.table(keyspace, table)) {
                (Some(_), Some(_)) => {}
                (of_a, _) => {
                    let side = if of_a.is_some() { "a" } else { "b" };
                    differences::one_sided(self.context.output, keyspace, table, side);
                    self.tally.one_sided();
                    continue;
                }
            }
            let left = self.repository.index_of(a, keyspace, table).await.map_err(failed)?;
            let right = self.repository.index_of(b, keyspace, table).await.map_err(failed)?;
            let (compared, options) = self.prepare(&left)?;
            let repository = self.repository.clone();
            let (left, right) = (
                StoredTable { repository: &repository, index: &left },
                StoredTable { repository: &repository, index: &right },
            );
            let report = diff(left, right, &options, |found| self.tell(&compared, &found)).await.map_err(failed)?;
            differences::table(self.context.output, &compared, &report, options.rows);
            self.tally.compared(&report, options.rows);
        }
        Ok(())
    }

    async fn against(
        &mut self,
        a: &Manifest,
        cluster: &LiveCluster,
        chosen: &BTreeSet<Name>,
        places: &Places<'_>,
    ) -> anyhow::Result<()> {
        for name in chosen {
            if self.is_full() {
                return Ok(());
            }
            let index = self.repository.index_of(a, &name.0, &name.1).await.map_err(failed)?;
            let (compared, options) = self.prepare(&index)?;
            let live = match cluster.table(&index, Some(&places.of(name)), options.values_only).await {
                Ok(live) => live,
                Err(failure) if failure.kind == ErrorKind::NotFound => {
                    differences::one_sided(self.context.output, &name.0, &name.1, "a");
                    self.tally.one_sided();
                    continue;
                }
                Err(failure) => return Err(failed(failure)),
            };
            let repository = self.repository.clone();
            let tell = |found| self.tell(&compared, &found);
            let report = live.diff(&repository, &index, &options, tell).await.map_err(failed)?;
            differences::table(self.context.output, &compared, &report, true);
            self.tally.compared(&report, true);
        }
        Ok(())
    }

    fn prepare(&self, index: &TableIndex) -> anyhow::Result<(Compared, DiffOptions)> {
        let layout = TableLayout::from_message(index.table()).map_err(failed)?;
        let ranges = requests::token_ranges(&self.flags.compared.part);
        let choice = RowChoice::new(&layout, &ranges, None).map_err(failed)?;
        let key = layout.columns.iter().filter(|column| column.role.is_key()).map(|column| column.name.clone());
        let (keyspace, table) = index.table_name();
        let compared = Compared { keyspace: keyspace.to_owned(), table: table.to_owned(), key: key.collect() };
        // A range may cut a segment: only its rows tell whether they are the ones that differ.
        let rows = self.flags.rows || !choice.is_all();
        Ok((compared, DiffOptions { values_only: self.flags.compared.values_only, choice, rows }))
    }

    fn tell(&mut self, compared: &Compared, difference: &Difference) -> ControlFlow<()> {
        if !self.flags.rows {
            return ControlFlow::Continue(());
        }
        differences::row(self.context.output, compared, difference);
        self.shown += 1;
        if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether as many rows were told as were asked for.
    fn is_full(&self) -> bool {
        self.flags.limit.is_some_and(|limit| self.shown >= limit)
    }
}
