//! `ringvault cat`: rows of a backup on standard output, one row line each (archive/FORMAT.md), in token order.

use std::sync::Arc;

use ringvault_archive::{
    manifest::Manifest,
    repository::Repository,
    rows::{RowSource, StoredRows, choice::RowChoice},
    table::TableLayout,
};
use ringvault_client::{ErrorKind, Failure};
use ringvault_proto::pattern::Patterns;

use super::Context;
use crate::{
    arguments::{repositories::Cat, usage},
    exit::Exit,
    interrupt::Interrupt,
    output::{
        format::plural,
        json,
        terminal::{self, Written},
    },
    requests::{self, failed},
};

/// Tables that a message names.
const NAMED_MAX: usize = 20;

/// Prints rows until all are printed, nobody reads any more, or it is asked to stop.
pub(super) async fn run(context: &Context, flags: &Cat) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen(&context.tasks, "interrupted")?;
    tokio::select! {
        printed = print(context, flags) => printed,
        () = interrupt.asked() => Ok(Exit::Interrupted),
    }
}

async fn print(context: &Context, flags: &Cat) -> anyhow::Result<Exit> {
    let repository = Arc::new(super::open_repository(&flags.repository).await?);
    let patterns = Patterns::of_tables(std::slice::from_ref(&flags.tables)).map_err(usage)?;
    let (manifest, keyspace, table) = match &flags.id {
        Some(id) => {
            let manifest = repository.manifest(&super::backup_id(id)?).await.map_err(failed)?;
            let (keyspace, table) = table_of(&manifest, &patterns)?;
            (manifest, keyspace, table)
        }
        None => newest(&repository, &patterns).await?,
    };
    let index = repository.index_of(&manifest, &keyspace, &table).await.map_err(failed)?;
    let layout = TableLayout::from_message(index.table()).map_err(failed)?;
    let key = flags.partition_key.as_ref().map(requests::partition_key).transpose()?;
    let choice = RowChoice::new(&layout, &flags.part.token_range, key.as_ref()).map_err(failed)?;
    let mut rows = StoredRows::chosen(&repository, &index, choice).map_err(failed)?;
    let mut printed = 0;
    let mut text = Vec::new();
    while let Some(batch) = rows.next_batch().await.map_err(failed)? {
        text.clear();
        for row in &batch {
            if context.output.json {
                let token = row.token.0.to_string();
                json::row_line(&mut text, &keyspace, &table, &token, &row.line);
            } else {
                text.extend_from_slice(&row.line);
            }
        }
        printed += batch.len() as u64;
        if terminal::write(&text) == Written::NobodyReads {
            return Ok(Exit::Done);
        }
    }
    if !context.output.json && printed == 0 {
        let read = plural(rows.read().objects, "object");
        terminal::tell(format!("note: {keyspace}.{table} of {} holds no such row ({read} read)", manifest.backup_id));
    }
    Ok(Exit::Done)
}

/// The newest backup that holds such a table, and which it is.
async fn newest(repository: &Repository, patterns: &Patterns) -> anyhow::Result<(Manifest, String, String)> {
    let backups = repository.backups().await.map_err(failed)?;
    for backup in backups.into_iter().rev() {
        let manifest = backup.manifest.map_err(failed)?;
        if manifest.tables.iter().any(|entry| patterns.has_table(&entry.keyspace, &entry.table)) {
            let (keyspace, table) = table_of(&manifest, patterns)?;
            return Ok((manifest, keyspace, table));
        }
    }
    let message = format!("no backup of {} holds table {patterns}; see `ringvault list`", repository.location());
    Err(failed(Failure::new(ErrorKind::NotFound, message)))
}

fn table_of(manifest: &Manifest, patterns: &Patterns) -> anyhow::Result<(String, String)> {
    let found: Vec<_> =
        manifest.tables.iter().filter(|entry| patterns.has_table(&entry.keyspace, &entry.table)).collect();
    match found[..] {
        [entry] => Ok((entry.keyspace.clone(), entry.table.clone())),
        [] => {
            let held = names(manifest.tables.iter().map(|entry| format!("{}.{}", entry.keyspace, entry.table)));
            let message = format!("backup {} holds no table {patterns}; it holds {held}", manifest.backup_id);
            Err(failed(Failure::new(ErrorKind::NotFound, message)))
        }
        _ => {
            let found = names(found.iter().map(|entry| format!("{}.{}", entry.keyspace, entry.table)));
            Err(usage(format!("--tables {patterns} could be {found}; name its keyspace, too")).into())
        }
    }
}

fn names(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    let text = names.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_cut() {
        assert_eq!(names(["a", "b"].into_iter().map(str::to_owned)), "a, b");
        assert!(names((0..30).map(|n| n.to_string())).ends_with("and 10 more"));
    }
}
