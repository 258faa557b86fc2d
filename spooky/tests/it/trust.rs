//! Whom Spooky believes, and what it finds out where it is told to believe anyone (config 5, 6, 7.5).

use spooky_testkit::certs::Authority;
use spooky_testkit::client::Client;
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;

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

/// A proxy that asks clients for a certificate of this authority.
async fn asking(clients: &Authority, require: bool, origin: &Origin) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, clients.pem()).unwrap();
    let auth = format!(
        ", client_auth: {{ enabled: true, require_client_cert: {require}, ca_file: {} }} }}\nupstream:",
        ca.display()
    );
    let url = [origin.url()];
    let adjust = |settings: spooky_testkit::settings::Settings| settings.upstream("all", "/", &url);
    let proxy = Proxy::start_edited(adjust, |text| text.replacen(" }\nupstream:", &auth, 1)).await;
    (proxy, folder)
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_required() {
    let (clients, origin) = (Authority::new(), Origin::h2c().await);
    let (proxy, _folder) = asking(&clients, true, &origin).await;
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
    let (proxy, _folder) = asking(&clients, false, &origin).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
}
