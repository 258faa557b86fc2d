//! Selection of certificates.

use std::time::{Duration, SystemTime};

use rcgen::date_time_ymd;

use super::*;

fn store(authority: &Authority, default: Option<&[&str]>, named: &[(&str, &[&str])]) -> CertificateStore {
    let entries = named.iter().map(|(name, sans)| ((*name).to_owned(), authority.issue(sans).certified()));
    CertificateStore::new(default.map(|sans| authority.issue(sans).certified()), entries.collect()).unwrap()
}

/// Identifies the selected certificate by its subject.
fn chosen(store: &CertificateStore, name: Option<&str>) -> String {
    subject(&store.select(name).cert[0]).unwrap()
}

#[test]
fn exact_then_longest_wildcard_then_default() {
    let authority = Authority::new();
    let store = store(
        &authority,
        Some(&["fallback.test"]),
        &[
            ("*.example.com", &["*.example.com"]),
            ("A.Example.com", &["a.example.com"]),
            ("*.b.example.com", &["*.b.example.com"]),
        ],
    );
    for (asked, expected) in [
        (Some("a.example.com"), "a.example.com"),
        (Some("A.EXAMPLE.COM."), "a.example.com"),
        (Some("x.example.com"), "*.example.com"),
        (Some("x.b.example.com"), "*.b.example.com"),
        (Some("x.y.b.example.com"), "*.b.example.com"),
        (Some("b.example.com"), "*.example.com"),
        (Some("x.y.example.com"), "*.example.com"),
        (Some("example.com"), "fallback.test"),
        (Some("com"), "fallback.test"),
        (Some(""), "fallback.test"),
        (Some("..."), "fallback.test"),
        (None, "fallback.test"),
    ] {
        assert_eq!(chosen(&store, asked), format!("CN={expected}"), "{asked:?}");
    }
}

#[test]
fn the_first_entry_is_the_default_where_none_is_configured() {
    let authority = Authority::new();
    let store = store(&authority, None, &[("one.test", &["one.test"]), ("two.test", &["two.test"])]);
    assert_eq!(chosen(&store, Some("three.test")), "CN=one.test");
    assert!(CertificateStore::new(None, Vec::new()).is_none());
}

#[test]
fn handshakes_count_their_selection() {
    let authority = Authority::new();
    let store = Arc::new(store(&authority, Some(&["c.test"]), &[("a.test", &["a.test"]), ("*.b.test", &["*.b.test"])]));
    let contexts = server::contexts(&store, &server::ServerOptions::default(), &server::Resumption::new().unwrap());
    let client = client::config(&authority.trusting()).unwrap();
    for name in ["a.test", "x.b.test", "x.b.test", "c.test", "c.test", "c.test"] {
        connect(&client, &contexts.as_ref().unwrap().quic, name).unwrap();
    }
    assert_eq!(store.selections().get(), [("exact", 1), ("wildcard", 2), ("default", 3)]);
}

#[test]
fn requests_for_a_name_of_another_entry_are_misdirected() {
    let authority = Authority::new();
    let store = store(
        &authority,
        Some(&["fallback.test"]),
        &[
            ("a.test", &["a.test", "Shared.test", "*.w.test"]),
            ("B.test.", &["b.test"]),
            ("shared.test", &["shared.test"]),
            ("*.w.test", &["*.w.test"]),
        ],
    );
    let is_misdirected = |sni: &str, host: &str| {
        let mut scratch = Vec::new();
        let host = spooky_config::normalize_host(host.as_bytes(), &mut scratch);
        store.is_misdirected(&normalize_name(sni), std::str::from_utf8(host).unwrap())
    };
    for (sni, host) in [
        ("a.test", "b.test"),
        ("A.Test.", "B.TEST.:443"),
        ("unknown.test", "b.test"),
        ("b.test", "a.test:8443"),
        ("b.test", "x.w.test"),
        ("a.test", "x.y.w.test"),
        ("x.w.test", "a.test"),
    ] {
        assert!(is_misdirected(sni, host), "{host} on a connection for {sni}");
    }
    for (sni, host) in [
        ("a.test", "A.test"),
        ("a.test", "a.test.:443"),
        ("a.test", "shared.test"),
        ("a.test", "x.w.test"),
        ("x.w.test", "y.w.test"),
        ("a.test", "unknown.test"),
        ("a.test", "w.test"),
        ("a.test", "[::1]:443"),
        ("a.test", "127.0.0.1"),
        ("b.test", "b.test:443"),
        ("unknown.test", "other.test"),
    ] {
        assert!(!is_misdirected(sni, host), "{host} on a connection for {sni}");
    }
}

