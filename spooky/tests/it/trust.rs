//! Whom Spooky believes, and what it finds out where it is told to believe anyone (config 5, 6, 7.5).

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue, Request};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use spooky_testkit::certs::{Authority, Identity};
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::{port, wait};

use crate::proxy::{NAME, Proxy};

#[tokio::test]
async fn a_bare_address_without_verification_is_served_over_tls_or_cleartext() {
    let tls = Origin::tls(&Authority::new().issue(&["somebody.else"])).await;
    let cleartext = Origin::h2c().await;
    let bare = |origin: &Origin| [origin.addr().to_string()];
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("tls", "/echo/tls", &bare(&tls))
            .upstream("cleartext", "/echo/cleartext", &bare(&cleartext))
            .block("upstream_tls: { verify_certificates: false }")
    })
    .await;
    let connection = proxy.connect().await;
    for (name, origin) in [("tls", &tls), ("cleartext", &cleartext)] {
        let reply = connection.post(&format!("/echo/{name}"), "body").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "body"), "{name}");
        let text = format!(
            "Backend 'b1' in upstream '{name}' uses unverified TLS or cleartext, detected at connect ({})",
            origin.addr()
        );
        proxy.logged(&text, 1).await;
    }
}

#[tokio::test]
async fn a_bare_address_with_verification_is_never_spoken_to_in_cleartext() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.addr().to_string()]).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "upstream error\n");
    assert_eq!(origin.journal().now().requests.len(), 0);
}

/// A proxy that asks clients for a certificate of this authority, with further keys of `client_auth`.
async fn asking(clients: &Authority, more: &str, origin: &Origin) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let auth = format!(", client_auth: {{ enabled: true, ca_file: {}, {more} }} }}\nupstream:", ca.display());
    let url = [origin.url()];
    let adjust = |settings: spooky_testkit::settings::Settings| settings.upstream("all", "/", &url);
    let proxy = Proxy::start_edited(adjust, |text| text.replacen(" }\nupstream:", &auth, 1)).await;
    (proxy, folder)
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_required() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, "require_client_cert: true", &origin).await;
    // The client's handshake is complete before the server has seen that there is no certificate.
    let end = match proxy.client().dial(proxy.settings.addr(), NAME).await {
        Ok(connection) => wait::within("the connection to be closed", connection.closed()).await,
        Err(error) => error,
    };
    // certificate_required (RFC 8446 section 6.2) as a QUIC error (RFC 9001 section 4.8).
    assert!(end.to_string().contains("116"), "{end:?}");
    let known = Client::with_tls(proxy.authority.client_config_of(&clients.issue(&["known"]), &[b"h3"]), |_| {});
    let connection = known.connect(proxy.settings.addr(), NAME).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_served_where_one_is_only_asked_for() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, "require_client_cert: false", &origin).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
}

/// A field by which backends are told who the client is.
const SUBJECT: &str = "x-client-subject";

/// A client of this proxy that shows a certificate.
fn client_of(proxy: &Proxy, identity: &Identity) -> Client {
    Client::with_tls(proxy.authority.client_config_of(identity, &[b"h3"]), |_| {})
}

/// What the origin saw of [`SUBJECT`] in head and trailers of a request that carries it in both, more than once.
async fn seen(connection: &Connection, origin: &Origin) -> (Vec<String>, String) {
    let mut request = Request::post("https://localhost/digest").body(()).unwrap();
    let mut trailers = HeaderMap::new();
    for forged in ["CN=root", "CN=admin"] {
        request.headers_mut().append(SUBJECT, HeaderValue::from_static(forged));
        trailers.append(SUBJECT, HeaderValue::from_static(forged));
        // Some backends cannot tell it from the real one.
        request.headers_mut().append("x_client_subject", HeaderValue::from_static(forged));
        trailers.append("x-client_subject", HeaderValue::from_static(forged));
    }
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let mut exchange = connection.open(request).await.unwrap();
    exchange.sending.data("body").await.unwrap();
    exchange.sending.trailers(trailers).await.unwrap();
    exchange.sending.finish().await.unwrap();
    let reply = exchange.reading.reply().await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.field("x-trailer-x-sum")), (200, "1"));
    let head = origin.journal().last();
    let is_alias = |name: &str| name.contains('_') && name.replace('_', "-") == SUBJECT;
    let is_protected = reply.field(&format!("x-trailer-{SUBJECT}")).is_empty();
    assert_eq!(head.fields.iter().any(|(name, _)| is_alias(name)), !is_protected);
    assert_eq!(reply.field("x-trailer-x-client_subject").is_empty(), is_protected);
    let values = head.fields.into_iter().filter(|(name, _)| name == SUBJECT).map(|(_, value)| value);
    (values.collect(), reply.field(&format!("x-trailer-{SUBJECT}")).to_owned())
}

