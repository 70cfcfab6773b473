//! A real S3 server in the test process (`s3s` over `s3s-fs`), with access keys, a log of requests, and injected faults.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use s3s_fs::FileSystem;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to a request instead of, or before, its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 500, nothing done.
    InternalError,
    /// 503 `SlowDown`, nothing done.
    SlowDown,
    /// The answer comes later.
    Late(Duration),
    /// The connection ends without an answer, nothing done.
    Reset,
    /// The request is carried out, and then the connection ends without an answer: what a retry has to live with.
    ResetAfter,
}

/// One request as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRequest {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What was done to it.
    pub fault: Option<Fault>,
}

/// When faults strike: by chance from a seed, one request in `one_in`.
#[derive(Clone, Debug)]
struct Rule {
    chance: StdRng,
    one_in: u32,
    kinds: Vec<Fault>,
}

/// Every store of an object below this part of its path takes longer.
#[derive(Clone, Debug)]
struct Slowness {
    part: String,
    time: Duration,
    /// How many more; `None`: all.
    left: Option<u32>,
}

#[derive(Debug, Default)]
struct Shared {
    rule: Mutex<Option<Rule>>,
    slowness: Mutex<Option<Slowness>>,
    seen: Mutex<Vec<SeenRequest>>,
}

/// A running server. Dropped, it ends and its objects are gone.
#[derive(Debug)]
pub struct S3Server {
    endpoint: String,
    directory: tempfile::TempDir,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// The access key that it knows.
    pub const ACCESS_KEY: &'static str = "ringvault-test-key";
    /// The secret of it.
    pub const SECRET_KEY: &'static str = "ringvault-test-secret";
    /// The bucket that is there.
    pub const BUCKET: &'static str = "backups";

    /// Starts a server on a free loopback port.
    ///
    /// # Errors
    /// If it can't listen, or has no place for its objects.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ringvault-s3-").tempdir()?;
        std::fs::create_dir(directory.path().join(Self::BUCKET))?;
        let files =
            FileSystem::new(directory.path()).map_err(|error| anyhow::anyhow!("open the object store: {error:?}"))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for S3 requests")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, service, Arc::clone(&shared)));
        Ok(Self { endpoint, directory, shared, accepting })
    }

    /// `http://127.0.0.1:port`
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `s3://backups/<prefix>`
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", Self::BUCKET)
    }

    /// The environment in which a process finds this server.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Where the bucket's objects lie as files.
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join(Self::BUCKET)
    }

    /// From now on one request in `one_in` meets one of these faults, by chance from the seed.
    ///
    /// # Panics
    /// If there is no fault to choose from.
    pub fn inject(&self, seed: u64, one_in: u32, kinds: &[Fault]) {
        assert!(!kinds.is_empty() && one_in > 0, "faults need kinds and a frequency");
        let rule = Rule { chance: StdRng::seed_from_u64(seed), one_in, kinds: kinds.to_vec() };
        *self.shared.rule.lock().expect("no panic with the lock held") = Some(rule);
    }

    /// No faults any more.
    pub fn heal(&self) {
        *self.shared.rule.lock().expect("no panic with the lock held") = None;
    }

    /// From now on every PUT of an object whose path holds `part` takes so much longer. Replaces what was slow before.
    pub fn slow_puts(&self, part: &str, time: Duration) {
        self.set_slowness(part, time, None);
    }

    /// The next `puts` PUTs of objects whose path holds `part` are kept waiting so long. Replaces what was slow before.
    pub fn hold_puts(&self, part: &str, time: Duration, puts: u32) {
        self.set_slowness(part, time, Some(puts));
    }

    fn set_slowness(&self, part: &str, time: Duration, left: Option<u32>) {
        let slowness = Slowness { part: part.to_owned(), time, left };
        *self.shared.slowness.lock().expect("no panic with the lock held") = Some(slowness);
    }

    /// How many more PUTs of [`S3Server::hold_puts`] will be kept waiting.
    pub fn puts_to_hold(&self) -> u32 {
        let slowness = self.shared.slowness.lock().expect("no panic with the lock held");
        slowness.as_ref().and_then(|slowness| slowness.left).unwrap_or(0)
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<SeenRequest> {
        std::mem::take(&mut *self.shared.seen.lock().expect("no panic with the lock held"))
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, service.clone(), Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, service: S3Service, shared: Arc<Shared>) {
    let handler = service_fn(move |request| handle(request, service.clone(), Arc::clone(&shared)));
    // An error here is a connection that the client or a fault has ended.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), handler).await;
}

/// Ends the connection: hyper closes it when its handler fails.
type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn handle(
    request: hyper::Request<Incoming>,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<HttpResponse, Broken> {
    let fault = {
        let mut rule = shared.rule.lock().expect("no panic with the lock held");
        rule.as_mut().and_then(Rule::strike)
    };
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let slow = {
        let mut slowness = shared.slowness.lock().expect("no panic with the lock held");
        let put = request.method() == hyper::Method::PUT;
        slowness.as_mut().filter(|slowness| put && target.contains(&slowness.part)).and_then(Slowness::strike)
    };
    let seen = SeenRequest { method: request.method().to_string(), target, fault };
    shared.seen.lock().expect("no panic with the lock held").push(seen);
    if let Some(time) = slow {
        tokio::time::sleep(time).await;
    }
    let answer = match fault {
        Some(Fault::InternalError) => return Ok(refusal(500, "InternalError")),
        Some(Fault::SlowDown) => return Ok(refusal(503, "SlowDown")),
        Some(Fault::Reset) => return Err("an injected reset".into()),
        Some(Fault::Late(time)) => {
            tokio::time::sleep(time).await;
            service.call(request.map(Body::from)).await
        }
        Some(Fault::ResetAfter) => {
            let done = service.call(request.map(Body::from)).await;
            drop(done);
            return Err("an injected reset behind the work".into());
        }
        None => service.call(request.map(Body::from)).await,
    };
    answer.map_err(|error| format!("the S3 service failed: {error:?}").into())
}

impl Slowness {
    fn strike(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(self.time)
    }
}

impl Rule {
    fn strike(&mut self) -> Option<Fault> {
        if self.chance.random_range(0..self.one_in) != 0 {
            return None;
        }
        let choice = self.chance.random_range(0..self.kinds.len());
        self.kinds.get(choice).copied()
    }
}

fn refusal(status: u16, code: &str) -> HttpResponse {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
    let mut response = HttpResponse::new(Body::from(text));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response
}
