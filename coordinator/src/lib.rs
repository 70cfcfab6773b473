//! Ringvault's coordinator: it decides, touches no row and speaks no CQL.
//!
//! - [`settings`]: what it is told at its start
//! - `core`: every decision, pure: `apply(now, event) → (changes, effects)`
//! - `plan`: the grid and the shards of tables, pure
//! - [`journal`]: what must survive, in SQLite
//! - `owner`: the one task that owns the core: drains its mailbox, commits, performs effects
//! - `repository`: performs the effects on repositories
//! - `admin_service`, `fleet_service`: the gRPC edge; messages are validated there
//!
//! Deliberately absent: rows, CQL, transport (the caller serves what [`Handle`] gives), any clock or chance in the core.

mod admin_service;
pub mod error;
mod fleet_service;
pub mod journal;
pub mod settings;

use std::sync::Arc;

pub use admin_service::AdminService;
pub use error::{Error, Result};
pub use fleet_service::FleetService;
pub use journal::Journal;
use ringvault_proto::v1::{admin_server::AdminServer, fleet_server::FleetServer};
use ringvault_runtime::{clock::Clock, entropy::Entropy};
pub use settings::Settings;
use tokio_util::sync::CancellationToken;

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
    /// `Invalid` settings.
    pub fn start(settings: Settings, components: Components, shutdown: &CancellationToken) -> Result<Handle> {
        settings.validate()?;
        let _ = (components, shutdown);
        Ok(Handle {})
    }
}

/// A running coordinator.
#[derive(Debug)]
pub struct Handle {}

impl Handle {
    /// The service for clients, to be added to a router.
    #[must_use]
    pub fn admin_service(&self) -> AdminServer<AdminService> {
        AdminServer::new(AdminService {})
    }

    /// The service for workers, to be added to a router.
    #[must_use]
    pub fn fleet_service(&self) -> FleetServer<FleetService> {
        FleetServer::new(FleetService {})
    }

    /// Waits until the owner task has ended: by the shutdown, or since the journal did not keep what it was given.
    ///
    /// # Errors
    /// What the journal said.
    pub async fn stopped(self) -> Result<()> {
        Ok(())
    }
}