#[tokio::test]
async fn the_subject_that_backends_see_is_the_verified_one() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, "subject_header: X-Client-Subject", &origin).await;
    assert_eq!(proxy.count("client_auth.subject_header"), 0);
    let hostile = "Zoë, O=\"x\"\r\nx-admin: 1\0 ";
    for (common, told) in [
        ("known", vec!["CN=known"]),
        (hostile, vec![r#"CN=Zo\c3\ab\, O\=\"x\"\0d\0ax-admin: 1\00\20"#]),
        // A certificate for a name alone has no subject.
        ("", vec![]),
    ] {
        let identity = clients.issue_to(common, &["client.example"]);
        let connection = client_of(&proxy, &identity).connect(proxy.settings.addr(), NAME).await;
        for _ in 0..2 {
            let told = told.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(seen(&connection, &origin).await, (told, String::new()), "{common:?}");
        }
        assert_eq!(origin.journal().last().count("x-admin"), 0);
    }
    assert_eq!(seen(&proxy.connect().await, &origin).await, (vec![], String::new()), "no certificate");
}

/// Counts how often a server asks for the certificate: it does not when the session is resumed.
#[derive(Debug)]
struct Asked(Arc<dyn ResolvesClientCert>, Arc<AtomicUsize>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

#[tokio::test]
async fn a_resumed_session_keeps_its_subject() {
    const CONNECTIONS: usize = 5;
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let more = format!("require_client_cert: true, subject_header: {SUBJECT}");
    let (proxy, _folder) = asking(&clients, &more, &origin).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let mut tls = proxy.authority.client_config_of(&clients.issue_to("known", &["client.example"]), &[b"h3"]);
    tls.client_auth_cert_resolver = Arc::new(Asked(tls.client_auth_cert_resolver, asked.clone()));
    let client = Client::with_tls(tls, |_| {});
    for _ in 0..CONNECTIONS {
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        assert_eq!(seen(&connection, &origin).await, (vec!["CN=known".to_owned()], String::new()));
    }
    // A ticket that came late is no fault.
    assert!((1..CONNECTIONS).contains(&asked.load(Ordering::Relaxed)), "asked {asked:?} times");
}

#[tokio::test]
async fn each_listener_has_its_own_subject_header() {
    let origin = Origin::h2c().await;
    let other = Cell::new(port::free());
    let url = [origin.url()];
    let adjust = |settings: spooky_testkit::settings::Settings| settings.upstream("all", "/", &url);
    let edit = |text: String| {
        other.set(port::free()); // another at each attempt
        in_two(&text, other.get())
    };
    let proxy = Proxy::start_edited(adjust, edit).await;
    // No certificates are asked for, so nobody has a subject.
    assert_eq!(seen(&proxy.connect().await, &origin).await, (vec![], String::new()));
    let theirs = vec!["CN=root".to_owned(), "CN=admin".to_owned()];
    let connection = proxy.client().connect(other.get(), NAME).await;
    assert_eq!(seen(&connection, &origin).await.0, theirs, "another field of that listener");
}

/// The same file with a second listener there; only the first has [`SUBJECT`].
fn in_two(text: &str, other: SocketAddr) -> String {
    let (start, rest) = text.split_once("listen:\n").unwrap();
    let (listen, rest) = rest.split_once("upstream:\n").unwrap();
    let tls = listen.split_once("tls:").unwrap().1.trim();
    let told = |header: &str| tls.replace(" }", &format!(", client_auth: {{ subject_header: {header} }} }}"));
    let address = listen.split_once("  tls:").unwrap().0.replace('\n', ", ");
    let first = format!("  - {{ {address} tls: {} }}", told(SUBJECT));
    let second = format!("  - {{ address: {}, port: {}, tls: {} }}", other.ip(), other.port(), told("x-other"));
    format!("{start}listeners:\n{first}\n{second}\nupstream:\n{rest}")
}
