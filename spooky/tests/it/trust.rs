//! Certificates of clients and backends, and detection of TLS without verification
//! (`docs/reference/configuration.md#listentlsclient_auth`, `docs/reference/configuration.md#upstream_tls`).

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use spooky_testkit::certs::{Authority, Identity};
use spooky_testkit::client::{Client, Connection, frame};
use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::{Http1, Http2};
use spooky_testkit::{port, tcp, wait};
use tokio::net::TcpStream;

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

/// Starts a proxy that requests client certificates of this CA, with further keys of `client_auth`.
async fn asking(clients: &Authority, more: &str, origin: &Origin) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let auth = format!(", client_auth: {{ enabled: true, ca_file: {}, {more} }} }}\nupstream:", ca.display());
    let url = [origin.url()];
    let adjust = |settings: spooky_testkit::settings::Settings| settings.level("debug").upstream("all", "/", &url);
    let proxy = Proxy::start_edited(adjust, |text| text.replacen(" }\nupstream:", &auth, 1)).await;
    (proxy, folder)
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_required() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, "require_client_cert: true", &origin).await;
    // The client's handshake completes before the server notices the missing certificate.
    let end = match proxy.client().dial(proxy.settings.addr(), NAME).await {
        Ok(connection) => wait::within("the connection to be closed", connection.closed()).await,
        Err(error) => error,
    };
    // certificate_required (RFC 8446 section 6.2) as a QUIC error (RFC 9001 section 4.8).
    assert!(end.to_string().contains("116"), "{end:?}");
    proxy.logged("DEBUG spooky_edge::quic::ending: QUIC recv failed: TlsFail from 127.0.0.1:", 1).await;
    proxy.logged(": downstream mTLS requires a client certificate", 1).await;
    let output = proxy.program.output();
    let id = output.split_once("DEBUG spooky_edge::quic::ending: closing connection ").unwrap().1;
    let id = id.split_once(':').unwrap().0;
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
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

const SUBJECT: &str = "x-client-subject";

/// Creates a client with a certificate.
fn client_of(proxy: &Proxy, identity: &Identity) -> Client {
    Client::with_tls(proxy.authority.client_config_of(identity, &[b"h3"]), |_| {})
}

