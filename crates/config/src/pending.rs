//! Keys that are read and checked, but whose feature is not there yet. `spooky check` lists those that a file writes.
//! Whoever builds a feature takes its keys out of the list.

use crate::load::Loaded;
use crate::problem::Problem;
use crate::spec::Reader;
use crate::spec::text::{Text, text};
use crate::yaml::{Node, Place, Tree};

/// Paths of keys, each with everything below. Names of upstreams are `*`, indexes `[]`; `listeners[]` counts as `listen`.
pub const NOT_IN_EFFECT: &[&str] = &[
    "listen.name",
    "listen.alt_svc",
    "listen.tcp",
    "listen.http_redirect",
    "listen.tls.client_auth",
    "performance.control_plane_threads",
    "performance.packet_shards_per_worker",
    "performance.packet_shard_queue_capacity",
    "performance.packet_shard_queue_max_bytes",
    "performance.quic_retry",
    "performance.quic_retry_handshakes",
    "performance.client_handshake_timeout_ms",
    "performance.tcp_idle_timeout_ms",
    "performance.h2_pool_max_idle_per_backend",
    "performance.backend_dns_refresh_enabled",
    "performance.backend_dns_refresh_interval_ms",
    "upstream.*.backends[].protocol",
    "log.format",
    "log.journald",
    "log.file",
    "log.access",
    "log.connections",
    "log.qlog_dir",
    "resilience.protocol.allow_0rtt",
    "resilience.protocol.early_data_safe_methods",
    "resilience.protocol.allow_websocket",
    "resilience.watchdog",
    "observability",
    "security",
    "reload",
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

/// The keys of the tree that are pending, with their places.
fn written_below(tree: &Node, pending: &[&str]) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    if !pending.is_empty() {
        visit(tree, tree.place, ["", ""], pending, &mut found);
    }
    found
}

/// `names` are the path of the node and the same with `*` and `[]`; `place` is that of the key.
fn visit(node: &Node, place: Place, names: [&str; 2], pending: &[&str], found: &mut Vec<(String, Place)>) {
    let [path, form] = names;
    if pending.contains(&form) {
        found.push((path.to_owned(), place));
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

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_keys_are_found_by_their_form() {
        let text = "listeners: [ { tcp: { proxy_protocol: {} } } ]\n\
                    upstream: { a.b: { timeouts: { total_ms: 1 }, backends: [ { id: x } ] } }\nreload: {}\n";
        let tree = crate::yaml::parse(text).unwrap().unwrap();
        let pending = ["listen.tcp.proxy_protocol", "upstream.*.timeouts", "upstream.*.backends[].id", "log"];
        let found = written_below(&tree, &pending);
        let found: Vec<_> = found.iter().map(|(path, place)| (path.as_str(), place.line, place.column)).collect();
        let expected = [
            ("listeners[0].tcp.proxy_protocol", 1, 23),
            ("upstream.a.b.timeouts", 2, 20),
            ("upstream.a.b.backends[0].id", 2, 61),
        ];
        assert_eq!(found, expected);
        assert_eq!(written_below(&tree, &[]), []);
    }

    #[test]
    fn every_pending_key_is_a_key() {
        let paths = crate::spec::walk::paths();
        for pending in NOT_IN_EFFECT {
            assert!(paths.iter().any(|path| path.as_str() == *pending), "{pending}");
        }
    }
}
