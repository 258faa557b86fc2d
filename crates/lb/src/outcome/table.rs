//! The table of docs/reference/behaviour.md#status-codes, one line per reason. A macro generates the enum, the list of all
//! reasons and the rows from it.

use super::{ErrorKind, Fault, Level, Retry};

/// Properties of one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// HTTP status code.
    pub status: u16,
    /// Exact body text, without the newline.
    pub text: &'static str,
    /// Who caused it.
    pub fault: Fault,
    /// For which methods the failure behind it is retried.
    pub retry: Retry,
    /// Whether such a failure may count against the backend (passive health, breaker); `attempt` decides in each case.
    pub counts_against_backend: bool,
    /// `error` of the `proxy-status` field (RFC 9209 section 2.3).
    pub proxy_error: &'static str,
    /// `details` of the `proxy-status` field; never names a backend.
    pub details: &'static str,
    /// Value of the `reason` label in metrics and of `reason=` in the access line.
    pub label: &'static str,
    /// Value of `error=` in the access line.
    pub error: ErrorKind,
    /// Log level of its line.
    pub level: Level,
    /// Whether `retry-after` is sent.
    pub retry_after: bool,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $status:literal $text:literal $fault:ident $retry:ident
        counts=$counts:literal $proxy:literal $details:literal $label:literal $error:ident $level:ident
        retry_after=$after:literal;)+) => {
        /// An answer made by Spooky itself, and why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the position in [`Reason::ALL`].
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// Returns the reason at a position.
            pub fn from_number(number: u16) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }

            /// The properties of this reason.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        status: $status, text: $text, fault: Fault::$fault, retry: Retry::$retry,
                        counts_against_backend: $counts, proxy_error: $proxy, details: $details, label: $label,
                        error: ErrorKind::$error, level: Level::$level, retry_after: $after,
                    },)+
                }
            }
        }
    };
}

