//! Certificates that are renewed while the process runs (`docs/operate/reload-upgrade.md#certificates`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use spooky_testkit::certs::{Authority, Identity};
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::Http1;
use spooky_testkit::verifications::Verifications;
use spooky_testkit::{tcp, wait};
use tokio::net::TcpStream;

use crate::proxy::{NAME, Proxy};

/// Short, so that the tests are.
const QUICK: &str = "reload: { debounce_ms: 50 }";
const RELOADED: &str = "Certificates reloaded (generation=";
const FAILED: &str = "Certificate reload failed: 1 error(s); keeping generation ";

/// An authority, and a directory that it issues certificates into.
struct Issuer {
    authority: Authority,
    directory: tempfile::TempDir,
}

impl Issuer {
    fn new() -> Self {
        Self { authority: Authority::new(), directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn issue(&self) -> Identity {
        self.authority.issue(&[NAME, "127.0.0.1"])
    }

    /// Replaces both files, one after the other, as most programs do.
    fn install(&self, identity: &Identity) {
        for (name, text) in [("cert.pem", &identity.cert_pem), ("key.pem", &identity.key_pem)] {
            replace(&self.path(name), text);
        }
    }

    /// Starts a proxy with two workers and `cert.pem` and `key.pem` of the directory.
    async fn proxy(&self, origin: &Origin, adjust: impl Fn(Settings) -> Settings) -> Proxy {
        self.proxy_with("cert.pem", "key.pem", origin, adjust).await
    }

    async fn proxy_with(&self, cert: &str, key: &str, origin: &Origin, adjust: impl Fn(Settings) -> Settings) -> Proxy {
        let url = [origin.url()];
        let adjust = |settings: Settings| {
            let settings = settings.certificate(self.path(cert), self.path(key)).workers(2);
            adjust(settings.upstream("all", "/", &url).block(QUICK))
        };
        Proxy::start(adjust).await
    }

    /// Opens a connection without a session of an earlier one.
    async fn connect(&self, proxy: &Proxy) -> Connection {
        Client::new(&self.authority).connect(proxy.settings.addr(), NAME).await
    }

    /// Waits until new connections get this certificate, over QUIC and over TCP.
    async fn until_shown(&self, proxy: &Proxy, identity: &Identity) {
        let shows_it = || async { (shown(&Box::pin(self.connect(proxy)).await) == *identity.der()).then_some(()) };
        wait::until(wait::BOUND, "the new certificate over QUIC", shows_it).await;
        let shows_it = || async {
            let stream = Box::pin(tcp::connect(&self.authority, proxy.settings.addr(), NAME, &[b"h2"])).await.unwrap();
            let chain = stream.get_ref().1.peer_certificates().unwrap();
            (chain[0] == *identity.der()).then_some(())
        };
        wait::until(wait::BOUND, "the new certificate over TCP", shows_it).await;
    }
}

/// Replaces a file in one step.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Replaces a link in one step.
fn relink(target: impl AsRef<Path>, link: &Path) {
    let beside = link.with_file_name("..new");
    symlink(target, &beside).unwrap();
    fs::rename(beside, link).unwrap();
}

/// Returns the certificate that the server has shown.
fn shown(connection: &Connection) -> CertificateDer<'static> {
    let chain = connection.quic().peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    chain[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_load_without_a_failed_handshake() {
    const RENEWALS: usize = 10;
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.issue());
    let proxy = issuer.proxy(&origin, |settings| settings).await;
    let old = issuer.connect(&proxy).await;
    let request = old.open(http::Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
    let (stop, addr) = (tokio::sync::watch::channel(false), proxy.settings.addr());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..3 {
        // It resumes sessions of earlier certificates.
        let (client, stopped) = (Client::new(&issuer.authority), stop.1.clone());
        clients.spawn(async move {
            let mut served = 0;
            while !*stopped.borrow() {
                let connection = client.connect(addr, NAME).await;
                assert_eq!(connection.get("/").await.unwrap().text(), "hello");
                served += 1;
            }
            served
        });
    }
    for _ in 0..RENEWALS {
        let identity = issuer.issue();
        issuer.install(&identity);
        issuer.until_shown(&proxy, &identity).await;
    }
    stop.0.send_replace(true);
    let served: Vec<usize> = wait::within_time(Duration::from_secs(120), "all clients", clients.join_all()).await;
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    assert!(proxy.count(RELOADED) >= RENEWALS);
    let (mut sending, mut reading) = request.split();
    sending.data("still there").await.unwrap();
    sending.finish().await.unwrap();
    assert_eq!(reading.reply().await.unwrap().text(), "still there", "of a connection with the first certificate");
    proxy.stop().await;
}

/// Certbot writes new files and then changes one link after the other.
#[tokio::test]
async fn links_are_followed_as_certbot_changes_them() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    let (live, archive) = (issuer.path("live/localhost"), issuer.path("archive/localhost"));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&archive).unwrap();
    let renew = |number: usize| {
        let identity = issuer.issue();
        for (name, text) in [("privkey", &identity.key_pem), ("fullchain", &identity.cert_pem)] {
            fs::write(archive.join(format!("{name}{number}.pem")), text).unwrap();
        }
        for name in ["privkey", "fullchain"] {
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/localhost/{name}{number}.pem"), link).unwrap();
        }
        identity
    };
    renew(1);
    let names = ["live/localhost/fullchain.pem", "live/localhost/privkey.pem"];
    let proxy = issuer.proxy_with(names[0], names[1], &origin, |settings| settings).await;
    for number in 2..=4 {
        let identity = renew(number);
        issuer.until_shown(&proxy, &identity).await;
    }
    proxy.stop().await;
}

/// Kubernetes replaces the link to the directory of all files of a secret, and removes the old directory.
#[tokio::test]
async fn a_secret_of_kubernetes_is_followed() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    let data = issuer.path("..data");
    let renew = |number: usize| {
        let (identity, version) = (issuer.issue(), format!("..2024_{number}"));
        fs::create_dir(issuer.path(&version)).unwrap();
        for (name, text) in [("tls.crt", &identity.cert_pem), ("tls.key", &identity.key_pem)] {
            fs::write(issuer.path(&version).join(name), text).unwrap();
        }
        relink(&version, &data);
        identity
    };
    renew(0);
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), issuer.path(name)).unwrap();
    }
    let proxy = issuer.proxy_with("tls.crt", "tls.key", &origin, |settings| settings).await;
    for number in 1..=3 {
        let identity = renew(number);
        fs::remove_dir_all(issuer.path(&format!("..2024_{}", number - 1))).unwrap();
        issuer.until_shown(&proxy, &identity).await;
    }
    assert_eq!(proxy.count(FAILED), 0, "it is never half a pair");
    proxy.stop().await;
}

