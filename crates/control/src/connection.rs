//! Accepts connections and serves HTTP/1.1 on them, within the limits of the endpoint.

use crate::{
    access::Ends,
    admin::ConnectionLimits,
    answer::Answer,
    open_connections::{OpenConnections, Slot, Taken},
    unread::Unread,
};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select,
    sync::{Notify, watch},
    task,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Pause after a failed accept: the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time after the limit of a connection in which a response that has begun may end.
const GRACE: Duration = Duration::from_secs(5);

/// Time in which a connection gets its first request when the listener was left.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// What an endpoint is.
pub(crate) trait Serve: Send + Sync + 'static {
    /// The name in log lines.
    const NAME: &'static str;

    fn limits(&self) -> ConnectionLimits;
    fn tls(&self) -> Option<Arc<ServerConfig>>;
    /// The address in the configuration.
    fn bound(&self) -> &str;
    /// Counts a connection that was closed because there were too many: the new one, or an idle one in its favour.
    fn on_refused(&self);
    /// `slot` is to be told when the request is complete and its execution may take long.
    fn answer(&self, request: Request<Incoming>, ends: &Ends, slot: &Slot) -> impl Future<Output = Answer> + Send;
}

/// Set when no more connections are to be accepted, and those that are open must end.
type Leave = watch::Receiver<bool>;

/// Waits until it is set, or the control plane is dropped.
async fn left(leave: &mut Leave) {
    let _dropped = leave.wait_for(|leave| *leave).await;
}

/// Serves the connections of a listener. A panic outside of them is logged, and the listener is served again.
pub(crate) async fn serve<S: Serve>(listener: TcpListener, site: Arc<S>, leave: Leave) {
    let (listener, shared) =
        (Arc::new(listener), Arc::new(Shared { site, open: Arc::default(), unread: Unread::default() }));
    loop {
        let accepting = accept(listener.clone(), shared.clone(), leave.clone());
        match task::spawn(accepting).await {
            Err(error) if error.is_panic() => tracing::error!("Background task '{}' panicked", S::NAME),
            _ => return, // the listener is left, or the runtime stops
        }
    }
}

/// What the connections of an endpoint share.
struct Shared<S> {
    site: Arc<S>,
    open: Arc<OpenConnections>,
    unread: Unread,
}

async fn accept<S: Serve>(listener: Arc<TcpListener>, shared: Arc<Shared<S>>, mut leave: Leave) {
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = left(&mut leave) => return,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let limits = shared.site.limits();
        let Taken { slot, is_at_limit } = shared.open.take(limits.connections, Instant::now());
        if is_at_limit {
            shared.site.on_refused();
        }
        let Some(slot) = slot else { continue };
        let (shared, leave) = (shared.clone(), leave.clone());
        task::spawn(async move {
            // Responses are small and complete.
            let _ignored = stream.set_nodelay(true);
            let deadline = limits.duration.saturating_add(GRACE);
            select! {
                _elapsed = timeout(deadline, secure(stream, peer, &shared, &slot, limits.duration, leave)) => {}
                () = slot.closed() => {}
            }
        });
    }
}

/// Serves a connection, over TLS if the endpoint has a certificate.
async fn secure<S: Serve>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared<S>,
    slot: &Slot,
    duration: Duration,
    leave: Leave,
) {
    let Ok(local) = stream.local_addr() else { return };
    let site = &shared.site;
    let tls = site.tls();
    let ends = Ends { peer: peer.ip(), local: local.ip(), bound: site.bound().to_owned(), is_tls: tls.is_some() };
    let Some(tls) = tls else { return exchange(stream, shared, slot, ends, duration, leave).await };
    match timeout(duration, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => exchange(stream, shared, slot, ends, duration, leave).await,
        Ok(Err(error)) => tracing::debug!("{}: TLS handshake with {peer} failed: {error}", S::NAME),
        Err(_elapsed) => {}
    }
}

async fn exchange<S: Serve>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    shared: &Shared<S>,
    slot: &Slot,
    ends: Ends,
    duration: Duration,
    mut leave: Leave,
) {
    let (ends, begun) = (&ends, &Notify::new());
    let service = service_fn(|request| async move {
        begun.notify_one();
        slot.set_idle(Some(Instant::now()));
        let answer = shared.unread.count(shared.site.answer(request, ends, slot).await).await;
        slot.set_idle(Some(Instant::now()));
        Ok::<_, Infallible>(answer)
    });
    // `duration` also limits the time for a head.
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    select! {
        _ended = connection.as_mut() => return,
        () = sleep(duration) => {}
        () = left(&mut leave) => select! {
            _ended = connection.as_mut() => return,
            // The first request of a new connection may be on its way.
            () = begun.notified() => {}
            () = sleep(FIRST_REQUEST) => {}
        },
    }
    connection.as_mut().graceful_shutdown();
    let _ended = connection.await;
}
