//! Canary secrets, given everywhere a secret can be given, to a fleet and to commands that tell all they can and meet
//! failures: they stand nowhere but where they were given. Cells and partition keys stand in the data and nowhere else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringvault_tests::authority::{Authority, replace};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec, TestCluster};
use ringvault_tests::collector::Collector;
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::{Run, Workbench, as_strs, files_below};
use ringvault_tests::runner::{Test, TestContext};
use ringvault_tests::s3::S3Server;

use crate::support::until;

/// Of a role, in the worker's settings.
const PASSWORD: &str = "canary-password-4821";
/// Of another, in a file of its own.
const PASSWORD_IN_FILE: &str = "canary-file-7710";
/// Of another, in the environment.
const PASSWORD_IN_ENVIRONMENT: &str = "canary-environment-3364";
/// Of nobody.
const WRONG_PASSWORD: &str = "canary-wrong-1190";
/// What S3 refuses.
const WRONG_KEY: &str = "canary-s3-key-5527";
/// A session token that belongs to it.
const WRONG_TOKEN: &str = "canary-s3-token-8802";
/// In URLs where nobody should write one.
const IN_URL: &str = "canary-url-6043";
/// A partition key of the table, and of a restore of this partition.
const PARTITION: &str = "canary-partition-7731";
/// A cell of the table.
const CELL: &str = "canary-cell-9917";

pub(super) fn tests() -> Vec<Test> {
    vec![Test::new("canary_secrets_stand_nowhere_but_where_they_were_given", canaries).on(cluster())]
}

/// One node that asks for passwords and certificates.
pub(super) fn cluster() -> ClusterSpec {
    ClusterSpec::one(CassandraVersion::V5_0).with_auth().with_mutual_tls()
}

/// What somebody could read, by where it stands.
#[derive(Default)]
struct Artefacts(Vec<(String, Vec<u8>)>);

impl Artefacts {
    fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    fn add_run(&mut self, run: &Run) {
        self.add(format!("stdout of {}", run.command), run.stdout.clone());
        self.add(format!("stderr of {}", run.command), run.stderr.clone());
    }

    fn add_files(&mut self, what: &str, directory: &Path) -> Result<()> {
        for (name, _) in files_below(directory)? {
            let bytes = std::fs::read(directory.join(&name)).unwrap_or_default();
            self.add(format!("{what}: {name}"), [name.as_bytes(), b"\n", &bytes].concat());
        }
        Ok(())
    }

    /// Where this stands.
    fn holding(&self, text: &str) -> Vec<&str> {
        let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.0.iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name.as_str()).collect()
    }

    /// That something is there at all: where nothing is told, nothing is hidden.
    fn ensure_holding(&self, what: &str, text: &str) -> Result<()> {
        let found = self.holding(text).into_iter().any(|name| name.starts_with(what));
        ensure!(found, "nothing of {what} holds {text}: the search would find no secret there either");
        Ok(())
    }
}

/// Roles, and a table whose cells are canaries.
async fn make(cluster: &TestCluster) -> Result<()> {
    cluster.fresh_keyspace("mine", 1).await?;
    for (role, password) in
        [("by_settings", PASSWORD), ("by_file", PASSWORD_IN_FILE), ("by_environment", PASSWORD_IN_ENVIRONMENT)]
    {
        let create = format!(
            "CREATE ROLE IF NOT EXISTS {role} WITH PASSWORD = '{password}' AND LOGIN = true AND SUPERUSER = true"
        );
        cluster.run(&[&create]).await?;
    }
    cluster.run(&["CREATE TABLE mine.t (id text PRIMARY KEY, cell text)"]).await?;
    for number in 0..20 {
        let insert = format!("INSERT INTO mine.t (id, cell) VALUES ('{PARTITION}-{number}', '{CELL}-{number}')");
        cluster.run(&[&insert]).await?;
    }
    Ok(())
}

