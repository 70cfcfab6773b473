//! `ringvault verify`: is a repository what was written. Findings are the answer, exit code 3 says that there are some.

use std::{collections::BTreeSet, time::Duration};

use ringvault_archive::{
    check::{CheckProgress, CheckReport, Finding, FindingKind, ReadData, check_backup},
    repository::Repository,
};
use ringvault_client::{Client, ErrorKind, v1};
use ringvault_proto::ids::BackupId;
use ringvault_runtime::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
};
use serde::Serialize;

use super::Context;
use crate::{
    arguments::{jobs::Submission, repositories::Verify},
    exit::Exit,
    interrupt::Interrupt,
    job_run::{self, Asked},
    output::{
        Output,
        format::{plural, size, to_f64},
        json, terminal,
    },
    requests::{self, failed},
};

/// Pause between lines about progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct FindingLine<'a> {
    backup_id: &'a str,
    kind: &'static str,
    object: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct VerifiedLine<'a> {
    backup_id: &'a str,
    objects: u64,
    bytes_read: u64,
    findings: u64,
    read_data: f64,
}

#[derive(Serialize)]
struct VerifyProgress<'a> {
    backup_id: &'a str,
    objects_done: u64,
    objects: u64,
    bytes_done: u64,
    bytes: u64,
}

/// Checks the backups that the flags name, or all; or compares one with a cluster.
pub(super) async fn run(context: &Context, flags: &Verify) -> anyhow::Result<Exit> {
    if flags.against_cluster {
        return against_cluster(context, flags).await;
    }
    let interrupt = Interrupt::listen(&context.tasks, "interrupted; nothing was changed")?;
    let repository = super::open_repository(&flags.repository).await?;
    let ids = chosen(&repository, flags).await?;
    if ids.is_empty() {
        context.output.note(&format!("{} holds no backup; there is nothing to verify", repository.location()));
    }
    let mut findings = 0;
    for id in &ids {
        let report = tokio::select! {
            report = verify(context, &repository, id, flags) => report?,
            () = interrupt.asked() => return Ok(Exit::Interrupted),
        };
        findings += tell(context.output, id, &report, flags);
    }
    Ok(if findings == 0 { Exit::Done } else { Exit::Mismatch })
}

/// Compares one backup with the tables of a cluster, here or by a fleet.
async fn against_cluster(context: &Context, flags: &Verify) -> anyhow::Result<Exit> {
    flags.ids.iter().try_for_each(|id| super::backup_id(id).map(|_| ()))?;
    let spec = requests::verify_spec(&context.common, flags)?;
    let submission = Submission { fresh: flags.fresh, detach: flags.detach };
    let asked = Asked { repository: spec.repository.clone(), spec: Client::verify(spec), submission };
    job_run::run(context, &asked).await
}

async fn chosen(repository: &Repository, flags: &Verify) -> anyhow::Result<Vec<BackupId>> {
    if flags.ids.is_empty() {
        let backups = repository.backups().await.map_err(failed)?;
        return Ok(backups.into_iter().map(|backup| backup.id).collect());
    }
    flags.ids.iter().map(|id| super::backup_id(id)).collect()
}

async fn verify(
    context: &Context,
    repository: &Repository,
    id: &BackupId,
    flags: &Verify,
) -> anyhow::Result<CheckReport> {
    let clock = SystemClock::new();
    let mut told = Duration::ZERO;
    let output = context.output;
    let mut progress = |progress: &CheckProgress| {
        if clock.now().saturating_sub(told) >= LINE_EVERY {
            told = clock.now();
            show(output, id, progress);
        }
    };
    let read = if flags.read_data { ReadData::All } else { ReadData::No };
    let checked = check_backup(repository, id, read, &mut progress).await;
    let mut report = match checked {
        Ok(report) => report,
        // Here damage is the answer, not what keeps one from answering.
        Err(error) if error.kind() == ErrorKind::Corrupt => CheckReport {
            findings: vec![Finding {
                kind: FindingKind::Damaged,
                object: ringvault_archive::names::manifest_object(id),
                message: error.to_string(),
            }],
            ..CheckReport::default()
        },
        Err(error) => return Err(failed(error)),
    };
    if let Some(share) = flags.read_data_subset
        && report.findings.is_empty()
    {
        read_some(context, repository, id, share, &mut report, &mut progress).await?;
    }
    Ok(report)
}

