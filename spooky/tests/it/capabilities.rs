//! Privileges beside the drop itself: ports below 1024 without root, refusal of root, certificates behind Certbot's links
//! (docs/reference/behaviour.md#start).

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rustix::process::Signal;
use spooky_testkit::{
    certs::{Authority, Files, Identity},
    client::Client,
    origin::Origin,
    process::Program,
    settings::Settings,
    wait,
};
use tokio::process::Command;

use crate::{
    privileges::{BIND_SERVICE, NOBODY, is_root, lowered, readable, start, threads},
    proxy::{NAME, SPOOKY, certificates},
};

/// An address of this test alone, on which ports below 1024 are free.
const HOST: &str = "127.0.71.13";

#[tokio::test]
async fn a_service_user_with_the_capability_binds_443_and_keeps_it_over_a_reload() {
    if !is_root() {
        return;
    }
    let (origin, authority) = (Origin::h2c().await, Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let settings = Settings::new(&files).workers(2).security("privileges: {}").upstream("all", "/", &[origin.url()]);
    let own = format!("address: \"127.0.0.1\"\n  port: {}\n", settings.addr().port());
    let text = settings.text().replace(&own, &format!("address: \"{HOST}\"\n  port: 443\n"));
    assert_ne!(text, settings.text());
    let (file, binary) = (files.dir().join("spooky.yaml"), files.dir().join("spooky"));
    fs::write(&file, &text).unwrap();
    fs::copy(SPOOKY, &binary).unwrap();
    readable(&files, true);
    fs::set_permissions(&binary, Permissions::from_mode(0o755)).unwrap();
    // As systemd does with User= and AmbientCapabilities=.
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    command.args(["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service", "--"]);
    command.arg(&binary).arg("--config").arg(&file).env_remove("RUST_LOG");
    let mut program = Program::spawn(command);
    program.line("Performance profile: ").await;
    let get = async |port| {
        let connection = Client::new(&authority).connect_when_up(format!("{HOST}:{port}").parse().unwrap(), NAME).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    };
    get(443).await;
    fs::write(&file, text.replace("port: 443", "port: 444")).unwrap();
    program.signal(Signal::HUP);
    program.line("Configuration reloaded (generation=2)").await;
    get(444).await;
    for thread in threads(&program) {
        assert_eq!(thread.bits("CapAmb"), BIND_SERVICE, "{}", thread.name);
    }
    assert_eq!(program.stop().await.code(), Some(0), "{}", program.output());
}

#[tokio::test]
async fn root_without_a_drop_has_to_be_allowed() {
    if !is_root() {
        return;
    }
    let (_authority, files) = certificates();
    let settings = Settings::new(&files).security("privileges: { enabled: false }");
    let settings = settings.upstream("all", "/", &["http://127.0.0.1:1".to_owned()]);
    let path = settings.write(&files);
    let mut program = Program::start(Path::new(SPOOKY), &["--config", path.to_str().unwrap()]);
    assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
    let output = program.rest().await.join("\n");
    let text = "refusing to run as root with security.privileges.enabled=false; set security.privileges.allow_root=true to accept it";
    assert!(output.contains(text), "{output}");
}

/// The directories of Certbot: `live/<name>` has links into `archive/<name>`, which has a file for each renewal.
struct Certbot<'a>(&'a Path);

impl Certbot<'_> {
    /// Adds a renewal and points the links to it. `mode` is that of the files.
    fn renew(&self, identity: &Identity, number: u32, mode: u32) {
        let (live, archive) = (self.0.join("live/site"), self.0.join("archive/site"));
        for directory in [&live, &archive] {
            fs::create_dir_all(directory).unwrap();
        }
        for (name, text) in [("fullchain", &identity.cert_pem), ("privkey", &identity.key_pem)] {
            let target = format!("{name}{number}.pem");
            fs::write(archive.join(&target), text).unwrap();
            fs::set_permissions(archive.join(&target), Permissions::from_mode(mode)).unwrap();
            let (link, new) = (live.join(format!("{name}.pem")), live.join("new"));
            symlink(format!("../../archive/site/{target}"), &new).unwrap();
            fs::rename(new, link).unwrap();
        }
    }

    /// Sets the mode of both directories.
    fn close(&self, mode: u32) {
        for directory in ["live", "archive"] {
            fs::set_permissions(self.0.join(directory), Permissions::from_mode(mode)).unwrap();
        }
    }
}

#[tokio::test]
async fn certificates_behind_links_are_renewed_after_the_drop_whatever_their_modes_become() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    let (authority, files) = certificates();
    let certbot = Certbot(files.dir());
    certbot.renew(&authority.issue(&[NAME]), 1, 0o600);
    certbot.close(0o700);
    let [cert, key] = ["fullchain", "privkey"].map(|name| files.dir().join(format!("live/site/{name}.pem")));
    let make = || {
        Settings::new(&files)
            .certificate(cert.clone(), key.clone())
            .security("privileges: {}")
            .upstream("all", "/", &[origin.url()])
            .block("reload: { debounce_ms: 50 }")
    };
    let (mut program, settings) = start(&files, make, |_| {}).await;
    program.line("Dropped root privileges").await;
    for (number, mode, directory) in [(2, 0o600, 0o700), (3, 0o644, 0o755), (4, 0o600, 0o700)] {
        let identity = authority.issue(&[NAME]);
        certbot.renew(&identity, number, mode);
        certbot.close(directory);
        program.line(&format!("Certificates reloaded (generation={number})")).await;
        lowered(&program).await;
        // The line is written before the workers have the certificate.
        wait::until(wait::BOUND, &format!("the certificate of renewal {number}"), || async {
            let connecting = Client::new(&authority);
            let connection = Box::pin(connecting.connect_when_up(settings.addr(), NAME)).await;
            let chain = connection.quic().peer_identity().unwrap();
            let chain = chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
            (chain[0] == *identity.der()).then_some(())
        })
        .await;
    }
    assert_eq!(program.stop().await.code(), Some(0), "{}", program.output());
}
