//! Booleans, whole numbers and fractions. A whole number is at most 4294967295, so that sums do not overflow.

use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, ListItem, Reader, Rule};
use crate::yaml::emit::Value;
use crate::yaml::{Node, Scalar, Tree};

const NEGATIVE: Text = text("invalid type: expected non-negative integer, found negative integer");
const TOO_LARGE: Text = text("invalid type: expected integer up to <most>, found larger integer");

impl ConfigValue for bool {
    fn kind() -> Kind {
        Kind::Bool
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if matches!(node.tree, Tree::Scalar { .. })
            && let Scalar::Bool(value) = reader.scalar(node)?.scalar
        {
            return Some(value);
        }
        reader.report_type(node, key, "boolean");
        None
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Bool(*self)
    }
}

fn whole(reader: &mut Reader<'_>, node: &Node, key: &Key, most: i128) -> Option<i128> {
    if matches!(node.tree, Tree::Scalar { .. }) {
        let word = reader.scalar(node)?;
        if let Scalar::Integer(value) = word.scalar {
            let fits = (0..=most).contains(&value);
            if reader.check_range(node, key, value, &word.text) && !fits {
                let text = if value < 0 { NEGATIVE } else { TOO_LARGE };
                reader.report(node.span, text, &word.text, &[("most", &most.to_string())]);
            }
            return fits.then_some(value).filter(|_| !reader.has_failed(&reader.path));
        }
    }
    reader.report_type(node, key, "integer");
    None
}

macro_rules! whole_numbers {
    ($($type:ty: $most:expr),+) => {$(
        impl ListItem for $type {}

        impl ConfigValue for $type {
            fn kind() -> Kind {
                Kind::Integer { least: 0, most: $most }
            }

            fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
                whole(reader, node, key, $most).and_then(|value| Self::try_from(value).ok())
            }

            fn to_value(&self, _key: &Key) -> Value {
                Value::Integer(i128::try_from(*self).unwrap_or(i128::MAX))
            }
        }
    )+};
}

whole_numbers!(u8: 255, u16: 65_535, u32: 4_294_967_295, usize: 4_294_967_295);

impl ConfigValue for f64 {
    fn kind() -> Kind {
        Kind::Number
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if matches!(node.tree, Tree::Scalar { .. }) {
            let word = reader.scalar(node)?;
            let value = match word.scalar {
                Scalar::Integer(value) => Some(value as f64),
                Scalar::Float(value) => Some(value),
                _ => None,
            };
            if let Some(value) = value {
                let broken = |rule: &Rule| match rule {
                    Rule::Fraction { check, text } => (!check(value)).then_some(*text),
                    _ => None,
                };
                return reader.check_rules(node, key, &word.text, broken).then_some(value);
            }
        }
        reader.report_type(node, key, "number");
        None
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Float(*self)
    }
}

/// A value that Spooky can determine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// `auto`.
    Auto,
    /// Set in the file.
    Fixed(T),
}

impl<T: Copy> Auto<T> {
    /// Returns the value, or `found` for `auto`.
    pub fn unwrap_or(self, found: T) -> T {
        match self {
            Self::Auto => found,
            Self::Fixed(value) => value,
        }
    }
}

impl<T: ConfigValue> ConfigValue for Auto<T> {
    fn kind() -> Kind {
        Kind::Auto(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if matches!(node.tree, Tree::Scalar { .. }) && reader.scalar(node)?.text.eq_ignore_ascii_case("auto") {
            return Some(Self::Auto);
        }
        T::read(reader, node, key, None).map(Self::Fixed)
    }

    fn to_value(&self, key: &Key) -> Value {
        match self {
            Self::Auto => Value::Text("auto".to_owned()),
            Self::Fixed(value) => value.to_value(key),
        }
    }
}
