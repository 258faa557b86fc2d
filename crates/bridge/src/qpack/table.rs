//! The static table (RFC 9204 appendix A), with an index by name.

use crate::message::Known;
use Known as K;

pub(super) fn entry(index: u64) -> Option<(Known, &'static [u8])> {
    usize::try_from(index).ok().and_then(|index| STATIC.get(index)).copied()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Field(u8),
    Name(u8),
    None,
}

/// Returns the entry for this field, or the first entry with its name.
#[inline]
pub(super) fn find(name: Known, value: &[u8]) -> Match {
    let first = FIRST.get(name as usize).copied().unwrap_or(NONE);
    let mut index = first;
    while let Some((_, candidate)) = STATIC.get(usize::from(index)) {
        if *candidate == value {
            return Match::Field(index);
        }
        index = NEXT.get(usize::from(index)).copied().unwrap_or(NONE);
    }
    if first == NONE { Match::None } else { Match::Name(first) }
}

const NONE: u8 = u8::MAX;
const NAMES: usize = Known::ALL.len();
const LEN: usize = 99;

/// First entry of each known name.
static FIRST: [u8; NAMES] = links().0;
/// Next entry with the same name.
static NEXT: [u8; LEN] = links().1;

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn links() -> ([u8; NAMES], [u8; LEN]) {
    let mut first = [NONE; NAMES];
    let mut next = [NONE; LEN];
    let mut index = LEN;
    while index > 0 {
        index -= 1;
        let name = ENTRIES[index].0 as usize;
        next[index] = first[name];
        first[name] = index as u8;
    }
    (first, next)
}

static STATIC: [(Known, &[u8]); LEN] = ENTRIES;

#[rustfmt::skip]
const ENTRIES: [(Known, &[u8]); LEN] = [
    (K::Authority, b""),
    (K::Path, b"/"),
    (K::Age, b"0"),
    (K::ContentDisposition, b""),
    (K::ContentLength, b"0"),
    (K::Cookie, b""),
    (K::Date, b""),
    (K::Etag, b""),
    (K::IfModifiedSince, b""),
    (K::IfNoneMatch, b""),
    (K::LastModified, b""),
    (K::Link, b""),
    (K::Location, b""),
    (K::Referer, b""),
    (K::SetCookie, b""),
    (K::Method, b"CONNECT"),
    (K::Method, b"DELETE"),
    (K::Method, b"GET"),
    (K::Method, b"HEAD"),
    (K::Method, b"OPTIONS"),
    (K::Method, b"POST"),
    (K::Method, b"PUT"),
    (K::Scheme, b"http"),
    (K::Scheme, b"https"),
    (K::Status, b"103"),
    (K::Status, b"200"),
    (K::Status, b"304"),
    (K::Status, b"404"),
    (K::Status, b"503"),
    (K::Accept, b"*/*"),
    (K::Accept, b"application/dns-message"),
    (K::AcceptEncoding, b"gzip, deflate, br"),
    (K::AcceptRanges, b"bytes"),
    (K::AccessControlAllowHeaders, b"cache-control"),
    (K::AccessControlAllowHeaders, b"content-type"),
    (K::AccessControlAllowOrigin, b"*"),
    (K::CacheControl, b"max-age=0"),
    (K::CacheControl, b"max-age=2592000"),
    (K::CacheControl, b"max-age=604800"),
    (K::CacheControl, b"no-cache"),
    (K::CacheControl, b"no-store"),
    (K::CacheControl, b"public, max-age=31536000"),
    (K::ContentEncoding, b"br"),
    (K::ContentEncoding, b"gzip"),
    (K::ContentType, b"application/dns-message"),
    (K::ContentType, b"application/javascript"),
    (K::ContentType, b"application/json"),
    (K::ContentType, b"application/x-www-form-urlencoded"),
    (K::ContentType, b"image/gif"),
    (K::ContentType, b"image/jpeg"),
    (K::ContentType, b"image/png"),
    (K::ContentType, b"text/css"),
    (K::ContentType, b"text/html; charset=utf-8"),
    (K::ContentType, b"text/plain"),
    (K::ContentType, b"text/plain;charset=utf-8"),
    (K::Range, b"bytes=0-"),
    (K::StrictTransportSecurity, b"max-age=31536000"),
    (K::StrictTransportSecurity, b"max-age=31536000; includesubdomains"),
    (K::StrictTransportSecurity, b"max-age=31536000; includesubdomains; preload"),
    (K::Vary, b"accept-encoding"),
    (K::Vary, b"origin"),
    (K::XContentTypeOptions, b"nosniff"),
    (K::XXssProtection, b"1; mode=block"),
    (K::Status, b"100"),
    (K::Status, b"204"),
    (K::Status, b"206"),
    (K::Status, b"302"),
    (K::Status, b"400"),
    (K::Status, b"403"),
    (K::Status, b"421"),
    (K::Status, b"425"),
    (K::Status, b"500"),
    (K::AcceptLanguage, b""),
    (K::AccessControlAllowCredentials, b"FALSE"),
    (K::AccessControlAllowCredentials, b"TRUE"),
    (K::AccessControlAllowHeaders, b"*"),
    (K::AccessControlAllowMethods, b"get"),
    (K::AccessControlAllowMethods, b"get, post, options"),
    (K::AccessControlAllowMethods, b"options"),
    (K::AccessControlExposeHeaders, b"content-length"),
    (K::AccessControlRequestHeaders, b"content-type"),
    (K::AccessControlRequestMethod, b"get"),
    (K::AccessControlRequestMethod, b"post"),
    (K::AltSvc, b"clear"),
    (K::Authorization, b""),
    (K::ContentSecurityPolicy, b"script-src 'none'; object-src 'none'; base-uri 'none'"),
    (K::EarlyData, b"1"),
    (K::ExpectCt, b""),
    (K::Forwarded, b""),
    (K::IfRange, b""),
    (K::Origin, b""),
    (K::Purpose, b"prefetch"),
    (K::Server, b""),
    (K::TimingAllowOrigin, b"*"),
    (K::UpgradeInsecureRequests, b"1"),
    (K::UserAgent, b""),
    (K::XForwardedFor, b""),
    (K::XFrameOptions, b"deny"),
    (K::XFrameOptions, b"sameorigin"),];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_its_field() {
        for (index, (name, value)) in (0..).zip(STATIC) {
            assert_eq!(find(name, value), Match::Field(index));
            assert_eq!(entry(u64::from(index)), Some((name, value)));
        }
        assert_eq!(find(K::ContentType, b"text/x-other"), Match::Name(44));
        assert_eq!(find(K::Via, b""), Match::None);
        assert_eq!(entry(99), None);
        assert_eq!(entry(u64::MAX), None);
    }
}
