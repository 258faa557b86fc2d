//! The TCP listener: binding, limits, reloads, the drain, and what every answer over TCP says.

use std::net::TcpListener;

use rustix::process::Signal;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::frames::{self, END_HEADERS, END_STREAM, Frame, Frames, kind};
use spooky_testkit::tcp::{Http1, Http2};
use spooky_testkit::{tcp, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxy::{NAME, Proxy, SPOOKY, certificates, run};

/// Adds a line to the listener.
pub(crate) fn listening(text: &str, line: &str) -> String {
    text.replace("listen:\n", &format!("listen:\n  {line}\n"))
}

async fn listener_with(line: &str, origin: &Origin) -> Proxy {
    let urls = [origin.url()];
    Proxy::start_edited(|settings| settings.upstream("all", "/", &urls), |text| listening(&text, line)).await
}

#[tokio::test]
async fn every_answer_over_tcp_announces_http3_and_the_first_one_of_a_quic_connection() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/only", &[origin.url()])).await;
    let announced = format!("h3=\":{}\"; ma=86400", proxy.settings.addr().port());
    let mut http2 = proxy.http2().await;
    let mut http1 = proxy.http1().await;
    for (path, status) in [("/only/x", 404), ("/other", 404), ("/only/y", 404)] {
        let reply = http2.get(path).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.field("alt-svc")), (status, announced.as_str()));
        let reply = http1.get(path).await;
        assert_eq!((reply.status(), reply.field("alt-svc")), (status, announced.clone()));
    }
    let http3 = proxy.connect().await;
    assert_eq!(http3.get("/other").await.unwrap().field("alt-svc"), announced);
    assert_eq!(http3.get("/only/x").await.unwrap().field("alt-svc"), "");
    drop((http1, http2, http3));
    proxy.stop().await;
}

#[tokio::test]
async fn the_announced_port_and_age_are_those_of_the_configuration() {
    let origin = Origin::h2c().await;
    let proxy = listener_with("alt_svc: { port: 443, max_age: 60 }", &origin).await;
    assert_eq!(proxy.http1().await.get("/").await.field("alt-svc"), "h3=\":443\"; ma=60");
    assert_eq!(proxy.connect().await.get("/").await.unwrap().field("alt-svc"), "h3=\":443\"; ma=60");
    let off = listening(&proxy.settings.text(), "alt_svc: { enabled: false }");
    proxy.reload(&off, 2).await;
    assert_eq!(proxy.http1().await.get("/").await.field("alt-svc"), "");
    assert_eq!(proxy.connect().await.get("/").await.unwrap().field("alt-svc"), "");
    proxy.stop().await;
}

#[tokio::test]
async fn a_port_that_another_process_uses_is_a_warning_unless_tcp_is_required() {
    let origin = Origin::h2c().await;
    let (authority, files) = certificates();
    let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]);
    let taken = TcpListener::bind(settings.addr()).unwrap();
    let mut program = run(&settings.write(&files));
    let line =
        format!("Bootstrap TLS listener disabled: could not bind TCP {}: Address already in use", settings.addr());
    program.line(&line).await;
    program.line("Performance profile: ").await;
    let client = spooky_testkit::client::Client::new(&authority);
    let connection = client.connect(settings.addr(), NAME).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello", "HTTP/3 is served");
    drop(connection);
    assert_eq!(program.stop().await.code(), Some(0));

    std::fs::write(files.dir().join("spooky.yaml"), listening(&settings.text(), "tcp: { required: true }")).unwrap();
    let mut program = run(&files.dir().join("spooky.yaml"));
    program.line(&format!("Failed to bind TCP socket {}: Address already in use", settings.addr())).await;
    assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
    drop(taken);
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_at_once() {
    let origin = Origin::h2c().await;
    let proxy = listener_with("tcp: { max_connections: 2 }", &origin).await;
    let (mut first, second) = (proxy.http1().await, proxy.http2().await);
    tcp::connect(&proxy.authority, proxy.settings.addr(), NAME, &[b"h2"]).await.expect_err("a third connection");
    proxy.logged("TCP connection refused: tcp.max_connections is reached", 1).await;
    assert_eq!(first.get("/").await.text(), "hello");
    drop(second);
    wait::until(wait::BOUND, "a free place", || async {
        tcp::connect(&proxy.authority, proxy.settings.addr(), NAME, &[b"h2"]).await.ok()
    })
    .await;
    drop(first);
    proxy.stop().await;
}

