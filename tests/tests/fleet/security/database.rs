//! TLS and mutual TLS to the database: certificates with addresses or names, and what is said where one does not fit.

use anyhow::{Context, Result, ensure};
use ringvault_tests::authority::{Authority, Wanted};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster, other_authority};
use ringvault_tests::product::{Run, Workbench};
use ringvault_tests::runner::{Test, TestContext};

/// The only name that the certificate of the nodes of 3.11 holds.
const NAME: &str = "localhost";

pub(super) fn tests() -> Vec<Test> {
    let named = ClusterSpec::one(CassandraVersion::V3_11).with_mutual_tls().certified_as(NAME);
    vec![
        Test::new("nodes_that_want_certificates_get_them_5_0", certificates_are_shown).on(super::canary::cluster()),
        Test::new("nodes_that_want_certificates_get_them_3_11", certificates_are_shown).on(named.clone()),
        Test::new("nodes_are_known_by_their_host_names", nodes_are_known_by_their_host_names).on(named),
    ]
}

/// The flags of a cluster of mutual TLS, one by one.
struct Flags {
    hosts: String,
    port: String,
    ca: String,
    cert: String,
    key: String,
}

impl Flags {
    fn of(cluster: &TestCluster) -> Result<Self> {
        let certificates = cluster.certificates().context("the cluster speaks TLS")?;
        let client = certificates.client.as_ref().context("the cluster wants certificates")?;
        let by_name = cluster.spec().tls.is_some_and(|tls| tls.host_name.is_some());
        // A name behind the address: it need not be where the node is found, but the certificate may hold it.
        let hosts = if by_name { format!("{},{NAME}", cluster.hosts()) } else { cluster.hosts() };
        Ok(Self {
            hosts,
            port: cluster.port().to_string(),
            ca: certificates.authority.display().to_string(),
            cert: client.cert.display().to_string(),
            key: client.key.display().to_string(),
        })
    }

    fn reach(&self) -> Vec<&str> {
        vec!["--hosts", &self.hosts, "--port", &self.port, "--ssl"]
    }

    fn trust(&self) -> [&str; 2] {
        ["--ca-cert", &self.ca]
    }

    fn show(&self) -> [&str; 4] {
        ["--client-cert", &self.cert, "--client-key", &self.key]
    }
}

/// Backs up with these flags.
async fn backup(cluster: &TestCluster, flags: &[&str]) -> Result<Run> {
    let mut bench = Workbench::new(cluster)?;
    if cluster.spec().auth {
        let login = [("RINGVAULT_USERNAME", "cassandra"), ("RINGVAULT_PASSWORD", "cassandra")];
        bench.set_environment(login.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    bench.set_connection(flags);
    bench.try_backup("sealed", &[]).await
}

async fn make(cluster: &TestCluster) -> Result<()> {
    cluster.fresh_keyspace("sealed", 1).await?;
    cluster.run(&["CREATE TABLE sealed.t (id int PRIMARY KEY)", "INSERT INTO sealed.t (id) VALUES (1)"]).await
}

async fn certificates_are_shown(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let flags = Flags::of(cluster)?;
    let with = |parts: &[&[&str]]| {
        flags
            .reach()
            .into_iter()
            .map(ToOwned::to_owned)
            .chain(parts.concat().iter().map(ToString::to_string))
            .collect::<Vec<String>>()
    };
    let run = async |parts: &[&[&str]]| {
        let words = with(parts);
        backup(cluster, &words.iter().map(String::as_str).collect::<Vec<_>>()).await
    };

    let whole = run(&[&flags.trust(), &flags.show()]).await?.expect(0)?;
    ensure!(whole.figure("rows")? == 1, "{whole}");
    let unchecked = run(&[&["--ssl-no-verify"], &flags.show()]).await?.expect(0)?;
    ensure!(unchecked.figure("rows")? == 1, "{unchecked}");

    // No certificate, half of one, one that the nodes don't know.
    let none = run(&[&flags.trust()]).await?;
    t.note(none.refused(1, &["invalid", "unavailable"], &["certificate", "--client-cert"])?);
    run(&[&flags.trust(), &["--client-cert", &flags.cert]]).await?.refused(2, &["usage"], &["--client-key"])?;
    run(&[&flags.trust(), &["--client-key", &flags.key]]).await?.refused(2, &["usage"], &["--client-cert"])?;
    let bench = Workbench::new(cluster)?;
    let strangers = Authority::new(&bench.path().join("strangers"), "nobody the nodes know")?;
    let stranger = strangers.sign("stranger", &Wanted::default())?;
    let (cert, key) = (stranger.cert.display().to_string(), stranger.key.display().to_string());
    let unknown = run(&[&flags.trust(), &["--client-cert", &cert, "--client-key", &key]]).await?;
    t.note(unknown.refused(1, &["invalid", "unavailable"], &["certificate", "--client-cert"])?);
    let mixed = run(&[&flags.trust(), &["--client-cert", &flags.cert, "--client-key", &key]]).await?;
    mixed.refused(1, &["invalid"], &["don't go together", &flags.cert, &key])?;

    // Another authority than the nodes'; a file that is none.
    let other = other_authority(bench.path())?.display().to_string();
    let wrong = run(&[&["--ca-cert", &other], &flags.show()]).await?;
    t.note(wrong.refused(1, &["invalid", "unavailable"], &["certificate", "--ca-cert"])?);
    let missing = run(&[&["--ca-cert", "/nowhere/ca.pem"], &flags.show()]).await?;
    missing.refused(1, &["invalid"], &["/nowhere/ca.pem"])?;
    cluster.drop_keyspace("sealed").await
}

async fn nodes_are_known_by_their_host_names(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let flags = Flags::of(cluster)?;
    let hosts = cluster.hosts();
    let by_address = ["--hosts", &hosts, "--port", &flags.port, "--ssl"];
    let refused = backup(cluster, &[&by_address[..], &flags.trust(), &flags.show()].concat()).await?;
    t.note(refused.refused(1, &["invalid", "unavailable"], &["certificate", "--hosts"])?);
    backup(cluster, &[&by_address[..], &["--ssl-no-verify"], &flags.show()].concat()).await?.expect(0)?;
    backup(cluster, &[&flags.reach()[..], &flags.trust(), &flags.show()].concat()).await?.expect(0)?;
    cluster.drop_keyspace("sealed").await
}
