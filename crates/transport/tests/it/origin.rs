//! An origin built on the `h2` crate, which shares no code with the product. It answers by path.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{RecvStream, server};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

/// State shared with the test.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// `:scheme` of the last request.
    pub(crate) scheme: Mutex<String>,
    /// Notified when a request for `/hold` has arrived.
    pub(crate) held: Notify,
    /// Lets the origin read a held upload.
    pub(crate) open: Notify,
}

pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    pub(crate) board: Arc<Board>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Starts an origin that allows `streams` concurrent streams per connection.
pub(crate) async fn start(streams: u32, tls: Option<TlsAcceptor>) -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let board = Arc::new(Board::default());
    let shared = Arc::clone(&board);
    let accepting = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            shared.connections.fetch_add(1, Ordering::Relaxed);
            let (board, tls) = (Arc::clone(&shared), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => serve(socket, streams, board).await,
                    // A client that rejects the certificate ends the handshake.
                    Some(tls) => {
                        if let Ok(socket) = tls.accept(socket).await {
                            serve(socket, streams, board).await;
                        }
                    }
                }
            });
        }
    });
    Origin { addr, board, accepting }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, streams: u32, board: Arc<Board>) {
    let Ok(mut connection) = server::Builder::new().max_concurrent_streams(streams).handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        board.requests.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(answer(request, respond, Arc::clone(&board)));
    }
}

async fn answer(request: Request<RecvStream>, respond: server::SendResponse<Bytes>, board: Arc<Board>) {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    parts.uri.scheme_str().unwrap_or_default().clone_into(&mut board.scheme.lock().unwrap());
    // A client may reset the stream.
    let _ = match path.split('/').nth(1).unwrap() {
        "down" => down(path.rsplit('/').next().unwrap().parse().unwrap(), respond).await,
        "up" => up(body, respond).await,
        "hold" => {
            board.held.notify_one();
            board.open.notified().await;
            up(body, respond).await
        }
        "trailers" => trailers(respond),
        _ => small(&path, respond),
    };
}

fn small(path: &str, mut respond: server::SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    stream.send_data(Bytes::from(path.to_owned()), true)
}

fn trailers(mut respond: server::SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    stream.send_trailers(trailers)
}

async fn down(length: usize, mut respond: server::SendResponse<Bytes>) -> Result<(), h2::Error> {
    let response = Response::builder().header("content-length", length).body(()).unwrap();
    let mut stream = respond.send_response(response, false)?;
    let mut rest = PATTERN.slice(..length);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len().min(64 * 1024));
        match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => {
                let part = rest.split_to(room?.min(rest.len()));
                stream.send_data(part, rest.is_empty())?;
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

async fn up(mut body: RecvStream, mut respond: server::SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        received.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    let verdict = if received == pattern(received.len()) { "intact" } else { "damaged" };
    let mut stream = respond.send_response(Response::new(()), false)?;
    stream.send_data(Bytes::from(format!("{} {verdict}", received.len())), true)
}

/// Maximum length of a body.
pub(crate) const LONGEST: usize = 8 * 1024 * 1024;

/// Bytes without repetition, so that a shifted body is noticed.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    (0..LONGEST as u64).map(|at| (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8).collect::<Vec<u8>>().into()
});

/// The first bytes of the pattern.
pub(crate) fn pattern(length: usize) -> Bytes {
    PATTERN.slice(..length)
}
