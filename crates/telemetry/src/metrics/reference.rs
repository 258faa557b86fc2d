//! Generates `docs/reference/metrics.md` from the definitions. A test compares the two.

use super::{
    clients::{ALPN_PROTOCOLS, TLS_FAILURES},
    definitions::{Definition, Family, Kind, OldName},
    histogram::BOUNDS,
    series::{CODES, DENIAL_REASONS, FAILURES, PASSIVE_REASONS, RESET_CODES, RETRY_REASONS},
};
use std::fmt::Write as _;

const HEAD: &str = "\
# Metrics

<!-- Made from the definitions in crates/telemetry. Change those, then run the tests of spooky-telemetry with UPDATE=1. -->

`observability.metrics` serves these families in the Prometheus text format, as OpenMetrics or as Protocol Buffers,
whichever the request prefers.

- Counters never fall while the process runs, also over a reload. Counts are the sums of all workers.
- Every family has `# HELP` and `# TYPE` lines from the start, and samples with 0 where its labels are known.
- Nothing that a client sends becomes a label: methods that are not registered are `OTHER`, requests without a route have the
  route `unrouted`.
- The series of an upstream or backend that a reload removes are gone with the next scrape.
- `spooky_requests_total` is the sum of successes, failures, cancelled requests and requests in flight.
- **Older names** break the naming rules of Prometheus. `observability.metrics.legacy_names: true` exports them too; those
  marked `always` are exported in any case. OpenMetrics, Protocol Buffers and the query `?names=current` have none of them.
- With Protocol Buffers, histograms also have [native buckets](../operate/metrics.md#native-histograms).
";

/// Returns the page as Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let _ = write!(page, "\nHistograms have these buckets, in seconds: {}.\n", BOUNDS.join(", "));
    let lists: [(&str, &[&str]); 8] = [
        ("`code` of `spooky_backend_requests_total`", &CODES),
        ("`code` of `spooky_stream_resets_total`", &RESET_CODES),
        ("`reason` of `spooky_backend_failures_total`", &FAILURES),
        ("`reason` of `spooky_health_failures_total`", &PASSIVE_REASONS),
        ("`reason` of `spooky_retry_attempts_total`", &RETRY_REASONS),
        ("`reason` of `spooky_retry_denied_total`", &DENIAL_REASONS),
        ("`reason` of `spooky_downstream_tls_handshake_failure_total`", &TLS_FAILURES),
        ("`protocol` of `spooky_downstream_tls_alpn_total`", &ALPN_PROTOCOLS),
    ];
    page.push_str("\n| Label | Values |\n|---|---|\n");
    for (label, values) in lists {
        let _ = writeln!(page, "| {label} | `{}` |", values.join("` `"));
    }
    page.push_str("\n| Name | Type | Labels | Meaning | Older name |\n|---|---|---|---|---|\n");
    for family in Family::ALL {
        let Definition { name, old_name, kind, labels, help } = family.definition();
        let name = if name.is_empty() { "–".to_owned() } else { format!("`{name}`") };
        let labels = if labels.is_empty() { "–".to_owned() } else { format!("`{}`", labels.join("` `")) };
        let old = match old_name {
            OldName::None => String::new(),
            OldName::Legacy(old) => format!("`{old}`"),
            OldName::Kept(old) => format!("`{old}` (always)"),
        };
        let _ = writeln!(page, "| {name} | {} | {labels} | {help} | {old} |", Kind::name(kind));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_page_is_what_the_definitions_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
        let made = super::reference();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "{} has drifted: run the tests of spooky-telemetry with UPDATE=1", path.display());
    }
}
