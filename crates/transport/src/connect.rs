//! One connection attempt: name, TCP by happy eyeballs (RFC 8305), TLS with ALPN.
//!
//! A future that its owner bounds in time and drops to cancel. Does not retry, remembers nothing, speaks no HTTP.

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
    options::Scheme,
    resolve,
    socket::{PeekStream, Socket, TLS_READ_AHEAD},
};

/// Head start of an address over the next one (RFC 8305 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The ALPN name of HTTP/2 over TLS (RFC 9113 3.2).
const ALPN_H2: &[u8] = b"h2";

/// The content types of what a TLS peer may answer a `ClientHello` with: an alert, or its handshake (RFC 8446 5.1).
const TLS_ANSWERS: std::ops::RangeInclusive<u8> = 21..=22;

/// What a socket says when the peer has closed it. Silence is not among it: a timeout decides nothing.
const CLOSED: [io::ErrorKind; 4] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
];

/// What the operator is told of a peer that does not speak TLS although the address says so.
const NOT_TLS: &str = "backend speaks cleartext; write http://";

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
}

/// Whether connections use TLS.
#[derive(Clone)]
pub(crate) enum Security {
    Cleartext,
    Tls(TlsConnector, ServerName<'static>),
    /// TLS, or cleartext where the peer does not speak it.
    Detect(TlsConnector, ServerName<'static>),
}

/// The scheme that an earlier attempt detected, where the configuration does not say. Kept until an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetectedScheme {
    Cleartext,
    Tls,
}

impl Route {
    /// A route whose TLS offers exactly HTTP/2.
    pub(crate) fn new(host: String, port: u16, scheme: &Scheme) -> Self {
        let connector = |config: &ClientConfig| {
            let mut config = config.clone();
            config.alpn_protocols = vec![ALPN_H2.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        let security = match scheme {
            Scheme::Http => Security::Cleartext,
            Scheme::Https { tls, server_name } => Security::Tls(connector(tls), server_name.clone()),
            Scheme::Detect { tls, server_name } => Security::Detect(connector(tls), server_name.clone()),
        };
        Self { host, port, security }
    }
}

/// A connection that takes bytes: TCP, and TLS where it is used.
pub(crate) struct Established {
    pub(crate) socket: Socket,
    /// The addresses of the name, to be tried first next time.
    pub(crate) addresses: Rc<[SocketAddr]>,
    /// The detected scheme, where the configuration does not say.
    pub(crate) detected: Option<DetectedScheme>,
}

/// What earlier attempts of an origin have found out.
pub(crate) struct ConnectHints {
    /// The addresses that answered before; they are looked up again when none of them does.
    pub(crate) addresses: Option<Rc<[SocketAddr]>>,
    pub(crate) detected: Option<DetectedScheme>,
    /// Attempts so far.
    pub(crate) turn: usize,
}

/// Makes one connection.
pub(crate) async fn establish(route: Rc<Route>, hints: ConnectHints) -> Result<Established, ConnectFailure> {
    let ConnectHints { addresses: known, detected, turn } = hints;
    let (stream, addresses) = connect_tcp(&route, known, turn).await?;
    let (connector, name) = match (&route.security, detected) {
        (Security::Cleartext, _) => {
            return Ok(Established { socket: Socket::Plain(stream), addresses, detected: None });
        }
        (Security::Detect(..), Some(DetectedScheme::Cleartext)) => {
            return Ok(Established { socket: Socket::Plain(stream), addresses, detected });
        }
        (Security::Tls(connector, name) | Security::Detect(connector, name), _) => (connector, name),
    };
    match secure(stream, connector, name).await {
        Ok(socket) => Ok(Established { socket, addresses, detected: Some(DetectedScheme::Tls) }),
        Err(Refusal::NotTls(_)) if matches!(route.security, Security::Detect(..)) && detected.is_none() => {
            let (stream, addresses) = connect_tcp(&route, Some(addresses), turn).await?;
            Ok(Established { socket: Socket::Plain(stream), addresses, detected: Some(DetectedScheme::Cleartext) })
        }
        Err(Refusal::NotTls(failure) | Refusal::Tls(failure)) => Err(failure),
    }
}

/// Why there is no TLS.
enum Refusal {
    /// The peer answered with something else, or closed without an answer: it does not use TLS
    /// (docs/reference/configuration.md#upstreamubackends).
    NotTls(ConnectFailure),
    /// The peer speaks it and does not agree, or is not believed.
    Tls(ConnectFailure),
}

async fn secure(stream: TcpStream, connector: &TlsConnector, name: &ServerName<'static>) -> Result<Socket, Refusal> {
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
        if is_tls { Refusal::Tls(failure) } else { Refusal::NotTls(failure) }
    })?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
        return Err(Refusal::Tls(ConnectFailure::new(FailureKind::NoCommonProtocol)));
    }
    Ok(Socket::Tls(Box::new(stream)))
}

/// TCP to one of the origin's addresses.
async fn connect_tcp(
    route: &Route,
    known: Option<Rc<[SocketAddr]>>,
    turn: usize,
) -> Result<(TcpStream, Rc<[SocketAddr]>), ConnectFailure> {
    let (stream, addresses) = connect_any(route, known, turn).await?;
    // Small frames must not wait for acknowledgements; a socket that cannot do it works all the same.
    let _ = stream.set_nodelay(true);
    Ok((stream, addresses))
}

async fn connect_any(
    route: &Route,
    known: Option<Rc<[SocketAddr]>>,
    turn: usize,
) -> Result<(TcpStream, Rc<[SocketAddr]>), ConnectFailure> {
    if let Some(address) = resolve::literal(&route.host, route.port) {
        return Ok((dial(vec![address]).await?, Rc::from([address])));
    }
    let failure = match &known {
        Some(addresses) => match dial(resolve::order(addresses, turn)).await {
            Ok(stream) => return Ok((stream, Rc::clone(addresses))),
            Err(failure) => Some(failure),
        },
        None => None,
    };
    let found = resolve::lookup(&route.host, route.port)
        .await
        .map_err(|error| ConnectFailure { kind: FailureKind::Dns, text: error.to_string() })?;
    match failure {
        // The name still means what has just failed.
        Some(failure) if known.is_some_and(|known| found.iter().all(|address| known.contains(address))) => Err(failure),
        _ => Ok((dial(resolve::order(&found, turn)).await?, Rc::from(found))),
    }
}

type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

/// The first connection to any of `addresses`: each starts when the one before it failed or had its head start.
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
            // A refusal says more than a missing route of the other family.
            Some(Err(error)) if failure.kind != FailureKind::Refused => failure = ConnectFailure::from_tcp(&error),
            Some(Err(_)) | None => {}
        }
    }
}

/// One of the running dials that ended, or `None` when the head start of the last one is over.
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
