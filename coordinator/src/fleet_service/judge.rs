//! Judges what workers send. A worker is ours, but a broken or foreign one must not break the journal or a manifest.

use ringvault_proto::{
    error::{ErrorKind, Failure},
    ids::{AssignmentId, JobId, WorkerId},
    v1,
};

use crate::core::POLL_MS_MAX;

/// Longest name of a worker, data centre, profile or version.
const TEXT_BYTES_MAX: usize = 256;

/// Longest line for a person.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Longest object name.
const OBJECT_BYTES_MAX: usize = 1024;

/// Things of one list at most.
const LIST_MAX: usize = 100_000;

/// Slots of a worker at most.
const SLOTS_MAX: u32 = 1024;

type Judged = Result<(), Failure>;

/// A report; the first of a stream must say who reports.
pub(super) fn report(report: &v1::AttendRequest, known: Option<&v1::WorkerHello>) -> Judged {
    let Some(hello) = &report.hello else {
        return if known.is_some() { Ok(()) } else { Err(invalid("the first report of a stream must carry hello")) };
    };
    worker(&hello.worker_id)?;
    if known.is_some_and(|known| known.worker_id != hello.worker_id) {
        return Err(invalid("a stream belongs to one worker; open another for another"));
    }
    if hello.slots == 0 || hello.slots > SLOTS_MAX {
        return Err(invalid(format!("a worker has 1 to {SLOTS_MAX} slots, not {}", hello.slots)));
    }
    for text in [&hello.name, &hello.data_center, &hello.version].into_iter().chain(&hello.clusters) {
        short("a text of hello", text, TEXT_BYTES_MAX)?;
    }
    bounded("clusters", hello.clusters.len())?;
    bounded("leases", report.leases.len())?;
    for lease in &report.leases {
        short("throttle", &lease.throttle, LINE_BYTES_MAX)?;
        short("waiting", &lease.waiting, LINE_BYTES_MAX)?;
    }
    Ok(())
}

/// A poll for work.
pub(super) fn lease(request: &v1::LeaseRequest) -> Judged {
    worker(&request.worker_id)?;
    if request.assignments_max == 0 {
        return Err(invalid("assignments_max is 0; ask for at least one"));
    }
    if request.wait_ms > POLL_MS_MAX {
        return Err(invalid(format!("wait_ms is {}; it must be at most {}", request.wait_ms, POLL_MS_MAX)));
    }
    bounded("proofs", request.proofs.len())?;
    for proof in &request.proofs {
        proof.job_id.parse::<JobId>().map_err(|e| invalid(e.to_string()))?;
        short("nonce", &proof.nonce, TEXT_BYTES_MAX)?;
        proof.failure.as_ref().map_or(Ok(()), failure)?;
    }
    Ok(())
}

/// Finished pieces.
pub(super) fn complete(request: &v1::CompleteRequest) -> Judged {
    worker(&request.worker_id)?;
    held(request.lease.as_ref())?;
    for (what, length) in
        [("segments", request.segments.len()), ("chunks", request.chunks.len()), ("verified", request.verified.len())]
    {
        bounded(what, length)?;
    }
    request.segments.iter().flat_map(|segment| &segment.chunks).try_for_each(chunk)?;
    request.verified.iter().try_for_each(|verified| short("difference", &verified.difference, LINE_BYTES_MAX))?;
    if let Some(captured) = &request.captured {
        thirty_two("schema_identity", &captured.schema_identity)?;
    }
    request.inspected.as_ref().map_or(Ok(()), inspected)
}

/// A stored chunk: what it says goes into an index.
fn chunk(chunk: &v1::Chunk) -> Judged {
    thirty_two("identity", &chunk.identity)?;
    thirty_two("value_sum", &chunk.value_sum)?;
    thirty_two("time_sum", &chunk.time_sum)?;
    short("object", &chunk.object, OBJECT_BYTES_MAX)?;
    let leaves = chunk.object.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if !chunk.object.starts_with("data/") || leaves {
        return Err(invalid(format!("object {:?} is not below data/", chunk.object)));
    }
    if v1::Compression::try_from(chunk.compression).unwrap_or_default() == v1::Compression::Unspecified {
        return Err(invalid(format!("chunk {} has no known compression", chunk.object)));
    }
    // Sums of rows must not wrap: no chunk comes near this.
    let counts = [chunk.rows, chunk.static_rows, chunk.encoded_bytes, chunk.stored_bytes];
    if counts.iter().any(|count| *count > 1 << 48) || chunk.rows + chunk.static_rows == 0 {
        return Err(invalid(format!("chunk {} has counts that no chunk has", chunk.object)));
    }
    if chunk.key_only_rows > chunk.rows || chunk.estimated_cells > chunk.encoded_bytes {
        return Err(invalid(format!("chunk {} has more facts than rows", chunk.object)));
    }
    Ok(())
}