/// Sends [`SUBJECT`] in head and trailers, more than once. Returns what the origin has received.
async fn seen(connection: &Connection, origin: &Origin) -> (Vec<String>, String) {
    let mut request = Request::post("https://localhost/digest").body(()).unwrap();
    let mut trailers = HeaderMap::new();
    for forged in ["CN=root", "CN=admin"] {
        request.headers_mut().append(SUBJECT, HeaderValue::from_static(forged));
        trailers.append(SUBJECT, HeaderValue::from_static(forged));
        // Some backends cannot distinguish it from the real field.
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
        // A certificate with only a subject alternative name has no subject.
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

#[tokio::test]
async fn the_subject_of_a_tcp_client_is_the_verified_one() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, "subject_header: X-Client-Subject", &origin).await;
    let known = clients.issue_to("known", &["client.example"]);
    for (config, expected) in [
        (proxy.authority.client_config_of(&known, &[b"http/1.1"]), Some("CN=known")),
        (proxy.authority.client_config(&[b"http/1.1"]), None),
    ] {
        let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
        let stream = wait::within("TLS", tcp::handshake(stream, NAME, config)).await.unwrap();
        let mut connection = Http1::over(stream);
        connection.send("GET / HTTP/1.1\r\nhost: localhost\r\nx-client-subject: CN=root\r\n\r\n").await;
        assert_eq!(connection.reply().await.text(), "hello");
        assert_eq!(origin.journal().last().field(SUBJECT), expected);
        connection.send("POST /digest HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await;
        connection.send("0\r\nx-client-subject: CN=root\r\nx-sum: 1\r\n\r\n").await;
        let reply = connection.reply().await;
        assert_eq!(["x-sum", SUBJECT].map(|name| reply.field(&format!("x-trailer-{name}"))), ["1", ""]);
    }
    let anybody = Authority::new().issue_to("known", &["client.example"]);
    let config = proxy.authority.client_config_of(&anybody, &[b"http/1.1"]);
    let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
    let refused = async {
        let mut connection = Http1::over(tcp::handshake(stream, NAME, config).await?);
        connection.try_send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        connection.try_reply().await
    };
    let error = wait::within("the refusal", refused).await.unwrap_err().to_string();
    assert!(error.contains("UnknownCA"), "{error}");
    proxy.stop().await;
}

/// Presents the current certificate, and counts the requests for it; there is none on resumption.
#[derive(Debug)]
struct Changing {
    current: Mutex<Arc<CertifiedKey>>,
    asked: AtomicUsize,
}

impl Changing {
    fn show(&self, identity: &Identity) {
        *self.current.lock().unwrap() = Arc::new(identity.certified());
    }
}

impl ResolvesClientCert for Changing {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Some(self.current.lock().unwrap().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Returns the error of a client whose certificate is rejected, possibly after its handshake.
async fn turned_away(client: &Client, proxy: &Proxy) -> String {
    match client.dial(proxy.settings.addr(), NAME).await {
        Ok(connection) => wait::within("the connection to be closed", connection.closed()).await.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The certificate is requested on every connection: an expired one cannot be used by resumption, and another one has
/// another subject.
#[tokio::test]
async fn no_session_outlives_the_certificate_of_its_client() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    for require in [true, false] {
        let more = format!("require_client_cert: {require}, subject_header: {SUBJECT}");
        let (proxy, _folder) = asking(&clients, &more, &origin).await;
        let names = &["client.example"];
        let known = clients.issue_to("known", names);
        let shown = Changing { current: Mutex::new(Arc::new(known.certified())), asked: AtomicUsize::new(0) };
        let shown = Arc::new(shown);
        let mut tls = proxy.authority.client_config(&[b"h3"]);
        tls.client_auth_cert_resolver = shown.clone();
        let client = Client::with_tls(tls, |_| {});
        for connections in 1..=3 {
            let connection = client.connect(proxy.settings.addr(), NAME).await;
            assert_eq!(seen(&connection, &origin).await, (vec!["CN=known".to_owned()], String::new()));
            assert_eq!(shown.asked.load(Ordering::Relaxed), connections, "nothing was resumed");
        }
        shown.show(&clients.issue_to("other", names));
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        assert_eq!(seen(&connection, &origin).await, (vec!["CN=other".to_owned()], String::new()));
        shown.show(&clients.issue_expired_to("known", names));
        // certificate_expired (RFC 8446 section 6.2).
        let end = turned_away(&client, &proxy).await;
        assert!(end.contains("error 45"), "{end}");
        let connection = client_of(&proxy, &known).connect(proxy.settings.addr(), NAME).await;
        assert_eq!(seen(&connection, &origin).await, (vec!["CN=known".to_owned()], String::new()));
    }
}

#[tokio::test]
async fn a_revoked_client_certificate_is_turned_away() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let [good, bad] = ["good", "bad"].map(|name| clients.issue_to(name, &["client.example"]));
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("revoked.pem");
    // With a byte order mark and CRLF.
    let text = format!("\u{feff}{}", clients.revocation_list(&[&bad])).replace('\n', "\r\n");
    std::fs::write(&lists, text).unwrap();
    let more = format!("require_client_cert: true, crl_file: {}, subject_header: {SUBJECT}", lists.display());
    let (proxy, _folder) = asking(&clients, &more, &origin).await;
    // certificate_revoked (RFC 8446 section 6.2).
    let end = turned_away(&client_of(&proxy, &bad), &proxy).await;
    assert!(end.contains("error 44"), "{end}");
    let connection = client_of(&proxy, &good).connect(proxy.settings.addr(), NAME).await;
    assert_eq!(seen(&connection, &origin).await.0, ["CN=good"]);
    assert_eq!(origin.journal().now().requests.len(), 1);
}

/// Files with a byte order mark, CRLF, and blocks without a line end between them: every block is used.
#[tokio::test]
async fn pem_files_are_used_whole_however_they_were_written() {
    let [one, two] = [Authority::new(), Authority::new()];
    let [first, second] =
        [Origin::tls(&one.issue(&["127.0.0.1"])).await, Origin::tls(&two.issue(&["127.0.0.1"])).await];
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    let glued = format!("\u{feff}{}{}", one.pem().trim_end(), two.pem().trim_end());
    std::fs::write(&bundle, glued.replace('\n', "\r\n")).unwrap();
    let upstreams = |settings: spooky_testkit::settings::Settings| {
        settings
            .upstream("first", "/digest", &[first.url()])
            .upstream("second", "/", &[second.url()])
            .block(&format!("upstream_tls: {{ ca_file: {} }}", bundle.display()))
    };
    let edit = |text: String| {
        let quoted =
            |name: &str| text.split(&format!("{name}: \"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
        for file in [quoted("cert"), quoted("key")] {
            let pem = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, format!("\u{feff}{}", pem.replace('\n', "\r\n"))).unwrap();
        }
        let auth = format!(
            ", client_auth: {{ enabled: true, require_client_cert: true, ca_file: {} }} }}\nupstream:",
            bundle.display()
        );
        text.replacen(" }\nupstream:", &auth, 1)
    };
    let proxy = Proxy::start_edited(upstreams, edit).await;
    for clients in [&one, &two] {
        let connection =
            client_of(&proxy, &clients.issue(&["client.example"])).connect(proxy.settings.addr(), NAME).await;
        for path in ["/", "/digest"] {
            assert_eq!(connection.get(path).await.unwrap().status, 200, "{path}");
        }
    }
    assert_eq!((first.journal().now().requests.len(), second.journal().now().requests.len()), (2, 2));
}

/// Errors of a backend's certificate are logged as text.
#[tokio::test]
async fn a_backend_with_the_certificate_of_an_authority_is_named_as_such() {
    let backends = Authority::new();
    let origin = Origin::tls(&backends.issue_authority_to("backend", &["127.0.0.1"])).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, backends.pem()).unwrap();
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).block(&format!("upstream_tls: {{ ca_file: {} }}", ca.display()))
    })
    .await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().status, 502);
    proxy
        .logged("reason=the certificate is that of an authority (CA:TRUE), which no server or client may use", 1)
        .await;
}

