//! Well-known field names: those of the QPACK and HPACK static tables, and those that a rule depends on.
//!
//! A name is looked up once, when it is decoded; later comparisons compare integers.

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

impl Known {
    /// Returns the known name with these bytes (names on the wire are lower case).
    #[inline]
    pub fn lookup(bytes: &[u8]) -> Option<Self> {
        let mut at = hash(bytes);
        loop {
            let slot = SLOTS.get(at % SLOT_COUNT).copied()?;
            // A free slot ends the search: it is no index of [`Self::ALL`].
            let known = *Self::ALL.get(usize::from(slot))?;
            if known.as_bytes() == bytes {
                return Some(known);
            }
            at += 1;
        }
    }
}

/// Five slots per name: nearly every known name is found by one comparison, and nearly every other name meets a free
/// slot at once.
const SLOT_COUNT: usize = 512;
const FREE: u8 = u8::MAX;

/// A hash table with open addressing. A slot has the index of its name in [`Known::ALL`].
static SLOTS: [u8; SLOT_COUNT] = slots();

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn slots() -> [u8; SLOT_COUNT] {
    let mut slots = [FREE; SLOT_COUNT];
    let mut name = 0;
    while name < Known::ALL.len() {
        let mut at = hash(Known::ALL[name].as_bytes());
        while slots[at % SLOT_COUNT] != FREE {
            at += 1;
        }
        slots[at % SLOT_COUNT] = name as u8;
        name += 1;
    }
    slots
}

/// Hashes the length, the first and the last two bytes, which distinguish the names well enough.
#[inline]
const fn hash(bytes: &[u8]) -> usize {
    let (Some(first), Some([.., before, last])) = (bytes.first(), bytes.last_chunk::<2>()) else { return 0 };
    let mixed = (*first as u32) | ((*before as u32) << 8) | ((*last as u32) << 16) | ((bytes.len() as u32) << 24);
    (mixed.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

/// Returns whether two names are the same when `_` is read as `-`.
pub fn folds_to(name: &[u8], other: &[u8]) -> bool {
    name.len() == other.len() && name.iter().zip(other).all(|(left, right)| fold(*left) == fold(*right))
}

/// Reads `_` as `-`.
pub(super) fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::{Known, folds_to};

    #[test]
    fn every_name_is_found() {
        for known in Known::ALL {
            assert_eq!(Known::lookup(known.as_bytes()), Some(*known));
        }
        assert_eq!(Known::lookup(b"Accept"), None);
        assert_eq!(Known::lookup(b""), None);
    }

    #[test]
    fn names_that_differ_in_underscores_are_the_same() {
        assert!(folds_to(b"x_client-subject", b"x-client_subject"));
        assert!(!folds_to(b"x_client", b"x-clients") && !folds_to(b"xaclient", b"x-client"));
    }
}
