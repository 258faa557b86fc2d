//! Backend addresses: `https://host[:port]`, `http://host[:port]` and `host:port`.

use std::fmt;
use std::net::Ipv6Addr;

use crate::problem::Code;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, Reader};
use crate::yaml::Node;
use crate::yaml::emit::Value;

/// Transport security of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendScheme {
    /// TLS only.
    Https,
    /// Cleartext only.
    Http,
    /// Detected at connect: TLS first, cleartext if the peer does not speak TLS.
    Detect,
}

/// Address of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendAddress {
    /// Address as written in the file; the name of the backend in logs and metrics.
    pub written: String,
    /// Transport. `Https` for an address without scheme if certificates are verified, else `Detect`.
    pub scheme: BackendScheme,
    /// Name or IP literal in lower case, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl BackendAddress {
    /// Placeholder for an invalid address; never leaves the loader.
    pub(crate) const fn unknown() -> Self {
        Self { written: String::new(), scheme: BackendScheme::Https, host: String::new(), port: 0 }
    }

    /// Returns scheme, host and port. Two backends with equal origins are the same server.
    pub fn origin(&self) -> String {
        let scheme = if self.scheme == BackendScheme::Http { "http" } else { "https" };
        format!("{scheme}://{}", self.authority())
    }

    /// Returns `host:port`, with brackets around IPv6.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Parses an address. Without a scheme it is `Detect`, which the upstream may change to `Https`.
    fn parse(written: &str) -> Result<Self, Text> {
        let (scheme, rest) = match written.split_once("://") {
            None => (BackendScheme::Detect, written),
            Some((word, rest)) if word.eq_ignore_ascii_case("https") => (BackendScheme::Https, rest),
            Some((word, rest)) if word.eq_ignore_ascii_case("http") => (BackendScheme::Http, rest),
            Some(_) => return Err(SCHEME),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(EXTRA);
        }
        if rest.contains('@') {
            return Err(USER);
        }
        if rest.is_empty() {
            return Err(NO_AUTHORITY);
        }
        if rest.contains(char::is_whitespace) {
            return Err(WHITESPACE);
        }
        let (host, port) = split(rest)?;
        let port = match (port, scheme) {
            (Some(port), _) => number(port)?,
            (None, BackendScheme::Https) => 443,
            (None, BackendScheme::Http) => 80,
            (None, BackendScheme::Detect) => return Err(NO_PORT),
        };
        Ok(Self { written: written.to_owned(), scheme, host, port })
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

pub(crate) const NO_PORT: Text = text("Backend address '<a>' in upstream '<u>' must be in host:port format")
    .code(Code::BackendAddressInvalid)
    .hint("add the port, as in '<a>:8080', or write https:// or http:// in front");

/// Common form of the other messages, for the reference.
pub(crate) const INVALID: Text =
    text("Backend address '<a>' in upstream '<u>' is invalid: <reason>").code(Code::BackendAddressInvalid);

/// Declares the messages about invalid addresses.
macro_rules! reasons {
    ($($name:ident = $reason:literal;)+) => {
        $(const $name: Text =
            text(concat!("Backend address '<a>' in upstream '<u>' is invalid: ", $reason)).code(Code::BackendAddressInvalid);)+
        /// All messages about an invalid address.
        #[cfg(test)]
        pub(crate) const REASONS: &[Text] = &[NO_PORT, $($name),+];
    };
}

reasons! {
    SCHEME = "unsupported URL scheme; use http:// or https://";
    EXTRA = "backend address must not include path, query, or fragment";
    USER = "backend address must not include user information";
    NO_AUTHORITY = "backend authority is empty";
    WHITESPACE = "backend authority must not contain whitespace";
    NO_HOST = "backend host is empty";
    PORT_EMPTY = "backend port is empty";
    PORT_NUMERIC = "backend port must be numeric";
    PORT_RANGE = "backend port must be in range 1-65535";
    BRACKET = "invalid IPv6 authority; missing closing ']'";
    UNBRACKETED = "IPv6 authorities must use brackets, e.g. [::1]:443";
    HOST_FORM = "backend host is not a DNS name or IP address";
}

fn split(authority: &str) -> Result<(String, Option<&str>), Text> {
    if let Some(inner) = authority.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').ok_or(BRACKET)?;
        let address: Ipv6Addr = host.parse().map_err(|_| if host.is_empty() { NO_HOST } else { HOST_FORM })?;
        return match (rest, rest.strip_prefix(':')) {
            ("", _) => Ok((address.to_string(), None)),
            (_, Some(port)) => Ok((address.to_string(), Some(port))),
            _ => Err(PORT_NUMERIC),
        };
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    if port.is_some_and(|port| port.contains(':')) {
        return Err(UNBRACKETED);
    }
    if host.is_empty() {
        return Err(NO_HOST);
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    if !super::http::is_dns_name(bare) {
        return Err(HOST_FORM);
    }
    Ok((bare.to_ascii_lowercase(), port))
}

fn number(port: &str) -> Result<u16, Text> {
    if port.is_empty() {
        return Err(PORT_EMPTY);
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PORT_NUMERIC);
    }
    port.parse().ok().filter(|port| *port > 0).ok_or(PORT_RANGE)
}

impl ConfigValue for BackendAddress {
    fn kind() -> Kind {
        Kind::Text("backend address")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let written = reader.string(node, key)?;
        match Self::parse(&written) {
            Ok(address) => Some(address),
            Err(text) => {
                reader.report(node.span, text, &written, &[]);
                None
            }
        }
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.written.clone())
    }
}
