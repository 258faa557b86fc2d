//! TLS contexts for both sides: what certificates Spooky shows and to whom, and whom it believes. All of it is rustls
//! with the aws-lc-rs provider; the exchange of bytes is done by the callers (`edge` and `transport`).
//!
//! Everything here happens at start and at reload, off the request path, except [`Store`]'s choice per handshake.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub mod client;
pub mod server;

mod material;
mod store;
mod verify;
mod x509;

pub use material::{CertificateFiles, TlsMaterialError};
pub use store::{NamedFiles, Selections, Store};
pub use x509::{expiry, subject};

/// The algorithms in use: those of aws-lc-rs, with the hybrid X25519MLKEM768 preferred and X25519 accepted.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
mod tests;