#[tokio::test]
async fn an_address_may_have_as_many_connections_over_both_protocols_together() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("max_connections_per_ip: 2")
    })
    .await;
    let http3 = proxy.connect().await;
    assert_eq!(http3.get("/").await.unwrap().text(), "hello", "its handshake is complete on both sides");
    let http1 = proxy.http1().await;
    tcp::connect(&proxy.authority, proxy.settings.addr(), NAME, &[b"h2"]).await.expect_err("a third connection");
    proxy.client().dial(proxy.settings.addr(), NAME).await.expect_err("a third connection");
    drop(http1);
    wait::until(wait::BOUND, "a free place", || async {
        tcp::connect(&proxy.authority, proxy.settings.addr(), NAME, &[b"h2"]).await.ok()
    })
    .await;
    drop(http3);
    proxy.stop().await;
}

#[tokio::test]
async fn a_reload_ends_tcp_gracefully_and_begins_it_again() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.workers(2).upstream("all", "/", &[origin.url()])).await;
    let text = proxy.settings.text();
    let mut open = proxy.http1().await;
    open.send("GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    origin.journal().until("the request", |seen| seen.requests.len() == 1).await;
    proxy.reload(&listening(&text, "tcp: { enabled: false }"), 2).await;
    let addr = proxy.settings.addr();
    wait::until(wait::BOUND, "refused connections", || async { TcpStream::connect(addr).await.err() }).await;
    origin.open_gate();
    let reply = open.reply().await;
    assert_eq!((reply.text(), reply.field("connection").as_str()), ("through", "close"));
    assert_eq!(open.rest().await.unwrap(), b"");
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
    proxy.reload(&text, 3).await;
    let again = wait::until(wait::BOUND, "TCP again", || async {
        tcp::connect(&proxy.authority, addr, NAME, &[b"http/1.1"]).await.ok()
    })
    .await;
    assert_eq!(Http1::over(again).get("/").await.text(), "hello");
    proxy.stop().await;
}

#[tokio::test]
async fn the_drain_lets_open_requests_finish_and_then_ends_the_connections() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 30s")
    })
    .await;
    let (mut http1, mut http2, mut idle) = (proxy.http1().await, proxy.http2().await, proxy.http1().await);
    let mut begun = proxy.http1().await;
    assert_eq!((idle.get("/").await.text(), begun.get("/").await.text()), ("hello", "hello"));
    begun.send("GET / HTTP/1.1\r\nho").await;
    http1.send("GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let request = http2.request("GET", "/gate").body(()).unwrap();
    let (waiting, _) = http2.open(request, true).await.unwrap();
    origin.journal().until("the requests", |seen| seen.requests.len() == 4).await;
    proxy.program.signal(Signal::TERM);
    assert_eq!(idle.rest().await.unwrap(), b"", "idle connections end at once");
    begun.send("st: localhost\r\n\r\n").await;
    let reply = begun.reply().await;
    assert_eq!((reply.text(), reply.field("connection").as_str()), ("hello", "close"), "its head had begun");
    origin.open_gate();
    assert_eq!(http1.reply().await.field("connection"), "close");
    assert_eq!(http1.rest().await.unwrap(), b"");
    assert_eq!(waiting.await.unwrap().status().as_u16(), 200);
    http2.ended().await.unwrap();
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
    proxy.logged("Spooky shutdown complete", 1).await;
}

