//! The command line of the load generator, and its validation. Rejects targets that are not on loopback.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use clap::Parser;
use http::{Method, Uri, uri::Scheme};

use super::tls::Trust;

/// Sends HTTP/3 requests to a server on this machine and reports the results.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", version, about)]
pub struct Arguments {
    /// URL to request: https://127.0.0.1:PORT/PATH, or another name of loopback.
    pub url: String,
    /// Number of connections, each with its own UDP port.
    #[arg(long, short = 'c', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Concurrent requests per connection.
    #[arg(long, short = 'm', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub streams: u32,
    /// Total number of requests.
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub requests: u64,
    /// Method.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// Body length of each request; 0: no body.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    pub body_bytes: u64,
    /// Time limit in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Certificates (PEM) to trust: authorities, or the certificate of the server.
    #[arg(long, value_name = "FILE", required_unless_present = "insecure", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Trust any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// Name for SNI and verification, if not the host of the URL.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Process id of the server, to report its CPU time per request.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Number of requests that may fail without exit code 1.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub max_failed: u64,
    /// Number of threads of this program.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// Validated arguments.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) address: SocketAddr,
    pub(super) server_name: String,
    pub(super) uri: Uri,
    pub(super) method: Method,
    pub(super) body: Body,
    pub(super) connections: u32,
    pub(super) streams: u32,
    pub(super) requests: u64,
    pub(super) timeout: Duration,
    pub(super) trust: Trust,
    pub(super) pid: Option<u32>,
}

/// Body of a request, which repeats one byte.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) bytes: u64,
    piece: Bytes,
}

impl Body {
    /// Maximum number of bytes per call.
    const PIECE: u64 = 64 * 1024;

    fn new(bytes: u64) -> Self {
        Self { bytes, piece: vec![b'b'; bytes.min(Self::PIECE) as usize].into() }
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let whole = self.bytes.checked_div(Self::PIECE).unwrap_or_default();
        let rest = (self.bytes % Self::PIECE) as usize;
        let whole = (0..whole).map(|_| self.piece.clone());
        whole.chain((rest > 0).then(|| self.piece.slice(..rest)))
    }
}

/// Why the arguments are invalid.
#[derive(Debug)]
pub enum Invalid {
    /// Not an `https` URL with a host.
    Url(String),
    /// The host has no address, or an address that is not on loopback.
    NotLoopback(String),
    /// Invalid method.
    Method(String),
    /// The file contains no certificates.
    Certificates(PathBuf, String),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "`{url}` is no URL like https://127.0.0.1:9889/path"),
            Self::NotLoopback(host) => write!(f, "`{host}` is not on loopback, and nothing else is put under load"),
            Self::Method(method) => write!(f, "`{method}` is no method"),
            Self::Certificates(file, reason) => write!(f, "{}: {reason}", file.display()),
        }
    }
}

impl std::error::Error for Invalid {}

impl TryFrom<&Arguments> for Plan {
    type Error = Invalid;

    fn try_from(arguments: &Arguments) -> Result<Self, Invalid> {
        let no_url = || Invalid::Url(arguments.url.clone());
        let uri: Uri = arguments.url.parse().map_err(|_| no_url())?;
        let host = uri.host().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)).ok_or_else(no_url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = loopback(host, uri.port_u16().unwrap_or(443))?;
        let method = Method::from_bytes(arguments.method.as_bytes());
        Ok(Self {
            address,
            server_name: arguments.server_name.clone().unwrap_or_else(|| host.to_owned()),
            method: method.map_err(|_| Invalid::Method(arguments.method.clone()))?,
            body: Body::new(arguments.body_bytes),
            connections: arguments.connections,
            streams: arguments.streams,
            requests: arguments.requests,
            timeout: Duration::from_secs(arguments.timeout),
            trust: match &arguments.ca {
                Some(file) => Trust::read(file).map_err(|reason| Invalid::Certificates(file.clone(), reason))?,
                None => Trust::Any,
            },
            pid: arguments.pid,
            uri,
        })
    }
}

/// Returns the first address of the host, if all its addresses are on loopback.
fn loopback(host: &str, port: u16) -> Result<SocketAddr, Invalid> {
    let refused = || Invalid::NotLoopback(host.to_owned());
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(|_| refused())?.collect();
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    addresses.iter().find(|_| addresses.iter().all(is_loopback)).copied().ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let arguments =
            Arguments::try_parse_from([&["load"], arguments].concat()).map_err(|error| error.to_string())?;
        Plan::try_from(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn only_loopback_is_put_under_load() {
        for url in ["https://192.0.2.1/", "https://[2001:db8::1]:443/", "https://0.0.0.0/", "https://[::]/"] {
            assert!(plan(&["--insecure", url]).unwrap_err().contains("not on loopback"), "{url}");
        }
        for url in ["https://127.0.0.1:4433/x", "https://127.9.9.9/", "https://[::1]:4433/"] {
            assert!(plan(&["--insecure", url]).unwrap().address.ip().is_loopback(), "{url}");
        }
    }

    #[test]
    fn arguments_are_bounded_and_complete() {
        assert!(plan(&["https://127.0.0.1/"]).unwrap_err().contains("--ca"), "trust is chosen, never assumed");
        assert!(plan(&["--insecure", "http://127.0.0.1/"]).unwrap_err().contains("no URL"));
        assert!(plan(&["--insecure", "--method", "a b", "https://127.0.0.1/"]).unwrap_err().contains("no method"));
        for wrong in [["-c", "0"], ["-n", "10000001"], ["-m", "1001"], ["--timeout", "0"]] {
            plan(&[&["--insecure", "https://127.0.0.1/"], &wrong[..]].concat()).unwrap_err();
        }
    }

    #[test]
    fn pieces_make_the_body() {
        for bytes in [0, 1, Body::PIECE - 1, Body::PIECE, Body::PIECE + 1, 3 * Body::PIECE] {
            let pieces: Vec<Bytes> = Body::new(bytes).pieces().collect();
            assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>() as u64, bytes);
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
