//! The texts about files, accounts and ports, for the checks and for the reference.

use crate::problem::Code;
use crate::spec::text::{Text, text};

const fn tls(template: &'static str) -> Text {
    text(template).code(Code::TlsMaterialInvalid)
}

pub(crate) const CERT_MISSING: Text = tls("TLS certificate file does not exist: <p>");
pub(crate) const KEY_MISSING: Text = tls("TLS private key file does not exist: <p>");
pub(crate) const CERT_UNREADABLE: Text = tls("Cannot read TLS certificate file '<p>': <reason>");
pub(crate) const KEY_UNREADABLE: Text = tls("Cannot read TLS private key file '<p>': <reason>");
pub(crate) const CERT_GONE: Text = tls("Failed to load certificate '<p>': <reason>");
pub(crate) const KEY_GONE: Text = tls("Failed to load key '<p>': <reason>");
pub(crate) const CERT_INVALID: Text = tls("Failed to load certificate: invalid certificate format");
pub(crate) const KEY_INVALID: Text = tls("Failed to load key '<p>': invalid key format");
pub(crate) const CERT_NO_BLOCK: Text = tls("<key> '<p>' does not contain any PEM certificate blocks");
pub(crate) const KEY_NO_BLOCK: Text = tls("<key> '<p>' does not contain a PEM private key");
pub(crate) const KEY_MISMATCH: Text = tls("Failed to load key '<p>': key does not match certificate '<c>'");
pub(crate) const NOT_COVERED: Text = tls("<key> '<n>' is not covered by certificate '<p>'");
pub(crate) const OCSP_MISSING: Text = tls("OCSP response file does not exist: <p>");
pub(crate) const FILE_MISSING: Text = tls("<key> does not exist: <p>");
pub(crate) const CA_NO_BLOCK: Text = tls("<key> '<p>' does not contain any PEM certificate blocks");
pub(crate) const CA_DIR_NOT_DIR: Text = tls("<key> must be a directory: <p>");
pub(crate) const CA_DIR_EMPTY: Text = tls("<key> '<p>' did not contain any readable PEM certificates");
pub(crate) const ROOT_REFUSED: Text = text(
    "refusing to run as root with security.privileges.enabled=false; set security.privileges.allow_root=true to accept it",
)
.code(Code::UnsupportedPolicyCombination);
pub(crate) const NO_USER: Text = text("user '<u>' not found");
pub(crate) const NO_GROUP: Text = text("group '<g>' not found");
