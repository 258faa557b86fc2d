//! The one pass over the tree: where the reader stands, what it found, and how a problem gets its place and words.
//!
//! Owns the report and the interpolation. Must not know any key. Used by every `Value`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Bound;
use std::sync::Arc;

use super::key::{Key, Rule};
use super::text::{Text, fill, text};
use crate::problem::{Problem, Severity, Untold};
use crate::yaml::{Node, Place, Scalar, Tree};

/// The environment, as a function so that loading stays pure.
pub(crate) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

const WRONG_TYPE: Text = text("invalid type: expected <expected>, found <found>");
const NOT_SET: Text =
    text("environment variable '<name>' is not set").hint("set it, or give a default: ${<name>:-default}");

/// The end of texts that global blocks share with those of an upstream; outside of one it is left off.
pub(crate) const OF_UPSTREAM: &str = " for upstream '<u>'";

/// The texts that any value can be answered with.
pub(crate) const TEXTS: [Text; 2] = [WRONG_TYPE, NOT_SET];

/// Errors, and warnings, that are told. A file with more is not a configuration; the rest is counted.
pub(crate) const MAX_TOLD: usize = 1000;
/// Characters of a value that a message quotes. A longer value is not looked for by its text.
const MAX_QUOTED: usize = 1024;

/// How many problems of one severity there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Reported with place and text.
    told: usize,
    /// Beyond the limit.
    untold: usize,
}

/// State of the pass.
pub(crate) struct Reader<'e> {
    pub(crate) env: Environment<'e>,
    file: &'e str,
    /// The whole file, for texts that say where another value was written.
    pub(crate) root: Option<Arc<Node>>,
    /// The path of the key that is being read.
    pub(crate) path: String,
    /// The upstream and the backend that the path is inside of.
    pub(crate) upstream: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) problems: Vec<Problem>,
    errors: Count,
    warnings: Count,
    /// Where secrets stand.
    pub(crate) secrets: Vec<Place>,
    /// Paths with an error: wider checks keep quiet about them.
    failed: BTreeSet<String>,
}

