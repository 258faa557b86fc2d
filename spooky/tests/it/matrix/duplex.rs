//! Features in which the order of events on both sides counts. The test is both the client and the backend.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use spooky_testkit::certs::Identity;
use spooky_testkit::duplex::{Ask, Client, Origin, Tunnel};

use super::{BACKENDS, CLIENTS};
use crate::proxy::Proxy;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    EarlyHints,
    Continue,
    Refusal,
    Events,
    FullDuplex,
    WebSocket,
    Connect,
    CancelledDownload,
    CancelledUpload,
}

const FEATURES: [(&str, Feature); 9] = [
    ("103 before the response", Feature::EarlyHints),
    ("`expect: 100-continue`, accepted by 100", Feature::Continue),
    ("`expect: 100-continue`, refused by a final status", Feature::Refusal),
    ("each event of `text/event-stream` at once", Feature::Events),
    ("messages both ways while both are open, as in gRPC", Feature::FullDuplex),
    ("WebSocket, ended by either side", Feature::WebSocket),
    ("CONNECT, ended by either side", Feature::Connect),
    ("a client that aborts its download", Feature::CancelledDownload),
    ("a client that aborts its upload", Feature::CancelledUpload),
];

/// A client and a backend with the proxy between them.
struct Pair<'a> {
    client: Client,
    backend: &'a mut Origin,
}

/// Returns the rows of the table, after every cell was tried.
pub(super) async fn rows(identity: &Identity, tls: &str) -> String {
    let mut proxies = Vec::new();
    for backend in BACKENDS {
        let origin = Origin::start(backend.is_http2(), backend.is_tls().then_some(identity)).await;
        let lines = if backend.is_tls() { tls } else { "" };
        let proxy = Proxy::start(|settings| {
            settings
                .upstream_with("all", "/", &[origin.url()], lines)
                .block("resilience:\n  protocol: { allow_connect: true }")
        })
        .await;
        proxies.push((backend, origin, proxy));
    }
    let mut table = String::new();
    for (name, feature) in FEATURES {
        let _ = write!(table, "| {name} |");
        for protocol in CLIENTS {
            for (backend, origin, proxy) in &mut proxies {
                eprintln!("{name}: {protocol:?} -> {backend:?}"); // names the cell that fails
                let client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
                origin.discard();
                let mut pair = Pair { client, backend: origin };
                let works = passes(pair.check(feature)).await;
                table.push_str(if works { " ✓ |" } else { " ✗ |" });
            }
        }
        table.push('\n');
        assert!(!table.contains('✗'), "see above for each cell that fails:\n{table}"); // not the others: a cell may wait long
    }
    for (_, _, proxy) in proxies {
        proxy.stop().await;
    }
    table
}

/// Returns false if the check panics, so that the table shows each cell that fails.
async fn passes(check: impl Future<Output = ()>) -> bool {
    let mut check = std::pin::pin!(check);
    let poll = |cx: &mut Context<'_>| {
        let polled = catch_unwind(AssertUnwindSafe(|| check.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(false), |polled| polled.map(|()| true))
    };
    std::future::poll_fn(poll).await
}

