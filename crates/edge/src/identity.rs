//! What TLS says about a client: the name that it asked for, and the subject of its certificate.

use rustls::pki_types::CertificateDer;
use spooky_config::{host_of, normalize_host};
use spooky_net::tls::CertificateStore;

/// Maximum length of a certificate subject, because backends limit request heads. A longer one is not forwarded.
const MAX_SUBJECT: usize = 8 * 1024;

/// Returns the subject of a client's verified chain as a field value; `None` if it is empty or too long.
pub(crate) fn subject(chain: &[CertificateDer<'_>]) -> Option<Box<str>> {
    let subject = spooky_net::tls::subject(chain.first()?)?;
    (1..=MAX_SUBJECT).contains(&subject.len()).then(|| subject.into_boxed_str())
}

/// Returns whether `authority` needs another certificate than the one for `server_name`, the normalized SNI of the
/// connection (RFC 9110 section 15.5.20). `scratch` is a buffer that the caller reuses.
pub(crate) fn is_misdirected(
    certificates: &CertificateStore,
    server_name: &str,
    authority: &[u8],
    scratch: &mut Vec<u8>,
) -> bool {
    // Nearly all requests are for the name of the handshake.
    if host_of(authority).eq_ignore_ascii_case(server_name.as_bytes()) {
        return false;
    }
    let host = std::str::from_utf8(normalize_host(authority, scratch));
    host.is_ok_and(|host| certificates.is_misdirected(server_name, host))
}
