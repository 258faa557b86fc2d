//! One connection attempt: name resolution, TCP by Happy Eyeballs (RFC 8305), TLS with ALPN.
//!
//! The attempt is a future. The caller applies the timeout and drops the future to cancel it.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{io::BufReader, net::TcpStream, time::Sleep};
use tokio_rustls::TlsConnector;

use crate::{
    failure::{ConnectFailure, FailureKind},
    options::{BackendSpec, Protocol, Scheme},
    resolve,
    socket::{PeekStream, Socket, TLS_READ_AHEAD},
};

/// Delay before the next address is tried in parallel (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

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

#[derive(Clone)]
pub(crate) struct ConnectTarget {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) protocol: Protocol,
}

#[derive(Clone)]
pub(crate) enum Security {
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
    pub(crate) fn new(spec: &BackendSpec) -> Self {
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
        Self { host: spec.host.clone(), port: spec.port, security, protocol: spec.protocol }
    }
}

/// A connection after TCP and, if used, the TLS handshake.
pub(crate) struct Established {
    pub(crate) socket: Socket,
    /// To be tried first by the next attempt.
    pub(crate) addresses: Rc<[SocketAddr]>,
    pub(crate) detected: Option<DetectedScheme>,
    /// `None` if the peer's answer to the HTTP/2 preface decides.
    pub(crate) version: Option<HttpVersion>,
}

/// Results of earlier attempts of an origin.
pub(crate) struct ConnectHints {
    /// Addresses of an earlier success. The name is resolved again if none of them answers.
    pub(crate) addresses: Option<Rc<[SocketAddr]>>,
    pub(crate) detected: Option<DetectedScheme>,
    /// The HTTP version on cleartext.
    pub(crate) version: Option<HttpVersion>,
    /// Number of earlier attempts.
    pub(crate) turn: usize,
}

/// Makes one connection.
pub(crate) async fn establish(target: Rc<ConnectTarget>, hints: ConnectHints) -> Result<Established, ConnectFailure> {
    let ConnectHints { addresses: known, detected, version, turn } = hints;
    let cleartext = |(stream, addresses), detected| Established {
        socket: Socket::Plain(stream),
        addresses,
        detected,
        version: match target.protocol {
            Protocol::H2 => Some(HttpVersion::Http2),
            Protocol::Http1 => Some(HttpVersion::Http1),
            Protocol::Auto => version,
        },
    };
    let (stream, addresses) = connect_tcp(&target, known, turn).await?;
    let (connector, name) = match (&target.security, detected) {
        (Security::Cleartext, _) => return Ok(cleartext((stream, addresses), None)),
        (Security::Detect(..), Some(DetectedScheme::Cleartext)) => return Ok(cleartext((stream, addresses), detected)),
        (Security::Tls(connector, name) | Security::Detect(connector, name), _) => (connector, name),
    };
    match tls_handshake(stream, connector, name, target.protocol).await {
        Ok((socket, version)) => {
            Ok(Established { socket, addresses, detected: Some(DetectedScheme::Tls), version: Some(version) })
        }
        Err(TlsError::NotTls(_)) if matches!(target.security, Security::Detect(..)) && detected.is_none() => {
            let connected = connect_tcp(&target, Some(addresses), turn).await?;
            Ok(cleartext(connected, Some(DetectedScheme::Cleartext)))
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

async fn connect_tcp(
    target: &ConnectTarget,
    known: Option<Rc<[SocketAddr]>>,
    turn: usize,
) -> Result<(TcpStream, Rc<[SocketAddr]>), ConnectFailure> {
    let (stream, addresses) = connect_any(target, known, turn).await?;
    // Small frames must not wait for acknowledgements. Without the option the connection is only slower.
    let _ = stream.set_nodelay(true);
    Ok((stream, addresses))
}

async fn connect_any(
    target: &ConnectTarget,
    known: Option<Rc<[SocketAddr]>>,
    turn: usize,
) -> Result<(TcpStream, Rc<[SocketAddr]>), ConnectFailure> {
    if let Some(address) = resolve::literal(&target.host, target.port) {
        return Ok((dial(vec![address]).await?, Rc::from([address])));
    }
    let failure = match &known {
        Some(addresses) => match dial(resolve::order(addresses, turn)).await {
            Ok(stream) => return Ok((stream, Rc::clone(addresses))),
            Err(failure) => Some(failure),
        },
        None => None,
    };
    let found = resolve::lookup(&target.host, target.port)
        .await
        .map_err(|error| ConnectFailure { kind: FailureKind::Dns, text: error.to_string() })?;
    match failure {
        // The name still resolves to the addresses that have just failed.
        Some(failure) if known.is_some_and(|known| found.iter().all(|address| known.contains(address))) => Err(failure),
        _ => Ok((dial(resolve::order(&found, turn)).await?, Rc::from(found))),
    }
}

type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// Connects to the first of `addresses` that answers. Each is tried when the one before it has failed, or after
/// [`STAGGER`].
async fn dial(addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectFailure> {
    let mut rest = addresses.into_iter();
    let mut running: Vec<Dialing> = Vec::new();
    let mut failure = ConnectFailure::new(FailureKind::Dns);
    loop {
        let next = rest.next();
        if next.is_none() && running.is_empty() {
            return Err(failure);
        }
        let mut head_start = (rest.len() > 0).then(|| Box::pin(tokio::time::sleep(STAGGER)));
        running.extend(next.map(|address| Box::pin(TcpStream::connect(address)) as Dialing));
        match poll_fn(|cx| poll_dials(cx, &mut running, head_start.as_mut())).await {
            Some(Ok(stream)) => return Ok(stream),
            // "Connection refused" is more useful than "unreachable" of the other address family.
            Some(Err(error)) if failure.kind != FailureKind::Refused => failure = ConnectFailure::from_tcp(&error),
            Some(Err(_)) | None => {}
        }
    }
}

/// Returns the result of a connect that has finished, or `None` when the delay before the next one is over.
fn poll_dials(
    cx: &mut Context<'_>,
    running: &mut Vec<Dialing>,
    head_start: Option<&mut Pin<Box<Sleep>>>,
) -> Poll<Option<io::Result<TcpStream>>> {
    let mut ended = None;
    running.retain_mut(|dialing| match dialing.as_mut().poll(cx) {
        _ if matches!(ended, Some(Ok(_))) => true,
        Poll::Ready(result) => {
            ended = Some(result);
            false
        }
        Poll::Pending => true,
    });
    match (ended, head_start) {
        (Some(result), _) => Poll::Ready(Some(result)),
        (None, Some(head_start)) => head_start.as_mut().poll(cx).map(|()| None),
        (None, None) => Poll::Pending,
    }
}
