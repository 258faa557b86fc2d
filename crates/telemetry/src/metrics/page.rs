//! A page of metrics: collects samples and writes them in the Prometheus text format or as OpenMetrics.

use super::{
    definitions::{Definition, Family, Kind, OldName},
    histogram::Distribution,
};
use std::fmt::Write as _;

/// The syntax of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syntax {
    /// The text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Syntax {
    /// Returns the value of `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Which names a page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Only names that follow the naming rules of Prometheus.
    Current,
    /// Also the old names that are always exported.
    #[default]
    Usual,
    /// Also all old names.
    Legacy,
}

/// The samples of every family.
#[derive(Debug)]
pub struct Page(Vec<Vec<Sample>>);

#[derive(Debug)]
struct Sample {
    /// As `name="value",...`.
    labels: String,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Integer(u64),
    Float(f64),
    Distribution(Distribution),
}

impl Default for Page {
    fn default() -> Self {
        Self(Family::ALL.iter().map(|_| Vec::new()).collect())
    }
}

impl Page {
    /// Adds a sample. `labels` are the values of the family's labels, in their order.
    pub fn add(&mut self, family: Family, labels: &[&str], value: u64) {
        self.push(family, labels, Value::Integer(value));
    }

    /// Adds a sample that is not a whole number.
    pub fn add_float(&mut self, family: Family, labels: &[&str], value: f64) {
        self.push(family, labels, Value::Float(value));
    }

    /// Adds a sample that is 1 or 0.
    pub fn add_bool(&mut self, family: Family, labels: &[&str], value: bool) {
        self.add(family, labels, u64::from(value));
    }

    /// Adds the sample of a histogram.
    pub fn add_distribution(&mut self, family: Family, labels: &[&str], value: Distribution) {
        self.push(family, labels, Value::Distribution(value));
    }

    /// Returns whether a family has no sample.
    pub fn is_empty(&self, family: Family) -> bool {
        self.0.get(family as usize).is_none_or(Vec::is_empty)
    }

    fn push(&mut self, family: Family, values: &[&str], value: Value) {
        let mut labels = String::new();
        let names = family.definition().labels;
        debug_assert_eq!(names.len(), values.len(), "{family:?}");
        for (name, value) in names.iter().zip(values) {
            if !labels.is_empty() {
                labels.push(',');
            }
            labels.push_str(name);
            labels.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => labels.push_str("\\\\"),
                    '"' => labels.push_str("\\\""),
                    '\n' => labels.push_str("\\n"),
                    other => labels.push(other),
                }
            }
            labels.push('"');
        }
        if let Some(samples) = self.0.get_mut(family as usize) {
            samples.push(Sample { labels, value });
        }
    }

    /// Writes the page. OpenMetrics has only the current names.
    pub fn render(&self, syntax: Syntax, names: Names) -> String {
        let names = if syntax == Syntax::OpenMetrics { Names::Current } else { names };
        let mut out = String::with_capacity(64 * 1024);
        for (family, samples) in Family::ALL.iter().zip(&self.0) {
            let definition = family.definition();
            if !definition.name.is_empty() {
                write_family(&mut out, definition.name, &definition, samples, syntax);
            }
            match (definition.old_name, names) {
                (OldName::Legacy(old), Names::Legacy) | (OldName::Kept(old), Names::Legacy | Names::Usual) => {
                    write_family(&mut out, old, &definition, samples, syntax);
                }
                _ => {}
            }
        }
        if syntax == Syntax::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

fn write_family(out: &mut String, name: &str, definition: &Definition, samples: &[Sample], syntax: Syntax) {
    let family = match syntax {
        Syntax::OpenMetrics if definition.kind == Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
        _ => name,
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {family} {}\n# TYPE {family} {}", definition.help, definition.kind.name());
    for Sample { labels, value } in samples {
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = match value {
            Value::Integer(value) => writeln!(out, "{name}{braced} {value}"),
            Value::Float(value) => writeln!(out, "{name}{braced} {value}"),
            Value::Distribution(distribution) => {
                let separator = if labels.is_empty() { "" } else { "," };
                for (bound, count) in distribution.cumulated() {
                    let _ = writeln!(out, "{name}_bucket{{{labels}{separator}le=\"{bound}\"}} {count}");
                }
                let _ = writeln!(out, "{name}_sum{braced} {}", distribution.sum().as_secs_f64());
                writeln!(out, "{name}_count{braced} {}", distribution.count())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Histogram, *};
    use std::time::Duration;

    fn page() -> Page {
        let mut page = Page::default();
        page.add(Family::RequestsTotal, &[], 7);
        page.add(Family::HealthChecksSuccess, &[], 3);
        page.add(Family::RequestsSuccess, &[], 5);
        page.add(Family::RouteRequests, &["a\"b\\c\nd"], 1);
        page.add(Family::HedgePrimaryLateMillis, &[], 15);
        let (histogram, mut sum) = (Histogram::default(), Distribution::default());
        histogram.observe(Duration::from_millis(2));
        sum.add(&histogram);
        page.add_distribution(Family::RouteQueueWait, &["api"], sum);
        page
    }

    #[test]
    fn the_text_format_has_names_as_asked_for() {
        let [current, usual, legacy] =
            [Names::Current, Names::Usual, Names::Legacy].map(|names| page().render(Syntax::Text, names));
        let total = "# TYPE spooky_requests_total counter\nspooky_requests_total 7\n";
        assert!([&current, &usual, &legacy].iter().all(|page| page.contains(total)), "{usual}");
        assert!(usual.contains("spooky_route_requests_total{route=\"a\\\"b\\\\c\\nd\"} 1\n"));
        for (name, expected) in [
            ("\nspooky_health_checks_success 3\n", [false, true, true]),
            ("\nspooky_health_checks_success_total 3\n", [true, true, true]),
            ("\nspooky_requests_success 5\n", [false, false, true]),
            ("\nspooky_hedge_primary_late_ms_total 15\n", [false, false, true]),
        ] {
            assert_eq!([&current, &usual, &legacy].map(|page| page.contains(name)), expected, "{name}");
        }
        assert!(usual.contains("spooky_route_queue_wait_seconds_bucket{route=\"api\",le=\"0.001\"} 0\n"));
        assert!(usual.contains("spooky_route_queue_wait_seconds_bucket{route=\"api\",le=\"+Inf\"} 1\n"));
        assert!(usual.contains("spooky_route_queue_wait_seconds_sum{route=\"api\"} 0.002\n"));
    }

    #[test]
    fn open_metrics_names_families_without_total_and_ends() {
        let page = page().render(Syntax::OpenMetrics, Names::Legacy);
        assert!(page.contains("# TYPE spooky_requests counter\nspooky_requests_total 7\n"), "{page}");
        assert!(!page.contains("spooky_health_checks_success 3"));
        assert!(page.ends_with("# EOF\n"));
    }
}
