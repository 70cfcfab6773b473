//! Channels to a coordinator.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use url::Url;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle connection is probed, so that a dead peer is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An address that can't be a coordinator's.
#[derive(Debug, thiserror::Error)]
#[error("coordinator address {address:?}: {cause}; write it as http://HOST:PORT")]
pub struct BadEndpoint {
    address: String,
    cause: String,
}

/// A channel that connects when it is first used and again whenever the connection broke.
///
/// # Errors
/// Where `address` is not `http://HOST:PORT`.
pub fn connect(address: &str) -> Result<Channel, BadEndpoint> {
    let bad = |cause: String| BadEndpoint { address: address.to_owned(), cause };
    let url = Url::parse(address).map_err(|e| bad(e.to_string()))?;
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err(bad("only http:// with a host is understood".to_owned()));
    }
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| bad(e.to_string()))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .connect_lazy())
}