/// The names of a certificate are parsed here for each request, and by rustls for each handshake; both must agree.
#[test]
fn names_of_certificates_are_those_that_rustls_sees() {
    let authority = Authority::new();
    for sans in [&["a.test"][..], &["A.test", "b.test", "127.0.0.1"], &["*.a.test", "a.test"], &["::1"]] {
        let issued = authority.issue(sans);
        let names = x509::dns_names(&issued.chain[0]);
        let expected: Vec<_> = sans.iter().filter(|name| name.parse::<std::net::IpAddr>().is_err()).collect();
        assert_eq!(names, expected.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>());
        let parsed = rustls::server::ParsedCertificate::try_from(&issued.chain[0]).unwrap();
        let store =
            CertificateStore::new(Some(issued.certified()), vec![("z.test".to_owned(), issued.certified())]).unwrap();
        for host in ["a.test", "b.test", "x.a.test", "x.y.a.test", "test"] {
            let name = ServerName::try_from(host).unwrap();
            let is_valid = rustls::client::verify_server_name(&parsed, &name).is_ok();
            assert_eq!(store.fallback_covers(host), is_valid, "{host} in {sans:?}");
        }
    }
}

#[test]
fn expiry_and_subject_are_read() {
    let authority = Authority::new();
    let issued = authority.issue_with(&["a.test"], |params| {
        params.not_after = date_time_ymd(2051, 2, 3);
        params.distinguished_name.push(DnType::CountryName, "XX");
        params.distinguished_name.push(DnType::OrganizationName, "Ex, Inc");
        params.distinguished_name.push(DnType::CommonName, "client 1");
    });
    let day = Duration::from_secs(86_400);
    assert_eq!(expiry(&issued.chain[0]), Some(SystemTime::UNIX_EPOCH + day * 29_618));
    assert_eq!(subject(&issued.chain[0]).unwrap(), "CN=client 1,O=Ex\\, Inc,C=XX");

    let early = authority.issue_with(&["b.test"], |params| params.not_after = date_time_ymd(2049, 12, 31));
    let store = CertificateStore::new(None, vec![("b.test".to_owned(), early.certified())]).unwrap();
    let until = SystemTime::UNIX_EPOCH + day * 29_219;
    assert_eq!(store.expiries(), [("default".to_owned(), until), ("b.test".to_owned(), until)]);
    assert_eq!(store.names(), ["b.test"]);
}

/// The parser skips invalid data at the end of a name; the rest could be the name of someone else.
#[test]
fn a_partly_readable_subject_is_rejected() {
    let issued = Authority::new().issue_with(&["a.test"], |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.distinguished_name.push(DnType::OrganizationName, "others");
    });
    let mut der = issued.chain[0].to_vec();
    assert_eq!(subject(&der).as_deref(), Some("O=others,CN=admin"));
    // Change the tag of the set with the organization, 2.5.4.10.
    let organization = der.windows(5).position(|bytes| bytes == [0x06, 3, 0x55, 4, 10]).unwrap();
    assert_eq!(der[organization - 4], 0x31);
    der[organization - 4] = 0x32;
    assert_eq!(subject(&der), None);
}

/// A certificate truncated or changed anywhere is parsed or rejected, never a panic.
#[test]
fn damaged_certificates_are_harmless() {
    let der = Authority::new().issue(&["a.test"]).chain[0].to_vec();
    for place in 0..der.len() {
        let _ = (expiry(&der[..place]), subject(&der[..place]), x509::dns_names(&der[..place]));
        for value in [0, 0x7f, 0x80, 0x84, 0xff] {
            let mut changed = der.clone();
            changed[place] = value;
            let _ = (expiry(&changed), subject(&changed), x509::dns_names(&changed));
        }
    }
}
