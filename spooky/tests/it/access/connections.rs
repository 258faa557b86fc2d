//! `log.connections`: one line for every client connection, when it has ended.

use super::Line;
use crate::proxy::Proxy;
use spooky_testkit::{origin::Origin, wait};

/// Waits for the line of the connections that have ended, and returns the fields of the last one.
async fn connection(proxy: &Proxy, count: usize) -> Line {
    let target = " INFO connection: ";
    proxy.logged(target, count).await;
    let output = proxy.program.output();
    let line = output.lines().rfind(|line| line.contains(target)).unwrap().to_owned();
    Line::parse(&line.replace(target, " INFO access: "))
}

#[tokio::test]
async fn each_connection_has_a_line_when_it_has_ended() {
    let origin = Origin::h2c().await;
    let edit = |text: String| text.replace("log: { level: info }", "log: { level: info, connections: true }");
    let proxy = Proxy::start_edited(|settings| settings.upstream("all", "/", &[origin.url()]), edit).await;

    let quic = proxy.connect().await;
    for _ in 0..3 {
        assert_eq!(quic.get("/bytes/5000").await.unwrap().body.len(), 5000);
    }
    assert_eq!(proxy.count(" INFO connection: "), 0, "it is open");
    quic.quic().close(0x100_u32.into(), b"a b\n");
    let h3 = connection(&proxy, 1).await;
    h3.check("protocol=h3 requests=3");
    assert!(h3.field("client").starts_with("127.0.0.1:"));
    assert!(
        h3.field("bytes_out").parse::<u64>().unwrap() > 15_000 && h3.field("bytes_in").parse::<u64>().unwrap() > 1200
    );
    assert!(h3.field("lost_packets").parse::<u64>().is_ok() && h3.millis("rtt_ms") > 0.0);
    assert!(h3.millis("duration_ms") >= h3.millis("handshake_ms") && h3.millis("handshake_ms") > 0.0);
    assert!(h3.field("reason").contains("a\\x20b\\x0a"), "{}", h3.field("reason"));

    let mut http2 = proxy.http2().await;
    assert_eq!(http2.get("/bytes/5000").await.unwrap().status, 200);
    drop(http2);
    let h2 = connection(&proxy, 2).await;
    h2.check("protocol=h2 requests=1");
    assert!(h2.field("lost_packets").parse::<u64>().is_ok() && h2.millis("rtt_ms") > 0.0);
    assert!(h2.field("bytes_out").parse::<u64>().unwrap() > 5000 && h2.millis("handshake_ms") > 0.0);

    let mut http1 = proxy.http1().await;
    for _ in 0..2 {
        assert_eq!(http1.get("/").await.text(), "hello");
    }
    drop(http1);
    connection(&proxy, 3).await.check("protocol=http/1.1 requests=2");

    // A client that says nothing of TLS, and one that is open when the process stops.
    drop(tokio::net::TcpStream::connect(proxy.settings.addr()).await.unwrap());
    let silent = connection(&proxy, 4).await;
    silent.check("protocol=- requests=0 handshake_ms=-");
    let quic = proxy.connect().await;
    assert_eq!(quic.get("/").await.unwrap().status, 200);
    let mut proxy = proxy;
    wait::within("the end", proxy.program.stop()).await;
    proxy.program.rest().await;
    let last = connection(&proxy, 5).await;
    last.check("protocol=h3 requests=1");
    assert_ne!(last.field("reason"), "-");
}
