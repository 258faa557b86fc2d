//! Keys that are read and checked, but whose feature is not there yet. `spooky check` lists those that a file writes.
//! Whoever builds a feature takes its keys out of the list.

use crate::load::Loaded;
use crate::yaml::{Node, Tree};

/// Paths of keys, each with everything below. Names of upstreams are `*`, indexes `[]`; `listeners[]` counts as `listen`.
const NOT_IN_EFFECT: &[&str] = &[];

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