impl Pair<'_> {
    async fn check(&mut self, feature: Feature) {
        match feature {
            Feature::EarlyHints => self.early_hints().await,
            Feature::Continue => self.accepted_expectation().await,
            Feature::Refusal => self.refused_expectation().await,
            Feature::Events => self.events().await,
            Feature::FullDuplex => self.full_duplex().await,
            Feature::WebSocket => {
                for client_ends_first in [true, false] {
                    let mut tunnel = Tunnel::websocket(&mut self.client, self.backend).await;
                    tunnel.talk().await;
                    tunnel.end(client_ends_first).await;
                }
            }
            Feature::Connect => {
                for client_ends_first in [true, false] {
                    let mut tunnel = Tunnel::connect(&mut self.client, self.backend).await;
                    tunnel.talk().await;
                    tunnel.end(client_ends_first).await;
                }
            }
            Feature::CancelledDownload => self.cancelled_download().await,
            Feature::CancelledUpload => self.cancelled_upload().await,
        }
        assert!(self.backend.is_idle(), "each request is sent once");
    }

    async fn early_hints(&mut self) {
        let mut client = self.client.open(Ask::Get("/page"), &[]).await.unwrap();
        let mut request = self.backend.accept().await;
        request.interim(103, &[("link", "</style.css>; rel=preload")]).await.unwrap();
        let hints = client.head().await.unwrap();
        assert_eq!((hints.status, hints.field("link")), (103, "</style.css>; rel=preload"));
        request.respond(200, &[]).await.unwrap().end().await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        assert_eq!(client.rest().await.unwrap(), b"");
    }

    async fn accepted_expectation(&mut self) {
        let mut client = self.client.open(Ask::Post("/upload"), &[("expect", "100-continue")]).await.unwrap();
        let mut request = self.backend.accept().await;
        assert_eq!(request.field("expect"), "100-continue");
        request.interim(100, &[]).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 100);
        client.send(b"body").await.unwrap();
        client.end().await.unwrap();
        assert_eq!(request.stream().rest().await.unwrap(), b"body");
        request.respond(200, &[]).await.unwrap().end().await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
    }

    async fn refused_expectation(&mut self) {
        let mut client = self.client.open(Ask::Post("/upload"), &[("expect", "100-continue")]).await.unwrap();
        let mut backend = self.backend.accept().await.respond(417, &[]).await.unwrap();
        backend.end().await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 417);
        assert_eq!(client.rest().await.unwrap(), b"");
        backend.rest().await.expect_err("a body that was never sent does not look complete");
    }

    async fn events(&mut self) {
        let mut client = self.client.open(Ask::Get("/events"), &[]).await.unwrap();
        let request = self.backend.accept().await;
        let mut backend = request.respond(200, &[("content-type", "text/event-stream")]).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        for event in [b"data: 1\n\n", b"data: 2\n\n"] {
            backend.send(event).await.unwrap();
            assert_eq!(client.read(event.len()).await.unwrap(), event);
        }
        backend.end().await.unwrap();
        assert_eq!(client.rest().await.unwrap(), b"");
    }

    async fn full_duplex(&mut self) {
        let fields = [("content-type", "application/grpc")];
        let mut client = self.client.open(Ask::Post("/service/method"), &fields).await.unwrap();
        client.send(b"first").await.unwrap();
        let mut request = self.backend.accept().await;
        assert_eq!(request.stream().read(5).await.unwrap(), b"first");
        let mut backend = request.respond(200, &fields).await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        backend.send(b"reply").await.unwrap();
        assert_eq!(client.read(5).await.unwrap(), b"reply");
        let mut call = Tunnel { client, backend };
        call.talk().await;
        call.end(true).await;
    }

    async fn cancelled_download(&mut self) {
        let mut client = self.client.open(Ask::Get("/download"), &[]).await.unwrap();
        let mut backend = self.backend.accept().await.respond(200, &[]).await.unwrap();
        backend.send(b"begin").await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        assert_eq!(client.read(5).await.unwrap(), b"begin");
        client.reset();
        backend.cut_off().await;
        self.works().await;
    }

    async fn cancelled_upload(&mut self) {
        let mut client = self.client.open(Ask::Post("/upload"), &[]).await.unwrap();
        client.send(b"begin").await.unwrap();
        let mut request = self.backend.accept().await;
        assert_eq!(request.stream().read(5).await.unwrap(), b"begin");
        client.reset();
        request.stream().rest().await.expect_err("an upload that was cut off does not look complete");
        self.works().await;
    }

    /// Checks that the next request works.
    async fn works(&mut self) {
        let mut client = self.client.open(Ask::Get("/"), &[]).await.unwrap();
        let mut backend = self.backend.accept().await.respond(200, &[]).await.unwrap();
        backend.send(b"hello").await.unwrap();
        backend.end().await.unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        assert_eq!(client.rest().await.unwrap(), b"hello");
    }
}