#[tokio::test]
async fn a_pair_that_does_not_match_changes_nothing() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    let first = issuer.issue();
    issuer.install(&first);
    let proxy = issuer.proxy(&origin, |settings| settings).await;
    let next = issuer.issue();
    let (cert, key) = (issuer.path("cert.pem"), issuer.path("key.pem"));
    replace(&key, &next.key_pem);
    proxy.logged(&format!("{FAILED}1"), 1).await;
    let text = format!("Failed to load key '{}': key does not match certificate '{}'", key.display(), cert.display());
    proxy.logged(&text, 1).await;
    assert_eq!(shown(&issuer.connect(&proxy).await), *first.der());
    replace(&cert, "not a certificate");
    proxy.logged(&format!("{FAILED}1"), 2).await;
    fs::remove_file(&cert).unwrap();
    proxy.logged(&format!("Failed to load certificate '{}': No such file or directory", cert.display()), 1).await;
    proxy.logged(&format!("{FAILED}1"), 3).await;
    assert_eq!(shown(&issuer.connect(&proxy).await), *first.der());
    replace(&cert, &next.cert_pem);
    issuer.until_shown(&proxy, &next).await;
    proxy.logged(&format!("{RELOADED}2)"), 1).await;
    // Different files with the same content are no reload. The other reload comes after them.
    issuer.install(&next);
    let last = issuer.issue();
    issuer.install(&last);
    issuer.until_shown(&proxy, &last).await;
    proxy.program.signal(Signal::TERM);
    proxy.logged("of certificates alone: ok=2 rejected=0 failed=", 1).await;
}

