//! The HTTP/2 client against the server of the `h2` crate, over a pipe in memory.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use spooky_bridge::{
    h2::{Client, Code, Config, Event, StreamId},
    message::{Fields, Known, Method, Name, RequestHead},
};
use std::{collections::BTreeMap, future::Future, io::IoSlice, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Larger than the unread bytes of either side, so that no write blocks.
const PIPE: usize = 8 * 1024 * 1024;

/// Runs a test with a time limit.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let test = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("done in time") };
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

struct Driver {
    client: Client,
    input: BytesMut,
    pipe: DuplexStream,
}

impl Driver {
    /// Starts a server with these settings, whose handler selects the response by path, and returns its client.
    fn new(config: &Config, server: h2::server::Builder) -> Self {
        let (pipe, far) = tokio::io::duplex(PIPE);
        tokio::task::spawn_local(serve(far, server));
        Self { client: Client::new(config), input: BytesMut::new(), pipe }
    }

    async fn flush(&mut self) {
        let output = self.client.output();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let set = output.slices(&mut slices);
            let written = self.pipe.write_vectored(&slices[..set]).await.expect("the pipe is open");
            output.advance(written);
        }
    }

    /// Returns the next event. Flushes all output before it waits.
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.client.recv(&mut self.input).expect("a sound connection") {
                return event;
            }
            if self.client.output().is_empty() {
                let read = self.pipe.read_buf(&mut self.input).await.expect("the pipe is open");
                assert_ne!(read, 0, "the server closed");
            } else {
                self.flush().await;
            }
        }
    }

    /// Opens a stream, waiting until the limit permits it.
    fn request(&mut self, method: Method, path: &str, body: bool, tag: u64) -> StreamId {
        let text = if method == Method::Post { "POST" } else { "GET" };
        let text = if method == Method::Head { "HEAD" } else { text };
        let mut fields = Fields::new();
        for (name, value) in [
            (Known::Method, text),
            (Known::Scheme, "http"),
            (Known::Authority, "a.example"),
            (Known::Path, path),
            (Known::UserAgent, "test"),
            (Known::Cookie, "secret=1"),
        ] {
            fields.push(name, value.as_bytes());
        }
        fields.push(Name::Other(b"x-tag"), tag.to_string().as_bytes());
        let head = RequestHead { fields, method, content_length: None };
        self.client.send_request(&head, !body, tag).expect("a stream")
    }
}

/// Serves one connection.
async fn serve(pipe: DuplexStream, builder: h2::server::Builder) {
    let mut connection = builder.handshake::<_, Bytes>(pipe).await.expect("a preface");
    let mut leaving = false;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.expect("a sound client");
        if request.uri().path() == "/leave" && !leaving {
            connection.graceful_shutdown();
            leaving = true;
        }
        tokio::task::spawn_local(answer(request, respond));
    }
}

async fn answer(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    assert_eq!(request.headers()["cookie"].to_str().ok(), Some("secret=1"));
    assert_eq!(request.headers()["user-agent"].to_str().ok(), Some("test"));
    let ok = || Response::builder().status(200);
    match request.uri().path() {
        "/echo" => echo(request, respond).await,
        "/refuse" => respond.send_reset(h2::Reason::REFUSED_STREAM),
        "/short" => {
            let head = ok().header("content-length", 10).body(()).expect("a head");
            let mut body = respond.send_response(head, false).expect("open");
            body.send_data(Bytes::from_static(b"four"), true).expect("open");
        }
        "/large-head" => {
            let head = ok().header("x-large", "v".repeat(40_000)).body(()).expect("a head");
            respond.send_response(head, true).expect("open");
        }
        "/length-only" => {
            let head = ok().header("content-length", 10).body(()).expect("a head");
            respond.send_response(head, true).expect("open");
        }
        _ => {
            let mut body = respond.send_response(ok().body(()).expect("a head"), false).expect("open");
            body.send_data(Bytes::from_static(b"fine"), true).expect("open");
        }
    }
}

/// Echoes the body, and sends its length as a trailer.
async fn echo(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let head = Response::builder().header("x-tag", &request.headers()["x-tag"]).body(()).expect("a head");
    let mut out = respond.send_response(head, false).expect("open");
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let mut data = data.expect("a whole request");
        length += data.len();
        body.flow_control().release_capacity(data.len()).expect("what came");
        while !data.is_empty() {
            out.reserve_capacity(data.len());
            let room = std::future::poll_fn(|context| out.poll_capacity(context)).await.expect("open").expect("open");
            out.send_data(data.split_to(room.min(data.len())), false).expect("open");
        }
    }
    let sent = body.trailers().await.expect("a whole request");
    let mut trailers = sent.unwrap_or_else(HeaderMap::new);
    trailers.insert("x-length", HeaderValue::from(length));
    out.send_trailers(trailers).expect("open");
}

fn pattern(tag: u64) -> Bytes {
    let length = (tag as usize * 7919) % 60_000;
    (0..length).map(|at| (at as u64 * 31 + tag) as u8).collect()
}

/// An upload and the bytes echoed so far.
struct Echo {
    id: StreamId,
    left: Bytes,
    back: Vec<u8>,
}