/// A scalar after interpolation.
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) scalar: Scalar,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(file: &'e str, env: Environment<'e>) -> Self {
        Self {
            env,
            file,
            root: None,
            path: String::new(),
            upstream: None,
            backend: None,
            problems: Vec::new(),
            errors: Count::default(),
            warnings: Count::default(),
            secrets: Vec::new(),
            failed: BTreeSet::new(),
        }
    }

    /// Runs `work` with the path extended by a key.
    pub(crate) fn below<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let done = work(self);
        self.path.truncate(length);
        done
    }

    /// Runs `work` with the path extended by an index.
    pub(crate) fn item<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        // Writing to a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        let done = work(self);
        self.path.truncate(length);
        done
    }

    /// Runs `work` and forgets what it reported: for nodes that are read a second time.
    pub(crate) fn quietly<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (reported, errors, warnings) = (self.problems.len(), self.errors, self.warnings);
        let done = work(self);
        self.problems.truncate(reported);
        (self.errors, self.warnings) = (errors, warnings);
        done
    }

    /// Whether something was wrong at exactly this path.
    pub(crate) fn has_failed(&self, path: &str) -> bool {
        self.failed.contains(path)
    }

    /// Whether something was wrong at this path or below it.
    pub(crate) fn any_failed(&self, path: &str) -> bool {
        let from = self.failed.range::<str, _>((Bound::Included(path), Bound::Unbounded));
        let mut rests = from.map_while(|failed| failed.strip_prefix(path));
        rests.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Whether no more problems of this severity are told; then this one is counted.
    pub(crate) fn is_full(&mut self, text: Text) -> bool {
        let count = self.count(text.severity);
        let full = count.told >= MAX_TOLD;
        if full {
            count.untold = count.untold.saturating_add(1);
        }
        full
    }

    fn count(&mut self, severity: Severity) -> &mut Count {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    /// What is only counted.
    pub(crate) fn untold(&self) -> Untold {
        Untold { errors: self.errors.untold, warnings: self.warnings.untold }
    }

    /// Reports a problem at the current path.
    pub(crate) fn report(&mut self, place: Place, text: Text, value: &str, arguments: &[(&str, &str)]) {
        if self.is_full(text) {
            return;
        }
        if text.severity == Severity::Error {
            self.failed.insert(self.path.clone());
        }
        let count = self.count(text.severity);
        count.told = count.told.saturating_add(1);
        let block = self.path.rsplit_once('.').map_or("", |(block, _)| block);
        let named = |name: &str| {
            let argument = arguments.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Some(argument.unwrap_or_else(|| match name {
                "key" => self.path.clone(),
                "block" => block.to_owned(),
                "list" => self.path.rsplit_once('[').map_or("", |(list, _)| list).to_owned(),
                "u" => self.upstream.clone().unwrap_or_default(),
                "b" => self.backend.clone().unwrap_or_default(),
                _ => value.to_owned(),
            }))
        };
        let named = |name: &str| named(name).map(quoted);
        let outside = text.template.strip_suffix(OF_UPSTREAM).filter(|_| self.upstream.is_none());
        let message = fill(outside.unwrap_or(text.template), named);
        let hint = Some(fill(text.hint, named)).filter(|hint| !hint.is_empty());
        let Place { line, column, length } = place;
        let (file, path) = (self.file.to_owned(), self.path.clone());
        let severity = text.severity;
        self.problems.push(Problem { severity, file, line, column, length, path, code: text.code, message, hint });
    }

    /// Reports that the node is of another type than `expected`, in the key's own words if it has some.
    pub(crate) fn mismatch(&mut self, node: &Node, key: &Key, expected: &str) {
        let (found, text) = match &node.tree {
            Tree::List(_) => ("list", String::new()),
            Tree::Map(_) => ("mapping", String::new()),
            Tree::Scalar { .. } => match self.scalar(node) {
                Some(word) => (word.scalar.name(), word.text),
                None => return,
            },
        };
        let own = key.rules.iter().flatten().find_map(|rule| match rule {
            // A text that quotes the value says nothing where there is none.
            Rule::Otherwise { inside, outside } if !text.is_empty() || !inside.template.contains('<') => {
                Some(if self.upstream.is_some() { *inside } else { *outside })
            }
            _ => None,
        });
        if let Some(own) = own {
            self.report(node.place, own, &text, &[]);
        } else {
            let hint = if expected == "string" && !text.is_empty() { "put the value in quotes" } else { "" };
            self.report(node.place, WRONG_TYPE.hint(hint), "", &[("expected", expected), ("found", found)]);
        }
    }

    /// The scalar of a node, interpolated. `None`: not a scalar (nothing is reported), or a variable is not set.
    pub(crate) fn scalar(&mut self, node: &Node) -> Option<Word> {
        let Tree::Scalar { text, plain } = &node.tree else { return None };
        let text = match interpolate(text, self.env) {
            Ok(text) => text,
            Err(name) => {
                self.report(node.place, NOT_SET, "", &[("name", &name)]);
                return None;
            }
        };
        let scalar = if *plain { Scalar::of(&text) } else { Scalar::Text };
        Some(Word { text, scalar })
    }

    /// The string of a node, after the key's rules.
    pub(crate) fn string(&mut self, node: &Node, key: &Key) -> Option<String> {
        if matches!(node.tree, Tree::Scalar { .. }) {
            let word = self.scalar(node)?;
            if word.scalar == Scalar::Text {
                let broken = |rule: &Rule| match rule {
                    Rule::Holds { holds, text } => (!holds(&word.text)).then_some(*text),
                    _ => None,
                };
                return self.obeys(node, key, &word.text, broken).then_some(word.text);
            }
        }
        self.mismatch(node, key, "string");
        None
    }

    /// Holds `value` to the range rules of the key.
    pub(crate) fn in_range(&mut self, node: &Node, key: &Key, value: i128, written: &str) -> bool {
        self.obeys(node, key, written, |rule| match rule {
            Rule::Range { least, most, text } => (value < *least || value > *most).then_some(*text),
            _ => None,
        })
    }

    /// Reports the first rule that `broken` has a text for; whether there was none.
    pub(crate) fn obeys(
        &mut self,
        node: &Node,
        key: &Key,
        written: &str,
        broken: impl Fn(&Rule) -> Option<Text>,
    ) -> bool {
        match key.rules.iter().flatten().find_map(broken) {
            Some(text) => {
                self.report(node.place, text, written, &[]);
                false
            }
            None => true,
        }
    }
}

/// A value as messages quote it: cut where it is too long to be read.
fn quoted(mut value: String) -> String {
    if let Some((cut, _)) = value.char_indices().nth(MAX_QUOTED) {
        value.truncate(cut);
        value.push('\u{2026}');
    }
    value
}

/// Replaces `${VAR}`, `${VAR:-default}` and `$$`. The error is the name of a variable that is not set.
fn interpolate(text: &str, env: Environment<'_>) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Once no brace is left nothing looks for one again: a text may be megabytes of `${`.
    let mut is_closed = true;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((inside, after)) =
            rest.strip_prefix('{').filter(|_| is_closed).and_then(|inside| inside.split_once('}'))
        {
            let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, text)| (name, Some(text)));
            match (env(name), default) {
                (Some(value), None) => out.push_str(&value),
                (Some(value), Some(_)) if !value.is_empty() => out.push_str(&value),
                (_, Some(default)) => out.push_str(default),
                (None, None) => return Err(name.to_owned()),
            }
            rest = after;
        } else {
            is_closed = is_closed && !rest.starts_with('{');
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::interpolate;

    #[test]
    fn variables_are_replaced_once() {
        let env = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "DOLLAR" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("${A}", Ok("1")),
            ("x${A}y${A}", Ok("x1y1")),
            ("${DOLLAR}", Ok("${A}")),
            ("${EMPTY}", Ok("")),
            ("${EMPTY:-d}", Ok("d")),
            ("${NO:-}", Ok("")),
            ("${NO:-a:-b}", Ok("a:-b")),
            ("$$", Ok("$")),
            ("$${A}", Ok("${A}")),
            ("$A ${A", Ok("$A ${A")),
            ("${A}${A$$${A", Ok("1${A$${A")),
            ("$", Ok("$")),
            ("${NO}", Err("NO")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(interpolate(text, &env), expected, "{text}");
        }
    }
}
