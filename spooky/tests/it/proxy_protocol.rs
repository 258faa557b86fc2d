//! The PROXY protocol in front of TLS.

use std::net::SocketAddr;

use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::{Http1, handshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxy::{NAME, Proxy};

const TRUSTED: &str = "tcp: { proxy_protocol: { enabled: true, trusted_sources: [ 127.0.0.0/8 ] } }";
const OTHERS: &str = "tcp: { proxy_protocol: { enabled: true, trusted_sources: [ 192.0.2.0/24 ] } }";

/// The header of version 2 for a connection from 192.0.2.7:56324.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";
/// A health check of a load balancer that sends addresses all the same.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb";

async fn behind(line: &str, origin: &Origin) -> Proxy {
    let urls = [origin.url()];
    let edit = |text: String| text.replace("listen:\n", &format!("listen:\n  {line}\n"));
    Proxy::start_edited(|settings| settings.level("debug").upstream("all", "/", &urls), edit).await
}

async fn dial(addr: SocketAddr, segments: &[&[u8]]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for segment in segments {
        stream.write_all(segment).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream
}

/// Returns the client's address as the backend sees it.
async fn forwarded_for(proxy: &Proxy, stream: TcpStream) -> String {
    let tls = handshake(stream, NAME, proxy.authority.client_config(&[b"http/1.1"])).await.unwrap();
    let reply = Http1::over(tls).get("/fields").await;
    let fields = reply.text().to_owned();
    let line = fields.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_header_of_a_trusted_source_tells_the_client() {
    let origin = Origin::h2c().await;
    let proxy = behind(TRUSTED, &origin).await;
    let addr = proxy.settings.addr();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    let bytes: Vec<&[u8]> = line.chunks(1).collect();
    let v6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n";
    for (segments, client) in [
        (&[&line[..]][..], "192.0.2.7"),
        (&bytes, "192.0.2.7"),
        (&[BINARY], "192.0.2.7"),
        (&[&BINARY[..7], &BINARY[7..20], &BINARY[20..]], "192.0.2.7"),
        (&[v6], "2001:db8::7"),
        (&[b"PROXY UNKNOWN\r\n"], "127.0.0.1"),
        (&[LOCAL], "127.0.0.1"),
    ] {
        let stream = dial(addr, segments).await;
        assert_eq!(forwarded_for(&proxy, stream).await, client, "{segments:?}");
    }
    proxy.stop().await;
}

#[tokio::test]
async fn the_header_may_share_a_segment_with_the_client_hello() {
    let origin = Origin::h2c().await;
    let proxy = behind(TRUSTED, &origin).await;
    // A relay that sends the header with the client's first bytes.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (at, to) = (listener.local_addr().unwrap(), proxy.settings.addr());
    let relay = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 16_384];
        let length = client.read(&mut first).await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        server.write_all(&[BINARY, &first[..length]].concat()).await.unwrap();
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    assert_eq!(forwarded_for(&proxy, TcpStream::connect(at).await.unwrap()).await, "192.0.2.7");
    relay.abort();
    proxy.stop().await;
}

#[tokio::test]
async fn a_trusted_source_without_a_valid_header_is_closed() {
    let origin = Origin::h2c().await;
    let proxy = behind(TRUSTED, &origin).await;
    let addr = proxy.settings.addr();
    for first in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n"[..], b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n"]
    {
        let mut stream = dial(addr, &[first]).await;
        assert!(!matches!(stream.read(&mut [0; 16]).await, Ok(1..)), "{first:?}");
    }
    proxy.logged("invalid PROXY header", 3).await;
    proxy.stop().await;
}

#[tokio::test]
async fn no_header_is_read_from_other_sources() {
    let origin = Origin::h2c().await;
    let proxy = behind(OTHERS, &origin).await;
    let addr = proxy.settings.addr();
    assert_eq!(forwarded_for(&proxy, dial(addr, &[]).await).await, "127.0.0.1");
    let stream = dial(addr, &[BINARY]).await;
    handshake(stream, NAME, proxy.authority.client_config(&[b"http/1.1"])).await.expect_err("no TLS");
    proxy.stop().await;
}
