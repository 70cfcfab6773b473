//! Ringvault's coordinator: it decides, touches no row and speaks no CQL.
//!
//! - [`settings`]: what it is told at its start
//! - `core`: every decision, pure: `apply(now, event) → (changes, effects)`
//! - `plan`: the grid and the shards of tables, pure
//! - [`journal`]: what must survive, in SQLite
//! - `owner`: the one task that owns the core: drains its mailbox, commits, performs effects
//! - `repository`: performs the effects on repositories; `spec`: judges what clients submit
//! - `name`: names of tables; `choice`: which of them patterns mean; `record`: what is journaled, as it stands in the journal
//! - `admin_service`, `fleet_service`: the gRPC edge; messages are validated there
//!
//! Deliberately absent: rows, CQL, transport (the caller serves what [`Handle`] gives), any clock or chance in the core.

mod admin_service;
mod choice;
mod core;
pub mod error;
mod fleet_service;
pub mod journal;
mod name;
mod owner;
mod plan;
mod record;
mod repository;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod scale;
pub mod settings;
#[cfg(test)]
mod sim;
mod spec;

use std::{sync::Arc, time::Duration};

pub use admin_service::AdminService;
pub use error::{Error, Result};
pub use fleet_service::FleetService;
pub use journal::Journal;
use ringvault_proto::{
    MESSAGE_BYTES_MAX,
    v1::{admin_server::AdminServer, fleet_server::FleetServer},
};
use ringvault_runtime::{clock::Clock, entropy::Entropy, tasks::Tasks};
pub use settings::Settings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::{
    owner::{Mailbox, Owner},
    repository::Repositories,
};

/// How long actions in repositories may take to end at a shutdown.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// What a coordinator is made of besides its settings.
#[derive(Debug)]
pub struct Components {
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Its chance: ids, nonces, jitter.
    pub entropy: Entropy,
    /// What it remembers.
    pub journal: Journal,
}

/// Starts coordinators.
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Takes up what the journal holds and runs the owner task until `shutdown`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Invalid` settings; `Corrupt` where the journal's records don't fit together.
    pub fn start(settings: Settings, components: Components, shutdown: &CancellationToken) -> Result<Handle> {
        settings.validate()?;
        let Components { clock, entropy, journal } = components;
        let settings = Arc::new(settings);
        let tasks = Tasks::under(shutdown);
        let repositories =
            Repositories { settings: Arc::clone(&settings), entropy: entropy.clone(), tasks: tasks.clone() };
        let (mailbox, inbox) = Mailbox::new(settings, clock, entropy);
        let (owner, first) = Owner::new(journal, mailbox.clone(), inbox, repositories)?;
        let owner = tasks.spawn(owner.run(first, tasks.cancelled().clone()));
        Ok(Handle { mailbox, owner, tasks })
    }
}

/// A running coordinator.
#[derive(Debug)]
pub struct Handle {
    mailbox: Mailbox,
    owner: JoinHandle<Result<()>>,
    tasks: Tasks,
}

impl Handle {
    /// The service for clients, to be added to a router.
    #[must_use]
    pub fn admin_service(&self) -> AdminServer<AdminService> {
        let service = AdminServer::new(AdminService::new(self.mailbox.clone()));
        service.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The service for workers, to be added to a router.
    #[must_use]
    pub fn fleet_service(&self) -> FleetServer<FleetService> {
        let service = FleetServer::new(FleetService::new(self.mailbox.clone()));
        service.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Waits until the owner task has ended: by the shutdown, or since the journal did not keep what it was given. The
    /// process must end then too. Actions under way are dropped; they are done again at the next start.
    ///
    /// # Errors
    /// What the journal said.
    pub async fn stopped(self) -> Result<()> {
        let result = self
            .owner
            .await
            .unwrap_or_else(|e| Err(Error::internal("the coordinator's owner task ended early").caused_by(e)));
        self.tasks.drain(DRAIN_GRACE).await;
        result
    }
}
