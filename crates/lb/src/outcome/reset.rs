//! Reasons why exchanges are reset (docs/reference/behaviour.md#aborts).

use super::ErrorKind;

/// Why an exchange was reset, before or after its response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// The backend reset or lost the stream after response headers.
    UpstreamReset,
    /// The backend's body differs from its `content-length`, or is malformed.
    UpstreamProtocol,
    /// No body byte within `backend_body_total_timeout_ms` of the response headers.
    FirstByteTimeout,
    /// A pause above `backend_body_idle_timeout_ms`.
    BodyIdleTimeout,
    /// A pause above `tunnel_idle_timeout_ms`.
    TunnelIdleTimeout,
    /// `max_stream_lifetime_ms` passed.
    Lifetime,
    /// The response body grew above `max_response_body_bytes`.
    ResponseBodyTooLarge,
    /// The upload grew above `max_request_body_bytes` after the response had begun.
    RequestBodyTooLarge,
    /// The upload fell silent after the response had begun.
    RequestBodyIdle,
    /// The upload was slower than `client_min_rate_bytes_per_sec` after the response had begun.
    RequestBodySlow,
    /// The client took nothing of a waiting response for `client_stall_timeout_ms`.
    ClientStall,
    /// The client took the response more slowly than `client_min_rate_bytes_per_sec`.
    ClientSlow,
    /// The trailers of the response exceed `max_response_headers_bytes`.
    ResponseTrailersTooLarge,
    /// The trailers of the request exceed what the backend accepts, found after the response had begun.
    RequestTrailersTooLarge,
    /// The request-body budget was exceeded after the response had begun.
    RequestBufferCap,
    /// A fault inside Spooky.
    Internal,
}

impl Reset {
    /// `reason=` in the access line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::BodyIdleTimeout => "body_idle_timeout",
            Self::TunnelIdleTimeout => "tunnel_idle_timeout",
            Self::Lifetime => "lifetime",
            Self::ResponseBodyTooLarge => "response_body_too_large",
            Self::RequestBodyTooLarge => "request_body_too_large",
            Self::RequestBodyIdle => "request_body_idle",
            Self::RequestBodySlow => "request_body_slow",
            Self::ClientStall => "client_stall",
            Self::ClientSlow => "client_slow",
            Self::ResponseTrailersTooLarge => "response_trailers_too_large",
            Self::RequestTrailersTooLarge => "request_trailers_too_large",
            Self::RequestBufferCap => "request_buffer_cap",
            Self::Internal => "internal",
        }
    }

    /// Value of `error=` in the access line.
    pub const fn error(self) -> ErrorKind {
        match self {
            Self::UpstreamReset => ErrorKind::Transport,
            Self::UpstreamProtocol | Self::ResponseBodyTooLarge | Self::ResponseTrailersTooLarge => ErrorKind::Protocol,
            Self::FirstByteTimeout
            | Self::BodyIdleTimeout
            | Self::TunnelIdleTimeout
            | Self::Lifetime
            | Self::RequestBodyIdle
            | Self::ClientStall => ErrorKind::Timeout,
            Self::RequestBodyTooLarge | Self::RequestBodySlow | Self::ClientSlow | Self::RequestTrailersTooLarge => {
                ErrorKind::Client
            }
            Self::RequestBufferCap => ErrorKind::Overload,
            Self::Internal => ErrorKind::Bridge,
        }
    }
}
