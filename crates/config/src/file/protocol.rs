//! `resilience.protocol`: which requests are accepted.

use crate::problem::Code;
use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::text::{Text, text};
use crate::value::http::{Method, is_token};
use crate::value::path::{literal_prefix, strip_port};

const EARLY_DATA_NONE: Text =
    text("resilience.protocol.early_data_safe_methods must be non-empty when allow_0rtt=true")
        .code(Code::UnsupportedPolicyCombination);
const EARLY_DATA_EMPTY: Text = text("resilience.protocol.early_data_safe_methods must not contain empty values");
const METHOD_EMPTY: Text = text("resilience.protocol.allowed_methods must not contain empty values");
const METHOD_TOKEN: Text = text("resilience.protocol.allowed_methods must contain valid HTTP method tokens");
const DENIED: Text = text("resilience.protocol.denied_path_prefixes must contain '/'-prefixed paths");
const DENIED_STAR: Text = text("denied_path_prefixes is literal; '*' has no meaning here").warning().hint("<prefix>");
const STATUS: Text = text("resilience.protocol.timeout_status must be 503 or 504");
const CONNECT_PORTS: Text = text("resilience.protocol.connect_allowed_ports must contain ports in range 1-65535");
const CONNECT_AUTHORITIES: Text =
    text("resilience.protocol.connect_allowed_authorities must contain authority-form host:port targets");
const CONNECT_OFF: Text =
    text("resilience.protocol.connect_allowed_ports/connect_allowed_authorities require allow_connect=true")
        .code(Code::UnsupportedPolicyCombination);

/// Whether the text is `host:port` (RFC 9110 section 9.3.6).
fn is_authority(text: &str) -> bool {
    let port =
        text.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0);
    let bare_v6 = !text.starts_with('[') && text.matches(':').count() > 1;
    let host = strip_port(text).and_then(crate::value::http::parse_host).is_some();
    port && !bare_v6 && host
}

block! {
    /// Which requests are accepted.
    pub struct Protocol {
        /// Requests in TLS early data, over QUIC. Sessions are then single use, and resume only for clients whose address is
        /// validated.
        allow_0rtt: bool = false, may_report(EARLY_DATA_NONE);
        /// Methods that are accepted in early data; others are answered 425.
        early_data_safe_methods: Vec<Method> = safe_methods(), check(is_not_blank, EARLY_DATA_EMPTY);
        /// Maximum number of fields of a request head. Pseudo-header fields count; all `cookie` fields count as one.
        max_headers_count: usize = 128, positive();
        /// Maximum size of a request head: names plus values.
        max_headers_bytes: u64 = 16_384, positive();
        /// `:authority` and `host` must agree.
        enforce_authority_host_match: bool = true;
        /// Methods that are accepted; empty = all.
        allowed_methods: Vec<Method> = Vec::new(), check(is_not_blank, METHOD_EMPTY), check(is_token, METHOD_TOKEN);
        /// Path prefixes that are answered with 403.
        denied_path_prefixes: Vec<String> = Vec::new(), check(|path| path.starts_with('/'), DENIED),
            may_report(DENIED_STAR);
        /// `true`: answers 400 to paths with encoded slash, backslash or NUL.
        reject_ambiguous_paths: bool = false;
        /// Status of an upstream timeout: 503 or 504.
        timeout_status: u16 = 503, range(503, 504, STATUS);
        /// CONNECT tunnels.
        allow_connect: bool = false;
        /// Ports that CONNECT may use; empty = no restriction.
        connect_allowed_ports: Vec<u16> = Vec::new(), range(1, 65_535, CONNECT_PORTS), may_report(CONNECT_OFF);
        /// Authorities that CONNECT may use; empty = no restriction.
        connect_allowed_authorities: Vec<String> = Vec::new(), check(is_authority, CONNECT_AUTHORITIES),
            may_report(CONNECT_OFF);
        /// Upgrade on HTTP/1.1, extended CONNECT on HTTP/2 and HTTP/3.
        allow_websocket: bool = true;
    }
    finalize Protocol::finalize
}

/// GET and HEAD.
pub(crate) fn safe_methods() -> Vec<Method> {
    ["GET", "HEAD"].into_iter().filter_map(Method::parse).collect()
}

impl Protocol {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let early = !self.allow_0rtt
            || !self.early_data_safe_methods.is_empty()
            || mapping.any_failed("early_data_safe_methods");
        mapping.require(early, &["early_data_safe_methods", "allow_0rtt"], EARLY_DATA_NONE, &[]);
        let first =
            if self.connect_allowed_ports.is_empty() { "connect_allowed_authorities" } else { "connect_allowed_ports" };
        let unrestricted = self.connect_allowed_ports.is_empty() && self.connect_allowed_authorities.is_empty();
        mapping.require(self.allow_connect || unrestricted, &[first, "allow_connect"], CONNECT_OFF, &[]);
        for (index, path) in self.denied_path_prefixes.iter().enumerate() {
            if let Some(prefix) = literal_prefix(path) {
                let key = format!("denied_path_prefixes[{index}]");
                mapping.require(false, &[&key], DENIED_STAR, &[("prefix", prefix)]);
            }
        }
    }
}
