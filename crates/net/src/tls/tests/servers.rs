//! The contexts of a listener, tested with clients.

use std::io::{Read, Write};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, date_time_ymd};
use rustls::server::ClientHello;
use rustls::{AlertDescription, CertificateError, CipherSuite, HandshakeKind, NamedGroup, SupportedProtocolVersion};

use super::server::{AnnouncedLimits, ClientAuth, ClientAuthorities, Contexts, Resumption, ServerOptions, contexts};
use super::*;

fn listener(authority: &Authority, options: &ServerOptions, shared: &Resumption) -> Contexts {
    let issued = authority.issue(&["a.test"]);
    contexts(&Arc::new(issued.store()), options, shared).unwrap()
}

fn plain(authority: &Authority) -> Contexts {
    listener(authority, &ServerOptions::default(), &Resumption::new().unwrap())
}

fn trusting(authority: &Authority, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client::config(&authority.trusting()).unwrap());
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn only(
    versions: &[&'static SupportedProtocolVersion],
    groups: &[NamedGroup],
    authority: &Authority,
) -> Arc<ClientConfig> {
    let mut provider = CryptoProvider::clone(&provider());
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    client_with(provider, versions, authority)
}

fn client_with(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    authority: &Authority,
) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

#[test]
fn each_transport_has_its_protocols() {
    let authority = Authority::new();
    let contexts = plain(&authority);
    let alpn = |client: &[&[u8]], server| {
        let connected = connect(&trusting(&authority, client), server, "a.test");
        connected.map(|(_, server)| server.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(alpn(&[b"h2", b"h3"], &contexts.quic), Ok(Some(b"h3".to_vec())));
    assert_eq!(alpn(&[b"http/1.1", b"h2"], &contexts.tcp), Ok(Some(b"h2".to_vec())));
    assert_eq!(alpn(&[b"http/1.1"], &contexts.tcp), Ok(Some(b"http/1.1".to_vec())));
    let none = Err(Error::NoApplicationProtocol);
    assert_eq!(alpn(&[b"h2"], &contexts.quic), none);
    assert_eq!(alpn(&[b"h3"], &contexts.tcp), none);
}

#[test]
fn quic_speaks_tls_1_3_only() {
    let authority = Authority::new();
    let contexts = plain(&authority);
    let old = only(&[&rustls::version::TLS12], &[NamedGroup::X25519], &authority);
    assert!(connect(&old, &contexts.quic, "a.test").is_err());
    let (_, server) = connect(&old, &contexts.tcp, "a.test").unwrap();
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
}

#[test]
fn hybrid_key_exchange_is_preferred_and_not_required() {
    let authority = Authority::new();
    let contexts = plain(&authority);
    let group = |client: &Arc<ClientConfig>| {
        let (_, server) = connect(client, &contexts.quic, "a.test").unwrap();
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full), "no extra round trip");
        server.negotiated_key_exchange_group().unwrap().name()
    };
    assert_eq!(group(&trusting(&authority, &[b"h3"])), NamedGroup::X25519MLKEM768);
    let classic = only(&[&rustls::version::TLS13], &[NamedGroup::X25519], &authority);
    assert_eq!(group(&classic), NamedGroup::X25519);
}

#[test]
fn the_cheapest_suite_is_chosen_and_any_is_taken() {
    let authority = Authority::new();
    let server = plain(&authority).quic;
    let suite = |offered: &[CipherSuite]| {
        let mut provider = CryptoProvider::clone(&provider());
        provider.cipher_suites.retain(|suite| offered.contains(&suite.suite()));
        provider.cipher_suites.sort_by_key(|suite| offered.iter().position(|offer| *offer == suite.suite()));
        let client = client_with(provider, &[&rustls::version::TLS13], &authority);
        connect(&client, &server, "a.test").unwrap().1.negotiated_cipher_suite().unwrap().suite()
    };
    let [small, large, chacha] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let preferred = |offered| if has_aes() { small } else { offered };
    assert_eq!(suite(&[large, chacha, small]), preferred(large));
    assert_eq!(suite(&[chacha, small]), preferred(chacha));
    assert_eq!(suite(&[large]), large);
    assert_eq!(suite(&[chacha]), chacha);
}

fn kind(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    connect(client, server, "a.test").unwrap().1.handshake_kind().unwrap()
}

#[test]
fn sessions_resume_between_transports_and_across_reloads() {
    let authority = Authority::new();
    let shared = Resumption::new().unwrap();
    let options = ServerOptions::default();
    let first = listener(&authority, &options, &shared);
    let client = trusting(&authority, &[b"h3", b"h2"]);
    assert_eq!(kind(&client, &first.tcp), HandshakeKind::Full);
    assert_eq!(kind(&client, &first.quic), HandshakeKind::Resumed);
    let reloaded = listener(&authority, &options, &shared);
    assert_eq!(kind(&client, &reloaded.quic), HandshakeKind::Resumed);
    let stranger = listener(&authority, &options, &Resumption::new().unwrap());
    assert_eq!(kind(&client, &stranger.quic), HandshakeKind::Full);
}

#[test]
fn without_tickets_nothing_resumes() {
    let authority = Authority::new();
    let options = ServerOptions { tickets: 0, ..ServerOptions::default() };
    let contexts = listener(&authority, &options, &Resumption::new().unwrap());
    let client = trusting(&authority, &[b"h3"]);
    assert_eq!(kind(&client, &contexts.quic), HandshakeKind::Full);
    assert_eq!(kind(&client, &contexts.quic), HandshakeKind::Full);
}

fn accepting_early_data(limits: u64) -> ServerOptions {
    ServerOptions { early_data: Some(AnnouncedLimits(limits)), ..ServerOptions::default() }
}

/// Returns a client that sends early data when it may.
fn eager(authority: &Authority) -> Arc<ClientConfig> {
    let mut client = ClientConfig::clone(&trusting(authority, &[b"h3", b"h2"]));
    client.enable_early_data = true;
    Arc::new(client)
}

/// Returns the client's first bytes, with a request in early data; `None` if its session does not permit that.
fn early_hello(client: &Arc<ClientConfig>) -> Option<Vec<u8>> {
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    client.early_data()?.write_all(b"GET").unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    Some(hello)
}

/// Returns whether the server accepts the request in these bytes, and whether it resumes the session.
fn accepts(server: &Arc<ServerConfig>, hello: &[u8]) -> (bool, bool) {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    server.read_tls(&mut &*hello).unwrap();
    server.process_new_packets().unwrap();
    let mut got = Vec::new();
    server.early_data().map(|mut data| data.read_to_end(&mut got));
    (got == b"GET", server.handshake_kind() == Some(HandshakeKind::Resumed))
}

/// Early data is accepted once per ticket, and never if it is off.
#[test]
fn early_data_is_single_use() {
    let authority = Authority::new();
    let early = |options: &ServerOptions| {
        let contexts = listener(&authority, options, &Resumption::new().unwrap());
        let client = eager(&authority);
        assert_eq!(kind(&client, &contexts.quic), HandshakeKind::Full);
        let Some(hello) = early_hello(&client) else { return (false, false) };
        // The same bytes twice: the second is a replay.
        (accepts(&contexts.quic, &hello).0, accepts(&contexts.quic, &hello).0)
    };
    assert_eq!(early(&accepting_early_data(7)), (true, false));
    assert_eq!(early(&ServerOptions::default()), (false, false));
}

/// The client would send as much as under the limits that it remembers.
#[test]
fn early_data_is_accepted_only_under_the_limits_of_its_session() {
    let authority = Authority::new();
    let shared = Resumption::new().unwrap();
    let (before, after) = [7, 8].map(|limits| listener(&authority, &accepting_early_data(limits), &shared)).into();
    let client = eager(&authority);
    for (first, second, expected) in [
        (&before, &before, (true, true)),
        (&before, &after, (false, false)),
        (&after, &after, (true, true)),
        (&after, &before, (false, false)),
    ] {
        kind(&client, &first.quic);
        assert_eq!(accepts(&second.quic, &early_hello(&client).unwrap()), expected);
    }
    // Over TCP nothing is early, and sessions resume on both.
    assert_eq!(kind(&client, &before.tcp), HandshakeKind::Full);
    assert_eq!(early_hello(&client), None);
    assert_eq!(kind(&client, &before.tcp), HandshakeKind::Full, "the ticket was used");
    assert_eq!(kind(&client, &before.quic), HandshakeKind::Resumed);
}

#[test]
fn early_data_of_an_address_that_is_not_validated_is_refused() {
    let authority = Authority::new();
    let contexts = listener(&authority, &accepting_early_data(7), &Resumption::new().unwrap());
    let unvalidated = contexts.quic_unvalidated.unwrap();
    let client = eager(&authority);
    assert_eq!(kind(&client, &unvalidated), HandshakeKind::Full);
    assert_eq!(accepts(&unvalidated, &early_hello(&client).unwrap()), (false, false));
    // Its tickets permit early data once the address is validated.
    assert_eq!(kind(&client, &unvalidated), HandshakeKind::Full);
    assert_eq!(accepts(&contexts.quic, &early_hello(&client).unwrap()), (true, true));
    assert!(plain(&authority).quic_unvalidated.is_none());
}

fn showing(authority: &Authority, certificate: &Issued) -> Arc<ClientConfig> {
    let mut options = authority.trusting();
    options.client_cert = Some(certificate.files.cert.clone());
    options.client_key = Some(certificate.files.key.clone());
    client::config(&options).unwrap()
}

fn authorities(authority: &Authority, crl_file: Option<PathBuf>) -> ClientAuthorities {
    ClientAuthorities { section: "listen.tls.client_auth".to_owned(), ca_file: authority.ca_file(), crl_file }
}

#[test]
fn client_certificates_are_asked_for_and_checked() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let shared = Resumption::new().unwrap();
    let requiring = ServerOptions { client_auth: ClientAuth::Require(authorities(&ours, None)), ..Default::default() };
    let requesting = ServerOptions { client_auth: ClientAuth::Request(authorities(&ours, None)), ..Default::default() };
    let (requiring, requesting) = (listener(&ours, &requiring, &shared), listener(&ours, &requesting, &shared));
    let nobody = trusting(&ours, &[b"h3"]);
    let friend = showing(&ours, &ours.issue(&["friend.test"]));
    let mut stranger = ours.trusting();
    let foreign = theirs.issue(&["stranger.test"]).files;
    (stranger.client_cert, stranger.client_key) = (Some(foreign.cert), Some(foreign.key));
    let stranger = client::config(&stranger).unwrap();

    assert_eq!(connect(&nobody, &requiring.quic, "a.test").unwrap_err(), Error::NoCertificatesPresented);
    connect(&nobody, &requesting.quic, "a.test").unwrap();
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    for server in [&requiring.quic, &requesting.quic] {
        let (_, server_side) = connect(&friend, server, "a.test").unwrap();
        assert_eq!(server_side.peer_certificates().unwrap().len(), 1);
        assert_eq!(connect(&stranger, server, "a.test").unwrap_err(), unknown);
    }
}