/// Starts a proxy with certificates for `a.example` and `shared.example`, `b.example`, `*.w.example`, and its own.
async fn with_names(origin: &Origin) -> (Proxy, Authority, tempfile::TempDir) {
    let (names, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut entries = String::new();
    for (number, (name, sans)) in [
        ("a.example", &["a.example", "shared.example"][..]),
        ("b.example", &["b.example"]),
        ("shared.example", &["shared.example"]),
        ("*.w.example", &["*.w.example"]),
    ]
    .into_iter()
    .enumerate()
    {
        let identity = names.issue(sans);
        let [cert, key] = ["crt", "key"].map(|kind| folder.path().join(format!("{number}.{kind}")));
        std::fs::write(&cert, &identity.cert_pem).unwrap();
        std::fs::write(&key, &identity.key_pem).unwrap();
        let (cert, key) = (cert.display(), key.display());
        let _ = write!(entries, "{{ server_name: \"{name}\", cert: {cert}, key: {key} }},");
    }
    let url = [origin.url()];
    let proxy = Proxy::start_edited(
        |settings| settings.upstream("all", "/", &url),
        |text| text.replacen(" }\nupstream:", &format!(", certificates: [ {entries} ] }}\nupstream:"), 1),
    )
    .await;
    (proxy, names, folder)
}

#[tokio::test]
async fn a_request_for_a_host_of_another_certificate_is_misdirected() {
    let origin = Origin::h2c().await;
    let (proxy, names, _folder) = with_names(&origin).await;
    let mut served = 0;
    for (sni, hosts) in [
        (
            "a.example",
            &[("A.Example:443", 200), ("a.example.", 200), ("shared.example", 200), ("elsewhere.example", 200)][..],
        ),
        ("a.example", &[("b.example", 421), ("B.EXAMPLE.:8443", 421), ("x.W.example", 421), ("[::1]", 200)]),
        ("x.w.example", &[("y.w.example", 200), ("x.w.example:443", 200), ("a.example", 421), ("x.y.w.example", 200)]),
        ("b.example", &[("shared.example", 421), ("w.example", 200), ("b.example", 200), ("127.0.0.1", 200)]),
    ] {
        let client = Client::new(&names);
        let connection = client.connect_raw(proxy.settings.addr(), sni).await;
        connection.send_settings().await;
        for (host, status) in hosts {
            let head = [(":method", "GET"), (":scheme", "https"), (":authority", *host), (":path", "/")];
            let answer = connection.request(&frame::headers(&head), true).await.answer().await.unwrap();
            assert_eq!(answer.statuses(), [status.to_string()], "{host} on a connection for {sni}");
            if *status == 421 {
                assert_eq!(answer.body, b"misdirected request\n");
            } else {
                served += 1;
            }
            assert_eq!(origin.journal().now().requests.len(), served, "{host} on a connection for {sni}");
        }
    }
    // Without `:authority`, `host` is checked.
    let connection = Client::new(&names).connect_raw(proxy.settings.addr(), "a.example").await;
    connection.send_settings().await;
    let head = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "b.example")];
    let answer = connection.request(&frame::headers(&head), true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["421"]);
    // The proxy's own certificate also covers b.example, but not names below w.example. Without SNI there is no check.
    for (sni, host, status) in
        [(NAME, "b.example", "200"), (NAME, "x.w.example", "421"), ("127.0.0.1", "x.w.example", "200")]
    {
        let connection = proxy.client().connect_raw(proxy.settings.addr(), sni).await;
        connection.send_settings().await;
        let head = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")];
        let answer = connection.request(&frame::headers(&head), true).await.answer().await.unwrap();
        assert_eq!(answer.statuses(), [status], "{host} on a connection for {sni}");
    }
}

