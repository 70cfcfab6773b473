//! Backups: their manifests, indexes, schemas, and the probes of their jobs.
//!
//! Objects that a manifest names never change: a writer that finds other content at a name takes the next name
//! (`schema~1.json`), so that nobody who was declared dead can damage a backup by writing late.

use bytes::Bytes;
use futures::{StreamExt, stream};
use ringvault_proto::{
    error::ErrorKind,
    ids::{BackupId, JobId},
    pattern::Patterns,
};
use serde::{Deserialize, Serialize};

use super::{BackupSummary, Put, Repository, blocking};
use crate::{
    digest::Identity,
    error::{Error, Result},
    format,
    index::TableIndex,
    manifest::{Manifest, ObjectRecord, TableEntry},
    names,
    schema::SchemaDocument,
};

/// Longest stored index, in bytes: the most chunks, at the some 130 bytes that zstd can't shorten.
const INDEX_BYTES_MAX: u64 = 8 << 30;
/// Longest probe, in bytes.
const PROBE_BYTES_MAX: u64 = 4 << 10;
/// Manifests read at once.
const MANIFESTS_PARALLEL: usize = 8;
/// Names tried for one object of a backup.
const NEXT_NAMES_MAX: u32 = 64;

#[derive(Serialize, Deserialize)]
struct Probe {
    format: u32,
    job_id: JobId,
    nonce: String,
}

