//! The scripted origin seen by a plain socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn exchange(tcp: &mut TcpStream, request: &[u8], expected: &str) {
    tcp.write_all(request).await.unwrap();
    let mut bytes = vec![0; expected.len()];
    wait::within("an answer", tcp.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[tokio::test]
async fn requests_of_every_framing_are_read_and_recorded() {
    let origin = Http1Origin::scripted(|entry, number| {
        vec![Step::Body, answer(&format!("{number} {} {}", entry.method, entry.path))]
    })
    .await;
    let mut tcp = TcpStream::connect(origin.addr()).await.unwrap();
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    exchange(&mut tcp, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", &ok("1 GET /a")).await;
    exchange(&mut tcp, b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", &ok("2 POST /b")).await;
    let chunked = b"PUT /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-t: 1\r\n\r\n";
    exchange(&mut tcp, chunked, &ok("3 PUT /c")).await;
    let record = origin.journal().until("three requests", |record| record.completed == 3).await;
    assert_eq!((record.connections, record.body_bytes, record.requests[0].authority.as_str()), (1, 6, "x"));
    assert!(origin.received()[0].ends_with(chunked));
}

#[tokio::test]
async fn gates_ends_and_prefaces() {
    let origin =
        Http1Origin::start(OnPreface::Refuse, |_, _| vec![Step::text("half"), Step::Gate, Step::HalfClose]).await;
    let mut tcp = TcpStream::connect(origin.addr()).await.unwrap();
    exchange(&mut tcp, b"GET / HTTP/1.1\r\n\r\n", "half").await;
    origin.open_gate(1);
    assert_eq!(wait::within("the end", tcp.read(&mut [0])).await.unwrap(), 0);
    let mut tcp = TcpStream::connect(origin.addr()).await.unwrap();
    exchange(&mut tcp, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n").await;
    let origin = Http1Origin::answering(vec![Step::Reset]).await;
    let mut tcp = TcpStream::connect(origin.addr()).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(wait::within("the reset", tcp.read(&mut [0])).await.is_err());
}
