//! The redirect from cleartext HTTP to HTTPS.

use std::net::SocketAddr;

use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::{Http1, Http1Reply};
use spooky_testkit::{port, wait};
use tokio::net::TcpStream;

use crate::proxy::Proxy;

/// Adds lines to the listener.
fn listening(text: &str, lines: &str) -> String {
    text.replace("listen:\n", &format!("listen:\n  {lines}\n"))
}

async fn started(more: &str, origin: &Origin) -> (Proxy, SocketAddr) {
    let (urls, at) = ([origin.url()], port::free());
    let line = format!("http_redirect: {{ enabled: true, port: {} }}\n  {more}", at.port());
    let proxy =
        Proxy::start_edited(|settings| settings.upstream("all", "/", &urls), |text| listening(&text, &line)).await;
    (proxy, at)
}

async fn connection(at: SocketAddr) -> Http1<TcpStream> {
    Http1::over(wait::within("TCP", TcpStream::connect(at)).await.unwrap())
}

async fn answer(at: SocketAddr, request: &str) -> Http1Reply {
    let mut connection = connection(at).await;
    connection.send(request).await;
    connection.reply().await
}

#[tokio::test]
async fn every_request_is_sent_to_https() {
    let origin = Origin::h2c().await;
    let (proxy, at) = started("", &origin).await;
    let port = proxy.settings.addr().port();
    for (request, target) in [
        ("GET / HTTP/1.1\r\nhost: a.example\r\n\r\n", format!("https://a.example:{port}/")),
        (
            "GET /x%20y?z=1&z=2 HTTP/1.1\r\nhost: a.example:80\r\n\r\n",
            format!("https://a.example:{port}/x%20y?z=1&z=2"),
        ),
        ("DELETE http://b.example/q HTTP/1.1\r\nhost: b.example\r\n\r\n", format!("https://b.example:{port}/q")),
        ("POST /p HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 3\r\n\r\nabc", format!("https://[::1]:{port}/p")),
        ("GET / HTTP/1.0\r\nhost: a.example\r\n\r\n", format!("https://a.example:{port}/")),
    ] {
        let reply = answer(at, request).await;
        assert_eq!((reply.status(), reply.field("location")), (308, target), "{request}");
        assert!(!reply.field("date").is_empty() && reply.body.is_empty() && reply.field("via").is_empty());
    }
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a.example\r\n\r\n",
        "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
    ] {
        assert_eq!(answer(at, request).await.status(), 400, "{request:?}");
    }
    assert_eq!(origin.journal().now().requests.len(), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn a_connection_is_redirected_as_often_as_it_asks() {
    let origin = Origin::h2c().await;
    let (proxy, at) = started("alt_svc: { port: 443 }", &origin).await;
    let mut connection = connection(at).await;
    for number in 0..20 {
        let reply = connection.get(&format!("/{number}")).await;
        assert_eq!((reply.status(), reply.field("location")), (308, format!("https://localhost/{number}")));
    }
    connection.send("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert_eq!(connection.reply().await.field("connection"), "close");
    assert_eq!(connection.rest().await.unwrap(), b"");
    proxy.stop().await;
}

#[tokio::test]
async fn a_reload_moves_and_ends_it() {
    let origin = Origin::h2c().await;
    let (proxy, at) = started("", &origin).await;
    assert_eq!(connection(at).await.get("/").await.status(), 308);
    let moved = port::free();
    let line = format!("http_redirect: {{ enabled: true, port: {} }}", moved.port());
    proxy.reload(&listening(&proxy.settings.text(), &line), 2).await;
    wait::until(wait::BOUND, "the old port to be closed", || async { TcpStream::connect(at).await.err() }).await;
    assert_eq!(connection(moved).await.get("/").await.status(), 308);
    proxy.reload(&proxy.settings.text(), 3).await;
    wait::until(wait::BOUND, "the port to be closed", || async { TcpStream::connect(moved).await.err() }).await;
    proxy.stop().await;
}
