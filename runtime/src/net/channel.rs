//! Channels to a coordinator. Every call says which trace it belongs to.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tonic::{
    body::Body,
    codegen::http::{HeaderValue, Request, Response},
    transport::{self, Endpoint, channel::ResponseFuture},
};
use tower::Service;
use url::Url;

use super::{refusal, tls::Tls};
use crate::telemetry;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is probed, so that a dead peer is noticed well within the TTL of a lease.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the answer to such a probe may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// An address that can't be a coordinator's.
#[derive(Debug, thiserror::Error)]
#[error(
    "coordinator address {address:?}: {cause}; write it as https://HOST:PORT, or http://HOST:PORT without certificates"
)]
pub struct BadEndpoint {
    address: String,
    cause: String,
}

/// Header of a call's trace context (W3C Trace Context).
pub(super) const TRACE_PARENT: &str = "traceparent";

/// Calls to a coordinator. Clones share the connection. A call made within a span that is traced carries its context.
#[derive(Clone, Debug)]
pub struct Channel(transport::Channel);

impl Channel {
    pub(super) fn of(channel: transport::Channel) -> Self {
        Self(channel)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let parent = telemetry::trace_parent();
        if !parent.is_empty()
            && let Ok(parent) = HeaderValue::try_from(parent)
        {
            request.headers_mut().insert(TRACE_PARENT, parent);
        }
        self.0.call(request)
    }
}

/// A channel that connects when it is first used and again whenever the connection broke. `https://` takes certificates,
/// `http://` none.
///
/// # Errors
/// Where `address` is no such URL, or certificates are missing or superfluous.
pub fn connect(address: &str, tls: Option<&Tls>) -> Result<Channel, BadEndpoint> {
    let bad = |cause: &str| BadEndpoint { address: without_credentials(address), cause: cause.to_owned() };
    let url = Url::parse(address).map_err(|e| bad(&e.to_string()))?;
    if address.contains('@') {
        return Err(bad("it holds a user or a password, which no coordinator asks for; leave them out"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
    let endpoint = |text: &str| {
        let endpoint = Endpoint::from_shared(text.to_owned()).map_err(|e| bad(&e.to_string()))?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(KEEP_ALIVE);
        Ok(endpoint.keep_alive_timeout(KEEP_ALIVE_TIMEOUT).keep_alive_while_idle(true))
    };
    match (url.scheme(), tls) {
        ("http", None) => Ok(Channel::of(endpoint(address)?.connect_lazy())),
        ("http", Some(_)) => Err(bad("certificates are given, but http:// uses none")),
        ("https", None) => Err(bad("https:// needs certificates: --tls-ca, --tls-cert and --tls-key")),
        ("https", Some(tls)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| bad("its host is neither a name nor an address"))?;
            // the connector below greets by TLS itself, so that renewed certificates are used
            let plain = endpoint(&format!("http://{host}:{port}"))?;
            let connector = secured(tls.clone(), name, format!("{host}:{port}"));
            Ok(Channel::of(plain.connect_with_connector_lazy(connector)))
        }
        _ => Err(bad("only http:// and https:// are understood")),
    }
}

/// An address as messages may show it: what stands before an `@` may be a secret.
fn without_credentials(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => address.to_owned(),
    }
}

/// Connects to `target` and greets it by TLS.
fn secured(
    tls: Tls,
    name: ServerName<'static>,
    target: String,
) -> impl tower::Service<
    tonic::transport::Uri,
    Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>,
    Error = io::Error,
    Future: Send,
> + Clone
+ Send
+ 'static {
    tower::service_fn(move |_| {
        let (tls, name, target) = (tls.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            let greeted = tls.connect(name, stream).await;
            greeted.map(TokioIo::new).map_err(|error| {
                let cause = refusal::of_handshake(&error).unwrap_or_else(|| error.to_string());
                io::Error::new(error.kind(), format!("TLS with {target} failed: {cause}"))
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        for address in ["http://user:secret@127.0.0.1:1", "user:secret@127.0.0.1:1"] {
            let told = connect(address, None).expect_err("it holds a password").to_string();
            assert!(told.contains("…@127.0.0.1:1") && !told.contains("secret"), "{told}");
        }
    }
}