/// Lines of `[clusters.prod]` and sections of other clusters: the same one by other ways of giving the password, with a
/// wrong one, and one that does not answer.
fn sections(cluster: &TestCluster, directory: &Path) -> Result<String> {
    let certificates = cluster.certificates().context("it speaks TLS")?;
    let client = certificates.client.as_ref().context("it wants certificates")?;
    let file = directory.join("database.password");
    replace(&file, &format!("{PASSWORD_IN_FILE}\n"))?;
    let tls = |name: &str| {
        format!(
            "[clusters.{name}.tls]\nca_cert = {:?}\nclient_cert = {:?}\nclient_key = {:?}\n",
            certificates.authority, client.cert, client.key
        )
    };
    let reach = format!("hosts = [{:?}]\nport = {}\n", cluster.hosts(), cluster.port());
    let more = |name: &str, lines: &str| format!("[clusters.{name}]\n{reach}{lines}\n{}", tls(name));
    Ok([
        format!("username = \"by_settings\"\npassword = {PASSWORD:?}\n{}", tls("prod")),
        more("filed", &format!("username = \"by_file\"\npassword_file = {file:?}")),
        more("hidden", "username = \"by_environment\""),
        more("wrong", &format!("username = \"by_settings\"\npassword = {WRONG_PASSWORD:?}")),
        format!("[clusters.gone]\nhosts = [\"127.0.0.1:9\"]\nusername = \"u\"\npassword = {WRONG_PASSWORD:?}\n"),
    ]
    .join("\n"))
}

