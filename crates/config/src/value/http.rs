//! HTTP values: methods, field names, hosts, status codes and hash keys.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use super::host::normalize_host;
use super::path::strip_port;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, ListItem, Reader, Rule};
use crate::yaml::emit::Value;
use crate::yaml::{Node, Scalar, Tree};

/// Whether the text is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether the text is a DNS name. Allows underscores, labels of 1 to 63 characters and 253 characters in total.
pub(crate) fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (1..=253).contains(&name.len()) && name.split('.').all(label)
}

const BAD_NAME: Text = text("invalid value '<v>': expected an HTTP field name");
const BAD_METHOD: Text = text("invalid value '<v>': expected an HTTP method");

/// Declares a string type with validation and normalization.
macro_rules! formed {
    ($(#[doc = $about:literal])+ $name:ident, $what:literal, $bad:expr, $form:expr) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Validates and normalizes the text.
            pub fn parse(text: &str) -> Option<Self> {
                let form: fn(&str) -> Option<String> = $form;
                form(text).map(Self)
            }

            /// Returns the normalized text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ListItem for $name {}

        impl ConfigValue for $name {
            fn kind() -> Kind {
                Kind::Text($what)
            }

            fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
                let text = reader.string(node, key)?;
                let formed = Self::parse(&text);
                if formed.is_none() {
                    reader.report_invalid(node, key, &text, $bad);
                }
                formed
            }

            fn to_value(&self, _key: &Key) -> Value {
                Value::Text(self.0.clone())
            }
        }
    };
}

formed!(
    /// A field name in lower case.
    HeaderName,
    "header name",
    BAD_NAME,
    |text| is_token(text).then(|| text.to_ascii_lowercase())
);

formed!(
    /// A method in upper case.
    Method,
    "method",
    BAD_METHOD,
    |text| is_token(text).then(|| text.to_ascii_uppercase())
);

impl Reader<'_> {
    /// Reports a text that does not parse, with the message of the key, or `otherwise` if it has none.
    pub(crate) fn report_invalid(&mut self, node: &Node, key: &Key, text: &str, otherwise: Text) {
        let own = key.rules.iter().flatten().find_map(|rule| match rule {
            Rule::Invalid { in_upstream, global } => Some(if self.upstream.is_some() { *in_upstream } else { *global }),
            _ => None,
        });
        self.report(node.span, own.unwrap_or(otherwise), text, &[]);
    }
}

/// Hosts that a route matches, in lower case, without port, trailing dot or brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// A name or IP literal.
    Exact(String),
    /// All names below this suffix, but not the suffix itself. Written `*.suffix`; stored without `*.`.
    Below(String),
}

impl HostPattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(suffix) = text.strip_prefix("*.") {
            let suffix = parse_host(suffix)?;
            return is_dns_name(&suffix).then_some(Self::Below(suffix));
        }
        parse_host(text).map(Self::Exact)
    }
}

/// Parses and normalizes a host, with an optional port, which is removed. Returns `None` if it is neither a DNS name nor an
/// IP literal.
pub fn parse_host(text: &str) -> Option<String> {
    strip_port(text)?;
    let host = String::from_utf8(normalize_host(text.as_bytes(), &mut Vec::new()).to_owned()).ok()?;
    (host.parse::<IpAddr>().is_ok() || is_dns_name(&host)).then_some(host)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

const BAD_HOST: Text = text("invalid value '<v>': expected a host");

impl ConfigValue for HostPattern {
    fn kind() -> Kind {
        Kind::Text("host")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let text = reader.string(node, key)?;
        let pattern = Self::parse(&text);
        if pattern.is_none() {
            reader.report_invalid(node, key, &text, BAD_HOST);
        }
        pattern
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.to_string())
    }
}

/// An inclusive range of status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// 100 to 599.
    pub first: u16,
    /// Not below `first`, at most 599.
    pub last: u16,
}

impl StatusRange {
    /// Whether the status is in the range.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |digits: &str| {
            let digits = Some(digits.trim()).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            digits.parse::<u16>().ok().filter(|code| (100..=599).contains(code))
        };
        let range = Self { first: code(first)?, last: code(last)? };
        (range.first <= range.last).then_some(range)
    }
}

const BAD_STATUS: Text = text("invalid value '<v>': expected a status code or a range of them");

impl ListItem for StatusRange {}

impl ConfigValue for StatusRange {
    fn kind() -> Kind {
        Kind::Range
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        if !matches!(node.tree, Tree::Scalar { .. }) {
            reader.report_type(node, key, "status code");
            return None;
        }
        let word = reader.scalar(node)?;
        let range = match word.scalar {
            Scalar::Integer(_) | Scalar::Text => Self::parse(&word.text),
            Scalar::Null | Scalar::Bool(_) | Scalar::Float(_) => None,
        };
        if range.is_none() {
            reader.report_invalid(node, key, &word.text, BAD_STATUS);
        }
        range
    }

    fn to_value(&self, _key: &Key) -> Value {
        let Self { first, last } = *self;
        if first == last { Value::Integer(i128::from(first)) } else { Value::Text(format!("{first}-{last}")) }
    }
}

/// What consistent hashing hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a request field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The first value of a query parameter, not decoded.
    Query(String),
    /// The normalized path.
    Path,
    /// The normalized host of the authority.
    Authority,
    /// The method.
    Method,
    /// The connection id.
    Cid,
    /// The client's IP address.
    ClientIp,
}

impl HashKey {
    fn parse(text: &str) -> Option<Self> {
        let named = text.split_once(':').filter(|(_, name)| !name.is_empty());
        Some(match (text.to_ascii_lowercase().as_str(), named) {
            ("path", _) => Self::Path,
            ("authority", _) => Self::Authority,
            ("method", _) => Self::Method,
            ("cid", _) => Self::Cid,
            ("client-ip" | "client_ip", _) => Self::ClientIp,
            (_, Some((source, name))) if source.eq_ignore_ascii_case("header") => {
                Self::Header(HeaderName::parse(name)?)
            }
            (_, Some((source, name))) if source.eq_ignore_ascii_case("cookie") && is_token(name) => {
                Self::Cookie(name.to_owned())
            }
            (_, Some((source, name))) if source.eq_ignore_ascii_case("query") => Self::Query(name.to_owned()),
            _ => return None,
        })
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
            Self::Authority => f.write_str("authority"),
            Self::Method => f.write_str("method"),
            Self::Cid => f.write_str("cid"),
            Self::ClientIp => f.write_str("client-ip"),
        }
    }
}

const BAD_KEY: Text = text("invalid value '<v>': expected a hash key");

impl ConfigValue for HashKey {
    fn kind() -> Kind {
        Kind::Text("hash key")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let text = reader.string(node, key)?;
        let parsed = Self::parse(&text);
        if parsed.is_none() {
            reader.report_invalid(node, key, &text, BAD_KEY);
        }
        parsed
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.to_string())
    }
}
