//! TLS of listeners (`listen.tls`) and of upstreams (`upstream_tls`, `upstream.<u>.tls`). Does not read the files;
//! preflight does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;

use crate::preflight::texts;
use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::text::{Text, text};
use crate::spec::{ListItem, Mapping};
use crate::value::http::{HeaderName, is_dns_name};

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

/// Request fields that Spooky sets, removes or joins.
const PROXY_FIELDS: [&str; 23] = [
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

/// Whether a field is one of them. Treats `_` as `-`, because CGI backends do.
fn is_proxy_field(name: &str) -> bool {
    let name = name.replace('_', "-");
    PROXY_FIELDS.contains(&&*name)
}

/// Whether the text is a DNS name, optionally after `*.`.
fn is_server_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    is_dns_name(name) && name.parse::<std::net::IpAddr>().is_err()
}

block! {
    /// Certificates and client authentication of a listener. Exact SNI comes first, then the longest wildcard, then
    /// `cert`/`key`, then the first entry; an unknown SNI gets the default. Keys are PKCS#8, PKCS#1 or SEC1 PEM.
    pub struct ListenTls {
        /// Certificate chain of the default pair, PEM.
        cert: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(HALF_PAIR),
            may_report(texts::CERT_MISSING), may_report(texts::CERT_UNREADABLE), may_report(texts::CERT_GONE), may_report(texts::CERT_INVALID),
            may_report(texts::CERT_NO_BLOCK), may_report(texts::PEM_UNREAD), may_report(texts::EXPIRED), may_report(texts::EXPIRES);
        /// Private key of the default pair, PEM.
        key: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(texts::KEY_MISSING), may_report(texts::KEY_UNREADABLE),
            may_report(texts::KEY_GONE), may_report(texts::KEY_INVALID), may_report(texts::KEY_ENCRYPTED), may_report(texts::KEY_NO_BLOCK),
            may_report(texts::PEM_UNREAD), may_report(texts::KEY_MISMATCH);
        /// OCSP response in DER about the certificate, which is stapled until its time has passed.
        ocsp_file: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(texts::OCSP_MISSING),
            may_report(texts::OCSP_UNUSABLE), may_report(texts::OCSP_EXPIRED), may_report(texts::OCSP_REVOKED);
        /// Further certificates and keys, selected by SNI.
        certificates: Vec<Certificate> = Vec::new();
        /// Client certificates.
        client_auth: ClientAuth = ClientAuth::default();
    }
    finalize ListenTls::finalize
}

impl ListenTls {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let (cert, key) = (self.cert.is_some(), self.key.is_some());
        let present = if cert { "cert" } else { "key" };
        mapping.require(cert == key, &[present, "cert", "key"], HALF_PAIR, &[]);
        if !cert && !key && self.certificates.is_empty() {
            mapping.require_here(NO_PAIR);
        }
        let mut seen = HashMap::new();
        let named = self.certificates.iter().enumerate().map(|(index, entry)| (index, entry.server_name.as_str()));
        for (index, name) in named.filter(|(_, name)| !name.is_empty()) {
            match seen.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(index);
                }
                Entry::Occupied(earlier) => {
                    let span = format!("certificates[{index}].server_name");
                    let arguments = [("n", name), ("j", &*earlier.get().to_string())];
                    mapping.require(false, &[&span], SERVER_NAME_TWICE, &arguments);
                }
            }
        }
    }
}

block! {
    /// A certificate and key selected by SNI.
    pub struct Certificate {
        /// DNS name or `*.suffix`; must be covered by the certificate.
        server_name: String = String::new(), required(), check(is_server_name, SERVER_NAME), may_report(SERVER_NAME_TWICE),
            may_report(texts::NOT_COVERED);
        /// Certificate chain, PEM.
        cert: PathBuf = PathBuf::new(), required(), check(is_not_blank, EMPTY);
        /// Private key, PEM.
        key: PathBuf = PathBuf::new(), required(), check(is_not_blank, EMPTY);
        /// OCSP response in DER about the certificate, which is stapled until its time has passed.
        ocsp_file: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(texts::OCSP_MISSING),
            may_report(texts::OCSP_UNUSABLE), may_report(texts::OCSP_EXPIRED), may_report(texts::OCSP_REVOKED);
    }
    finalize |block: &mut Certificate, _: &mut Mapping<'_, '_>| block.server_name.make_ascii_lowercase()
}

impl ListItem for Certificate {}

