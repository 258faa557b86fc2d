//! TLS contexts for clients and backends, built with rustls and the aws-lc-rs provider. `edge` and `transport` run the
//! handshakes.
//!
//! Everything here happens at start and at reload, off the request path, except that [`CertificateStore`] selects a
//! certificate for each handshake.

use std::sync::{Arc, LazyLock};

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub mod client;
pub mod server;

mod explain;
mod keylog;
mod listener;
mod material;
mod sessions;
mod store;
mod verify;
mod x509;

pub use explain::explain;
pub use keylog::allow_key_log;
pub use listener::{ListenerTls, ListenerTlsOptions};
pub use material::{CertificateFiles, TlsMaterialError};
pub use store::{CertificateStore, NamedCertificate, SelectionCounts, normalize_name};
pub use x509::{expiry, subject};

/// Returns the algorithms in use: those of aws-lc-rs, with the hybrid X25519MLKEM768 preferred and X25519 accepted.
///
/// Cipher suites are ordered by cost. SHA-384, which AES-256-GCM requires, adds about 40 us to a handshake, because
/// processors with instructions for SHA-256 have none for it.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| cost(suite.suite()));
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

fn cost(suite: CipherSuite) -> u8 {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => 1,
        _ => 2,
    }
}

/// Returns whether this processor has instructions for AES. Without them the costs have a different order.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests;
