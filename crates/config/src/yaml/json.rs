//! Configuration values as JSON text. Secrets are redacted.

use serde::{Serialize, Serializer};

use super::emit::Value;
use crate::userinfo::without_userinfo;

impl Value {
    pub(crate) fn json(&self) -> String {
        // Serializing these values to a string cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => out.serialize_unit(),
            Self::Bool(value) => out.serialize_bool(*value),
            Self::Integer(value) => out.serialize_i128(*value),
            Self::Float(value) => out.serialize_f64(*value),
            Self::Text(text) => out.serialize_str(&without_userinfo(text)),
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
        let value = Value::Map(vec![
            ("a\"b".to_owned(), Value::Text("x\n\u{1}\\é".to_owned())),
            ("s".to_owned(), Value::Secret("hunter2".to_owned())),
            ("l".to_owned(), Value::List(vec![Value::Integer(1), Value::Float(1.0), Value::Null])),
            ("m".to_owned(), Value::Map(Vec::new())),
        ]);
        let expected = r#"{"a\"b":"x\n\u0001\\é","s":"<redacted>","l":[1,1.0,null],"m":{}}"#;
        assert_eq!(value.json(), expected);
        assert_eq!(Value::List(vec![Value::Bool(true)]).json_pretty(), "[\n  true\n]\n");
    }
}
