//! Backends that speak HTTP/1.1: detection, pooling, framing, aborts (docs/reference/configuration.md#upstreamubackends).

use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};

use crate::proxy::Proxy;

#[tokio::test]
async fn a_backend_that_does_not_know_the_preface_gets_http1() {
    let origin = Origin::http1().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    let reply = connection.get("/bytes/300000").await.unwrap();
    assert_eq!(sha256(&reply.body), Pattern::sha256(300_000, 300_000));
    assert_eq!(reply.field("via"), "1.1 spooky");
    let body = Pattern::bytes(7, 500_000);
    let reply = connection.post("/digest", body.clone()).await.unwrap();
    assert_eq!(reply.text(), format!("500000 {}", sha256(&body)));
    let record = origin.journal().now();
    assert_eq!((record.connections, record.requests.len()), (2, 3), "one for the preface, one for all requests");
}
