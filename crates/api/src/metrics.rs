//! Prometheus metrics: what the node and the store count, written when somebody asks.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{
    Api, Problem,
    control::{Metric, MetricKind},
};

/// The OpenMetrics text format.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Open to this host; from elsewhere with a token.
pub(crate) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(api.node().metrics().await)));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return Err(Problem::unavailable("the metrics cannot be written", "this is a bug: please report it"));
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// The numbers of one moment.
#[derive(Debug)]
struct Snapshot(Vec<Metric>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in &self.0 {
            let kind = match metric.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for sample in &metric.samples {
                if sample.labels.is_empty() {
                    write_value(metric.kind, sample.value, family)?;
                    // A sample without labels is the only one of its family.
                    break;
                }
                write_value(metric.kind, sample.value, family.encode_family(&sample.labels)?)?;
            }
        }
        Ok(())
    }
}

fn write_value(kind: MetricKind, value: f64, encoder: MetricEncoder<'_>) -> std::fmt::Result {
    match kind {
        MetricKind::Counter => ConstCounter::new(value).encode(encoder),
        MetricKind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}
