//! Limits of bodies and connections, and endpoints that cannot be bound.

use std::time::{Duration, Instant};

use spooky_testkit::origin::Origin;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::Http1;
use spooky_testkit::wait;
use tokio::net::TcpStream;

use super::rig::{Rig, observability};
use crate::proxy::{Proxy, certificates, run};

#[tokio::test]
async fn a_body_above_64_kib_is_refused() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let path = "/admin/runtime/validate";
    let fits = format!("# {}\n", "x".repeat(64 * 1024 - 3));
    assert_eq!(rig.send("POST", path, "", &fits).await.status(), 400, "an empty configuration");
    // Announced, and refused before it is sent.
    let mut connection = Http1::over(TcpStream::connect(rig.at).await.unwrap());
    connection.send(format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 65537\r\n\r\n", rig.at)).await;
    assert_eq!(connection.reply().await.status(), 413);
    let mut connection = Http1::over(TcpStream::connect(rig.at).await.unwrap());
    let chunk = format!("10001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10001));
    let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", rig.at);
    connection.send(head + &chunk).await;
    assert_eq!(connection.reply().await.status(), 413);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn connections_are_bounded_in_number_and_time() {
    let origin = Origin::h2c().await;
    let keys = ", max_connections: 2, connection_timeout_ms: 1000";
    let rig = Rig::start_with(&[origin.url()], keys, |settings| settings).await;
    let began = Instant::now();
    let mut open = Vec::new();
    // The connection by which the start was noticed may still count.
    while open.len() < 2 {
        let mut connection = Http1::over(TcpStream::connect(rig.at).await.unwrap());
        connection.send(format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", rig.at)).await;
        if connection.try_reply().await.is_ok() {
            open.push(connection);
        }
    }
    let mut third = Http1::over(TcpStream::connect(rig.at).await.unwrap());
    let sent = third.try_send(format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", rig.at)).await;
    assert!(sent.is_err() || third.try_reply().await.is_err(), "above the limit");
    for mut connection in open {
        let end = connection.rest().await.unwrap();
        assert!(end.is_empty() && began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    }
    assert_eq!(rig.get("/health").await.0, 200);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_bound_stops_the_start_only_if_it_is_required() {
    let origin = Origin::h2c().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let block = observability(at, "").replace("required: true", "required: false");
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).block(&block)).await;
    let text = format!("failed to bind control API endpoint {at}: Address already in use");
    proxy.logged(&text, 1).await;
    proxy.stop().await;

    let (_, files) = certificates();
    let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]).block(&observability(at, ""));
    let path = settings.write(&files);
    let mut program = run(&path);
    assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
    let output = program.rest().await.join("\n");
    assert!(output.contains(&format!("failed to bind control API endpoint {at}")), "{output}");
}
