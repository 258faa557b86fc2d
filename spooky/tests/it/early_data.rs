//! Requests in TLS early data (`docs/reference/behaviour.md#early-data`).
//!
//! The tests run on one thread: a request that is written without waiting is sent with the first flight.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use spooky_testkit::client::raw::{self, Answer};
use spooky_testkit::client::{Client, frame};
use spooky_testkit::origin::Origin;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::proxy::{NAME, Proxy};

const ON: &str = "resilience: { protocol: { allow_0rtt: true } }";

async fn accepting(origin: &Origin, adjust: impl Fn(Settings) -> Settings) -> Proxy {
    let url = [origin.url()];
    Proxy::start(|settings| adjust(settings.upstream("all", "/", &url).block(ON))).await
}

fn head(method: &str, path: &str) -> Bytes {
    frame::headers(&[(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path)])
}

/// A client that has been connected at `addr`, so that it has a ticket and a token for the next connection.
async fn returning(proxy: &Proxy, addr: SocketAddr) -> Client {
    let client = Client::with_tls(proxy.authority.early_client_config(), |_| {});
    assert!(client.connect_early(addr, NAME).is_none());
    visit(&client, addr).await;
    client
}

/// Connects, which gives the client a further ticket and token. They arrive before the response.
async fn visit(client: &Client, addr: SocketAddr) {
    assert_eq!(client.connect(addr, NAME).await.get("/").await.unwrap().text(), "hello");
}

/// A connection on which a request was sent with the first flight.
struct Early {
    connection: raw::Connection,
    answer: Answer,
    /// The server has accepted early data; otherwise the request was sent again.
    is_accepted: bool,
}

impl Early {
    async fn new(client: &Client, addr: SocketAddr, head: &[u8]) -> Self {
        let (connection, accepted) = client.connect_early(addr, NAME).expect("a session that permits early data");
        connection.send_settings().await;
        let mut request = connection.request(head, true).await;
        let is_accepted = wait::within("the handshake", accepted).await;
        if !is_accepted {
            // All streams are gone.
            connection.send_settings().await;
            request = connection.request(head, true).await;
        }
        let answer = request.answer().await.unwrap();
        Self { connection, answer, is_accepted }
    }

    fn result(&self) -> (Vec<&str>, bool) {
        (self.answer.statuses(), self.is_accepted)
    }

    /// Waits for the ticket of this connection, which comes when the handshake is complete.
    async fn ticket(self) {
        self.connection.request(&head("GET", "/"), true).await.answer().await.unwrap();
    }
}

#[tokio::test]
async fn safe_requests_in_early_data_are_marked_and_others_are_refused() {
    let origin = Origin::h2c().await;
    let proxy = accepting(&origin, |settings| settings).await;
    let addr = proxy.settings.addr();
    let client = returning(&proxy, addr).await;
    for (method, path, status) in
        [("GET", "/status/201", "201"), ("HEAD", "/status/202", "202"), ("GET", "/status/425", "425")]
    {
        let early = Early::new(&client, addr, &head(method, path)).await;
        assert_eq!(early.result(), (vec![status], true), "{method} {path}");
        let seen = origin.journal().last();
        assert_eq!((seen.path.as_str(), seen.field("early-data")), (path, Some("1")));
        early.ticket().await;
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        let requests = origin.journal().now().requests.len();
        let early = Early::new(&client, addr, &head(method, "/")).await;
        assert_eq!(early.result(), (vec!["425"], true), "{method}");
        assert_eq!(early.answer.body, b"request blocked by early-data policy\n");
        assert_eq!(origin.journal().now().requests.len(), requests, "the backend has not seen it");
        early.ticket().await;
    }

    // After the handshake every method is accepted, and what a client says about itself is removed.
    let (connection, accepted) = client.connect_early(addr, NAME).unwrap();
    connection.send_settings().await;
    assert!(wait::within("the handshake", accepted).await);
    let pseudo =
        [(":method", "POST"), (":scheme", "https"), (":authority", NAME), (":path", "/echo"), ("early-data", "1")];
    // The server completes its handshake a little later than the client.
    wait::until(wait::BOUND, "the handshake", || async {
        let answer = connection.request(&frame::headers(&pseudo), true).await.answer().await.unwrap();
        (answer.statuses() == ["200"]).then_some(())
    })
    .await;
    assert_eq!(origin.journal().last().field("early-data"), None);
    proxy.stop().await;
}

