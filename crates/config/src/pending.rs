//! Keys that are read and checked, but whose feature does not exist yet. `spooky check` and each start warn of those that a
//! file writes, and of protections that are on by default. Whoever builds a feature takes its keys out of both lists.

use crate::load::Loaded;
use crate::problem::{Problem, Problems};
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
    ("performance.tcp_idle_timeout_ms", None),
    ("performance.h2_pool_max_idle_per_backend", None),
    ("performance.backend_dns_refresh_enabled", Some("false")),
    ("performance.backend_dns_refresh_interval_ms", None),
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

/// Keys of the list above that protect the process, its backends or other clients and are on by default: they are warned of
/// whether or not a file writes them. With what happens without them.
const PROTECTIONS: &[(&str, &str)] = &[("security.sandbox", "the process runs without Landlock and seccomp")];

const NO_EFFECT: Text = text("<key> has no effect").warning();
const NOT_BUILT: Text = NO_EFFECT.hint("this version reads and checks the key, but does not act on it");
const UNPROTECTED: Text = NO_EFFECT.hint("not built yet: <missing>");

impl Loaded {
    /// A warning for each key of the file that does nothing yet, and for each protection that is on by default and does not
    /// exist yet, in file order.
    pub fn not_in_effect(&self) -> Vec<Problem> {
        let mut reader = Reader::new(&self.file, &|_| None);
        for (path, form, place) in written_below(&self.tree, NOT_IN_EFFECT) {
            let missing = PROTECTIONS.iter().find(|(known, _)| *known == form).map_or("", |(_, missing)| missing);
            let text = if missing.is_empty() { NOT_BUILT } else { UNPROTECTED };
            reader.path = path;
            reader.report(place, text, "", &[("missing", missing)]);
        }
        for (form, missing) in PROTECTIONS {
            if let Some(place) = absent(&self.tree, form) {
                (*form).clone_into(&mut reader.path);
                reader.report(place, UNPROTECTED, "", &[("missing", missing)]);
            }
        }
        Problems::new(reader.problems, &self.file, String::new()).into_iter().cloned().collect()
    }
}

/// Where the key of this form is not written although its block is in effect: the innermost mapping that exists.
fn absent(node: &Node, form: &str) -> Option<Place> {
    if is_off(node) {
        return None;
    }
    let (step, rest) = form.split_once('.').unwrap_or((form, ""));
    if step == "*" {
        return node.entries().iter().find_map(|entry| absent(&entry.node, rest));
    }
    match node.entry(step) {
        None => Some(node.place),
        Some(_) if rest.is_empty() => None,
        Some(entry) => absent(&entry.node, rest),
    }
}

/// A pending key, and the value at which it rests.
type Pending = (&'static str, Option<&'static str>);

/// The keys of the tree that are pending and do not rest: path, form and place.
fn written_below(tree: &Node, pending: &[Pending]) -> Vec<(String, String, Place)> {
    let mut found = Vec::new();
    if !pending.is_empty() {
        visit(tree, tree.place, ["", ""], pending, &mut found);
    }
    found
}

/// `names` are the path of the node and the same with `*` and `[]`; `place` is that of the key.
fn visit(node: &Node, place: Place, names: [&str; 2], pending: &[Pending], found: &mut Vec<(String, String, Place)>) {
    let [path, form] = names;
    if let Some((_, rest)) = pending.iter().find(|(known, _)| *known == form) {
        if !rests(node, *rest) {
            found.push((path.to_owned(), form.to_owned(), place));
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
    match &node.tree {
        Tree::Map(_) => is_off(node),
        Tree::Scalar { .. } => rest.is_some_and(|word| says(node, word)),
        Tree::List(_) => false,
    }
}

/// Whether a block is switched off.
fn is_off(node: &Node) -> bool {
    node.entry("enabled").is_some_and(|entry| says(&entry.node, "false"))
}

/// Whether the scalar is this word, with the variables of the process's environment put in as `load` does.
fn says(node: &Node, word: &str) -> bool {
    let env = |name: &str| std::env::var(name).ok();
    Reader::new("", &env).scalar(node).is_some_and(|found| found.text.eq_ignore_ascii_case(word))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
