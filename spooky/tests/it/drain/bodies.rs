//! The drain cuts no body: neither one that still arrives, nor one that waits for a client that reads late.

use spooky_testkit::duplex::{Ask, Client};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};

use super::{PROTOCOLS, begin, ended, patient};

/// More than sockets and windows buffer on the way.
const LARGE: usize = 20_000_000;
/// Small enough to be buffered on the way: the exchange has ended when the drain begins.
const SMALL: usize = 200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downloads_arrive_whole_though_their_clients_read_after_the_drain_has_begun() {
    let origin = Origin::h2c().await;
    for protocol in PROTOCOLS {
        for length in [SMALL, LARGE] {
            let mut proxy = patient(&origin.url()).await;
            let mut client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
            let path = format!("/bytes/{length}");
            let (head, mut stream) = client.ask(Ask::Get(&path), &[]).await.unwrap();
            assert_eq!(head.status, 200);
            if length == SMALL {
                origin.journal().until("the whole response to be sent", |seen| seen.completed > 0).await;
            }
            begin(&mut proxy).await;
            let body = stream.rest().await.unwrap_or_else(|error| panic!("{protocol:?} {length}: {error}"));
            assert_eq!(body.len(), length, "{protocol:?}");
            assert_eq!(sha256(&body), Pattern::sha256(length as u64, length as u64), "{protocol:?} {length}");
            drop((stream, client));
            ended(proxy).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_go_on_in_the_drain_arrive_whole() {
    let origin = Origin::h2c().await;
    for protocol in PROTOCOLS {
        let mut proxy = patient(&origin.url()).await;
        let mut client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
        let before = origin.journal().read(|seen| seen.requests.len());
        let mut stream = client.open(Ask::Post("/digest"), &[]).await.unwrap();
        let body = Pattern::bytes(7, LARGE as u64);
        stream.send(&body[..1000]).await.unwrap();
        origin.journal().until("the request", |seen| seen.requests.len() > before).await;
        begin(&mut proxy).await;
        for piece in body[1000..].chunks(100_000) {
            stream.send(piece).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
        }
        stream.end().await.unwrap();
        assert_eq!(stream.head().await.unwrap().status, 200, "{protocol:?}");
        let answer = String::from_utf8(stream.rest().await.unwrap()).unwrap();
        assert_eq!(answer, format!("{LARGE} {}", sha256(&body)), "{protocol:?}");
        drop((stream, client));
        ended(proxy).await;
    }
}
