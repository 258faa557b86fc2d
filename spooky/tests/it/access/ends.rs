//! What the line of a request says, for each way to end.

use super::{line, lines};
use crate::proxy::Proxy;
use http::{Request, StatusCode};
use spooky_testkit::{
    client::{frame, get},
    duplex::{Client, Protocol, Tunnel},
    origin::{Origin, handler::fixed},
    port,
    rogue::{Rogue, Step, fields},
};

#[tokio::test]
async fn a_request_of_each_protocol_has_one_line() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    let quic = proxy.connect().await;
    let request = Request::post("https://localhost/echo?x=1").header("user-agent", "test/1 \"a\"");
    let request = request.header("x-request-id", "known-1").body("12345".into()).unwrap();
    assert_eq!(quic.send(request).await.unwrap().text(), "12345");
    let h3 = line(&mut proxy).await;
    let backend = origin.url();
    h3.check("request_id=known-1 trace_id=- span_id=- method=POST path=/echo?x=1 status=200 upstream=all retries=0");
    h3.check("protocol=h3 bytes_in=5 bytes_out=5 queue_ms=0 attempts=1 hedged=false reason=-");
    h3.check(&format!("backend={backend} host=localhost user_agent=\"test/1\\x20\\x22a\\x22\""));
    assert!(h3.field("client").starts_with("127.0.0.1:") && h3.field("latency_ms").parse::<u32>().is_ok());
    assert!(!h3.0.contains_key("error"), "a request that succeeds has no error");
    assert!(h3.millis("connect_ms") > 0.0 && h3.millis("upstream_ms") > 0.0);
    assert!(h3.millis("ttfb_ms") >= h3.millis("connect_ms") + h3.millis("upstream_ms") - 0.002);

    assert_eq!(proxy.http2().await.get("/status/404").await.unwrap().status, 404);
    lines(&mut proxy, 2).await[1].check("method=GET path=/status/404 status=404 protocol=h2 bytes_out=0 reason=-");
    assert_eq!(proxy.http1().await.get("/").await.text(), "hello");
    let http1 = lines(&mut proxy, 3).await.remove(2);
    http1.check("method=GET path=/ status=200 protocol=http/1.1 bytes_in=0 bytes_out=5 user_agent=\"-\"");
    assert_eq!(http1.field("request_id").len(), 36, "its own id");
    proxy.stop().await;
}

#[tokio::test]
async fn a_request_that_spooky_answers_has_a_line_with_the_reason() {
    let dead = format!("http://{}", port::free());
    let mut proxy = Proxy::start(|settings| {
        settings
            .upstream("dead", "/dead", std::slice::from_ref(&dead))
            .block("resilience:\n  retry_budget: { max_retries: 0 }")
    })
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/none?'1'").await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(connection.get("/dead").await.unwrap().status, StatusCode::BAD_GATEWAY);
    let lines = lines(&mut proxy, 2).await;
    lines[0].check("path=/none?\\x271\\x27 status=404 backend=- upstream=- attempts=0 connect_ms=- upstream_ms=-");
    lines[0].check("reason=no_route error=client");
    lines[1].check(&format!("status=502 backend={dead} upstream=dead attempts=1 retries=0"));
    assert_ne!(lines[1].field("reason"), "-");
    lines[1].check("error=transport");
    assert!(lines[1].field("bytes_out").parse::<u32>().unwrap() > 0, "the body of the answer");
}

#[tokio::test]
async fn an_invalid_request_has_a_line() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let head =
        frame::headers(&[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "x y")]);
    let _answered_or_reset = connection.request(&head, true).await.answer().await;
    let invalid = line(&mut proxy).await;
    invalid.check("method=GET path=x\\x20y protocol=h3 backend=- attempts=0");
    assert!(["policy", "protocol", "client"].contains(&invalid.field("error")), "{:?}", invalid.0);
    let mut http1 = proxy.http1().await;
    http1.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert_eq!(http1.reply().await.status(), 400);
    lines(&mut proxy, 2).await[1].check("protocol=http/1.1 status=400 backend=- attempts=0");
}

