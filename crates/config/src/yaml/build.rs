//! Builds the tree from parser events, within limits. Must not copy aliased nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as ParserSpan, Tag};

use super::{Entry, MERGE, Node, Span, Tree};

/// Maximum size of a file.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Maximum nesting of mappings and lists.
pub(crate) const MAX_DEPTH: usize = 64;
/// Maximum size of the document with all aliases expanded, relative to the file.
pub(crate) const MAX_EXPANSION: usize = 10;

const TOO_DEEP: &str = "nesting is deeper than 64 levels";

#[derive(Debug)]
pub(crate) struct ParseError {
    pub(crate) span: Span,
    pub(crate) reason: String,
}

/// Parses one document. Returns `Ok(None)` for a file without a document.
pub(crate) fn parse(text: &str) -> Result<Option<Arc<Node>>, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError { span: Span::TOP, reason: "the file is larger than 16 MiB".to_owned() });
    }
    let mut builder = Builder::new(text.len());
    let mut parser = Parser::new_from_str(text).keep_tags(false);
    while let Some(event) = parser.next_event() {
        let (event, parser_span) = event.map_err(|error| ParseError {
            span: Span {
                line: narrow(error.marker().line()),
                column: narrow(error.marker().col()).saturating_add(1),
                length: 1,
            },
            // The scanner has its own nesting limit, which `[[[[...` reaches first.
            reason: if error.info() == "recursion limit exceeded" { TOO_DEEP } else { error.info() }.to_owned(),
        })?;
        builder.handle(event, parser_span)?;
    }
    Ok(builder.root.map(|sized| sized.node))
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn span(parser_span: ParserSpan) -> Span {
    let length = if parser_span.start.line() == parser_span.end.line() { parser_span.len() } else { 1 };
    Span {
        line: narrow(parser_span.start.line()),
        column: narrow(parser_span.start.col()).saturating_add(1),
        length: narrow(length).max(1),
    }
}

/// A node and its size with all aliases expanded.
#[derive(Clone)]
struct SizedNode {
    node: Arc<Node>,
    size: usize,
}

/// A collection that is not complete yet.
struct OpenCollection {
    span: Span,
    anchor: usize,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Map { entries: Vec<Entry>, key: Option<(String, Span)>, merged: Option<(Span, Arc<Node>)> },
}

struct Builder {
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, SizedNode>,
    budget: usize,
    expanded: usize,
    documents: usize,
    root: Option<SizedNode>,
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

    fn handle(&mut self, event: Event<'_>, parser_span: ParserSpan) -> Result<(), ParseError> {
        let span = span(parser_span);
        match event {
            Event::DocumentStart(_) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    return Err(parse_error(span, "the file holds more than one document"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_string(tag.as_deref(), span)?;
                let size = text.len().max(1);
                let node = Arc::new(Node { span, tree: Tree::Scalar { text: text.into_owned(), plain } });
                self.finish(anchor, SizedNode { node, size })
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(parse_error(span, "an alias refers to the node that holds it"));
                };
                self.expanded = self.expanded.saturating_add(target.size);
                if self.expanded > self.budget {
                    return Err(parse_error(span, "aliases expand to more than ten times the file's size"));
                }
                self.attach(target)
            }
            Event::SequenceStart(anchor, tag) => {
                is_string(tag.as_deref(), span)?;
                self.enter(span, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                is_string(tag.as_deref(), span)?;
                self.enter(span, anchor, Content::Map { entries: Vec::new(), key: None, merged: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn enter(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), ParseError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(parse_error(span, TOO_DEEP));
        }
        self.open.push(OpenCollection { span, anchor, size: 1, content });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), ParseError> {
        let Some(OpenCollection { span, anchor, size, content }) = self.open.pop() else { return Ok(()) };
        let tree = match content {
            Content::List(items) => Tree::List(items),
            Content::Map { entries, merged, .. } => Tree::Map(merge(entries, merged)?),
        };
        self.finish(anchor, SizedNode { node: Arc::new(Node { span, tree }), size })
    }

    fn finish(&mut self, anchor: usize, sized: SizedNode) -> Result<(), ParseError> {
        if anchor != 0 {
            self.anchors.insert(anchor, sized.clone());
        }
        self.attach(sized)
    }

    /// Adds a finished node to its parent collection.
    fn attach(&mut self, sized: SizedNode) -> Result<(), ParseError> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(sized);
            return Ok(());
        };
        open.size = open.size.saturating_add(sized.size);
        match &mut open.content {
            Content::List(items) => items.push(sized.node),
            Content::Map { entries, key, merged } => match key.take() {
                None => match &sized.node.tree {
                    Tree::Scalar { text, .. } => *key = Some((text.clone(), sized.node.span)),
                    _ => return Err(parse_error(sized.node.span, "a key must be a plain name")),
                },
                Some((name, span)) if name == MERGE && merged.is_none() => *merged = Some((span, sized.node)),
                Some((name, span)) => entries.push(Entry { name, span, node: sized.node }),
            },
        }
        Ok(())
    }
}

fn parse_error(span: Span, reason: &str) -> ParseError {
    ParseError { span, reason: reason.to_owned() }
}

/// Whether the tag is `!!str`. Ignores the other tags of the core schema; rejects unknown tags.
fn is_string(tag: Option<&Tag>, span: Span) -> Result<bool, ParseError> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
        Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Ok(true),
        Some(tag) => Err(ParseError { span, reason: format!("the tag '{tag}' is not known") }),
    }
}

/// Adds the entries of `<<` that the mapping does not set; an earlier source takes precedence.
fn merge(mut entries: Vec<Entry>, merged: Option<(Span, Arc<Node>)>) -> Result<Vec<Entry>, ParseError> {
    let Some((span, source)) = merged else { return Ok(entries) };
    let sources: Vec<&Node> = match &source.tree {
        Tree::Map(_) => vec![&source],
        Tree::List(items) => items.iter().map(Arc::as_ref).collect(),
        Tree::Scalar { .. } => Vec::new(),
    };
    if sources.is_empty() || sources.iter().any(|node| !matches!(node.tree, Tree::Map(_))) {
        return Err(parse_error(span, "a merge key takes a mapping or a list of mappings"));
    }
    let mut known: HashSet<String> = entries.iter().map(|own| own.name.clone()).collect();
    for entry in sources.into_iter().flat_map(Node::entries) {
        if known.insert(entry.name.clone()) {
            entries.push(entry.clone());
        }
    }
    Ok(entries)
}