#[tokio::test]
async fn sighup_loads_certificates_although_the_configuration_is_the_same() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.issue());
    let proxy = issuer.proxy(&origin, |settings| settings).await;
    let unwatched = proxy.settings.text().replace(QUICK, "reload: { watch_certificates: false }");
    proxy.reload(&unwatched, 2).await;
    for generation in 3..=5 {
        let identity = issuer.issue();
        issuer.install(&identity);
        proxy.reload(&unwatched, generation).await;
        issuer.until_shown(&proxy, &identity).await;
    }
    // An expired certificate is the operator's decision.
    let expired = issuer.authority.issue_expired_to("expired", &[NAME]);
    issuer.install(&expired);
    proxy.reload(&unwatched, 6).await;
    proxy.logged(&format!("certificate '{}' expired on 2001-01-01", issuer.path("cert.pem").display()), 1).await;
    assert_eq!((proxy.count(RELOADED), proxy.count(FAILED)), (0, 0), "files are not watched");
    proxy.stop().await;
}

/// An OCSP response of OpenSSL for the serial number [`OCSP_SERIAL`], until 2081.
const OCSP: &[u8] = include_bytes!("../../../crates/config/src/ocsp/samples/good.der");
const OCSP_SERIAL: u64 = 0x1122_3344_5566_7788;

/// Returns the response with another end.
fn until(end: &[u8; 15]) -> Vec<u8> {
    let mut response = OCSP.to_vec();
    let place = response.windows(15).position(|bytes| bytes == b"20810830225541Z").unwrap();
    response[place..place + 15].copy_from_slice(end);
    response
}

#[tokio::test]
async fn ocsp_responses_are_stapled_and_renewed_alone() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.authority.issue_numbered(OCSP_SERIAL, &[NAME]));
    let file = issuer.path("ocsp.der");
    fs::write(&file, OCSP).unwrap();
    let ocsp = format!("ocsp_file: {}", file.display());
    let proxy = issuer.proxy(&origin, |settings| settings.tls(&ocsp)).await;
    let stapled = || async {
        let mut tls = issuer.authority.client_config(&[b"h3"]);
        let verified = Verifications::of(&mut tls, &issuer.authority);
        Client::with_tls(tls.clone(), |_| {}).dial(proxy.settings.addr(), NAME).await.unwrap();
        let over_quic = verified.stapled();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        tls.resumption = rustls::client::Resumption::disabled();
        let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
        wait::within("TLS", tcp::handshake(stream, NAME, tls)).await.unwrap();
        assert_eq!(verified.count(), 2);
        (verified.stapled(), over_quic)
    };
    assert_eq!(stapled().await, (OCSP.to_vec(), OCSP.to_vec()));
    // Clients would refuse the certificate because of a response whose time has passed.
    for (generation, response, expected) in
        [(2, until(b"20201231235959Z"), Vec::new()), (3, until(b"20820101000000Z"), until(b"20820101000000Z"))]
    {
        fs::write(issuer.path("new"), &response).unwrap();
        fs::rename(issuer.path("new"), &file).unwrap();
        proxy.logged(&format!("{RELOADED}{generation})"), 1).await;
        wait::until(wait::BOUND, "the other response", || async {
            (stapled().await == (expected.clone(), expected.clone())).then_some(())
        })
        .await;
    }
    proxy.logged(&format!("OCSP response '{}' expired on 2020-12-31", file.display()), 1).await;
    replace(&file, "no response");
    proxy
        .logged(&format!("listen.tls.ocsp_file '{}' cannot be used: it is not an OCSP response", file.display()), 1)
        .await;
    proxy.logged(&format!("{FAILED}3"), 1).await;
    let last = until(b"20820101000000Z");
    assert_eq!(stapled().await, (last.clone(), last), "the last good one");
    proxy.stop().await;
}

