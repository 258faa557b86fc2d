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
    resolve,
    socket::{Socket, TLS_READ_AHEAD},
};

/// Head start of an address over the next one (RFC 8305 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The ALPN name of HTTP/2 over TLS (RFC 9113 3.2).
const ALPN_H2: &[u8] = b"h2";

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Route {
    /// A route whose TLS offers exactly HTTP/2.
    pub(crate) fn new(host: String, port: u16, tls: Option<(&ClientConfig, ServerName<'static>)>) -> Self {
        let tls = tls.map(|(config, name)| {
            let mut config = config.clone();
            config.alpn_protocols = vec![ALPN_H2.to_vec()];
            (TlsConnector::from(Arc::new(config)), name)
        });
        Self { host, port, tls }
    }
}

/// A connection that stands.
pub(crate) struct Established {
    pub(crate) socket: Socket,
    /// The addresses of the name, to be tried first next time.
    pub(crate) addresses: Rc<[SocketAddr]>,
}

/// Makes one connection. `known` are the addresses that answered before; they are looked up again when none of them does.
/// `turn` counts the attempts of this origin.
pub(crate) async fn establish(
    route: Rc<Route>,
    known: Option<Rc<[SocketAddr]>>,
    turn: usize,
) -> Result<Established, ConnectFailure> {
    let (stream, addresses) = reach(&route, known, turn).await?;
    // Small frames must not wait for acknowledgements; a socket that cannot do it works all the same.
    let _ = stream.set_nodelay(true);
    let socket = match &route.tls {
        None => Socket::Plain(stream),
        Some((connector, name)) => {
            let stream = BufReader::with_capacity(TLS_READ_AHEAD, stream);
            let stream =
                connector.connect(name.clone(), stream).await.map_err(|error| ConnectFailure::from_tls(&error))?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
                return Err(ConnectFailure::new(FailureKind::NoCommonProtocol));
            }
            Socket::Tls(Box::new(stream))
        }
    };
    Ok(Established { socket, addresses })
}

/// TCP to one of the origin's addresses.
async fn reach(
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
