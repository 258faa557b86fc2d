//! The origin seen by hyper's HTTP/2 client.

use super::*;
use crate::certs::Authority;
use crate::dialer::{dial, dial_tls, fetch, request};
use crate::pattern::{Pattern, sha256};
use crate::wait;

#[tokio::test]
async fn every_page_of_the_site_answers() {
    let origin = Origin::h2c().await;
    let mut client = dial(origin.addr()).await;
    let got = fetch(&mut client, "/bytes/70000", "").await.unwrap();
    assert_eq!(sha256(&got.body), Pattern::sha256(70_000, 70_000));
    assert_eq!(got.headers["content-length"], "70000");
    let got = fetch(&mut client, "/chunks/70000", "").await.unwrap();
    assert_eq!(got.body.len(), 70_000);
    assert!(!got.headers.contains_key("content-length"));
    let got = fetch(&mut client, "/echo", "abc").await.unwrap();
    assert_eq!(got.body, "abc");
    let got = fetch(&mut client, "/digest", "abc").await.unwrap();
    assert_eq!(got.body, format!("3 {}", sha256(b"abc")));
    let got = fetch(&mut client, "/trailers", "").await.unwrap();
    assert_eq!(got.trailers.unwrap()["x-second"], "2");
    assert_eq!(fetch(&mut client, "/status/418", "").await.unwrap().status, 418);
    assert!(fetch(&mut client, "/fields", "").await.unwrap().body.starts_with(b"x-request-id: /fields\n"));
    let record = origin.journal().until("all answers", |record| record.completed == 7).await;
    assert_eq!((record.connections, record.requests.len(), record.cancelled), (1, 7, 0));
    assert!(record.duplicates().is_empty());
}

#[tokio::test]
async fn tls_origin_agrees_on_h2() {
    let authority = Authority::new();
    let origin = Origin::tls(&authority.issue(&["localhost"])).await;
    assert!(origin.url().starts_with("https://127.0.0.1:"));
    let mut client = dial_tls(origin.addr(), &authority).await;
    assert_eq!(fetch(&mut client, "/", "").await.unwrap().body, "hello");
}

#[tokio::test]
async fn an_answer_that_breaks_is_not_complete() {
    let origin = Origin::h2c().await;
    let mut client = dial(origin.addr()).await;
    assert!(fetch(&mut client, "/abort/1000", "").await.is_err());
    let record = origin.journal().until("the broken answer", |record| record.cancelled == 1).await;
    assert_eq!(record.completed, 0);
}

#[tokio::test]
async fn a_client_that_gives_up_is_booked() {
    let origin = Origin::h2c().await;
    let mut client = dial(origin.addr()).await;
    let pending = tokio::spawn(client.send_request(request("/hold", "")));
    origin.journal().until("the request", |record| record.requests.len() == 1).await;
    pending.abort();
    origin.journal().until("the cancellation", |record| record.cancelled == 1).await;
}

#[tokio::test]
async fn the_gate_holds_and_lets_go() {
    let origin = Origin::h2c().await;
    let mut client = dial(origin.addr()).await;
    let pending = tokio::spawn(client.send_request(request("/gate", "")));
    origin.journal().until("the request", |record| record.requests.len() == 1).await;
    assert!(!pending.is_finished());
    origin.open_gate();
    assert_eq!(wait::within("the gate", pending).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_stopped_origin_refuses() {
    let origin = Origin::h2c().await;
    let addr = origin.addr();
    origin.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
