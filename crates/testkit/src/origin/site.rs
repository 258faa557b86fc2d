//! The default handler of an origin:
//!
//! | path | response |
//! |---|---|
//! | `/` | 200 `hello` |
//! | `/status/<n>` | that status, no body |
//! | `/bytes/<n>` | `n` pattern bytes (seed `n`) with `content-length` |
//! | `/chunks/<n>` | the same without `content-length` |
//! | `/echo` | the request's body and trailers, as they come |
//! | `/digest` | `<length> <sha256>` of the request's body after its end; its trailers as `x-trailer-<name>` |
//! | `/early` | 200 `early` without reading the request's body |
//! | `/trailers` | `body` and the trailers `x-first: 1`, `x-second: 2` |
//! | `/fields` | the request's fields, one `name: value` a line |
//! | `/stall/<n>` | head and `n` bytes, then silence |
//! | `/abort/<n>` | head, `n` bytes of an announced `n + 1000`, then `RST_STREAM` |
//! | `/hold` | no response |
//! | `/gate` | 200 `through` once the test opens the gate |
//! | CONNECT, but for `/status/<n>` | a tunnel that echoes until the client ends it |

use std::fmt::Write as _;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use super::body::{Body, BoxError, PatternBody};
use super::handler::{Handler, boxed, handle, text};
use super::serve::{EchoBody, drain};

/// Delays requests until the test opens it.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Lets all current and future requests continue.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Returns the handler of the table above.
pub fn site(gate: Gate) -> Handler {
    handle(move |request| answer(request, gate.clone()))
}

async fn answer(request: Request<Incoming>, gate: Gate) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let (name, number) = split(&path);
    if request.method() == Method::CONNECT && name != "status" {
        tokio::spawn(echo_tunnel(request));
        return Response::new(boxed(Full::default()));
    }
    match name {
        "" => text(StatusCode::OK, "hello"),
        "status" => text(StatusCode::from_u16(number as u16).expect("a status in the path"), Bytes::new()),
        "bytes" => Response::new(boxed(PatternBody::sized(number, number))),
        "chunks" => Response::new(boxed(PatternBody::unsized_(number, number))),
        "echo" => Response::new(boxed(EchoBody(request.into_body()))),
        "digest" => digest(request.into_body()).await,
        "early" => text(StatusCode::OK, "early"),
        "trailers" => {
            let mut response = Response::new(with_trailers());
            // On HTTP/1.1 hyper sends only trailers that are announced.
            response.headers_mut().insert("trailer", HeaderValue::from_static("x-first, x-second"));
            response
        }
        "fields" => text(StatusCode::OK, fields(request.headers())),
        "stall" => Response::new(boxed(Broken::new(number, End::Silence))),
        "abort" => Response::new(boxed(Broken::new(number, End::Reset))),
        "hold" => pending().await,
        "gate" => {
            gate.pass().await;
            text(StatusCode::OK, "through")
        }
        _ => text(StatusCode::NOT_FOUND, "no such page"),
    }
}

/// Echoes on the tunnel, which opens after the response was sent.
async fn echo_tunnel(request: Request<Incoming>) {
    if let Ok(tunnel) = hyper::upgrade::on(request).await {
        let (mut read, mut write) = tokio::io::split(TokioIo::new(tunnel));
        // Fails if the connection ends, which the test sees too.
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    }
}

fn split(path: &str) -> (&str, u64) {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let name = parts.next().unwrap_or_default();
    (name, parts.next().and_then(|number| number.parse().ok()).unwrap_or_default())
}

async fn digest(body: Incoming) -> Response<Body> {
    let Ok((sum, trailers)) = drain(body).await else {
        return text(StatusCode::BAD_REQUEST, "the body broke off");
    };
    let len = sum.len;
    let mut response = text(StatusCode::OK, format!("{len} {}", sum.hex()));
    for (name, value) in &trailers.unwrap_or_default() {
        let name = HeaderName::try_from(format!("x-trailer-{name}")).expect("a field name");
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn fields(headers: &HeaderMap) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

fn with_trailers() -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-first", HeaderValue::from_static("1"));
    trailers.insert("x-second", HeaderValue::from_static("2"));
    let body = Full::new(Bytes::from_static(b"body")).with_trailers(std::future::ready(Some(Ok(trailers))));
    boxed(OfUnknownLength(Box::pin(body)))
}

/// Hides the length of a body, so that HTTP/1.1 sends it in chunks and can add trailers.
struct OfUnknownLength<B>(Pin<Box<B>>);

impl<B: HttpBody> HttpBody for OfUnknownLength<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.as_mut().poll_frame(cx)
    }
}

/// What a [`Broken`] body does after its bytes.
#[derive(Debug, Clone, Copy)]
enum End {
    Silence,
    Reset,
}

/// A body that never reaches its announced length.
struct Broken {
    bytes: PatternBody,
    len: u64,
    end: End,
}

impl Broken {
    fn new(len: u64, end: End) -> Self {
        Self { bytes: PatternBody::sized(len, len), len, end }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.bytes).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(never))) => match never {},
            Poll::Ready(None) | Poll::Pending => match self.end {
                End::Silence => Poll::Pending,
                End::Reset => Poll::Ready(Some(Err("broken on purpose".into()))),
            },
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len + 1000)
    }
}