impl Repository {
    /// All backups, oldest first. Those whose manifest can't be read are told, not hidden; what has no manifest is no
    /// backup. Cancel safe.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn backups(&self) -> Result<Vec<BackupSummary>> {
        let ids = self.list_prefixes(names::BACKUPS_PREFIX).await?;
        let ids = ids.into_iter().filter_map(|id| BackupId::try_from(id).ok());
        let reads = stream::iter(ids).map(|id| async move {
            match self.manifest(&id).await {
                Ok(manifest) => Ok(Some(BackupSummary { id, manifest: Ok(manifest) })),
                Err(e) => match e.kind() {
                    ErrorKind::NotFound => Ok(None),
                    ErrorKind::Corrupt | ErrorKind::Invalid => Ok(Some(BackupSummary { id, manifest: Err(e) })),
                    _ => Err(e),
                },
            }
        });
        let mut backups = Vec::new();
        let mut reads = std::pin::pin!(reads.buffer_unordered(MANIFESTS_PARALLEL));
        while let Some(read) = reads.next().await {
            backups.extend(read?);
        }
        // An id tells the second only: of two within one, the manifests tell which came later.
        backups.sort_by_cached_key(|backup| {
            let second = backup.id.as_str().split('-').next().unwrap_or_default().to_owned();
            let started_unix_ms = backup.manifest.as_ref().map_or(u64::MAX, |manifest| manifest.started_unix_ms);
            (second, started_unix_ms, backup.id.clone())
        });
        Ok(backups)
    }

    /// The manifest of a backup. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where there is no such backup, `Corrupt` where it is damaged, `Invalid` where a newer ringvault wrote
    /// it.
    pub async fn manifest(&self, id: &BackupId) -> Result<Manifest> {
        let object = names::manifest_object(id);
        let bytes = self.read(&object).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::not_found(format!(
                "there is no backup {id} in {}; ringvault list {} shows those that are",
                self.location, self.location
            )),
            _ => e,
        })?;
        Manifest::from_json(&bytes, id).map_err(|e| e.within(&self.location))
    }

    /// The newest complete backup (all tables of its keyspaces, without a limit) that holds every keyspace that is meant
    /// by name, and one at least that is meant at all. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Corrupt` or `Invalid` where a newer manifest can't be read, since it might be
    /// the one: name the backup instead.
    pub async fn newest(&self, keyspaces: &Patterns) -> Result<Manifest> {
        let mut others = 0;
        for summary in self.backups().await?.into_iter().rev() {
            let manifest = summary.manifest.map_err(|e| {
                let kind = e.kind();
                Error::new(kind, format!("{e}; backup {} may be the newest: name the one you want", summary.id))
            })?;
            let holds = |name: &str| manifest.keyspaces.iter().any(|held| held == name);
            if !keyspaces.names().all(|(_, name)| holds(name))
                || !manifest.keyspaces.iter().any(|held| keyspaces.has_keyspace(held))
            {
                continue;
            }
            if manifest.is_complete() {
                return Ok(manifest);
            }
            others += 1;
        }
        let reason = match others {
            0 => String::from("none"),
            n => format!("{n}, but none of all its tables and without a limit: name one of them"),
        };
        let of = if keyspaces.is_empty() { String::new() } else { format!(" of keyspace {keyspaces}") };
        Err(Error::not_found(format!("there is no complete backup{of} in {} (backups of it: {reason})", self.location)))
    }

    /// The index of a table of a backup. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where the backup or the table isn't there; else as [`Repository::index_of`].
    pub async fn index(&self, id: &BackupId, keyspace: &str, table: &str) -> Result<TableIndex> {
        self.index_of(&self.manifest(id).await?, keyspace, table).await
    }

    /// The index of a table of a backup whose manifest is at hand; it agrees with the manifest. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where the backup does not hold the table; `Corrupt` where the index is missing, damaged, or disagrees;
    /// `Invalid` where a newer ringvault wrote it.
    pub async fn index_of(&self, manifest: &Manifest, keyspace: &str, table: &str) -> Result<TableIndex> {
        let id = &manifest.backup_id;
        let entry = manifest
            .table(keyspace, table)
            .ok_or_else(|| Error::not_found(format!("backup {id} holds no table {keyspace}.{table}")))?;
        let stored = self.read_recorded(id, &entry.index).await?;
        let (record, backup) = (entry.index.clone(), id.clone());
        let index = blocking(move || TableIndex::decode(stored, &record, &backup)).await;
        let index = index.map_err(|e| e.within(&self.location))?;
        match disagreement(&index, entry, manifest) {
            None => Ok(index),
            Some(what) => Err(Error::corrupt(format!(
                "{} in {} is damaged: its {what} is not the manifest's",
                entry.index.object, self.location
            ))),
        }
    }

    /// Writes the index of a table; the answer goes into the manifest. May be repeated. Cancel safe.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn write_index(&self, id: &BackupId, index: &TableIndex) -> Result<ObjectRecord> {
        let (keyspace, table) = index.table_name();
        let (keyspace, table) = (keyspace.to_owned(), table.to_owned());
        let (copy, backup) = (index.clone(), id.clone());
        let encoded = blocking(move || copy.encode(&backup)).await?;
        let name = |next| names::index_object(id, &keyspace, &table, next);
        let object = self.put_unchanging(name, &encoded.stored).await?;
        Ok(ObjectRecord {
            object,
            identity: encoded.identity,
            encoded_bytes: encoded.encoded_bytes,
            stored_bytes: encoded.stored.len() as u64,
        })
    }

    /// Writes the manifest, last: from here on the backup exists. May be repeated. Cancelled, it is there as a whole or
    /// not at all.
    ///
    /// # Errors
    /// `Conflict` where the backup has another manifest; `Invalid` for a manifest that couldn't be read back; what the
    /// store fails with.
    pub async fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let object = names::manifest_object(&manifest.backup_id);
        let bytes = Bytes::from(manifest.to_json()?);
        if self.put_new(&object, bytes.clone()).await? == Put::Created {
            return Ok(());
        }
        // A request that was repeated below us finds its own first success.
        if self.read(&object).await? == bytes {
            return Ok(());
        }
        Err(Error::conflict(format!(
            "backup {} in {} has a manifest already, and another one: two coordinators wrote the same backup",
            manifest.backup_id, self.location
        )))
    }

    /// Writes the schema of a backup, for restore and for people. May be repeated, also with another schema. Cancel safe.
    ///
    /// # Errors
    /// `Invalid` for a schema that couldn't be read back; what the store fails with.
    pub async fn write_schema(&self, id: &BackupId, schema: &SchemaDocument) -> Result<ObjectRecord> {
        let bytes = Bytes::from(schema.to_json()?);
        let text = Bytes::from(schema.to_cql());
        self.put_unchanging(|next| names::schema_text_object(id, next), &text).await?;
        let object = self.put_unchanging(|next| names::schema_object(id, next), &bytes).await?;
        Ok(schema_record(object, &bytes))
    }

    /// Finds the schema that a worker wrote, by the identity and length that it reported. Cancel safe.
    ///
    /// # Errors
    /// `Corrupt` where it is not there.
    pub async fn find_schema(&self, id: &BackupId, identity: Identity, bytes: u64) -> Result<ObjectRecord> {
        for next in 0..=NEXT_NAMES_MAX {
            let object = names::schema_object(id, next);
            match self.length(&object).await? {
                None => break,
                Some(length) if length != bytes => {}
                Some(_) => {
                    let found = schema_record(object.clone(), &self.read(&object).await?);
                    if found.identity == identity {
                        return Ok(found);
                    }
                }
            }
        }
        Err(Error::corrupt(format!("the schema of backup {id} is not in {} as it was captured", self.location)))
    }

    /// The schema of a backup. Cancel safe.
    ///
    /// # Errors
    /// `Corrupt` where it is missing or damaged; `Invalid` where a newer ringvault wrote it.
    pub async fn read_schema(&self, manifest: &Manifest) -> Result<SchemaDocument> {
        let record = &manifest.schema;
        let bytes = self.read_recorded(&manifest.backup_id, record).await?;
        if Identity::of(&bytes) != record.identity {
            let reason = "its bytes are not those that the manifest names";
            return Err(format::damaged(&format!("{} in {}", record.object, self.location), &reason));
        }
        SchemaDocument::from_json(&bytes, &record.object).map_err(|e| e.within(&self.location))
    }

    /// Writes the nonce by which workers prove that they see this repository. Cancel safe.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn write_probe(&self, job: &JobId, nonce: &str) -> Result<()> {
        let probe = Probe { format: format::FORMAT_VERSION, job_id: job.clone(), nonce: nonce.to_owned() };
        self.put(&names::probe_object(job), format::pretty(&probe, "a probe")?.into()).await
    }

    /// The nonce of a job. Cancel safe.
    ///
    /// # Errors
    /// `NotFound` where this repository has none: it may be another one than the job's.
    pub async fn read_probe(&self, job: &JobId) -> Result<String> {
        let object = names::probe_object(job);
        let bytes = self.read_at_most(&object, PROBE_BYTES_MAX).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::not_found(format!(
                "{} does not hold {object}: is it not shared with the coordinator?",
                self.location
            ))
        })?;
        let probe: Probe = format::parse(&bytes, &object)?;
        match probe.job_id == *job {
            true => Ok(probe.nonce),
            false => Err(format::damaged(&object, &"it is of another job")),
        }
    }

    /// Removes the nonce of a job; none is fine.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn delete_probe(&self, job: &JobId) -> Result<()> {
        self.delete(&names::probe_object(job)).await
    }

    /// The bytes of an object that a manifest names; their length is the recorded one.
    async fn read_recorded(&self, id: &BackupId, record: &ObjectRecord) -> Result<Bytes> {
        let object = &record.object;
        let bytes = self.read_at_most(object, record.stored_bytes.min(INDEX_BYTES_MAX)).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::corrupt(format!("{object} is missing in {}: backup {id} is damaged", self.location))
        })?;
        if bytes.len() as u64 != record.stored_bytes {
            let (found, recorded) = (bytes.len(), record.stored_bytes);
            let what = format!("{object} in {}", self.location);
            return Err(format::damaged(&what, &format!("it has {found} bytes, not {recorded}")));
        }
        Ok(bytes)
    }

    /// Creates an object at the first of its names that is free or holds these very bytes.
    async fn put_unchanging(&self, name: impl Fn(u32) -> String, bytes: &Bytes) -> Result<String> {
        for next in 0..=NEXT_NAMES_MAX {
            let object = name(next);
            if self.put_new(&object, bytes.clone()).await? == Put::Created {
                return Ok(object);
            }
            let there = self.read_at_most(&object, bytes.len() as u64).await;
            match there {
                Ok(Some(there)) if there == *bytes => return Ok(object),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Corrupt => {} // longer, so another
                Err(e) => return Err(e),
            }
        }
        Err(Error::conflict(format!(
            "{} and its next {NEXT_NAMES_MAX} names in {} are taken; start a new backup",
            name(0),
            self.location
        )))
    }
}

fn schema_record(object: String, bytes: &Bytes) -> ObjectRecord {
    let length = bytes.len() as u64;
    ObjectRecord { object, identity: Identity::of(bytes), encoded_bytes: length, stored_bytes: length }
}

/// What an index says otherwise than its manifest.
fn disagreement(index: &TableIndex, entry: &TableEntry, manifest: &Manifest) -> Option<&'static str> {
    let totals = index.totals();
    let agreements = [
        ("table", index.table_name() == (entry.keyspace.as_str(), entry.table.as_str())),
        ("table id", index.table().table_id == entry.table_id),
        ("fingerprint", index.table().fingerprint == entry.fingerprint),
        ("grid", index.grid() == entry.grid),
        ("values_only", index.values_only() == manifest.options.values_only),
        ("number of chunks", totals.chunks == entry.chunks),
        ("number of rows or their sum", totals.sums == entry.sums),
        ("number of encoded bytes", totals.encoded_bytes == entry.encoded_bytes),
        ("number of stored bytes", totals.stored_bytes == entry.stored_bytes),
        ("fidelity", totals.facts == entry.facts && index.table().approximations == entry.approximations),
    ];
    agreements.iter().find(|(_, agrees)| !agrees).map(|(what, _)| *what)
}
