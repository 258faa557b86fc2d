//! The samples of a page, and the syntax in which they are written.

use super::histogram::HistogramSum;

/// The syntax of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// The text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Messages of Protocol Buffers. Histograms also have native buckets.
    Protobuf,
}

impl Syntax {
    /// Returns the value of `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Sample {
    /// The values of the family's labels, in their order.
    pub(super) labels: Vec<String>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Integer(u64),
    Float(f64),
    Histogram(Box<HistogramSum>),
}
