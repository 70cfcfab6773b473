//! Who is refused, and what both sides say: the one that was refused hears cause and next step, the log of the other says
//! whom and why.

use anyhow::{Result, ensure};
use ringvault_tests::authority::{Authority, Signed, Validity, Wanted};
use ringvault_tests::cassandra::{CassandraVersion, ClusterSpec};
use ringvault_tests::fleet::{Fleet, FleetSpec};
use ringvault_tests::product::{Run, Workbench, as_strs};
use ringvault_tests::runner::{Test, TestContext};

use super::{Lonely, tls_words, until_logged};

pub(super) fn tests() -> Vec<Test> {
    let newest = || ClusterSpec::one(CassandraVersion::V5_0);
    vec![
        Test::new("a_wrong_certificate_is_refused_and_both_sides_say_why", wrong_certificates).on(newest()),
        Test::new("a_missing_role_is_refused_and_both_sides_say_why", missing_roles).on(newest()),
        Test::new("a_server_that_is_not_what_it_should_be_is_refused", wrong_servers).on(newest()),
        Test::new("beyond_loopback_a_coordinator_wants_certificates", beyond_loopback).on(newest()),
    ]
}

/// Asks for the workers, as a client with these certificate files.
async fn ask(bench: &Workbench, url: &str, tls: &[String]) -> Result<Run> {
    let words = ["worker", "list", "--coordinator", url];
    bench.run(&words.into_iter().chain(tls.iter().map(String::as_str)).collect::<Vec<_>>()).await
}

async fn wrong_certificates(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = Workbench::new(cluster)?;
    let ours = Authority::of_fleet(&bench.path().join("ours"))?;
    let other = Authority::of_fleet(&bench.path().join("other"))?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 1)?.with_tls(ours.fleet_tls())).await?;
    let (url, log) = (fleet.url(), fleet.log_path("coordinator"));
    let file = |authority: &Authority, name: &str| authority.directory().join(name);
    let words = |ca: &Authority, holder: &Authority, name: &str| {
        tls_words(&ca.ca(), &file(holder, &format!("{name}.pem")), &file(holder, &format!("{name}.key")))
    };
    ask(&bench, &url, &words(&ours, &ours, "viewer")).await?.expect(0)?;

    // The client's certificate is another authority's.
    let stranger = words(&ours, &other, "admin");
    let heard = ["--tls-cert", "no authority in its CA file signed"];
    ask(&bench, &url, &stranger).await?.refused(1, &["unavailable"], &heard)?;
    until_logged(&log, &["a connection was refused", "no authority in our CA file signed it", "127.0.0.1:"]).await?;

    // The client trusts another authority than the server's.
    let distrustful = words(&other, &ours, "admin");
    let refused = ask(&bench, &url, &distrustful).await?;
    refused.refused(1, &["unavailable"], &["no authority in the file of --tls-ca signed it"])?;
    until_logged(&log, &["a connection was refused", "it refused our certificate", "no authority in its CA file"])
        .await?;

    // Out of time, both ways.
    for (name, validity) in [("late", Validity::Expired), ("early", Validity::NotYet)] {
        ours.sign(name, &Wanted::role("admin").valid(validity))?;
        let run = ask(&bench, &url, &words(&ours, &ours, name)).await?;
        run.refused(1, &["unavailable"], &["the certificate of --tls-cert has expired, or is not valid yet"])?;
    }
    until_logged(&log, &["a connection was refused", "it has expired; renew it"]).await?;
    until_logged(&log, &["a connection was refused", "it is not valid yet; compare the clocks"]).await?;

    // No TLS to a port that wants it.
    let plain = url.replace("https://", "http://");
    ask(&bench, &plain, &[]).await?.refused(1, &["unavailable"], &["https://", "--tls-ca"])?;
    until_logged(&log, &["a connection was refused", "it spoke no TLS", "https://"]).await?;
    ask(&bench, &url, &[]).await?.refused(2, &["usage"], &["--tls-ca"])?;
    ask(&bench, &plain, &words(&ours, &ours, "viewer")).await?.refused(2, &["usage"], &["http://"])?;

    // TLS to a port that knows none.
    let open = Lonely::start(&bench, "open", &[]).await?;
    let url = format!("https://{}", open.address);
    let run = ask(&bench, &url, &words(&ours, &ours, "viewer")).await?;
    run.refused(1, &["unavailable"], &["it speaks no TLS", "http://"])?;
    open.stop().await?;
    fleet.stop().await
}

