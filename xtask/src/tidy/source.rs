//! Requires header comments, restricts `unsafe` to `crates/net` with a reason for each use, and forbids ignored tests.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{File, Problem};

/// The only crate with `unsafe`.
const UNSAFE_CRATE: &str = "crates/net/";
/// The attribute in the root of every other crate.
const FORBID: &str = "#![forbid(unsafe_code)]";
/// Begins the reason for `unsafe`.
const SAFETY: &str = "SAFETY:";
/// Begins the requirements of an `unsafe fn` in its documentation.
const SAFETY_DOC: &str = "# Safety";

pub(super) fn check_text(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    let first = file.lines().find(|(_, line)| !line.trim().is_empty());
    if !first.is_some_and(|(_, line)| line.starts_with("//! ")) {
        problems.push(file.problem(1, "the file does not open with `//!`: what it owns, must not do, who calls it"));
    }
    let root = file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs");
    if root && !file.path.starts_with(UNSAFE_CRATE) && !file.lines().any(|(_, line)| line.trim() == FORBID) {
        problems.push(file.problem(1, format!("the crate root lacks `{FORBID}`")));
    }
    problems
}

pub(super) fn check_tree(file: &File, tree: &syn::File) -> Vec<Problem> {
    let mut reader = Reader { file, lines: file.text.lines().collect(), statement: 0, problems: Vec::new() };
    reader.visit_file(tree);
    reader.problems
}

struct Reader<'a> {
    file: &'a File,
    lines: Vec<&'a str>,
    /// First line of the innermost statement or item.
    statement: usize,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn unsafe_at(&mut self, line: usize) {
        if !self.file.path.starts_with(UNSAFE_CRATE) {
            self.problems.push(self.file.problem(line, format!("`unsafe` outside {UNSAFE_CRATE}")));
        } else if !self.explained(line) && !self.explained(self.statement) {
            self.problems.push(self.file.problem(line, format!("`unsafe` without `// {SAFETY}` above it")));
        }
    }

    /// Returns whether the comment (and attributes) directly above a line contains the reason.
    fn explained(&self, line: usize) -> bool {
        let above = self.lines.iter().take(line.saturating_sub(1)).rev();
        let mut comment =
            above.map(|line| line.trim()).take_while(|line| line.starts_with("//") || line.starts_with('#'));
        comment.any(|line| line.contains(SAFETY) || line.contains(SAFETY_DOC))
    }

    fn within(&mut self, line: usize, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.statement, line);
        visit(self);
        self.statement = outer;
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.within(statement.span().start().line, |reader| visit::visit_stmt(reader, statement));
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.within(item.span().start().line, |reader| visit::visit_item(reader, item));
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_at(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = &item.unsafety {
            self.unsafe_at(token.span.start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let syn::Safety::Unsafe(token) = &signature.safety {
            self.unsafe_at(token.span.start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            let line = attribute.span().start().line;
            self.problems.push(self.file.problem(line, "a test that does not run: fix it or remove it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    fn tree(path: &str, text: &str) -> Vec<String> {
        let problems = check_tree(&sample(path, text), &syn::parse_file(text).unwrap());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_without_a_header_comment() {
        assert_eq!(check_text(&sample("a.rs", "\n//! Owns a.\n")), []);
        assert_eq!(check_text(&sample("a.rs", "// Owns a.\n")).len(), 1);
        assert_eq!(check_text(&sample("a.rs", "")).len(), 1);
    }

    #[test]
    fn every_crate_but_one_forbids_unsafe() {
        assert_eq!(check_text(&sample("crates/lb/src/lib.rs", "//! Decides.\n")).len(), 1);
        assert_eq!(check_text(&sample("crates/lb/src/lib.rs", "//! Decides.\n#![forbid(unsafe_code)]\n")), []);
        assert_eq!(check_text(&sample("crates/net/src/lib.rs", "//! Does.\n")), []);
    }

    #[test]
    fn unsafe_is_in_one_crate() {
        let text = "fn f() {\n    // SAFETY: known.\n    unsafe { g() }\n}\n";
        assert_eq!(tree("crates/net/src/udp.rs", text), [""; 0]);
        assert_eq!(tree("crates/lb/src/a.rs", text), ["crates/lb/src/a.rs:3: `unsafe` outside crates/net/"]);
    }

    #[test]
    fn unsafe_has_a_reason() {
        let bare = "fn f() {\n    unsafe { g() }\n}\nunsafe impl Send for X {}\nunsafe fn h() {}\n";
        assert_eq!(tree("crates/net/src/a.rs", bare).len(), 3);
        let split = "fn f() {\n    // SAFETY: known.\n    let x =\n        unsafe { g() };\n}\n";
        assert_eq!(tree("crates/net/src/a.rs", split), [""; 0]);
        let documented = "/// Does.\n///\n/// # Safety\n/// Call it once.\n#[inline]\nunsafe fn h() {}\n";
        assert_eq!(tree("crates/net/src/a.rs", documented), [""; 0]);
    }

    #[test]
    fn ignored_tests_are_found() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn t() {}\n";
        assert_eq!(tree("a.rs", text), ["a.rs:2: a test that does not run: fix it or remove it"]);
    }
}
