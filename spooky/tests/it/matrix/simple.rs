//! Features that one request and its response show.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use spooky_testkit::certs::Identity;
use spooky_testkit::client::Reply;
use spooky_testkit::duplex::Protocol;
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};

use super::{BACKENDS, Backend, CLIENTS};
use crate::proxy::Proxy;

/// How the length of an upload is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    None,
    /// By `content-length`.
    Length(u64),
    /// By its end.
    Open(u64),
}

/// A request of the matrix.
#[derive(Clone, Copy, Debug)]
struct Call {
    method: &'static str,
    path: &'static str,
    upload: Upload,
    trailers: bool,
}

/// What the client got. `None` in place of it: the response was cut off.
type Seen = Option<Reply>;

const fn call(method: &'static str, path: &'static str, upload: Upload, trailers: bool) -> Call {
    Call { method, path, upload, trailers }
}

/// A row: its name, the request, and whether the response is right.
type Feature = (&'static str, Call, fn(&Seen) -> bool);

const FEATURES: [Feature; 12] = [
    ("response with a length", call("GET", "/bytes/100000", Upload::None, false), |seen| {
        is_pattern(seen, 100_000) && field(seen, "content-length") == "100000"
    }),
    ("response of unknown length", call("GET", "/chunks/100000", Upload::None, false), |seen| {
        is_pattern(seen, 100_000) && field(seen, "content-length").is_empty()
    }),
    ("long response", call("GET", "/chunks/3000000", Upload::None, false), |seen| is_pattern(seen, 3_000_000)),
    ("HEAD", call("HEAD", "/bytes/1000", Upload::None, false), |seen| {
        status(seen) == 200 && body(seen).is_empty() && field(seen, "content-length") == "1000"
    }),
    ("204", call("GET", "/status/204", Upload::None, false), |seen| status(seen) == 204 && has_no_length(seen)),
    ("304", call("GET", "/status/304", Upload::None, false), |seen| status(seen) == 304 && body(seen).is_empty()),
    ("an error of the backend", call("GET", "/status/503", Upload::None, false), |seen| {
        status(seen) == 503 && field(seen, "proxy-status").is_empty()
    }),
    ("upload with a length", call("POST", "/digest", Upload::Length(300_000), false), |seen| {
        body(seen) == format!("300000 {}", Pattern::sha256(300_000, 300_000))
    }),
    ("upload of unknown length", call("POST", "/digest", Upload::Open(300_000), false), |seen| {
        body(seen) == format!("300000 {}", Pattern::sha256(300_000, 300_000))
    }),
    ("trailers of a request", call("POST", "/digest", Upload::Open(1000), true), |seen| {
        status(seen) == 200 && field(seen, "x-trailer-x-sum") == "1"
    }),
    ("trailers of a response", call("GET", "/trailers", Upload::None, false), |seen| {
        let trailers = seen.as_ref().and_then(|reply| reply.trailers.as_ref());
        trailers.is_some_and(|trailers| trailers.get("x-first").is_some_and(|value| value == "1"))
    }),
    // It may break off before its head has left the backend.
    ("a response that breaks off is seen as such", call("GET", "/abort/1000", Upload::None, false), |seen| {
        seen.is_none() || status(seen) == 502
    }),
];

fn status(seen: &Seen) -> u16 {
    seen.as_ref().map_or(0, |reply| reply.status.as_u16())
}

fn field<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.as_ref().map_or("", |reply| reply.field(name))
}

fn body(seen: &Seen) -> &str {
    seen.as_ref().map_or("", Reply::text)
}

fn is_pattern(seen: &Seen, length: u64) -> bool {
    seen.as_ref().is_some_and(|reply| sha256(&reply.body) == Pattern::sha256(length, length))
}

fn has_no_length(seen: &Seen) -> bool {
    body(seen).is_empty() && field(seen, "content-length").is_empty() && field(seen, "transfer-encoding").is_empty()
}

impl Call {
    fn body(self) -> Vec<u8> {
        match self.upload {
            Upload::None => Vec::new(),
            Upload::Length(length) | Upload::Open(length) => Pattern::bytes(length, length).to_vec(),
        }
    }

