//! Values as JSON text: the schema, `--json`, the control API. Secrets are never written.

use std::fmt::Write;

use super::emit::Shown;

impl Shown {
    /// As JSON on one line.
    pub(crate) fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out, None);
        out
    }

    /// As JSON over several lines, two spaces a level.
    pub(crate) fn json_pretty(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out, Some(0));
        out.push('\n');
        out
    }

    fn write_json(&self, out: &mut String, depth: Option<usize>) {
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Float(value) if value.is_finite() => write!(out, "{value:?}"),
            Self::Null | Self::Float(_) => write!(out, "null"),
            Self::Text(text) => return quote(text, out),
            Self::Secret(_) => write!(out, "\"<redacted>\""),
            Self::List(items) => return enclose(out, depth, ['[', ']'], items, Self::write_json),
            Self::Map(entries) => {
                return enclose(out, depth, ['{', '}'], entries, |(name, value), out, depth| {
                    quote(name, out);
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write_json(out, depth);
                });
            }
        };
    }
}

fn enclose<T>(
    out: &mut String,
    depth: Option<usize>,
    [open, close]: [char; 2],
    items: &[T],
    write: impl Fn(&T, &mut String, Option<usize>),
) {
    let inner = depth.map(|depth| depth.saturating_add(1));
    let indent = |out: &mut String, depth: Option<usize>| {
        if let Some(depth) = depth {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str("  "));
        }
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        indent(out, inner);
        write(item, out, inner);
    }
    if !items.is_empty() {
        indent(out, depth);
    }
    out.push(close);
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for each in text.chars() {
        match each {
            '"' | '\\' => {
                out.push('\\');
                out.push(each);
            }
            '\n' => out.push_str("\\n"),
            each if u32::from(each) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(each));
            }
            each => out.push(each),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_it_must_and_hides_secrets() {
        let value = Shown::Map(vec![
            ("a\"b".to_owned(), Shown::Text("x\n\u{1}\\é".to_owned())),
            ("s".to_owned(), Shown::Secret("hunter2".to_owned())),
            ("l".to_owned(), Shown::List(vec![Shown::Integer(1), Shown::Float(1.0), Shown::Null])),
            ("m".to_owned(), Shown::Map(Vec::new())),
        ]);
        let expected = r#"{"a\"b":"x\n\u0001\\é","s":"<redacted>","l":[1,1.0,null],"m":{}}"#;
        assert_eq!(value.json(), expected);
        assert_eq!(Shown::List(vec![Shown::Bool(true)]).json_pretty(), "[\n  true\n]\n");
    }
}