#[tokio::test]
async fn a_request_that_the_client_aborts_has_a_line_without_status() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    let (head, _) = get("/hold").into_parts();
    let exchange = connection.open(Request::from_parts(head, ())).await.unwrap();
    origin.journal().until("the request to arrive", |record| record.requests.len() == 1).await;
    exchange.cancel();
    let reset = line(&mut proxy).await;
    reset.check("path=/hold status=- ttfb_ms=- upstream_ms=- attempts=1 reason=client_abort error=client");
    reset.check(&format!("backend={}", origin.url()));

    // With the connection, after the head of the response.
    let (head, _) = get("/stall/10").into_parts();
    let (_sending, mut reading) = connection.open(Request::from_parts(head, ())).await.unwrap().split();
    assert_eq!(reading.head().await.unwrap().status(), 200);
    connection.quic().close(0x100_u32.into(), b"");
    lines(&mut proxy, 2).await[1].check("path=/stall/10 status=200 reason=client_abort error=client");
}

#[tokio::test]
async fn a_response_that_the_backend_cuts_off_has_a_line_with_its_status() {
    let head = fields(&[(":status", "200"), ("content-length", "100")]);
    let rogue = Rogue::answering(vec![Step::Head(head, false), Step::Data(10, false), Step::Reset(2)]).await;
    let mut proxy = Proxy::before(&[rogue.url()]).await;
    assert!(proxy.connect().await.get("/").await.is_err(), "the response must not look complete");
    let cut = line(&mut proxy).await;
    cut.check("status=200 reason=upstream_reset");
    assert_ne!(cut.field("error"), "client");
}

#[tokio::test]
async fn retries_and_hedges_are_counted_apart() {
    let (dead, good) = (format!("http://{}", port::free()), Origin::h2c().await);
    let mut proxy = Proxy::before(&[dead, good.url()]).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().status, 200);
    line(&mut proxy).await.check(&format!("backend={} attempts=2 retries=1 hedged=false", good.url()));

    let (slow, quick) = (Origin::h2c().await, Origin::with(fixed(StatusCode::OK, "quick")).await);
    let backends = [slow.url(), quick.url()];
    let hedging = "resilience:\n  hedging: { enabled: true, delay_ms: 50 }\n  retry_budget: { enabled: false }";
    let mut proxy = Proxy::start(|settings| settings.upstream("hedged", "/", &backends).block(hedging)).await;
    let connection = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(connection.get("/hold").await.unwrap().text(), "quick");
    }
    let lines = lines(&mut proxy, 2).await;
    let hedged: Vec<_> = lines.iter().filter(|line| line.field("hedged") == "true").collect();
    assert!(!hedged.is_empty(), "at least one began with the slow backend");
    for line in hedged {
        line.check(&format!("backend={} attempts=2 retries=0 status=200", quick.url()));
    }
}

#[tokio::test]
async fn a_tunnel_has_a_line_with_the_bytes_of_both_directions() {
    let mut origin = spooky_testkit::duplex::Origin::start(true, None).await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    for (number, protocol) in [Protocol::Http3, Protocol::Http2, Protocol::Http1].into_iter().enumerate() {
        let mut client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
        let mut tunnel = Tunnel::websocket(&mut client, &mut origin).await;
        tunnel.talk().await;
        tunnel.end(true).await;
        let lines = lines(&mut proxy, number + 1).await;
        let tunnel = lines.last().unwrap();
        let is_http1 = matches!(protocol, Protocol::Http1);
        tunnel.check(if is_http1 { "status=101 method=GET" } else { "status=200 method=CONNECT" });
        tunnel.check("reason=- upstream=all");
        for name in ["bytes_in", "bytes_out"] {
            assert!(tunnel.field(name).parse::<u32>().unwrap() > 0, "{name} of {protocol:?}: {:?}", tunnel.0);
        }
    }
}
