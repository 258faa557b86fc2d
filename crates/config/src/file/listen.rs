//! `listen` and `listeners[]`: the sockets for clients.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::tls::{ListenTls, NO_PAIR};
use crate::preflight::texts;
use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::text::{Text, text};
use crate::spec::{ListItem, Mapping};
use crate::value::network::{Network, is_host};

const PROTOCOL: Text = text("Invalid protocol: expected 'http3', found '<v>'");
pub(crate) const PORT: Text = text("Invalid listen port: <v> (must be between 1 and 65535)");
const PORT_RANGE: Text = text("<key> must be between 1 and 65535");
const ADDRESS: Text = text("Listen address is empty");
pub(crate) const NO_HOST: Text = text("invalid value '<v>': expected an IP address or a host name");
const SOURCES_EMPTY: Text =
    text("<key> must not be empty when proxy_protocol is enabled").code(Code::UnsupportedPolicyCombination);
const SOURCES_BAD: Text = text("<list> contains an invalid network '<v>'");

block! {
    /// A UDP socket for HTTP/3, and a TCP socket on the same address and port for HTTP/2 and HTTP/1.1.
    pub struct Listener {
        /// Always `http3`.
        protocol: String = "http3".to_owned(), check(|word| word == "http3", PROTOCOL);
        /// IP literal (IPv6 with or without brackets; `::` also accepts IPv4) or a name that resolves.
        address: String = "0.0.0.0".to_owned(), check(is_not_blank, ADDRESS), check(is_host, NO_HOST);
        /// Port for UDP and TCP.
        port: u16 = 9889, range(1, 65_535, PORT), may_report(texts::PORT_BUSY), may_report(texts::UDP_BIND), may_report(texts::TCP_BIND);
        /// Label in metrics and logs; unique.
        name: String => join_host_port(&address, port), default("`<address>:<port>`");
        /// Announces HTTP/3 to TCP clients.
        alt_svc: AltSvc => AltSvc { port, ..AltSvc::default() };
        /// HTTP/2 and HTTP/1.1 over TLS.
        tcp: Tcp = Tcp::default();
        /// Plain HTTP listener that answers every request with 308 to https.
        http_redirect: HttpRedirect => HttpRedirect { address: address.clone(), ..HttpRedirect::default() };
        /// Certificates and client authentication.
        tls: ListenTls = ListenTls::default(), required(), may_report(NO_PAIR);
    }
    derived {
        /// Path of the listener in the file: `listen` or `listeners[<i>]`.
        key: String;
    }
    finalize Listener::finalize
}

impl ListItem for Listener {}

impl Listener {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        self.key.clone_from(&mapping.reader.path);
        for address in [&mut self.address, &mut self.http_redirect.address] {
            if let Some(inner) = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
                *address = inner.to_owned();
            }
        }
    }
}

/// Returns `host:port`, with brackets around IPv6.
pub fn join_host_port(host: &str, port: u16) -> String {
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns address and port in a normalized form, to compare sockets.
pub(crate) fn socket_name(address: &str, port: u16) -> String {
    let literal = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    match literal.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => join_host_port(address, port).to_ascii_lowercase(),
    }
}

block! {
    /// The `alt-svc` field of responses over TCP.
    pub struct AltSvc {
        /// Whether it is sent.
        enabled: bool = true;
        /// The port that is advertised.
        port: u16 = 9889, range(1, 65_535, PORT_RANGE), default("`port`");
        /// How long clients may cache it.
        max_age: Duration = Duration::from_secs(86_400), seconds();
    }
}

block! {
    /// HTTP/2 and HTTP/1.1 over TLS on the same address and port number.
    pub struct Tcp {
        /// Whether TCP clients are served.
        enabled: bool = true;
        /// `true`: a failed TCP bind stops the start instead of warning.
        required: bool = false;
        /// TCP connections of this listener.
        max_connections: usize = 10_000, positive();
        /// PROXY v1 and v2 in front of TLS.
        proxy_protocol: ProxyProtocol = ProxyProtocol::default();
    }
}

block! {
    /// The PROXY protocol on TCP.
    pub struct ProxyProtocol {
        /// Whether a PROXY header is expected from the trusted sources.
        enabled: bool = false;
        /// Sources that must send the header. It is not parsed from others.
        trusted_sources: Vec<Network> = Vec::new(), invalid(SOURCES_BAD), may_report(SOURCES_EMPTY);
    }
    finalize |block: &mut ProxyProtocol, mapping: &mut Mapping<'_, '_>| {
        let named = !block.enabled || !block.trusted_sources.is_empty() || mapping.any_failed("trusted_sources");
        mapping.require(named, &["trusted_sources"], SOURCES_EMPTY, &[]);
    }
}

block! {
    /// Plain HTTP listener that answers every request with 308 to https.
    pub struct HttpRedirect {
        /// Whether it listens.
        enabled: bool = false;
        /// Address that it listens on.
        address: String = "0.0.0.0".to_owned(), check(is_not_blank, ADDRESS), check(is_host, NO_HOST),
            default("`address`");
        /// TCP port.
        port: u16 = 80, range(1, 65_535, PORT), may_report(texts::PORT_BUSY), may_report(texts::TCP_BIND);
    }
}