/// Reads a random share of a backup's chunks, at least one.
async fn read_some(
    context: &Context,
    repository: &Repository,
    id: &BackupId,
    share: f64,
    report: &mut CheckReport,
    progress: &mut (dyn FnMut(&CheckProgress) + Send),
) -> anyhow::Result<()> {
    let chunks = chunks(repository, id).await?;
    for chunk in some(chunks, share, &Entropy::from_os()) {
        if let Err(error) = read_one(context, repository, &chunk).await {
            if error.kind() != ErrorKind::Corrupt {
                return Err(failed(error));
            }
            report.findings.push(Finding {
                kind: FindingKind::Damaged,
                object: chunk.object.clone(),
                message: error.to_string(),
            });
        }
        report.progress.bytes_done += chunk.stored_bytes;
        progress(&report.progress);
    }
    Ok(())
}

async fn chunks(repository: &Repository, id: &BackupId) -> anyhow::Result<Vec<v1::Chunk>> {
    let manifest = repository.manifest(id).await.map_err(failed)?;
    let mut objects = BTreeSet::new();
    let mut chunks = Vec::new();
    for entry in &manifest.tables {
        let index = repository.index_of(&manifest, &entry.keyspace, &entry.table).await.map_err(failed)?;
        chunks.extend(index.into_chunks().into_iter().filter(|chunk| objects.insert(chunk.object.clone())));
    }
    Ok(chunks)
}

async fn read_one(
    context: &Context,
    repository: &Repository,
    chunk: &v1::Chunk,
) -> Result<(), ringvault_archive::Error> {
    let mut lines = repository.fetch_chunk(chunk).await?;
    let checked = context.tasks.spawn_blocking(move || lines.check()).await;
    checked.map_err(|e| ringvault_archive::Error::new(ErrorKind::Internal, format!("the check ended early: {e}")))?
}

/// A random share of the items, at least one of any, in random order (Fisher and Yates).
fn some<T>(mut items: Vec<T>, share: f64, entropy: &Entropy) -> Vec<T> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 < share <= 1
    let wanted = ((to_f64(items.len() as u64) * share).ceil() as usize).min(items.len());
    for place in 0..wanted {
        let left = (items.len() - place) as u64;
        let offset = usize::try_from(entropy.u64() % left).unwrap_or_default();
        items.swap(place, place + offset);
    }
    items.truncate(wanted);
    items
}

fn show(output: Output, id: &BackupId, progress: &CheckProgress) {
    let CheckProgress { objects_done, objects, bytes_done, bytes } = *progress;
    if output.json {
        json::print(
            "verify_progress",
            &VerifyProgress { backup_id: id.as_str(), objects_done, objects, bytes_done, bytes },
        );
    } else {
        terminal::tell(format!("{id}: {objects_done} of {}, {} read", plural(objects, "object"), size(bytes_done)));
    }
}

/// Tells what was found; gives the number of findings.
fn tell(output: Output, id: &BackupId, report: &CheckReport, flags: &Verify) -> u64 {
    let findings = report.findings.len() as u64 + report.findings_more;
    for finding in &report.findings {
        let kind = word(finding.kind);
        let line = FindingLine { backup_id: id.as_str(), kind, object: &finding.object, message: &finding.message };
        output.answer("finding", &line, || vec![format!("{id}: {kind}: {}: {}", finding.object, finding.message)]);
    }
    let read_data = if flags.read_data { 1.0 } else { flags.read_data_subset.unwrap_or(0.0) };
    let objects = report.progress.objects_done;
    let line =
        VerifiedLine { backup_id: id.as_str(), objects, bytes_read: report.progress.bytes_done, findings, read_data };
    output.answer("verified", &line, || vec![verdict(id, objects, report.progress.bytes_done, findings, read_data)]);
    findings
}

fn verdict(id: &BackupId, objects: u64, bytes: u64, findings: u64, read_data: f64) -> String {
    let objects = plural(objects, "object");
    if findings > 0 {
        return format!("{id}: {} in {objects}", plural(findings, "finding"));
    }
    match read_data {
        0.0 => format!("{id}: good: {objects} with their lengths (--read-data reads the bytes too)"),
        _ => format!("{id}: good: {objects}, {} read", size(bytes)),
    }
}

fn word(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Missing => "missing",
        FindingKind::WrongLength => "wrong_length",
        FindingKind::Damaged => "damaged",
        FindingKind::WrongSums => "wrong_sums",
        FindingKind::Gap => "gap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_each_chunk_at_most_once_and_at_least_one() {
        let entropy = Entropy::seeded(5);
        assert_eq!(some(vec![7], 0.01, &entropy), [7]);
        assert!(some(Vec::<u8>::new(), 0.5, &entropy).is_empty());
        let taken: BTreeSet<u32> = some((0..100).collect(), 0.25, &entropy).into_iter().collect();
        assert_eq!(taken.len(), 25);
        let all: BTreeSet<u32> = some((0..100).collect(), 1.0, &entropy).into_iter().collect();
        assert_eq!(all.len(), 100);
    }
}
