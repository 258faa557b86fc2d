//! Booleans, whole numbers, fractions. A count is at most 4294967295, so that sums of a few never overflow.

use crate::spec::text::{Text, text};
use crate::spec::{Item, Key, Kind, Reader, Rule, Value};
use crate::yaml::emit::Shown;
use crate::yaml::{Node, Scalar, Tree};

const NEGATIVE: Text = text("invalid type: expected non-negative integer, found negative integer");
const TOO_LARGE: Text = text("invalid type: expected integer up to <most>, found larger integer");

impl Value for bool {
    fn kind() -> Kind {
        Kind::Bool
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if matches!(node.tree, Tree::Scalar { .. })
            && let Scalar::Bool(value) = reader.scalar(node)?.scalar
        {
            return Some(value);
        }
        reader.mismatch(node, key, "boolean");
        None
    }

    fn show(&self, _key: &Key) -> Shown {
        Shown::Bool(*self)
    }
}

fn whole(reader: &mut Reader<'_>, node: &Node, key: &Key, most: i128) -> Option<i128> {
    if matches!(node.tree, Tree::Scalar { .. }) {
        let word = reader.scalar(node)?;
        if let Scalar::Integer(value) = word.scalar {
            let fits = (0..=most).contains(&value);
            if reader.in_range(node, key, value, &word.text) && !fits {
                let text = if value < 0 { NEGATIVE } else { TOO_LARGE };
                reader.report(node.place, text, &word.text, &[("most", &most.to_string())]);
            }
            return fits.then_some(value).filter(|_| !reader.has_failed(&reader.path));
        }
    }
    reader.mismatch(node, key, "integer");
    None
}

macro_rules! whole_numbers {
    ($($type:ty: $most:expr),+) => {$(
        impl Item for $type {}

        impl Value for $type {
            fn kind() -> Kind {
                Kind::Integer { least: 0, most: $most }
            }

            fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
                whole(reader, node, key, $most).and_then(|value| Self::try_from(value).ok())
            }

            fn show(&self, _key: &Key) -> Shown {
                Shown::Integer(i128::try_from(*self).unwrap_or(i128::MAX))
            }
        }
    )+};
}

whole_numbers!(u8: 255, u16: 65_535, u32: 4_294_967_295, usize: 4_294_967_295);

impl Value for f64 {
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
                    Rule::Fraction { holds, text } => (!holds(value)).then_some(*text),
                    _ => None,
                };
                return reader.obeys(node, key, &word.text, broken).then_some(value);
            }
        }
        reader.mismatch(node, key, "number");
        None
    }

    fn show(&self, _key: &Key) -> Shown {
        Shown::Float(*self)
    }
}

/// A value that Spooky can find itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auto<T> {
    /// Left to Spooky: `auto`.
    Auto,
    /// Given by the file.
    Fixed(T),
}

impl<T: Copy> Auto<T> {
    /// The given value, or `found` for `auto`.
    pub fn unwrap_or(self, found: T) -> T {
        match self {
            Self::Auto => found,
            Self::Fixed(value) => value,
        }
    }
}

impl<T: Value> Value for Auto<T> {
    fn kind() -> Kind {
        Kind::Auto(Box::new(T::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if matches!(node.tree, Tree::Scalar { .. }) && reader.scalar(node)?.text.eq_ignore_ascii_case("auto") {
            return Some(Self::Auto);
        }
        T::read(reader, node, key, None).map(Self::Fixed)
    }

    fn show(&self, key: &Key) -> Shown {
        match self {
            Self::Auto => Shown::Text("auto".to_owned()),
            Self::Fixed(value) => value.show(key),
        }
    }
}
