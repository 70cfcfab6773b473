use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use std::sync::{Arc, Mutex};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use super::{
    instruments::Instruments,
    metrics::{Figures, LastSuccess},
    *,
};

/// Keeps spans that ended.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("no panic").extend(batch);
        Ok(())
    }
}

#[tokio::test]
async fn a_trace_goes_on_in_another_process_and_holds_no_foreign_span() {
    let kept = Kept::default();
    let tracer = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let subscriber = tracing_subscriber::registry().with(logs::traces(&tracer));
    let _here = tracing::subscriber::set_default(subscriber);
    let handed = async {
        let foreign = tracing::info_span!(target: "scylla::driver", "query", value = "a cell");
        async { trace_parent() }.instrument(foreign).await
    }
    .instrument(tracing::info_span!("submit", job = "j1"))
    .await;
    let there = tracing::info_span!("shard", table = "ks.t");
    continue_trace(&there, &handed);
    there.in_scope(|| {
        tracing::warn!("it is slow");
        tracing::info!("nothing to see");
        tracing::info_span!("segment", segment = 3).in_scope(|| {});
    });
    drop(there);
    let spans = kept.0.lock().expect("no panic").clone();
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:?}"));
    let (submit, shard, segment) = (find("submit"), find("shard"), find("segment"));
    assert_eq!(spans.len(), 3, "only our spans are told: {spans:?}");
    assert_eq!(shard.parent_span_id, submit.span_context.span_id());
    assert_eq!(segment.parent_span_id, shard.span_context.span_id());
    assert_eq!(shard.events.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["it is slow"]);
    let trace = trace_id(&handed);
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == trace), "{spans:?}");
}

/// Instruments of their own with what a Prometheus server would read of them.
fn counted() -> (Instruments, Registry, SdkMeterProvider) {
    let registry = Registry::new();
    let provider = SdkMeterProvider::builder().with_reader(exporter(&registry).expect("a registry")).build();
    (Instruments::new(&provider.meter("test")), registry, provider)
}

fn shown(registry: &Registry) -> String {
    page("/metrics", registry).expect("a page").text
}

