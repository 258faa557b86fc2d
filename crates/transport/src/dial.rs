//! TCP connections to the addresses of a backend, by Happy Eyeballs (RFC 8305).

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

use crate::{
    failure::{ConnectFailure, FailureKind},
    names::{NameTable, Resolution, WatchedName},
    resolve,
};

/// Delay before the next address is tried in parallel (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// How long a failure waits for a lookup that may find other addresses.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(500);

/// Where a backend is.
pub(crate) struct Destination {
    host: Host,
    port: u16,
}

enum Host {
    Address(IpAddr),
    Name(WatchedName),
}

/// An established TCP connection.
pub(crate) struct Dialed {
    pub(crate) stream: TcpStream,
    pub(crate) peer: IpAddr,
    /// The addresses that were tried before and have not answered.
    pub(crate) failed: Vec<IpAddr>,
}

impl Destination {
    /// Creates a destination. If `host` is a name, `waker` is woken when its addresses change.
    pub(crate) fn new(host: &str, port: u16, names: &NameTable, waker: Waker) -> Self {
        let host = match resolve::literal(host) {
            Some(address) => Host::Address(address),
            None => Host::Name(names.watch(host, waker)),
        };
        Self { host, port }
    }

    /// Returns the addresses of a name; `None` for an address.
    pub(crate) fn addresses(&self) -> Option<Arc<[IpAddr]>> {
        match &self.host {
            Host::Address(_) => None,
            Host::Name(name) => Some(name.current().0.addresses),
        }
    }

    /// Connects to one of the addresses. Looks a name up if it has no address or if none of them answers.
    pub(crate) async fn connect(&self, turn: usize, avoid: &[IpAddr]) -> Result<Dialed, ConnectFailure> {
        let name = match &self.host {
            Host::Address(address) => return self.connect_to(*address).await,
            Host::Name(name) => name,
        };
        let (known, version) = name.current();
        let mut failure = None;
        if !known.addresses.is_empty() {
            match dial(resolve::order(&known.addresses, self.port, turn, avoid)).await {
                Ok(dialed) => return Ok(dialed),
                Err(refused) => failure = Some(refused),
            }
        }
        name.request_lookup();
        // The waker of the destination polls this task.
        let looked_up = poll_fn(|_| if name.version() > version { Poll::Ready(()) } else { Poll::Pending });
        if failure.is_none() {
            looked_up.await;
        } else if timeout(LOOKUP_PATIENCE, looked_up).await.is_err() {
            return Err(failure.unwrap_or_else(|| ConnectFailure::new(FailureKind::Dns)));
        }
        let (Resolution { addresses, error }, _) = name.current();
        let new: Vec<_> = addresses.iter().copied().filter(|address| !known.addresses.contains(address)).collect();
        match failure {
            Some(failure) if new.is_empty() => Err(failure),
            _ if new.is_empty() => {
                let text = error.map_or_else(|| FailureKind::Dns.to_string(), |error| error.to_string());
                Err(ConnectFailure { kind: FailureKind::Dns, text })
            }
            _ => dial(resolve::order(&new, self.port, turn, avoid)).await,
        }
    }

    /// Connects to this address.
    pub(crate) async fn connect_to(&self, address: IpAddr) -> Result<Dialed, ConnectFailure> {
        dial(vec![SocketAddr::new(address, self.port)]).await
    }
}

/// A connection attempt to one address.
struct Dialing {
    address: IpAddr,
    connect: Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>,
}

/// Connects to the first of `addresses` that answers. Each is tried when the one before it has failed, or after
/// [`STAGGER`].
async fn dial(addresses: Vec<SocketAddr>) -> Result<Dialed, ConnectFailure> {
    let mut rest = addresses.into_iter();
    let mut running: Vec<Dialing> = Vec::new();
    let mut failed = Vec::new();
    let mut failure = ConnectFailure::new(FailureKind::Dns);
    loop {
        let next = rest.next();
        if next.is_none() && running.is_empty() {
            return Err(failure);
        }
        let mut head_start = (rest.len() > 0).then(|| Box::pin(sleep(STAGGER)));
        running.extend(
            next.map(|address| Dialing { address: address.ip(), connect: Box::pin(TcpStream::connect(address)) }),
        );
        match poll_fn(|cx| poll_dials(cx, &mut running, head_start.as_mut())).await {
            Some((peer, Ok(stream))) => {
                // Small frames must not wait for acknowledgements. Without the option the connection is only slower.
                let _ = stream.set_nodelay(true);
                failed.extend(running.iter().map(|dialing| dialing.address));
                return Ok(Dialed { stream, peer, failed });
            }
            Some((address, Err(error))) => {
                failed.push(address);
                // "Connection refused" is more useful than "unreachable" of the other address family.
                if failure.kind != FailureKind::Refused {
                    failure = ConnectFailure::from_tcp(&error);
                }
            }
            None => {}
        }
    }
}

/// Returns the result of a connect that has finished, or `None` when the delay before the next one is over.
fn poll_dials(
    cx: &mut Context<'_>,
    running: &mut Vec<Dialing>,
    head_start: Option<&mut Pin<Box<Sleep>>>,
) -> Poll<Option<(IpAddr, io::Result<TcpStream>)>> {
    let ended = running.iter_mut().enumerate().find_map(|(at, dialing)| match dialing.connect.as_mut().poll(cx) {
        Poll::Ready(result) => Some((at, result)),
        Poll::Pending => None,
    });
    match (ended, head_start) {
        (Some((at, result)), _) => Poll::Ready(Some((running.remove(at).address, result))),
        (None, Some(head_start)) => head_start.as_mut().poll(cx).map(|()| None),
        (None, None) => Poll::Pending,
    }
}
