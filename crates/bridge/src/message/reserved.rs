//! Request fields that backends may rely on because Spooky removes, rewrites or writes them, and names that some
//! servers treat as equal to theirs.

use super::{
    hop_by_hop::is_hop_by_hop,
    name::{Known, fold},
};

/// Length of the longest reserved name.
const MAX_NAME: usize = 32;

/// Returns whether Spooky controls the fields of this name that reach a backend.
pub fn is_reserved(name: Known) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            Known::Host
                | Known::ContentLength
                | Known::Cookie
                | Known::Forwarded
                | Known::XForwardedFor
                | Known::XForwardedProto
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XRealIp
                | Known::Via
                | Known::XRequestId
                | Known::Traceparent
                | Known::Tracestate
                | Known::EarlyData
        )
}

/// Returns whether `name` is a reserved name with `_` in place of `-`. Servers that pass fields to applications as CGI
/// variables (RFC 3875 4.1.18) treat both as the same field.
#[inline]
pub fn is_alias(name: &[u8]) -> bool {
    name.contains(&b'_') && is_reserved_folded(name)
}

fn is_reserved_folded(name: &[u8]) -> bool {
    let mut buffer = [0; MAX_NAME];
    let Some(folded) = buffer.get_mut(..name.len()) else { return false };
    for (to, from) in folded.iter_mut().zip(name) {
        *to = fold(*from);
    }
    Known::lookup(folded).is_some_and(is_reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reserved_name_has_its_aliases() {
        let mut count = 0;
        for known in Known::ALL.iter().copied().filter(|known| is_reserved(*known)) {
            let name = known.as_bytes();
            assert!(name.len() <= MAX_NAME && !is_alias(name));
            for at in (0..name.len()).filter(|at| name[*at] == b'-') {
                let mut alias = name.to_vec();
                alias[at] = b'_';
                assert!(is_alias(&alias), "{}", String::from_utf8_lossy(&alias));
                count += 1;
            }
        }
        assert!(count > 15, "{count}");
    }

    #[test]
    fn other_names_with_underscores_are_no_aliases() {
        for name in
            ["_", "x_custom", "user_agent", "x__forwarded_for", "x_forwarded_for_", "x_forwarded", &"_".repeat(200)]
        {
            assert!(!is_alias(name.as_bytes()), "{name}");
        }
    }
}
