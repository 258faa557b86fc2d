//! Writes a page in the Protocol Buffers format of Prometheus, the only one that has native histograms.
//!
//! The messages are the part of `io.prometheus.client.MetricFamily` that Spooky uses:
//! <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>.

use super::{
    definitions::{Definition, Kind},
    histogram::HistogramSum,
    native::ZERO_THRESHOLD,
    sample::{Sample, Value},
};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramValue>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A `Gauge` or a `Counter`, which begin with the same field.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramValue {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_deltas: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// Appends a family, preceded by its length. A family without samples is left out.
pub(super) fn write_family(out: &mut Vec<u8>, definition: &Definition, samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let kind = match definition.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 4,
    };
    let family = MetricFamily {
        name: definition.name.to_owned(),
        help: definition.help.to_owned(),
        kind: Some(kind),
        metrics: samples.iter().map(|sample| metric(definition, sample)).collect(),
    };
    out.extend(family.encode_length_delimited_to_vec());
}

fn metric(definition: &Definition, sample: &Sample) -> Metric {
    let labels = definition.labels.iter().zip(&sample.labels);
    let labels = labels.map(|(name, value)| LabelPair { name: (*name).to_owned(), value: value.clone() });
    let mut metric = Metric { labels: labels.collect(), ..Metric::default() };
    let value = match &sample.value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Histogram(sum) => {
            metric.histogram = Some(histogram(sum));
            return metric;
        }
    };
    let number = Some(Number { value: Some(value) });
    match definition.kind {
        Kind::Counter => metric.counter = number,
        Kind::Gauge | Kind::Histogram => metric.gauge = number,
    }
    metric
}

fn histogram(sum: &HistogramSum) -> HistogramValue {
    let native = sum.native.buckets();
    // Prometheus requires that this is the sum of the native buckets. Durations that a worker counts during the scrape may be
    // in the classic buckets alone.
    let count = sum.native.count();
    let buckets = sum.classic.cumulated().map(|(bound, cumulated)| Bucket {
        cumulative_count: Some(cumulated.min(count)),
        upper_bound: Some(bound.parse().unwrap_or(f64::INFINITY)),
    });
    let spans =
        native.spans.into_iter().map(|(offset, length)| BucketSpan { offset: Some(offset), length: Some(length) });
    HistogramValue {
        count: Some(count),
        sum: Some(sum.classic.sum().as_secs_f64()),
        buckets: buckets.collect(),
        schema: Some(native.schema),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(native.zero),
        positive_spans: spans.collect(),
        positive_deltas: native.deltas,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Family, Histogram, Names, Page, Syntax};
    use std::time::Duration;

    /// A field as it is encoded, read without the library.
    #[derive(Debug, PartialEq)]
    enum Wire<'a> {
        Varint(u64),
        Double(f64),
        Bytes(&'a [u8]),
    }
    use Wire::{Bytes, Double, Varint};

    fn varint(bytes: &mut &[u8]) -> u64 {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a last byte") + 1;
        let (number, rest) = bytes.split_at(length);
        *bytes = rest;
        number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7F))
    }

    fn prefixed<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
        let length = varint(bytes) as usize;
        let (found, rest) = bytes.split_at(length);
        *bytes = rest;
        found
    }

    /// Returns the fields of a message with their numbers.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Varint(varint(&mut bytes)),
                1 => {
                    let (number, rest) = bytes.split_first_chunk().expect("eight bytes");
                    bytes = rest;
                    Double(f64::from_le_bytes(*number))
                }
                2 => Bytes(prefixed(&mut bytes)),
                other => panic!("wire type {other}"),
            };
            found.push((tag >> 3, value));
        }
        found
    }

    /// Returns the values of a field.
    fn all<'a>(message: &'a [(u64, Wire<'a>)], number: u64) -> Vec<&'a Wire<'a>> {
        message.iter().filter(|(found, _)| *found == number).map(|(_, value)| value).collect()
    }

    /// Returns the fields of each message in a field.
    fn messages<'a>(message: &'a [(u64, Wire<'a>)], number: u64) -> Vec<Vec<(u64, Wire<'a>)>> {
        let bytes = |value: &&Wire<'a>| if let Bytes(bytes) = value { Some(fields(bytes)) } else { None };
        all(message, number).iter().filter_map(bytes).collect()
    }

    fn zigzag(value: i64) -> Wire<'static> {
        Varint((value << 1 ^ value >> 63).cast_unsigned())
    }

    #[test]
    fn a_reader_that_knows_only_the_wire_format_finds_all_values() {
        let histograms = [Histogram::default(), Histogram::default()];
        for millis in [0, 250, 250, 1_000, 90_000] {
            histograms[millis as usize % 3].observe(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.add(Family::RequestsTotal, &[], 7);
        page.add_float(Family::BackendEwma, &["api", "b\"1"], 0.5);
        page.add(Family::HedgePrimaryLateMillis, &[], 1); // has only an old name
        page.add_histograms(Family::RouteQueueWait, &["api"], &histograms);
        let written = page.render(Syntax::Protobuf, Names::Legacy);
        let mut rest = written.as_slice();
        let mut families = Vec::new();
        while !rest.is_empty() {
            families.push(fields(prefixed(&mut rest)));
        }
        let names: Vec<_> = families.iter().map(|family| &family[0].1).collect();
        let expected: [&[u8]; 3] =
            [b"spooky_requests_total", b"spooky_route_queue_wait_seconds", b"spooky_backend_ewma_seconds"];
        assert_eq!(names, expected.map(Bytes).iter().collect::<Vec<_>>());
        assert_eq!([0, 1, 2].map(|at| all(&families[at], 3)[0]), [&Varint(0), &Varint(4), &Varint(1)], "types");
        let metric = &messages(&families[0], 4)[0];
        assert_eq!(messages(metric, 3), [[(1, Double(7.0))]], "a counter");
        let metric = &messages(&families[2], 4)[0];
        assert_eq!(messages(metric, 2), [[(1, Double(0.5))]], "a gauge");
        assert_eq!(messages(metric, 1)[1], [(1, Bytes(b"backend")), (2, Bytes(b"b\"1"))]);

        let metric = &messages(&families[1], 4)[0];
        let histogram = &messages(metric, 7)[0];
        assert_eq!((all(histogram, 1), all(histogram, 2)), (vec![&Varint(5)], vec![&Double(91.5)]));
        let classic = messages(histogram, 3);
        assert_eq!(classic[7], [(1, Varint(3)), (2, Double(0.25))]);
        assert_eq!(classic[15], [(1, Varint(5)), (2, Double(f64::INFINITY))]);
        assert_eq!((all(histogram, 5), all(histogram, 7)), (vec![&zigzag(3)], vec![&Varint(1)]));
        assert_eq!(all(histogram, 6), [&Double(2_f64.powi(-20))]);
        // 0.25 s is the bound of bucket -16, 1 s that of bucket 0; 90 s lies between 2^(51/8) and 2^(52/8).
        let spans = messages(histogram, 12);
        let expected = [-16, 15, 51].map(|offset| vec![(1, zigzag(offset)), (2, Varint(1))]);
        assert_eq!(spans, expected);
        assert_eq!(all(histogram, 13), [&zigzag(2), &zigzag(-1), &zigzag(0)]);
    }
}
