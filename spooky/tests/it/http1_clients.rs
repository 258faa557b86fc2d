//! HTTP/1.1 clients.

use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::proxy::Proxy;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

#[tokio::test]
async fn curl_requests_uploads_and_downloads() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()])).await;
    let Some(curl) = proxy.curl() else { return };
    let reply = curl.run(&["--http1.1"], "/fields").await;
    assert_eq!((reply.code, reply.status_line()), (0, "HTTP/1.1 200 OK"), "{}", reply.log);
    let fields = String::from_utf8(reply.body).unwrap();
    let port = format!("x-forwarded-port: {}", proxy.settings.addr().port());
    for field in ["via: 1.1 spooky", "x-forwarded-for: 127.0.0.1", &port] {
        assert!(fields.contains(field), "{fields}");
    }
    proxy.logged("HTTP/1.1 request GET /fields", 1).await;
    let reply = curl.run(&["--http1.1"], "/chunks/3000000").await;
    assert_eq!(sha256(&reply.body), Pattern::sha256(3_000_000, 3_000_000));
    let body = proxy.dir().join("body");
    std::fs::write(&body, Pattern::bytes(7, 900_000)).unwrap();
    let body = format!("@{}", body.display());
    for framing in ["content-type: text/plain", "transfer-encoding: chunked"] {
        let reply = curl.run(&["--http1.1", "--data-binary", &body, "--header", framing], "/digest").await;
        assert_eq!(String::from_utf8(reply.body).unwrap(), format!("900000 {}", Pattern::sha256(7, 900_000)));
    }
    proxy.stop().await;
}

#[tokio::test]
async fn requests_follow_each_other_on_a_connection() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http1().await;
    for length in [1, 100, 70_000, 2_000_000] {
        let reply = connection.get(&format!("/bytes/{length}")).await;
        assert_eq!(
            (reply.field("content-length"), sha256(&reply.body)),
            (length.to_string(), Pattern::sha256(length, length))
        );
        let reply = connection.get(&format!("/chunks/{length}")).await;
        assert_eq!(
            (reply.field("transfer-encoding").as_str(), sha256(&reply.body)),
            ("chunked", Pattern::sha256(length, length))
        );
    }
    connection.send("HEAD /bytes/5 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(connection.try_head().await.unwrap().field("content-length"), "5");
    connection.send(get("/status/204")).await;
    assert_eq!(connection.reply().await.status(), 204);
    assert_eq!(connection.get("/").await.text(), "hello");
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http1().await;
    let mut requests = String::new();
    for number in 0..50 {
        requests.push_str(&get(&format!("/bytes/{number}")));
        requests.push_str(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        );
    }
    connection.send(requests).await;
    for number in 0..50 {
        assert_eq!(connection.reply().await.body.len(), number);
        assert_eq!(connection.reply().await.text(), "abc");
    }
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_the_answer() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut connection = proxy.http1().await;
    connection.send(get("/gate")).await;
    connection.end().await;
    origin.open_gate();
    assert_eq!(connection.reply().await.text(), "through");
    assert_eq!(connection.rest().await.unwrap(), b"", "ended in order");
    proxy.stop().await;
}

#[tokio::test]
async fn a_malformed_request_is_answered_and_ends_the_connection() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\nbad name: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /digest HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        "NONSENSE\r\n\r\n",
    ] {
        let mut connection = proxy.http1().await;
        connection.send(request).await;
        let reply = connection.reply().await;
        assert_eq!((reply.status(), reply.text()), (400, "invalid request\n"), "{request:?}");
        assert_eq!((reply.field("connection").as_str(), connection.rest().await.unwrap().len()), ("close", 0));
    }
    proxy.stop().await;
}

#[tokio::test]
async fn an_answer_to_an_unread_upload_arrives_before_the_connection_is_reset() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    for length in [1_500_000, 50_000_000] {
        let mut connection = proxy.http1().await;
        connection.send(format!("POST /digest HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")).await;
        connection.send(vec![0; 60_000]).await;
        let reply = connection.reply().await;
        assert_eq!((reply.status(), reply.text()), (413, "request body too large\n"));
        assert_eq!(connection.rest().await.unwrap(), b"");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn the_client_decides_whether_the_connection_stays_open() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    for (request, stays) in [
        ("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nhost: localhost\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", true),
    ] {
        let mut connection = proxy.http1().await;
        connection.send(request).await;
        assert_eq!(connection.reply().await.text(), "hello");
        if stays {
            assert_eq!(connection.get("/").await.text(), "hello");
        } else {
            assert_eq!(connection.rest().await.unwrap(), b"", "ended in order");
        }
    }
    // To a client of HTTP/1.0 a body without length ends with the connection.
    let mut connection = proxy.http1().await;
    connection.send("GET /chunks/70000 HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(connection.try_head().await.unwrap().field("transfer-encoding"), "");
    assert_eq!(sha256(&connection.rest().await.unwrap()), Pattern::sha256(70_000, 70_000));
    proxy.stop().await;
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_complete() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    for version in ["1.1", "1.0"] {
        let mut connection = proxy.http1().await;
        connection.send(format!("GET /abort/500000 HTTP/{version}\r\nhost: localhost\r\n\r\n")).await;
        assert_eq!(connection.try_head().await.unwrap().status(), 200);
        connection.rest().await.expect_err("no end in order");
    }
    proxy.stop().await;
}

/// The backend reads nothing of an upload that is larger than all buffers on the way, and the response is larger too.
#[tokio::test]
async fn a_response_goes_on_while_the_upload_is_held_back() {
    const LENGTH: usize = 30_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let backend = tokio::spawn(async move {
        let (mut backend, _) = listener.accept().await.unwrap();
        backend.read_exact(&mut [0; 1000]).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        backend.write_all(&[head.as_bytes(), &vec![b'z'; LENGTH]].concat()).await.unwrap();
        backend
    });
    let proxy = Proxy::start(|settings| {
        let limits = "max_request_body_bytes: 100MB";
        settings.protocol("http1").upstream("all", "/", std::slice::from_ref(&url)).performance(limits)
    })
    .await;
    let (mut read, mut write) = tokio::io::split(proxy.http1().await.into_stream());
    let upload = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LENGTH}\r\n\r\n");
        // Fails when the response has ended: Spooky then reads no more.
        let _ = write.write_all(&[head.as_bytes(), &vec![b'u'; LENGTH]].concat()).await;
    });
    let mut received = vec![0; LENGTH];
    wait::within("the response", read.read_exact(&mut received)).await.unwrap();
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n") && received.ends_with(b"zzzz"));
    upload.abort();
    drop(wait::within("the backend", backend).await.unwrap());
    proxy.stop().await;
}
