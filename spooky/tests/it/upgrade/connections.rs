//! What clients see of upgrades: nothing but GOAWAY.

use spooky_testkit::client::Failure;
use spooky_testkit::duplex::{Ask, Client as AnyClient, Origin as Backend, Protocol, Tunnel};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use tokio::task::JoinSet;

use super::Upgraded;
use crate::proxy::{NAME, Proxy};

const PROTOCOLS: [Protocol; 3] = [Protocol::Http3, Protocol::Http2, Protocol::Http1];
const PATIENT: &str = "shutdown_drain_timeout_ms: 10m\nmax_request_body_bytes: 100MB";

pub(super) async fn start(workers: usize, backend: &str) -> Upgraded {
    let backend = [backend.to_owned()];
    let start = |settings: spooky_testkit::settings::Settings| {
        settings.level("haunt").workers(workers).upstream("all", "/", &backend).performance(PATIENT)
    };
    Upgraded::new(Proxy::start(start).await)
}

async fn connect(upgraded: &Upgraded, protocol: Protocol) -> AnyClient {
    AnyClient::connect(protocol, &upgraded.proxy.authority, upgraded.proxy.settings.addr()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_over_three_upgrades() {
    const LENGTH: usize = 40_000_000;
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let mut downloads = Vec::new();
    for protocol in PROTOCOLS {
        let mut client = connect(&upgraded, protocol).await;
        let path = format!("/chunks/{LENGTH}"); // each chunk is a frame of its own
        let (head, stream) = client.ask(Ask::Get(&path), &[]).await.unwrap();
        assert_eq!(head.status, 200);
        downloads.push((protocol, client, stream, Vec::new()));
    }
    for _ in 0..3 {
        upgraded.upgrade().await;
        for (protocol, _, stream, body) in &mut downloads {
            let part = stream.read(LENGTH / 5).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
            body.extend_from_slice(&part);
        }
    }
    for (protocol, _client, mut stream, mut body) in downloads {
        body.extend(stream.rest().await.unwrap());
        assert_eq!(sha256(&body), Pattern::sha256(LENGTH as u64, LENGTH as u64), "{protocol:?}");
    }
    upgraded.ended(0).await;
    upgraded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_over_three_upgrades_and_arrives_whole() {
    const LENGTH: usize = 30_000_000;
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let body = Pattern::bytes(9, LENGTH as u64);
    let mut uploads = Vec::new();
    for protocol in PROTOCOLS {
        let mut client = connect(&upgraded, protocol).await;
        let mut stream = client.open(Ask::Post("/digest"), &[]).await.unwrap();
        stream.send(&body[..1000]).await.unwrap();
        uploads.push((protocol, client, stream));
    }
    origin.journal().until("the requests", |seen| seen.requests.len() == PROTOCOLS.len()).await;
    for part in body[1000..].chunks(LENGTH / 4) {
        if upgraded.processes.len() <= 3 {
            upgraded.upgrade().await;
        }
        for (protocol, _, stream) in &mut uploads {
            for piece in part.chunks(100_000) {
                stream.send(piece).await.unwrap_or_else(|error| panic!("{protocol:?}: {error}"));
            }
        }
    }
    assert_eq!(upgraded.processes.len(), 4);
    for (protocol, _client, mut stream) in uploads {
        stream.end().await.unwrap();
        assert_eq!(stream.head().await.unwrap().status, 200, "{protocol:?}");
        let answer = String::from_utf8(stream.rest().await.unwrap()).unwrap();
        assert_eq!(answer, format!("{LENGTH} {}", sha256(&body)), "{protocol:?}");
    }
    upgraded.ended(0).await;
    upgraded.stop().await;
}

/// One process after the other keeps its own connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_four_processes_work_side_by_side() {
    let mut backend = Backend::start(false, None).await;
    let mut upgraded = start(2, &backend.url()).await;
    let mut sockets = Vec::new();
    for upgrade in 0..4 {
        if upgrade > 0 {
            upgraded.upgrade().await;
        }
        for protocol in PROTOCOLS {
            let mut client = connect(&upgraded, protocol).await;
            let socket = Tunnel::websocket(&mut client, &mut backend).await;
            sockets.push((upgrade, protocol, client, socket));
        }
        for (process, protocol, _, socket) in &mut sockets {
            eprintln!("{protocol:?} of process {process} after upgrade {upgrade}");
            socket.talk().await;
        }
    }
    for (_, _, _client, socket) in sockets {
        socket.end(true).await;
    }
    for position in 0..3 {
        upgraded.ended(position).await;
    }
    upgraded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_connections_get_goaway_and_new_ones_are_served_all_the_time() {
    let origin = Origin::h2c().await;
    let mut upgraded = start(2, &origin.url()).await;
    let addr = upgraded.proxy.settings.addr();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..4_u64 {
        let (client, stopped) = (upgraded.proxy.client(), stopped.clone());
        clients.spawn(async move {
            let (mut served, mut connections) = (0_u64, 0_u64);
            while !*stopped.borrow() {
                let connection = client.connect(addr, NAME).await;
                connections += 1;
                // Until GOAWAY, which says that the request was not processed.
                while !*stopped.borrow() {
                    let body = Pattern::bytes(number + served, 5000);
                    match connection.post("/echo", body.clone()).await {
                        Ok(reply) => assert!(reply.status == 200 && reply.body == body, "{reply:?}"),
                        Err(error) => {
                            eprintln!("client {number} after {served} requests: {error:?}");
                            assert!(is_goaway(&error), "{error:?}");
                            break;
                        }
                    }
                    served += 1;
                }
            }
            (served, connections)
        });
    }
    for upgrade in 1..=3 {
        let before = origin.journal().read(|seen| seen.requests.len());
        origin.journal().until("requests", |seen| seen.requests.len() > before + 100).await;
        upgraded.upgrade().await;
        upgraded.ended(upgrade - 1).await;
    }
    stop.send_replace(true);
    for (served, connections) in clients.join_all().await {
        // A handshake that begins just before a handover is taken by the old process, which sends GOAWAY at once.
        assert!(served > 0 && (4..=8).contains(&connections), "{served} requests on {connections} connections");
    }
    upgraded.stop().await;
}

/// Returns whether a client may send the request again on another connection.
fn is_goaway(error: &Failure) -> bool {
    const H3_NO_ERROR: u64 = 0x100;
    const H3_REQUEST_REJECTED: u64 = 0x10b;
    matches!(error, Failure::GoingAway | Failure::Stream(H3_REQUEST_REJECTED) | Failure::Connection(H3_NO_ERROR))
}
