//! CaptureSchema and ApplySchema: the DDL of keyspaces, from the cluster into the repository and back.

use ringvault_archive::schema::SchemaDocument;
use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::BackupId,
    v1::{self, apply_schema::Stage},
};

use super::Context;
use crate::cql::{self, ddl, describe};

pub(super) async fn capture(
    context: &Context,
    assignment: &v1::Assignment,
    work: v1::CaptureSchema,
) -> Result<(), Failure> {
    let backup = backup_id(&work.backup_id)?;
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let repository = context.places.repository(&assignment.repository).await?;
    let (document, warnings) = describe::capture(&cluster, &work).await?;
    let written = repository.write_schema(&backup, &document).await?;
    let captured = v1::CaptureResult {
        schema_identity: written.identity.0.to_vec().into(),
        schema_bytes: written.stored_bytes,
        objects: u32::try_from(document.objects.len()).unwrap_or(u32::MAX),
        warnings,
    };
    context
        .reporter
        .complete(|request| {
            request.captured = Some(captured);
            request.ended = true;
        })
        .await
}

pub(super) async fn apply(
    context: &Context,
    assignment: &v1::Assignment,
    work: v1::ApplySchema,
) -> Result<(), Failure> {
    let cluster = context.places.cluster(&assignment.cluster).await?;
    let mut inspected = None;
    let applied = match work.stage() {
        Stage::Preflight => {
            let document = stored_schema(context, assignment, &work).await?;
            // the target's nodes and ring, by which the coordinator orders what comes
            inspected = Some(cql::inspect::topology(&cluster));
            v1::ApplyResult { warnings: ddl::preflight(&cluster, &work, &document).await?, statements: 0 }
        }
        Stage::Before => ddl::apply_before(&cluster, &work, &stored_schema(context, assignment, &work).await?).await?,
        Stage::After => {
            let document = stored_schema(context, assignment, &work).await?;
            let progress = context.progress.clone();
            ddl::apply_after(&cluster, &work, &document, &move |waiting| progress.wait_for(waiting)).await?
        }
        Stage::Scrap => ddl::scrap(&cluster, &work).await?,
        Stage::Unspecified => {
            let message = "the assignment names no stage of the schema; update the worker";
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
    };
    context
        .reporter
        .complete(|request| {
            request.applied = Some(applied);
            request.inspected = inspected;
            request.ended = true;
        })
        .await
}

async fn stored_schema(
    context: &Context,
    assignment: &v1::Assignment,
    work: &v1::ApplySchema,
) -> Result<SchemaDocument, Failure> {
    let repository = context.places.repository(&assignment.repository).await?;
    let manifest = repository.manifest(&backup_id(&work.backup_id)?).await?;
    Ok(repository.read_schema(&manifest).await?)
}

fn backup_id(text: &str) -> Result<BackupId, Failure> {
    text.parse().map_err(|error| Failure::new(ErrorKind::Invalid, format!("{error}")))
}
