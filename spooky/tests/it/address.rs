//! Address validation, and packets that belong to no connection.

use std::net::SocketAddr;

use rustix::process::Signal;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::{client::Client, wait};
use tokio::net::UdpSocket;

use crate::proxy::{NAME, Proxy, certificates, run};

const DATAGRAM_BYTES: usize = 65_535;
/// Long headers of version 1 by their first byte (RFC 9000 section 17.2): type bits, and values.
const TYPE: u8 = 0xf0;
const INITIAL: u8 = 0xc0;
const RETRY: u8 = 0xf0;
/// Logged for each Retry packet, at most ten times a second.
const BY_RETRY: &str = "by Retry: its address is not validated";
/// Logged for each request, after the earlier messages of its connection.
const REQUEST: &str = "HTTP/3 request GET /";

async fn socket() -> UdpSocket {
    UdpSocket::bind(("127.0.0.1", 0)).await.unwrap()
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let (length, _) = wait::within("a datagram", socket.recv_from(&mut buffer)).await.unwrap();
    buffer.truncate(length);
    buffer
}

/// Returns the datagrams that have arrived.
fn rest(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let next = || socket.try_recv(&mut buffer).ok().map(|length| buffer[..length].to_vec());
    std::iter::from_fn(next).collect()
}

/// Sends an Initial packet until it is answered. Returns the first byte of the answer.
async fn answered(datagram: &[u8], to: SocketAddr) -> u8 {
    let socket = socket().await;
    socket.send_to(datagram, to).await.unwrap();
    receive(&socket).await[0]
}

async fn debugged(origin: &Origin, performance: &str) -> Proxy {
    Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()]).performance(performance))
        .await
}

