//! The metrics recorder of one engine: no globals, so that two engines can live in one process.

use std::borrow::Cow;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::names::{METRICS, MetricKind};

static METADATA: Metadata<'static> = Metadata::new("posthaste", Level::INFO, None);

/// Registers series and renders them.
pub(super) struct Registry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS {
            if let MetricKind::Histogram(bounds) = metric.kind {
                builder = builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                    .expect("bucket bounds in names.rs are not empty");
            }
        }
        let recorder = builder.build_recorder();
        for metric in METRICS {
            let (name, help) = (KeyName::from_const_str(metric.name), Cow::Borrowed(metric.help));
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, help.into()),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help.into()),
                MetricKind::Histogram(_) => recorder.describe_histogram(name, None, help.into()),
            }
        }
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    pub(super) fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    pub(super) fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    pub(super) fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    pub(super) fn render(&self) -> String {
        self.handle.render()
    }

    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels
        .iter()
        .map(|(label, value)| Label::new(*label, (*value).to_owned()))
        .collect();
    Key::from_parts(name, labels)
}