#[tokio::test]
async fn a_request_for_a_host_of_another_certificate_is_misdirected_over_tcp() {
    let origin = Origin::h2c().await;
    let (proxy, names, _folder) = with_names(&origin).await;
    for (sni, host, status) in [
        ("a.example", "A.Example:443", 200),
        ("a.example", "shared.example", 200),
        ("a.example", "b.example", 421),
        ("x.w.example", "y.w.example", 200),
        ("x.w.example", "a.example", 421),
        ("b.example", "elsewhere.example", 200),
    ] {
        let mut http1 = Http1::connect(&names, proxy.settings.addr(), sni).await;
        http1.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(http1.reply().await.status(), status, "{host} on an HTTP/1.1 connection for {sni}");
        let mut http2 = Http2::connect(&names, proxy.settings.addr(), sni).await;
        let request = Request::get(format!("https://{host}/")).body(()).unwrap();
        let (response, _) = http2.open(request, true).await.unwrap();
        let response = wait::within("a response", response).await.unwrap();
        assert_eq!(response.status(), status, "{host} on an HTTP/2 connection for {sni}");
    }
    proxy.stop().await;
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
    // Client certificates are not requested, so there is no subject.
    assert_eq!(seen(&proxy.connect().await, &origin).await, (vec![], String::new()));
    let theirs = vec!["CN=root".to_owned(), "CN=admin".to_owned()];
    let connection = proxy.client().connect(other.get(), NAME).await;
    assert_eq!(seen(&connection, &origin).await.0, theirs, "another field of that listener");
}

/// Adds a second listener; only the first has [`SUBJECT`].
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
