//! Connections of a process that was replaced: clients that move, a successor that ends first, and the end of the old process.

use http::Request;
use rustix::process::{Signal, kill_process};
use spooky_testkit::client::Exchange;
use spooky_testkit::origin::Origin;
use spooky_testkit::{port, wait};

use super::connections::start;
use crate::proxy::NAME;

fn post() -> Request<()> {
    Request::post("https://localhost/echo").body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_an_old_process_may_move_while_it_uploads() {
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let client = upgraded.proxy.client();
    let connection = client.connect(upgraded.proxy.settings.addr(), NAME).await;
    let Exchange { mut sending, mut reading } = connection.open(post()).await.unwrap();
    sending.data("begun").await.unwrap();
    assert_eq!(reading.head().await.unwrap().status(), 200);
    for _ in 0..3 {
        upgraded.upgrade().await;
        client.rebind();
        sending.data(vec![7; 100_000]).await.unwrap();
        client.rebind();
        sending.data(vec![8; 100_000]).await.unwrap();
    }
    sending.finish().await.unwrap();
    assert_eq!(reading.sum().await.unwrap().len, 600_005);
    drop((reading, sending, connection));
    upgraded.ended(0).await;
    upgraded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_goes_on_when_its_successor_ends_first() {
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let connection = upgraded.proxy.connect().await;
    let Exchange { mut sending, mut reading } = connection.open(post()).await.unwrap();
    sending.data("begun").await.unwrap();
    assert_eq!(reading.head().await.unwrap().status(), 200);
    upgraded.upgrade().await;
    upgraded.signal(Signal::TERM);
    upgraded.ended(1).await;
    sending.data(vec![7; 1_000_000]).await.unwrap();
    sending.finish().await.unwrap();
    assert_eq!(reading.sum().await.unwrap().len, 1_000_005);
    drop((reading, sending, connection));
    upgraded.all_ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_an_old_process_that_was_killed_get_a_stateless_reset() {
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let connection = upgraded.proxy.connect().await;
    let mut exchange = connection.open(post()).await.unwrap();
    exchange.sending.data("begun").await.unwrap();
    upgraded.upgrade().await;
    kill_process(upgraded.processes[0], Signal::KILL).unwrap();
    upgraded.ended(0).await;
    let quic = connection.quic().clone();
    let sending = tokio::spawn(async move { exchange.sending.data(vec![7; 10_000]).await });
    let error = wait::within("the end of the connection", quic.closed()).await;
    assert!(matches!(error, quinn::ConnectionError::Reset), "{error:?}");
    let _failed = sending.await.unwrap();
    assert_eq!(upgraded.proxy.connect().await.get("/").await.unwrap().text(), "hello");
}

/// Each reload moves the listener. The process that is replaced still drains those before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_listeners_that_reloads_have_removed_outlive_an_upgrade() {
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let client = upgraded.proxy.client();
    let (mut addr, mut text) = (upgraded.proxy.settings.addr(), upgraded.proxy.settings.text());
    let mut uploads = Vec::new();
    for generation in 2..=4 {
        let connection = client.connect(addr, NAME).await;
        let mut exchange = connection.open(post()).await.unwrap();
        exchange.sending.data("begun").await.unwrap();
        assert_eq!(exchange.reading.head().await.unwrap().status(), 200);
        uploads.push((connection, exchange));
        let next = port::free();
        text = text.replace(&format!("port: {}\n", addr.port()), &format!("port: {}\n", next.port()));
        addr = next;
        upgraded.proxy.reload(&text, generation).await;
    }
    for _ in 0..2 {
        upgraded.upgrade().await;
        let connection = client.connect(addr, NAME).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        for (_, exchange) in &mut uploads {
            exchange.sending.data(vec![7; 100_000]).await.unwrap();
        }
    }
    for (_connection, Exchange { mut sending, mut reading }) in uploads {
        sending.finish().await.unwrap();
        assert_eq!(reading.sum().await.unwrap().len, 200_005);
    }
    upgraded.ended(0).await;
    upgraded.stop().await;
}
