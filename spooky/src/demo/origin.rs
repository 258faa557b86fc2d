//! The demo's backend: an HTTP/2 server without TLS that greets, and sends back what it got.
//!
//! Owns its socket and its answers. It is hyper and no code of the product, as a real backend would be. Called by the
//! demo; it runs on the demo's runtime and ends with it.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fmt::Write,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// A body of its own, or the request's on its way back.
type Body = Either<Full<Bytes>, Incoming>;

/// How long to let go when the system has no file descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts to accept on a port of the kernel's choice.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => drop(tokio::spawn(serve(connection))),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    });
    Ok(address)
}

/// Serves one connection. Its errors are the product's to report: it has the other end.
async fn serve(connection: TcpStream) {
    let _slower_at_most = connection.set_nodelay(true);
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request)) });
    let mut server = http2::Builder::new(TokioExecutor::new());
    let _told_by_the_product =
        server.timer(TokioTimer::new()).serve_connection(TokioIo::new(connection), service).await;
}

fn answer(request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/" => text(&request, StatusCode::OK, greeting(&request)),
        "/echo" => echo(request),
        path => text(&request, StatusCode::NOT_FOUND, format!("No page at {path}. Try / or /echo.\n")),
    }
}

/// Hello, and the request as the backend sees it.
fn greeting<B>(request: &Request<B>) -> String {
    let mut text = format!(
        "Hello from the backend. This is what reached it, over {:?}:\n\n{} {}\n",
        request.version(),
        request.method(),
        request.uri()
    );
    for (name, value) in request.headers() {
        let _cannot_fail = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

fn text<B>(request: &Request<B>, status: StatusCode, text: String) -> Response<Body> {
    let length = text.len();
    let body = if request.method() == Method::HEAD { String::new() } else { text };
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(header::CONTENT_LENGTH, length.into());
    response
}

/// The request's body, as it comes in, with its type.
fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(Either::Right(body));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}
