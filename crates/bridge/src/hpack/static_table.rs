//! The static table (RFC 7541 appendix A), by index and by name.

use crate::message::Known;

/// Number of entries. Indices above it are dynamic.
pub(super) const LEN: usize = 61;

/// The entries in order; the first has index 1.
const ENTRIES: [(Known, &[u8]); LEN] = [
    (Known::Authority, b""),
    (Known::Method, b"GET"),
    (Known::Method, b"POST"),
    (Known::Path, b"/"),
    (Known::Path, b"/index.html"),
    (Known::Scheme, b"http"),
    (Known::Scheme, b"https"),
    (Known::Status, b"200"),
    (Known::Status, b"204"),
    (Known::Status, b"206"),
    (Known::Status, b"304"),
    (Known::Status, b"400"),
    (Known::Status, b"404"),
    (Known::Status, b"500"),
    (Known::AcceptCharset, b""),
    (Known::AcceptEncoding, b"gzip, deflate"),
    (Known::AcceptLanguage, b""),
    (Known::AcceptRanges, b""),
    (Known::Accept, b""),
    (Known::AccessControlAllowOrigin, b""),
    (Known::Age, b""),
    (Known::Allow, b""),
    (Known::Authorization, b""),
    (Known::CacheControl, b""),
    (Known::ContentDisposition, b""),
    (Known::ContentEncoding, b""),
    (Known::ContentLanguage, b""),
    (Known::ContentLength, b""),
    (Known::ContentLocation, b""),
    (Known::ContentRange, b""),
    (Known::ContentType, b""),
    (Known::Cookie, b""),
    (Known::Date, b""),
    (Known::Etag, b""),
    (Known::Expect, b""),
    (Known::Expires, b""),
    (Known::From, b""),
    (Known::Host, b""),
    (Known::IfMatch, b""),
    (Known::IfModifiedSince, b""),
    (Known::IfNoneMatch, b""),
    (Known::IfRange, b""),
    (Known::IfUnmodifiedSince, b""),
    (Known::LastModified, b""),
    (Known::Link, b""),
    (Known::Location, b""),
    (Known::MaxForwards, b""),
    (Known::ProxyAuthenticate, b""),
    (Known::ProxyAuthorization, b""),
    (Known::Range, b""),
    (Known::Referer, b""),
    (Known::Refresh, b""),
    (Known::RetryAfter, b""),
    (Known::Server, b""),
    (Known::SetCookie, b""),
    (Known::StrictTransportSecurity, b""),
    (Known::TransferEncoding, b""),
    (Known::UserAgent, b""),
    (Known::Vary, b""),
    (Known::Via, b""),
    (Known::WwwAuthenticate, b""),
];

/// For each known name the first index that has it, 0 for none.
const NAME_INDEX: [u8; Known::ALL.len()] = name_indices();

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const fn name_indices() -> [u8; Known::ALL.len()] {
    let mut indices = [0; Known::ALL.len()];
    let mut at = LEN;
    while at > 0 {
        at -= 1;
        indices[ENTRIES[at].0 as usize] = at as u8 + 1;
    }
    indices
}

pub(super) fn entry(index: usize) -> Option<(Known, &'static [u8])> {
    ENTRIES.get(index.checked_sub(1)?).copied()
}

pub(super) fn name_index(name: Known) -> Option<usize> {
    match NAME_INDEX.get(name as usize) {
        None | Some(0) => None,
        Some(index) => Some(usize::from(*index)),
    }
}

/// Returns the index of this name with this value, for the entries with a value that occur in requests.
pub(super) fn full_index(name: Known, value: &[u8]) -> Option<usize> {
    match (name, value) {
        (Known::Method, b"GET") => Some(2),
        (Known::Method, b"POST") => Some(3),
        (Known::Path, b"/") => Some(4),
        (Known::Path, b"/index.html") => Some(5),
        (Known::Scheme, b"http") => Some(6),
        (Known::Scheme, b"https") => Some(7),
        (Known::AcceptEncoding, b"gzip, deflate") => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_agree_with_the_table() {
        for index in 1..=LEN {
            let (name, value) = entry(index).unwrap();
            let first = name_index(name).unwrap();
            assert!(first <= index && entry(first).unwrap().0 == name);
            if !value.is_empty() && name != Known::Status {
                assert_eq!(full_index(name, value), Some(index));
            }
        }
        assert_eq!((entry(0), entry(LEN + 1)), (None, None));
        assert_eq!(name_index(Known::XRequestId), None);
    }
}
