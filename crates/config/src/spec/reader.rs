//! Reads the tree: tracks the current path, collects problems and interpolates variables.
//!
//! Must not know any key. Used by every `ConfigValue`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Bound;
use std::sync::Arc;

use super::key::{Key, Rule};
use super::text::{Text, fill, text};
use crate::problem::{Problem, Severity, Suppressed};
use crate::userinfo::without_userinfo;
use crate::yaml::{Node, Scalar, Span, Tree};

/// Lookup of environment variables. A function, so that loading stays pure.
pub(crate) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

const WRONG_TYPE: Text = text("invalid type: expected <expected>, found <found>");
const NOT_SET: Text =
    text("environment variable '<name>' is not set").hint("set it, or give a default: ${<name>:-default}");

/// Suffix of messages about keys that exist both globally and in an upstream; omitted for the global key.
pub(crate) const OF_UPSTREAM: &str = " for upstream '<u>'";

/// Messages that can be about any value.
pub(crate) const TEXTS: [Text; 2] = [WRONG_TYPE, NOT_SET];

/// Maximum number of listed errors, and of listed warnings. Further ones are only counted.
pub(crate) const MAX_REPORTED: usize = 1000;
/// Maximum number of characters of a value in a message.
const MAX_QUOTED: usize = 1024;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    reported: usize,
    /// Number of problems beyond the limit.
    suppressed: usize,
}

pub(crate) struct Reader<'e> {
    pub(crate) env: Environment<'e>,
    file: &'e str,
    /// Root of the document, to find the position of another key.
    pub(crate) root: Option<Arc<Node>>,
    /// Path of the key that is being read.
    pub(crate) path: String,
    /// Upstream and backend that contain the path.
    pub(crate) upstream: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) problems: Vec<Problem>,
    errors: Count,
    warnings: Count,
    /// Positions of secrets.
    pub(crate) secrets: Vec<Span>,
    /// Paths with an error. Checks that involve other keys skip them.
    failed: BTreeSet<String>,
}

/// A scalar after interpolation.
pub(crate) struct Interpolated {
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

