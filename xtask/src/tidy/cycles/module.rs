//! Reads the items, imports, re-exports and paths of a file. `resolve` resolves the names.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Item, ItemImpl, UseTree, Visibility,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::tidy::File;

/// A path as written, with its line.
pub(super) type Mention = (Vec<String>, usize);

/// A file of a crate.
pub(super) struct Module {
    /// Path of the file relative to the root of the workspace.
    pub(super) file: String,
    /// Path of the module in its crate, `crate` for the root.
    pub(super) name: String,
    /// Names of items that the file defines.
    pub(super) defines: BTreeSet<String>,
    /// Path of each imported name, without glob imports.
    pub(super) imports: BTreeMap<String, (Vec<String>, usize)>,
    /// Paths of glob imports.
    pub(super) globs: Vec<Vec<String>>,
    /// Names in `imports` that are re-exported.
    pub(super) exports: BTreeSet<String>,
    /// Paths in the code.
    pub(super) mentions: Vec<Mention>,
    /// Methods of inherent implementations: type as written, and name.
    pub(super) methods: Vec<(Vec<String>, String)>,
    /// Method calls on `self` or `Self`: type as written, name, and line.
    pub(super) calls: Vec<(Vec<String>, String, usize)>,
}

impl Module {
    /// Reads a file. Returns `None` for tests and for files that do not parse, which another rule reports.
    pub(super) fn read(file: &File) -> Option<Self> {
        let name = name(&file.path)?;
        let tree = syn::parse_file(&file.text).ok()?;
        let mut module = Self {
            file: file.path.clone(),
            name,
            defines: BTreeSet::new(),
            imports: BTreeMap::new(),
            globs: Vec::new(),
            exports: BTreeSet::new(),
            mentions: Vec::new(),
            methods: Vec::new(),
            calls: Vec::new(),
        };
        for item in tree.items.iter().filter(|item| !is_for_tests(attributes(item))) {
            module.define(item);
            let mut reader = Reader { module: &mut module, owner: Vec::new() };
            reader.visit_item(item);
        }
        Some(module)
    }

    fn define(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Mod(item) if item.content.is_some() => &item.ident,
            Item::Use(item) => {
                let exported = !matches!(item.vis, Visibility::Inherited);
                return self.import(&item.tree, &mut Vec::new(), exported);
            }
            _ => return,
        };
        self.defines.insert(name.to_string());
    }

    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>, exported: bool) {
        let line = tree.span().start().line;
        let enter = |module: &mut Self, name: String, path: Vec<String>| {
            if exported {
                module.exports.insert(name.clone());
            }
            module.imports.insert(name, (path, line));
        };
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, exported);
                before.pop();
            }
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last().cloned() {
                    enter(self, last, before.clone());
                }
            }
            UseTree::Name(name) => {
                let path = [before.as_slice(), &[name.ident.to_string()]].concat();
                enter(self, name.ident.to_string(), path);
            }
            UseTree::Rename(rename) => {
                let path = [before.as_slice(), &[rename.ident.to_string()]].concat();
                enter(self, rename.rename.to_string(), path);
            }
            UseTree::Glob(_) => self.globs.push(before.clone()),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.import(item, before, exported)),
        }
    }
}

/// Collects the paths and the method calls of an item.
struct Reader<'a> {
    module: &'a mut Module,
    /// Type of the current inherent implementation.
    owner: Vec<String>,
}

impl Visit<'_> for Reader<'_> {
    fn visit_item_use(&mut self, _: &syn::ItemUse) {}

    /// Ignores `pub(super)`, which is not a use.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.owner = match &*item.self_ty {
            syn::Type::Path(path) => segments(&path.path),
            _ => Vec::new(),
        };
        if item.trait_.is_none() {
            for member in &item.items {
                if let syn::ImplItem::Fn(method) = member {
                    self.module.methods.push((self.owner.clone(), method.sig.ident.to_string()));
                }
            }
        }
        visit::visit_item_impl(self, item);
        self.owner = Vec::new();
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        if let syn::Expr::Path(receiver) = &*call.receiver
            && receiver.path.is_ident("self")
        {
            let line = call.method.span().start().line;
            self.module.calls.push((self.owner.clone(), call.method.to_string(), line));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let (segments, line) = (segments(path), path.span().start().line);
        if let [first, method] = segments.as_slice()
            && first == "Self"
        {
            self.module.calls.push((self.owner.clone(), method.clone(), line));
        }
        self.module.mentions.push((segments, line));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &syn::Macro) {
        if let Ok(arguments) =
            item.parse_body_with(syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated)
        {
            arguments.iter().for_each(|argument| self.visit_expr(argument));
        }
        visit::visit_macro(self, item);
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// Returns the module of a file in `src`, or `None` for a file of tests.
fn name(path: &str) -> Option<String> {
    let (_, inside) = path.split_once("/src/")?;
    let inside = inside.strip_suffix(".rs")?;
    let mut words: Vec<&str> = inside.split('/').collect();
    if words.contains(&"tests") {
        return None;
    }
    if matches!(words.last(), Some(&"mod" | &"lib" | &"main")) {
        words.pop();
    }
    // `main` is a separate crate, which uses its library by name.
    if inside == "main" {
        return None;
    }
    words.insert(0, "crate");
    Some(words.join("::"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether the attributes contain `#[cfg(test)]` or another condition with `test`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string().contains("test"))
    })
}
