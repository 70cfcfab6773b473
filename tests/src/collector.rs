//! An OTLP collector in the test's process: takes traces and metrics by gRPC, as processes of Ringvault send them, and
//! keeps them to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// How often what has come is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A span as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of the process.
    pub service: String,
    /// `service.instance.id` of the process; may be empty.
    pub instance: String,
    /// What it is called.
    pub name: String,
    /// Hexadecimal.
    pub trace_id: String,
    /// Hexadecimal.
    pub span_id: String,
    /// Hexadecimal; empty for the first of a trace.
    pub parent_id: String,
    /// Its fields.
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Gathered {
    spans: Vec<Span>,
    /// Names, by service.
    metrics: BTreeMap<String, BTreeSet<String>>,
    /// All of it, for those who look for what must not be there.
    text: String,
}

#[derive(Clone, Debug, Default)]
struct Gatherer(Arc<Mutex<Gathered>>);

/// A running collector; ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    gatherer: Gatherer,
    task: JoinHandle<()>,
}

impl Collector {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let gatherer = Gatherer::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(gatherer.clone()))
            .add_service(MetricsServiceServer::new(gatherer.clone()));
        let task = tokio::spawn(async move {
            let _ = server.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Ok(Self { endpoint, gatherer, task })
    }

    /// What `--otlp-endpoint` takes.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All spans that have come so far.
    pub fn spans(&self) -> Vec<Span> {
        self.gatherer.read(|gathered| gathered.spans.clone())
    }

    /// Names of the metrics that have come so far from processes of this service.
    pub fn metrics(&self, service: &str) -> BTreeSet<String> {
        self.gatherer.read(|gathered| gathered.metrics.get(service).cloned().unwrap_or_default())
    }

    /// All that has come so far, names, fields and values.
    pub fn text(&self) -> String {
        self.gatherer.read(|gathered| gathered.text.clone())
    }

    /// Waits until the spans that have come are what `whole` wants; it says what is missing.
    ///
    /// # Errors
    /// What was missing last, if that takes longer than `limit`.
    pub async fn wait<T>(&self, limit: Duration, whole: impl Fn(&[Span]) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            match whole(&self.spans()) {
                Ok(found) => return Ok(found),
                Err(missing) if begun.elapsed() > limit => bail!("{missing:#}, {limit:?} after the work ended"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gatherer {
    fn read<T>(&self, look: impl FnOnce(&mut Gathered) -> T) -> T {
        look(&mut self.0.lock().expect("nobody panics with it"))
    }
}

#[tonic::async_trait]
impl TraceService for Gatherer {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let request = request.into_inner();
        self.read(|gathered| {
            gathered.text += &format!("{request:?}\n");
            for of_process in request.resource_spans {
                let process = attributes(&of_process.resource);
                let spans = of_process.scope_spans.into_iter().flat_map(|scope| scope.spans);
                gathered.spans.extend(spans.map(|span| Span {
                    service: process.get("service.name").cloned().unwrap_or_default(),
                    instance: process.get("service.instance.id").cloned().unwrap_or_default(),
                    name: span.name,
                    trace_id: hex::encode(span.trace_id),
                    span_id: hex::encode(span.span_id),
                    parent_id: hex::encode(span.parent_span_id),
                    attributes: fields(&span.attributes),
                }));
            }
        });
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Gatherer {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let request = request.into_inner();
        self.read(|gathered| {
            gathered.text += &format!("{request:?}\n");
            for of_process in request.resource_metrics {
                let service = attributes(&of_process.resource).remove("service.name").unwrap_or_default();
                let metrics = of_process.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                gathered.metrics.entry(service).or_default().extend(metrics.map(|metric| metric.name));
            }
        });
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn attributes(resource: &Option<Resource>) -> BTreeMap<String, String> {
    resource.as_ref().map(|resource| fields(&resource.attributes)).unwrap_or_default()
}

fn fields(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}