    fn request(self, authority: &str) -> Request<()> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("https://{authority}{}", self.path))
            .header("te", "trailers");
        if let Upload::Length(length) = self.upload {
            request = request.header("content-length", length);
        }
        request.body(()).unwrap()
    }

    fn trailers(self) -> Option<HeaderMap> {
        self.trailers.then(|| HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("1"))]))
    }

    async fn by_http3(self, proxy: &Proxy) -> Seen {
        let connection = proxy.connect().await;
        let (mut sending, mut reading) = connection.open(self.request("localhost")).await.ok()?.split();
        let upload = async {
            if self.upload != Upload::None {
                sending.data(self.body()).await?;
            }
            if let Some(trailers) = self.trailers() {
                sending.trailers(trailers).await?;
            }
            sending.finish().await
        };
        let (_, reply) = tokio::join!(upload, reading.reply());
        reply.ok()
    }

    async fn by_http2(self, proxy: &Proxy) -> Seen {
        let mut connection = proxy.http2().await;
        let request = self.request(&format!("localhost:{}", proxy.settings.addr().port()));
        if self.upload == Upload::None {
            return connection.fetch(request).await.ok();
        }
        connection.send(request, self.body(), self.trailers()).await.ok()
    }

    async fn by_http1(self, proxy: &Proxy) -> Seen {
        let mut connection = proxy.http1().await;
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nhost: localhost\r\nte: trailers\r\nconnection: te\r\n", self.method, self.path)
                .into_bytes();
        let body = self.body();
        match self.upload {
            Upload::None => bytes.extend_from_slice(b"\r\n"),
            Upload::Length(length) => {
                bytes.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
                bytes.extend_from_slice(&body);
            }
            Upload::Open(length) => {
                bytes.extend_from_slice(format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n").as_bytes());
                bytes.extend_from_slice(&body);
                bytes.extend_from_slice(if self.trailers { b"\r\n0\r\nx-sum: 1\r\n\r\n" } else { b"\r\n0\r\n\r\n" });
            }
        }
        connection.send(bytes).await;
        let reply = match self.method {
            "HEAD" => connection.try_head().await,
            _ => connection.try_reply().await,
        };
        let reply = reply.ok()?;
        let map = |fields: &[(String, String)]| {
            let pair = |(name, value): &(String, String)| (name.parse().unwrap(), value.parse().unwrap());
            fields.iter().map(pair).collect::<HeaderMap>()
        };
        let trailers = Some(map(&reply.trailers)).filter(|trailers| !trailers.is_empty());
        let status = reply.status().try_into().unwrap();
        Some(Reply { status, headers: map(&reply.fields), body: Bytes::from(reply.body), trailers })
    }
}

/// Returns the rows of the table, after every cell was tried.
pub(super) async fn rows(identity: &Identity, tls: &str) -> String {
    let mut proxies = Vec::new();
    for backend in BACKENDS {
        let origin = match backend {
            Backend::H2 => Origin::h2c().await,
            Backend::H2Tls => Origin::tls_with(identity, &[b"h2"]).await,
            Backend::H1 => Origin::http1().await,
            Backend::H1Tls => Origin::tls_with(identity, &[b"http/1.1"]).await,
        };
        let lines = if backend.is_tls() { tls } else { "" };
        let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], lines)).await;
        proxies.push((backend, origin, proxy));
    }
    let mut table = String::new();
    for (name, call, is_right) in FEATURES {
        let _ = write!(table, "| {name} |");
        for client in CLIENTS {
            for (backend, _, proxy) in &proxies {
                let seen = match client {
                    Protocol::Http3 => call.by_http3(proxy).await,
                    Protocol::Http2 => call.by_http2(proxy).await,
                    Protocol::Http1 => call.by_http1(proxy).await,
                };
                assert!(is_right(&seen), "{name}: {client:?} -> {backend:?}: {seen:?}");
                table.push_str(" ✓ |");
            }
        }
        table.push('\n');
    }
    for (_, _, proxy) in proxies {
        proxy.stop().await;
    }
    table
}
