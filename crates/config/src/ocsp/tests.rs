//! Responses of OpenSSL (`openssl ocsp -ndays 20000`, without it for `unlimited.der`) for certificates with the serial
//! numbers 1122334455667788 (`good.der`, `unlimited.der`), 2122334455667788 (`revoked.der`) and 3122334455667788
//! (`unknown.der`); `two.der` is about the second and the first.

use rcgen::{CertificateParams, KeyPair, SerialNumber};

use super::*;

const GOOD: &[u8] = include_bytes!("samples/good.der");
const SERIAL: u64 = 0x1122_3344_5566_7788;
const REVOKED_SERIAL: u64 = 0x2122_3344_5566_7788;
/// 2081-08-30.
const NEXT_UPDATE: i64 = 3_523_820_141;

fn certificate(serial: u64) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(["ocsp.example".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn read(response: &[u8], serial: u64) -> Result<(i64, bool), &'static str> {
    OcspStatus::read(response, &certificate(serial)).map(|status| (status.next_update, status.is_revoked))
}

#[test]
fn what_a_response_says_about_a_certificate_is_read() {
    let (good, revoked) = (Ok((NEXT_UPDATE, false)), Ok((NEXT_UPDATE, true)));
    assert_eq!(read(GOOD, SERIAL), good);
    assert_eq!(read(include_bytes!("samples/revoked.der"), REVOKED_SERIAL), revoked);
    let two = include_bytes!("samples/two.der");
    assert_eq!(read(two, SERIAL), good);
    assert_eq!(read(two, REVOKED_SERIAL), revoked);
}

#[test]
fn what_cannot_be_stapled_is_an_error() {
    assert_eq!(read(GOOD, REVOKED_SERIAL), Err(OTHER_CERTIFICATE));
    assert_eq!(read(include_bytes!("samples/unknown.der"), 0x3122_3344_5566_7788), Err(UNKNOWN));
    assert_eq!(read(include_bytes!("samples/unlimited.der"), SERIAL), Err(UNLIMITED));
    // `tryLater`, which has no content.
    assert_eq!(read(&[0x30, 3, 0x0a, 1, 3], SERIAL), Err(UNSUCCESSFUL));
    for other in
        [&b""[..], b"nothing", &[0x30, 0], &[0x30, 3, 0x0a, 1, 0], &certificate(SERIAL), &[GOOD, b"more"].concat()]
    {
        assert_eq!(read(other, SERIAL), Err(NOT_A_RESPONSE));
    }
}

/// A response truncated or changed anywhere is read or refused, never a panic.
#[test]
fn damaged_responses_are_harmless() {
    let certificate = certificate(SERIAL);
    for place in 0..GOOD.len() {
        assert!(OcspStatus::read(&GOOD[..place], &certificate).is_err());
        for value in [0, 0x7f, 0x80, 0x84, 0xff] {
            let mut changed = GOOD.to_vec();
            changed[place] = value;
            let _ = OcspStatus::read(&changed, &certificate);
        }
    }
}
