//! Maximum sizes: 70 lines for a function, 600 for a file.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{File, Problem};

/// Maximum lines of a function, from its signature to its closing brace.
const MAX_FUNCTION: usize = 70;
/// Maximum lines of a file.
const MAX_FILE: usize = 600;

pub(super) fn check_file(file: &File) -> Option<Problem> {
    let lines = file.text.lines().count();
    (lines > MAX_FILE).then(|| file.problem(MAX_FILE, format!("the file has {lines} lines, more than {MAX_FILE}")))
}

pub(super) fn check_functions(file: &File, tree: &syn::File) -> Vec<Problem> {
    let mut functions = Functions { file, problems: Vec::new() };
    functions.visit_file(tree);
    functions.problems
}

struct Functions<'a> {
    file: &'a File,
    problems: Vec<Problem>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.brace_token.span.close().end().line);
        let lines = last + 1 - first;
        if lines > MAX_FUNCTION {
            let text = format!("function `{}` has {lines} lines, more than {MAX_FUNCTION}", signature.ident);
            self.problems.push(self.file.problem(first, text));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.measure(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::file::sample;

    fn functions(text: &str) -> Vec<Problem> {
        check_functions(&sample("a.rs", text), &syn::parse_file(text).unwrap())
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let long = |lines: usize| format!("#[test]\nfn long() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert_eq!(functions(&long(70)), []);
        assert_eq!(functions(&long(71))[0].to_string(), "a.rs:2: function `long` has 71 lines, more than 70");
        let method = format!("impl X {{\n{}}}\ntrait Y {{\n{}}}\n", long(71), long(72));
        assert_eq!(functions(&method).len(), 2);
    }

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        assert!(check_file(&sample("a.rs", &"\n".repeat(600))).is_none());
        assert!(check_file(&sample("a.rs", &"\n".repeat(601))).is_some());
    }
}
