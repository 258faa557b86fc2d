//! A page of metrics: collects samples and writes them in the syntax that was asked for.

use super::{
    definitions::{Family, OldName},
    histogram::Histogram,
    protobuf,
    sample::{Sample, Syntax, Value},
    text,
};

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

    /// Adds the sum of histograms.
    pub fn add_histograms<'a>(
        &mut self,
        family: Family,
        labels: &[&str],
        histograms: impl IntoIterator<Item = &'a Histogram>,
    ) {
        self.push(family, labels, Value::Histogram(Box::new(histograms.into_iter().collect())));
    }

    /// Returns whether a family has no sample.
    pub fn is_empty(&self, family: Family) -> bool {
        self.0.get(family as usize).is_none_or(Vec::is_empty)
    }

    fn push(&mut self, family: Family, labels: &[&str], value: Value) {
        debug_assert_eq!(family.definition().labels.len(), labels.len(), "{family:?}");
        if let Some(samples) = self.0.get_mut(family as usize) {
            samples.push(Sample { labels: labels.iter().map(|label| (*label).to_owned()).collect(), value });
        }
    }

    /// Writes the page. Only the text format has older names.
    pub fn render(&self, syntax: Syntax, names: Names) -> Vec<u8> {
        let families = Family::ALL.iter().map(|family| family.definition()).zip(&self.0);
        if syntax == Syntax::Protobuf {
            let mut out = Vec::with_capacity(64 * 1024);
            for (definition, samples) in families.filter(|(definition, _)| !definition.name.is_empty()) {
                protobuf::write_family(&mut out, &definition, samples);
            }
            return out;
        }
        let names = if syntax == Syntax::OpenMetrics { Names::Current } else { names };
        let mut out = String::with_capacity(64 * 1024);
        for (definition, samples) in families {
            if !definition.name.is_empty() {
                text::write_family(&mut out, definition.name, &definition, samples, syntax);
            }
            match (definition.old_name, names) {
                (OldName::Legacy(old), Names::Legacy) | (OldName::Kept(old), Names::Legacy | Names::Usual) => {
                    text::write_family(&mut out, old, &definition, samples, syntax);
                }
                _ => {}
            }
        }
        if syntax == Syntax::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn page() -> Page {
        let mut page = Page::default();
        page.add(Family::RequestsTotal, &[], 7);
        page.add(Family::HealthChecksSuccess, &[], 3);
        page.add(Family::RequestsSuccess, &[], 5);
        page.add(Family::RouteRequests, &["a\"b\\c\nd"], 1);
        page.add(Family::HedgePrimaryLateMillis, &[], 15);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        page.add_histograms(Family::RouteQueueWait, &["api"], [&histogram]);
        page
    }

    fn text(syntax: Syntax, names: Names) -> String {
        String::from_utf8(page().render(syntax, names)).unwrap()
    }

    #[test]
    fn the_text_format_has_names_as_asked_for() {
        let [current, usual, legacy] =
            [Names::Current, Names::Usual, Names::Legacy].map(|names| text(Syntax::Text, names));
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
        let page = text(Syntax::OpenMetrics, Names::Legacy);
        assert!(page.contains("# TYPE spooky_requests counter\nspooky_requests_total 7\n"), "{page}");
        assert!(!page.contains("spooky_health_checks_success 3"));
        assert!(page.ends_with("# EOF\n"));
    }
}