#[test]
fn many_echoes_at_once_through_small_windows() {
    block_on(async {
        let mut server = h2::server::Builder::new();
        server.initial_window_size(3000).max_concurrent_streams(30).header_table_size(100);
        let config = Config { initial_stream_window: 2000, connection_window: 65_535, ..Config::default() };
        let mut driver = Driver::new(&config, server);
        assert!(matches!(driver.next().await, Event::Ready));
        let mut open = BTreeMap::new();
        let mut next = 0;
        let mut done = 0;
        while done < 200 {
            while driver.client.capacity() > 0 && next < 200 {
                let id = driver.request(Method::Post, "/echo", true, next);
                open.insert(next, Echo { id, left: pattern(next), back: Vec::new() });
                send(&mut driver, open.get_mut(&next).expect("just opened"));
                next += 1;
            }
            assert!(open.len() <= 30);
            match driver.next().await {
                Event::Head { tag, head, end: false, .. } => {
                    let (name, value) =
                        head.fields.iter().next().map(|field| (field.name, field.value)).expect("a field");
                    assert_eq!((name, value), (Name::Other(b"x-tag"), tag.to_string().as_bytes()));
                }
                Event::Data { tag, id, data, end: false } => {
                    open.get_mut(&tag).expect("open").back.extend_from_slice(&data);
                    driver.client.release(id, data.len());
                }
                Event::Sendable { tag, .. } => send(&mut driver, open.get_mut(&tag).expect("open")),
                Event::Trailers { tag, fields, .. } => {
                    let echo = open.remove(&tag).expect("open");
                    assert_eq!(echo.back, pattern(tag), "{tag}");
                    let length = fields.iter().find(|field| field.name.as_bytes() == b"x-length").expect("a trailer");
                    assert_eq!(length.value, echo.back.len().to_string().as_bytes());
                    assert_eq!(fields.len(), if tag % 2 == 1 { 2 } else { 1 }, "trailers come back too");
                    done += 1;
                }
                Event::CapacityChanged => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(driver.client.active(), 0);
    });
}

/// Sends as much as allowed; requests with odd tags end with trailers.
fn send(driver: &mut Driver, echo: &mut Echo) {
    let trailers = echo.id.number() % 4 == 3;
    driver.client.send_data(echo.id, &mut echo.left, !trailers);
    if trailers && echo.left.is_empty() {
        let mut fields = Fields::new();
        fields.push(Name::Other(b"x-sent"), b"yes");
        driver.client.send_trailers(echo.id, &fields);
    }
}

#[test]
fn answers_of_every_kind() {
    block_on(async {
        let config = Config { max_header_list: 50_000, ..Config::default() };
        let mut driver = Driver::new(&config, h2::server::Builder::new());
        assert!(matches!(driver.next().await, Event::Ready));
        let paths =
            [("/", Method::Get), ("/refuse", Method::Get), ("/short", Method::Get), ("/large-head", Method::Get)];
        for (tag, (path, method)) in (0..).zip(paths.into_iter().chain([("/length-only", Method::Head)])) {
            driver.request(method, path, false, tag);
        }
        let mut seen = BTreeMap::new();
        while seen.len() < 5 {
            match driver.next().await {
                Event::Head { end: false, .. } => {}
                Event::Head { tag, head, end: true, .. } => {
                    seen.insert(tag, format!("{} {:?} {}", head.status, head.content_length, head.fields.size()));
                }
                Event::Data { tag, data, end, .. } => {
                    seen.insert(tag, format!("{data:?} {end}"));
                }
                Event::Reset { tag, code, unprocessed, .. } => {
                    assert_eq!((code, unprocessed), (Code::REFUSED_STREAM, true));
                    seen.insert(tag, "refused".to_owned());
                }
                Event::Malformed { tag, reason, .. } => {
                    seen.insert(tag, reason.to_owned());
                }
                other => panic!("{other:?}"),
            }
        }
        let seen: Vec<&str> = seen.values().map(String::as_str).collect();
        let short = "body shorter than its content-length";
        assert_eq!(seen, ["b\"fine\" true", "refused", short, "200 None 40007", "200 Some(10) 16"]);
        assert_eq!(driver.client.active(), 0);
        driver.client.ping(7);
        assert!(matches!(driver.next().await, Event::Pong(7)));
    });
}

#[test]
fn a_head_over_the_limit_leaves_the_connection_usable() {
    block_on(async {
        let mut driver =
            Driver::new(&Config { max_header_list: 20_000, ..Config::default() }, h2::server::Builder::new());
        driver.request(Method::Get, "/large-head", false, 0);
        driver.request(Method::Get, "/", false, 1);
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match driver.next().await {
                Event::HeadersTooLarge { tag, .. } => seen.push((tag, "too large")),
                Event::Data { tag, end: true, .. } => seen.push((tag, "complete")),
                _ => {}
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [(0, "too large"), (1, "complete")]);
    });
}

#[test]
fn a_graceful_shutdown_answers_what_it_accepted() {
    block_on(async {
        let mut driver = Driver::new(&Config::default(), h2::server::Builder::new());
        assert!(matches!(driver.next().await, Event::Ready));
        driver.request(Method::Get, "/", false, 0);
        driver.request(Method::Get, "/leave", false, 1);
        let (mut complete, mut left) = (Vec::new(), false);
        while complete.len() < 2 || !left {
            match driver.next().await {
                Event::Data { tag, end: true, .. } => complete.push(tag),
                Event::GoAway { code, .. } => {
                    assert_eq!((code, driver.client.capacity()), (Code::NO_ERROR, 0));
                    left = true;
                }
                Event::Head { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    });
}
