//! From parser events to the tree, within limits. Must not follow an alias by copying. Called by the loader only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, MERGE, Node, Place, Tree};

/// Largest file that is looked at.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Deepest nesting of mappings and lists.
pub(crate) const MAX_DEPTH: usize = 64;
/// The document with all aliases written out may be this many times the file's size.
pub(crate) const MAX_EXPANSION: usize = 10;

const TOO_DEEP: &str = "nesting is deeper than 64 levels";

/// Why a text is not a usable document, and where.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) place: Place,
    pub(crate) reason: String,
}

/// Reads one document. `Ok(None)` is a file without any.
pub(crate) fn parse(text: &str) -> Result<Option<Arc<Node>>, Refusal> {
    if text.len() > MAX_BYTES {
        return Err(Refusal { place: Place::TOP, reason: "the file is larger than 16 MiB".to_owned() });
    }
    let mut builder = Builder::new(text.len());
    let mut parser = Parser::new_from_str(text).keep_tags(false);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Refusal {
            place: Place {
                line: narrow(error.marker().line()),
                column: narrow(error.marker().col()).saturating_add(1),
                length: 1,
            },
            // The scanner reads ahead and has a limit of its own, which `[[[[...` meets first.
            reason: if error.info() == "recursion limit exceeded" { TOO_DEEP } else { error.info() }.to_owned(),
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.root.map(|sized| sized.node))
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn place(span: Span) -> Place {
    let length = if span.start.line() == span.end.line() { span.len() } else { 1 };
    Place {
        line: narrow(span.start.line()),
        column: narrow(span.start.col()).saturating_add(1),
        length: narrow(length).max(1),
    }
}

/// A node and its size with every alias written out.
#[derive(Clone)]
struct Sized {
    node: Arc<Node>,
    size: usize,
}

/// A collection that is still being filled.
struct Open {
    place: Place,
    anchor: usize,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, key: Option<(String, Place)>, merged: Option<(Place, Arc<Node>)> },
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Sized>,
    budget: usize,
    expanded: usize,
    documents: usize,
    root: Option<Sized>,
}

impl Builder {
    fn new(bytes: usize) -> Self {
        Self {
            open: Vec::new(),
            anchors: HashMap::new(),
            budget: bytes.saturating_mul(MAX_EXPANSION),
            expanded: 0,
            documents: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refusal> {
        let place = place(span);
        match event {
            Event::DocumentStart(_) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    return Err(refusal(place, "the file holds more than one document"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_string(tag.as_deref(), place)?;
                let size = text.len().max(1);
                let node = Arc::new(Node { place, tree: Tree::Scalar { text: text.into_owned(), plain } });
                self.finish(anchor, Sized { node, size })
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(refusal(place, "an alias refers to the node that holds it"));
                };
                self.expanded = self.expanded.saturating_add(target.size);
                if self.expanded > self.budget {
                    return Err(refusal(place, "aliases expand to more than ten times the file's size"));
                }
                self.put(target)
            }
            Event::SequenceStart(anchor, tag) => {
                is_string(tag.as_deref(), place)?;
                self.enter(place, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                is_string(tag.as_deref(), place)?;
                self.enter(place, anchor, Content::Map { entries: Vec::new(), key: None, merged: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn enter(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Refusal> {
        if self.open.len() >= MAX_DEPTH {
            return Err(refusal(place, TOO_DEEP));
        }
        self.open.push(Open { place, anchor, size: 1, content });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Refusal> {
        let Some(Open { place, anchor, size, content }) = self.open.pop() else { return Ok(()) };
        let tree = match content {
            Content::List(items) => Tree::List(items),
            Content::Map { entries, merged, .. } => Tree::Map(merge(entries, merged)?),
        };
        self.finish(anchor, Sized { node: Arc::new(Node { place, tree }), size })
    }

    fn finish(&mut self, anchor: usize, sized: Sized) -> Result<(), Refusal> {
        if anchor != 0 {
            self.anchors.insert(anchor, sized.clone());
        }
        self.put(sized)
    }

    /// Hands a finished node to the collection around it.
    fn put(&mut self, sized: Sized) -> Result<(), Refusal> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(sized);
            return Ok(());
        };
        open.size = open.size.saturating_add(sized.size);
        match &mut open.content {
            Content::List(items) => items.push(sized.node),
            Content::Map { entries, key, merged } => match key.take() {
                None => match &sized.node.tree {
                    Tree::Scalar { text, .. } => *key = Some((text.clone(), sized.node.place)),
                    _ => return Err(refusal(sized.node.place, "a key must be a plain name")),
                },
                Some((name, place)) if name == MERGE && merged.is_none() => *merged = Some((place, sized.node)),
                Some((name, place)) => entries.push(Entry { name, place, node: sized.node }),
            },
        }
        Ok(())
    }
}

fn refusal(place: Place, reason: &str) -> Refusal {
    Refusal { place, reason: reason.to_owned() }
}

/// Whether the tag says `!!str`. The other tags of the core schema say what is known anyway; tags beyond it are refused.
fn is_string(tag: Option<&Tag>, place: Place) -> Result<bool, Refusal> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
        Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Ok(true),
        Some(tag) => Err(Refusal { place, reason: format!("the tag '{tag}' is not known") }),
    }
}

/// Adds the entries of `<<` that the mapping does not set itself; an earlier source wins over a later one.
fn merge(mut entries: Vec<Entry>, merged: Option<(Place, Arc<Node>)>) -> Result<Vec<Entry>, Refusal> {
    let Some((place, source)) = merged else { return Ok(entries) };
    let sources: Vec<&Node> = match &source.tree {
        Tree::Map(_) => vec![&source],
        Tree::List(items) => items.iter().map(Arc::as_ref).collect(),
        Tree::Scalar { .. } => Vec::new(),
    };
    if sources.is_empty() || sources.iter().any(|node| !matches!(node.tree, Tree::Map(_))) {
        return Err(refusal(place, "a merge key takes a mapping or a list of mappings"));
    }
    let mut known: HashSet<String> = entries.iter().map(|own| own.name.clone()).collect();
    for entry in sources.into_iter().flat_map(Node::entries) {
        if known.insert(entry.name.clone()) {
            entries.push(entry.clone());
        }
    }
    Ok(entries)
}