block! {
    /// Client certificates (mutual TLS).
    pub struct ClientAuth {
        /// `true`: a certificate is requested and, if sent, must verify.
        enabled: bool = false;
        /// `true`: without one the handshake fails.
        require_client_cert: bool = false, may_report(CLIENT_CERT_ALONE);
        /// Certificate authorities that sign clients, PEM.
        ca_file: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(CA_REQUIRED), may_report(texts::FILE_MISSING),
            may_report(texts::CA_NO_BLOCK), may_report(texts::PEM_UNREAD), may_report(texts::EXPIRED), may_report(texts::EXPIRES);
        /// PEM revocation lists, checked for the whole chain.
        crl_file: Option<PathBuf> = None, check(is_not_blank, EMPTY), may_report(texts::FILE_MISSING),
            may_report(texts::FILE_UNREADABLE), may_report(texts::CRL_NO_BLOCK), may_report(texts::PEM_UNREAD);
        /// Request field that passes the verified subject to the backend, in the form of RFC 4514. A field of that name from a
        /// client is always removed. It cannot be a field that Spooky sets or removes, such as `via` or `x-forwarded-for`.
        subject_header: Option<HeaderName> = None, may_report(SUBJECT_TAKEN);
    }
    finalize |block: &mut ClientAuth, mapping: &mut Mapping<'_, '_>| {
        let allowed = block.enabled || !block.require_client_cert;
        mapping.require(allowed, &["require_client_cert", "enabled"], CLIENT_CERT_ALONE, &[]);
        mapping.require(!block.enabled || block.ca_file.is_some(), &["ca_file", "enabled"], CA_REQUIRED, &[]);
        if let Some(header) = block.subject_header.as_deref() {
            mapping.require(!is_proxy_field(header), &["subject_header"], SUBJECT_TAKEN, &[("v", header)]);
        }
    }
}

block! {
    /// TLS to backends, health probes included. A block in an upstream replaces the global one as a whole. If a CA is
    /// given, public roots are not trusted unless `use_system_roots` is `true`.
    pub struct UpstreamTls standalone {
        /// `false`: chain and name are not checked, and backends with an address without scheme may use cleartext.
        verify_certificates: bool = true, may_report(UNVERIFIED);
        /// `false`: the name is not checked, the chain still is. SNI is sent in both cases whenever the name is a DNS name.
        strict_sni: bool = true;
        /// Name for SNI and for the check.
        server_name: Option<String> = None, check(is_peer_name, SERVER_NAME), default("host of the address");
        /// Certificate authorities, PEM.
        ca_file: Option<PathBuf> = None, check(is_not_blank, EMPTY_WHEN_PROVIDED), may_report(texts::FILE_MISSING),
            may_report(texts::CA_NO_BLOCK), may_report(texts::PEM_UNREAD), may_report(texts::EXPIRED), may_report(texts::EXPIRES);
        /// Directory of certificate authorities: every `.pem`, `.crt` and `.cer` file in it.
        ca_dir: Option<PathBuf> = None, check(is_not_blank, EMPTY_WHEN_PROVIDED), may_report(texts::FILE_MISSING),
            may_report(texts::CA_DIR_NOT_DIR), may_report(texts::CA_DIR_EMPTY), may_report(texts::PEM_UNREAD);
        /// `true` trusts the public roots in addition to the given CAs.
        use_system_roots: bool => ca_file.is_none() && ca_dir.is_none(),
            default("`true` without `ca_file` and `ca_dir`, else `false`");
        /// Client certificate chain for backends, PEM.
        client_cert: Option<PathBuf> = None, check(is_not_blank, EMPTY_WHEN_PROVIDED), may_report(HALF_CLIENT_PAIR);
        /// Its private key, PEM.
        client_key: Option<PathBuf> = None, check(is_not_blank, EMPTY_WHEN_PROVIDED), may_report(HALF_CLIENT_PAIR);
    }
    finalize UpstreamTls::finalize
}

/// Whether the text is a DNS name or an IP literal.
fn is_peer_name(name: &str) -> bool {
    is_dns_name(name) || name.parse::<std::net::IpAddr>().is_ok()
}

const UNVERIFIED: Text = text("<key>=false disables TLS certificate validation for HTTPS upstreams").warning();

impl UpstreamTls {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let (cert, key) = (self.client_cert.is_some(), self.client_key.is_some());
        let present = if cert { "client_cert" } else { "client_key" };
        mapping.require(cert == key, &[present, "client_cert", "client_key"], HALF_CLIENT_PAIR, &[]);
        mapping.require(self.verify_certificates, &["verify_certificates"], UNVERIFIED, &[]);
    }
}