async fn canaries(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    make(cluster).await?;
    let (s3, collector) = (S3Server::start().await?, Collector::start().await?);
    let mut bench = Workbench::new(cluster)?;
    bench.set_environment(s3.environment());
    let ours = Authority::of_fleet(&bench.path().join("certificates"))?;
    let mut spec = FleetSpec::new(&bench, 2)?.with_tls(ours.fleet_tls());
    spec.repository = s3.url("canary").into();
    spec.worker_repositories = vec![spec.repository.clone(); 2];
    spec.cluster_settings = sections(cluster, bench.path())?;
    spec.env = vec![("RINGVAULT_PASSWORD_HIDDEN".to_owned(), PASSWORD_IN_ENVIRONMENT.to_owned())];
    let metrics = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let telling = ["--log-level", "trace", "--otlp-endpoint", collector.endpoint()].map(ToOwned::to_owned);
    spec.coordinator_args = [&telling[..], &["--metrics-listen".to_owned(), metrics.clone()]].concat();
    spec.worker_args = [&telling[..], &["--metrics-listen".to_owned(), "127.0.0.1:0".to_owned()]].concat();
    let mut fleet = Fleet::start(cluster, &bench, spec).await?;
    let mut seen = Artefacts::default();

    let to = [&telling[..], &fleet.client_words()].concat();
    let run = async |words: &[&str]| bench.run(&[words, &as_strs(&to)].concat()).await;
    let mut said = Vec::new();
    // What succeeds, by every way of giving a password.
    for name in ["prod", "filed", "hidden"] {
        let key = format!("canary-{name}");
        let words = ["backup", "mine", "main", "--compression", "none", "--cluster", name, "--idempotency-key", &key];
        said.push(run(&words).await?.expect(0)?);
    }
    // What fails: a wrong password, a host that does not answer.
    for (name, word) in [("wrong", "by_settings"), ("gone", "127.0.0.1:9")] {
        let failed = run(&["backup", "mine", "main", "--cluster", name, "--patience", "1s"]).await?;
        failed.clone().refused(1, &["invalid", "denied", "unavailable"], &[word])?;
        said.push(failed);
    }
    // One partition by its key, which works, and one that is refused.
    let key = format!("[\"{PARTITION}-3\"]");
    let partition = ["--tables", "t", "--partition-key", &key, "--data-only", "--if-exists", "append"];
    let restore = [&["restore", "mine", "main", "--cluster", "prod"][..], &partition].concat();
    said.push(run(&restore).await?.expect(0)?);
    let restore = [&["restore", "mine", "main", "--cluster", "wrong"][..], &partition, &["--patience", "1s"]].concat();
    let failed = run(&restore).await?;
    ensure!(failed.code == Some(1), "{failed}");
    said.push(failed);
    let (cmdlines, list) = (command_lines(&fleet), run(&["job", "list"]).await?.expect(0)?);
    for line in list.lines("job") {
        let id = line["job_id"].as_str().context("a job has an id")?;
        said.push(run(&["job", "show", id]).await?.expect(0)?);
    }
    said.extend([
        list,
        run(&["worker", "list"]).await?.expect(0)?,
        bench.run(&["list", &s3.url("canary"), "--log-level", "trace"]).await?.expect(0)?,
    ]);
    said.extend(alone(cluster, &s3).await?);

    seen.add("metrics of the coordinator", metrics_page(&metrics).await?);
    seen.add("command lines", cmdlines);
    // The journal as it stands while the coordinator runs, with what it has not yet merged, and after it has ended.
    let state = bench.path().join("coordinator-state");
    seen.add_files("running journal", &state)?;
    for index in 0..2 {
        fleet.stop_worker(index).await?;
    }
    fleet.stop_coordinator().await?;
    seen.add_files("journal", &state)?;
    seen.add_files("log", &bench.path().join("logs"))?;
    seen.add_files("state of clients", &bench.path().join("state"))?;
    seen.add_files("object", &s3.objects())?;
    seen.add("traces", collector.text());
    said.iter().for_each(|run| seen.add_run(run));

    // The search finds what is there.
    seen.ensure_holding("object: canary/data/", CELL)?;
    seen.ensure_holding("log: ", "\"level\":\"DEBUG\"")?;
    seen.ensure_holding("running journal: ", "canary-prod")?;
    seen.ensure_holding("traces", "ringvault-worker")?;
    seen.ensure_holding("metrics", "ringvault_jobs")?;
    seen.ensure_holding("command lines", "--metrics-listen")?;
    let given = [
        PASSWORD,
        PASSWORD_IN_FILE,
        PASSWORD_IN_ENVIRONMENT,
        WRONG_PASSWORD,
        WRONG_KEY,
        WRONG_TOKEN,
        IN_URL,
        S3Server::SECRET_KEY,
        S3Server::ACCESS_KEY,
    ];
    let mut secrets: Vec<String> = given.iter().map(ToString::to_string).collect();
    for name in ["coordinator", "worker", "admin"] {
        let pem = std::fs::read_to_string(ours.directory().join(format!("{name}.key")))?;
        secrets.push(pem.lines().nth(1).context("a key has a middle")?.to_owned());
    }
    for secret in &secrets {
        let found = seen.holding(secret);
        ensure!(found.is_empty(), "the secret {secret} stands in {found:#?}");
    }
    for value in [PARTITION, CELL] {
        let found = seen.holding(value);
        let elsewhere: Vec<_> = found.iter().filter(|name| !name.starts_with("object: canary/data/")).collect();
        ensure!(elsewhere.is_empty(), "the cell {value} stands in {elsewhere:#?}");
    }
    t.note(format!("{} secrets searched for in {} places", secrets.len(), seen.0.len()));
    cluster.drop_keyspace("mine").await
}

