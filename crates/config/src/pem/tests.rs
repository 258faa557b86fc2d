//! Tests PEM text as editors and `cat` produce it, and damaged text.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::*;

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn revocation_list() -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2060, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer()).unwrap().pem().unwrap()
}

/// Returns the same blocks with the differences that editors and `cat` cause.
fn variants(first: &str, second: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = (first.trim_end(), second.trim_end());
    let plain = format!("{first}\n{second}\n");
    let mut variants = vec![
        ("plain", plain.clone()),
        ("no line end at the end", format!("{first}\n{second}")),
        ("glued", format!("{first}{second}\n")),
        ("glued to text", format!("subject=CN = a.example{first}text between{second}text after")),
        ("CRLF", plain.replace('\n', "\r\n")),
        ("glued, CRLF", format!("{first}{second}").replace('\n', "\r\n")),
        ("byte order mark", format!("\u{feff}{plain}")),
        ("byte order mark before each", format!("\u{feff}{first}\n\u{feff}{second}\n")),
        ("byte order mark, glued", format!("\u{feff}{first}\u{feff}{second}")),
        (
            "text and other blocks",
            format!(
                "# a -- END of the list\n{first}\n-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n{second}"
            ),
        ),
    ];
    variants.push(("indented markers", format!("  {first}\n\t{second}\n")));
    variants.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

#[test]
fn every_block_is_used_however_the_file_was_made() {
    let (one, two) = (issuer(), issuer());
    for (name, text) in variants(&one.pem(), &two.pem()) {
        let expected = vec![one.der().clone(), two.der().clone()];
        assert_eq!(certificates(&text), Ok(expected), "{name}");
        assert_eq!(authorities(&text).unwrap().len(), 2, "{name}");
    }
    for (name, text) in variants(&revocation_list(), &revocation_list()) {
        assert_eq!(revocation_lists(&text).unwrap().len(), 2, "{name}");
    }
    let key = KeyPair::generate().unwrap();
    for (name, text) in variants(&one.pem(), &key.serialize_pem()) {
        assert_eq!(private_key(&text).unwrap().secret_der(), key.serialized_der(), "{name}");
        assert_eq!(certificates(&text).unwrap().len(), 1, "{name}");
    }
}

const CUT: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n";
const JUNK: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn a_block_that_is_not_used_is_an_error_with_its_line() {
    let good = issuer().pem();
    let lines = good.lines().count();
    let unread = |line, reason| Err(Error::Unused(Detail { line, reason }));
    let invalid = |line, reason| Err(Error::Invalid(Detail { line, reason }));
    let marker = "a damaged BEGIN or END marker, or an END without a BEGIN";
    let no_end = "the block has no END marker";
    for (text, expected) in [
        (format!("{good}{JUNK}"), invalid(lines + 1, "not an X.509 certificate")),
        (format!("{good}{CUT}"), invalid(lines + 1, no_end)),
        (format!("{CUT}{good}"), invalid(1, no_end)),
        (good.replacen("-----BEGIN", "----BEGIN", 1), unread(1, marker)),
        (format!("{good}{}", good.replacen("-----BEGIN", "\u{2014}BEGIN", 1)), unread(lines + 1, marker)),
        (format!("{good}{}", good.to_lowercase()), unread(lines + 1, marker)),
        (format!("{}{good}", good.trim_end_matches("-\n")), unread(lines, marker)),
        (
            format!("{}\n{good}", good.trim_end_matches("-\n")),
            invalid(1, "the END marker does not fit the BEGIN marker"),
        ),
        (
            format!("{}{good}", good.replacen("-----\n", "\n", 1)),
            invalid(1, "the BEGIN marker does not end in five dashes"),
        ),
        (
            good.replace("END CERTIFICATE", "END PRIVATE KEY"),
            invalid(1, "the END marker does not fit the BEGIN marker"),
        ),
        (format!("{good}{}", good.split_once('\n').unwrap().1), unread(2 * lines - 1, marker)),
        (
            format!("{good}{}", good.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
            unread(lines + 1, "only blocks of the kind CERTIFICATE are used; convert it with 'openssl x509'"),
        ),
        (format!("{good}-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"), invalid(lines + 1, BAD_BASE64)),
        ("nothing of interest".to_owned(), Err(Error::NoBlock)),
        (String::new(), Err(Error::NoBlock)),
    ] {
        assert_eq!(certificates(text.as_bytes()), expected, "{text}");
        assert_eq!(certificates(text.replace('\n', "\r\n").as_bytes()), expected, "{text}");
    }
    assert_eq!(revocation_lists(good.as_bytes()), Err(Error::NoBlock));
    let junk = JUNK.replace("CERTIFICATE", "X509 CRL");
    let expected = Error::Invalid(Detail { line: 1, reason: "not a revocation list" });
    assert_eq!(revocation_lists(junk.as_bytes()), Err(expected));
}

/// Encrypted keys as OpenSSL writes them, in PKCS#8 and in its older format.
const PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi\n-----END ENCRYPTED PRIVATE KEY-----\n";
const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,5B7D3A\n\nMIHsMFcGCSqGSIb3DQEF\n-----END RSA PRIVATE KEY-----\n";

#[test]
fn keys_that_cannot_be_used_say_why() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let lines = key.lines().count();
    for (text, expected) in [
        (PKCS8.to_owned(), Error::Encrypted),
        (PKCS1.to_owned(), Error::Encrypted),
        (PKCS1.replace("RSA", "EC"), Error::Encrypted),
        (PKCS1.replace('\n', "\r\n"), Error::Encrypted),
        (format!("\u{feff}{}{PKCS8}", issuer().pem()), Error::Encrypted),
        (issuer().pem(), Error::NoBlock),
        (
            key.replace("PRIVATE", "DSA PRIVATE"),
            Error::Invalid(Detail { line: 1, reason: "keys of this kind are not supported" }),
        ),
        (
            format!("{key}{key}"),
            Error::Unused(Detail { line: lines + 1, reason: "a second private key; only one can be used" }),
        ),
    ] {
        assert_eq!(private_key(text.as_bytes()).map(drop), Err(expected), "{text}");
    }
}

/// Truncated or changed text never yields fewer certificates than blocks without an error.
#[test]
fn damage_is_never_silent() {
    let text = format!("{}{}", issuer().pem(), issuer().pem());
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 0x11;
        for text in [&text.as_bytes()[..at], &changed] {
            if let Ok(found) = certificates(text) {
                let end: &[u8] = b"-----END CERTIFICATE-----";
                let complete = text.windows(end.len()).filter(|window| *window == end).count();
                let is_cut = text.len() < changed.len();
                assert_eq!(found.len(), if is_cut { complete } else { 2 }, "{}", String::from_utf8_lossy(text));
            }
            let _ = (private_key(text), revocation_lists(text), authorities(text));
        }
    }
}