reasons! {
    /// HTTP/1.1 only: malformed by RFC 9112 (elsewhere the stream is reset). The connection closes after it.
    MalformedRequest: 400 "invalid request" Client Never counts=false "http_request_error" "malformed request" "malformed_request" Client Debug retry_after=false;
    /// `:authority` and `host` name different hosts.
    AuthorityHostMismatch: 400 "invalid request" Client Never counts=false "http_request_error" "authority and host differ" "authority_host_mismatch" Client Debug retry_after=false;
    /// The authority has user information or is no authority.
    InvalidAuthority: 400 "invalid request" Client Never counts=false "http_request_error" "invalid authority" "invalid_authority" Client Debug retry_after=false;
    /// `:scheme` is neither `https` nor `http`.
    InvalidScheme: 400 "invalid request" Client Never counts=false "http_request_error" "invalid scheme" "invalid_scheme" Client Debug retry_after=false;
    /// `:path` has a byte that no path has, or `*` with a method other than OPTIONS.
    InvalidPath: 400 "invalid request" Client Never counts=false "http_request_error" "invalid path" "invalid_path" Client Debug retry_after=false;
    /// Encoded slash, backslash or NUL, with `reject_ambiguous_paths`.
    AmbiguousPath: 400 "invalid request" Client Never counts=false "http_request_error" "ambiguous path" "ambiguous_path" Client Debug retry_after=false;
    /// CONNECT without `host:port`.
    InvalidConnectTarget: 400 "invalid request" Client Never counts=false "http_request_error" "invalid CONNECT target" "invalid_connect_target" Client Debug retry_after=false;
    /// HTTP/1.1: `transfer-encoding` with `content-length`, an unknown coding, or several hosts. The connection closes.
    ConflictingFraming: 400 "invalid request" Client Never counts=false "http_request_error" "conflicting framing" "conflicting_framing" Client Debug retry_after=false;
    /// Path under `denied_path_prefixes`.
    PathDenied: 403 "request path blocked by policy" Operator Never counts=false "http_request_denied" "path denied" "path_denied" Policy Debug retry_after=false;
    /// CONNECT to a port or authority that is not allowed.
    ConnectDenied: 403 "CONNECT target denied by policy" Operator Never counts=false "http_request_denied" "CONNECT target denied" "connect_denied" Policy Debug retry_after=false;
    /// No route matches.
    NoRoute: 404 "no route" Client Never counts=false "destination_not_found" "no route" "no_route" Client Debug retry_after=false;
    /// Method outside `allowed_methods`, or CONNECT without `allow_connect`; `allow` is sent with it.
    MethodDenied: 405 "request method blocked by policy" Operator Never counts=false "http_request_denied" "method denied" "method_denied" Policy Debug retry_after=false;
    /// The upload was silent for `client_body_idle_timeout_ms`.
    BodyIdle: 408 "request body idle timeout" Client Never counts=false "http_request_error" "request body idle" "request_body_idle" Timeout Debug retry_after=false;
    /// HTTP/1.1 only: the head did not arrive in `client_header_timeout_ms`. The connection closes after it.
    HeadTimeout: 408 "request head timeout" Client Never counts=false "http_request_error" "request head timeout" "request_head_timeout" Timeout Debug retry_after=false;
    /// Body declared or found above `max_request_body_bytes`.
    BodyTooLarge: 413 "request body too large" Client Never counts=false "http_request_error" "request body too large" "request_body_too_large" Client Debug retry_after=false;
    /// The host belongs to another certificate than the one in use.
    Misdirected: 421 "misdirected request" Client Never counts=false "http_request_error" "misdirected request" "misdirected" Client Debug retry_after=false;
    /// A method in 0-RTT data that is not safe there (RFC 8470).
    EarlyDataDenied: 425 "request blocked by early-data policy" Operator Never counts=false "http_request_denied" "early data denied" "early_data" Policy Debug retry_after=false;
    /// More fields than `max_headers_count`.
    TooManyHeaders: 431 "too many request headers" Client Never counts=false "http_request_error" "too many request headers" "headers_count" Client Debug retry_after=false;
    /// More header bytes than `max_headers_bytes`.
    HeadersTooLarge: 431 "request headers exceed size limit" Client Never counts=false "http_request_error" "request headers too large" "headers_bytes" Client Debug retry_after=false;
    /// A fault inside Spooky.
    Internal: 500 "internal server error" Proxy Never counts=false "proxy_internal_error" "internal error" "internal" Bridge Error retry_after=false;
    /// The backend's name did not resolve.
    UpstreamDns: 502 "upstream error" Backend AnyMethod counts=true "dns_error" "name resolution failed" "dns" Transport Warn retry_after=false;
    /// The backend refused the connection.
    UpstreamRefused: 502 "upstream error" Backend AnyMethod counts=true "connection_refused" "connection refused" "connect_refused" Transport Warn retry_after=false;
    /// No connection within `backend_connect_timeout_ms`.
    UpstreamConnectTimeout: 502 "upstream error" Backend AnyMethod counts=true "connection_timeout" "connection timed out" "connect_timeout" Timeout Warn retry_after=false;
    /// Any other failure to connect.
    UpstreamUnreachable: 502 "upstream error" Backend AnyMethod counts=true "destination_unavailable" "connection failed" "connect" Transport Warn retry_after=false;
    /// The TLS handshake with the backend failed.
    UpstreamTls: 502 "upstream error" Backend AnyMethod counts=true "tls_protocol_error" "tls handshake failed" "tls" Tls Warn retry_after=false;
    /// The backend's certificate does not verify.
    UpstreamCertificate: 502 "upstream error" Backend AnyMethod counts=true "tls_certificate_error" "certificate rejected" "tls_certificate" Tls Warn retry_after=false;
    /// The backend refused the stream without acting on it (`REFUSED_STREAM`), or kept closing connections first.
    UpstreamRefusedStream: 502 "upstream error" Backend AnyMethod counts=false "connection_terminated" "stream refused" "refused_stream" Transport Warn retry_after=false;
    /// The stream was reset or its connection lost before response headers.
    UpstreamReset: 502 "upstream error" Backend Idempotent counts=true "connection_terminated" "connection terminated" "reset" Transport Warn retry_after=false;
    /// The backend objected to the request by a reset (`PROTOCOL_ERROR`, `ENHANCE_YOUR_CALM`, `HTTP_1_1_REQUIRED`, `CANCEL`).
    UpstreamRejected: 502 "upstream error" Backend Never counts=false "connection_terminated" "request rejected by reset" "rejected" Transport Warn retry_after=false;
    /// The request is a WebSocket, and the backend takes none.
    UpstreamNoWebsocket: 502 "upstream error" Operator Never counts=false "proxy_configuration_error" "backend takes no WebSocket" "no_websocket" Transport Warn retry_after=false;
    /// The response is malformed.
    UpstreamProtocol: 502 "upstream protocol error" Backend Never counts=true "http_protocol_error" "malformed response" "protocol" Protocol Warn retry_after=false;
    /// Response headers above `max_response_headers_bytes`.
    ResponseHeadersTooLarge: 502 "upstream protocol error" Backend Never counts=false "http_response_header_section_size" "response headers too large" "response_headers_bytes" Protocol Warn retry_after=false;
    /// No response headers within `backend_timeout_ms`; 504 with `timeout_status: 504`.
    ResponseTimeout: 503 "upstream timeout" Backend Idempotent counts=true "http_response_timeout" "response timeout" "response_timeout" Timeout Warn retry_after=false;
    /// No response headers within `backend_total_request_timeout_ms`; 504 with `timeout_status: 504`. The attempts that
    /// timed out were recorded one by one.
    TotalTimeout: 503 "upstream timeout" Backend Never counts=false "http_response_timeout" "total timeout" "total_timeout" Timeout Warn retry_after=false;
    /// `max_stream_lifetime_ms` passed before response headers.
    Lifetime: 503 "upstream timeout" Operator Never counts=false "http_response_timeout" "lifetime" "lifetime" Timeout Warn retry_after=false;
    /// Declared response length above `max_response_body_bytes`.
    ResponseBodyTooLarge: 503 "upstream response body too large" Backend Never counts=false "http_response_body_size" "response body too large" "response_body_too_large" Protocol Warn retry_after=false;
    /// Every backend is unhealthy or drained.
    NoHealthyBackend: 503 "no healthy servers" Backend Never counts=false "destination_unavailable" "no healthy servers" "no_healthy" Pool Warn retry_after=true;
    /// The pool has no backend at all.
    NoBackend: 503 "no servers configured for upstream" Operator Never counts=false "proxy_configuration_error" "no servers configured" "no_servers" Pool Error retry_after=false;
    /// The chosen backend no longer exists.
    InvalidBackend: 503 "invalid server" Proxy Never counts=false "proxy_internal_error" "invalid server" "invalid_server" Pool Error retry_after=false;
    /// Brownout is on and the route is not a core route.
    Brownout: 503 "brownout active, non-core route shed" Proxy Never counts=false "connection_limit_reached" "brownout" "brownout" Overload Debug retry_after=true;
    /// The adaptive limit is reached.
    AdaptiveAdmission: 503 "adaptive admission overload" Proxy Never counts=false "connection_limit_reached" "adaptive_admission" "adaptive_admission" Overload Debug retry_after=true;
    /// The upstream's queue is full.
    RouteCap: 503 "route queue cap exceeded" Proxy Never counts=false "connection_limit_reached" "route_cap" "route_cap" Overload Debug retry_after=true;
    /// All queues together are full.
    RouteGlobalCap: 503 "global queue cap exceeded" Proxy Never counts=false "connection_limit_reached" "route_global_cap" "route_global_cap" Overload Debug retry_after=true;
    /// `global_inflight_limit` held until the wait ended.
    GlobalInflight: 503 "overloaded, retry later" Proxy Never counts=false "connection_limit_reached" "global_inflight" "global_inflight" Overload Debug retry_after=true;
    /// `per_upstream_inflight_limit` held until the wait ended.
    UpstreamInflight: 503 "upstream overloaded, retry later" Proxy Never counts=false "connection_limit_reached" "upstream_inflight" "upstream_inflight" Overload Debug retry_after=true;
    /// `per_backend_inflight_limit` of every usable backend held until the wait ended.
    BackendInflight: 503 "backend overloaded, retry later" Proxy Never counts=false "connection_limit_reached" "backend_inflight" "backend_inflight" Overload Debug retry_after=true;
    /// The circuit of every healthy backend is open.
    CircuitOpen: 503 "backend circuit open, retry later" Backend Never counts=false "destination_unavailable" "circuit_open" "circuit_open" Overload Debug retry_after=true;
    /// `request_buffer_global_cap_bytes` is reached.
    RequestBufferCap: 503 "request body backpressure overload" Proxy Never counts=false "connection_limit_reached" "request_buffer_cap" "request_buffer_cap" Overload Debug retry_after=true;
}

impl Reason {
    /// HTTP status code where `resilience.protocol.timeout_status` is `timeout_status`: it replaces that of the two
    /// upstream timeouts (docs/reference/behaviour.md#timeouts).
    pub const fn status_with(self, timeout_status: u16) -> u16 {
        match self {
            Self::ResponseTimeout | Self::TotalTimeout => timeout_status,
            _ => self.row().status,
        }
    }

    /// Exact body text, without the newline.
    pub const fn text(self) -> &'static str {
        self.row().text
    }
}
