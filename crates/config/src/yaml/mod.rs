//! YAML as a tree in which every node knows its place.
//!
//! Owns parsing, the limits against hostile documents and writing YAML back. Knows no configuration key. Called by the
//! loader and by the writers of `defaults` and the reference page.

pub(crate) mod build;
pub(crate) mod emit;
pub(crate) mod json;
pub(crate) mod scalar;

use std::sync::Arc;

pub(crate) use build::parse;
pub(crate) use scalar::Scalar;

/// The key that takes over the entries of other mappings. Only the first of a mapping does; a second one stays as an entry.
pub(crate) const MERGE: &str = "<<";

/// Where something stands in the file. Lines and columns count characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// Characters to underline, at least 1.
    pub(crate) length: u32,
}

impl Place {
    /// The first character of the file.
    pub(crate) const TOP: Self = Self { line: 1, column: 1, length: 1 };
}

/// One node of the document.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) tree: Tree,
}

/// What a node holds. Aliased nodes are shared, never copied.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Text as written, before interpolation; plain (unquoted) text gets its type when it is read.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

/// A key with its value, in file order.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) node: Arc<Node>,
}

impl Node {
    /// The entries of a mapping; none for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.tree {
            Tree::Map(entries) => entries,
            Tree::Scalar { .. } | Tree::List(_) => &[],
        }
    }

    /// The first entry of that name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The node below at `path` (`a.b[0].c`). Names may hold dots themselves: the longest name that fits is taken.
    pub(crate) fn find(&self, path: &str) -> Option<&Node> {
        match self.descend(path) {
            (node, "") => Some(node),
            _ => None,
        }
    }

    /// The deepest existing node on `path` and what remains of the path.
    pub(crate) fn descend<'n, 'p>(&'n self, path: &'p str) -> (&'n Node, &'p str) {
        let step = match &self.tree {
            Tree::Map(entries) => entries
                .iter()
                .filter_map(|entry| Some((path.strip_prefix(entry.name.as_str())?, entry)))
                .filter(|(rest, _)| rest.is_empty() || rest.starts_with(['.', '[']))
                .max_by_key(|(_, entry)| entry.name.len())
                .map(|(rest, entry)| (rest, &entry.node)),
            Tree::List(items) => path
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((rest, items.get(index.parse::<usize>().ok()?)?))),
            Tree::Scalar { .. } => None,
        };
        match step {
            Some((rest, node)) => node.descend(rest.strip_prefix('.').unwrap_or(rest)),
            None => (self, path),
        }
    }
}
