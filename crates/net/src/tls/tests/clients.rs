//! Verification of backends.

use rustls::CertificateError;

use super::client::{ClientTlsOptions, config};
use super::servers::Impostor;
use super::*;

fn server(issued: &Issued) -> Arc<ServerConfig> {
    let (options, resumption) = (server::ServerOptions::default(), server::Resumption::new().unwrap());
    server::contexts(&Arc::new(issued.store()), &options, &resumption).unwrap().quic
}

#[test]
fn chain_and_name_are_checked_as_configured() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (good, foreign) = (server(&ours.issue(&["a.test"])), server(&theirs.issue(&["a.test"])));
    let verdict = |verify_certificates, strict_sni, server, name| {
        let options = ClientTlsOptions { verify_certificates, strict_sni, ..ours.trusting() };
        connect(&config(&options).unwrap(), server, name).map(|(_, server)| server.server_name().map(str::to_owned))
    };
    let asked = |name: &str| Ok(Some(name.to_owned()));
    let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));

    assert_eq!(verdict(true, true, &good, "a.test"), asked("a.test"));
    assert_eq!(verdict(true, true, &foreign, "a.test"), unknown);
    let wrong_name = verdict(true, true, &good, "b.test").unwrap_err();
    assert!(matches!(
        wrong_name,
        Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
    ));

    assert_eq!(verdict(true, false, &good, "b.test"), asked("b.test"), "SNI is sent all the same");
    assert_eq!(verdict(true, false, &good, "127.0.0.1"), Ok(None));
    assert_eq!(verdict(true, false, &foreign, "b.test"), unknown);

    assert_eq!(verdict(false, true, &good, "b.test"), asked("b.test"));
    assert_eq!(verdict(false, true, &foreign, "b.test"), asked("b.test"));
}

#[test]
fn an_expired_certificate_is_refused_unless_nothing_is_checked() {
    let authority = Authority::new();
    let expired = server(&authority.issue_with(&["a.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }));
    for (verify_certificates, strict_sni, is_accepted) in
        [(true, true, false), (true, false, false), (false, true, true)]
    {
        let options = ClientTlsOptions { verify_certificates, strict_sni, ..authority.trusting() };
        assert_eq!(connect(&config(&options).unwrap(), &expired, "a.test").is_ok(), is_accepted);
    }
}

/// Even without verification, the peer must have the key of its certificate.
#[test]
fn a_peer_without_the_key_is_refused_even_unverified() {
    let authority = Authority::new();
    let (shown, other) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let key = provider().key_provider.load_private_key(other.key).unwrap();
    let impostor = Impostor(Arc::new(rustls::sign::CertifiedKey::new(shown.chain, key)));
    let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let server = Arc::new(server.with_no_client_auth().with_cert_resolver(Arc::new(impostor)));
    for (verify_certificates, strict_sni) in [(false, true), (true, false), (true, true)] {
        let options = ClientTlsOptions { verify_certificates, strict_sni, ..authority.trusting() };
        let refused = connect(&config(&options).unwrap(), &server, "a.test").unwrap_err();
        assert_eq!(refused, Error::InvalidCertificate(CertificateError::BadSignature));
    }
}

#[test]
fn a_directory_of_authorities_is_trusted() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("one.CRT"), authority.issuer.pem()).unwrap();
    std::fs::write(directory.path().join("readme.txt"), Authority::new().issuer.pem()).unwrap();
    std::fs::write(directory.path().join("broken.pem"), "nothing of interest").unwrap();
    let options = ClientTlsOptions {
        ca_dir: Some(directory.path().to_owned()),
        use_system_roots: false,
        ..ClientTlsOptions::default()
    };
    connect(&config(&options).unwrap(), &server(&authority.issue(&["a.test"])), "a.test").unwrap();
}

#[test]
fn a_given_authority_is_the_only_trust_unless_the_system_is_added() {
    let authority = Authority::new();
    let with_system = ClientTlsOptions { use_system_roots: true, ..authority.trusting() };
    connect(&config(&with_system).unwrap(), &server(&authority.issue(&["a.test"])), "a.test").unwrap();
}