    pub(crate) fn at_key<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let done = work(self);
        self.path.truncate(length);
        done
    }

    pub(crate) fn at_index<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        // Writing to a String cannot fail.
        let _ = write!(self.path, "[{index}]");
        let done = work(self);
        self.path.truncate(length);
        done
    }

    /// Runs `work` and discards its reports. For nodes that are read twice.
    pub(crate) fn silently<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (reported, errors, warnings) = (self.problems.len(), self.errors, self.warnings);
        let done = work(self);
        self.problems.truncate(reported);
        (self.errors, self.warnings) = (errors, warnings);
        done
    }

    /// Whether there was an error at exactly this path.
    pub(crate) fn has_failed(&self, path: &str) -> bool {
        self.failed.contains(path)
    }

    /// Whether there was an error at this path or below it.
    pub(crate) fn any_failed(&self, path: &str) -> bool {
        let from = self.failed.range::<str, _>((Bound::Included(path), Bound::Unbounded));
        let mut rests = from.map_while(|failed| failed.strip_prefix(path));
        rests.any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Returns true if the limit of listed problems of this severity is reached, and then counts this one.
    pub(crate) fn count_if_full(&mut self, text: Text) -> bool {
        let count = self.count(text.severity);
        let full = count.reported >= MAX_REPORTED;
        if full {
            count.suppressed = count.suppressed.saturating_add(1);
        }
        full
    }

    fn count(&mut self, severity: Severity) -> &mut Count {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        }
    }

    pub(crate) fn suppressed(&self) -> Suppressed {
        Suppressed { errors: self.errors.suppressed, warnings: self.warnings.suppressed }
    }

    pub(crate) fn report(&mut self, span: Span, text: Text, value: &str, arguments: &[(&str, &str)]) {
        if self.count_if_full(text) {
            return;
        }
        if text.severity == Severity::Error {
            self.failed.insert(self.path.clone());
        }
        let count = self.count(text.severity);
        count.reported = count.reported.saturating_add(1);
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
        let named = |name: &str| named(name).map(|value| quoted(&value));
        let outside = text.template.strip_suffix(OF_UPSTREAM).filter(|_| self.upstream.is_none());
        let message = fill(outside.unwrap_or(text.template), named);
        let hint = Some(fill(text.hint, named)).filter(|hint| !hint.is_empty());
        let Span { line, column, length } = span;
        let (file, path) = (self.file.to_owned(), self.path.clone());
        let severity = text.severity;
        self.problems.push(Problem { severity, file, line, column, length, path, code: text.code, message, hint });
    }

    /// Reports that the node is not of type `expected`, with the message of the key if it has one.
    pub(crate) fn report_type(&mut self, node: &Node, key: &Key, expected: &str) {
        let (found, text) = match &node.tree {
            Tree::List(_) => ("list", String::new()),
            Tree::Map(_) => ("mapping", String::new()),
            Tree::Scalar { .. } => match self.scalar(node) {
                Some(word) => (word.scalar.name(), word.text),
                None => return,
            },
        };
        let own = key.rules.iter().flatten().find_map(|rule| match rule {
            // A message that quotes the value is useless for an empty value.
            Rule::Invalid { in_upstream, global } if !text.is_empty() || !in_upstream.template.contains('<') => {
                Some(if self.upstream.is_some() { *in_upstream } else { *global })
            }
            _ => None,
        });
        if let Some(own) = own {
            self.report(node.span, own, &text, &[]);
        } else {
            let hint = if expected == "string" && !text.is_empty() { "put the value in quotes" } else { "" };
            self.report(node.span, WRONG_TYPE.hint(hint), "", &[("expected", expected), ("found", found)]);
        }
    }

    /// Returns the interpolated scalar of a node. Returns `None` without a report if the node is not a scalar, and with one if
    /// a variable is not set.
    pub(crate) fn scalar(&mut self, node: &Node) -> Option<Interpolated> {
        let Tree::Scalar { text, plain } = &node.tree else { return None };
        let text = match interpolate(text, self.env) {
            Ok(text) => text,
            Err(name) => {
                self.report(node.span, NOT_SET, "", &[("name", &name)]);
                return None;
            }
        };
        let scalar = if *plain { Scalar::of(&text) } else { Scalar::Text };
        Some(Interpolated { text, scalar })
    }

    /// Returns the string of a node if it passes the rules of the key.
    pub(crate) fn string(&mut self, node: &Node, key: &Key) -> Option<String> {
        if matches!(node.tree, Tree::Scalar { .. }) {
            let word = self.scalar(node)?;
            if word.scalar == Scalar::Text {
                let broken = |rule: &Rule| match rule {
                    Rule::Check { check, text } => (!check(&word.text)).then_some(*text),
                    _ => None,
                };
                return self.check_rules(node, key, &word.text, broken).then_some(word.text);
            }
        }
        self.report_type(node, key, "string");
        None
    }

    /// Check `value` to the range rules of the key.
    pub(crate) fn check_range(&mut self, node: &Node, key: &Key, value: i128, written: &str) -> bool {
        self.check_rules(node, key, written, |rule| match rule {
            Rule::Range { least, most, text } => (value < *least || value > *most).then_some(*text),
            _ => None,
        })
    }

    /// Reports the first rule for which `broken` returns a message. Returns true if there is none.
    pub(crate) fn check_rules(
        &mut self,
        node: &Node,
        key: &Key,
        written: &str,
        broken: impl Fn(&Rule) -> Option<Text>,
    ) -> bool {
        match key.rules.iter().flatten().find_map(broken) {
            Some(text) => {
                self.report(node.span, text, written, &[]);
                false
            }
            None => true,
        }
    }
}

/// Truncates a value for a message, and hides passwords in it.
fn quoted(value: &str) -> String {
    let mut value = without_userinfo(value).into_owned();
    if let Some((cut, _)) = value.char_indices().nth(MAX_QUOTED) {
        value.truncate(cut);
        value.push('\u{2026}');
    }
    value
}

/// Replaces `${VAR}`, `${VAR:-default}` and `$$`. Returns the name of a variable that is not set as the error.
fn interpolate(text: &str, env: Environment<'_>) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Remembers that no closing brace is left, so that megabytes of `${` do not take quadratic time.
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