#[tokio::test]
async fn early_data_is_off_by_default_and_where_client_certificates_are_asked_for() {
    let origin = Origin::h2c().await;
    let url = [origin.url()];
    let off = Proxy::before(&url).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, off.authority.pem()).unwrap();
    let auth = format!("client_auth: {{ enabled: true, ca_file: {} }}", ca.display());
    let asking = accepting(&origin, |settings| settings.tls(&auth)).await;
    for proxy in [off, asking] {
        let client = returning(&proxy, proxy.settings.addr()).await;
        assert!(client.connect_early(proxy.settings.addr(), NAME).is_none());
        proxy.stop().await;
    }
}

/// Clients remember limits with their session, and send early data under these (RFC 9000 section 7.4.1).
#[tokio::test]
async fn sessions_with_other_limits_send_nothing_early() {
    let origin = Origin::h2c().await;
    let proxy = accepting(&origin, |settings| settings).await;
    let addr = proxy.settings.addr();
    let client = returning(&proxy, addr).await;
    let smaller =
        proxy.settings.text().replace(ON, "resilience: { protocol: { allow_0rtt: true, max_headers_bytes: 1000 } }");
    proxy.reload(&smaller, 2).await;
    // A worker follows a little later than the log says. Each connection uses the ticket of the one before.
    wait::until(wait::BOUND, "other limits than those of the session", || async {
        let early = Early::new(&client, addr, &head("GET", "/")).await;
        assert_eq!(early.answer.statuses(), ["200"]);
        let (mark, is_accepted) = (origin.journal().last().field("early-data").map(str::to_owned), early.is_accepted);
        assert_eq!(mark.is_some(), is_accepted);
        early.ticket().await;
        (!is_accepted).then_some(())
    })
    .await;
    assert_eq!(Early::new(&client, addr, &head("GET", "/")).await.result(), (vec!["200"], true));
    proxy.stop().await;
}

/// Relays datagrams of one client, and records the first.
struct Recorder {
    addr: SocketAddr,
    inner: Arc<UdpSocket>,
    first: Arc<Mutex<Option<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Recorder {
    async fn start(server: SocketAddr) -> Self {
        let bind = || async { UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() };
        let (outer, inner) = (bind().await, Arc::new(bind().await));
        inner.connect(server).await.unwrap();
        let (addr, first) = (outer.local_addr().unwrap(), Arc::new(Mutex::new(None)));
        let (relay, recorded) = (inner.clone(), first.clone());
        let task = tokio::spawn(async move {
            let (mut up, mut down, mut client) = (vec![0; 65_535], vec![0; 65_535], None);
            loop {
                tokio::select! {
                    received = outer.recv_from(&mut up) => {
                        let Ok((length, from)) = received else { continue };
                        client = Some(from);
                        recorded.lock().unwrap().get_or_insert_with(|| up[..length].to_vec());
                        relay.send(&up[..length]).await.unwrap();
                    }
                    Ok(length) = relay.recv(&mut down) => {
                        let Some(client) = client else { continue };
                        outer.send_to(&down[..length], client).await.unwrap();
                    }
                }
            }
        });
        Self { addr, inner, first, task }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_recorded_request_in_early_data_is_served_once() {
    let origin = Origin::h2c().await;
    // The recorded handshakes are never completed.
    let proxy = accepting(&origin, |settings| settings.performance("shutdown_drain_timeout_ms: 500ms")).await;
    let addr = proxy.settings.addr();
    let client = returning(&proxy, addr).await;
    let recorder = Recorder::start(addr).await;
    let early = Early::new(&client, recorder.addr, &head("GET", "/status/203")).await;
    assert_eq!(early.result(), (vec!["203"], true));
    let first = recorder.first.lock().unwrap().clone().unwrap();
    recorder.task.abort();
    for _ in 0..3 {
        // From the address of before, and from others.
        recorder.inner.send(&first).await.unwrap();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().send_to(&first, addr).await.unwrap();
    }
    // One worker: when it serves this, it has seen the datagrams before.
    visit(&client, addr).await;
    let once = |record: &spooky_testkit::journal::Record| {
        record.requests.iter().filter(|entry| entry.path == "/status/203").count()
    };
    assert_eq!(origin.journal().read(once), 1);
    proxy.stop().await;
}
