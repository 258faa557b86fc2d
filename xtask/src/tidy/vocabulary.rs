//! Forbids names of definitions and files that the project replaced by standard terms.

use std::path::Path;

use syn::visit::{self, Visit};

use super::{File, Problem};

/// Replaced names: the path prefix where each is forbidden, the name, and its replacement. The prefix is not empty if the name
/// has another meaning elsewhere. A trailing `*` matches any suffix.
const REPLACED: [(&str, &str, &str); 52] = [
    ("", "Generation", "WorkerSnapshot"),
    ("", "places", "backend_ids"),
    ("", "Sides", "Io"),
    ("", "Seat", "Admission"),
    ("", "Place", "Admission"),
    ("", "Seated", "Admission"),
    ("", "Standing", "Admission"),
    ("crates/lb/", "Slot", "Attempt"),
    ("crates/lb/", "Line", "Waiters"),
    ("", "Bell", "WorkerWaker"),
    ("", "ring_oldest", "wake_oldest"),
    ("", "Scope", "RouteLimits"),
    ("", "Process", "GlobalLimits"),
    ("spooky/src/", "Post", "WorkerThread"),
    ("", "Life", "WorkerState"),
    ("", "Sedentary", "NoActiveMigration"),
    ("", "Trimmed", "TrimPadding"),
    ("", "Gate", "ConnectionLimiter"),
    ("crates/edge/", "Entry", "Accept, Refuse or Drop"),
    ("", "Intake", "RecvState"),
    ("crates/edge/", "Output", "SendState"),
    ("", "Arrivals", "UnreadEstimate"),
    ("crates/lb/", "keep", "set_sticky_backend"),
    ("crates/lb/", "kept", "sticky_backend"),
    ("", "Carriage", "Security"),
    ("", "Found", "DetectedScheme"),
    ("", "Memory", "ConnectHints"),
    ("", "Heard", "PeekStream"),
    ("", "Greeting", "Handshaking"),
    ("", "reach", "connections"),
    ("", "tell", "events"),
    ("", "drive", "poll"),
    ("", "greet", "start_h2"),
    ("", "widen", "maybe_connect"),
    ("", "lose", "on_connection_lost"),
    ("", "tell_*", "log_*"),
    ("", "take_news", "take_transition"),
    ("", "Ring", "Rendezvous"),
    ("", "World", "Preflight"),
    ("", "world", "preflight"),
    ("", "check_world", "preflight"),
    ("", "Untold", "Suppressed"),
    ("", "untold", "suppressed"),
    ("", "Shown", "Value"),
    ("", "settle", "finalize"),
    ("", "settle_*", "finalize_*"),
    ("crates/transport/", "sendable", "want_send"),
    ("", "house", "module"),
    ("", "room", "crate"),
    ("", "wall", "layer boundary"),
    ("", "door", "header comment"),
    ("", "guest", "dependency"),
];

/// Checks the name of a file.
pub(super) fn check_path(file: &File) -> Option<Problem> {
    if !file.is_product() {
        return None;
    }
    let path = Path::new(&file.path);
    let stem = path.file_stem()?.to_str()?;
    let name = if stem == "mod" { path.parent()?.file_name()?.to_str()? } else { stem };
    Some(file.problem(1, replaced(&file.path, name)?))
}

/// Checks the names of types, variants, fields, functions and modules that a file defines.
pub(super) fn check_tree(file: &File, tree: &syn::File) -> Vec<Problem> {
    let mut definitions = Definitions { file, problems: Vec::new() };
    if file.is_product() {
        definitions.visit_file(tree);
    }
    definitions.problems
}

fn replaced(path: &str, name: &str) -> Option<String> {
    let matches = |known: &str| match known.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == known,
    };
    let found = REPLACED.iter().find(|(prefix, known, _)| path.starts_with(prefix) && matches(known));
    found.map(|(_, _, term)| format!("`{name}` was replaced by a standard term: {term}"))
}

struct Definitions<'a> {
    file: &'a File,
    problems: Vec<Problem>,
}

impl Definitions<'_> {
    fn check(&mut self, name: &syn::Ident) {
        if let Some(text) = replaced(&self.file.path, &name.to_string()) {
            self.problems.push(self.file.problem(name.span().start().line, text));
        }
    }
}

impl<'ast> Visit<'ast> for Definitions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Struct(item) => self.check(&item.ident),
            syn::Item::Enum(item) => self.check(&item.ident),
            syn::Item::Trait(item) => self.check(&item.ident),
            syn::Item::Type(item) => self.check(&item.ident),
            syn::Item::Mod(item) if item.content.is_some() => self.check(&item.ident),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.check(&signature.ident);
        visit::visit_signature(self, signature);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.check(&variant.ident);
        visit::visit_variant(self, variant);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|name| self.check(name));
        visit::visit_field(self, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let problems = check_tree(&sample(path, text), &syn::parse_file(text).unwrap());
        problems.into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn definitions_with_a_replaced_name_are_found() {
        let text = "struct Seat {\n places: u8 }\nenum Phase {\n Greeting }\nimpl Phase {\n fn tell_all() {} }\n\
                    trait Sides {\n fn take_news(); }\ntype Bell = u8;\nmod world {}\n";
        assert_eq!(lines("crates/config/src/a.rs", text), [1, 2, 4, 6, 7, 8, 9, 10]);
        assert_eq!(lines("crates/testkit/src/a.rs", text), [0; 0]);
        assert_eq!(lines("spooky/tests/it/a.rs", text), [0; 0]);
    }

    #[test]
    fn uses_and_other_meanings_are_allowed() {
        let text = "use std::collections::hash_map::Entry;\nfn f(place: Seat) { let kept = settle(place); }\n";
        assert_eq!(lines("crates/edge/src/a.rs", text), [0; 0]);
        assert_eq!(lines("crates/lb/src/a.rs", "struct Slot;\n"), [1]);
        assert_eq!(lines("crates/bridge/src/a.rs", "struct Slot;\n"), [0; 0]);
    }

    #[test]
    fn files_with_a_replaced_name_are_found() {
        for path in ["crates/transport/src/reach.rs", "spooky/src/drive.rs", "crates/config/src/world/mod.rs"] {
            assert_eq!(check_path(&sample(path, "")).map(|problem| problem.line), Some(1), "{path}");
        }
        for path in ["crates/lb/tests/sim/drive.rs", "crates/net/src/tls/mod.rs", "crates/testkit/src/tell.rs"] {
            assert_eq!(check_path(&sample(path, "")), None, "{path}");
        }
    }
}
