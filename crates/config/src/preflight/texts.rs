//! Messages about files, accounts and ports.

use std::io::Error;

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
pub(crate) const CERT_INVALID: Text =
    tls("Failed to load certificate: invalid certificate format").hint("'<p>' line <n>: <reason>");
pub(crate) const KEY_INVALID: Text = tls("Failed to load key '<p>': invalid key format").hint("line <n>: <reason>");
pub(crate) const KEY_ENCRYPTED: Text = tls("Failed to load key '<p>': the key is encrypted")
    .hint("write it without a pass phrase: openssl pkey -in '<p>' -out '<p>.plain'");
pub(crate) const PEM_UNREAD: Text = tls("<key> '<p>' line <n>: <reason>");
pub(crate) const CERT_NO_BLOCK: Text = tls("<key> '<p>' does not contain any PEM certificate blocks");
pub(crate) const KEY_NO_BLOCK: Text = tls("<key> '<p>' does not contain a PEM private key");
pub(crate) const KEY_MISMATCH: Text = tls("Failed to load key '<p>': key does not match certificate '<c>'");
pub(crate) const NOT_COVERED: Text = tls("<key> '<n>' is not covered by certificate '<p>'");
pub(crate) const OCSP_MISSING: Text = tls("OCSP response file does not exist: <p>");
pub(crate) const OCSP_UNUSABLE: Text = tls("<key> '<p>' cannot be used: <reason>");
pub(crate) const OCSP_EXPIRED: Text = tls("OCSP response '<p>' expired on <date>").warning().hint("it is not stapled");
pub(crate) const OCSP_REVOKED: Text = tls("OCSP response '<p>' says that the certificate is revoked").warning();
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
pub(crate) const FILE_UNREADABLE: Text = tls("Cannot read <key> '<p>': <reason>");
pub(crate) const SECRET_SHORT: Text = text("<key> '<p>' must hold at least 32 bytes");
pub(crate) const CRL_NO_BLOCK: Text = tls("<key> '<p>' does not contain any PEM revocation lists");
pub(crate) const TOKEN_EMPTY: Text = text("<key> cannot be empty when provided");
pub(crate) const EXPIRED: Text = tls("certificate '<p>' expired on <date>").warning();
pub(crate) const EXPIRES: Text = tls("certificate '<p>' expires on <date>").warning();
pub(crate) const NOT_READABLE: Text =
    text("'<p>' is not readable by user '<user>'; CAP_DAC_READ_SEARCH is kept for reload").warning();
pub(crate) const PORT_BUSY: Text = text("port <p> on <a> is in use").code(Code::ListenerBindConflict).warning();
pub(crate) const UDP_BIND: Text = text("Failed to bind UDP socket <a>:<p>: <reason>").code(Code::ListenerBindConflict);
pub(crate) const TCP_BIND: Text = text("Failed to bind TCP socket <a>:<p>: <reason>").code(Code::ListenerBindConflict);
pub(crate) const METRICS_BIND: Text =
    text("failed to bind metrics endpoint <a>:<p>: <reason>").code(Code::ListenerBindConflict);
pub(crate) const CONTROL_BIND: Text =
    text("failed to bind control API endpoint <a>:<p>: <reason>").code(Code::ListenerBindConflict);
/// Hint for a port that only root may bind.
pub(crate) const PRIVILEGED_PORT: &str =
    "Binding privileged port <p> requires root or CAP_NET_BIND_SERVICE. Use a port >= 1024 for unprivileged startup.";

/// Returns the message of an operating system error without its number.
pub(super) fn os_text(error: &Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}
pub(crate) const WORKERS: Text =
    text("performance.worker_threads (<a>) times packet_shards_per_worker (<b>) must be at most 256")
        .hint("one byte of each connection id names the thread that owns it");

/// All of them: the table of mistakes leaves them to the tests of this module.
#[cfg(test)]
pub(crate) const ALL: &[Text] = &[
    WORKERS,
    CERT_MISSING,
    KEY_MISSING,
    CERT_UNREADABLE,
    KEY_UNREADABLE,
    CERT_GONE,
    KEY_GONE,
    CERT_INVALID,
    KEY_INVALID,
    KEY_ENCRYPTED,
    PEM_UNREAD,
    CERT_NO_BLOCK,
    KEY_NO_BLOCK,
    KEY_MISMATCH,
    NOT_COVERED,
    OCSP_MISSING,
    OCSP_UNUSABLE,
    OCSP_EXPIRED,
    OCSP_REVOKED,
    FILE_MISSING,
    CA_NO_BLOCK,
    CA_DIR_NOT_DIR,
    CA_DIR_EMPTY,
    ROOT_REFUSED,
    NO_USER,
    NO_GROUP,
    FILE_UNREADABLE,
    SECRET_SHORT,
    CRL_NO_BLOCK,
    TOKEN_EMPTY,
    EXPIRED,
    EXPIRES,
    NOT_READABLE,
    PORT_BUSY,
    UDP_BIND,
    TCP_BIND,
    METRICS_BIND,
    CONTROL_BIND,
];
