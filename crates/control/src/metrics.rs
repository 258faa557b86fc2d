//! The metrics endpoint: one path, in the format that the client asks for.

use crate::{
    access::Ends,
    admin::{Admin, ConnectionLimits, Site},
    answer::{Answer, body_of, method_not_allowed, not_found},
    connection::Serve,
};
use http::{HeaderMap, Method, Request, StatusCode, header::ACCEPT};
use hyper::body::Incoming;
use rustls::ServerConfig;
use spooky_telemetry::metrics::{Names, Syntax};
use std::sync::Arc;

pub(crate) struct Metrics<A> {
    pub(crate) admin: Arc<A>,
    pub(crate) path: String,
    pub(crate) bound: String,
}

impl<A: Admin> Serve for Metrics<A> {
    const NAME: &'static str = "metrics";

    fn limits(&self) -> ConnectionLimits {
        self.admin.limits(Site::Metrics)
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        None
    }

    fn bound(&self) -> &str {
        &self.bound
    }

    fn on_refused(&self) {}

    async fn answer(&self, request: Request<Incoming>, _ends: &Ends) -> Answer {
        if request.uri().path() != self.path {
            return not_found();
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        let (syntax, names) = format_of(request.headers(), request.uri().query().unwrap_or_default());
        body_of(StatusCode::OK, syntax.content_type(), self.admin.metrics(syntax, names))
    }
}

/// OpenMetrics is chosen if the client prefers it to plain text, or likes both equally.
fn format_of(fields: &HeaderMap, query: &str) -> (Syntax, Names) {
    let (mut open, mut text) = (0, 0);
    let ranges =
        fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if kind.eq_ignore_ascii_case("application/openmetrics-text") {
            open = open.max(quality);
        } else if kind.eq_ignore_ascii_case("text/plain") {
            text = text.max(quality);
        }
    }
    let is_current = query.split('&').any(|pair| pair == "names=current");
    match (open > 0 && open >= text, is_current) {
        (true, _) => (Syntax::OpenMetrics, Names::Current),
        (false, true) => (Syntax::Text, Names::Current),
        (false, false) => (Syntax::Text, Names::Usual),
    }
}

/// Returns a quality value in thousandths; 0 if it is malformed.
fn thousandths(quality: &str) -> u32 {
    let value = quality.parse().ok().filter(|value: &f32| (0.0..=1.0).contains(value));
    #[expect(clippy::cast_sign_loss, reason = "between 0 and 1")]
    value.map_or(0, |value| (value * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let (usual, current) = ((Syntax::Text, Names::Usual), (Syntax::Text, Names::Current));
        let open = (Syntax::OpenMetrics, Names::Current);
        for (accept, query, expected) in [
            ("", "", usual),
            ("*/*", "", usual),
            ("*/*", "x=1&names=current", current),
            ("*/*", "names=currents", usual),
            (prometheus, "names=current", open),
            ("application/openmetrics-text", "", open),
            ("text/plain, application/openmetrics-text;q=0.9", "", usual),
            ("application/openmetrics-text;q=0", "", usual),
            ("application/openmetrics-text;q=x", "", usual),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(format_of(&fields, query), expected, "{accept} {query}");
        }
    }
}
