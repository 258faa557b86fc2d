//! The commands of docs/guide/tls.md.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use spooky_testkit::certs::Authority;
use spooky_testkit::origin::Origin;
use spooky_testkit::settings::Settings;
use spooky_testkit::{program, wait};

use super::{Page, written};
use crate::proxy::{NAME, Proxy};

/// What certbot does to files: a new version in `archive`, links in `live`, then the hooks.
const CERTBOT: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")/.."
live=$PWD/etc/letsencrypt/live/localhost archive=$PWD/etc/letsencrypt/archive/localhost
mkdir -p "$live" "$archive" etc/letsencrypt/renewal-hooks/deploy
number=$(($(ls "$archive" | wc -l) / 2 + 1))
for name in privkey fullchain; do
  cp "issued/$number/$name.pem" "$archive/$name$number.pem"
  ln -sf "../../archive/localhost/$name$number.pem" "$live/$name.pem"
done
if [ "$1" = renew ]; then
  for hook in etc/letsencrypt/renewal-hooks/deploy/*; do RENEWED_LINEAGE=$live "$hook"; done
fi
"#;

/// Writes a program that stands for certbot, with the certificates that it will issue. Returns their serial numbers.
fn prepare(page: &Page, authority: &Authority) -> Vec<String> {
    fs::write(page.path("ca.pem"), authority.pem()).unwrap();
    fs::create_dir_all(page.path("bin")).unwrap();
    fs::create_dir_all(page.path("etc/spooky/certs")).unwrap();
    let certbot = page.path("bin/certbot");
    fs::write(&certbot, CERTBOT).unwrap();
    fs::set_permissions(&certbot, fs::Permissions::from_mode(0o755)).unwrap();
    let serials = (1..=2_u64).map(|number| {
        let directory = page.path(&format!("issued/{number}"));
        fs::create_dir_all(&directory).unwrap();
        let serial = 0x1234_5678_0000_0000 + number;
        let identity = authority.issue_numbered(serial, &[NAME]);
        fs::write(directory.join("fullchain.pem"), &identity.cert_pem).unwrap();
        fs::write(directory.join("privkey.pem"), &identity.key_pem).unwrap();
        format!("serial={serial:X}")
    });
    serials.collect()
}

#[tokio::test]
async fn the_commands_about_tls_do_what_the_page_says() {
    for name in ["openssl", "curl"] {
        if program::require(name).is_none() {
            return;
        }
    }
    let (mut page, authority, origin) = (Page::open("tls.md"), Authority::new(), Origin::h2c().await);
    let serials = prepare(&page, &authority);
    let url = [origin.url()];
    let quick = "reload: { debounce_ms: 50 }";
    let start = async |page: &Page, directory: &str, tls: &str| {
        let [cert, key] = ["fullchain.pem", "privkey.pem"].map(|name| page.path(directory).join(name));
        let adjust = |settings: Settings| {
            let settings = settings.certificate(cert.clone(), key.clone()).block(quick).upstream("all", "/", &url);
            if tls.is_empty() { settings } else { settings.tls(tls) }
        };
        Proxy::start(adjust).await
    };

    page.replace("/etc/", &page.path("etc/").display());
    page.replace(" -g spooky", &"");
    page.replace("live/example.com", &"live/localhost");
    page.run("certbot certonly").await;
    let proxy = start(&page, "etc/letsencrypt/live/localhost", "").await;
    page.replace("example.com:443", &proxy.settings.addr());
    page.replace("-servername example.com", &"-servername localhost");
    let shown = page.run("openssl s_client").await;
    assert!(shown.starts_with(&format!("{}\nnotAfter=", serials[0])), "{shown}");
    proxy.stop().await;

    page.run("cat > ").await;
    let proxy = start(&page, "etc/spooky/certs", "").await;
    page.run("certbot renew").await;
    proxy.logged("Certificates reloaded (generation=2)", 1).await;
    let served = fs::read(page.path("etc/spooky/certs/fullchain.pem")).unwrap();
    assert_eq!(served, fs::read(page.path("issued/2/fullchain.pem")).unwrap());
    proxy.stop().await;

    page.run("openssl req -x509").await;
    let ca = page.path("clients-ca.pem");
    let auth = format!("enabled: true, require_client_cert: true, ca_file: {}", ca.display());
    let subject = format!("client_auth: {{ {auth}, subject_header: x-client-subject }}");
    let proxy = start(&page, "etc/spooky/certs", &subject).await;
    let curl = page.blocks.front().unwrap().clone();
    page.replace("https://example.com/", &format!("https://localhost:{}/", proxy.settings.addr().port()));
    assert_eq!(page.run("curl --cert").await, "hello");
    assert_eq!(origin.journal().last().field("x-client-subject"), Some("CN=alice,O=Example"));
    proxy.stop().await;

    page.run("cat > clients-ca.cnf").await;
    let revoking = format!("client_auth: {{ {auth}, crl_file: {} }}", page.path("clients.crl").display());
    let proxy = start(&page, "etc/spooky/certs", &revoking).await;
    page.replaced.pop();
    page.replace("https://example.com/", &format!("https://localhost:{}/", proxy.settings.addr().port()));
    assert_eq!(written(&page.execute(&curl).await), "hello");
    page.run("openssl ca -config clients-ca.cnf -revoke").await;
    proxy.logged("Certificates reloaded (generation=2)", 1).await;
    let refused = || async { (!page.execute(&curl).await.status.success()).then_some(()) };
    wait::until(wait::BOUND, "the revocation", refused).await;
    proxy.stop().await;
    assert_eq!(page.blocks, [""; 0], "every command was run");
}
