//! Configuration values as data, and as YAML text that loads to the same values.

use std::fmt::Write;

use crate::userinfo::without_userinfo;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// Compared by content; redacted in output.
    Secret(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Map(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the value on one line, in YAML flow style.
    pub(crate) fn line(&self) -> String {
        let mut out = String::new();
        self.flow(&mut out);
        out
    }

    pub(crate) fn document(&self) -> String {
        let mut out = String::new();
        self.block(&mut out, 0);
        out
    }

    fn flow(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => push(out, format_args!("{value}")),
            Self::Integer(value) => push(out, format_args!("{value}")),
            Self::Float(value) => push(out, format_args!("{value:?}")),
            Self::Text(text) => quote(&without_userinfo(text), out),
            Self::Secret(_) => out.push_str("<redacted>"),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.flow(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push_str("{ ");
                for (index, (name, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    key(name, out);
                    value.flow(out);
                }
                out.push_str(if entries.is_empty() { "}" } else { " }" });
            }
        }
    }

    fn block(&self, out: &mut String, depth: usize) {
        let indent = |out: &mut String, depth: usize| (0..depth).for_each(|_| out.push_str("  "));
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                for (name, value) in entries {
                    indent(out, depth);
                    key(name, out);
                    value.below(out, depth);
                }
            }
            Self::List(items) if items.iter().any(|item| matches!(item, Self::Map(_))) => {
                for item in items {
                    indent(out, depth);
                    let mut inner = String::new();
                    item.block(&mut inner, depth.saturating_add(1));
                    out.push_str("- ");
                    out.push_str(inner.trim_start());
                }
            }
            scalar => {
                scalar.flow(out);
                out.push('\n');
            }
        }
    }

    /// Writes the value after `name: `.
    fn below(&self, out: &mut String, depth: usize) {
        let nested = match self {
            Self::Map(entries) => !entries.is_empty(),
            Self::List(items) => items.iter().any(|item| matches!(item, Self::Map(_))),
            _ => false,
        };
        if nested {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        self.block(out, depth.saturating_add(1));
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Writes a key. Keys are not interpolated.
fn key(name: &str, out: &mut String) {
    if is_plain(name) {
        out.push_str(name);
    } else {
        escape(name, out);
    }
    out.push_str(": ");
}

/// Writes a string value with `$` doubled, so that interpolation restores it.
fn quote(text: &str, out: &mut String) {
    let text = text.replace('$', "$$");
    if is_plain(&text) { out.push_str(&text) } else { escape(&text, out) }
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '/' | '.' | '_' | '-' | '$'))
        && super::Scalar::of(text) == super::Scalar::Text
}

fn escape(text: &str, out: &mut String) {
    out.push('"');
    for each in text.chars() {
        match each {
            '"' | '\\' => {
                out.push('\\');
                out.push(each);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Control characters, and the line breaks and byte order mark of YAML.
            each if each.is_control() || matches!(each, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                push(out, format_args!("\\u{:04x}", u32::from(each)));
            }
            each => out.push(each),
        }
    }
    out.push('"');
}