/// Client certificates of a directory.
fn with_clients(settings: Settings, issuer: &Issuer, more: &str) -> Settings {
    let ca = issuer.path("clients.pem");
    let auth = format!("client_auth: {{ enabled: true, require_client_cert: true, ca_file: {}{more} }}", ca.display());
    settings.tls(&auth)
}

/// Returns whether a client with this certificate is served, over QUIC and over TCP, which must agree in the end.
async fn is_served(issuer: &Issuer, proxy: &Proxy, identity: &Identity) -> bool {
    let both = || async {
        let over_tcp = Box::pin(is_served_over_tcp(issuer, proxy, identity)).await;
        (Box::pin(is_served_over_quic(issuer, proxy, identity)).await == over_tcp).then_some(over_tcp)
    };
    wait::until(wait::BOUND, "the same decision over QUIC and TCP", both).await
}

async fn is_served_over_tcp(issuer: &Issuer, proxy: &Proxy, identity: &Identity) -> bool {
    let config = issuer.authority.client_config_of(identity, &[b"http/1.1"]);
    let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
    let Ok(stream) = wait::within("TLS", tcp::handshake(stream, NAME, config)).await else { return false };
    let mut connection = Http1::over(stream);
    // The server may reject the certificate after the client's handshake.
    let sent = connection.try_send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    sent.is_ok() && connection.try_reply().await.is_ok_and(|reply| reply.text() == "hello")
}

async fn is_served_over_quic(issuer: &Issuer, proxy: &Proxy, identity: &Identity) -> bool {
    let client = Client::with_tls(issuer.authority.client_config_of(identity, &[b"h3"]), |_| {});
    // The server may reject the certificate after the client's handshake.
    let Ok(connection) = client.dial(proxy.settings.addr(), NAME).await else { return false };
    let refused = connection.closed();
    let served = async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        // GET / as an unindexed head: the answer shows that the connection is accepted.
        send.write_all(&spooky_testkit::client::frame::headers(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", NAME),
            (":path", "/"),
        ]))
        .await
        .ok()?;
        send.finish().ok()?;
        receive.read_to_end(10_000).await.ok()
    };
    tokio::select! {
        answer = wait::within("an answer", served) => answer.is_some(),
        _ = refused => false,
    }
}

