//! The contract on a real S3 server (`s3s` over `s3s-fs`), also through connections that break.
//!
//! The server runs in the test; the tests marked `ignored` run in a child process that has the `AWS_*` variables, which a
//! process can't safely set for itself. By hand they run on any store: `RINGVAULT_TEST_S3=s3://bucket/prefix cargo test
//! -p ringvault-archive --test repository -- --ignored bucket`.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hyper::{StatusCode, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use ringvault_archive::{
    check::{ReadData, check_backup},
    repository::{Location, Repository},
};
use ringvault_proto::error::ErrorKind;
use s3s::{
    Body, HttpResponse,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::sample::{BACKUP, id, write_backup};

const ACCESS_KEY: &str = "key-of-the-test";
const SECRET_KEY: &str = "secret-of-the-test";

/// A new repository below the bucket and prefix that `RINGVAULT_TEST_S3` names.
pub(crate) async fn new_repository() -> Repository {
    let base = std::env::var("RINGVAULT_TEST_S3").expect("RINGVAULT_TEST_S3 names a bucket and prefix");
    let location: Location = format!("{base}/{}", uuid::Uuid::new_v4()).parse().expect("an address");
    let repository = Repository::open_or_create(&location).await.expect("an empty prefix");
    let again = Repository::open(&location).await.expect("just created");
    assert_eq!(again.id(), repository.id());
    repository
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_on_an_s3_server() {
    let scratch = tempfile::tempdir().expect("a directory");
    let endpoint = serve(scratch.path(), None).await;
    run_ignored("bucket::", &endpoint, SECRET_KEY).await;
    run_ignored("s3::errors::", &endpoint, SECRET_KEY).await;
    run_ignored("s3::denied::", &endpoint, "another-secret").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_in_spite_of_faults() {
    let scratch = tempfile::tempdir().expect("a directory");
    let endpoint = serve(scratch.path(), Some(4)).await;
    run_ignored("s3::faulty::", &endpoint, SECRET_KEY).await;
}

mod faulty {
    use super::*;

    #[tokio::test]
    #[ignore = "run by a_backup_is_whole_in_spite_of_faults"]
    async fn a_backup_is_written_and_read() {
        let repository = new_repository().await;
        for backup in [BACKUP, "20261123T000000Z-0001"] {
            write_backup(&repository, &id(backup)).await;
        }
        for backup in [BACKUP, "20261123T000000Z-0001"] {
            let report = check_backup(&repository, &id(backup), ReadData::All, &mut |_| {}).await.expect("checked");
            assert!(report.is_sound(), "{report:?}");
        }
        let objects = repository.list("data").await.expect("listed");
        assert!(objects.iter().all(|(object, _)| !object.contains('~')), "{objects:?}");
    }
}

mod errors {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_contract_holds_on_an_s3_server"]
    async fn a_bucket_that_is_not_there_is_named() {
        let location: Location = "s3://no-such-bucket/x".parse().expect("an address");
        for error in [Repository::open(&location).await, Repository::open_or_create(&location).await] {
            let error = error.expect_err("no bucket");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.to_string().contains("s3://no-such-bucket/x"), "{error}");
        }
    }

    #[tokio::test]
    #[ignore = "run by the_contract_holds_on_an_s3_server"]
    async fn a_prefix_that_holds_something_else_is_left_alone() {
        let repository = new_repository().await;
        repository.put("photos/me.jpg", bytes::Bytes::from_static(b"x")).await.expect("written");
        let location: Location = format!("{}/photos", repository.location()).parse().expect("an address");
        let error = Repository::open_or_create(&location).await.expect_err("photos");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("it holds something else (me.jpg)"), "{error}");
        let error = Repository::open(&location).await.expect_err("photos");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

mod denied {
    use super::*;

    #[tokio::test]
    #[ignore = "run by the_contract_holds_on_an_s3_server"]
    async fn a_wrong_secret_is_refused_and_not_repeated() {
        let base = std::env::var("RINGVAULT_TEST_S3").expect("set by the parent");
        let error = Repository::open_or_create(&base.parse().expect("an address")).await.expect_err("wrong secret");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("access is denied"), "{error}");
        assert!(!format!("{error:?}").contains("another-secret"), "{error:?}");
    }
}

/// Runs the ignored tests of that name in a child process.
async fn run_ignored(filter: &str, endpoint: &str, secret: &str) {
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--test-threads=4", filter])
        .env_remove("AWS_PROFILE")
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("RINGVAULT_TEST_S3", "s3://backups/below")
        .kill_on_drop(true)
        .output()
        .await
        .expect("this test runs once more");
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}\n{}", String::from_utf8_lossy(&child.stderr));
    assert!(!output.contains("running 0 tests"), "{output}");
}

/// Serves a bucket; where `one_in` is given, one request in so many meets a fault, each kind by turns.
async fn serve(directory: &Path, one_in: Option<u32>) -> String {
    std::fs::create_dir(directory.join("backups")).expect("a bucket");
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory).expect("a directory"));
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let faults = Arc::new(Faults { one_in, requests: AtomicU32::new(0) });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_connection(stream, service.clone(), faults.clone()));
        }
    });
    endpoint
}

async fn serve_connection(stream: TcpStream, service: S3Service, faults: Arc<Faults>) {
    let handle = service_fn(move |request| answer(request, service.clone(), faults.next()));
    // It fails where a fault or the client ended the connection.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), handle).await;
}

/// Which requests meet which fault.
struct Faults {
    one_in: Option<u32>,
    requests: AtomicU32,
}

impl Faults {
    fn next(&self) -> Option<u32> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        self.one_in.filter(|one_in| number % one_in == one_in - 1).map(|one_in| number / one_in % 4)
    }
}

/// Hyper ends the connection where this comes.
type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn answer(
    request: hyper::Request<hyper::body::Incoming>,
    service: S3Service,
    fault: Option<u32>,
) -> Result<HttpResponse, Broken> {
    match fault {
        Some(0) => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
        Some(1) => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
        Some(2) => return Err("the connection breaks before the work".into()),
        Some(_) | None => {}
    }
    let answer = service.call(request.map(Body::from)).await;
    if fault.is_some() {
        return Err("the connection breaks behind the work".into());
    }
    answer.map_err(|e| format!("{e:?}").into())
}

fn refusal(status: StatusCode, code: &str) -> HttpResponse {
    let mut response =
        HttpResponse::new(Body::from(format!("<Error><Code>{code}</Code><Message>a fault</Message></Error>")));
    *response.status_mut() = status;
    response
}