#[tokio::test]
async fn alpn_chooses_the_protocol_and_without_it_a_client_gets_http1() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let addr = proxy.settings.addr();
    let connect = async |alpn: &[&[u8]]| tcp::connect(&proxy.authority, addr, NAME, alpn).await;
    for (alpn, chosen) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let stream = connect(alpn).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen != Some(b"h2") {
            assert_eq!(Http1::over(stream).get("/").await.text(), "hello");
        }
    }
    let error = connect(&[b"h3", b"spdy/3"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    proxy.stop().await;
}

#[tokio::test]
async fn accepting_pauses_while_no_file_descriptor_is_left() {
    let origin = Origin::http1().await;
    let (authority, files) = certificates();
    let settings = Settings::new(&files).protocol("http1").upstream("all", "/hold", &[origin.url()]);
    let path = settings.write(&files);
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" --config \"$1\"", SPOOKY]).arg(&path);
    let mut program = Program::spawn(command);
    program.line("Performance profile: ").await;
    let mut first = Http1::connect(&authority, settings.addr(), NAME).await;
    assert_eq!(first.get("/").await.status(), 404);
    // Requests of one client take what clients leave for backends.
    let mut holding = Http2::connect(&authority, settings.addr(), NAME).await;
    let mut held = Vec::new();
    for _ in 0..90 {
        let request = holding.request("GET", "/hold").body(()).unwrap();
        held.push(holding.open(request, true).await.unwrap());
    }
    program.line("Transport error: send: destination unreachable").await;
    let silent = TcpStream::connect(settings.addr()).await.unwrap();
    program.line("Accepting TCP connections failed, paused for 5 ms: ").await;
    assert_eq!(first.get("/").await.status(), 404, "the others are served");
    let lines = program.output().matches("Accepting TCP connections failed").count();
    assert!(lines <= 30, "{lines} lines");
    drop((holding, held, silent));
    let next = async || tcp::connect(&authority, settings.addr(), NAME, &[b"http/1.1"]).await.ok();
    let stream = wait::until(wait::BOUND, "a connection", next).await;
    assert_eq!(Http1::over(stream).get("/").await.status(), 404);
    assert_eq!(program.stop().await.code(), Some(0));
}

#[tokio::test]
async fn at_the_end_of_the_drain_open_requests_are_cut_off() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 500ms")
    })
    .await;
    let (mut http1, mut http2) = (proxy.http1().await, proxy.http2().await);
    http1.send("GET /stall/1000 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(http1.try_head().await.unwrap().status(), 200);
    let request = http2.request("GET", "/hold").body(()).unwrap();
    let (waiting, _) = http2.open(request, true).await.unwrap();
    origin.journal().until("the requests", |seen| seen.requests.len() == 2).await;
    let counts = tokio::spawn(async move { proxy.stop().await });
    assert_eq!(wait::within("a reset", waiting).await.unwrap_err().reason(), Some(tcp::Reason::CANCEL));
    http1.rest().await.expect_err("no end in order");
    wait::within("the end of the process", counts).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_tls_end_their_connection_and_nothing_else() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()])).await;
    let addr = proxy.settings.addr();
    let mut served = proxy.http1().await;
    for garbage in [
        &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        &[0; 4096],
        &vec![0xff; 70_000],
        b"\x16\x03\x01\xff\xff\x01",
    ] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let _reset = stream.write_all(garbage).await;
        let _reset = stream.shutdown().await;
        let ended = wait::within("the end of the connection", stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok_and(|length| length < 100) || garbage.len() > 4096, "at most an alert");
    }
    proxy.logged("TLS handshake failed: ", 4).await;
    // Bytes that no record can be, after the handshake.
    let mut broken = proxy.http1().await;
    assert_eq!(broken.get("/").await.text(), "hello");
    broken.stream().get_mut().0.write_all(&[0; 64]).await.unwrap();
    broken.rest().await.expect_err("no end in order");
    proxy.logged("Connection closed: TLS: ", 1).await;
    assert_eq!(served.get("/").await.text(), "hello");
    drop(served);
    proxy.stop().await;
}

#[tokio::test]
async fn http2_clients_get_two_goaway_frames_and_the_second_names_the_last_stream() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 30s")
    })
    .await;
    let mut connection = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
    connection.send(&frames::head(1, END_STREAM | END_HEADERS, "GET", "/gate")).await;
    origin.journal().until("the request", |seen| seen.requests.len() == 1).await;
    proxy.program.signal(Signal::TERM);
    let last_stream = |frame: &Frame| u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
    let first = connection.until(kind::GOAWAY).await.unwrap();
    assert_eq!((last_stream(&first), first.code()), ((1 << 31) - 1, 0));
    // A request that was on its way is served.
    connection.send(&frames::head(3, END_STREAM | END_HEADERS, "GET", "/gate")).await;
    origin.journal().until("the second request", |seen| seen.requests.len() == 2).await;
    let second = connection.until(kind::GOAWAY).await.unwrap();
    assert_eq!((last_stream(&second), second.code()), (3, 0));
    origin.open_gate();
    for _ in 0..2 {
        connection.until(kind::HEADERS).await.unwrap();
    }
    connection.until(kind::GOAWAY).await.expect_err("the end of the connection");
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
}
