//! TLS on both sides: `listen.tls`, and `upstream_tls` with `upstream.<u>.tls`. What the files hold is for the world
//! checks; here only what the text says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_written;
use crate::spec::text::{Text, text};
use crate::spec::{Item, Scope};
use crate::value::http::{HeaderName, is_dns_name};
use crate::world::texts;

const HALF_PAIR: Text = text("<block>.cert and <block>.key must both be set when either is provided");
pub(crate) const NO_PAIR: Text = text("<key> requires either cert/key or certificates entries");
const SERVER_NAME: Text = text("<key> '<n>' is not a valid DNS hostname");
const SERVER_NAME_TWICE: Text = text("<key> '<n>' duplicates certificates[<j>]");
const EMPTY: Text = text("<key> cannot be empty");
const CLIENT_CERT_ALONE: Text =
    text("<key> requires client_auth.enabled=true").code(Code::UnsupportedPolicyCombination);
const CA_REQUIRED: Text = text("<key> is required when client_auth.enabled=true");
const EMPTY_WHEN_PROVIDED: Text = text("<key> cannot be empty when provided");
const HALF_CLIENT_PAIR: Text =
    text("<block>.client_cert and <block>.client_key must both be set when either is provided");

const SUBJECT_TAKEN: Text = text("<key> '<v>' is a field that Spooky itself writes or removes")
    .code(Code::UnsupportedPolicyCombination)
    .hint("choose a name of your own, such as x-client-subject");

/// Request fields that Spooky itself writes, removes or joins on the way to a backend.
const FIELDS_OF_PROXY: [&str; 23] = [
    "connection",
    "content-length",
    "cookie",
    "early-data",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Whether a field is one of them, also for backends that read `_` as `-`, as CGI does.
fn is_field_of_proxy(name: &str) -> bool {
    let name = name.replace('_', "-");
    FIELDS_OF_PROXY.contains(&&*name)
}

/// A DNS name, or `*.` and one.
fn is_server_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    is_dns_name(name) && name.parse::<std::net::IpAddr>().is_err()
}

block! {
    /// Certificates and client authentication of a listener. Exact SNI comes first, then the longest wildcard, then
    /// `cert`/`key`, then the first entry; an unknown SNI gets the default. Keys are PKCS#8, PKCS#1 or SEC1 PEM.
    pub struct ListenTls {
        /// Certificate chain of the default pair, PEM.
        cert: Option<PathBuf> = None, holds(is_written, EMPTY), says(HALF_PAIR),
            says(texts::CERT_MISSING), says(texts::CERT_UNREADABLE), says(texts::CERT_GONE), says(texts::CERT_INVALID),
            says(texts::CERT_NO_BLOCK), says(texts::PEM_UNREAD), says(texts::EXPIRED), says(texts::EXPIRES);
        /// Private key of the default pair, PEM.
        key: Option<PathBuf> = None, holds(is_written, EMPTY), says(texts::KEY_MISSING), says(texts::KEY_UNREADABLE),
            says(texts::KEY_GONE), says(texts::KEY_INVALID), says(texts::KEY_ENCRYPTED), says(texts::KEY_NO_BLOCK),
            says(texts::PEM_UNREAD), says(texts::KEY_MISMATCH);
        /// OCSP response in DER that is stapled.
        ocsp_file: Option<PathBuf> = None, holds(is_written, EMPTY), says(texts::OCSP_MISSING);
        /// Further pairs, chosen by SNI.
        certificates: Vec<Certificate> = Vec::new();
        /// Client certificates.
        client_auth: ClientAuth = ClientAuth::default();
    }
    settle ListenTls::settle
}

impl ListenTls {
    fn settle(&mut self, scope: &mut Scope<'_, '_>) {
        let (cert, key) = (self.cert.is_some(), self.key.is_some());
        let present = if cert { "cert" } else { "key" };
        scope.require(cert == key, &[present, "cert", "key"], HALF_PAIR, &[]);
        if !cert && !key && self.certificates.is_empty() {
            scope.require_here(NO_PAIR);
        }
        let mut seen = HashMap::new();
        let named = self.certificates.iter().enumerate().map(|(index, entry)| (index, entry.server_name.as_str()));
        for (index, name) in named.filter(|(_, name)| !name.is_empty()) {
            match seen.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(index);
                }
                Entry::Occupied(earlier) => {
                    let place = format!("certificates[{index}].server_name");
                    let arguments = [("n", name), ("j", &*earlier.get().to_string())];
                    scope.require(false, &[&place], SERVER_NAME_TWICE, &arguments);
                }
            }
        }
    }
}