#[tokio::test]
async fn handshakes_that_nobody_completes_hold_no_places() {
    let origin = Origin::h2c().await;
    let limits = "max_active_connections: 20\nmax_connections_per_ip: 4\nquic_retry_handshakes: 16\n\
                  client_handshake_timeout_ms: 60s\nquic_max_idle_timeout_ms: 60s";
    let proxy = debugged(&origin, limits).await;
    let (addr, sender) = (proxy.settings.addr(), socket().await);
    for datagrams in proxy.client().first_datagrams(NAME, 300, 1).await {
        sender.send_to(&datagrams[0], addr).await.unwrap();
    }
    wait::until(wait::BOUND, "answers by Retry", || async {
        rest(&sender).iter().any(|answer| answer[0] & TYPE == RETRY).then_some(())
    })
    .await;
    // All from the attacker's address, up to the limit per address.
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(proxy.connect().await);
    }
    for connection in &connections {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    proxy.client().dial(addr, NAME).await.expect_err("a fifth connection of the address");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_dropped() {
    let origin = Origin::h2c().await;
    let proxy = debugged(&origin, "quic_retry_handshakes: 1\nclient_handshake_timeout_ms: 1s").await;
    let addr = proxy.settings.addr();
    let firsts = proxy.client().first_datagrams(NAME, 1, 1).await;
    assert_eq!(answered(&firsts[0][0], addr).await & TYPE, INITIAL, "there is room for one");
    proxy.logged("not complete after client_handshake_timeout_ms", 1).await;
    assert_eq!(proxy.count(BY_RETRY), 0);
    let firsts = proxy.client().first_datagrams(NAME, 2, 1).await;
    assert_eq!(answered(&firsts[0][0], addr).await & TYPE, INITIAL, "there is room again");
    assert_eq!(answered(&firsts[1][0], addr).await & TYPE, RETRY, "for one only");
}

#[tokio::test]
async fn a_retry_token_proves_one_address_only() {
    let origin = Origin::h2c().await;
    let proxy = debugged(&origin, "quic_retry: always").await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
    proxy.logged(REQUEST, 1).await;
    assert!(proxy.count(BY_RETRY) > 0, "that connection was asked for a proof");

    let (relay, ours, other) = (socket().await, socket().await, socket().await);
    let (client, addr) = (proxy.client(), proxy.settings.addr());
    let at = relay.local_addr().unwrap();
    let dialing = tokio::spawn(async move { client.dial(at, NAME).await.map(|_| ()) });
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let (length, from) = relay.recv_from(&mut buffer).await.unwrap();
    ours.send_to(&buffer[..length], addr).await.unwrap();
    let retry = receive(&ours).await;
    assert_eq!(retry[0] & TYPE, RETRY);
    relay.send_to(&retry, from).await.unwrap();
    // The client now uses the id that the Retry packet came from.
    let id = 6 + usize::from(retry[5]);
    let id = retry[id + 1..][..usize::from(retry[id])].to_vec();
    let with_token = loop {
        let datagram = receive(&relay).await;
        if datagram[6..6 + usize::from(datagram[5])] == id {
            break datagram;
        }
    };
    other.send_to(&with_token, addr).await.unwrap();
    let close = receive(&other).await;
    assert!(close[0] & TYPE == INITIAL && close.len() < 200, "a refusal: {} bytes", close.len());
    ours.send_to(&with_token, addr).await.unwrap();
    let mut sent = vec![with_token];
    // With a valid token the handshake continues: Handshake packets follow after the whole ClientHello.
    wait::within("the server's handshake", async {
        let mut down = vec![0; DATAGRAM_BYTES];
        let mut total = 0;
        while total < 1200 {
            tokio::select! {
                up = relay.recv(&mut buffer) => {
                    sent.push(buffer[..up.unwrap()].to_vec());
                    ours.send_to(&sent[sent.len() - 1], addr).await.unwrap();
                }
                received = ours.recv(&mut down) => total += received.unwrap(),
            }
        }
    })
    .await;
    dialing.abort();
}

#[tokio::test]
async fn an_address_token_spares_the_retry_once() {
    let origin = Origin::h2c().await;
    let proxy = debugged(&origin, "quic_retry: always").await;
    let client = proxy.client();
    let first = client.connect(proxy.settings.addr(), NAME).await;
    assert_eq!(first.get("/").await.unwrap().text(), "hello");
    proxy.logged(REQUEST, 1).await;
    let asked = proxy.count(BY_RETRY);
    assert!(asked > 0);
    // The client has got tokens with the first answers. Another client has none.
    let second = client.connect(proxy.settings.addr(), NAME).await;
    assert_eq!(second.get("/").await.unwrap().text(), "hello");
    proxy.logged(REQUEST, 2).await;
    assert_eq!(proxy.count(BY_RETRY), asked, "the second connection of the same client");
    let other = proxy.connect().await;
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    wait::until(wait::BOUND, "another Retry", || async { (proxy.count(BY_RETRY) > asked).then_some(()) }).await;
}

/// Starts the program until it can bind its port, which the previous process may still hold.
async fn started(settings: &Settings, files: &spooky_testkit::certs::Files) -> Program {
    let mut program = run(&settings.write(files));
    program.line("Data-plane workers=").await;
    program
}

#[tokio::test]
async fn after_a_kill_the_next_process_resets_the_connections_of_the_last() {
    let origin = Origin::h2c().await;
    for has_secret in [false, true] {
        let (authority, files) = certificates();
        let mut settings = Settings::new(&files).workers(2).upstream("all", "/", &[origin.url()]);
        if has_secret {
            let secret = files.dir().join("secret");
            std::fs::write(&secret, [7; 32]).unwrap();
            settings = settings.performance(&format!("quic_secret_file: {}", secret.display()));
        }
        let mut killed = started(&settings, &files).await;
        let client = Client::new(&authority);
        let mut connections = Vec::new();
        for _ in 0..8 {
            let connection = client.connect(settings.addr(), NAME).await;
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
            connections.push(connection);
        }
        killed.signal(Signal::KILL);
        killed.exit(wait::BOUND).await;
        if has_secret {
            // Not even the certificate needs to be the same.
            let renewed = authority.issue(&[NAME]);
            std::fs::write(&files.cert, renewed.cert_pem).unwrap();
            std::fs::write(&files.key, renewed.key_pem).unwrap();
        }
        let _running = started(&settings, &files).await;
        for connection in &connections {
            let asking = connection.clone();
            let request = tokio::spawn(async move { asking.get("/").await });
            let end = wait::within("the end of the connection", connection.quic().closed()).await;
            assert!(matches!(end, quinn::ConnectionError::Reset), "{end}");
            request.await.unwrap().expect_err("the connection is gone");
        }
    }
}

#[tokio::test]
async fn packets_of_nobody_are_reset_with_less_or_dropped() {
    let origin = Origin::h2c().await;
    let proxy = debugged(&origin, "").await;
    let (addr, sender) = (proxy.settings.addr(), socket().await);
    for length in [0, 1, 20, 21, 22, 40, 60, 1200] {
        sender.send_to(&vec![0x41; length], addr).await.unwrap();
    }
    proxy.logged("Wrong QUIC HEADER", 3).await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    let mut answers: Vec<_> = rest(&sender).iter().map(Vec::len).collect();
    answers.sort_unstable();
    assert!(!answers.is_empty());
    for (answer, provoked_by) in answers.iter().rev().zip([1200, 60, 40, 22]) {
        assert!((21..provoked_by).contains(answer), "{answers:?}");
    }
}

#[tokio::test]
async fn an_unknown_version_with_long_ids_is_answered() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let (addr, sender) = (proxy.settings.addr(), socket().await);
    let mut datagram = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 255];
    datagram.extend([1; 255]);
    datagram.push(21);
    datagram.extend([2; 21]);
    datagram.resize(1200, 0);
    // Packets that must not be answered come first: a Version Negotiation packet, and a small one.
    sender.send_to(&[&[0xc0, 0, 0, 0, 0][..], &datagram[5..]].concat(), addr).await.unwrap();
    sender.send_to(&datagram[..1199], addr).await.unwrap();
    sender.send_to(&datagram, addr).await.unwrap();
    let answer = receive(&sender).await;
    assert_eq!((answer[0] & 0x80, &answer[1..6]), (0x80, &[0, 0, 0, 0, 21][..]));
    assert!(answer[6..27] == [2; 21] && answer[27] == 255 && answer[28..283] == [1; 255]);
    let versions: Vec<_> = answer[283..].chunks(4).collect();
    assert!(versions.contains(&&[0, 0, 0, 1][..]) && !versions.contains(&&[0x1a, 0x2a, 0x3a, 0x4a][..]));
    assert_eq!(rest(&sender).len(), 0);
}

/// At most three times the received bytes are sent to an address that is not validated; quinn-proto may exceed that by a part
/// of one datagram. Prints the figure for `SECURITY.md`.
#[tokio::test]
async fn what_goes_to_an_unproven_address_is_bounded() {
    let origin = Origin::h2c().await;
    let limits = "client_handshake_timeout_ms: 8s\nquic_max_idle_timeout_ms: 60s";
    let proxy = debugged(&origin, limits).await;
    let (addr, sender) = (proxy.settings.addr(), socket().await);
    let firsts = proxy.client().first_datagrams(NAME, 1, 2).await;
    let mut sent = 0;
    for datagram in &firsts[0] {
        sent += sender.send_to(datagram, addr).await.unwrap();
    }
    proxy.logged("not complete after client_handshake_timeout_ms", 1).await;
    let received: usize = rest(&sender).iter().map(Vec::len).sum();
    let factor = received as f64 / sent as f64;
    println!("{received} bytes for {sent}: {factor:.2}");
    assert!(factor > 1.0 && factor < 3.6, "{factor}");
}
