//! Mutual TLS between our processes. Both sides show a certificate that the one authority signed; a server's must be made
//! for the name or address that it is called by.
//!
//! The files are read again when they change, so that certificates can be renewed under running jobs: connections that
//! stand stay, new ones use the new files. Files that can't be used are reported and the last good ones stay in use.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::peer::Identity;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server's first word behind the handshake is waited for.
const FIRST_WORD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a refused peer may take to hang up.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The only protocol that is spoken (ALPN).
const HTTP2: &[u8] = b"h2";

/// Where certificates are, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authority that signs all our processes'.
    pub ca: PathBuf,
    /// Own certificate, and the intermediate ones behind it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why certificates can't be used; for a person, with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Certificates of this process, in use for every new connection. Cheap to clone; clones share what is read anew.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// Of each file when it was read.
    stamps: Stamps,
}

type Stamps = [Option<(SystemTime, u64)>; 3];

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.0.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where a file can't be read, holds something else, or key and certificate are not of each other.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = read(&files)?;
        Ok(Self(Arc::new(Shared { files, current: RwLock::new(current) })))
    }

    /// Reads the files again whenever they have changed, until `shutdown`.
    pub async fn follow(self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let tls = self.clone();
            // a network directory may take its time
            let _ = tokio::task::spawn_blocking(move || tls.refresh()).await;
        }
    }

    /// Reads the files again if they have changed; tells whether new ones are in use.
    pub fn refresh(&self) -> bool {
        let Shared { files, current } = &*self.0;
        let stamps = stamps(files);
        if self.current().stamps == stamps {
            return false;
        }
        match read(files) {
            Ok(new) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!(cert = %files.cert.display(), "certificates were read anew");
                true
            }
            Err(error) => {
                // perhaps only half of the files has been replaced: the next look tells
                tracing::warn!(%error, "certificates changed but can't be used; the former ones stay in use");
                false
            }
        }
    }

    fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Greets a connection that was accepted.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Identity)> {
        let acceptor = TlsAcceptor::from(self.current().server);
        let greeting = acceptor.accept(stream).into_fallible();
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, greeting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                farewell(stream).await;
                return Err(error);
            }
            Err(_elapsed) => return Err(late()),
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let identity = certificates.first().map(Identity::of);
        let identity = identity.ok_or_else(|| io::Error::other("the peer showed no certificate"))?;
        Ok((stream, identity))
    }

    /// Greets the server of a connection.
    pub(super) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut stream = in_time(TlsConnector::from(self.current().client).connect(name, stream)).await?;
        // A server judges our certificate behind the handshake (TLS 1.3) and speaks first (HTTP/2): without its first word
        // there is no telling, and HTTP/2 above would lose the reason. One that waits for us is let be.
        match tokio::time::timeout(FIRST_WORD_TIMEOUT, stream.fill_buf()).await {
            Ok(Err(refusal)) => Err(refusal),
            Ok(Ok([])) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed behind the handshake")),
            Ok(Ok(_)) | Err(_) => Ok(stream),
        }
    }
}

async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(|_elapsed| Err(late()))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}

/// Lets a peer read why it was refused: a connection that is closed over unread bytes loses what was sent last.
async fn farewell(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = [0_u8; 1024];
    let drain = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, drain).await;
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [stamp(&files.ca), stamp(&files.cert), stamp(&files.key)]
}

fn read(files: &TlsFiles) -> Result<Current, TlsError> {
    // before the files are read: what changes meanwhile is seen at the next look
    let stamps = stamps(files);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", &files.ca)? {
        roots.add(certificate).map_err(|e| unusable("CA certificate", &files.ca, &e))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates("certificate", &files.cert)?;
    let key = || PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unusable("private key", &files.key, &e));
    Ok(Current {
        server: server(&provider, &roots, chain.clone(), key()?, files)?,
        client: client(&provider, &roots, chain, key()?, files)?,
        stamps,
    })
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &TlsFiles,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .build()
        .map_err(|e| unusable("CA certificate", &files.ca, &e))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(format!("TLS can't be set up: {e}")))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| unusable("certificate", &files.cert, &e))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    files: &TlsFiles,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError(format!("TLS can't be set up: {e}")))?
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)
        .map_err(|e| unusable("certificate", &files.cert, &e))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unusable(what, path, &e))?;
    if certificates.is_empty() {
        return Err(TlsError(format!("the {what} {} holds no PEM certificate", path.display())));
    }
    Ok(certificates)
}

fn unusable(what: &str, path: &Path, error: &dyn fmt::Display) -> TlsError {
    TlsError(format!("the {what} {} can't be used: {error}", path.display()))
}
