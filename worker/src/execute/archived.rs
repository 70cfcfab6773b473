//! The rows of a segment as the repository holds them: checked, decoded, added up.

use std::sync::Arc;

use ringvault_archive::{check::sums_of, chunk, digest::Sums, repository::Repository, table::TableLayout};
use ringvault_proto::{
    error::{ErrorKind, Failure},
    v1,
};

use super::{Context, broken_task};

/// Fetches a chunk and goes through all of it; gives its sums.
///
/// # Errors
/// `Corrupt` where object, lines or sums are not what the index says.
pub(super) async fn check_chunk(
    context: &Context,
    repository: &Repository,
    layout: &Arc<TableLayout>,
    record: &v1::Chunk,
) -> Result<Sums, Failure> {
    let lines = repository.fetch_chunk(record).await?;
    let layout = layout.clone();
    let sums = context.tasks.spawn_blocking(move || sums_of(lines, &layout)).await.map_err(broken_task)??;
    let recorded = chunk::sums(record)?;
    if sums != recorded {
        let message = format!(
            "the rows of {} don't add up to what the index says; the index or the chunk was changed",
            record.object
        );
        return Err(Failure::new(ErrorKind::Corrupt, message));
    }
    Ok(sums)
}
