//! One connection attempt: the addresses of the backend, TCP, TLS with ALPN.
//!
//! The attempt is a future. The caller applies the timeout and drops the future to cancel it.

use std::{io, net::IpAddr, rc::Rc, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{io::BufReader, net::TcpStream};
use tokio_rustls::TlsConnector;

use crate::{
    dial::{Destination, Dialed},
    failure::{ConnectFailure, FailureKind},
    options::{BackendSpec, Protocol, Scheme},
    socket::{PeekStream, Socket, TLS_READ_AHEAD},
};

/// ALPN identifiers (RFC 9113 section 3.2, RFC 7301 section 6).
const ALPN_H2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The record types with which a TLS peer may answer a `ClientHello`: alert and handshake (RFC 8446 section 5.1).
const TLS_ANSWERS: std::ops::RangeInclusive<u8> = 21..=22;

/// Errors that mean that the peer has closed the connection. A timeout is not among them: it says nothing about TLS.
const CLOSED: [io::ErrorKind; 4] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
];

/// Logged if the peer does not speak TLS although the address says so.
const NOT_TLS: &str = "backend speaks cleartext; write http://";

pub(crate) struct ConnectTarget {
    pub(crate) destination: Destination,
    security: Security,
    protocol: Protocol,
}

enum Security {
    Cleartext,
    Tls(TlsConnector, ServerName<'static>),
    /// TLS, or cleartext if the peer does not speak TLS.
    Detect(TlsConnector, ServerName<'static>),
}

/// The scheme that an earlier attempt detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectedScheme {
    Cleartext,
    Tls,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
}

impl ConnectTarget {
    pub(crate) fn new(spec: &BackendSpec, destination: Destination) -> Self {
        let connector = |config: &ClientConfig| {
            let offered: &[&[u8]] = match spec.protocol {
                Protocol::H2 => &[ALPN_H2],
                Protocol::Http1 => &[ALPN_HTTP1],
                Protocol::Auto => &[ALPN_H2, ALPN_HTTP1],
            };
            let mut config = config.clone();
            config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let security = match &spec.scheme {
            Scheme::Http => Security::Cleartext,
            Scheme::Https { tls, server_name } => Security::Tls(connector(tls), server_name.clone()),
            Scheme::Detect { tls, server_name } => Security::Detect(connector(tls), server_name.clone()),
        };
        Self { destination, security, protocol: spec.protocol }
    }
}

/// A connection after TCP and, if used, the TLS handshake.
pub(crate) struct Established {
    pub(crate) socket: Socket,
    pub(crate) peer: IpAddr,
    /// The addresses that were tried before and have not answered.
    pub(crate) failed: Vec<IpAddr>,
    pub(crate) detected: Option<DetectedScheme>,
    /// `None` if the peer's answer to the HTTP/2 preface decides.
    pub(crate) version: Option<HttpVersion>,
}

/// Results of earlier attempts of an origin.
pub(crate) struct ConnectHints {
    pub(crate) detected: Option<DetectedScheme>,
    /// The HTTP version on cleartext.
    pub(crate) version: Option<HttpVersion>,
    /// Number of earlier attempts.
    pub(crate) turn: usize,
    /// Addresses that have not answered, to be tried last.
    pub(crate) avoid: Vec<IpAddr>,
}

/// Makes one connection.
pub(crate) async fn establish(target: Rc<ConnectTarget>, hints: ConnectHints) -> Result<Established, ConnectFailure> {
    let ConnectHints { detected, version, turn, avoid } = hints;
    let cleartext = |dialed: Dialed, detected| Established {
        socket: Socket::Plain(dialed.stream),
        peer: dialed.peer,
        failed: dialed.failed,
        detected,
        version: match target.protocol {
            Protocol::H2 => Some(HttpVersion::Http2),
            Protocol::Http1 => Some(HttpVersion::Http1),
            Protocol::Auto => version,
        },
    };
    let dialed = target.destination.connect(turn, &avoid).await?;
    let (connector, name) = match (&target.security, detected) {
        (Security::Cleartext, _) => return Ok(cleartext(dialed, None)),
        (Security::Detect(..), Some(DetectedScheme::Cleartext)) => return Ok(cleartext(dialed, detected)),
        (Security::Tls(connector, name) | Security::Detect(connector, name), _) => (connector, name),
    };
    let Dialed { stream, peer, failed } = dialed;
    match tls_handshake(stream, connector, name, target.protocol).await {
        Ok((socket, version)) => {
            Ok(Established { socket, peer, failed, detected: Some(DetectedScheme::Tls), version: Some(version) })
        }
        Err(TlsError::NotTls(_)) if matches!(target.security, Security::Detect(..)) && detected.is_none() => {
            let dialed = Dialed { failed, ..target.destination.connect_to(peer).await? };
            Ok(cleartext(dialed, Some(DetectedScheme::Cleartext)))
        }
        Err(TlsError::NotTls(failure) | TlsError::Tls(failure)) => Err(failure),
    }
}

/// Why the TLS handshake failed.
enum TlsError {
    /// The peer does not speak TLS: it answered with something else, or closed without an answer
    /// (docs/reference/configuration.md#upstreamubackends).
    NotTls(ConnectFailure),
    /// The peer speaks TLS; negotiation or verification failed.
    Tls(ConnectFailure),
}

async fn tls_handshake(
    stream: TcpStream,
    connector: &TlsConnector,
    name: &ServerName<'static>,
    protocol: Protocol,
) -> Result<(Socket, HttpVersion), TlsError> {
    let stream = BufReader::with_capacity(TLS_READ_AHEAD, PeekStream::new(stream));
    let shaken = connector.connect(name.clone(), stream).into_fallible().await;
    let stream = shaken.map_err(|(error, stream)| {
        let mut failure = ConnectFailure::from_tls(&error);
        let is_tls = match stream.get_ref().first() {
            Some(first) if TLS_ANSWERS.contains(&first) => true,
            Some(_) => {
                NOT_TLS.clone_into(&mut failure.text);
                false
            }
            None => !CLOSED.contains(&error.kind()),
        };
        if is_tls { TlsError::Tls(failure) } else { TlsError::NotTls(failure) }
    })?;
    let version = match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_H2) => HttpVersion::Http2,
        // A server that knows no ALPN speaks HTTP/1.1.
        _ if protocol != Protocol::H2 => HttpVersion::Http1,
        _ => return Err(TlsError::Tls(ConnectFailure::new(FailureKind::NoCommonProtocol))),
    };
    Ok((Socket::Tls(Box::new(stream)), version))
}
