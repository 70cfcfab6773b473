//! `ringvault verify`: is a repository what was written. Findings are the answer, exit code 3 says that there are some.

use std::time::Duration;

use ringvault_archive::{
    check::{CheckProgress, CheckReport, Finding, FindingKind, ReadData, check_backup},
    repository::Repository,
};
use ringvault_client::{Client, ErrorKind};
use ringvault_proto::ids::BackupId;
use ringvault_runtime::{
    clock::{Clock, SystemClock},
    entropy::Entropy,
};
use serde::Serialize;

use super::Context;
use crate::{
    arguments::repositories::Verify,
    exit::Exit,
    interrupt::Interrupt,
    job_run::{self, Asked},
    output::{
        Output,
        format::{plural, size},
        json::{self, Kind},
        terminal,
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
    let asked = Asked::new(spec.repository.clone(), Client::verify(spec), &flags.submission);
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
    let checked = check_backup(repository, id, read_of(flags), &mut progress).await;
    let report = match checked {
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
    Ok(report)
}

/// How much of the chunks' bytes is read; another share each time.
fn read_of(flags: &Verify) -> ReadData {
    match flags.read_data_subset {
        _ if flags.read_data => ReadData::All,
        None => ReadData::No,
        Some(share) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 < share <= 1
            let per_million = ((share * 1_000_000.0).round() as u32).max(1);
            ReadData::Subset { per_million, seed: Entropy::from_os().u64() }
        }
    }
}

fn show(output: Output, id: &BackupId, progress: &CheckProgress) {
    let CheckProgress { objects_done, objects, bytes_done, bytes } = *progress;
    if output.json {
        json::print(
            Kind::VerifyProgress,
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
        output.answer(Kind::Finding, &line, || vec![format!("{id}: {kind}: {}: {}", finding.object, finding.message)]);
    }
    let read_data = if flags.read_data { 1.0 } else { flags.read_data_subset.unwrap_or(0.0) };
    let objects = report.progress.objects_done;
    let line =
        VerifiedLine { backup_id: id.as_str(), objects, bytes_read: report.progress.bytes_done, findings, read_data };
    output
        .answer(Kind::Verified, &line, || vec![verdict(id, objects, report.progress.bytes_done, findings, read_data)]);
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
pub(super) fn samples() -> Vec<(Kind, String)> {
    let finding = FindingLine { backup_id: "b", kind: word(FindingKind::Gap), object: "o", message: "m" };
    let verified = VerifiedLine { backup_id: "b", objects: 1, bytes_read: 1, findings: 0, read_data: 1.0 };
    let progress = VerifyProgress { backup_id: "b", objects_done: 1, objects: 2, bytes_done: 1, bytes: 2 };
    vec![
        (Kind::Finding, json::text(Kind::Finding, &finding)),
        (Kind::Verified, json::text(Kind::Verified, &verified)),
        (Kind::VerifyProgress, json::text(Kind::VerifyProgress, &progress)),
    ]
}
