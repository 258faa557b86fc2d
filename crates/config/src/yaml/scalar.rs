//! Determines the type of plain text (YAML 1.2 core schema).

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
}

impl Scalar {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Self::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => return Self::Float(f64::NAN),
            _ => {}
        }
        integer(text).map(Self::Integer).or_else(|| float(text).map(Self::Float)).unwrap_or(Self::Text)
    }

    /// Returns the name of the type for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Float(_) => "floating point number",
            Self::Text => "string",
        }
    }
}

fn integer(text: &str) -> Option<i128> {
    let radix = |digits: &str, radix| {
        (!digits.starts_with(['+', '-'])).then(|| i128::from_str_radix(digits, radix).ok()).flatten()
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large saturates, so that the range rule reports it.
    decimal.then(|| text.parse().unwrap_or(if text.starts_with('-') { i128::MIN } else { i128::MAX }))
}

fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let shaped = digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().next().is_some_and(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if shaped { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_gets_the_type_of_the_core_schema() {
        for (text, scalar) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("True", Scalar::Bool(true)),
            ("yes", Scalar::Text),
            ("off", Scalar::Text),
            ("0", Scalar::Integer(0)),
            ("-12", Scalar::Integer(-12)),
            ("0x1f", Scalar::Integer(31)),
            ("0o17", Scalar::Integer(15)),
            ("007", Scalar::Integer(7)),
            ("1.5", Scalar::Float(1.5)),
            (".5", Scalar::Float(0.5)),
            ("1e3", Scalar::Float(1000.0)),
            ("1.2.3.4", Scalar::Text),
            ("10.0.0.1", Scalar::Text),
            ("5s", Scalar::Text),
            ("-", Scalar::Text),
            ("0x", Scalar::Text),
            (".", Scalar::Text),
            ("nan", Scalar::Text),
            ("inf", Scalar::Text),
            ("99999999999999999999999999999999999999999999", Scalar::Integer(i128::MAX)),
        ] {
            assert_eq!(Scalar::of(text), scalar, "{text}");
        }
    }
}
