//! The error texts about files.

use std::time::{Duration, SystemTime};

use super::*;

const JUNK_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const JUNK_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

struct Room {
    authority: Authority,
    good: CertificateFiles,
}

impl Room {
    fn new() -> Self {
        let authority = Authority::new();
        let good = authority.issue(&["a.test"]).files;
        Self { authority, good }
    }

    fn path(&self, name: &str) -> String {
        self.authority.directory.path().join(name).display().to_string()
    }

    fn with(&self, cert: &str, key: &str) -> CertificateFiles {
        CertificateFiles { cert: self.path(cert).into(), key: self.path(key).into(), ..self.good.clone() }
    }

    fn load(&self, cert: &str, key: &str) -> String {
        self.with(cert, key).load().unwrap_err().to_string()
    }
}

#[test]
fn loading_names_what_is_wrong() {
    let room = Room::new();
    let (cert, key) = ("a.test.crt.pem", "a.test.key.pem");
    room.authority.write("junk.crt", JUNK_CERTIFICATE);
    room.authority.write("junk.key", JUNK_KEY);
    room.authority.write("torn.crt", "-----BEGIN CERTIFICATE-----\n!!\n");
    room.authority.write("text", "nothing of interest");
    room.authority.issue(&["b.test"]);
    let path = |name| room.path(name);
    let missing = "No such file or directory";
    assert_eq!(room.load("no.pem", key), format!("Failed to load certificate '{}': {missing}", path("no.pem")));
    assert_eq!(room.load(cert, "no.pem"), format!("Failed to load key '{}': {missing}", path("no.pem")));
    for bad in ["junk.crt", "torn.crt"] {
        assert_eq!(room.load(bad, key), "Failed to load certificate: invalid certificate format");
    }
    assert_eq!(room.load(cert, "junk.key"), format!("Failed to load key '{}': invalid key format", path("junk.key")));
    let none = format!("listen.tls.cert '{}' does not contain any PEM certificate blocks", path("text"));
    assert_eq!(room.load("text", key), none);
    assert_eq!(
        room.load(cert, "text"),
        format!("listen.tls.key '{}' does not contain a PEM private key", path("text"))
    );
    let (b, a) = (path("b.test.key.pem"), path(cert));
    assert_eq!(
        room.load(cert, "b.test.key.pem"),
        format!("Failed to load key '{b}': key does not match certificate '{a}'")
    );
}

#[test]
fn entries_must_cover_their_name() {
    let authority = Authority::new();
    let load = |sans: &[&str], name: &str| {
        let mut files = authority.issue(sans).files;
        files.section = "listen.tls.certificates[2]".to_owned();
        let path = files.cert.display().to_string();
        let entry = NamedCertificate { server_name: name.to_owned(), files };
        CertificateStore::load("listen.tls", None, &[entry]).map(drop).map_err(|error| (error.to_string(), path))
    };
    load(&["a.test"], "A.test").unwrap();
    load(&["*.b.test"], "*.b.test").unwrap();
    load(&["*.b.test"], "x.b.test").unwrap();
    for (sans, name) in [(&["a.test"][..], "b.test"), (&["x.b.test"], "*.b.test"), (&["*.b.test"], "b.test")] {
        let (text, path) = load(sans, name).unwrap_err();
        let expected = "listen.tls.certificates[2].server_name";
        assert_eq!(text, format!("{expected} '{name}' is not covered by certificate '{path}'"));
    }
    let nothing = CertificateStore::load("listen.tls", None, &[]).unwrap_err().to_string();
    assert_eq!(nothing, "listen.tls requires either cert/key or certificates entries");
}

/// Clients refuse a certificate with a response whose time has passed.
#[test]
fn ocsp_responses_are_stapled_until_their_time_has_passed() {
    let good = include_bytes!("../../../../config/src/ocsp/samples/good.der");
    let room = Room::new();
    let mut files = room
        .authority
        .issue_with(&["a.test"], |params| params.serial_number = Some(0x1122_3344_5566_7788_u64.into()))
        .files;
    let ocsp = room.authority.write("ocsp.der", good);
    files.ocsp = Some(ocsp.clone());
    let store = CertificateStore::load("listen.tls", Some(&files), &[]).unwrap();
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(3_523_820_141); // 2081-08-30
    assert_eq!(store.stapled_at(SystemTime::now()), Some(&good[..]));
    assert_eq!(store.stapled_at(until - Duration::from_nanos(1)), Some(&good[..]));
    assert_eq!(store.stapled_at(until), None);

    let error = |files: &CertificateFiles| files.load().unwrap_err().to_string();
    let other = CertificateFiles { ocsp: Some(ocsp.clone()), ..room.authority.issue(&["b.test"]).files };
    let path = ocsp.display();
    let expected = format!("listen.tls.ocsp_file '{path}' cannot be used: it is about another certificate");
    assert_eq!(error(&other), expected);
    std::fs::remove_file(&ocsp).unwrap();
    assert_eq!(error(&files), format!("OCSP response file does not exist: {path}"));
}

#[test]
fn authorities_of_backends_must_be_usable() {
    let room = Room::new();
    room.authority.write("text.pem", "nothing of interest");
    let text = |change: &dyn Fn(&mut client::ClientTlsOptions)| {
        let mut options = client::ClientTlsOptions { use_system_roots: false, ..client::ClientTlsOptions::default() };
        change(&mut options);
        client::config(&options).unwrap_err().to_string()
    };
    let (no, file) = (room.path("no.pem"), room.path("text.pem"));
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display().to_string();
    let file_of = |path: &str| text(&|options| options.ca_file = Some(path.into()));
    assert_eq!(file_of(&no), format!("upstream_tls.ca_file does not exist: {no}"));
    assert_eq!(file_of(&file), format!("upstream_tls.ca_file '{file}' does not contain any PEM certificate blocks"));
    let directory_of = |path: &str| text(&|options| options.ca_dir = Some(path.into()));
    assert_eq!(directory_of(&no), format!("upstream_tls.ca_dir does not exist: {no}"));
    assert_eq!(directory_of(&file), format!("upstream_tls.ca_dir must be a directory: {file}"));
    let expected = format!("upstream_tls.ca_dir '{empty}' did not contain any readable PEM certificates");
    assert_eq!(directory_of(&empty), expected);
    assert_eq!(text(&|_| {}), "upstream_tls has no certificate authority to trust");

    let shown = |options: &mut client::ClientTlsOptions| {
        options.section = "upstream.api.tls".to_owned();
        options.ca_file = Some(room.authority.ca_file());
        (options.client_cert, options.client_key) = (Some(file.clone().into()), Some(room.good.key.clone()));
    };
    let expected = format!("upstream.api.tls.client_cert '{file}' does not contain any PEM certificate blocks");
    assert_eq!(text(&shown), expected);
}