async fn missing_roles(t: TestContext) -> Result<()> {
    let cluster = t.cluster();
    let bench = Workbench::new(cluster)?;
    let ours = Authority::of_fleet(&bench.path().join("ours"))?;
    ours.sign("nobody", &Wanted::default())?;
    let fleet = Fleet::start(cluster, &bench, FleetSpec::new(&bench, 1)?.with_tls(ours.fleet_tls())).await?;
    let (url, tls, log) = (fleet.url(), ours.fleet_tls(), fleet.log_path("coordinator"));
    let run = async |name: &str, words: &[&str]| {
        let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
        words.extend(["--coordinator".to_owned(), url.clone()]);
        words.extend(tls.words(name));
        bench.run(&as_strs(&words)).await
    };
    let submit = ["backup", "anything", "main", "--cluster", "prod"];
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("viewer", &submit, "viewer", "operator"),
        ("viewer", &["job", "cancel", "j1"], "viewer", "operator"),
        ("operator", &["worker", "drain", "w1"], "operator", "admin"),
        ("worker", &["job", "list"], "worker", "viewer"),
        ("worker", &["job", "cancel", "j1"], "worker", "operator"),
        ("nobody", &["worker", "list"], "no role", "viewer"),
    ];
    for (name, words, held, needed) in cases {
        let said = run(name, words).await?;
        let told = format!("the certificate of \"{name}\" has {held}, this needs {needed}");
        said.refused(1, &["invalid", "denied"], &[&told, "organizational unit (OU)"])?;
        let named = format!("\"name\":\"{name}\"");
        let needed = format!("\"needed\":\"{needed}\"");
        until_logged(&log, &["a request was refused", &named, &needed, "127.0.0.1:"]).await?;
    }
    // What their roles do allow.
    run("viewer", &["worker", "list"]).await?.expect(0)?;
    run("operator", &["job", "list"]).await?.expect(0)?;

    // A client's certificate makes no worker, not even an admin's.
    let settings = bench.path().join("w1.toml").display().to_string();
    let (words, own_log) = (tls.words("admin"), bench.path().join("impostor.log"));
    let words = [&["worker", "--config", &settings, "--name", "impostor"][..], &as_strs(&words)].concat();
    let impostor = bench.start_into(&words, &[], &own_log)?;
    until_logged(&log, &["a request was refused", "\"name\":\"admin\"", "\"needed\":\"worker\""]).await?;
    until_logged(&own_log, &["has admin, this needs worker", "(OU) worker"]).await?;
    let workers = run("viewer", &["worker", "list"]).await?.expect(0)?;
    ensure!(workers.lines("worker").iter().all(|line| line["name"] != "impostor"), "the impostor attends: {workers}");
    impostor.signal("TERM").await.ok();
    impostor.wait(super::END_MAX).await?;
    fleet.stop().await
}

async fn wrong_servers(t: TestContext) -> Result<()> {
    let bench = Workbench::new(t.cluster())?;
    let ours = Authority::of_fleet(&bench.path().join("ours"))?;
    let viewer = ours.fleet_tls().words("viewer");
    let words = |Signed { cert, key }: &Signed| tls_words(&ours.ca(), cert, key);

    // Its certificate has expired.
    let late = ours.sign("late", &Wanted::server(&["127.0.0.1"]).valid(Validity::Expired))?;
    let server = Lonely::start(&bench, "late", &words(&late)).await?;
    let run = ask(&bench, &format!("https://{}", server.address), &viewer).await?;
    run.refused(1, &["unavailable"], &["it has expired; renew it"])?;
    until_logged(&server.log, &["a connection was refused", "our certificate has expired"]).await?;
    server.stop().await?;

    // It is made for another name.
    let elsewhere = ours.sign("elsewhere", &Wanted::server(&["backups.example.org"]))?;
    let server = Lonely::start(&bench, "elsewhere", &words(&elsewhere)).await?;
    let run = ask(&bench, &format!("https://{}", server.address), &viewer).await?;
    run.refused(1, &["unavailable"], &["it is made for", "backups.example.org", "not for", "127.0.0.1"])?;
    until_logged(&server.log, &["a connection was refused", "it refused our certificate"]).await?;
    server.stop().await?;

    // By a name as well as by an address, where the certificate holds both.
    let both = ours.sign("both", &Wanted::server(&["localhost", "127.0.0.1"]))?;
    let server = Lonely::start(&bench, "both", &words(&both)).await?;
    let port = server.address.rsplit(':').next().unwrap_or_default().to_owned();
    for host in ["localhost", "127.0.0.1"] {
        ask(&bench, &format!("https://{host}:{port}"), &viewer).await?.expect(0)?;
    }
    server.stop().await
}

async fn beyond_loopback(t: TestContext) -> Result<()> {
    let bench = Workbench::new(t.cluster())?;
    let state = bench.path().join("state-of-none").display().to_string();
    let open = ["coordinator", "--listen", "0.0.0.0:0", "--state-dir", &state];
    let words = ["0.0.0.0:0", "--tls-ca", "--insecure", "deploy/certificates/make"];
    bench.run(&open).await?.refused(2, &["usage"], &words)?;
    let settings = bench.path().join("open.toml");
    std::fs::write(&settings, format!("listen = \"[::]:0\"\nstate_dir = {state:?}\n"))?;
    let by_file = ["coordinator", "--config", &settings.display().to_string()];
    bench.run(&by_file).await?.refused(2, &["usage"], &["[::]:0", "--insecure"])?;
    ensure!(!std::path::Path::new(&state).exists(), "a refused coordinator made its journal");
    // Half of the certificates is none.
    let half = [&open[..], &["--tls-ca", "/nowhere/ca.pem"]].concat();
    bench.run(&half).await?.refused(2, &["usage"], &["all three"])?;
    // A missing file is named, and not its content.
    let nowhere = ["--tls-ca", "/nowhere/ca.pem", "--tls-cert", "/nowhere/c.pem", "--tls-key", "/nowhere/c.key"];
    let run = bench.run(&[&open[..], &nowhere].concat()).await?;
    ensure!(run.code == Some(1) || run.code == Some(2), "{run}");
    ensure!(format!("{run}").contains("/nowhere/ca.pem"), "{run}");
    // Told so, it listens, and says what that means.
    let told = bench.start(&[&open[..], &["--insecure"]].concat())?;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    told.signal("TERM").await?;
    let run = told.wait(super::END_MAX).await?;
    ensure!(run.code == Some(0) || run.code == Some(4), "{run}");
    Ok(())
}
