//! The demo's backend: an HTTP/2 server without TLS, built on hyper, that shows the request and echoes bodies.

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

/// A text, or the echoed request body.
type Body = Either<Full<Bytes>, Incoming>;

/// Pause after a failed accept, for example for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the server on a port chosen by the kernel.
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

/// Serves one connection. Ignores errors: the proxy reports them.
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

/// Returns the request as the backend has received it.
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

/// Returns the request body, streamed, with its content type.
fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(Either::Right(body));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}
