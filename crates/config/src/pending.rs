//! Keys that are read and checked, but whose feature is not there yet. `spooky check` lists those that a file writes.
//! Whoever builds a feature takes its keys out of the list.

use crate::load::Loaded;
use crate::problem::Problem;
use crate::spec::Reader;
use crate::spec::text::{Text, text};
use crate::yaml::{Node, Place, Tree};

/// Paths of keys, each with everything below. Names of upstreams are `*`, indexes `[]`; `listeners[]` counts as `listen`.
/// With a value at which the key rests: what the process does anyway. A block rests with `enabled: false`.
pub const NOT_IN_EFFECT: &[(&str, Option<&str>)] = &[
    ("listen.name", None),
    ("listen.alt_svc", None),
    ("listen.tcp", None),
    ("listen.http_redirect", None),
    ("performance.control_plane_threads", None),
    ("performance.packet_shards_per_worker", Some("1")),
    ("performance.quic_retry", Some("off")),
    ("performance.quic_retry_handshakes", None),
    ("performance.quic_secret_file", None),
    ("performance.client_handshake_timeout_ms", None),
    ("performance.client_stall_timeout_ms", None),
    ("performance.client_min_rate_bytes_per_sec", Some("0")),
    ("performance.tcp_idle_timeout_ms", None),
    ("performance.response_buffer_global_cap_bytes", None),
    ("performance.max_client_share_percent", Some("100")),
    ("performance.h2_pool_max_idle_per_backend", None),
    ("performance.backend_dns_refresh_enabled", Some("false")),
    ("performance.backend_dns_refresh_interval_ms", None),
    ("upstream.*.passive_health.max_ejected_percent", Some("100")),
    ("upstream.*.backends[].protocol", Some("h2")),
    ("log.format", Some("plain")),
    ("log.journald", Some("false")),
    ("log.file", None),
    ("log.access", None),
    ("log.connections", Some("false")),
    ("log.qlog_dir", None),
    ("resilience.protocol.allow_0rtt", Some("false")),
    ("resilience.protocol.early_data_safe_methods", None),
    ("resilience.protocol.allow_websocket", Some("false")),
    ("resilience.circuit_breaker.max_open_percent", Some("100")),
    ("resilience.watchdog", None),
    ("observability.metrics", None),
    ("observability.control_api", None),
    ("observability.tracing", None),
    ("observability.routing.enabled", Some("false")),
    ("observability.routing.include_reason", None),
    ("observability.routing.expose_header", Some("false")),
    ("observability.routing.header_name", None),
    ("security.sandbox", Some("off")),
    ("reload.watch_certificates", Some("false")),
    ("reload.watch_config", Some("false")),
    ("reload.debounce_ms", None),
];

const NOT_YET: Text = text("<key> is not in effect yet").warning();

impl Loaded {
    /// A warning for each key of the file that does nothing yet, in file order.
    pub fn not_in_effect(&self) -> Vec<Problem> {
        let mut reader = Reader::new(&self.file, &|_| None);
        for (path, place) in written_below(&self.tree, NOT_IN_EFFECT) {
            reader.path = path;
            reader.report(place, NOT_YET, "", &[]);
        }
        reader.problems
    }
}

/// A pending key, and the value at which it rests.
type Pending = (&'static str, Option<&'static str>);

/// The keys of the tree that are pending and do not rest, with their places.
fn written_below(tree: &Node, pending: &[Pending]) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    if !pending.is_empty() {
        visit(tree, tree.place, ["", ""], pending, &mut found);
    }
    found
}

/// `names` are the path of the node and the same with `*` and `[]`; `place` is that of the key.
fn visit(node: &Node, place: Place, names: [&str; 2], pending: &[Pending], found: &mut Vec<(String, Place)>) {
    let [path, form] = names;
    if let Some((_, rest)) = pending.iter().find(|(known, _)| *known == form) {
        if !rests(node, *rest) {
            found.push((path.to_owned(), place));
        }
        return;
    }
    match &node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let name = if form == "upstream" { "*" } else { entry.name.as_str() };
                let names = [&*join(path, &entry.name), &*join(form, name)];
                visit(&entry.node, entry.place, names, pending, found);
            }
        }
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let form = if form == "listeners" { "listen".to_owned() } else { format!("{form}[]") };
                visit(item, item.place, [&format!("{path}[{index}]"), &form], pending, found);
            }
        }
        Tree::Scalar { .. } => {}
    }
}

/// Whether what is written asks for nothing that is not there.
fn rests(node: &Node, rest: Option<&str>) -> bool {
    let says =
        |node: &Node, word: &str| matches!(&node.tree, Tree::Scalar { text, .. } if text.eq_ignore_ascii_case(word));
    match &node.tree {
        Tree::Map(_) => node.entry("enabled").is_some_and(|entry| says(&entry.node, "false")),
        Tree::Scalar { .. } => rest.is_some_and(|word| says(node, word)),
        Tree::List(_) => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