block! {
    /// A pair that is chosen by SNI.
    pub struct Certificate {
        /// DNS name or `*.suffix`; must be covered by the certificate.
        server_name: String = String::new(), required(), holds(is_server_name, SERVER_NAME), says(SERVER_NAME_TWICE),
            says(texts::NOT_COVERED);
        /// Certificate chain, PEM.
        cert: PathBuf = PathBuf::new(), required(), holds(is_written, EMPTY);
        /// Private key, PEM.
        key: PathBuf = PathBuf::new(), required(), holds(is_written, EMPTY);
        /// OCSP response in DER that is stapled.
        ocsp_file: Option<PathBuf> = None, holds(is_written, EMPTY), says(texts::OCSP_MISSING);
    }
    settle |block: &mut Certificate, _: &mut Scope<'_, '_>| block.server_name.make_ascii_lowercase()
}

impl Item for Certificate {}

block! {
    /// Client certificates (mutual TLS).
    pub struct ClientAuth {
        /// `true`: a certificate is requested and, if sent, must verify.
        enabled: bool = false;
        /// `true`: without one the handshake fails.
        require_client_cert: bool = false, says(CLIENT_CERT_ALONE);
        /// Certificate authorities that sign clients, PEM.
        ca_file: Option<PathBuf> = None, holds(is_written, EMPTY), says(CA_REQUIRED), says(texts::FILE_MISSING),
            says(texts::CA_NO_BLOCK), says(texts::PEM_UNREAD);
        /// PEM revocation lists, checked for the whole chain.
        crl_file: Option<PathBuf> = None, holds(is_written, EMPTY), says(texts::FILE_MISSING),
            says(texts::FILE_UNREADABLE), says(texts::CRL_NO_BLOCK), says(texts::PEM_UNREAD);
        /// Request field that carries the verified subject upstream, as in RFC 4514; a client's own field of that name is
        /// removed, always. It cannot be a field that Spooky itself writes or removes, such as `via` or `x-forwarded-for`.
        subject_header: Option<HeaderName> = None, says(SUBJECT_TAKEN);
    }
    settle |block: &mut ClientAuth, scope: &mut Scope<'_, '_>| {
        let allowed = block.enabled || !block.require_client_cert;
        scope.require(allowed, &["require_client_cert", "enabled"], CLIENT_CERT_ALONE, &[]);
        scope.require(!block.enabled || block.ca_file.is_some(), &["ca_file", "enabled"], CA_REQUIRED, &[]);
        if let Some(header) = block.subject_header.as_deref() {
            scope.require(!is_field_of_proxy(header), &["subject_header"], SUBJECT_TAKEN, &[("v", header)]);
        }
    }
}

block! {
    /// TLS to backends, health probes included. A block in an upstream replaces the global one as a whole. If a CA is
    /// given, public roots are not trusted unless `use_system_roots` is `true`.
    pub struct UpstreamTls whole {
        /// `false`: chain and name are not checked, and addresses without scheme may turn out to be cleartext.
        verify_certificates: bool = true, says(UNVERIFIED);
        /// `false`: the name is not checked, the chain still is. SNI is sent in both cases whenever the name is a DNS name.
        strict_sni: bool = true;
        /// Name for SNI and for the check.
        server_name: Option<String> = None, holds(is_peer_name, SERVER_NAME), default("host of the address");
        /// Certificate authorities, PEM.
        ca_file: Option<PathBuf> = None, holds(is_written, EMPTY_WHEN_PROVIDED), says(texts::FILE_MISSING),
            says(texts::CA_NO_BLOCK), says(texts::PEM_UNREAD);
        /// Directory of certificate authorities: every `.pem`, `.crt` and `.cer` file in it.
        ca_dir: Option<PathBuf> = None, holds(is_written, EMPTY_WHEN_PROVIDED), says(texts::FILE_MISSING),
            says(texts::CA_DIR_NOT_DIR), says(texts::CA_DIR_EMPTY), says(texts::PEM_UNREAD);
        /// `true` adds the public roots to the given ones.
        use_system_roots: bool => ca_file.is_none() && ca_dir.is_none(),
            default("`true` without `ca_file` and `ca_dir`, else `false`");
        /// Client certificate chain for backends, PEM.
        client_cert: Option<PathBuf> = None, holds(is_written, EMPTY_WHEN_PROVIDED), says(HALF_CLIENT_PAIR);
        /// Its private key, PEM.
        client_key: Option<PathBuf> = None, holds(is_written, EMPTY_WHEN_PROVIDED), says(HALF_CLIENT_PAIR);
    }
    settle UpstreamTls::settle
}

/// A DNS name or an IP literal.
fn is_peer_name(name: &str) -> bool {
    is_dns_name(name) || name.parse::<std::net::IpAddr>().is_ok()
}

const UNVERIFIED: Text = text("<key>=false disables TLS certificate validation for HTTPS upstreams").warning();

impl UpstreamTls {
    fn settle(&mut self, scope: &mut Scope<'_, '_>) {
        let (cert, key) = (self.client_cert.is_some(), self.client_key.is_some());
        let present = if cert { "client_cert" } else { "client_key" };
        scope.require(cert == key, &[present, "client_cert", "client_key"], HALF_CLIENT_PAIR, &[]);
        scope.require(self.verify_certificates, &["verify_certificates"], UNVERIFIED, &[]);
    }
}
