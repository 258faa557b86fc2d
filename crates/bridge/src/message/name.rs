//! The vocabulary of well-known field names: those of the QPACK and HPACK static tables, and those that a rule looks at.
//!
//! Recognised once, when a name is decoded; every later comparison is that of an integer.

macro_rules! known {
    ($($variant:ident = $text:literal,)*) => {
        /// A well-known field name. The order is that of the list and has no meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Known {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as sent on the wire, in lower case.
            pub const fn as_bytes(self) -> &'static [u8] {
                match self { $(Self::$variant => $text.as_bytes(),)* }
            }

            /// The known name with exactly these bytes (names on the wire are lower case).
            #[allow(non_upper_case_globals)] // the constants exist to be patterns
            pub fn lookup(bytes: &[u8]) -> Option<Self> {
                $(const $variant: &[u8] = $text.as_bytes();)*
                match bytes { $($variant => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

known! {
    Authority = ":authority",
    Path = ":path",
    Method = ":method",
    Scheme = ":scheme",
    Status = ":status",
    Protocol = ":protocol",
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    Age = "age",
    Allow = "allow",
    AltSvc = "alt-svc",
    Authorization = "authorization",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLength = "content-length",
    ContentLocation = "content-location",
    ContentRange = "content-range",
    ContentSecurityPolicy = "content-security-policy",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    EarlyData = "early-data",
    Etag = "etag",
    Expect = "expect",
    ExpectCt = "expect-ct",
    Expires = "expires",
    Forwarded = "forwarded",
    From = "from",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    GrpcTimeout = "grpc-timeout",
    Host = "host",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    MaxForwards = "max-forwards",
    Origin = "origin",
    Priority = "priority",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    ProxyStatus = "proxy-status",
    Purpose = "purpose",
    Range = "range",
    Referer = "referer",
    Refresh = "refresh",
    RetryAfter = "retry-after",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketExtensions = "sec-websocket-extensions",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketVersion = "sec-websocket-version",
    Server = "server",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    TimingAllowOrigin = "timing-allow-origin",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UpgradeInsecureRequests = "upgrade-insecure-requests",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XContentTypeOptions = "x-content-type-options",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XFrameOptions = "x-frame-options",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XXssProtection = "x-xss-protection",
}

#[cfg(test)]
mod tests {
    use super::Known;

    #[test]
    fn every_name_finds_itself() {
        for known in Known::ALL {
            assert_eq!(Known::lookup(known.as_bytes()), Some(*known));
        }
        assert_eq!(Known::lookup(b"Accept"), None);
        assert_eq!(Known::lookup(b""), None);
    }
}