fn inspected(result: &v1::InspectResult) -> Judged {
    bounded("tables", result.tables.len())?;
    bounded("ring", result.ring.len())?;
    bounded("nodes", result.nodes.len())?;
    for table in &result.tables {
        let name = table.table.as_ref().filter(|name| !name.table.is_empty() && !name.keyspace.is_empty());
        let name = name.ok_or_else(|| invalid("an inspected table has no name"))?;
        if table.columns.is_empty() || table.fingerprint.is_empty() {
            return Err(invalid(format!("inspected table {} has no columns or no fingerprint", name.table)));
        }
    }
    Ok(())
}

/// A failed assignment.
pub(super) fn fail(request: &v1::FailRequest) -> Judged {
    worker(&request.worker_id)?;
    held(request.lease.as_ref())?;
    let given = request.failure.as_ref().ok_or_else(|| invalid("fail says no failure; say why"))?;
    failure(given)
}

/// Assignments given back.
pub(super) fn give_back(request: &v1::ReturnRequest) -> Judged {
    worker(&request.worker_id)?;
    bounded("leases", request.leases.len())?;
    request.leases.iter().try_for_each(|lease| held(Some(lease)))
}

fn worker(id: &str) -> Judged {
    id.parse::<WorkerId>().map(drop).map_err(|e| invalid(e.to_string()))
}

fn held(lease: Option<&v1::LeaseId>) -> Judged {
    let lease = lease.ok_or_else(|| invalid("the request names no lease"))?;
    lease.assignment_id.parse::<AssignmentId>().map(drop).map_err(|e| invalid(e.to_string()))
}

fn failure(failure: &v1::Failure) -> Judged {
    short("failure", &failure.message, LINE_BYTES_MAX)
}

fn thirty_two(what: &str, bytes: &[u8]) -> Judged {
    if bytes.len() == 32 { Ok(()) } else { Err(invalid(format!("{what} has 32 bytes, not {}", bytes.len()))) }
}

fn short(what: &str, text: &str, max: usize) -> Judged {
    if text.len() <= max { Ok(()) } else { Err(invalid(format!("{what} has {} bytes; at most {max}", text.len()))) }
}

fn bounded(what: &str, length: usize) -> Judged {
    if length <= LIST_MAX {
        Ok(())
    } else {
        Err(invalid(format!("{length} {what} in one message; at most {LIST_MAX}")))
    }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::chunk as sound_chunk;

    fn with_chunk(change: impl FnOnce(&mut v1::Chunk)) -> Judged {
        let mut chunk = sound_chunk(0, 0, 3);
        change(&mut chunk);
        complete(&v1::CompleteRequest {
            worker_id: "w".into(),
            lease: Some(v1::LeaseId { assignment_id: "j.1".into(), epoch: 1 }),
            segments: vec![v1::SegmentDone { segment: 0, chunks: vec![chunk], closed: false }],
            ..v1::CompleteRequest::default()
        })
    }

    #[test]
    fn a_sound_chunk_passes_and_every_broken_one_is_refused() {
        with_chunk(|_| ()).expect("sound");
        for broken in [
            with_chunk(|chunk| chunk.identity = vec![1; 31].into()),
            with_chunk(|chunk| chunk.value_sum.clear()),
            with_chunk(|chunk| chunk.object = "data/../../etc/passwd".into()),
            with_chunk(|chunk| chunk.object = "ringvault.json".into()),
            with_chunk(|chunk| chunk.compression = 0),
            with_chunk(|chunk| chunk.compression = 77),
            with_chunk(|chunk| (chunk.rows, chunk.static_rows) = (0, 0)),
            with_chunk(|chunk| chunk.rows = u64::MAX),
        ] {
            assert_eq!(broken.expect_err("must be refused").kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn the_first_report_must_say_who_reports_and_a_stream_keeps_its_worker() {
        let hello = |id: &str| v1::WorkerHello { worker_id: id.into(), slots: 2, ..v1::WorkerHello::default() };
        let with = |hello| v1::AttendRequest { hello, ..v1::AttendRequest::default() };
        assert!(report(&with(None), None).is_err());
        assert!(report(&with(Some(hello("a"))), None).is_ok());
        assert!(report(&with(None), Some(&hello("a"))).is_ok());
        assert!(report(&with(Some(hello("b"))), Some(&hello("a"))).is_err());
        assert!(report(&with(Some(hello("../b"))), None).is_err());
    }

    #[test]
    fn a_poll_has_bounds() {
        let request = v1::LeaseRequest { worker_id: "w".into(), assignments_max: 1, wait_ms: 30_000, proofs: vec![] };
        lease(&request).expect("sound");
        assert!(lease(&v1::LeaseRequest { wait_ms: 30_001, ..request.clone() }).is_err());
        assert!(lease(&v1::LeaseRequest { assignments_max: 0, ..request.clone() }).is_err());
        assert!(lease(&v1::LeaseRequest { worker_id: String::new(), ..request }).is_err());
    }
}
