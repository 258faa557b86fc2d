//! Lists the keys that are parsed and validated but not implemented yet. `spooky check` and each start warn about those
//! that a file sets, and about missing protections that are on by default. A change that implements a key removes it from
//! both lists.

use crate::load::Loaded;
use crate::problem::{Problem, Problems};
use crate::spec::Reader;
use crate::spec::text::{Text, text};
use crate::yaml::{Node, Span, Tree};

/// Paths of keys, each including its subkeys. Upstream names are `*`, indexes `[]`; `listeners[]` counts as `listen`. The
/// second field is the value that matches what the process does anyway and therefore causes no warning. For a block that
/// is `enabled: false`.
pub const NOT_IN_EFFECT: &[(&str, Option<&str>)] = &[("performance.packet_shards_per_worker", Some("1"))];

/// Keys of the list above that protect the process, its backends or other clients and are on by default, with the
/// consequence of their absence. A file that does not set them causes a warning too.
const PROTECTIONS: &[(&str, &str)] = &[];

const NO_EFFECT: Text = text("<key> has no effect").warning();
const NOT_BUILT: Text = NO_EFFECT.hint("this version reads and checks the key, but does not act on it");
const UNPROTECTED: Text = NO_EFFECT.hint("not built yet: <missing>");

impl Loaded {
    /// Returns a warning for each unimplemented key that the file sets and for each missing protection, in file order.
    pub fn not_in_effect(&self) -> Vec<Problem> {
        let mut reader = Reader::new(&self.file, &|_| None);
        for (path, form, span) in written_below(&self.tree, NOT_IN_EFFECT) {
            let missing = PROTECTIONS.iter().find(|(known, _)| *known == form).map_or("", |(_, missing)| missing);
            let text = if missing.is_empty() { NOT_BUILT } else { UNPROTECTED };
            reader.path = path;
            reader.report(span, text, "", &[("missing", missing)]);
        }
        for (form, missing) in PROTECTIONS {
            if let Some(span) = absent(&self.tree, form) {
                (*form).clone_into(&mut reader.path);
                reader.report(span, UNPROTECTED, "", &[("missing", missing)]);
            }
        }
        Problems::new(reader.problems, &self.file, "").into_iter().cloned().collect()
    }
}

/// Returns the position of the innermost existing mapping if the key is not set and its block is not disabled.
fn absent(node: &Node, form: &str) -> Option<Span> {
    if is_off(node) {
        return None;
    }
    let (step, rest) = form.split_once('.').unwrap_or((form, ""));
    if step == "*" {
        return node.entries().iter().find_map(|entry| absent(&entry.node, rest));
    }
    match node.entry(step) {
        None => Some(node.span),
        Some(_) if rest.is_empty() => None,
        Some(entry) => absent(&entry.node, rest),
    }
}

/// An unimplemented key, and the value that causes no warning.
type Pending = (&'static str, Option<&'static str>);

/// Returns path, pattern and position of each unimplemented key that is set to a value that causes a warning.
fn written_below(tree: &Node, pending: &[Pending]) -> Vec<(String, String, Span)> {
    let mut found = Vec::new();
    if !pending.is_empty() {
        visit(tree, tree.span, ["", ""], pending, &mut found);
    }
    found
}

/// `names` are the path of the node and the same with `*` and `[]`; `span` is that of the key.
fn visit(node: &Node, span: Span, names: [&str; 2], pending: &[Pending], found: &mut Vec<(String, String, Span)>) {
    let [path, form] = names;
    if let Some((_, rest)) = pending.iter().find(|(known, _)| *known == form) {
        if !is_inactive(node, *rest) {
            found.push((path.to_owned(), form.to_owned(), span));
        }
        return;
    }
    match &node.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let name = if form == "upstream" { "*" } else { entry.name.as_str() };
                let names = [&*join(path, &entry.name), &*join(form, name)];
                visit(&entry.node, entry.span, names, pending, found);
            }
        }
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let form = if form == "listeners" { "listen".to_owned() } else { format!("{form}[]") };
                visit(item, item.span, [&format!("{path}[{index}]"), &form], pending, found);
            }
        }
        Tree::Scalar { .. } => {}
    }
}

/// Whether the value asks for nothing that is unimplemented.
fn is_inactive(node: &Node, rest: Option<&str>) -> bool {
    match &node.tree {
        Tree::Map(_) => is_off(node),
        Tree::Scalar { .. } => rest.is_some_and(|word| says(node, word)),
        Tree::List(_) => false,
    }
}

fn is_off(node: &Node) -> bool {
    node.entry("enabled").is_some_and(|entry| says(&entry.node, "false"))
}

/// Whether the scalar equals `word` after substitution of environment variables, as in `load`.
fn says(node: &Node, word: &str) -> bool {
    let env = |name: &str| std::env::var(name).ok();
    Reader::new("", &env).scalar(node).is_some_and(|found| found.text.eq_ignore_ascii_case(word))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
