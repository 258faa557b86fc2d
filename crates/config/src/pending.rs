//! Keys that are read and checked, but whose feature is not there yet. `spooky check` lists those that a file writes.
//! Whoever builds a feature takes its keys out of the list.

use crate::load::Loaded;
use crate::yaml::{Node, Tree};

/// Paths of keys, each with everything below. Names of upstreams are `*`, indexes `[]`; `listeners[]` counts as `listen`.
pub const NOT_IN_EFFECT: &[&str] = &[
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
    "performance.new_connections_per_sec",
    "performance.new_connections_burst",
    "performance.max_connections_per_ip",
    "performance.client_handshake_timeout_ms",
    "performance.client_header_timeout_ms",
    "performance.tcp_idle_timeout_ms",
    "performance.h2_pool_max_idle_per_backend",
    "performance.backend_dns_refresh_enabled",
    "performance.backend_dns_refresh_interval_ms",
    "upstream.*.backends[].health_check",
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

impl Loaded {
    /// The keys of the file that do nothing yet, in file order.
    pub fn not_in_effect(&self) -> Vec<String> {
        written_below(&self.tree, NOT_IN_EFFECT)
    }
}

fn written_below(tree: &Node, pending: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    if !pending.is_empty() {
        visit(tree, "", "", pending, &mut found);
    }
    found
}

/// `path` is the node's own, `form` the same with `*` and `[]`.
fn visit(node: &Node, path: &str, form: &str, pending: &[&str], found: &mut Vec<String>) {
    if pending.contains(&form) {
        found.push(path.to_owned());
        return;
    }
    match &node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let name = if form == "upstream" { "*" } else { entry.name.as_str() };
                visit(&entry.node, &join(path, &entry.name), &join(form, name), pending, found);
            }
        }
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let form = if form == "listeners" { "listen".to_owned() } else { format!("{form}[]") };
                visit(item, &format!("{path}[{index}]"), &form, pending, found);
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
        let expected = ["listeners[0].tcp.proxy_protocol", "upstream.a.b.timeouts", "upstream.a.b.backends[0].id"];
        assert_eq!(written_below(&tree, &pending), expected);
        assert_eq!(written_below(&tree, &[]), [""; 0]);
    }

    #[test]
    fn every_pending_key_is_a_key() {
        let paths = crate::spec::walk::paths();
        for pending in NOT_IN_EFFECT {
            assert!(paths.iter().any(|path| path.as_str() == *pending), "{pending}");
        }
    }
}
