//! CONNECT from HTTP/2 and HTTP/1.1 clients (docs/reference/behaviour.md#websocket-connect-and-grpc).

use spooky_testkit::duplex::{Ask, Client, Origin, Protocol, Tunnel};

use crate::proxy::Proxy;

const CLIENTS: [Protocol; 2] = [Protocol::Http2, Protocol::Http1];
const ALLOW: &str = "resilience:\n  protocol: { allow_connect: true, connect_allowed_ports: [443] }";

async fn start(is_http2: bool, block: &str) -> (Origin, Proxy) {
    let origin = Origin::start(is_http2, None).await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).block(block)).await;
    (origin, proxy)
}

async fn connect(protocol: Protocol, proxy: &Proxy) -> Client {
    Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await
}

#[tokio::test]
async fn bytes_pass_both_ways_and_either_side_ends_first() {
    for is_http2 in [true, false] {
        let (mut origin, proxy) = start(is_http2, ALLOW).await;
        for protocol in CLIENTS {
            let mut client = connect(protocol, &proxy).await;
            for client_ends_first in [true, false] {
                let mut tunnel = Tunnel::connect(&mut client, &mut origin).await;
                tunnel.talk().await;
                tunnel.end(client_ends_first).await;
            }
        }
        proxy.stop().await;
    }
}

#[tokio::test]
async fn policy_refuses_without_asking_the_backend() {
    let allow_no_other = ("other.example:5432", 403, "CONNECT target denied by policy\n");
    let allow_none = ("db.example:443", 405, "request method blocked by policy\n");
    for (block, (authority, status, text)) in [(ALLOW, allow_no_other), ("", allow_none)] {
        let (origin, proxy) = start(true, block).await;
        for protocol in CLIENTS {
            let mut client = connect(protocol, &proxy).await;
            let (head, mut body) = client.ask(Ask::Connect(authority), &[]).await.unwrap();
            assert_eq!((head.status, &*body.rest().await.unwrap()), (status, text.as_bytes()), "{protocol:?}");
            assert_eq!(head.field("allow").is_empty(), status == 403, "{head:?}");
            let refused = client.ask(Ask::Connect("db.example"), &[]).await.unwrap().0;
            assert_eq!(refused.status, 400, "{protocol:?}: a target without a port");
        }
        assert!(origin.is_idle());
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_backend_is_an_ordinary_response() {
    for is_http2 in [true, false] {
        let (mut origin, proxy) = start(is_http2, ALLOW).await;
        for protocol in CLIENTS {
            let mut client = connect(protocol, &proxy).await;
            for _ in 0..2 {
                let mut asked = client.open(Ask::Connect("db.example:443"), &[]).await.unwrap();
                let mut backend = origin.accept().await.respond(403, &[("x-why", "closed")]).await.unwrap();
                backend.send(b"not here").await.unwrap();
                backend.end().await.unwrap();
                let head = asked.head().await.unwrap();
                assert_eq!((head.status, head.field("x-why")), (403, "closed"));
                assert_eq!(asked.rest().await.unwrap(), b"not here");
            }
        }
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_reset_on_either_side_is_one_on_the_other() {
    for is_http2 in [true, false] {
        let (mut origin, proxy) = start(is_http2, ALLOW).await;
        for protocol in CLIENTS {
            let mut client = connect(protocol, &proxy).await;
            let mut tunnel = Tunnel::connect(&mut client, &mut origin).await;
            tunnel.talk().await;
            tunnel.client.reset();
            tunnel.backend.rest().await.expect_err("no end in order");

            let mut tunnel = Tunnel::connect(&mut client, &mut origin).await;
            tunnel.talk().await;
            tunnel.backend.reset();
            tunnel.client.rest().await.expect_err("no end in order");

            // One direction has ended in order before.
            let mut tunnel = Tunnel::connect(&mut client, &mut origin).await;
            tunnel.client.end().await.unwrap();
            assert_eq!(tunnel.backend.data().await.unwrap(), None);
            tunnel.backend.reset();
            tunnel.client.rest().await.expect_err("no end in order");
            Tunnel::connect(&mut client, &mut origin).await.end(true).await;
        }
        proxy.stop().await;
    }
}
