use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::net::{Role, TlsFiles, cause_of, connect};

async fn status(channel: Channel) -> Result<i32, tonic::Status> {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel).check(request).await.map(|answer| answer.into_inner().status)
}

#[tokio::test]
async fn both_transports_carry_grpc_and_end_on_shutdown() {
    let (memory, memory_listener) = in_memory();
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = tcp.local_addr().expect("bound");
    let tcp_channel = connect(&format!("http://{address}"), None).expect("an address");
    for (listener, channel) in [(memory_listener, memory.channel()), (Listener::Tcp(tcp), tcp_channel)] {
        let shutdown = CancellationToken::new();
        let descriptors = ringvault_proto::v1::DESCRIPTOR_SET;
        let server = tokio::spawn(serve(listener, Routes::default(), descriptors, shutdown.clone()));
        assert_eq!(status(channel).await.expect("the server answers"), 1);
        shutdown.cancel();
        server.await.expect("no panic").expect("a clean end");
    }
}

#[tokio::test]
async fn an_address_that_is_no_coordinator_is_refused() {
    for address in ["", "host:7077", "https://host:7077", "http://"] {
        assert!(connect(address, None).is_err(), "{address}");
    }
}

/// An authority and what it signs, as files.
struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { directory, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Certificate and key of a process on loopback.
    fn sign(&self, name: &str, units: &[Role], days: i64) -> TlsFiles {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        params.distinguished_name.push(DnType::CommonName, name);
        for unit in units {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit.to_string());
        }
        let day = |days: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(days.unsigned_abs() * 86_400);
        let today = i64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() / 86_400,
        )
        .expect("soon");
        params.not_before = day(today - 10);
        params.not_after = day(today + days);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let (cert, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        replace(&cert, &certificate.pem());
        replace(&key_file, &key.serialize_pem());
        TlsFiles { ca: self.path("ca.pem"), cert, key: key_file }
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, path).expect("renamed");
}

/// A server with these files; gives its URL.
async fn secured(files: TlsFiles, shutdown: &CancellationToken) -> (String, Tls) {
    let tls = Tls::load(files).expect("certificates");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}", tcp.local_addr().expect("bound"));
    let (listener, descriptors) = (Listener::Tls(tcp, tls.clone()), ringvault_proto::v1::DESCRIPTOR_SET);
    tokio::spawn(serve(listener, Routes::default(), descriptors, shutdown.clone()));
    (url, tls)
}

fn client(url: &str, files: TlsFiles) -> Channel {
    connect(url, Some(&Tls::load(files).expect("certificates"))).expect("an address")
}

#[tokio::test]
async fn peers_of_one_authority_reach_each_other_and_nobody_else_does() {
    let (own, other) = (Authority::new(), Authority::new());
    let shutdown = CancellationToken::new();
    let (url, _) = secured(own.sign("server", &[], 10), &shutdown).await;
    assert_eq!(status(client(&url, own.sign("alice", &[Role::Viewer], 10))).await.expect("greeted"), 1);
    let strange = TlsFiles { ca: own.path("ca.pem"), ..other.sign("mallory", &[Role::Admin], 10) };
    told(client(&url, strange), &["refused our certificate", "no authority in its CA file signed"]).await;
    told(client(&url, other.sign("bob", &[], 10)), &["no authority in the file of --tls-ca signed it"]).await;
    told(client(&url, own.sign("late", &[Role::Viewer], -1)), &["refused our certificate", "has expired"]).await;
    let elsewhere = url.replace("127.0.0.1", "localhost");
    told(client(&elsewhere, own.sign("bill", &[], 10)), &["made for 127.0.0.1, not for localhost"]).await;
    let plain = url.replace("https", "http");
    told(connect(&plain, None).expect("an address"), &["https://", "its log says"]).await;
    shutdown.cancel();
}

/// A call that fails, and whose cause holds these words.
async fn told(channel: Channel, words: &[&str]) {
    let status = status(channel).await.expect_err("refused");
    let cause = cause_of(&status).unwrap_or_else(|| panic!("no cause in {status:?}"));
    assert!(words.iter().all(|word| cause.contains(word)), "{cause}: {words:?}");
}

#[tokio::test]
async fn tls_to_a_server_without_is_told() {
    let authority = Authority::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}", tcp.local_addr().expect("bound"));
    let shutdown = CancellationToken::new();
    let descriptors = ringvault_proto::v1::DESCRIPTOR_SET;
    tokio::spawn(serve(Listener::Tcp(tcp), Routes::default(), descriptors, shutdown.clone()));
    told(client(&url, authority.sign("alice", &[], 10)), &["call it by http://"]).await;
    shutdown.cancel();
}

#[tokio::test]
async fn the_server_knows_why_it_refused_a_peer() {
    let (own, other) = (Authority::new(), Authority::new());
    let server = Tls::load(own.sign("server", &[], 10)).expect("certificates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let url = format!("https://{address}");
    let refusal = async || {
        let (stream, _) = listener.accept().await.expect("a peer");
        refusal::of_peer(&server.accept(stream).await.expect_err("refused"))
    };
    let strange = TlsFiles { ca: own.path("ca.pem"), ..other.sign("mallory", &[Role::Admin], 10) };
    let (cause, _) = tokio::join!(refusal(), status(client(&url, strange)));
    assert!(cause.contains("no authority in our CA file signed it"), "{cause}");
    let (cause, _) = tokio::join!(refusal(), status(client(&url, own.sign("late", &[], -1))));
    assert!(cause.contains("it has expired"), "{cause}");
    let (cause, _) = tokio::join!(refusal(), status(client(&url, other.sign("bob", &[], 10))));
    assert!(cause.contains("it refused our certificate"), "{cause}");
    let plain = connect(&url.replace("https", "http"), None).expect("an address");
    let (cause, _) = tokio::join!(refusal(), status(plain));
    assert!(cause.contains("spoke no TLS"), "{cause}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_an_unusable_one_is_not() {
    let authority = Authority::new();
    let shutdown = CancellationToken::new();
    let (url, tls) = secured(authority.sign("server", &[], -1), &shutdown).await;
    let files = authority.sign("alice", &[Role::Viewer], 10);
    status(client(&url, files.clone())).await.expect_err("the server's certificate has expired");
    replace(&authority.path("server.pem"), "nonsense");
    assert!(!tls.refresh(), "what can't be used is not taken");
    authority.sign("server", &[], 10);
    assert!(tls.refresh());
    assert!(!tls.refresh(), "nothing has changed since");
    assert_eq!(status(client(&url, files)).await.expect("greeted"), 1);
    shutdown.cancel();
}

#[tokio::test]
async fn a_certificate_tells_name_and_roles() {
    let authority = Authority::new();
    let shutdown = CancellationToken::new();
    let server = Tls::load(authority.sign("server", &[], 10)).expect("certificates");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("https://{}", listener.local_addr().expect("bound"));
    let (greeted, mut connections) = mpsc::channel(1);
    tokio::spawn(greet(listener, server, greeted, shutdown.clone()));
    let calling = tokio::spawn(status(client(&url, authority.sign("alice", &[Role::Operator], 10))));
    let connection = connections.recv().await.expect("greeted");
    let Peer::Certified(_, identity) = connection.connect_info() else { panic!("a certificate was shown") };
    assert_eq!((identity.name.as_str(), &identity.roles[..]), ("alice", &[Role::Operator][..]));
    drop(connection);
    calling.abort();
    shutdown.cancel();
}
