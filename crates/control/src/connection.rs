//! Accepts connections and serves HTTP/1.1 on them, within the limits of the endpoint.

use crate::{access::Ends, admin::ConnectionLimits, answer::Answer};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    select, task,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Pause after a failed accept: the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time after the limit of a connection in which a response that has begun may end.
const GRACE: Duration = Duration::from_secs(5);

/// What an endpoint is.
pub(crate) trait Serve: Send + Sync + 'static {
    /// The name in log lines.
    const NAME: &'static str;

    fn limits(&self) -> ConnectionLimits;
    fn tls(&self) -> Option<Arc<ServerConfig>>;
    /// The address in the configuration.
    fn bound(&self) -> &str;
    /// Counts a connection that was closed because there were too many.
    fn on_refused(&self);
    fn answer(&self, request: Request<Incoming>, ends: &Ends) -> impl Future<Output = Answer> + Send;
}

/// Serves the connections of a listener. A panic outside of them is logged, and the listener is served again.
pub(crate) async fn serve<S: Serve>(listener: TcpListener, site: Arc<S>) {
    let (listener, open) = (Arc::new(listener), Arc::new(AtomicUsize::new(0)));
    loop {
        let accepting = accept(listener.clone(), site.clone(), open.clone());
        match task::spawn(accepting).await {
            Err(error) if error.is_panic() => tracing::error!("Background task '{}' panicked", S::NAME),
            _ => return, // the runtime stops
        }
    }
}

async fn accept<S: Serve>(listener: Arc<TcpListener>, site: Arc<S>, open: Arc<AtomicUsize>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let limits = site.limits();
        let Some(slot) = Slot::take(&open, limits.connections) else {
            site.on_refused();
            continue;
        };
        let site = site.clone();
        task::spawn(async move {
            let _slot = slot;
            // Responses are small and complete.
            let _ignored = stream.set_nodelay(true);
            let deadline = limits.duration.saturating_add(GRACE);
            let _elapsed = timeout(deadline, secure(stream, peer, &*site, limits.duration)).await;
        });
    }
}

/// Serves a connection, over TLS if the endpoint has a certificate.
async fn secure<S: Serve>(stream: TcpStream, peer: SocketAddr, site: &S, duration: Duration) {
    let Ok(local) = stream.local_addr() else { return };
    let tls = site.tls();
    let ends = Ends { peer: peer.ip(), local: local.ip(), bound: site.bound().to_owned(), is_tls: tls.is_some() };
    let Some(tls) = tls else { return exchange(stream, site, ends, duration).await };
    match timeout(duration, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => exchange(stream, site, ends, duration).await,
        Ok(Err(error)) => tracing::debug!("{}: TLS handshake with {peer} failed: {error}", S::NAME),
        Err(_elapsed) => {}
    }
}

async fn exchange<S: Serve>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    site: &S,
    ends: Ends,
    duration: Duration,
) {
    let ends = &ends;
    let service = service_fn(|request| async move { Ok::<_, Infallible>(site.answer(request, ends).await) });
    // `duration` also limits the time for a head.
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    select! {
        _ended = connection.as_mut() => return,
        () = sleep(duration) => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}

/// Counts a connection until it is dropped.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(open: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let slot = Self(open.clone());
        // The count includes this one even if it is refused; dropping it reverts that.
        (slot.0.fetch_add(1, AcqRel) < limit).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}