async fn until_served(issuer: &Issuer, proxy: &Proxy, identity: &Identity, expected: bool) {
    wait::until(wait::BOUND, "the other decision on a client", || async {
        (Box::pin(is_served(issuer, proxy, identity)).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn authorities_and_revocation_lists_of_clients_are_renewed() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.issue());
    let (clients, others) = (Authority::new(), Authority::new());
    let [good, bad] = ["good", "bad"].map(|name| clients.issue_to(name, &["client.example"]));
    let other = others.issue_to("other", &["client.example"]);
    fs::write(issuer.path("clients.pem"), clients.pem()).unwrap();
    fs::write(issuer.path("crl.pem"), clients.revocation_list(&[])).unwrap();
    let lists = format!(", crl_file: {}", issuer.path("crl.pem").display());
    let proxy = issuer.proxy(&origin, |settings| with_clients(settings, &issuer, &lists)).await;
    let client = Client::with_tls(issuer.authority.client_config_of(&bad, &[b"h3"]), |_| {});
    let before = client.connect(proxy.settings.addr(), NAME).await;
    assert_eq!(before.get("/").await.unwrap().text(), "hello");

    replace(&issuer.path("crl.pem"), &clients.revocation_list(&[&bad]));
    until_served(&issuer, &proxy, &bad, false).await;
    assert!(is_served(&issuer, &proxy, &good).await);
    assert_eq!(before.get("/").await.unwrap().text(), "hello", "connections are not judged again");
    replace(&issuer.path("crl.pem"), "no list");
    proxy.logged("crl.pem' cannot be used: no PEM revocation list in it", 1).await;
    assert!(!is_served(&issuer, &proxy, &bad).await && is_served(&issuer, &proxy, &good).await, "the last good list");

    // Each issuer needs a list.
    let both = format!("{}{}", clients.revocation_list(&[&bad]), others.revocation_list(&[]));
    replace(&issuer.path("crl.pem"), &both);
    replace(&issuer.path("clients.pem"), &format!("{}{}", clients.pem(), others.pem()));
    until_served(&issuer, &proxy, &other, true).await;
    assert!(is_served(&issuer, &proxy, &good).await);
    replace(&issuer.path("clients.pem"), &others.pem());
    until_served(&issuer, &proxy, &good, false).await;
    assert!(is_served(&issuer, &proxy, &other).await);
    proxy.stop().await;
}

/// RFC 5280 section 6.1 gives trust anchors no dates: who must not be trusted any more has to leave the file.
#[tokio::test]
async fn an_authority_of_clients_that_has_expired_is_warned_of() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.issue());
    fs::write(issuer.path("clients.pem"), Authority::new().pem()).unwrap();
    let proxy = issuer.proxy(&origin, |settings| with_clients(settings, &issuer, "")).await;
    let expired = Authority::expired();
    replace(&issuer.path("clients.pem"), &expired.pem());
    let ca = issuer.path("clients.pem");
    proxy.logged(&format!("certificate '{}' expired on 2001-01-01", ca.display()), 1).await;
    proxy.logged(RELOADED, 1).await;
    until_served(&issuer, &proxy, &expired.issue_to("client", &["client.example"]), true).await;
    let late = expired.issue_expired_to("client", &["client.example"]);
    assert!(!is_served(&issuer, &proxy, &late).await);
    proxy.stop().await;
}

#[tokio::test]
async fn authorities_of_backends_are_renewed() {
    let (issuer, backends) = (Issuer::new(), Authority::new());
    issuer.install(&issuer.issue());
    let origin = Origin::tls(&backends.issue(&["127.0.0.1"])).await;
    let ca = issuer.path("backends.pem");
    fs::write(&ca, Authority::new().pem()).unwrap();
    let tls = format!("upstream_tls: {{ ca_file: {} }}", ca.display());
    let proxy = issuer.proxy(&origin, |settings| settings.block(&tls)).await;
    let connection = issuer.connect(&proxy).await;
    assert_eq!(connection.get("/").await.unwrap().status, 502);
    replace(&ca, &backends.pem());
    proxy.logged(RELOADED, 1).await;
    wait::until(wait::BOUND, "the backend to be trusted", || async {
        (connection.get("/").await.unwrap().status == 200).then_some(())
    })
    .await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_watched_configuration_is_reloaded_when_it_changes() {
    let (issuer, origin) = (Issuer::new(), Origin::h2c().await);
    issuer.install(&issuer.issue());
    let watched = "reload: { debounce_ms: 50, watch_config: true }";
    let proxy = issuer.proxy(&origin, |settings| settings).await;
    let text = proxy.settings.text().replace(QUICK, watched);
    let file = proxy.dir().join("spooky.yaml");
    // Not watched yet.
    proxy.reload(&text, 2).await;
    let connection = issuer.connect(&proxy).await;
    for (generation, prefix) in [(3, "/moved"), (4, "/")] {
        replace(&file, &text.replace("path_prefix: \"/\"", &format!("path_prefix: \"{prefix}\"")));
        proxy.logged(&format!("Configuration reloaded (generation={generation})"), 1).await;
    }
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    replace(&file, &text.replace("version: 1", "version: 2"));
    proxy.logged("Configuration reload failed: 1 error(s); keeping generation 4", 1).await;
    replace(&file, &text.replace("path_prefix: \"/\"", "path_prefix: \"/last\""));
    proxy.logged("Configuration reloaded (generation=5)", 1).await;
    assert_eq!(proxy.count("Configuration reloaded"), 4, "once for each change");
    proxy.stop().await;
}