#[test]
fn metrics_stand_under_their_documented_names() {
    let (instruments, registry, _provider) = counted();
    instruments.rows.add(7, &[KeyValue::new("direction", "backup")]);
    instruments.rows.add(5, &[KeyValue::new("direction", "backup")]);
    instruments.page_seconds.record(0.003, &[]);
    let text = shown(&registry);
    assert!(text.contains("ringvault_rows_total{direction=\"backup\"} 12\n"), "{text}");
    assert!(text.contains("ringvault_page_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
    assert!(text.contains("ringvault_page_seconds_count 1\n"), "{text}");
    assert!(!text.contains("ringvault_workers "), "a process that coordinates nothing has no figures: {text}");
}

#[test]
fn figures_are_told_as_they_are_now() {
    let (instruments, registry, _provider) = counted();
    let last = LastSuccess { cluster: "prod".into(), keyspace: "shop".into(), finished_unix_ms: 1_000 };
    let figures = Figures {
        jobs: vec![("running".into(), 1), ("done".into(), 4)],
        last_successes: vec![last],
        stuck: vec![("j1".into(), true)],
        lag_bytes: vec![("j1".into(), 99)],
        lease_lapses: 3,
        workers: 2,
        ..Figures::default()
    };
    instruments.publish(figures.clone());
    let text = shown(&registry);
    for line in [
        "ringvault_jobs{state=\"done\"} 4\n",
        "ringvault_job_stuck{job=\"j1\"} 1\n",
        "ringvault_lag_bytes{job=\"j1\"} 99\n",
        "ringvault_lease_lapses_total 3\n",
        "ringvault_workers 2\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let age = text.lines().find(|line| line.starts_with("ringvault_last_success_age_seconds{")).expect("an age");
    assert!(age.contains("cluster=\"prod\",keyspace=\"shop\""), "{age}");
    assert!(age.rsplit(' ').next().and_then(|age| age.parse::<f64>().ok()).is_some_and(|age| age > 1e9), "{age}");
    instruments.publish(Figures { stuck: vec![("j2".into(), false)], lag_bytes: Vec::new(), ..figures });
    let text = shown(&registry);
    assert!(text.contains("ringvault_job_stuck{job=\"j2\"} 0\n"), "{text}");
    assert!(!text.contains("j1"), "what has ended is not told any more: {text}");
}

#[test]
fn every_name_is_of_an_instrument_and_every_instrument_has_a_name_of_the_list() {
    let (instruments, registry, _provider) = counted();
    instruments.rows.add(1, &[]);
    instruments.bytes.add(1, &[]);
    instruments.chunks.add(1, &[]);
    instruments.page_seconds.record(1.0, &[]);
    instruments.worker_retries.add(1, &[]);
    instruments.throttled_seconds.add(1.0, &[]);
    instruments.worker_slots.record(1, &[]);
    instruments.slots_busy.record(1, &[]);
    let one = || vec![("x".to_owned(), 1)];
    instruments.publish(Figures {
        jobs: one(),
        last_successes: vec![LastSuccess { cluster: "c".into(), keyspace: "k".into(), finished_unix_ms: 1 }],
        stuck: vec![("j".into(), false)],
        throttled: one(),
        lag_bytes: one(),
        ..Figures::default()
    });
    let text = shown(&registry);
    let mut told: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| *name != "target_info")
        .collect();
    let mut names = NAMES.to_vec();
    told.sort_unstable();
    names.sort_unstable();
    assert_eq!(told, names);
}

#[test]
fn what_can_t_be_told_to_is_refused_with_its_form_and_without_its_password() {
    let telemetry = |level: &str, endpoint: &str| Telemetry {
        level: level.to_owned(),
        format: LogFormat::Text,
        otlp_endpoint: Some(endpoint.to_owned()),
        prometheus: None,
        service_name: "ringvault-client",
        instance: String::new(),
    };
    let refusal = |level, endpoint| start(telemetry(level, endpoint)).expect_err("refused").to_string();
    assert!(refusal("loud", "http://c:4317").contains("none of error, warn"));
    assert!(refusal("warn", "c:4317").contains("http://HOST:PORT"));
    let told = refusal("warn", "ftp://me:hunter2@c:4317");
    assert!(told.contains("ftp://c:4317") && !told.contains("hunter2"), "{told}");
    assert!(!refusal("warn", "//me:hunter2@c").contains("hunter2"));
}

#[test]
fn an_endpoint_that_is_down_neither_fails_nor_holds_a_process() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let telemetry = Telemetry {
        level: "error".to_owned(),
        format: LogFormat::Text,
        otlp_endpoint: Some(format!("http://{nobody}")),
        prometheus: Some("127.0.0.1:0".parse().expect("an address")),
        service_name: "ringvault-client",
        instance: "x".to_owned(),
    };
    let guard = start(telemetry).expect("an endpoint need not answer");
    let served = guard.prometheus().expect("served");
    assert_eq!(ask(served, "/health").0, 200);
    assert_eq!(ask(served, "/metrics").0, 200);
    assert_eq!(ask(served, "/else").0, 404);
    guard.stop();
    // the threads of the runtime are not waited for
    let begun = Instant::now();
    while std::net::TcpStream::connect(served).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "metrics are served behind the end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Status and body of a page.
fn ask(address: SocketAddr, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

/// Words of a text that begin as our metrics do.
fn mentioned(text: &str) -> std::collections::BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("ringvault_")).collect()
}

#[test]
fn dashboards_and_documents_use_names_that_are_told() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = |word: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
        NAMES.contains(&word) || histogram.is_some_and(|name| NAMES.contains(&name))
    };
    let mut used = std::collections::BTreeSet::new();
    for file in ["TELEMETRY.md", "../deploy/dashboards/ringvault.json", "../deploy/dashboards/alerts.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).expect("it stands there");
        for word in mentioned(&text) {
            assert!(told(word), "{file} uses {word}, which nobody tells");
            used.insert(word.to_owned());
        }
    }
    let unknown: Vec<&&str> = NAMES.iter().filter(|name| !used.contains(**name)).collect();
    assert!(unknown.is_empty(), "no document mentions {unknown:?}");
}
