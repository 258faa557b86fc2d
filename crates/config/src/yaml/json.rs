//! Values as JSON text: the schema, `--json`, the control API. Secrets are never written.

use serde::{Serialize, Serializer};

use super::emit::Shown;

impl Shown {
    /// As JSON on one line.
    pub(crate) fn json(&self) -> String {
        // Neither a string as the target nor these values can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As JSON over several lines, two spaces a level.
    pub(crate) fn json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => out.serialize_unit(),
            Self::Bool(value) => out.serialize_bool(*value),
            Self::Integer(value) => out.serialize_i128(*value),
            Self::Float(value) => out.serialize_f64(*value),
            Self::Text(text) => out.serialize_str(text),
            Self::Secret(_) => out.serialize_str("<redacted>"),
            Self::List(items) => out.collect_seq(items),
            Self::Map(entries) => out.collect_map(entries.iter().map(|(name, value)| (name, value))),
        }
    }
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