/// Commands without a coordinator, which fail in ways that could quote what they were given.
async fn alone(cluster: &TestCluster, s3: &S3Server) -> Result<Vec<Run>> {
    let mut said = Vec::new();
    let certificates = cluster.certificates().context("it speaks TLS")?;
    let client = certificates.client.as_ref().context("it wants certificates")?;
    let text = |path: &Path| path.display().to_string();
    let (ca, cert, key) = (text(&certificates.authority), text(&client.cert), text(&client.key));
    let (hosts, port) = (cluster.hosts(), cluster.port().to_string());
    let reach = ["--hosts", &hosts, "--port", &port, "--ssl", "--ca-cert", &ca, "--client-cert", &cert];
    let reach = [&reach[..], &["--client-key", &key, "--log-level", "trace", "--patience", "1s"]].concat();

    // The store refuses the key. The password comes from the environment.
    let mut bench = Workbench::new(cluster)?;
    bench.set_environment(s3.environment());
    let wrong = [("AWS_SECRET_ACCESS_KEY", WRONG_KEY), ("AWS_SESSION_TOKEN", WRONG_TOKEN)];
    let login = [("RINGVAULT_USERNAME", "by_settings"), ("RINGVAULT_PASSWORD", PASSWORD)];
    bench.set_environment([wrong, login].concat().iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let denied = bench.run(&[&["backup", "mine", &s3.url("denied")][..], &reach].concat()).await?;
    denied.clone().refused(1, &["invalid", "denied"], &["denied"])?;
    said.push(denied);
    // Credentials in URLs.
    for words in [
        vec!["backup".to_owned(), "mine".into(), format!("s3://user:{IN_URL}@backups/x")],
        vec!["job".into(), "list".into(), "--coordinator".into(), format!("http://user:{IN_URL}@127.0.0.1:1")],
        vec!["list".into(), s3.url("denied"), "--otlp-endpoint".into(), format!("http://user:{IN_URL}@127.0.0.1:1")],
        vec!["list".into(), s3.url("denied"), "--otlp-endpoint".into(), format!("ftp://user:{IN_URL}@127.0.0.1:1")],
    ] {
        let run = bench.run(&[&as_strs(&words)[..], &["--log-level", "trace"]].concat()).await?;
        ensure!(run.code != Some(0), "{run}");
        // The command's own words hold it, and are this test's.
        said.push(Run { command: words[0].clone(), ..run });
    }

    // A wrong password, from a file that the environment names.
    let mut bench = Workbench::new(cluster)?;
    let file = bench.path().join("wrong.password");
    replace(&file, WRONG_PASSWORD)?;
    bench.set_environment([
        ("RINGVAULT_USERNAME".to_owned(), "by_settings".to_owned()),
        ("RINGVAULT_PASSWORD_FILE".to_owned(), text(&file)),
    ]);
    let repository = bench.repository_argument();
    let refused = bench.run(&[&["backup", "mine", &repository][..], &reach].concat()).await?;
    refused.clone().refused(1, &["invalid", "denied"], &["by_settings"])?;
    said.push(refused);
    // The right one, while somebody looks at the list of processes.
    let mut bench = Workbench::new(cluster)?;
    let file = bench.path().join("right.password");
    replace(&file, PASSWORD)?;
    let by_flag = ["--username", "by_settings", "--password-file", &text(&file), "--rate", "10"].map(ToOwned::to_owned);
    bench.set_connection(&[&reach[..], &as_strs(&by_flag)].concat());
    let running = bench.start(&as_strs(&bench.backup_words("mine", &[])))?;
    let id = running.id().context("it runs")?;
    let line = until("a command line", async || {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        Ok(line.windows(15).any(|word| word == b"--password-file").then_some(line))
    })
    .await?;
    let run = running.wait(Duration::from_secs(120)).await?.expect(0)?;
    said.push(Run {
        command: "the command line".to_owned(),
        stdout: String::from_utf8_lossy(&line).into_owned(),
        ..run.clone()
    });
    said.push(run);
    Ok(said)
}

/// Command lines of all processes of the fleet, as everybody on the machine may read them.
fn command_lines(fleet: &Fleet<'_>) -> Vec<u8> {
    let ids = ["coordinator", "w1", "w2"].iter().filter_map(|name| fleet.process(name));
    ids.flat_map(|id| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default()).collect()
}

/// The page of metrics at this address.
async fn metrics_page(address: &str) -> Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    Ok(page)
}