#[test]
fn a_client_without_certificate_gets_the_alert() {
    let authority = Authority::new();
    let options =
        ServerOptions { client_auth: ClientAuth::Require(authorities(&authority, None)), ..Default::default() };
    let server = listener(&authority, &options, &Resumption::new().unwrap()).quic;
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(trusting(&authority, &[b"h3"]), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    shake(&mut client, &mut server).unwrap_err();
    let told = pass(&mut server, &mut client).unwrap_err();
    assert_eq!(told, Error::AlertReceived(AlertDescription::CertificateRequired));
}

/// A resumed session does not present its certificate, so a listener that requests one resumes nothing: neither
/// sessions of a listener without client certificates nor its own, by TLS 1.3 or 1.2.
#[test]
fn nothing_resumes_where_client_certificates_are_asked_for() {
    let authority = Authority::new();
    let shared = Resumption::new().unwrap();
    let open = listener(&authority, &ServerOptions::default(), &shared);
    let client = trusting(&authority, &[b"h3"]);
    assert_eq!(kind(&client, &open.quic), HandshakeKind::Full);
    let friend = showing(&authority, &authority.issue(&["friend.test"]));
    for client_auth in
        [ClientAuth::Require(authorities(&authority, None)), ClientAuth::Request(authorities(&authority, None))]
    {
        for early_data in [None, Some(AnnouncedLimits(7))] {
            let options = ServerOptions { client_auth: client_auth.clone(), early_data, ..Default::default() };
            let guarded = listener(&authority, &options, &shared);
            for _ in 0..3 {
                assert_eq!(kind(&friend, &guarded.quic), HandshakeKind::Full);
                let (_, server) = connect(&friend, &guarded.quic, "a.test").unwrap();
                assert_eq!(server.peer_certificates().unwrap().len(), 1);
            }
            if client_auth == ClientAuth::Require(authorities(&authority, None)) {
                assert_eq!(connect(&client, &guarded.quic, "a.test").unwrap_err(), Error::NoCertificatesPresented);
            } else {
                assert_eq!(kind(&client, &guarded.quic), HandshakeKind::Full);
            }
            let old = only(&[&rustls::version::TLS12], &[NamedGroup::X25519], &authority);
            if matches!(client_auth, ClientAuth::Request(_)) {
                assert_eq!([kind(&old, &guarded.tcp), kind(&old, &guarded.tcp)], [HandshakeKind::Full; 2]);
            }
        }
    }
}

#[test]
fn revoked_client_certificates_are_refused() {
    let authority = Authority::new();
    let (good, bad) = (authority.issue(&["good.test"]), authority.issue(&["bad.test"]));
    let revoked = RevokedCertParams {
        serial_number: bad.serial.clone(),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2060, 1, 1),
        crl_number: rcgen::SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let crl = authority.write("crl.pem", list.signed_by(&authority.issuer).unwrap().pem().unwrap());
    let client_auth = ClientAuth::Require(authorities(&authority, Some(crl)));
    let options = ServerOptions { client_auth, ..Default::default() };
    let server = listener(&authority, &options, &Resumption::new().unwrap()).quic;
    connect(&showing(&authority, &good), &server, "a.test").unwrap();
    let revoked = Error::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(connect(&showing(&authority, &bad), &server, "a.test").unwrap_err(), revoked);
}

#[test]
fn authorities_of_clients_must_be_usable() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.test"]);
    let store = Arc::new(issued.store());
    let text = authority.write("text", "nothing of interest");
    let error = |ca_file, crl_file| {
        let authorities = ClientAuthorities { ca_file, crl_file, ..authorities(&authority, None) };
        let options = ServerOptions { client_auth: ClientAuth::Request(authorities), ..Default::default() };
        contexts(&store, &options, &Resumption::new().unwrap()).unwrap_err().to_string()
    };
    let section = "listen.tls.client_auth";
    let no = authority.directory.path().join("no");
    assert_eq!(error(no.clone(), None), format!("{section}.ca_file does not exist: {}", no.display()));
    let expected = format!("{section}.ca_file '{}' does not contain any PEM certificate blocks", text.display());
    assert_eq!(error(text.clone(), None), expected);
    let expected = format!("{section}.crl_file '{}' cannot be used: no PEM revocation list in it", text.display());
    assert_eq!(error(authority.ca_file(), Some(text)), expected);
}

/// A server that presents a certificate without having its key.
#[derive(Debug)]
pub(super) struct Impostor(pub(super) Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Impostor {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
