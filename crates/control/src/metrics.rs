//! The metrics endpoint: one path, in the format that the client asks for.

use crate::{
    access::Ends,
    admin::{Admin, ConnectionLimits, Site},
    answer::{Answer, body_of, method_not_allowed, not_found},
    connection::Serve,
    open_connections::Slot,
};
use http::{HeaderMap, Method, Request, StatusCode, header::ACCEPT};
use hyper::body::Incoming;
use rustls::ServerConfig;
use spooky_telemetry::metrics::{Names, Syntax};
use std::sync::Arc;

/// The message of Protocol Buffers that a scraper asks for.
const MESSAGE: &str = "io.prometheus.client.MetricFamily";

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

    async fn answer(&self, request: Request<Incoming>, _ends: &Ends, _slot: &Slot) -> Answer {
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

/// Returns the format that the client prefers. Of those that it likes equally, the one that says most.
fn format_of(fields: &HeaderMap, query: &str) -> (Syntax, Names) {
    let (mut protobuf, mut open, mut text) = (0, 0, 0);
    let ranges =
        fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for range in ranges {
        let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
        let parameter = |name| {
            let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find_map(|(found, value)| (found == name).then(|| value.trim_matches('"')))
        };
        let quality = parameter("q").map_or(1000, thousandths);
        let best = match kind.trim().to_ascii_lowercase().as_str() {
            "application/vnd.google.protobuf"
                if parameter("proto") == Some(MESSAGE) && parameter("encoding") == Some("delimited") =>
            {
                &mut protobuf
            }
            "application/openmetrics-text" => &mut open,
            "text/plain" => &mut text,
            _ => continue,
        };
        *best = quality.max(*best);
    }
    let is_current = query.split('&').any(|pair| pair == "names=current");
    if protobuf > 0 && protobuf >= open.max(text) {
        (Syntax::Protobuf, Names::Current)
    } else if open > 0 && open >= text {
        (Syntax::OpenMetrics, Names::Current)
    } else {
        (Syntax::Text, if is_current { Names::Current } else { Names::Usual })
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
        let protobuf = (Syntax::Protobuf, Names::Current);
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let (preferred, disliked) = (format!("{native},{prometheus}"), format!("{native};q=0.4,{prometheus}"));
        let (equal, refused) = (format!("{native}, text/plain"), format!("{native};q=0, text/plain;q=0.1"));
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
            (&preferred, "", protobuf),
            (&disliked, "", open),
            (&equal, "names=current", protobuf),
            (&refused, "", usual),
            (&native.replace("delimited", "text"), "", usual),
            (&native.replace("MetricFamily", "Other"), "", usual),
            ("application/vnd.google.protobuf", "", usual),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(format_of(&fields, query), expected, "{accept} {query}");
        }
    }
}
